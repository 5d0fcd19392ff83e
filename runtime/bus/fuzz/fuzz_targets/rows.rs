//! Any bytes as a key, and as a row of each table (topics, handlers, ids, ends, idempotency keys, progress, broken
//! changes): refused, or written as it was read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemill_bus::testing::{reread_key, reread_row};

fuzz_target!(|bytes: &[u8]| {
    if let Some(again) = reread_key(bytes) {
        assert_eq!(again, bytes);
    }
    let Some((table, row)) = bytes.split_first() else { return };
    if let Some(again) = reread_row(table % 11, row) {
        assert_eq!(again, row);
    }
});

//! Any bytes as a change of tables: refused, or rows that are the same when they are written and read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemill_bus::testing::reread_change;

fuzz_target!(|bytes: &[u8]| {
    let Some(again) = reread_change(bytes) else { return };
    assert_eq!(reread_change(&again), Some(again));
});

//! Any bytes as a body, in every format: refused, or sound events.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tidemill_server::fuzzing::body(bytes);
});

//! Any columns as what a guest returned: refused, or placed in partitions.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tidemill_flow::fuzzing::outcome(bytes);
});

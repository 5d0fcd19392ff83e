//! Any bytes as the file beside a plugin: refused at a place that there is, or what a handler is run with.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tidemill_server::fuzzing::plugin(bytes);
});

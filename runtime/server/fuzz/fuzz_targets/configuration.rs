//! Any bytes as `tidemill.toml`: refused at a place that there is, or a configuration.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tidemill_server::fuzzing::configuration(bytes);
});

//! libFuzzer, into `requests`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| meanwhile_fuzz::fuzz("requests", bytes));

//! libFuzzer, into `owner`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| meanwhile_fuzz::fuzz("owner", bytes));

//! libFuzzer, into `mcp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| meanwhile_fuzz::fuzz("mcp", bytes));

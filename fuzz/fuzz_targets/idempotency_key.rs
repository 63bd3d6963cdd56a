#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kallglot_core::fuzz::idempotency_key(bytes));

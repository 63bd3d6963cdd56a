#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kallglot_webauthn::fuzz::answer(bytes));

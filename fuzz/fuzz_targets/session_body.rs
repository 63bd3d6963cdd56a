#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kallglot_http::fuzz::session_body(bytes));

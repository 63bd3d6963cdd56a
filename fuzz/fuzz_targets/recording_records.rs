#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kallglot_recording::fuzz::log_of_records(bytes));

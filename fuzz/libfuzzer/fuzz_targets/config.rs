#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringsock_fuzz::run("config", data));

#![no_main]

#[path = "../../tests/engine/fuzz/mod.rs"]
#[allow(dead_code)]
mod fuzz;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::fetched::target(bytes));

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    mkpanda::fuzzing::run("xz", data);
});

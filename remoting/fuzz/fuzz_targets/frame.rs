//! Runs the entry `frame` of the decoders.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| flotilla_remoting::fuzzing::frame(data));

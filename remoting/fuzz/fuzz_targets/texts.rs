//! Runs the entry `texts` of the decoders.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| flotilla_remoting::fuzzing::texts(data));

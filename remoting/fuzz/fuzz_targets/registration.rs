//! Runs the entry `registration` of the decoders.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| flotilla_remoting::fuzzing::registration(data));

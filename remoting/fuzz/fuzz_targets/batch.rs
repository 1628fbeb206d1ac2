//! Runs the entry `batch_body` of the decoders.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| flotilla_remoting::fuzzing::batch_body(data));

//! Runs the entry `topic_line` of the decoders.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| flotilla_remoting::fuzzing::topic_line(data));

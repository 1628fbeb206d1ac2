//! Lets the views read sealed segments of the log.

use std::sync::OnceLock;

use flotilla_raft_store::log::LogReader;

/// The log, once the replica has opened it.
#[derive(Default)]
pub struct LogSegments {
    log: OnceLock<LogReader>,
}

impl LogSegments {
    pub fn attach(&self, log: LogReader) {
        assert!(self.log.set(log).is_ok(), "the log is attached once");
    }
}

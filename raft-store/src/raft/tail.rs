//! Where the own log ends, for those who wait for more of it.

use tokio::sync::watch;

/// Index behind the last appended entry, flushed or not. It is a hint: an installation moves the log's end without it.
#[derive(Debug, Clone)]
pub(crate) struct Tail(watch::Sender<u64>);

impl Tail {
    pub(crate) fn new(end: u64) -> Tail {
        Tail(watch::Sender::new(end))
    }

    /// The log ends here now, further on or further back than before.
    pub(crate) fn set(&self, end: u64) {
        self.0.send_replace(end);
    }

    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

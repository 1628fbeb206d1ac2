//! What becomes of delayed messages that are not simply delivered. Counted by the leader that did it.

use prometheus_client::metrics::counter::Counter;

/// Counters since the start of the node.
#[derive(Debug, Default)]
pub struct DelayCounters {
    /// Delivered by this node.
    pub(super) delivered: Counter,
    /// Due for a topic that was deleted meanwhile.
    pub(super) topic_gone: Counter,
    /// Without the properties that say where they belong.
    pub(super) malformed: Counter,
    /// Deleted by retention before they were due.
    pub(super) purged: Counter,
    /// Delivered to another queue, because theirs was taken away.
    pub(super) moved: Counter,
}

impl DelayCounters {
    pub fn delivered(&self, count: u64) {
        self.delivered.inc_by(count);
    }

    pub fn topic_gone(&self, count: u64) {
        self.topic_gone.inc_by(count);
    }

    pub fn malformed(&self, count: u64) {
        self.malformed.inc_by(count);
    }

    pub fn purged(&self, count: u64) {
        self.purged.inc_by(count);
    }

    pub fn moved(&self, count: u64) {
        self.moved.inc_by(count);
    }

    /// Messages given up, by cause.
    pub(super) fn dropped(&self) -> [(&'static str, u64); 3] {
        [
            ("topic_gone", self.topic_gone.get()),
            ("malformed", self.malformed.get()),
            ("purged", self.purged.get()),
        ]
    }
}

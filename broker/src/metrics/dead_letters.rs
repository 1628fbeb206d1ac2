//! What becomes a dead letter. Counted by the leader, when the message has been stored in the queue of dead letters.

use super::flow::Flow;
use super::rings::Window;

/// Dead letters of one consumer group out of one topic.
#[derive(Debug, Default)]
pub struct DeadLetters {
    /// All of them.
    pub(super) all: Flow,
    /// Those of them that the consumer sent back with code 36. The others it sent to its retry topic, once too often.
    pub(super) sent_back: Flow,
}

impl DeadLetters {
    /// Counts a dead letter.
    pub fn stored(&self, sent_back: bool) {
        self.all.add(1, 0);
        if sent_back {
            self.sent_back.add(1, 0);
        }
    }

    /// Counters of all, and of those that were sent back.
    pub fn flows(&self) -> (&Flow, &Flow) {
        (&self.all, &self.sent_back)
    }

    pub(super) fn sample(&self, window: Window, now_ms: u64) {
        self.all.sample(window, now_ms);
        self.sent_back.sample(window, now_ms);
    }
}

//! Invariant 2 of `ARCHITECTURE.md`: queue offsets are dense and final. Along the committed log each queue's messages are
//! numbered 0, 1, 2 and so on, and a number never means two messages.

use std::collections::HashMap;
use std::sync::Arc;

use flotilla_core::Effects;
use flotilla_raft_store::raft::Applied;

/// Next number of each queue.
#[derive(Debug, Default)]
pub struct QueueOffsets {
    next: HashMap<(Arc<str>, u32), i64>,
    messages: u64,
}

impl QueueOffsets {
    /// Messages of the next committed entry.
    ///
    /// # Errors
    /// A number that is not the next one.
    pub fn appended(&mut self, entry: &Applied<'_>, effects: &Effects) -> Result<(), String> {
        for message in &effects.appended {
            let next = self.next.entry((Arc::clone(&message.topic), message.queue_id)).or_default();
            if message.queue_offset != *next {
                return Err(format!(
                    "queue offsets: entry {} puts number {} into {} queue {} where {next} is next",
                    entry.index, message.queue_offset, message.topic, message.queue_id
                ));
            }
            *next += 1;
            self.messages += 1;
        }
        Ok(())
    }

    /// Messages in the committed log.
    pub fn messages(&self) -> u64 {
        self.messages
    }
}

//! One entry of the duty while it grows: messages for their topics, the places of the queues, and a tally of what was not plain.

use std::collections::BTreeMap;

use bytes::Bytes;
use flotilla_core::{Command, DelayDone, PayloadBuilder};
use flotilla_raft_store::RECORD_HEADER_SIZE;
use flotilla_remoting::message::MessageView;
use tracing::{error, warn};

use crate::group::encoder::Encoder;
use crate::limits::DELAY_MESSAGES_MAX;
use crate::metrics::Metrics;

/// An entry that can be proposed.
pub struct Entry {
    /// With room for the record header.
    pub payload: Bytes,
    pub done: Vec<DelayDone>,
    pub tally: Tally,
    /// The queue that it ended with.
    pub last_queue: Option<u32>,
}

/// What becomes of the messages of an entry; counted when it is applied.
#[derive(Default)]
pub struct Tally {
    /// Messages delivered, and their bytes. Apply counts them for their topics, as it does all messages.
    delivered: usize,
    bytes: usize,
    /// Messages looked at, delivered or not.
    seen: usize,
    topic_gone: BTreeMap<String, u64>,
    /// Topic, the queue that is gone and the one taken instead, and how many messages.
    moved: BTreeMap<(String, u32, u32), u64>,
    malformed: Vec<String>,
    /// Queue of the schedule topic, first and next number that retention took.
    purged: Vec<(u32, i64, i64)>,
}

/// An entry that grows.
pub struct Draft {
    builder: PayloadBuilder,
    bytes_max: usize,
    done: Vec<DelayDone>,
    tally: Tally,
}

impl Draft {
    pub fn new(bytes_max: usize) -> Self {
        Self {
            builder: PayloadBuilder::new(RECORD_HEADER_SIZE, 4096),
            bytes_max,
            done: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// True when a message has to wait for the next entry. One alone always fits.
    pub fn is_full_for(&self, message: &MessageView<'_>) -> bool {
        let over = self.tally.bytes + message.total_size() > self.bytes_max;
        self.tally.seen > 0 && (over || self.tally.seen >= DELAY_MESSAGES_MAX)
    }

    pub fn deliver(&mut self, encoder: &Encoder, message: &MessageView<'_>, topic: &str, queue_id: u32) {
        match encoder.encode_again(message, topic, queue_id, self.builder.messages()) {
            Ok(size) => {
                self.tally.seen += 1;
                self.tally.delivered += 1;
                self.tally.bytes += size;
            }
            // The topic exists and the properties were stored before, so their lengths fit.
            Err(error) => {
                self.tally.seen += 1;
                self.tally.malformed.push(format!("{}: {error}", message.offset_message_id()));
            }
        }
    }

    pub fn moved(&mut self, topic: &str, from: u32, to: u32) {
        *self.tally.moved.entry((topic.to_owned(), from, to)).or_default() += 1;
    }

    pub fn topic_gone(&mut self, topic: &str) {
        self.tally.seen += 1;
        *self.tally.topic_gone.entry(topic.to_owned()).or_default() += 1;
    }

    pub fn malformed(&mut self, queue_id: u32, message: &MessageView<'_>) {
        self.tally.seen += 1;
        let id = message.offset_message_id();
        self.tally.malformed.push(format!("{id} in queue {queue_id}: no topic and queue to go to"));
    }

    pub fn purged(&mut self, queue_id: u32, from: i64, to: i64) {
        self.tally.purged.push((queue_id, from, to));
    }

    /// Moves a queue on when the entry is applied.
    pub fn done(&mut self, done: DelayDone) {
        self.builder.push_command(&Command::DelayDone(done));
        self.done.push(done);
    }

    /// The entry; `None` when nothing is due.
    pub fn finish(self) -> Option<Entry> {
        let Self { builder, done, tally, .. } = self;
        if done.is_empty() {
            return None;
        }
        let last_queue = done.last().map(|done| done.queue_id);
        Some(Entry { payload: builder.finish().freeze(), done, tally, last_queue })
    }
}

impl Tally {
    pub fn messages(&self) -> usize {
        self.delivered
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Counts what the applied entry did, and tells what an operator has to know.
    pub fn count(self, metrics: &Metrics) {
        let counters = metrics.delay();
        counters.delivered(self.messages() as u64);
        for (topic, count) in &self.topic_gone {
            warn!(topic, count, "delayed messages given up: their topic was deleted");
            counters.topic_gone(*count);
        }
        for ((topic, from, to), count) in &self.moved {
            warn!(
                topic,
                from, to, count, "delayed messages delivered to another queue: theirs was taken away"
            );
            counters.moved(*count);
        }
        for message in &self.malformed {
            error!(message, "delayed message given up");
        }
        counters.malformed(self.malformed.len() as u64);
        for (queue_id, from, to) in &self.purged {
            error!(queue_id, from, to, "delayed messages were deleted by retention before they were due");
            counters.purged(u64::try_from(to - from).unwrap_or(0));
        }
    }
}

//! The tail table: the next number of each queue as of the *appended* log, on every replica, from record contents alone.
//!
//! It runs ahead of the tables, which follow the committed log. The log calls it at the one point where order and position are
//! final and the bytes have gone nowhere yet:
//!
//! ```text
//! leader's append     stamp    numbers, positions and times are written, next[queue] advances
//! follower, recovery  observe  the same fields are compared, next[queue] advances
//! truncation          retract  next[queue] goes back to the stamped number: the exact inverse, last entry first
//! start, install      reset    next[queue] of a checkpoint
//! ```
//!
//! Answers to clients never come from here (they could name records that are lost later); they come from the tables.

use std::collections::HashMap;
use std::sync::Arc;

use flotilla_mutants::{self as mutants, Mutant};

use crate::message::{MessageError, MessageReason, MessageShape, Messages};
use crate::payload::{Payload, PayloadError};
use crate::tables::{CheckpointError, FixedHasher, checkpoint};

/// Why an entry can't follow the log so far. On the leader this is a bug of ours; on a follower or in recovery a log that no
/// correct leader wrote. Both stop the node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TailError {
    #[error(transparent)]
    Payload(#[from] PayloadError),
    #[error(
        "{topic} queue {queue_id} continues with {found} where {expected} is next, at log position {position}"
    )]
    QueueOffset { topic: String, queue_id: u32, expected: i64, found: i64, position: u64 },
    #[error("message at log position {position} says it is at {found}")]
    PhysicalOffset { position: u64, found: i64 },
    #[error("message at log position {position} says time {found}, its record {expected}")]
    StoreTime { position: u64, expected: i64, found: i64 },
    #[error("position or time {0} is beyond the signed range")]
    Range(u64),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// Next queue numbers of the appended log.
#[derive(Debug, Clone, Default)]
pub struct TailTable {
    /// Where a topic's numbers lie in `tails`: two steps, so that the common case costs one hash.
    topics: HashMap<Arc<str>, usize, FixedHasher>,
    tails: Vec<TopicTail>,
    /// The newest entry was another leader's, or none of this run.
    following: bool,
}

#[derive(Debug, Clone, Default)]
struct TopicTail {
    /// Indexed by queue id; bounded by `QUEUES_PER_TOPIC_MAX`, which the message walker checks.
    next: Vec<i64>,
}

impl TopicTail {
    #[inline]
    fn next_mut(&mut self, queue_id: u32) -> &mut i64 {
        let index = queue_id as usize;
        if index >= self.next.len() {
            self.next.resize(index + 1, 0);
        }
        &mut self.next[index]
    }
}

impl TailTable {
    pub fn new() -> Self {
        Self::default()
    }

    /// The next number of a queue in the appended log.
    pub fn next(&self, topic: &str, queue_id: u32) -> i64 {
        let tail = self.topics.get(topic).map(|index| &self.tails[*index]);
        tail.and_then(|tail| tail.next.get(queue_id as usize)).copied().unwrap_or(0)
    }

    /// Writes queue offset, physical offset and store time into each message. `payload_position` is the log position of the
    /// payload's first byte, `time_ms` the record's time.
    ///
    /// # Errors
    /// When the payload can't be walked; the table is then as before, the payload may be half written.
    pub fn stamp(
        &mut self,
        payload: &mut [u8],
        payload_position: u64,
        time_ms: u64,
    ) -> Result<(), TailError> {
        let messages_at = Payload::parse(payload)?.messages_at;
        let (base, time) = (signed(payload_position)?, signed(time_ms)?);
        signed(payload_position.saturating_add(payload.len() as u64))?;
        let stamped = self.stamp_messages(payload, messages_at, base, time);
        if let Err(error) = &stamped {
            self.take_back(&payload[messages_at..messages_at + error.offset]);
        }
        Ok(stamped.map_err(PayloadError::from)?)
    }

    fn stamp_messages(
        &mut self,
        payload: &mut [u8],
        messages_at: usize,
        base: i64,
        time: i64,
    ) -> Result<(), MessageError> {
        let parse = |payload: &[u8], at: usize| {
            MessageShape::parse(&payload[at..])
                .map_err(|reason| MessageError { offset: at - messages_at, reason })
        };
        let mut at = messages_at;
        if at == payload.len() {
            return Ok(());
        }
        let mut shape = parse(payload, at)?;
        let (reuses, mut first) =
            (mutants::on(Mutant::ReuseQueueOffset), std::mem::take(&mut self.following));
        // One look-up serves a run of messages of the same topic.
        'runs: loop {
            let run_at = at;
            let run_shape = shape;
            let tail = self.topic_mut(run_shape.topic(&payload[run_at..]), at - messages_at)?;
            loop {
                let queue_offset = if shape.is_numbered() {
                    let next = tail.next_mut(shape.queue_id);
                    *next += 1;
                    let reused = reuses && *next > 1 && std::mem::take(&mut first);
                    *next - 1 - i64::from(reused)
                } else {
                    0
                };
                shape.stamp(&mut payload[at..], queue_offset, base + at as i64, time);
                at += shape.size as usize;
                if at == payload.len() {
                    break 'runs Ok(());
                }
                shape = parse(payload, at)?;
                if shape.topic(&payload[at..]) != run_shape.topic(&payload[run_at..]) {
                    continue 'runs;
                }
            }
        }
    }

    /// Compares the stamped fields with what this log demands and advances.
    ///
    /// # Errors
    /// The first message that does not fit; the table is then as before.
    pub fn observe(&mut self, payload: &[u8], payload_position: u64, time_ms: u64) -> Result<(), TailError> {
        let parts = Payload::parse(payload)?;
        let (base, time) = (signed(payload_position)?, signed(time_ms)?);
        signed(payload_position.saturating_add(payload.len() as u64))?;
        let base = base + parts.messages_at as i64;
        let mut walked = 0;
        self.following = true;
        let observed = self.observe_messages(parts.messages, base, time, &mut walked);
        if observed.is_err() {
            self.take_back(&parts.messages[..walked]);
        }
        observed
    }

    /// `walked` counts the bytes of the messages that were accepted.
    fn observe_messages(
        &mut self,
        messages: &[u8],
        base: i64,
        time: i64,
        walked: &mut usize,
    ) -> Result<(), TailError> {
        let mut walk = Messages::new(messages);
        let mut message = walk.next();
        while let Some(first) = message {
            let (first_offset, first_shape, first_bytes) = first.map_err(PayloadError::from)?;
            let topic = first_shape.topic(first_bytes);
            let tail = self.topic_mut(topic, first_offset).map_err(PayloadError::from)?;
            let (mut offset, mut shape, mut bytes) = (first_offset, first_shape, first_bytes);
            message = loop {
                let position = (base + offset as i64).cast_unsigned();
                let expected = if shape.is_numbered() { *tail.next_mut(shape.queue_id) } else { 0 };
                check_stamp(&shape, bytes, expected, position, time)?;
                if shape.is_numbered() {
                    *tail.next_mut(shape.queue_id) += 1;
                }
                *walked = offset + shape.size as usize;
                match walk.next() {
                    Some(Ok((next_offset, next_shape, next_bytes)))
                        if next_shape.topic(next_bytes) == topic =>
                    {
                        (offset, shape, bytes) = (next_offset, next_shape, next_bytes);
                    }
                    other => break other,
                }
            };
        }
        Ok(())
    }

    /// Takes an entry's numbers back; entries are given from the last to the first.
    ///
    /// # Panics
    /// When the payload can't be walked or was not the newest of its queues: it was stamped or observed before, so this is a
    /// bug and going on would give numbers twice.
    pub fn retract(&mut self, payload: &[u8]) {
        let parts = Payload::parse(payload).expect("a retracted payload was accepted before");
        self.take_back(parts.messages);
    }

    fn take_back(&mut self, messages: &[u8]) {
        let walked: Vec<_> = Messages::new(messages)
            .map(|message| message.expect("retracted messages were accepted before"))
            .filter(|(_, shape, _)| shape.is_numbered())
            .collect();
        for (_, shape, bytes) in walked.into_iter().rev() {
            let topic = topic_text(shape.topic(bytes));
            let index = *self.topics.get(topic).expect("the topic of a retracted message was seen before");
            let next = self.tails[index].next_mut(shape.queue_id);
            let reused = mutants::on(Mutant::ReuseQueueOffset);
            let stamped = if reused { *next - 1 } else { shape.queue_offset(bytes) };
            assert_eq!(
                stamped + 1,
                *next,
                "the newest number of {topic} queue {} is retracted",
                shape.queue_id
            );
            *next = stamped;
        }
    }

    /// Takes the numbers of a checkpoint of the tables; an empty slice is the blank state.
    ///
    /// # Errors
    /// When the checkpoint can't be read; the table is then as before.
    pub fn reset(&mut self, checkpoint: &[u8]) -> Result<(), TailError> {
        let mut fresh = Self::default();
        for (name, heads) in checkpoint::queue_heads(checkpoint)? {
            fresh.topics.insert(name, fresh.tails.len());
            fresh.tails.push(TopicTail { next: heads.iter().map(|head| head.max).collect() });
        }
        *self = fresh;
        Ok(())
    }

    /// All queues with a number above 0, in order: for comparing tables in tests and inspections.
    pub fn snapshot(&self) -> Vec<(Arc<str>, u32, i64)> {
        let mut all: Vec<_> = self
            .topics
            .iter()
            .flat_map(|(name, index)| {
                (0u32..).zip(&self.tails[*index].next).map(|(id, next)| (name.clone(), id, *next))
            })
            .filter(|(_, _, next)| *next > 0)
            .collect();
        all.sort();
        all
    }

    #[inline]
    fn topic_mut(&mut self, topic: &[u8], offset: usize) -> Result<&mut TopicTail, MessageError> {
        let topic =
            std::str::from_utf8(topic).map_err(|_| MessageError { offset, reason: MessageReason::Topic })?;
        let index = match self.topics.get(topic) {
            Some(index) => *index,
            None => {
                self.tails.push(TopicTail::default());
                self.topics.insert(Arc::from(topic), self.tails.len() - 1);
                self.tails.len() - 1
            }
        };
        Ok(&mut self.tails[index])
    }
}

/// Compares the three stamped fields of one message with what the log demands.
#[inline]
fn check_stamp(
    shape: &MessageShape,
    message: &[u8],
    expected: i64,
    position: u64,
    time: i64,
) -> Result<(), TailError> {
    let found = shape.queue_offset(message);
    if found != expected && !mutants::on(Mutant::ReuseQueueOffset) {
        let topic = String::from_utf8_lossy(shape.topic(message)).into_owned();
        return Err(TailError::QueueOffset { topic, queue_id: shape.queue_id, expected, found, position });
    }
    let found = shape.physical_offset(message);
    if found.cast_unsigned() != position {
        return Err(TailError::PhysicalOffset { position, found });
    }
    let found = shape.store_timestamp(message);
    if found != time {
        return Err(TailError::StoreTime { position, expected: time, found });
    }
    Ok(())
}

fn topic_text(topic: &[u8]) -> &str {
    std::str::from_utf8(topic).expect("the topic was text when it was accepted")
}

/// Positions and times are signed on the wire.
fn signed(value: u64) -> Result<i64, TailError> {
    i64::try_from(value).map_err(|_| TailError::Range(value))
}

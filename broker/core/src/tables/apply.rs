//! Applying one entry: commands first, then messages.

use flotilla_mutants::{self as mutants, Mutant};
use flotilla_remoting::names::SCHEDULE_TOPIC;

use super::{Applied, Tables};
use crate::codec::{CodecError, Reader};
use crate::command::{Command, QueueMinimum};
use crate::effects::{Appended, Effects};
use crate::message::{MessageError, MessageReason, Messages};
use crate::payload::{Payload, PayloadError};

/// Where an entry lies in the log and when its leader stamped it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryContext {
    pub index: u64,
    pub term: u64,
    /// Log position of the record's first byte.
    pub position: u64,
    /// Log position of the payload's first byte.
    pub payload_position: u64,
    /// Leader's time of the entry, milliseconds since 1970.
    pub time_ms: u64,
}

/// Why an entry can't be applied. Every variant is a bug or a damaged log and must stop the node: going on would make this
/// replica differ from its peers. The tables are not to be used afterwards.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    #[error("entry {found} does not follow entry {applied}")]
    Order { applied: u64, found: u64 },
    #[error("entry {index}: {source}")]
    Payload { index: u64, source: PayloadError },
    #[error("entry {index}: command {source}")]
    Command { index: u64, source: CodecError },
    #[error(
        "entry {index}: {topic} queue {queue_id} holds {expected} messages, the next one says it is {found}"
    )]
    QueueOffset { index: u64, topic: String, queue_id: u32, expected: i64, found: i64 },
    #[error("entry {index}: message at log position {position} says it is at {found}")]
    PhysicalOffset { index: u64, position: u64, found: i64 },
    #[error("entry {index}: message says time {found}, the entry {expected}")]
    StoreTime { index: u64, expected: u64, found: i64 },
}

impl Tables {
    /// Applies an application entry.
    ///
    /// # Errors
    /// See [`ApplyError`]: the node must stop.
    pub fn apply(&mut self, entry: &EntryContext, payload: &[u8]) -> Result<Effects, ApplyError> {
        let mut effects = Effects::default();
        self.apply_into(entry, payload, &mut effects)?;
        Ok(effects)
    }

    /// As [`Self::apply`], adding to `effects`, whose memory can so be used again.
    ///
    /// # Errors
    /// See [`ApplyError`]: the node must stop.
    pub fn apply_into(
        &mut self,
        entry: &EntryContext,
        payload: &[u8],
        effects: &mut Effects,
    ) -> Result<(), ApplyError> {
        self.advance(entry, payload.len())?;
        let index = entry.index;
        let parts = Payload::parse(payload).map_err(|source| ApplyError::Payload { index, source })?;
        let mut commands = Reader::new(parts.commands);
        while !commands.is_empty() {
            let command = Command::decode_framed(&mut commands)
                .map_err(|source| ApplyError::Command { index, source })?;
            let answer = self.apply_command(command, entry.time_ms, effects);
            effects.answers.push(answer);
        }
        self.apply_messages(entry, &parts, effects)
    }

    /// Notes an entry without application payload (blank, membership), so that the tables know how far the log is applied.
    ///
    /// # Errors
    /// [`ApplyError::Order`] only.
    pub fn skip(&mut self, entry: &EntryContext, payload_size: usize) -> Result<(), ApplyError> {
        self.advance(entry, payload_size)
    }

    fn advance(&mut self, entry: &EntryContext, payload_size: usize) -> Result<(), ApplyError> {
        let blank = self.applied == Applied::default();
        if !blank && entry.index <= self.applied.index {
            return Err(ApplyError::Order { applied: self.applied.index, found: entry.index });
        }
        self.applied = Applied {
            index: entry.index,
            term: entry.term,
            end_position: entry.payload_position + payload_size as u64,
            time_ms: entry.time_ms,
        };
        Ok(())
    }

    fn apply_messages(
        &mut self,
        entry: &EntryContext,
        parts: &Payload<'_>,
        effects: &mut Effects,
    ) -> Result<(), ApplyError> {
        let index = entry.index;
        let bad = |source: MessageError| ApplyError::Payload { index, source: source.into() };
        let base = entry.payload_position + parts.messages_at as u64;
        let mut walk = Messages::new(parts.messages);
        let mut message = walk.next();
        while let Some(first) = message {
            let (mut offset, mut shape, mut bytes) = first.map_err(bad)?;
            let topic_bytes = shape.topic(bytes);
            let topic_text = std::str::from_utf8(topic_bytes)
                .map_err(|_| bad(MessageError { offset, reason: MessageReason::Topic }))?;
            // One look-up serves a run of messages of the same topic.
            let topic = self.topics.get_or_insert_with(topic_text, super::TopicState::new);
            let exists = topic.config.is_some();
            let delayed = topic_text == SCHEDULE_TOPIC;
            message = loop {
                let position = base + offset as u64;
                let physical_offset = shape.physical_offset(bytes);
                if physical_offset.cast_unsigned() != position {
                    return Err(ApplyError::PhysicalOffset { index, position, found: physical_offset });
                }
                let store_time_ms = shape.store_timestamp(bytes);
                if store_time_ms.cast_unsigned() != entry.time_ms {
                    return Err(ApplyError::StoreTime {
                        index,
                        expected: entry.time_ms,
                        found: store_time_ms,
                    });
                }
                if shape.is_numbered() {
                    let queue_id = shape.queue_id;
                    let head = topic.queue_mut(queue_id);
                    let unchecked = mutants::on(Mutant::ReuseQueueOffset);
                    let queue_offset = if unchecked { head.max } else { shape.queue_offset(bytes) };
                    if queue_offset != head.max {
                        let (topic, expected) = (topic_text.to_owned(), head.max);
                        let found = queue_offset;
                        return Err(ApplyError::QueueOffset { index, topic, queue_id, expected, found });
                    }
                    head.append(physical_offset, store_time_ms);
                    if delayed {
                        effects.delay_begun |= self.delay.arrived(queue_id, queue_offset, physical_offset);
                    }
                    // A message that was under way while its topic was deleted keeps its number and is hidden like the others.
                    if !exists {
                        head.bury();
                        let min = head.min;
                        effects.minimums.push(QueueMinimum { topic: topic.name.clone(), queue_id, min });
                    }
                    effects.appended.push(Appended {
                        topic: topic.name.clone(),
                        queue_id,
                        size: shape.size,
                        queue_offset,
                        physical_offset,
                        tags_code: shape.tags_code(bytes),
                        store_time_ms,
                    });
                }
                match walk.next() {
                    Some(Ok((next_offset, next_shape, next_bytes)))
                        if next_shape.topic(next_bytes) == topic_bytes =>
                    {
                        (offset, shape, bytes) = (next_offset, next_shape, next_bytes);
                    }
                    other => break other,
                }
            };
        }
        Ok(())
    }
}

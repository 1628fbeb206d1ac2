//! What one applied entry did: enough to answer its proposers, extend the views, wake long polls, notify groups and register.

use std::sync::Arc;

use bytes::Bytes;

use crate::codec::{CodecError, CodecReason, Reader, put_i64, put_text, put_u32, put_u64};
use crate::command::QueueMinimum;

/// The outcome of one entry. Buffers can be reused through [`Effects::clear`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Effects {
    /// Messages that took a number, in order of the payload.
    pub appended: Vec<Appended>,
    /// One answer per command, in order of the payload.
    pub answers: Vec<Answer>,
    /// Topics created, changed or deleted: the name servers must hear of them.
    pub topics_changed: Vec<Arc<str>>,
    pub groups_changed: Vec<Arc<str>>,
    /// Groups where a member joined, left or changed, each once.
    pub members_changed: Vec<Arc<str>>,
    /// Members that were taken out without having said so: group and client id. Who holds a connection of one knows better.
    pub members_dropped: Vec<(Arc<str>, Arc<str>)>,
    /// How many consumer offsets were written.
    pub offsets_committed: usize,
    pub settings_changed: bool,
    /// Queues whose first available number rose, by retention or because their topic was deleted.
    pub minimums: Vec<QueueMinimum>,
    /// The log below this position may go; set when it rose.
    pub minimum_position: Option<u64>,
    /// A delayed message was stored where none waited: the leader has to look when it is due.
    pub delay_begun: bool,
    /// Queues whose readers have to move: pulls that wait there look again.
    pub resets: Vec<(Arc<str>, u32)>,
}

/// One message that took its place in a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    pub topic: Arc<str>,
    pub queue_id: u32,
    /// Total size of the stored message in bytes.
    pub size: u32,
    pub queue_offset: i64,
    /// Log position of the message's first byte.
    pub physical_offset: i64,
    pub tags_code: i64,
    pub store_time_ms: i64,
}

/// Answer to one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Done,
    /// The tables already were as the command wanted them.
    Unchanged,
    Refused(Refusal),
}

/// Why a command had no effect. Decided from the tables alone, so every replica refuses alike.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("topic {0} does not exist")]
    UnknownTopic(Arc<str>),
    #[error("group {0} does not exist")]
    UnknownGroup(Arc<str>),
    #[error("{client_id} is no member of group {group}")]
    UnknownMember { group: Arc<str>, client_id: Arc<str> },
    #[error("{count} queues are more than {limit}")]
    TooManyQueues { count: u32, limit: u32 },
    #[error("this group is {broker} of cluster {cluster}")]
    OtherIdentity { cluster: Arc<str>, broker: Arc<str> },
    #[error("delay queue {queue_id} stands at {expected}, not at {found}")]
    DelayOrder { queue_id: u32, expected: i64, found: i64 },
    #[error("decided in term {decided}, applied in term {applied}")]
    OtherTerm { decided: u64, applied: u64 },
}

/// Neighbours in an entry that went to the same queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run<'a> {
    pub topic: &'a Arc<str>,
    pub queue_id: u32,
    /// Next number of the queue after this run.
    pub max: i64,
    /// At least one.
    pub messages: &'a [Appended],
}

impl Answer {
    /// The answer as it travels from the leader to the replica that handed the command over: one byte for the kind, then the
    /// values as `codec` writes them.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        match self {
            Self::Done => out.push(0),
            Self::Unchanged => out.push(1),
            Self::Refused(Refusal::UnknownTopic(topic)) => {
                out.push(2);
                put_text(&mut out, topic);
            }
            Self::Refused(Refusal::UnknownGroup(group)) => {
                out.push(3);
                put_text(&mut out, group);
            }
            Self::Refused(Refusal::UnknownMember { group, client_id }) => {
                out.push(4);
                put_text(&mut out, group);
                put_text(&mut out, client_id);
            }
            Self::Refused(Refusal::TooManyQueues { count, limit }) => {
                out.push(5);
                put_u32(&mut out, *count);
                put_u32(&mut out, *limit);
            }
            Self::Refused(Refusal::OtherIdentity { cluster, broker }) => {
                out.push(6);
                put_text(&mut out, cluster);
                put_text(&mut out, broker);
            }
            Self::Refused(Refusal::DelayOrder { queue_id, expected, found }) => {
                out.push(7);
                put_u32(&mut out, *queue_id);
                put_i64(&mut out, *expected);
                put_i64(&mut out, *found);
            }
            Self::Refused(Refusal::OtherTerm { decided, applied }) => {
                out.push(8);
                put_u64(&mut out, *decided);
                put_u64(&mut out, *applied);
            }
        }
        out.into()
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// The field that could not be read.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut input = Reader::new(bytes);
        let answer = match input.u8("answer kind")? {
            0 => Self::Done,
            1 => Self::Unchanged,
            2 => Self::Refused(Refusal::UnknownTopic(input.name("topic")?)),
            3 => Self::Refused(Refusal::UnknownGroup(input.name("group")?)),
            4 => Self::Refused(Refusal::UnknownMember {
                group: input.name("group")?,
                client_id: input.name("client id")?,
            }),
            5 => Self::Refused(Refusal::TooManyQueues {
                count: input.u32("queue count")?,
                limit: input.u32("queue limit")?,
            }),
            6 => Self::Refused(Refusal::OtherIdentity {
                cluster: input.name("cluster")?,
                broker: input.name("broker")?,
            }),
            7 => Self::Refused(Refusal::DelayOrder {
                queue_id: input.u32("delay queue id")?,
                expected: input.i64("expected number")?,
                found: input.i64("found number")?,
            }),
            8 => Self::Refused(Refusal::OtherTerm {
                decided: input.u64("term of the decision")?,
                applied: input.u64("applied term")?,
            }),
            other => return Err(input.error("answer kind", CodecReason::Unknown(other.into()))),
        };
        input.finish("answer")?;
        Ok(answer)
    }
}

impl Effects {
    /// The appended messages in runs of one queue, as long as they can be, in order.
    pub fn runs(&self) -> impl Iterator<Item = Run<'_>> {
        let same_queue = |left: &Appended, right: &Appended| {
            // Names are interned, so neighbours of one topic mostly share the very name.
            left.queue_id == right.queue_id
                && (Arc::ptr_eq(&left.topic, &right.topic) || left.topic == right.topic)
        };
        self.appended.chunk_by(same_queue).map(|messages| {
            let last = &messages[messages.len() - 1];
            Run { topic: &last.topic, queue_id: last.queue_id, max: last.queue_offset + 1, messages }
        })
    }

    /// Empties all lists and keeps their memory.
    pub fn clear(&mut self) {
        let Self {
            appended,
            answers,
            topics_changed,
            groups_changed,
            members_changed,
            members_dropped,
            offsets_committed,
            settings_changed,
            minimums,
            minimum_position,
            delay_begun,
            resets,
        } = self;
        appended.clear();
        answers.clear();
        topics_changed.clear();
        groups_changed.clear();
        members_changed.clear();
        members_dropped.clear();
        minimums.clear();
        resets.clear();
        *offsets_committed = 0;
        *settings_changed = false;
        *minimum_position = None;
        *delay_begun = false;
    }

    pub(crate) fn topic_changed(&mut self, topic: &Arc<str>) {
        push_once(&mut self.topics_changed, topic);
    }

    pub(crate) fn group_changed(&mut self, group: &Arc<str>) {
        push_once(&mut self.groups_changed, group);
    }

    pub(crate) fn member_changed(&mut self, group: &Arc<str>) {
        push_once(&mut self.members_changed, group);
    }
}

// An entry touches few names, so a walk beats a set.
fn push_once(names: &mut Vec<Arc<str>>, name: &Arc<str>) {
    if !names.contains(name) {
        names.push(name.clone());
    }
}

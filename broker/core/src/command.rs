//! Commands: everything but messages that changes the tables, in the order of the log.
//!
//! One command, little endian; several lie back to back:
//!
//! | offset | size | field   | meaning                                                   |
//! |-------:|-----:|---------|-----------------------------------------------------------|
//! |      0 |    1 | kind    | numbers below                                             |
//! |      1 |    1 | version | of this kind's body, now 1 for all                        |
//! |      2 |    4 | size    | bytes of the body                                         |
//! |      6 |    n | body    | fields in the order of the variant, as `codec` writes them |
//!
//! An unknown kind or version is an error that stops the node: a replica that skipped a command would drift from its peers. So a
//! new kind is proposed only when all replicas know it.

use std::sync::Arc;

use bytes::Bytes;

use crate::codec::{
    CodecError, CodecReason, Decode, Encode, Reader, put_bool, put_count, put_i64, put_list, put_text,
    put_u32, put_u64,
};
use crate::model::{GroupConfig, Member, SettingChange, Settings, TopicConfig};
use crate::tables::{LockQueues, UnlockQueues};

const VERSION: u8 = 1;

/// A change of the tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Names the group and lays out its system topics; the first leader proposes it once.
    Bootstrap(Box<Bootstrap>),
    PutSettings(Settings),
    /// Creates a topic unless it exists: the form for automatic creation, which must not undo an administrator's change that
    /// came first.
    CreateTopic(TopicConfig),
    /// Creates or replaces a topic's configuration.
    PutTopic(TopicConfig),
    DeleteTopic {
        topic: Arc<str>,
    },
    CreateGroup(GroupConfig),
    PutGroup(GroupConfig),
    DeleteGroup {
        group: Arc<str>,
        clean_offsets: bool,
    },
    CommitOffsets(Vec<OffsetCommit>),
    /// A member joins, or changes what it said when it joined.
    Join(Box<Join>),
    Leave {
        group: Arc<str>,
        client_id: Arc<str>,
        reason: LeaveReason,
    },
    /// Retention: what lies below `log_position` is gone, and each queue begins at its new minimum.
    RaiseMinimum {
        log_position: u64,
        queues: Vec<QueueMinimum>,
    },
    /// Changes some settings of the group and leaves the others as they are.
    ChangeSettings(Vec<SettingChange>),
    /// Delayed messages are delivered: the same entry holds them for their topics.
    DelayDone(DelayDone),
    /// A client takes queues for ordered consumption.
    Lock(Box<LockQueues>),
    /// Queues become free.
    Unlock(Box<UnlockQueues>),
    /// Forbids a group to read a topic, or takes that back.
    ForbidRead {
        group: Arc<str>,
        topic: Arc<str>,
        forbidden: bool,
    },
    /// Moves groups to these offsets. Until a reader of a queue has followed, what else is committed for it has no effect.
    ResetOffsets(Vec<OffsetCommit>),
    /// A reader of a queue has followed the reset to this offset.
    FollowReset(OffsetCommit),
    /// Copies a group's offsets of these topics to another group, in place of what that had there.
    CloneOffsets {
        source: Arc<str>,
        target: Arc<str>,
        topics: Vec<Arc<str>>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bootstrap {
    pub cluster: Arc<str>,
    pub broker: Arc<str>,
    pub settings: Settings,
    pub topics: Vec<TopicConfig>,
    pub groups: Vec<GroupConfig>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetCommit {
    pub group: Arc<str>,
    pub topic: Arc<str>,
    pub queue_id: u32,
    /// Next message that the group wants from this queue. A lower one than before is accepted.
    pub offset: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    pub group: Arc<str>,
    pub member: Member,
}

/// Why a member left; for the logs and metrics only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LeaveReason {
    /// The client said so (code 35).
    Unregistered,
    /// All replicas report its channels closed.
    ChannelsClosed,
    /// No heartbeat anywhere for too long.
    Silent,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueMinimum {
    pub topic: Arc<str>,
    pub queue_id: u32,
    pub min: i64,
}

/// Messages of one delay level that are delivered, or given up, by the entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DelayDone {
    /// Queue of the schedule topic.
    pub queue_id: u32,
    /// Number of the first of them; the table's own, unless the proposer was mistaken.
    pub from: i64,
    /// Number behind the last of them.
    pub to: i64,
    /// No later message of the queue lies below this log position.
    pub position: u64,
}

impl Command {
    /// A short name for logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Bootstrap(_) => "bootstrap",
            Self::PutSettings(_) => "put_settings",
            Self::CreateTopic(_) => "create_topic",
            Self::PutTopic(_) => "put_topic",
            Self::DeleteTopic { .. } => "delete_topic",
            Self::CreateGroup(_) => "create_group",
            Self::PutGroup(_) => "put_group",
            Self::DeleteGroup { .. } => "delete_group",
            Self::CommitOffsets(_) => "commit_offsets",
            Self::Join(_) => "join",
            Self::Leave { .. } => "leave",
            Self::RaiseMinimum { .. } => "raise_minimum",
            Self::ChangeSettings(_) => "change_settings",
            Self::DelayDone(_) => "delay_done",
            Self::Lock(_) => "lock",
            Self::Unlock(_) => "unlock",
            Self::ForbidRead { .. } => "forbid_read",
            Self::ResetOffsets(_) => "reset_offsets",
            Self::FollowReset(_) => "follow_reset",
            Self::CloneOffsets { .. } => "clone_offsets",
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Bootstrap(_) => 1,
            Self::PutSettings(_) => 2,
            Self::CreateTopic(_) => 3,
            Self::PutTopic(_) => 4,
            Self::DeleteTopic { .. } => 5,
            Self::CreateGroup(_) => 6,
            Self::PutGroup(_) => 7,
            Self::DeleteGroup { .. } => 8,
            Self::CommitOffsets(_) => 9,
            Self::Join(_) => 10,
            Self::Leave { .. } => 11,
            Self::RaiseMinimum { .. } => 12,
            Self::ChangeSettings(_) => 20,
            Self::DelayDone(_) => 13,
            Self::Lock(_) => 14,
            Self::Unlock(_) => 15,
            Self::ForbidRead { .. } => 16,
            Self::ResetOffsets(_) => 17,
            Self::FollowReset(_) => 18,
            Self::CloneOffsets { .. } => 19,
        }
    }

    /// The command by itself, as a replica hands it to the leader.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        self.encode_framed(&mut out);
        out.into()
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// As [`Self::decode_framed`], or bytes left over.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut input = Reader::new(bytes);
        let command = Self::decode_framed(&mut input)?;
        input.finish("command")?;
        Ok(command)
    }

    /// Appends kind, version, size and body.
    pub fn encode_framed(&self, out: &mut Vec<u8>) {
        out.push(self.kind());
        out.push(VERSION);
        let size_at = out.len();
        put_u32(out, 0);
        self.encode_body(out);
        let size = u32::try_from(out.len() - size_at - 4).expect("a command is far below 4 GiB");
        out[size_at..size_at + 4].copy_from_slice(&size.to_le_bytes());
    }

    fn encode_body(&self, out: &mut Vec<u8>) {
        match self {
            Self::Bootstrap(bootstrap) => {
                put_text(out, &bootstrap.cluster);
                put_text(out, &bootstrap.broker);
                bootstrap.settings.encode(out);
                put_list(out, &bootstrap.topics);
                put_list(out, &bootstrap.groups);
            }
            Self::PutSettings(settings) => settings.encode(out),
            Self::CreateTopic(config) | Self::PutTopic(config) => config.encode(out),
            Self::DeleteTopic { topic } => put_text(out, topic),
            Self::CreateGroup(config) | Self::PutGroup(config) => config.encode(out),
            Self::DeleteGroup { group, clean_offsets } => {
                put_text(out, group);
                put_bool(out, *clean_offsets);
            }
            Self::CommitOffsets(commits) | Self::ResetOffsets(commits) => put_list(out, commits),
            Self::FollowReset(followed) => followed.encode(out),
            Self::Join(join) => {
                put_text(out, &join.group);
                join.member.encode(out);
            }
            Self::Leave { group, client_id, reason } => {
                put_text(out, group);
                put_text(out, client_id);
                out.push(match reason {
                    LeaveReason::Unregistered => 0,
                    LeaveReason::ChannelsClosed => 1,
                    LeaveReason::Silent => 2,
                });
            }
            Self::RaiseMinimum { log_position, queues } => {
                put_u64(out, *log_position);
                put_count(out, queues.len());
                for queue in queues {
                    put_text(out, &queue.topic);
                    put_u32(out, queue.queue_id);
                    put_i64(out, queue.min);
                }
            }
            Self::ChangeSettings(changes) => put_list(out, changes),
            Self::DelayDone(done) => {
                put_u32(out, done.queue_id);
                put_i64(out, done.from);
                put_i64(out, done.to);
                put_u64(out, done.position);
            }
            Self::Lock(lock) => lock.encode(out),
            Self::Unlock(unlock) => unlock.encode(out),
            Self::ForbidRead { group, topic, forbidden } => {
                put_text(out, group);
                put_text(out, topic);
                put_bool(out, *forbidden);
            }
            Self::CloneOffsets { source, target, topics } => {
                put_text(out, source);
                put_text(out, target);
                put_count(out, topics.len());
                for topic in topics {
                    put_text(out, topic);
                }
            }
        }
    }

    /// Reads one command with its frame.
    ///
    /// # Errors
    /// Unknown kind or version, or a body that does not fill its size exactly.
    pub fn decode_framed(input: &mut Reader<'_>) -> Result<Self, CodecError> {
        let start = input.clone();
        let kind = input.u8("command kind")?;
        let version = input.u8("command version")?;
        if version != VERSION {
            return Err(start.error("command version", CodecReason::Unknown(version.into())));
        }
        let size = input.u32("command size")? as usize;
        let body_at = input.offset();
        let mut body = Reader::new(input.take("command body", size)?);
        let command = Self::decode_body(kind, &mut body).and_then(|command| {
            body.finish("command body")?;
            Ok(command)
        });
        // Offsets in the error count from where the caller's count does.
        command.map_err(|error| CodecError { offset: error.offset + body_at, ..error })
    }

    fn decode_body(kind: u8, input: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(match kind {
            1 => Self::Bootstrap(Box::new(Bootstrap {
                cluster: input.name("cluster name")?,
                broker: input.name("broker name")?,
                settings: Settings::decode(input)?,
                topics: input.list("system topics", 22, TopicConfig::decode)?,
                groups: input.list("system groups", 50, GroupConfig::decode)?,
            })),
            2 => Self::PutSettings(Settings::decode(input)?),
            3 => Self::CreateTopic(TopicConfig::decode(input)?),
            4 => Self::PutTopic(TopicConfig::decode(input)?),
            5 => Self::DeleteTopic { topic: input.name("topic")? },
            6 => Self::CreateGroup(GroupConfig::decode(input)?),
            7 => Self::PutGroup(GroupConfig::decode(input)?),
            8 => {
                Self::DeleteGroup { group: input.name("group")?, clean_offsets: input.bool("clean offsets")? }
            }
            9 => Self::CommitOffsets(input.list("offset commits", 20, OffsetCommit::decode)?),
            10 => Self::Join(Box::new(Join { group: input.name("group")?, member: Member::decode(input)? })),
            11 => Self::Leave {
                group: input.name("group")?,
                client_id: input.name("client id")?,
                reason: match input.u8("leave reason")? {
                    0 => LeaveReason::Unregistered,
                    1 => LeaveReason::ChannelsClosed,
                    2 => LeaveReason::Silent,
                    other => return Err(input.error("leave reason", CodecReason::Unknown(other.into()))),
                },
            },
            12 => Self::RaiseMinimum {
                log_position: input.u64("log position")?,
                queues: input.list("queue minimums", 16, |input| {
                    Ok(QueueMinimum {
                        topic: input.name("topic")?,
                        queue_id: input.u32("queue id")?,
                        min: input.i64("queue minimum")?,
                    })
                })?,
            },
            20 => Self::ChangeSettings(input.list("setting changes", 9, SettingChange::decode)?),
            13 => Self::DelayDone(DelayDone {
                queue_id: input.u32("delay queue id")?,
                from: input.i64("first delivered")?,
                to: input.i64("next delivered")?,
                position: input.u64("delay position")?,
            }),
            14 => Self::Lock(Box::new(LockQueues::decode(input)?)),
            15 => Self::Unlock(Box::new(UnlockQueues::decode(input)?)),
            16 => Self::ForbidRead {
                group: input.name("group")?,
                topic: input.name("topic")?,
                forbidden: input.bool("forbidden")?,
            },
            17 => Self::ResetOffsets(input.list("offset resets", 20, OffsetCommit::decode)?),
            18 => Self::FollowReset(OffsetCommit::decode(input)?),
            19 => Self::CloneOffsets {
                source: input.name("source group")?,
                target: input.name("target group")?,
                topics: input.list("topics", 4, |input| input.name("topic"))?,
            },
            other => return Err(input.error("command kind", CodecReason::Unknown(other.into()))),
        })
    }
}

impl Encode for OffsetCommit {
    fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.group);
        put_text(out, &self.topic);
        put_u32(out, self.queue_id);
        put_i64(out, self.offset);
    }
}

impl Decode for OffsetCommit {
    fn decode(input: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            group: input.name("group")?,
            topic: input.name("topic")?,
            queue_id: input.u32("queue id")?,
            offset: input.i64("offset")?,
        })
    }
}

//! The tables: everything that the applied log says, and the questions that handlers ask of it.
//!
//! One writer: [`Tables::apply`], in the order of the log. A clone is cheap and stays at its moment ([`Tables::encode`] of a clone
//! can run on another thread while this one goes on).
//!
//! Invariants: a topic's queues never lose their numbers, deleted or not; `base <= min <= max` in each queue; the same log gives
//! the same bytes.

mod apply;
pub mod checkpoint;
mod commands;
mod delay;
mod locks;
mod offsets;
mod queries;
mod sharded;
mod topic;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use apply::{ApplyError, EntryContext};
pub use checkpoint::CheckpointError;
pub(crate) use delay::DelayTable;
pub use delay::{DelayHistory, DelayProgress};
use locks::GroupLocks;
pub use locks::{Grant, LockClaim, LockQueues, QueueLock, UnlockClaim, UnlockQueues};
pub use queries::TopicOffsets;
pub(crate) use sharded::FixedHasher;
use sharded::Sharded;
use topic::TopicState;

use crate::model::{DataVersion, GroupConfig, GroupMembers, Settings};

/// The state machine's state.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    applied: Applied,
    identity: Option<Identity>,
    settings: Settings,
    settings_version: DataVersion,
    topics: Sharded<TopicState>,
    topic_version: DataVersion,
    groups: Sharded<GroupConfig>,
    group_version: DataVersion,
    members: Sharded<GroupMembers>,
    offsets: Sharded<GroupOffsets>,
    locks: Sharded<GroupLocks>,
    /// Locks of all groups, counted.
    lock_count: usize,
    /// Offsets that a reader of the queue has still to move to. Each is the group's offset of the queue as well.
    resets: Sharded<GroupOffsets>,
    /// Topics that a group may not read.
    forbidden: Sharded<BTreeSet<Arc<str>>>,
    minimum_position: u64,
    delay: DelayTable,
}

/// The newest entry in the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Applied {
    pub index: u64,
    pub term: u64,
    /// Log position behind the entry's payload.
    pub end_position: u64,
    pub time_ms: u64,
}

/// What this broker group is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub cluster: Arc<str>,
    pub broker: Arc<str>,
}

/// Consumer offsets of one group: topic, queue id, next message wanted.
pub(crate) type GroupOffsets = BTreeMap<Arc<str>, BTreeMap<u32, i64>>;

impl Tables {
    /// The state before the first entry: no topics, no groups. System topics come by the bootstrap command, so that what they
    /// are is fixed by the log and not by the version of the code that reads it.
    pub fn blank() -> Self {
        Self::default()
    }
}

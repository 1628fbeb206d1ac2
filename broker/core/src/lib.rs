//! The broker's deterministic state machine: commands, tables, apply, effects.
//!
//! Promises: the same log gives the same [`Tables`], byte for byte in [`Tables::encode`], on every replica and across every
//! checkpoint. Nothing here reads a clock, a file, a socket or a random source; time comes with each entry, ids with each command.
//!
//! Leaves to others: who may propose what (the broker's handlers), the log and its checksums (`raft-store`), the wire
//! (`flotilla-remoting`), and everything soft: renewals of memberships, long polls, connections.
//!
//! ```text
//! payload bytes ── TailTable::stamp (leader's append) ──▶ log ── Tables::apply (every replica) ──▶ Effects
//!                  TailTable::observe (follower)                      │
//!                  TailTable::retract (truncation)                    └── queries, rules (pure decisions for handlers)
//! ```
#![forbid(unsafe_code)]

pub mod codec;
pub mod command;
pub mod effects;
pub mod limits;
pub mod message;
pub mod model;
pub mod payload;
pub mod rules;
pub mod system;
pub mod tables;
pub mod tail;

pub use codec::CodecError;
pub use command::{Bootstrap, Command, DelayDone, Join, LeaveReason, OffsetCommit, QueueMinimum};
pub use effects::{Answer, Appended, Effects, Refusal, Run};
pub use message::{MessageError, MessageShape, Messages};
pub use model::{
    ConsumeFrom, ConsumeType, DataVersion, DelayLevels, DelayLevelsError, FilterType, GroupConfig,
    GroupMembers, Hours, Member, MessageModel, Perm, QueueHead, QueueRange, Retention, RetryPolicy,
    SettingChange, Settings, SimpleSubscription, Subscription, TopicConfig,
};
pub use payload::{Payload, PayloadBuilder, PayloadError};
pub use rules::{TagFilter, TagFilterError};
pub use tables::{
    Applied, ApplyError, CheckpointError, DelayHistory, DelayProgress, EntryContext, Grant, Identity,
    LockClaim, LockQueues, QueueLock, Tables, UnlockClaim, UnlockQueues,
};
pub use tail::{TailError, TailTable};

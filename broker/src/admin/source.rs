//! What the administration asks of a node. The node implements it; the server knows nothing else of it.

use std::future::Future;
use std::pin::Pin;

use crate::metrics::{Gauges, Metrics};

/// An answer that may take a while, such as one that another replica gives.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, AdminError>> + Send + 'a>>;

/// A node, as its administration sees it. All reads give the applied state of this replica.
pub trait AdminSource: Send + Sync + 'static {
    fn node(&self) -> Node;

    /// Everything that must be true before the node may be sent requests.
    fn checks(&self) -> Vec<Check>;

    fn group(&self) -> Group;

    /// Moves leadership to a peer, or to the fittest one. Works on every replica: a follower asks the leader.
    fn transfer(&self, to: Option<u64>) -> Answer<'_, Transfer>;

    /// At most `limit` topics with names above `after`, in the order of their names.
    fn topics(&self, after: &str, limit: usize) -> Answer<'_, Vec<Topic>>;

    fn topic(&self, name: &str) -> Answer<'_, Option<Topic>>;

    /// `None` when there is no such topic.
    fn queues(&self, topic: &str) -> Answer<'_, Option<Vec<Queue>>>;

    /// At most `limit` groups with names above `after`, in the order of their names.
    fn consumer_groups(&self, after: &str, limit: usize) -> Answer<'_, Vec<ConsumerGroup>>;

    fn consumer_group(&self, name: &str) -> Answer<'_, Option<ConsumerGroupDetail>>;

    fn metrics(&self) -> &Metrics;

    /// State for a scrape. Called on an ordinary thread that may read files.
    fn gauges(&self) -> Gauges;
}

/// Who the node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub cluster: String,
    pub broker_name: String,
    /// Peer index of this replica.
    pub replica: u64,
    /// Address that clients are told.
    pub client_address: String,
    /// All members of the group.
    pub members: Vec<Member>,
}

/// A configured replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub replica: u64,
    /// Host and port of the Raft listener.
    pub raft_address: String,
}

/// One named condition of readiness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    pub name: &'static str,
    pub ok: bool,
    /// What is the case, for people.
    pub detail: String,
}

/// The Raft group as this replica sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub name: String,
    pub replica: u64,
    /// `leader`, `follower`, `candidate`, `learner`, `blank` or `stopped`.
    pub role: &'static str,
    pub leader: Option<u64>,
    pub term: u64,
    pub last_log: Option<u64>,
    pub committed: Option<u64>,
    pub applied: Option<u64>,
    /// Retention boundary: the last entry covered by the group's snapshot.
    pub snapshot: Option<u64>,
    pub purged: Option<u64>,
    /// The leader's view of each member; empty on others.
    pub progress: Vec<Progress>,
    /// What keeps this replica from taking part.
    pub waiting_for: Option<String>,
}

/// How far a member's log is known to agree with the leader's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub replica: u64,
    pub matched: Option<u64>,
}

/// A hand-over of leadership that was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// The leader before.
    pub from: u64,
    /// The new leader; `None` when it was asked to take over and isn't known yet.
    pub leader: Option<u64>,
    pub term: u64,
}

/// Settings of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    pub name: String,
    pub read_queues: u32,
    pub write_queues: u32,
    /// Bits: 4 read, 2 write.
    pub permission: u32,
    pub ordered: bool,
    pub system: bool,
}

/// Range of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    pub queue: u32,
    /// First offset that can be read.
    pub min_offset: u64,
    /// Offset of the next message.
    pub max_offset: u64,
    /// Store time of the newest message, milliseconds since the epoch.
    pub last_time_ms: Option<u64>,
}

/// A consumer group in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerGroup {
    pub name: String,
    pub member_count: usize,
    /// Topics that the group subscribes or has offsets in.
    pub topics: Vec<String>,
}

/// All about a consumer group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerGroupDetail {
    pub name: String,
    /// `clustering` or `broadcasting`; `None` without members.
    pub message_model: Option<&'static str>,
    /// `push` or `pull`; `None` without members.
    pub consume_type: Option<&'static str>,
    pub members: Vec<GroupMember>,
    pub offsets: Vec<QueueOffset>,
}

/// A member of a consumer group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    pub client_id: String,
    pub language: String,
    pub version: i32,
    pub subscriptions: Vec<Subscription>,
}

/// What a member wants from a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    pub topic: String,
    pub expression: String,
    pub expression_type: String,
}

/// Where a group stands in a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueOffset {
    pub topic: String,
    pub queue: u32,
    pub min_offset: u64,
    pub max_offset: u64,
    /// Offset of the next message to consume; `None` = never confirmed.
    pub committed: Option<u64>,
}

impl QueueOffset {
    /// Messages that can be read and are not confirmed. Never negative: offsets that were reset beyond the end, or
    /// that lie before the first retained message, count what is really there. `None` = never confirmed.
    pub fn lag(&self) -> Option<u64> {
        let readable_from = self.committed?.max(self.min_offset);
        Some(self.max_offset.saturating_sub(readable_from))
    }
}

/// Why an answer isn't given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// The caller's mistake.
    #[error("{0}")]
    Invalid(String),
    /// The state doesn't allow it now.
    #[error("{reason}")]
    Conflict { reason: String, leader: Option<u64> },
    /// No leader is known, or it can't be reached.
    #[error("{0}")]
    NoLeader(String),
    /// It took too long; the outcome may follow.
    #[error("{reason}")]
    Timeout { reason: String, leader: Option<u64> },
    /// Our own failure.
    #[error("{0}")]
    Internal(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_counts_what_can_be_read_and_is_never_negative() {
        let lag = |min_offset, max_offset, committed| {
            QueueOffset { topic: "t".into(), queue: 0, min_offset, max_offset, committed }.lag()
        };
        assert_eq!(lag(0, 10, Some(4)), Some(6));
        assert_eq!(lag(0, 10, Some(12)), Some(0));
        assert_eq!(lag(7, 10, Some(4)), Some(3));
        assert_eq!(lag(0, 10, None), None);
    }
}

//! What is not counted along the way but asked for at each scrape.

use std::time::Duration;

/// State of the node at the time of a scrape.
#[derive(Debug, Clone, Default)]
pub struct Gauges {
    pub raft: RaftGauges,
    pub log: LogCounters,
    pub storage: StorageGauges,
    pub clients: ClientGauges,
    /// Empty when it was not worth the work, such as on a follower.
    pub lags: Lags,
    /// Unread messages that retention reaches soon; known on the leader.
    pub expiring: Vec<ConsumerLag>,
    /// Delay levels that were ever used.
    pub delays: Vec<DelayLevel>,
}

/// The group as this replica sees it.
#[derive(Debug, Clone, Default)]
pub struct RaftGauges {
    pub role: &'static str,
    pub term: u64,
    /// Peer index; `None` = unknown.
    pub leader: Option<u64>,
    pub last_log: u64,
    pub committed: u64,
    pub applied: u64,
    /// Peer index and matched entry; empty on a follower.
    pub replicas: Vec<(u64, Option<u64>)>,
}

/// Counters of the log and the group since the start.
#[derive(Debug, Clone, Default)]
pub struct LogCounters {
    /// Upper bounds of the flush latency's buckets, microseconds.
    pub flush_bounds_us: &'static [u64],
    /// Counts per bucket, the one without bound last.
    pub flush_buckets: Vec<u64>,
    pub flush_sum_us: u64,
    pub appended_records: u64,
    pub appended_bytes: u64,
    pub append_requests: u64,
    pub append_request_records: u64,
    pub elections: u64,
    pub terms_led: u64,
    pub busy: u64,
    pub in_flight_bytes: u64,
    pub slow_polls: u64,
    pub checkpoints: u64,
    pub installs: u64,
}

/// The data folder.
#[derive(Debug, Clone, Default)]
pub struct StorageGauges {
    pub segments: u64,
    /// Bytes between the first and the last position of the log.
    pub log_bytes: u64,
    /// Of the file system that holds the data; 0 = unknown.
    pub disk_total_bytes: u64,
    pub disk_free_bytes: u64,
    /// Bytes appended and not yet flushed.
    pub flush_behind_bytes: u64,
    /// Bytes committed and not yet in the views.
    pub dispatch_behind_bytes: u64,
    /// Age of the oldest message.
    pub reserved: Duration,
    pub flush_is_sync: bool,
    /// Use of the disk in percent, and whether this replica takes no messages for it.
    pub disk_used_percent: u8,
    pub disk_refuses: bool,
    /// Entries applied and not yet in the key index.
    pub key_index_behind: u64,
}

/// Clients and settings of the node.
#[derive(Debug, Clone, Default)]
pub struct ClientGauges {
    pub connections: u64,
    pub producers: u64,
    pub consumers: u64,
    pub topics: u64,
    pub groups: u64,
    pub long_polls: u64,
    /// Bytes of requests being worked on.
    pub in_flight_bytes: u64,
    pub permission: u32,
}

/// How far groups are behind.
#[derive(Debug, Clone, Default)]
pub struct Lags {
    pub topics: Vec<ConsumerLag>,
    /// By queue.
    pub queues: Vec<(u32, ConsumerLag)>,
}

/// Messages that a group has not yet confirmed in a topic, or in a queue of it; never negative.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerLag {
    pub topic: String,
    pub group: String,
    pub messages: u64,
}

/// One delay level, out of the replicated tables: all replicas tell the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DelayLevel {
    pub level: u32,
    /// Messages that wait.
    pub pending: u64,
    /// Messages that are delivered or given up, since the group was formed.
    pub done: u64,
}

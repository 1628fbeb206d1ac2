//! What the group tells about itself: a watched [`Status`] and plain counters for metrics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::RwLock;

/// The part a replica plays now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Not part of a group yet: forming, or waiting to be admitted. See [`Status::waiting_for`].
    Blank,
    /// Receives the log, has no vote.
    Learner,
    /// Follows a leader, or waits for one.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Leads the group.
    Leader,
    /// Stopped, by a call or by a failure.
    Stopped,
}

impl Role {
    /// The name used in logs, metrics and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Role::Blank => "blank",
            Role::Learner => "learner",
            Role::Follower => "follower",
            Role::Candidate => "candidate",
            Role::Leader => "leader",
            Role::Stopped => "stopped",
        }
    }
}

/// How far a peer's log is known to agree with the leader's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerProgress {
    /// Peer index.
    pub peer: u64,
    /// Last index known to be the same and durable there.
    pub matched: Option<u64>,
}

/// A snapshot of the replica's state. Indexes are those of log entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The part this replica plays.
    pub role: Role,
    /// The term it is in.
    pub term: u64,
    /// Peer index of the leader, where known. A leader names itself.
    pub leader: Option<u64>,
    /// A leader's lease ends here unless a majority answers again. `None` when not leading.
    pub lease_until: Option<Instant>,
    /// Leading, and the blank entry that opened the own term is applied here: the tables are as new as any ack.
    pub own_term_applied: bool,
    /// Last entry in the own log.
    pub last_log: Option<u64>,
    /// Last entry known to be committed.
    pub committed: Option<u64>,
    /// Last entry applied to the machine.
    pub applied: Option<u64>,
    /// Retention boundary: the last entry that the group's snapshot covers.
    pub snapshot: Option<u64>,
    /// Last entry removed from the own log.
    pub purged: Option<u64>,
    /// A leader's view of every member, itself included; empty when not leading.
    pub replication: Vec<PeerProgress>,
    /// What keeps this replica from taking part, as a sentence for people. `None` when it takes part.
    pub waiting_for: Option<String>,
}

impl Status {
    pub(crate) fn blank() -> Status {
        Status {
            role: Role::Blank,
            term: 0,
            leader: None,
            lease_until: None,
            own_term_applied: false,
            last_log: None,
            committed: None,
            applied: None,
            snapshot: None,
            purged: None,
            replication: Vec::new(),
            waiting_for: None,
        }
    }

    /// True while this replica leads and a majority has confirmed it within the lease.
    #[must_use]
    pub fn lease_valid(&self) -> bool {
        self.role == Role::Leader && self.lease_until.is_some_and(|until| Instant::now() < until)
    }

    /// True while this replica leads, has applied its own term's first entry and holds a valid lease.
    #[must_use]
    pub fn leads_safely(&self) -> bool {
        self.own_term_applied && self.lease_valid()
    }
}

/// The slow-moving half of [`Status`]: changes only when someone's part changes. Watch this to react to leadership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leadership {
    /// The part this replica plays.
    pub role: Role,
    /// The term it is in.
    pub term: u64,
    /// Peer index of the leader, where known.
    pub leader: Option<u64>,
    /// Leading, and the own term's first entry is applied.
    pub own_term_applied: bool,
}

/// Upper bounds of the latency buckets, microseconds; the last bucket has none.
pub const LATENCY_BOUNDS_US: [u64; 12] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 1_000_000];

/// A histogram of latencies that any thread may add to and read.
#[derive(Debug, Default)]
pub struct LatencyHistogram {
    buckets: [AtomicU64; LATENCY_BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl LatencyHistogram {
    /// Counts one duration.
    pub fn record(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = LATENCY_BOUNDS_US.partition_point(|bound| *bound < us);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// Counts per bucket (not cumulative), in the order of [`LATENCY_BOUNDS_US`], the unbounded one last.
    #[must_use]
    pub fn buckets(&self) -> Vec<u64> {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect()
    }

    /// Sum of all durations, microseconds.
    #[must_use]
    pub fn sum_us(&self) -> u64 {
        self.sum_us.load(Ordering::Relaxed)
    }

    /// Number of durations counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }
}

/// A count of bytes for each peer; as many as there are peers.
#[derive(Debug, Default)]
pub struct PeerBytes(RwLock<BTreeMap<u64, Arc<AtomicU64>>>);

impl PeerBytes {
    /// Bytes counted for this peer index so far.
    #[must_use]
    pub fn get(&self, peer: u64) -> u64 {
        self.0.read().get(&peer).map_or(0, |bytes| bytes.load(Ordering::Relaxed))
    }

    /// The counter of this peer index, to be kept by whoever counts.
    pub(crate) fn counter(&self, peer: u64) -> Arc<AtomicU64> {
        Arc::clone(self.0.write().entry(peer).or_default())
    }
}

/// Counters of one replica since its start, for metrics. All only grow, except `in_flight_bytes`.
#[derive(Debug, Default)]
pub struct Counters {
    /// From the hand-over of entries to the log until they are durable here.
    pub flush: LatencyHistogram,
    /// Records appended here, as leader or follower.
    pub appended_records: AtomicU64,
    /// Bytes of those records.
    pub appended_bytes: AtomicU64,
    /// Bytes of records sent to each follower, those sent again included; without checkpoints.
    pub sent_bytes: PeerBytes,
    /// Times that this replica started to ask for votes.
    pub elections: AtomicU64,
    /// Times that this replica became leader.
    pub terms_led: AtomicU64,
    /// Append requests sent to followers, and records in them.
    pub append_requests: AtomicU64,
    /// See `append_requests`.
    pub append_request_records: AtomicU64,
    /// Proposals refused because too many bytes were in flight.
    pub busy: AtomicU64,
    /// Bytes of proposals that are not yet applied and durable here.
    pub in_flight_bytes: AtomicU64,
    /// Polls of the group's thread that took longer than 20 ms.
    pub slow_polls: AtomicU64,
    /// Times that all members came back with possible losses and went on with the longest log.
    pub possible_losses: AtomicU64,
    /// Times that this replica, leading, fell silent because it heard no majority.
    pub silences: AtomicU64,
    /// Checkpoints written.
    pub checkpoints: AtomicU64,
    /// Checkpoints installed from a leader.
    pub installs: AtomicU64,
}

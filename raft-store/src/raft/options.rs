//! Settings of one replica. Defaults are those that the measurements in the storage document argue for.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::log::Driver;
use crate::net::Network;
use crate::peers::Peer;
use crate::types::FlushMode;

/// How a replica is set up. Start from [`ReplicaOptions::new`] and change what differs.
#[derive(Debug, Clone)]
pub struct ReplicaOptions {
    /// Folder of this replica's store; created when missing.
    pub dir: PathBuf,
    /// Name of the cluster; peers of another one are refused.
    pub cluster: String,
    /// Name of the group; peers of another one are refused.
    pub group: String,
    /// All members, this one included.
    pub peers: Vec<Peer>,
    /// Which of them this replica is.
    pub self_index: u16,
    /// Address to listen on instead of the own peer's host and port, such as `0.0.0.0:40911`.
    pub listen: Option<String>,
    /// An already bound port to listen on; wins over `listen`. For tests and for several replicas in one process.
    pub listener: Option<Arc<TcpListener>>,
    /// When an append counts as done.
    pub flush: FlushMode,
    /// Bytes per segment file.
    pub segment_size: u64,
    /// See [`crate::log::LogOptions::direct`].
    pub direct: bool,
    /// Bytes of newest records that stay in memory.
    pub ring_bytes_max: usize,
    /// Time between a leader's heartbeats.
    pub heartbeat_ms: u64,
    /// Range of the random part of a follower's patience; its lease (the upper bound) comes on top.
    pub election_ms: (u64, u64),
    /// Append requests under way to one follower.
    pub window: usize,
    /// Bytes of records in one append request; at least one record always goes.
    pub append_bytes_max: usize,
    /// Bytes of proposals not yet applied and durable here; beyond it proposals are refused as busy.
    pub in_flight_bytes_max: u64,
    /// A follower's append stream that makes no progress for this long is broken and opened again.
    pub append_idle: Duration,
    /// Time to connect to a peer and shake hands.
    pub connect_timeout: Duration,
    /// What peers are reached by.
    pub network: Network,
    /// Who does what may block.
    pub hands: Hands,
}

/// Who writes, syncs, and reads what is no longer in memory.
#[derive(Debug, Clone, Default)]
pub enum Hands {
    /// Threads of the replica's own.
    #[default]
    Threads,
    /// Nobody by himself: the driver brings the log's work about when it likes, and old entries are read on the spot. For
    /// simulation, where a second thread would make two runs differ.
    Driven(Arc<dyn Driver>),
}

impl ReplicaOptions {
    /// Default settings for one member of a group.
    #[must_use]
    pub fn new(
        dir: impl Into<PathBuf>,
        cluster: impl Into<String>,
        group: impl Into<String>,
        peers: Vec<Peer>,
        self_index: u16,
    ) -> ReplicaOptions {
        ReplicaOptions {
            dir: dir.into(),
            cluster: cluster.into(),
            group: group.into(),
            peers,
            self_index,
            listen: None,
            listener: None,
            flush: FlushMode::Sync,
            segment_size: 1 << 30,
            direct: true,
            ring_bytes_max: 64 << 20,
            heartbeat_ms: 100,
            election_ms: (200, 500),
            window: 2,
            append_bytes_max: 1 << 20,
            in_flight_bytes_max: 64 << 20,
            append_idle: Duration::from_secs(10),
            connect_timeout: Duration::from_millis(500),
            network: Network::Tcp,
            hands: Hands::Threads,
        }
    }
}

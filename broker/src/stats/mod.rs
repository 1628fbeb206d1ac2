//! Statistics over time: what mqadmin and the dashboard ask for with 28 and 315.
//!
//! The counters are those of the metrics; nothing here runs along a message. One task looks once a second ([`sampler`]),
//! and every answer is computed from what it noted. What a replica counts is its own: messages that it stored as leader,
//! messages that it handed out itself. After a change of leaders the new one goes on from its own numbers, so a group's total
//! is the sum over its replicas.
//!
//! Days begin at midnight UTC, so that replicas in several places mean the same.

mod day;
mod names;
mod rates;
mod sampler;
mod transfers;

use std::sync::Arc;

use flotilla_net::NetStats;
use parking_lot::Mutex;

pub use self::day::Mornings;
pub use self::rates::{Rate, Rates};
pub use self::sampler::run;
use self::transfers::Transfers;
use crate::metrics::flow::Flow;
use crate::metrics::{Distribution, Metrics};
use crate::series::Series;

/// What was noted of a node's counters. One per node.
pub struct Stats {
    metrics: Metrics,
    series: Arc<Series>,
    /// Client connections.
    connections: Arc<NetStats>,
    /// Key of the statistics of the whole broker.
    cluster: String,
    started_ms: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rates: Rates,
    mornings: Mornings,
    schedule: sampler::Schedule,
    /// Times of sends at the last full minute, and what that minute added.
    put_times: Distribution,
    put_times_of_minute: Distribution,
    broker: BrokerFlows,
    channels: ChannelFlows,
    transfers: Transfers,
}

/// Flows of the whole broker, brought up to date before each sample.
#[derive(Default)]
struct BrokerFlows {
    puts: Flow,
    puts_of_users: Flow,
    gets: Flow,
    gets_of_users: Flow,
}

/// Flows of what happens to client connections, brought up to date likewise.
#[derive(Default)]
struct ChannelFlows {
    opened: Flow,
    closed: Flow,
    idle: Flow,
    failed: Flow,
}

impl Stats {
    pub fn new(
        metrics: Metrics,
        series: Arc<Series>,
        connections: Arc<NetStats>,
        cluster: &str,
        now_ms: u64,
    ) -> Arc<Self> {
        Arc::new(Self {
            metrics,
            series,
            connections,
            cluster: cluster.to_owned(),
            started_ms: now_ms,
            state: Mutex::default(),
        })
    }

    /// When this node started, ms since 1970.
    pub fn started_ms(&self) -> u64 {
        self.started_ms
    }

    /// What was in the last full minute.
    pub fn put_times_of_minute(&self) -> Distribution {
        self.state.lock().put_times_of_minute
    }

    /// Totals at the last two midnights.
    pub fn mornings(&self) -> Mornings {
        self.state.lock().mornings
    }

    /// Bytes of log records per second that this replica sent to another one in the last second.
    pub fn sent_per_second(&self, peer: u64) -> u64 {
        self.state.lock().transfers.sent(peer)
    }

    /// Bytes of log records per second that this replica took in, from its leader if it follows one.
    pub fn appended_per_second(&self) -> u64 {
        self.state.lock().transfers.appended()
    }

    /// A rate over 10, 60 and 600 s as tools split it: three numbers, each missing until it is known, between blanks.
    pub fn rate_text(&self, rate: Rate) -> String {
        self.state.lock().rates.text(rate)
    }
}

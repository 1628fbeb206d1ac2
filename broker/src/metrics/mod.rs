//! Metrics of one node, as a value: several nodes may live in one process.
//!
//! Two kinds: *series* are counted by relaxed atomic additions where things happen ([`TopicMetrics`],
//! [`GroupMetrics`], [`RpcMetrics`], [`Causes`]); *gauges* are asked for at a scrape ([`Gauges`]).
//! Names that start with `rocketmq_` are those of RocketMQ 5 with its labels, so that boards keep working;
//! the rest starts with `flotilla_`.
//!
//! Source of names and labels: RocketMQ 5.3 `BrokerMetricsConstant`, `DefaultStoreMetricsConstant`,
//! `RemotingMetricsConstant`.

mod causes;
mod encode;
mod gauges;
mod histogram;
mod process;
mod series;

use std::sync::Arc;
use std::time::Instant;

pub use causes::{Cause, Causes};
pub use encode::Format;
pub use gauges::{ClientGauges, ConsumerLag, Gauges, LogCounters, RaftGauges, StorageGauges};
pub use histogram::{AtomicHistogram, MESSAGE_SIZE, RPC_LATENCY, Shape};
use prometheus_client::metrics::counter::Counter;
pub use series::{GroupMetrics, OTHER, RpcMetrics, RpcTimer, SERIES_MAX, TopicMetrics};

/// All series of a node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    cluster: String,
    /// RocketMQ's label `node_id`: the broker's name; the replica comes on top.
    broker_name: String,
    replica: String,
    started: Instant,
    series: series::AllSeries,
    rejected: Causes,
    forwarded: Counter,
    unknown_outcomes: Counter,
}

impl Metrics {
    /// No series yet. `replica` is the peer index.
    pub fn new(cluster: &str, broker_name: &str, replica: u64) -> Self {
        Self {
            inner: Arc::new(Inner {
                cluster: cluster.to_owned(),
                broker_name: broker_name.to_owned(),
                replica: format!("n{replica}"),
                started: Instant::now(),
                series: series::AllSeries::default(),
                rejected: Causes::default(),
                forwarded: Counter::default(),
                unknown_outcomes: Counter::default(),
            }),
        }
    }

    /// The series of a topic: resolve once, keep. Beyond [`SERIES_MAX`] topics share one.
    pub fn topic(&self, topic: &str) -> Arc<TopicMetrics> {
        self.inner.series.topic(topic)
    }

    /// The series of a group that reads a topic: resolve once, keep.
    pub fn group(&self, topic: &str, group: &str) -> Arc<GroupMetrics> {
        self.inner.series.group(topic, group)
    }

    /// The series of a request code, by its name: resolve once per row of the dispatch table, keep.
    pub fn rpc(&self, request_code: &'static str) -> Arc<RpcMetrics> {
        self.inner.series.rpc(request_code)
    }

    /// Drops the series of a deleted topic. Whoever still holds one counts into nothing.
    pub fn forget_topic(&self, topic: &str) {
        self.inner.series.forget_topic(topic);
    }

    /// Requests refused, by cause.
    pub fn rejected(&self, cause: Cause) {
        self.inner.rejected.count(cause);
    }

    /// Counts a request that was handed on to the leader.
    pub fn forwarded(&self) {
        self.inner.forwarded.inc();
    }

    /// Counts a write whose outcome could not be learnt.
    pub fn unknown_outcome(&self) {
        self.inner.unknown_outcomes.inc();
    }

    /// The exposition for a scrape.
    pub fn expose(&self, gauges: Gauges, format: Format) -> String {
        encode::expose(self.inner.clone(), gauges, format)
    }
}

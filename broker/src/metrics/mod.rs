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
mod dead_letters;
mod delay;
mod encode;
pub mod flow;
mod gauges;
mod histogram;
mod process;
mod registrations;
pub mod rings;
mod series;
mod times;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

pub use causes::{Cause, Causes};
pub use dead_letters::DeadLetters;
pub use delay::DelayCounters;
pub use encode::Format;
pub use gauges::{
    ClientGauges, ConsumerLag, DelayLevel, Gauges, Lags, LogCounters, RaftGauges, StorageGauges,
};
pub use histogram::{AtomicHistogram, MESSAGE_SIZE, RPC_LATENCY, Shape};
use prometheus_client::metrics::counter::Counter;
pub use registrations::Registrations;
pub use series::{GroupMetrics, OTHER, RpcMetrics, RpcTimer, SERIES_MAX, TopicMetrics, Totals};
pub use times::{Distribution, Times};

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
    put_times: Times,
    get_times: Times,
    pulls_without: AtomicU64,
    delay: DelayCounters,
    registrations: Registrations,
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
                put_times: Times::default(),
                get_times: Times::default(),
                pulls_without: AtomicU64::new(0),
                delay: DelayCounters::default(),
                registrations: Registrations::default(),
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

    /// Drops the series of topics that don't exist, and those that nobody used for a day; gives the topics, and the
    /// pairs of topic and group. Whoever still holds one counts into nothing.
    pub fn forget(&self, exists: impl Fn(&str) -> bool) -> (Vec<String>, Vec<(String, String)>) {
        self.inner.series.forget(exists)
    }

    /// Drops the series of a consumer group.
    pub fn forget_group(&self, group: &str) {
        self.inner.series.forget_group(group);
    }

    /// Names of the topics that have series.
    pub fn topics(&self) -> Vec<String> {
        let topics = self.inner.series.topics.keys().into_iter();
        let of_groups = self.inner.series.groups.keys().into_iter().map(|(topic, _)| topic);
        let all: std::collections::BTreeSet<String> = topics.chain(of_groups).collect();
        all.into_iter().collect()
    }

    /// The series of a topic, if it has any.
    pub fn find_topic(&self, topic: &str) -> Option<Arc<TopicMetrics>> {
        self.inner.series.topics.find(topic)
    }

    /// The series of a group that reads a topic, if it has any.
    pub fn find_group(&self, topic: &str, group: &str) -> Option<Arc<GroupMetrics>> {
        self.inner.series.groups.find(&(topic.to_owned(), group.to_owned()))
    }

    /// Sums of all series.
    pub fn totals(&self) -> Totals {
        self.inner.series.totals()
    }

    /// Takes a sample of every series.
    pub fn sample(&self, window: rings::Window, now_ms: u64) {
        self.inner.series.sample(window, now_ms);
        self.inner.registrations.sample(window, now_ms);
    }

    /// Times from a send's arrival here to its answer.
    pub fn put_times(&self) -> &Times {
        &self.inner.put_times
    }

    /// Times that pulls took to find messages, without their waiting for some.
    pub fn get_times(&self) -> &Times {
        &self.inner.get_times
    }

    /// Counts a pull that was answered without messages.
    pub fn pull_without_messages(&self) {
        self.inner.pulls_without.fetch_add(1, Ordering::Relaxed);
    }

    pub fn pulls_without_messages(&self) -> u64 {
        self.inner.pulls_without.load(Ordering::Relaxed)
    }

    /// Sends that were not stored, or not for certain, although nothing was wrong with them.
    pub fn failed_puts(&self) -> u64 {
        self.inner.rejected.get(Cause::Busy) + self.inner.unknown_outcomes.get()
    }

    /// The dead letters of a group out of a topic: counted when they are stored.
    pub fn dead_letters(&self, topic: &str, group: &str) -> Arc<DeadLetters> {
        self.inner.series.dead_letters(topic, group)
    }

    /// The dead letters of a group out of a topic, if there were any.
    pub fn find_dead_letters(&self, topic: &str, group: &str) -> Option<Arc<DeadLetters>> {
        self.inner.series.dead_letters.find(&(topic.to_owned(), group.to_owned()))
    }

    /// What heartbeats count.
    pub fn registrations(&self) -> &Registrations {
        &self.inner.registrations
    }

    /// What the delivery of delayed messages counts.
    pub fn delay(&self) -> &DelayCounters {
        &self.inner.delay
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

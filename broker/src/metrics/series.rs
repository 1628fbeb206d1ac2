//! The series that grow with topics, groups and request codes. Each is resolved once and kept by its user, so
//! that the hot path adds to an atomic and looks nothing up.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use prometheus_client::metrics::counter::Counter;

use super::histogram::{AtomicHistogram, MESSAGE_SIZE, RPC_LATENCY};

/// Topics, and pairs of topic and group, that get series of their own; the rest share [`OTHER`], so that
/// neither memory nor the answer of a scrape grows without bound.
pub const SERIES_MAX: usize = 10_000;

/// Label value of whatever came after [`SERIES_MAX`].
pub const OTHER: &str = "__other__";

/// Messages stored for one topic.
#[derive(Debug)]
pub struct TopicMetrics {
    pub(super) messages_in: Counter,
    pub(super) bytes_in: Counter,
    pub(super) sizes: AtomicHistogram,
}

impl TopicMetrics {
    fn new() -> Self {
        Self {
            messages_in: Counter::default(),
            bytes_in: Counter::default(),
            sizes: AtomicHistogram::new(&MESSAGE_SIZE),
        }
    }

    /// Counts one stored message by its size in the log.
    pub fn stored(&self, size: u64) {
        self.messages_in.inc();
        self.bytes_in.inc_by(size);
        self.sizes.observe(size);
    }
}

/// Messages handed to one consumer group from one topic.
#[derive(Debug, Default)]
pub struct GroupMetrics {
    pub(super) messages_out: Counter,
    pub(super) bytes_out: Counter,
}

impl GroupMetrics {
    /// Counts the messages of one pull answer.
    pub fn delivered(&self, messages: u64, bytes: u64) {
        self.messages_out.inc_by(messages);
        self.bytes_out.inc_by(bytes);
    }
}

/// Latencies of one request code, by response code.
#[derive(Debug)]
pub struct RpcMetrics {
    /// Codes of everyday answers, without a look-up.
    common: [(i32, AtomicHistogram); 4],
    rare: RwLock<BTreeMap<i32, Arc<AtomicHistogram>>>,
}

impl RpcMetrics {
    fn new() -> Self {
        // SUCCESS, PULL_NOT_FOUND, PULL_RETRY_IMMEDIATELY, SYSTEM_BUSY.
        let common = [0, 19, 20, 2].map(|code| (code, AtomicHistogram::new(&RPC_LATENCY)));
        Self { common, rare: RwLock::default() }
    }

    /// Counts one answer: from the decoded request to the answer's hand-over to the connection.
    pub fn answered(&self, response_code: i32, elapsed: Duration) {
        match self.common.iter().find(|(code, _)| *code == response_code) {
            Some((_, histogram)) => histogram.observe_duration(elapsed),
            None => self.rare(response_code).observe_duration(elapsed),
        }
    }

    fn rare(&self, code: i32) -> Arc<AtomicHistogram> {
        if let Some(known) = self.rare.read().get(&code) {
            return known.clone();
        }
        let new = || Arc::new(AtomicHistogram::new(&RPC_LATENCY));
        self.rare.write().entry(code).or_insert_with(new).clone()
    }

    pub(super) fn for_each(&self, mut each: impl FnMut(i32, &AtomicHistogram)) {
        for (code, histogram) in &self.common {
            each(*code, histogram);
        }
        for (code, histogram) in self.rare.read().iter() {
            each(*code, histogram);
        }
    }
}

/// One request on its way: counts its latency when it is answered, and nothing when it is dropped without an answer.
#[derive(Debug)]
pub struct RpcTimer {
    rpc: Arc<RpcMetrics>,
    started: Instant,
}

impl RpcTimer {
    /// Starts now.
    pub fn start(rpc: Arc<RpcMetrics>) -> Self {
        Self { rpc, started: Instant::now() }
    }

    pub fn answered(self, response_code: i32) {
        self.rpc.answered(response_code, self.started.elapsed());
    }
}

/// A bounded map from labels to a series.
#[derive(Debug)]
pub(super) struct Family<K, S> {
    series: RwLock<HashMap<K, Arc<S>>>,
}

impl<K, S> Default for Family<K, S> {
    fn default() -> Self {
        Self { series: RwLock::default() }
    }
}

impl<K: Eq + Hash + Clone + Ord, S> Family<K, S> {
    /// The series of these labels, or the shared one when there are too many.
    pub(super) fn get(&self, key: K, other: K, new: impl FnOnce() -> S) -> Arc<S> {
        if let Some(known) = self.series.read().get(&key) {
            return known.clone();
        }
        let mut series = self.series.write();
        let key = if series.len() < SERIES_MAX || series.contains_key(&key) { key } else { other };
        series.entry(key).or_insert_with(|| Arc::new(new())).clone()
    }

    pub(super) fn retain(&self, mut keep: impl FnMut(&K) -> bool) {
        self.series.write().retain(|key, _| keep(key));
    }

    /// All series in the order of their labels, so that two scrapes compare.
    pub(super) fn sorted(&self) -> Vec<(K, Arc<S>)> {
        let mut all: Vec<_> =
            self.series.read().iter().map(|(key, one)| (key.clone(), one.clone())).collect();
        all.sort_by(|left, right| left.0.cmp(&right.0));
        all
    }
}

/// All growing series of a node.
#[derive(Debug, Default)]
pub(super) struct AllSeries {
    pub topics: Family<String, TopicMetrics>,
    /// By (topic, group).
    pub groups: Family<(String, String), GroupMetrics>,
    /// By name of the request code; bounded by the dispatch table.
    pub rpc: RwLock<BTreeMap<&'static str, Arc<RpcMetrics>>>,
}

impl AllSeries {
    pub(super) fn topic(&self, topic: &str) -> Arc<TopicMetrics> {
        self.topics.get(topic.to_owned(), OTHER.to_owned(), TopicMetrics::new)
    }

    pub(super) fn group(&self, topic: &str, group: &str) -> Arc<GroupMetrics> {
        let key = (topic.to_owned(), group.to_owned());
        self.groups.get(key, (OTHER.to_owned(), OTHER.to_owned()), GroupMetrics::default)
    }

    pub(super) fn rpc(&self, request_code: &'static str) -> Arc<RpcMetrics> {
        self.rpc.write().entry(request_code).or_insert_with(|| Arc::new(RpcMetrics::new())).clone()
    }

    pub(super) fn forget_topic(&self, topic: &str) {
        self.topics.retain(|name| name != topic);
        self.groups.retain(|(name, _)| name != topic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_series_is_bounded() {
        let series = AllSeries::default();
        for number in 0..SERIES_MAX + 5 {
            series.topic(&format!("t{number}")).stored(1);
        }
        let all = series.topics.sorted();
        assert_eq!(all.len(), SERIES_MAX + 1);
        let other = all.iter().find(|(name, _)| name == OTHER).map(|(_, topic)| topic.messages_in.get());
        assert_eq!(other, Some(5));
    }

    #[test]
    fn the_same_labels_share_a_series_until_the_topic_is_forgotten() {
        let series = AllSeries::default();
        series.topic("t").stored(10);
        series.topic("t").stored(5);
        series.group("t", "g").delivered(1, 2);
        assert_eq!(series.topic("t").bytes_in.get(), 15);
        series.forget_topic("t");
        assert_eq!(series.topic("t").bytes_in.get(), 0);
        assert_eq!(series.groups.sorted().len(), 0);
    }

    #[test]
    fn rare_response_codes_are_counted_too() {
        let rpc = Arc::new(RpcMetrics::new());
        RpcTimer::start(rpc.clone()).answered(0);
        drop(RpcTimer::start(rpc.clone()));
        rpc.answered(17, Duration::from_millis(1));
        rpc.answered(17, Duration::from_millis(1));
        let mut seen = Vec::new();
        rpc.for_each(|code, histogram| seen.push((code, histogram.read().count)));
        assert_eq!(seen, [(0, 1), (19, 0), (20, 0), (2, 0), (17, 2)]);
    }
}

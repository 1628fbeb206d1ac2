//! The series that grow with topics, groups and request codes. Each is resolved once and kept by its user, so
//! that the hot path adds to an atomic and looks nothing up.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use flotilla_remoting::names::is_system_topic;
use parking_lot::{Mutex, RwLock};
use prometheus_client::metrics::counter::Counter;

use super::dead_letters::DeadLetters;
use super::flow::{BYTES, CALLS, Flow, MESSAGES, Queues};
use super::histogram::{AtomicHistogram, MESSAGE_SIZE, RPC_LATENCY};
use super::rings::Window;

/// Topics, and pairs of topic and group, that get series of their own; the rest share [`OTHER`], so that
/// neither memory nor the answer of a scrape grows without bound.
pub const SERIES_MAX: usize = 10_000;

/// Label value of whatever came after [`SERIES_MAX`].
pub const OTHER: &str = "__other__";

/// Messages stored for one topic.
///
/// Cost per entry and queue: two additions for the topic and two for the queue behind an uncontended read lock; per
/// message the one addition of its size's bucket and one to the sum. Per send two more additions for the latency.
#[derive(Debug)]
pub struct TopicMetrics {
    pub(super) total: Flow,
    pub(super) queues: Queues,
    pub(super) sizes: AtomicHistogram,
    is_system: bool,
}

impl TopicMetrics {
    fn new(topic: &str, queues_in_use: &Arc<AtomicUsize>) -> Self {
        Self {
            total: Flow::default(),
            queues: Queues::new(queues_in_use.clone()),
            sizes: AtomicHistogram::new(&MESSAGE_SIZE),
            is_system: is_system_topic(topic),
        }
    }

    /// Counts messages that were stored in one queue, by their sizes in the log.
    pub fn stored(&self, queue_id: u32, sizes: impl Iterator<Item = u64>) {
        let (mut messages, mut bytes) = (0, 0);
        for size in sizes {
            messages += 1;
            bytes += size;
            self.sizes.observe(size);
        }
        self.total.add(messages, bytes);
        self.queues.count(queue_id, |queue| queue.add(messages, bytes));
    }

    /// Counts a send that was answered.
    pub fn answered(&self, queue_id: u32, took: Duration) {
        self.queues.count(queue_id, |queue| queue.call(took));
    }

    /// Counters of the topic, and those of its queues.
    pub fn flows(&self) -> (&Flow, &Queues) {
        (&self.total, &self.queues)
    }
}

/// Messages handed to one consumer group from one topic.
///
/// Cost per pull that found something: six additions and an uncontended read lock.
#[derive(Debug)]
pub struct GroupMetrics {
    pub(super) total: Flow,
    pub(super) queues: Queues,
    /// Messages that the group sent back to be tried again.
    pub(super) sent_back: Flow,
    is_system: bool,
    pub(super) deleted_unread: Counter,
}

impl GroupMetrics {
    fn new(topic: &str, queues_in_use: &Arc<AtomicUsize>) -> Self {
        Self {
            total: Flow::default(),
            queues: Queues::new(queues_in_use.clone()),
            sent_back: Flow::default(),
            is_system: is_system_topic(topic),
            deleted_unread: Counter::default(),
        }
    }

    /// Counts the messages of one pull answer and how long it took to find them.
    pub fn delivered(&self, queue_id: u32, messages: u64, bytes: u64, took: Duration) {
        self.total.add(messages, bytes);
        self.total.call(took);
        self.queues.count(queue_id, |queue| {
            queue.add(messages, bytes);
            queue.call(took);
        });
    }

    /// Counts messages that retention took before the group had read them.
    pub fn deleted_unread(&self, messages: u64) {
        self.deleted_unread.inc_by(messages);
    }

    /// Counts a message that a consumer sent back (code 36).
    pub fn sent_back(&self) {
        self.sent_back.add(1, 0);
    }

    /// Counters of the group, those of its queues, and those of what it sent back.
    pub fn flows(&self) -> (&Flow, &Queues, &Flow) {
        (&self.total, &self.queues, &self.sent_back)
    }
}

/// What all series of a node add up to, those included that are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Messages stored, and those of them that are not in system topics.
    pub puts: u64,
    pub puts_of_users: u64,
    pub put_bytes: u64,
    /// Messages handed out, and those of them that are not of system topics.
    pub gets: u64,
    pub gets_of_users: u64,
    /// Pulls that found something.
    pub found: u64,
}

impl Totals {
    fn add_topic(&mut self, topic: &TopicMetrics) {
        let messages = topic.total.get(MESSAGES);
        self.puts += messages;
        self.puts_of_users += if topic.is_system { 0 } else { messages };
        self.put_bytes += topic.total.get(BYTES);
    }

    fn add_group(&mut self, group: &GroupMetrics) {
        let messages = group.total.get(MESSAGES);
        self.gets += messages;
        self.gets_of_users += if group.is_system { 0 } else { messages };
        self.found += group.total.get(CALLS);
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

    /// When the request came.
    pub fn since(&self) -> Instant {
        self.started
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

    pub(super) fn find<Q: ?Sized + Eq + Hash>(&self, key: &Q) -> Option<Arc<S>>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.series.read().get(key).cloned()
    }

    pub(super) fn for_each(&self, each: impl FnMut(&Arc<S>)) {
        self.series.read().values().for_each(each);
    }

    /// All series, for work that takes too long for the lock.
    pub(super) fn all(&self) -> Vec<Arc<S>> {
        self.series.read().values().cloned().collect()
    }

    pub(super) fn keys(&self) -> Vec<K> {
        self.series.read().keys().cloned().collect()
    }

    /// Drops series and gives them.
    pub(super) fn take(&self, mut drop: impl FnMut(&K, &S) -> bool) -> Vec<(K, Arc<S>)> {
        self.series.write().extract_if(|key, series| drop(key, series)).collect()
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
    /// Dead letters, by (topic, group).
    pub dead_letters: Family<(String, String), DeadLetters>,
    /// By name of the request code; bounded by the dispatch table.
    pub rpc: RwLock<BTreeMap<&'static str, Arc<RpcMetrics>>>,
    /// Queues of all topics and groups that have counters of their own.
    queues_in_use: Arc<AtomicUsize>,
    /// What series that are gone had counted.
    gone: Mutex<Totals>,
}

impl AllSeries {
    pub(super) fn topic(&self, topic: &str) -> Arc<TopicMetrics> {
        let new = || TopicMetrics::new(topic, &self.queues_in_use);
        self.topics.get(topic.to_owned(), OTHER.to_owned(), new)
    }

    pub(super) fn group(&self, topic: &str, group: &str) -> Arc<GroupMetrics> {
        let key = (topic.to_owned(), group.to_owned());
        let new = || GroupMetrics::new(topic, &self.queues_in_use);
        self.groups.get(key, (OTHER.to_owned(), OTHER.to_owned()), new)
    }

    pub(super) fn dead_letters(&self, topic: &str, group: &str) -> Arc<DeadLetters> {
        let key = (topic.to_owned(), group.to_owned());
        self.dead_letters.get(key, (OTHER.to_owned(), OTHER.to_owned()), DeadLetters::default)
    }

    pub(super) fn rpc(&self, request_code: &'static str) -> Arc<RpcMetrics> {
        self.rpc.write().entry(request_code).or_insert_with(|| Arc::new(RpcMetrics::new())).clone()
    }

    /// Drops the series of what is gone or idle, and gives their labels. What they had counted stays in the totals.
    pub(super) fn forget(&self, exists: impl Fn(&str) -> bool) -> (Vec<String>, Vec<(String, String)>) {
        let mut gone = self.gone.lock();
        let is_old = |topic: &str, flow: &Flow| topic != OTHER && (!exists(topic) || flow.is_idle());
        let topics = self.topics.take(|topic, series| is_old(topic, &series.total));
        let groups = self.groups.take(|(topic, _), series| is_old(topic, &series.total));
        self.dead_letters.take(|(topic, _), dead_letters| is_old(topic, dead_letters.flows().0));
        topics.iter().for_each(|(_, topic)| gone.add_topic(topic));
        groups.iter().for_each(|(_, group)| gone.add_group(group));
        (topics.into_iter().map(|(key, _)| key).collect(), groups.into_iter().map(|(key, _)| key).collect())
    }

    pub(super) fn forget_group(&self, group: &str) {
        let mut gone = self.gone.lock();
        for (_, series) in self.groups.take(|(_, name), _| name == group) {
            gone.add_group(&series);
        }
        self.dead_letters.take(|(_, name), _| name == group);
    }

    pub(super) fn totals(&self) -> Totals {
        // Held to the end: what is forgotten meanwhile would be counted nowhere.
        let gone = self.gone.lock();
        let mut totals = *gone;
        self.topics.for_each(|topic| totals.add_topic(topic));
        self.groups.for_each(|group| totals.add_group(group));
        totals
    }

    pub(super) fn sample(&self, window: Window, now_ms: u64) {
        for topic in self.topics.all() {
            topic.total.sample(window, now_ms);
            topic.queues.sample(window, now_ms);
        }
        for group in self.groups.all() {
            group.total.sample(window, now_ms);
            group.queues.sample(window, now_ms);
            group.sent_back.sample(window, now_ms);
        }
        for dead_letters in self.dead_letters.all() {
            dead_letters.sample(window, now_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_series_is_bounded() {
        let series = AllSeries::default();
        for number in 0..SERIES_MAX + 5 {
            series.topic(&format!("t{number}")).stored(0, [1].into_iter());
        }
        let all = series.topics.sorted();
        assert_eq!(all.len(), SERIES_MAX + 1);
        let other = all.iter().find(|(name, _)| name == OTHER).map(|(_, topic)| topic.total.get(MESSAGES));
        assert_eq!(other, Some(5));
    }

    #[test]
    fn the_same_labels_share_a_series_until_the_topic_is_gone_and_totals_stay() {
        let series = AllSeries::default();
        series.topic("t").stored(0, [10].into_iter());
        series.topic("t").stored(1, [5].into_iter());
        series.topic("SELF_TEST_TOPIC").stored(0, [7].into_iter());
        series.group("t", "g").delivered(0, 1, 2, Duration::ZERO);
        assert_eq!(series.topic("t").total.get(BYTES), 15);
        let before = series.totals();
        let expected =
            Totals { puts: 3, puts_of_users: 2, put_bytes: 22, gets: 1, gets_of_users: 1, found: 1 };
        assert_eq!(before, expected);
        let forgotten = series.forget(|topic| topic != "t");
        assert_eq!(forgotten, (vec!["t".to_owned()], vec![("t".to_owned(), "g".to_owned())]));
        assert_eq!(series.topic("t").total.get(BYTES), 0);
        assert_eq!(series.groups.sorted().len(), 0);
        assert_eq!(series.totals(), before);
    }

    #[test]
    fn a_series_without_change_for_a_day_is_dropped() {
        let series = AllSeries::default();
        series.topic("old").stored(0, [1].into_iter());
        for hour in 0..25 {
            series.topic("busy").stored(0, [1].into_iter());
            assert_eq!(series.forget(|_| true).0.len(), 0, "hour {hour}");
            series.sample(Window::Day, hour * 3_600_000);
        }
        assert_eq!(series.forget(|_| true).0, ["old"]);
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

//! Metric series by topic and group, found without an allocation: the way from a name to its counters on the hot path.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::metrics::{GroupMetrics, Metrics, TopicMetrics};

/// Remembers the series that were resolved. Grows with the topics and groups in use, and loses those that the metrics
/// drop.
pub struct Series {
    metrics: Metrics,
    topics: RwLock<HashMap<String, Arc<TopicMetrics>>>,
    groups: RwLock<HashMap<String, HashMap<String, Arc<GroupMetrics>>>>,
}

impl Series {
    pub fn new(metrics: Metrics) -> Arc<Self> {
        Arc::new(Self { metrics, topics: RwLock::default(), groups: RwLock::default() })
    }

    pub fn topic(&self, topic: &str) -> Arc<TopicMetrics> {
        if let Some(known) = self.topics.read().get(topic) {
            return known.clone();
        }
        let series = self.metrics.topic(topic);
        self.topics.write().insert(topic.to_owned(), series.clone());
        series
    }

    pub fn group(&self, topic: &str, group: &str) -> Arc<GroupMetrics> {
        if let Some(known) = self.groups.read().get(group).and_then(|topics| topics.get(topic)) {
            return known.clone();
        }
        let series = self.metrics.group(topic, group);
        self.groups.write().entry(group.to_owned()).or_default().insert(topic.to_owned(), series.clone());
        series
    }

    /// Drops the series of a deleted consumer group.
    pub fn forget_group(&self, group: &str) {
        self.metrics.forget_group(group);
        self.groups.write().remove(group);
    }

    /// Forgets series that the metrics have dropped before: the next user resolves new ones.
    pub fn forget(&self, topics: &[String], groups: &[(String, String)]) {
        if !topics.is_empty() {
            let mut known = self.topics.write();
            topics.iter().for_each(|topic| drop(known.remove(topic)));
        }
        if !groups.is_empty() {
            let mut known = self.groups.write();
            for (topic, group) in groups {
                if let Some(of_group) = known.get_mut(group) {
                    of_group.remove(topic);
                }
            }
            known.retain(|_, topics| !topics.is_empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::flow::MESSAGES;

    #[test]
    fn a_topic_made_anew_counts_again() {
        let metrics = Metrics::new("C", "b", 0);
        let series = Series::new(metrics.clone());
        series.topic("t").stored(0, [1].into_iter());
        series.group("t", "g").delivered(0, 1, 1, Duration::ZERO);
        let (topics, groups) = metrics.forget(|_| false);
        series.forget(&topics, &groups);
        series.topic("t").stored(0, [1].into_iter());
        series.group("t", "g").delivered(0, 2, 1, Duration::ZERO);
        let counted = metrics.find_topic("t").map(|topic| topic.flows().0.get(MESSAGES));
        assert_eq!(counted, Some(1));
        let counted = metrics.find_group("t", "g").map(|group| group.flows().0.get(MESSAGES));
        assert_eq!(counted, Some(2));
        assert_eq!((metrics.totals().puts, metrics.totals().gets), (2, 3));
        metrics.dead_letters("t", "g").stored(false);
        series.forget_group("g");
        assert!(metrics.find_dead_letters("t", "g").is_none());
        assert!(metrics.find_group("t", "g").is_none() && metrics.find_topic("t").is_some());
        series.group("t", "g").delivered(0, 1, 1, Duration::ZERO);
        assert_eq!(metrics.totals().gets, 4);
    }
}

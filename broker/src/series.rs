//! Metric series by topic and group, found without an allocation: the way from a name to its counters on the hot path.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::metrics::{GroupMetrics, Metrics, TopicMetrics};

/// Remembers the series that were resolved. Grows with the topics and groups in use, whose number the metrics bound.
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
}

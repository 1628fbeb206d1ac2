//! How long it takes to take down what heartbeats say of producer and consumer groups.

use std::time::Duration;

use super::flow::Flow;
use super::rings::Window;

/// Registrations: one for each group that a heartbeat names.
#[derive(Debug, Default)]
pub struct Registrations {
    pub(super) producers: Flow,
    pub(super) consumers: Flow,
}

impl Registrations {
    /// Counts a heartbeat that named so many groups. Its time is shared among them, since they are taken down together; what is
    /// news goes into the log afterwards and is not waited for.
    pub fn heartbeat(&self, producers: usize, consumers: usize, took: Duration) {
        let count = |groups: usize| u32::try_from(groups).unwrap_or(u32::MAX);
        let each = took / count(producers.saturating_add(consumers)).max(1);
        self.producers.calls(count(producers), each);
        self.consumers.calls(count(consumers), each);
    }

    /// Counters of producer groups, and those of consumer groups.
    pub fn flows(&self) -> (&Flow, &Flow) {
        (&self.producers, &self.consumers)
    }

    pub(super) fn sample(&self, window: Window, now_ms: u64) {
        self.producers.sample(window, now_ms);
        self.consumers.sample(window, now_ms);
    }
}

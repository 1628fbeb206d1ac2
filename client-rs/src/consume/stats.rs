//! Figures of a consumer by topic, as `mqadmin consumerStatus` shows them.
//! Source: RocketMQ 5.3 ConsumerStatsManager.consumeStatus.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use flotilla_remoting::bodies::ConsumeStatus;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Slots of a window.
const SLOTS: usize = 6;
/// Length of a slot of the figures per second.
const SLOT: Duration = Duration::from_secs(10);
/// Length of a slot of the failures of an hour.
const LONG_SLOT: Duration = Duration::from_secs(600);

/// Sums over the last slots.
#[derive(Debug)]
struct Window {
    slot: Duration,
    sums: [u64; SLOTS],
    newest: u64,
}

impl Window {
    fn new(slot: Duration) -> Window {
        Window { slot, sums: [0; SLOTS], newest: 0 }
    }

    fn add(&mut self, age: Duration, value: u64) {
        self.turn(age);
        self.sums[(self.newest % SLOTS as u64) as usize] += value;
    }

    fn sum(&mut self, age: Duration) -> u64 {
        self.turn(age);
        self.sums.iter().sum()
    }

    /// Empties the slots that time has passed over.
    fn turn(&mut self, age: Duration) {
        let now = age.as_secs() / self.slot.as_secs();
        for number in (self.newest + 1..=now).take(SLOTS) {
            self.sums[(number % SLOTS as u64) as usize] = 0;
        }
        self.newest = self.newest.max(now);
    }

    fn seconds(&self) -> f64 {
        self.slot.as_secs_f64() * SLOTS as f64
    }
}

#[derive(Debug)]
struct Figures {
    pulled: Window,
    pulls: Window,
    pull_ms: Window,
    consumed: Window,
    failed: Window,
    calls: Window,
    consume_ms: Window,
    failed_hour: Window,
}

/// The figures of a topic.
#[derive(Debug)]
pub(crate) struct TopicStats {
    since: Instant,
    figures: Mutex<Figures>,
}

impl TopicStats {
    fn new() -> TopicStats {
        let short = || Window::new(SLOT);
        let figures = Figures {
            pulled: short(),
            pulls: short(),
            pull_ms: short(),
            consumed: short(),
            failed: short(),
            calls: short(),
            consume_ms: short(),
            failed_hour: Window::new(LONG_SLOT),
        };
        TopicStats { since: Instant::now(), figures: Mutex::new(figures) }
    }

    pub(crate) fn pulled(&self, messages: usize, took: Duration) {
        let age = self.since.elapsed();
        let mut figures = self.figures.lock();
        figures.pulled.add(age, messages as u64);
        figures.pulls.add(age, 1);
        figures.pull_ms.add(age, took.as_millis() as u64);
    }

    pub(crate) fn consumed(&self, ok: usize, failed: usize, took: Duration) {
        let age = self.since.elapsed();
        let mut figures = self.figures.lock();
        figures.consumed.add(age, ok as u64);
        figures.calls.add(age, 1);
        figures.consume_ms.add(age, took.as_millis() as u64);
        if failed > 0 {
            figures.failed.add(age, failed as u64);
            figures.failed_hour.add(age, failed as u64);
        }
    }

    /// The figures now.
    pub(crate) fn status(&self) -> ConsumeStatus {
        let age = self.since.elapsed();
        let figures = &mut *self.figures.lock();
        let mean = |sum: u64, count: u64| if count == 0 { 0.0 } else { sum as f64 / count as f64 };
        let seconds = figures.pulled.seconds();
        ConsumeStatus {
            consume_failed_msgs: figures.failed_hour.sum(age) as i64,
            consume_failed_tps: figures.failed.sum(age) as f64 / seconds,
            consume_ok_tps: figures.consumed.sum(age) as f64 / seconds,
            consume_rt: mean(figures.consume_ms.sum(age), figures.calls.sum(age)),
            pull_rt: mean(figures.pull_ms.sum(age), figures.pulls.sum(age)),
            pull_tps: figures.pulled.sum(age) as f64 / seconds,
        }
    }
}

/// Figures by topic. Holds no more topics than are subscribed.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    topics: Mutex<HashMap<String, Arc<TopicStats>>>,
}

impl Stats {
    pub(crate) fn topic(&self, topic: &str) -> Arc<TopicStats> {
        let mut topics = self.topics.lock();
        if let Some(stats) = topics.get(topic) {
            return stats.clone();
        }
        topics.entry(topic.to_owned()).or_insert_with(|| Arc::new(TopicStats::new())).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_forgets_what_is_older_than_its_slots() {
        let mut window = Window::new(SLOT);
        let at = Duration::from_secs;
        window.add(at(1), 5);
        window.add(at(15), 7);
        assert_eq!(window.sum(at(59)), 12);
        assert_eq!(window.sum(at(61)), 7, "the first slot is used again");
        assert_eq!(window.sum(at(1_000)), 0);
    }
}

//! Counters of what flows into a queue or out of it, with their samples.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use super::rings::{Growth, Rings, Window};

/// Queues that get counters of their own, those of topics and those of groups together: a queue without has no statistics,
/// and those of its topic count it all the same.
pub const QUEUE_SERIES_MAX: usize = 20_000;

/// Queue ids below this have counters of their own: the list of a topic's queues is as long as its highest one.
const QUEUES_PER_SERIES_MAX: usize = 4_096;

/// Positions of the counters in a [`Growth`].
pub const MESSAGES: usize = 0;
pub const BYTES: usize = 1;
pub const CALLS: usize = 2;
/// Microseconds.
pub const LATENCY: usize = 3;

/// Relaxed counters and their samples.
#[derive(Debug, Default)]
pub struct Flow {
    counters: [AtomicU64; super::rings::VALUES],
    rings: Mutex<Rings>,
}

impl Flow {
    pub fn add(&self, messages: u64, bytes: u64) {
        self.counters[MESSAGES].fetch_add(messages, Ordering::Relaxed);
        self.counters[BYTES].fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts one call and how long it took.
    pub fn call(&self, took: Duration) {
        self.calls(1, took);
    }

    /// Counts calls and how long each of them took.
    pub fn calls(&self, count: u32, took_each: Duration) {
        self.counters[CALLS].fetch_add(count.into(), Ordering::Relaxed);
        let took_us = took_each.saturating_mul(count).as_micros();
        self.counters[LATENCY].fetch_add(u64::try_from(took_us).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub fn get(&self, counter: usize) -> u64 {
        self.counters[counter].load(Ordering::Relaxed)
    }

    pub fn sample(&self, window: Window, now_ms: u64) {
        let values = std::array::from_fn(|counter| self.get(counter));
        self.rings.lock().sample(window, now_ms, values);
    }

    pub fn growth(&self, window: Window) -> Growth {
        self.rings.lock().growth(window)
    }

    pub fn is_idle(&self) -> bool {
        self.rings.lock().is_idle()
    }
}

/// Flows by queue id, each made when its queue is first used.
#[derive(Debug)]
pub struct Queues {
    flows: RwLock<Vec<Option<Arc<Flow>>>>,
    /// Flows of all queues of the node.
    in_use: Arc<AtomicUsize>,
}

impl Queues {
    pub fn new(in_use: Arc<AtomicUsize>) -> Self {
        Self { flows: RwLock::default(), in_use }
    }

    /// Counts in a queue's flow, if it has one or may have one.
    pub fn count(&self, queue_id: u32, count: impl FnOnce(&Flow)) {
        let at = queue_id as usize;
        if let Some(Some(flow)) = self.flows.read().get(at) {
            return count(flow);
        }
        if let Some(flow) = self.make(at) {
            count(&flow);
        }
    }

    pub fn find(&self, queue_id: u32) -> Option<Arc<Flow>> {
        self.flows.read().get(queue_id as usize)?.clone()
    }

    pub fn sample(&self, window: Window, now_ms: u64) {
        for flow in self.flows.read().iter().flatten() {
            flow.sample(window, now_ms);
        }
    }

    fn make(&self, at: usize) -> Option<Arc<Flow>> {
        if at >= QUEUES_PER_SERIES_MAX {
            return None;
        }
        let mut flows = self.flows.write();
        if flows.len() <= at {
            flows.resize(at + 1, None);
        }
        if flows[at].is_none() {
            let room = |in_use| (in_use < QUEUE_SERIES_MAX).then_some(in_use + 1);
            self.in_use.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).ok()?;
            flows[at] = Some(Arc::default());
        }
        flows[at].clone()
    }
}

impl Drop for Queues {
    fn drop(&mut self) {
        let own = self.flows.get_mut().iter().flatten().count();
        self.in_use.fetch_sub(own, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_has_its_own_counters() {
        let queues = Queues::new(Arc::default());
        queues.count(3, |flow| flow.add(2, 200));
        queues.count(3, |flow| flow.call(Duration::from_millis(5)));
        queues.count(0, |flow| flow.add(1, 1));
        let flow = queues.find(3).unwrap();
        assert_eq!([MESSAGES, BYTES, CALLS, LATENCY].map(|counter| flow.get(counter)), [2, 200, 1, 5_000]);
        assert!(queues.find(1).is_none() && queues.find(99).is_none());
        queues.sample(Window::Minute, 50_000);
        assert_eq!(flow.growth(Window::Minute).values, [2, 200, 1, 5_000]);
    }

    #[test]
    fn the_flows_of_all_queues_are_bounded_and_given_back() {
        let in_use = Arc::new(AtomicUsize::new(QUEUE_SERIES_MAX - 1));
        let queues = Queues::new(in_use.clone());
        queues.count(0, |flow| flow.add(1, 1));
        queues.count(1, |_| panic!("there is no room for a second"));
        queues.count(u32::MAX, |_| panic!("no list is so long"));
        assert_eq!(in_use.load(Ordering::Relaxed), QUEUE_SERIES_MAX);
        drop(queues);
        assert_eq!(in_use.load(Ordering::Relaxed), QUEUE_SERIES_MAX - 1);
    }
}

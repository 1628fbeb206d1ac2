//! Bounds the bytes of proposals on their way.
//!
//! The consensus library's queues are bounded in entries, not bytes, and a leader's own slow disk does not slow down
//! commits. So a proposal's bytes count from its acceptance until it is applied *and* durable here; beyond the limit
//! new proposals are refused.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::status::Counters;

/// Proposals applied but not yet durable: index and bytes, in index order.
type Unflushed = VecDeque<(u64, u64)>;

/// A proposal that the log does not hold yet, and will when nothing comes in between: its bytes count until the last one lets go.
pub(crate) struct Coming {
    permits: Arc<Permits>,
    bytes: u64,
}

impl Coming {
    pub(crate) fn new(permits: &Arc<Permits>, bytes: u64) -> Arc<Coming> {
        permits.coming.fetch_add(bytes, Ordering::AcqRel);
        Arc::new(Coming { permits: Arc::clone(permits), bytes })
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.permits.coming.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

pub(crate) struct Permits {
    bytes_max: u64,
    counters: Arc<Counters>,
    /// Bytes of proposals that the log does not hold yet.
    coming: AtomicU64,
    /// One more than the last durable index.
    flushed_end: AtomicU64,
    unflushed: Mutex<Unflushed>,
}

impl Permits {
    pub(crate) fn new(bytes_max: u64, counters: Arc<Counters>) -> Permits {
        Permits {
            bytes_max,
            counters,
            coming: AtomicU64::new(0),
            flushed_end: AtomicU64::new(0),
            unflushed: Mutex::new(VecDeque::new()),
        }
    }

    /// Takes a permit. A single proposal larger than the limit passes when nothing else is on its way.
    pub(crate) fn take(&self, bytes: u64) -> bool {
        let in_flight = &self.counters.in_flight_bytes;
        let before = in_flight.fetch_add(bytes, Ordering::AcqRel);
        if before != 0 && before.saturating_add(bytes) > self.bytes_max {
            in_flight.fetch_sub(bytes, Ordering::AcqRel);
            self.counters.busy.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// Bytes of all [`Coming`].
    pub(crate) fn coming(&self) -> u64 {
        self.coming.load(Ordering::Acquire)
    }

    /// The proposal was applied at `index`, or (`None`) will not be applied under this permit.
    pub(crate) fn settled(&self, bytes: u64, index: Option<u64>) {
        let Some(index) = index else {
            self.give_back(bytes);
            return;
        };
        let mut unflushed = self.unflushed.lock();
        if index < self.flushed_end.load(Ordering::Acquire) {
            drop(unflushed);
            self.give_back(bytes);
        } else {
            unflushed.push_back((index, bytes));
        }
    }

    /// Everything up to and including `index` is durable. Called from the log's writer thread.
    pub(crate) fn flushed(&self, index: u64) {
        let mut unflushed = self.unflushed.lock();
        let end = self.flushed_end.fetch_max(index + 1, Ordering::AcqRel).max(index + 1);
        let mut bytes = 0;
        while let Some((first, size)) = unflushed.front() {
            if *first >= end {
                break;
            }
            bytes += size;
            unflushed.pop_front();
        }
        drop(unflushed);
        self.give_back(bytes);
    }

    /// The log was cut behind `last`; what comes next there is not durable yet.
    pub(crate) fn truncated(&self, end: u64) {
        let unflushed = self.unflushed.lock();
        self.flushed_end.fetch_min(end, Ordering::AcqRel);
        drop(unflushed);
    }

    fn give_back(&self, bytes: u64) {
        if bytes > 0 {
            let before = self.counters.in_flight_bytes.fetch_sub(bytes, Ordering::AcqRel);
            debug_assert!(before >= bytes, "{before} bytes in flight, {bytes} given back");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(bytes_max: u64) -> (Permits, Arc<Counters>) {
        let counters = Arc::new(Counters::default());
        (Permits::new(bytes_max, Arc::clone(&counters)), counters)
    }

    fn in_flight(counters: &Counters) -> u64 {
        counters.in_flight_bytes.load(Ordering::Relaxed)
    }

    #[test]
    fn a_permit_is_held_until_applied_and_flushed_in_either_order() {
        let (permits, counters) = permits(100);
        assert!(permits.take(60));
        assert!(!permits.take(60), "beyond the limit");
        permits.settled(60, Some(5));
        assert_eq!(in_flight(&counters), 60, "applied but not durable");
        assert!(!permits.take(60));
        permits.flushed(4);
        assert_eq!(in_flight(&counters), 60);
        permits.flushed(5);
        assert_eq!(in_flight(&counters), 0);

        assert!(permits.take(70));
        permits.flushed(6);
        assert_eq!(in_flight(&counters), 70, "durable but not applied");
        permits.settled(70, Some(6));
        assert_eq!(in_flight(&counters), 0);
        assert_eq!(counters.busy.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn refused_proposals_give_their_bytes_back_and_large_ones_pass_alone() {
        let (permits, counters) = permits(10);
        assert!(permits.take(50), "nothing else is on its way");
        assert!(!permits.take(1));
        permits.settled(50, None);
        assert_eq!(in_flight(&counters), 0);
        assert!(permits.take(1));
    }

    #[test]
    fn a_truncation_takes_back_the_durable_mark() {
        let (permits, counters) = permits(100);
        permits.flushed(9);
        permits.truncated(5);
        assert!(permits.take(10));
        permits.settled(10, Some(7));
        assert_eq!(in_flight(&counters), 10);
        permits.flushed(7);
        assert_eq!(in_flight(&counters), 0);
    }
}

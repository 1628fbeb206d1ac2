//! Wakes and stops the thread of the key index, and lets queries wait for it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// How often the thread looks without having been woken: purged segments tell nobody.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Entries gather for this long before the thread takes them: under load it wakes fifty times a second, not for each entry.
const GATHER: Duration = Duration::from_millis(20);

/// The meeting point of the thread that applies, the index's own thread, and queries.
#[derive(Default)]
pub(super) struct Pulse {
    /// Number of entries that are applied, counted from the first of the log.
    applied: AtomicU64,
    /// Set while the thread sleeps with nothing to do.
    idle: AtomicBool,
    state: Mutex<PulseState>,
    woken: Condvar,
    /// Told after each step.
    stepped: Condvar,
}

#[derive(Default)]
struct PulseState {
    woken: bool,
    urgent: bool,
    stopped: bool,
    steps: u64,
}

impl Pulse {
    /// On the thread that applies, for each entry: one store, and a wake-up when the index has nothing else to do.
    pub(super) fn applied(&self, count: u64) {
        self.applied.store(count, Ordering::SeqCst);
        if self.idle.load(Ordering::SeqCst) && self.idle.swap(false, Ordering::SeqCst) {
            self.state.lock().woken = true;
            self.woken.notify_one();
        }
    }

    pub(super) fn applied_count(&self) -> u64 {
        self.applied.load(Ordering::SeqCst)
    }

    /// Lets the thread look at once.
    pub(super) fn urge(&self) {
        let mut state = self.state.lock();
        (state.woken, state.urgent) = (true, true);
        self.woken.notify_one();
    }

    pub(super) fn stop(&self) {
        self.state.lock().stopped = true;
        self.woken.notify_all();
        self.stepped.notify_all();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.state.lock().stopped
    }

    /// Waits until more than `seen` entries are applied, somebody asks, or the interval is over; false when stopped.
    pub(super) fn wait(&self, seen: u64) -> bool {
        self.idle.store(true, Ordering::SeqCst);
        let mut state = self.state.lock();
        // Entries that were applied before the thread said that it sleeps have woken nobody.
        if self.applied_count() <= seen && !state.woken && !state.stopped {
            self.woken.wait_for(&mut state, LOOK_INTERVAL);
        }
        self.idle.store(false, Ordering::SeqCst);
        if !state.urgent && !state.stopped {
            self.woken.wait_for(&mut state, GATHER);
        }
        (state.woken, state.urgent) = (false, false);
        !state.stopped
    }

    /// Tells those who wait that something has changed.
    pub(super) fn step(&self) {
        self.state.lock().steps += 1;
        self.stepped.notify_all();
    }

    /// Wakes the thread and waits until the condition holds, looking again after each step; false at the deadline or the end.
    pub(super) fn until(&self, deadline: Instant, holds: impl Fn() -> bool) -> bool {
        if holds() {
            return true;
        }
        self.urge();
        loop {
            let steps = self.state.lock().steps;
            if holds() {
                return true;
            }
            let mut state = self.state.lock();
            if state.stopped {
                return false;
            }
            if state.steps == steps && self.stepped.wait_until(&mut state, deadline).timed_out() {
                drop(state);
                return holds();
            }
        }
    }
}

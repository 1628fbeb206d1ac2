//! An unbounded queue with one consumer that takes as much as it can chew.
//!
//! The bound is kept above: the proposer holds a permit for every byte in flight, the follower reads no further frame.

use std::collections::VecDeque;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    ready: Condvar,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    nudged: bool,
    stopped: bool,
}

/// What a wait ended with.
#[derive(Debug)]
pub(crate) enum Taken<T> {
    Items(Vec<T>),
    /// The time passed.
    Nothing,
    /// Stopped, and nothing is left.
    Stopped,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State { items: VecDeque::new(), nudged: false, stopped: false }),
            ready: Condvar::new(),
        }
    }

    pub(crate) fn push(&self, items: impl IntoIterator<Item = T>) {
        self.state.lock().items.extend(items);
        self.ready.notify_one();
    }

    /// Wakes the consumer for good; what is queued is still handed out.
    pub(crate) fn stop(&self) {
        self.state.lock().stopped = true;
        self.ready.notify_all();
    }

    /// Wakes the consumer although nothing was queued.
    pub(crate) fn nudge(&self) {
        self.state.lock().nudged = true;
        self.ready.notify_one();
    }

    /// Takes items until `size` of those taken reaches `size_max`; at least one if there is any. Does not wait.
    pub(crate) fn take(&self, size_max: usize, size: impl Fn(&T) -> usize) -> Vec<T> {
        Self::pop(&mut self.state.lock().items, size_max, size)
    }

    /// As [`Queue::take`], after waiting for an item, a nudge, the stop or `until`.
    pub(crate) fn wait(
        &self,
        size_max: usize,
        size: impl Fn(&T) -> usize,
        until: Option<Instant>,
    ) -> Taken<T> {
        let mut state = self.state.lock();
        if state.items.is_empty() && !state.stopped && !state.nudged {
            match until {
                None => self.ready.wait(&mut state),
                Some(until) => drop(self.ready.wait_until(&mut state, until)),
            }
        }
        state.nudged = false;
        match (state.items.is_empty(), state.stopped) {
            (false, _) => Taken::Items(Self::pop(&mut state.items, size_max, size)),
            (true, true) => Taken::Stopped,
            (true, false) => Taken::Nothing,
        }
    }

    fn pop(items: &mut VecDeque<T>, size_max: usize, size: impl Fn(&T) -> usize) -> Vec<T> {
        let mut taken = Vec::new();
        let mut total = 0;
        while let Some(item) = items.pop_front() {
            total += size(&item);
            taken.push(item);
            if total >= size_max {
                break;
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_all_that_waits_up_to_the_size_and_at_least_one() {
        let queue = Queue::new();
        queue.push([5_usize, 5, 5, 100, 1]);
        assert_eq!(queue.take(10, |size| *size), [5, 5]);
        assert_eq!(queue.take(1, |size| *size), [5]);
        assert_eq!(queue.take(1000, |size| *size), [100, 1]);
        assert!(queue.take(1000, |size| *size).is_empty());
    }

    #[test]
    fn a_stopped_queue_hands_out_the_rest_first() {
        let queue = Queue::new();
        queue.push([1_usize]);
        queue.stop();
        assert!(matches!(queue.wait(9, |size| *size, None), Taken::Items(items) if items == [1]));
        assert!(matches!(queue.wait(9, |size| *size, None), Taken::Stopped));
    }
}

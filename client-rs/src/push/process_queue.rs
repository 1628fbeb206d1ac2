//! What is held of one queue: messages that were pulled and are not consumed yet, and the offset up to which everything is.
//!
//! ```text
//! offsets   5 6 7 8 9 10 11        8 done, 7 running: 7 is the offset to commit, 12 the next to pull
//!           . . r d w w  w
//! ```
//! Pure: no clock, no task. Messages of orderly consumers wait here too, in order.
//! Source: RocketMQ 5.3 ProcessQueue; there a tree map, here a ring, for a queue's offsets only grow.

use std::collections::VecDeque;

use crate::received::ReceivedMessage;

#[derive(Clone, Copy, Debug)]
struct Slot {
    offset: i64,
    bytes: usize,
    done: bool,
}

/// Messages and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

/// What is held of one queue.
#[derive(Debug, Default)]
pub(crate) struct ProcessQueue {
    /// In order of offset; the first one is not done.
    slots: VecDeque<Slot>,
    /// Offset to pull next.
    next: i64,
    held: Amount,
    /// Orderly consumers: what was not given to the listener yet.
    waiting: VecDeque<ReceivedMessage>,
}

impl ProcessQueue {
    pub(crate) fn new(next: i64) -> ProcessQueue {
        ProcessQueue { next, ..ProcessQueue::default() }
    }

    /// Takes what a pull brought; drops from `messages` what is held already. Gives what came new.
    pub(crate) fn put(&mut self, messages: &mut Vec<ReceivedMessage>, next: i64) -> Amount {
        let mut new = Amount::default();
        let mut last = self.slots.back().map_or(i64::MIN, |slot| slot.offset);
        messages.retain(|message| {
            let (offset, bytes) = (message.queue_offset(), message.body().len());
            if offset <= last {
                return false;
            }
            last = offset;
            self.slots.push_back(Slot { offset, bytes, done: false });
            new.messages += 1;
            new.bytes += bytes;
            true
        });
        self.held.messages += new.messages;
        self.held.bytes += new.bytes;
        self.next = self.next.max(next);
        new
    }

    /// Moves the next offset when a pull brought nothing.
    pub(crate) fn advance(&mut self, next: i64) {
        self.next = self.next.max(next);
    }

    /// Claims that a message is held and not consumed.
    pub(crate) fn holds(&self, offset: i64) -> bool {
        self.slots.binary_search_by_key(&offset, |slot| slot.offset).is_ok_and(|at| !self.slots[at].done)
    }

    /// These messages are consumed. Gives what is held no more.
    pub(crate) fn finish(&mut self, offsets: impl IntoIterator<Item = i64>) -> Amount {
        let mut freed = Amount::default();
        for offset in offsets {
            // The usual case first: messages end in their order.
            let at = match self.slots.front() {
                Some(first) if first.offset == offset => 0,
                _ => match self.slots.binary_search_by_key(&offset, |slot| slot.offset) {
                    Ok(at) => at,
                    Err(_) => continue,
                },
            };
            let slot = &mut self.slots[at];
            if slot.done {
                continue;
            }
            slot.done = true;
            freed.messages += 1;
            freed.bytes += slot.bytes;
            if at == 0 {
                while self.slots.front().is_some_and(|slot| slot.done) {
                    self.slots.pop_front();
                }
            }
        }
        self.held.messages -= freed.messages;
        self.held.bytes -= freed.bytes;
        freed
    }

    /// Offset up to which everything is consumed: what may be committed.
    pub(crate) fn consumed_to(&self) -> i64 {
        self.slots.front().map_or(self.next, |slot| slot.offset)
    }

    /// Offset to pull next.
    pub(crate) fn next(&self) -> i64 {
        self.next
    }

    /// What is held and not consumed.
    pub(crate) fn held(&self) -> Amount {
        self.held
    }

    /// First and last offset held.
    pub(crate) fn range(&self) -> Option<(i64, i64)> {
        Some((self.slots.front()?.offset, self.slots.back()?.offset))
    }

    /// Offsets between the first and the last one held.
    pub(crate) fn span(&self) -> i64 {
        self.range().map_or(0, |(first, last)| last - first)
    }

    /// Keeps messages for [`ProcessQueue::take`].
    pub(crate) fn wait(&mut self, messages: Vec<ReceivedMessage>) {
        self.waiting.extend(messages);
    }

    /// The next messages in order, at most so many.
    pub(crate) fn take(&mut self, messages_max: usize) -> Vec<ReceivedMessage> {
        let count = messages_max.min(self.waiting.len());
        self.waiting.drain(..count).collect()
    }

    /// Puts messages back in front, to be taken again.
    pub(crate) fn put_back(&mut self, messages: Vec<ReceivedMessage>) {
        for message in messages.into_iter().rev() {
            self.waiting.push_front(message);
        }
    }

    /// Claims that messages wait to be taken.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Forgets what was not consumed, so that it would be pulled again. Gives what is held no more.
    pub(crate) fn clear(&mut self) -> Amount {
        self.next = self.consumed_to();
        self.slots.clear();
        self.waiting.clear();
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::received::tests::message;
    use proptest::prelude::*;

    fn messages(offsets: impl IntoIterator<Item = i64>) -> Vec<ReceivedMessage> {
        offsets.into_iter().map(|offset| message(offset, 10)).collect()
    }

    fn offsets(messages: &[ReceivedMessage]) -> Vec<i64> {
        messages.iter().map(ReceivedMessage::queue_offset).collect()
    }

    #[test]
    fn the_oldest_message_that_is_not_consumed_holds_the_offset() {
        let mut queue = ProcessQueue::new(5);
        assert_eq!(queue.consumed_to(), 5);
        assert_eq!(queue.put(&mut messages(5..9), 12), Amount { messages: 4, bytes: 40 });
        assert_eq!((queue.consumed_to(), queue.next(), queue.span()), (5, 12, 3));
        assert_eq!(queue.finish([6, 7]), Amount { messages: 2, bytes: 20 });
        assert_eq!(queue.consumed_to(), 5);
        assert!(queue.holds(5) && !queue.holds(6) && queue.holds(8));
        queue.finish([5]);
        assert_eq!(queue.consumed_to(), 8);
        queue.finish([8]);
        assert_eq!((queue.consumed_to(), queue.held()), (12, Amount::default()), "9 to 11 were filtered out");
    }

    #[test]
    fn what_is_held_is_neither_taken_nor_finished_twice() {
        let mut queue = ProcessQueue::new(0);
        queue.put(&mut messages(0..3), 3);
        let mut again = messages(1..5);
        assert_eq!(queue.put(&mut again, 5).messages, 2);
        assert_eq!(offsets(&again), [3, 4]);
        assert_eq!(queue.finish([1, 1, 99]).messages, 1);
        assert_eq!(queue.held().messages, 4);
        queue.advance(3);
        assert_eq!(queue.next(), 5, "an old answer moves nothing back");
    }

    #[test]
    fn messages_put_back_come_again_first_and_in_order() {
        let mut queue = ProcessQueue::new(0);
        let mut pulled = messages(0..5);
        queue.put(&mut pulled, 5);
        queue.wait(pulled);
        let taken = queue.take(2);
        assert_eq!(offsets(&taken), [0, 1]);
        queue.put_back(taken);
        assert_eq!(offsets(&queue.take(9)), [0, 1, 2, 3, 4]);
        assert!(!queue.has_waiting());
        queue.finish([0, 2]);
        assert_eq!(queue.clear().messages, 3);
        assert_eq!((queue.consumed_to(), queue.next()), (1, 1), "what was forgotten is not consumed");
    }

    proptest! {
        #[test]
        fn prop_the_offset_never_passes_a_message_that_is_not_consumed(order in Just((0..64i64).collect::<Vec<_>>()).prop_shuffle()) {
            let mut queue = ProcessQueue::new(0);
            queue.put(&mut messages(0..64), 64);
            let mut open: std::collections::BTreeSet<i64> = (0..64).collect();
            for offset in order {
                queue.finish([offset]);
                open.remove(&offset);
                prop_assert_eq!(queue.consumed_to(), open.first().copied().unwrap_or(64));
                prop_assert_eq!(queue.held(), Amount { messages: open.len(), bytes: open.len() * 10 });
            }
        }
    }
}

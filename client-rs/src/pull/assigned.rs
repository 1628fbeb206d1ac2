//! A queue of a pull consumer: what was fetched ahead, and three positions.
//!
//! ```text
//! committed <= safe <= position <= next        safe      behind what polls before the latest one gave
//!                                              position  behind what polls gave
//!                                              next      the next to fetch
//! ```
//! Pure. A seek sets all of them (but not what is committed) and begins a new epoch: what a fetch of an older one brings is
//! dropped.

use std::collections::VecDeque;

use crate::received::ReceivedMessage;

/// Messages of one pull.
#[derive(Debug)]
struct Fetched {
    messages: Vec<ReceivedMessage>,
    bytes: usize,
    /// Offset behind them and behind what was filtered out.
    next: i64,
}

/// The positions, once they are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Positions {
    safe: i64,
    position: i64,
    next: i64,
    committed: Option<i64>,
}

/// State of a queue.
#[derive(Debug, Default)]
pub(crate) struct State {
    positions: Option<Positions>,
    fetched: VecDeque<Fetched>,
    messages: usize,
    bytes: usize,
    epoch: u64,
    pub(crate) paused: bool,
    /// Whether the queue stands in line for polls.
    pub(crate) in_line: bool,
}

/// What to fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Next {
    pub(crate) offset: i64,
    pub(crate) epoch: u64,
}

impl State {
    /// Sets where it starts, unless a seek has done so. `committed` when the offset comes from where offsets are kept.
    pub(crate) fn start_at(&mut self, offset: i64, committed: bool) {
        self.positions.get_or_insert(Positions {
            safe: offset,
            position: offset,
            next: offset,
            committed: committed.then_some(offset),
        });
    }

    /// Goes on at an offset. Gives the messages that are dropped for it.
    pub(crate) fn seek(&mut self, offset: i64) -> usize {
        let committed = self.positions.and_then(|positions| positions.committed);
        self.positions = Some(Positions { safe: offset, position: offset, next: offset, committed });
        self.epoch += 1;
        self.clear()
    }

    /// Forgets what was fetched ahead. Gives the number of messages.
    pub(crate) fn clear(&mut self) -> usize {
        self.fetched.clear();
        self.bytes = 0;
        std::mem::take(&mut self.messages)
    }

    /// What to fetch; `None` while no start is known.
    pub(crate) fn next(&self) -> Option<Next> {
        Some(Next { offset: self.positions?.next, epoch: self.epoch })
    }

    /// Takes what a fetch brought; claims that it did, for one that was overtaken by a seek is dropped.
    pub(crate) fn put(&mut self, asked: Next, messages: Vec<ReceivedMessage>, next: i64) -> bool {
        if asked.epoch != self.epoch {
            return false;
        }
        let Some(positions) = &mut self.positions else { return false };
        positions.next = next;
        if messages.is_empty() {
            if self.fetched.is_empty() {
                // Everything before was given by polls or filtered out.
                if positions.safe == positions.position {
                    positions.safe = next;
                }
                positions.position = next;
            } else if let Some(last) = self.fetched.back_mut() {
                last.next = next;
            }
            return true;
        }
        let bytes = messages.iter().map(|message| message.body().len()).sum();
        self.messages += messages.len();
        self.bytes += bytes;
        self.fetched.push_back(Fetched { messages, bytes, next });
        true
    }

    /// Messages for a poll.
    pub(crate) fn take(&mut self) -> Option<Vec<ReceivedMessage>> {
        if self.paused {
            return None;
        }
        let Fetched { messages, bytes, next } = self.fetched.pop_front()?;
        self.messages -= messages.len();
        self.bytes -= bytes;
        if let Some(positions) = &mut self.positions {
            positions.position = next;
        }
        Some(messages)
    }

    /// Claims that there is something for a poll.
    pub(crate) fn is_ready(&self) -> bool {
        !self.paused && !self.fetched.is_empty()
    }

    /// A new poll begins: what earlier ones gave counts as consumed.
    pub(crate) fn note_poll(&mut self) {
        if let Some(positions) = &mut self.positions {
            positions.safe = positions.position;
        }
    }

    /// Offset behind what polls gave.
    pub(crate) fn position(&self) -> Option<i64> {
        self.positions.map(|positions| positions.position)
    }

    /// The offset that a commit would store, if it is not stored yet.
    pub(crate) fn uncommitted(&self, everything: bool) -> Option<i64> {
        let positions = self.positions?;
        let offset = if everything { positions.position } else { positions.safe };
        (positions.committed != Some(offset)).then_some(offset)
    }

    pub(crate) fn note_committed(&mut self, offset: i64) {
        if let Some(positions) = &mut self.positions {
            positions.committed = Some(offset);
        }
    }

    /// Messages and bytes fetched ahead.
    pub(crate) fn ahead(&self) -> (usize, usize) {
        (self.messages, self.bytes)
    }

    /// First and last offset fetched ahead.
    pub(crate) fn range(&self) -> Option<(i64, i64)> {
        let first = self.fetched.front()?.messages.first()?.queue_offset();
        Some((first, self.fetched.back()?.messages.last()?.queue_offset()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::received::tests::message;

    fn fetched(state: &mut State, offsets: std::ops::Range<i64>, next: i64) -> bool {
        let asked = state.next().expect("started");
        state.put(asked, offsets.map(|offset| message(offset, 1)).collect(), next)
    }

    #[test]
    fn only_what_earlier_polls_gave_is_safe_to_commit() {
        let mut state = State::default();
        assert_eq!(state.next(), None);
        state.start_at(5, true);
        assert_eq!(state.uncommitted(true), None, "nothing new");
        assert!(fetched(&mut state, 5..8, 10));
        assert_eq!(state.ahead(), (3, 3));
        assert_eq!(state.take().map(|messages| messages.len()), Some(3));
        assert_eq!((state.uncommitted(false), state.uncommitted(true)), (None, Some(10)));
        state.note_poll();
        assert_eq!(state.uncommitted(false), Some(10));
        state.note_committed(10);
        assert_eq!(state.uncommitted(true), None);
    }

    #[test]
    fn a_seek_drops_what_was_fetched_and_what_is_on_its_way() {
        let mut state = State::default();
        state.start_at(5, false);
        assert!(fetched(&mut state, 5..8, 8));
        let asked = state.next().expect("started");
        assert_eq!(state.seek(2), 3);
        assert!(!state.put(asked, vec![message(8, 1)], 9), "asked before the seek");
        assert_eq!((state.position(), state.next().map(|next| next.offset)), (Some(2), Some(2)));
        assert_eq!(state.take().map(|messages| messages.len()), None);
        assert_eq!(state.uncommitted(true), Some(2));
    }

    #[test]
    fn what_is_filtered_out_moves_the_position_once_all_before_it_was_given() {
        let mut state = State::default();
        state.start_at(0, true);
        assert!(fetched(&mut state, 0..2, 2));
        assert!(fetched(&mut state, 0..0, 50));
        assert_eq!(state.position(), Some(0));
        state.take();
        assert_eq!(state.position(), Some(50));
        assert!(fetched(&mut state, 0..0, 60));
        assert_eq!((state.position(), state.uncommitted(false)), (Some(60), None));
        state.note_poll();
        assert_eq!(state.uncommitted(false), Some(60));
    }

    #[test]
    fn a_paused_queue_gives_nothing() {
        let mut state = State::default();
        state.start_at(0, true);
        assert!(fetched(&mut state, 0..2, 2));
        state.paused = true;
        assert!(state.take().is_none());
        state.paused = false;
        assert!(state.take().is_some());
    }
}

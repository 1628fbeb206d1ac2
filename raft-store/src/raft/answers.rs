//! Brings outcomes back to proposers.
//!
//! The consensus library carries a [`Waiter`] beside each entry: a key and a handle, no allocation of its own. The
//! typed half, [`Pending`], keeps the proposers' call-backs by key. When the machine has applied an entry its answer is
//! laid into `Pending` and the waiter is released; both happen on the group's thread, one after the other, so the
//! answer found is the entry's own. A waiter that is dropped unreleased means that nobody knows the outcome.

use std::collections::HashMap;
use std::sync::Arc;

use openraft::errors::ClientWriteError;
use openraft::raft::ClientWriteResult;
use openraft::raft::responder::Responder;
use parking_lot::Mutex;

use super::api::{Committed, Done, ProposeError};
use super::permits::Permits;
use super::types::Types;
use crate::identity::NodeId;

/// What became of an entry, without the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Applied at this index and term.
    Applied { index: u64, term: u64 },
    /// Never appended.
    Refused { leader: Option<u64> },
    /// Nobody knows.
    Unknown,
}

/// The untyped side of [`Pending`].
pub(crate) trait Outcomes: Send + Sync {
    fn settle(&self, key: u64, outcome: Outcome);
}

struct Waiting<A> {
    bytes: u64,
    done: Done<A>,
}

struct Inner<A> {
    next_key: u64,
    waiting: HashMap<u64, Waiting<A>, KeyHash>,
    /// The answer of the entry being applied, and the position of its record.
    answer: Option<(u64, A)>,
}

/// Call-backs of all proposals on their way.
pub(crate) struct Pending<A> {
    inner: Mutex<Inner<A>>,
    permits: Arc<Permits>,
}

impl<A: Send + 'static> Pending<A> {
    pub(crate) fn new(permits: Arc<Permits>) -> Pending<A> {
        let inner = Inner { next_key: 0, waiting: HashMap::default(), answer: None };
        Pending { inner: Mutex::new(inner), permits }
    }

    /// Keeps a call-back; the permit for `bytes` was taken and is given back when the entry is settled and flushed.
    pub(crate) fn register(&self, bytes: u64, done: Done<A>) -> u64 {
        let mut inner = self.inner.lock();
        let key = inner.next_key;
        inner.next_key += 1;
        inner.waiting.insert(key, Waiting { bytes, done });
        key
    }

    /// Lays down the answer of the entry whose waiter is released next.
    pub(crate) fn lay_answer(&self, position: u64, answer: A) {
        self.inner.lock().answer = Some((position, answer));
    }
}

impl<A: Send + 'static> Outcomes for Pending<A> {
    fn settle(&self, key: u64, outcome: Outcome) {
        let (waiting, answer) = {
            let mut inner = self.inner.lock();
            let waiting = inner.waiting.remove(&key);
            let answer = match outcome {
                Outcome::Applied { .. } => inner.answer.take(),
                Outcome::Refused { .. } | Outcome::Unknown => None,
            };
            (waiting, answer)
        };
        let Waiting { bytes, done } = waiting.expect("a waiter is released once");
        let result = match outcome {
            Outcome::Applied { index, term } => {
                self.permits.settled(bytes, Some(index));
                let (position, answer) =
                    answer.expect("the machine answered the entry before its waiter was released");
                Ok(Committed { index, term, position, answer })
            }
            Outcome::Refused { leader } => {
                self.permits.settled(bytes, None);
                Err(ProposeError::NotLeader { leader })
            }
            Outcome::Unknown => {
                self.permits.settled(bytes, None);
                Err(ProposeError::Unknown)
            }
        };
        done(result);
    }
}

/// Travels with an entry through the consensus library.
pub struct Waiter<T> {
    key: u64,
    outcomes: Option<Arc<dyn Outcomes>>,
    read: fn(T) -> Outcome,
}

impl Waiter<ClientWriteResult<Types>> {
    pub(crate) fn new(key: u64, outcomes: Arc<dyn Outcomes>) -> Self {
        Waiter { key, outcomes: Some(outcomes), read: read_write_result }
    }
}

impl<T: openraft::OptionalSend + 'static> Responder<Types, T> for Waiter<T> {
    fn on_complete(mut self, result: T) {
        let outcome = (self.read)(result);
        if let Some(outcomes) = self.outcomes.take() {
            outcomes.settle(self.key, outcome);
        }
    }
}

impl<T> Drop for Waiter<T> {
    fn drop(&mut self) {
        if let Some(outcomes) = self.outcomes.take() {
            outcomes.settle(self.key, Outcome::Unknown);
        }
    }
}

/// Only a refusal *before* the append may be proposed again. A discarded entry carries the same routing information,
/// but may have been committed elsewhere.
fn read_write_result(result: ClientWriteResult<Types>) -> Outcome {
    match result {
        Ok(written) => Outcome::Applied {
            index: written.log_id.index(),
            term: written.log_id.committed_leader_id().term,
        },
        Err(ClientWriteError::ForwardToLeader(forward)) => {
            Outcome::Refused { leader: forward.leader_id.map(|node| u64::from(NodeId(node).peer_index())) }
        }
        Err(
            ClientWriteError::LogEntryDiscarded(_)
            | ClientWriteError::ChangeMembershipError(_)
            | ClientWriteError::PreconditionFailed(_),
        ) => Outcome::Unknown,
    }
}

/// Keys count upwards, so they are spread by one multiplication instead of a keyed hash.
#[derive(Default, Clone, Copy)]
struct KeyHash;

impl std::hash::BuildHasher for KeyHash {
    type Hasher = KeyHasher;

    fn build_hasher(&self) -> KeyHasher {
        KeyHasher(0)
    }
}

struct KeyHasher(u64);

impl std::hash::Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::status::Counters;
    use crate::raft::types::raft_log_id;
    use crate::types::LogId;
    use openraft::errors::{ForwardReason, ForwardToLeader};
    use openraft::raft::ClientWriteResponse;
    use std::sync::atomic::Ordering;

    type Heard = Arc<Mutex<Vec<Result<Committed<u32>, ProposeError>>>>;

    fn setup() -> (Arc<Pending<u32>>, Arc<Counters>, Heard) {
        let counters = Arc::new(Counters::default());
        let permits = Arc::new(Permits::new(1000, Arc::clone(&counters)));
        permits.flushed(1000);
        (Arc::new(Pending::new(permits)), counters, Heard::default())
    }

    fn waiter(pending: &Arc<Pending<u32>>, heard: &Heard) -> Waiter<ClientWriteResult<Types>> {
        let heard = Arc::clone(heard);
        assert!(pending.permits.take(10));
        let key = pending.register(10, Box::new(move |outcome| heard.lock().push(outcome)));
        Waiter::new(key, Arc::clone(pending) as Arc<dyn Outcomes>)
    }

    fn forward() -> ForwardToLeader<Types> {
        ForwardToLeader::new(NodeId::new(2, 9).0, ())
    }

    #[test]
    fn only_a_refusal_before_the_append_may_be_proposed_again() {
        let (pending, counters, heard) = setup();
        let refused = ClientWriteError::ForwardToLeader(forward().with_reason(ForwardReason::LeaseExpired));
        waiter(&pending, &heard).on_complete(Err(refused));
        // Carries the same routing information, but the entry was appended and may have been committed elsewhere.
        waiter(&pending, &heard).on_complete(Err(ClientWriteError::LogEntryDiscarded(forward())));
        drop(waiter(&pending, &heard));
        let expected = [
            Err(ProposeError::NotLeader { leader: Some(2) }),
            Err(ProposeError::Unknown),
            Err(ProposeError::Unknown),
        ];
        assert_eq!(*heard.lock(), expected);
        assert_eq!(counters.in_flight_bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn an_answer_goes_to_the_entry_that_was_applied() {
        let (pending, _, heard) = setup();
        let waiters: Vec<_> = (0..3).map(|_| waiter(&pending, &heard)).collect();
        for (index, waiter) in (7..).zip(waiters) {
            pending.lay_answer(index * 100, u32::try_from(index).expect("small"));
            waiter.on_complete(Ok(ClientWriteResponse {
                log_id: raft_log_id(LogId { term: 3, index }),
                data: (),
                membership: None,
            }));
        }
        let answers: Vec<_> = heard
            .lock()
            .iter()
            .map(|outcome| outcome.clone().map(|done| (done.index, done.position, done.answer)))
            .collect();
        assert_eq!(answers, [Ok((7, 700, 7)), Ok((8, 800, 8)), Ok((9, 900, 9))]);
    }
}

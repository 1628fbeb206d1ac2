//! The broker group as the rest of the node sees it: propose something, ask where the group stands, read its tables.
//!
//! ```text
//! handlers --Work--> proposer (raft thread) --entries--> raft-store: append, flush, replicate, commit
//!                                                            |
//! answers <-- done call-backs <-- machine.apply (raft thread): tables, views, long polls
//! ```

pub mod awaited;
pub mod encoder;
pub mod machine;
#[cfg(feature = "faults")]
pub mod mutated;
pub mod proposer;
pub mod stamper;
pub mod standing;
pub mod transfer;
pub mod work;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Bytes;
use flotilla_core::{Answer, Command, PayloadBuilder, Tables};
use flotilla_raft_store::RECORD_HEADER_SIZE;
use flotilla_raft_store::raft::{Committed, Leadership, Proposal, ProposeError, Replica, Role, Status};
use parking_lot::{RwLock, RwLockReadGuard};
use tokio::sync::{mpsc, oneshot, watch};

use self::machine::EntryAnswer;
pub use self::standing::{Standing, until_changed};
use self::work::{CommandWork, EntryWork, SendWork, Work};

/// The replicated tables, written by apply alone.
pub type SharedTables = Arc<RwLock<Tables>>;

/// Handle on this node's replica of the group. Cheap to clone.
#[derive(Clone)]
pub struct Group {
    inner: Arc<Inner>,
}

struct Inner {
    replica: Replica<EntryAnswer>,
    tables: SharedTables,
    queue: mpsc::Sender<Work>,
    status: watch::Receiver<Status>,
    leadership: watch::Receiver<Leadership>,
    /// Set while leadership is being handed over: the proposer keeps its work until it is known who leads.
    holding: Arc<AtomicBool>,
}

impl Group {
    pub fn new(
        replica: Replica<EntryAnswer>,
        tables: SharedTables,
        queue: mpsc::Sender<Work>,
        holding: Arc<AtomicBool>,
    ) -> Self {
        let (status, leadership) = (replica.status(), replica.leadership());
        Self { inner: Arc::new(Inner { replica, tables, queue, status, leadership, holding }) }
    }

    pub fn replica(&self) -> &Replica<EntryAnswer> {
        &self.inner.replica
    }

    /// The replicated tables as far as this replica has applied the log.
    pub fn tables(&self) -> RwLockReadGuard<'_, Tables> {
        self.inner.tables.read()
    }

    pub fn status(&self) -> watch::Receiver<Status> {
        self.inner.status.clone()
    }

    /// Changes only when someone's part does, unlike the status.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.leadership.clone()
    }

    pub fn standing(&self) -> Standing {
        Standing::of(&self.inner.status.borrow())
    }

    /// True while this replica is about to lead: it has won its election and applies what came before.
    pub fn expects_to_lead(&self) -> bool {
        self.inner.status.borrow().role == Role::Leader
    }

    pub fn leads(&self) -> bool {
        matches!(self.standing(), Standing::Leading { .. })
    }

    /// Waits until the standing may have changed, or the deadline has passed. Cancel-safe.
    pub async fn changed(&self, deadline: Instant) {
        until_changed(&self.inner.leadership, deadline).await;
    }

    /// Puts messages up for the log. The answer goes to the caller when the entry is applied.
    ///
    /// # Errors
    /// Gives the work back when the proposer's queue is full or the node is stopping.
    pub fn send(&self, work: Box<SendWork>) -> Result<(), Box<SendWork>> {
        self.inner.queue.try_send(Work::Send(work)).map_err(|error| match error.into_inner() {
            Work::Send(work) => work,
            Work::Command(_) | Work::Entry(_) => unreachable!("a send was put in"),
        })
    }

    /// Proposes an entry of a leader's duty in this term and no other; `payload` has room for the record header in front.
    ///
    /// # Errors
    /// [`ProposeError`] says whether the entry may have taken effect. Dropping the future does not take it back.
    pub async fn propose_entry(&self, payload: Bytes, term: u64) -> Result<EntryAnswer, ProposeError> {
        let (answer, receiver) = oneshot::channel();
        let work = EntryWork { payload, term, answer: Box::new(move |outcome| drop(answer.send(outcome))) };
        if self.inner.queue.try_send(Work::Entry(work)).is_err() {
            return Err(ProposeError::Busy);
        }
        receiver.await.unwrap_or(Err(ProposeError::Unknown))
    }

    /// As [`Group::propose_entry`], of one command.
    ///
    /// # Errors
    /// As [`Group::propose_entry`].
    pub async fn propose_in(&self, term: u64, command: &Command) -> Result<(), ProposeError> {
        self.propose_entry(payload_of(command)?, term).await.map(drop)
    }

    /// Proposes one command here; the caller has seen that this replica leads. Nothing is proposed after the deadline.
    ///
    /// # Errors
    /// [`ProposeError`] says whether the command may have taken effect. Dropping the future does not take the command back.
    pub async fn propose(&self, command: Command, deadline: Instant) -> Result<Answer, ProposeError> {
        check_readable(&command)?;
        let (answer, receiver) = oneshot::channel();
        let work =
            CommandWork { command, deadline, answer: Box::new(move |result| drop(answer.send(result))) };
        if self.inner.queue.try_send(Work::Command(work)).is_err() {
            return Err(ProposeError::Busy);
        }
        receiver.await.unwrap_or(Err(ProposeError::Unknown))
    }

    /// Work that the proposer has not taken yet.
    pub fn queued(&self) -> usize {
        self.inner.queue.max_capacity() - self.inner.queue.capacity()
    }

    /// As [`Group::propose`], past the proposer and into the room that a full log keeps back: for what makes room.
    ///
    /// # Errors
    /// As [`Group::propose`].
    pub async fn propose_into_reserve(&self, command: Command) -> Result<Answer, ProposeError> {
        let payload = payload_of(&command)?;
        let (answer, receiver) = oneshot::channel();
        let done = move |outcome: Result<Committed<EntryAnswer>, ProposeError>| {
            let first = |committed: Committed<EntryAnswer>| {
                committed.answer.commands.into_iter().next().expect("apply answers each command of its entry")
            };
            drop(answer.send(outcome.map(first)));
        };
        let proposal = Proposal { payload, expected_term: None, done: Box::new(done) };
        let replica = self.inner.replica.clone();
        self.inner.replica.raft_runtime().spawn(async move {
            replica.submit_into_reserve(vec![proposal]).await;
        });
        receiver.await.unwrap_or(Err(ProposeError::Unknown))
    }

    fn hold(&self, holding: bool) {
        self.inner.holding.store(holding, Ordering::SeqCst);
    }
}

/// What apply can't read must never get into the log: it would stop every replica at every start.
fn check_readable(command: &Command) -> Result<(), ProposeError> {
    Command::decode(&command.encode()).map(drop).map_err(|error| {
        tracing::warn!(command = command.name(), %error, "command refused: it could not be read back");
        ProposeError::TooLarge
    })
}

/// An entry of one command, with room for the record header in front.
fn payload_of(command: &Command) -> Result<Bytes, ProposeError> {
    check_readable(command)?;
    let mut builder = PayloadBuilder::new(RECORD_HEADER_SIZE, 0);
    builder.push_command(command);
    Ok(builder.finish().freeze())
}

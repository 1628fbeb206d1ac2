//! What a user of the group hands in and gets back. No type of the consensus library appears here.
//!
//! A [`Machine`] is driven on the group's own thread: every committed entry passes through [`Machine::apply`] once,
//! in log order, on every replica. A proposal is a payload that already has room for the record header in front, so
//! that the record is built in place and travels without a copy from the client's frame to the disk and the peers.

use bytes::Bytes;
use thiserror::Error;

use crate::types::EntryKind;

/// One committed entry, as it is handed to [`Machine::apply`].
#[derive(Debug)]
pub struct Applied<'a> {
    /// Index of the entry in the log; the first entry of a group has index 0.
    pub index: u64,
    /// Term of the leader that appended it.
    pub term: u64,
    /// Byte address of the record in the log, the same on every replica.
    pub position: u64,
    /// Byte address of the first payload byte.
    pub payload_position: u64,
    /// Byte address just behind the record.
    pub end_position: u64,
    /// Leader time stamped into the record, milliseconds since the Unix epoch; never goes back along the log.
    pub time_ms: u64,
    /// What the payload is. Only [`EntryKind::Application`] carries bytes of the machine's own.
    pub kind: EntryKind,
    /// The payload, a slice of the record; cheap to clone, but a clone keeps the whole record in memory.
    pub payload: &'a Bytes,
    /// True when a proposer on this replica waits for the answer.
    pub awaited: bool,
}

/// The state that the group replicates.
///
/// All calls come from the group's thread, one at a time. They must not block: no files, no locks held long, no
/// sleeping; the same thread sends heartbeats.
pub trait Machine: Send + 'static {
    /// What a proposer is told about its applied entry.
    type Answer: Send + 'static;

    /// Takes one committed entry. Called for every entry, blank and membership ones too.
    ///
    /// # Panics
    /// A machine that finds its own invariant broken by a committed entry must panic: the process ends and the log stays.
    fn apply(&mut self, entry: &Applied<'_>) -> Self::Answer;

    /// A cheap copy of the state. The returned closure runs on another thread and gives the checkpoint's bytes.
    fn checkpoint(&self) -> Box<dyn FnOnce() -> Vec<u8> + Send>;

    /// Replaces the state by a checkpoint's; an empty slice is the state of a blank group.
    ///
    /// # Errors
    /// The checkpoint can't be understood; the group stops.
    fn install(&mut self, checkpoint: &[u8]) -> Result<(), InstallError>;
}

/// A checkpoint that the machine can't take.
#[derive(Debug, Clone, Error)]
#[error("checkpoint can't be installed: {0}")]
pub struct InstallError(pub String);

/// What becomes of a proposal. Called exactly once, on the group's thread; must not block.
pub type Done<A> = Box<dyn FnOnce(Result<Committed<A>, ProposeError>) + Send>;

/// A payload to append to the log.
///
/// One that is dropped before it was handed on, as happens when a replica stops under its proposer, is answered
/// [`ProposeError::Stopped`]: it was never appended.
pub struct Proposal<A> {
    /// The payload with [`crate::RECORD_HEADER_SIZE`] bytes of head room in front. When this is the only handle to
    /// the buffer the record is built in place, otherwise the bytes are copied once.
    pub payload: Bytes,
    /// Append only if this replica leads in exactly this term.
    pub expected_term: Option<u64>,
    /// Told the outcome.
    pub done: Done<A>,
}

impl<A> Proposal<A> {
    /// Takes the call-back; it is the taker's to call.
    pub(crate) fn take_done(&mut self) -> Done<A> {
        std::mem::replace(&mut self.done, Box::new(|_| {}))
    }
}

impl<A> Drop for Proposal<A> {
    fn drop(&mut self) {
        self.take_done()(Err(ProposeError::Stopped));
    }
}

/// A proposal that was committed and applied on this replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed<A> {
    /// Index of the entry.
    pub index: u64,
    /// Term of the entry.
    pub term: u64,
    /// Byte address of the record.
    pub position: u64,
    /// The machine's answer.
    pub answer: A,
}

/// Why a proposal has no answer. Only [`ProposeError::Unknown`] leaves it open whether the entry takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ProposeError {
    /// Never appended: this replica doesn't lead, its lease has run out, it is handing over, or it leads in another
    /// term than expected. May be proposed again, here or elsewhere.
    #[error("this replica does not lead")]
    NotLeader {
        /// Peer index of the leader, where known.
        leader: Option<u64>,
    },
    /// Never appended: too many bytes in flight. May be proposed again later.
    #[error("too many bytes in flight")]
    Busy,
    /// Never appended: the payload does not fit into a record or a segment. Proposing it again is useless.
    #[error("the payload is too large")]
    TooLarge,
    /// The entry may or may not be in the log of the group, now or later.
    #[error("the outcome is not known")]
    Unknown,
    /// Never appended: the replica has stopped.
    #[error("the replica has stopped")]
    Stopped,
}

/// Why a linearizable read could not be confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReadError {
    /// This replica doesn't lead.
    #[error("this replica does not lead")]
    NotLeader {
        /// Peer index of the leader, where known.
        leader: Option<u64>,
    },
    /// No majority confirmed the leadership in time, or the state was not applied in time.
    #[error("leadership was not confirmed in time")]
    Timeout,
    /// The replica has stopped.
    #[error("the replica has stopped")]
    Stopped,
}

/// Why leadership was not handed over.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TransferError {
    /// This replica doesn't lead.
    #[error("this replica does not lead")]
    NotLeader,
    /// The target is not another member, or no member is close enough to the tail of the log.
    #[error("no fit target: {0}")]
    NoTarget(String),
    /// The target was asked and did not take over in time; an election follows.
    #[error("the target did not take over in time")]
    Timeout,
    /// The replica has stopped.
    #[error("the replica has stopped")]
    Stopped,
}

/// Takes the application streams that peers open on the group's port.
pub trait PeerService: Send + Sync + 'static {
    /// A peer whose cluster, group and node id were verified opened a stream. The stream is non-blocking.
    /// Called on the group's thread: hand it on, do not read from it here.
    fn accept(&self, from: u64, stream: std::net::TcpStream);
}

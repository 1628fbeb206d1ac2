//! Small values shared by the log and the group: log ids, votes, kinds, modes, and the hook that stamps payloads.
//!
//! Indices, terms and positions are plain `u64` because they cross the consensus library's own types at every call.
//! An *index* counts entries from 0; a *position* is a byte address in the log, the same on every replica.

use std::fmt;
use std::io;

use thiserror::Error;

/// Called once from the writer thread when the work it was handed with is done to the promised degree, or has failed.
pub type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// Term and index of one entry; ordered by term first, as Raft compares logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId {
    /// Term of the leader that appended the entry.
    pub term: u64,
    /// Number of the entry in the log, from 0.
    pub index: u64,
}

impl LogId {
    /// Builds an id from its two parts.
    pub const fn new(term: u64, index: u64) -> Self {
        Self { term, index }
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term, self.index)
    }
}

/// What a node promised in an election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vote {
    /// Term of the promise.
    pub term: u64,
    /// Full node id that the vote was given to.
    pub node: u64,
    /// True once a majority granted the vote, that is, `node` leads `term`.
    pub committed: bool,
}

/// What a record carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EntryKind {
    /// Nothing; marks the start of a leader's term.
    Blank = 0,
    /// Bytes of the state machine; the only kind that the [`Stamper`] sees.
    Application = 1,
    /// A membership of the group.
    Membership = 2,
}

impl EntryKind {
    /// The kind with this number on disk, or `None` for a number that no version has written.
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::Blank),
            1 => Some(Self::Application),
            2 => Some(Self::Membership),
            _ => None,
        }
    }
}

/// When an append counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushMode {
    /// After fdatasync.
    Sync,
    /// After the bytes are in the page cache; a power cut may take back what was already acknowledged.
    Async,
}

/// The place in the log just behind one entry: all that is needed to append the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainPoint {
    /// The entry.
    pub id: LogId,
    /// Position just behind its record, which is the position of the next one.
    pub end: u64,
    /// CRC of its record, which the next one repeats.
    pub crc: u32,
}

/// A payload that does not fit the state that its place in the log implies.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("payload cannot be stamped: {reason}")]
pub struct StampError {
    /// What does not fit, with the values.
    pub reason: String,
}

impl StampError {
    /// An error with this reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

/// The state machine's hook inside append: numbers the messages of a payload.
///
/// It is a function of the log's prefix alone. Only payloads of kind [`EntryKind::Application`] are shown to it.
pub trait Stamper: Send + 'static {
    /// Leader only, exactly once per entry: writes offsets and time into the payload in place.
    ///
    /// `payload_position` is the position of payload byte 0, `time_ms` the leader time of the record.
    ///
    /// # Errors
    /// The payload is not what a proposer may build; the table must be left as it was.
    fn stamp(&mut self, payload: &mut [u8], payload_position: u64, time_ms: u64) -> Result<(), StampError>;

    /// Follower's append and the recovery scan: checks the numbers against the table and advances it.
    ///
    /// # Errors
    /// The numbers do not continue the table; the table must be left as it was.
    fn observe(&mut self, payload: &[u8], payload_position: u64, time_ms: u64) -> Result<(), StampError>;

    /// Undoes one entry; called for removed entries from the last to the first.
    fn retract(&mut self, payload: &[u8]);

    /// Starts over from the state of a checkpoint; an empty slice is the blank state.
    ///
    /// # Errors
    /// The state cannot be read.
    fn reset(&mut self, state: &[u8]) -> Result<(), StampError>;
}

/// A stamper for logs whose payloads carry no numbers.
#[derive(Debug, Default, Clone, Copy)]
pub struct NoStamper;

impl Stamper for NoStamper {
    fn stamp(&mut self, _: &mut [u8], _: u64, _: u64) -> Result<(), StampError> {
        Ok(())
    }

    fn observe(&mut self, _: &[u8], _: u64, _: u64) -> Result<(), StampError> {
        Ok(())
    }

    fn retract(&mut self, _: &[u8]) {}

    fn reset(&mut self, _: &[u8]) -> Result<(), StampError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_ids_compare_by_term_first() {
        assert!(LogId::new(2, 1) > LogId::new(1, 9));
        assert!(LogId::new(2, 3) > LogId::new(2, 2));
    }

    #[test]
    fn kinds_keep_their_numbers() {
        for kind in [EntryKind::Blank, EntryKind::Application, EntryKind::Membership] {
            assert_eq!(EntryKind::from_u8(kind as u8), Some(kind));
        }
        assert_eq!(EntryKind::from_u8(3), None);
    }
}

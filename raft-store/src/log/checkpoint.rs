//! Skeleton of the checkpoints' face.
use crate::types::{ChainPoint, Done};
use bytes::Bytes;
use std::io;

/// Makes the state's bytes; called on the background thread.
pub type StateSource = Box<dyn FnOnce() -> Vec<u8> + Send>;

/// The tables as of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The entry that the tables stand behind.
    pub at: ChainPoint,
    /// Leader time of that entry.
    pub time_ms: u64,
    /// True when the tables came from another node.
    pub installed: bool,
    /// The group's own part, opaque to the log.
    pub membership: Bytes,
    /// The state machine's part; the stamper starts from it.
    pub state: Bytes,
}

/// What is known of a checkpoint without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointInfo {
    /// The entry.
    pub at: ChainPoint,
    /// True when it came from another node.
    pub installed: bool,
}

/// The checkpoints of a log; clones share them. Usable from any thread.
#[derive(Clone, Debug)]
pub struct Checkpoints;

impl Checkpoints {
    /// Writes a checkpoint as soon as the log is synced up to it; `done` is called when it is durable.
    /// Returns at once. A checkpoint that exists already is done.
    pub fn save(&self, at: ChainPoint, time_ms: u64, membership: Bytes, state: StateSource, done: Done) {
        drop((at, time_ms, membership, state));
        done(Err(io::ErrorKind::Unsupported.into()));
    }
    /// All usable checkpoints, oldest first.
    pub fn list(&self) -> Vec<CheckpointInfo> {
        Vec::new()
    }
    /// Reads a checkpoint. Blocks.
    ///
    /// # Errors
    /// `NotFound`, `InvalidData` when damaged, or as the operating system reports.
    pub fn load(&self, _at: ChainPoint) -> io::Result<Checkpoint> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// The boundary P: exactly this checkpoint is the node's snapshot.
    pub fn snapshot(&self) -> Option<ChainPoint> {
        None
    }
    /// Makes an existing checkpoint the boundary P, durably. Older checkpoints go. Returns at once.
    pub fn set_snapshot(&self, _at: ChainPoint, done: Done) {
        done(Err(io::ErrorKind::Unsupported.into()));
    }
}

//! Skeleton of the log's face.
use super::*;
use crate::record::Record;
use crate::types::{ChainPoint, Done, Stamper, Vote};
use crate::vfs::Vfs;
use std::path::Path;
use std::sync::Arc;

/// Whether the log has room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Go on.
    Ready,
    /// No spare segment could be allocated and the last one is nearly full: propose and accept nothing more.
    NoSpare,
}

/// What an installation made of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installed {
    /// The log holds the checkpoint's entry: everything above it stays.
    Kept,
    /// The log did not hold it: all entries went, the next one follows the checkpoint.
    Replaced,
}

/// The log, as its one writer's owner sees it. All methods return without waiting for the disk, except `open`, `close`
/// and the reading back of old entries in `truncate_after` and `install`.
#[derive(Debug)]
pub struct Log;

impl Log {
    /// Opens the log in a folder, creating it when there is none: loads the newest usable checkpoint, verifies every
    /// record above it and shows both to `visitor`, cuts a torn tail. Blocks.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        vfs: Arc<dyn Vfs>,
        dir: &Path,
        options: LogOptions,
        clock: Arc<dyn Clock>,
        stamper: Box<dyn Stamper>,
        visitor: &mut dyn RecoveryVisitor,
    ) -> Result<(Self, Recovered), OpenError> {
        drop((vfs, dir, options, clock, stamper));
        let _ = visitor;
        Err(OpenError::Options("not there yet"))
    }
    /// Appends a leader's entries: gives them position, time, chain and checksum and lets the stamper number them.
    /// They can be read when this returns; `done` is called when they are written as the flush mode asks.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing was appended and `done` is not called.
    pub fn append_new(&mut self, _drafts: Vec<Draft>, _done: Done) -> Result<Vec<Record>, AppendError> {
        self.nothing()
    }
    /// Appends records of another node as they are, after checking index, chain, position and checksum.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing was appended and `done` is not called.
    pub fn append_records(&mut self, _records: Vec<Record>, _done: Done) -> Result<(), AppendError> {
        self.nothing()
    }
    /// Removes all entries behind `last_kept`. `done` is called when they cannot come back.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn truncate_after(&mut self, _last_kept: Option<LogId>, _done: Done) -> Result<(), AppendError> {
        self.nothing()
    }
    /// Forgets entries up to `upto`, whole segments at a time. `done` is called when the boundary is durable.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn purge(&mut self, _upto: LogId, _done: Done) -> Result<(), AppendError> {
        self.nothing()
    }
    /// Makes a vote durable, in order with appends and truncations.
    pub fn save_vote(&mut self, _vote: Vote, done: Done) {
        done(Err(io_unsupported()))
    }
    /// Remembers that entries up to `index` are committed; reaches the disk within about a second.
    pub fn save_committed(&self, _index: u64) {}
    /// Takes over a checkpoint of another node; it becomes the boundary P. `done` is called when all is durable.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn install(&mut self, _checkpoint: Checkpoint, _done: Done) -> Result<Installed, AppendError> {
        self.nothing()
    }
    /// Asks for a sync of everything appended so far, whatever the flush mode.
    pub fn sync(&self, done: Done) {
        done(Err(io_unsupported()))
    }
    /// Last entry, or the last purged one when no other is left.
    pub fn last(&self) -> Option<LogId> {
        None
    }
    /// The place behind the last entry; `None` before the first.
    pub fn last_point(&self) -> Option<ChainPoint> {
        None
    }
    /// Last purged entry.
    pub fn purged(&self) -> Option<LogId> {
        None
    }
    /// The last vote handed to `save_vote` or found at the start.
    pub fn vote(&self) -> Option<Vote> {
        None
    }
    /// The highest index handed to `save_committed` or found at the start.
    pub fn committed(&self) -> Option<LogId> {
        None
    }
    /// A reader of this log.
    pub fn reader(&self) -> LogReader {
        LogReader
    }
    /// The checkpoints of this log.
    pub fn checkpoints(&self) -> Checkpoints {
        Checkpoints
    }
    /// Whether there is room for more.
    pub fn space(&self) -> Space {
        Space::Ready
    }
    /// The first failure of the writer, if it has failed.
    pub fn fault(&self) -> Option<Fault> {
        None
    }
    /// [`WriterMode::Manual`] only: does all queued writing as one group and then the background work; true if any.
    pub fn run_writer(&self) -> bool {
        false
    }
    /// Finishes all queued work, syncs and marks the folder as cleanly left. Blocks. Dropping the log instead leaves it
    /// as a kill of the process would.
    ///
    /// # Errors
    /// The writer has failed.
    pub fn close(self) -> Result<(), Fault> {
        Ok(())
    }
    fn nothing<T>(&self) -> Result<T, AppendError> {
        Err(AppendError::Impossible { what: "append", reason: "not there yet".into() })
    }
}
fn io_unsupported() -> std::io::Error {
    std::io::ErrorKind::Unsupported.into()
}

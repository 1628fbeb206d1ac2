//! Skeleton of recovery's face.
use crate::log::Checkpoint;
use crate::record::Record;
use crate::types::{ChainPoint, LogId, Vote};
use std::path::PathBuf;

/// What the vote file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoveredVote {
    /// A new folder: no vote was ever saved.
    Never,
    /// The last vote that was saved.
    Saved(Vote),
    /// The file is gone or has no valid slot: this is a wiped node, which must come back under a new incarnation.
    Lost,
}

/// What recovery cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment file.
    pub file: PathBuf,
    /// Byte in the file where the valid records end.
    pub offset: u64,
    /// Position of the log's new end.
    pub position: u64,
    /// What stood there.
    pub what: String,
}

/// What an opened log holds.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// True when the folder held no log before.
    pub blank: bool,
    /// Last entry, or the last purged one when no other is left.
    pub last: Option<LogId>,
    /// Last purged entry.
    pub purged: Option<LogId>,
    /// Last entry known to be committed; never above `last`.
    pub committed: Option<LogId>,
    /// The vote.
    pub vote: RecoveredVote,
    /// The checkpoint that the scan started from; it was given to the visitor.
    pub checkpoint: Option<ChainPoint>,
    /// The boundary P: the checkpoint that is this node's snapshot.
    pub snapshot: Option<ChainPoint>,
    /// Set when bytes above the synced position were cut off.
    pub torn_tail: Option<TornTail>,
    /// True when the machine stopped uncleanly while the log ran with [`crate::FlushMode::Async`]: acknowledged entries
    /// may be gone.
    pub quarantined: bool,
}

/// Sees the log's content while it is verified, so that nothing has to be read twice.
pub trait RecoveryVisitor {
    /// The checkpoint that the scan starts from; called at most once, before any record.
    ///
    /// # Errors
    /// A reason to stop.
    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), String>;

    /// Each verified record above the checkpoint, in log order. `committed` is true up to the committed mark.
    ///
    /// # Errors
    /// A reason to stop.
    fn record(&mut self, record: &Record, committed: bool) -> Result<(), String>;
}

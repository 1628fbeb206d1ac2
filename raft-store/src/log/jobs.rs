//! What the writer is asked to do, in the one order that the log's owner decided.

use std::sync::Arc;

use super::Fault;
use super::background::Task;
use super::checkpoint::Checkpoint;
use super::segment::Segment;
use super::shared::Spare;
use crate::record::Record;
use crate::types::{ChainPoint, Done, Vote};

/// One piece of work for the writer.
pub(crate) enum Job {
    /// Gives a new segment its file; comes before the first write into it.
    Open { segment: Arc<Segment>, spare: Option<Spare>, sealed: Option<Arc<Segment>> },
    /// Writes consecutive records of one segment.
    Write { generation: u64, segment: Arc<Segment>, records: Vec<Record>, done: Option<Done> },
    /// Removes everything behind a position.
    Truncate(Truncate),
    /// Saves a vote.
    Vote { vote: Vote, done: Done },
    /// Puts a checkpoint of another node in the log's place, or beside it.
    Install(Box<Install>),
    /// Starts the log over behind an entry that it never held.
    Reset { generation: u64, base: ChainPoint, removed: Vec<Arc<Segment>>, done: Done },
    /// Syncs, whatever the flush mode, and calls back.
    Sync { done: Done },
    /// Calls back when everything before is written as the flush mode asks.
    Barrier { done: Done },
    /// Hands a task to the background once everything before is written.
    Then { task: Task },
}

pub(crate) struct Truncate {
    pub(crate) generation: u64,
    /// The new end of the log.
    pub(crate) end: u64,
    /// The segment that the new end lies in, and the end of what may stand behind it there; `None` when no record is
    /// left.
    pub(crate) cut: Option<(Arc<Segment>, u64)>,
    /// Segments behind it, oldest first.
    pub(crate) removed: Vec<Arc<Segment>>,
    pub(crate) done: Done,
}

pub(crate) struct Install {
    pub(crate) checkpoint: Checkpoint,
    /// Set when the log did not hold the checkpoint's entry.
    pub(crate) replaced: Option<Replaced>,
    pub(crate) done: Done,
}

pub(crate) struct Replaced {
    pub(crate) generation: u64,
    /// All segments of the old log, oldest first.
    pub(crate) removed: Vec<Arc<Segment>>,
}

impl Job {
    /// Calls back with the failure that keeps the job from being done.
    pub(crate) fn refuse(self, fault: &Fault) {
        match self {
            Self::Open { .. } => {}
            Self::Write { done, .. } => {
                if let Some(done) = done {
                    done(Err(fault.to_io()));
                }
            }
            Self::Truncate(Truncate { done, .. })
            | Self::Vote { done, .. }
            | Self::Reset { done, .. }
            | Self::Sync { done }
            | Self::Barrier { done } => done(Err(fault.to_io())),
            Self::Install(install) => (install.done)(Err(fault.to_io())),
            Self::Then { task } => task.refuse(fault),
        }
    }

    /// Bytes that the job adds to a group.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Write { records, .. } => records.iter().map(Record::size).sum(),
            Self::Open { .. }
            | Self::Truncate(_)
            | Self::Vote { .. }
            | Self::Install(_)
            | Self::Reset { .. }
            | Self::Sync { .. }
            | Self::Barrier { .. }
            | Self::Then { .. } => 0,
        }
    }
}

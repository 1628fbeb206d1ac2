//! Invariant 1 of `ARCHITECTURE.md`: acknowledged means durable on a majority; and a checkpoint with the rest of the log
//! gives the whole log's tables.
//!
//! Proved on the disks themselves: each is copied as a power cut would leave it, opened as a start would, and read.

use std::path::Path;
use std::sync::Arc;

use flotilla_core::Tables;
use flotilla_raft_store::types::EntryKind;
use flotilla_raft_store::vfs::{Loss, MemVfs};
use flotilla_raft_store::{
    Checkpoint, Log, LogOptions, LogReader, NoStamper, OpenError, Record, RecoveryVisitor, SystemClock, Vote,
    WriterMode,
};

use super::tables_equal::{Reference, apply};
use crate::judge::Judge;

/// What a disk holds when its machine starts again.
pub struct Autopsy {
    log: Log,
    /// The vote on it.
    pub vote: Option<Vote>,
}

impl Autopsy {
    /// Opens a copy of a disk after a loss; `None` when nothing was ever there.
    ///
    /// # Errors
    /// A start would refuse it, or its checkpoint and log give other tables than the whole log.
    pub fn open(
        disk: &MemVfs,
        loss: Loss,
        dir: &Path,
        options: &LogOptions,
        reference: &Reference,
    ) -> Result<Option<Autopsy>, String> {
        let copy = disk.restart(loss);
        let mut options = options.clone();
        options.writer = WriterMode::Inline;
        options.driver = None;
        let mut replay = Replay { reference, tables: Tables::blank(), judged: false, started: false };
        let clock = Arc::new(SystemClock::new());
        let opened = Log::open(Arc::new(copy), dir, options, clock, Box::new(NoStamper), &mut replay);
        match opened {
            Ok((_, recovered)) if recovered.blank => Ok(None),
            Ok((log, recovered)) => {
                replay.judge()?;
                Ok(Some(Autopsy { log, vote: recovered.vote.saved() }))
            }
            Err(OpenError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("a start would refuse the log: {error}")),
        }
    }

    /// The log on the disk.
    pub fn reader(&self) -> LogReader {
        self.log.reader()
    }

    /// True when the disk holds this entry, or has let it go as applied.
    pub fn holds(&self, index: u64, term: u64) -> bool {
        self.log.purged().is_some_and(|purged| purged.index >= index)
            || self.reader().log_id(index).is_some_and(|id| id.term == term)
    }
}

/// Brings a disk's checkpoint and its committed records to tables.
struct Replay<'a> {
    reference: &'a Reference,
    tables: Tables,
    started: bool,
    judged: bool,
}

impl Replay<'_> {
    /// The tables as far as this disk is known to be committed.
    fn judge(&mut self) -> Result<(), String> {
        if !std::mem::replace(&mut self.judged, true) && self.started {
            let index = self.tables.applied().index;
            let expected = self.reference.at(index);
            if expected.is_none_or(|expected| expected.encode() != self.tables.encode()) {
                return Err(format!("checkpoint and rest of the log give other tables at entry {index}"));
            }
        }
        Ok(())
    }
}

impl RecoveryVisitor for Replay<'_> {
    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), String> {
        self.tables = Tables::decode(&checkpoint.state).map_err(|error| error.to_string())?;
        self.started = true;
        Ok(())
    }

    fn record(&mut self, record: &Record, committed: bool) -> Result<(), String> {
        // A mark may be ahead of what anybody has applied: then there is nothing yet to compare with.
        if !committed || record.index() >= self.reference.count() {
            return self.judge();
        }
        let context = flotilla_core::EntryContext {
            index: record.index(),
            term: record.term(),
            position: record.position(),
            payload_position: record.payload_position(),
            time_ms: record.time_ms(),
        };
        let kind: EntryKind = record.kind();
        apply(&mut self.tables, &context, kind, record.payload_slice())?;
        self.started = true;
        Ok(())
    }
}

/// Looks at all disks as if every machine lost power now: the newest acknowledged entry must be on a majority.
///
/// # Errors
/// It is not, or a disk is not what a start takes.
pub fn check_majority(
    judge: &Judge,
    disks: &[MemVfs],
    dir: &Path,
    options: &LogOptions,
) -> Result<(), String> {
    let Some(index) = judge.history.acked_max() else { return Ok(()) };
    let Some(fact) = judge.committed.get(index) else {
        return Err(format!("durability: entry {index} was acknowledged and nobody has applied it"));
    };
    let mut holders = Vec::new();
    for (host, disk) in disks.iter().enumerate() {
        let autopsy = Autopsy::open(disk, Loss::Everything, dir, options, &judge.reference)
            .map_err(|error| format!("durability: n{host}: {error}"))?;
        if autopsy.is_some_and(|autopsy| autopsy.holds(index, fact.term)) {
            holders.push(host);
        }
    }
    if holders.len() * 2 <= disks.len() {
        return Err(format!(
            "durability: entry {}.{index} was acknowledged and is on the disks of {holders:?} of {} hosts only",
            fact.term,
            disks.len()
        ));
    }
    Ok(())
}

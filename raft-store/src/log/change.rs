//! What takes entries away: truncation at the end, purge at the start, installation of another node's checkpoint.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::background::Task;
use super::jobs::{Install, Job, Replaced, Truncate};
use super::scan::Tail;
use super::segment::Segment;
use super::store::Log;
use super::{AppendError, Checkpoint};
use crate::record::Record;
use crate::types::{ChainPoint, Done, EntryKind, LogId};

/// Bytes of entries that are read back at once.
const READ_BACK_SIZE: usize = 1 << 20;

/// What an installation made of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installed {
    /// The log holds the checkpoint's entry: everything above it stays.
    Kept,
    /// The log did not hold it: all entries went, the next one follows the checkpoint.
    Replaced,
}

impl Log {
    /// Removes all entries behind `last_kept`, all of them for `None`. Readers no longer see them when this returns;
    /// `done` is called when they cannot come back.
    ///
    /// # Errors
    /// See [`AppendError`]; the log is as it was, unless entries could not be read back: then it has failed.
    pub fn truncate_after(&mut self, last_kept: Option<LogId>, done: Done) -> Result<(), AppendError> {
        self.shared.check()?;
        let impossible = |reason: String| AppendError::Impossible { what: "truncate", reason };
        let (next, behind) = {
            let view = self.shared.view.read();
            let next = match last_kept {
                Some(kept) if view.log_id(kept.index) == Some(kept) => kept.index + 1,
                Some(kept) => return Err(impossible(format!("the log does not hold {kept}"))),
                None if view.purged.is_some() => {
                    return Err(impossible("the first entries are purged".into()));
                }
                None => view.first_index(),
            };
            (next, view.tail.next_index())
        };
        let committed_count = self.shared.committed_count.load(Ordering::Acquire);
        if next < committed_count.min(behind) {
            return Err(impossible(format!("entries up to {} are committed", committed_count - 1)));
        }
        if next >= behind {
            self.engine.submit(vec![Job::Barrier { done }]);
            return Ok(());
        }
        let kept = self.last_kept_record(next)?;
        self.retract_range(next, behind)?;
        let cut = self.cut(next, kept.as_ref(), done);
        let job = cut.map_err(|error| self.shared.fail("cutting a segment's index", &error))?;
        self.engine.submit(vec![Job::Truncate(job)]);
        Ok(())
    }

    /// Forgets entries up to `upto`; files go a whole segment at a time, and only where a checkpoint behind them is left to
    /// start from. `done` is called when the boundary is durable.
    /// An entry that the log has not reached yet starts it over behind that entry.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing has happened.
    pub fn purge(&mut self, upto: LogId, done: Done) -> Result<(), AppendError> {
        self.shared.check()?;
        let mut view = self.shared.view.write();
        if let Some(purged) = view.purged.filter(|purged| upto.index <= purged.index) {
            // Behind the purge that it repeats, which may still be under way.
            let start = view.segments.first().map_or(view.tail.end, |segment| segment.base());
            drop(view);
            self.engine.submit_task(Task::Purge { purged, start, removed: Vec::new(), done });
            return Ok(());
        }
        if upto.index >= view.tail.next_index() {
            let base = ChainPoint { id: upto, end: view.tail.end, crc: view.tail.crc };
            drop(view);
            let (generation, removed) = self.start_over(base);
            self.engine.submit(vec![Job::Reset { generation, base, removed, done }]);
            return Ok(());
        }
        let first = view.segments.first().map_or(0, |segment| segment.first_index());
        if upto.index >= first && view.term_of(upto.index) != Some(upto.term) {
            let reason = format!("the log holds another entry than {upto}");
            return Err(AppendError::Impossible { what: "purge", reason });
        }
        let whole =
            view.segments.windows(2).take_while(|pair| pair[1].first_index() <= upto.index + 1).count();
        let start = view.segments.get(whole).map_or(view.tail.end, |segment| segment.base());
        let startable = self.shared.checkpoints.lock().iter().any(|info| info.at.end >= start);
        if whole > 0 && !startable && !self.shared.options.first_index_free {
            let reason = format!("no checkpoint is left to start from behind {upto}");
            return Err(AppendError::Impossible { what: "purge", reason });
        }
        let removed: Vec<_> = view.segments.drain(..whole).collect();
        view.purged = Some(upto);
        let written = self.shared.progress.lock().written;
        view.ring.drop_until(upto.index, written);
        let first = view.segments.first().map_or(0, |segment| segment.first_index());
        let covered = view.terms.partition_point(|start| start.index <= first).saturating_sub(1);
        view.terms.drain(..covered);
        drop(view);
        self.engine.submit_task(Task::Purge { purged: upto, start, removed, done });
        Ok(())
    }

    /// Takes over a checkpoint of another node; it becomes the boundary P. Where the log holds the checkpoint's entry
    /// everything above it stays, else the log starts over behind it. The stamper's table is that of the checkpoint
    /// plus all records that stay above it. `done` is called when all is durable.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn install(&mut self, mut checkpoint: Checkpoint, done: Done) -> Result<Installed, AppendError> {
        self.shared.check()?;
        checkpoint.installed = true;
        let at = checkpoint.at;
        let held = self.reader.log_id(at.id.index) == Some(at.id);
        if held {
            let own = self.reader.point(at.id.index)?;
            if own != at {
                let reason = format!("the log has {own:?}, the checkpoint {at:?}");
                return Err(AppendError::Chain { id: at.id, reason });
            }
        }
        let reset = self.stamper.lock().reset(&checkpoint.state);
        let reset = reset.map_err(|source| AppendError::Stamp { id: at.id, source });
        let table = reset.and_then(|()| if held { self.observe_from(at.id.index + 1) } else { Ok(()) });
        table.inspect_err(|error| {
            // The stamper's table fits no log now: nothing may be appended on top of it.
            self.shared.fail("installing a checkpoint", &io::Error::other(error.to_string()));
        })?;
        let (replaced, installed) = if held {
            (None, Installed::Kept)
        } else {
            let (generation, removed) = self.start_over(at);
            self.time.observe(&*self.clock, checkpoint.time_ms);
            (Some(Replaced { generation, removed }), Installed::Replaced)
        };
        self.shared.committed_count.fetch_max(at.id.index + 1, Ordering::AcqRel);
        self.engine.submit(vec![Job::Install(Box::new(Install { checkpoint, replaced, done }))]);
        Ok(installed)
    }

    /// The record before `next`, unless that one begins a segment: then the header there says what came before.
    fn last_kept_record(&self, next: u64) -> Result<Option<Record>, AppendError> {
        let begins = self.shared.view.read().segments.iter().any(|segment| segment.first_index() == next);
        if begins {
            return Ok(None);
        }
        Ok(Some(self.reader.held_entry(next - 1)?))
    }

    /// Shows the entries `next..behind` to the stamper from the last to the first.
    fn retract_range(&self, next: u64, behind: u64) -> Result<(), AppendError> {
        for index in (next..behind).rev() {
            let records = self.reader.entries(index, index + 1, 0).inspect_err(|error| {
                // The stamper stands between two states now: nothing may be appended on top of that.
                self.shared.fail("reading truncated entries back", error);
            })?;
            for record in records.iter().filter(|record| record.kind() == EntryKind::Application) {
                self.stamper.lock().retract(record.payload_slice());
            }
        }
        Ok(())
    }

    /// Shows the entries from `next` to the end to the stamper.
    fn observe_from(&self, mut next: u64) -> Result<(), AppendError> {
        loop {
            let records = self.reader.entries(next, u64::MAX, READ_BACK_SIZE)?;
            let Some(last) = records.last() else { return Ok(()) };
            next = last.index() + 1;
            let mut stamper = self.stamper.lock();
            for record in records.iter().filter(|record| record.kind() == EntryKind::Application) {
                let observed =
                    stamper.observe(record.payload_slice(), record.payload_position(), record.time_ms());
                observed.map_err(|source| AppendError::Stamp { id: record.id(), source })?;
            }
        }
    }

    /// Cuts the entries from `next` off in memory and says what the writer has to do.
    fn cut(&self, next: u64, kept: Option<&Record>, done: Done) -> io::Result<Truncate> {
        let mut view = self.shared.view.write();
        let stay = view.segments.partition_point(|segment| segment.first_index() < next);
        let tail = match (kept, view.segments.get(stay)) {
            (Some(record), _) => Tail::from(record.point()),
            (None, Some(segment)) => segment.header.tail(),
            (None, None) => unreachable!("an entry that is cut off lies in a segment"),
        };
        let mut cut = None;
        if let Some(segment) = stay.checked_sub(1).and_then(|at| view.segments.get(at)) {
            let old_end = segment.end();
            match kept {
                Some(record) => {
                    segment.truncate(record.point(), record.time_ms())?;
                    cut = Some((Arc::clone(segment), old_end));
                }
                None => segment.make_resident()?,
            }
        }
        let removed = view.segments.split_off(stay);
        view.terms.retain(|start| start.index < next);
        view.ring.truncate(next);
        view.tail = tail;
        let generation = self.next_generation(tail.end);
        Ok(Truncate { generation, end: tail.end, cut, removed, done })
    }

    /// Empties the log in memory: it goes on behind `base`.
    fn start_over(&self, base: ChainPoint) -> (u64, Vec<Arc<Segment>>) {
        let mut view = self.shared.view.write();
        let removed = std::mem::take(&mut view.segments);
        view.terms.clear();
        view.purged = Some(base.id);
        view.tail = base.into();
        view.ring.truncate(0);
        view.ring.truncate(base.id.index + 1);
        (self.next_generation(base.end), removed)
    }

    /// From here on completions of earlier writes do not count. The caller holds the view.
    fn next_generation(&self, end: u64) -> u64 {
        let mut progress = self.shared.progress.lock();
        progress.generation += 1;
        progress.written = progress.written.min(end);
        progress.synced = progress.synced.min(end);
        progress.generation
    }
}

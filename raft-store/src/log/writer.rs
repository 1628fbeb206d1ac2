//! The one writer: does its jobs in order, as many as wait in one group with one sync.
//!
//! ```text
//! take what waits -> Open, Write*  (pwritev)  -> fdatasync each touched file -> sync the folder if names changed
//!                 -> marks in memory -> call-backs, in order
//! ```
//! Everything else (vote, truncation, installation) ends the group before it. The first failure sticks: its group and
//! all later jobs are told so, and nothing is tried again.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::background::Task;
use super::checkpoint::{CheckpointInfo, write_checkpoint};
use super::files::{create_spare, remove, store_bounds, with_room};
use super::jobs::{Install, Job, Truncate};
use super::marks::VoteFile;
use super::queue::Queue;
use super::segment::{Segment, segment_name};
use super::shared::{Shared, Spare};
use super::{Fault, GroupDone};
use crate::record::{Record, slices_of};
use crate::types::{ChainPoint, Done, Vote};

/// What those are told who wait for a writer that has panicked.
const PANICKED: &str = "the thread panicked";

/// The writer's own state.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    tasks: Arc<Queue<Task>>,
    /// `None` while the folder has no valid vote file.
    vote: Option<VoteFile>,
}

/// Jobs that share one sync.
#[derive(Default)]
struct Group {
    writes: Vec<Write>,
    dones: Vec<Done>,
    bytes: u64,
    records: u64,
}

/// Only a panic leaves call-backs here.
impl Drop for Group {
    fn drop(&mut self) {
        for done in self.dones.drain(..) {
            done(Err(io::Error::other(PANICKED)));
        }
    }
}

/// Jobs that were taken and not begun; a panic refuses them.
struct Rest {
    jobs: VecDeque<Job>,
    shared: Arc<Shared>,
}

impl Drop for Rest {
    fn drop(&mut self) {
        for job in self.jobs.drain(..) {
            job.refuse(&self.shared.fail("log-writer", &io::Error::other(PANICKED)));
        }
    }
}

struct Write {
    generation: u64,
    segment: Arc<Segment>,
    records: Vec<Record>,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, tasks: Arc<Queue<Task>>, vote: Option<VoteFile>) -> Self {
        Self { shared, tasks, vote }
    }

    /// Does the jobs; what stands between two jobs of another kind is one group.
    pub(crate) fn run(&mut self, jobs: Vec<Job>) {
        let mut rest = Rest { jobs: jobs.into(), shared: Arc::clone(&self.shared) };
        let mut group = Group::default();
        while let Some(job) = rest.jobs.pop_front() {
            self.take(job, &mut group);
        }
        self.finish(&mut group);
    }

    fn take(&mut self, job: Job, group: &mut Group) {
        if let Err(fault) = self.shared.check() {
            return job.refuse(&fault);
        }
        match job {
            Job::Write { generation, segment, records, done } => {
                group.writes.push(Write { generation, segment, records });
                group.dones.extend(done);
            }
            Job::Open { segment, spare, sealed } => {
                let opened = self.write(group).and_then(|()| self.open(&segment, spare));
                if let Some(sealed) = &sealed {
                    sealed.file().end_appends();
                }
                match opened {
                    Ok(()) => self.tasks.push(sealed.map(Task::View).into_iter().chain([Task::Allocate])),
                    Err(error) => self.fail("opening a segment", &error, group),
                }
            }
            Job::Barrier { done } => group.dones.push(done),
            Job::Sync { done } if self.shared.syncs() => group.dones.push(done),
            Job::Sync { done } => {
                self.finish(group);
                self.then(Task::Sync { done });
            }
            Job::Then { task } => {
                self.finish(group);
                self.then(task);
            }
            Job::Vote { vote, done } => {
                self.finish(group);
                self.answer("saving the vote", done, |writer| writer.save_vote(vote));
            }
            Job::Truncate(Truncate { generation, end, cut, removed, done }) => {
                self.finish(group);
                self.answer("truncating", done, |writer| writer.truncate(generation, end, cut, removed));
            }
            Job::Install(install) => {
                self.finish(group);
                let Install { checkpoint, replaced, done } = *install;
                self.answer("installing a checkpoint", done, |writer| {
                    if replaced.is_none() {
                        // The log up to the checkpoint stays, so it is on the disk first, as for one of our own.
                        writer.shared.sync_dirty()?;
                    }
                    // There was room for it when it came; something else may have taken that since.
                    with_room(&writer.shared, "installing a checkpoint", || {
                        write_checkpoint(&writer.shared.folder, writer.shared.genesis, &checkpoint)
                    })?;
                    let at = checkpoint.at;
                    writer.shared.remember_checkpoint(CheckpointInfo { at, installed: true });
                    if let Some(replaced) = replaced {
                        writer.start_over(replaced.generation, at, replaced.removed)?;
                    }
                    let mut bounds = writer.shared.bounds.lock();
                    bounds.snapshot = Some(at);
                    store_bounds(&writer.shared, &bounds)
                });
                self.then(Task::PruneCheckpoints);
            }
            Job::Reset { generation, base, removed, done } => {
                self.finish(group);
                self.answer("starting the log over", done, |writer| {
                    writer.start_over(generation, base, removed)?;
                    store_bounds(&writer.shared, &writer.shared.bounds.lock())
                });
            }
        }
    }

    /// Ends the group: its bytes are where the flush mode wants them, and its call-backs have run.
    fn finish(&mut self, group: &mut Group) {
        if group.writes.is_empty() && group.dones.is_empty() && !self.unsynced() {
            return;
        }
        let start = Instant::now();
        let written = self.write(group);
        let write_took = start.elapsed();
        let synced =
            written.and_then(|()| if self.shared.syncs() { self.shared.sync_dirty() } else { Ok(()) });
        if let Err(error) = synced {
            return self.fail("writing the log", &error, group);
        }
        if let Some(observer) = &self.shared.options.observer
            && group.records > 0
        {
            let took = start.elapsed();
            observer.group_done(&GroupDone { bytes: group.bytes, records: group.records, write_took, took });
        }
        (group.bytes, group.records) = (0, 0);
        self.tasks_after_group();
        for done in group.dones.drain(..) {
            done(Ok(()));
        }
    }

    fn unsynced(&self) -> bool {
        let dirty = self.shared.dirty.lock();
        self.shared.syncs() && (dirty.names || !dirty.segments.is_empty())
    }

    fn tasks_after_group(&self) {
        if self.shared.wants_background() {
            self.tasks.nudge();
        }
    }

    /// Hands the group's bytes to the operating system.
    fn write(&mut self, group: &mut Group) -> io::Result<()> {
        let mut writes = std::mem::take(&mut group.writes).into_iter().peekable();
        while let Some(first) = writes.next() {
            let (segment, generation) = (Arc::clone(&first.segment), first.generation);
            let mut batch = vec![first];
            while let Some(next) = writes.next_if(|next| Arc::ptr_eq(&next.segment, &segment)) {
                batch.push(next);
            }
            let records = || batch.iter().flat_map(|write| &write.records);
            let (Some(first), Some(last)) = (records().next(), records().last()) else { continue };
            let (start, end) = (first.position(), last.end_position());
            let mut slices = slices_of(records());
            let size: usize = slices.iter().map(|slice| slice.len()).sum();
            assert_eq!(size as u64, end - start, "a group's records of one segment lie back to back");
            let at = segment.offset(start);
            if self.shared.options.direct && self.shared.syncs() {
                segment.file().append_all_vectored_at(&mut slices, at)?;
            } else {
                segment.file().write_all_vectored_at(&mut slices, at)?;
            }
            self.shared.dirty.lock().add(&segment);
            self.shared.count_written(generation, end);
            group.bytes += size as u64;
            group.records += records().count() as u64;
        }
        Ok(())
    }

    /// Gives a segment its file. Header and name become durable with the group's sync, before any call-back.
    fn open(&self, segment: &Arc<Segment>, spare: Option<Spare>) -> io::Result<()> {
        let folder = &self.shared.folder;
        let spare = match spare {
            Some(spare) => spare,
            None => create_spare(&self.shared)?,
        };
        spare.file.write_all_at(&segment.header.encode(), 0)?;
        folder.vfs.rename(&folder.log.join(&spare.name), &folder.log.join(segment_name(segment.base())))?;
        segment.attach(spare.file);
        let mut dirty = self.shared.dirty.lock();
        dirty.add(segment);
        dirty.names = true;
        Ok(())
    }

    fn save_vote(&mut self, vote: Vote) -> io::Result<()> {
        match &mut self.vote {
            Some(file) => file.save(vote),
            None => {
                let folder = &self.shared.folder;
                self.vote = Some(VoteFile::create(&*folder.vfs, &folder.root, Some(vote))?);
                Ok(())
            }
        }
    }

    /// Lowers the synced mark, removes the later files, newest first, and zeros what stood behind the new end, each step
    /// durable before the next.
    fn truncate(
        &self,
        generation: u64,
        end: u64,
        cut: Option<(Arc<Segment>, u64)>,
        removed: Vec<Arc<Segment>>,
    ) -> io::Result<()> {
        let shared = &self.shared;
        let synced = shared.progress.lock().synced.min(end);
        shared.lower_marks(synced)?;
        self.remove(removed)?;
        if let Some((segment, old_end)) = cut {
            segment.file().zero_range(segment.offset(end), old_end - end)?;
            segment.file().sync_data()?;
        }
        shared.reached(generation);
        let mut progress = shared.progress.lock();
        if progress.generation == generation {
            progress.written = end;
            if shared.syncs() {
                // Each group before this one was synced, and the cut file just now.
                progress.synced = end;
            }
        }
        Ok(())
    }

    /// Forgets the whole log: it goes on behind `base`. The caller stores the bounds, which ends it.
    fn start_over(&self, generation: u64, base: ChainPoint, removed: Vec<Arc<Segment>>) -> io::Result<()> {
        let shared = &self.shared;
        let synced = shared.progress.lock().synced.min(base.end);
        shared.lower_marks(synced)?;
        self.remove(removed)?;
        shared.reached(generation);
        let mut progress = shared.progress.lock();
        if progress.generation == generation {
            // What lies before the base is in a checkpoint, or was never here: this disk misses nothing of it.
            progress.written = base.end;
            progress.synced = base.end;
        }
        drop(progress);
        let mut bounds = shared.bounds.lock();
        bounds.base = Some(base);
        bounds.purged = Some(base.id);
        bounds.start = base.end;
        Ok(())
    }

    fn remove(&self, removed: Vec<Arc<Segment>>) -> io::Result<()> {
        let shared = &self.shared;
        if removed.is_empty() {
            return Ok(());
        }
        shared
            .dirty
            .lock()
            .segments
            .retain(|dirty| !removed.iter().any(|segment| Arc::ptr_eq(segment, dirty)));
        for segment in removed.iter().rev() {
            remove(shared, segment)?;
        }
        shared.folder.vfs.sync_dir(&shared.folder.log)
    }

    fn then(&self, task: Task) {
        match self.shared.check() {
            Ok(()) => self.tasks.push([task]),
            Err(fault) => task.refuse(&fault),
        }
    }

    fn answer(&mut self, what: &str, done: Done, work: impl FnOnce(&mut Self) -> io::Result<()>) {
        let result = match self.shared.check() {
            Ok(()) => work(self).map_err(|error| self.shared.fail(what, &error)),
            Err(fault) => Err(fault),
        };
        self.tasks_after_group();
        done(result.map_err(|fault| fault.to_io()));
    }

    fn fail(&self, what: &str, error: &io::Error, group: &mut Group) {
        let fault: Fault = self.shared.fail(what, error);
        group.writes.clear();
        for done in group.dones.drain(..) {
            done(Err(fault.to_io()));
        }
    }
}

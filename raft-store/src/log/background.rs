//! Work that nobody waits for: spare segments, views, checkpoints, purged files, and the marks' file.
//!
//! Where appends do not wait for a sync, the syncs are done here too.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::warn;

use super::Fault;
use super::bounds::Bounds;
use super::checkpoint::{
    Checkpoint, CheckpointInfo, StateSource, checkpoint_name, keep_twice, read_checkpoint, read_either,
    remove_copies_below, write_checkpoint,
};
use super::files::{ensure_spares, retire, store_bounds};
use super::segment::{Segment, Written};
use super::shared::Shared;
use crate::types::{ChainPoint, Done, LogId};

/// The marks are written at most this often.
const MARKS_INTERVAL: Duration = Duration::from_secs(1);
/// With asynchronous flushing the log is synced at most this often.
const SYNC_INTERVAL: Duration = Duration::from_millis(200);
/// A failed allocation is tried again after this.
const ALLOCATE_INTERVAL: Duration = Duration::from_secs(1);
/// A failed purge is tried again after this.
const PURGE_INTERVAL: Duration = Duration::from_secs(1);

/// One piece of background work.
pub(crate) enum Task {
    /// Brings the spare segments up to their number.
    Allocate,
    /// Writes the view of a sealed segment.
    View(Arc<Segment>),
    /// Syncs what is written.
    Sync { done: Done },
    /// Writes a checkpoint; everything up to it is written when the task comes.
    Save { at: ChainPoint, time_ms: u64, membership: Bytes, state: StateSource, done: Done },
    /// Moves the snapshot boundary.
    SetSnapshot { at: ChainPoint, done: Done },
    /// Makes a purge durable and retires its segments, oldest first. `start` is the base of the first one that stays.
    Purge { purged: LogId, start: u64, removed: Vec<Arc<Segment>>, done: Done },
    /// Removes checkpoints below the snapshot boundary and keeps the boundary's own twice.
    PruneCheckpoints,
    /// Writes the marks although their time has not come.
    Marks { done: Done },
}

impl Task {
    /// Calls back with the failure that keeps the task from being done.
    pub(crate) fn refuse(self, fault: &Fault) {
        match self {
            Self::Allocate | Self::View(_) | Self::PruneCheckpoints => {}
            Self::Sync { done }
            | Self::Save { done, .. }
            | Self::SetSnapshot { done, .. }
            | Self::Purge { done, .. }
            | Self::Marks { done } => done(Err(fault.to_io())),
        }
    }
}

/// The background's own state.
pub(crate) struct Background {
    shared: Arc<Shared>,
    marks_due: Instant,
    sync_due: Instant,
    allocate_due: Instant,
    purge_due: Instant,
    /// Not done yet, in order.
    purges: VecDeque<Purge>,
    /// Segments whose view is written and whose entries were not all committed then.
    written: Vec<(Weak<Segment>, Written)>,
}

/// A purge under way.
struct Purge {
    purged: LogId,
    start: u64,
    /// Still to be retired, oldest first.
    removed: VecDeque<Arc<Segment>>,
    done: Done,
    /// Its failure was logged.
    told: bool,
}

fn purge_one(shared: &Shared, purge: &mut Purge) -> io::Result<()> {
    {
        let mut bounds = shared.bounds.lock();
        let newer = bounds.purged.is_none_or(|old| old.index < purge.purged.index);
        let moved = Bounds {
            purged: if newer { Some(purge.purged) } else { bounds.purged },
            start: bounds.start.max(purge.start),
            ..*bounds
        };
        if moved != *bounds {
            store_bounds(shared, &moved)?;
            *bounds = moved;
        }
    }
    if !purge.removed.is_empty() {
        while let Some(segment) = purge.removed.pop_front() {
            // One that can't be removed is removed by the next start: it lies below the bounds.
            retire(shared, segment)?;
        }
        shared.folder.vfs.sync_dir(&shared.folder.log)?;
    }
    Ok(())
}

impl Background {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let now = Instant::now();
        Self {
            shared,
            marks_due: now,
            sync_due: now,
            allocate_due: now,
            purge_due: now,
            purges: VecDeque::new(),
            written: Vec::new(),
        }
    }

    /// Does one task.
    pub(crate) fn run(&mut self, task: Task) {
        if let Err(fault) = self.shared.check() {
            return task.refuse(&fault);
        }
        let shared = Arc::clone(&self.shared);
        match task {
            Task::Allocate => ensure_spares(&shared),
            Task::View(segment) => self.write_view(&segment),
            Task::Sync { done } => done(self.sync().map_err(|fault| fault.to_io())),
            Task::Marks { done } => done(self.write_marks().map_err(|fault| fault.to_io())),
            Task::Save { at, time_ms, membership, state, done } => {
                done(self.save_checkpoint(at, time_ms, membership, state));
            }
            Task::SetSnapshot { at, done } => done(self.set_snapshot(at)),
            Task::Purge { purged, start, removed, done } => {
                self.purges.push_back(Purge { purged, start, removed: removed.into(), done, told: false });
                self.purge();
            }
            Task::PruneCheckpoints => self.prune_checkpoints(),
        }
    }

    /// When [`Background::tick`] has something to do next.
    pub(crate) fn due(&self) -> Option<Instant> {
        let shared = &self.shared;
        if shared.fault.get().is_some() {
            return None;
        }
        let marks = shared.marks_moved.load(Ordering::Acquire).then_some(self.marks_due);
        let sync = shared.wants_sync().then_some(self.sync_due);
        let allocate = shared.spares.lock().failed.then_some(self.allocate_due);
        let purge = (!self.purges.is_empty()).then_some(self.purge_due);
        [marks, sync, allocate, purge].into_iter().flatten().min()
    }

    /// Does what is due; everything when `force` is set.
    pub(crate) fn tick(&mut self, force: bool) {
        let now = Instant::now();
        if self.shared.fault.get().is_some() {
            return;
        }
        // A failure sticks in `shared`; there is nobody else to tell.
        if self.shared.wants_sync() && (force || now >= self.sync_due) {
            drop(self.sync());
        }
        if self.shared.marks_moved.load(Ordering::Acquire) && (force || now >= self.marks_due) {
            drop(self.write_marks());
        }
        if self.shared.spares.lock().failed && (force || now >= self.allocate_due) {
            self.allocate_due = now + ALLOCATE_INTERVAL;
            ensure_spares(&self.shared);
        }
        if !self.purges.is_empty() && (force || now >= self.purge_due) {
            self.purge();
        }
        if !self.written.is_empty() {
            self.release_written();
        }
        self.shared.background_looked();
    }

    fn sync(&mut self) -> Result<(), Fault> {
        self.shared.check()?;
        self.sync_due = Instant::now() + SYNC_INTERVAL;
        self.shared.sync_dirty().map_err(|error| self.shared.fail("syncing the log", &error))
    }

    fn write_marks(&mut self) -> Result<(), Fault> {
        self.marks_due = Instant::now() + MARKS_INTERVAL;
        self.shared.write_marks().map_err(|error| self.shared.fail("writing the marks", &error))
    }

    fn write_view(&mut self, segment: &Arc<Segment>) {
        let terms = {
            let view = self.shared.view.read();
            let Some(last) = segment.last_index().filter(|_| view.is_sealed(segment)) else { return };
            let from = view.terms.partition_point(|start| start.index <= segment.first_index());
            let terms = &view.terms[from.saturating_sub(1)..];
            terms.iter().take_while(|start| start.index <= last).copied().collect()
        };
        match segment.write_view(terms) {
            Ok(None) => {}
            Ok(Some(written)) => {
                self.written.push((Arc::downgrade(segment), written));
                self.release_written();
            }
            Err(error) => {
                warn!(%error, segment = segment.base(), "view not written, it will be rebuilt when it is needed");
            }
        }
    }

    /// Lets go of the positions in memory of segments that no truncation can reach any more: cutting a segment off, on the
    /// group's thread, must not have to read its view first.
    fn release_written(&mut self) {
        let shared = &self.shared;
        // A truncation may have made one the last segment again; it cannot while the view is held.
        let view = shared.view.read();
        self.written.retain(|(segment, written)| {
            let Some(segment) = segment.upgrade() else { return false };
            let committed = shared.is_committed(written.last_index());
            if committed && view.is_sealed(&segment) {
                segment.release_positions(written);
            }
            !committed
        });
    }

    fn save_checkpoint(
        &mut self,
        at: ChainPoint,
        time_ms: u64,
        membership: Bytes,
        state: StateSource,
    ) -> io::Result<()> {
        if self.shared.has_checkpoint(at)
            && read_checkpoint(&self.shared.folder, self.shared.genesis, at).is_ok()
        {
            return Ok(());
        }
        if !self.shared.syncs() {
            self.sync().map_err(|fault| fault.to_io())?;
        }
        let synced = self.shared.progress.lock().synced;
        if synced < at.end {
            let what = format!("checkpoint at {}: the log is synced to {synced} only", at.end);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        // A checkpoint above the synced mark would hide damage between the two.
        self.write_marks().map_err(|fault| fault.to_io())?;
        let state = Bytes::from(state());
        let checkpoint = Checkpoint { at, time_ms, installed: false, membership, state };
        write_checkpoint(&self.shared.folder, self.shared.genesis, &checkpoint)?;
        self.shared.remember_checkpoint(CheckpointInfo { at, installed: false });
        Ok(())
    }

    fn set_snapshot(&mut self, at: ChainPoint) -> io::Result<()> {
        let shared = &self.shared;
        read_either(&shared.folder, shared.genesis, at)?;
        {
            let mut bounds = shared.bounds.lock();
            if bounds.snapshot.is_some_and(|old| old.id.index > at.id.index) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "the snapshot boundary never goes back",
                ));
            }
            if bounds.snapshot != Some(at) {
                let moved = Bounds { snapshot: Some(at), ..*bounds };
                store_bounds(shared, &moved)?;
                *bounds = moved;
            }
        }
        self.prune_checkpoints();
        Ok(())
    }

    /// Does the purges that wait, in order. One that fails, on a full disk above all, is tried again: what it would free
    /// may be all that there is to free, and until then the files only stay longer.
    fn purge(&mut self) {
        while let Some(mut purge) = self.purges.pop_front() {
            match purge_one(&self.shared, &mut purge) {
                Ok(()) => (purge.done)(Ok(())),
                Err(error) => {
                    if !std::mem::replace(&mut purge.told, true) {
                        warn!(%error, upto = %purge.purged, "purge not done, it will be tried again");
                    }
                    self.purge_due = Instant::now() + PURGE_INTERVAL;
                    return self.purges.push_front(purge);
                }
            }
        }
    }

    fn prune_checkpoints(&mut self) {
        let shared = &self.shared;
        let Some(snapshot) = shared.bounds.lock().snapshot else { return };
        let mut list = shared.checkpoints.lock();
        let (old, kept) = list.iter().partition::<Vec<_>, _>(|info| info.at.id.index < snapshot.id.index);
        *list = kept;
        drop(list);
        for info in old {
            let path = shared.folder.checkpoints.join(checkpoint_name(info.at));
            if let Err(error) = shared.folder.vfs.remove(&path) {
                warn!(%error, file = %path.display(), "old checkpoint not removed");
            }
        }
        if let Err(error) = remove_copies_below(&shared.folder, snapshot.id.index) {
            warn!(%error, "copies of old checkpoints not removed");
        }
        // On a full disk the next move or start makes up for it.
        if let Err(error) = keep_twice(&shared.folder, shared.genesis, snapshot) {
            warn!(%error, boundary = %snapshot.id, "the boundary's checkpoint is not kept twice");
        }
    }
}

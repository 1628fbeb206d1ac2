//! What the log's owner, its readers, its writer and its background work all see.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::{fmt, io};

use flotilla_mutants::{self as mutants, Mutant};
use parking_lot::{Mutex, RwLock};

use super::bounds::Bounds;
use super::checkpoint::CheckpointInfo;
use super::marks::{Marks, MarksFile};
use super::ring::Ring;
use super::scan::Tail;
use super::segment::Segment;
use super::{Fault, LogOptions};
use crate::types::{ChainPoint, FlushMode, LogId};
use crate::vfs::{Vfs, VfsFile};

/// The folders of one log.
pub(crate) struct Folder {
    pub(crate) vfs: Arc<dyn Vfs>,
    /// Identity, vote, marks, bounds.
    pub(crate) root: PathBuf,
    /// Segments and spare segments.
    pub(crate) log: PathBuf,
    /// Views of sealed segments.
    pub(crate) index: PathBuf,
    /// Checkpoints.
    pub(crate) checkpoints: PathBuf,
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Folder({})", self.root.display())
    }
}

impl Folder {
    pub(crate) fn new(vfs: Arc<dyn Vfs>, root: &Path) -> Self {
        let [log, index, checkpoints] = ["log", "idx", "ckpt"].map(|name| root.join(name));
        Self { vfs, root: root.to_path_buf(), log, index, checkpoints }
    }
}

/// State shared by all parts of an open log.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) folder: Arc<Folder>,
    pub(crate) options: LogOptions,
    pub(crate) genesis: u32,
    /// Taken before `progress`, never after it.
    pub(crate) view: RwLock<LogView>,
    pub(crate) progress: Mutex<Progress>,
    /// Number of committed entries.
    pub(crate) committed_count: AtomicU64,
    pub(crate) fault: OnceLock<Fault>,
    pub(crate) spares: Mutex<Spares>,
    pub(crate) dirty: Mutex<Dirty>,
    /// Held through a sync; taken before `dirty` and `progress`.
    pub(crate) syncing: Mutex<()>,
    pub(crate) marks: Mutex<MarksFile>,
    /// Set when a mark has moved since it was written.
    pub(crate) marks_moved: AtomicBool,
    /// Set when the background knows that something is due; saves waking it for every group.
    pub(crate) nudged: AtomicBool,
    pub(crate) quarantined: AtomicBool,
    pub(crate) bounds: Mutex<Bounds>,
    /// Usable checkpoints, oldest first.
    pub(crate) checkpoints: Mutex<Vec<CheckpointInfo>>,
}

/// The log's content, as it can be read.
#[derive(Debug)]
pub(crate) struct LogView {
    pub(crate) ring: Ring,
    /// Oldest first; each holds at least one record.
    pub(crate) segments: Vec<Arc<Segment>>,
    /// First entry of each run of one term; covers every entry of `segments`.
    pub(crate) terms: Vec<LogId>,
    pub(crate) purged: Option<LogId>,
    pub(crate) tail: Tail,
}

/// How far the writer has come. Truncations start another generation, so that the completion of an older write does
/// not count bytes that were given a new meaning meanwhile.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) generation: u64,
    /// Position below which everything has been handed to the operating system.
    pub(crate) written: u64,
    /// Position below which the disk holds everything.
    pub(crate) synced: u64,
    /// Generation that the files have reached; behind `generation` while a truncation waits for the writer.
    pub(crate) on_disk: u64,
}

/// A segment file without a place in the log yet.
#[derive(Debug)]
pub(crate) struct Spare {
    pub(crate) name: String,
    pub(crate) file: Arc<dyn VfsFile>,
    pub(crate) size: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Spares {
    pub(crate) ready: Vec<Spare>,
    pub(crate) next_number: u64,
    /// Names of files whose allocation failed and that could not be removed.
    pub(crate) left: Vec<String>,
    /// True from a failed allocation to the next one that succeeds, or until purged segments have made up for it.
    pub(crate) failed: bool,
}

impl Spares {
    /// A failed allocation counts no longer when there are `wanted` spares: nothing would be allocated that could succeed.
    pub(crate) fn settle(&mut self, wanted: usize) {
        if self.ready.len() >= wanted {
            self.failed = false;
        }
    }
}

/// What has been written and not synced.
#[derive(Debug, Default)]
pub(crate) struct Dirty {
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) names: bool,
}

impl Dirty {
    pub(crate) fn add(&mut self, segment: &Arc<Segment>) {
        if !self.segments.iter().any(|other| Arc::ptr_eq(other, segment)) {
            self.segments.push(Arc::clone(segment));
        }
    }
}

impl LogView {
    /// The term of an entry that the log holds.
    pub(crate) fn term_of(&self, index: u64) -> Option<u64> {
        let behind = self.terms.partition_point(|start| start.index <= index);
        self.terms.get(behind.checked_sub(1)?).map(|start| start.term)
    }

    /// Index of the first entry that is not purged.
    pub(crate) fn first_index(&self) -> u64 {
        let held = self.segments.first().map_or(self.tail.next_index(), |segment| segment.first_index());
        self.purged.map_or(held, |purged| held.max(purged.index + 1))
    }

    pub(crate) fn log_id(&self, index: u64) -> Option<LogId> {
        if let Some(known) = [self.purged, self.tail.id].into_iter().flatten().find(|id| id.index == index) {
            return Some(known);
        }
        if index < self.first_index() || index >= self.tail.next_index() {
            return None;
        }
        self.term_of(index).map(|term| LogId::new(term, index))
    }

    /// True for a segment of this log that another one follows.
    pub(crate) fn is_sealed(&self, segment: &Segment) -> bool {
        let next = self.segments.partition_point(|other| other.base() <= segment.base());
        let own = next.checked_sub(1).and_then(|at| self.segments.get(at));
        next < self.segments.len() && own.is_some_and(|own| std::ptr::eq(&**own, segment))
    }

    /// The segment with this entry.
    pub(crate) fn segment_of(&self, index: u64) -> Option<&Arc<Segment>> {
        if index >= self.tail.next_index() {
            return None;
        }
        let behind = self.segments.partition_point(|segment| segment.first_index() <= index);
        self.segments.get(behind.checked_sub(1)?)
    }

    /// The segment with this position.
    pub(crate) fn segment_at(&self, position: u64) -> Option<&Arc<Segment>> {
        if position >= self.tail.end {
            return None;
        }
        let behind = self.segments.partition_point(|segment| segment.base() <= position);
        self.segments.get(behind.checked_sub(1)?)
    }
}

impl Shared {
    /// The sticky failure, as an error.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        self.fault.get().map_or(Ok(()), |fault| Err(fault.clone()))
    }

    /// Makes a failure stick and gives the one that stuck first.
    pub(crate) fn fail(&self, what: &str, error: &io::Error) -> Fault {
        let fault = self.fault.get_or_init(|| {
            tracing::error!(what, %error, folder = %self.folder.root.display(), "the log has failed");
            Fault::new(what, error)
        });
        fault.clone()
    }

    /// Counts bytes as written, unless a truncation has come in between.
    pub(crate) fn count_written(&self, generation: u64, end: u64) {
        let mut progress = self.progress.lock();
        if progress.generation == generation {
            progress.written = progress.written.max(end);
        }
    }

    /// Syncs what has been written.
    pub(crate) fn sync_dirty(&self) -> io::Result<()> {
        if mutants::often(Mutant::SkipFdatasync) {
            return Ok(());
        }
        // One at a time: what another one has taken out of `dirty` counts only when it is done.
        let _alone = self.syncing.lock();
        let before = *self.progress.lock();
        let dirty = std::mem::take(&mut *self.dirty.lock());
        for segment in &dirty.segments {
            segment.file().sync_data()?;
        }
        if dirty.names {
            self.folder.vfs.sync_dir(&self.folder.log)?;
        }
        let mut progress = self.progress.lock();
        if progress.generation == before.generation && progress.synced < before.written {
            progress.synced = before.written;
            self.marks_moved.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// The files have reached a generation: what it took away cannot come back.
    pub(crate) fn reached(&self, generation: u64) {
        let mut progress = self.progress.lock();
        progress.on_disk = progress.on_disk.max(generation);
        // The committed mark may have been held back for it.
        self.marks_moved.store(true, Ordering::Release);
    }

    /// The marks as they are now.
    ///
    /// The committed mark is an index, so it stays where it is while the files still hold entries that were taken away:
    /// a restart would take those for the committed ones. It is read before the generations, because the entries that
    /// it counts were appended after the truncation that made room for them.
    pub(crate) fn marks_now(&self, last: &Marks) -> Marks {
        let committed_count = self.committed_count.load(Ordering::Acquire);
        let progress = *self.progress.lock();
        let committed_count = if progress.on_disk == progress.generation { committed_count } else { 0 };
        Marks {
            synced: progress.synced,
            committed_count: committed_count.max(last.committed_count),
            boot: self.folder.vfs.boot_id(),
            clean: false,
            flush: self.options.flush,
            quarantined: self.quarantined.load(Ordering::Acquire),
        }
    }

    /// Brings the marks file up to date.
    pub(crate) fn write_marks(&self) -> io::Result<()> {
        let mut file = self.marks.lock();
        if !self.marks_moved.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let marks = self.marks_now(&file.last());
        // A truncation lowers the file before the mark in memory can rise above the cut again, so a lower value here
        // only means that its own write is still to come.
        if marks.synced >= file.last().synced { file.raise(marks) } else { Ok(()) }
    }

    /// Writes the synced mark so that nothing higher can come back.
    pub(crate) fn lower_marks(&self, synced: u64) -> io::Result<()> {
        let mut file = self.marks.lock();
        let marks = Marks { synced, ..self.marks_now(&file.last()) };
        file.put(marks)
    }

    /// True when the background has to sync.
    pub(crate) fn wants_sync(&self) -> bool {
        if self.syncs() {
            return false;
        }
        let dirty = self.dirty.lock();
        dirty.names || !dirty.segments.is_empty()
    }

    /// True when the background has to be woken because something became due that it does not know of.
    pub(crate) fn wants_background(&self) -> bool {
        self.has_due() && !self.nudged.swap(true, Ordering::AcqRel)
    }

    /// The background has seen what is due and looks again before it sleeps.
    pub(crate) fn background_looked(&self) {
        if !self.has_due() {
            self.nudged.store(false, Ordering::Release);
        }
    }

    fn has_due(&self) -> bool {
        self.marks_moved.load(Ordering::Acquire) || self.wants_sync()
    }

    /// True when appends are done only after a sync.
    pub(crate) fn syncs(&self) -> bool {
        self.options.flush == FlushMode::Sync
    }

    /// True for entries that no truncation can reach any more.
    pub(crate) fn is_committed(&self, index: u64) -> bool {
        index < self.committed_count.load(Ordering::Acquire)
    }

    pub(crate) fn remember_checkpoint(&self, info: CheckpointInfo) {
        let mut list = self.checkpoints.lock();
        list.retain(|other| other.at != info.at);
        list.push(info);
        list.sort_by_key(|info| (info.at.end, info.at.id.index));
    }

    pub(crate) fn has_checkpoint(&self, at: ChainPoint) -> bool {
        self.checkpoints.lock().iter().any(|info| info.at == at)
    }
}

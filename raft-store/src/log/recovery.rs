//! Opening a log: the normal start, and the only one.
//!
//! ```text
//! marks, bounds, vote, segment headers
//!   -> newest usable checkpoint            (shown to the visitor, stamper starts from it)
//!   -> segments before it: views           (rebuilt from the records where they do not fit)
//!   -> segments behind it: every record verified, indexed, shown to stamper and visitor
//!   -> end below the synced mark: damage, nothing is touched
//!   -> else: later files removed, rest of the last one zeroed, all of it synced, marks written
//! ```
//! A file that does not chain to what comes before it is a left-over of a truncation, purge or installation; whether
//! that is fine is decided by the synced mark alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64};

use parking_lot::{Mutex, RwLock};
use tracing::{info, warn};

use super::bounds::{BOUNDS_FILE, Bounds};
use super::checkpoint::Checkpoint;
use super::files::ensure_spares;
use super::folder::{Candidates, read_folder};
use super::marks::{Kept, MARKS_FILE, Marks, MarksFile, VoteFile};
use super::scan::Tail;
use super::segment::Segment;
use super::shared::{Dirty, Folder, LogView, Progress, Shared, Spares};
use super::start::{Start, choose_start};
use super::walk::{Walk, Walked};
use super::{Damage, LogOptions, OpenError};
use crate::record::{Record, genesis_crc};
use crate::types::{ChainPoint, FlushMode, LogId, Stamper, Vote};
use crate::vfs::Vfs;

/// Bytes that [`settle`] writes again at once.
const WRITE_AGAIN_SIZE: usize = 1 << 20;

/// What the vote file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoveredVote {
    /// No vote was ever saved.
    Never,
    /// The last vote that was saved.
    Saved(Vote),
    /// The file is gone or has no valid slot: this is a wiped node, which must come back under a new incarnation.
    Lost,
}

impl RecoveredVote {
    /// The saved vote.
    pub fn saved(self) -> Option<Vote> {
        match self {
            Self::Saved(vote) => Some(vote),
            Self::Never | Self::Lost => None,
        }
    }
}

/// What recovery cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment file.
    pub file: PathBuf,
    /// Byte in the file where the valid records end.
    pub offset: u64,
    /// Position of the log's end.
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
    /// True from an unclean stop of the machine while the log ran with [`FlushMode::Async`], when acknowledged entries
    /// may be gone, until [`super::Log::release_quarantine`].
    pub quarantined: bool,
}

/// Sees the log's content while it is verified, so that nothing has to be read twice.
pub trait RecoveryVisitor {
    /// The checkpoint that the scan starts from; called at most once, before any record. Without a call the log starts
    /// from the blank state.
    ///
    /// # Errors
    /// A reason to stop.
    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), String>;

    /// Each verified record above the checkpoint, in log order. `committed` is true up to the committed mark. The
    /// record shares a read buffer of a megabyte: keep copies, not slices.
    ///
    /// # Errors
    /// A reason to stop.
    fn record(&mut self, record: &Record, committed: bool) -> Result<(), String>;
}

/// A visitor that looks at nothing.
impl RecoveryVisitor for () {
    fn checkpoint(&mut self, _: &Checkpoint) -> Result<(), String> {
        Ok(())
    }

    fn record(&mut self, _: &Record, _: bool) -> Result<(), String> {
        Ok(())
    }
}

/// An opened log, before its threads run.
pub(super) struct Opened {
    pub(super) shared: Arc<Shared>,
    pub(super) vote_file: Option<VoteFile>,
    pub(super) recovered: Recovered,
    pub(super) last_time_ms: u64,
}

/// The small files beside the log.
struct SmallFiles {
    blank: bool,
    vote_file: Option<VoteFile>,
    vote: RecoveredVote,
    marks_file: MarksFile,
    marks: Marks,
    bounds: Bounds,
}

pub(super) fn recover(
    vfs: Arc<dyn Vfs>,
    dir: &Path,
    options: LogOptions,
    stamper: &mut dyn Stamper,
    visitor: &mut dyn RecoveryVisitor,
) -> Result<Opened, OpenError> {
    let folder = Arc::new(Folder::new(vfs, dir));
    for dir in [&folder.root, &folder.log, &folder.index, &folder.checkpoints] {
        let what = || format!("creating {}", dir.display());
        folder.vfs.create_dir_all(dir).map_err(|error| OpenError::io(what())(error))?;
    }
    // A process that was killed between a rename and the sync of its folder leaves a name that can be seen and is not
    // durable. The boundary and checkpoints are believed below, and files go because of them.
    for dir in [&folder.root, &folder.checkpoints] {
        let what = || format!("syncing {}", dir.display());
        folder.vfs.sync_dir(dir).map_err(|error| OpenError::io(what())(error))?;
    }
    let genesis = genesis_crc(&options.cluster, &options.group);
    let mut found = read_folder(&folder, genesis, options.segment_size)?;
    let SmallFiles { blank, vote_file, vote, mut marks_file, marks, mut bounds } =
        read_small_files(&folder, &options, &found.segments)?;
    let leftovers = found.segments.split_before(bounds.start);
    let start = choose_start(&folder, genesis, &found, &bounds, &marks)?;
    let walk = Walk::new(&folder, &found.segments, &bounds, &start, options.ring_bytes_max);
    let walked = if start.discard {
        discard(&mut marks_file, &marks, &found.segments, &start)?;
        walk.stay(stamper, visitor)?
    } else {
        walk.run(&marks, stamper, visitor)?
    };
    if !marks.clean {
        // One of them may have been a segment whose name did not reach the disk, with records that would be whole and
        // in order if it became that segment again.
        for spare in found.spares.drain(..) {
            let path = folder.log.join(&spare.name);
            folder.vfs.remove(&path).map_err(OpenError::io(format!("removing {}", path.display())))?;
        }
    }
    settle(&folder, &found.segments, leftovers, &walked, &marks)?;
    let Walked { segments, terms, tail, last_time_ms, torn_tail, mut ring, .. } = walked;
    ring.truncate(tail.next_index());

    complete_installation(&folder, &mut bounds, &start)?;
    if bounds.purged.is_some_and(|purged| purged.index >= tail.next_index()) {
        let what = format!("entries up to {:?} are purged, the log ends with {:?}", bounds.purged, tail.id);
        return Err(Damage { file: folder.root.join(BOUNDS_FILE), offset: 0, what }.into());
    }
    let known_committed = start.tail.next_index().max(marks.committed_count);
    let committed_count = known_committed.min(tail.next_index());
    let boot = folder.vfs.boot_id();
    let unclean_boot = !blank && !marks.clean && marks.boot != boot && marks.flush == FlushMode::Async;
    let quarantined = marks.quarantined || unclean_boot;
    let now =
        Marks { synced: tail.end, committed_count, boot, clean: false, flush: options.flush, quarantined };
    marks_file.put(now).map_err(OpenError::io("writing the marks"))?;

    let view = LogView { ring, segments, terms, purged: bounds.purged, tail };
    found.checkpoints.retain(|info| info.at.end <= tail.end && info.at.id.index < tail.next_index());
    let snapshot = bounds.snapshot.filter(|at| found.checkpoints.iter().any(|info| info.at == *at));
    if bounds.snapshot != snapshot {
        warn!(boundary = ?bounds.snapshot, "the snapshot boundary's checkpoint is gone");
    }
    let recovered = Recovered {
        blank,
        last: tail.id,
        purged: bounds.purged,
        committed: committed_count.checked_sub(1).and_then(|index| view.log_id(index)),
        vote,
        checkpoint: start.checkpoint.as_ref().map(|checkpoint| checkpoint.at),
        snapshot,
        torn_tail,
        quarantined,
    };
    let spares = Spares { ready: found.spares, next_number: found.spare_number_max, ..Spares::default() };
    let shared = Arc::new(Shared {
        folder,
        options,
        genesis,
        view: RwLock::new(view),
        progress: Mutex::new(Progress { generation: 0, written: tail.end, synced: tail.end, on_disk: 0 }),
        committed_count: AtomicU64::new(committed_count),
        fault: OnceLock::new(),
        spares: Mutex::new(spares),
        dirty: Mutex::new(Dirty::default()),
        syncing: Mutex::new(()),
        marks: Mutex::new(marks_file),
        marks_moved: AtomicBool::new(false),
        nudged: AtomicBool::new(false),
        quarantined: AtomicBool::new(quarantined),
        bounds: Mutex::new(bounds),
        checkpoints: Mutex::new(found.checkpoints),
    });
    ensure_spares(&shared);
    info!(
        folder = %dir.display(), last = ?recovered.last, committed = ?recovered.committed, purged = ?recovered.purged,
        checkpoint = ?recovered.checkpoint, torn_tail = ?recovered.torn_tail, quarantined, "log opened"
    );
    Ok(Opened { shared, vote_file, recovered, last_time_ms })
}

/// Reads vote, marks and bounds; creates the first two in a new folder, the vote first, so that marks without a vote
/// mean a lost vote.
fn read_small_files(
    folder: &Folder,
    options: &LogOptions,
    segments: &Candidates,
) -> Result<SmallFiles, OpenError> {
    let (vfs, root) = (&*folder.vfs, &folder.root);
    let vote = VoteFile::open(vfs, root).map_err(OpenError::io("reading the vote"))?;
    let marks = MarksFile::open(vfs, root).map_err(OpenError::io("reading the marks"))?;
    let bounds = Bounds::load(vfs, root).map_err(OpenError::io("reading the bounds"))?;
    let damage = |name: &str, what: &str| Damage { file: root.join(name), offset: 0, what: what.into() };
    let bounds = bounds.ok_or_else(|| damage(BOUNDS_FILE, "the bounds' checksum differs"))?;
    let (vote_file, vote) = match vote {
        Kept::Valid(file, Some(vote)) => (Some(file), RecoveredVote::Saved(vote)),
        Kept::Valid(file, None) => (Some(file), RecoveredVote::Never),
        Kept::Missing | Kept::Damaged => (None, RecoveredVote::Lost),
    };
    match marks {
        Kept::Valid(marks_file, marks) => {
            Ok(SmallFiles { blank: false, vote_file, vote, marks_file, marks, bounds })
        }
        Kept::Damaged => Err(damage(MARKS_FILE, "no slot is valid").into()),
        Kept::Missing if !segments.is_empty() || bounds != Bounds::default() || vote.saved().is_some() => {
            Err(damage(MARKS_FILE, "the file is missing beside a log").into())
        }
        Kept::Missing => {
            let failed = || OpenError::io("creating the log's small files");
            let vote_file = match vote_file {
                Some(file) => file,
                None => VoteFile::create(vfs, root, None).map_err(|error| failed()(error))?,
            };
            let marks = Marks {
                synced: 0,
                committed_count: 0,
                boot: vfs.boot_id(),
                clean: false,
                flush: options.flush,
                quarantined: false,
            };
            let marks_file = MarksFile::create(vfs, root, marks).map_err(|error| failed()(error))?;
            let (vote_file, vote) = (Some(vote_file), RecoveredVote::Never);
            Ok(SmallFiles { blank: true, vote_file, vote, marks_file, marks, bounds })
        }
    }
}

/// Ends an installation that replaced the whole log and was stopped half-way: the marks go down before any file goes.
fn discard(
    marks_file: &mut MarksFile,
    marks: &Marks,
    segments: &Candidates,
    start: &Start,
) -> Result<(), OpenError> {
    info!(checkpoint = ?start.tail, files = segments.len(), "the log is replaced by an installed checkpoint");
    let lowered = Marks { synced: marks.synced.min(start.tail.end), ..*marks };
    marks_file.put(lowered).map_err(OpenError::io("writing the marks"))
}

/// Makes the disk say what the walk found: later files go, newest first, what stands behind the last record reads as
/// zero, and all of it is synced.
fn settle(
    folder: &Folder,
    segments: &Candidates,
    leftovers: Candidates,
    walked: &Walked,
    marks: &Marks,
) -> Result<(), OpenError> {
    let garbage = segments.paths_except(&walked.segments).chain(leftovers.into_paths());
    let garbage: Vec<_> = garbage.collect();
    for path in garbage.iter().rev() {
        warn!(file = %path.display(), "left-over segment file removed");
        folder.vfs.remove(path).map_err(OpenError::io(format!("removing {}", path.display())))?;
    }
    let unsynced = |end: u64| end > marks.synced || !marks.clean;
    if let Some(last) = walked.segments.last()
        && unsynced(walked.tail.end)
    {
        let offset = last.offset(last.end());
        let what = || format!("cutting {} at byte {offset}", last.path().display());
        let rest = last.allocated().saturating_sub(offset);
        last.file().zero_range(offset, rest).map_err(|error| OpenError::io(what())(error))?;
    }
    if !marks.clean {
        for segment in walked.segments.iter().filter(|segment| segment.end() > marks.synced) {
            let what = || format!("writing {} again", segment.path().display());
            write_again(segment, marks.synced).map_err(|error| OpenError::io(what())(error))?;
        }
    }
    for segment in walked
        .segments
        .iter()
        .filter(|segment| unsynced(segment.end()) && segment.end() > walked.scanned_from)
    {
        let what = || format!("syncing {}", segment.path().display());
        segment.file().sync_data().map_err(|error| OpenError::io(what())(error))?;
    }
    if !garbage.is_empty() || unsynced(walked.tail.end) {
        folder.vfs.sync_dir(&folder.log).map_err(OpenError::io("syncing the log's folder"))?;
    }
    Ok(())
}

/// Writes what a segment holds above the synced mark once more, its header too where it is new. What was read may come
/// from the page cache alone: after a failed sync the system takes such pages for written, and another sync does nothing.
fn write_again(segment: &Segment, synced: u64) -> std::io::Result<()> {
    let mut offset = if segment.base() < synced { segment.offset(synced) } else { 0 };
    let end = segment.offset(segment.end());
    let mut buffer = vec![0; WRITE_AGAIN_SIZE];
    while offset < end {
        let size = usize::try_from(end - offset).unwrap_or(usize::MAX).min(buffer.len());
        segment.file().read_exact_at(&mut buffer[..size], offset)?;
        segment.file().write_all_at(&buffer[..size], offset)?;
        offset += size as u64;
    }
    Ok(())
}

/// Writes the bounds of an installation that was stopped before it could.
fn complete_installation(folder: &Folder, bounds: &mut Bounds, start: &Start) -> Result<(), OpenError> {
    let before = *bounds;
    if let Some(checkpoint) = start.checkpoint.as_ref().filter(|checkpoint| checkpoint.installed) {
        let at = checkpoint.at;
        if bounds.snapshot.is_none_or(|old| old.id.index < at.id.index) {
            bounds.snapshot = Some(at);
        }
        if start.discard {
            bounds.base = Some(at);
            bounds.purged = Some(at.id);
            bounds.start = at.end;
        }
    }
    if *bounds != before {
        bounds.store(&*folder.vfs, &folder.root).map_err(OpenError::io("writing the bounds"))?;
    }
    Ok(())
}

/// The log's end before its first record.
pub(super) fn blank_tail(genesis: u32, bounds: &Bounds) -> Tail {
    bounds.base.map_or(Tail::genesis(genesis), Tail::from)
}

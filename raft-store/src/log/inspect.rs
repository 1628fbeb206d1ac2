//! Looks at a log's folder without opening the log: nothing is written, cut or removed.
//!
//! [`inspect`] tells what lies there, [`verify`] whether every record is as it was written. Both read all records. A
//! record that is cut short above the synced position is what a stop leaves behind; it is reported and is no damage.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use super::bounds::{BOUNDS_FILE, Bounds};
use super::checkpoint::{Checkpoint, checkpoint_name, parse_checkpoint_name, read_checkpoint};
use super::files::parse_spare_name;
use super::folder::{Candidate, read_candidate};
use super::marks::{Kept, MARKS_FILE, Marks, MarksFile, VOTE_FILE, VoteFile};
use super::scan::{Scanner, Step, Stop, Tail};
use super::segment::{parse_segment_name, segment_name};
use super::shared::Folder;
use super::{Damage, TornTail};
use crate::identity::{Identity, IdentityError, NodeId};
use crate::types::{ChainPoint, LogId, Vote};
use crate::vfs::{OpenMode, Vfs};

/// Why a folder cannot be judged.
#[derive(Debug, Error)]
pub enum InspectError {
    /// The first damage.
    #[error(transparent)]
    Damage(#[from] Damage),
    /// There is no log in the folder, nor in `store` below it.
    #[error("no log in {}", .0.display())]
    NoLog(PathBuf),
    /// The file system failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// The failure.
        source: io::Error,
    },
}

/// One segment file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentReport {
    /// The file.
    pub file: PathBuf,
    /// Position of the first record, the file's name.
    pub base: u64,
    /// Position behind the last record.
    pub end: u64,
    /// First and last entry; `None` when no record is valid.
    pub entries: Option<(LogId, LogId)>,
    /// Number of records.
    pub record_count: u64,
    /// Leader time of the last record, Unix milliseconds.
    pub last_time_ms: u64,
    /// Bytes of the file.
    pub file_size: u64,
}

/// What lies in a folder.
#[derive(Clone, Debug)]
pub struct Report {
    /// The log's folder.
    pub dir: PathBuf,
    /// Whose folder it is; `None` before the node took part in a group.
    pub identity: Option<Identity>,
    /// The vote; `None` when none was saved.
    pub vote: Option<Vote>,
    /// Segments of the log, oldest first.
    pub segments: Vec<SegmentReport>,
    /// Files with segment names that do not belong to the log; the next start removes them.
    pub leftovers: Vec<PathBuf>,
    /// Number and bytes of files allocated ahead.
    pub spares: (usize, u64),
    /// Checkpoints, oldest first, and whether they came from another node.
    pub checkpoints: Vec<(ChainPoint, bool)>,
    /// The snapshot boundary.
    pub snapshot: Option<ChainPoint>,
    /// Last purged entry.
    pub purged: Option<LogId>,
    /// Last entry.
    pub last: Option<LogId>,
    /// Position behind the last record.
    pub end: u64,
    /// Position below which the disk holds everything.
    pub synced: u64,
    /// Number of entries known to be committed.
    pub committed_count: u64,
    /// True when the log was closed in order.
    pub clean: bool,
    /// True while the node waits to catch up after an unclean stop of its machine.
    pub quarantined: bool,
    /// A record that was cut short above the synced position.
    pub torn_tail: Option<TornTail>,
    /// The first damage.
    pub damage: Option<Damage>,
}

/// A folder whose records are all as they were written.
#[derive(Clone, Debug)]
pub struct Verified(pub Report);

/// Tells what lies in a log's folder, or in `store` below it. Damage is part of the report.
///
/// # Errors
/// `NoLog`, or the file system failed.
pub fn inspect(vfs: &Arc<dyn Vfs>, dir: &Path) -> Result<Report, InspectError> {
    let folder = locate(vfs, dir)?;
    Looking::new(folder).look()
}

/// Checks every record and every file beside the log in a log's folder, or in `store` below it.
///
/// # Errors
/// `Damage` names the file and the byte of the first damage. `NoLog`, or the file system failed.
pub fn verify(vfs: &Arc<dyn Vfs>, dir: &Path) -> Result<Verified, InspectError> {
    let mut report = inspect(vfs, dir)?;
    match report.damage.take() {
        Some(damage) => Err(damage.into()),
        None => Ok(Verified(report)),
    }
}

fn locate(vfs: &Arc<dyn Vfs>, dir: &Path) -> Result<Arc<Folder>, InspectError> {
    for root in [dir.to_path_buf(), dir.join("store")] {
        let folder = Folder::new(Arc::clone(vfs), &root);
        match vfs.list(&folder.log) {
            Ok(_) => return Ok(Arc::new(folder)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(source) => {
                return Err(InspectError::Io { what: format!("listing {}", folder.log.display()), source });
            }
        }
    }
    Err(InspectError::NoLog(dir.to_path_buf()))
}

/// A look in progress; the first damage stays.
struct Looking {
    folder: Arc<Folder>,
    report: Report,
    /// The group's own value, as the first readable file has it.
    genesis: Option<u32>,
}

impl Looking {
    fn new(folder: Arc<Folder>) -> Self {
        let report = Report {
            dir: folder.root.clone(),
            identity: None,
            vote: None,
            segments: Vec::new(),
            leftovers: Vec::new(),
            spares: (0, 0),
            checkpoints: Vec::new(),
            snapshot: None,
            purged: None,
            last: None,
            end: 0,
            synced: 0,
            committed_count: 0,
            clean: false,
            quarantined: false,
            torn_tail: None,
            damage: None,
        };
        Self { folder, report, genesis: None }
    }

    fn look(mut self) -> Result<Report, InspectError> {
        self.look_at_identity()?;
        // In this order, so that a log that is written and purged meanwhile is not taken for a damaged one.
        let root = self.folder.root.clone();
        let marks = MarksFile::peek(&*self.folder.vfs, &root).map_err(io_error("reading the marks"))?;
        let candidates = self.candidates()?;
        let bounds = self.look_at_bounds()?;
        let marks = self.look_at_marks(marks, candidates.is_empty() && bounds == Bounds::default())?;
        self.look_at_checkpoint_genesis(&candidates);
        let checkpoints = self.read_checkpoints()?;
        let stop = self.walk(&candidates, &bounds)?;
        let pending = checkpoints.last().is_some_and(|newest| {
            newest.installed && bounds.base != Some(newest.at) && bounds.snapshot != Some(newest.at)
        });
        // An installed checkpoint that nothing follows yet is the end of its log.
        let installed =
            checkpoints.iter().filter(|checkpoint| checkpoint.installed).map(|checkpoint| checkpoint.at);
        if let Some(at) = installed.max_by_key(|at| at.end).filter(|at| at.end > self.report.end) {
            (self.report.end, self.report.last) = (at.end, Some(at.id));
        }
        if let Some(marks) = marks
            && self.report.end < marks.synced
            && !pending
        {
            let what = format!("{}; the log is synced to position {}", stop.1.what, marks.synced);
            self.damage(stop.0, stop.1.offset, what);
        } else if stop.1.broken {
            let Stop { offset, what, .. } = stop.1;
            self.report.torn_tail = Some(TornTail { file: stop.0, offset, position: self.report.end, what });
        }
        Ok(self.report)
    }

    fn damage(&mut self, file: PathBuf, offset: u64, what: impl Into<String>) {
        self.report.damage.get_or_insert(Damage { file, offset, what: what.into() });
    }

    fn look_at_identity(&mut self) -> Result<(), InspectError> {
        match Identity::load(&*self.folder.vfs, &self.folder.root) {
            Ok(identity) => self.report.identity = identity,
            Err(IdentityError::Damaged { path, reason }) => self.damage(path.into(), 0, reason),
            Err(IdentityError::Io { path, source }) => {
                return Err(InspectError::Io { what: format!("reading {path}"), source });
            }
        }
        Ok(())
    }

    fn look_at_bounds(&mut self) -> Result<Bounds, InspectError> {
        let bounds =
            Bounds::load(&*self.folder.vfs, &self.folder.root).map_err(io_error("reading the bounds"))?;
        let Some(bounds) = bounds else {
            self.damage(self.folder.root.join(BOUNDS_FILE), 0, "the bounds' checksum differs");
            return Ok(Bounds::default());
        };
        (self.report.snapshot, self.report.purged) = (bounds.snapshot, bounds.purged);
        Ok(bounds)
    }

    fn look_at_marks(&mut self, marks: Kept<(), Marks>, empty: bool) -> Result<Option<Marks>, InspectError> {
        let root = self.folder.root.clone();
        let vote = VoteFile::peek(&*self.folder.vfs, &root).map_err(io_error("reading the vote"))?;
        match vote {
            Kept::Valid((), vote) => self.report.vote = vote,
            Kept::Damaged => self.damage(root.join(VOTE_FILE), 0, "no slot of the vote is valid"),
            Kept::Missing if empty => {}
            Kept::Missing => self.damage(root.join(VOTE_FILE), 0, "the vote is missing beside a log"),
        }
        match marks {
            Kept::Valid((), marks) => {
                self.report.synced = marks.synced;
                self.report.committed_count = marks.committed_count;
                (self.report.clean, self.report.quarantined) = (marks.clean, marks.quarantined);
                return Ok(Some(marks));
            }
            Kept::Damaged => self.damage(root.join(MARKS_FILE), 0, "no slot of the marks is valid"),
            Kept::Missing if empty => {}
            Kept::Missing => self.damage(root.join(MARKS_FILE), 0, "the marks are missing beside a log"),
        }
        Ok(None)
    }

    fn candidates(&mut self) -> Result<Vec<(u64, Candidate)>, InspectError> {
        let mut candidates = Vec::new();
        let names = self.folder.vfs.list(&self.folder.log).map_err(io_error("listing the segments"))?;
        for name in names {
            let path = self.folder.log.join(&name);
            let reading = || io_error(format!("reading {}", path.display()));
            if let Some(base) = parse_segment_name(&name) {
                let file = match self.folder.vfs.open(&path, OpenMode::Read) {
                    Ok(file) => file,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(reading()(error)),
                };
                let candidate = read_candidate(path.clone(), file, base).map_err(|error| reading()(error))?;
                candidates.push((base, candidate));
            } else if parse_spare_name(&name).is_some() {
                let file = match self.folder.vfs.open(&path, OpenMode::Read) {
                    Ok(file) => file,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(reading()(error)),
                };
                self.report.spares.0 += 1;
                self.report.spares.1 += file.size().map_err(|error| reading()(error))?;
            }
        }
        candidates.sort_by_key(|(base, _)| *base);
        Ok(candidates)
    }

    fn look_at_checkpoint_genesis(&mut self, candidates: &[(u64, Candidate)]) {
        let headers = candidates.iter().filter_map(|(_, candidate)| candidate.header.as_ref().ok());
        self.genesis = headers.map(|header| header.genesis).next();
    }

    fn read_checkpoints(&mut self) -> Result<Vec<Checkpoint>, InspectError> {
        let names = match self.folder.vfs.list(&self.folder.checkpoints) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(io_error("listing the checkpoints")(error)),
        };
        let mut found: Vec<ChainPoint> =
            names.iter().filter_map(|name| parse_checkpoint_name(name)).collect();
        found.sort_by_key(|at| (at.end, at.id.index));
        let mut checkpoints = Vec::new();
        for at in found {
            match read_checkpoint(&self.folder, self.genesis, at) {
                Ok(mut checkpoint) => {
                    // Only the head matters here; the tables may be large.
                    checkpoint.state = bytes::Bytes::new();
                    self.report.checkpoints.push((at, checkpoint.installed));
                    checkpoints.push(checkpoint);
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    let file = self.folder.checkpoints.join(checkpoint_name(at));
                    self.damage(file, 0, "the checkpoint is not as it was written");
                }
                Err(error) => {
                    return Err(io_error(format!("reading checkpoint {}", checkpoint_name(at)))(error));
                }
            }
        }
        Ok(checkpoints)
    }

    /// Reads all records from the beginning; returns where and why it ends.
    fn walk(
        &mut self,
        candidates: &[(u64, Candidate)],
        bounds: &Bounds,
    ) -> Result<(PathBuf, Stop), InspectError> {
        let mut base = bounds.start;
        let mut tail: Option<Tail> = None;
        let stop_at = |what: &str, broken| Stop { offset: 0, broken, what: what.to_owned() };
        let mut end = (self.folder.log.join(segment_name(base)), stop_at("no segment begins here", false));
        self.report.end = base;
        let mut belongs = Vec::new();
        while let Some((_, candidate)) = candidates.iter().find(|(other, _)| *other == base) {
            let header = match candidate.header {
                Ok(header) if tail.is_none_or(|tail| header.tail() == tail) => header,
                Ok(_) => {
                    end = (
                        candidate.path.clone(),
                        stop_at("the segment does not follow what comes before", true),
                    );
                    break;
                }
                Err(what) => {
                    end = (candidate.path.clone(), stop_at(what, true));
                    break;
                }
            };
            let (report, last, stop) = scan(candidate, base, header.tail())
                .map_err(io_error(format!("reading {}", candidate.path.display())))?;
            end = (candidate.path.clone(), stop);
            if report.record_count == 0 {
                break;
            }
            belongs.push(base);
            (self.report.end, self.report.last) = (last.end, last.id);
            (tail, base) = (Some(last), last.end);
            self.report.segments.push(report);
        }
        let others = candidates.iter().filter(|(base, _)| !belongs.contains(base));
        self.report.leftovers = others.map(|(_, candidate)| candidate.path.clone()).collect();
        Ok(end)
    }
}

/// Reads the records of one segment; returns also its last place and why it ends.
fn scan(candidate: &Candidate, base: u64, before: Tail) -> io::Result<(SegmentReport, Tail, Stop)> {
    let mut report = SegmentReport {
        file: candidate.path.clone(),
        base,
        end: base,
        entries: None,
        record_count: 0,
        last_time_ms: 0,
        file_size: candidate.file.size()?,
    };
    let mut scanner = Scanner::new(&*candidate.file, base, before)?;
    loop {
        match scanner.next()? {
            Step::Record(record) => {
                let first = report.entries.map_or(record.id(), |(first, _)| first);
                report.entries = Some((first, record.id()));
                report.record_count += 1;
                report.last_time_ms = record.time_ms();
                report.end = record.end_position();
            }
            Step::Stop(stop) => return Ok((report, scanner.tail(), stop)),
        }
    }
}

fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> InspectError {
    let what = what.into();
    move |source| InspectError::Io { what, source }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_none = |id: Option<LogId>| id.map_or("none".to_owned(), |id| id.to_string());
        writeln!(f, "log         {}", self.dir.display())?;
        if let Some(identity) = &self.identity {
            let formed = if identity.formed { "formed" } else { "not formed" };
            writeln!(
                f,
                "node        {} of {}/{}, {formed}",
                identity.node, identity.cluster, identity.group
            )?;
        }
        match self.vote {
            None => writeln!(f, "vote        none")?,
            Some(vote) => {
                let kind = if vote.committed { "leader" } else { "candidate" };
                writeln!(f, "vote        term {}, {kind} {}", vote.term, NodeId(vote.node))?;
            }
        }
        writeln!(f, "entries     last {} (term.index), purged {}", or_none(self.last), or_none(self.purged))?;
        writeln!(f, "committed   {} entries at least", self.committed_count)?;
        let closed = if self.clean { "closed in order" } else { "open or killed" };
        let quarantined = if self.quarantined { ", quarantined" } else { "" };
        writeln!(
            f,
            "positions   end {}, synced to {} at least, {closed}{quarantined}",
            self.end, self.synced
        )?;
        writeln!(
            f,
            "segments    {}, and {} spare ({} bytes)",
            self.segments.len(),
            self.spares.0,
            self.spares.1
        )?;
        for segment in &self.segments {
            let (first, last) =
                segment.entries.map_or((None, None), |(first, last)| (Some(first), Some(last)));
            writeln!(
                f,
                "  {:020}  {:>12} .. {:<12} {:>9} records {:>12} of {} bytes",
                segment.base,
                or_none(first),
                or_none(last),
                segment.record_count,
                segment.end - segment.base,
                segment.file_size
            )?;
        }
        writeln!(
            f,
            "checkpoints {}, boundary {}",
            self.checkpoints.len(),
            or_none(self.snapshot.map(|at| at.id))
        )?;
        for (at, installed) in &self.checkpoints {
            let from = if *installed { ", from another node" } else { "" };
            writeln!(f, "  at {:>12}  position {}{from}", at.id.to_string(), at.end)?;
        }
        for file in &self.leftovers {
            writeln!(f, "left over   {}", file.display())?;
        }
        if let Some(torn) = &self.torn_tail {
            writeln!(f, "torn tail   {} at byte {}: {}", torn.file.display(), torn.offset, torn.what)?;
        }
        if let Some(damage) = &self.damage {
            writeln!(f, "DAMAGE      {damage}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = &self.0;
        let records: u64 = report.segments.iter().map(|segment| segment.record_count).sum();
        let bytes: u64 = report.segments.iter().map(|segment| segment.end - segment.base).sum();
        write!(
            f,
            "{}: {records} records in {} segments, {bytes} bytes, {} checkpoints: no damage",
            report.dir.display(),
            report.segments.len(),
            report.checkpoints.len()
        )?;
        if let Some(torn) = &report.torn_tail {
            write!(
                f,
                "; a record cut short in {} at byte {} is no damage",
                torn.file.display(),
                torn.offset
            )?;
        }
        Ok(())
    }
}

//! The look itself: file after file, nothing opened for writing.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::{InspectError, Report, SegmentReport};
use crate::identity::{Identity, IdentityError};
use crate::log::bounds::{BOUNDS_FILE, Bounds};
use crate::log::checkpoint::{
    Checkpoint, checkpoint_name, copy_name, parse_checkpoint_name, parse_copy_name, read_checkpoint,
    read_copy,
};
use crate::log::files::parse_spare_name;
use crate::log::folder::{Candidate, read_candidate};
use crate::log::marks::{Kept, MARKS_FILE, Marks, MarksFile, VOTE_FILE, VoteFile};
use crate::log::scan::{Scanner, Step, Stop, Tail};
use crate::log::segment::{parse_segment_name, segment_name};
use crate::log::shared::Folder;
use crate::log::{Damage, TornTail};
use crate::types::ChainPoint;
use crate::vfs::OpenMode;

/// A look in progress; the first damage stays.
pub(super) struct Looking {
    folder: Arc<Folder>,
    report: Report,
    /// The group's own value, as the first readable file has it.
    genesis: Option<u32>,
}

impl Looking {
    pub(super) fn new(folder: Arc<Folder>) -> Self {
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

    pub(super) fn look(mut self) -> Result<Report, InspectError> {
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
        for at in names.iter().filter_map(|name| parse_copy_name(name)) {
            match read_copy(&self.folder, self.genesis, at) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    let file = self.folder.checkpoints.join(copy_name(at));
                    self.damage(file, 0, "the checkpoint's copy is not as it was written");
                }
                Err(error) => return Err(io_error(format!("reading {}", copy_name(at)))(error)),
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

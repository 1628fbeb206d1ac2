//! The walk through the segments of a log that is being opened.

use std::path::PathBuf;
use std::sync::Arc;

use super::bounds::Bounds;
use super::folder::{Candidate, Candidates};
use super::index::View;
use super::marks::Marks;
use super::recovery::{RecoveryVisitor, TornTail};
use super::ring::Ring;
use super::scan::{Scanner, Step, Stop, Tail};
use super::segment::{Segment, SegmentHeader, segment_name};
use super::shared::Folder;
use super::start::Start;
use super::{Damage, OpenError};
use crate::record::Record;
use crate::types::{ChainPoint, EntryKind, LogId, Stamper};

/// A walk that is about to begin.
pub(super) struct Walk<'a> {
    folder: &'a Arc<Folder>,
    candidates: &'a Candidates,
    bounds: &'a Bounds,
    start: &'a Start,
    walked: Walked,
}

/// What a walk found.
#[derive(Debug)]
pub(super) struct Walked {
    pub(super) segments: Vec<Arc<Segment>>,
    pub(super) terms: Vec<LogId>,
    pub(super) tail: Tail,
    pub(super) last_time_ms: u64,
    pub(super) torn_tail: Option<TornTail>,
    /// The entries that a truncation may still reach, and the one before them: cutting them off later reads no file.
    pub(super) ring: Ring,
    /// Position from which every record was verified.
    pub(super) scanned_from: u64,
}

/// Why a walk goes no further.
struct End {
    file: PathBuf,
    stop: Stop,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        folder: &'a Arc<Folder>,
        candidates: &'a Candidates,
        bounds: &'a Bounds,
        start: &'a Start,
        ring_bytes_max: usize,
    ) -> Self {
        let walked = Walked {
            segments: Vec::new(),
            terms: Vec::new(),
            tail: start.tail,
            last_time_ms: start.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.time_ms),
            torn_tail: None,
            ring: Ring::new(start.tail.next_index(), ring_bytes_max),
            scanned_from: start.tail.end,
        };
        Self { folder, candidates, bounds, start, walked }
    }

    /// Shows the start and goes nowhere: the log is empty behind it.
    pub(super) fn stay(
        self,
        stamper: &mut dyn Stamper,
        visitor: &mut dyn RecoveryVisitor,
    ) -> Result<Walked, OpenError> {
        self.start_tables(stamper, visitor)?;
        Ok(self.walked)
    }

    /// Walks to the end of the log.
    pub(super) fn run(
        mut self,
        marks: &Marks,
        stamper: &mut dyn Stamper,
        visitor: &mut dyn RecoveryVisitor,
    ) -> Result<Walked, OpenError> {
        self.start_tables(stamper, visitor)?;
        let first = self.walk_older()?;
        self.walked.scanned_from = first;
        let end = self.scan_from(first, marks, stamper, visitor)?;
        let tail = self.walked.tail;
        if tail.end < marks.synced {
            let what = format!("{}; the log is synced to position {}", end.stop.what, marks.synced);
            return Err(Damage { file: end.file, offset: end.stop.offset, what }.into());
        }
        if let Some(last) = self.walked.segments.last() {
            // What looked like a successor may have turned out to be none: the last segment's index grows again.
            last.make_resident().map_err(OpenError::io(format!("reading {}", last.path().display())))?;
        }
        if end.stop.broken {
            self.walked.torn_tail = Some(TornTail {
                file: end.file,
                offset: end.stop.offset,
                position: tail.end,
                what: end.stop.what,
            });
        }
        Ok(self.walked)
    }

    fn start_tables(
        &self,
        stamper: &mut dyn Stamper,
        visitor: &mut dyn RecoveryVisitor,
    ) -> Result<(), OpenError> {
        let tail = self.start.tail;
        let failed =
            |source| OpenError::Stamp { id: tail.id.unwrap_or(LogId::new(0, 0)), position: tail.end, source };
        match &self.start.checkpoint {
            Some(checkpoint) => {
                visitor.checkpoint(checkpoint).map_err(OpenError::Refused)?;
                stamper.reset(&checkpoint.state).map_err(failed)
            }
            None => stamper.reset(&[]).map_err(failed),
        }
    }

    /// Takes in the segments that end at or before the start, by their views; returns the base of the first segment
    /// that has to be scanned.
    fn walk_older(&mut self) -> Result<u64, OpenError> {
        let start = self.start.tail;
        let mut older = self.candidates.between(self.bounds.start, start.end);
        let next = self.candidates.get(start.end).and_then(|candidate| candidate.header.as_ref().ok());
        let follows = next.is_some_and(|header| header.tail() == start);
        // Where no segment begins at the start, the last one before it contains it and is scanned as a whole.
        let containing = if follows { None } else { older.pop().map(|(base, _)| base) };
        let scan_base = containing.unwrap_or(start.end);
        if let Some((base, candidate)) = older.first()
            && *base != self.bounds.start
        {
            let what = format!("the log begins at position {}, this is the first file", self.bounds.start);
            return Err(Damage { file: candidate.path.clone(), offset: 0, what }.into());
        }
        for (at, (base, candidate)) in older.iter().enumerate() {
            let next = match older.get(at + 1) {
                Some((_, next)) => next.header.as_ref().ok().and_then(|header| header.prev),
                None if follows => start.point(),
                None => self
                    .candidates
                    .get(scan_base)
                    .and_then(|next| next.header.as_ref().ok())
                    .and_then(|h| h.prev),
            };
            self.take_older(*base, candidate, next)?;
        }
        Ok(scan_base)
    }

    fn take_older(
        &mut self,
        base: u64,
        candidate: &Candidate,
        end: Option<ChainPoint>,
    ) -> Result<(), OpenError> {
        let header = self.chained_header(candidate)?;
        let damage = |offset, what: String| Damage { file: candidate.path.clone(), offset, what };
        let end = end.ok_or_else(|| damage(0, "the segment behind this one is damaged".into()))?;
        let io = || OpenError::io(format!("reading {}", candidate.path.display()));
        let view = View::load(self.folder, base)
            .filter(|view| view.last == end && view.first_index == header.first_index);
        let segment = match view {
            Some(view) => {
                let sealed =
                    Segment::sealed(Arc::clone(self.folder), header, Arc::clone(&candidate.file), &view);
                view.terms.iter().for_each(|id| self.add_term(*id));
                Arc::new(sealed.map_err(|error| io()(error))?)
            }
            None => {
                let segment = self.open_segment(header, candidate).map_err(|error| io()(error))?;
                let mut scanner =
                    Scanner::new(&*candidate.file, base, header.tail()).map_err(|error| io()(error))?;
                let terms_before = self.walked.terms.len();
                while scanner.tail().end < end.end {
                    match scanner.next().map_err(|error| io()(error))? {
                        Step::Record(record) => self.index(&segment, &record),
                        Step::Stop(stop) => return Err(damage(stop.offset, stop.what).into()),
                    }
                }
                if scanner.tail().point() != Some(end) {
                    return Err(
                        damage(segment.offset(end.end), "the next segment does not follow".into()).into()
                    );
                }
                self.write_view(&segment, terms_before, u64::MAX);
                segment
            }
        };
        self.walked.tail = segment.last();
        self.walked.segments.push(segment);
        Ok(())
    }

    /// The header of a segment that has to be there and to follow the one before.
    fn chained_header(&self, candidate: &Candidate) -> Result<SegmentHeader, OpenError> {
        let damage = |what: String| Damage { file: candidate.path.clone(), offset: 0, what };
        let header = candidate.header.map_err(|what| damage(what.into()))?;
        match self.walked.segments.last() {
            Some(before) if before.last() != header.tail() => {
                Err(damage("the segment does not follow the one before".into()).into())
            }
            _ => Ok(header),
        }
    }

    /// Scans the segment at `base` and all that follow.
    fn scan_from(
        &mut self,
        base: u64,
        marks: &Marks,
        stamper: &mut dyn Stamper,
        visitor: &mut dyn RecoveryVisitor,
    ) -> Result<End, OpenError> {
        let mut expected = (base == self.start.tail.end).then_some(self.start.tail);
        let mut end = self.end_at(base, "no segment begins here", false);
        self.walked.tail = self.start.tail;
        let mut base = base;
        while let Some(candidate) = self.candidates.get(base) {
            let header = match candidate.header {
                Ok(header) if expected.is_none_or(|tail| header.tail() == tail) => header,
                Ok(_) => return Ok(self.end_at(base, "the segment does not follow what comes before", true)),
                Err(what) => return Ok(self.end_at(base, what, true)),
            };
            let io = || OpenError::io(format!("scanning {}", candidate.path.display()));
            let segment = self.open_segment(header, candidate).map_err(|error| io()(error))?;
            let terms_before = self.walked.terms.len();
            let mut scanner =
                Scanner::new(&*candidate.file, base, header.tail()).map_err(|error| io()(error))?;
            let stop = loop {
                match scanner.next().map_err(|error| io()(error))? {
                    Step::Record(record) => {
                        self.index(&segment, &record);
                        if record.position() >= self.start.tail.end {
                            self.show(&record, marks, stamper, visitor)?;
                        }
                    }
                    Step::Stop(stop) => break stop,
                }
            };
            end = End { file: candidate.path.clone(), stop };
            if segment.last_index().is_none() {
                break;
            }
            let tail = segment.last();
            self.walked.tail = tail;
            if self.candidates.get(tail.end).is_some() {
                self.write_view(&segment, terms_before, marks.committed_count);
            }
            self.walked.segments.push(segment);
            (base, expected) = (tail.end, Some(tail));
        }
        Ok(end)
    }

    fn end_at(&self, base: u64, what: &str, broken: bool) -> End {
        let stop = Stop { offset: 0, broken, what: what.into() };
        End { file: self.folder.log.join(segment_name(base)), stop }
    }

    fn show(
        &mut self,
        record: &Record,
        marks: &Marks,
        stamper: &mut dyn Stamper,
        visitor: &mut dyn RecoveryVisitor,
    ) -> Result<(), OpenError> {
        if record.kind() == EntryKind::Application {
            let observed =
                stamper.observe(record.payload_slice(), record.payload_position(), record.time_ms());
            observed.map_err(|source| OpenError::Stamp {
                id: record.id(),
                position: record.position(),
                source,
            })?;
        }
        self.walked.last_time_ms = self.walked.last_time_ms.max(record.time_ms());
        if record.index() + 1 >= marks.committed_count {
            self.walked.ring.push(record.detached());
            self.walked.ring.evict(u64::MAX);
        }
        visitor.record(record, record.index() < marks.committed_count).map_err(OpenError::Refused)
    }

    fn open_segment(&self, header: SegmentHeader, candidate: &Candidate) -> std::io::Result<Arc<Segment>> {
        let segment = Segment::new(Arc::clone(self.folder), header, candidate.file.size()?);
        segment.attach(Arc::clone(&candidate.file));
        Ok(Arc::new(segment))
    }

    fn index(&mut self, segment: &Segment, record: &Record) {
        segment.push(record);
        self.add_term(record.id());
    }

    fn add_term(&mut self, id: LogId) {
        if self.walked.terms.last().is_none_or(|last| last.term != id.term) {
            self.walked.terms.push(id);
        }
    }

    /// Writes the view of a segment that was scanned; without it the next start scans again, no more. What may still be
    /// truncated stays in memory.
    fn write_view(&self, segment: &Segment, terms_before: usize, committed_count: u64) {
        let terms = self.walked.terms[terms_before.saturating_sub(1)..].to_vec();
        match segment.write_view(terms) {
            Ok(Some(written)) if written.last_index() < committed_count => {
                segment.release_positions(&written);
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, segment = segment.base(), "view not written"),
        }
    }
}

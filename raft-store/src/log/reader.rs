//! Reads from any thread: the newest records from memory, older ones from the mapped files.
//!
//! Bytes of the mapping are handed out only of committed entries, because those never change again, and only while they are
//! in memory; what may still be truncated, or has to be fetched from the disk, is copied by the thread that reads it. Whatever comes from a file is compared with its checksum and its place in the log first.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::segment::{Segment, Span};
use super::shared::Shared;
use crate::record::{RECORD_HEADER_SIZE, Record};
use crate::types::{ChainPoint, LogId};
use crate::vfs::DiskSpace;

/// Records whose checksum was compared lately, so that reading many messages of one record does it once.
const VERIFIED_SLOTS: usize = 4096;

/// One segment file as the log sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// The file.
    pub path: PathBuf,
    /// Position of its first record, which is its name.
    pub base: u64,
    /// Position behind its last record.
    pub end: u64,
    /// Index of its first record.
    pub first_index: u64,
    /// Index of its last record.
    pub last_index: u64,
    /// The place behind its last record.
    pub last: ChainPoint,
    /// True once a later segment exists.
    pub sealed: bool,
    /// Bytes of the file.
    pub file_size: u64,
    /// Leader time of its first record.
    pub first_time_ms: u64,
    /// Leader time of its last record.
    pub last_time_ms: u64,
}

/// Reads the log from any thread. Clones are cheap.
#[derive(Clone, Debug)]
pub struct LogReader {
    shared: Arc<Shared>,
    verified: Arc<Verified>,
}

impl LogReader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, verified: Arc::new(Verified::new()) }
    }

    /// Entries `start..end`, contiguous from `start`, at least one if `start` exists and then as many as fit
    /// `bytes_max`; fewer where the entries change from disk to memory. Empty when `start` is behind the last entry or
    /// `end <= start`. Blocks unless [`LogReader::in_memory`] says otherwise.
    ///
    /// # Errors
    /// `NotFound` when `start` is purged; `InvalidData` with a [`super::Damage`] when the disk gives other bytes than
    /// were written.
    pub fn entries(&self, start: u64, end: u64, bytes_max: usize) -> io::Result<Vec<Record>> {
        let (segment, end) = {
            let view = self.shared.view.read();
            let end = end.min(view.tail.next_index());
            if start >= end {
                return Ok(Vec::new());
            }
            if start < view.first_index() {
                return Err(not_found(format!("entry {start} is purged")));
            }
            let recent = view.ring.range(start, end, bytes_max);
            if !recent.is_empty() {
                return Ok(recent);
            }
            let segment = view.segment_of(start).expect("every entry of the log has a segment");
            // What is in memory may not have reached the file yet.
            (Arc::clone(segment), end.min(view.ring.first_index()))
        };
        self.still_there(&segment, start, self.entries_of(&segment, start, end, bytes_max))
    }

    /// True when reading from `start` touches no disk.
    pub fn in_memory(&self, start: u64) -> bool {
        let view = self.shared.view.read();
        start >= view.ring.first_index() || start < view.first_index()
    }

    /// Room on the file system that holds the log. Asks the operating system.
    ///
    /// # Errors
    /// As the operating system reports.
    pub fn disk_space(&self) -> io::Result<DiskSpace> {
        self.shared.folder.vfs.space(&self.shared.folder.root)
    }

    /// Id of an entry, from memory; also that of the last purged one. `None` when the log does not know it.
    pub fn log_id(&self, index: u64) -> Option<LogId> {
        self.shared.view.read().log_id(index)
    }

    /// Last entry, or the last purged one when no other is left.
    pub fn last(&self) -> Option<LogId> {
        self.shared.view.read().tail.id
    }

    /// Last purged entry.
    pub fn purged(&self) -> Option<LogId> {
        self.shared.view.read().purged
    }

    /// Index of the first entry that can be read.
    pub fn first_index(&self) -> u64 {
        self.shared.view.read().first_index()
    }

    /// `first`, the first entry of each later term up to `last`, oldest first, from memory. Empty when the log does not
    /// hold `first`.
    pub fn term_starts(&self, first: u64, last: u64) -> Vec<LogId> {
        let view = self.shared.view.read();
        let Some(id) = view.log_id(first) else { return Vec::new() };
        let from = view.terms.partition_point(|start| start.index <= first);
        let later = view.terms[from..].iter().take_while(|start| start.index <= last);
        std::iter::once(id).chain(later.copied()).collect()
    }

    /// Bytes inside one record's payload, from memory only; never blocks. `None` when they are not there.
    pub fn read_recent(&self, position: u64, size: u32) -> Option<Bytes> {
        self.shared.view.read().ring.payload_range(position, size)
    }

    /// Bytes inside one record's payload. May block: call it where that is allowed.
    ///
    /// # Errors
    /// `NotFound` when the range is not inside one retained record; `InvalidData` with a [`super::Damage`] when the
    /// record's checksum differs.
    pub fn read(&self, position: u64, size: u32) -> io::Result<Bytes> {
        let segment = {
            let view = self.shared.view.read();
            if let Some(bytes) = view.ring.payload_range(position, size) {
                return Ok(bytes);
            }
            let segment = view.segment_at(position).filter(|segment| segment.base() <= position);
            Arc::clone(segment.ok_or_else(|| not_found(format!("position {position} is not in the log")))?)
        };
        let outside = || not_found(format!("{size} bytes at position {position} are not inside one payload"));
        let span = segment.span_around(position)?.ok_or_else(outside)?;
        if span.index < self.first_index() {
            return Err(not_found(format!("position {position} is purged")));
        }
        let end = position.checked_add(u64::from(size)).filter(|end| *end <= span.end).ok_or_else(outside)?;
        if position < span.start + RECORD_HEADER_SIZE as u64 {
            return Err(outside());
        }
        self.still_there(&segment, span.index, self.read_span(&segment, span, position, end))
    }

    /// Positions of the first retained record and behind the last one.
    pub fn bounds(&self) -> (u64, u64) {
        let view = self.shared.view.read();
        (view.segments.first().map_or(view.tail.end, |segment| segment.base()), view.tail.end)
    }

    /// Position up to which the log is known to be on the disk.
    pub fn synced(&self) -> u64 {
        self.shared.progress.lock().synced
    }

    /// Position up to which the log has been handed to the operating system.
    pub fn written(&self) -> u64 {
        self.shared.progress.lock().written
    }

    /// All segments, oldest first.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        let view = self.shared.view.read();
        let count = view.segments.len();
        view.segments.iter().enumerate().filter_map(|(at, segment)| info(segment, at + 1 < count)).collect()
    }

    /// The segment that holds an entry.
    pub fn segment_of(&self, index: u64) -> Option<SegmentInfo> {
        let view = self.shared.view.read();
        let segment = view.segment_of(index).filter(|_| index >= view.first_index())?;
        info(segment, view.segments.last().is_some_and(|last| !Arc::ptr_eq(last, segment)))
    }

    /// The place behind an entry that the log holds. May block.
    ///
    /// # Errors
    /// `NotFound` when the log does not hold the entry; otherwise as [`LogReader::entries`].
    pub fn point(&self, index: u64) -> io::Result<ChainPoint> {
        {
            let view = self.shared.view.read();
            if let Some(point) = view.tail.point().filter(|point| point.id.index == index) {
                return Ok(point);
            }
            // The last entry of a segment is in the next one's header, also when its own file is gone.
            let known = view.segments.iter().filter_map(|segment| segment.header.prev);
            if let Some(point) = known.into_iter().find(|point| point.id.index == index) {
                return Ok(point);
            }
        }
        self.held_entry(index).map(|record| record.point())
    }

    /// An entry that the files still hold, purged or not. May block.
    pub(super) fn held_entry(&self, index: u64) -> io::Result<Record> {
        let segment = {
            let view = self.shared.view.read();
            if let Some(record) = view.ring.get(index) {
                return Ok(record.clone());
            }
            view.segment_of(index).cloned()
        };
        let gone = || not_found(format!("entry {index} is not in the log"));
        let segment = segment.ok_or_else(gone)?;
        self.entries_of(&segment, index, index + 1, 0)?.pop().ok_or_else(gone)
    }

    fn entries_of(
        &self,
        segment: &Segment,
        start: u64,
        end: u64,
        bytes_max: usize,
    ) -> io::Result<Vec<Record>> {
        let gone = || not_found(format!("entry {start} is gone"));
        let first = segment.span(start)?.ok_or_else(gone)?;
        let stable_first = self.shared.is_committed(start);
        let mut last = first;
        while last.index + 1 < end
            && let Some(next) = segment.span(last.index + 1)?
            && next.end - first.start <= bytes_max as u64
            && self.shared.is_committed(next.index) == stable_first
        {
            last = next;
        }
        let mut bytes = segment.bytes(first.start, last.end, stable_first)?;
        let mut records = Vec::with_capacity((last.index - first.index + 1) as usize);
        let mut position = first.start;
        for index in first.index..=last.index {
            let record = Record::split_from(&mut bytes).and_then(|record| record.verify().map(|()| record));
            let damaged = |what: String| segment.damaged(segment.offset(position), &what);
            let record = record.map_err(|error| damaged(error.to_string()))?;
            if record.index() != index || record.position() != position {
                return Err(damaged(format!(
                    "a record of index {} at {}",
                    record.index(),
                    record.position()
                )));
            }
            position = record.end_position();
            records.push(record);
        }
        Ok(records)
    }

    fn read_span(&self, segment: &Segment, span: Span, position: u64, end: u64) -> io::Result<Bytes> {
        let stable = self.shared.is_committed(span.index);
        if stable && self.verified.contains(span.start) {
            return segment.bytes(position, end, true);
        }
        let record = segment.bytes(span.start, span.end, stable)?;
        let checked = Record::from_bytes(record.clone()).and_then(|record| record.verify().map(|()| record));
        let damaged = |what: String| segment.damaged(segment.offset(span.start), &what);
        let checked = checked.map_err(|error| damaged(error.to_string()))?;
        if checked.position() != span.start {
            return Err(damaged(format!("a record of position {}", checked.position())));
        }
        if stable {
            self.verified.add(span.start);
        }
        let wanted = record.slice((position - span.start) as usize..(end - span.start) as usize);
        // A short slice must not keep the whole record that was read for it.
        let small = wanted.len() < record.len() / 4;
        Ok(if small { Bytes::copy_from_slice(&wanted) } else { wanted })
    }

    /// A file that was purged or truncated while it was read may give anything: then the entry is gone, not damaged.
    fn still_there<T>(&self, segment: &Arc<Segment>, index: u64, result: io::Result<T>) -> io::Result<T> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let view = self.shared.view.read();
                let there = view.segment_of(index).is_some_and(|other| Arc::ptr_eq(other, segment));
                let stands = there && index >= view.first_index() && self.shared.is_committed(index);
                let written = segment.last_index().is_some_and(|last| index <= last);
                if stands || (there && written && index < view.ring.first_index()) {
                    Err(error)
                } else {
                    Err(not_found(format!("entry {index} is gone")))
                }
            }
            other => other,
        }
    }
}

fn info(segment: &Segment, sealed: bool) -> Option<SegmentInfo> {
    let last = segment.last().point()?;
    let (first_time_ms, last_time_ms) = segment.times_ms();
    Some(SegmentInfo {
        path: segment.path(),
        base: segment.base(),
        end: last.end,
        first_index: segment.first_index(),
        last_index: last.id.index,
        last,
        sealed,
        file_size: segment.allocated(),
        first_time_ms,
        last_time_ms,
    })
}

fn not_found(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, what)
}

/// A small lossy set of positions.
#[derive(Debug)]
struct Verified(Box<[AtomicU64]>);

impl Verified {
    fn new() -> Self {
        Self((0..VERIFIED_SLOTS).map(|_| AtomicU64::new(u64::MAX)).collect())
    }

    fn slot(&self, position: u64) -> &AtomicU64 {
        let hash = position.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 52;
        &self.0[hash as usize % VERIFIED_SLOTS]
    }

    fn contains(&self, position: u64) -> bool {
        self.slot(position).load(Ordering::Relaxed) == position
    }

    fn add(&self, position: u64) {
        self.slot(position).store(position, Ordering::Relaxed);
    }
}

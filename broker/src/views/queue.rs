//! One queue: sealed parts in files, the rest in memory.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use flotilla_core::{Appended, QueueRange};
use parking_lot::RwLock;

use super::file::ViewFile;
use super::list::UnitList;
use super::segment::Segment;
use super::signal::Signal;
use super::unit::Unit;

/// The units of one queue. Readers and the one writer may meet; a reader sees a prefix of what the writer has done.
pub struct QueueView {
    inner: RwLock<Inner>,
    signal: Arc<Signal>,
}

/// `parts` rise and don't overlap; the numbers of `tail` end at `range.max`. Numbers between that are in neither are in files
/// that are not loaded yet.
#[derive(Default)]
struct Inner {
    range: QueueRange,
    parts: Vec<Part>,
    tail: UnitList,
}

/// Units of one sealed segment.
#[derive(Clone)]
pub(super) struct Part {
    pub(super) first: i64,
    pub(super) count: u32,
    /// Number of the first unit inside the file.
    pub(super) at: u64,
    pub(super) file: Arc<ViewFile>,
}

impl Part {
    fn end(&self) -> i64 {
        self.first + i64::from(self.count)
    }
}

/// Where the next units are.
enum Found {
    Copied,
    InFile(Part),
    Missing,
    End,
}

impl Inner {
    fn tail_first(&self) -> i64 {
        self.range.max - self.tail.len() as i64
    }

    fn fits(&self, part: &Part) -> bool {
        let index = self.parts.partition_point(|other| other.end() <= part.first);
        let overlaps = self.parts.get(index).is_some_and(|next| next.first < part.end());
        let forgets = part.end() > self.tail_first();
        let covers = !forgets || part.first <= self.tail_first();
        0 <= part.first && part.end() <= self.range.max && !overlaps && covers
    }

    fn part_of(&self, offset: i64) -> Option<&Part> {
        let index = self.parts.partition_point(|part| part.end() <= offset);
        self.parts.get(index).filter(|part| part.first <= offset)
    }
}

impl QueueView {
    pub(super) fn new(signal: Arc<Signal>) -> Self {
        Self { inner: RwLock::default(), signal }
    }

    /// The numbers that can be read: all that is applied and not yet given up.
    pub fn range(&self) -> QueueRange {
        self.inner.read().range
    }

    /// True when [`QueueView::units`] from this offset on finds its first unit in memory, so that it touches no file.
    pub fn in_memory(&self, offset: i64) -> bool {
        let inner = self.inner.read();
        offset >= inner.tail_first()
    }

    /// Appends the units from an offset on, at most `max_count`, without a hole; none when the offset is not below the queue's
    /// end. Fewer come only at the end of the queue or where the rest is being rebuilt. May read a file.
    ///
    /// # Errors
    /// `WouldBlock` when the first unit is not known yet or its file has just been found damaged: it is being rebuilt, ask
    /// again soon. Otherwise what reading the file gave.
    pub fn units(&self, offset: i64, max_count: usize, out: &mut Vec<Unit>) -> io::Result<()> {
        let start = out.len();
        loop {
            let done = out.len() - start;
            let (next, left) = (offset + done as i64, max_count - done);
            if left == 0 {
                return Ok(());
            }
            match self.find(next, left, out) {
                Found::Copied => {}
                Found::End => return Ok(()),
                Found::Missing if done > 0 => return Ok(()),
                Found::Missing => return Err(rebuilding("its view is being rebuilt")),
                Found::InFile(part) => {
                    let skip = (next - part.first).cast_unsigned();
                    let count = left.min((u64::from(part.count) - skip) as usize);
                    if let Err(error) = part.file.read(part.at + skip, count, out) {
                        self.signal.wake();
                        out.truncate(start + done);
                        return if done > 0 { Ok(()) } else { Err(error) };
                    }
                }
            }
        }
    }

    fn find(&self, offset: i64, count: usize, out: &mut Vec<Unit>) -> Found {
        let inner = self.inner.read();
        let tail_first = inner.tail_first();
        if offset >= inner.range.max {
            return Found::End;
        }
        if offset >= tail_first {
            inner.tail.copy((offset - tail_first) as usize, count, out);
            return Found::Copied;
        }
        // The file is read after the lock is gone.
        inner.part_of(offset).map_or(Found::Missing, |part| Found::InFile(part.clone()))
    }

    pub(super) fn start_at(&self, range: QueueRange) {
        *self.inner.write() = Inner { range, ..Inner::default() };
    }

    /// Takes in messages that continue the queue.
    pub(super) fn append(&self, messages: &[Appended]) {
        let mut inner = self.inner.write();
        for message in messages {
            let Appended { topic, queue_id, queue_offset, .. } = message;
            assert_eq!(
                *queue_offset, inner.range.max,
                "{topic} queue {queue_id} continues elsewhere in its view"
            );
            inner.tail.push(Unit::of(message));
            inner.range.max += 1;
        }
    }

    pub(super) fn raise_minimum(&self, min: i64) {
        let mut inner = self.inner.write();
        inner.range.min = min.min(inner.range.max).max(inner.range.min);
    }

    /// Number of the first unit in memory, and which units, counted from it, lie in a segment.
    pub(super) fn memory_of(&self, segment: &Segment) -> (i64, Range<usize>) {
        let inner = self.inner.read();
        let range = inner.tail.count_below(segment.base)..inner.tail.count_below(segment.end);
        (inner.tail_first(), range)
    }

    /// Appends encoded units from memory; true when all `count` were there.
    pub(super) fn copy_memory(&self, first: i64, count: u32, out: &mut Vec<u8>) -> bool {
        let inner = self.inner.read();
        let Ok(mut index) = usize::try_from(first - inner.tail_first()) else { return false };
        let end = index + count as usize;
        while index < end {
            let piece = inner.tail.piece(index, end - index);
            if piece.is_empty() {
                return false;
            }
            out.extend_from_slice(piece);
            index += piece.len() / super::UNIT_SIZE;
        }
        true
    }

    /// True when a part fits the numbers of the queue, lies on no other part, and covers what memory would forget for it.
    pub(super) fn fits(&self, part: &Part) -> bool {
        self.inner.read().fits(part)
    }

    /// Adds a file's part and forgets what memory holds of it. Only appends have come since it was found to fit.
    pub(super) fn attach(&self, part: Part) {
        let mut inner = self.inner.write();
        assert!(inner.fits(&part), "units {} to {} don't fit their queue", part.first, part.end());
        let in_memory = part.end() - inner.tail_first();
        if in_memory > 0 {
            inner.tail.drop_front(usize::try_from(in_memory).expect("positive, as just seen"));
        }
        let index = inner.parts.partition_point(|other| other.end() <= part.first);
        inner.parts.insert(index, part);
    }

    /// Forgets the part of a file.
    pub(super) fn detach(&self, file: &Arc<ViewFile>) {
        self.inner.write().parts.retain(|part| !Arc::ptr_eq(&part.file, file));
    }

    /// Forgets the units in memory that lie below a log position.
    pub(super) fn forget_memory(&self, position: u64) {
        let mut inner = self.inner.write();
        let count = inner.tail.count_below(position);
        inner.tail.drop_front(count);
    }

    /// Puts units before those in memory. False, and nothing changed, when they don't end where memory begins.
    pub(super) fn prepend(&self, first: i64, units: &[Unit]) -> bool {
        let mut inner = self.inner.write();
        if first + units.len() as i64 != inner.tail_first() {
            return false;
        }
        let mut rest = Vec::with_capacity(inner.tail.len());
        inner.tail.copy(0, usize::MAX, &mut rest);
        inner.tail = UnitList::default();
        for unit in units.iter().chain(&rest) {
            inner.tail.push(*unit);
        }
        true
    }
}

pub(super) fn rebuilding(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::WouldBlock, what)
}

//! One segment of the log: its file, how far it reaches, where its records lie. The file itself: [`super::segment_header`].
//!
//! A segment in memory always holds at least one record. Its file never gets shorter.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::RwLock;

use super::index::{Positions, View};
use super::scan::{Scanner, Step, Tail};
pub(crate) use super::segment_header::{
    SEGMENT_HEADER_SIZE, SegmentHeader, parse_segment_name, segment_name,
};
use super::shared::Folder;
use crate::record::Record;
use crate::types::{ChainPoint, LogId};
use crate::vfs::{Mapping, MappingWatch, VfsFile};

/// A segment that belongs to the log.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) header: SegmentHeader,
    folder: Arc<Folder>,
    /// Bytes of the file as allocated; a follower may have to write beyond.
    allocated: AtomicU64,
    file: OnceLock<Arc<dyn VfsFile>>,
    map: OnceLock<Option<Mapping>>,
    state: RwLock<State>,
}

/// What grows and shrinks with the records.
#[derive(Debug)]
pub(super) struct State {
    /// Behind the last record; for an empty segment what its first record follows.
    pub(super) last: Tail,
    pub(super) first_time_ms: u64,
    pub(super) last_time_ms: u64,
    pub(super) positions: Positions,
}

/// One record's place in its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) index: u64,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Segment {
    /// A segment without records; its file comes later, with [`Segment::attach`].
    pub(crate) fn new(folder: Arc<Folder>, header: SegmentHeader, allocated: u64) -> Self {
        let state = State {
            last: header.tail(),
            first_time_ms: 0,
            last_time_ms: 0,
            positions: Positions::Memory(Vec::new()),
        };
        Self {
            header,
            folder,
            allocated: AtomicU64::new(allocated),
            file: OnceLock::new(),
            map: OnceLock::new(),
            state: RwLock::new(state),
        }
    }

    /// A sealed segment whose view says what it holds.
    pub(crate) fn sealed(
        folder: Arc<Folder>,
        header: SegmentHeader,
        file: Arc<dyn VfsFile>,
        view: &View,
    ) -> io::Result<Self> {
        let segment = Self::new(folder, header, file.size()?);
        {
            let mut state = segment.state.write();
            state.last = view.last.into();
            state.first_time_ms = view.first_time_ms;
            state.last_time_ms = view.last_time_ms;
            state.positions = Positions::OnDisk;
        }
        segment.attach(file);
        Ok(segment)
    }

    /// Gives the segment its open file.
    pub(crate) fn attach(&self, file: Arc<dyn VfsFile>) {
        assert!(self.file.set(file).is_ok(), "a segment gets its file once");
    }

    /// The open file. It is there for every record that has been written.
    pub(crate) fn file(&self) -> &Arc<dyn VfsFile> {
        self.file.get().expect("a written segment has a file")
    }

    pub(crate) fn base(&self) -> u64 {
        self.header.base
    }

    pub(crate) fn first_index(&self) -> u64 {
        self.header.first_index
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.log.join(segment_name(self.base()))
    }

    pub(crate) fn allocated(&self) -> u64 {
        self.allocated.load(Ordering::Relaxed)
    }

    /// Behind the last record.
    pub(crate) fn last(&self) -> Tail {
        self.state.read().last
    }

    pub(crate) fn end(&self) -> u64 {
        self.last().end
    }

    /// Index of the last record.
    pub(crate) fn last_index(&self) -> Option<u64> {
        let next = self.last().next_index();
        (next > self.first_index()).then(|| next - 1)
    }

    pub(crate) fn times_ms(&self) -> (u64, u64) {
        let state = self.state.read();
        (state.first_time_ms, state.last_time_ms)
    }

    /// Byte in the file of a position.
    pub(crate) fn offset(&self, position: u64) -> u64 {
        SEGMENT_HEADER_SIZE + (position - self.base())
    }

    /// Position up to which the allocated file has room.
    pub(crate) fn room_end(&self) -> u64 {
        self.base() + self.allocated().saturating_sub(SEGMENT_HEADER_SIZE)
    }

    /// Takes a record in at the end.
    pub(crate) fn push(&self, record: &Record) {
        let state = &mut *self.state.write();
        let relative = u32::try_from(record.position() - self.base()).expect("a segment is at most 4 GiB");
        let Positions::Memory(positions) = &mut state.positions else {
            unreachable!("the index of the last segment is in memory");
        };
        // The record of index 0 has no time.
        if state.first_time_ms == 0 {
            state.first_time_ms = record.time_ms();
        }
        positions.push(relative);
        state.last_time_ms = record.time_ms();
        state.last.advance(record);
        self.allocated.fetch_max(SEGMENT_HEADER_SIZE + (state.last.end - self.base()), Ordering::Relaxed);
    }

    /// Drops the records behind `last`, which must be one of this segment's.
    pub(crate) fn truncate(&self, last: ChainPoint, last_time_ms: u64) -> io::Result<()> {
        self.load_positions()?;
        let state = &mut *self.state.write();
        let count = (last.id.index + 1 - self.first_index()) as usize;
        let positions = state.positions.to_vec();
        state.positions = Positions::Memory(positions[..count].to_vec());
        state.last = last.into();
        state.last_time_ms = last_time_ms;
        Ok(())
    }

    /// Makes the index of a segment that becomes the last one again ready to grow.
    pub(crate) fn make_resident(&self) -> io::Result<()> {
        self.load_positions()?;
        let state = &mut *self.state.write();
        if !matches!(state.positions, Positions::Memory(_)) {
            state.positions = Positions::Memory(state.positions.to_vec());
        }
        Ok(())
    }

    /// Place of an entry of this segment.
    pub(crate) fn span(&self, index: u64) -> io::Result<Option<Span>> {
        self.load_positions()?;
        let state = self.state.read();
        let Some(at) = index.checked_sub(self.first_index()) else { return Ok(None) };
        Ok(self.span_at(&state, at as usize))
    }

    /// The record around a position.
    pub(crate) fn span_around(&self, position: u64) -> io::Result<Option<Span>> {
        self.load_positions()?;
        let state = self.state.read();
        if position < self.base() || position >= state.last.end {
            return Ok(None);
        }
        let relative = position - self.base();
        let behind = state.positions.partition_point(|start| u64::from(start) <= relative);
        Ok(behind.checked_sub(1).and_then(|at| self.span_at(&state, at)))
    }

    fn span_at(&self, state: &State, at: usize) -> Option<Span> {
        let start = self.base() + u64::from(state.positions.get(at)?);
        let end = state.positions.get(at + 1).map_or(state.last.end, |next| self.base() + u64::from(next));
        Some(Span { index: self.first_index() + at as u64, start, end })
    }

    /// Bytes of a range of positions. `stable` says that they can never change again, so that the mapping may be
    /// handed out; otherwise they are copied. So is what is not in memory: whoever gets a slice touches it on a thread that
    /// must not wait for the disk.
    pub(crate) fn bytes(&self, start: u64, end: u64, stable: bool) -> io::Result<Bytes> {
        let (offset, size) = (self.offset(start), (end - start) as usize);
        if stable && let Some(map) = self.mapping()? {
            let from = offset as usize;
            if from + size <= map.bytes().len() && map.is_resident(from..from + size) {
                return Ok(map.bytes().slice(from..from + size));
            }
        }
        let mut buffer = vec![0; size];
        self.file().read_exact_at(&mut buffer, offset)?;
        Ok(buffer.into())
    }

    fn mapping(&self) -> io::Result<&Option<Mapping>> {
        if let Some(map) = self.map.get() {
            return Ok(map);
        }
        let map = self.file().map()?;
        Ok(self.map.get_or_init(|| map))
    }

    /// Tells whether slices of the mapping are still out there once this value is gone.
    pub(crate) fn watch(&self) -> MappingWatch {
        self.map.get().and_then(|map| map.as_ref().map(Mapping::watch)).unwrap_or_default()
    }

    /// Makes sure that positions can be looked up: reads the view, or scans the records where it does not fit them.
    fn load_positions(&self) -> io::Result<()> {
        let last = {
            let state = self.state.read();
            if !matches!(state.positions, Positions::OnDisk) {
                return Ok(());
            }
            state.last
        };
        let loaded = match View::load(&self.folder, self.base()) {
            Some(view) if Tail::from(view.last) == last => view.into_positions(self.first_index()),
            _ => None,
        };
        let positions = match loaded {
            Some(positions) => positions,
            None => Positions::Memory(self.scan_positions(last)?),
        };
        let mut state = self.state.write();
        if matches!(state.positions, Positions::OnDisk) {
            state.positions = positions;
        }
        Ok(())
    }

    fn scan_positions(&self, last: Tail) -> io::Result<Vec<u32>> {
        let mut scanner = Scanner::new(&**self.file(), self.base(), self.header.tail())?;
        let mut positions = Vec::new();
        while scanner.tail().end < last.end {
            match scanner.next()? {
                Step::Record(record) => positions.push((record.position() - self.base()) as u32),
                Step::Stop(stop) => return Err(self.damaged(stop.offset, &stop.what)),
            }
        }
        Ok(positions)
    }

    /// An error that names file and offset.
    pub(crate) fn damaged(&self, offset: u64, what: &str) -> io::Error {
        let damage = super::Damage { file: self.path(), offset, what: what.to_owned() };
        io::Error::new(io::ErrorKind::InvalidData, damage)
    }

    /// Writes the view of a segment that is complete. `terms` are the first entries of the terms that have entries here.
    pub(crate) fn write_view(&self, terms: Vec<LogId>) -> io::Result<Option<Written>> {
        let view = {
            let state = self.state.read();
            let (Positions::Memory(_), Some(last)) = (&state.positions, state.last.point()) else {
                return Ok(None);
            };
            View {
                base: self.base(),
                first_index: self.first_index(),
                last,
                first_time_ms: state.first_time_ms,
                last_time_ms: state.last_time_ms,
                terms,
                positions: state.positions.clone(),
                positions_crc: 0,
            }
        };
        view.store(&self.folder)?;
        Ok(Some(Written(view.last)))
    }

    /// Lets go of the positions in memory, if they are still those that were written. The caller knows that the
    /// segment is not the last one, which has to be able to grow.
    pub(crate) fn release_positions(&self, written: &Written) {
        let mut state = self.state.write();
        if state.last == Tail::from(written.0) {
            state.positions = Positions::OnDisk;
        }
    }
}

/// A view is in its file, up to this entry.
#[derive(Debug)]
pub(crate) struct Written(ChainPoint);

impl Written {
    pub(crate) fn last_index(&self) -> u64 {
        self.0.id.index
    }
}

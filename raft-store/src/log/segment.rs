//! One segment file: a header page, then records back to back.
//!
//! The file is named by the position of its first record, which stands at byte 4096 of the file; positions are dense
//! over all segments, the headers are outside of them. Header, little endian:
//!
//! | offset | size | field       | meaning                                               |
//! |-------:|-----:|-------------|-------------------------------------------------------|
//! |      0 |    4 | magic       | "FLSG"                                                |
//! |      4 |    4 | crc         | CRC-32C of the other 4088 bytes                       |
//! |      8 |    2 | version     | 1                                                     |
//! |     10 |    2 | flags       | bit 0: an entry comes before this segment             |
//! |     12 |    4 | genesis     | the group's own value, see `record::genesis_crc`      |
//! |     16 |    8 | base        | position of the first record; the file's name         |
//! |     24 |    8 | first_index | index of the first record                             |
//! |     32 |    8 | prev_term   | term of the entry before                              |
//! |     40 |    4 | prev_crc    | CRC of the record before                              |
//! |     44 |      | zeros       | up to 4096, so that no record shares the header's page |
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
use super::shared::Folder;
use crate::record::{Record, crc32c, u16_at, u32_at, u64_at};
use crate::types::{ChainPoint, LogId};
use crate::vfs::{Mapping, MappingWatch, VfsFile};

/// Bytes of a segment's header page.
pub(crate) const SEGMENT_HEADER_SIZE: u64 = 4096;
const MAGIC: &[u8; 4] = b"FLSG";
const VERSION: u16 = 1;

/// The header page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) genesis: u32,
    pub(crate) base: u64,
    pub(crate) first_index: u64,
    pub(crate) prev: Option<ChainPoint>,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut page = vec![0; SEGMENT_HEADER_SIZE as usize];
        page[8..10].copy_from_slice(&VERSION.to_le_bytes());
        page[10..12].copy_from_slice(&u16::from(self.prev.is_some()).to_le_bytes());
        page[12..16].copy_from_slice(&self.genesis.to_le_bytes());
        page[16..24].copy_from_slice(&self.base.to_le_bytes());
        page[24..32].copy_from_slice(&self.first_index.to_le_bytes());
        if let Some(prev) = self.prev {
            page[32..40].copy_from_slice(&prev.id.term.to_le_bytes());
            page[40..44].copy_from_slice(&prev.crc.to_le_bytes());
        }
        let crc = crc32c(&page[8..]);
        page[..4].copy_from_slice(MAGIC);
        page[4..8].copy_from_slice(&crc.to_le_bytes());
        page
    }

    pub(crate) fn decode(page: &[u8]) -> Result<Self, &'static str> {
        if page.len() < SEGMENT_HEADER_SIZE as usize || &page[..4] != MAGIC {
            return Err("no segment header");
        }
        let page = &page[..SEGMENT_HEADER_SIZE as usize];
        if u32_at(page, 4) != crc32c(&page[8..]) {
            return Err("the segment header's checksum differs");
        }
        if u16_at(page, 8) != VERSION {
            return Err("unknown version of the segment header");
        }
        let (base, first_index) = (u64_at(page, 16), u64_at(page, 24));
        let prev = match (u16_at(page, 10), first_index.checked_sub(1)) {
            (0, _) => None,
            (1, Some(index)) => {
                let id = LogId::new(u64_at(page, 32), index);
                Some(ChainPoint { id, end: base, crc: u32_at(page, 40) })
            }
            _ => return Err("the segment header's flags do not fit"),
        };
        Ok(Self { genesis: u32_at(page, 12), base, first_index, prev })
    }

    /// What the segment's first record follows.
    pub(crate) fn tail(&self) -> Tail {
        self.prev.map_or(Tail { id: None, end: self.base, crc: self.genesis }, Tail::from)
    }

    /// Reads the header of an open file.
    pub(crate) fn read(file: &dyn VfsFile) -> io::Result<Result<Self, &'static str>> {
        let mut page = vec![0; SEGMENT_HEADER_SIZE as usize];
        match file.read_exact_at(&mut page, 0) {
            Ok(()) => Ok(Self::decode(&page)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Ok(Err("the segment header is cut short"))
            }
            Err(error) => Err(error),
        }
    }
}

/// File name of the segment or view with this base.
pub(crate) fn segment_name(base: u64) -> String {
    format!("{base:020}")
}

/// Base of a segment by its file name.
pub(crate) fn parse_segment_name(name: &str) -> Option<u64> {
    if name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_digit()) { name.parse().ok() } else { None }
}

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn header_gives_its_fields_back_and_notices_damage() {
        for header in [
            SegmentHeader { genesis: 5, base: 0, first_index: 0, prev: None },
            SegmentHeader {
                genesis: 5,
                base: 70_000,
                first_index: 12,
                prev: Some(ChainPoint { id: LogId::new(3, 11), end: 70_000, crc: 99 }),
            },
        ] {
            let page = header.encode();
            assert_eq!(SegmentHeader::decode(&page), Ok(header));
            for byte in [0, 4, 9, 11, 13, 17, 25, 33, 41, 3000] {
                let mut changed = page.clone();
                changed[byte] ^= 0x10;
                assert!(SegmentHeader::decode(&changed).is_err(), "byte {byte}");
            }
        }
        assert!(SegmentHeader::decode(&[0; 10]).is_err());
    }

    #[test]
    fn names_are_positions() {
        assert_eq!(parse_segment_name(&segment_name(77)), Some(77));
        for name in ["spare-00000000000001", "123", "0000000000000000007x"] {
            assert_eq!(parse_segment_name(name), None);
        }
    }
}

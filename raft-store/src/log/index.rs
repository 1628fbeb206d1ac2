//! Index to position, per segment.
//!
//! In memory it is one `u32` per entry, relative to the segment's base. When a segment is sealed the numbers are
//! written to a view file of the segment's name in `idx/` and read from there when they are needed again. A view is
//! never synced: it is checked when it is used and rebuilt from the records where it does not fit them. Little endian:
//!
//! | size | field                                                                                         |
//! |-----:|-----------------------------------------------------------------------------------------------|
//! |    4 | magic "FLIX"                                                                                  |
//! |    4 | head CRC-32C: everything from the next field to the terms                                     |
//! |   80 | version u32, term count u32, base, first index, last term, last index, last end, last crc u32, |
//! |      | positions' CRC-32C u32, first time, last time, entry count                                    |
//! | 16 t | per term with entries here: term, index of its first entry                                    |
//! |  4 n | per entry: relative position                                                                  |

use std::io;

use bytes::{Buf, BufMut, Bytes};

use super::segment::segment_name;
use super::shared::Folder;
use crate::record::{crc32c, u32_at};
use crate::types::{ChainPoint, LogId};
use crate::vfs::{OpenMode, replace_unsynced};

const MAGIC: &[u8; 4] = b"FLIX";
const VERSION: u32 = 1;
const HEAD_SIZE: usize = 8 + 80;
const TERM_SIZE: usize = 16;

/// The relative positions of a segment's entries.
#[derive(Clone, Debug)]
pub(crate) enum Positions {
    Memory(Vec<u32>),
    /// Four bytes each, in a mapped view.
    View(Bytes),
    /// In a view that has not been looked at.
    OnDisk,
}

impl Positions {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Memory(positions) => positions.len(),
            Self::View(bytes) => bytes.len() / 4,
            Self::OnDisk => 0,
        }
    }

    pub(crate) fn get(&self, at: usize) -> Option<u32> {
        match self {
            Self::Memory(positions) => positions.get(at).copied(),
            Self::View(bytes) => (at < bytes.len() / 4).then(|| u32_at(bytes, at * 4)),
            Self::OnDisk => None,
        }
    }

    pub(crate) fn to_vec(&self) -> Vec<u32> {
        (0..self.len()).filter_map(|at| self.get(at)).collect()
    }

    /// Number of leading positions for which `holds` is true.
    pub(crate) fn partition_point(&self, holds: impl Fn(u32) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.get(middle).is_some_and(&holds) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

/// A segment's view.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) base: u64,
    pub(crate) first_index: u64,
    pub(crate) last: ChainPoint,
    pub(crate) first_time_ms: u64,
    pub(crate) last_time_ms: u64,
    /// First entries of the terms that have entries in this segment; the first of them may lie before it.
    pub(crate) terms: Vec<LogId>,
    pub(crate) positions: Positions,
    /// CRC-32C of the positions as the file has it; checked when they are used.
    pub(crate) positions_crc: u32,
}

impl View {
    pub(crate) fn store(&self, folder: &Folder) -> io::Result<()> {
        replace_unsynced(&*folder.vfs, &folder.index, &segment_name(self.base), &self.encode())
    }

    /// The view of a segment, with its head checked; `None` when there is none or its head is damaged.
    pub(crate) fn load(folder: &Folder, base: u64) -> Option<Self> {
        let file = folder.vfs.open(&folder.index.join(segment_name(base)), OpenMode::Read).ok()?;
        let bytes = match file.map().ok()? {
            Some(map) => map.bytes().clone(),
            None => file.read_all().ok()?,
        };
        let view = Self::decode(&bytes)?;
        (view.base == base).then_some(view)
    }

    /// The positions, if they are as they were written.
    pub(crate) fn into_positions(self, first_index: u64) -> Option<Positions> {
        let Positions::View(bytes) = &self.positions else { return None };
        (self.first_index == first_index && crc32c(bytes) == self.positions_crc).then_some(self.positions)
    }

    fn encode(&self) -> Vec<u8> {
        let count = self.positions.len();
        let mut numbers = Vec::with_capacity(4 * count);
        for at in 0..count {
            numbers.put_u32_le(self.positions.get(at).expect("below the count"));
        }
        let mut bytes = Vec::with_capacity(HEAD_SIZE + TERM_SIZE * self.terms.len() + numbers.len());
        bytes.put_slice(MAGIC);
        bytes.put_u32_le(0);
        bytes.put_u32_le(VERSION);
        bytes.put_u32_le(self.terms.len() as u32);
        for value in [self.base, self.first_index, self.last.id.term, self.last.id.index, self.last.end] {
            bytes.put_u64_le(value);
        }
        bytes.put_u32_le(self.last.crc);
        bytes.put_u32_le(crc32c(&numbers));
        for value in [self.first_time_ms, self.last_time_ms, count as u64] {
            bytes.put_u64_le(value);
        }
        debug_assert_eq!(bytes.len(), HEAD_SIZE);
        for term in &self.terms {
            bytes.put_u64_le(term.term);
            bytes.put_u64_le(term.index);
        }
        let crc = crc32c(&bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes.extend_from_slice(&numbers);
        bytes
    }

    fn decode(bytes: &Bytes) -> Option<Self> {
        if bytes.len() < HEAD_SIZE || &bytes[..4] != MAGIC || u32_at(bytes, 8) != VERSION {
            return None;
        }
        let head_size = HEAD_SIZE + TERM_SIZE.checked_mul(u32_at(bytes, 12) as usize)?;
        if bytes.len() < head_size || u32_at(bytes, 4) != crc32c(&bytes[8..head_size]) {
            return None;
        }
        let mut head = &bytes[16..head_size];
        let (base, first_index) = (head.get_u64_le(), head.get_u64_le());
        let id = LogId::new(head.get_u64_le(), head.get_u64_le());
        let last = ChainPoint { id, end: head.get_u64_le(), crc: head.get_u32_le() };
        let positions_crc = head.get_u32_le();
        let (first_time_ms, last_time_ms, count) = (head.get_u64_le(), head.get_u64_le(), head.get_u64_le());
        let mut terms = Vec::new();
        while head.has_remaining() {
            terms.push(LogId::new(head.get_u64_le(), head.get_u64_le()));
        }
        let numbers = bytes.slice(head_size..);
        if last.id.index.checked_sub(first_index)? + 1 != count || numbers.len() as u64 != 4 * count {
            return None;
        }
        let positions = Positions::View(numbers);
        Some(Self { base, first_index, last, first_time_ms, last_time_ms, terms, positions, positions_crc })
    }
}

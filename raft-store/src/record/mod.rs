//! One entry of the log as bytes, little endian; the same on disk, on the wire and on every replica.
//!
//! | offset | size | field       | meaning                                                                |
//! |-------:|-----:|-------------|------------------------------------------------------------------------|
//! |      0 |    4 | magic       | 0x474F_4C46 ("FLOG")                                                   |
//! |      4 |    1 | version     | 1                                                                      |
//! |      5 |    1 | kind        | 0 blank, 1 application, 2 membership                                   |
//! |      6 |    2 | flags       | bit 0: first record of its segment; the others are 0                   |
//! |      8 |    4 | payload_len | bytes behind the header                                                |
//! |     12 |    4 | crc         | CRC-32C of the whole record without this field                         |
//! |     16 |    8 | index       | number of the entry, from 0                                            |
//! |     24 |    8 | term        | term of the leader that appended it                                    |
//! |     32 |    8 | position    | byte address of this record in the log                                 |
//! |     40 |    8 | leader      | full node id of that leader; 0 in the record of index 0                |
//! |     48 |    8 | time_ms     | leader time, Unix milliseconds, never going back; 0 in that of index 0 |
//! |     56 |    8 | prev_term   | term of the entry before; 0 for index 0                                |
//! |     64 |    4 | prev_crc    | CRC of the record before; a value derived from the group for index 0   |
//! |     68 |    4 | spare       | 0                                                                      |
//! |     72 |    n | payload     |                                                                        |
//!
//! The last two fields chain the records: a record that was left behind by a truncation fits its place by position,
//! index and CRC, but not by the CRC of what now stands before it.

use bytes::Bytes;
use thiserror::Error;

mod checksum;
mod runs;

pub use checksum::genesis_crc;
pub(crate) use checksum::{crc32c, u16_at, u32_at, u64_at};
pub(crate) use runs::{copy_short_runs, slices_of};

use checksum::record_crc;

use crate::types::{ChainPoint, EntryKind, LogId};

/// Bytes in front of each payload.
pub const RECORD_HEADER_SIZE: usize = 72;
/// Largest payload that a record may carry.
pub const PAYLOAD_SIZE_MAX: usize = 64 << 20;

const MAGIC: u32 = u32::from_le_bytes(*b"FLOG");
const VERSION: u8 = 1;
const FLAG_STARTS_SEGMENT: u16 = 1;
const CRC_AT: usize = 12;
const _: () = assert!(PAYLOAD_SIZE_MAX + RECORD_HEADER_SIZE < u32::MAX as usize);

/// Why bytes are not a record.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum RecordError {
    /// Fewer bytes than the header or the length in it asks for.
    #[error("record needs {needed} bytes, {found} are there")]
    Short {
        /// Bytes that the record needs.
        needed: usize,
        /// Bytes that are there.
        found: usize,
    },
    /// The first four bytes are not those of a record.
    #[error("no record starts here: magic is {0:#010x}")]
    Magic(u32),
    /// A version, kind or flag that this program does not know.
    #[error("unknown record form: version {version}, kind {kind}, flags {flags:#06x}, spare {spare:#x}")]
    Form {
        /// Version in the header.
        version: u8,
        /// Kind in the header.
        kind: u8,
        /// Flags in the header.
        flags: u16,
        /// Spare field in the header.
        spare: u32,
    },
    /// The payload is longer than [`PAYLOAD_SIZE_MAX`].
    #[error("payload of {0} bytes is too long")]
    Long(usize),
    /// The checksum does not match the bytes.
    #[error("record checksum is {found:#010x}, its bytes give {computed:#010x}")]
    Checksum {
        /// Value in the header.
        found: u32,
        /// Value of the bytes.
        computed: u32,
    },
}

/// The fields of a header, apart from the checksum and the payload's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// What the payload is.
    pub kind: EntryKind,
    /// True for the first record of a segment file.
    pub starts_segment: bool,
    /// Term and index of the entry.
    pub id: LogId,
    /// Byte address of the record.
    pub position: u64,
    /// Full node id of the leader.
    pub leader: u64,
    /// Leader time in Unix milliseconds.
    pub time_ms: u64,
    /// Term of the entry before.
    pub prev_term: u64,
    /// CRC of the record before.
    pub prev_crc: u32,
}

/// A whole record, header included. A clone shares the bytes.
#[derive(Clone)]
pub struct Record {
    bytes: Bytes,
    /// The buffer that `bytes` was cut from, when its neighbours were cut from it too; else empty. Neighbours in one
    /// buffer go to the disk as one slice.
    frame: Bytes,
}

impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Record {}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Record({} at {}, {:?}, {} bytes)",
            self.id(),
            self.position(),
            self.kind(),
            self.bytes.len()
        )
    }
}

impl Record {
    /// Takes bytes that hold exactly one record. The form is checked, the checksum is not: see [`Record::verify`].
    ///
    /// # Errors
    /// The bytes are not one record of a known form.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, RecordError> {
        let size = record_size(&bytes)?;
        if bytes.len() != size {
            return Err(RecordError::Short { needed: size, found: bytes.len() });
        }
        Ok(Self { bytes, frame: Bytes::new() })
    }

    /// Takes the first record off `bytes`, as they come from a frame or a file. The checksum is not looked at.
    ///
    /// # Errors
    /// No whole record of a known form starts here; `bytes` is left as it was.
    pub fn split_from(bytes: &mut Bytes) -> Result<Self, RecordError> {
        let size = record_size(bytes)?;
        if bytes.len() < size {
            return Err(RecordError::Short { needed: size, found: bytes.len() });
        }
        let frame = if bytes.len() > size { bytes.clone() } else { Bytes::new() };
        Ok(Self { bytes: bytes.split_to(size), frame })
    }

    /// Writes the header into the first [`RECORD_HEADER_SIZE`] bytes of `bytes`, whose rest is the payload, and
    /// returns the checksum.
    ///
    /// # Panics
    /// `bytes` is shorter than a header or longer than a record may be.
    pub(crate) fn seal(bytes: &mut [u8], header: &RecordHeader) -> u32 {
        let payload_size = bytes.len() - RECORD_HEADER_SIZE;
        assert!(payload_size <= PAYLOAD_SIZE_MAX, "payload of {payload_size} bytes");
        let flags = if header.starts_segment { FLAG_STARTS_SEGMENT } else { 0 };
        bytes[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[4] = VERSION;
        bytes[5] = header.kind as u8;
        bytes[6..8].copy_from_slice(&flags.to_le_bytes());
        bytes[8..12].copy_from_slice(&(payload_size as u32).to_le_bytes());
        bytes[16..24].copy_from_slice(&header.id.index.to_le_bytes());
        bytes[24..32].copy_from_slice(&header.id.term.to_le_bytes());
        bytes[32..40].copy_from_slice(&header.position.to_le_bytes());
        bytes[40..48].copy_from_slice(&header.leader.to_le_bytes());
        bytes[48..56].copy_from_slice(&header.time_ms.to_le_bytes());
        bytes[56..64].copy_from_slice(&header.prev_term.to_le_bytes());
        bytes[64..68].copy_from_slice(&header.prev_crc.to_le_bytes());
        bytes[68..72].fill(0);
        let crc = record_crc(bytes);
        bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        crc
    }

    /// Wraps bytes that [`Record::seal`] has just finished.
    pub(crate) fn from_sealed(bytes: Bytes) -> Self {
        debug_assert_eq!(record_size(&bytes), Ok(bytes.len()));
        Self { bytes, frame: Bytes::new() }
    }

    /// A copy that holds no more memory than its own bytes.
    pub(crate) fn detached(&self) -> Self {
        Self { bytes: Bytes::copy_from_slice(&self.bytes), frame: Bytes::new() }
    }

    /// Compares the checksum with the bytes.
    ///
    /// # Errors
    /// [`RecordError::Checksum`] when they differ.
    pub fn verify(&self) -> Result<(), RecordError> {
        let computed = record_crc(&self.bytes);
        let found = self.crc();
        if found == computed { Ok(()) } else { Err(RecordError::Checksum { found, computed }) }
    }

    /// The whole record.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The record's size in bytes, header included.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The payload, a slice that shares the record's memory.
    pub fn payload(&self) -> Bytes {
        self.bytes.slice(RECORD_HEADER_SIZE..)
    }

    /// The payload, borrowed.
    pub fn payload_slice(&self) -> &[u8] {
        &self.bytes[RECORD_HEADER_SIZE..]
    }

    /// Position of payload byte 0.
    pub fn payload_position(&self) -> u64 {
        self.position() + RECORD_HEADER_SIZE as u64
    }

    /// What the payload is.
    pub fn kind(&self) -> EntryKind {
        EntryKind::from_u8(self.bytes[5]).expect("the kind is checked when a record is built")
    }

    /// True for the first record of a segment file: the entry before it was the last of its own.
    pub fn starts_segment(&self) -> bool {
        u16_at(&self.bytes, 6) & FLAG_STARTS_SEGMENT != 0
    }

    /// Checksum in the header.
    pub fn crc(&self) -> u32 {
        u32_at(&self.bytes, CRC_AT)
    }

    /// Term and index.
    pub fn id(&self) -> LogId {
        LogId { term: self.term(), index: self.index() }
    }

    /// Number of the entry in the log.
    pub fn index(&self) -> u64 {
        u64_at(&self.bytes, 16)
    }

    /// Term of the leader that appended the entry.
    pub fn term(&self) -> u64 {
        u64_at(&self.bytes, 24)
    }

    /// Byte address of the record.
    pub fn position(&self) -> u64 {
        u64_at(&self.bytes, 32)
    }

    /// Byte address just behind the record.
    pub fn end_position(&self) -> u64 {
        self.position() + self.bytes.len() as u64
    }

    /// Full node id of the leader that appended the entry.
    pub fn leader(&self) -> u64 {
        u64_at(&self.bytes, 40)
    }

    /// Leader time in Unix milliseconds.
    pub fn time_ms(&self) -> u64 {
        u64_at(&self.bytes, 48)
    }

    /// Term of the entry before; 0 for index 0.
    pub fn prev_term(&self) -> u64 {
        u64_at(&self.bytes, 56)
    }

    /// CRC of the record before; derived from the group for index 0.
    pub fn prev_crc(&self) -> u32 {
        u32_at(&self.bytes, 64)
    }

    /// The place just behind this record.
    pub fn point(&self) -> ChainPoint {
        ChainPoint { id: self.id(), end: self.end_position(), crc: self.crc() }
    }

    /// The place just before this record, which is the point of the entry before; `None` for index 0.
    pub fn previous_point(&self) -> Option<ChainPoint> {
        let index = self.index().checked_sub(1)?;
        Some(ChainPoint {
            id: LogId::new(self.prev_term(), index),
            end: self.position(),
            crc: self.prev_crc(),
        })
    }

    /// All header fields at once.
    pub fn header(&self) -> RecordHeader {
        RecordHeader {
            kind: self.kind(),
            starts_segment: self.starts_segment(),
            id: self.id(),
            position: self.position(),
            leader: self.leader(),
            time_ms: self.time_ms(),
            prev_term: self.prev_term(),
            prev_crc: self.prev_crc(),
        }
    }
}

/// Size of the record that starts with these bytes, which must hold at least its header.
///
/// # Errors
/// No record of a known form starts here. The checksum is not looked at.
pub fn record_size(bytes: &[u8]) -> Result<usize, RecordError> {
    if bytes.len() < RECORD_HEADER_SIZE {
        return Err(RecordError::Short { needed: RECORD_HEADER_SIZE, found: bytes.len() });
    }
    let magic = u32_at(bytes, 0);
    if magic != MAGIC {
        return Err(RecordError::Magic(magic));
    }
    let (version, kind, flags, spare) = (bytes[4], bytes[5], u16_at(bytes, 6), u32_at(bytes, 68));
    if version != VERSION
        || EntryKind::from_u8(kind).is_none()
        || flags & !FLAG_STARTS_SEGMENT != 0
        || spare != 0
    {
        return Err(RecordError::Form { version, kind, flags, spare });
    }
    let payload_size = u32_at(bytes, 8) as usize;
    if payload_size > PAYLOAD_SIZE_MAX {
        return Err(RecordError::Long(payload_size));
    }
    Ok(RECORD_HEADER_SIZE + payload_size)
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    pub(super) fn sample(payload: &[u8]) -> Record {
        let header = RecordHeader {
            kind: EntryKind::Application,
            starts_segment: true,
            id: LogId::new(3, 9),
            position: 4096,
            leader: 77,
            time_ms: 1_700_000_000_000,
            prev_term: 2,
            prev_crc: 0xDEAD_BEEF,
        };
        let mut bytes = vec![0xFF; RECORD_HEADER_SIZE];
        bytes.extend_from_slice(payload);
        Record::seal(&mut bytes, &header);
        let record = Record::from_bytes(bytes.into()).unwrap();
        assert_eq!(record.header(), header);
        record
    }

    #[test]
    fn a_sealed_record_gives_its_fields_back() {
        let record = sample(b"payload");
        record.verify().unwrap();
        assert_eq!(record.payload_slice(), b"payload");
        assert_eq!(record.payload_position(), 4096 + 72);
        assert_eq!(record.end_position(), 4096 + 72 + 7);
        assert_eq!(record.point().crc, record.crc());
        assert_eq!(record.previous_point().unwrap().id, LogId::new(2, 8));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let record = sample(b"twelve bytes");
        for bit in 0..record.size() * 8 {
            let mut bytes = record.bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let noticed = match Record::from_bytes(bytes.into()) {
                Ok(changed) => changed.verify().is_err(),
                Err(_) => true,
            };
            assert!(noticed, "bit {bit}");
        }
    }

    #[test]
    fn split_from_takes_one_record_and_leaves_the_rest() {
        let (first, second) = (sample(b"one"), sample(b"second"));
        let mut joined = Bytes::from([first.bytes().as_ref(), second.bytes().as_ref(), b"tail"].concat());
        assert_eq!(Record::split_from(&mut joined).unwrap(), first);
        assert_eq!(Record::split_from(&mut joined).unwrap(), second);
        assert_eq!(joined, Bytes::from_static(b"tail"));
        assert!(matches!(Record::split_from(&mut joined), Err(RecordError::Short { .. })));
        assert_eq!(joined, Bytes::from_static(b"tail"));
    }
}

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

use std::io;

use super::scan::Tail;
use crate::record::{crc32c, u16_at, u32_at, u64_at};
use crate::types::{ChainPoint, LogId};
use crate::vfs::VfsFile;

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

//! One unit: where a message lies. Big endian, as RocketMQ's consume queues have it.
//!
//! | offset | size | field          |
//! |-------:|-----:|----------------|
//! |      0 |    8 | physicalOffset |
//! |      8 |    4 | totalSize      |
//! |     12 |    8 | tagsCode       |

use flotilla_core::Appended;

/// Bytes of one unit.
pub const UNIT_SIZE: usize = 20;

/// Where a message lies and which tag it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    /// Log position of the message's first byte.
    pub physical_offset: i64,
    /// Bytes of the message.
    pub size: u32,
    pub tags_code: i64,
}

impl Unit {
    pub(super) fn of(message: &Appended) -> Self {
        Self { physical_offset: message.physical_offset, size: message.size, tags_code: message.tags_code }
    }

    #[inline]
    pub(super) fn encode(&self) -> [u8; UNIT_SIZE] {
        let mut bytes = [0; UNIT_SIZE];
        bytes[..8].copy_from_slice(&self.physical_offset.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.size.to_be_bytes());
        bytes[12..].copy_from_slice(&self.tags_code.to_be_bytes());
        bytes
    }

    #[inline]
    pub(super) fn decode(bytes: &[u8; UNIT_SIZE]) -> Self {
        let (physical_offset, rest) = bytes.split_first_chunk().expect("a unit has 20 bytes");
        let (size, rest) = rest.split_first_chunk().expect("a unit has 20 bytes");
        let (tags_code, _) = rest.split_first_chunk().expect("a unit has 20 bytes");
        Self {
            physical_offset: i64::from_be_bytes(*physical_offset),
            size: u32::from_be_bytes(*size),
            tags_code: i64::from_be_bytes(*tags_code),
        }
    }
}

/// Appends the units in `bytes`, a whole number of them.
pub(super) fn decode_all(bytes: &[u8], out: &mut Vec<Unit>) {
    let (units, rest) = bytes.as_chunks::<UNIT_SIZE>();
    debug_assert!(rest.is_empty(), "{} bytes are no whole units", bytes.len());
    out.extend(units.iter().map(Unit::decode));
}

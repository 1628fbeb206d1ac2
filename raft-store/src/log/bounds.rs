//! Where the log begins: what was purged, and which checkpoint is the node's snapshot.
//!
//! The file `bounds` is replaced as a whole, little endian: `4 magic "FLBD" | 4 CRC-32C of the rest | 2 version |
//! 1 flags | 1 spare | 8 start | 16 purged (term, index) | 28 base | 28 snapshot`, the last two as `8 term | 8 index |
//! 8 end | 4 crc`. Flag bits 0, 1, 2: purged, base, snapshot are set.

use std::io;
use std::path::Path;

use crate::record::{crc32c, u16_at, u32_at, u64_at};
use crate::types::{ChainPoint, LogId};
use crate::vfs::{OpenMode, Vfs, replace_file};

pub(crate) const BOUNDS_FILE: &str = "bounds";
const MAGIC: &[u8; 4] = b"FLBD";
const VERSION: u16 = 1;
const SIZE: usize = 8 + 4 + 8 + 16 + 28 + 28;

/// The boundaries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Name of the first segment file that belongs to the log; files before it are left-overs.
    pub(crate) start: u64,
    /// Last purged entry.
    pub(crate) purged: Option<LogId>,
    /// The point that the first entry follows when the log did not begin with entry 0: the last installation that
    /// replaced everything.
    pub(crate) base: Option<ChainPoint>,
    /// The checkpoint that is the node's snapshot.
    pub(crate) snapshot: Option<ChainPoint>,
}

impl Bounds {
    /// Reads the file; the default when there is none, `Ok(None)` when it is damaged.
    pub(crate) fn load(vfs: &dyn Vfs, dir: &Path) -> io::Result<Option<Self>> {
        match vfs.open(&dir.join(BOUNDS_FILE), OpenMode::Read) {
            Ok(file) => Ok(Self::decode(&file.read_all()?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Some(Self::default())),
            Err(error) => Err(error),
        }
    }

    /// Makes the boundaries durable. Needs room for a small file beside the old one.
    pub(crate) fn store(&self, vfs: &dyn Vfs, dir: &Path) -> io::Result<()> {
        replace_file(vfs, dir, BOUNDS_FILE, &self.encode())
    }

    fn encode(&self) -> Vec<u8> {
        let flags = u8::from(self.purged.is_some())
            | u8::from(self.base.is_some()) << 1
            | u8::from(self.snapshot.is_some()) << 2;
        let mut bytes = Vec::with_capacity(SIZE);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[flags, 0]);
        bytes.extend_from_slice(&self.start.to_le_bytes());
        let purged = self.purged.unwrap_or(LogId::new(0, 0));
        bytes.extend_from_slice(&purged.term.to_le_bytes());
        bytes.extend_from_slice(&purged.index.to_le_bytes());
        for point in [self.base, self.snapshot] {
            let point = point.unwrap_or(ChainPoint { id: LogId::new(0, 0), end: 0, crc: 0 });
            bytes.extend_from_slice(&point.id.term.to_le_bytes());
            bytes.extend_from_slice(&point.id.index.to_le_bytes());
            bytes.extend_from_slice(&point.end.to_le_bytes());
            bytes.extend_from_slice(&point.crc.to_le_bytes());
        }
        let crc = crc32c(&bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != SIZE
            || &bytes[..4] != MAGIC
            || u32_at(bytes, 4) != crc32c(&bytes[8..])
            || u16_at(bytes, 8) != VERSION
        {
            return None;
        }
        let flags = bytes[10];
        let point = |at: usize| ChainPoint {
            id: LogId::new(u64_at(bytes, at), u64_at(bytes, at + 8)),
            end: u64_at(bytes, at + 16),
            crc: u32_at(bytes, at + 24),
        };
        Some(Self {
            start: u64_at(bytes, 12),
            purged: (flags & 1 != 0).then(|| LogId::new(u64_at(bytes, 20), u64_at(bytes, 28))),
            base: (flags & 2 != 0).then(|| point(36)),
            snapshot: (flags & 4 != 0).then(|| point(64)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_give_their_fields_back_and_notice_each_flipped_bit() {
        let point = |n| ChainPoint { id: LogId::new(n, n + 1), end: n + 2, crc: n as u32 + 3 };
        for bounds in [
            Bounds::default(),
            Bounds { start: 9, purged: Some(LogId::new(1, 2)), base: Some(point(5)), snapshot: None },
            Bounds { start: 9, purged: None, base: None, snapshot: Some(point(6)) },
        ] {
            let bytes = bounds.encode();
            assert_eq!(Bounds::decode(&bytes), Some(bounds));
            for bit in 0..bytes.len() * 8 {
                let mut changed = bytes.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Bounds::decode(&changed), None, "bit {bit}");
            }
        }
    }
}

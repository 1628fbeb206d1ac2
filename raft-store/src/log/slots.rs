//! A small file of two checksummed slots that is rewritten in place.
//!
//! Each slot has 4096 bytes, little endian:
//!
//! | offset | size | field    | meaning                                       |
//! |-------:|-----:|----------|-----------------------------------------------|
//! |      0 |    4 | magic    | what the file is                              |
//! |      4 |    4 | crc      | CRC-32C of everything after this field        |
//! |      8 |    8 | sequence | grows with every write; the higher slot counts |
//! |     16 |    2 | size     | bytes of the body                             |
//! |     18 |    n | body     |                                               |
//!
//! A slot is written only while the other one is valid and synced, so a crash never costs both.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::record::{crc32c, u16_at, u32_at, u64_at};
use crate::vfs::{OpenMode, Vfs, VfsFile, replace_file};

/// Bytes of one slot: no write of one slot touches a page of the other.
pub(crate) const SLOT_SIZE: usize = 4096;
const BODY_AT: usize = 18;

/// An open slot file.
#[derive(Debug)]
pub(crate) struct SlotFile {
    file: Arc<dyn VfsFile>,
    magic: [u8; 4],
    sequence: u64,
    /// Slot that holds the newest body.
    newest: u64,
}

/// What was found under a name.
#[derive(Debug)]
pub(crate) enum Found {
    /// No such file.
    Missing,
    /// A file without one valid slot.
    Damaged,
    /// The newest body, and whether both slots agreed on it.
    Valid { file: SlotFile, body: Vec<u8>, both: bool },
}

impl SlotFile {
    /// Creates the file with the body in both slots, durably.
    pub(crate) fn create(
        vfs: &dyn Vfs,
        dir: &Path,
        name: &str,
        magic: [u8; 4],
        body: &[u8],
    ) -> io::Result<Self> {
        let slot = encode(magic, 1, body);
        replace_file(vfs, dir, name, &[slot.as_slice(), slot.as_slice()].concat())?;
        let file = vfs.open(&dir.join(name), OpenMode::Write)?;
        Ok(Self { file, magic, sequence: 1, newest: 0 })
    }

    /// Opens the file for writing and reads its newest body.
    pub(crate) fn open(vfs: &dyn Vfs, dir: &Path, name: &str, magic: [u8; 4]) -> io::Result<Found> {
        Self::open_as(vfs, dir.join(name), magic, OpenMode::Write)
    }

    /// Reads the newest body and changes nothing.
    pub(crate) fn peek(vfs: &dyn Vfs, dir: &Path, name: &str, magic: [u8; 4]) -> io::Result<Found> {
        Self::open_as(vfs, dir.join(name), magic, OpenMode::Read)
    }

    fn open_as(vfs: &dyn Vfs, path: PathBuf, magic: [u8; 4], mode: OpenMode) -> io::Result<Found> {
        let file = match vfs.open(&path, mode) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Missing),
            Err(error) => return Err(error),
        };
        let bytes = file.read_all()?;
        let slots: Vec<_> = bytes.chunks_exact(SLOT_SIZE).take(2).map(|slot| decode(magic, slot)).collect();
        let sequences: Vec<_> =
            slots.iter().map(|slot| slot.as_ref().map(|(sequence, _)| *sequence)).collect();
        let both = sequences.len() == 2 && sequences[0].is_some() && sequences[0] == sequences[1];
        let Some((newest, (sequence, body))) = (0..)
            .zip(slots)
            .filter_map(|(at, slot)| Some((at, slot?)))
            .max_by_key(|(_, (sequence, _))| *sequence)
        else {
            return Ok(Found::Damaged);
        };
        Ok(Found::Valid { file: Self { file, magic, sequence, newest }, body, both })
    }

    /// Writes the body into the older slot and syncs: the other slot still holds what was there before.
    pub(crate) fn write_one(&mut self, body: &[u8]) -> io::Result<()> {
        self.write_older(self.sequence + 1, body)
    }

    /// Writes the body into the older slot, syncs, then into the other one and syncs: the body survives the loss of
    /// either slot, and nothing older can come back.
    pub(crate) fn write_both(&mut self, body: &[u8]) -> io::Result<()> {
        let sequence = self.sequence + 1;
        self.write_older(sequence, body)?;
        self.write_older(sequence, body)
    }

    fn write_older(&mut self, sequence: u64, body: &[u8]) -> io::Result<()> {
        let slot = 1 - self.newest;
        self.file.write_all_at(&encode(self.magic, sequence, body), slot * SLOT_SIZE as u64)?;
        self.file.sync_data()?;
        self.sequence = sequence;
        self.newest = slot;
        Ok(())
    }
}

fn encode(magic: [u8; 4], sequence: u64, body: &[u8]) -> Vec<u8> {
    assert!(body.len() <= SLOT_SIZE - BODY_AT, "a slot's body of {} bytes", body.len());
    let mut slot = vec![0; SLOT_SIZE];
    slot[8..16].copy_from_slice(&sequence.to_le_bytes());
    slot[16..18].copy_from_slice(&(body.len() as u16).to_le_bytes());
    slot[BODY_AT..BODY_AT + body.len()].copy_from_slice(body);
    let crc = crc32c(&slot[8..]);
    slot[..4].copy_from_slice(&magic);
    slot[4..8].copy_from_slice(&crc.to_le_bytes());
    slot
}

fn decode(magic: [u8; 4], slot: &[u8]) -> Option<(u64, Vec<u8>)> {
    let size = usize::from(u16_at(slot, 16));
    if slot[..4] != magic || u32_at(slot, 4) != crc32c(&slot[8..]) || size > SLOT_SIZE - BODY_AT {
        return None;
    }
    Some((u64_at(slot, 8), slot[BODY_AT..BODY_AT + size].to_vec()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::vfs::{Fault, Loss, MemVfs};

    const MAGIC: [u8; 4] = *b"TEST";

    fn open(vfs: &MemVfs) -> Option<(SlotFile, Vec<u8>)> {
        match SlotFile::open(vfs, Path::new("/d"), "slots", MAGIC).unwrap() {
            Found::Valid { file, body, .. } => Some((file, body)),
            Found::Missing | Found::Damaged => None,
        }
    }

    #[test]
    fn a_crash_in_a_write_leaves_the_old_or_the_new_body() {
        for operation in 0..4 {
            for seed in 0..20 {
                let vfs = MemVfs::new();
                vfs.create_dir_all(Path::new("/d")).unwrap();
                let mut file = SlotFile::create(&vfs, Path::new("/d"), "slots", MAGIC, b"first").unwrap();
                file.write_both(b"old").unwrap();
                vfs.arm(Fault::PowerOff { operation: vfs.operations() + operation });
                let done = file.write_both(b"new").is_ok();
                assert!(!done);
                let (_, body) = open(&vfs.restart(Loss::Random(seed))).unwrap();
                assert!(
                    body == b"new" || (operation < 2 && body == b"old"),
                    "operation {operation}: {body:?}"
                );
            }
        }
    }

    #[test]
    fn a_body_in_both_slots_survives_the_loss_of_either() {
        for slot in 0..2_u64 {
            let vfs = MemVfs::new();
            vfs.create_dir_all(Path::new("/d")).unwrap();
            let mut file = SlotFile::create(&vfs, Path::new("/d"), "slots", MAGIC, b"first").unwrap();
            file.write_both(b"last").unwrap();
            vfs.damage(Path::new("/d/slots"), slot * SLOT_SIZE as u64 + 20, |byte| byte ^ 1).unwrap();
            assert_eq!(open(&vfs).unwrap().1, b"last");
        }
    }

    #[test]
    fn two_bad_slots_are_damage_not_a_missing_file() {
        let vfs = MemVfs::new();
        vfs.create_dir_all(Path::new("/d")).unwrap();
        assert!(matches!(SlotFile::open(&vfs, Path::new("/d"), "slots", MAGIC).unwrap(), Found::Missing));
        SlotFile::create(&vfs, Path::new("/d"), "slots", MAGIC, b"body").unwrap();
        for slot in 0..2_u64 {
            vfs.damage(Path::new("/d/slots"), slot * SLOT_SIZE as u64, |byte| byte ^ 1).unwrap();
        }
        assert!(matches!(SlotFile::open(&vfs, Path::new("/d"), "slots", MAGIC).unwrap(), Found::Damaged));
    }
}

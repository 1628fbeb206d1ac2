//! Checkpoints: the tables as of one entry, a file each.
//!
//! A file is named `<end>-<index>-<term>-<crc>` after the entry it stands behind (three numbers of 20 digits, the CRC
//! of the entry's record in hex), is written under another name, synced and renamed, and only after the log was synced
//! up to that entry. Little endian:
//!
//! The boundary's checkpoint is kept twice, the second time as `<name>.copy`: nothing could take its place, since the
//! entries before it are gone. Each is mended from the other when one of them has rotted.
//!
//! | offset | size | field      | meaning                                             |
//! |-------:|-----:|------------|-----------------------------------------------------|
//! |      0 |    4 | magic      | "FLCP"                                              |
//! |      4 |    4 | crc        | CRC-32C of everything after this field              |
//! |      8 |    2 | version    | 1                                                   |
//! |     10 |    2 | flags      | bit 0: installed, that is, it came from another node |
//! |     12 |    4 | genesis    | the group's own value, see `record::genesis_crc`    |
//! |     16 |    8 | term       | term of the entry                                   |
//! |     24 |    8 | index      | index of the entry                                  |
//! |     32 |    8 | end        | position behind the entry's record                  |
//! |     40 |    4 | record_crc | CRC of the entry's record                           |
//! |     44 |    4 | membership | bytes of the group's part                           |
//! |     48 |    8 | state      | bytes of the state machine's part                   |
//! |     56 |    8 | time_ms    | leader time of the entry                            |
//! |     64 |    m | membership |                                                     |
//! |   64+m |    n | state      |                                                     |

use std::io;
use std::sync::Arc;

use bytes::{BufMut, Bytes};
use tracing::warn;

use super::background::Task;
use super::engine::Engine;
use super::jobs::Job;
use super::shared::Folder;
use crate::record::{crc32c, u16_at, u32_at, u64_at};
use crate::types::{ChainPoint, Done, LogId};
use crate::vfs::{OpenMode, replace_file};

const MAGIC: &[u8; 4] = b"FLCP";
const VERSION: u16 = 1;
const HEAD_SIZE: usize = 64;

/// Makes the state's bytes; called on the background thread.
pub type StateSource = Box<dyn FnOnce() -> Vec<u8> + Send>;

/// The tables as of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The entry that the tables stand behind.
    pub at: ChainPoint,
    /// Leader time of that entry.
    pub time_ms: u64,
    /// True when the tables came from another node.
    pub installed: bool,
    /// The group's own part, opaque to the log.
    pub membership: Bytes,
    /// The state machine's part; the stamper starts from it.
    pub state: Bytes,
}

/// What is known of a checkpoint without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointInfo {
    /// The entry.
    pub at: ChainPoint,
    /// True when it came from another node.
    pub installed: bool,
}

/// The checkpoints of a log; clones share them. Usable from any thread.
#[derive(Clone, Debug)]
pub struct Checkpoints(pub(super) Arc<Engine>);

impl Checkpoints {
    /// Writes a checkpoint as soon as the log is synced up to it; `done` is called when it is durable.
    ///
    /// Returns at once; `state` is called on the background thread. A checkpoint that exists already is done.
    pub fn save(&self, at: ChainPoint, time_ms: u64, membership: Bytes, state: StateSource, done: Done) {
        let task = Task::Save { at, time_ms, membership, state, done };
        self.0.submit(vec![Job::Then { task }]);
    }

    /// All usable checkpoints, oldest first.
    pub fn list(&self) -> Vec<CheckpointInfo> {
        self.0.shared.checkpoints.lock().clone()
    }

    /// Reads a checkpoint, or its copy. Blocks.
    ///
    /// # Errors
    /// `NotFound`, `InvalidData` when damaged, or as the operating system reports.
    pub fn load(&self, at: ChainPoint) -> io::Result<Checkpoint> {
        read_either(&self.0.shared.folder, self.0.shared.genesis, at)
    }

    /// The boundary P: exactly this checkpoint is the node's snapshot.
    pub fn snapshot(&self) -> Option<ChainPoint> {
        self.0.shared.bounds.lock().snapshot
    }

    /// Makes an existing checkpoint the boundary P, durably; older checkpoints are removed. Returns at once.
    ///
    /// `done` gets `NotFound` when there is no such checkpoint, `InvalidInput` when the boundary would go back.
    pub fn set_snapshot(&self, at: ChainPoint, done: Done) {
        self.0.submit_task(Task::SetSnapshot { at, done });
    }
}

/// File name of the checkpoint behind this entry.
pub(crate) fn checkpoint_name(at: ChainPoint) -> String {
    format!("{:020}-{:020}-{:020}-{:08x}", at.end, at.id.index, at.id.term, at.crc)
}

/// The entry that a file name stands for.
pub(crate) fn parse_checkpoint_name(name: &str) -> Option<ChainPoint> {
    let parts: Vec<&str> = name.split('-').collect();
    let [end, index, term, crc] = parts.as_slice() else { return None };
    let id = LogId::new(term.parse().ok()?, index.parse().ok()?);
    let at = ChainPoint { id, end: end.parse().ok()?, crc: u32::from_str_radix(crc, 16).ok()? };
    (checkpoint_name(at) == name).then_some(at)
}

const COPY_SUFFIX: &str = ".copy";

/// File name of the boundary's second checkpoint.
pub(crate) fn copy_name(at: ChainPoint) -> String {
    checkpoint_name(at) + COPY_SUFFIX
}

/// The entry that the name of a copy stands for.
pub(crate) fn parse_copy_name(name: &str) -> Option<ChainPoint> {
    parse_checkpoint_name(name.strip_suffix(COPY_SUFFIX)?)
}

/// Writes a checkpoint durably; blocks.
pub(crate) fn write_checkpoint(folder: &Folder, genesis: u32, checkpoint: &Checkpoint) -> io::Result<()> {
    let bytes = encode(genesis, checkpoint)?;
    replace_file(&*folder.vfs, &folder.checkpoints, &checkpoint_name(checkpoint.at), &bytes)
}

/// Reads and checks a checkpoint, of this group if one is named; blocks.
pub(crate) fn read_checkpoint(
    folder: &Folder,
    genesis: impl Into<Option<u32>>,
    at: ChainPoint,
) -> io::Result<Checkpoint> {
    read_named(folder, genesis.into(), at, &checkpoint_name(at))
}

/// As [`read_checkpoint`], of the copy alone.
pub(crate) fn read_copy(
    folder: &Folder,
    genesis: impl Into<Option<u32>>,
    at: ChainPoint,
) -> io::Result<Checkpoint> {
    read_named(folder, genesis.into(), at, &copy_name(at))
}

/// As [`read_checkpoint`]; where that fails the copy serves, if there is one.
pub(crate) fn read_either(folder: &Folder, genesis: u32, at: ChainPoint) -> io::Result<Checkpoint> {
    read_checkpoint(folder, genesis, at).or_else(|error| {
        let copy = is_gone(&error).then(|| read_copy(folder, genesis, at));
        match copy {
            Some(Ok(checkpoint)) => {
                warn!(%error, "a checkpoint can't be read, its copy serves");
                Ok(checkpoint)
            }
            Some(Err(_)) | None => Err(error),
        }
    })
}

/// Makes sure that the checkpoint and its copy are whole, each from the other; blocks.
pub(crate) fn keep_twice(folder: &Folder, genesis: u32, at: ChainPoint) -> io::Result<()> {
    let names = [checkpoint_name(at), copy_name(at)];
    let found = names.each_ref().map(|name| read_named(folder, genesis.into(), at, name));
    let (checkpoint, missing) = match &found {
        [Ok(_), Ok(_)] => return Ok(()),
        [Ok(checkpoint), Err(error)] => (checkpoint, (&names[1], error)),
        [Err(error), Ok(checkpoint)] => (checkpoint, (&names[0], error)),
        [Err(error), Err(_)] => return Err(io::Error::new(error.kind(), error.to_string())),
    };
    let (name, error) = missing;
    if !is_gone(error) {
        return Err(io::Error::new(error.kind(), error.to_string()));
    }
    if error.kind() == io::ErrorKind::InvalidData {
        warn!(%error, "a damaged checkpoint is written again");
    }
    replace_file(&*folder.vfs, &folder.checkpoints, name, &encode(genesis, checkpoint)?)
}

/// Removes copies of checkpoints below an entry; blocks.
pub(crate) fn remove_copies_below(folder: &Folder, index: u64) -> io::Result<()> {
    for name in folder.vfs.list(&folder.checkpoints)? {
        if parse_copy_name(&name).is_some_and(|at| at.id.index < index) {
            folder.vfs.remove(&folder.checkpoints.join(name))?;
        }
    }
    Ok(())
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData)
}

fn read_named(folder: &Folder, genesis: Option<u32>, at: ChainPoint, name: &str) -> io::Result<Checkpoint> {
    let path = folder.checkpoints.join(name);
    let bytes = folder.vfs.open(&path, OpenMode::Read)?.read_all()?;
    let checkpoint = decode(genesis, &bytes);
    let damaged = |what: &str| {
        let damage = super::Damage { file: path.clone(), offset: 0, what: what.to_owned() };
        io::Error::new(io::ErrorKind::InvalidData, damage)
    };
    match checkpoint {
        Ok(checkpoint) if checkpoint.at == at => Ok(checkpoint),
        Ok(_) => Err(damaged("the checkpoint is another one than its name says")),
        Err(what) => Err(damaged(what)),
    }
}

fn encode(genesis: u32, checkpoint: &Checkpoint) -> io::Result<Vec<u8>> {
    let membership_size =
        u32::try_from(checkpoint.membership.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut bytes = Vec::with_capacity(HEAD_SIZE + checkpoint.membership.len() + checkpoint.state.len());
    bytes.put_slice(MAGIC);
    bytes.put_u32_le(0);
    bytes.put_u16_le(VERSION);
    bytes.put_u16_le(u16::from(checkpoint.installed));
    bytes.put_u32_le(genesis);
    bytes.put_u64_le(checkpoint.at.id.term);
    bytes.put_u64_le(checkpoint.at.id.index);
    bytes.put_u64_le(checkpoint.at.end);
    bytes.put_u32_le(checkpoint.at.crc);
    bytes.put_u32_le(membership_size);
    bytes.put_u64_le(checkpoint.state.len() as u64);
    bytes.put_u64_le(checkpoint.time_ms);
    debug_assert_eq!(bytes.len(), HEAD_SIZE);
    bytes.put_slice(&checkpoint.membership);
    bytes.put_slice(&checkpoint.state);
    let crc = crc32c(&bytes[8..]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    Ok(bytes)
}

fn decode(genesis: Option<u32>, bytes: &Bytes) -> Result<Checkpoint, &'static str> {
    if bytes.len() < HEAD_SIZE || &bytes[..4] != MAGIC {
        return Err("no checkpoint");
    }
    if u32_at(bytes, 4) != crc32c(&bytes[8..]) {
        return Err("the checkpoint's checksum differs");
    }
    let (version, flags) = (u16_at(bytes, 8), u16_at(bytes, 10));
    if version != VERSION || flags > 1 {
        return Err("unknown form of the checkpoint");
    }
    if genesis.is_some_and(|genesis| u32_at(bytes, 12) != genesis) {
        return Err("the checkpoint is of another group");
    }
    let state_at = HEAD_SIZE + u32_at(bytes, 44) as usize;
    if state_at as u64 + u64_at(bytes, 48) != bytes.len() as u64 {
        return Err("the checkpoint's sizes do not fit");
    }
    let id = LogId::new(u64_at(bytes, 16), u64_at(bytes, 24));
    Ok(Checkpoint {
        at: ChainPoint { id, end: u64_at(bytes, 32), crc: u32_at(bytes, 40) },
        time_ms: u64_at(bytes, 56),
        installed: flags & 1 != 0,
        membership: bytes.slice(HEAD_SIZE..state_at),
        state: bytes.slice(state_at..),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sample() -> Checkpoint {
        Checkpoint {
            at: ChainPoint { id: LogId::new(3, 99), end: 12_345, crc: 0xAB },
            time_ms: 1_700_000_000_000,
            installed: true,
            membership: Bytes::from_static(b"who"),
            state: Bytes::from_static(b"what"),
        }
    }

    #[test]
    fn names_stand_for_entries() {
        let at = sample().at;
        assert_eq!(parse_checkpoint_name(&checkpoint_name(at)), Some(at));
        for name in ["", "1-2-3-4", "00000000000000012345-tmp", &format!("{}.tmp", checkpoint_name(at))] {
            assert_eq!(parse_checkpoint_name(name), None);
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed_and_another_group_is_refused() {
        let bytes = encode(7, &sample()).unwrap();
        assert_eq!(decode(Some(7), &bytes.clone().into()), Ok(sample()));
        assert!(decode(Some(8), &bytes.clone().into()).is_err());
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(Some(7), &changed.into()).is_err(), "bit {bit}");
        }
    }
}

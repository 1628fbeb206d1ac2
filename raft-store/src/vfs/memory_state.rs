//! What the in-memory disk holds: contents and names, each as they are now and as a power cut would leave them.
//!
//! A simulation copies whole disks all the time and changes little of the copies, so they share contents until one of them writes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::memory::{Fault, Loss};

/// Unsynced writes are torn at this size, as a disk's sectors are.
pub(super) const SECTOR_SIZE: usize = 512;

#[derive(Debug, Default, Clone)]
pub(super) struct Disk {
    files: BTreeMap<u64, Content>,
    pub(super) dirs: BTreeMap<PathBuf, Names>,
    next_file: u64,
    pub(super) operations: u64,
    pub(super) faults: Vec<Fault>,
    pub(super) off: bool,
    pub(super) capacity: Option<u64>,
    pub(super) boot: u64,
}

#[derive(Debug, Default, Clone)]
struct Content {
    durable: Arc<Vec<u8>>,
    current: Arc<Vec<u8>>,
    pending: Vec<Change>,
}

#[derive(Debug, Clone)]
pub(super) enum Change {
    Bytes { offset: usize, bytes: Bytes },
    Size(usize),
}

#[derive(Debug, Default, Clone)]
pub(super) struct Names {
    durable: BTreeMap<String, u64>,
    pub(super) current: BTreeMap<String, u64>,
    pending: Vec<NameChange>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NameChange {
    Put { name: String, file: u64 },
    Remove { name: String },
    Rename { from: String, to: String, file: u64 },
}

/// What a fault makes of an operation that is about to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Whole,
    /// A part happens, then the power is gone.
    PartThenOff,
    /// A part happens and the caller is told so.
    Short,
    Fail(io::ErrorKind),
}

impl Disk {
    /// Counts one changing operation and looks whether a fault waits for it.
    pub(super) fn step(&mut self) -> io::Result<Step> {
        self.powered()?;
        let operation = self.operations;
        self.operations += 1;
        let Some(at) = self.faults.iter().position(|fault| fault.operation() == operation) else {
            return Ok(Step::Whole);
        };
        Ok(match self.faults.swap_remove(at) {
            Fault::PowerOff { .. } => Step::PartThenOff,
            Fault::ShortWrite { .. } => Step::Short,
            Fault::Error { kind, .. } => Step::Fail(kind),
        })
    }

    pub(super) fn powered(&self) -> io::Result<()> {
        if self.off { Err(power_off()) } else { Ok(()) }
    }

    pub(super) fn cut_power(&mut self) -> io::Error {
        self.off = true;
        power_off()
    }

    pub(super) fn new_file(&mut self) -> u64 {
        let file = self.next_file;
        self.next_file += 1;
        self.files.insert(file, Content::default());
        file
    }

    pub(super) fn dir(&mut self, dir: &Path) -> io::Result<&mut Names> {
        self.dirs
            .get_mut(dir)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, dir.display().to_string()))
    }

    pub(super) fn bytes(&self, file: u64) -> &[u8] {
        &self.files[&file].current
    }

    pub(super) fn change_byte(&mut self, file: u64, offset: usize, change: impl Fn(u8) -> u8) {
        let content = self.files.get_mut(&file).expect("files are never forgotten");
        for bytes in [&mut content.current, &mut content.durable] {
            if let Some(byte) = Arc::make_mut(bytes).get_mut(offset) {
                *byte = change(*byte);
            }
        }
    }

    pub(super) fn write(&mut self, file: u64, offset: usize, bytes: Bytes) -> io::Result<()> {
        let grown = (offset + bytes.len()).saturating_sub(self.bytes(file).len());
        self.reserve(grown as u64)?;
        self.change(file, Change::Bytes { offset, bytes });
        Ok(())
    }

    pub(super) fn grow(&mut self, file: u64, size: usize) -> io::Result<()> {
        self.reserve(size.saturating_sub(self.bytes(file).len()) as u64)?;
        self.change(file, Change::Size(size));
        Ok(())
    }

    fn change(&mut self, file: u64, change: Change) {
        let content = self.files.get_mut(&file).expect("files are never forgotten");
        change.apply(Arc::make_mut(&mut content.current));
        content.pending.push(change);
    }

    fn reserve(&self, more: u64) -> io::Result<()> {
        match self.capacity {
            Some(capacity) if more > 0 && self.used() + more > capacity => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn used(&self) -> u64 {
        let named = self.dirs.values().flat_map(|names| names.current.values());
        named.map(|file| self.files[file].current.len() as u64).sum()
    }

    pub(super) fn sync(&mut self, file: u64) {
        let content = self.files.get_mut(&file).expect("files are never forgotten");
        for change in content.pending.drain(..) {
            change.apply(Arc::make_mut(&mut content.durable));
        }
    }

    /// What Linux does after a failed write-back: the pages count as clean, so that a later sync finds nothing to do.
    pub(super) fn forget_pending(&mut self, file: u64) {
        self.files.get_mut(&file).expect("files are never forgotten").pending.clear();
    }

    /// Lets go of files that no name leads to, nor led to before what was not synced.
    fn forget_unnamed(&mut self) {
        let named: BTreeSet<u64> = self.dirs.values().flat_map(Names::files).collect();
        self.files.retain(|file, _| named.contains(file));
    }

    /// The disk as the next start of the machine finds it.
    pub(super) fn after(&self, loss: Loss) -> Disk {
        let mut random = Random::of(loss);
        let mut disk = self.clone();
        disk.faults.clear();
        disk.off = false;
        disk.forget_unnamed();
        if loss == Loss::Nothing {
            // The page cache is as it was, and what was not on the disk before is not there now.
            return disk;
        }
        disk.boot += 1;
        for content in disk.files.values_mut() {
            for change in survivors(std::mem::take(&mut content.pending), loss, &mut random) {
                let durable = Arc::make_mut(&mut content.durable);
                if let (Change::Bytes { offset, bytes }, Loss::Random(_)) = (&change, loss) {
                    tear(*offset, bytes, &mut random, durable);
                } else {
                    change.apply(durable);
                }
            }
            content.current = Arc::clone(&content.durable);
        }
        for names in disk.dirs.values_mut() {
            for change in survivors(std::mem::take(&mut names.pending), loss, &mut random) {
                change.apply(&mut names.durable);
            }
            names.current = names.durable.clone();
        }
        disk
    }
}

impl Names {
    pub(super) fn put(&mut self, name: &str, file: u64) {
        self.change(NameChange::Put { name: name.to_owned(), file });
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.change(NameChange::Remove { name: name.to_owned() });
    }

    pub(super) fn rename(&mut self, from: &str, to: &str, file: u64) {
        self.change(NameChange::Rename { from: from.to_owned(), to: to.to_owned(), file });
    }

    /// All files that a name leads to, or may lead to after a loss.
    fn files(&self) -> impl Iterator<Item = u64> {
        let pending = self.pending.iter().filter_map(|change| match change {
            NameChange::Put { file, .. } | NameChange::Rename { file, .. } => Some(*file),
            NameChange::Remove { .. } => None,
        });
        self.durable.values().chain(self.current.values()).copied().chain(pending)
    }

    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.current);
        self.pending.push(change);
    }

    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.durable);
        }
    }
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Bytes { offset, bytes } => {
                if content.len() < offset + bytes.len() {
                    content.resize(offset + bytes.len(), 0);
                }
                content[*offset..offset + bytes.len()].copy_from_slice(bytes);
            }
            Self::Size(size) => {
                if content.len() < *size {
                    content.resize(*size, 0);
                }
            }
        }
    }
}

impl NameChange {
    pub(super) fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Put { name, file } => drop(names.insert(name.clone(), *file)),
            Self::Remove { name } => drop(names.remove(name)),
            Self::Rename { from, to, file } => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
        }
    }
}

pub(super) fn survivors<T>(pending: Vec<T>, loss: Loss, random: &mut Random) -> Vec<T> {
    let half = pending.len() / 2;
    match loss {
        Loss::Nothing => pending,
        Loss::Everything => Vec::new(),
        Loss::KeepFirst => pending.into_iter().take(half).collect(),
        Loss::KeepLast => pending.into_iter().skip(half).collect(),
        Loss::Random(_) => pending.into_iter().filter(|_| !random.next().is_multiple_of(4)).collect(),
    }
}

/// Applies a write sector by sector, leaving some out.
fn tear(offset: usize, bytes: &Bytes, random: &mut Random, content: &mut Vec<u8>) {
    for part in torn(offset, bytes.len(), SECTOR_SIZE, random) {
        Change::Bytes { offset: offset + part.start, bytes: bytes.slice(part) }.apply(content);
    }
}

/// What of a write of `size` bytes at `offset` reaches the disk, in whole sectors: ranges of its bytes.
pub(super) fn torn(offset: usize, size: usize, sector: usize, random: &mut Random) -> Vec<Range<usize>> {
    let whole = random.next().is_multiple_of(2);
    let (mut parts, mut at) = (Vec::new(), 0);
    while at < size {
        let end = (((offset + at) / sector + 1) * sector - offset).min(size);
        if whole || !random.next().is_multiple_of(3) {
            parts.push(at..end);
        }
        at = end;
    }
    parts
}

/// Small generator (xorshift), so that a seed names one outcome.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn of(loss: Loss) -> Random {
        match loss {
            Loss::Random(seed) => Random(seed.wrapping_mul(2).wrapping_add(1)),
            Loss::Nothing | Loss::Everything | Loss::KeepFirst | Loss::KeepLast => Random(1),
        }
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }
}

fn power_off() -> io::Error {
    io::Error::other("the power is off")
}

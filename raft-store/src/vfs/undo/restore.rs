//! Takes back what a machine that lost its power would have forgotten.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::super::Loss;
use super::super::memory_state::{Change, Random, survivors, torn};
use super::journal::{Journal, NamesPending, Place};
use super::record::Note;
use super::{ignore_missing, put_over};

/// What was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Restored {
    /// Files with changes that were not synced.
    pub files: usize,
    /// Those changes.
    pub changes: usize,
    /// Changes of names that were not synced.
    pub names: usize,
    /// Power losses of this machine so far, this one included.
    pub boots: u64,
}

/// Settles what became of everything that was not synced, and forgets the journal: the node that starts next finds what a machine
/// finds that has lost its power. `sector` is the size at which [`Loss::Random`] tears writes, in bytes. It must run to its end, with no
/// process of the node about.
///
/// # Errors
/// As the operating system reports; `WouldBlock` while a process uses the journal. After any other failure the data
/// is of no use.
///
/// # Panics
/// `sector` is 0.
pub fn restore(dir: &Path, loss: Loss, sector: usize) -> io::Result<Restored> {
    let mut journal = Journal::open(dir)?;
    let mut restored = Restored::default();
    if loss != Loss::Nothing {
        let mut random = Random::of(loss);
        for (number, tracked) in &journal.files {
            if !tracked.pending.is_empty() {
                restored.files += 1;
                restored.changes += tracked.pending.len();
                let file = File::options().read(true).write(true).open(journal.link(*number))?;
                let changes = go_back(&journal, &file, &tracked.pending)?;
                for change in survivors(changes, loss, &mut random) {
                    go_forth(&file, &change, loss, sector, &mut random)?;
                }
            }
        }
        for (dir, pending) in std::mem::take(&mut journal.dirs) {
            restored.names += pending.len();
            settle_names(&journal, &dir, pending, loss, &mut random)?;
        }
    }
    restored.boots = journal.begin_anew()?;
    Ok(restored)
}

/// Brings a file back to its last sync and gives the changes since then, oldest first, each with what it wrote.
fn go_back(journal: &Journal, file: &File, pending: &[Place]) -> io::Result<Vec<Change>> {
    let mut changes = Vec::with_capacity(pending.len());
    for place in pending.iter().rev() {
        match journal.read(*place)? {
            Note::Bytes { offset, size, file_size, old, .. } => {
                let end = file.metadata()?.len().min(offset + size);
                let mut bytes = vec![0; end.saturating_sub(offset) as usize];
                file.read_exact_at(&mut bytes, offset)?;
                changes.push(Change::Bytes { offset: offset as usize, bytes: bytes.into() });
                file.write_all_at(&old.bytes(), offset)?;
                file.set_len(file_size)?;
            }
            Note::Size { size, file_size, .. } => {
                changes.push(Change::Size(size as usize));
                file.set_len(file_size)?;
            }
            note => return Err(io::Error::other(format!("no change of a file: {note:?}"))),
        }
    }
    changes.reverse();
    Ok(changes)
}

fn go_forth(file: &File, change: &Change, loss: Loss, sector: usize, random: &mut Random) -> io::Result<()> {
    match change {
        Change::Bytes { offset, bytes } => {
            let write =
                |part: Range<usize>| file.write_all_at(&bytes[part.clone()], (offset + part.start) as u64);
            if let Loss::Random(_) = loss {
                torn(*offset, bytes.len(), sector, random).into_iter().try_for_each(write)?;
            } else {
                write(0..bytes.len())?;
            }
        }
        Change::Size(size) => {
            let size = *size as u64;
            if file.metadata()?.len() < size {
                file.set_len(size)?;
            }
        }
    }
    Ok(())
}

fn settle_names(
    journal: &Journal,
    dir: &Path,
    pending: Vec<NamesPending>,
    loss: Loss,
    random: &mut Random,
) -> io::Result<()> {
    let mut durable = BTreeMap::new();
    for (name, file) in pending.iter().flat_map(|names| &names.before) {
        durable.entry(name.clone()).or_insert(*file);
    }
    let mut names: BTreeMap<String, u64> =
        durable.iter().filter_map(|(name, file)| Some((name.clone(), (*file)?))).collect();
    let changes = pending.into_iter().map(|names| names.change).collect();
    for change in survivors(changes, loss, random) {
        change.apply(&mut names);
    }
    for name in durable.keys() {
        let path = dir.join(name);
        match names.get(name) {
            Some(file) => put_over(journal, *file, &path)?,
            None => fs::remove_file(&path).or_else(ignore_missing)?,
        }
    }
    Ok(())
}

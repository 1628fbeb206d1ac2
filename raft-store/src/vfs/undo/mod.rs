//! The operating system's file system, and a journal of what a power cut would take back (feature `faults`).
//!
//! A process that is killed loses nothing that it has written: the page cache outlives it. To find out what a power cut does to a
//! real node, [`UndoVfs`] notes before each change what is needed to take it back, in a folder of its own; after a kill -9
//! [`restore`] takes back what the machine would have forgotten.
//!
//! ```text
//! write, allocate, create, rename ...    note ─ journal ─ then the change itself
//! fdatasync, sync of a folder            itself ─ then a note: what came before it is durable
//! restore                                notes that count, newest first: contents as they were at the last sync, and what each change wrote;
//!                                        then the changes again, those that survive; then the names in the same way
//! ```
//!
//! What may survive is exactly what [`MemVfs`](super::MemVfs) lets survive, and the same code draws it ([`Loss`]); a property test drives
//! both with the same operations. As there, folders are durable at once, and a file that is opened as [`OpenMode::Truncate`] is another
//! file under the same name: the old one is there again if the folder was not synced.
//!
//! Notes go to the page cache with one `write` each, so a kill at any point leaves whole notes and at most one torn one, which is
//! ignored: what it announces has not begun. A change that was announced and not begun, or half done, is one that the kill has met in the
//! middle. A process that starts over the same folder goes on with its journal: what its predecessor left unsynced is unsynced still.
//!
//! LIMIT: what goes past [`Vfs`] is not taken back: views of the broker, which are made again from the log, and the name server's files. All
//! mappings are read-only. The folder must be on the file system of the data, and outside of it. One lock stands around all
//! changes, so this is slower than the disk.

use std::fs;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::direct::BLOCK;
use super::memory_state::NameChange;
use super::{DiskSpace, Mapping, OpenMode, RealVfs, Vfs, VfsFile};
use journal::Journal;
use record::{Note, Old};

mod journal;
mod record;
mod restore;
#[cfg(test)]
mod tests;

pub use restore::{Restored, restore};

/// Environment variable that names the journal's folder.
pub const POWER_LOSS: &str = "FLOTILLA_POWER_LOSS";

/// Bytes of one note at most.
const NOTE_BYTES: u64 = 1 << 20;

/// The real file system with a journal; clones share it.
#[derive(Debug, Clone)]
pub struct UndoVfs(Arc<Mutex<Journal>>);

#[derive(Debug)]
struct UndoFile {
    file: Arc<dyn VfsFile>,
    number: u64,
    journal: Arc<Mutex<Journal>>,
}

impl UndoVfs {
    /// Begins a journal in a folder, or goes on with it.
    ///
    /// # Errors
    /// As the operating system reports; `WouldBlock` while another process uses the folder.
    pub fn open(dir: &Path) -> io::Result<UndoVfs> {
        Ok(UndoVfs(Arc::new(Mutex::new(Journal::open(dir)?))))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        let mut journal = self.0.lock();
        let (dir, name) = split(path)?;
        let old = optional(journal.track(path))?;
        let number = journal.create()?;
        let file = RealVfs.open(&journal.link(number), OpenMode::Write)?;
        let change = NameChange::Put { name: name.clone(), file: number };
        let put = |journal: &Journal| match old {
            None => fs::hard_link(journal.link(number), path),
            Some(_) => put_over(journal, number, path),
        };
        change_names(&mut journal, Note::Names { dir, change, before: vec![(name, old)] }, put)
            .inspect_err(|_| journal.forget(number))?;
        Ok(self.opened(&mut journal, number, file))
    }

    fn opened(&self, journal: &mut Journal, number: u64, file: Arc<dyn VfsFile>) -> Arc<dyn VfsFile> {
        journal.files.get_mut(&number).expect("it is tracked").handles += 1;
        Arc::new(UndoFile { file, number, journal: Arc::clone(&self.0) })
    }
}

/// Gives a file a name that may be another's.
fn put_over(journal: &Journal, number: u64, path: &Path) -> io::Result<()> {
    let link = journal.dir.join("link");
    fs::remove_file(&link).or_else(ignore_missing)?;
    fs::hard_link(journal.link(number), &link)?;
    fs::rename(&link, path)?;
    // It stays where both names are the same file's already.
    fs::remove_file(&link).or_else(ignore_missing)
}

/// Notes a change of names and makes it.
fn change_names(
    journal: &mut Journal,
    note: Note,
    change: impl FnOnce(&Journal) -> io::Result<()>,
) -> io::Result<()> {
    let number = journal.note(note)?;
    match change(journal) {
        Ok(()) => Ok(()),
        Err(error) => {
            journal.note(Note::Undone { number })?;
            Err(error)
        }
    }
}

impl Vfs for UndoVfs {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        RealVfs.create_dir_all(dir)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        match mode {
            OpenMode::Read => RealVfs.open(path, mode),
            OpenMode::Write => {
                let mut journal = self.0.lock();
                let number = journal.track(path)?;
                let file = RealVfs.open(path, mode)?;
                Ok(self.opened(&mut journal, number, file))
            }
            OpenMode::CreateNew if fs::symlink_metadata(path).is_ok() => {
                Err(io::ErrorKind::AlreadyExists.into())
            }
            OpenMode::CreateNew | OpenMode::Truncate => self.create(path),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealVfs.list(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let ((dir, from_name), (to_dir, to_name)) = (split(from)?, split(to)?);
        if dir != to_dir {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        let mut journal = self.0.lock();
        let file = journal.track(from)?;
        let replaced = optional(journal.track(to))?;
        let before = vec![(from_name.clone(), Some(file)), (to_name.clone(), replaced)];
        let change = NameChange::Rename { from: from_name, to: to_name, file };
        change_names(&mut journal, Note::Names { dir, change, before }, |_| RealVfs.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let (dir, name) = split(path)?;
        let mut journal = self.0.lock();
        let before = vec![(name.clone(), Some(journal.track(path)?))];
        let change = NameChange::Remove { name };
        change_names(&mut journal, Note::Names { dir, change, before }, |_| RealVfs.remove(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let upto = self.0.lock().newest();
        RealVfs.sync_dir(dir)?;
        let mut journal = self.0.lock();
        journal.note(Note::DirSynced { dir: std::path::absolute(dir)?, upto })?;
        journal.tidy()
    }

    fn space(&self, dir: &Path) -> io::Result<DiskSpace> {
        RealVfs.space(dir)
    }

    /// The machine's, and another one after each power loss.
    fn boot_id(&self) -> [u8; 16] {
        let (mut id, boots) = (RealVfs.boot_id(), self.0.lock().boots);
        id[8..].iter_mut().zip(boots.to_le_bytes()).for_each(|(byte, of_boots)| *byte ^= of_boots);
        id
    }
}

impl UndoFile {
    /// Notes what stands in a range that is about to change. Where `zeros` are written, large parts that are zero already don't count.
    fn note_range(&self, journal: &mut Journal, offset: u64, size: u64, zeros: bool) -> io::Result<()> {
        let file_size = self.file.size()?;
        let (mut at, end) = (offset, offset + size);
        loop {
            let part = (end - at).min(NOTE_BYTES);
            let mut old = vec![0; file_size.saturating_sub(at).min(part) as usize];
            self.file.read_exact_at(&mut old, at)?;
            let old = Old::of(old);
            if !zeros || size <= NOTE_BYTES || old != Old::Zeros(part) {
                // What an earlier part of the same write has made longer stays as long.
                let file_size = if at == offset { file_size } else { file_size.max(at) };
                journal.note(Note::Bytes { file: self.number, offset: at, size: part, file_size, old })?;
            }
            at += part;
            if at == end {
                return Ok(());
            }
        }
    }
}

impl VfsFile for UndoFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_vectored_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut journal = self.journal.lock();
        self.note_range(&mut journal, offset, size_of(slices), false)?;
        self.file.write_vectored_at(slices, offset)
    }

    fn append_vectored_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut journal = self.journal.lock();
        let end = offset + size_of(slices);
        let padded = end.next_multiple_of(BLOCK as u64).min(self.file.size()?).max(end);
        self.note_range(&mut journal, offset, padded - offset, false)?;
        self.file.append_vectored_at(slices, offset)
    }

    fn end_appends(&self) {
        self.file.end_appends();
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        let mut journal = self.journal.lock();
        journal.note(Note::Size { file: self.number, size, file_size: self.file.size()? })?;
        self.file.allocate(size)
    }

    fn zero_range(&self, offset: u64, size: u64) -> io::Result<()> {
        let mut journal = self.journal.lock();
        self.note_range(&mut journal, offset, size, true)?;
        self.file.zero_range(offset, size)
    }

    fn sync_data(&self) -> io::Result<()> {
        let upto = self.journal.lock().newest();
        self.file.sync_data()?;
        let mut journal = self.journal.lock();
        journal.note(Note::FileSynced { file: self.number, upto })?;
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn map(&self) -> io::Result<Option<Mapping>> {
        self.file.map()
    }
}

impl Drop for UndoFile {
    fn drop(&mut self) {
        if let Some(tracked) = self.journal.lock().files.get_mut(&self.number) {
            tracked.handles -= 1;
        }
    }
}

fn size_of(slices: &[IoSlice<'_>]) -> u64 {
    slices.iter().map(|slice| slice.len() as u64).sum()
}

/// Folder, as an absolute path, and name.
fn split(path: &Path) -> io::Result<(PathBuf, String)> {
    let path = std::path::absolute(path)?;
    match (path.parent(), path.file_name().and_then(|name| name.to_str())) {
        (Some(dir), Some(name)) => Ok((dir.to_path_buf(), name.to_owned())),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, path.display().to_string())),
    }
}

fn optional<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn ignore_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

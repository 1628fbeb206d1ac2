//! The few things that the log asks of a file system, behind one trait.
//!
//! [`RealVfs`] is the operating system's. [`MemVfs`] keeps everything in memory and forgets on command: it can crash at
//! any operation, tear writes, lose or reorder what was not synced, fill up and fail an fdatasync, so that a test can
//! visit every point at which a machine may stop.
//!
//! Promises that the log relies on, and that both keep: a write is readable at once by everyone; it survives a power
//! cut only after `sync_data` returned; a new, renamed or removed name survives only after `sync_dir` of its folder;
//! before that any part of it may have reached the disk, in any order.

use std::fmt;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

mod direct;
#[cfg(test)]
pub(crate) mod hooked;
pub mod mapping;
pub mod memory;
mod memory_state;
pub mod real;
#[cfg(feature = "faults")]
pub mod undo;

pub use mapping::{Mapping, MappingWatch};
pub use memory::{Fault, Loss, MemVfs};
pub use real::RealVfs;

/// The file system of a node: the operating system's. With the feature `faults` and `FLOTILLA_POWER_LOSS` it is one that can take back
/// what was not synced; all nodes of a process share its journal.
///
/// # Errors
/// The journal can't be used.
pub fn of_node() -> io::Result<Arc<dyn Vfs>> {
    #[cfg(feature = "faults")]
    if let Some(dir) = std::env::var_os(undo::POWER_LOSS).filter(|dir| !dir.is_empty()) {
        static SHARED: parking_lot::Mutex<Option<undo::UndoVfs>> = parking_lot::Mutex::new(None);
        let mut shared = SHARED.lock();
        let vfs = match &*shared {
            Some(vfs) => vfs.clone(),
            None => undo::UndoVfs::open(Path::new(&dir))?,
        };
        *shared = Some(vfs.clone());
        return Ok(Arc::new(vfs));
    }
    Ok(Arc::new(RealVfs))
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, for reading only.
    Read,
    /// An existing file, for reading and writing.
    Write,
    /// A file that must not exist yet.
    CreateNew,
    /// A file, created or emptied.
    Truncate,
}

/// Room on the file system of a folder, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// Size of the file system.
    pub total: u64,
    /// Bytes that an ordinary user can still take.
    pub available: u64,
}

/// A file system.
pub trait Vfs: fmt::Debug + Send + Sync + 'static {
    /// Creates a folder and those above it; an existing one is fine.
    ///
    /// # Errors
    /// As the operating system reports.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Opens a file.
    ///
    /// # Errors
    /// As the operating system reports.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>>;

    /// Names of the files in a folder, in no order.
    ///
    /// # Errors
    /// `NotFound` when there is no such folder.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Gives a file another name in the same file system; a file of that name is replaced.
    ///
    /// # Errors
    /// As the operating system reports.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// As the operating system reports; the names must be taken as lost.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Room on the file system that holds `dir`.
    ///
    /// # Errors
    /// As the operating system reports.
    fn space(&self, dir: &Path) -> io::Result<DiskSpace>;

    /// A value that changes with every start of the machine, so that a restart of the process alone can be told apart.
    fn boot_id(&self) -> [u8; 16];
}

/// An open file; reads and writes name their place, so one handle serves many threads.
pub trait VfsFile: fmt::Debug + Send + Sync + 'static {
    /// Reads what is there at `offset`, at most `buffer.len()` bytes; 0 at the end.
    ///
    /// # Errors
    /// As the operating system reports.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes the slices one behind the other from `offset`; may write less and say how much.
    ///
    /// # Errors
    /// As the operating system reports.
    fn write_vectored_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;

    /// [`VfsFile::write_vectored_at`] at the end of what counts: bytes behind it, up to the next multiple of 4096, may read as
    /// zero afterwards. Goes past the page cache where that can be done, which saves most of a large append's CPU time.
    ///
    /// # Errors
    /// As the operating system reports; what lies before `offset` is untouched.
    fn append_vectored_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;

    /// Nothing is appended for now: gives back what is kept for that.
    fn end_appends(&self) {}

    /// Reserves room for `size` bytes and makes the file at least that long; new bytes read as zero.
    ///
    /// # Errors
    /// `StorageFull` when there is no room.
    fn allocate(&self, size: u64) -> io::Result<()>;

    /// Makes a range read as zero and keeps its room.
    ///
    /// # Errors
    /// As the operating system reports.
    fn zero_range(&self, offset: u64, size: u64) -> io::Result<()>;

    /// Makes data and length durable.
    ///
    /// # Errors
    /// As the operating system reports; what was written since the last success must be taken as lost, and calling
    /// again proves nothing.
    fn sync_data(&self) -> io::Result<()>;

    /// Length in bytes.
    ///
    /// # Errors
    /// As the operating system reports.
    fn size(&self) -> io::Result<u64>;

    /// The file's present length as shared memory, or `None` where files cannot be mapped.
    ///
    /// # Errors
    /// As the operating system reports.
    fn map(&self) -> io::Result<Option<Mapping>>;
}

impl dyn VfsFile {
    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file ends before.
    pub fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.read_at(buffer, offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    buffer = &mut buffer[count..];
                    offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The whole file.
    ///
    /// # Errors
    /// As the operating system reports.
    pub fn read_all(&self) -> io::Result<Bytes> {
        let size = usize::try_from(self.size()?).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let mut buffer = vec![0; size];
        self.read_exact_at(&mut buffer, 0)?;
        Ok(buffer.into())
    }

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// As the operating system reports; a part may have been written.
    pub fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_vectored_at(&mut [IoSlice::new(bytes)], offset)
    }

    /// Writes all slices one behind the other from `offset`, at most [`SLICES_MAX`] a call.
    ///
    /// # Errors
    /// As the operating system reports; a part may have been written.
    pub fn write_all_vectored_at(&self, slices: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        write_all(slices, offset, |slices, offset| {
            self.write_vectored_at(&slices[..slices.len().min(SLICES_MAX)], offset)
        })
    }

    /// Appends all slices one behind the other from `offset`, see [`VfsFile::append_vectored_at`].
    ///
    /// # Errors
    /// As the operating system reports; a part may have been written.
    pub fn append_all_vectored_at(&self, slices: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        write_all(slices, offset, |slices, offset| self.append_vectored_at(slices, offset))
    }
}

fn write_all(
    mut slices: &mut [IoSlice<'_>],
    mut offset: u64,
    write: impl Fn(&[IoSlice<'_>], u64) -> io::Result<usize>,
) -> io::Result<()> {
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match write(slices, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                IoSlice::advance_slices(&mut slices, count);
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Slices handed to one vectored write; the system's own limit is 1024.
pub const SLICES_MAX: usize = 1024;

/// Writes a small file so that either the old or the new content is there after a crash, never a mixture.
///
/// # Errors
/// As the operating system reports; the old content stands, unless only the last step failed. The room taken for the new
/// content is given back.
pub fn replace_file(vfs: &dyn Vfs, dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    write_and_rename(vfs, dir, name, bytes, true)?;
    vfs.sync_dir(dir)
}

/// As [`replace_file`], for what can be made again: nothing is synced.
///
/// # Errors
/// As the operating system reports; the old content stands. The room taken for the new content is given back.
pub(crate) fn replace_unsynced(vfs: &dyn Vfs, dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    write_and_rename(vfs, dir, name, bytes, false)
}

fn write_and_rename(vfs: &dyn Vfs, dir: &Path, name: &str, bytes: &[u8], sync: bool) -> io::Result<()> {
    let temporary = dir.join(format!("{name}.tmp"));
    let write = || {
        let file = vfs.open(&temporary, OpenMode::Truncate)?;
        file.write_all_at(bytes, 0)?;
        if sync {
            file.sync_data()?;
        }
        drop(file);
        vfs.rename(&temporary, &dir.join(name))
    };
    write().inspect_err(|_| {
        // On a full disk above all a half of a file must not stay. One that can't be removed is overwritten next time.
        vfs.remove(&temporary).ok();
    })
}

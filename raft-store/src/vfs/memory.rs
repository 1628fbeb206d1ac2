//! A disk in memory that fails on command, for tests and simulation.
//!
//! Every changing operation (create, write, allocate, zero, sync, rename, remove, folder sync) has a number, so a test
//! runs a history once to count them and then again for each number with a fault there. [`MemVfs::restart`] gives the
//! disk that the next start finds; [`Loss`] says what became of the bytes and names that were not synced.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::direct::BLOCK;
use super::memory_state::{Disk, Step};
use super::{DiskSpace, Mapping, OpenMode, Vfs, VfsFile};

/// A fault at one changing operation, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The machine stops there; of a write half the bytes get as far as the page cache.
    PowerOff {
        /// Number of the operation.
        operation: u64,
    },
    /// A write takes only half of the bytes and says so; other operations are not touched.
    ShortWrite {
        /// Number of the operation.
        operation: u64,
    },
    /// The operation fails with this kind. Of a write half the bytes get as far as the page cache; a failed sync also
    /// forgets what it should have written.
    Error {
        /// Number of the operation.
        operation: u64,
        /// Kind of the error.
        kind: io::ErrorKind,
    },
}

impl Fault {
    pub(super) fn operation(&self) -> u64 {
        match self {
            Self::PowerOff { operation } | Self::ShortWrite { operation } | Self::Error { operation, .. } => {
                *operation
            }
        }
    }
}

/// What a stop does to everything that was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Nothing is lost: only the process was killed.
    Nothing,
    /// All of it is lost.
    Everything,
    /// Of each file and folder the earlier half of the changes survives.
    KeepFirst,
    /// Of each file and folder the later half of the changes survives: what came first is missing.
    KeepLast,
    /// Each change survives by chance, writes sector by sector; the seed names the outcome.
    Random(u64),
}

/// A file system in memory; clones share it.
#[derive(Debug, Clone, Default)]
pub struct MemVfs(Arc<Mutex<Disk>>);

#[derive(Debug)]
struct MemFile {
    disk: Arc<Mutex<Disk>>,
    file: u64,
}

impl MemVfs {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of changing operations so far.
    pub fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    /// Lets a fault wait for its operation.
    pub fn arm(&self, fault: Fault) {
        self.0.lock().faults.push(fault);
    }

    /// Forgets the faults that wait.
    pub fn disarm(&self) {
        self.0.lock().faults.clear();
    }

    /// Stops the machine now.
    pub fn power_off(&self) {
        self.0.lock().off = true;
    }

    /// True once the machine has stopped.
    pub fn is_off(&self) -> bool {
        self.0.lock().off
    }

    /// The disk that the next start finds; this one keeps its state, so several losses can be tried.
    pub fn restart(&self, loss: Loss) -> Self {
        Self(Arc::new(Mutex::new(self.0.lock().after(loss))))
    }

    /// Limits the bytes of all named files together.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.0.lock().capacity = bytes;
    }

    /// Bytes of all named files together.
    pub fn used(&self) -> u64 {
        self.0.lock().used()
    }

    /// Changes one byte on the disk behind everybody's back, in the page cache too.
    ///
    /// # Errors
    /// `NotFound` when there is no such file.
    pub fn damage(&self, path: &Path, offset: u64, change: impl Fn(u8) -> u8) -> io::Result<()> {
        let mut disk = self.0.lock();
        let (dir, name) = split(path)?;
        let file = *disk.dir(&dir)?.current.get(&name).ok_or_else(|| not_found(path))?;
        disk.change_byte(file, offset as usize, change);
        Ok(())
    }
}

impl Vfs for MemVfs {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        // Folders are durable at once: losing them would only repeat the history of an empty disk.
        let mut disk = self.0.lock();
        disk.powered()?;
        for ancestor in dir.ancestors() {
            disk.dirs.entry(ancestor.to_path_buf()).or_default();
        }
        Ok(())
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        let mut disk = self.0.lock();
        disk.powered()?;
        let (dir, name) = split(path)?;
        let existing = disk.dir(&dir)?.current.get(&name).copied();
        let file = match (mode, existing) {
            (OpenMode::Read | OpenMode::Write, Some(file)) => file,
            (OpenMode::Read | OpenMode::Write, None) => return Err(not_found(path)),
            (OpenMode::CreateNew, Some(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            (OpenMode::CreateNew, None) | (OpenMode::Truncate, _) => {
                match disk.step()? {
                    Step::Whole | Step::Short => {}
                    Step::PartThenOff => return Err(disk.cut_power()),
                    Step::Fail(kind) => return Err(kind.into()),
                }
                let file = disk.new_file();
                disk.dir(&dir)?.put(&name, file);
                file
            }
        };
        Ok(Arc::new(MemFile { disk: Arc::clone(&self.0), file }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut disk = self.0.lock();
        disk.powered()?;
        Ok(disk.dir(dir)?.current.keys().cloned().collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.0.lock();
        let (dir, from_name) = split(from)?;
        let (to_dir, to_name) = split(to)?;
        if dir != to_dir {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        disk.powered()?;
        let file = *disk.dir(&dir)?.current.get(&from_name).ok_or_else(|| not_found(from))?;
        match disk.step()? {
            Step::Whole | Step::Short => disk.dir(&dir)?.rename(&from_name, &to_name, file),
            Step::PartThenOff => return Err(disk.cut_power()),
            Step::Fail(kind) => return Err(kind.into()),
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.0.lock();
        let (dir, name) = split(path)?;
        disk.powered()?;
        if !disk.dir(&dir)?.current.contains_key(&name) {
            return Err(not_found(path));
        }
        match disk.step()? {
            Step::Whole | Step::Short => disk.dir(&dir)?.remove(&name),
            Step::PartThenOff => return Err(disk.cut_power()),
            Step::Fail(kind) => return Err(kind.into()),
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.0.lock();
        match disk.step()? {
            Step::Whole | Step::Short => disk.dir(dir)?.sync(),
            Step::PartThenOff => return Err(disk.cut_power()),
            Step::Fail(kind) => return Err(kind.into()),
        }
        Ok(())
    }

    fn space(&self, _: &Path) -> io::Result<DiskSpace> {
        let disk = self.0.lock();
        let total = disk.capacity.unwrap_or(1 << 50);
        Ok(DiskSpace { total, available: total.saturating_sub(disk.used()) })
    }

    fn boot_id(&self) -> [u8; 16] {
        let mut id = [1; 16];
        id[8..].copy_from_slice(&self.0.lock().boot.to_le_bytes());
        id
    }
}

impl VfsFile for MemFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let disk = self.disk.lock();
        disk.powered()?;
        let bytes = disk.bytes(self.file);
        let start = bytes.len().min(offset as usize);
        let count = buffer.len().min(bytes.len() - start);
        buffer[..count].copy_from_slice(&bytes[start..start + count]);
        Ok(count)
    }

    fn write_vectored_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut disk = self.disk.lock();
        let mut bytes = Vec::with_capacity(slices.iter().map(|slice| slice.len()).sum());
        slices.iter().for_each(|slice| bytes.extend_from_slice(slice));
        let step = disk.step()?;
        match step {
            Step::Whole => {}
            Step::Short => bytes.truncate(bytes.len().div_ceil(2)),
            Step::PartThenOff | Step::Fail(_) => bytes.truncate(bytes.len() / 2),
        }
        let count = bytes.len();
        disk.write(self.file, offset as usize, bytes.into())?;
        match step {
            Step::Whole | Step::Short => Ok(count),
            Step::PartThenOff => Err(disk.cut_power()),
            Step::Fail(kind) => Err(kind.into()),
        }
    }

    /// Does to the bytes behind the end what it may: they become zero.
    fn append_vectored_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let size: usize = slices.iter().map(|slice| slice.len()).sum();
        let end = offset as usize + size;
        let file_size = self.size()? as usize;
        let padding = vec![0; (end.next_multiple_of(BLOCK).min(file_size)).saturating_sub(end)];
        let mut padded: Vec<IoSlice<'_>> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
        padded.push(IoSlice::new(&padding));
        Ok(self.write_vectored_at(&padded, offset)?.min(size))
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        let mut disk = self.disk.lock();
        match disk.step()? {
            Step::Whole | Step::Short => disk.grow(self.file, size as usize),
            Step::PartThenOff => Err(disk.cut_power()),
            Step::Fail(kind) => Err(kind.into()),
        }
    }

    fn zero_range(&self, offset: u64, size: u64) -> io::Result<()> {
        let mut disk = self.disk.lock();
        match disk.step()? {
            Step::Whole | Step::Short => {
                disk.write(self.file, offset as usize, vec![0; size as usize].into())
            }
            Step::PartThenOff => Err(disk.cut_power()),
            Step::Fail(kind) => Err(kind.into()),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.disk.lock();
        match disk.step()? {
            Step::Whole | Step::Short => {
                disk.sync(self.file);
                Ok(())
            }
            Step::PartThenOff => Err(disk.cut_power()),
            Step::Fail(kind) => {
                disk.forget_pending(self.file);
                Err(kind.into())
            }
        }
    }

    fn size(&self) -> io::Result<u64> {
        let disk = self.disk.lock();
        disk.powered()?;
        Ok(disk.bytes(self.file).len() as u64)
    }

    fn map(&self) -> io::Result<Option<Mapping>> {
        Ok(None)
    }
}

fn split(path: &Path) -> io::Result<(PathBuf, String)> {
    match (path.parent(), path.file_name().and_then(|name| name.to_str())) {
        (Some(dir), Some(name)) => Ok((dir.to_path_buf(), name.to_owned())),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, path.display().to_string())),
    }
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, path.display().to_string())
}

//! The operating system's files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::FallocateFlags;

use super::direct::Appends;
use super::{DiskSpace, Mapping, OpenMode, Vfs, VfsFile};

/// The operating system's file system.
#[derive(Debug, Default, Clone, Copy)]
pub struct RealVfs;

#[derive(Debug)]
pub(super) struct RealFile {
    file: File,
    /// The one writer's.
    appends: Mutex<Appends>,
}

impl RealFile {
    pub(super) fn new(file: File) -> RealFile {
        RealFile { file, appends: Mutex::new(Appends::Unknown) }
    }
}

impl Vfs for RealVfs {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => {}
            OpenMode::Write => drop(options.write(true)),
            OpenMode::CreateNew => drop(options.write(true).create_new(true)),
            OpenMode::Truncate => drop(options.write(true).create(true).truncate(true)),
        }
        Ok(Arc::new(RealFile::new(options.open(path)?)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn space(&self, dir: &Path) -> io::Result<DiskSpace> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(DiskSpace {
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
            available: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    }

    fn boot_id(&self) -> [u8; 16] {
        // Source: proc(5), /proc/sys/kernel/random/boot_id: a UUID drawn at every boot. Where it cannot be read every
        // start counts as one after a reboot, which only makes a node more careful.
        let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
        let mut id = [0; 16];
        if digits.len() == 32 {
            for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
                *byte = pair[0] << 4 | pair[1];
            }
            id
        } else {
            rand::random()
        }
    }
}

impl VfsFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_vectored_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.appends.lock().forget_tail();
        Ok(rustix::io::pwritev(&self.file, slices, offset)?)
    }

    fn append_vectored_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.appends.lock().append(&self.file, slices, offset)
    }

    fn end_appends(&self) {
        *self.appends.lock() = Appends::Unknown;
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, size) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::OPNOTSUPP) => {
                fill_with_zeros(&self.file, self.file.metadata()?.len(), size)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn zero_range(&self, offset: u64, size: u64) -> io::Result<()> {
        if size == 0 {
            return Ok(());
        }
        self.appends.lock().forget_tail();
        match rustix::fs::fallocate(&self.file, FallocateFlags::ZERO_RANGE, offset, size) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::OPNOTSUPP) => fill_with_zeros(&self.file, offset, offset + size),
            Err(error) => Err(error.into()),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(rustix::fs::fdatasync(&self.file)?)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn map(&self) -> io::Result<Option<Mapping>> {
        let size = usize::try_from(self.size()?).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        if size == 0 {
            return Ok(None);
        }
        Mapping::of_file(&self.file, size).map(Some)
    }
}

/// For file systems without fallocate: writing is the only way to be sure of the room.
fn fill_with_zeros(file: &File, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; 1 << 20];
    let mut at = from;
    while at < to {
        let size = (to - at).min(zeros.len() as u64) as usize;
        file.write_all_at(&zeros[..size], at)?;
        at += size as u64;
    }
    Ok(())
}

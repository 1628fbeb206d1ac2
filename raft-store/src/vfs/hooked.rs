//! A file system that asks before every call, for tests: who calls, how long it takes, whether it fails.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{DiskSpace, Mapping, OpenMode, Vfs, VfsFile};

/// A call that is about to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    CreateDir,
    Open(OpenMode),
    List,
    Rename,
    Remove,
    SyncDir,
    Space,
    Read,
    Write,
    Append,
    Allocate,
    ZeroRange,
    Sync,
    Size,
    Map,
}

/// What is asked.
pub(crate) trait Hook: std::fmt::Debug + Send + Sync + 'static {
    /// Runs on the calling thread; an error takes the place of the call. The path is the one that the file was opened by.
    fn before(&self, call: Call, path: &Path) -> io::Result<()>;

    /// The machine's start, where the hook wants another than the real one.
    fn boot_id(&self, real: [u8; 16]) -> [u8; 16] {
        real
    }

    /// The mapping that the caller gets.
    fn mapping(&self, real: Option<Mapping>) -> Option<Mapping> {
        real
    }
}

/// A file system behind a hook.
#[derive(Debug)]
pub(crate) struct Hooked {
    vfs: Arc<dyn Vfs>,
    hook: Arc<dyn Hook>,
}

#[derive(Debug)]
struct HookedFile {
    file: Arc<dyn VfsFile>,
    hook: Arc<dyn Hook>,
    path: PathBuf,
}

impl Hooked {
    pub(crate) fn new(vfs: impl Vfs, hook: Arc<dyn Hook>) -> Self {
        Self { vfs: Arc::new(vfs), hook }
    }
}

impl Vfs for Hooked {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.hook.before(Call::CreateDir, dir)?;
        self.vfs.create_dir_all(dir)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        self.hook.before(Call::Open(mode), path)?;
        let file = self.vfs.open(path, mode)?;
        Ok(Arc::new(HookedFile { file, hook: Arc::clone(&self.hook), path: path.to_path_buf() }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.hook.before(Call::List, dir)?;
        self.vfs.list(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.hook.before(Call::Rename, from)?;
        self.vfs.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.hook.before(Call::Remove, path)?;
        self.vfs.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.hook.before(Call::SyncDir, dir)?;
        self.vfs.sync_dir(dir)
    }

    fn space(&self, dir: &Path) -> io::Result<DiskSpace> {
        self.hook.before(Call::Space, dir)?;
        self.vfs.space(dir)
    }

    fn boot_id(&self) -> [u8; 16] {
        self.hook.boot_id(self.vfs.boot_id())
    }
}

impl VfsFile for HookedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.hook.before(Call::Read, &self.path)?;
        self.file.read_at(buffer, offset)
    }

    fn write_vectored_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.hook.before(Call::Write, &self.path)?;
        self.file.write_vectored_at(slices, offset)
    }

    fn append_vectored_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.hook.before(Call::Append, &self.path)?;
        self.file.append_vectored_at(slices, offset)
    }

    fn end_appends(&self) {
        self.file.end_appends();
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        self.hook.before(Call::Allocate, &self.path)?;
        self.file.allocate(size)
    }

    fn zero_range(&self, offset: u64, size: u64) -> io::Result<()> {
        self.hook.before(Call::ZeroRange, &self.path)?;
        self.file.zero_range(offset, size)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.hook.before(Call::Sync, &self.path)?;
        self.file.sync_data()
    }

    fn size(&self) -> io::Result<u64> {
        self.hook.before(Call::Size, &self.path)?;
        self.file.size()
    }

    fn map(&self) -> io::Result<Option<Mapping>> {
        self.hook.before(Call::Map, &self.path)?;
        Ok(self.hook.mapping(self.file.map()?))
    }
}

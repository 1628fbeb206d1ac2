//! Products with a known fault, to see that the invariants notice: a judge that can't find anything guilty proves nothing.
//!
//! Nearly all are made of the seams that a simulation has anyway, so the product carries none of it. What no seam shows is a mutant of
//! the product's own (`mutants/src/lib.rs`), in builds with the feature `faults`.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::ValueEnum;
use flotilla_raft_store::vfs::{DiskSpace, Mapping, MemVfs, OpenMode, Vfs, VfsFile};

/// A fault of the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mutant {
    /// Every seventh sync of a segment does nothing.
    SkippedSync,
    /// The vote's file is never synced.
    UnsyncedVote,
    /// New and changed names in folders are never synced.
    UnsyncedNames,
    /// One replica applies some entries without messages as if they were blank, which no check of its own notices.
    SkippedEntry,
    /// Numbers of messages are not taken back when the log is cut.
    KeptNumbers,
    /// A checkpoint is one entry ahead of where it says.
    AheadCheckpoint,
    /// One replica answers proposals that it refused as unknown, and those that it committed as refused.
    SwappedAnswers,
    /// One replica that has led goes on to register as the leader of whatever term it knows.
    KeptClaim,
    /// One replica tells its leader that no consumer is connected to it.
    ForgottenMembers,
    /// A name server takes whatever claims to lead: the product's own mutant, in builds that have it.
    #[cfg(feature = "faults")]
    AcceptLowerTerm,
}

/// Runs with the fault of the product's own that this one stands for, if any.
#[cfg(feature = "faults")]
pub fn within<T>(mutant: Option<Mutant>, run: impl FnOnce() -> T) -> T {
    match mutant {
        Some(Mutant::AcceptLowerTerm) => {
            flotilla_mutants::while_on(flotilla_mutants::Mutant::AcceptLowerTerm, run)
        }
        _ => run(),
    }
}

/// This build has none of the product's own.
#[cfg(not(feature = "faults"))]
pub fn within<T>(_: Option<Mutant>, run: impl FnOnce() -> T) -> T {
    run()
}

/// The disk as a product with this fault uses it.
pub fn disk(mutant: Option<Mutant>, disk: &MemVfs) -> Arc<dyn Vfs> {
    match mutant {
        Some(mutant @ (Mutant::SkippedSync | Mutant::UnsyncedVote | Mutant::UnsyncedNames)) => {
            Arc::new(Careless { mutant, disk: disk.clone(), syncs: Arc::default() })
        }
        _ => Arc::new(disk.clone()),
    }
}

/// Leaves syncs out.
#[derive(Debug)]
struct Careless {
    mutant: Mutant,
    disk: MemVfs,
    syncs: Arc<AtomicU64>,
}

#[derive(Debug)]
struct CarelessFile {
    mutant: Mutant,
    file: Arc<dyn VfsFile>,
    path: PathBuf,
    syncs: Arc<AtomicU64>,
}

impl Vfs for Careless {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir_all(dir)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        let file = self.disk.open(path, mode)?;
        let (path, syncs) = (path.to_path_buf(), Arc::clone(&self.syncs));
        Ok(Arc::new(CarelessFile { mutant: self.mutant, file, path, syncs }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if self.mutant == Mutant::UnsyncedNames { Ok(()) } else { self.disk.sync_dir(dir) }
    }

    fn space(&self, dir: &Path) -> io::Result<DiskSpace> {
        self.disk.space(dir)
    }

    fn boot_id(&self) -> [u8; 16] {
        self.disk.boot_id()
    }
}

impl CarelessFile {
    /// Segments are named by their position, twenty digits.
    fn is_segment(&self) -> bool {
        self.path.file_name().is_some_and(|name| name.len() == 20)
    }

    fn forgets(&self) -> bool {
        match self.mutant {
            Mutant::SkippedSync => {
                self.is_segment() && self.syncs.fetch_add(1, Ordering::Relaxed).is_multiple_of(7)
            }
            Mutant::UnsyncedVote => self.path.ends_with("vote"),
            _ => false,
        }
    }
}

impl VfsFile for CarelessFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_vectored_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.file.write_vectored_at(slices, offset)
    }

    fn append_vectored_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.file.append_vectored_at(slices, offset)
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        self.file.allocate(size)
    }

    fn zero_range(&self, offset: u64, size: u64) -> io::Result<()> {
        self.file.zero_range(offset, size)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.forgets() { Ok(()) } else { self.file.sync_data() }
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn map(&self) -> io::Result<Option<Mapping>> {
        self.file.map()
    }
}

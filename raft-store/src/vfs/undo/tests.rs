//! The journal against the model: [`MemVfs`] with the same operations and the same loss.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;

use super::super::memory_state::SECTOR_SIZE;
use super::super::{Loss, MemVfs, OpenMode, Vfs, VfsFile};
use super::*;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const DIRS: [&str; 2] = ["x", "y"];

#[derive(Clone, Debug)]
enum Step {
    Open {
        dir: usize,
        name: usize,
        mode: OpenMode,
    },
    Write {
        file: usize,
        offset: u64,
        size: usize,
    },
    Append {
        file: usize,
        back: u64,
        size: usize,
    },
    Allocate {
        file: usize,
        size: u64,
    },
    Zero {
        file: usize,
        offset: u64,
        size: u64,
    },
    Sync {
        file: usize,
    },
    Rename {
        dir: usize,
        from: usize,
        to: usize,
    },
    Remove {
        dir: usize,
        name: usize,
    },
    SyncDir {
        dir: usize,
    },
    /// The process is killed and started again, over the same page cache.
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    let (dir, name, file) = (0..DIRS.len(), 0..NAMES.len(), 0..6_usize);
    let mode = prop_oneof![
        2 => Just(OpenMode::CreateNew),
        1 => Just(OpenMode::Truncate),
        2 => Just(OpenMode::Write)
    ];
    prop_oneof![
        4 => (dir.clone(), name.clone(), mode).prop_map(|(dir, name, mode)| Step::Open { dir, name, mode }),
        6 => (file.clone(), 0..20_000_u64, 1..6000_usize)
            .prop_map(|(file, offset, size)| Step::Write { file, offset, size }),
        6 => (file.clone(), 0..5000_u64, 1..6000_usize)
            .prop_map(|(file, back, size)| Step::Append { file, back, size }),
        2 => (file.clone(), 1..10_u64).prop_map(|(file, blocks)| Step::Allocate { file, size: blocks * 4096 }),
        2 => (file.clone(), 0..20_000_u64, 1..9000_u64)
            .prop_map(|(file, offset, size)| Step::Zero { file, offset, size }),
        4 => file.prop_map(|file| Step::Sync { file }),
        3 => (dir.clone(), name.clone(), name.clone())
            .prop_map(|(dir, from, to)| Step::Rename { dir, from, to }),
        2 => (dir.clone(), name).prop_map(|(dir, name)| Step::Remove { dir, name }),
        3 => dir.prop_map(|dir| Step::SyncDir { dir }),
        1 => Just(Step::Kill),
    ]
}

/// One side of the comparison.
struct Side {
    vfs: Arc<dyn Vfs>,
    root: PathBuf,
    files: Vec<Arc<dyn VfsFile>>,
}

impl Side {
    fn new(vfs: Arc<dyn Vfs>, root: &Path) -> Side {
        DIRS.iter().for_each(|dir| vfs.create_dir_all(&root.join(dir)).unwrap());
        Side { vfs, root: root.to_path_buf(), files: Vec::new() }
    }

    fn path(&self, dir: usize, name: usize) -> PathBuf {
        self.root.join(DIRS[dir]).join(NAMES[name])
    }

    /// Runs a step; what it came to.
    fn run(&mut self, step: &Step, number: u8) -> Result<(), io::ErrorKind> {
        let file = |at: &usize| self.files.get(self.files.len().wrapping_sub(1 + at % 6));
        let bytes = |size: usize| (0..size).map(|at| number ^ (at / 7) as u8).collect::<Vec<u8>>();
        let done = match step {
            Step::Open { dir, name, mode } => match self.vfs.open(&self.path(*dir, *name), *mode) {
                Ok(file) => {
                    self.files.push(file);
                    Ok(())
                }
                Err(error) => Err(error),
            },
            Step::Write { file: at, offset, size } => {
                file(at).map_or(Ok(()), |file| file.write_all_at(&bytes(*size), *offset))
            }
            Step::Append { file: at, back, size } => file(at).map_or(Ok(()), |file| {
                // Within the file, whose length is whole blocks, as the log appends.
                let room = file.size()? / 4096 * 4096;
                let offset = room.saturating_sub(*back + 1);
                let size = (*size).min((room - offset.min(room)) as usize);
                match size {
                    0 => Ok(()),
                    size if file.size()?.is_multiple_of(4096) => {
                        file.append_all_vectored_at(&mut [IoSlice::new(&bytes(size))], offset)
                    }
                    _ => Ok(()),
                }
            }),
            Step::Allocate { file: at, size } => file(at).map_or(Ok(()), |file| file.allocate(*size)),
            Step::Zero { file: at, offset, size } => {
                file(at).map_or(Ok(()), |file| file.zero_range(*offset, *size))
            }
            Step::Sync { file: at } => file(at).map_or(Ok(()), |file| file.sync_data()),
            Step::Rename { dir, from, to } => self.vfs.rename(&self.path(*dir, *from), &self.path(*dir, *to)),
            Step::Remove { dir, name } => self.vfs.remove(&self.path(*dir, *name)),
            Step::SyncDir { dir } => self.vfs.sync_dir(&self.root.join(DIRS[*dir])),
            Step::Kill => Ok(()),
        };
        done.map_err(|error| error.kind())
    }

    /// Every file by its name.
    fn content(&self) -> BTreeMap<String, Vec<u8>> {
        let mut content = BTreeMap::new();
        for dir in DIRS {
            let dir = self.root.join(dir);
            for name in self.vfs.list(&dir).unwrap() {
                let path = dir.join(&name);
                let bytes = self.vfs.open(&path, OpenMode::Read).unwrap().read_all().unwrap();
                content.insert(path.strip_prefix(&self.root).unwrap().display().to_string(), bytes.to_vec());
            }
        }
        content
    }
}

fn loss() -> impl Strategy<Value = Loss> {
    prop_oneof![
        2 => Just(Loss::Everything),
        1 => Just(Loss::Nothing),
        1 => Just(Loss::KeepFirst),
        1 => Just(Loss::KeepLast),
        3 => any::<u32>().prop_map(|seed| Loss::Random(seed.into())),
    ]
}

/// The files under their names after a power loss are, byte for byte, those of the model: with all lost, and for each seed. Processes
/// that were killed on the way change nothing in that.
#[test]
fn prop_what_a_power_loss_leaves_is_what_the_model_leaves() {
    const CASES: u32 = 300;
    let history = (prop::collection::vec(step(), 1..80), loss());
    let (lost, kills) = (AtomicU32::new(0), AtomicU32::new(0));
    proptest!(ProptestConfig::with_cases(CASES), |((steps, loss) in history)| {
        let folder = tempfile::tempdir().unwrap();
        let (root, journal) = (folder.path().join("data").canonicalize_new(), folder.path().join("undo"));
        let memory = MemVfs::new();
        let mut model = Side::new(Arc::new(memory.clone()), &root);
        let mut real = Side::new(Arc::new(UndoVfs::open(&journal).unwrap()), &root);
        for (step, number) in steps.iter().zip(1..) {
            if let Step::Kill = step {
                // Only the handles that the kill has closed; those of the model go with them.
                (real.files, model.files) = (Vec::new(), Vec::new());
                real.vfs = Arc::new(super::super::RealVfs);
                real.vfs = Arc::new(UndoVfs::open(&journal).unwrap());
                kills.fetch_add(1, Ordering::Relaxed);
            }
            let done = (real.run(step, number), model.run(step, number));
            prop_assert_eq!(&done.0, &done.1, "step {} {:?}", number, step);
        }
        let before = model.content();
        prop_assert_eq!(real.content(), before.clone(), "before");
        drop(real);
        restore(&journal, loss, SECTOR_SIZE).unwrap();
        let after = Side::new(Arc::new(UndoVfs::open(&journal).unwrap()), &root);
        let expected = Side::new(Arc::new(memory.restart(loss)), &root);
        let (found, expected) = (after.content(), expected.content());
        prop_assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "names");
        for (name, bytes) in &expected {
            prop_assert!(found[name] == *bytes, "{} differs after {:?}", name, loss);
        }
        lost.fetch_add(u32::from(expected != before), Ordering::Relaxed);
    });
    let (lost, kills) = (lost.into_inner(), kills.into_inner());
    assert!(lost > CASES / 3 && kills > CASES / 3, "{lost} histories lost something, {kills} kills");
}

trait CanonicalizeNew {
    fn canonicalize_new(self) -> PathBuf;
}

impl CanonicalizeNew for PathBuf {
    fn canonicalize_new(self) -> PathBuf {
        fs::create_dir_all(&self).unwrap();
        self.canonicalize().unwrap()
    }
}

fn folders() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir_all(&data).unwrap();
    let journal = folder.path().join("undo");
    (folder, data, journal)
}

/// The journal as a kill in the middle of a note leaves it, wherever that is: what the torn note announces has not happened, and all
/// before it is taken back.
#[test]
fn a_torn_note_is_as_if_it_had_not_been_begun() {
    let (_folder, data, journal) = folders();
    let path = data.join("file");
    fs::write(&path, b"durable").unwrap();
    let vfs = UndoVfs::open(&journal).unwrap();
    let file = vfs.open(&path, OpenMode::Write).unwrap();
    file.write_all_at(b"lost", 0).unwrap();
    let first = fs::read(journal.join("journal")).unwrap().len();
    file.write_all_at(b"too", 4).unwrap();
    drop((file, vfs));
    let notes = fs::read(journal.join("journal")).unwrap();
    // As if killed before the second write.
    let killed = fs::read(&path).unwrap()[..4].iter().chain(b"ble").copied().collect::<Vec<u8>>();
    for end in first..notes.len() {
        fs::write(&path, &killed).unwrap();
        fs::write(journal.join("journal"), &notes[..end]).unwrap();
        if journal.join("f0").exists() {
            fs::remove_file(journal.join("f0")).unwrap();
        }
        fs::hard_link(&path, journal.join("f0")).unwrap();
        let restored = restore(&journal, Loss::Everything, SECTOR_SIZE).unwrap();
        assert_eq!((restored.files, restored.changes), (1, 1), "cut at {end}");
        assert_eq!(fs::read(&path).unwrap(), b"durable", "cut at {end}");
    }
}

#[test]
fn a_rename_that_was_announced_and_not_made_is_forgotten_by_the_next_process() {
    let (_folder, data, journal) = folders();
    let (from, to) = (data.join("from"), data.join("to"));
    fs::write(&from, b"1").unwrap();
    let vfs = UndoVfs::open(&journal).unwrap();
    vfs.rename(&from, &to).unwrap();
    drop(vfs);
    // The kill came between the note and the rename.
    fs::rename(&to, &from).unwrap();
    drop(UndoVfs::open(&journal).unwrap());
    let restored = restore(&journal, Loss::KeepLast, SECTOR_SIZE).unwrap();
    assert_eq!(restored.names, 0);
    assert!(from.exists() && !to.exists());
}

#[test]
fn each_power_loss_is_another_start_of_the_machine_and_a_kill_is_none() {
    let (_folder, _, journal) = folders();
    let boot_id = || UndoVfs::open(&journal).unwrap().boot_id();
    let first = boot_id();
    assert_eq!(first, super::super::RealVfs.boot_id());
    assert_eq!(first, boot_id());
    restore(&journal, Loss::Everything, SECTOR_SIZE).unwrap();
    let second = boot_id();
    restore(&journal, Loss::Random(1), SECTOR_SIZE).unwrap();
    assert!(second != first && boot_id() != second && boot_id() != first);
}

#[test]
fn a_journal_belongs_to_one_process() {
    let (_folder, _, journal) = folders();
    let vfs = UndoVfs::open(&journal).unwrap();
    assert_eq!(UndoVfs::open(&journal).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert_eq!(restore(&journal, Loss::Everything, 512).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    drop(vfs);
    assert!(UndoVfs::open(&journal).is_ok());
}

/// A long run needs no more room than what is not synced.
#[test]
fn what_is_durable_or_gone_takes_no_room() {
    let (_folder, data, journal) = folders();
    let vfs = UndoVfs::open(&journal).unwrap();
    let file = vfs.open(&data.join("stays"), OpenMode::CreateNew).unwrap();
    file.allocate(1 << 20).unwrap();
    vfs.sync_dir(&data).unwrap();
    let noise: Vec<u8> = (0..1 << 20).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for round in 0..200 {
        let gone = vfs.open(&data.join("gone"), OpenMode::Truncate).unwrap();
        gone.write_all_at(b"never synced", 0).unwrap();
        drop(gone);
        file.write_all_at(&noise, round % 2).unwrap();
        file.sync_data().unwrap();
        vfs.sync_dir(&data).unwrap();
    }
    let count = fs::read_dir(&journal).unwrap().count();
    assert!(count <= 3 + 2 + 16, "{count}: journal, lock, two files with names, few without");
    assert!(fs::metadata(journal.join("journal")).unwrap().len() <= (64 << 20) + (2 << 20));
    file.write_all_at(b"lost", 100).unwrap();
    drop((file, vfs));
    restore(&journal, Loss::Everything, SECTOR_SIZE).unwrap();
    let left = fs::read(data.join("stays")).unwrap();
    assert!(left[1..noise.len() + 1] == noise[..]);
}

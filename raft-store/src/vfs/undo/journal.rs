//! The journal: a file of notes, and what of them still counts.
//!
//! A folder holds `journal`, a second name `f<number>` for every file that may have to be brought back, `boot` (how often the machine
//! has lost its power) and `lock`. A file's second name keeps its bytes when its own names are gone.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::super::memory_state::NameChange;
use super::record::{Note, decode, encode};

const JOURNAL: &str = "journal";
const BOOT: &str = "boot";
const LOCK: &str = "lock";
/// A journal that is longer than this, and than twice what counts of it, is written anew.
const JOURNAL_BYTES: u64 = 64 << 20;

/// Files out of reach whose content was never synced, kept because a seed draws for them too; so it does in the model.
const UNWANTED_MAX: usize = 16;

/// The journal of one folder, held by one process.
#[derive(Debug)]
pub(super) struct Journal {
    pub(super) dir: PathBuf,
    file: File,
    end: u64,
    /// Number of the next note.
    next: u64,
    next_file: u64,
    pub(super) files: BTreeMap<u64, Tracked>,
    by_inode: HashMap<(u64, u64), u64>,
    pub(super) dirs: BTreeMap<PathBuf, Vec<NamesPending>>,
    pub(super) boots: u64,
    _lock: File,
}

/// A file that has a second name here.
#[derive(Debug)]
pub(super) struct Tracked {
    inode: (u64, u64),
    pub(super) handles: usize,
    pub(super) pending: Vec<Place>,
}

/// Where a note lies in the journal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    number: u64,
    at: u64,
    size: u64,
}

/// A change of names that is not durable.
#[derive(Debug)]
pub(super) struct NamesPending {
    place: Place,
    pub(super) change: NameChange,
    pub(super) before: Vec<(String, Option<u64>)>,
}

impl Journal {
    /// Goes on with the journal of a folder, or begins one. What another process left unsynced is unsynced still.
    ///
    /// # Errors
    /// As the operating system reports; `WouldBlock` while another process holds the folder.
    pub(super) fn open(dir: &Path) -> io::Result<Journal> {
        fs::create_dir_all(dir)?;
        let dir = dir.canonicalize()?;
        let open = |name: &str| {
            File::options().read(true).write(true).create(true).truncate(false).open(dir.join(name))
        };
        let lock = open(LOCK)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::Error(error) => error,
            TryLockError::WouldBlock => io::Error::new(io::ErrorKind::WouldBlock, "its process runs"),
        })?;
        let boots = match fs::read_to_string(dir.join(BOOT)) {
            Ok(text) => text.trim().parse().map_err(io::Error::other)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        let mut journal = Journal {
            file: open(JOURNAL)?,
            dir,
            end: 0,
            next: 1,
            next_file: 0,
            files: BTreeMap::new(),
            by_inode: HashMap::new(),
            dirs: BTreeMap::new(),
            boots,
            _lock: lock,
        };
        journal.find_files()?;
        journal.replay()?;
        Ok(journal)
    }

    fn find_files(&mut self) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let number =
                name.to_str().and_then(|name| name.strip_prefix('f')).and_then(|name| name.parse().ok());
            if let Some(number) = number {
                self.insert(number, &entry.metadata()?);
            }
        }
        Ok(())
    }

    fn insert(&mut self, file: u64, metadata: &fs::Metadata) {
        let inode = (metadata.dev(), metadata.ino());
        self.files.insert(file, Tracked { inode, handles: 0, pending: Vec::new() });
        self.by_inode.insert(inode, file);
        self.next_file = self.next_file.max(file + 1);
    }

    fn replay(&mut self) -> io::Result<()> {
        let bytes = fs::read(self.dir.join(JOURNAL))?;
        let mut at = 0;
        let mut last = None;
        while let Some((number, note, size)) = decode(&bytes[at..]) {
            let place = Place { number, at: at as u64, size: size as u64 };
            at += size;
            self.next = number + 1;
            if let Note::Bytes { file, .. } | Note::Size { file, .. } = &note {
                self.next_file = self.next_file.max(file + 1);
            }
            last = match &note {
                Note::Names { dir, change, .. } => Some((number, dir.clone(), change.clone())),
                _ => None,
            };
            self.take(place, note);
        }
        // A kill in the middle of a note leaves a torn one: what it announces has not happened.
        self.end = at as u64;
        self.file.set_len(self.end)?;
        // One behind the last whole note of names may not have happened either.
        if let Some((number, dir, change)) = last
            && !self.has_happened(&dir, &change)
        {
            self.note(Note::Undone { number })?;
        }
        Ok(())
    }

    fn has_happened(&self, dir: &Path, change: &NameChange) -> bool {
        let is = |name: &str| {
            let metadata = fs::symlink_metadata(dir.join(name)).ok()?;
            self.by_inode.get(&(metadata.dev(), metadata.ino())).copied()
        };
        match change {
            NameChange::Put { name, file } => is(name) == Some(*file),
            NameChange::Rename { from, to, file } => {
                is(to) == Some(*file) && (from == to || is(from) != Some(*file))
            }
            NameChange::Remove { name } => fs::symlink_metadata(dir.join(name)).is_err(),
        }
    }

    /// Number of the newest note.
    pub(super) fn newest(&self) -> u64 {
        self.next - 1
    }

    /// Writes a note. It is in the hands of the operating system on return, so it survives a kill of the process.
    pub(super) fn note(&mut self, note: Note) -> io::Result<u64> {
        let number = self.next;
        let frame = encode(number, &note);
        self.file.write_all_at(&frame, self.end)?;
        let place = Place { number, at: self.end, size: frame.len() as u64 };
        self.next += 1;
        self.end += place.size;
        self.take(place, note);
        Ok(number)
    }

    fn take(&mut self, place: Place, note: Note) {
        match note {
            Note::Bytes { file, .. } | Note::Size { file, .. } => {
                // Without its second name a file was out of reach before.
                if let Some(tracked) = self.files.get_mut(&file) {
                    tracked.pending.push(place);
                }
            }
            Note::FileSynced { file, upto } => {
                if let Some(tracked) = self.files.get_mut(&file) {
                    tracked.pending.retain(|place| place.number > upto);
                }
            }
            Note::Names { dir, change, before } => {
                self.dirs.entry(dir).or_default().push(NamesPending { place, change, before });
            }
            Note::DirSynced { dir, upto } => {
                if let Some(pending) = self.dirs.get_mut(&dir) {
                    pending.retain(|names| names.place.number > upto);
                }
            }
            Note::Undone { number } => {
                self.dirs
                    .values_mut()
                    .for_each(|pending| pending.retain(|names| names.place.number != number));
            }
        }
    }

    /// The note at a place.
    pub(super) fn read(&self, place: Place) -> io::Result<Note> {
        let frame = self.frame(place)?;
        decode(&frame).map(|(_, note, _)| note).ok_or_else(|| io::Error::other("the undo journal is damaged"))
    }

    fn frame(&self, place: Place) -> io::Result<Vec<u8>> {
        let mut frame = vec![0; place.size as usize];
        self.file.read_exact_at(&mut frame, place.at)?;
        Ok(frame)
    }

    /// Second name of a file.
    pub(super) fn link(&self, file: u64) -> PathBuf {
        self.dir.join(format!("f{file}"))
    }

    /// Number of a file that has a name, from now on at the latest.
    ///
    /// # Errors
    /// `NotFound` when there is none, `CrossesDevices` when the journal lies on another file system.
    pub(super) fn track(&mut self, path: &Path) -> io::Result<u64> {
        let metadata = fs::symlink_metadata(path)?;
        if let Some(file) = self.by_inode.get(&(metadata.dev(), metadata.ino())) {
            return Ok(*file);
        }
        let file = self.next_file;
        fs::hard_link(path, self.link(file))?;
        self.insert(file, &metadata);
        Ok(file)
    }

    /// Number of a new, empty file, which has no other name yet.
    pub(super) fn create(&mut self) -> io::Result<u64> {
        let file = self.next_file;
        let created = File::options().write(true).create_new(true).open(self.link(file))?;
        self.insert(file, &created.metadata()?);
        Ok(file)
    }

    /// Lets go of a file.
    pub(super) fn forget(&mut self, file: u64) {
        if let Some(tracked) = self.files.remove(&file) {
            self.by_inode.remove(&tracked.inode);
            // One that stays is found by the next start and costs room only.
            fs::remove_file(self.link(file)).ok();
        }
    }

    /// Lets go of what nobody can want back, and shortens a long journal.
    ///
    /// # Errors
    /// As the operating system reports; nothing is lost.
    pub(super) fn tidy(&mut self) -> io::Result<()> {
        let named: Vec<u64> = self.dirs.values().flatten().flat_map(NamesPending::files).collect();
        let is_unwanted = |(file, tracked): &(&u64, &Tracked)| {
            tracked.handles == 0 && !named.contains(file) && self.is_out_of_reach(**file)
        };
        let (settled, unsettled): (Vec<_>, Vec<_>) =
            self.files.iter().filter(is_unwanted).partition(|(_, tracked)| tracked.pending.is_empty());
        let oldest = unsettled.len().saturating_sub(UNWANTED_MAX);
        let unwanted: Vec<u64> = settled.iter().chain(&unsettled[..oldest]).map(|(file, _)| **file).collect();
        unwanted.into_iter().for_each(|file| self.forget(file));
        let live: u64 = self.places().map(|place| place.size).sum();
        if self.end > JOURNAL_BYTES.max(2 * live) {
            self.shorten()?;
        }
        Ok(())
    }

    /// The second name is the only one.
    fn is_out_of_reach(&self, file: u64) -> bool {
        fs::metadata(self.link(file)).is_ok_and(|metadata| metadata.nlink() == 1)
    }

    fn places(&mut self) -> impl Iterator<Item = &mut Place> {
        let names = self.dirs.values_mut().flatten().map(|names| &mut names.place);
        self.files.values_mut().flat_map(|tracked| &mut tracked.pending).chain(names)
    }

    fn shorten(&mut self) -> io::Result<()> {
        let next = self.dir.join("journal.next");
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&next)?;
        let mut places: Vec<Place> = self.places().map(|place| *place).collect();
        places.sort_by_key(|place| place.number);
        let (mut end, mut moved) = (0, HashMap::new());
        for place in places {
            file.write_all_at(&self.frame(place)?, end)?;
            moved.insert(place.number, end);
            end += place.size;
        }
        fs::rename(next, self.dir.join(JOURNAL))?;
        (self.file, self.end) = (file, end);
        self.places().for_each(|place| place.at = moved[&place.number]);
        Ok(())
    }

    /// The power came back: the machine has started once more, and all that is there is on the disk.
    pub(super) fn begin_anew(mut self) -> io::Result<u64> {
        let boots = self.boots + 1;
        fs::write(self.dir.join("boot.next"), boots.to_string())?;
        fs::rename(self.dir.join("boot.next"), self.dir.join(BOOT))?;
        self.file.set_len(0)?;
        let files: Vec<u64> = self.files.keys().copied().collect();
        files.into_iter().for_each(|file| self.forget(file));
        Ok(boots)
    }
}

impl NamesPending {
    /// Files that it may bring back or leave.
    fn files(&self) -> Vec<u64> {
        let named = match &self.change {
            NameChange::Put { file, .. } | NameChange::Rename { file, .. } => Some(*file),
            NameChange::Remove { .. } => None,
        };
        self.before.iter().filter_map(|(_, file)| *file).chain(named).collect()
    }
}

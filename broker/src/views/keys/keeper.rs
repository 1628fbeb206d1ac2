//! Keeps the key index in step with the log: takes in what was applied, writes files, fills gaps, drops what is gone.
//!
//! The index of a node is a row of stretches of entries, each within one segment:
//!
//! ```text
//!  first retained entry                                                   newest applied entry
//!  │ file │ file │ gap: a file was missing or damaged │ file │ file │ tail, in memory │
//! ```
//! One step does the most urgent thing: the tail first, because queries wait for it; then a piece of the newest gap. A tail
//! becomes a file when its segment ends or it holds [`KEYS_PER_FILE`] keys.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::{debug, error, info, warn};

use super::hash::Hasher;
use super::part::Part;
use super::pulse::Pulse;
use super::tail::{LogEntry, Newest, Tail, VisitEntry};

/// Keys in memory before they become a file: twelve bytes each, and sixteen more while they are sorted.
pub(super) const KEYS_PER_FILE: usize = 1 << 20;

/// Bytes of payloads that one step looks at, so that a gap never keeps the tail waiting for long.
const STEP_BYTES: usize = 8 << 20;

/// A segment as the key index sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Position of its first record.
    pub base: u64,
    pub first_index: u64,
    pub last_index: u64,
    /// True when no record will be added.
    pub sealed: bool,
}

/// The log as the key index reads it.
pub trait EntrySource: Send + Sync {
    /// All retained segments with entries, oldest first; `None` while the log is not open yet.
    fn stretches(&self) -> Option<Vec<Stretch>>;

    /// Term of an entry of the log.
    fn term_of(&self, index: u64) -> Option<u64>;

    /// Shows the entries `first..=last`, in order, until the visitor breaks off. Blocks.
    ///
    /// # Errors
    /// An entry is gone or can't be read.
    fn read(&self, first: u64, last: u64, visit: &mut VisitEntry<'_>) -> io::Result<()>;
}

pub(super) struct Keeper {
    dir: PathBuf,
    source: Arc<dyn EntrySource>,
    hasher: Hasher,
    keys_per_file: usize,
    pub(super) pulse: Pulse,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Counts resets: what was built for an earlier state is thrown away.
    generation: u64,
    /// The folder was read since the last reset.
    opened: bool,
    /// By first entry.
    parts: BTreeMap<u64, Arc<Part>>,
    tail: Option<Tail>,
    /// No entry before the tail is missing, as far as is known.
    complete: bool,
}

/// What the thread alone knows.
#[derive(Default)]
pub(super) struct Hands {
    generation: u64,
    /// The gap that is being filled, up to this entry.
    filling: Option<(Tail, u64)>,
}

/// Why a step could not be done; the thread tries again at its next look.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeyError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("entry {0}: {1}")]
    Payload(u64, String),
    #[error("the log does not hold entry {0}")]
    Unknown(u64),
}

/// What a query looks at.
pub(super) struct Look {
    /// Newest first.
    pub(super) parts: Vec<Arc<Part>>,
    /// Positions in memory, oldest first.
    pub(super) in_memory: Vec<u64>,
    pub(super) newest: Option<Newest>,
}

impl Keeper {
    pub(super) fn new(
        dir: PathBuf,
        source: Arc<dyn EntrySource>,
        hasher: Hasher,
        keys_per_file: usize,
    ) -> Self {
        Self { dir, source, hasher, keys_per_file, pulse: Pulse::default(), state: Mutex::default() }
    }

    /// Starts over: the state is that of a checkpoint, with so many entries applied.
    pub(super) fn reset(&self, applied_count: u64) {
        {
            let mut state = self.state.lock();
            *state = State { generation: state.generation + 1, ..State::default() };
            self.pulse.applied(applied_count);
        }
        self.pulse.urge();
    }

    /// True when every entry below this number is indexed, and every retained one before.
    pub(super) fn covers(&self, count: u64) -> bool {
        let state = self.state.lock();
        state.complete && state.tail.as_ref().is_some_and(|tail| tail.next_index >= count)
    }

    /// Entries that are applied and not indexed.
    pub(super) fn behind(&self) -> u64 {
        let next = self.state.lock().tail.as_ref().map_or(0, |tail| tail.next_index);
        self.pulse.applied_count().saturating_sub(next)
    }

    pub(super) fn look(&self, hash: u64) -> Look {
        let state = self.state.lock();
        let mut in_memory = Vec::new();
        if let Some(tail) = &state.tail {
            tail.positions(hash, &mut in_memory);
        }
        let tail_newest = state.tail.as_ref().and_then(|tail| tail.newest);
        let parts: Vec<Arc<Part>> = state.parts.values().rev().cloned().collect();
        let newest = tail_newest.or_else(|| parts.iter().find_map(|part| part.newest));
        Look { parts, in_memory, newest }
    }

    pub(super) fn run(&self) {
        let mut hands = Hands::default();
        loop {
            let seen = self.state.lock().tail.as_ref().map_or(u64::MAX, |tail| tail.next_index);
            if !self.pulse.wait(seen) {
                return;
            }
            self.tidy();
            while !self.pulse.is_stopped() {
                match self.step(&mut hands) {
                    Ok(true) => self.pulse.step(),
                    Ok(false) => break,
                    Err(error) => {
                        error!(%error, "the key index can't go on");
                        break;
                    }
                }
            }
            self.pulse.step();
        }
    }

    /// Does the most urgent thing; true when there may be more to do at once.
    pub(super) fn step(&self, hands: &mut Hands) -> Result<bool, KeyError> {
        let Some(stretches) = self.source.stretches() else { return Ok(false) };
        let generation = {
            let state = self.state.lock();
            if hands.generation != state.generation {
                *hands = Hands { generation: state.generation, filling: None };
            }
            if state.opened { None } else { Some(state.generation) }
        };
        if let Some(generation) = generation {
            return self.open(&stretches, generation);
        }
        if self.advance(&stretches, hands.generation)? {
            return Ok(true);
        }
        self.fill(&stretches, hands)
    }

    /// Drops what the log no longer holds, and files that were found damaged.
    pub(super) fn tidy(&self) {
        let Some(stretches) = self.source.stretches() else { return };
        let Some(first) = stretches.first() else { return };
        let mut gone = Vec::new();
        {
            let mut state = self.state.lock();
            state.parts.retain(|_, part| {
                let stays = part.base >= first.base && !part.is_damaged();
                if !stays {
                    gone.push(part.clone());
                }
                stays
            });
            state.complete &= !gone.iter().any(|part| part.is_damaged());
            // A tail whose segment is gone starts over with the first that is there.
            if state.tail.as_ref().is_some_and(|tail| tail.base < first.base) {
                state.tail = Some(Tail::new(first.base, first.first_index));
            }
        }
        for part in gone {
            if part.is_damaged() {
                warn!(entry = part.first_index, "key file is damaged, rebuilding it from the log");
            }
            self.remove(part.first_index);
        }
    }

    /// Reads the folder: whole files of this history become parts, everything else goes.
    fn open(&self, stretches: &[Stretch], generation: u64) -> Result<bool, KeyError> {
        let Some(newest) = stretches.last() else { return Ok(false) };
        let mut parts: BTreeMap<u64, Arc<Part>> = BTreeMap::new();
        let mut names: Vec<(u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).filter(|name| name.len() == 20);
            match name.and_then(|name| name.parse().ok()) {
                Some(first_index) => names.push((first_index, path)),
                None => drop(fs::remove_file(path)),
            }
        }
        names.sort_unstable();
        for (first_index, path) in names {
            let part = Part::open(&path);
            let before = parts.values().next_back().map_or(0, |part| part.last_index + 1);
            match part {
                Ok(part)
                    if part.first_index == first_index
                        && first_index >= before
                        && self.is_of_the_log(&part, stretches) =>
                {
                    parts.insert(first_index, Arc::new(part));
                }
                Ok(_) => self.remove(first_index),
                Err(error) => {
                    warn!(file = %path.display(), %error, "key file can't be used, making it anew");
                    self.remove(first_index);
                }
            }
        }
        let applied = self.pulse.applied_count();
        let last = stretches.iter().rev().find(|stretch| stretch.first_index < applied).unwrap_or(newest);
        let known = parts.values().next_back().map_or(0, |part| part.last_index + 1);
        let next = known.max(last.first_index);
        let base =
            stretches.iter().rev().find(|stretch| stretch.first_index <= next).map_or(0, |found| found.base);
        debug!(files = parts.len(), next, "key index opened");
        let mut state = self.state.lock();
        if state.generation == generation {
            *state =
                State { generation, opened: true, parts, tail: Some(Tail::new(base, next)), complete: false };
        }
        Ok(true)
    }

    fn is_of_the_log(&self, part: &Part, stretches: &[Stretch]) -> bool {
        let holds = |stretch: &&Stretch| {
            stretch.base == part.base
                && stretch.first_index <= part.first_index
                && part.first_index <= part.last_index
                && part.last_index <= stretch.last_index
        };
        stretches.iter().any(|stretch| holds(&stretch))
            && self.source.term_of(part.last_index) == Some(part.last_term)
    }

    /// Takes a piece of what was applied into the tail; true when it did something.
    fn advance(&self, stretches: &[Stretch], generation: u64) -> Result<bool, KeyError> {
        let (next, base, count) = {
            let state = self.state.lock();
            let Some(tail) = state.tail.as_ref().filter(|_| state.generation == generation) else {
                return Ok(false);
            };
            (tail.next_index, tail.base, tail.len())
        };
        // The segment of the tail ends with its last entry, and a full tail is a file.
        let current = stretches.iter().find(|stretch| stretch.base == base);
        let ended = current.is_some_and(|stretch| stretch.sealed && next > stretch.last_index);
        if ended || count >= self.keys_per_file {
            return self.close_tail(stretches, generation);
        }
        let applied = self.pulse.applied_count();
        let Some(stretch) =
            stretches.iter().find(|stretch| stretch.first_index <= next && next <= stretch.last_index)
        else {
            return Ok(false);
        };
        if next >= applied {
            return Ok(false);
        }
        if stretch.base != base {
            // The tail is empty and stands at the end of a segment that had none of it.
            self.replace_tail(generation, next, Tail::new(stretch.base, next));
            return Ok(true);
        }
        let piece =
            self.read(Tail::new(base, next), stretch.last_index.min(applied - 1), self.keys_per_file)?;
        let mut state = self.state.lock();
        let same = state.generation == generation;
        if let Some(tail) =
            state.tail.as_mut().filter(|tail| same && tail.next_index == next && tail.base == base)
        {
            tail.append(piece);
        }
        Ok(true)
    }

    /// Makes the tail a file and begins another one.
    fn close_tail(&self, stretches: &[Stretch], generation: u64) -> Result<bool, KeyError> {
        let tail = {
            let state = self.state.lock();
            let Some(tail) = state.tail.as_ref().filter(|_| state.generation == generation) else {
                return Ok(false);
            };
            tail.clone()
        };
        let next = tail.next_index;
        let following =
            stretches.iter().find(|stretch| stretch.first_index <= next && next <= stretch.last_index);
        let part = if tail.next_index > tail.first_index { Some(self.write(&tail)?) } else { None };
        let base = match following {
            Some(stretch) => stretch.base,
            // The next segment has no entry yet.
            None => tail.base,
        };
        if part.is_none() && base == tail.base {
            return Ok(false);
        }
        let mut state = self.state.lock();
        if state.generation == generation && state.tail.as_ref().is_some_and(|known| known.next_index == next)
        {
            if let Some(part) = part {
                state.parts.insert(part.first_index, part);
            }
            state.tail = Some(Tail::new(base, next));
        }
        Ok(true)
    }

    fn replace_tail(&self, generation: u64, next: u64, with: Tail) {
        let mut state = self.state.lock();
        let same = state.generation == generation;
        if same && state.tail.as_ref().is_some_and(|tail| tail.next_index == next && tail.len() == 0) {
            state.tail = Some(with);
        }
    }

    /// Works on the newest gap; true when it did something.
    fn fill(&self, stretches: &[Stretch], hands: &mut Hands) -> Result<bool, KeyError> {
        if hands.filling.is_none() {
            let gap = {
                let mut state = self.state.lock();
                if state.complete || state.generation != hands.generation {
                    return Ok(false);
                }
                let gap = newest_gap(&state, stretches);
                state.complete = gap.is_none();
                gap
            };
            let Some((base, first, last)) = gap else { return Ok(true) };
            hands.filling = Some((Tail::new(base, first), last));
        }
        let Some((tail, last)) = hands.filling.take() else { return Ok(false) };
        if !stretches.iter().any(|stretch| stretch.base == tail.base) {
            // Purged meanwhile.
            return Ok(true);
        }
        let tail = self.read(tail, last, self.keys_per_file)?;
        if tail.next_index <= last && tail.len() < self.keys_per_file {
            hands.filling = Some((tail, last));
            return Ok(true);
        }
        let part = self.write(&tail)?;
        info!(first = part.first_index, last = part.last_index, "key file rebuilt from the log");
        let mut state = self.state.lock();
        if state.generation == hands.generation {
            state.parts.insert(part.first_index, part);
        }
        Ok(true)
    }

    /// Reads on up to an entry, as far as one step goes.
    fn read(&self, mut tail: Tail, last: u64, keys_max: usize) -> Result<Tail, KeyError> {
        let (mut bytes, mut failed) = (0, None);
        self.source.read(tail.next_index, last, &mut |entry: LogEntry<'_>| {
            if entry.index != tail.next_index {
                failed = Some(KeyError::Unknown(tail.next_index));
                return ControlFlow::Break(());
            }
            if let Some(payload) = entry.payload {
                if let Err(reason) = tail.extend(payload, self.hasher) {
                    failed = Some(KeyError::Payload(entry.index, reason));
                    return ControlFlow::Break(());
                }
                bytes += payload.len();
            }
            tail.next_index += 1;
            let enough = bytes >= STEP_BYTES || tail.len() >= keys_max;
            if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        match failed {
            Some(error) => Err(error),
            None => Ok(tail),
        }
    }

    fn write(&self, tail: &Tail) -> Result<Arc<Part>, KeyError> {
        let last = tail.next_index - 1;
        let term = self.source.term_of(last).ok_or(KeyError::Unknown(last))?;
        let path = self.path_of(tail.first_index);
        let unfinished = path.with_extension("tmp");
        Part::write(&unfinished, tail, term)?;
        fs::rename(&unfinished, &path)?;
        let part = Part::open(&path).map_err(|error| io::Error::other(error.to_string()))?;
        debug!(first = part.first_index, last, keys = tail.len(), "key file written");
        Ok(Arc::new(part))
    }

    fn path_of(&self, first_index: u64) -> PathBuf {
        self.dir.join(format!("{first_index:020}"))
    }

    fn remove(&self, first_index: u64) {
        if let Err(error) = fs::remove_file(self.path_of(first_index))
            && error.kind() != io::ErrorKind::NotFound
        {
            warn!(first_index, %error, "key file can't be removed");
        }
    }
}

/// The newest stretch of entries before the tail that no file covers: base, first and last entry.
fn newest_gap(state: &State, stretches: &[Stretch]) -> Option<(u64, u64, u64)> {
    let end = state.tail.as_ref()?.first_index;
    for stretch in stretches.iter().rev().filter(|stretch| stretch.first_index < end) {
        let mut above = end.min(stretch.last_index + 1);
        let within = state.parts.range(stretch.first_index..above);
        for part in within.rev().map(|(_, part)| part) {
            if part.last_index + 1 < above {
                return Some((stretch.base, part.last_index + 1, above - 1));
            }
            above = part.first_index;
        }
        if stretch.first_index < above {
            return Some((stretch.base, stretch.first_index, above - 1));
        }
    }
    None
}

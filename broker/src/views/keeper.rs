//! Keeps the view files in step with the segments: writes, loads, rebuilds, unlinks.
//!
//! One pass looks at all segments and does what is due; the thread runs a pass whenever it is woken and every few seconds. What a
//! pass finds decides, not what it was woken for, so no notice can be lost.
//!
//! | the segment is …                            | and …            | then                                        |
//! |---------------------------------------------|------------------|---------------------------------------------|
//! | gone                                        | has a file       | the file goes, and the parts of the queues  |
//! |                                             | is in memory     | its units are forgotten                     |
//! | sealed and applied, its units in memory     | has a whole file | the file takes their place                  |
//! |                                             | else             | it is written from memory                   |
//! | sealed and applied, begins before memory    | has a whole file | it is loaded                                |
//! |                                             | else             | it is rebuilt by scanning the segment       |
//! | not sealed and applied, begins before memory |                 | its head is scanned into memory             |
//!
//! Segments that reach into memory go first, oldest first, because memory shrinks from its front; the others follow newest first,
//! because most consumers read near the end.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use flotilla_core::Tables;
use parking_lot::Mutex;
use tracing::{error, info, warn};

use super::file::{Directory, Entry, ViewFile};
use super::queue::Part;
use super::scan::{ScanError, scan};
use super::segment::{Segment, SegmentSource};
use super::signal::Signal;
use super::topics::Topics;
use super::unit::{UNIT_SIZE, decode_all};

pub(super) struct Keeper {
    dir: PathBuf,
    source: Arc<dyn SegmentSource>,
    signal: Arc<Signal>,
    topics: ArcSwap<Topics>,
    /// Position behind the last applied entry; written after the queues have its messages.
    applied_end: AtomicU64,
    state: Mutex<State>,
    ready: AtomicBool,
}

/// What a pass and a reset must agree on.
#[derive(Default)]
struct State {
    /// Counts resets: what was built for an earlier state is thrown away.
    generation: u64,
    /// Units of messages from this log position on are in memory, if no file has taken their place.
    memory_from: u64,
    loaded: BTreeMap<u64, Arc<ViewFile>>,
}

/// Why a segment could not be dealt with; the next pass tries again.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Scan(#[from] ScanError),
    #[error("{topic} queue {queue_id}: units {first} to {end} don't fit the queue")]
    Misfit { topic: Arc<str>, queue_id: u32, first: i64, end: i64 },
    #[error("the state was replaced meanwhile")]
    Overtaken,
}

impl Keeper {
    pub(super) fn new(dir: PathBuf, source: Arc<dyn SegmentSource>) -> Self {
        let signal = Arc::new(Signal::default());
        Self {
            dir,
            source,
            topics: ArcSwap::from_pointee(Topics::new(signal.clone())),
            signal,
            applied_end: AtomicU64::new(0),
            state: Mutex::default(),
            ready: AtomicBool::new(false),
        }
    }

    pub(super) fn topics(&self) -> arc_swap::Guard<Arc<Topics>> {
        self.topics.load()
    }

    pub(super) fn applied(&self, end_position: u64) {
        self.applied_end.store(end_position, Ordering::Release);
    }

    pub(super) fn wake(&self) {
        self.signal.wake();
    }

    pub(super) fn stop(&self) {
        self.signal.stop();
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    pub(super) fn reset(&self, tables: &Tables) {
        let end = tables.applied().end_position;
        {
            let mut state = self.state.lock();
            state.generation += 1;
            state.memory_from = end;
            state.loaded.clear();
            self.ready.store(false, Ordering::Release);
            self.applied_end.store(end, Ordering::Release);
            self.topics.store(Arc::new(Topics::of(tables, self.signal.clone())));
        }
        self.wake();
    }

    pub(super) fn run(&self) {
        while self.signal.wait() {
            while self.pass() {}
        }
    }

    /// Does the most urgent thing; true when there may be more to do at once.
    pub(super) fn pass(&self) -> bool {
        // Taken first: whatever is built from here on is for this state or for none.
        let generation = self.state.lock().generation;
        let Some(segments) = self.source.segments() else { return false };
        self.drop_damaged();
        self.drop_purged(&segments);
        self.drop_memory(&segments, generation);
        let (front, behind) = self.due(&segments);
        // Memory shrinks from its front only, so nothing may overtake the first of these.
        let (first, mut failed) = (front.first(), false);
        for (segment, duty) in first.into_iter().chain(&behind) {
            match self.perform(segment, *duty, generation) {
                Ok(()) | Err(KeepError::Overtaken) => return true,
                Err(KeepError::Scan(ScanError::Stopped)) => return false,
                Err(error) => {
                    error!(base = segment.base, %error, "consume queue view of a segment can't be kept");
                    failed = true;
                }
            }
        }
        let state = self.state.lock();
        if state.generation == generation && !failed {
            self.ready.store(true, Ordering::Release);
        }
        false
    }

    fn perform(&self, segment: &Segment, duty: Duty, generation: u64) -> Result<(), KeepError> {
        match duty {
            Duty::Seal => self.take_over(segment, generation, |path| self.write_from_memory(path, segment)),
            Duty::Load => self.take_over(segment, generation, |path| self.write_from_log(path, segment)),
            Duty::Head => self.scan_head(segment, generation),
        }
    }

    /// What there is to do: with the units at the front of memory, in order, and with segments before memory.
    fn due(&self, segments: &[Segment]) -> (Vec<Due>, Vec<Due>) {
        let state = self.state.lock();
        let applied_end = self.applied_end.load(Ordering::Acquire);
        let memory_from = state.memory_from;
        let (mut front, mut behind) = (Vec::new(), Vec::new());
        for segment in segments.iter().filter(|segment| !state.loaded.contains_key(&segment.base)) {
            let whole = segment.sealed && segment.end <= applied_end;
            match whole {
                true if segment.base >= memory_from => front.push((*segment, Duty::Seal)),
                true if segment.end > memory_from => front.push((*segment, Duty::Load)),
                true => behind.push((*segment, Duty::Load)),
                false if segment.base < memory_from => front.push((*segment, Duty::Head)),
                false => {}
            }
        }
        behind.reverse();
        (front, behind)
    }

    fn path_of(&self, base: u64) -> PathBuf {
        self.dir.join(format!("{base:020}"))
    }

    fn drop_damaged(&self) {
        let damaged: Vec<Arc<ViewFile>> =
            self.state.lock().loaded.values().filter(|file| file.is_damaged()).cloned().collect();
        for file in damaged {
            warn!(base = file.segment.base, "view file is damaged, rebuilding it from the log");
            self.ready.store(false, Ordering::Release);
            self.forget(&file);
            self.remove(file.segment.base);
        }
    }

    /// Files whose segments are gone, those of a history that is gone, and left-overs of an earlier stop.
    fn drop_purged(&self, segments: &[Segment]) {
        let stale: Vec<Arc<ViewFile>> = {
            let state = self.state.lock();
            state.loaded.values().filter(|file| !segments.contains(&file.segment)).cloned().collect()
        };
        for file in &stale {
            self.forget(file);
        }
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) => {
                return warn!(dir = %self.dir.display(), %error, "folder of the views can't be read");
            }
        };
        for entry in entries.flatten() {
            let base =
                entry.file_name().to_str().filter(|name| name.len() == 20).and_then(|name| name.parse().ok());
            let kept = base.is_some_and(|base: u64| segments.iter().any(|segment| segment.base == base));
            if !kept && let Err(error) = fs::remove_file(entry.path()) {
                warn!(path = %entry.path().display(), %error, "view file can't be removed");
            }
        }
    }

    /// Units in memory of a segment that was purged before its file was written: they point to nothing, and would stand before
    /// those of the next one.
    fn drop_memory(&self, segments: &[Segment], generation: u64) {
        let Some(first) = segments.first() else { return };
        let mut state = self.state.lock();
        if state.generation == generation && state.memory_from < first.base {
            for (_, _, queue) in self.topics().all() {
                queue.forget_memory(first.base);
            }
            state.memory_from = first.base;
        }
    }

    fn remove(&self, base: u64) {
        if let Err(error) = fs::remove_file(self.path_of(base))
            && error.kind() != io::ErrorKind::NotFound
        {
            warn!(base, %error, "view file can't be removed");
        }
    }

    /// Takes a file's parts out of the queues.
    fn forget(&self, file: &Arc<ViewFile>) {
        let mut state = self.state.lock();
        if state.loaded.get(&file.segment.base).is_some_and(|loaded| Arc::ptr_eq(loaded, file)) {
            state.loaded.remove(&file.segment.base);
            for (_, _, queue) in self.topics().all() {
                queue.detach(file);
            }
        }
    }

    /// Loads a segment's file, after having written it when there is no whole one.
    fn take_over(
        &self,
        segment: &Segment,
        generation: u64,
        write: impl Fn(&Path) -> Result<(), KeepError>,
    ) -> Result<(), KeepError> {
        let path = self.path_of(segment.base);
        let found = match ViewFile::open(&path, segment) {
            Ok(opened) => self.attach(opened, generation),
            Err(error) => {
                if path.exists() {
                    warn!(base = segment.base, %error, "view file can't be used, making it anew");
                }
                Err(KeepError::Io(io::ErrorKind::NotFound.into()))
            }
        };
        match found {
            Ok(()) => return Ok(()),
            Err(KeepError::Overtaken) => return Err(KeepError::Overtaken),
            // Whole by its checksums and still not about these queues: believe the log.
            Err(error @ KeepError::Misfit { .. }) => {
                warn!(base = segment.base, %error, "view file can't be used, making it anew")
            }
            Err(_) => {}
        }
        let unfinished = path.with_extension("tmp");
        write(&unfinished)?;
        fs::rename(&unfinished, &path)?;
        let opened = ViewFile::open(&path, segment).map_err(|error| io::Error::other(error.to_string()))?;
        self.attach(opened, generation)?;
        info!(base = segment.base, end = segment.end, "view file of a segment written");
        Ok(())
    }

    /// Gives a file's parts to the queues; all or none.
    fn attach(&self, (file, directory): (ViewFile, Directory), generation: u64) -> Result<(), KeepError> {
        let file = Arc::new(file);
        let mut state = self.state.lock();
        if state.generation != generation {
            return Err(KeepError::Overtaken);
        }
        let topics = self.topics();
        let mut parts = Vec::with_capacity(directory.len());
        let mut at = 0;
        for Entry { topic, queue_id, first, count } in directory {
            let part = Part { first, count, at, file: file.clone() };
            at += u64::from(count);
            match topics.queue(&topic, queue_id) {
                Some(queue) if queue.fits(&part) => parts.push((queue, part)),
                _ => {
                    let end = first + i64::from(count);
                    return Err(KeepError::Misfit { topic, queue_id, first, end });
                }
            }
        }
        for (queue, part) in parts {
            queue.attach(part);
        }
        state.memory_from = state.memory_from.max(file.segment.end);
        state.loaded.insert(file.segment.base, file);
        Ok(())
    }

    fn write_from_memory(&self, path: &Path, segment: &Segment) -> Result<(), KeepError> {
        let queues = self.topics().all();
        let mut directory = Directory::new();
        let mut views = Vec::new();
        for (topic, queue_id, queue) in queues {
            let (first, range) = queue.memory_of(segment);
            if range.start > 0 {
                let end = first + range.start as i64;
                return Err(KeepError::Misfit { topic, queue_id, first, end });
            }
            if !range.is_empty() {
                let count = u32::try_from(range.end).expect("a segment holds less than 2^32 messages");
                directory.push(Entry { topic, queue_id, first, count });
                views.push(queue);
            }
        }
        let mut next = 0;
        ViewFile::write(path, segment, &directory, |entry, skip, count, out| {
            let queue = &views[next];
            next += usize::from(skip + count == entry.count);
            // Only a reset takes units away meanwhile, and then the file is not wanted.
            let copied = queue.copy_memory(entry.first + i64::from(skip), count, out);
            if copied { Ok(()) } else { Err(io::ErrorKind::Interrupted.into()) }
        })?;
        Ok(())
    }

    fn write_from_log(&self, path: &Path, segment: &Segment) -> Result<(), KeepError> {
        let scanned = scan(&*self.source, &self.signal, segment, segment.end)?;
        let directory: Directory = scanned
            .iter()
            .map(|((topic, queue_id), units)| Entry {
                topic: topic.clone(),
                queue_id: *queue_id,
                first: units.first,
                count: units.count(),
            })
            .collect();
        ViewFile::write(path, segment, &directory, |entry, skip, count, out| {
            let units = &scanned[&(entry.topic.clone(), entry.queue_id)];
            let start = skip as usize * UNIT_SIZE;
            out.extend_from_slice(&units.bytes[start..start + count as usize * UNIT_SIZE]);
            Ok(())
        })?;
        Ok(())
    }

    /// Brings what lies before memory in a segment that has no file yet into memory.
    fn scan_head(&self, segment: &Segment, generation: u64) -> Result<(), KeepError> {
        let memory_from = self.state.lock().memory_from;
        let scanned = scan(&*self.source, &self.signal, segment, memory_from)?;
        let mut state = self.state.lock();
        if state.generation != generation {
            return Err(KeepError::Overtaken);
        }
        let topics = self.topics();
        for ((topic, queue_id), units) in scanned {
            let mut decoded = Vec::new();
            decode_all(&units.bytes, &mut decoded);
            let fits =
                topics.queue(&topic, queue_id).is_some_and(|queue| queue.prepend(units.first, &decoded));
            if !fits {
                let end = units.first + decoded.len() as i64;
                return Err(KeepError::Misfit { topic, queue_id, first: units.first, end });
            }
        }
        state.memory_from = segment.base;
        Ok(())
    }
}

type Due = (Segment, Duty);

/// What is due for a segment, see the table above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Duty {
    Seal,
    Load,
    Head,
}

//! The log as its owner, the group's thread, sees it.
//!
//! Nothing here waits for the disk, except `open`, `close`, and the reading back of old entries in `truncate_after` and
//! `install`, both rare.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;

use super::background::Task;
use super::checkpoint::Checkpoints;
use super::engine::Engine;
use super::jobs::Job;
use super::reader::LogReader;
use super::recovery::{Opened, Recovered, RecoveryVisitor, recover};
use super::room::{LogRoom, Space};
use super::segment::SEGMENT_HEADER_SIZE;
use super::shared::Shared;
use super::time::{Clock, LeaderTime};
use super::{Fault, LogOptions, OpenError, WriterMode};
use crate::types::{ChainPoint, Done, LogId, Stamper, Vote};
use crate::vfs::{DiskSpace, Vfs};

/// The log. One owner appends; [`LogReader`] and [`Checkpoints`] serve everyone else.
pub struct Log {
    pub(super) engine: Arc<Engine>,
    pub(super) shared: Arc<Shared>,
    /// Only this owner uses it; the lock makes the log shareable.
    pub(super) stamper: Mutex<Box<dyn Stamper>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) time: LeaderTime,
    pub(super) reader: LogReader,
    vote: Option<Vote>,
    stopped: bool,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Log({}, last {:?})", self.shared.folder.root.display(), self.last())
    }
}

impl Log {
    /// Opens the log in a folder, creating it when there is none: loads the newest usable checkpoint, verifies every
    /// record above it and shows both to `visitor`, cuts a torn tail. Blocks.
    ///
    /// # Errors
    /// [`OpenError::Damage`]: synced bytes are gone, the node must not vote with this log. The others: see there.
    pub fn open(
        vfs: Arc<dyn Vfs>,
        dir: &Path,
        mut options: LogOptions,
        clock: Arc<dyn Clock>,
        mut stamper: Box<dyn Stamper>,
        visitor: &mut dyn RecoveryVisitor,
    ) -> Result<(Self, Recovered), OpenError> {
        // Appends write whole blocks: in a file of another size the last one would make it longer, and no spare any more.
        options.segment_size -= options.segment_size % super::segment::SEGMENT_HEADER_SIZE;
        options.check().map_err(OpenError::Options)?;
        let Opened { shared, vote_file, recovered, last_time_ms } =
            recover(vfs, dir, options, &mut *stamper, visitor)?;
        let engine = Engine::start(Arc::clone(&shared), vote_file)
            .map_err(OpenError::io("starting the log's threads"))?;
        if recovered.snapshot.is_some() {
            engine.submit_task(Task::PruneCheckpoints);
        }
        let log = Self {
            time: LeaderTime::new(&*clock, last_time_ms),
            reader: LogReader::new(Arc::clone(&shared)),
            vote: recovered.vote.saved(),
            engine,
            shared,
            stamper: Mutex::new(stamper),
            clock,
            stopped: false,
        };
        Ok((log, recovered))
    }

    /// Makes a vote durable, in order with appends and truncations.
    pub fn save_vote(&mut self, vote: Vote, done: Done) {
        self.vote = Some(vote);
        self.engine.submit(vec![Job::Vote { vote, done }]);
    }

    /// The last vote handed to `save_vote`, or found at the start.
    pub fn vote(&self) -> Option<Vote> {
        self.vote
    }

    /// Remembers that entries up to `index` are committed; reaches the disk within about a second. An index behind the
    /// last entry counts as the last entry.
    pub fn save_committed(&self, index: u64) {
        let count = (index + 1).min(self.shared.view.read().tail.next_index());
        if self.shared.committed_count.fetch_max(count, Ordering::AcqRel) < count {
            self.shared.marks_moved.store(true, Ordering::Release);
            if self.shared.wants_background() {
                self.engine.nudge();
            }
        }
    }

    /// The highest entry handed to `save_committed`, or found at the start.
    pub fn committed(&self) -> Option<LogId> {
        let index = self.shared.committed_count.load(Ordering::Acquire).checked_sub(1)?;
        self.reader.log_id(index)
    }

    /// Asks for a sync of everything appended so far, whatever the flush mode.
    pub fn sync(&self, done: Done) {
        self.engine.submit(vec![Job::Sync { done }]);
    }

    /// Last entry, or the last purged one when no other is left.
    pub fn last(&self) -> Option<LogId> {
        self.reader.last()
    }

    /// The place behind the last entry; `None` before the first.
    pub fn last_point(&self) -> Option<ChainPoint> {
        self.shared.view.read().tail.point()
    }

    /// Last purged entry.
    pub fn purged(&self) -> Option<LogId> {
        self.reader.purged()
    }

    /// A reader of this log.
    pub fn reader(&self) -> LogReader {
        self.reader.clone()
    }

    /// The checkpoints of this log.
    pub fn checkpoints(&self) -> Checkpoints {
        Checkpoints(Arc::clone(&self.engine))
    }

    /// Leader time, milliseconds since the Unix epoch: what a record appended now would carry.
    pub fn time_ms(&mut self) -> u64 {
        self.time.now(&*self.clock)
    }

    /// The room that is there for certain.
    pub fn room(&self) -> LogRoom {
        /// More than elections need.
        const KEPT_MAX: u64 = 64 << 10;
        let options = &self.shared.options;
        let (open, rest) = {
            let view = self.shared.view.read();
            let rest = view.segments.last().map(|last| last.room_end().saturating_sub(view.tail.end));
            (rest.is_some(), rest.unwrap_or(0))
        };
        let (spares, refused) = {
            let spares = self.shared.spares.lock();
            (spares.ready.len(), spares.failed)
        };
        LogRoom {
            open,
            rest,
            spares,
            segment: options.segment_size - SEGMENT_HEADER_SIZE,
            reserve: options.reserve_bytes.min(options.segment_size / 2),
            kept: KEPT_MAX.min(options.segment_size / 16),
            refused,
        }
    }

    /// Whether there is room for the usual work.
    pub fn space(&self) -> Space {
        self.room().space()
    }

    /// Room on the file system that holds the log.
    ///
    /// # Errors
    /// As the operating system reports.
    pub fn disk_space(&self) -> std::io::Result<DiskSpace> {
        self.shared.folder.vfs.space(&self.shared.folder.root)
    }

    /// The first failure of the writer, if it has failed.
    pub fn fault(&self) -> Option<Fault> {
        self.shared.fault.get().cloned()
    }

    /// Ends the quarantine after an unclean stop of the machine: this node has caught up. `done` is called when the
    /// disk knows.
    pub fn release_quarantine(&self, done: Done) {
        self.shared.quarantined.store(false, Ordering::Release);
        self.shared.marks_moved.store(true, Ordering::Release);
        self.engine.submit_task(Task::Marks { done });
    }

    /// [`WriterMode::Manual`] only: does all queued writing as one group and then the background work; true if there
    /// was any.
    pub fn run_writer(&self) -> bool {
        self.engine.run_all()
    }

    /// Finishes all queued work, syncs and marks the folder as cleanly left. Blocks. A log that is dropped instead
    /// finishes its queued work, but the next start treats the folder as after a kill.
    ///
    /// # Errors
    /// The writer has failed.
    pub fn close(mut self) -> Result<(), Fault> {
        self.engine.submit(vec![Job::Sync { done: Box::new(drop) }]);
        self.stop();
        self.shared.check()?;
        let mut file = self.shared.marks.lock();
        let mut marks = self.shared.marks_now(&file.last());
        marks.clean = true;
        file.put(marks).map_err(|error| self.shared.fail("writing the marks", &error))
    }

    fn stop(&mut self) {
        if !std::mem::replace(&mut self.stopped, true) {
            self.engine.stop();
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.stop();
    }
}

impl LogOptions {
    fn check(&self) -> Result<(), &'static str> {
        let size_min = 2 * super::segment::SEGMENT_HEADER_SIZE;
        if self.segment_size < size_min || self.segment_size > 1 << 32 {
            return Err("segment_size lies between 8 KiB and 4 GiB");
        }
        if self.spare_count == 0 && self.writer == WriterMode::Thread {
            return Err("spare_count is at least 1");
        }
        Ok(())
    }
}

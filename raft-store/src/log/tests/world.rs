//! A log on a disk that may stop at any operation, and a model of what it must hold afterwards.
//!
//! The model keeps every version that the log has gone through. After a stop the recovered log has to be a prefix of a
//! version that was handed in since the last acknowledged one, and must have every entry that was acknowledged and not
//! taken away again in that version.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::version::Version;
use crate::log::testing::{Counting, Seen, TestClock, app, blank, options, read_all};
use crate::log::{AppendError, Checkpoint, Installed, Log, LogOptions, Recovered, RecoveredVote, WriterMode};
use crate::record::{Record, u64_at};
use crate::types::{ChainPoint, Done, FlushMode, LogId, Vote};
use crate::vfs::{Fault, Loss, MemVfs};

/// One step of a history. Indices are relative, so that any sequence of steps makes sense.
#[derive(Clone, Debug)]
pub(super) enum Op {
    /// The leader of the term appends entries of this payload size; every fifth one is blank.
    Append {
        count: u64,
        size: usize,
    },
    /// Another leader's term begins.
    NextTerm,
    /// Removes this many entries from the end, but no committed one.
    Truncate {
        back: u64,
    },
    /// Commits all but this many entries.
    Commit {
        back: u64,
    },
    Vote,
    /// Saves a checkpoint at the newest sealed segment's end that is committed.
    Checkpoint,
    /// Makes the newest saved checkpoint the snapshot boundary.
    Snapshot,
    /// Purges up to the snapshot boundary.
    Purge,
    /// Installs a checkpoint this many entries above the commit that the log does not hold.
    InstallFresh {
        ahead: u64,
    },
    /// Installs a checkpoint that lies inside the log.
    InstallHeld {
        back: u64,
    },
    /// The writer does what is queued.
    Write,
    /// Writer and background do what is queued.
    Work,
    /// The log is closed in order and opened again.
    Reopen,
}

/// What call-backs have reported.
#[derive(Debug, Default)]
struct Acks {
    version: AtomicUsize,
    vote: AtomicUsize,
    purged: Mutex<Option<LogId>>,
    checkpoints: Mutex<Vec<ChainPoint>>,
    snapshot: Mutex<Option<ChainPoint>>,
    failed: AtomicBool,
}

pub(super) struct World {
    pub(super) disk: MemVfs,
    options: LogOptions,
    clock: TestClock,
    counting: Counting,
    log: Option<Log>,
    acks: Arc<Acks>,
    versions: Vec<Version>,
    votes: Vec<Option<Vote>>,
    term: u64,
    committed_count: u64,
    /// Submitted, acknowledged or not.
    purged: Option<LogId>,
    /// Position that the log has reported as synced.
    synced: u64,
    /// Operations of the disk fail although the machine goes on.
    faulty: bool,
}

impl World {
    pub(super) fn new(writer: WriterMode, flush: FlushMode) -> Self {
        let mut options = options(writer);
        options.flush = flush;
        let mut world = Self {
            disk: MemVfs::new(),
            options,
            clock: TestClock::default(),
            counting: Counting::default(),
            log: None,
            acks: Arc::new(Acks::default()),
            versions: vec![Version::default()],
            votes: vec![None],
            term: 1,
            committed_count: 0,
            purged: None,
            synced: 0,
            faulty: false,
        };
        world.open().expect("a new folder opens");
        world
    }

    fn version(&self) -> &Version {
        self.versions.last().expect("there is always a version")
    }

    fn open(&mut self) -> Result<(Recovered, Seen), String> {
        self.counting = Counting::default();
        let mut seen = Seen::default();
        let (vfs, clock) = (Arc::new(self.disk.clone()), Arc::new(self.clock.clone()));
        let stamper = Box::new(self.counting.clone());
        let opened = Log::open(vfs, Path::new("/node"), self.options.clone(), clock, stamper, &mut seen);
        let (log, recovered) = opened.map_err(|error| error.to_string())?;
        self.log = Some(log);
        Ok((recovered, seen))
    }

    fn log(&mut self) -> &mut Log {
        self.log.as_mut().expect("the log is open")
    }

    /// A call-back for the step that makes the newest version.
    fn done(&self) -> Done {
        let (acks, version) = (Arc::clone(&self.acks), self.versions.len());
        Box::new(move |result| match result {
            Ok(()) => {
                assert!(!acks.failed.load(Ordering::SeqCst), "acknowledged behind a failure");
                let before = acks.version.swap(version, Ordering::SeqCst);
                assert!(before <= version, "acknowledged in order");
            }
            Err(_) => acks.failed.store(true, Ordering::SeqCst),
        })
    }

    /// Does one step; false when the machine has stopped.
    pub(super) fn step(&mut self, op: &Op) -> bool {
        self.clock.pass(3);
        let result = self.try_step(op);
        if let Some(log) = &self.log {
            self.synced = log.reader().synced().max(self.synced);
        }
        match result {
            Ok(()) => !self.disk.is_off() && self.log.is_some(),
            Err(error) => {
                let reason = self.disk.is_off() || (self.faulty && self.fault().is_some());
                assert!(reason, "{op:?} failed without a reason: {error}");
                false
            }
        }
    }

    /// Lets one operation of the disk fail; the machine goes on.
    pub(super) fn fail_at(&mut self, operation: u64, kind: std::io::ErrorKind) {
        self.faulty = true;
        self.disk.arm(Fault::Error { operation, kind });
    }

    /// The failure that the log has stopped with.
    pub(super) fn fault(&self) -> Option<String> {
        self.log.as_ref().and_then(Log::fault).map(|fault| fault.to_string())
    }

    /// A log that has failed takes nothing more: whatever is asked is answered with a failure, at once.
    pub(super) fn prove_refused(&mut self) {
        let answers = Arc::new(Mutex::new(Vec::new()));
        let answer = || -> Done {
            let answers = Arc::clone(&answers);
            Box::new(move |result| answers.lock().push(result.is_ok()))
        };
        let (term, next, kept) = (self.term + 1, self.version().next_index(), self.version().last());
        let at = ChainPoint { id: LogId::new(term, next), end: self.version().end(), crc: 1 };
        let state = Bytes::from(0_u64.to_le_bytes().to_vec());
        let checkpoint = Checkpoint { at, time_ms: 1, installed: true, membership: Bytes::new(), state };
        let log = self.log();
        assert!(log.append_new(vec![blank(term, next)], answer()).is_err());
        assert!(log.truncate_after(kept, answer()).is_err());
        assert!(log.purge(LogId::new(term, 0), answer()).is_err());
        assert!(log.install(checkpoint, answer()).is_err());
        log.save_vote(Vote { term, node: 5, committed: false }, answer());
        log.sync(answer());
        log.checkpoints().save(at, 1, Bytes::new(), Box::new(Vec::new), answer());
        log.checkpoints().set_snapshot(at, answer());
        log.run_writer();
        assert_eq!(*answers.lock(), [false; 4]);
    }

    fn try_step(&mut self, op: &Op) -> Result<(), AppendError> {
        match *op {
            Op::Append { count, size } => self.append(count, size),
            Op::NextTerm => {
                self.term += 1;
                Ok(())
            }
            Op::Truncate { back } => self.truncate(back),
            Op::Commit { back } => {
                let count = self.version().next_index().saturating_sub(back);
                if count > self.committed_count {
                    self.committed_count = count;
                    self.log().save_committed(count - 1);
                }
                Ok(())
            }
            Op::Vote => {
                self.term += 1;
                let vote = Vote { term: self.term, node: 5, committed: false };
                let (acks, number) = (Arc::clone(&self.acks), self.votes.len());
                self.votes.push(Some(vote));
                let done: Done = Box::new(move |result| match result {
                    Ok(()) => {
                        assert!(!acks.failed.load(Ordering::SeqCst), "a vote is kept behind a failure");
                        acks.vote.fetch_max(number, Ordering::SeqCst);
                    }
                    Err(_) => acks.failed.store(true, Ordering::SeqCst),
                });
                self.log().save_vote(vote, done);
                Ok(())
            }
            Op::Checkpoint => {
                self.checkpoint();
                Ok(())
            }
            Op::Snapshot => {
                self.snapshot();
                Ok(())
            }
            Op::Purge => self.purge(),
            Op::InstallFresh { ahead } => self.install_fresh(ahead),
            Op::InstallHeld { back } => self.install_held(back),
            Op::Write => {
                self.log().engine.run_writer_only();
                Ok(())
            }
            Op::Work => {
                self.log().run_writer();
                Ok(())
            }
            Op::Reopen => {
                let closed = self.log.take().expect("the log is open").close();
                if closed.is_ok() {
                    let (recovered, seen) = match self.open() {
                        Ok(opened) => opened,
                        Err(_) if self.disk.is_off() || self.faulty => return Ok(()),
                        Err(error) => panic!("reopening failed: {error}"),
                    };
                    self.check(&recovered, &seen, Loss::Nothing);
                    assert_eq!(recovered.last, self.version().last(), "a close in order loses nothing");
                    assert_eq!(recovered.torn_tail, None);
                }
                Ok(())
            }
        }
    }

    fn append(&mut self, count: u64, size: usize) -> Result<(), AppendError> {
        let (next, term) = (self.version().next_index(), self.term);
        let drafts = (next..next + count)
            .map(|index| if index % 5 == 3 { blank(term, index) } else { app(term, index, size) });
        let done = self.done();
        let records = self.log().append_new(drafts.collect(), done)?;
        let mut version = self.version().clone();
        version.records.extend(records.into_iter().map(|record| (record.index(), record)));
        self.versions.push(version);
        Ok(())
    }

    fn truncate(&mut self, back: u64) -> Result<(), AppendError> {
        let floor = self.committed_count.max(self.version().base.map_or(0, |(at, _)| at.id.index + 1));
        let next = self.version().next_index().saturating_sub(back).max(floor);
        let kept = next.checked_sub(1).and_then(|index| self.version().point(index)).map(|at| at.id);
        let done = self.done();
        self.log().truncate_after(kept, done)?;
        let mut version = self.version().clone();
        version.records.split_off(&next);
        self.versions.push(version);
        self.synced = self.synced.min(self.log().last_point().map_or(0, |point| point.end));
        Ok(())
    }

    fn checkpoint(&mut self) {
        let committed = self.committed_count;
        let version = self.version();
        let sealed =
            version.records.values().rev().filter(|record| record.starts_segment() && record.index() > 0);
        let Some(at) = sealed.filter_map(Record::previous_point).find(|at| at.id.index < committed) else {
            return;
        };
        let state = version.count(at.id.index).to_le_bytes().to_vec();
        let acks = Arc::clone(&self.acks);
        let done: Done = Box::new(move |result| {
            if result.is_ok() {
                acks.checkpoints.lock().push(at);
            }
        });
        let checkpoints = self.log().checkpoints();
        checkpoints.save(at, 1, Bytes::from_static(b"members"), Box::new(move || state), done);
    }

    fn snapshot(&mut self) {
        let newest = self.acks.checkpoints.lock().iter().copied().max_by_key(|at| at.end);
        let Some(at) = newest else { return };
        let acks = Arc::clone(&self.acks);
        let done: Done = Box::new(move |result| {
            if result.is_ok() {
                *acks.snapshot.lock() = Some(at);
            }
        });
        self.log().checkpoints().set_snapshot(at, done);
    }

    fn purge(&mut self) -> Result<(), AppendError> {
        let Some(upto) = self.acks.snapshot.lock().map(|at| at.id) else { return Ok(()) };
        let acks = Arc::clone(&self.acks);
        let done: Done = Box::new(move |result| {
            if result.is_ok() {
                *acks.purged.lock() = Some(upto);
            }
        });
        self.log().purge(upto, done)?;
        self.purged = self.purged.max(Some(upto));
        Ok(())
    }

    fn install_fresh(&mut self, ahead: u64) -> Result<(), AppendError> {
        self.term += 1;
        let index = self.committed_count + ahead;
        let end = self.version().end() + 777;
        let at = ChainPoint { id: LogId::new(self.term, index), end, crc: 0x5EED };
        let state = self.version().count(u64::MAX) + 3;
        self.install(at, state, Installed::Replaced)?;
        self.versions.push(Version { base: Some((at, state)), records: BTreeMap::new() });
        (self.purged, self.synced) = (Some(at.id), 0);
        Ok(())
    }

    fn install_held(&mut self, back: u64) -> Result<(), AppendError> {
        let index = self.version().next_index().saturating_sub(1 + back);
        let Some(at) = self.version().point(index).filter(|_| index >= self.committed_count) else {
            return Ok(());
        };
        let state = self.version().count(index);
        self.install(at, state, Installed::Kept)?;
        self.versions.push(self.version().clone());
        Ok(())
    }

    fn install(&mut self, at: ChainPoint, state: u64, expected: Installed) -> Result<(), AppendError> {
        let (acks, version, held) = (Arc::clone(&self.acks), self.done(), expected == Installed::Kept);
        let done: Done = Box::new(move |result| {
            if result.is_ok() {
                *acks.snapshot.lock() = Some(at);
                let mut checkpoints = acks.checkpoints.lock();
                checkpoints.retain(|other| held && other.end >= at.end);
                checkpoints.push(at);
            }
            version(result);
        });
        let state = Bytes::from(state.to_le_bytes().to_vec());
        let membership = Bytes::from_static(b"members");
        let checkpoint = Checkpoint { at, time_ms: 1, installed: false, membership, state };
        let installed = self.log().install(checkpoint, done)?;
        assert_eq!(installed, expected);
        self.committed_count = self.committed_count.max(at.id.index + 1);
        Ok(())
    }

    /// Stops the machine, starts it again with what the disk has kept, and compares.
    pub(super) fn crash(&mut self, loss: Loss) {
        self.disk.power_off();
        self.log = None;
        self.disk = self.disk.restart(loss);
        self.faulty = false;
        let (recovered, seen) = self.open().unwrap_or_else(|error| panic!("the log does not open: {error}"));
        let fit = self.check(&recovered, &seen, loss);
        self.forget(&recovered, fit);
    }

    fn check(&mut self, recovered: &Recovered, seen: &Seen, loss: Loss) -> usize {
        let records = read_all(self.log.as_ref().expect("just opened"));
        let acked = self.acks.version.load(Ordering::SeqCst);
        let fits = |at: &usize| self.fits(*at, acked, &records, recovered, loss);
        let fit = (acked..self.versions.len()).rev().find(fits);
        let Some(fit) = fit else {
            let lasts: Vec<_> = self.versions[acked..].iter().map(Version::last).collect();
            panic!(
                "the log is no version since {acked}: it has {:?}, {} records, synced {}; versions end with {lasts:?}",
                recovered.last,
                records.len(),
                self.synced
            );
        };
        let version = &self.versions[fit];
        assert_eq!(
            *self.counting.0.lock(),
            recovered.last.map_or(0, |last| version.count(last.index)),
            "the stamper's table is that of the log's end"
        );
        self.check_seen(version, seen, recovered);
        self.check_vote(recovered.vote);
        assert!(recovered.committed.is_none_or(|id| id.index < self.committed_count));
        assert!(recovered.committed <= recovered.last);
        // A committed entry is in every later version.
        if let Some((id, point)) =
            recovered.committed.and_then(|id| Some((id, self.version().point(id.index)?)))
        {
            assert_eq!(id, point.id, "an entry that no leader has committed counts as committed");
        }
        if let Some(acked) = *self.acks.purged.lock() {
            assert!(recovered.purged.is_some_and(|purged| purged.index >= acked.index), "a purge came back");
        }
        let snapshot = *self.acks.snapshot.lock();
        assert!(
            snapshot.is_none()
                || recovered.snapshot.is_some_and(|at| at.end >= snapshot.map_or(0, |at| at.end)),
            "snapshot boundary {snapshot:?} was acknowledged, {:?} came back",
            recovered.snapshot
        );
        if let Some(at) = recovered.snapshot {
            let loaded = self.log.as_ref().expect("just opened").checkpoints().load(at);
            assert!(loaded.is_ok_and(|checkpoint| checkpoint.at == at));
        }
        for at in self
            .acks
            .checkpoints
            .lock()
            .iter()
            .filter(|at| Some(at.end) >= recovered.snapshot.map(|at| at.end))
        {
            assert!(
                recovered.checkpoint.is_some_and(|start| start.end >= at.end),
                "checkpoint {at:?} is not used"
            );
        }
        fit
    }

    fn fits(&self, at: usize, acked: usize, records: &[Record], recovered: &Recovered, loss: Loss) -> bool {
        let version = &self.versions[at];
        let start = records.first().map_or(recovered.last.map_or(0, |last| last.index + 1), Record::index);
        let purged_next = self.purged.map_or(0, |purged| purged.index + 1);
        let base_next = version.base.map_or(0, |(at, _)| at.id.index + 1);
        let known = records.iter().all(|record| version.records.get(&record.index()) == Some(record));
        let last_known = match recovered.last {
            None => version.base.is_none(),
            Some(last) => version.point(last.index).is_some_and(|point| point.id == last),
        };
        // A truncation that was under way may have taken some entries and not yet others.
        let next = self.versions.get(at + 1).filter(|next| next.base == version.base);
        let between = &self.versions[acked..=at + usize::from(next.is_some())];
        let shared = between.iter().map(|other| version.shared_count(other)).min().unwrap_or(0);
        let required = if self.options.flush == FlushMode::Sync || loss == Loss::Nothing {
            shared
        } else {
            // Only what was synced has to be there.
            let synced = version.records.values().filter(|record| record.end_position() <= self.synced);
            shared.min(synced.last().map_or(base_next, |record| record.index() + 1))
        };
        let enough = recovered.last.map_or(0, |last| last.index + 1) >= required;
        known && last_known && enough && start >= base_next && start <= purged_next.max(base_next)
    }

    fn check_seen(&self, version: &Version, seen: &Seen, recovered: &Recovered) {
        let mut next = 0;
        if let Some(checkpoint) = &seen.checkpoint {
            let index = checkpoint.at.id.index;
            assert_eq!(Some(checkpoint.at), recovered.checkpoint);
            assert_eq!(Some(checkpoint.at), version.point(index), "the checkpoint is one of this log");
            assert_eq!(u64_at(&checkpoint.state, 0), version.count(index));
            assert_eq!(&checkpoint.membership[..], b"members");
            next = index + 1;
        }
        for record in &seen.records {
            assert_eq!(
                version.records.get(&next),
                Some(record),
                "the visitor sees each entry once, in order"
            );
            next += 1;
        }
        assert_eq!(next, recovered.last.map_or(0, |last| last.index + 1), "the visitor sees all entries");
    }

    fn check_vote(&self, recovered: RecoveredVote) {
        let allowed = &self.votes[self.acks.vote.load(Ordering::SeqCst)..];
        match recovered {
            RecoveredVote::Lost => panic!("the vote is lost"),
            RecoveredVote::Never => assert!(allowed.contains(&None)),
            RecoveredVote::Saved(vote) => {
                assert!(allowed.contains(&Some(vote)), "{vote:?} is none of {allowed:?}")
            }
        }
    }

    /// The recovered log is where the model goes on.
    fn forget(&mut self, recovered: &Recovered, fit: usize) {
        let records = read_all(self.log.as_ref().expect("just opened"));
        let Version { base, records: mut all } = self.versions.swap_remove(fit);
        // Entries below the purge are still needed to count.
        let first = records.first().map_or(recovered.last.map_or(0, |last| last.index + 1), Record::index);
        all.split_off(&first);
        all.extend(records.into_iter().map(|record| (record.index(), record)));
        self.versions = vec![Version { base, records: all }];
        self.votes = vec![self.log().vote()];
        self.committed_count = recovered.committed.map_or(0, |id| id.index + 1);
        self.purged = recovered.purged;
        self.synced = self.log().reader().synced();
        let acks = Acks::default();
        *acks.snapshot.lock() = recovered.snapshot;
        *acks.purged.lock() = recovered.purged;
        acks.checkpoints.lock().extend(self.log().checkpoints().list().into_iter().map(|info| info.at));
        self.acks = Arc::new(acks);
    }

    /// A few entries more, a stop without any loss allowed, and everything must be there.
    pub(super) fn prove_usable(&mut self) {
        self.term += 1;
        for op in [Op::Append { count: 30, size: 400 }, Op::Work, Op::Vote, Op::Work] {
            assert!(self.step(&op));
        }
        let last = self.version().last();
        self.crash(if self.options.flush == FlushMode::Sync { Loss::Everything } else { Loss::Nothing });
        assert_eq!(self.version().last(), last);
    }
}

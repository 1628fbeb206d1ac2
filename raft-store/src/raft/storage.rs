//! The log as the consensus library writes it.
//!
//! Votes, truncations and appends go through one queue of the log's writer, so their order on disk is their order here.
//! Entries without bytes are drafts of this node and are stamped by the log; entries with bytes are another leader's
//! records and are only checked. Both can stand in one call.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use openraft::LogState;
use openraft::storage::{IOFlushed, RaftLogStorage};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::permits::{Coming, Permits};
use super::reader::Reader;
use super::runtime::Blocking;
use super::status::Counters;
use super::tail::Tail;
use super::types::{
    Body, Entry, Payload, RaftLogId, RaftVote, Types, encode_members, plain_log_id, plain_vote, raft_log_id,
};
use crate::log::{self, AppendError, Draft, Log};
use crate::record::Record;
use crate::types::EntryKind;
use crate::vfs::DiskSpace;

/// The log, shared by the core (which appends) and the machine (which installs); both live on one thread.
pub(crate) struct SharedLog {
    pub(crate) log: Mutex<Log>,
    /// Told when an installation has changed the log.
    pub(crate) installed: Notify,
    /// The conformance suite's logs begin anywhere.
    pub(crate) first_index_free: bool,
    /// Where old entries and checkpoints are read.
    pub(crate) blocking: Blocking,
    /// Checkpoints that the group may have counted on and the log does not know yet.
    pub(crate) installing: AtomicUsize,
}

/// An installation under way, until it is dropped.
pub(crate) struct Installing<'a>(&'a AtomicUsize);

impl Drop for Installing<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl SharedLog {
    /// Marks that a checkpoint is handed to the group.
    pub(crate) fn installing(&self) -> Installing<'_> {
        self.installing.fetch_add(1, Ordering::AcqRel);
        Installing(&self.installing)
    }

    /// True while the group may count entries that the log does not have.
    pub(crate) fn installs(&self) -> bool {
        self.installing.load(Ordering::Acquire) > 0
    }

    /// Room on the log's file system, asked for off the group's thread.
    pub(crate) async fn disk_space(&self) -> io::Result<DiskSpace> {
        let reader = self.log.lock().reader();
        self.blocking.run(move || reader.disk_space()).await?
    }
}

/// Time for an installation that the core has counted on to reach the log.
const INSTALL_MAX: Duration = Duration::from_secs(60);

/// Implements the library's log storage.
pub(crate) struct Storage {
    pub(crate) shared: Arc<SharedLog>,
    pub(crate) own: u64,
    pub(crate) permits: Arc<Permits>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) append_bytes_max: usize,
    pub(crate) tail: Tail,
}

/// Entries of one call that are appended in the same way.
enum Run {
    /// With what counts as on its way until they are appended.
    New(Vec<Draft>, Vec<Arc<Coming>>),
    Stored(Vec<Record>),
}

impl Storage {
    fn draft(&self, id: &RaftLogId, payload: Payload, coming: &mut Vec<Arc<Coming>>) -> Draft {
        let (kind, body) = match payload {
            Payload::Blank => (EntryKind::Blank, log::Body::Plain(Bytes::new())),
            Payload::Application(draft) => {
                coming.extend(draft.coming);
                (EntryKind::Application, log::Body::HeadRoom(draft.bytes))
            }
            Payload::Membership(members) => {
                let mut out = BytesMut::with_capacity(128);
                encode_members(&members, &mut out);
                (EntryKind::Membership, log::Body::Plain(out.freeze()))
            }
        };
        Draft { id: plain_log_id(id), leader: self.own, kind, body }
    }

    fn runs(&self, entries: impl Iterator<Item = Entry>) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::with_capacity(1);
        for entry in entries {
            match (entry.body, runs.last_mut()) {
                (Body::New(payload), Some(Run::New(drafts, coming))) => {
                    drafts.push(self.draft(&entry.id, payload, coming));
                }
                (Body::Stored(record), Some(Run::Stored(records))) => records.push(record),
                (Body::New(payload), _) => {
                    let mut coming = Vec::new();
                    let drafts = vec![self.draft(&entry.id, payload, &mut coming)];
                    runs.push(Run::New(drafts, coming));
                }
                (Body::Stored(record), _) => runs.push(Run::Stored(vec![record])),
            }
        }
        runs
    }

    /// Appends one run. A hole in front of it can be the gap that an installation under way is about to close: the
    /// core counts the checkpoint's entries as its own before the machine has taken them.
    async fn append_run(&self, run: Run, done: crate::Done) -> io::Result<()> {
        let first = match &run {
            Run::New(drafts, _) => drafts[0].id.index,
            Run::Stored(records) => records[0].index(),
        };
        loop {
            let installed = self.shared.installed.notified();
            {
                let mut log = self.shared.log.lock();
                let follows = match log.last() {
                    Some(last) => first <= last.index + 1,
                    None => first == 0 || self.shared.first_index_free,
                };
                if follows {
                    let (records, bytes): (usize, usize);
                    match run {
                        Run::New(drafts, coming) => {
                            let appended = log.append_new(drafts, done)?;
                            drop(coming);
                            records = appended.len();
                            bytes = appended.iter().map(Record::size).sum();
                        }
                        Run::Stored(appended) => {
                            records = appended.len();
                            bytes = appended.iter().map(Record::size).sum();
                            log.append_records(appended, done)?;
                        }
                    }
                    self.counters.appended_records.fetch_add(records as u64, Ordering::Relaxed);
                    self.counters.appended_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
                    return Ok(());
                }
            }
            if tokio::time::timeout(INSTALL_MAX, installed).await.is_err() {
                return Err(io::Error::other(format!("entry {first} leaves a hole in the log")));
            }
        }
    }
}

/// Sends the end of log work to a waiting task.
pub(crate) fn reporting() -> (crate::Done, oneshot::Receiver<io::Result<()>>) {
    let (sender, receiver) = oneshot::channel();
    let done = move |outcome| {
        sender.send(outcome).ok();
    };
    (Box::new(done), receiver)
}

/// Waits for what [`reporting`] reports.
pub(crate) async fn reported(receiver: oneshot::Receiver<io::Result<()>>) -> io::Result<()> {
    receiver.await.unwrap_or_else(|_| Err(io::Error::other("the log has stopped")))
}

/// Log work whose end nobody waits for; a failure sticks to the log and stops the next append.
pub(crate) fn unwatched() -> crate::Done {
    Box::new(|_| {})
}

/// The core's call-back for an append. One that is dropped, with a writer that has panicked, reports a failure: the core
/// would wait for it for ever and the node look alive.
struct Flushed(Option<IOFlushed<Types>>);

impl Flushed {
    fn report(mut self, outcome: io::Result<()>) {
        if let Some(callback) = self.0.take() {
            callback.io_completed(outcome);
        }
    }
}

impl Drop for Flushed {
    fn drop(&mut self) {
        if let Some(callback) = self.0.take() {
            callback.io_completed(Err(io::Error::other("the log has stopped")));
        }
    }
}

impl RaftLogStorage<Types> for Storage {
    type LogReader = Reader;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let log = self.shared.log.lock();
        Ok(LogState {
            last_purged_log_id: log.purged().map(raft_log_id),
            last_log_id: log.last().map(raft_log_id),
        })
    }

    async fn get_log_reader(&mut self) -> Reader {
        let reader = self.shared.log.lock().reader();
        Reader::new(reader, Arc::clone(&self.shared), self.append_bytes_max)
    }

    async fn save_vote(&mut self, vote: &RaftVote) -> io::Result<()> {
        let (done, saved) = reporting();
        self.shared.log.lock().save_vote(plain_vote(vote), done);
        reported(saved).await
    }

    async fn save_committed(&mut self, committed: Option<RaftLogId>) -> io::Result<()> {
        if let Some(id) = committed {
            self.shared.log.lock().save_committed(id.index());
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<RaftLogId>> {
        Ok(self.shared.log.lock().committed().map(raft_log_id))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + openraft::OptionalSend,
        I::IntoIter: openraft::OptionalSend,
    {
        let mut runs = self.runs(entries.into_iter());
        let Some(last) = runs.pop() else {
            callback.io_completed(Ok(()));
            return Ok(());
        };
        for run in runs {
            self.append_run(run, unwatched()).await?;
        }
        let end = match &last {
            Run::New(drafts, _) => drafts[drafts.len() - 1].id.index,
            Run::Stored(records) => records[records.len() - 1].index(),
        };
        let (permits, counters, started) =
            (Arc::clone(&self.permits), Arc::clone(&self.counters), Instant::now());
        let flushed = Flushed(Some(callback));
        let done = Box::new(move |outcome: io::Result<()>| {
            if outcome.is_ok() {
                counters.flush.record(started.elapsed());
                permits.flushed(end);
            }
            flushed.report(outcome);
        });
        self.append_run(last, done).await?;
        self.tail.set(end + 1);
        Ok(())
    }

    async fn truncate_after(&mut self, last_kept: Option<RaftLogId>) -> io::Result<()> {
        let kept = last_kept.as_ref().map(plain_log_id);
        {
            let mut log = self.shared.log.lock();
            if kept.is_some_and(|kept| log.last().is_none_or(|last| kept.index >= last.index)) {
                return Ok(());
            }
            log.truncate_after(kept, unwatched())?;
        }
        let end = kept.map_or(0, |kept| kept.index + 1);
        self.permits.truncated(end);
        self.tail.set(end);
        Ok(())
    }

    async fn purge(&mut self, upto: RaftLogId) -> io::Result<()> {
        // The core waits for this call and sends no heartbeat meanwhile, while the background may be writing a checkpoint
        // or allocating a segment. A stop before the files are gone costs nothing: the next purge takes them along.
        let outcome: Result<(), AppendError> = self.shared.log.lock().purge(plain_log_id(&upto), unwatched());
        Ok(outcome?)
    }
}

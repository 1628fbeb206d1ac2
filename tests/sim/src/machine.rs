//! The broker's tables as a group's machine, under the judge's eyes.

use std::sync::Arc;

use flotilla_core::{Command, EntryContext, OffsetCommit, Payload, PayloadBuilder, Tables, TailTable};
use flotilla_raft_store::raft::{Applied, InstallError, Machine};
use flotilla_raft_store::types::EntryKind;
use flotilla_raft_store::{StampError, Stamper};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::invariants::tables_equal::{apply, context};
use crate::judge::SharedJudge;
use crate::mutants::Mutant;

/// Tables of one replica, as others may look at them.
pub type SharedTables = Arc<Mutex<Tables>>;

/// The machine of one replica.
pub struct WatchedMachine {
    host: usize,
    tables: SharedTables,
    judge: SharedJudge,
    mutant: Option<Mutant>,
    /// Version of the topics' table.
    topics: watch::Sender<i64>,
}

impl WatchedMachine {
    /// A machine and its tables.
    pub fn new(host: usize, judge: SharedJudge, mutant: Option<Mutant>) -> (Self, SharedTables) {
        let tables = SharedTables::default();
        let topics = watch::Sender::new(tables.lock().topic_version().counter);
        (Self { host, tables: Arc::clone(&tables), judge, mutant, topics }, tables)
    }

    /// The version of the topics' table as it changes.
    pub fn topics(&self) -> watch::Receiver<i64> {
        self.topics.subscribe()
    }

    fn tell_topics(&self, tables: &Tables) {
        let counter = tables.topic_version().counter;
        self.topics.send_if_modified(|known| std::mem::replace(known, counter) != counter);
    }
}

impl WatchedMachine {
    /// For [`Mutant::SkippedEntry`]. Messages stay: the tables themselves refuse what follows a missing one.
    fn skips(&self, entry: &Applied<'_>) -> bool {
        self.mutant == Some(Mutant::SkippedEntry)
            && self.host == 1
            && entry.index % 10 == 9
            && entry.kind == EntryKind::Application
            && Payload::parse(entry.payload).is_ok_and(|payload| payload.messages.is_empty())
    }
}

impl Machine for WatchedMachine {
    type Answer = ();

    fn apply(&mut self, entry: &Applied<'_>) {
        let mut tables = self.tables.lock();
        let kind = if self.skips(entry) { EntryKind::Blank } else { entry.kind };
        if let Err(error) = apply(&mut tables, &context(entry), kind, entry.payload) {
            panic!("n{}: log entry {} of term {}: {error}", self.host, entry.index, entry.term);
        }
        self.judge.lock().applied(self.host, entry, &tables);
        self.tell_topics(&tables);
    }

    fn checkpoint(&self) -> Box<dyn FnOnce() -> Vec<u8> + Send> {
        let mut tables = self.tables.lock().clone();
        if self.mutant == Some(Mutant::AheadCheckpoint) {
            run_ahead(&mut tables);
        }
        Box::new(move || tables.encode())
    }

    fn install(&mut self, checkpoint: &[u8]) -> Result<(), InstallError> {
        let tables = Tables::decode(checkpoint).map_err(|error| InstallError(error.to_string()))?;
        self.judge.lock().installed(self.host, &tables, checkpoint.is_empty());
        self.tell_topics(&tables);
        *self.tables.lock() = tables;
        Ok(())
    }
}

/// Numbers messages along the tail of the log, as the broker's own stamper does.
pub struct TailStamper(TailTable, Option<Mutant>);

impl TailStamper {
    /// A stamper before the first entry.
    pub fn new(mutant: Option<Mutant>) -> Self {
        Self(TailTable::default(), mutant)
    }
}

impl Stamper for TailStamper {
    fn stamp(&mut self, payload: &mut [u8], payload_position: u64, time_ms: u64) -> Result<(), StampError> {
        self.0.stamp(payload, payload_position, time_ms).map_err(|error| StampError::new(error.to_string()))
    }

    fn observe(&mut self, payload: &[u8], payload_position: u64, time_ms: u64) -> Result<(), StampError> {
        self.0.observe(payload, payload_position, time_ms).map_err(|error| StampError::new(error.to_string()))
    }

    fn retract(&mut self, payload: &[u8]) {
        if self.1 != Some(Mutant::KeptNumbers) {
            self.0.retract(payload);
        }
    }

    fn reset(&mut self, checkpoint: &[u8]) -> Result<(), StampError> {
        self.0.reset(checkpoint).map_err(|error| StampError::new(error.to_string()))
    }
}

/// Applies an entry that the log does not hold there.
fn run_ahead(tables: &mut Tables) {
    let applied = tables.applied();
    let Some((group, topic, queue_id, offset)) = tables
        .each_consumer_offset()
        .map(|(group, topic, queue, offset)| (Arc::clone(group), Arc::clone(topic), queue, offset))
        .next()
    else {
        return;
    };
    let commit = OffsetCommit { group, topic, queue_id, offset: offset - 1 };
    let mut builder = PayloadBuilder::new(0, 0);
    builder.push_command(&Command::CommitOffsets(vec![commit]));
    let payload = builder.finish();
    let context = EntryContext {
        index: applied.index + 1,
        term: applied.term,
        position: applied.end_position,
        payload_position: applied.end_position,
        time_ms: applied.time_ms,
    };
    if let Err(error) = tables.apply(&context, &payload) {
        panic!("a commit applies: {error}");
    }
}

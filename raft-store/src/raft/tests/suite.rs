//! The consensus library's own conformance suite over the storage.
//!
//! The suite wants a snapshot at the last applied entry and applies entries that were never appended; neither happens
//! in a running group. So the state machine here is a target of its own around the same applied state: it makes records
//! of the suite's entries and its snapshots stand at the head. The log storage under test is the real one.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::{Stream, TryStreamExt};
use openraft::StorageError;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot};
use openraft::testing::log::{StoreBuilder, Suite};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::sync::Notify;

use super::machine::{Chain, Numbering};
use crate::log::{Checkpoint, Log, LogOptions, SystemClock};
use crate::raft::machine::{SnapshotOf, Standpoint, State, snapshot_meta};
use crate::raft::permits::Permits;
use crate::raft::recovery::Replay;
use crate::raft::runtime::Blocking;
use crate::raft::status::Counters;
use crate::raft::storage::{SharedLog, Storage};
use crate::raft::tail::Tail;
use crate::raft::types::{
    Body, Entry, Payload, RaftLogId, SnapshotMeta, StoredMembers, Types, encode_members,
    encode_stored_members, plain_log_id,
};
use crate::record::{RECORD_HEADER_SIZE, Record, RecordHeader};
use crate::types::{ChainPoint, EntryKind, FlushMode, LogId};
use crate::vfs::RealVfs;

/// The applied state with snapshots at the head. The chain machine wants entries one after the other, which the suite
/// does not give; its hash is enough as a state.
struct HeadTarget {
    state: Mutex<State<Tolerant>>,
    current: Arc<Mutex<Option<Checkpoint>>>,
}

/// Any entry in any order.
#[derive(Default)]
struct Tolerant(u64);

impl crate::raft::Machine for Tolerant {
    type Answer = ();
    fn apply(&mut self, entry: &crate::raft::Applied<'_>) {
        self.0 = entry.index + 1;
    }
    fn checkpoint(&self) -> Box<dyn FnOnce() -> Vec<u8> + Send> {
        let state = self.0.to_le_bytes().to_vec();
        Box::new(move || state)
    }
    fn install(&mut self, checkpoint: &[u8]) -> Result<(), crate::raft::InstallError> {
        self.0 = checkpoint.try_into().map_or(0, u64::from_le_bytes);
        Ok(())
    }
}

fn record_of(entry: &Entry) -> Record {
    let payload = match &entry.body {
        Body::Stored(record) => return record.clone(),
        Body::New(payload) => payload,
    };
    let (kind, body) = match payload {
        Payload::Blank => (EntryKind::Blank, Bytes::new()),
        Payload::Membership(members) => {
            let mut out = BytesMut::new();
            encode_members(members, &mut out);
            (EntryKind::Membership, out.freeze())
        }
        Payload::Application(_) => unreachable!("the suite builds no application entries"),
    };
    let mut bytes = BytesMut::zeroed(RECORD_HEADER_SIZE);
    bytes.extend_from_slice(&body);
    let LogId { term, index } = plain_log_id(&entry.id);
    let header = RecordHeader {
        kind,
        starts_segment: false,
        id: LogId { term, index },
        position: index * 1000,
        leader: 0,
        time_ms: 0,
        prev_term: 0,
        prev_crc: 0,
    };
    Record::seal(&mut bytes, &header);
    Record::from_bytes(bytes.freeze()).unwrap()
}

impl HeadTarget {
    /// The state as a snapshot; one of nothing while nothing is applied, which the suite asks for after a purge.
    fn head(&self) -> (SnapshotMeta, Checkpoint) {
        let state = self.state.lock();
        let nothing = ChainPoint { id: LogId::new(0, 0), end: 0, crc: 0 };
        let at = state.at.unwrap_or(Standpoint { point: nothing, time_ms: 0 });
        let bytes = crate::raft::Machine::checkpoint(&state.machine)();
        let checkpoint = Checkpoint {
            at: at.point,
            time_ms: at.time_ms,
            installed: false,
            membership: encode_stored_members(&state.members),
            state: bytes.into(),
        };
        let meta = match state.at {
            Some(_) => snapshot_meta(&checkpoint).unwrap(),
            None => SnapshotMeta::default(),
        };
        (meta, checkpoint)
    }
}

struct HeadBuilder((SnapshotMeta, Checkpoint), Arc<Mutex<Option<Checkpoint>>>);

impl RaftSnapshotBuilder<Types> for HeadBuilder {
    type SnapshotData = Checkpoint;
    async fn build_snapshot(&mut self) -> std::io::Result<SnapshotOf> {
        let (meta, snapshot) = self.0.clone();
        if meta.last_log_id.is_some() {
            *self.1.lock() = Some(snapshot.clone());
        }
        Ok(Snapshot { meta, snapshot })
    }
}

impl RaftStateMachine<Types> for HeadTarget {
    type SnapshotData = Checkpoint;
    type SnapshotBuilder = HeadBuilder;

    async fn applied_state(&mut self) -> std::io::Result<(Option<RaftLogId>, StoredMembers)> {
        let state = self.state.get_mut();
        Ok((state.at.map(|at| crate::raft::types::raft_log_id(at.point.id)), state.members.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> std::io::Result<()>
    where
        S: Stream<Item = std::io::Result<EntryResponder<Types>>> + Unpin + openraft::OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            self.state.get_mut().apply(&record_of(&entry), false);
            if let Some(responder) = responder {
                responder.send(());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> HeadBuilder {
        HeadBuilder(self.head(), Arc::clone(&self.current))
    }

    async fn install_snapshot(
        &mut self,
        _meta: &SnapshotMeta,
        checkpoint: Checkpoint,
    ) -> std::io::Result<()> {
        self.state.get_mut().install(&checkpoint).map_err(std::io::Error::other)?;
        *self.current.lock() = Some(checkpoint);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> std::io::Result<Option<SnapshotOf>> {
        let current = self.current.lock().clone();
        Ok(current
            .map(|checkpoint| Snapshot { meta: snapshot_meta(&checkpoint).unwrap(), snapshot: checkpoint }))
    }
}

struct Builder(FlushMode);

impl StoreBuilder<Types, Storage, HeadTarget, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, Storage, HeadTarget), StorageError<Types>> {
        let dir = tempfile::tempdir().unwrap();
        let mut options = LogOptions::new("suite", "suite");
        options.segment_size = 1 << 16;
        options.flush = self.0;
        options.first_index_free = true;
        let mut replay =
            Replay::new(State { machine: Chain::new().0, at: None, members: StoredMembers::default() });
        let (log, _) = Log::open(
            Arc::new(RealVfs),
            dir.path(),
            options,
            Arc::new(SystemClock::new()),
            Box::new(Numbering::default()),
            &mut replay,
        )
        .unwrap();
        let shared = Arc::new(SharedLog {
            log: Mutex::new(log),
            installed: Notify::new(),
            first_index_free: true,
            blocking: Blocking::Pool,
            installing: std::sync::atomic::AtomicUsize::new(0),
        });
        let counters = Arc::new(Counters::default());
        let storage = Storage {
            shared,
            own: 1,
            permits: Arc::new(Permits::new(1 << 20, Arc::clone(&counters))),
            counters,
            append_bytes_max: 1 << 20,
            tail: Tail::new(0),
        };
        let state = State { machine: Tolerant::default(), at: None, members: StoredMembers::default() };
        let target = HeadTarget { state: Mutex::new(state), current: Arc::default() };
        Ok((dir, storage, target))
    }
}

/// Paused time: the suite sleeps a second after each purge.
#[tokio::test(start_paused = true)]
async fn the_storage_suite_passes_with_synced_appends() {
    Suite::test_all(Builder(FlushMode::Sync)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_storage_suite_passes_with_written_appends() {
    Suite::test_all(Builder(FlushMode::Async)).await.unwrap();
}

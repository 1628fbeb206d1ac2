//! What a replica opens, without the consensus library: its log storage and its state machine.

use std::path::Path;
use std::sync::Arc;

use futures::StreamExt;
use openraft::entry::{RaftEntry, RaftPayload};
use openraft::storage::{RaftLogReader, RaftLogStorage, RaftLogStorageExt, RaftStateMachine};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::machine::{Answer, Chain, Numbering, View, payload};
use crate::log::{Log, LogOptions, Recovered, SystemClock};
use crate::raft::answers::Pending;
use crate::raft::machine::{Adapter, State};
use crate::raft::permits::Permits;
use crate::raft::recovery::Replay;
use crate::raft::runtime::Blocking;
use crate::raft::status::Counters;
use crate::raft::storage::{SharedLog, Storage};
use crate::raft::tail::Tail;
use crate::raft::types::{Draft, Entry, Members, Payload, StoredMembers, raft_log_id};
use crate::types::LogId;
use crate::vfs::RealVfs;

/// Log storage and state machine of one node.
pub(super) struct Store {
    pub(super) storage: Storage,
    pub(super) adapter: Adapter<Chain>,
    pub(super) view: Arc<Mutex<View>>,
    pub(super) recovered: Recovered,
}

/// What a replica opens, without the library.
pub(super) fn open(dir: &Path) -> Store {
    let mut options = LogOptions::new("cluster", "group");
    options.segment_size = 1 << 16;
    let (machine, view) = Chain::new();
    let mut replay = Replay::new(State { machine, at: None, members: StoredMembers::default() });
    let (log, recovered) = Log::open(
        Arc::new(RealVfs),
        dir,
        options,
        Arc::new(SystemClock::new()),
        Box::new(Numbering::default()),
        &mut replay,
    )
    .unwrap();
    replay.start_blank().unwrap();
    let checkpoints = log.checkpoints();
    let counters = Arc::new(Counters::default());
    let permits = Arc::new(Permits::new(1 << 20, Arc::clone(&counters)));
    let shared = Arc::new(SharedLog {
        log: Mutex::new(log),
        installed: Notify::new(),
        first_index_free: false,
        blocking: Blocking::Pool,
        installing: std::sync::atomic::AtomicUsize::new(0),
    });
    let storage = Storage {
        shared: Arc::clone(&shared),
        own: 5,
        permits: Arc::clone(&permits),
        counters: Arc::clone(&counters),
        append_bytes_max: 1 << 20,
        tail: Tail::new(0),
    };
    let pending: Arc<Pending<Answer>> = Arc::new(Pending::new(permits));
    let adapter = Adapter { state: Mutex::new(replay.state), shared, checkpoints, pending, counters };
    Store { storage, adapter, view, recovered }
}

pub(super) fn entry(term: u64, index: u64) -> Entry {
    let id = raft_log_id(LogId { term, index });
    if index == 0 {
        return Entry::new(id, Payload::Membership(Members::new_with_defaults(vec![[1, 2, 3].into()], [])));
    }
    Entry::new(id, Payload::normal(Draft { bytes: payload(index, 1000), coming: None }))
}

pub(super) async fn apply_all(store: &mut Store, end: u64) {
    let mut reader = store.storage.get_log_reader().await;
    let next = store.view.lock().index.map_or(0, |index| index + 1);
    let entries = reader.entries_stream(next..end).await.map(|entry| entry.map(|entry| (entry, None)));
    store.adapter.apply(Box::pin(entries)).await.unwrap();
}

pub(super) async fn written(dir: &Path, entries: std::ops::Range<u64>) -> Store {
    let mut store = open(dir);
    store.storage.blocking_append(entries.map(|index| entry(1, index))).await.unwrap();
    store
}

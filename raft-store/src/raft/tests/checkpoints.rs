//! When a checkpoint is cut, and how much the applied state reads and holds at a time.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use futures::{Stream, StreamExt};
use openraft::entry::{RaftEntry, RaftPayload};
use openraft::storage::{RaftLogReader, RaftLogStorage, RaftLogStorageExt};
use tempfile::TempDir;

use super::machine::payload;
use super::store::{Store, apply_all, entry, open, written};
use crate::log::CheckpointInfo;
use crate::raft::storage::{reported, reporting};
use crate::raft::types::{Body, Draft, Entry, Payload, raft_log_id};
use crate::types::LogId;

/// The checkpoints once everything that was asked for is done.
async fn settled(store: &Store) -> Vec<CheckpointInfo> {
    // The writer hands saves on to the background, so it goes first.
    let (done, synced) = reporting();
    store.storage.shared.log.lock().sync(done);
    reported(synced).await.unwrap();
    let (done, looked) = reporting();
    store.storage.shared.log.lock().release_quarantine(done);
    reported(looked).await.unwrap();
    store.adapter.checkpoints.list()
}

/// Rule 4: at the roll the entries of the segment are neither committed nor applied, so nothing is cut then. When apply
/// passes the last entry of a sealed segment exactly one checkpoint is, named by that entry's term, index, position and CRC.
#[tokio::test]
async fn rule_4_a_checkpoint_is_cut_when_apply_passes_a_sealed_segment() {
    let dir = TempDir::new().unwrap();
    let mut store = written(dir.path(), 0..200).await;
    let segments = store.storage.shared.log.lock().reader().segments();
    assert!(segments.len() >= 3 && segments[1].sealed, "the log has rolled");
    assert_eq!(settled(&store).await, [], "nothing is applied yet");
    for segment in &segments[..2] {
        let before = settled(&store).await;
        apply_all(&mut store, segment.last_index + 1).await;
        assert_eq!(settled(&store).await, before, "apply stands at the last entry, it has not passed it");
        apply_all(&mut store, segment.last_index + 2).await;
        let after = settled(&store).await;
        assert_eq!(after.len(), before.len() + 1);
        let cut = after.last().unwrap();
        assert_eq!((cut.at, cut.installed), (segment.last, false));
        let at = segment.last;
        let name = format!("{:020}-{:020}-{:020}-{:08x}", at.end, at.id.index, at.id.term, at.crc);
        assert!(dir.path().join("ckpt").join(&name).exists(), "{name}");
        // The tables are those behind that entry, not those of the moment of writing.
        let state = store.adapter.checkpoints.load(at).unwrap().state;
        assert_eq!(u64::from_le_bytes(state[..8].try_into().unwrap()), at.id.index, "entry 0 is no payload");
    }
    apply_all(&mut store, segments[2].first_index + 5).await;
    assert_eq!(settled(&store).await.len(), 2, "inside a segment nothing is cut");
}

fn large(index: u64) -> Entry {
    Entry::new(
        raft_log_id(LogId { term: 1, index }),
        Payload::normal(Draft { bytes: payload(index, 20_000), coming: None }),
    )
}

/// Rule 24: what is applied is read a bounded number of bytes at a time, and other tasks of the group's thread get their
/// turn at least once a megabyte, however many entries wait.
#[tokio::test]
async fn rule_24_apply_hands_the_thread_over_after_a_bounded_number_of_bytes() {
    const SLICE: usize = 1 << 20;
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path());
    let entries = std::iter::once(entry(1, 0)).chain((1..400).map(large));
    store.storage.blocking_append(entries).await.unwrap();
    let mut reader = store.storage.get_log_reader().await;
    assert!(
        store.storage.shared.log.lock().reader().in_memory(0),
        "no read from a file gives the thread away"
    );
    let mut feed = pin!(reader.entries_stream(0..400).await);
    let (mut given, mut since_turn, mut longest, mut turns) = (0, 0, 0, 0);
    while given < 400 {
        let polled = poll_fn(|context| Poll::Ready(feed.as_mut().poll_next(context))).await;
        match polled {
            Poll::Ready(Some(Ok(Entry { body: Body::Stored(record), .. }))) => {
                given += 1;
                since_turn += record.size();
                longest = longest.max(since_turn);
            }
            Poll::Ready(other) => panic!("{other:?} behind {given} entries"),
            Poll::Pending => {
                (since_turn, turns) = (0, turns + 1);
                tokio::task::yield_now().await;
            }
        }
    }
    assert!(longest <= SLICE + 30_000, "{longest} bytes without a turn for others");
    assert!((6..=16).contains(&turns), "{turns} turns for 8 MB: often enough, and not for every entry");
}

/// Rule 24: the reader of what is applied holds no more than its share of bytes, though it was asked for everything.
#[tokio::test]
async fn rule_24_a_read_for_apply_is_bounded_in_bytes() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path());
    store.storage.append_bytes_max = 100_000;
    let entries = std::iter::once(entry(1, 0)).chain((1..100).map(large));
    store.storage.blocking_append(entries).await.unwrap();
    let mut reader = store.storage.get_log_reader().await;
    let sizes: Vec<usize> = {
        let read = reader.limited_get_log_entries(1, 100).await.unwrap();
        read.iter()
            .map(|entry| match &entry.body {
                Body::Stored(record) => record.size(),
                Body::New(_) => panic!("read back without bytes"),
            })
            .collect()
    };
    assert!(sizes.iter().sum::<usize>() <= 100_000 && sizes.len() > 1, "{sizes:?}");
    let streamed: Vec<_> = reader.entries_stream(0..100).await.collect().await;
    assert_eq!(streamed.len(), 100, "a bounded step is not the end");
    let polled_once = {
        let mut feed = pin!(reader.entries_stream(0..100).await);
        let mut first = pin!(feed.next());
        poll_fn(|context| Poll::Ready(first.as_mut().poll(context).is_ready())).await
    };
    assert!(polled_once, "what is in memory comes without waiting");
}

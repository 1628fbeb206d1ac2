//! The storage alone: mixed appends, and an installation that is interrupted before the purge.

use openraft::StorageHelper;
use openraft::storage::{RaftLogReader, RaftLogStorage, RaftLogStorageExt, RaftStateMachine};
use tempfile::TempDir;

use super::store::{apply_all, entry, open, written};
use crate::log::Checkpoint;
use crate::raft::machine::snapshot_meta;
use crate::raft::types::Entry;

/// Rule 13: entries with bytes and entries without can stand in one call and are stamped by what they lack, not by a role.
#[tokio::test]
async fn rule_13_entries_are_stamped_if_and_only_if_they_have_no_bytes() {
    let (first, second) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut source = written(first.path(), 0..20).await;
    let stored = source.storage.get_log_reader().await.try_get_log_entries(0..10).await.unwrap();
    let mut store = open(second.path());
    // A leader's records, then entries of this node's own in a later term, then nothing of a third kind.
    let mixed = stored.iter().cloned().chain((10..15).map(|index| entry(2, index)));
    store.storage.blocking_append(mixed).await.unwrap();
    let mut reader = store.storage.get_log_reader().await;
    let read = reader.try_get_log_entries(..).await.unwrap();
    assert_eq!(read.len(), 15);
    let bytes = |entry: &Entry| match &entry.body {
        crate::raft::types::Body::Stored(record) => record.bytes().clone(),
        crate::raft::types::Body::New(_) => panic!("read back without bytes"),
    };
    assert!(stored.iter().zip(&read).all(|(left, right)| bytes(left) == bytes(right)));
    // Applying asserts that the numbers go on without a hole.
    apply_all(&mut store, 15).await;
    assert_eq!(store.view.lock().count, 14);
}

/// Rule 6: the machine stops between the installation of a checkpoint and the purge that the library orders behind it.
#[tokio::test]
async fn rule_6_an_installation_over_an_overlapping_log_survives_a_stop_before_the_purge() {
    let (first, second) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut leader = written(first.path(), 0..200).await;
    apply_all(&mut leader, 200).await;
    // The checkpoint at the end of the first segment.
    let at = loop {
        match leader.adapter.checkpoints.list().first() {
            Some(info) => break info.at,
            None => tokio::task::yield_now().await,
        }
    };
    let checkpoint: Checkpoint = leader.adapter.checkpoints.load(at).unwrap();
    let boundary = at.id.index;
    let all = leader.storage.get_log_reader().await.try_get_log_entries(..).await.unwrap();

    // The follower holds the boundary and more, but has applied little.
    let held = usize::try_from(boundary).unwrap() + 20;
    let mut follower = open(second.path());
    follower.storage.blocking_append(all[..held].to_vec()).await.unwrap();
    apply_all(&mut follower, 5).await;
    let meta = snapshot_meta(&checkpoint).unwrap();
    follower.adapter.install_snapshot(&meta, checkpoint.clone()).await.unwrap();
    assert_eq!(follower.view.lock().index, Some(boundary), "the installation replaces the applied tables");
    drop(follower);

    let mut follower = open(second.path());
    assert_eq!(follower.recovered.snapshot.map(|at| at.id.index), Some(boundary));
    let state =
        StorageHelper::new(&mut follower.storage, &mut follower.adapter).with_id(5).get_initial_state().await;
    let state = state.unwrap();
    assert_eq!(state.membership_state.effective().voter_ids().count(), 3);
    assert_eq!(follower.view.lock().index, Some(boundary));
    let last = follower.storage.get_log_state().await.unwrap().last_log_id.unwrap();
    assert_eq!(last.index(), held as u64 - 1, "what fits above the boundary stayed");
    // The tail table was built from the checkpoint and the retained records: the next ones fit.
    follower.storage.blocking_append(all[held..].to_vec()).await.unwrap();
    apply_all(&mut follower, 200).await;
    let (got, expected) = (follower.view.lock().clone(), leader.view.lock().clone());
    assert_eq!((got.index, got.count, got.hash), (expected.index, expected.count, expected.hash));
}

//! Checkpoints, the retention boundary, and replicas that fell behind it.

use std::sync::atomic::Ordering;

use super::cluster::{Cluster, soon};

async fn wait_for_checkpoints(cluster: &Cluster, node: usize, at_least: u64) {
    let counters = cluster.node(node).replica.counters();
    let mut status = cluster.node(node).replica.status();
    let written = async {
        while counters.checkpoints.load(Ordering::Relaxed) < at_least {
            // A commit more moves the watch; the checkpoint itself is written in the background.
            tokio::select! {
                _ = status.changed() => {}
                () = tokio::time::sleep(std::time::Duration::from_millis(5)) => {}
            }
        }
    };
    soon("checkpoints are written", written).await;
}

/// Moves the boundary of a node to the last checkpoint below everything applied; gives its index.
async fn purge(cluster: &Cluster, node: usize) -> u64 {
    let replica = cluster.node(node).replica.clone();
    let (_, end) = replica.log().bounds();
    let boundary = soon("a purge", replica.purge_to(end)).await.unwrap().expect("a checkpoint lies below");
    cluster.until("entries are purged", node, |status| status.purged == Some(boundary)).await;
    boundary
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_no_boundary_before_a_segment_is_full() {
    let cluster = Cluster::start(1).await;
    cluster.commit_many(0..10, 64).await;
    let replica = cluster.node(0).replica.clone();
    assert_eq!(replica.purge_to(u64::MAX).await.unwrap(), None);
    assert_eq!(cluster.status(0).snapshot, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_25_a_follower_behind_the_boundary_gets_checkpoint_and_entries() {
    let mut cluster = Cluster::start(3).await;
    cluster.commit_many(0..20, 64).await;
    let leader = cluster.leader().await;
    let lagging = (leader + 1) % 3;
    cluster.stop_node(lagging).await;
    // Several segments of 1 MiB.
    cluster.commit_many(20..600, 8000).await;
    let leader = cluster.leader().await;
    wait_for_checkpoints(&cluster, leader, 3).await;
    let boundary = purge(&cluster, leader).await;
    assert_eq!(cluster.status(leader).snapshot, Some(boundary), "the snapshot is the boundary, not the head");
    assert!(cluster.node(leader).replica.log().entries(0, 1, 1).is_err(), "the first entries are gone");
    cluster.start_node(lagging).await;
    let last = cluster.commit(600).await;
    cluster.agree_at(last.index).await;
    let view = cluster.node(lagging).view.lock().clone();
    assert_eq!(view.count, 601);
    assert_eq!(cluster.node(lagging).replica.counters().installs.load(Ordering::Relaxed), 1);
    // Every entry behind the boundary came as an entry, none is missing.
    let from = view.installed_at[0];
    assert_eq!(view.tags, (from..601).collect::<Vec<_>>());
    let status = cluster.status(lagging);
    assert_eq!((status.snapshot, status.purged), (Some(boundary), Some(boundary)));

    // The installed state outlives a restart, and the node can lead and serve others from it.
    cluster.stop_node(lagging).await;
    cluster.start_node(lagging).await;
    let last = cluster.commit(601).await;
    cluster.agree_at(last.index).await;
}

/// Rule 25: the library clamps a purge that comes before the snapshot, silently. So the boundary is durable, then the snapshot
/// covers it, and only then entries go: at no moment is more purged than the snapshot covers, and in the end all of it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_25_entries_go_only_when_the_snapshot_covers_them() {
    let cluster = Cluster::start(1).await;
    cluster.commit_many(0..500, 8000).await;
    wait_for_checkpoints(&cluster, 0, 3).await;
    let replica = cluster.node(0).replica.clone();
    let segments = replica.log().segments();
    let mut watched = replica.status();
    let watching = tokio::spawn(async move {
        let mut seen = Vec::new();
        while watched.changed().await.is_ok() {
            let status = watched.borrow_and_update();
            seen.push((status.snapshot, status.purged));
        }
        seen
    });
    let mut boundaries = Vec::new();
    for segment in &segments[..3] {
        let boundary = soon("a purge", replica.purge_to(segment.end)).await.unwrap().unwrap();
        assert_eq!(
            boundary, segment.last_index,
            "exactly what was asked for, not what an earlier snapshot covers"
        );
        let gone = |status: &crate::raft::Status| status.purged == Some(boundary);
        cluster.until("entries are purged", 0, gone).await;
        boundaries.push(boundary);
    }
    replica.stop().await;
    drop((replica, cluster));
    let seen = watching.await.unwrap();
    assert!(seen.iter().all(|(snapshot, purged)| purged <= snapshot), "{seen:?}");
    assert!(boundaries.windows(2).all(|pair| pair[0] < pair[1]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purged_replica_restarts_from_its_checkpoint() {
    let mut cluster = Cluster::start(1).await;
    cluster.commit_many(0..500, 8000).await;
    wait_for_checkpoints(&cluster, 0, 3).await;
    let boundary = purge(&cluster, 0).await;
    cluster.commit_many(500..510, 64).await;
    let before = cluster.node(0).view.lock().clone();
    cluster.stop_node(0).await;
    cluster.start_node(0).await;
    cluster.leader().await;
    let view = cluster.node(0).view.lock().clone();
    assert_eq!(view.count, before.count);
    let first = view.tags.first().copied().unwrap_or(view.count);
    assert!(first > 0, "the replay began at a checkpoint, not at the first entry");
    let status = cluster.status(0);
    assert_eq!((status.snapshot, status.purged), (Some(boundary), Some(boundary)));
    assert_eq!(cluster.commit(510).await.answer.0, 510);
}

/// A follower slower than the ring reads from files; nothing is skipped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_behind_the_ring_catches_up_from_files() {
    let mut cluster = Cluster::start(3).await;
    let lagging = (cluster.leader().await + 1) % 3;
    cluster.stop_node(lagging).await;
    cluster.commit_many(0..600, 8000).await;
    let leader = cluster.leader().await;
    assert!(!cluster.node(leader).replica.log().in_memory(0), "the ring holds 1 MiB");
    cluster.start_node(lagging).await;
    let last = cluster.commit(600).await;
    cluster.agree_at(last.index).await;
    assert_eq!(cluster.node(lagging).view.lock().tags, (0..601).collect::<Vec<_>>());
    assert_eq!(cluster.node(lagging).replica.counters().installs.load(Ordering::Relaxed), 0);
}

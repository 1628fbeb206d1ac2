//! Full disks: what is still taken, and that it goes on when there is room again (LOG-RULES 11).

use std::sync::Arc;

use super::cluster::{Cluster, becomes, soon};
use super::machine::{Answer, payload};
use crate::raft::Replica;
use crate::raft::api::{Proposal, ProposeError};
use crate::raft::status::Role;
use crate::vfs::MemVfs;

/// A group that is not started, each replica on a disk of its own.
fn on_disks(size: usize) -> (Cluster, Vec<MemVfs>) {
    let disks: Vec<MemVfs> = (0..size).map(|_| MemVfs::new()).collect();
    let mut cluster = Cluster::prepare(size);
    let own = disks.clone();
    cluster.vfs_of = Box::new(move |index| Arc::new(own[index].clone()));
    (cluster, disks)
}

/// Starts the group; when it is led, this disk of it is full.
async fn start_and_fill(cluster: &mut Cluster, disk: &MemVfs) {
    cluster.start_all().await;
    cluster.leader().await;
    disk.set_capacity(Some(disk.used()));
}

async fn into_reserve(replica: &Replica<Answer>, size: usize) -> Result<(), ProposeError> {
    let (sender, outcome) = tokio::sync::oneshot::channel();
    let done = Box::new(move |outcome: Result<_, _>| {
        sender.send(outcome.map(drop)).ok();
    });
    let proposal = Proposal { payload: payload(5000, size), expected_term: None, done };
    replica.submit_into_reserve(vec![proposal]).await;
    soon("an outcome", outcome).await.unwrap()
}

/// What makes room finds some in the last segment when nothing else does, as far as it fits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_log_takes_what_makes_room_and_nothing_else() {
    let (mut cluster, disks) = on_disks(1);
    let disk = &disks[0];
    start_and_fill(&mut cluster, disk).await;
    let replica = cluster.node(0).replica.clone();
    let mut tag = 0;
    while replica.has_room() {
        // Refused or not: the last one may be.
        cluster.submit(0, vec![payload(tag, 8000)], None).await;
        tag += 1;
        assert!(tag < 1000, "never full");
    }
    assert_eq!(cluster.submit(0, vec![payload(tag, 64)], None).await, [Err(ProposeError::Busy)]);
    assert_eq!(into_reserve(&replica, 64).await, Ok(()));
    assert_eq!(into_reserve(&replica, 100_000).await, Ok(()));
    assert_eq!(into_reserve(&replica, 250_000).await, Err(ProposeError::Busy), "more than is left");
    assert!(!replica.has_room());
    disk.set_capacity(None);
    becomes("there is room again", || replica.has_room()).await;
    cluster.commit(6000).await;
}

/// Rule 11: what is under way when the disk fills up fits into segments that are there, however small they are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_11_a_leader_whose_disk_fills_refuses_and_does_not_stop() {
    let (mut cluster, disks) = on_disks(1);
    let disk = &disks[0];
    cluster.tweak = Box::new(|options| options.segment_size = 64 << 10);
    start_and_fill(&mut cluster, disk).await;
    let payloads = (0..200).map(|tag| payload(tag, 2000)).collect();
    let outcomes = cluster.submit(0, payloads, None).await;
    let done = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    let busy = outcomes.iter().filter(|outcome| **outcome == Err(ProposeError::Busy)).count();
    assert!(done > 0 && busy > 0 && done + busy == 200, "{done} done, {busy} refused: {outcomes:?}");
    disk.set_capacity(None);
    cluster.commit(1000).await;
}

/// One answer to two questions: a record that finds no room makes the log a full one, so that the leader is asked to hand over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_has_no_room_for_a_record_says_so() {
    let (mut cluster, disks) = on_disks(1);
    let disk = &disks[0];
    start_and_fill(&mut cluster, disk).await;
    let replica = cluster.node(0).replica.clone();
    let large = 600_000;
    for tag in 0..3 {
        cluster.submit(0, vec![payload(tag, large)], None).await;
    }
    assert_eq!(cluster.submit(0, vec![payload(9, large)], None).await, [Err(ProposeError::Busy)]);
    assert!(!replica.has_room(), "although less than that would fit");
    disk.set_capacity(None);
    becomes("there is room again", || replica.has_room()).await;
    cluster.commit_sized(10, large).await;
}

/// Rule 11: a follower leaves to the leader what its disk has no room for, and takes it up when there is some.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_11_a_follower_whose_disk_fills_waits_and_does_not_stop() {
    let (mut cluster, disks) = on_disks(3);
    cluster.tweak = Box::new(|options| options.segment_size = 64 << 10);
    cluster.start_all().await;
    let leader = cluster.leader().await;
    let full = (leader + 1) % 3;
    disks[full].set_capacity(Some(disks[full].used()));
    // Requests of up to 1 MiB, each over many segments.
    cluster.commit_many(0..300, 4000).await;
    assert_ne!(cluster.role(full), Role::Stopped, "{:?}", cluster.status(full).waiting_for);
    let end = cluster.status(leader).last_log.unwrap();
    assert!(cluster.status(full).last_log < Some(end), "it has no room for all of it");
    disks[full].set_capacity(None);
    cluster.agree_at(end).await;
}

/// Regression: followers kept back what the leader had taken from its reserve, so nothing was committed any more, and what would
/// have made room on all of them was never applied.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_makes_room_is_committed_when_all_disks_are_full() {
    let (mut cluster, disks) = on_disks(3);
    // Four segments and what lies beside them.
    let capacity = (4 << 20) + (600 << 10);
    disks.iter().for_each(|disk| disk.set_capacity(Some(capacity)));
    cluster.start_all().await;
    let replicas: Vec<_> = (0..3).map(|index| cluster.node(index).replica.clone()).collect();
    let is_full = |index: usize| disks[index].used() + (1 << 20) > capacity && !replicas[index].has_room();
    let mut tag = 0;
    while !is_full(cluster.leader().await) {
        // Refused or not: a segment may be on its way, and the last one may be too large.
        let leader = cluster.leader().await;
        cluster.submit(leader, vec![payload(tag, 8000)], None).await;
        tag += 1;
        assert!(tag < 5000, "never full");
    }
    becomes("all are full", || (0..3).all(is_full)).await;
    let leader = cluster.leader().await;
    for size in [64, 50_000, 64] {
        assert_eq!(into_reserve(&replicas[leader], size).await, Ok(()), "{size} bytes");
    }
    assert!((0..3).all(is_full), "room for nothing else");
}

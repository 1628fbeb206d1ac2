//! Leaders come and go; what was acknowledged stays.

use std::time::{Duration, Instant};

use super::cluster::{Cluster, soon};
use super::machine::payload;
use crate::raft::api::{ProposeError, ReadError};
use crate::raft::status::Role;
use crate::types::EntryKind;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_forms_and_all_replicas_hold_the_same_bytes() {
    let cluster = Cluster::start(3).await;
    let committed = cluster.commit(1).await;
    cluster.commit_many(2..200, 100).await;
    let last = cluster.commit(200).await;
    assert_eq!(last.answer.0, 199, "numbers are dense from 0");
    cluster.agree_at(last.index).await;
    let logs: Vec<Vec<_>> = (0..3)
        .map(|node| {
            let reader = cluster.node(node).replica.log();
            reader.entries(0, last.index + 1, 64 << 20).unwrap()
        })
        .collect();
    assert_eq!(logs[0].len() as u64, last.index + 1);
    for other in &logs[1..] {
        assert!(logs[0].iter().zip(other).all(|(left, right)| left.bytes() == right.bytes()));
    }
    // The first record depends on the forming token alone.
    let first = &logs[0][0];
    assert_eq!(
        (first.kind(), first.term(), first.time_ms(), first.leader()),
        (EntryKind::Membership, 0, 0, 0)
    );
    let record = &logs[0][usize::try_from(committed.index).unwrap()];
    assert_eq!((record.position(), record.term()), (committed.position, committed.term));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_node_is_a_group() {
    let mut cluster = Cluster::start(1).await;
    cluster.commit_many(0..100, 64).await;
    cluster.stop_node(0).await;
    cluster.start_node(0).await;
    assert_eq!(cluster.commit(100).await.answer.0, 100);
    assert!(cluster.node(0).replica.has_room());
    let replica = cluster.node(0).replica.clone();
    cluster.stop_node(0).await;
    assert!(!replica.has_room(), "a stopped replica takes nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_follower_catches_up() {
    let mut cluster = Cluster::start(3).await;
    cluster.commit_many(0..50, 64).await;
    let follower = (cluster.leader().await + 1) % 3;
    cluster.stop_node(follower).await;
    cluster.commit_many(50..100, 64).await;
    cluster.start_node(follower).await;
    let last = cluster.commit(100).await;
    cluster.agree_at(last.index).await;
    assert_eq!(cluster.node(follower).view.lock().count, 101);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_leader_is_replaced_and_takes_part_again() {
    let mut cluster = Cluster::start(3).await;
    cluster.commit_many(0..50, 64).await;
    let old = cluster.leader().await;
    let term = cluster.status(old).term;
    cluster.stop_node(old).await;
    let new = cluster.leader().await;
    assert!(cluster.status(new).term > term);
    let next = cluster.commit(50).await;
    assert_eq!(next.answer.0, 50, "nothing acknowledged is gone, nothing is there twice");
    cluster.start_node(old).await;
    let last = cluster.commit(51).await;
    cluster.agree_at(last.index).await;
}

/// The new leader can't count on entries of an older term being committed; its own blank entry settles them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_tail_is_committed_after_a_fail_over_without_a_new_proposal() {
    let mut cluster = Cluster::start(3).await;
    cluster.commit_many(0..20, 64).await;
    let last = cluster.commit(20).await;
    let old = cluster.leader().await;
    cluster.stop_node(old).await;
    let new = cluster.leader().await;
    for node in [new, 3 - old - new] {
        cluster.applied(node, last.index).await;
        assert_eq!(cluster.node(node).view.lock().count, 21);
    }
    let status = cluster.status(new);
    assert!(
        status.own_term_applied && status.applied > Some(last.index),
        "the blank entry is applied as well"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_restart_and_two_are_enough() {
    let mut cluster = Cluster::start(3).await;
    cluster.commit_many(0..100, 200).await;
    let last = cluster.commit(100).await;
    cluster.stop_all().await;
    cluster.start_node(1).await;
    cluster.start_node(2).await;
    cluster.leader().await;
    cluster.agree_at(last.index).await;
    assert_eq!(cluster.commit(101).await.answer.0, 101);
    cluster.start_node(0).await;
    let last = cluster.commit(102).await;
    cluster.agree_at(last.index).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_are_confirmed_by_a_majority() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let last = cluster.commit(7).await;
    let replica = cluster.node(leader).replica.clone();
    let deadline = || Instant::now() + Duration::from_secs(5);
    // Together they share rounds; each must see at least what was acknowledged before.
    let reads = (0..200).map(|_| replica.read_index(deadline()));
    for read in soon("reads", futures::future::join_all(reads)).await {
        assert!(read.unwrap() >= last.index);
    }
    assert!(cluster.node(leader).view.lock().index >= Some(last.index));
    let follower = (leader + 1) % 3;
    cluster.until("the leader is known", follower, |status| status.leader.is_some()).await;
    let refused = cluster.node(follower).replica.read_index(deadline()).await;
    assert_eq!(refused, Err(ReadError::NotLeader { leader: Some(leader as u64) }));

    cluster.stop_node(follower).await;
    cluster.stop_node((leader + 2) % 3).await;
    let alone = replica.read_index(Instant::now() + Duration::from_secs(3)).await;
    assert_eq!(alone, Err(ReadError::Timeout), "nobody confirms");
}

/// A leader without its followers stops taking writes once its lease is over, and says that they were not appended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_without_followers_loses_its_lease() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    cluster.commit(1).await;
    let before = cluster.status(leader).last_log;
    for other in [(leader + 1) % 3, (leader + 2) % 3] {
        cluster.stop_node(other).await;
    }
    let until = cluster.status(leader).lease_until.unwrap();
    tokio::time::sleep_until((until + Duration::from_millis(700)).into()).await;
    assert!(!cluster.status(leader).lease_valid());
    let refused = cluster.submit(leader, vec![payload(2, 64)], None).await;
    assert!(matches!(refused[0], Err(ProposeError::NotLeader { .. })), "{refused:?}");
    assert_eq!(cluster.status(leader).last_log, before);
    assert_eq!(cluster.role(leader), Role::Leader, "it still leads its term, without a lease");
}

/// A node that misses committed entries is never elected, however early it campaigns.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lagging_node_is_never_elected() {
    let mut cluster = Cluster::start(3).await;
    cluster.commit(0).await;
    let lagging = (cluster.leader().await + 1) % 3;
    cluster.stop_node(lagging).await;
    cluster.commit_many(1..50, 64).await;
    cluster.stop_all().await;
    // Alone with one complete node, started first, with every chance to be the first to campaign.
    let complete = (lagging + 1) % 3;
    cluster.start_node(lagging).await;
    cluster.start_node(complete).await;
    assert_eq!(cluster.leader().await, complete);
    let last = cluster.commit(50).await;
    cluster.agree_at(last.index).await;
    assert_eq!(cluster.node(lagging).view.lock().tags, (0..51).collect::<Vec<_>>());
}

/// A follower's patience is its lease and a random part, so a fail-over takes 0.9 to 1.2 s with the default times.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fail_over_takes_about_a_second() {
    let mut cluster = Cluster::start(3).await;
    cluster.commit(1).await;
    let leader = cluster.leader().await;
    cluster.stop_node(leader).await;
    let stopped = Instant::now();
    cluster.leader().await;
    let took = stopped.elapsed();
    println!("a new leader after {took:?}");
    assert!(took > Duration::from_millis(500), "the lease of the old leader must end first: {took:?}");
    assert!(took < Duration::from_millis(2500), "{took:?}");
}

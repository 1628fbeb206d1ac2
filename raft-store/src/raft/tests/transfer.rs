//! Planned leader changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::cluster::{Cluster, soon, submit};
use super::machine::payload;
use crate::raft::api::{ProposeError, TransferError};
use crate::raft::status::Role;

const WITHIN: Duration = Duration::from_secs(10);

/// Proposers that retry what was never appended see no failure, and their entries are there once and in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planned_transfer_under_load_fails_no_proposal() {
    let cluster = Arc::new(Cluster::start(3).await);
    let stop = Arc::new(AtomicBool::new(false));
    let next_tag = Arc::new(AtomicU64::new(0));
    let mut proposers = Vec::new();
    for _ in 0..4 {
        let (cluster, stop, next_tag) = (Arc::clone(&cluster), Arc::clone(&stop), Arc::clone(&next_tag));
        proposers.push(tokio::spawn(async move {
            let mut committed = Vec::new();
            let mut at = 0;
            while !stop.load(Ordering::Relaxed) {
                let tag = next_tag.fetch_add(1, Ordering::Relaxed);
                loop {
                    let replica = cluster.node(at).replica.clone();
                    match submit(&replica, vec![payload(tag, 128)], None).await.remove(0) {
                        Ok(done) => {
                            committed.push((done.index, tag));
                            break;
                        }
                        Err(ProposeError::NotLeader { leader: Some(leader) }) if leader != at as u64 => {
                            at = usize::try_from(leader).unwrap();
                        }
                        Err(ProposeError::NotLeader { .. } | ProposeError::Busy) => {
                            at = (at + 1) % 3;
                            tokio::time::sleep(Duration::from_millis(2)).await;
                        }
                        Err(error) => panic!("a planned transfer must not lose track: {error}"),
                    }
                }
            }
            committed
        }));
    }
    for round in 0..4 {
        let leader = cluster.leader().await;
        let to = (round % 2 == 0).then_some(((leader + 1) % 3) as u64);
        let replica = cluster.node(leader).replica.clone();
        let new = match soon("a transfer", replica.transfer_leadership(to, WITHIN)).await {
            Ok(new) => new,
            // Somebody else was elected in between on a busy machine; there is nothing to hand over any more.
            Err(TransferError::NotLeader) => continue,
            Err(error) => panic!("round {round}: {error}"),
        };
        assert!(to.is_none_or(|to| to == new), "asked for {to:?}, got {new}");
        assert_ne!(new, leader as u64);
    }
    stop.store(true, Ordering::Relaxed);
    let mut committed = Vec::new();
    for proposer in proposers {
        committed.extend(proposer.await.unwrap());
    }
    committed.sort_unstable();
    let last = cluster.commit(u64::MAX).await;
    cluster.agree_at(last.index).await;
    let tags = cluster.node(0).view.lock().tags.clone();
    let expected: Vec<u64> = committed.iter().map(|(_, tag)| *tag).chain([u64::MAX]).collect();
    assert_eq!(tags, expected, "each once, in the order of the log, nothing else");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_needs_a_member_that_follows() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let follower = (leader + 1) % 3;
    let refused = cluster.node(follower).replica.transfer_leadership(None, WITHIN).await;
    assert_eq!(refused, Err(TransferError::NotLeader));
    let replica = cluster.node(leader).replica.clone();
    assert_eq!(replica.transfer_leadership(Some(leader as u64), WITHIN).await, Ok(leader as u64));
    let stranger = replica.transfer_leadership(Some(9), WITHIN).await;
    assert!(matches!(stranger, Err(TransferError::NoTarget(_))), "{stranger:?}");
    // A member that is down stays behind; leadership stays where it is and proposals go on.
    cluster.stop_node(follower).await;
    cluster.commit_many(0..5000, 16).await;
    let down = replica.transfer_leadership(Some(follower as u64), Duration::from_secs(1)).await;
    assert!(matches!(down, Err(TransferError::NoTarget(_))), "{down:?}");
    assert_eq!(cluster.role(leader), Role::Leader);
    cluster.commit(5000).await;
}

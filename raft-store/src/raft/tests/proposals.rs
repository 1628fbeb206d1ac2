//! Outcomes of proposals: which were never appended, which nobody knows, how many bytes may be on their way.

use std::sync::atomic::Ordering;

use super::cluster::{Cluster, submit};
use super::machine::payload;
use crate::raft::api::ProposeError;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_refuses_and_names_the_leader() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let follower = (leader + 1) % 3;
    cluster.until("the leader is known", follower, |status| status.leader.is_some()).await;
    let refused = cluster.submit(follower, vec![payload(1, 64)], None).await;
    assert_eq!(refused, [Err(ProposeError::NotLeader { leader: Some(leader as u64) })]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proposal_for_another_term_is_not_appended() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let status = cluster.status(leader);
    let wrong = cluster.submit(leader, vec![payload(1, 64), payload(2, 64)], Some(status.term - 1)).await;
    assert!(wrong.iter().all(|outcome| matches!(outcome, Err(ProposeError::NotLeader { .. }))), "{wrong:?}");
    assert_eq!(cluster.status(leader).last_log, status.last_log);
    let right = cluster.submit(leader, vec![payload(3, 64)], Some(status.term)).await;
    assert_eq!(right[0].as_ref().unwrap().term, status.term);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_call_is_one_batch_in_order() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let count = 2000;
    let payloads = (0..count).map(|tag| payload(tag, 32)).collect();
    let outcomes = cluster.submit(leader, payloads, None).await;
    let indexes: Vec<u64> = outcomes.iter().map(|outcome| outcome.as_ref().unwrap().index).collect();
    assert!(indexes.windows(2).all(|pair| pair[1] == pair[0] + 1), "one behind the other");
    let tags = cluster.node(leader).view.lock().tags.clone();
    assert_eq!(tags, (0..count).collect::<Vec<_>>());
    let counters = cluster.node(leader).replica.counters();
    let flushes = counters.flush.count();
    assert!(flushes < 20, "{flushes} hand-overs to the log for one batch");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_in_flight_are_bounded_and_given_back() {
    let mut cluster = Cluster::prepare(3);
    cluster.tweak = Box::new(|options| options.in_flight_bytes_max = 100_000);
    cluster.start_all().await;
    let leader = cluster.leader().await;
    let payloads = (0..100).map(|tag| payload(tag, 10_000)).collect();
    let outcomes = cluster.submit(leader, payloads, None).await;
    let busy = outcomes.iter().filter(|outcome| **outcome == Err(ProposeError::Busy)).count();
    let done = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!((busy, done), (91, 9), "nine of them fit");
    let counters = cluster.node(leader).replica.counters();
    assert_eq!(counters.busy.load(Ordering::Relaxed), 91);
    // Applied is not yet durable here; the permit comes back with the flush.
    let last = outcomes[8].as_ref().unwrap().index;
    let (done, synced) = tokio::sync::oneshot::channel();
    let again = cluster.submit(leader, vec![payload(100, 16)], None).await;
    assert!(again[0].is_ok() && again[0].as_ref().unwrap().index > last);
    done.send(()).ok();
    synced.await.ok();
    let mut status = cluster.node(leader).replica.status();
    while counters.in_flight_bytes.load(Ordering::Relaxed) > 0 {
        status.changed().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payload_that_fits_no_segment_is_refused_without_harm() {
    let cluster = Cluster::start(1).await;
    let outcomes =
        cluster.submit(0, vec![payload(1, 2 << 20), payload(2, 64), bytes::Bytes::new()], None).await;
    assert_eq!(outcomes[0], Err(ProposeError::TooLarge));
    assert!(outcomes[1].is_ok());
    assert_eq!(outcomes[2], Err(ProposeError::TooLarge), "shorter than the head room");
}

/// Segments are whole blocks, whatever the setting says, and so is what fits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_payload_fits_a_segment_of_an_odd_size() {
    let mut cluster = Cluster::prepare(1);
    cluster.tweak = Box::new(|options| options.segment_size = (512 << 10) + 4095);
    cluster.start_all().await;
    cluster.leader().await;
    let largest = (512 << 10) - 4096 - crate::RECORD_HEADER_SIZE;
    let outcomes = cluster.submit(0, vec![payload(1, largest + 1), payload(2, largest)], None).await;
    assert_eq!(outcomes[0], Err(ProposeError::TooLarge));
    assert!(outcomes[1].is_ok(), "{outcomes:?}");
}

/// Entries that only the old leader held are cut off when it follows another one. Their proposers must hear `Unknown`,
/// and the numbering must be walked back, or the next entries would not be accepted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_of_a_deposed_leader_are_unknown_and_taken_back() {
    let mut cluster = Cluster::start(3).await;
    cluster.commit_many(0..10, 64).await;
    let old = cluster.leader().await;
    let others = [(old + 1) % 3, (old + 2) % 3];
    cluster.agree_at(cluster.status(old).last_log.unwrap()).await;
    for other in others {
        cluster.stop_node(other).await;
    }
    // Within the lease they are appended, and no one else will ever have them.
    let replica = cluster.node(old).replica.clone();
    let lost = tokio::spawn(async move {
        let payloads = (0..5).map(|tag| payload(1000 + tag, 64)).collect();
        submit(&replica, payloads, None).await
    });
    let before = cluster.status(old).committed.unwrap();
    cluster.until("the entries are appended", old, |status| status.last_log >= Some(before + 5)).await;
    let peers = cluster.peers.clone();
    // The old leader can't reach the others at the ports that they get next only if it is down: keep it, start them.
    assert_eq!(peers.len(), 3);
    let held = cluster.nodes[old].take().unwrap();
    held.replica.stop().await;
    let outcomes = lost.await.unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome == Err(ProposeError::Unknown)), "{outcomes:?}");
    for other in others {
        cluster.start_node(other).await;
    }
    let next = cluster.commit(10).await;
    assert_eq!(next.answer.0, 10);
    cluster.start_node(old).await;
    let last = cluster.commit(11).await;
    cluster.agree_at(last.index).await;
    let tags = cluster.node(old).view.lock().tags.clone();
    assert_eq!(tags, (0..12).collect::<Vec<_>>(), "no entry of the cut tail took effect");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_replica_answers_everything() {
    let cluster = Cluster::start(1).await;
    let replica = cluster.node(0).replica.clone();
    let payloads: Vec<_> = (0..500).map(|tag| payload(tag, 1000)).collect();
    let proposing = {
        let replica = replica.clone();
        tokio::spawn(async move { submit(&replica, payloads, None).await })
    };
    replica.stop().await;
    // Each `done` was called: applied, unknown or stopped, never forgotten.
    for outcome in proposing.await.unwrap() {
        assert!(matches!(outcome, Ok(_) | Err(ProposeError::Unknown | ProposeError::Stopped)), "{outcome:?}");
    }
}

//! Rule 27: a leader that hears no majority falls silent and has another one lead; it speaks again when it hears one.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::cluster::{Cluster, becomes, soon, submit};
use super::machine::payload;
use super::partitions::{relayed, relayed_with};
use crate::raft::api::ProposeError;
use crate::raft::status::Status;

fn silences(cluster: &Cluster, node: usize) -> u64 {
    cluster.node(node).replica.counters().silences.load(Ordering::Relaxed)
}

/// Waits until all members hold the leader's tail and know that it is committed.
async fn all_hold_the_tail(cluster: &Cluster, leader: usize) {
    let known = |status: &Status| {
        status.replication.len() == cluster.nodes.len()
            && status.replication.iter().all(|progress| progress.matched == status.last_log)
    };
    cluster.until("all hold the tail", leader, known).await;
}

/// Waits for a safe leader among `nodes` in a later term than `term`.
async fn leader_after(cluster: &Cluster, nodes: impl IntoIterator<Item = usize>, term: u64) -> usize {
    let waits = nodes.into_iter().map(|index| {
        let mut status = cluster.node(index).replica.status();
        Box::pin(async move {
            status.wait_for(|status| status.leads_safely() && status.term > term).await.unwrap();
            index
        })
    });
    soon("a new leader", futures::future::select_all(waits)).await.0
}

/// Cuts one direction between the leader and the others while a proposal of it waits, and heals it when another one leads and
/// has acknowledged something.
async fn one_way(hears: bool) {
    let (cluster, wires) = relayed(3).await;
    cluster.commit_many(0..10, 64).await;
    let old = cluster.leader().await;
    let term = cluster.status(old).term;
    let others = [(old + 1) % 3, (old + 2) % 3];
    for other in others {
        let (from, to) = if hears { (old, other) } else { (other, old) };
        wires.cut(from, to);
    }
    let replica = cluster.node(old).replica.clone();
    let waiting =
        tokio::spawn(async move { submit(&replica, vec![payload(1000, 64)], None).await.remove(0) });
    let new = leader_after(&cluster, others, term).await;
    assert!(!cluster.status(old).lease_valid(), "two leases at one time");
    let outcome = cluster.submit(new, vec![payload(10, 64)], None).await.remove(0);
    let acknowledged = outcome.expect("the new leader works without the old one");
    let refused = cluster.submit(old, vec![payload(1001, 64)], None).await.remove(0);
    assert!(matches!(refused, Err(ProposeError::NotLeader { .. })), "{refused:?}");
    wires.heal_all();
    let outcome = soon("an outcome", waiting).await.unwrap();
    assert!(matches!(outcome, Ok(_) | Err(ProposeError::Unknown)), "{outcome:?}");
    let last = cluster.commit(11).await;
    assert!(last.term > term && last.index > acknowledged.index);
    cluster.agree_at(last.index).await;
    let mut tags = cluster.node(old).view.lock().tags.clone();
    // Its followers may have had it; then the new leader has committed it before anything of its own.
    assert!(outcome.is_err() || tags.contains(&1000), "acknowledged and lost");
    tags.retain(|tag| *tag != 1000);
    assert_eq!(tags, (0..12).collect::<Vec<_>>());
}

/// The leader's heartbeats and entries arrive, the answers don't.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_27_a_leader_that_is_heard_and_hears_nobody_is_replaced() {
    one_way(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_27_a_leader_that_hears_and_is_not_heard_is_replaced() {
    one_way(true).await;
}

/// Nobody's patience has to end first: the members that hear the leader are told who should lead. Also when a part of its log was
/// not sent, because the window to each of them was full.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_27_a_leader_that_falls_silent_has_another_one_lead() {
    // Followers wait 3.5 to 4 s, and 2.1 s without hearing anybody make a leader silent.
    let (cluster, wires) = relayed_with(3, |options| options.election_ms = (1500, 2000)).await;
    cluster.commit_many(0..10, 64).await;
    let old = cluster.leader().await;
    all_hold_the_tail(&cluster, old).await;
    let term = cluster.status(old).term;
    let others = [(old + 1) % 3, (old + 2) % 3];
    others.iter().for_each(|other| wires.cut(*other, old));
    let mut waiting = Vec::new();
    for tag in 1000..1006 {
        let before = cluster.status(old).last_log;
        let replica = cluster.node(old).replica.clone();
        waiting.push(tokio::spawn(
            async move { submit(&replica, vec![payload(tag, 64)], None).await.remove(0) },
        ));
        cluster.until("it is appended", old, |status| status.last_log > before).await;
    }
    becomes("the leader falls silent", || silences(&cluster, old) >= 1).await;
    let silent = Instant::now();
    let new = leader_after(&cluster, others, term).await;
    let took = silent.elapsed();
    assert!(took < Duration::from_millis(2500), "the others waited until their patience ended: {took:?}");
    assert!(!cluster.status(old).lease_valid(), "two leases at one time");
    let outcome = cluster.submit(new, vec![payload(10, 64)], None).await.remove(0);
    outcome.expect("the new leader works without the old one");
    wires.heal_all();
    let last = cluster.commit(11).await;
    cluster.agree_at(last.index).await;
    let tags = cluster.node(old).view.lock().tags.clone();
    for (tag, waiting) in (1000..).zip(waiting) {
        let outcome = soon("an outcome", waiting).await.unwrap();
        assert!(outcome.is_err() || tags.contains(&tag), "acknowledged and lost: {tag}");
    }
    let own: Vec<u64> = tags.into_iter().filter(|tag| *tag < 1000).collect();
    assert_eq!(own, (0..12).collect::<Vec<_>>());
}

/// Why silence does not last until the next term: the one member that is heard again can't be elected. And as another one may
/// still ask for votes, this leader has no lease any more: it brings that member up to date, and then there is an election.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_27_a_silent_leader_goes_on_when_it_hears_a_majority_again() {
    let (mut cluster, wires) = relayed(3).await;
    cluster.commit_many(0..10, 64).await;
    let leader = cluster.leader().await;
    let term = cluster.status(leader).term;
    let (lagging, lost) = ((leader + 1) % 3, (leader + 2) % 3);
    wires.isolate(lagging);
    cluster.commit_many(10..50, 64).await;
    // The only other one with these entries.
    cluster.stop_node(lost).await;
    becomes("the leader falls silent", || silences(&cluster, leader) >= 1).await;
    assert!(!cluster.status(leader).lease_valid());
    wires.heal_all();
    let last = cluster.commit(50).await;
    assert!(last.term > term, "without a lease it could not lead on");
    cluster.agree_at(last.index).await;
    cluster.start_node(lost).await;
    let last = cluster.commit(51).await;
    cluster.agree_at(last.index).await;
    assert_eq!(cluster.node(lost).view.lock().tags, (0..52).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_27_members_that_were_all_cut_from_each_other_go_on() {
    let (cluster, wires) = relayed(3).await;
    cluster.commit_many(0..10, 64).await;
    let leader = cluster.leader().await;
    wires.cut_pairs(|_, _| true);
    becomes("the leader falls silent", || silences(&cluster, leader) >= 1).await;
    wires.heal_all();
    let last = cluster.commit(10).await;
    cluster.agree_at(last.index).await;
    assert_eq!(cluster.node(leader).view.lock().tags, (0..11).collect::<Vec<_>>());
}

/// A process that does not run for longer than the lease finds its peers' answers waiting, and goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_27_a_leader_that_was_paused_is_not_silent() {
    // Followers wait 3.5 to 4 s, and 2.1 s without hearing anybody make a leader silent.
    let (cluster, _wires) = relayed_with(3, |options| options.election_ms = (1500, 2000)).await;
    cluster.commit(0).await;
    let leader = cluster.leader().await;
    let term = cluster.status(leader).term;
    let replica = cluster.node(leader).replica.clone();
    let pause = replica.raft_runtime().spawn(async { std::thread::sleep(Duration::from_millis(2800)) });
    soon("the pause ends", pause).await.unwrap();
    let last = cluster.commit(1).await;
    assert_eq!((last.term, silences(&cluster, leader)), (term, 0));
}

/// Only one member reaches a majority, and it hears the leader: while that one sends heartbeats it would wait for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_27_in_a_star_of_five_the_hub_leads() {
    let (cluster, wires) = relayed(5).await;
    cluster.commit_many(0..10, 64).await;
    let old = cluster.leader().await;
    all_hold_the_tail(&cluster, old).await;
    let term = cluster.status(old).term;
    let hub = (old + 1) % 5;
    wires.cut_pairs(|from, to| from != hub && to != hub);
    assert_eq!(leader_after(&cluster, 0..5, term).await, hub);
    let outcome = cluster.submit(hub, vec![payload(10, 64)], None).await.remove(0);
    outcome.expect("the hub reaches all");
    wires.heal_all();
    let last = cluster.commit(11).await;
    cluster.agree_at(last.index).await;
    assert_eq!(cluster.node(old).view.lock().tags, (0..12).collect::<Vec<_>>());
}

/// In a ring everybody reaches two others, over a bridge between two pairs at least two: each leader keeps its majority, and the
/// ones who don't hear it get no vote from those who do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_27_a_ring_and_a_bridge_of_five_keep_their_leader() {
    let (cluster, wires) = relayed(5).await;
    cluster.commit(0).await;
    let leader = cluster.leader().await;
    let term = cluster.status(leader).term;
    let bridge = (leader + 2) % 5;
    let side = |node: usize| (node + 5 - bridge) % 5 > 2;
    let mut tag = 0;
    for ring in [true, false] {
        if ring {
            wires.cut_pairs(|from, to| ![1, 4].contains(&((from + 5 - to) % 5)));
        } else {
            wires.cut_pairs(|from, to| from != bridge && to != bridge && side(from) != side(to));
        }
        // Longer than the lease and the longest patience.
        let until = Instant::now() + Duration::from_millis(2500);
        while Instant::now() < until {
            tag += 1;
            cluster.commit(tag).await;
        }
        assert_eq!(cluster.status(leader).term, term, "no election");
        wires.heal_all();
    }
    let last = cluster.commit(tag + 1).await;
    cluster.agree_at(last.index).await;
}

//! Cut and one-way networks, by a relay between each pair of replicas.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::cluster::{Cluster, becomes, soon, submit};
use super::machine::payload;
use crate::peers::Peer;
use crate::raft::ReplicaOptions;
use crate::raft::api::ProposeError;
use crate::raft::status::Role;

/// One direction between a pair.
#[derive(Clone)]
struct Wire {
    /// Swallows everything when true. Nothing is closed, as with a real cut.
    cut: watch::Sender<bool>,
    /// How often bytes have arrived.
    arrivals: Arc<AtomicU64>,
}

/// The directions of all pairs, as (from, to).
pub(super) struct Wires(HashMap<(usize, usize), Wire>);

impl Wires {
    pub(super) fn cut(&self, from: usize, to: usize) {
        self.0[&(from, to)].cut.send_replace(true);
    }

    pub(super) fn heal_all(&self) {
        self.0.values().for_each(|wire| {
            wire.cut.send_replace(false);
        });
    }

    fn arrivals(&self, from: usize, to: usize) -> u64 {
        self.0[&(from, to)].arrivals.load(Ordering::Relaxed)
    }

    /// Cuts both directions between all pairs of which this is true.
    pub(super) fn cut_pairs(&self, of: impl Fn(usize, usize) -> bool) {
        for (from, to) in self.0.keys() {
            if of(*from, *to) || of(*to, *from) {
                self.cut(*from, *to);
            }
        }
    }

    pub(super) fn isolate(&self, node: usize) {
        self.cut_pairs(|from, _| from == node);
    }
}

async fn pump(mut from: tokio::net::tcp::OwnedReadHalf, mut to: tokio::net::tcp::OwnedWriteHalf, wire: Wire) {
    let mut cut = wire.cut.subscribe();
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read) = from.read(&mut buffer).await {
        // Bytes on a cut wire arrive when it heals, as TCP would repeat them.
        if read == 0
            || cut.wait_for(|cut| !*cut).await.is_err()
            || to.write_all(&buffer[..read]).await.is_err()
        {
            break;
        }
        wire.arrivals.fetch_add(1, Ordering::Relaxed);
    }
}

async fn relay(listener: TcpListener, target: u16, there: Wire, back: Wire) {
    while let Ok((near, _)) = listener.accept().await {
        let (there, back) = (there.clone(), back.clone());
        tokio::spawn(async move {
            if there.cut.subscribe().wait_for(|cut| !*cut).await.is_err() {
                return;
            }
            let Ok(far) = TcpStream::connect(("127.0.0.1", target)).await else { return };
            let (near_read, near_write) = near.into_split();
            let (far_read, far_write) = far.into_split();
            tokio::join!(pump(near_read, far_write, there), pump(far_read, near_write, back));
        });
    }
}

/// A group whose replicas reach each other through relays.
pub(super) async fn relayed(size: usize) -> (Cluster, Wires) {
    relayed_with(size, |_| {}).await
}

pub(super) async fn relayed_with(size: usize, change: fn(&mut ReplicaOptions)) -> (Cluster, Wires) {
    let mut cluster = Cluster::prepare(size);
    let mut wires = HashMap::new();
    for from in 0..size {
        for to in (0..size).filter(|to| *to != from) {
            wires.insert((from, to), Wire { cut: watch::Sender::new(false), arrivals: Arc::default() });
        }
    }
    let mut routes: Vec<Vec<Peer>> = vec![cluster.peers.clone(); size];
    for from in 0..size {
        for to in (0..size).filter(|to| *to != from) {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            routes[from][to].port = listener.local_addr().unwrap().port();
            let (there, back) = (wires[&(from, to)].clone(), wires[&(to, from)].clone());
            tokio::spawn(relay(listener, cluster.peers[to].port, there, back));
        }
    }
    cluster.tweak = Box::new(move |options| {
        options.peers = routes[usize::from(options.self_index)].clone();
        change(options);
    });
    cluster.start_all().await;
    cluster.leader().await;
    (cluster, Wires(wires))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_off_leader_stops_acknowledging_and_gives_way() {
    let (cluster, wires) = relayed(3).await;
    cluster.commit_many(0..10, 64).await;
    let old = cluster.leader().await;
    let term = cluster.status(old).term;
    wires.isolate(old);
    // Appended under the lease, never committed.
    let replica = cluster.node(old).replica.clone();
    let lost =
        tokio::spawn(async move { submit(&replica, vec![payload(1000, 64), payload(1001, 64)], None).await });
    let mut waits = Vec::new();
    for other in [(old + 1) % 3, (old + 2) % 3] {
        let mut status = cluster.node(other).replica.status();
        waits.push(Box::pin(async move {
            status.wait_for(|status| status.leads_safely() && status.term > term).await.unwrap();
            other
        }));
    }
    let (new, _, _) = super::cluster::soon("a new leader", futures::future::select_all(waits)).await;
    assert!(!cluster.status(old).lease_valid(), "two leases at one time");
    let committed = cluster.submit(new, vec![payload(10, 64)], None).await.remove(0).unwrap();
    assert_eq!(committed.answer.0, 10);
    let refused = cluster.submit(old, vec![payload(1002, 64)], None).await;
    assert!(matches!(refused[0], Err(ProposeError::NotLeader { .. })), "{refused:?}");
    wires.heal_all();
    let outcomes = lost.await.unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome == Err(ProposeError::Unknown)), "{outcomes:?}");
    let last = cluster.commit(11).await;
    cluster.agree_at(last.index).await;
    assert_eq!(cluster.node(old).view.lock().tags, (0..12).collect::<Vec<_>>());
}

/// A follower that hears nobody but is heard keeps asking whether it would be elected; the others, who hear the leader,
/// say no, and no term is spent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deaf_follower_disturbs_nobody() {
    let (cluster, wires) = relayed(3).await;
    let leader = cluster.leader().await;
    let deaf = (leader + 1) % 3;
    let term = cluster.status(leader).term;
    cluster.commit(0).await;
    wires.cut(leader, deaf);
    // A follower says nothing to another one but this; the first time it shakes hands.
    let other = 3 - leader - deaf;
    let before = wires.arrivals(deaf, other);
    becomes("it has asked a few times", || wires.arrivals(deaf, other) >= before + 5).await;
    cluster.commit(1).await;
    assert_eq!((cluster.status(leader).term, cluster.role(leader)), (term, Role::Leader));
    wires.heal_all();
    let last = cluster.commit(2).await;
    cluster.agree_at(last.index).await;
    assert_eq!(cluster.status(deaf).term, term);
}

/// Connections that hang in a cut are used again or replaced when it heals, and the follower gets what it missed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_cut_off_for_a_while_gets_what_it_missed() {
    let (cluster, wires) = relayed(3).await;
    let leader = cluster.leader().await;
    let lost = (leader + 1) % 3;
    cluster.commit_many(0..10, 64).await;
    wires.isolate(lost);
    cluster.commit_many(10..300, 4000).await;
    wires.heal_all();
    let last = cluster.commit(300).await;
    cluster.agree_at(last.index).await;
    let count = Arc::clone(&cluster.node(lost).view).lock().count;
    assert_eq!(count, 301);
}

/// The target never hears that it should lead. The old leader takes no writes any more; the others' patience must end
/// the matter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_that_is_not_heard_ends_in_an_election() {
    let (cluster, wires) = relayed(3).await;
    let old = cluster.leader().await;
    let term = cluster.status(old).term;
    let target = (old + 1) % 3;
    let last = cluster.commit(1).await;
    let known = |status: &crate::raft::Status| {
        status.replication.iter().all(|progress| progress.matched >= Some(last.index))
    };
    cluster.until("all hold the tail", old, known).await;
    wires.cut(old, target);
    let replica = cluster.node(old).replica.clone();
    let outcome = replica.transfer_leadership(Some(target as u64), Duration::from_secs(8)).await;
    // Whoever it is, somebody leads in a later term, or nobody did in time and does soon.
    println!("outcome {outcome:?}");
    wires.heal_all();
    let last = cluster.commit(2).await;
    assert!(last.term > term);
    cluster.agree_at(last.index).await;
}

/// A request that was sent and is never answered holds on to its entries; its stream is given up after a while, and then they
/// can go (LOG-RULES.md 25).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_hangs_in_a_request_does_not_pin_the_purge() {
    let (cluster, wires) = relayed_with(3, |options| options.append_idle = Duration::from_millis(500)).await;
    cluster.commit_many(0..20, 64).await;
    let leader = cluster.leader().await;
    let hung = (leader + 1) % 3;
    // Its answers are lost, so that requests are under way to it all the time.
    wires.cut(hung, leader);
    cluster.commit_many(20..600, 8000).await;
    let replica = cluster.node(leader).replica.clone();
    let counters = replica.counters();
    let written = || counters.checkpoints.load(std::sync::atomic::Ordering::Relaxed) >= 3;
    becomes("checkpoints are written", written).await;
    let boundary = soon("a purge", replica.purge_to(u64::MAX)).await.unwrap().unwrap();
    cluster.until("the entries are purged", leader, |status| status.purged == Some(boundary)).await;
    wires.heal_all();
    let last = cluster.commit(600).await;
    cluster.agree_at(last.index).await;
}

/// Rules 21 and 22: the votes for a transfer's target pass the leases that the others have granted to the leader. A leader
/// that is cut off right after it has told the target must not answer reads as one that still leads: the next one may have
/// committed and applied writes by then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_22_a_leader_that_hands_over_has_no_lease_beside_its_successor() {
    let (cluster, wires) = relayed(3).await;
    let old = cluster.leader().await;
    let (target, third) = ((old + 1) % 3, (old + 2) % 3);
    let last = cluster.commit(1).await;
    let known = |status: &crate::raft::Status| {
        status.replication.iter().all(|progress| progress.matched >= Some(last.index))
    };
    cluster.until("all hold the tail", old, known).await;
    // From now on it is heard and hears nobody; its lease has up to 0.5 s left.
    wires.cut(target, old);
    wires.cut(third, old);
    let replica = cluster.node(old).replica.clone();
    let handing_over = tokio::spawn(async move {
        replica.transfer_leadership(Some(target as u64), Duration::from_secs(3)).await
    });
    cluster.until("the target leads", target, crate::raft::Status::leads_safely).await;
    assert!(!cluster.status(old).lease_valid(), "two leases at one time");
    let written = cluster.submit(target, vec![payload(2, 64)], None).await.remove(0).unwrap();
    assert!(
        written.term > last.term && !cluster.status(old).leads_safely(),
        "a read here would miss the write"
    );
    wires.heal_all();
    handing_over.await.unwrap().ok();
    let last = cluster.commit(3).await;
    cluster.agree_at(last.index).await;
}

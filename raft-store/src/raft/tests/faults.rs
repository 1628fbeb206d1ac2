//! Slow and failing disks.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use super::cluster::{Cluster, becomes, soon};
use crate::identity::NodeId;
use crate::net::Network;
use crate::raft::network::control::ControlLink;
use crate::raft::network::wire::{Control, transfer_request};
use crate::raft::network::{Caller, Revert, Route};
use crate::raft::status::{Role, Status};
use crate::raft::types::RaftVote;
use crate::types::FlushMode;
use crate::vfs::RealVfs;
use crate::vfs::hooked::{Call, Hook, Hooked};

/// What a disk does wrong.
#[derive(Debug, Default)]
struct Mood {
    /// Syncs take this much longer.
    sync_delay_ms: AtomicU64,
    /// Syncs that were delayed so far.
    delayed: AtomicU64,
    sync_fails: AtomicBool,
    /// Counts the starts of the machine.
    boots: AtomicU64,
}

impl Hook for Mood {
    fn before(&self, call: Call, _: &Path) -> io::Result<()> {
        if call == Call::Sync {
            let delay = Duration::from_millis(self.sync_delay_ms.load(Ordering::Relaxed));
            if !delay.is_zero() {
                self.delayed.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(delay);
            }
            if self.sync_fails.load(Ordering::Relaxed) {
                return Err(io::Error::other("the disk does not answer"));
            }
        }
        Ok(())
    }

    fn boot_id(&self, _: [u8; 16]) -> [u8; 16] {
        u128::from(self.boots.load(Ordering::Relaxed)).to_le_bytes()
    }
}

async fn moody_cluster() -> (Cluster, Vec<Arc<Mood>>) {
    moody_cluster_with(FlushMode::Sync).await
}

async fn moody_cluster_with(flush: FlushMode) -> (Cluster, Vec<Arc<Mood>>) {
    let moods: Vec<Arc<Mood>> = (0..3).map(|_| Arc::default()).collect();
    let mut cluster = Cluster::prepare(3);
    let handed = moods.clone();
    cluster.vfs_of = Box::new(move |index| Arc::new(Hooked::new(RealVfs, handed[index].clone())));
    cluster.tweak = Box::new(move |options| options.flush = flush);
    cluster.start_all().await;
    cluster.leader().await;
    (cluster, moods)
}

/// Both followers' disks hang for 1.5 s: heartbeats that wait for a flush go unanswered, the lease may run out and
/// writes wait, but nobody starts an election, for heartbeats still arrive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_sync_on_both_followers_is_no_election() {
    let (cluster, moods) = moody_cluster().await;
    let leader = cluster.leader().await;
    cluster.commit(1).await;
    let term = cluster.status(leader).term;
    let counters = cluster.node(leader).replica.counters();
    let followers = [(leader + 1) % 3, (leader + 2) % 3];
    for follower in followers {
        moods[follower].sync_delay_ms.store(1500, Ordering::Relaxed);
    }
    let slow = cluster.commit(2);
    let heal = async {
        let hangs = |follower: usize| moods[follower].delayed.load(Ordering::Relaxed) > 0;
        becomes("both disks hang", || followers.into_iter().all(hangs)).await;
        moods.iter().for_each(|mood| mood.sync_delay_ms.store(0, Ordering::Relaxed));
    };
    let (committed, ()) = tokio::join!(slow, heal);
    assert_eq!(committed.term, term, "written in the same term");
    cluster.commit(3).await;
    assert_eq!(cluster.status(leader).term, term, "no election");
    assert_eq!(cluster.leader().await, leader);
    // Rule 27: what waits for a disk says nothing of whether its node is there.
    assert_eq!(counters.silences.load(Ordering::Relaxed), 0, "a slow disk was taken for silence");
}

/// Rule 27: after a while the heartbeats that wait for a disk are as many as are taken; whether a node is there is still told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_27_disks_that_hang_for_long_are_no_silence() {
    let (cluster, moods) = moody_cluster().await;
    let leader = cluster.leader().await;
    cluster.commit(1).await;
    let counters = cluster.node(leader).replica.counters();
    for follower in [(leader + 1) % 3, (leader + 2) % 3] {
        // Above 64 heartbeats of 100 ms and the patience of the leader.
        moods[follower].sync_delay_ms.store(9000, Ordering::Relaxed);
    }
    let committing = cluster.commit(2);
    let heal = async {
        let hangs = |mood: &Arc<Mood>| mood.delayed.load(Ordering::Relaxed) > 0;
        becomes("both disks hang", || moods.iter().filter(|mood| hangs(mood)).count() == 2).await;
        moods.iter().for_each(|mood| mood.sync_delay_ms.store(0, Ordering::Relaxed));
    };
    tokio::join!(committing, heal);
    assert_eq!(counters.silences.load(Ordering::Relaxed), 0, "a disk that hangs was taken for silence");
}

/// Rule 27: the only other member is busy with a checkpoint on a slow disk; it answers no heartbeat, but it is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_27_a_follower_that_installs_slowly_is_heard() {
    let (mut cluster, moods) = moody_cluster().await;
    cluster.commit_many(0..20, 64).await;
    let lagging = (cluster.leader().await + 1) % 3;
    cluster.stop_node(lagging).await;
    cluster.commit_many(20..600, 8000).await;
    let leader = cluster.leader().await;
    let replica = cluster.node(leader).replica.clone();
    let counters = replica.counters();
    becomes("checkpoints are written", || counters.checkpoints.load(Ordering::Relaxed) >= 3).await;
    let boundary = replica.purge_to(u64::MAX).await.unwrap().unwrap();
    cluster.until("entries are purged", leader, |status| status.purged == Some(boundary)).await;
    let before = (cluster.status(leader).term, counters.silences.load(Ordering::Relaxed));
    moods[lagging].sync_delay_ms.store(1000, Ordering::Relaxed);
    cluster.start_node(lagging).await;
    let installs = cluster.node(lagging).replica.counters();
    cluster.stop_node(3 - leader - lagging).await;
    becomes("the checkpoint is installed", || installs.installs.load(Ordering::Relaxed) == 1).await;
    moods[lagging].sync_delay_ms.store(0, Ordering::Relaxed);
    let last = cluster.commit(600).await;
    cluster.agree_at(last.index).await;
    assert_eq!((last.term, counters.silences.load(Ordering::Relaxed)), before);
}

/// A failed fdatasync is never tried again: the replica ends with the reason, its peers elect.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_disk_ends_the_replica_and_the_others_go_on() {
    let (mut cluster, moods) = moody_cluster().await;
    cluster.commit_many(0..10, 64).await;
    let sick = cluster.leader().await;
    moods[sick].sync_fails.store(true, Ordering::Relaxed);
    let replica = cluster.node(sick).replica.clone();
    let outcome = super::cluster::submit(&replica, vec![super::machine::payload(10, 64)], None).await;
    let status = cluster.until("the replica ends", sick, |status| status.role == Role::Stopped).await;
    let reason = status.waiting_for.unwrap();
    assert!(reason.contains("the disk does not answer"), "{reason}");
    // The entry had reached the others or not; if it was acknowledged it must be there.
    let acknowledged = outcome[0].is_ok();
    cluster.nodes[sick] = None;
    let leader = cluster.leader().await;
    let last = cluster.commit(11).await;
    let tags = cluster.node(leader).view.lock().tags.clone();
    assert!(!acknowledged || tags.contains(&10));
    cluster.agree_at(last.index).await;
}

fn in_quarantine(status: &Status) -> bool {
    status.waiting_for.as_ref().is_some_and(|reason| reason.contains("votes for nobody"))
}

/// What a leader that has fallen silent says to the node that should lead. False when that refuses.
async fn told_to_lead(cluster: &Cluster, leader: NodeId, term: u64, to: usize) -> bool {
    let (reverts, mut asked) = mpsc::channel::<Revert>(1);
    tokio::spawn(async move {
        while let Some(revert) = asked.recv().await {
            revert.taken.send(()).ok();
        }
    });
    let caller = Caller {
        cluster: "test-cluster".into(),
        group: "test-group".into(),
        own: leader,
        connect_timeout: Duration::from_secs(5),
        network: Network::Tcp,
        reverts,
    };
    let target = cluster.node(to).replica.node_id();
    let route = Route {
        caller: Arc::new(caller),
        address: cluster.peers[to].address(),
        target: Some(NodeId(target)),
    };
    let body = transfer_request(&RaftVote::new_committed(term, leader.0), None, target);
    let link = ControlLink::start(Arc::new(route));
    !soon("an answer", link.call(Control::HandOn, body)).await.unwrap().is_empty()
}

/// A machine that went down while acknowledgements did not wait for the disk may have forgotten some of them: the node
/// keeps its id but helps to elect nobody until it has caught up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_power_cut_a_node_with_unsynced_acknowledgements_is_quarantined() {
    let (mut cluster, moods) = moody_cluster_with(FlushMode::Async).await;
    cluster.commit_many(0..10, 64).await;
    let leader = cluster.leader().await;
    let cut = (leader + 1) % 3;
    let id = cluster.node(cut).replica.node_id();
    // A killed process alone loses nothing: no quarantine.
    cluster.nodes[cut].take().unwrap().replica.abandon().await;
    cluster.start_node(cut).await;
    assert!(!in_quarantine(&cluster.status(cut)));
    cluster.commit(10).await;

    cluster.nodes[cut].take().unwrap().replica.abandon().await;
    moods[cut].boots.fetch_add(1, Ordering::Relaxed);
    // Without a leader it can't catch up, and the one that is left gets no vote from it.
    let (leader_id, term) = (NodeId(cluster.node(leader).replica.node_id()), cluster.status(leader).term);
    cluster.stop_node(leader).await;
    cluster.start_node(cut).await;
    assert_eq!(cluster.node(cut).replica.node_id(), id);
    cluster.until("it is quarantined", cut, in_quarantine).await;
    assert!(!told_to_lead(&cluster, leader_id, term, cut).await, "it takes no leadership either");
    let rest = (leader + 2) % 3;
    let mut watched = cluster.node(rest).replica.status();
    let elected = tokio::time::timeout(
        Duration::from_millis(2500),
        watched.wait_for(|status| status.role == Role::Leader),
    );
    assert!(elected.await.is_err(), "elected by a node that may have lost acknowledged entries");
    assert_ne!(cluster.role(cut), Role::Leader);
    cluster.start_node(leader).await;
    let last = cluster.commit(11).await;
    cluster.agree_at(last.index).await;
    cluster.until("the quarantine ends", cut, |status| status.waiting_for.is_none()).await;
    // Now its vote counts again.
    let leader = cluster.leader().await;
    let gone = (0..3).find(|index| *index != leader && *index != cut).unwrap();
    cluster.stop_node(gone).await;
    if leader != cut {
        cluster.stop_node(leader).await;
        cluster.start_node(leader).await;
    }
    cluster.commit(12).await;
    // The disk knows, too: alone after another start it has nobody to catch up with, and is not quarantined.
    for index in 0..3 {
        if cluster.nodes[index].is_some() {
            cluster.stop_node(index).await;
        }
    }
    cluster.start_node(cut).await;
    let status = cluster.until("it has looked at its log", cut, |status| status.last_log.is_some()).await;
    assert!(!in_quarantine(&status));
}

/// Rules 12 and 27: a silent leader that stepped down at once would find members that vote for nobody until a leader has brought
/// them up to date, and nobody could ever be elected.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_27_a_silent_leader_brings_back_members_that_may_not_vote() {
    let (mut cluster, moods) = moody_cluster_with(FlushMode::Async).await;
    cluster.commit_many(0..10, 64).await;
    let leader = cluster.leader().await;
    let others = [(leader + 1) % 3, (leader + 2) % 3];
    for other in others {
        cluster.nodes[other].take().unwrap().replica.abandon().await;
        moods[other].boots.fetch_add(1, Ordering::Relaxed);
    }
    let counters = cluster.node(leader).replica.counters();
    becomes("the leader falls silent", || counters.silences.load(Ordering::Relaxed) >= 1).await;
    for other in others {
        cluster.start_node(other).await;
    }
    let last = cluster.commit(10).await;
    cluster.agree_at(last.index).await;
    for other in others {
        cluster.until("the quarantine ends", other, |status| status.waiting_for.is_none()).await;
    }
}

/// The whole group loses power: nobody is left who could know better.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_all_are_quarantined_the_longest_log_leads_and_it_is_counted() {
    let (mut cluster, moods) = moody_cluster_with(FlushMode::Async).await;
    cluster.commit_many(0..10, 64).await;
    for (index, mood) in moods.iter().enumerate() {
        cluster.nodes[index].take().unwrap().replica.abandon().await;
        mood.boots.fetch_add(1, Ordering::Relaxed);
    }
    cluster.start_node(0).await;
    cluster.start_node(1).await;
    cluster.until("it is quarantined", 0, in_quarantine).await;
    cluster.start_node(2).await;
    let leader = cluster.leader().await;
    let last = cluster.commit(10).await;
    cluster.agree_at(last.index).await;
    let losses =
        |index: usize| cluster.node(index).replica.counters().possible_losses.load(Ordering::Relaxed);
    assert!((0..3).map(losses).sum::<u64>() >= 1);
    assert_eq!(cluster.status(leader).waiting_for, None);
}

//! Forming a group with interruptions, and nodes that lost their disk.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::cluster::{Cluster, becomes, soon};
use crate::identity::{IDENTITY_FILE, Identity};
use crate::raft::status::Role;
use crate::vfs::RealVfs;
use crate::vfs::hooked::{Call, Hook, Hooked};

/// Removes the identity file of a folder, or everything else.
fn lose(dir: &Path, goes: impl Fn(bool) -> bool) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if goes(path.file_name().unwrap() == IDENTITY_FILE) {
            if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) }.unwrap();
        }
    }
}

fn formed_nodes(cluster: &Cluster) -> BTreeSet<u64> {
    cluster.running().map(|index| cluster.node(index).replica.node_id()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_forms_a_group_before_all_are_there() {
    let mut cluster = Cluster::prepare(3);
    cluster.start_node(0).await;
    cluster.start_node(2).await;
    let named =
        |status: &crate::raft::Status| status.waiting_for.as_ref().is_some_and(|why| why.contains("n1-"));
    let status = cluster.until("the missing peer is named", 0, named).await;
    assert_eq!((status.role, status.last_log), (Role::Blank, None));
    cluster.start_node(1).await;
    let leader = cluster.leader().await;
    assert_eq!(cluster.status(leader).waiting_for, None);
    cluster.commit(1).await;
}

/// All are stopped at some moment of the forming, again and again; whatever stood on the disks then must end as one
/// group of the same three nodes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forming_survives_being_stopped_anywhere() {
    for attempt in 0..4_u64 {
        let mut cluster = Cluster::prepare(3);
        for round in 0..3 {
            cluster.start_all().await;
            // A moment of the fault injection, not a wait: any length must do.
            tokio::time::sleep(Duration::from_millis(attempt * 17 + round * 11)).await;
            for index in [0, 2, 1] {
                cluster.stop_node((index + usize::try_from(attempt).unwrap()) % 3).await;
            }
        }
        cluster.start_all().await;
        cluster.leader().await;
        let last = cluster.commit(attempt).await;
        cluster.agree_at(last.index).await;
        let first = |index: usize| cluster.node(index).replica.log().entries(0, 1, 1).unwrap().remove(0);
        assert!(first(0) == first(1) && first(1) == first(2), "one forming record");
        assert_eq!(formed_nodes(&cluster).len(), 3);
    }
}

/// The forming node dies behind the promises and before the first entry, and its disk is lost: the others are blank, so
/// they may promise the new node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promises_to_a_lost_node_do_not_block_the_next_forming() {
    let mut cluster = Cluster::prepare(3);
    cluster.start_node(1).await;
    cluster.start_node(2).await;
    // What node 0 would have made the others write.
    let lost = Identity::new("test-cluster", "test-group", 0, 4711);
    let nodes: BTreeSet<u64> =
        [lost.node.0, cluster.node(1).replica.node_id(), cluster.node(2).replica.node_id()].into();
    for index in [1, 2] {
        cluster.stop_node(index).await;
        let dir = cluster.dir_of(index);
        let identity = Identity::load(&RealVfs, &dir).unwrap().unwrap();
        let token = crate::raft::forming::Token { group: "test-group".into(), nodes: nodes.clone() };
        Identity { promise: Some(token.encode()), ..identity }.store(&RealVfs, &dir).unwrap();
    }
    cluster.start_all().await;
    cluster.leader().await;
    let last = cluster.commit(1).await;
    cluster.agree_at(last.index).await;
    assert!(!formed_nodes(&cluster).contains(&lost.node.0));
}

/// A node with an empty disk at a known address is another node: it doesn't vote, says what it waits for, and its
/// vote is missing to a group that needs it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_node_neither_votes_nor_serves() {
    let mut cluster = Cluster::start(3).await;
    let last = cluster.commit(1).await;
    cluster.agree_at(last.index).await;
    let leader = cluster.leader().await;
    let wiped = (leader + 1) % 3;
    let old_id = cluster.node(wiped).replica.node_id();
    cluster.stop_node(wiped).await;
    std::fs::remove_dir_all(cluster.dir_of(wiped)).unwrap();
    cluster.start_node(wiped).await;
    assert_ne!(cluster.node(wiped).replica.node_id(), old_id);
    let waits = |status: &crate::raft::Status| {
        status.waiting_for.as_ref().is_some_and(|reason| reason.contains("admission"))
    };
    let status = cluster.until("it says what it waits for", wiped, waits).await;
    assert_eq!((status.role, status.last_log, status.term), (Role::Blank, None, 0));
    // The other two go on.
    cluster.commit(2).await;
    // Without one of them the wiped node would have to vote; it must not.
    cluster.stop_node(leader).await;
    let rest = (leader + 2) % 3;
    let mut watched = cluster.node(rest).replica.status();
    let elected = tokio::time::timeout(
        Duration::from_millis(2500),
        watched.wait_for(|status| status.role == Role::Leader),
    );
    assert!(elected.await.is_err(), "elected with the vote of a wiped node");
    assert_eq!(cluster.status(wiped).term, 0);
    cluster.start_node(leader).await;
    cluster.leader().await;
    cluster.commit(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_vote_or_log_makes_a_new_node() {
    for lose_identity in [true, false] {
        let mut cluster = Cluster::start(1).await;
        cluster.commit(1).await;
        let old_id = cluster.node(0).replica.node_id();
        cluster.stop_node(0).await;
        lose(&cluster.dir_of(0), |is_identity| is_identity == lose_identity);
        cluster.start_node(0).await;
        assert_ne!(cluster.node(0).replica.node_id(), old_id, "identity lost: {lose_identity}");
        soon("stops", cluster.node(0).replica.stop()).await;
    }
}

/// A disk that can't write the identity file when the third and the fourth time have come.
#[derive(Debug, Default)]
struct NoThird(AtomicUsize);

impl Hook for NoThird {
    fn before(&self, call: Call, path: &Path) -> io::Result<()> {
        let is_identity = path.file_name().is_some_and(|name| name == "identity.tmp");
        if call == Call::Sync && is_identity && matches!(self.0.fetch_add(1, Ordering::SeqCst), 2 | 3) {
            return Err(io::Error::other("the disk does not answer"));
        }
        Ok(())
    }
}

/// Without the mark that the group exists, a node that loses its log would come back as the one that has voted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mark_that_could_not_be_written_is_written_later() {
    let mut cluster = Cluster::prepare(1);
    let disk: Arc<NoThird> = Arc::default();
    let handed = Arc::clone(&disk);
    cluster.vfs_of = Box::new(move |_| Arc::new(Hooked::new(RealVfs, handed.clone())));
    cluster.start_all().await;
    cluster.leader().await;
    cluster.commit(1).await;
    let stored = || Identity::load(&RealVfs, &cluster.dir_of(0)).unwrap().unwrap();
    becomes("the mark was tried", || disk.0.load(Ordering::SeqCst) >= 3).await;
    let before = stored();
    assert!(before.promise.is_some() && !before.formed, "id, promise and mark are written in this order");
    becomes("the mark is there", || stored().formed).await;
    assert_eq!(disk.0.load(Ordering::SeqCst), 5);
    let old_id = cluster.node(0).replica.node_id();
    cluster.stop_node(0).await;
    lose(&cluster.dir_of(0), |is_identity| !is_identity);
    cluster.start_node(0).await;
    assert_ne!(cluster.node(0).replica.node_id(), old_id, "its log is lost");
}

//! Planned leader changes.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::cluster::{Cluster, soon, submit};
use super::machine::payload;
use crate::raft::api::{ProposeError, TransferError};
use crate::raft::status::{Role, Status};
use crate::vfs::RealVfs;
use crate::vfs::hooked::{Call, Hook, Hooked};

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

/// A disk whose segments can be made to hang; votes and marks go on.
#[derive(Debug, Default)]
struct Stuck {
    hangs: Mutex<bool>,
    goes_on: Condvar,
}

impl Stuck {
    fn set(&self, hangs: bool) {
        *self.hangs.lock() = hangs;
        self.goes_on.notify_all();
    }
}

impl Hook for Stuck {
    fn before(&self, call: Call, path: &Path) -> io::Result<()> {
        if call == Call::Sync && !path.ends_with("vote") && !path.ends_with("marks") {
            self.goes_on.wait_while(&mut self.hangs.lock(), |hangs| *hangs);
        }
        Ok(())
    }
}

/// Whoever asks for transfers again and again would move leadership before a term's first entry is committed, and as entries of
/// earlier terms are committed only with it, nothing ever was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_stays_until_the_terms_first_entry_is_applied() {
    let disks: Vec<Arc<Stuck>> = (0..5).map(|_| Arc::default()).collect();
    let mut cluster = Cluster::prepare(5);
    let handed = disks.clone();
    cluster.vfs_of = Box::new(move |index| Arc::new(Hooked::new(RealVfs, handed[index].clone())));
    cluster.start_all().await;
    let old = cluster.leader().await;
    cluster.commit_many(0..10, 64).await;
    let (leader, fast) = ((old + 1) % 5, (old + 2) % 5);
    let held = |of: usize| {
        move |status: &Status| {
            let found = status.replication.iter().find(|progress| progress.peer == of as u64);
            found.is_some_and(|progress| progress.matched == status.last_log)
        }
    };
    cluster.until("the next leader holds the tail", old, held(leader)).await;
    // Three of five vote and store nothing.
    let stuck = [old, (old + 3) % 5, (old + 4) % 5];
    stuck.iter().for_each(|index| disks[*index].set(true));
    let first = cluster.node(old).replica.clone();
    let moved = soon("a transfer", first.transfer_leadership(Some(leader as u64), WITHIN)).await;
    assert_eq!(moved, Ok(leader as u64));
    let status = cluster.until("it leads", leader, |status| status.role == Role::Leader).await;
    let term = status.term;
    cluster.until("one has its first entry", leader, held(fast)).await;
    assert!(!cluster.status(leader).own_term_applied);
    let second = cluster.node(leader).replica.clone();
    let refused = second.transfer_leadership(Some(fast as u64), Duration::from_secs(1)).await;
    let reason = "no fit target: nothing of this term is committed yet";
    assert_eq!(refused.map_err(|error| error.to_string()), Err(reason.to_owned()));
    stuck.iter().for_each(|index| disks[*index].set(false));
    let last = cluster.commit(10).await;
    assert_eq!(last.term, term, "it leads on");
    cluster.agree_at(last.index).await;
}

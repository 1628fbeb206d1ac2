//! Rule 24: the group's thread touches no file, whatever happens to the group.

use std::backtrace::Backtrace;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::cluster::{Cluster, soon, submit};
use super::machine::payload;
use crate::vfs::RealVfs;
use crate::vfs::hooked::{Call, Hook, Hooked};

/// Notes every file call of a group's thread.
#[derive(Debug, Default)]
struct Guard {
    /// Set while the replica runs: opening and closing its log is done on its thread, before and after anything else.
    armed: AtomicBool,
    seen: Mutex<Vec<String>>,
}

impl Hook for Guard {
    fn before(&self, call: Call, path: &Path) -> io::Result<()> {
        let thread = std::thread::current();
        let of_group = thread.name().is_some_and(|name| name.starts_with("raft-"));
        if of_group && self.armed.load(Ordering::Acquire) {
            self.seen.lock().push(format!("{call:?} of {}\n{}", path.display(), Backtrace::force_capture()));
        }
        Ok(())
    }
}

struct Guarded {
    cluster: Cluster,
    guards: Vec<Arc<Guard>>,
}

impl Guarded {
    async fn start() -> Self {
        Self::start_with_ring(1 << 20).await
    }

    async fn start_with_ring(bytes_max: usize) -> Self {
        let guards: Vec<Arc<Guard>> = (0..3).map(|_| Arc::default()).collect();
        let handed = guards.clone();
        let mut cluster = Cluster::prepare(3);
        cluster.vfs_of = Box::new(move |index| Arc::new(Hooked::new(RealVfs, handed[index].clone())));
        cluster.tweak = Box::new(move |options| options.ring_bytes_max = bytes_max);
        let mut guarded = Self { cluster, guards };
        for index in 0..3 {
            guarded.start_node(index).await;
        }
        guarded.cluster.leader().await;
        guarded
    }

    async fn start_node(&mut self, index: usize) {
        self.cluster.start_node(index).await;
        self.guards[index].armed.store(true, Ordering::Release);
    }

    async fn stop_node(&mut self, index: usize) {
        self.guards[index].armed.store(false, Ordering::Release);
        self.cluster.stop_node(index).await;
    }

    fn check(&self) {
        for (index, guard) in self.guards.iter().enumerate() {
            let seen = guard.seen.lock();
            assert!(
                seen.is_empty(),
                "{} file calls on the thread of node {index}, the first: {}",
                seen.len(),
                seen[0]
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_24_no_file_is_touched_on_the_groups_thread() {
    let mut guarded = Guarded::start().await;
    let leader = guarded.cluster.leader().await;
    let lagging = (leader + 1) % 3;
    guarded.stop_node(lagging).await;
    // Rolls, allocations, checkpoints and views, then a catch-up from files.
    guarded.cluster.commit_many(0..600, 8000).await;
    guarded.start_node(lagging).await;
    let last = guarded.cluster.commit(600).await;
    guarded.cluster.agree_at(last.index).await;
    // A purge, and a replica that is behind it.
    guarded.stop_node(lagging).await;
    guarded.cluster.commit_many(601..900, 8000).await;
    let leader = guarded.cluster.leader().await;
    let replica = guarded.cluster.node(leader).replica.clone();
    let purge = async {
        while replica.purge_to(replica.log().bounds().1).await.unwrap() <= Some(last.index) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("a boundary beyond the lagging replica", purge).await;
    let purged = |status: &crate::raft::Status| status.purged > Some(last.index);
    guarded.cluster.until("a purge beyond the lagging replica", leader, purged).await;
    guarded.start_node(lagging).await;
    let last = guarded.cluster.commit(900).await;
    guarded.cluster.agree_at(last.index).await;
    assert_eq!(guarded.cluster.node(lagging).replica.counters().installs.load(Ordering::Relaxed), 1);
    // A planned change of leader, a slow read from a client's thread meanwhile.
    let replica = guarded.cluster.node(guarded.cluster.leader().await).replica.clone();
    soon("a transfer", replica.transfer_leadership(None, Duration::from_secs(10))).await.ok();
    guarded.cluster.commit(901).await;
    guarded.check();
}

/// A deposed leader that was restarted takes its entries back from memory, though they span segments.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_24_entries_are_taken_back_without_reading_a_file() {
    let mut guarded = Guarded::start_with_ring(8 << 20).await;
    guarded.cluster.commit_many(0..10, 64).await;
    let old = guarded.cluster.leader().await;
    let others = [(old + 1) % 3, (old + 2) % 3];
    guarded.cluster.agree_at(guarded.cluster.status(old).last_log.unwrap()).await;
    for other in others {
        guarded.stop_node(other).await;
    }
    // Within the lease they are appended, and nobody else will ever have them.
    let before = guarded.cluster.status(old).committed.unwrap();
    let mut lost = Vec::new();
    // No more at a time than a segment takes.
    for tags in [0..150, 150..300] {
        let (replica, end) = (guarded.cluster.node(old).replica.clone(), tags.end);
        let payloads = tags.map(|tag| payload(1000 + tag, 5000)).collect();
        lost.push(tokio::spawn(async move { submit(&replica, payloads, None).await }));
        let appended = |status: &crate::raft::Status| status.last_log >= Some(before + end.min(200));
        guarded.cluster.until("the entries are appended", old, appended).await;
    }
    assert!(guarded.cluster.node(old).replica.log().segments().len() > 1, "they span segments");
    guarded.stop_node(old).await;
    for lost in lost {
        lost.await.unwrap();
    }
    for other in others {
        guarded.start_node(other).await;
    }
    guarded.cluster.commit(10).await;
    guarded.start_node(old).await;
    let last = guarded.cluster.commit(11).await;
    guarded.cluster.agree_at(last.index).await;
    assert_eq!(guarded.cluster.node(old).view.lock().tags, (0..12).collect::<Vec<_>>());
    guarded.check();
}

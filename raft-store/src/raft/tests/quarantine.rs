//! Rule 12: machines that go down while acknowledgements do not wait for the disk, with disks that really forget.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::cluster::Cluster;
use crate::raft::status::Status;
use crate::types::FlushMode;
use crate::vfs::hooked::{Call, Hook, Hooked};
use crate::vfs::{Loss, MemVfs};

/// One machine: its disk, and what it does to syncs of the log.
#[derive(Debug, Default)]
struct Machine {
    boots: AtomicU64,
    /// Syncs of segments wait while this is set, so that what is written meanwhile is in memory alone.
    hold_syncs: Mutex<bool>,
    /// Told when they may go on.
    go_on: Condvar,
}

impl Hook for Machine {
    fn before(&self, call: Call, path: &Path) -> io::Result<()> {
        let segment = path.parent().is_some_and(|dir| dir.ends_with("log"));
        if call == Call::Sync && segment {
            self.go_on.wait_while(&mut self.hold_syncs.lock(), |hold| *hold);
        }
        Ok(())
    }

    fn boot_id(&self, _: [u8; 16]) -> [u8; 16] {
        u128::from(self.boots.load(Ordering::Relaxed)).to_le_bytes()
    }
}

struct Machines {
    cluster: Cluster,
    machines: Vec<Arc<Machine>>,
    disks: Arc<Mutex<Vec<MemVfs>>>,
}

impl Machines {
    async fn start() -> Self {
        let machines: Vec<Arc<Machine>> = (0..3).map(|_| Arc::default()).collect();
        let disks = Arc::new(Mutex::new(vec![MemVfs::new(); 3]));
        *disks.lock() = (0..3).map(|_| MemVfs::new()).collect();
        let mut cluster = Cluster::prepare(3);
        let (handed, handed_disks) = (machines.clone(), Arc::clone(&disks));
        cluster.vfs_of = Box::new(move |index| {
            let disk = handed_disks.lock()[index].clone();
            Arc::new(Hooked::new(disk, handed[index].clone()))
        });
        cluster.tweak = Box::new(|options| options.flush = FlushMode::Async);
        cluster.start_all().await;
        cluster.leader().await;
        Self { cluster, machines, disks }
    }

    /// Everything written so far is on the disk.
    async fn synced(&self, index: usize) {
        let reader = self.cluster.node(index).replica.log();
        let end = reader.bounds().1;
        super::cluster::becomes("the log is synced", || reader.synced() >= end).await;
    }

    fn hold_syncs(&self, index: usize) {
        *self.machines[index].hold_syncs.lock() = true;
    }

    /// The machine loses its power; the next start finds what the disk had at this moment.
    async fn cut_power(&mut self, index: usize, loss: Loss) {
        let left = self.disks.lock()[index].restart(loss);
        *self.machines[index].hold_syncs.lock() = false;
        self.machines[index].go_on.notify_all();
        self.cluster.nodes[index].take().unwrap().replica.abandon().await;
        self.disks.lock()[index] = left;
        self.machines[index].boots.fetch_add(1, Ordering::Relaxed);
    }

    fn possible_losses(&self) -> u64 {
        let counted =
            |index| self.cluster.node(index).replica.counters().possible_losses.load(Ordering::Relaxed);
        self.cluster.running().map(counted).sum()
    }
}

fn in_quarantine(status: &Status) -> bool {
    status.waiting_for.as_ref().is_some_and(|reason| reason.contains("votes for nobody"))
}

/// A follower forgets entries that it had acknowledged. Its leader takes acknowledged entries for granted, and only the
/// handshake of a quarantined node lets its progress go back: then the entries are sent again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_12_a_follower_that_forgot_acknowledged_entries_is_sent_them_again() {
    let mut machines = Machines::start().await;
    machines.cluster.commit_many(0..10, 64).await;
    let leader = machines.cluster.leader().await;
    let cut = (leader + 1) % 3;
    let id = machines.cluster.node(cut).replica.node_id();
    machines.synced(cut).await;
    machines.hold_syncs(cut);
    machines.cluster.commit_many(10..50, 64).await;
    let last = Some(machines.cluster.commit(50).await.index);
    let acknowledged = |status: &Status| {
        let matched = status.replication.iter().find(|progress| progress.peer == cut as u64);
        matched.is_some_and(|progress| progress.matched >= last)
    };
    machines.cluster.until("the follower has acknowledged all", leader, acknowledged).await;
    machines.cut_power(cut, Loss::Everything).await;
    machines.cluster.start_node(cut).await;
    let held = machines.cluster.node(cut).replica.log().last().map(|last| last.index);
    assert!(held < last, "{held:?}: the disk has forgotten nothing, the test shows nothing");
    assert_eq!(machines.cluster.node(cut).replica.node_id(), id, "the same node, in quarantine");
    let term = machines.cluster.status(leader).term;
    let last = machines.cluster.commit(51).await;
    machines.cluster.agree_at(last.index).await;
    machines.cluster.until("the quarantine ends", cut, |status| status.waiting_for.is_none()).await;
    assert_eq!(machines.cluster.status(leader).term, term, "nobody had to be elected for it");
    assert_eq!(machines.possible_losses(), 0);
}

/// The whole group loses its power, and one disk alone still has the last acknowledged entries. A majority without it would
/// elect a leader without them; all have come back, so the longest log leads and nothing is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_12_when_all_are_quarantined_only_the_longest_log_leads() {
    /// Pauses before an election of those whose logs are shorter.
    const PATIENT_MS: (u64, u64) = (300, 600);
    let mut machines = Machines::start().await;
    machines.cluster.commit_many(0..10, 64).await;
    let leader = machines.cluster.leader().await;
    let longest = (leader + 1) % 3;
    for index in 0..3 {
        machines.synced(index).await;
    }
    for index in (0..3).filter(|index| *index != longest) {
        machines.hold_syncs(index);
    }
    machines.cluster.commit_many(10..30, 64).await;
    let last = machines.cluster.commit(30).await.index;
    machines.cluster.applied(longest, last).await;
    machines.synced(longest).await;
    for index in 0..3 {
        let loss = if index == longest { Loss::Nothing } else { Loss::Everything };
        machines.cut_power(index, loss).await;
    }
    // It is also the slowest to campaign.
    machines.cluster.tweak = Box::new(move |options| {
        options.flush = FlushMode::Async;
        let slowest = usize::from(options.self_index) == longest;
        options.election_ms = if slowest { (900, 1200) } else { PATIENT_MS };
    });
    let short = (longest + 1) % 3;
    machines.cluster.start_node(short).await;
    machines.cluster.start_node((longest + 2) % 3).await;
    let started = tokio::time::Instant::now();
    machines.cluster.until("it is quarantined", short, in_quarantine).await;
    let held = machines.cluster.node(short).replica.log().last().map(|last| last.index);
    assert!(held < Some(last), "the disk has forgotten nothing, the test shows nothing");
    // The patience behind a start, which would let them campaign, is over when they are released: it lasts for the longest
    // pause before an election, since a lease may have been granted, and a random part of the shortest.
    tokio::time::sleep_until(started + Duration::from_millis(PATIENT_MS.1 + PATIENT_MS.0)).await;
    machines.cluster.start_node(longest).await;
    assert_eq!(machines.cluster.leader().await, longest);
    assert!(machines.possible_losses() >= 1, "what all may have lost is counted all the same");
    let last = machines.cluster.commit(31).await;
    machines.cluster.agree_at(last.index).await;
    let tags = machines.cluster.node(short).view.lock().tags.clone();
    assert_eq!(tags, (0..32).collect::<Vec<_>>(), "every acknowledged entry, once");
    // Those whose logs were shorter take part again as before, and may lead.
    machines.cluster.until("it has caught up", short, |status| status.waiting_for.is_none()).await;
    let other = (longest + 2) % 3;
    machines.cluster.until("it has caught up", other, |status| status.waiting_for.is_none()).await;
    machines.cluster.stop_node(longest).await;
    assert_ne!(machines.cluster.leader().await, longest);
    machines.cluster.commit(32).await;
}

/// A machine that was shut down in order, and a process that was killed on a machine that went on, have lost nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_12_neither_a_clean_reboot_nor_a_killed_process_is_quarantined() {
    let mut machines = Machines::start().await;
    machines.cluster.commit_many(0..10, 64).await;
    for clean in [true, false] {
        let index = (machines.cluster.leader().await + 1) % 3;
        if !clean {
            machines.cluster.nodes[index].take().unwrap().replica.abandon().await;
        }
        // Alone, so that nobody can end a quarantine before it is seen.
        machines.cluster.stop_all().await;
        if clean {
            let left = machines.disks.lock()[index].restart(Loss::Everything);
            machines.disks.lock()[index] = left;
            machines.machines[index].boots.fetch_add(1, Ordering::Relaxed);
        }
        machines.cluster.start_node(index).await;
        let looked = |status: &Status| status.last_log.is_some();
        let status = machines.cluster.until("it has looked at its log", index, looked).await;
        assert!(!in_quarantine(&status), "clean: {clean}");
        machines.cluster.start_all().await;
        let last = machines.cluster.commit(10 + u64::from(clean)).await;
        machines.cluster.agree_at(last.index).await;
    }
}

//! Whether this replica's disk has room, and what a leader does when it has none (LOG-RULES.md 11).
//!
//! ```text
//! ready ── above the watermark, or no spare segment for a while ──▶ looks for a peer with room
//!   ▲                                                        found │          │ none, or it did not take over
//!   │                                              hands leadership over      ▼
//!   └───────────────── below it again ◀──────────────────────────────── refuses messages (14)
//! ```
//! The watermark lies well below the end of the disk: a leader can still write while it looks for a successor, and the
//! commands that make room always find some. Pulls go on all the time.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::policy::Disk;
use crate::config::Watermarks;
use crate::group::proposer::InFlight;
use crate::group::{Group, transfer};
use crate::peers::links::Links;
use crate::peers::wire;

/// Pause between two looks at the disk.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A log without a spare segment for this long is as good as a full disk. Allocating one takes moments.
const NO_SPARE_PATIENCE: Duration = Duration::from_secs(3);

/// Pause between attempts to hand leadership over.
const HAND_OVER_PAUSE: Duration = Duration::from_secs(5);

/// How long a peer may take to say that it has room.
const ANSWER_TIME: Duration = Duration::from_millis(500);

/// Asks the file system. Blocks.
pub trait DiskProbe: Send + Sync {
    /// Room on the file system of the data; zeros when it can't be asked.
    fn disk(&self) -> Disk;
}

/// The file system that holds a folder.
pub struct FolderProbe(pub PathBuf);

impl DiskProbe for FolderProbe {
    fn disk(&self) -> Disk {
        rustix::fs::statvfs(&self.0).map_or_else(
            |_| Disk::default(),
            |space| Disk {
                used: space.f_blocks.saturating_sub(space.f_bfree).saturating_mul(space.f_frsize),
                available: space.f_bavail.saturating_mul(space.f_frsize),
            },
        )
    }
}

/// What the rest of the node asks.
#[derive(Debug, Default)]
pub struct DiskState {
    full: AtomicBool,
    refuses: AtomicBool,
    used_percent: AtomicU8,
}

impl DiskState {
    /// True when this replica should not lead.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// True when a leader here takes no more messages.
    pub fn refuses(&self) -> bool {
        self.refuses.load(Ordering::Relaxed)
    }

    pub fn used_percent(&self) -> u8 {
        self.used_percent.load(Ordering::Relaxed)
    }
}

/// Watches the disk.
pub struct DiskWatch {
    pub group: Group,
    pub links: Arc<Links>,
    pub in_flight: Arc<InFlight>,
    pub probe: Arc<dyn DiskProbe>,
    pub watermarks: Watermarks,
    /// Peers beside this one.
    pub others: Vec<u64>,
    pub state: Arc<DiskState>,
}

impl DiskWatch {
    /// Runs until stopped.
    pub async fn run(self, stop: CancellationToken) {
        let mut no_spare_since: Option<Instant> = None;
        let mut tried: Option<Instant> = None;
        loop {
            let probe = self.probe.clone();
            let Ok(disk) = tokio::task::spawn_blocking(move || probe.disk()).await else { return };
            let no_spare = match self.group.replica().has_room() {
                true => None,
                false => Some(no_spare_since.unwrap_or_else(Instant::now)),
            };
            no_spare_since = no_spare;
            let stuck = no_spare.is_some_and(|since| since.elapsed() >= NO_SPARE_PATIENCE);
            let full = stuck || disk.beyond(self.watermarks.full) > 0;
            self.state.used_percent.store(disk.used_percent(), Ordering::Relaxed);
            if self.state.full.swap(full, Ordering::Relaxed) != full {
                tell(full, stuck, disk, self.watermarks.full);
            }
            if !full {
                self.refuse(false);
                tried = None;
            } else if self.group.leads() && tried.is_none_or(|at| at.elapsed() >= HAND_OVER_PAUSE) {
                tokio::select! {
                    () = stop.cancelled() => return,
                    handed_over = self.hand_over() => self.refuse(!handed_over),
                }
                tried = Some(Instant::now());
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
        }
    }

    fn refuse(&self, refuses: bool) {
        if self.state.refuses.swap(refuses, Ordering::Relaxed) != refuses {
            match refuses {
                true => warn!("no replica with room takes over: messages are refused until there is some"),
                false => info!("messages are taken again"),
            }
        }
    }

    /// True when another replica leads now. Dropped in between, a hand-over that was asked for goes on.
    async fn hand_over(&self) -> bool {
        // Those that are furthest come first: the hand-over waits until its target has everything.
        let mut peers: Vec<(u64, u64)> = {
            let status = self.group.status();
            let status = status.borrow();
            let matched = |peer| {
                let progress = status.replication.iter().find(|progress| progress.peer == peer);
                progress.and_then(|progress| progress.matched).unwrap_or(0)
            };
            self.others.iter().map(|peer| (matched(*peer), *peer)).collect()
        };
        peers.sort_unstable_by(|left, right| right.cmp(left));
        for (_, peer) in peers {
            if self.links.tell(peer, wire::room(), ANSWER_TIME).await.is_err() {
                continue;
            }
            match transfer::transfer(&self.group, &self.in_flight, Some(peer)).await {
                Ok(()) => {
                    info!(to = peer, "leadership handed over, because this replica's disk is full");
                    return true;
                }
                Err(error) => warn!(to = peer, %error, "leadership not handed over from a full disk"),
            }
            if !self.group.leads() {
                return true;
            }
        }
        false
    }
}

fn tell(full: bool, stuck: bool, disk: Disk, mark: u8) {
    let used_percent = disk.used_percent();
    match (full, stuck) {
        (true, true) => warn!(used_percent, "no room for another log segment: this replica should not lead"),
        (true, false) => {
            warn!(used_percent, mark, "the disk is fuller than its watermark: this replica should not lead")
        }
        (false, _) => info!(used_percent, mark, "the disk has room again"),
    }
}

//! Stopping a node so that no client notices (FAILOVER.md 6).
//!
//! 1. hand leadership over, so that writes go on at once elsewhere;
//! 2. keep the port open and forward, until no send or pull has come for a while or the drain time is over;
//! 3. take the entry away from the name servers;
//! 4. close connections, stop duties, stop the replica.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::dispatch::service::Traffic;
use crate::group::proposer::InFlight;
use crate::group::{Group, transfer};
use crate::handlers::offsets::PendingOffsets;
use crate::handlers::pull::PullHandler;
use crate::leader::LeaderCalls;
use crate::registration::Registrar;

/// What has to be stopped, and how long it may take.
pub struct StopParts {
    pub group: Group,
    pub in_flight: Arc<InFlight>,
    pub pulls: PullHandler,
    pub offsets: Arc<PendingOffsets>,
    pub leader: Arc<LeaderCalls>,
    pub traffic: Arc<Traffic>,
    pub registrars: Vec<Arc<Registrar>>,
    pub serving_stop: CancellationToken,
    pub serving: JoinHandle<()>,
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
    /// Longest time that the port stays open.
    pub drain: Duration,
    /// Silence of clients after which it closes earlier.
    pub drain_idle: Duration,
}

/// Stops the node.
pub async fn run(parts: StopParts, graceful: bool) {
    if graceful {
        hand_over(&parts).await;
        drain(&parts).await;
        for registrar in &parts.registrars {
            registrar.unregister().await;
        }
    }
    parts.pulls.release();
    parts.serving_stop.cancel();
    let _ = parts.serving.await;
    parts.stop.cancel();
    parts.tasks.close();
    if tokio::time::timeout(Duration::from_secs(5), parts.tasks.wait()).await.is_err() {
        warn!("some duties did not end in time");
    }
    parts.group.replica().clone().stop().await;
    info!("stopped");
}

async fn hand_over(parts: &StopParts) {
    if !parts.group.leads() {
        return;
    }
    match transfer::transfer(&parts.group, &parts.in_flight, None).await {
        Ok(()) => info!("leadership handed over"),
        Err(error) => warn!(%error, "leadership not handed over, the group elects when this node is gone"),
    }
}

async fn drain(parts: &StopParts) {
    let started = Instant::now();
    let idle_ms = u64::try_from(parts.drain_idle.as_millis()).unwrap_or(u64::MAX);
    info!(at_most_ms = parts.drain.as_millis() as u64, "forwarding until clients have gone elsewhere");
    while started.elapsed() < parts.drain && parts.traffic.idle_ms() < idle_ms {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    parts.offsets.flush(&parts.leader).await;
}

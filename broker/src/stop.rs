//! Stopping a node so that no client notices (FAILOVER.md 6).
//!
//! 1. hand leadership over, so that writes go on at once elsewhere;
//! 2. keep the port open and forward, until no send or pull has come for a while and none is held, or the drain time is over;
//! 3. register no more, then take the entry away from the name servers, once they show the successor;
//! 4. turn away what comes now, in a way that clients repeat elsewhere; let go what is held and answer what is under way;
//! 5. close connections behind their last answers, stop duties, stop the replica.
//!
//! A request that meets a closing connection has no known outcome. So connections close only when nothing is under way and all who
//! asked for changes have been quiet since, or after [`LEAVE_MAX`]; what is under way is waited for as long as any change may be
//! held.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::dispatch::service::Traffic;
use crate::dispatch::under_way::UnderWay;
use crate::group::proposer::InFlight;
use crate::group::{Group, transfer};
use crate::handlers::offsets::PendingOffsets;
use crate::handlers::pull::PullHandler;
use crate::leader::LeaderCalls;
use crate::long_poll::LongPolls;
use crate::registration::Registrar;

/// What has to be stopped, and how long it may take.
pub struct StopParts {
    pub group: Group,
    pub in_flight: Arc<InFlight>,
    pub pulls: PullHandler,
    pub offsets: Arc<PendingOffsets>,
    pub leader: Arc<LeaderCalls>,
    pub traffic: Arc<Traffic>,
    pub under_way: Arc<UnderWay>,
    pub polls: Arc<LongPolls>,
    pub registrars: Vec<Arc<Registrar<Group>>>,
    /// The registrars at work, and what ends them.
    pub registering: TaskTracker,
    pub registering_stop: CancellationToken,
    pub serving_stop: CancellationToken,
    pub serving: JoinHandle<()>,
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
    /// Longest time that the port stays open.
    pub drain: Duration,
    /// Silence of clients after which it closes earlier.
    pub drain_idle: Duration,
    /// Longest time that a change waits for a leader or for its entry.
    pub hold_max: Duration,
    /// The group has no other replica.
    pub alone: bool,
}

/// Longest wait for a duty to end.
const DUTY_END: Duration = Duration::from_secs(5);
/// Pause after a hand-over that failed.
const HAND_OVER_PAUSE: Duration = Duration::from_millis(500);
/// Longest time in which those who still ask for changes are turned away before connections close.
const LEAVE_MAX: Duration = Duration::from_secs(3);
/// Silence of those who ask for changes after which connections close: who was turned away has asked elsewhere by then.
const QUIET_MS: u64 = 250;
/// How long entries under way at the end are waited for.
const SETTLE: Duration = Duration::from_secs(1);

/// Stops the node.
pub async fn run(parts: StopParts, graceful: bool) {
    if graceful {
        let until = Instant::now() + parts.drain;
        hand_over(&parts, until).await;
        drain(&parts, until).await;
        unregister(&parts).await;
        leave(&parts).await;
        let _ = tokio::time::timeout(SETTLE, parts.in_flight.empty()).await;
    }
    parts.pulls.release();
    // The listener lets its connections write what they hold, the released pulls too.
    parts.serving_stop.cancel();
    let _ = parts.serving.await;
    parts.stop.cancel();
    for duties in [&parts.tasks, &parts.registering] {
        duties.close();
        if tokio::time::timeout(DUTY_END, duties.wait()).await.is_err() {
            warn!("some duties did not end in time");
        }
    }
    parts.group.replica().clone().stop().await;
    info!("stopped");
}

/// Hands leadership over, at the first try or at a later one while the port is open anyway.
async fn hand_over(parts: &StopParts, until: Instant) {
    while parts.group.leads() {
        match transfer::transfer(&parts.group, &parts.in_flight, None).await {
            Ok(()) => info!("leadership handed over"),
            Err(error) if parts.alone || Instant::now() + HAND_OVER_PAUSE >= until => {
                warn!(%error, "leadership not handed over, the group elects when this node is gone");
                return;
            }
            Err(error) => {
                warn!(%error, "leadership not handed over yet, trying again");
                tokio::time::sleep(HAND_OVER_PAUSE).await;
            }
        }
    }
}

/// Waits until clients have gone elsewhere. A client that only waits for messages is quiet and is here all the same, so
/// waiting pulls are sent to ask again: who knows the new leader by then asks there, who comes back is one to wait for.
async fn drain(parts: &StopParts, until: Instant) {
    let idle_ms = u64::try_from(parts.drain_idle.as_millis()).unwrap_or(u64::MAX);
    let mut quiet_since = Instant::now();
    if !parts.alone {
        let left_ms = until.saturating_duration_since(quiet_since).as_millis() as u64;
        info!(at_most_ms = left_ms, "forwarding until clients have gone elsewhere");
    }
    // Alone, there is nobody to forward to.
    while !parts.alone && Instant::now() < until {
        let here_ms = u64::try_from(quiet_since.elapsed().as_millis()).unwrap_or(u64::MAX);
        if parts.traffic.idle_ms().min(here_ms) >= idle_ms {
            if parts.polls.is_empty() {
                break;
            }
            parts.pulls.release();
            quiet_since = Instant::now();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    parts.offsets.flush(&parts.leader).await;
}

/// Turns away what comes now, and waits until everything else has its answer and nobody asks for changes any more.
async fn leave(parts: &StopParts) {
    let began = Instant::now();
    parts.under_way.close();
    loop {
        parts.pulls.release();
        let (count, passed) = (parts.under_way.count(), began.elapsed());
        if count == 0 && parts.traffic.unchanging_ms() >= QUIET_MS {
            return;
        }
        if passed >= LEAVE_MAX && (count == 0 || passed >= parts.hold_max) {
            info!(without_answer = count, "clients still ask here, closing all the same");
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Takes this node's entries away, after the last registration has had its answer: a later one would bring them back.
async fn unregister(parts: &StopParts) {
    parts.registering_stop.cancel();
    parts.registering.close();
    if tokio::time::timeout(DUTY_END, parts.registering.wait()).await.is_err() {
        warn!("a registration is still under way, it may bring this node's entry back until it expires");
    }
    let mut under_way = JoinSet::new();
    for registrar in &parts.registrars {
        let (registrar, patience) = (registrar.clone(), parts.drain);
        under_way.spawn(async move { registrar.unregister(patience).await });
    }
    while under_way.join_next().await.is_some() {}
}

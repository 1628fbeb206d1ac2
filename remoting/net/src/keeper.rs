//! Owns the tasks of one connection: starts them, watches deadlines and idleness, resolves what is left at the end.

use std::sync::Arc;

use flotilla_remoting::frame::Frame;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, info, warn};

use crate::connection::{CloseReason, Connection, Surroundings};
use crate::limits::DEADLINE_SCAN;
use crate::outbox::SendError;
use crate::pending::RequestError;
use crate::stats::NetStats;
use crate::{reader, writer};

/// Runs a connection from its first to its last byte. Ends when reader and writer have ended.
pub(crate) async fn run<R, W>(connection: Arc<Connection>, read: R, write: W, around: Surroundings)
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let stats = around.stats.clone();
    let idle = around.options.idle;
    NetStats::add(&stats.opened, 1);
    NetStats::add(&stats.connections, 1);
    let mut tasks = JoinSet::new();
    tasks.spawn(reader::run(connection.clone(), read, around));
    tasks.spawn(writer::run(connection.clone(), write, stats.clone()));
    let closed = connection.closed();
    loop {
        let wake_at = next_look(&connection, idle);
        tokio::select! {
            () = closed.cancelled() => break,
            () = sleep_until(wake_at) => {}
            () = connection.keeper_wake.notified() => continue,
            Some(ended) = tasks.join_next() => note_panic(&connection, ended),
        }
        let now = Instant::now();
        connection.pending.expire(now);
        if now >= connection.activity.last() + idle {
            connection.close(CloseReason::Idle);
        }
        if connection.finish_by.get().is_some_and(|by| now >= *by) {
            connection.close(CloseReason::SlowReceiver);
        }
    }
    resolve_unsent(&connection);
    while let Some(ended) = tasks.join_next().await {
        note_panic(&connection, ended);
    }
    connection.pending.fail_all();
    stats.connections.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
    log_end(&connection, &stats);
}

/// When there is something to look at next, if nobody wakes the keeper before.
fn next_look(connection: &Connection, idle: std::time::Duration) -> Instant {
    let mut at = connection.activity.last() + idle;
    if !connection.pending.is_empty() {
        at = at.min(Instant::now() + DEADLINE_SCAN);
    }
    connection.finish_by.get().map_or(at, |by| at.min(*by))
}

/// Requests that never reached the writer were surely not sent: their askers may try elsewhere.
fn resolve_unsent(connection: &Connection) {
    let is_request = |frame: &Frame| !frame.is_response() && !frame.is_oneway();
    for item in connection.outbox.take_rest() {
        if is_request(&item.frame)
            && let Some(callback) = connection.pending.take(item.frame.header.opaque)
        {
            callback(Err(RequestError::NotSent(SendError::Closed.into())));
        }
    }
}

fn note_panic(connection: &Connection, ended: Result<(), JoinError>) {
    if let Err(failure) = ended {
        error!(connection = connection.id(), peer = %connection.peer(), %failure, "connection task failed");
        connection.close(CloseReason::Bug);
    }
}

fn log_end(connection: &Connection, stats: &NetStats) {
    NetStats::add(&stats.closed, 1);
    let (id, peer) = (connection.id(), connection.peer());
    match connection.close_reason() {
        Some(reason @ CloseReason::SlowReceiver) => {
            NetStats::add(&stats.slow_closed, 1);
            warn!(connection = id, %peer, %reason, "connection closed");
        }
        Some(reason @ (CloseReason::Malformed(_) | CloseReason::OverBudget)) => {
            NetStats::add(&stats.malformed, 1);
            warn!(connection = id, %peer, %reason, "connection closed");
        }
        Some(reason @ CloseReason::Idle) => {
            NetStats::add(&stats.idle_closed, 1);
            info!(connection = id, %peer, %reason, "connection closed");
        }
        Some(reason @ (CloseReason::Io(_) | CloseReason::Bug)) => {
            NetStats::add(&stats.failed, 1);
            debug!(connection = id, %peer, %reason, "connection closed");
        }
        Some(reason @ (CloseReason::Requested(_) | CloseReason::Peer)) => {
            debug!(connection = id, %peer, %reason, "connection closed")
        }
        None => debug!(connection = id, %peer, "connection closed"),
    }
}

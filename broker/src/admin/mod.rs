//! HTTP administration of one node: health, metrics, and `/v1` for people and scripts.
//!
//! | path                              | what                                                        |
//! |-----------------------------------|-------------------------------------------------------------|
//! | `GET /livez`                      | 200 while the process runs                                  |
//! | `GET /readyz`, `/healthz`         | 200 when every named check passes, else 503                 |
//! | `GET /metrics`                    | Prometheus text, or OpenMetrics when asked for              |
//! | `GET /version`                    | version of the program and of the protocols                 |
//! | `GET /v1/cluster`                 | cluster, replicas, leader                                   |
//! | `GET /v1/group`                   | the Raft group: role, term, indexes, progress per replica   |
//! | `POST /v1/group/transfer-leader`  | moves leadership, optionally `{"to":"n2"}`                  |
//! | `GET /v1/topics[/{t}[/queues]]`   | topics, queue ranges                                        |
//! | `GET /v1/consumer-groups[/{g}]`   | groups, members, offsets, lag                               |
//!
//! Promises: errors are `application/problem+json`; lists are paged; connections and bodies are bounded; nothing
//! but the transfer changes anything. Leaves to others: what the answers say ([`AdminSource`]).

mod bounded;
mod consumers;
mod extract;
mod group;
mod health;
mod page;
mod problem;
mod source;
mod topics;

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, Uri};
use axum::routing::{get, post};
pub use source::{
    AdminError, AdminSource, Answer, Check, ConsumerGroup, ConsumerGroupDetail, Group, GroupMember, Member,
    Node, Progress, Queue, QueueOffset, Subscription, Topic, Transfer,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::error;

use problem::Problem;

/// Largest request body, bytes: the only one is `{"to":"n2"}`.
const BODY_SIZE_MAX: usize = 16 * 1024;

/// Connections at once; more wait in the system's backlog.
const CONNECTIONS_MAX: usize = 128;

/// Time that requests under way get when the node stops.
const STOP_GRACE: Duration = Duration::from_secs(2);

type Source = Arc<dyn AdminSource>;

/// Starts the server on a bound socket, or on an address, or not at all when there is neither. Gives the address.
///
/// # Errors
/// The address can't be bound; the message names it.
pub async fn start(
    listen: Option<SocketAddr>,
    bound: Option<StdListener>,
    source: Source,
    stop: CancellationToken,
) -> io::Result<Option<SocketAddr>> {
    let listener = match (bound, listen) {
        (Some(bound), _) => {
            bound.set_nonblocking(true)?;
            TcpListener::from_std(bound)?
        }
        (None, Some(listen)) => TcpListener::bind(listen).await.map_err(|error| {
            io::Error::new(error.kind(), format!("can't listen for administration on {listen}: {error}"))
        })?,
        (None, None) => return Ok(None),
    };
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        if let Err(error) = serve(listener, source, stop).await {
            error!(%error, "administration ended");
        }
    });
    Ok(Some(address))
}

/// Serves until `stop` is cancelled; then requests under way get [`STOP_GRACE`] to finish.
///
/// # Errors
/// The listener failed for good.
///
/// Dropping the future closes the listener; requests under way go on until their connections end.
pub async fn serve(listener: TcpListener, source: Source, stop: CancellationToken) -> io::Result<()> {
    let listener = bounded::BoundedListener::new(listener, CONNECTIONS_MAX);
    let server = axum::serve(listener, router(source)).with_graceful_shutdown(stop.clone().cancelled_owned());
    let late = async {
        stop.cancelled().await;
        tokio::time::sleep(STOP_GRACE).await;
    };
    tokio::select! {
        served = server => served,
        () = late => Ok(()),
    }
}

fn router(source: Source) -> Router {
    Router::new()
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/healthz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/version", get(health::version))
        .route("/v1/cluster", get(group::cluster))
        .route("/v1/group", get(group::group))
        .route("/v1/group/transfer-leader", post(group::transfer))
        .route("/v1/topics", get(topics::list))
        .route("/v1/topics/{topic}", get(topics::one))
        .route("/v1/topics/{topic}/queues", get(topics::queues))
        .route("/v1/consumer-groups", get(consumers::list))
        .route("/v1/consumer-groups/{group}", get(consumers::one))
        .method_not_allowed_fallback(wrong_method)
        .fallback(unknown_path)
        .layer(DefaultBodyLimit::max(BODY_SIZE_MAX))
        .with_state(source)
}

async fn unknown_path(uri: Uri) -> Problem {
    Problem::not_found(format!("there is nothing at {}", uri.path()))
}

async fn wrong_method(uri: Uri) -> Problem {
    let detail = format!("{} does not take this method", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}

/// `n2`, as configuration and answers call a replica.
fn replica_name(replica: u64) -> String {
    format!("n{replica}")
}

#[cfg(test)]
mod tests;

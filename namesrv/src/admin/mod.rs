//! The admin address of a name server: health, metrics, version, routes. Reads only; errors as problem+json.

mod health;
mod problem;
mod routes;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::get;
use flotilla_net::{ByteBudget, NetStats};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::limits::ADMIN_BODY_MAX;
use crate::state::State;
use problem::Problem;

/// What the pages show.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) state: Arc<State>,
    pub(crate) net: Arc<NetStats>,
    pub(crate) budget: ByteBudget,
}

/// Serves until `stop`; requests under way are answered first.
pub(crate) async fn serve(listener: TcpListener, source: Source, stop: CancellationToken) {
    let serving = axum::serve(listener, router(source));
    let stopped = serving.with_graceful_shutdown(stop.clone().cancelled_owned());
    // A keep-alive connection without a request must not hold up the stop.
    tokio::select! {
        result = stopped => {
            if let Err(error) = result {
                tracing::error!(%error, "admin server ended");
            }
        }
        () = async { stop.cancelled().await; tokio::time::sleep(std::time::Duration::from_secs(1)).await } => {}
    }
}

fn router(source: Source) -> Router {
    Router::new()
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/healthz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/version", get(health::version))
        .route("/v1/cluster", get(routes::cluster))
        .route("/v1/routes", get(routes::list))
        .route("/v1/routes/{topic}", get(routes::one))
        .fallback(async || Problem::not_found("no such page"))
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(DefaultBodyLimit::max(ADMIN_BODY_MAX))
        .with_state(source)
}

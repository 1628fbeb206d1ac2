//! Health, version and metrics.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use flotilla_remoting::version;
use serde::Serialize;

use super::Source;
use crate::metrics::{Format, Gauges};

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    checks: [Check; 1],
}

#[derive(Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    detail: String,
}

#[derive(Serialize)]
pub(super) struct Version {
    name: &'static str,
    version: &'static str,
    /// Set at build time, when the build knows it.
    git_hash: Option<&'static str>,
    /// Release of RocketMQ whose wire behaviour is spoken, and its number on the wire.
    rocketmq_version: &'static str,
    rocketmq_version_code: i32,
}

pub(super) async fn live() -> &'static str {
    "ok\n"
}

pub(super) async fn ready(State(source): State<Source>) -> impl IntoResponse {
    let ready = source.state.is_ready();
    let leaderless: Vec<String> =
        source.state.read(|registry| registry.leaderless().map(str::to_owned).collect());
    let detail = match (ready, leaderless.is_empty()) {
        (true, true) => "route queries are answered".to_owned(),
        (true, false) => format!("route queries are answered; no leader for {}", leaderless.join(", ")),
        (false, true) => "no broker has registered since the start".to_owned(),
        (false, false) => format!("waiting for the leaders of {}", leaderless.join(", ")),
    };
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, checks: [Check { name: "warm-up", ok: ready, detail }] }))
}

pub(super) async fn version() -> Json<Version> {
    Json(Version {
        name: "flotilla",
        version: env!("CARGO_PKG_VERSION"),
        git_hash: option_env!("FLOTILLA_GIT_HASH"),
        rocketmq_version: version::CURRENT_NAME,
        rocketmq_version_code: version::CURRENT,
    })
}

pub(super) async fn metrics(State(source): State<Source>, headers: HeaderMap) -> impl IntoResponse {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let open = accept.contains("application/openmetrics-text");
    let format = if open { Format::OpenMetrics } else { Format::Prometheus };
    let ready = source.state.is_ready();
    let gauges = source.state.read(|registry| Gauges {
        brokers: registry.group_count(),
        replicas: registry.replica_count(),
        leaderless: registry.leaderless().count(),
        topics: registry.topic_count(),
        ready,
        net: &source.net,
        budget: &source.budget,
    });
    let (content_type, text) = source.state.metrics.text(&gauges, format);
    ([(header::CONTENT_TYPE, content_type)], text)
}

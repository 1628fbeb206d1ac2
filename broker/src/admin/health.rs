//! Health, version and metrics.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use flotilla_remoting::version;
use serde::Serialize;

use super::Source;
use super::problem::Problem;
use super::source::Check;
use crate::metrics::Format;

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    checks: Vec<CheckView>,
}

#[derive(Serialize)]
struct CheckView {
    name: &'static str,
    ok: bool,
    detail: String,
}

impl From<Check> for CheckView {
    fn from(check: Check) -> Self {
        Self { name: check.name, ok: check.ok, detail: check.detail }
    }
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
    record_format: u8,
}

pub(super) async fn live() -> &'static str {
    "ok\n"
}

pub(super) async fn ready(State(source): State<Source>) -> impl IntoResponse {
    let checks: Vec<CheckView> = source.checks().into_iter().map(CheckView::from).collect();
    let ready = checks.iter().all(|check| check.ok);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, checks }))
}

pub(super) async fn version() -> Json<Version> {
    Json(Version {
        name: "flotilla",
        version: env!("CARGO_PKG_VERSION"),
        git_hash: option_env!("FLOTILLA_GIT_HASH"),
        rocketmq_version: version::CURRENT_NAME,
        rocketmq_version_code: version::CURRENT,
        record_format: 1,
    })
}

pub(super) async fn metrics(
    State(source): State<Source>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let format = match accept.contains("application/openmetrics-text") {
        true => Format::OpenMetrics,
        false => Format::Prometheus,
    };
    // Disk space and the process's memory are read from the system: not on a network thread.
    let text = tokio::task::spawn_blocking(move || source.metrics().expose(source.gauges(), format)).await;
    let text = text.map_err(|error| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", format!("scrape failed: {error}"))
    })?;
    Ok(([(header::CONTENT_TYPE, format.content_type())], text))
}

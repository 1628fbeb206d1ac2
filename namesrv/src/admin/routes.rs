//! Routes and brokers, as clients see them.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::IntoResponse;
use flotilla_remoting::bodies;
use serde::{Deserialize, Serialize};

use super::Source;
use super::problem::Problem;
use crate::limits::ADMIN_PAGE_MAX;

#[derive(Deserialize)]
pub(super) struct Page {
    limit: Option<usize>,
    /// The last topic of the page before.
    cursor: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Topics {
    topics: Vec<String>,
    /// Cursor of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Topics by name.
pub(super) async fn list(
    State(source): State<Source>,
    page: Result<Query<Page>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Topics>, Problem> {
    let Query(page) = page.map_err(|rejection| Problem::invalid(rejection.body_text()))?;
    let limit = page.limit.unwrap_or(100);
    if !(1..=ADMIN_PAGE_MAX).contains(&limit) {
        return Err(Problem::invalid(format!("limit must be between 1 and {ADMIN_PAGE_MAX}")));
    }
    let after = page.cursor.unwrap_or_default();
    let mut topics = source.state.read(|registry| registry.topics_after(&after, limit + 1));
    let next = (topics.len() > limit).then(|| topics.truncate(limit)).and_then(|()| topics.last().cloned());
    Ok(Json(Topics { topics, next }))
}

/// The route of one topic, as clients get it.
pub(super) async fn one(
    State(source): State<Source>,
    Path(topic): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    if !source.state.is_ready() {
        return Err(Problem::not_ready("name server not ready"));
    }
    let missing = || Problem::not_found(format!("no route for topic {topic}"));
    let route = source.state.route(&topic).ok_or_else(missing)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], route))
}

/// Clusters, broker names and addresses.
pub(super) async fn cluster(State(source): State<Source>) -> impl IntoResponse {
    let info = source.state.read(|registry| registry.cluster_info());
    ([(header::CONTENT_TYPE, "application/json")], bodies::encode(&info))
}

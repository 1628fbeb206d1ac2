//! Errors as `application/problem+json` (RFC 9457), with a stable `code` and the leader when it is known.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::source::AdminError;

/// An error answer.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    leader: Option<u64>,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'a str,
    status: u16,
    code: &'static str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    leader: Option<String>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), leader: None }
    }

    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", detail)
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    fn with_leader(self, leader: Option<u64>) -> Self {
        Self { leader, ..self }
    }
}

/// The one place where causes become HTTP.
impl From<AdminError> for Problem {
    fn from(error: AdminError) -> Self {
        let detail = error.to_string();
        match error {
            AdminError::Invalid(_) => Self::invalid(detail),
            AdminError::Conflict { leader, .. } => {
                Self::new(StatusCode::CONFLICT, "conflict", detail).with_leader(leader)
            }
            AdminError::NoLeader(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, "no_leader", detail),
            AdminError::Timeout { leader, .. } => {
                Self::new(StatusCode::GATEWAY_TIMEOUT, "timeout", detail).with_leader(leader)
            }
            AdminError::Internal(_) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Body {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            code: self.code,
            detail: &self.detail,
            leader: self.leader.map(super::replica_name),
        };
        let headers = [(header::CONTENT_TYPE, "application/problem+json")];
        (self.status, headers, Json(body)).into_response()
    }
}

//! Errors as `application/problem+json` (RFC 9457), with a stable `code`.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// An error answer.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    code: &'static str,
    detail: &'a str,
}

impl Problem {
    pub(super) fn invalid(detail: impl Into<String>) -> Problem {
        Problem { status: StatusCode::BAD_REQUEST, code: "invalid_request", detail: detail.into() }
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Problem {
        Problem { status: StatusCode::NOT_FOUND, code: "not_found", detail: detail.into() }
    }

    pub(super) fn not_ready(detail: impl Into<String>) -> Problem {
        Problem { status: StatusCode::SERVICE_UNAVAILABLE, code: "not_ready", detail: detail.into() }
    }

    pub(super) fn method_not_allowed() -> Problem {
        let detail = "pages of a name server can only be read".to_owned();
        Problem { status: StatusCode::METHOD_NOT_ALLOWED, code: "method_not_allowed", detail }
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
        };
        (self.status, [(header::CONTENT_TYPE, "application/problem+json")], Json(body)).into_response()
    }
}

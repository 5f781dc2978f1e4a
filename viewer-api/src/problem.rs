//! Errors on HTTP: `application/problem+json` (RFC 9457) from the one list of codes.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use relay_core::codes::{Code, Refusal};
use utoipa::ToSchema;

/// Seconds after which a caller may come again when the receiver was busy.
const RETRY_AFTER_SECONDS: &str = "5";

/// A refusal as a handler returns it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct Problem(#[from] pub Refusal);

impl Problem {
    /// A problem about `field`.
    pub fn new(code: Code, field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self(Refusal::new(code, field, reason))
    }
}

/// The body of an error answer.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// URN of the code, such as `urn:relay:problem:CLAIM_HELD`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What to tell a Chinese user.
    pub title: String,
    /// What to tell an English user.
    pub title_en: String,
    /// HTTP status.
    pub status: u16,
    /// The code, such as `CLAIM_HELD`.
    pub code: String,
    /// The field, tag or part that is wrong; empty when it is the whole.
    pub field: String,
    /// Why, for people, in English, without patient data.
    pub reason: String,
}

impl From<&Refusal> for ProblemBody {
    fn from(refusal: &Refusal) -> Self {
        Self {
            kind: format!("urn:relay:problem:{}", refusal.code.name()),
            title: refusal.code.zh().to_owned(),
            title_en: refusal.code.en().to_owned(),
            status: refusal.code.http_status(),
            code: refusal.code.name().to_owned(),
            field: refusal.field.clone(),
            reason: refusal.reason.clone(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self(refusal) = self;
        if refusal.code == Code::Internal {
            tracing::error!(field = refusal.field, reason = refusal.reason, "request failed");
        }
        let status =
            StatusCode::from_u16(refusal.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = axum::Json(ProblemBody::from(&refusal));
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if matches!(
            refusal.code,
            Code::Busy | Code::TooManyAttempts | Code::ShuttingDown | Code::AccountLocked
        ) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        response.extensions_mut().insert(refusal.code);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_an_answer_with_its_own_status() {
        for code in Code::ALL {
            let response = Problem::new(*code, "field", "reason").into_response();
            assert_eq!(response.status().as_u16(), code.http_status());
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        }
    }
}

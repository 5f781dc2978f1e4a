//! Request parts as typed values; what does not parse is a problem that names its field.

use crate::problem::Problem;
use axum::extract::{FromRequest, FromRequestParts, Json, Path, Query, Request};
use http::request::Parts;
use relay_core::codes::Code;
use serde::de::DeserializeOwned;

/// A JSON body.
#[derive(Debug)]
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(value)) => Ok(Self(value)),
            Err(rejection) if rejection.status() == http::StatusCode::PAYLOAD_TOO_LARGE => {
                Err(Problem::new(Code::RefusedTooLarge, "body", "the request body is longer than the limit"))
            }
            Err(rejection) => Err(Problem::new(Code::FieldInvalid, "body", rejection.body_text())),
        }
    }
}

/// Path parameters.
#[derive(Debug)]
pub(crate) struct At<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(value) = Path::<T>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Problem::new(Code::FieldInvalid, "path", rejection.body_text()))?;
        Ok(Self(value))
    }
}

/// Query parameters.
#[derive(Debug)]
pub(crate) struct Asked<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(value) = Query::<T>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Problem::new(Code::FieldInvalid, "query", rejection.body_text()))?;
        Ok(Self(value))
    }
}

/// Refuses a text that is longer than `max` characters, or empty when `required`.
///
/// # Errors
/// `FIELD_INVALID` naming the field.
pub(crate) fn check_text(field: &str, text: &str, max: usize, required: bool) -> Result<(), Problem> {
    if required && text.trim().is_empty() {
        return Err(Problem::new(Code::FieldInvalid, field, "is empty"));
    }
    let count = text.chars().count();
    if count > max {
        return Err(Problem::new(
            Code::FieldInvalid,
            field,
            format!("{count} characters, at most {max} are lawful"),
        ));
    }
    Ok(())
}

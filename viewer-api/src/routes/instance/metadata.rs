//! The header as DICOM JSON (PS3.18 F), in UTF-8, without bulk data.

use super::address;
use crate::auth::policy::{Caller, Views};
use crate::extract::At;
use crate::image;
use crate::problem::{Problem, ProblemBody};
use crate::state::Viewer;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, header};

/// The header as DICOM JSON: an array of one data set.
#[utoipa::path(get, path = "/studies/{clinic}/{study_uid}/instances/{hash}/metadata", tag = "instance",
    operation_id = "instance_metadata",
    params(("clinic" = String, Path, description = "Clinic id"), ("study_uid" = String, Path, description = "StudyInstanceUID"),
        ("hash" = String, Path, description = "Object hash")),
    responses(
    (status = 200, description = "DICOM JSON", content_type = "application/dicom+json", body = Vec<serde_json::Value>),
    (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn metadata(
    State(state): State<Viewer>,
    caller: Caller<Views>,
    At((clinic, uid, hash)): At<(String, String, String)>,
) -> Result<Response, Problem> {
    let path = address(&clinic, &uid, &hash)?.path(&state, caller.reader()).await?;
    let json = state.decoders.run(1, move || image::metadata::dicom_json(&path)).await?;
    let mut response = Json([json]).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/dicom+json"));
    Ok(response)
}

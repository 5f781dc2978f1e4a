//! The stored preview; where the job has not made it yet, the same picture made now.

use super::address;
use crate::api::Bytes;
use crate::auth::policy::{Caller, Views};
use crate::extract::At;
use crate::image::{pool, preview as picture};
use crate::problem::{Problem, ProblemBody};
use crate::state::Viewer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;

/// A JPEG of at most 1024 pixels on its long side, with the default window.
#[utoipa::path(get, path = "/studies/{clinic}/{study_uid}/instances/{hash}/preview", tag = "instance",
    operation_id = "instance_preview",
    params(("clinic" = String, Path, description = "Clinic id"), ("study_uid" = String, Path, description = "StudyInstanceUID"),
        ("hash" = String, Path, description = "Object hash")),
    responses(
    (status = 200, description = "JPEG", content_type = "image/jpeg", body = Bytes),
    (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn preview(
    State(state): State<Viewer>,
    caller: Caller<Views>,
    At((clinic, uid, hash)): At<(String, String, String)>,
) -> Result<Response, Problem> {
    let at = address(&clinic, &uid, &hash)?;
    let bytes = match state.desk.preview(caller.reader(), &at.study, &at.object, state.clock.now()).await? {
        Some(bytes) => bytes,
        None => {
            let path = at.path(&state, caller.reader()).await?;
            let cost = pool::cost_mib(&path).await?;
            state.decoders.run(cost, move || picture::jpeg(&path)).await?
        }
    };
    Ok(([(header::CONTENT_TYPE, "image/jpeg")], bytes).into_response())
}

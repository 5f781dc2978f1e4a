//! ECG samples as JSON.

use super::address;
use crate::api::image::Waveform;
use crate::auth::policy::{Caller, Views};
use crate::ecg;
use crate::extract::At;
use crate::image::pool;
use crate::problem::{Problem, ProblemBody};
use crate::state::Viewer;
use axum::Json;
use axum::extract::State;

/// ECG samples: stored leads, and those that follow from I and II.
#[utoipa::path(get, path = "/studies/{clinic}/{study_uid}/instances/{hash}/waveform", tag = "instance",
    operation_id = "instance_waveform",
    params(("clinic" = String, Path, description = "Clinic id"), ("study_uid" = String, Path, description = "StudyInstanceUID"),
        ("hash" = String, Path, description = "Object hash")),
    responses(
    (status = 200, description = "The samples", body = Waveform),
    (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn waveform(
    State(state): State<Viewer>,
    caller: Caller<Views>,
    At((clinic, uid, hash)): At<(String, String, String)>,
) -> Result<Json<Waveform>, Problem> {
    let path = address(&clinic, &uid, &hash)?.path(&state, caller.reader()).await?;
    let cost = pool::cost_mib(&path).await?;
    Ok(Json(state.decoders.run(cost, move || ecg::waveform(&path)).await?))
}

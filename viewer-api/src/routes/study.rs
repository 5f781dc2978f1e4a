//! A study, by work item or by key.

use crate::api::study::Study;
use crate::auth::policy::{Caller, Views};
use crate::extract::At;
use crate::problem::{Problem, ProblemBody};
use crate::state::Viewer;
use axum::Json;
use axum::extract::State;
use relay_core::codes::Code;
use relay_core::ids::{ClinicId, StudyKey, StudyUid};

/// The key in a path.
///
/// # Errors
/// `NOT_FOUND`: what is no lawful key names nothing.
pub(super) fn study_key(clinic: &str, uid: &str) -> Result<StudyKey, Problem> {
    let missing = |field: &str| Problem::new(Code::NotFound, field, "no such study");
    let clinic = ClinicId::parse(clinic).map_err(|_| missing("clinic"))?;
    let uid = StudyUid::parse(uid).map_err(|_| missing("study_uid"))?;
    Ok(StudyKey { clinic, uid })
}

/// The study behind a work item.
#[utoipa::path(get, path = "/worklist/{item}/study", tag = "study", operation_id = "study_of_item",
    params(("item" = i64, Path, description = "Work item id")), responses(
    (status = 200, description = "The study", body = Study),
    (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn of_item(
    State(state): State<Viewer>,
    caller: Caller<Views>,
    At(item): At<i64>,
) -> Result<Json<Study>, Problem> {
    let now = state.clock.now();
    let view = state.desk.study(caller.reader(), item, now).await?;
    Ok(Json(Study::of(view, caller.reader(), now.0)))
}

/// A study by its key: priors.
#[utoipa::path(get, path = "/studies/{clinic}/{study_uid}", tag = "study", operation_id = "study_by_key",
    params(("clinic" = String, Path, description = "Clinic id"), ("study_uid" = String, Path, description = "StudyInstanceUID")),
    responses(
    (status = 200, description = "The study", body = Study),
    (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn by_key(
    State(state): State<Viewer>,
    caller: Caller<Views>,
    At((clinic, uid)): At<(String, String)>,
) -> Result<Json<Study>, Problem> {
    let now = state.clock.now();
    let view = state.desk.study_by_key(caller.reader(), &study_key(&clinic, &uid)?, now).await?;
    Ok(Json(Study::of(view, caller.reader(), now.0)))
}

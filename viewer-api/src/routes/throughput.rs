//! Today's figures: counts only, no names.

use crate::auth::policy::{Caller, Watches};
use crate::desk::Throughput;
use crate::problem::{Problem, ProblemBody};
use crate::state::Viewer;
use axum::Json;
use axum::extract::State;

/// Today's figures.
#[utoipa::path(get, path = "/throughput", tag = "monitor", operation_id = "throughput", responses(
    (status = 200, description = "The figures", body = Throughput),
    (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn throughput(
    State(state): State<Viewer>,
    caller: Caller<Watches>,
) -> Result<Json<Throughput>, Problem> {
    Ok(Json(state.desk.throughput(caller.reader(), state.clock.now()).await?))
}

//! The worklist and the lease.

use crate::api::words;
use crate::api::work::{Claimed, ClaimedNext, Lease, LeaseEpoch, WorkRow, Worklist};
use crate::auth::policy::{Caller, Reads, Views};
use crate::desk::WorkFilter;
use crate::extract::{Asked, At, Body, check_text};
use crate::limits::{DEFAULT_WORKLIST_ROWS, MAX_SHORT_CHARS, MAX_WORKLIST_ROWS};
use crate::problem::{Problem, ProblemBody};
use crate::state::Viewer;
use axum::Json;
use axum::extract::State;
use http::StatusCode;
use relay_core::codes::Code;
use relay_core::study::Kind;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

const STATES: [&str; 8] =
    ["waiting", "claimed", "drafted", "signed", "audited", "closed", "withdrawn", "retake_requested"];

/// How to narrow the worklist.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct WorklistQuery {
    /// State words joined by commas; without it the open ones (waiting, claimed, drafted, signed).
    #[serde(default)]
    states: Option<String>,
    /// Only this kind.
    #[serde(default)]
    #[param(value_type = Option<words::Kind>)]
    kind: Option<Kind>,
    /// Only items held or authored by the caller.
    #[serde(default)]
    mine: bool,
    /// Free text over name, ids, clinic.
    #[serde(default)]
    text: Option<String>,
    /// At most this many rows.
    #[serde(default)]
    limit: Option<u32>,
}

impl WorklistQuery {
    fn into_filter(self) -> Result<WorkFilter, Problem> {
        let states: Vec<String> = self
            .states
            .iter()
            .flat_map(|s| s.split(','))
            .filter(|s| !s.is_empty())
            .map(str::to_owned)
            .collect();
        if let Some(unknown) = states.iter().find(|state| !STATES.contains(&state.as_str())) {
            let reason = format!("{unknown:?} is none of {}", STATES.join(", "));
            return Err(Problem::new(Code::FieldInvalid, "states", reason));
        }
        check_text("text", self.text.as_deref().unwrap_or_default(), MAX_SHORT_CHARS, false)?;
        Ok(WorkFilter {
            states,
            kind: self.kind,
            mine: self.mine,
            text: self.text.filter(|text| !text.trim().is_empty()),
            limit: self.limit.unwrap_or(DEFAULT_WORKLIST_ROWS).clamp(1, MAX_WORKLIST_ROWS),
        })
    }
}

/// Rows the caller may see, most urgent first.
#[utoipa::path(get, path = "/worklist", tag = "worklist", operation_id = "worklist", params(WorklistQuery), responses(
    (status = 200, description = "The worklist", body = Worklist),
    (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn list(
    State(state): State<Viewer>,
    caller: Caller<Views>,
    Asked(query): Asked<WorklistQuery>,
) -> Result<Json<Worklist>, Problem> {
    let (now, reader) = (state.clock.now(), caller.reader());
    let list = state.desk.worklist(reader, &query.into_filter()?, now).await?;
    Ok(Json(Worklist {
        now_ms: now.0,
        items: list.rows.into_iter().map(|row| WorkRow::of(row, reader)).collect(),
        total: list.total,
        damaged: list.damaged,
    }))
}

/// What *claim next* is to look for.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(super) struct ClaimNext {
    /// Only this kind.
    #[serde(default)]
    #[schema(value_type = Option<words::Kind>)]
    kind: Option<Kind>,
}

/// Claims the most urgent item open to the caller.
#[utoipa::path(post, path = "/worklist/claim-next", tag = "worklist", operation_id = "claim_next",
    request_body = ClaimNext, responses(
    (status = 200, description = "What was claimed, if anything was open", body = ClaimedNext),
    (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn claim_next(
    State(state): State<Viewer>,
    caller: Caller<Reads>,
    Body(wish): Body<ClaimNext>,
) -> Result<Json<ClaimedNext>, Problem> {
    let now = state.clock.now();
    let claimed = state.desk.claim_next(caller.reader(), wish.kind, now).await?;
    let claimed = claimed.map(|(item, lease)| Claimed { item, lease: lease.into(), now_ms: now.0 });
    Ok(Json(ClaimedNext { claimed }))
}

/// Claims; `CLAIM_HELD` says who holds it.
#[utoipa::path(post, path = "/worklist/{item}/claim", tag = "worklist", operation_id = "claim",
    params(("item" = i64, Path, description = "Work item id")), responses(
    (status = 200, description = "The lease", body = Claimed),
    (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn claim(
    State(state): State<Viewer>,
    caller: Caller<Reads>,
    At(item): At<i64>,
) -> Result<Json<Claimed>, Problem> {
    let now = state.clock.now();
    let lease = state.desk.claim(caller.reader(), item, now).await?;
    Ok(Json(Claimed { item, lease: lease.into(), now_ms: now.0 }))
}

/// Renews after input of the reader, never by a timer alone.
#[utoipa::path(post, path = "/worklist/{item}/renew", tag = "worklist", operation_id = "renew",
    params(("item" = i64, Path, description = "Work item id")), request_body = LeaseEpoch, responses(
    (status = 200, description = "The lease", body = Lease),
    (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn renew(
    State(state): State<Viewer>,
    caller: Caller<Reads>,
    At(item): At<i64>,
    Body(held): Body<LeaseEpoch>,
) -> Result<Json<Lease>, Problem> {
    let lease = state.desk.renew(caller.reader(), item, held.epoch, state.clock.now()).await?;
    Ok(Json(lease.into()))
}

/// Gives back; the draft stays.
#[utoipa::path(post, path = "/worklist/{item}/release", tag = "worklist", operation_id = "release",
    params(("item" = i64, Path, description = "Work item id")), request_body = LeaseEpoch, responses(
    (status = 204, description = "Given back"),
    (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn release(
    State(state): State<Viewer>,
    caller: Caller<Reads>,
    At(item): At<i64>,
    Body(held): Body<LeaseEpoch>,
) -> Result<StatusCode, Problem> {
    state.desk.release(caller.reader(), item, held.epoch, state.clock.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

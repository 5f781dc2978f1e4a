//! Clinics and accounts, for administrators. No patient appears here.

use crate::api::words;
use crate::auth::policy::{Administers, Caller};
use crate::desk::Role;
use crate::extract::At;
use crate::problem::{Problem, ProblemBody};
use crate::state::Viewer;
use axum::Json;
use axum::extract::State;
use http::StatusCode;
use relay_core::codes::Code;
use relay_core::ids::PersonId;
use relay_core::study::Kind;
use serde::Serialize;
use utoipa::ToSchema;

/// A clinic.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Clinic {
    /// Clinic id.
    clinic: String,
    /// Name in words.
    name: String,
    /// Connected now.
    online: bool,
    /// Last heard, UTC ms.
    heard_at_ms: Option<i64>,
    /// County clock minus the clinic's, ms, as measured on the link.
    clock_offset_ms: Option<i64>,
}

/// An account.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Account {
    /// Employee id.
    id: String,
    /// Name in words.
    name: String,
    /// Roles.
    roles: Vec<Role>,
    /// Ids of the clinics served.
    clinics: Vec<String>,
    /// Kinds read.
    #[schema(value_type = Vec<words::Kind>)]
    kinds: Vec<Kind>,
    /// A second factor is set.
    totp: bool,
    /// Failed logins since the last success.
    failures: u32,
    /// Locked until, UTC ms.
    locked_until_ms: Option<i64>,
}

/// All clinics.
#[utoipa::path(get, path = "/clinics", tag = "administration", operation_id = "clinics", responses(
    (status = 200, description = "The clinics", body = Vec<Clinic>),
    (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn clinics(
    State(state): State<Viewer>,
    caller: Caller<Administers>,
) -> Result<Json<Vec<Clinic>>, Problem> {
    let rows = state.desk.clinics(caller.reader()).await?;
    let clinic = |row: crate::desk::ClinicRow| Clinic {
        clinic: row.clinic.to_string(),
        name: row.name,
        online: row.online,
        heard_at_ms: row.heard_at.map(|at| at.0),
        clock_offset_ms: row.clock_offset_ms,
    };
    Ok(Json(rows.into_iter().map(clinic).collect()))
}

/// All accounts.
#[utoipa::path(get, path = "/accounts", tag = "administration", operation_id = "accounts", responses(
    (status = 200, description = "The accounts", body = Vec<Account>),
    (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn accounts(
    State(state): State<Viewer>,
    caller: Caller<Administers>,
) -> Result<Json<Vec<Account>>, Problem> {
    let rows = state.desk.accounts(caller.reader()).await?;
    let account = |row: crate::desk::AccountRow| Account {
        id: row.reader.id.to_string(),
        name: row.reader.name,
        roles: row.reader.roles,
        clinics: row.reader.clinics.iter().map(ToString::to_string).collect(),
        kinds: row.reader.kinds,
        totp: row.totp,
        failures: row.failures,
        locked_until_ms: row.locked_until.map(|at| at.0),
    };
    Ok(Json(rows.into_iter().map(account).collect()))
}

/// Clears failures and lock of an account.
#[utoipa::path(post, path = "/accounts/{login}/unlock", tag = "administration", operation_id = "unlock_account",
    params(("login" = String, Path, description = "Employee id")), responses(
    (status = 204, description = "Unlocked"),
    (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn unlock(
    State(state): State<Viewer>,
    caller: Caller<Administers>,
    At(login): At<String>,
) -> Result<StatusCode, Problem> {
    let login =
        PersonId::parse(&login).map_err(|_| Problem::new(Code::NotFound, "login", "no such account"))?;
    state.desk.unlock_account(caller.reader(), &login, state.clock.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

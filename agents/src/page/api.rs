//! Routes of the local API.

use super::{Caller, LinkView, Page, upload};
use crate::inbox::ActError;
use crate::spool::{Mark, PinError, SpoolError};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use base64::Engine as _;
use relay_core::codes::{Code, Refusal};
use relay_core::ids::StudyUid;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) type Shared = State<Arc<Page>>;
pub(super) type Answer<T = Json<Value>> = Result<T, Problem>;

/// An error as `application/problem+json` (RFC 9457) with code, field, reason and both languages.
#[derive(Debug)]
pub(super) struct Problem {
    refusal: Refusal,
    zh: String,
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let zh = refusal.code.zh().to_owned();
        Self { refusal, zh }
    }
}

impl From<SpoolError> for Problem {
    fn from(error: SpoolError) -> Self {
        error.refusal().into()
    }
}

impl From<PinError> for Problem {
    fn from(error: PinError) -> Self {
        let zh = error.zh();
        let code = match error {
            PinError::Wrong => Code::Unauthenticated,
            PinError::Locked(_) => Code::AccountLocked,
            PinError::Busy => Code::Busy,
            PinError::Form { .. } => Code::FieldInvalid,
            PinError::Spool(error) => return error.into(),
        };
        Self { refusal: Refusal::new(code, "pin", error.to_string()), zh }
    }
}

impl From<ActError> for Problem {
    fn from(error: ActError) -> Self {
        let (zh, reason) = (error.zh(), error.to_string());
        let (code, field) = match error {
            ActError::Pin(error) => return error.into(),
            ActError::Spool(error) => return error.into(),
            ActError::NotFound { what, .. } => (Code::NotFound, what.to_owned()),
            ActError::Invalid { invalid, .. } => (Code::ReportInvalid, invalid.refusal().field),
            ActError::Changed { .. } | ActError::Missing { .. } => {
                (Code::ReportInvalid, "package".to_owned())
            }
            ActError::State(_) => (Code::StateConflict, String::new()),
            ActError::Text => (Code::FieldInvalid, "text".to_owned()),
            ActError::Note(_) => (Code::Internal, "note".to_owned()),
        };
        Self { refusal: Refusal::new(code, field, reason), zh }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.refusal.code.http_status())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = json!({
            "type": "about:blank", "status": status.as_u16(), "title": self.refusal.code.en(), "zh": self.zh,
            "code": self.refusal.code.name(), "field": self.refusal.field, "reason": self.refusal.reason,
        });
        (status, [("content-type", "application/problem+json")], body.to_string()).into_response()
    }
}

pub(super) fn routes() -> Router<Arc<Page>> {
    Router::new()
        .route("/overview", get(overview))
        .route("/doctor", get(doctor))
        .route("/link", get(link))
        .route("/studies", get(studies))
        .route("/studies/{uid}", get(study))
        .route("/reports", get(reports))
        .route("/studies/{uid}/mark", post(mark))
        .route("/reports/{id}/open", post(open_report))
        .route("/criticals", get(criticals))
        .route("/criticals/{id}/read-back", post(read_back))
        .route("/criticals/{id}/action", post(action))
        .route("/retakes/{id}/seen", post(retake_seen))
        .route("/staff", post(add_staff))
        // Its own limit is that of an object, held while the bytes come.
        .merge(Router::new().route("/objects", post(upload::upload)).layer(DefaultBodyLimit::disable()))
}

async fn overview(State(page): Shared) -> Answer<Response> {
    Ok(Json(page.overview().await?).into_response())
}

async fn link(State(page): Shared) -> Json<LinkView> {
    Json(LinkView::of(&page.link.borrow()))
}

async fn doctor(State(page): Shared) -> Answer<Response> {
    let link = page.link.borrow().clone();
    page.inbox.reports(0).await?;
    Ok(Json(page.doctor.examine(page.spool(), &link).await).into_response())
}

/// Which page of a long list, from 0.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct PageNumber {
    #[serde(default)]
    page: u64,
}

async fn studies(State(page): Shared, Query(which): Query<PageNumber>) -> Answer<Response> {
    let mut listed = page.inbox.studies(which.page).await?;
    if !LinkView::of(&page.link.borrow()).up {
        listed.studies.iter_mut().for_each(crate::spool::StudyView::without_a_line);
    }
    Ok(Json(listed).into_response())
}

async fn reports(State(page): Shared, Query(which): Query<PageNumber>) -> Answer<Response> {
    Ok(Json(page.inbox.reports(which.page).await?).into_response())
}

fn uid(text: &str) -> Result<StudyUid, Refusal> {
    StudyUid::parse(text).map_err(|e| Refusal::new(Code::RefusedUid, "study", e.to_string()))
}

async fn study(State(page): Shared, Path(study): Path<String>) -> Answer<Response> {
    Ok(Json(page.inbox.study(&uid(&study)?).await?).into_response())
}

async fn mark(State(page): Shared, Path(study): Path<String>, Json(mark): Json<Mark>) -> Answer<Response> {
    mark.check().map_err(|reason| Refusal::new(Code::FieldInvalid, "context", reason))?;
    Ok(Json(page.spool().mark(&uid(&study)?, &mark).await?).into_response())
}

/// A named person with a PIN, and what the person writes.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Act {
    person: String,
    pin: String,
    #[serde(default)]
    text: String,
}

async fn open_report(State(page): Shared, Path(id): Path<String>, Json(act): Json<Act>) -> Answer {
    let opened = page.inbox.open_report(&id, &act.person, &act.pin).await?;
    Ok(Json(json!({
        "report": opened.row, "sentence_zh": opened.sentence_zh, "sentence_en": opened.sentence_en,
        "pdf_base64": base64::engine::general_purpose::STANDARD.encode(opened.pdf),
    })))
}

async fn criticals(State(page): Shared) -> Answer<Response> {
    Ok(Json(page.spool().criticals(true).await?).into_response())
}

async fn read_back(State(page): Shared, Path(id): Path<String>, Json(act): Json<Act>) -> Answer {
    page.inbox.read_back(&id, &act.person, &act.pin, &act.text).await?;
    Ok(Json(json!({ "done": true })))
}

async fn action(State(page): Shared, Path(id): Path<String>, Json(act): Json<Act>) -> Answer {
    page.inbox.record_action(&id, &act.person, &act.pin, &act.text).await?;
    Ok(Json(json!({ "done": true })))
}

async fn retake_seen(State(page): Shared, Path(id): Path<String>, Json(act): Json<Act>) -> Answer {
    page.inbox.retake_seen(&id, &act.person, &act.pin).await?;
    Ok(Json(json!({ "done": true })))
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct NewStaff {
    name: String,
    pin: String,
    /// 16 random bytes, hexadecimal.
    salt: String,
}

/// Enrols a person: only from a command on this machine, whose account owns the home.
async fn add_staff(
    State(page): Shared,
    Extension(caller): Extension<Caller>,
    Json(new): Json<NewStaff>,
) -> Answer {
    if caller != Caller::Local {
        return Err(
            Refusal::new(Code::Forbidden, "", "staff is enrolled by command on the agent's machine").into()
        );
    }
    let mut salt = [0; 16];
    hex::decode_to_slice(&new.salt, &mut salt)
        .map_err(|e| Refusal::new(Code::FieldInvalid, "salt", e.to_string()))?;
    page.spool().add_staff(&new.name, &new.pin, salt).await?;
    Ok(Json(json!({ "done": true })))
}

//! Draft, signatures, critical notice, retake, identity correction, and the parts of a signed package.

use crate::api::Bytes;
use crate::api::report::{
    Audit, Draft, DraftAnswer, IdentityCorrection, RaiseCritical, RetakeRequest, SaveDraft, Sign, Signed,
    check_words,
};
use crate::auth::policy::{Audits, Caller, Reads, Views};
use crate::desk;
use crate::extract::{At, Body, check_text};
use crate::limits::MAX_SHORT_CHARS;
use crate::problem::{Problem, ProblemBody};
use crate::state::Viewer;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use relay_core::codes::Code;
use relay_core::ids::ReportId;
use relay_core::report::ReportPackage;

/// The draft of a work item.
#[utoipa::path(get, path = "/worklist/{item}/draft", tag = "report", operation_id = "draft",
    params(("item" = i64, Path, description = "Work item id")), responses(
    (status = 200, description = "The draft, if any", body = DraftAnswer),
    (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn draft(
    State(state): State<Viewer>,
    caller: Caller<Reads>,
    At(item): At<i64>,
) -> Result<Json<DraftAnswer>, Problem> {
    let draft = state.desk.draft(caller.reader(), item).await?;
    Ok(Json(DraftAnswer { draft: draft.map(Draft::from) }))
}

/// Saves the draft under the caller's lease.
#[utoipa::path(put, path = "/worklist/{item}/draft", tag = "report", operation_id = "save_draft",
    params(("item" = i64, Path, description = "Work item id")), request_body = SaveDraft, responses(
    (status = 200, description = "As saved", body = Draft),
    (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn save_draft(
    State(state): State<Viewer>,
    caller: Caller<Reads>,
    At(item): At<i64>,
    Body(save): Body<SaveDraft>,
) -> Result<Json<Draft>, Problem> {
    check_words(&save.text)?;
    let now = state.clock.now();
    let saved =
        state.desk.save_draft(caller.reader(), item, save.epoch, save.replaces, &save.text, now).await?;
    Ok(Json(saved.into()))
}

/// Signs as author exactly the words of one draft revision.
#[utoipa::path(post, path = "/worklist/{item}/sign", tag = "report", operation_id = "sign",
    params(("item" = i64, Path, description = "Work item id")), request_body = Sign, responses(
    (status = 200, description = "Signed", body = Signed),
    (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn sign(
    State(state): State<Viewer>,
    caller: Caller<Reads>,
    At(item): At<i64>,
    Body(sign): Body<Sign>,
) -> Result<Json<Signed>, Problem> {
    let signed = state.desk.sign(caller.reader(), item, sign.into_request()?, state.clock.now()).await?;
    Ok(Json(signed.into()))
}

/// 审核: signs as second person.
#[utoipa::path(post, path = "/worklist/{item}/audit", tag = "report", operation_id = "audit",
    params(("item" = i64, Path, description = "Work item id")), request_body = Audit, responses(
    (status = 200, description = "Audited", body = Signed),
    (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn audit(
    State(state): State<Viewer>,
    caller: Caller<Audits>,
    At(item): At<i64>,
    Body(audit): Body<Audit>,
) -> Result<Json<Signed>, Problem> {
    if let Some(changed) = &audit.changed {
        check_words(changed)?;
    }
    let request = audit.sign.into_request()?;
    let signed = state.desk.audit(caller.reader(), item, request, audit.changed, state.clock.now()).await?;
    Ok(Json(signed.into()))
}

/// Raises a critical notice (危急值).
#[utoipa::path(post, path = "/worklist/{item}/critical", tag = "report", operation_id = "raise_critical",
    params(("item" = i64, Path, description = "Work item id")), request_body = RaiseCritical, responses(
    (status = 204, description = "Raised"),
    (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn critical(
    State(state): State<Viewer>,
    caller: Caller<Reads>,
    At(item): At<i64>,
    Body(raise): Body<RaiseCritical>,
) -> Result<StatusCode, Problem> {
    check_text("code", &raise.code, MAX_SHORT_CHARS, true)?;
    check_text("finding", &raise.finding, MAX_SHORT_CHARS, true)?;
    check_text("advice", raise.advice.as_deref().unwrap_or_default(), MAX_SHORT_CHARS, false)?;
    let raise = desk::RaiseCritical { code: raise.code, finding: raise.finding, advice: raise.advice };
    state.desk.raise_critical(caller.reader(), item, raise, state.clock.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// 退回: back to the clinic with a reason.
#[utoipa::path(post, path = "/worklist/{item}/retake", tag = "report", operation_id = "request_retake",
    params(("item" = i64, Path, description = "Work item id")), request_body = RetakeRequest, responses(
    (status = 204, description = "Sent back"),
    (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn retake(
    State(state): State<Viewer>,
    caller: Caller<Reads>,
    At(item): At<i64>,
    Body(wish): Body<RetakeRequest>,
) -> Result<StatusCode, Problem> {
    check_text("reason", &wish.reason, MAX_SHORT_CHARS, true)?;
    check_text("text", &wish.text, MAX_SHORT_CHARS, false)?;
    let now = state.clock.now();
    state.desk.request_retake(caller.reader(), item, wish.epoch, &wish.reason, &wish.text, now).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Corrects the patient's identity; original bytes stay.
#[utoipa::path(post, path = "/worklist/{item}/identity", tag = "report", operation_id = "correct_identity",
    params(("item" = i64, Path, description = "Work item id")), request_body = IdentityCorrection, responses(
    (status = 204, description = "Corrected"),
    (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn identity(
    State(state): State<Viewer>,
    caller: Caller<Reads>,
    At(item): At<i64>,
    Body(correction): Body<IdentityCorrection>,
) -> Result<StatusCode, Problem> {
    check_text("reason", &correction.reason, MAX_SHORT_CHARS, true)?;
    let patient = desk::PatientFacts::from(correction.patient);
    check_patient(&patient)?;
    state
        .desk
        .correct_identity(caller.reader(), item, patient, &correction.reason, state.clock.now())
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn check_patient(patient: &desk::PatientFacts) -> Result<(), Problem> {
    check_text("patient.name", &patient.name, MAX_SHORT_CHARS, true)?;
    check_text("patient.local_id", &patient.local_id, MAX_SHORT_CHARS, false)?;
    check_text("patient.national_id", &patient.national_id, MAX_SHORT_CHARS, false)?;
    check_text("patient.age", &patient.age, MAX_SHORT_CHARS, false)?;
    if !["", "M", "F", "O"].contains(&patient.sex.as_str()) {
        return Err(Problem::new(Code::FieldInvalid, "patient.sex", "is none of M, F, O"));
    }
    let birth = &patient.birth_date;
    if !birth.is_empty() && (birth.len() != 8 || !birth.bytes().all(|b| b.is_ascii_digit())) {
        return Err(Problem::new(Code::FieldInvalid, "patient.birth_date", "is not YYYYMMDD"));
    }
    Ok(())
}

/// One part of a signed report version, byte for byte.
#[utoipa::path(get, path = "/reports/{report}/versions/{version}/{part}", tag = "report", operation_id = "report_part",
    params(("report" = String, Path, description = "Report id"), ("version" = u32, Path, description = "Version"),
        ("part" = String, Path, description = "report.pdf, report.json, manifest.json, author.p7s, review.json, reviewer.p7s, or package")),
    responses(
    (status = 200, description = "The part", content_type = "application/octet-stream", body = Bytes),
    (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn part(
    State(state): State<Viewer>,
    caller: Caller<Views>,
    At((report, version, part)): At<(String, u32, String)>,
) -> Result<Response, Problem> {
    let report =
        ReportId::parse(&report).map_err(|_| Problem::new(Code::NotFound, "report", "no such report"))?;
    let package = state.desk.report_package(caller.reader(), &report, version).await?;
    let (media_type, bytes) = part_of(package, &part)?;
    let name = format!("inline; filename=\"{report}-v{version}-{part}\"");
    Ok(([(header::CONTENT_TYPE, media_type), (header::CONTENT_DISPOSITION, name.as_str())], bytes)
        .into_response())
}

fn part_of(package: Vec<u8>, part: &str) -> Result<(&'static str, Vec<u8>), Problem> {
    if part == "package" {
        return Ok(("application/octet-stream", package));
    }
    let parts = ReportPackage::decode(&package)
        .map_err(|error| Problem::new(Code::Internal, "report package", error.to_string()))?;
    let found = match part {
        "report.pdf" => Some(("application/pdf", parts.pdf)),
        "report.json" => Some(("application/fhir+json", parts.json)),
        "manifest.json" => Some(("application/json", parts.manifest)),
        "author.p7s" => Some(("application/pkcs7-signature", parts.author_cms)),
        "review.json" => parts.review.map(|(review, _)| ("application/json", review)),
        "reviewer.p7s" => parts.review.map(|(_, cms)| ("application/pkcs7-signature", cms)),
        _ => None,
    };
    found.ok_or_else(|| Problem::new(Code::NotFound, "part", "the report has no such part"))
}

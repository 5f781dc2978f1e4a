//! The author signs his draft: read → check → compose → canonical bytes → print → sign → verify → keep the bytes → one
//! transaction (version, state, letter, event). A step that fails leaves the draft as it was.

use super::bytes::off_thread;
use super::content::{StudyFacts, Wanted, unfinished};
use super::draft::load_draft;
use super::patient::Told as PatientTold;
use super::press::{Press, Pressed, check_seen, next_version, report_id, sign_error};
use super::release::release;
use crate::queue::StoredItem;
use crate::store::{Scope, Store};
use relay_certs::signing::{Signer, sign_report};
use relay_core::clock::UtcMs;
use relay_core::codes::{Code, Refusal};
use relay_core::durable::BlobStore;
use relay_core::report::{PURPOSE_REPORT, ReportKind, ReportPackage, SignedManifest};
use relay_core::work_item::WorkItem;
use sqlx::SqliteConnection;
use viewer_api::desk::{DraftText, Reader, SignRequest, Signed};

/// The words that the request names, and no others.
pub(super) async fn draft_text(
    tx: &mut SqliteConnection,
    item: i64,
    request: &SignRequest,
) -> Result<DraftText, Refusal> {
    let draft = load_draft(tx, item).await?;
    let draft =
        draft.ok_or_else(|| Refusal::new(Code::StateConflict, "draft", "there is no draft to sign"))?;
    if draft.revision != request.draft_revision {
        let reason = format!("the draft is at revision {}, not {}", draft.revision, request.draft_revision);
        return Err(Refusal::new(Code::StateConflict, "draft_revision", reason));
    }
    Ok(draft.text)
}

/// What a first or corrected version is when its author signs: final where policy asks for one signature.
fn author_kind(wanted: ReportKind, required: u8) -> ReportKind {
    if required > 1 || wanted == ReportKind::Preliminary { ReportKind::Preliminary } else { wanted }
}

/// What it is in the end. What follows preliminary versions only is the first final one, whatever it changes.
fn becomes(wanted: ReportKind, facts: &StudyFacts) -> ReportKind {
    if facts.versions.iter().all(|v| v.kind == ReportKind::Preliminary) {
        return ReportKind::Final;
    }
    match wanted {
        ReportKind::Preliminary | ReportKind::Final => ReportKind::Final,
        ReportKind::Addendum => ReportKind::Addendum,
        ReportKind::Correction => ReportKind::Correction,
    }
}

fn required_reason(request: &SignRequest) -> Result<Option<String>, Refusal> {
    let reason = request.reason.as_deref().map(str::trim).filter(|r| !r.is_empty()).map(str::to_owned);
    let needed = matches!(request.kind, ReportKind::Correction | ReportKind::Addendum);
    if needed && reason.is_none() {
        return Err(Refusal::new(Code::FieldInvalid, "reason", "a correction or addendum needs a reason"));
    }
    Ok(if needed { reason } else { None })
}

/// Signs the draft as its author.
///
/// # Errors
/// `LEASE_LOST`, `STATE_CONFLICT`, `FIELD_INVALID`, `PIN_WRONG`, `ACCOUNT_LOCKED`, storage refusals. The draft stays.
pub async fn sign(
    store: &Store,
    press: &Press,
    scope: Scope,
    reader: &Reader,
    item: i64,
    request: SignRequest,
    now: UtcMs,
) -> Result<Signed, Refusal> {
    let reason = required_reason(&request)?;
    let mut read = store.read().await?;
    let facts = StudyFacts::load(&mut read, &scope, item).await?;
    let required = press.policy.signatures(facts.row.kind);
    transition(&facts.stored, reader, &request, required, now)?;
    check_seen(&facts, &request)?;
    let text = draft_text(&mut read, item, &request).await?;
    let told = PatientTold::load(&mut read, facts.stored.study_id).await?;
    drop(read);
    let signer = press.signers.open(store, &reader.id, &request.pin, now).await?;
    let becomes = becomes(request.kind, &facts);
    let kind = if request.kind == ReportKind::Preliminary { request.kind } else { becomes };
    let job = AuthorJob {
        press: press.clone(),
        blobs: store.blobs().clone(),
        facts,
        told,
        reader: reader.clone(),
        text,
        kind: author_kind(kind, required),
        becomes,
        reason,
        required,
        now,
    };
    let pressed = off_thread(move || job.run(signer.as_ref())).await?;
    release(store, press, scope, item, pressed, request, reader.clone(), now).await
}

/// The transition that signing makes; also refuses early, before the PIN is used.
pub(super) fn transition(
    stored: &StoredItem,
    reader: &Reader,
    request: &SignRequest,
    required: u8,
    now: UtcMs,
) -> Result<WorkItem, Refusal> {
    let needs_audit = author_kind(request.kind, required) == ReportKind::Preliminary;
    let item = stored.item.clone();
    match request.kind {
        ReportKind::Correction | ReportKind::Addendum => {
            item.sign_again(&reader.id, request.epoch, needs_audit, now)
        }
        ReportKind::Preliminary | ReportKind::Final => item.sign(&reader.id, request.epoch, needs_audit, now),
    }
}

struct AuthorJob {
    press: Press,
    blobs: BlobStore,
    facts: StudyFacts,
    told: PatientTold,
    reader: Reader,
    text: DraftText,
    kind: ReportKind,
    becomes: ReportKind,
    reason: Option<String>,
    required: u8,
    now: UtcMs,
}

impl AuthorJob {
    fn run(self, signer: &dyn Signer) -> Result<Pressed, Refusal> {
        self.told.require(&self.blobs)?;
        let (version, previous) = next_version(&self.facts);
        let id = report_id(&self.press.site, &self.facts)?;
        let wanted = Wanted {
            text: &self.text,
            kind: self.kind,
            becomes: self.becomes,
            report_id: id.to_string(),
            version,
            reason: self.reason.clone(),
            author: (self.reader.name.clone(), self.reader.id.to_string(), self.now),
            reviewer: None,
            single_reader: self.required == 1 && self.kind != ReportKind::Preliminary,
            demo: signer.is_demo(),
            remarks: unfinished(&self.facts),
        };
        let printed = self.press.print(&self.facts, &wanted, &self.blobs)?;
        let manifest = SignedManifest {
            purpose: PURPOSE_REPORT.to_owned(),
            report_id: id,
            version,
            paper_version: self.facts.paper_version(self.kind),
            previous,
            kind: self.kind,
            clinic: self.facts.stored.clinic.clone(),
            study_uid: self.facts.stored.study_uid.clone(),
            study_revision: self.facts.revision,
            json_sha256: printed.json_sha256,
            pdf_sha256: printed.pdf_sha256,
            author: self.reader.id.clone(),
            required_signatures: self.required,
            demo_signature: signer.is_demo(),
            signed_at: self.now,
        };
        let sealed = sign_report(signer, &manifest).map_err(sign_error)?;
        let package = ReportPackage {
            manifest: sealed.bytes,
            json: printed.json,
            pdf: printed.pdf,
            author_cms: sealed.cms,
            review: None,
            revocations: None,
        };
        Ok(Pressed {
            bytes: self.press.prove(package, &self.facts.stored.clinic, self.now)?,
            demo: signer.is_demo(),
            kind: self.kind,
            becomes: self.becomes,
            version,
            previous,
            signed_at: self.now,
            text: self.text,
            required: self.required,
            reason: self.reason,
            revision: self.facts.revision,
            objects: self.facts.row.objects,
            author: (self.reader.id, self.reader.name),
            reviewer: None,
            author_signed_at: self.now,
        })
    }
}

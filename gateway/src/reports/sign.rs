//! Signing as a fixed pipeline: read → check → compose → canonical bytes → print → sign → verify → keep the bytes →
//! one transaction (version, state, letter, event). A step that fails leaves the draft as it was.

use super::content::{Site, StudyFacts, Wanted, content};
use super::critical::{blocking, letter_id};
use super::draft::{check_text, load_draft};
use super::letter::{NewLetter, post};
use super::signer::{CountyTrust, SignerVault};
use super::text::put_text;
use crate::queue::{self, StoredItem};
use crate::sla::{self, kinds};
use crate::store::{NewEvent, Scope, Store, StoreError, event, signed};
use relay_certs::signing::{Signed as Sealed, Signer, sign_report, sign_review, verify_report};
use relay_core::clock::UtcMs;
use relay_core::codes::{Code, Refusal};
use relay_core::ids::{ClinicId, ObjectHash, PersonId, ReportId, Sha256};
use relay_core::letter::LetterKind;
use relay_core::report::{
    PURPOSE_REPORT, PURPOSE_REVIEW, ReportKind, ReportPackage, ReviewManifest, SignedManifest,
};
use relay_core::sla::SlaPolicy;
use relay_core::study::StudyRevision;
use relay_core::work_item::State;
use relay_report::{Fonts, ReportContent};
use sqlx::SqliteConnection;
use std::sync::Arc;
use viewer_api::desk::{DraftText, Reader, SignRequest, Signed};

/// What signing needs besides the store.
#[derive(Clone)]
pub struct Press {
    /// The hospital.
    pub site: Site,
    /// Fonts for paper.
    pub fonts: Arc<Fonts>,
    /// Where signers come from.
    pub vault: Arc<dyn SignerVault>,
    /// Policy.
    pub policy: Arc<SlaPolicy>,
    /// Whose signatures count.
    pub trust: CountyTrust,
}

impl std::fmt::Debug for Press {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Press").field("site", &self.site).finish_non_exhaustive()
    }
}

impl Press {
    /// Puts the newest revocation list into the package and verifies it as the clinic will: what does not verify here
    /// never leaves. A doctor whose certificate was revoked or has expired is refused at this point.
    fn prove(&self, package: ReportPackage, clinic: &ClinicId, now: UtcMs) -> Result<ReportPackage, Refusal> {
        let (trust, list) = self.trust.now()?;
        let package = ReportPackage { revocations: Some(list), ..package };
        verify_report(&package, &trust, clinic, now).map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "a fresh signature does not verify");
            Refusal::new(error.code(), error.part().file(), error.to_string())
        })?;
        Ok(package)
    }
}

/// A version that is sealed but not yet released.
struct Pressed {
    package: ObjectHash,
    length: u64,
    demo: bool,
    kind: ReportKind,
    version: u32,
    previous: Option<u32>,
    signed_at: UtcMs,
    text: DraftText,
    required: u8,
    reason: Option<String>,
    revision: StudyRevision,
    objects: (u32, u32),
    /// Author's id and name; reviewer's id and name.
    author: (PersonId, String),
    reviewer: Option<(PersonId, String)>,
    author_signed_at: UtcMs,
}

/// Unique over restores too: a restored store counts its rows again from the backup's, but is another incarnation.
fn report_id(site: &Site, facts: &StudyFacts) -> Result<ReportId, Refusal> {
    ReportId::parse(&format!("{}-{}r{}", site.id, facts.incarnation, facts.stored.study_id))
        .map_err(|e| Refusal::new(Code::Internal, "report id", e.to_string()))
}

/// Refuses words or images that changed under the signer.
fn check_seen(facts: &StudyFacts, request: &SignRequest) -> Result<(), Refusal> {
    if facts.revision != request.study_revision {
        let reason = "images have arrived or changed since the study was opened; look at them first";
        return Err(Refusal::new(Code::StateConflict, "study_revision", reason));
    }
    Ok(())
}

async fn draft_text(
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

/// What a first or corrected version becomes when its author signs: final where policy asks for one signature.
fn author_kind(wanted: ReportKind, required: u8) -> ReportKind {
    if required > 1 || wanted == ReportKind::Preliminary { ReportKind::Preliminary } else { wanted }
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
/// `LEASE_LOST`, `STATE_CONFLICT`, `FIELD_INVALID`, `PIN_WRONG`, storage refusals. The draft stays.
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
    let next = transition(&facts.stored, reader, &request, required, now)?;
    check_seen(&facts, &request)?;
    let text = draft_text(&mut read, item, &request).await?;
    drop(read);
    let kind = author_kind(request.kind, required);
    let job = AuthorJob {
        press: press.clone(),
        facts: facts.clone(),
        reader: reader.clone(),
        text,
        kind,
        reason,
        required,
        now,
    };
    let (pin, blobs) = (request.pin.clone(), store.blobs().clone());
    let (pressed, bytes) = off_thread(move || job.run(&pin)).await?;
    let pressed = Pressed { package: blocking(move || blobs.put(&bytes)).await?, ..pressed };
    debug_assert_eq!(next.state, State::Signed);
    release_version(store, press, scope, item, pressed, request, reader.clone(), now).await
}

/// The transition that signing makes; also refuses early, before the PIN is used.
fn transition(
    stored: &StoredItem,
    reader: &Reader,
    request: &SignRequest,
    required: u8,
    now: UtcMs,
) -> Result<relay_core::work_item::WorkItem, Refusal> {
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
    facts: StudyFacts,
    reader: Reader,
    text: DraftText,
    kind: ReportKind,
    reason: Option<String>,
    required: u8,
    now: UtcMs,
}

fn next_version(facts: &StudyFacts) -> (u32, Option<u32>) {
    let previous = facts.versions.last().map(|v| v.version);
    (previous.unwrap_or(0) + 1, previous)
}

impl AuthorJob {
    fn run(self, pin: &str) -> Result<(Pressed, Vec<u8>), Refusal> {
        let signer = self.press.vault.open(&self.reader.id, pin)?;
        let (version, previous) = next_version(&self.facts);
        let id = report_id(&self.press.site, &self.facts)?;
        let wanted = Wanted {
            text: &self.text,
            kind: self.kind,
            report_id: id.to_string(),
            version,
            reason: self.reason.clone(),
            author: (self.reader.name.clone(), self.reader.id.to_string(), self.now),
            reviewer: None,
            single_reader: self.required == 1 && self.kind != ReportKind::Preliminary,
            demo: signer.is_demo(),
        };
        let content = content(&self.press.site, &self.facts, &wanted)?;
        let (json, pdf) = print(&content, &self.press.fonts)?;
        let manifest = SignedManifest {
            purpose: PURPOSE_REPORT.to_owned(),
            report_id: id,
            version,
            previous,
            kind: self.kind,
            clinic: self.facts.stored.clinic.clone(),
            study_uid: self.facts.stored.study_uid.clone(),
            study_revision: self.facts.revision,
            json_sha256: Sha256::of(&json),
            pdf_sha256: Sha256::of(&pdf),
            author: self.reader.id.clone(),
            required_signatures: self.required,
            demo_signature: signer.is_demo(),
            signed_at: self.now,
        };
        let sealed = sign_report(signer.as_ref(), &manifest).map_err(sign_error)?;
        let package = ReportPackage {
            manifest: sealed.bytes,
            json,
            pdf,
            author_cms: sealed.cms,
            review: None,
            revocations: None,
        };
        let package = self.press.prove(package, &self.facts.stored.clinic, self.now)?;
        let bytes =
            package.encode().map_err(|e| Refusal::new(Code::RefusedTooLarge, "report", e.to_string()))?;
        let pressed = Pressed {
            package: ObjectHash::of(&bytes),
            length: bytes.len() as u64,
            demo: signer.is_demo(),
            kind: self.kind,
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
        };
        Ok((pressed, bytes))
    }
}

fn sign_error(error: relay_certs::signing::SignError) -> Refusal {
    tracing::warn!(error = &error as &dyn std::error::Error, "not signed");
    Refusal::new(Code::Forbidden, "signer", error.to_string())
}

fn print(content: &ReportContent, fonts: &Fonts) -> Result<(Vec<u8>, Vec<u8>), Refusal> {
    let invalid = |e: &dyn std::fmt::Display| Refusal::new(Code::FieldInvalid, "report", e.to_string());
    let json = relay_report::canonical_json(content).map_err(|e| invalid(&e))?;
    let pdf = relay_report::render_pdf(content, fonts).map_err(|e| invalid(&e))?;
    Ok((json, pdf.bytes))
}

/// Audits the newest signed version as the second person, possibly with changed words.
///
/// # Errors
/// `REVIEWER_IS_AUTHOR`, `LEASE_LOST`, `STATE_CONFLICT`, `FIELD_INVALID`, `PIN_WRONG`; storage refusals.
#[expect(clippy::too_many_arguments, reason = "each is a fact of one audit")]
pub async fn audit(
    store: &Store,
    press: &Press,
    scope: Scope,
    reader: &Reader,
    item: i64,
    request: SignRequest,
    changed: Option<DraftText>,
    now: UtcMs,
) -> Result<Signed, Refusal> {
    if let Some(text) = &changed {
        check_text(text)?;
    }
    let mut read = store.read().await?;
    let facts = StudyFacts::load(&mut read, &scope, item).await?;
    facts.stored.item.clone().audit(&reader.id, request.epoch, now)?;
    check_seen(&facts, &request)?;
    let author = author_version(&mut read, &facts).await?;
    drop(read);
    let blobs = store.blobs().clone();
    let hash = author.package;
    let bytes = blocking(move || {
        let mut file = blobs.open_blob(&hash)?;
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut file, &mut bytes).map_err(|source| {
            relay_core::durable::BlobError::Disk { step: "read", path: blobs.path_of(&hash), source }
        })?;
        Ok(bytes)
    })
    .await?;
    let package = ReportPackage::decode(&bytes)
        .map_err(|e| Refusal::new(Code::ReportInvalid, "package", e.to_string()))?;
    let job =
        ReviewJob { press: press.clone(), facts, reader: reader.clone(), author, package, changed, now };
    let (pin, blobs) = (request.pin.clone(), store.blobs().clone());
    let (pressed, bytes) = off_thread(move || job.run(&pin)).await?;
    let pressed = Pressed { package: blocking(move || blobs.put(&bytes)).await?, ..pressed };
    release_version(store, press, scope, item, pressed, request, reader.clone(), now).await
}

/// The version under audit, as its row says.
struct AuthorVersion {
    package: ObjectHash,
    version: u32,
    text: DraftText,
    name: String,
    id: PersonId,
    signed_at: UtcMs,
    reason: Option<String>,
}

async fn author_version(tx: &mut SqliteConnection, facts: &StudyFacts) -> Result<AuthorVersion, Refusal> {
    let nothing = || Refusal::new(Code::StateConflict, "report", "there is no signed version to audit");
    let last = facts.versions.last().ok_or_else(nothing)?;
    let reason: Option<String> =
        sqlx::query_scalar("SELECT reason FROM report_version WHERE report = $1 AND version = $2")
            .bind(last.report.as_str())
            .bind(i64::from(last.version))
            .fetch_one(&mut *tx)
            .await
            .map_err(StoreError::database("read a version's reason"))?;
    Ok(AuthorVersion {
        package: super::package_hash(tx, &Scope::County, &last.report, last.version).await?,
        version: last.version,
        text: last.text.clone(),
        name: last.author_name.clone(),
        id: last.author.clone(),
        signed_at: last.signed_at,
        reason,
    })
}

struct ReviewJob {
    press: Press,
    facts: StudyFacts,
    reader: Reader,
    author: AuthorVersion,
    package: ReportPackage,
    changed: Option<DraftText>,
    now: UtcMs,
}

impl ReviewJob {
    fn run(self, pin: &str) -> Result<(Pressed, Vec<u8>), Refusal> {
        let signer = self.press.vault.open(&self.reader.id, pin)?;
        let sealed_author =
            Sealed { bytes: self.package.manifest.clone(), cms: self.package.author_cms.clone() };
        let (version, _) = next_version(&self.facts);
        let id = report_id(&self.press.site, &self.facts)?;
        let kind = if self.author.reason.is_some() { ReportKind::Correction } else { ReportKind::Final };
        let words_changed = self.changed.as_ref().is_some_and(|text| *text != self.author.text);
        let text = self.changed.clone().unwrap_or_else(|| self.author.text.clone());
        let wanted = Wanted {
            text: &text,
            kind,
            report_id: id.to_string(),
            version,
            reason: self.author.reason.clone(),
            author: (self.author.name.clone(), self.author.id.to_string(), self.author.signed_at),
            reviewer: Some((self.reader.name.clone(), self.reader.id.to_string(), self.now)),
            single_reader: false,
            demo: signer.is_demo(),
        };
        let content = content(&self.press.site, &self.facts, &wanted)?;
        let (json, pdf) = print(&content, &self.press.fonts)?;
        let review = ReviewManifest {
            purpose: PURPOSE_REVIEW.to_owned(),
            report_id: id,
            version,
            previous: self.author.version,
            kind,
            clinic: self.facts.stored.clinic.clone(),
            study_uid: self.facts.stored.study_uid.clone(),
            study_revision: self.facts.revision,
            json_sha256: Sha256::of(&json),
            pdf_sha256: Sha256::of(&pdf),
            words_changed,
            manifest_sha256: Sha256::of(&sealed_author.bytes),
            author_cms_sha256: Sha256::of(&sealed_author.cms),
            reviewer: self.reader.id.clone(),
            demo_signature: signer.is_demo(),
            signed_at: self.now,
        };
        let sealed = seal_review(signer.as_ref(), &sealed_author, &review)?;
        let package = ReportPackage {
            manifest: sealed_author.bytes,
            json,
            pdf,
            author_cms: sealed_author.cms,
            review: Some((sealed.bytes, sealed.cms)),
            revocations: None,
        };
        let package = self.press.prove(package, &self.facts.stored.clinic, self.now)?;
        let bytes =
            package.encode().map_err(|e| Refusal::new(Code::RefusedTooLarge, "report", e.to_string()))?;
        let pressed = Pressed {
            package: ObjectHash::of(&bytes),
            length: bytes.len() as u64,
            demo: signer.is_demo(),
            kind,
            version,
            previous: Some(self.author.version),
            signed_at: self.now,
            text,
            required: 2,
            reason: self.author.reason,
            revision: self.facts.revision,
            objects: self.facts.row.objects,
            author: (self.author.id, self.author.name),
            reviewer: Some((self.reader.id, self.reader.name)),
            author_signed_at: self.author.signed_at,
        };
        Ok((pressed, bytes))
    }
}

fn seal_review(signer: &dyn Signer, author: &Sealed, review: &ReviewManifest) -> Result<Sealed, Refusal> {
    sign_review(signer, author, review).map_err(sign_error)
}

/// One transaction: transition, version, letter, event. Everything is checked again here.
#[expect(clippy::too_many_arguments, reason = "the last step of one pipeline")]
async fn release_version(
    store: &Store,
    press: &Press,
    scope: Scope,
    item: i64,
    pressed: Pressed,
    request: SignRequest,
    reader: Reader,
    now: UtcMs,
) -> Result<Signed, Refusal> {
    let (policy, site) = (Arc::clone(&press.policy), press.site.clone());
    let done = store
        .write(move |tx| {
            Box::pin(async move {
                let facts = StudyFacts::load(tx, &scope, item).await?;
                check_seen(&facts, &request)?;
                if facts.versions.last().map(|v| v.version) != pressed.previous {
                    let reason = "another version was signed meanwhile";
                    return Err(StoreError::refuse(Code::StateConflict, "report", reason));
                }
                let before = &facts.stored;
                let next = match &pressed.reviewer {
                    Some(_) => before.item.clone().audit(&reader.id, request.epoch, now)?,
                    None => {
                        draft_text(tx, item, &request).await?;
                        transition(before, &reader, &request, pressed.required, now)?
                    }
                };
                let stored = before.with(next);
                queue::save(tx, &stored, now).await?;
                let id = report_id(&site, &facts)?;
                insert_version(tx, &stored, &id, &pressed, now).await?;
                settle_attention(tx, &stored).await?;
                let (kind, state) = (pressed.kind, stored.item.state.word().to_owned());
                event::append(tx, released(&stored, &reader, &id, &pressed, now)).await?;
                sla::refresh(tx, &policy, stored.study_id).await?;
                Ok(Signed { report: id, version: pressed.version, kind, state })
            })
        })
        .await?;
    Ok(done)
}

fn released<'a>(
    stored: &'a StoredItem,
    reader: &'a Reader,
    id: &ReportId,
    pressed: &Pressed,
    now: UtcMs,
) -> NewEvent<'a> {
    NewEvent {
        at: now,
        actor: reader.id.as_str(),
        kind: if pressed.reviewer.is_some() { kinds::AUDITED } else { kinds::SIGNED },
        subject: format!("{id}/{}", pressed.version),
        clinic: Some(&stored.clinic),
        study_id: Some(stored.study_id),
        work_item: Some(stored.id),
        class: Some(stored.class()),
        body: serde_json::json!({
            "kind": pressed.kind.word(), "version": pressed.version, "revision": pressed.revision.0.to_hex(),
            "package": pressed.package.to_hex(), "demo": pressed.demo,
        }),
    }
}

/// A new version answers what the author was asked for; the draft has become it.
async fn settle_attention(tx: &mut SqliteConnection, stored: &StoredItem) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE work_item SET attention = NULL, attention_owner = NULL, attention_at = NULL WHERE id = $1",
    )
    .bind(stored.id)
    .execute(&mut *tx)
    .await
    .map_err(StoreError::database("settle what was asked for"))?;
    sqlx::query("DELETE FROM draft WHERE work_item = $1")
        .bind(stored.id)
        .execute(tx)
        .await
        .map_err(StoreError::database("close the draft"))?;
    Ok(())
}

async fn insert_version(
    tx: &mut SqliteConnection,
    stored: &StoredItem,
    id: &ReportId,
    pressed: &Pressed,
    now: UtcMs,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO report (id, study_id, purpose, created_at) VALUES ($1, $2, 'report', $3) ON CONFLICT DO NOTHING")
        .bind(id.as_str())
        .bind(stored.study_id)
        .bind(now.0)
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database("open a report"))?;
    let letter = letter_id(&format!("{id}-v{}", pressed.version))?;
    let new = NewLetter {
        id: letter.clone(),
        clinic: &stored.clinic,
        kind: LetterKind::Report,
        study_uid: &stored.study_uid,
        study_id: stored.study_id,
        body: pressed.package,
        length: pressed.length,
        urgent: stored.class().is_urgent(),
    };
    post(tx, new, now).await?;
    let text_id = put_text(tx, stored.study_id, "version", &pressed.text, now).await?;
    let audited_at = pressed.reviewer.is_some().then_some(pressed.signed_at.0);
    sqlx::query(
        "INSERT INTO report_version (report, version, previous, kind, package_hash, text_id, author, author_name,
           reviewer, reviewer_name, signed_at, audited_at, study_revision, objects_read, objects_announced,
           required_signatures, demo_signature, reason, letter, delivery)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, 'queued')",
    )
    .bind(id.as_str())
    .bind(i64::from(pressed.version))
    .bind(pressed.previous.map(i64::from))
    .bind(pressed.kind.word())
    .bind(&pressed.package.0[..])
    .bind(text_id)
    .bind(pressed.author.0.as_str())
    .bind(&pressed.author.1)
    .bind(pressed.reviewer.as_ref().map(|r| r.0.as_str()))
    .bind(pressed.reviewer.as_ref().map(|r| r.1.as_str()))
    .bind(pressed.author_signed_at.0)
    .bind(audited_at)
    .bind(&pressed.revision.0.0[..])
    .bind(signed(pressed.objects.0)?)
    .bind(signed(pressed.objects.1)?)
    .bind(i64::from(pressed.required))
    .bind(pressed.demo)
    .bind(&pressed.reason)
    .bind(letter.as_str())
    .execute(tx)
    .await
    .map_err(StoreError::database("store a signed version"))?;
    Ok(())
}

/// Signing and printing block (PIN derivation, fonts): off the async threads.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "signing task failed");
            Err(Refusal::new(Code::Internal, "", "the signing task failed; nothing was signed"))
        }
    }
}

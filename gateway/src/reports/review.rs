//! The second person signs. What he signs over is the author's package as it verifies now, and its words are those that
//! the author signed: not what a row says of them.

use super::bytes::{off_thread, read_package};
use super::content::{StudyFacts, Wanted, signed_words, unfinished};
use super::draft::check_text;
use super::patient::Told as PatientTold;
use super::press::{Press, Pressed, check_seen, next_version, report_id, sign_error};
use super::release::release;
use crate::store::{Columns, Scope, Store, StoreError};
use relay_certs::signing::{Signed as Sealed, Signer, sign_review};
use relay_core::clock::UtcMs;
use relay_core::codes::{Code, Refusal};
use relay_core::durable::BlobStore;
use relay_core::ids::{ObjectHash, PersonId, ReportId, Sha256};
use relay_core::report::{PURPOSE_REVIEW, ReportKind, ReportPackage, ReviewManifest};
use relay_core::study::StudyRevision;
use relay_report::ReportContent;
use sqlx::SqliteConnection;
use viewer_api::desk::{DraftText, Reader, SignRequest, Signed};

/// Audits the newest signed version as the second person, possibly with changed words.
///
/// # Errors
/// `REVIEWER_IS_AUTHOR`, `LEASE_LOST`, `STATE_CONFLICT`, `FIELD_INVALID`, `PIN_WRONG`, `ACCOUNT_LOCKED`; `REPORT_INVALID`
/// when the author's package does not verify or is not what its row says; storage refusals.
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
    let author = AuthorVersion::load(&mut read, &facts).await?;
    let told = PatientTold::load(&mut read, facts.stored.study_id).await?;
    drop(read);
    let whose = format!("{} v{}", author.report, author.version);
    let bytes = read_package(store, author.package, &whose).await?;
    let package = ReportPackage::decode(&bytes).map_err(|e| differs("package", &e.to_string()))?;
    let (press_, facts_) = (press.clone(), facts.clone());
    let (author, package) = off_thread(move || {
        let author = author.proven(&press_, &facts_, &package, now)?;
        Ok((author, package))
    })
    .await?;
    let signer = press.signers.open(store, &reader.id, &request.pin, now).await?;
    let job = ReviewJob {
        press: press.clone(),
        blobs: store.blobs().clone(),
        facts,
        told,
        reader: reader.clone(),
        author,
        package,
        changed,
        now,
    };
    let pressed = off_thread(move || job.run(signer.as_ref())).await?;
    release(store, press, scope, item, pressed, request, reader.clone(), now).await
}

fn differs(field: &str, reason: &str) -> Refusal {
    tracing::error!(field, reason, "the author's version is not what was signed");
    Refusal::new(Code::ReportInvalid, field, format!("{reason}; nothing was signed"))
}

/// The version under audit: first as its row says, then as signed.
struct AuthorVersion {
    report: ReportId,
    package: ObjectHash,
    version: u32,
    text: DraftText,
    name: String,
    id: PersonId,
    signed_at: UtcMs,
    reason: Option<String>,
    becomes: ReportKind,
    /// The revision its author read, and how many objects that was; known once it is proven.
    read: Option<(StudyRevision, u32)>,
}

impl AuthorVersion {
    async fn load(tx: &mut SqliteConnection, facts: &StudyFacts) -> Result<Self, Refusal> {
        let nothing = || Refusal::new(Code::StateConflict, "report", "there is no signed version to audit");
        let last = facts.versions.last().ok_or_else(nothing)?;
        if last.voided.is_some() {
            let reason = "the author's version was withdrawn (作废); a correction is to be signed instead";
            return Err(Refusal::new(Code::StateConflict, "report", reason));
        }
        let row =
            sqlx::query("SELECT reason, becomes FROM report_version WHERE report = $1 AND version = $2")
                .bind(last.report.as_str())
                .bind(i64::from(last.version))
                .fetch_one(&mut *tx)
                .await
                .map_err(StoreError::database("read a version's reason"))?;
        let c = Columns::of(&row, "report_version", last.report.as_str());
        Ok(Self {
            reason: c.get("reason")?,
            becomes: c.parsed("becomes")?,
            package: super::package_hash(tx, &Scope::County, &last.report, last.version).await?.0,
            report: last.report.clone(),
            version: last.version,
            text: last.text.clone(),
            name: last.author_name.clone(),
            id: last.author.clone(),
            signed_at: last.signed_at,
            read: None,
        })
    }

    /// Verifies the package and holds every column of the row against it; the words are the signed ones from here on.
    fn proven(
        self,
        press: &Press,
        facts: &StudyFacts,
        package: &ReportPackage,
        now: UtcMs,
    ) -> Result<Self, Refusal> {
        let signed = press.verify(package, &facts.stored.clinic, now)?;
        let id = report_id(&press.site, facts)?;
        let same = [
            ("report", *signed.report_id() == id),
            ("version", signed.version() == self.version),
            ("kind", signed.kind() == ReportKind::Preliminary && signed.reviewer().is_none()),
            ("study", *signed.study_uid() == facts.stored.study_uid),
            ("author", signed.author_manifest().author == self.id),
            ("signed_at", signed.signed_at() == self.signed_at),
        ];
        if let Some((field, _)) = same.into_iter().find(|(_, same)| !same) {
            return Err(differs(field, "the author's package does not say what its row says"));
        }
        let content = ReportContent::from_canonical(signed.json())
            .map_err(|e| differs("report.json", &e.to_string()))?;
        let words = signed_words(&content);
        if words != trimmed(&self.text) {
            return Err(differs("report_text", "the stored words are not those that the author signed"));
        }
        let told = content.replaces.as_ref().map(|r| r.reason.as_str());
        if told.is_some() && told != self.reason.as_deref() {
            return Err(differs("reason", "the stored reason is not the one that the author signed"));
        }
        let read = (signed.author_manifest().study_revision, content.study.instances_read);
        Ok(Self { text: words, read: Some(read), ..self })
    }

    /// What paper says when the study has changed between the two signatures: which of it the author never saw.
    fn changed_since(&self, facts: &StudyFacts) -> Option<String> {
        let (_, then) = self.read.filter(|(revision, _)| *revision != facts.revision)?;
        let now = facts.row.objects.0;
        Some(format!(
            "报告医师签名后影像有变化（签名时 {then} 幅，审核时 {now} 幅），变化部分由审核医师审阅。"
        ))
    }
}

/// Words as paper takes them.
pub(super) fn trimmed(text: &DraftText) -> DraftText {
    DraftText {
        findings: text.findings.trim().to_owned(),
        impression: text.impression.trim().to_owned(),
        advice: text.advice.trim().to_owned(),
        ..text.clone()
    }
}

fn joined(remarks: [Option<String>; 2]) -> Option<String> {
    remarks.into_iter().flatten().reduce(|one, other| one + &other)
}

struct ReviewJob {
    press: Press,
    blobs: BlobStore,
    facts: StudyFacts,
    told: PatientTold,
    reader: Reader,
    author: AuthorVersion,
    package: ReportPackage,
    changed: Option<DraftText>,
    now: UtcMs,
}

impl ReviewJob {
    fn run(self, signer: &dyn Signer) -> Result<Pressed, Refusal> {
        self.told.require(&self.blobs)?;
        let sealed_author =
            Sealed { bytes: self.package.manifest.clone(), cms: self.package.author_cms.clone() };
        let (version, _) = next_version(&self.facts);
        let id = report_id(&self.press.site, &self.facts)?;
        let kind = self.author.becomes;
        let words_changed = self.changed.as_ref().is_some_and(|text| trimmed(text) != self.author.text);
        let text = self.changed.clone().unwrap_or_else(|| self.author.text.clone());
        let wanted = Wanted {
            text: &text,
            kind,
            becomes: kind,
            report_id: id.to_string(),
            version,
            reason: self.author.reason.clone(),
            author: (self.author.name.clone(), self.author.id.to_string(), self.author.signed_at),
            reviewer: Some((self.reader.name.clone(), self.reader.id.to_string(), self.now)),
            single_reader: false,
            demo: signer.is_demo(),
            remarks: joined([self.author.changed_since(&self.facts), unfinished(&self.facts)]),
        };
        let printed = self.press.print(&self.facts, &wanted, &self.blobs)?;
        let review = ReviewManifest {
            purpose: PURPOSE_REVIEW.to_owned(),
            report_id: id,
            version,
            paper_version: self.facts.paper_version(kind),
            previous: self.author.version,
            kind,
            clinic: self.facts.stored.clinic.clone(),
            study_uid: self.facts.stored.study_uid.clone(),
            study_revision: self.facts.revision,
            json_sha256: printed.json_sha256,
            pdf_sha256: printed.pdf_sha256,
            words_changed,
            manifest_sha256: Sha256::of(&sealed_author.bytes),
            author_cms_sha256: Sha256::of(&sealed_author.cms),
            reviewer: self.reader.id.clone(),
            demo_signature: signer.is_demo(),
            signed_at: self.now,
        };
        let sealed = sign_review(signer, &sealed_author, &review).map_err(sign_error)?;
        let package = ReportPackage {
            manifest: sealed_author.bytes,
            json: printed.json,
            pdf: printed.pdf,
            author_cms: sealed_author.cms,
            review: Some((sealed.bytes, sealed.cms)),
            revocations: None,
        };
        Ok(Pressed {
            bytes: self.press.prove(package, &self.facts.stored.clinic, self.now)?,
            demo: signer.is_demo(),
            kind,
            becomes: kind,
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
        })
    }
}

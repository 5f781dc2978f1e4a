//! A signed version as its rows tell it, held against the package that was signed. Whoever can write into the database can
//! change a row; nobody can change what a doctor has signed. So what the rows say is shown as signed only while it is.

use super::bytes::{self, off_thread};
use super::content::{patient, signed_words};
use super::review::trimmed;
use super::signer::CountyTrust;
use crate::queue::patient_of;
use crate::store::{Columns, Store, StoreError};
use relay_certs::signing::{VerifiedReport, VerifyReportError, verify_report};
use relay_certs::trust::TrustStore;
use relay_core::clock::UtcMs;
use relay_core::codes::{Code, Refusal};
use relay_core::durable::BlobStore;
use relay_core::ids::{ClinicId, ObjectHash, PersonId, ReportId};
use relay_core::report::{ReportKind, ReportPackage};
use relay_core::study::StudyRevision;
use relay_report::ReportContent;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use viewer_api::desk::{DraftText, PatientFacts, ReportVersion, StudyView};

/// Proofs remembered: every version of a county's month, 64 bytes each; the oldest is forgotten first.
const MAX_REMEMBERED: usize = 16_384;

/// Later than any signature: when somebody looks at a package plays no part in whether it is the signed one.
const ANY_TIME: UtcMs = UtcMs(i64::MAX / 2);

/// Everything that the rows say of one signed version.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Stated {
    study: i64,
    clinic: ClinicId,
    study_uid: String,
    report: String,
    version: u32,
    previous: Option<u32>,
    kind: String,
    becomes: String,
    package: ObjectHash,
    letter: Option<ObjectHash>,
    author: String,
    author_name: String,
    reviewer: Option<String>,
    reviewer_name: Option<String>,
    signed_at: i64,
    audited_at: Option<i64>,
    revision: ObjectHash,
    objects: (u32, u32),
    required: u8,
    demo: bool,
    reason: Option<String>,
    text_id: i64,
    text: DraftText,
    /// Who the patient is, and who he was before a person corrected that.
    #[serde(skip)]
    patients: Vec<PatientFacts>,
    /// The same, for the digest.
    patients_digest: Vec<[String; 5]>,
}

/// Where a row is not what was signed. Names table, row and field; quotes no word of a patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Table.
    pub table: &'static str,
    /// Row key.
    pub row: String,
    /// Field.
    pub field: &'static str,
    /// What is wrong.
    pub reason: String,
}

/// What stands in the package, for the page.
#[derive(Debug, Clone)]
struct Signed {
    paper_version: u32,
    kind: ReportKind,
    author: PersonId,
    author_name: String,
    reviewer_name: Option<String>,
    signed_at: UtcMs,
    audited_at: Option<UtcMs>,
    revision: StudyRevision,
    text: DraftText,
}

/// The outcome for one version.
#[derive(Debug, Clone, Default)]
pub struct Proof {
    /// What differs; `None` when the rows say what was signed.
    pub difference: Option<Difference>,
    /// What was signed, where something differs and the package itself is in order.
    signed: Option<Box<Signed>>,
}

/// The signed versions of a study, oldest first, as its rows tell them.
///
/// # Errors
/// [`StoreError`].
pub async fn stated(tx: &mut SqliteConnection, study_id: i64) -> Result<Vec<Stated>, StoreError> {
    let rows = sqlx::query(
        "SELECT v.*, s.id AS study_id, s.clinic, s.uid, l.body_hash AS letter_hash, t.body AS words, p.name, p.sex,
           p.birth_date, p.age, p.local_id, p.national_id, p.name_repaired
         FROM report_version v JOIN report r ON r.id = v.report JOIN study s ON s.id = r.study_id
         LEFT JOIN letter l ON l.id = v.letter LEFT JOIN report_text t ON t.id = v.text_id
         LEFT JOIN person p ON p.study_id = s.id
         WHERE s.id = $1 AND r.purpose = 'report' ORDER BY v.version",
    )
    .bind(study_id)
    .fetch_all(&mut *tx)
    .await
    .map_err(StoreError::database("read signed versions"))?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let before = earlier_patients(tx, study_id).await?;
    rows.iter().map(|row| Stated::of(row, &before)).collect()
}

/// Who the patient of a study was before each correction, and when that was corrected.
async fn earlier_patients(
    tx: &mut SqliteConnection,
    study_id: i64,
) -> Result<Vec<(i64, PatientFacts)>, StoreError> {
    let rows =
        sqlx::query("SELECT id, at, before_json FROM person_correction WHERE study_id = $1 ORDER BY id")
            .bind(study_id)
            .fetch_all(tx)
            .await
            .map_err(StoreError::database("read identity corrections"))?;
    rows.iter()
        .map(|row| {
            let key = Columns::of(row, "person_correction", "?").get::<i64>("id")?.to_string();
            let c = Columns::of(row, "person_correction", &key);
            Ok((c.get("at")?, facts_of(&c.json("before_json")?)))
        })
        .collect()
}

/// The facts that `identity` wrote down.
pub(crate) fn facts_of(json: &serde_json::Value) -> PatientFacts {
    let text = |field: &str| json.get(field).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
    PatientFacts {
        name: text("name"),
        sex: text("sex"),
        birth_date: text("birth_date"),
        age: text("age"),
        local_id: text("local_id"),
        national_id: text("national_id"),
        name_repaired: false,
    }
}

/// The fields that identify.
pub(crate) fn identity(p: &PatientFacts) -> [&str; 5] {
    [&p.name, &p.sex, &p.birth_date, &p.local_id, &p.national_id]
}

impl Stated {
    fn of(row: &SqliteRow, before: &[(i64, PatientFacts)]) -> Result<Self, StoreError> {
        let c = Columns::of(row, "report_version", "?");
        let (report, version): (String, u32) = (c.get("report")?, c.unsigned("version")?);
        let key = format!("{report} v{version}");
        let c = Columns::of(row, "report_version", &key);
        let signed_at: i64 = c.get("signed_at")?;
        let text_id: i64 = c.get("text_id")?;
        let text_key = text_id.to_string();
        let number = |column| match c.get::<Option<i64>>(column)? {
            Some(_) => c.unsigned(column).map(Some),
            None => Ok(None),
        };
        let hash = |column| match c.get::<Option<Vec<u8>>>(column)? {
            Some(_) => c.hash(column).map(Some),
            None => Ok(None),
        };
        let mut patients = vec![patient_of(c)?];
        let last = c.get::<Option<i64>>("audited_at")?.unwrap_or(signed_at);
        patients.extend(before.iter().filter(|(at, _)| *at >= last).map(|(_, facts)| facts.clone()));
        Ok(Self {
            study: c.get("study_id")?,
            clinic: c.parsed("clinic")?,
            study_uid: c.get("uid")?,
            version,
            previous: number("previous")?,
            kind: c.get("kind")?,
            becomes: c.get("becomes")?,
            package: c.hash("package_hash")?,
            letter: hash("letter_hash")?,
            author: c.get("author")?,
            author_name: c.get("author_name")?,
            reviewer: c.get("reviewer")?,
            reviewer_name: c.get("reviewer_name")?,
            signed_at,
            audited_at: c.get("audited_at")?,
            revision: c.hash("study_revision")?,
            objects: (c.unsigned("objects_read")?, c.unsigned("objects_announced")?),
            required: c.unsigned("required_signatures")?,
            demo: c.get("demo_signature")?,
            reason: c.get("reason")?,
            text_id,
            text: Columns::of(row, "report_text", &text_key).json("words")?,
            patients_digest: patients.iter().map(|p| identity(p).map(str::to_owned)).collect(),
            patients,
            report,
        })
    }

    /// `report/version`.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}/{}", self.report, self.version)
    }

    /// The report.
    #[must_use]
    pub fn report(&self) -> &str {
        &self.report
    }

    /// The clinic that sent the study.
    #[must_use]
    pub const fn clinic(&self) -> &ClinicId {
        &self.clinic
    }

    /// Row of the study.
    #[must_use]
    pub const fn study(&self) -> i64 {
        self.study
    }

    /// The version.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    fn row(&self, field: &'static str, reason: impl Into<String>) -> Difference {
        Difference { table: "report_version", row: self.key(), field, reason: reason.into() }
    }

    /// Reads the package, verifies it as a clinic does, and holds the rows against it. Blocks.
    #[must_use]
    pub fn prove(&self, blobs: &BlobStore, trust: &TrustStore, now: UtcMs) -> Proof {
        let unproven = |difference| Proof { difference: Some(difference), signed: None };
        let package = match bytes::read(blobs, self.package) {
            Ok(bytes) => ReportPackage::decode(&bytes).map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let package = match package {
            Ok(package) => package,
            Err(reason) => return unproven(self.row("package_hash", reason)),
        };
        let signed = match verify_report(&package, trust, &self.clinic, now) {
            Ok(signed) => signed,
            Err(error @ VerifyReportError::WrongClinic { .. }) => {
                return unproven(Difference {
                    table: "study",
                    row: self.study.to_string(),
                    field: "clinic",
                    reason: error.to_string(),
                });
            }
            Err(error) => return unproven(self.row("package_hash", error.to_string())),
        };
        let content = match ReportContent::from_canonical(signed.json()) {
            Ok(content) => content,
            Err(error) => return unproven(self.row("package_hash", error.to_string())),
        };
        match self.difference(&signed, &content) {
            None => Proof::default(),
            Some(difference) => {
                Proof { difference: Some(difference), signed: Some(Box::new(Signed::of(&signed, &content))) }
            }
        }
    }

    fn difference(&self, signed: &VerifiedReport, content: &ReportContent) -> Option<Difference> {
        let (author, review) = (signed.author_manifest(), signed.review_manifest());
        let study = &content.study;
        let required = review.map_or(author.required_signatures, |_| 2);
        let demo = review.map_or(author.demo_signature, |r| r.demo_signature);
        let told = content.replaces.as_ref().map(|r| r.reason.as_str());
        let columns = [
            ("report", signed.report_id().as_str() == self.report),
            ("version", signed.version() == self.version),
            ("previous", signed.previous() == self.previous),
            ("kind", signed.kind().word() == self.kind),
            ("becomes", self.becomes == self.kind || signed.kind() == ReportKind::Preliminary),
            ("author", author.author.as_str() == self.author),
            ("author_name", content.author.name == self.author_name),
            ("reviewer", review.map(|r| r.reviewer.as_str()) == self.reviewer.as_deref()),
            ("reviewer_name", content.reviewer.as_ref().map(|r| &r.name) == self.reviewer_name.as_ref()),
            ("signed_at", author.signed_at.0 == self.signed_at),
            ("audited_at", review.map(|r| r.signed_at.0) == self.audited_at),
            ("study_revision", signed.study_revision().0 == self.revision),
            ("objects_read", study.instances_read == self.objects.0),
            ("objects_announced", study.instances_total == self.objects.1.max(self.objects.0)),
            ("required_signatures", required == self.required),
            ("demo_signature", demo == self.demo),
            ("reason", told.is_none() || told == self.reason.as_deref()),
            ("letter", self.letter == Some(self.package)),
        ];
        if let Some((field, _)) = columns.into_iter().find(|(_, same)| !same) {
            return Some(self.row(field, "it is not what the signed package says"));
        }
        if signed.study_uid().as_str() != self.study_uid {
            let (row, reason) = (self.study.to_string(), "it is not the study that was signed".to_owned());
            return Some(Difference { table: "study", row, field: "uid", reason });
        }
        self.words(content).or_else(|| self.patient(content))
    }

    fn words(&self, content: &ReportContent) -> Option<Difference> {
        let (stored, signed) = (trimmed(&self.text), signed_words(content));
        let fields = [
            ("body.findings", stored.findings == signed.findings),
            ("body.impression", stored.impression == signed.impression),
            ("body.advice", stored.advice == signed.advice),
            ("body.result", stored.result == signed.result),
            ("body.ecg_class", stored.ecg_class == signed.ecg_class),
        ];
        let (field, _) = fields.into_iter().find(|(_, same)| !same)?;
        let (row, reason) = (self.text_id.to_string(), "the words are not those that were signed".to_owned());
        Some(Difference { table: "report_text", row, field, reason })
    }

    /// The patient as signed must be the one of the study, or the one it had before a person corrected that. What nobody knew
    /// when it was signed may have become known since.
    fn patient(&self, content: &ReportContent) -> Option<Difference> {
        let signed = &content.patient;
        let nobody = patient(&PatientFacts::default(), None, UtcMs(0));
        let differing = |facts: &PatientFacts| {
            let stored = patient(facts, None, UtcMs(0));
            let fields = [
                ("name", signed.name == stored.name || signed.name == nobody.name),
                ("sex", signed.sex == stored.sex || signed.sex == nobody.sex),
                ("birth_date", signed.birth_date == stored.birth_date || signed.birth_date.is_none()),
                ("local_id", signed.local_id == stored.local_id || signed.local_id == nobody.local_id),
                ("national_id", signed.national_id == stored.national_id || signed.national_id.is_none()),
            ];
            fields.into_iter().find(|(_, same)| !same).map(|(field, _)| field)
        };
        let mut found = self.patients.iter().map(differing);
        let field = found.next().flatten()?;
        if found.any(|field| field.is_none()) {
            return None;
        }
        let (row, reason) = (self.study.to_string(), format!("it is not what {} says", self.key()));
        Some(Difference { table: "person", row, field, reason })
    }
}

/// The bytes of a package, once they are the signed one of this version. A signature whose key was revoked since is evidence
/// all the same: the study's view says what became of it.
///
/// # Errors
/// `REPORT_INVALID` naming the version.
pub async fn signed_package(
    trust: &CountyTrust,
    package: Vec<u8>,
    clinic: ClinicId,
    (report, version): (&ReportId, u32),
) -> Result<Vec<u8>, Refusal> {
    let (trust, report) = (trust.clone(), report.clone());
    off_thread(move || {
        require_signed(&package, &trust.now()?.0, &clinic, (&report, version))?;
        Ok(package)
    })
    .await
}

fn require_signed(
    package: &[u8],
    trust: &TrustStore,
    clinic: &ClinicId,
    (report, version): (&ReportId, u32),
) -> Result<(), Refusal> {
    let refuse = |reason: String| {
        tracing::error!(%report, version, reason, "a stored package is not the signed one");
        Err(Refusal::new(Code::ReportInvalid, format!("{report} v{version}"), reason))
    };
    let package = match ReportPackage::decode(package) {
        Ok(package) => package,
        Err(error) => return refuse(error.to_string()),
    };
    match verify_report(&package, trust, clinic, ANY_TIME) {
        Ok(signed) if signed.report_id() == report && signed.version() == version => Ok(()),
        Ok(signed) => {
            refuse(format!("the stored package is that of {} v{}", signed.report_id(), signed.version()))
        }
        Err(VerifyReportError::Revoked { .. }) => Ok(()),
        Err(error) => refuse(error.to_string()),
    }
}

impl Signed {
    fn of(signed: &VerifiedReport, content: &ReportContent) -> Self {
        let (author, review) = (signed.author_manifest(), signed.review_manifest());
        Self {
            paper_version: signed.paper_version(),
            kind: signed.kind(),
            author: author.author.clone(),
            author_name: content.author.name.clone(),
            reviewer_name: content.reviewer.as_ref().map(|r| r.name.clone()),
            signed_at: author.signed_at,
            audited_at: review.map(|r| r.signed_at),
            revision: *signed.study_revision(),
            text: signed_words(content),
        }
    }
}

impl Proof {
    fn gone(key: &str) -> Self {
        let reason = "the row is gone".to_owned();
        let difference =
            Difference { table: "report_version", row: key.to_owned(), field: "version", reason };
        Self { difference: Some(difference), signed: None }
    }

    /// Marks a version whose rows differ from its package: it says what was signed, or nothing where that is not known.
    fn apply(self, version: &mut ReportVersion) {
        let Some(difference) = self.difference else { return };
        version.differs = Some(format!("{}.{}", difference.table, difference.field));
        let Some(signed) = self.signed else {
            version.text = DraftText::default();
            return;
        };
        version.paper_version = signed.paper_version;
        version.kind = signed.kind;
        version.author = signed.author;
        version.author_name = signed.author_name;
        version.reviewer_name = signed.reviewer_name;
        version.signed_at = signed.signed_at;
        version.audited_at = signed.audited_at;
        version.revision = signed.revision;
        version.text = signed.text;
    }
}

type Digest = [u8; 32];

#[derive(Debug, Default)]
struct Remembered {
    found: BTreeSet<Digest>,
    order: VecDeque<Digest>,
}

/// Rows that were proven, by a digest of all that they say and of the revocation list: whatever changes in them is proven
/// anew. In memory only, where no writer of the database reaches it. Clones are handles to the same memory.
#[derive(Debug, Clone, Default)]
pub struct Proofs(Arc<Mutex<Remembered>>);

impl Proofs {
    /// Holds versions against their packages.
    ///
    /// # Errors
    /// `INTERNAL` when the task is stopped.
    pub async fn of(
        &self,
        store: &Store,
        trust: &CountyTrust,
        stated: Vec<Stated>,
        now: UtcMs,
    ) -> Result<Vec<Proof>, Refusal> {
        let (blobs, trust, own) = (store.blobs().clone(), trust.clone(), self.clone());
        off_thread(move || {
            let known = trust.now();
            Ok(stated.iter().map(|one| own.one(&blobs, known.as_ref(), one, now)).collect())
        })
        .await
    }

    /// Marks what differs in a study's view. `stated` was read after the view: a version of the view that is not in it is gone.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub async fn mark(
        &self,
        store: &Store,
        trust: &CountyTrust,
        stated: Vec<Stated>,
        view: &mut StudyView,
        now: UtcMs,
    ) -> Result<(), Refusal> {
        let keys: Vec<String> = stated.iter().map(Stated::key).collect();
        let mut proofs: BTreeMap<String, Proof> =
            keys.into_iter().zip(self.of(store, trust, stated, now).await?).collect();
        for version in &mut view.versions {
            let key = format!("{}/{}", version.report, version.version);
            let proof = proofs.remove(&key).unwrap_or_else(|| Proof::gone(&key));
            if let Some(difference) = &proof.difference {
                tracing::error!(report = key, %difference, "a signed version is not what its rows say");
                metrics::counter!("relay_reports_damaged_total").increment(1);
            }
            proof.apply(version);
        }
        let newest = view.versions.last().map(|v| (v.report.clone(), v.version, v.kind));
        view.row.report = newest.or_else(|| view.row.report.take());
        Ok(())
    }

    fn one(
        &self,
        blobs: &BlobStore,
        trust: Result<&(TrustStore, Vec<u8>), &Refusal>,
        stated: &Stated,
        now: UtcMs,
    ) -> Proof {
        let (trust, list) = match trust {
            Ok(known) => known,
            Err(refusal) => {
                let difference =
                    stated.row("package_hash", format!("no signature can be verified: {refusal}"));
                return Proof { difference: Some(difference), signed: None };
            }
        };
        let digest = serde_json::to_vec(stated).ok().map(|bytes| {
            let mut hasher = blake3::Hasher::new();
            hasher.update(&(bytes.len() as u64).to_be_bytes()).update(&bytes).update(list);
            *hasher.finalize().as_bytes()
        });
        if digest.is_some_and(|digest| self.remembered().found.contains(&digest)) {
            return Proof::default();
        }
        let proof = stated.prove(blobs, trust, now);
        if let (None, Some(digest)) = (&proof.difference, digest) {
            self.remember(digest);
        }
        proof
    }

    fn remember(&self, digest: Digest) {
        let mut remembered = self.remembered();
        if remembered.found.insert(digest) {
            remembered.order.push_back(digest);
        }
        while remembered.order.len() > MAX_REMEMBERED {
            if let Some(oldest) = remembered.order.pop_front() {
                remembered.found.remove(&oldest);
            }
        }
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}: {}", self.table, self.row, self.field, self.reason)
    }
}

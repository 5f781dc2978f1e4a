//! The port through which the reading room sees the county. The gateway implements it; nothing here knows how.
//!
//! Every method takes the [`Reader`] who asks: scope is enforced in the query, not in the page.

use async_trait::async_trait;
use relay_core::clock::UtcMs;
use relay_core::codes::Refusal;
use relay_core::ids::{ClinicId, ObjectHash, PersonId, ReportId, Sha256, StudyKey};
use relay_core::report::ReportKind;
use relay_core::study::{Class, Completeness, Kind, ObjectKind, StudyContext, StudyRevision};
use std::path::PathBuf;
use tokio::sync::broadcast;

/// Failed logins in a row that lock an account.
pub const LOCKOUT_FAILURES: u32 = 5;
/// How long a locked account stays locked, in ms.
pub const LOCKOUT_MS: i64 = 15 * relay_core::clock::MINUTE_MS;
/// A session ends when no person used it for so long, in ms: a screen left alone in a reading room.
pub const SESSION_IDLE_MS: i64 = 30 * relay_core::clock::MINUTE_MS;
/// A session ends so long after login whatever happens, in ms: one shift.
pub const SESSION_ABSOLUTE_MS: i64 = 12 * relay_core::clock::HOUR_MS;

/// What a person may do.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Takes films and ECGs at a clinic.
    Radiographer,
    /// Reads and signs as author.
    Reader,
    /// 审核医师: reads, and signs as second person.
    Reviewer,
    /// Writes treatment plans.
    Clinician,
    /// Manages accounts, clinics, codes; sees no patient.
    Administrator,
    /// Reads the audit log.
    SecurityAuditor,
    /// Sees counts, no names.
    Monitor,
}

/// Who asks, as the session knows him.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    /// Employee id.
    pub id: PersonId,
    /// Name in words.
    pub name: String,
    /// Everything he may do.
    pub roles: Vec<Role>,
    /// Clinics he serves; empty = none. A study of another clinic does not exist for him.
    pub clinics: Vec<ClinicId>,
    /// Kinds he reads.
    pub kinds: Vec<Kind>,
}

/// An account as stored, for login.
#[derive(Debug, Clone)]
pub struct Account {
    /// The person.
    pub reader: Reader,
    /// PHC string of argon2id.
    pub password_hash: String,
    /// TOTP secret in base32; required for people who read.
    pub totp_secret: Option<String>,
    /// Last accepted TOTP step, to refuse replay.
    pub totp_last_step: Option<u64>,
    /// Failures since the last success.
    pub failures: u32,
    /// Locked until then.
    pub locked_until: Option<UtcMs>,
}

/// An account as an administrator sees it.
#[derive(Debug, Clone)]
pub struct AccountRow {
    /// The person.
    pub reader: Reader,
    /// A TOTP secret is set.
    pub totp: bool,
    /// Failures since the last success.
    pub failures: u32,
    /// Locked until then.
    pub locked_until: Option<UtcMs>,
}

/// A clinic as an administrator sees it.
#[derive(Debug, Clone)]
pub struct ClinicRow {
    /// Clinic id.
    pub clinic: ClinicId,
    /// Name in words.
    pub name: String,
    /// Connected now.
    pub online: bool,
    /// Last heard.
    pub heard_at: Option<UtcMs>,
}

/// A stored session (SHA-256 of the token, never the token).
#[derive(Debug, Clone)]
pub struct Session {
    /// Whose.
    pub reader: Reader,
    /// Absolute end.
    pub expires_at: UtcMs,
    /// Last use, for the idle end.
    pub used_at: UtcMs,
}

/// A lease on a work item. Every write of the holder carries the epoch; an older epoch is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Holder.
    pub holder: PersonId,
    /// Holder's name.
    pub holder_name: String,
    /// Since when.
    pub claimed_at: UtcMs,
    /// Ends unless renewed by input.
    pub expires_at: UtcMs,
    /// Fencing number: counts up with every claim.
    pub epoch: u64,
}

/// One row of the worklist.
#[derive(Debug, Clone)]
pub struct WorkRow {
    /// Work item id.
    pub id: i64,
    /// The study.
    pub study: StudyKey,
    /// Clinic in words.
    pub clinic_name: String,
    /// Urgency.
    pub class: Class,
    /// Kind.
    pub kind: Kind,
    /// State word of architecture: waiting, claimed, drafted, signed, audited, closed, withdrawn, retake_requested.
    pub state: String,
    /// Lease when claimed.
    pub lease: Option<Lease>,
    /// Patient as shown.
    pub patient: PatientFacts,
    /// Body part, view or study description.
    pub item: String,
    /// Exam completed (corrected), T0 of the clock.
    pub t0: UtcMs,
    /// True when T0 is doubtful.
    pub time_suspect: bool,
    /// First durable object at the county.
    pub arrived_at: UtcMs,
    /// The next limit and its stage word (`claimed`, `reported`, `received` …).
    pub due_at: Option<UtcMs>,
    /// Stage of `due_at`.
    pub due_stage: Option<String>,
    /// The promise: report received at the clinic.
    pub promise_at: Option<UtcMs>,
    /// Objects durable / announced.
    pub objects: (u32, u32),
    /// Complete or partial.
    pub completeness: Completeness,
    /// Report version last signed, if any.
    pub report: Option<(ReportId, u32, ReportKind)>,
    /// Delivery word of that version: queued, sent, received, opened.
    pub delivery: Option<String>,
    /// Author of the last signed version (he cannot audit it).
    pub author: Option<PersonId>,
    /// Reasons for which its author is needed again, oldest first: `late_objects` 待补充, `identity_corrected` 待更正.
    pub attention: Vec<String>,
    /// A critical notice is open.
    pub critical_open: bool,
}

/// What the study's files and the clinic say of the patient.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PatientFacts {
    /// Name.
    pub name: String,
    /// `M`, `F`, `O` or empty.
    pub sex: String,
    /// `YYYYMMDD` or empty.
    pub birth_date: String,
    /// Age text as in the file (`045Y`) or empty.
    pub age: String,
    /// Patient id in the clinic.
    pub local_id: String,
    /// National id number when known.
    pub national_id: String,
    /// True when the name was repaired from a wrong charset label, or corrected by a person.
    pub name_repaired: bool,
}

/// Worklist filter. All fields narrow.
#[derive(Debug, Clone, Default)]
pub struct WorkFilter {
    /// State words; empty = open ones (waiting, claimed, drafted, signed) and whatever asks for attention.
    pub states: Vec<String>,
    /// Only this kind.
    pub kind: Option<Kind>,
    /// Only items held or authored by the caller.
    pub mine: bool,
    /// Free text over name, ids, clinic.
    pub text: Option<String>,
    /// At most this many rows (limit of the API).
    pub limit: u32,
}

/// One object of a study.
#[derive(Debug, Clone)]
pub struct StudyObject {
    /// Address.
    pub hash: ObjectHash,
    /// SHA-256.
    pub sha256: Sha256,
    /// Bytes.
    pub length: u64,
    /// Kind.
    pub kind: ObjectKind,
    /// SOPInstanceUID or empty.
    pub instance_uid: String,
    /// SeriesInstanceUID or empty.
    pub series_uid: String,
    /// Modality or empty.
    pub modality: String,
    /// Header facts for the viewer: rows, columns, frames, body part, laterality, view position, transfer syntax.
    pub rows: u32,
    /// Columns.
    pub columns: u32,
    /// Frames.
    pub frames: u32,
    /// Body part.
    pub body_part: String,
    /// `L`, `R`, `B` or empty.
    pub laterality: String,
    /// View position.
    pub view_position: String,
    /// Transfer syntax UID.
    pub transfer_syntax: String,
    /// False when a newer version of the same SOPInstanceUID with other bytes is current.
    pub current: bool,
    /// True when another object has the same SOPInstanceUID with other bytes.
    pub conflict: bool,
    /// When durable.
    pub stored_at: UtcMs,
}

/// A study, whole.
#[derive(Debug, Clone)]
pub struct StudyView {
    /// Its row.
    pub row: WorkRow,
    /// Its objects.
    pub objects: Vec<StudyObject>,
    /// Its revision now.
    pub revision: StudyRevision,
    /// What the clinic added.
    pub context: StudyContext,
    /// Objects announced but not here.
    pub missing: u32,
    /// Prior studies that may be hung (strict identity rule).
    pub priors: Vec<PriorStudy>,
    /// Studies of what may be the same person: listed, never hung.
    pub suspected: Vec<PriorStudy>,
    /// Signed versions, oldest first.
    pub versions: Vec<ReportVersion>,
    /// Treatment plans, critical notices and retake requests so far, as short lines.
    pub critical: Vec<CriticalState>,
}

/// An earlier study.
#[derive(Debug, Clone)]
pub struct PriorStudy {
    /// Which.
    pub study: StudyKey,
    /// When.
    pub t0: UtcMs,
    /// Kind.
    pub kind: Kind,
    /// Clinic name.
    pub clinic_name: String,
    /// Body part or description.
    pub item: String,
    /// Patient as that study says.
    pub patient: PatientFacts,
}

/// A signed version.
#[derive(Debug, Clone)]
pub struct ReportVersion {
    /// Report.
    pub report: ReportId,
    /// Version.
    pub version: u32,
    /// Kind.
    pub kind: ReportKind,
    /// Author.
    pub author: PersonId,
    /// Author's name.
    pub author_name: String,
    /// Reviewer's name, if audited.
    pub reviewer_name: Option<String>,
    /// When signed.
    pub signed_at: UtcMs,
    /// When audited.
    pub audited_at: Option<UtcMs>,
    /// Revision it read.
    pub revision: StudyRevision,
    /// Delivery: queued, sent, received, opened.
    pub delivery: String,
    /// When received at the clinic.
    pub received_at: Option<UtcMs>,
    /// When opened by a person, and who.
    pub opened: Option<(UtcMs, String)>,
    /// 作废: withdrawn when, and by whom in words.
    pub voided: Option<(UtcMs, String)>,
    /// The words.
    pub text: DraftText,
}

/// A critical notice and what became of it.
#[derive(Debug, Clone)]
pub struct CriticalState {
    /// Code, such as `E-A01`.
    pub code: String,
    /// Finding in words.
    pub finding: String,
    /// Raised at.
    pub raised_at: UtcMs,
    /// By whom.
    pub raised_by_name: String,
    /// Received at the clinic.
    pub received_at: Option<UtcMs>,
    /// Read back by whom, when.
    pub read_back: Option<(String, UtcMs)>,
    /// Action recorded by whom, when, what.
    pub action: Option<(String, UtcMs, String)>,
}

/// The words of a report before and after signing.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct DraftText {
    /// 检查所见.
    pub findings: String,
    /// 诊断意见.
    pub impression: String,
    /// 建议.
    pub advice: String,
    /// `positive`, `negative`, `undetermined` or empty (not yet chosen).
    pub result: String,
    /// ECG class 正常/大致正常/可疑/不正常 as `normal`, `borderline`, `suspicious`, `abnormal` or empty.
    pub ecg_class: String,
}

/// A saved draft.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The words.
    pub text: DraftText,
    /// Counts up with every save; a save names the one it replaces.
    pub revision: u64,
    /// When.
    pub saved_at: UtcMs,
    /// By whom.
    pub author: PersonId,
}

/// What the signer asks for. The PIN opens the demonstration key; a token or remote signer ignores it.
#[derive(Clone)]
pub struct SignRequest {
    /// Fencing epoch of the caller's lease.
    pub epoch: u64,
    /// Draft revision that is signed: exactly these words.
    pub draft_revision: u64,
    /// Study revision that the reader saw.
    pub study_revision: StudyRevision,
    /// Kind wanted: preliminary or final (policy decides whether final needs a second signature), addendum, correction.
    pub kind: ReportKind,
    /// Reason, required for correction.
    pub reason: Option<String>,
    /// Signing PIN.
    pub pin: String,
}

impl std::fmt::Debug for SignRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignRequest")
            .field("epoch", &self.epoch)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// What signing or auditing gave.
#[derive(Debug, Clone)]
pub struct Signed {
    /// Report.
    pub report: ReportId,
    /// Version.
    pub version: u32,
    /// Kind as released.
    pub kind: ReportKind,
    /// State of the work item afterwards.
    pub state: String,
}

/// A critical notice as the reader raises it.
#[derive(Debug, Clone)]
pub struct RaiseCritical {
    /// Code of the list, such as `X-A01`.
    pub code: String,
    /// Finding in words.
    pub finding: String,
    /// Advice.
    pub advice: Option<String>,
}

/// A live event for SSE; ids are the event table's `seq`, so a client resumes after the last one it saw.
#[derive(Debug, Clone)]
pub struct LiveEvent {
    /// Sequence in commit order.
    pub seq: i64,
    /// Type word, such as `work.claimed`, `study.arrived`, `report.opened`.
    pub kind: String,
    /// The clinic it concerns; filtered by the reader's scope.
    pub clinic: Option<ClinicId>,
    /// Work item, if any.
    pub work_item: Option<i64>,
    /// Class, so that the page can ring for green and emergency.
    pub class: Option<Class>,
    /// When.
    pub at: UtcMs,
}

/// Throughput figures: counts only, no names.
#[derive(Debug, Clone, serde::Serialize, utoipa::ToSchema)]
pub struct Throughput {
    /// Start of the day (site zone), UTC ms.
    pub day_start_ms: i64,
    /// When computed.
    pub at_ms: i64,
    /// Studies received today.
    pub received: u64,
    /// Studies with a signed report today.
    pub reported: u64,
    /// Final (or policy-sufficient) reports received at clinics today.
    pub returned: u64,
    /// Studies whose promise fell due today.
    pub due: u64,
    /// Of these, received in time. A study never reported is late.
    pub on_time: u64,
    /// Open studies and the age of the oldest in ms.
    pub backlog: u64,
    /// Age of the oldest open study in ms; absent when there is none.
    pub backlog_oldest_ms: Option<i64>,
    /// Median and P90 per stage.
    pub stages: Vec<StageFigure>,
    /// Per clinic.
    pub clinics: Vec<ClinicFigure>,
}

/// Duration of one stage over today's studies.
#[derive(Debug, Clone, serde::Serialize, utoipa::ToSchema)]
pub struct StageFigure {
    /// Stage word: link, queue, reading, audit, return, opening.
    pub stage: String,
    /// How many studies passed it.
    pub count: u64,
    /// Median in ms.
    pub median_ms: Option<i64>,
    /// 90th percentile in ms.
    pub p90_ms: Option<i64>,
}

/// One clinic's figures.
#[derive(Debug, Clone, serde::Serialize, utoipa::ToSchema)]
pub struct ClinicFigure {
    /// Clinic id.
    pub clinic: String,
    /// Clinic name.
    pub name: String,
    /// Connected now.
    pub online: bool,
    /// Last heard, UTC ms.
    pub heard_at_ms: Option<i64>,
    /// Silent during its opening hours for longer than the limit.
    pub silent: bool,
    /// Studies received today.
    pub received: u64,
    /// Reports received at the clinic today.
    pub returned: u64,
    /// Due today.
    pub due: u64,
    /// On time today.
    pub on_time: u64,
    /// Open studies.
    pub backlog: u64,
}

/// Everything the reading room asks of the county.
#[async_trait]
pub trait ReadingDesk: Send + Sync {
    // ---- accounts and sessions ----
    /// The account of a login name; `None` when there is none (the caller still spends a hash on it).
    async fn account(&self, login: &PersonId) -> Result<Option<Account>, Refusal>;
    /// Records a login attempt: failures count towards lockout ([`LOCKOUT_FAILURES`] → [`LOCKOUT_MS`]), success clears
    /// them and keeps the TOTP step. A success whose step is not newer than the stored one is refused as
    /// `UNAUTHENTICATED` in the same transaction, so that two logins cannot share one code.
    async fn record_login(
        &self,
        login: &PersonId,
        ok: bool,
        totp_step: Option<u64>,
        peer: &str,
        now: UtcMs,
    ) -> Result<(), Refusal>;
    /// Stores a session under SHA-256 of its token.
    async fn open_session(
        &self,
        token: &Sha256,
        login: &PersonId,
        expires_at: UtcMs,
        now: UtcMs,
    ) -> Result<(), Refusal>;
    /// Finds a live session; the idle end ([`SESSION_IDLE_MS`]) and the absolute end are applied. `touch` marks its use:
    /// false for live events and for requests that a page makes without a person.
    async fn session(&self, token: &Sha256, touch: bool, now: UtcMs) -> Result<Option<Session>, Refusal>;
    /// Ends a session.
    async fn close_session(&self, token: &Sha256, now: UtcMs) -> Result<(), Refusal>;

    /// Accounts, by login; for administrators. No hash, no secret.
    async fn accounts(&self, reader: &Reader) -> Result<Vec<AccountRow>, Refusal>;
    /// Clears failures and lock of an account; for administrators.
    async fn unlock_account(&self, reader: &Reader, login: &PersonId, now: UtcMs) -> Result<(), Refusal>;
    /// Clinics, by id; for administrators. No patient.
    async fn clinics(&self, reader: &Reader) -> Result<Vec<ClinicRow>, Refusal>;

    // ---- worklist ----
    /// Rows the reader may see, most urgent first (class, then deadline, aged).
    async fn worklist(
        &self,
        reader: &Reader,
        filter: &WorkFilter,
        now: UtcMs,
    ) -> Result<Vec<WorkRow>, Refusal>;
    /// Claims; `CLAIM_HELD` says who and since when.
    async fn claim(&self, reader: &Reader, item: i64, now: UtcMs) -> Result<Lease, Refusal>;
    /// Claims the most urgent item open to the reader; `None` when there is none.
    async fn claim_next(
        &self,
        reader: &Reader,
        kind: Option<Kind>,
        now: UtcMs,
    ) -> Result<Option<(i64, Lease)>, Refusal>;
    /// Renews after input. `LEASE_LOST` when the epoch is old.
    async fn renew(&self, reader: &Reader, item: i64, epoch: u64, now: UtcMs) -> Result<Lease, Refusal>;
    /// Gives back; the draft stays.
    async fn release(&self, reader: &Reader, item: i64, epoch: u64, now: UtcMs) -> Result<(), Refusal>;

    // ---- study ----
    /// The study behind a work item; audited when it is another site's prior.
    async fn study(&self, reader: &Reader, item: i64, now: UtcMs) -> Result<StudyView, Refusal>;
    /// The study by its key (priors).
    async fn study_by_key(&self, reader: &Reader, study: &StudyKey, now: UtcMs)
    -> Result<StudyView, Refusal>;
    /// Path of an object's plaintext file, after the scope check.
    async fn object_path(
        &self,
        reader: &Reader,
        study: &StudyKey,
        object: &ObjectHash,
    ) -> Result<PathBuf, Refusal>;
    /// Path of the stored preview (JPEG, long side ≤ 1024), if the job has made it.
    async fn preview_path(
        &self,
        reader: &Reader,
        study: &StudyKey,
        object: &ObjectHash,
    ) -> Result<Option<PathBuf>, Refusal>;

    // ---- report ----
    /// The draft, if any.
    async fn draft(&self, reader: &Reader, item: i64) -> Result<Option<Draft>, Refusal>;
    /// Saves the draft under the lease's epoch; `replaces` is the revision the page last saw (0 = none).
    async fn save_draft(
        &self,
        reader: &Reader,
        item: i64,
        epoch: u64,
        replaces: u64,
        text: &DraftText,
        now: UtcMs,
    ) -> Result<Draft, Refusal>;
    /// Signs as author: canonical bytes, signature and return job in one transaction.
    async fn sign(
        &self,
        reader: &Reader,
        item: i64,
        request: SignRequest,
        now: UtcMs,
    ) -> Result<Signed, Refusal>;
    /// Signs as reviewer (second person) what the author signed, possibly with changed words (then the report names both).
    async fn audit(
        &self,
        reader: &Reader,
        item: i64,
        request: SignRequest,
        changed: Option<DraftText>,
        now: UtcMs,
    ) -> Result<Signed, Refusal>;
    /// Raises a critical notice; leaves at once, before any signature.
    async fn raise_critical(
        &self,
        reader: &Reader,
        item: i64,
        raise: RaiseCritical,
        now: UtcMs,
    ) -> Result<(), Refusal>;
    /// 退回: back to the clinic with a reason.
    async fn request_retake(
        &self,
        reader: &Reader,
        item: i64,
        epoch: u64,
        reason: &str,
        text: &str,
        now: UtcMs,
    ) -> Result<(), Refusal>;
    /// Corrects the patient's identity: an event by a named person with a reason; originals stay.
    async fn correct_identity(
        &self,
        reader: &Reader,
        item: i64,
        patient: PatientFacts,
        reason: &str,
        now: UtcMs,
    ) -> Result<(), Refusal>;
    /// Bytes of the signed package of a version (PDF, JSON, signatures are taken from it).
    async fn report_package(
        &self,
        reader: &Reader,
        report: &ReportId,
        version: u32,
    ) -> Result<Vec<u8>, Refusal>;

    // ---- watching ----
    /// Events after `seq` that the reader may see, oldest first, at most `limit`.
    async fn events_after(&self, reader: &Reader, seq: i64, limit: u32) -> Result<Vec<LiveEvent>, Refusal>;
    /// Wakes when there are newer events.
    fn live(&self) -> broadcast::Receiver<LiveEvent>;
    /// Today's figures.
    async fn throughput(&self, reader: &Reader, now: UtcMs) -> Result<Throughput, Refusal>;
    /// Records that a route was called, for the audit log (who, what, whether allowed). Never patient data.
    async fn record_access(
        &self,
        who: Option<&PersonId>,
        action: &str,
        subject: &str,
        allowed: bool,
        now: UtcMs,
    );
}

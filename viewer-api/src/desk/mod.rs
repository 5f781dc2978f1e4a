//! The port through which the reading room sees the county. The gateway implements it; nothing here knows how.
//!
//! Every method takes the [`Reader`] who asks: scope is enforced in the query, not in the page.

mod figures;
mod people;
mod report;
mod study;
mod work;

pub use figures::{ClinicFigure, LiveEvent, StageFigure, Throughput};
pub use people::{Account, AccountRow, ClinicRow, Reader, Role, Session};
pub use report::{Draft, DraftText, ReportVersion, SignRequest, Signed};
pub use study::{CriticalState, PriorStudy, RaiseCritical, StudyObject, StudyView};
pub use work::{Lease, PatientFacts, WorkFilter, WorkList, WorkRow};

use async_trait::async_trait;
use relay_core::clock::UtcMs;
use relay_core::codes::Refusal;
use relay_core::ids::{ObjectHash, PersonId, ReportId, Sha256, StudyKey};
use relay_core::study::Kind;
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
    async fn worklist(&self, reader: &Reader, filter: &WorkFilter, now: UtcMs) -> Result<WorkList, Refusal>;
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
    /// Path of an object's plaintext file, after the scope check and after its bytes were proven; `DAMAGED` names the object
    /// whose bytes are not those that were received.
    async fn object_path(
        &self,
        reader: &Reader,
        study: &StudyKey,
        object: &ObjectHash,
        now: UtcMs,
    ) -> Result<PathBuf, Refusal>;
    /// Bytes of the stored preview (JPEG, long side ≤ 1024), if they are those that the job has made. Refused as [`Self::object_path`].
    async fn preview(
        &self,
        reader: &Reader,
        study: &StudyKey,
        object: &ObjectHash,
        now: UtcMs,
    ) -> Result<Option<Vec<u8>>, Refusal>;

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
    /// The newest event's sequence; 0 = none. A page that has seen a later one has seen another store.
    async fn last_event(&self) -> Result<i64, Refusal>;
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

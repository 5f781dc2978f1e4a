//! People, accounts and sessions as the reading room knows them.

use relay_core::clock::UtcMs;
use relay_core::ids::{ClinicId, PersonId};
use relay_core::study::Kind;

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
    /// County clock minus the clinic's, ms, as measured on the link.
    pub clock_offset_ms: Option<i64>,
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

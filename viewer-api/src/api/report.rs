//! Draft, signature, critical notice, retake, identity correction.

use super::words;
use super::work::Patient;
use crate::desk::{self, DraftText};
use crate::extract::check_text;
use crate::limits::{MAX_REPORT_FIELD_CHARS, MAX_SHORT_CHARS};
use crate::problem::Problem;
use relay_core::codes::Code;
use relay_core::ids::ObjectHash;
use relay_core::report::ReportKind;
use relay_core::study::StudyRevision;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A saved draft.
#[derive(Debug, Serialize, ToSchema)]
pub struct Draft {
    /// The words.
    pub text: DraftText,
    /// Counts up with every save.
    pub revision: u64,
    /// When, UTC ms.
    pub saved_at_ms: i64,
    /// By whom (person id).
    pub author: String,
}

impl From<desk::Draft> for Draft {
    fn from(draft: desk::Draft) -> Self {
        Self {
            text: draft.text,
            revision: draft.revision,
            saved_at_ms: draft.saved_at.0,
            author: draft.author.to_string(),
        }
    }
}

/// The draft of a work item, if there is one.
#[derive(Debug, Serialize, ToSchema)]
pub struct DraftAnswer {
    /// The draft; absent when nothing was saved yet.
    pub draft: Option<Draft>,
}

/// A draft to save.
#[derive(Debug, Deserialize, ToSchema)]
pub struct SaveDraft {
    /// Fencing number of the caller's lease.
    pub epoch: u64,
    /// Draft revision that the page last saw; 0 = none.
    pub replaces: u64,
    /// The words.
    pub text: DraftText,
}

/// Refuses words that are too long or values that are not of the list.
///
/// # Errors
/// `FIELD_INVALID` naming the field.
pub fn check_words(text: &DraftText) -> Result<(), Problem> {
    check_text("findings", &text.findings, MAX_REPORT_FIELD_CHARS, false)?;
    check_text("impression", &text.impression, MAX_REPORT_FIELD_CHARS, false)?;
    check_text("advice", &text.advice, MAX_REPORT_FIELD_CHARS, false)?;
    if !["", "positive", "negative", "undetermined"].contains(&text.result.as_str()) {
        return Err(Problem::new(
            Code::FieldInvalid,
            "result",
            "is none of positive, negative, undetermined",
        ));
    }
    if !["", "normal", "borderline", "suspicious", "abnormal"].contains(&text.ecg_class.as_str()) {
        let reason = "is none of normal, borderline, suspicious, abnormal";
        return Err(Problem::new(Code::FieldInvalid, "ecg_class", reason));
    }
    Ok(())
}

/// What the signer asks for.
#[derive(Deserialize, ToSchema)]
pub struct Sign {
    /// Fencing number of the caller's lease.
    pub epoch: u64,
    /// Draft revision that is signed: exactly these words.
    pub draft_revision: u64,
    /// Study revision (hex) that the reader saw.
    #[schema(value_type = String)]
    pub study_revision: ObjectHash,
    /// Kind wanted.
    #[schema(value_type = words::ReportKind)]
    pub kind: ReportKind,
    /// Reason; required for a correction.
    #[serde(default)]
    pub reason: Option<String>,
    /// PIN of the signing key.
    pub pin: String,
}

impl std::fmt::Debug for Sign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sign").field("epoch", &self.epoch).field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl Sign {
    /// The request as the desk takes it.
    ///
    /// # Errors
    /// `FIELD_INVALID` for a correction without reason, or a text that is too long.
    pub fn into_request(self) -> Result<desk::SignRequest, Problem> {
        let required = self.kind == ReportKind::Correction;
        check_text("reason", self.reason.as_deref().unwrap_or_default(), MAX_SHORT_CHARS, required)?;
        check_text("pin", &self.pin, MAX_SHORT_CHARS, false)?;
        Ok(desk::SignRequest {
            epoch: self.epoch,
            draft_revision: self.draft_revision,
            study_revision: StudyRevision(self.study_revision),
            kind: self.kind,
            reason: self.reason.filter(|reason| !reason.trim().is_empty()),
            pin: self.pin,
        })
    }
}

/// What the reviewer asks for.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Audit {
    /// As for signing.
    #[serde(flatten)]
    pub sign: Sign,
    /// Changed words; absent when the reviewer signs what the author wrote.
    #[serde(default)]
    pub changed: Option<DraftText>,
}

/// What signing or auditing gave.
#[derive(Debug, Serialize, ToSchema)]
pub struct Signed {
    /// Report id.
    pub report: String,
    /// Version, over all kinds: the one in addresses.
    pub version: u32,
    /// The number that paper shows, and that people are told: preliminary versions count apart from final ones and what
    /// follows those.
    pub paper_version: u32,
    /// Kind as released.
    #[schema(value_type = words::ReportKind)]
    pub kind: ReportKind,
    /// State of the work item afterwards.
    #[schema(value_type = words::WorkState)]
    pub state: String,
}

impl From<desk::Signed> for Signed {
    fn from(signed: desk::Signed) -> Self {
        Self {
            report: signed.report.to_string(),
            version: signed.version,
            paper_version: signed.paper_version,
            kind: signed.kind,
            state: signed.state,
        }
    }
}

/// A signed version.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReportVersion {
    /// Report id.
    pub report: String,
    /// Version, over all kinds: the one in addresses.
    pub version: u32,
    /// The number that paper shows, and that people are told: preliminary versions count apart from final ones and what
    /// follows those.
    pub paper_version: u32,
    /// Kind.
    #[schema(value_type = words::ReportKind)]
    pub kind: ReportKind,
    /// Author's id.
    pub author: String,
    /// Author's name.
    pub author_name: String,
    /// Reviewer's name, if audited.
    pub reviewer_name: Option<String>,
    /// When signed, UTC ms.
    pub signed_at_ms: i64,
    /// When audited, UTC ms.
    pub audited_at_ms: Option<i64>,
    /// Study revision it read (hex).
    pub revision: String,
    /// Delivery to the clinic.
    #[schema(value_type = words::Delivery)]
    pub delivery: String,
    /// When received at the clinic, UTC ms.
    pub received_at_ms: Option<i64>,
    /// When opened by a person, UTC ms.
    pub opened_at_ms: Option<i64>,
    /// Who opened it.
    pub opened_by: Option<String>,
    /// 作废: withdrawn then, UTC ms; it may not be used any more, whatever its signature says.
    pub voided_at_ms: Option<i64>,
    /// Who withdrew it.
    pub voided_by: Option<String>,
    /// Where the stored rows are not what was signed, as `table.field`. Then what is told here is taken from the signed package;
    /// where that does not verify there are no words.
    pub differs: Option<String>,
    /// The words.
    pub text: DraftText,
}

impl From<desk::ReportVersion> for ReportVersion {
    fn from(version: desk::ReportVersion) -> Self {
        let (voided_at, voided_by) = version.voided.map_or((None, None), |(at, by)| (Some(at.0), Some(by)));
        let (opened_at, opened_by) = version.opened.map_or((None, None), |(at, by)| (Some(at.0), Some(by)));
        Self {
            report: version.report.to_string(),
            version: version.version,
            paper_version: version.paper_version,
            kind: version.kind,
            author: version.author.to_string(),
            author_name: version.author_name,
            reviewer_name: version.reviewer_name,
            signed_at_ms: version.signed_at.0,
            audited_at_ms: version.audited_at.map(|at| at.0),
            revision: version.revision.0.to_hex(),
            delivery: version.delivery,
            received_at_ms: version.received_at.map(|at| at.0),
            opened_at_ms: opened_at,
            opened_by,
            voided_at_ms: voided_at,
            voided_by,
            differs: version.differs,
            text: version.text,
        }
    }
}

/// A critical notice and what became of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Critical {
    /// Code, such as `E-A01`.
    pub code: String,
    /// Finding in words.
    pub finding: String,
    /// Raised at, UTC ms.
    pub raised_at_ms: i64,
    /// By whom.
    pub raised_by_name: String,
    /// Steps of the ladder taken because nobody had read it back: 1 second contact, 2 duty chief, 3 county emergency.
    pub escalated: u8,
    /// Received at the clinic, UTC ms.
    pub received_at_ms: Option<i64>,
    /// Read back by whom.
    pub read_back_by: Option<String>,
    /// Read back at, UTC ms.
    pub read_back_at_ms: Option<i64>,
    /// Action: who, UTC ms, what.
    pub action: Option<CriticalAction>,
}

/// What the clinic did about a critical notice.
#[derive(Debug, Serialize, ToSchema)]
pub struct CriticalAction {
    /// Who recorded it.
    pub by: String,
    /// When, UTC ms.
    pub at_ms: i64,
    /// What was done.
    pub text: String,
}

impl From<desk::CriticalState> for Critical {
    fn from(state: desk::CriticalState) -> Self {
        let (read_back_by, read_back_at) =
            state.read_back.map_or((None, None), |(by, at)| (Some(by), Some(at.0)));
        Self {
            code: state.code,
            finding: state.finding,
            raised_at_ms: state.raised_at.0,
            raised_by_name: state.raised_by_name,
            escalated: state.escalated,
            received_at_ms: state.received_at.map(|at| at.0),
            read_back_by,
            read_back_at_ms: read_back_at,
            action: state.action.map(|(by, at, text)| CriticalAction { by, at_ms: at.0, text }),
        }
    }
}

/// A critical notice to raise. It leaves at once, before any signature.
#[derive(Debug, Deserialize, ToSchema)]
pub struct RaiseCritical {
    /// Code of the list, such as `X-A01`.
    pub code: String,
    /// Finding in words.
    pub finding: String,
    /// Advice.
    #[serde(default)]
    pub advice: Option<String>,
}

/// 退回: back to the clinic.
#[derive(Debug, Deserialize, ToSchema)]
pub struct RetakeRequest {
    /// Fencing number of the caller's lease.
    pub epoch: u64,
    /// Reason code or word.
    pub reason: String,
    /// What the clinic is to do.
    pub text: String,
}

/// A corrected identity; originals stay.
#[derive(Debug, Deserialize, ToSchema)]
pub struct IdentityCorrection {
    /// The patient as he is.
    pub patient: Patient,
    /// Why.
    pub reason: String,
}

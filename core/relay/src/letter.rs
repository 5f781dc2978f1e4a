//! Letters go from county to clinic, notes from clinic to county. Both are durable at the sender before they travel,
//! durable at the receiver before the receipt, and arrive once however often they are sent.

use crate::clock::UtcMs;
use crate::ids::{ClinicId, LetterId, NoteId, ObjectHash, PersonId, ReportId, StudyUid};
use crate::study::words;

words! {
    /// What a letter carries.
    LetterKind {
        /// A [`crate::report::ReportPackage`].
        Report = 1, "report", "报告";
        /// A [`CriticalNotice`] as canonical JSON. Waits for no signature.
        CriticalNotice = 2, "critical_notice", "危急值通知";
        /// A [`RetakeRequest`] as canonical JSON.
        RetakeRequest = 3, "retake_request", "退回重拍";
        /// A [`StudyStatus`] as canonical JSON: where the study stands at the county. Newer replaces older.
        StudyStatus = 4, "study_status", "进度";
        /// A treatment plan package.
        TreatmentPlan = 5, "treatment_plan", "治疗方案";
        /// A [`ReportVoid`] as canonical JSON: versions of a report that may not be used any more.
        ReportVoid = 6, "report_void", "报告作废";
    }
}

/// The envelope of a letter. The body travels on its own stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterHead {
    /// Unique at the county.
    pub id: LetterId,
    /// What the body is.
    pub kind: LetterKind,
    /// The study it is about.
    pub study: StudyUid,
    /// Length of the body in bytes, at most [`crate::limits::MAX_LETTER_BYTES`].
    pub length: u64,
    /// BLAKE3 of the body.
    pub hash: ObjectHash,
    /// When the county wrote it.
    pub written_at: UtcMs,
}

/// A critical value: leaves before any signature, rings until a named medical person reads it back.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CriticalNotice {
    /// Code of the critical-value list, such as `E-A01`.
    pub code: String,
    /// `A` = 危急值 (alarm, read-back), `B` = 重大阳性 (prompt).
    pub tier: String,
    /// The finding in words.
    pub finding: String,
    /// What to do at once, if the reader says so.
    pub advice: Option<String>,
    /// The clinic it is addressed to.
    pub clinic: ClinicId,
    /// Patient name for the screen at the clinic that examined the patient.
    pub patient_name: String,
    /// Who found it.
    pub raised_by: PersonId,
    /// The finder's name in words.
    pub raised_by_name: String,
    /// When the finder marked it: the critical clock starts here.
    pub raised_at: UtcMs,
    /// Number to call back.
    pub phone: Option<String>,
}

/// A study goes back to the clinic to be taken again or completed: 退回.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RetakeRequest {
    /// Short reason code, such as `position`, `exposure`, `motion`, `wrong_patient`, `lead_off`, `incomplete`.
    pub reason: String,
    /// What to do, in words.
    pub text: String,
    /// Who asks.
    pub asked_by_name: String,
    /// When.
    pub asked_at: UtcMs,
}

/// 作废: versions of a report may not be used any more, whatever their signatures say, because the study turned out to be
/// of somebody else. Signatures stay as they are; a later version of the same report stands.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ReportVoid {
    /// The clinic it is addressed to.
    pub clinic: ClinicId,
    /// Which report.
    pub report: ReportId,
    /// Every version up to and with this one.
    pub through_version: u32,
    /// Why, in words.
    pub reason: String,
    /// Who withdrew it, in words.
    pub by_name: String,
    /// When.
    pub at: UtcMs,
}

/// Where a study stands at the county; shown at the clinic.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StudyStatus {
    /// Work item state word.
    pub state: String,
    /// Who reads it, when claimed.
    pub reader_name: Option<String>,
    /// When the report is promised.
    pub due_at: Option<UtcMs>,
    /// A green study that nobody at the county has taken: the clinic is not to wait but to telephone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unattended: bool,
    /// When this was true: the newest wins.
    pub at: UtcMs,
}

words! {
    /// What happened at the clinic.
    NoteKind {
        /// A named person opened a report version.
        ReportOpened = 1, "report_opened", "报告已打开";
        /// A named medical person read a critical notice back.
        CriticalReadBack = 2, "critical_read_back", "危急值已复述";
        /// The treating doctor recorded the action taken on a critical value.
        CriticalAction = 3, "critical_action", "危急值已处置";
        /// The clinic accepted, changed or declined a treatment plan.
        PlanDecision = 4, "plan_decision", "治疗方案处理";
        /// A retake request was seen.
        RetakeSeen = 5, "retake_seen", "退回已查看";
    }
}

/// An event at the clinic, signed by the device key over [`NoteBody`] as canonical JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Unique at the clinic.
    pub id: NoteId,
    /// What happened.
    pub kind: NoteKind,
    /// Canonical JSON of [`NoteBody`], exactly the signed bytes.
    pub body: Vec<u8>,
    /// The device's signature over `body` with its purpose.
    pub signature: Vec<u8>,
    /// The certificate (DER) whose key signed: the device may have a newer one when the note travels. Empty: that of the
    /// connection.
    pub certificate: Vec<u8>,
}

/// What a note says. Person and device stand for it: the person by PIN at the clinic, the device by its key.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct NoteBody {
    /// Purpose string of the device signature: `relay note v1`.
    pub purpose: String,
    /// The note's id.
    pub id: NoteId,
    /// What happened.
    pub kind: NoteKind,
    /// Where.
    pub clinic: ClinicId,
    /// The study it is about.
    pub study: StudyUid,
    /// The letter it answers, where there is one.
    pub letter: Option<LetterId>,
    /// The report and version, for `report_opened` and `plan_decision`.
    pub report: Option<(ReportId, u32)>,
    /// The person, as enrolled at the clinic.
    pub person: String,
    /// Free text: what was read back, what was done, why declined.
    pub text: Option<String>,
    /// When, by the clinic's clock.
    pub at: UtcMs,
}

/// Purpose of a device signature over a note.
pub const PURPOSE_NOTE: &str = "relay note v1";

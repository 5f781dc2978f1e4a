//! A study with its objects, priors and critical notices.

use super::{PatientFacts, ReportVersion, WorkRow};
use relay_core::clock::UtcMs;
use relay_core::ids::{ObjectHash, Sha256, StudyKey};
use relay_core::study::{Kind, ObjectKind, StudyContext, StudyRevision};

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
    /// True when its file names another patient than the study's first one did.
    pub other_patient: bool,
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
    /// Steps of the ladder taken because nobody had read it back: 1 second contact, 2 duty chief, 3 county emergency.
    pub escalated: u8,
    /// Received at the clinic.
    pub received_at: Option<UtcMs>,
    /// Read back by whom, when.
    pub read_back: Option<(String, UtcMs)>,
    /// Action recorded by whom, when, what.
    pub action: Option<(String, UtcMs, String)>,
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

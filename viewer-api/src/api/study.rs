//! A study, its objects, what the clinic said, earlier studies.

use super::report::{Critical, ReportVersion};
use super::words;
use super::work::{Patient, WorkRow};
use crate::desk;
use relay_core::study::{Kind, ObjectKind};
use serde::Serialize;
use utoipa::ToSchema;

/// One object of a study.
#[derive(Debug, Serialize, ToSchema)]
pub struct StudyObject {
    /// Address (BLAKE3, hex): the last path part of the instance routes.
    pub hash: String,
    /// SHA-256, hex.
    pub sha256: String,
    /// Bytes.
    pub length: u64,
    /// What it is.
    #[schema(value_type = words::ObjectKind)]
    pub kind: ObjectKind,
    /// SOPInstanceUID or empty.
    pub instance_uid: String,
    /// SeriesInstanceUID or empty.
    pub series_uid: String,
    /// Modality or empty.
    pub modality: String,
    /// Rows; 0 when it is no image.
    pub rows: u32,
    /// Columns; 0 when it is no image.
    pub columns: u32,
    /// Frames.
    pub frames: u32,
    /// Body part or empty.
    pub body_part: String,
    /// `L`, `R`, `B` or empty.
    pub laterality: String,
    /// View position or empty.
    pub view_position: String,
    /// Transfer syntax UID or empty.
    pub transfer_syntax: String,
    /// False when a newer version of the same instance is current.
    pub current: bool,
    /// Another object has the same SOPInstanceUID with other bytes.
    pub conflict: bool,
    /// Its file names another patient than the study's first one did: the reader must find out whose it is.
    pub other_patient: bool,
    /// When durable, UTC ms.
    pub stored_at_ms: i64,
}

impl From<desk::StudyObject> for StudyObject {
    fn from(object: desk::StudyObject) -> Self {
        Self {
            hash: object.hash.to_hex(),
            sha256: object.sha256.to_hex(),
            length: object.length,
            kind: object.kind,
            instance_uid: object.instance_uid,
            series_uid: object.series_uid,
            modality: object.modality,
            rows: object.rows,
            columns: object.columns,
            frames: object.frames,
            body_part: object.body_part,
            laterality: object.laterality,
            view_position: object.view_position,
            transfer_syntax: object.transfer_syntax,
            current: object.current,
            conflict: object.conflict,
            other_patient: object.other_patient,
            stored_at_ms: object.stored_at.0,
        }
    }
}

/// What the clinic added to the files.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClinicContext {
    /// Chief complaint 主诉.
    pub complaint: Option<String>,
    /// Telephone to call back.
    pub phone: Option<String>,
    /// Requesting doctor.
    pub doctor: Option<String>,
    /// StudyInstanceUID of the study that this one retakes.
    pub retake_of: Option<String>,
}

/// An earlier study.
#[derive(Debug, Serialize, ToSchema)]
pub struct PriorStudy {
    /// Clinic id.
    pub clinic: String,
    /// StudyInstanceUID.
    pub study_uid: String,
    /// When, UTC ms.
    pub t0_ms: i64,
    /// Kind.
    #[schema(value_type = words::Kind)]
    pub kind: Kind,
    /// Clinic in words.
    pub clinic_name: String,
    /// Body part or description.
    pub item: String,
    /// Patient as that study says.
    pub patient: Patient,
}

impl From<desk::PriorStudy> for PriorStudy {
    fn from(prior: desk::PriorStudy) -> Self {
        Self {
            clinic: prior.study.clinic.to_string(),
            study_uid: prior.study.uid.to_string(),
            t0_ms: prior.t0.0,
            kind: prior.kind,
            clinic_name: prior.clinic_name,
            item: prior.item,
            patient: prior.patient.into(),
        }
    }
}

/// A study, whole.
#[derive(Debug, Serialize, ToSchema)]
pub struct Study {
    /// Server time, UTC ms.
    pub now_ms: i64,
    /// Its worklist row.
    pub row: WorkRow,
    /// Its objects.
    pub objects: Vec<StudyObject>,
    /// Revision now (hex): what a signature says it has read.
    pub revision: String,
    /// What the clinic added.
    pub context: ClinicContext,
    /// Objects announced but not here.
    pub missing: u32,
    /// Earlier studies of the same person (strict rule): may be hung.
    pub priors: Vec<PriorStudy>,
    /// 疑似同一人·请核对: listed, never hung.
    pub suspected: Vec<PriorStudy>,
    /// Signed versions, oldest first.
    pub versions: Vec<ReportVersion>,
    /// Critical notices.
    pub critical: Vec<Critical>,
}

impl Study {
    /// The study as `reader` sees it.
    #[must_use]
    pub fn of(view: desk::StudyView, reader: &desk::Reader, now_ms: i64) -> Self {
        Self {
            now_ms,
            row: WorkRow::of(view.row, reader),
            objects: view.objects.into_iter().map(StudyObject::from).collect(),
            revision: view.revision.0.to_hex(),
            context: ClinicContext {
                complaint: view.context.complaint,
                phone: view.context.phone,
                doctor: view.context.doctor,
                retake_of: view.context.retake_of.map(|uid| uid.to_string()),
            },
            missing: view.missing,
            priors: view.priors.into_iter().map(PriorStudy::from).collect(),
            suspected: view.suspected.into_iter().map(PriorStudy::from).collect(),
            versions: view.versions.into_iter().map(ReportVersion::from).collect(),
            critical: view.critical.into_iter().map(Critical::from).collect(),
        }
    }
}

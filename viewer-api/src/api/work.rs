//! Session, worklist, lease.

use super::words;
use crate::desk::{self, Role};
use relay_core::study::{Class, Completeness, Kind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who is logged in.
#[derive(Debug, Serialize, ToSchema)]
pub struct Me {
    /// Employee id.
    pub id: String,
    /// Name in words.
    pub name: String,
    /// What the person may do.
    pub roles: Vec<Role>,
    /// Ids of the clinics served.
    pub clinics: Vec<String>,
    /// Kinds read.
    #[schema(value_type = Vec<words::Kind>)]
    pub kinds: Vec<Kind>,
    /// Server time, UTC ms: the page corrects its countdowns with it.
    pub now_ms: i64,
    /// Absolute end of the session, UTC ms.
    pub expires_at_ms: i64,
    /// The session also ends after so many ms without use.
    pub idle_ms: i64,
}

impl Me {
    /// The session as its holder sees it.
    #[must_use]
    pub fn of(reader: &desk::Reader, expires_at_ms: i64, now_ms: i64) -> Self {
        Self {
            id: reader.id.to_string(),
            name: reader.name.clone(),
            roles: reader.roles.clone(),
            clinics: reader.clinics.iter().map(ToString::to_string).collect(),
            kinds: reader.kinds.clone(),
            now_ms,
            expires_at_ms,
            idle_ms: desk::SESSION_IDLE_MS,
        }
    }
}

/// A lease on a work item. Every write of the holder carries `epoch`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Lease {
    /// Holder's id.
    pub holder: String,
    /// Holder's name.
    pub holder_name: String,
    /// Since when, UTC ms.
    pub claimed_at_ms: i64,
    /// Ends then unless renewed by input, UTC ms.
    pub expires_at_ms: i64,
    /// Fencing number: counts up with every claim.
    pub epoch: u64,
}

impl From<desk::Lease> for Lease {
    fn from(lease: desk::Lease) -> Self {
        Self {
            holder: lease.holder.to_string(),
            holder_name: lease.holder_name,
            claimed_at_ms: lease.claimed_at.0,
            expires_at_ms: lease.expires_at.0,
            epoch: lease.epoch,
        }
    }
}

/// Patient as shown.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Patient {
    /// Name.
    pub name: String,
    /// `M`, `F`, `O` or empty.
    pub sex: String,
    /// `YYYYMMDD` or empty.
    pub birth_date: String,
    /// Age as in the file (`045Y`) or empty.
    pub age: String,
    /// Patient id in the clinic.
    pub local_id: String,
    /// National id number when known.
    pub national_id: String,
    /// The name was repaired from a wrong character set label or corrected by a person: 请核对.
    #[serde(default)]
    pub name_repaired: bool,
}

impl From<desk::PatientFacts> for Patient {
    fn from(facts: desk::PatientFacts) -> Self {
        Self {
            name: facts.name,
            sex: facts.sex,
            birth_date: facts.birth_date,
            age: facts.age,
            local_id: facts.local_id,
            national_id: facts.national_id,
            name_repaired: facts.name_repaired,
        }
    }
}

impl From<Patient> for desk::PatientFacts {
    fn from(patient: Patient) -> Self {
        Self {
            name: patient.name,
            sex: patient.sex,
            birth_date: patient.birth_date,
            age: patient.age,
            local_id: patient.local_id,
            national_id: patient.national_id,
            name_repaired: patient.name_repaired,
        }
    }
}

/// The report version last signed.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReportRef {
    /// Report id.
    pub report: String,
    /// Version.
    pub version: u32,
    /// Kind.
    #[schema(value_type = words::ReportKind)]
    pub kind: relay_core::report::ReportKind,
}

/// One row of the worklist.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkRow {
    /// Work item id.
    pub id: i64,
    /// Clinic id.
    pub clinic: String,
    /// Clinic in words.
    pub clinic_name: String,
    /// StudyInstanceUID.
    pub study_uid: String,
    /// Urgency.
    #[schema(value_type = words::Class)]
    pub class: Class,
    /// Kind.
    #[schema(value_type = words::Kind)]
    pub kind: Kind,
    /// State.
    #[schema(value_type = words::WorkState)]
    pub state: String,
    /// Lease when claimed.
    pub lease: Option<Lease>,
    /// True when the caller holds the lease.
    pub mine: bool,
    /// Patient.
    pub patient: Patient,
    /// Body part, view or study description.
    pub item: String,
    /// Exam completed, start of the clock, UTC ms.
    pub t0_ms: i64,
    /// The exam time is doubtful.
    pub time_suspect: bool,
    /// First durable object at the county, UTC ms.
    pub arrived_at_ms: i64,
    /// The next limit, UTC ms.
    pub due_at_ms: Option<i64>,
    /// What must happen by `due_at_ms` (`claimed`, `reported`, `received` …).
    pub due_stage: Option<String>,
    /// The promise: report received at the clinic, UTC ms.
    pub promise_at_ms: Option<i64>,
    /// Objects durable here.
    pub objects_stored: u32,
    /// Objects announced by the clinic.
    pub objects_announced: u32,
    /// Whether more is to come.
    #[schema(value_type = words::Completeness)]
    pub completeness: Completeness,
    /// Report version last signed.
    pub report: Option<ReportRef>,
    /// Delivery of that version.
    #[schema(value_type = Option<words::Delivery>)]
    pub delivery: Option<String>,
    /// Author of that version; he cannot audit it.
    pub author: Option<String>,
    /// Why the author is needed again: 待补充 (late objects) or 待更正 (identity corrected), as the county words it.
    pub attention: Option<String>,
    /// Every such reason; `attention` is the gravest of them.
    pub attention_reasons: Vec<String>,
    /// A critical notice is open.
    pub critical_open: bool,
}

impl WorkRow {
    /// The row as `reader` sees it.
    #[must_use]
    pub fn of(row: desk::WorkRow, reader: &desk::Reader) -> Self {
        Self {
            id: row.id,
            clinic: row.study.clinic.to_string(),
            clinic_name: row.clinic_name,
            study_uid: row.study.uid.to_string(),
            class: row.class,
            kind: row.kind,
            state: row.state,
            mine: row.lease.as_ref().is_some_and(|lease| lease.holder == reader.id),
            lease: row.lease.map(Lease::from),
            patient: row.patient.into(),
            item: row.item,
            t0_ms: row.t0.0,
            time_suspect: row.time_suspect,
            arrived_at_ms: row.arrived_at.0,
            due_at_ms: row.due_at.map(|at| at.0),
            due_stage: row.due_stage,
            promise_at_ms: row.promise_at.map(|at| at.0),
            objects_stored: row.objects.0,
            objects_announced: row.objects.1,
            completeness: row.completeness,
            report: row.report.map(|(report, version, kind)| ReportRef {
                report: report.to_string(),
                version,
                kind,
            }),
            delivery: row.delivery,
            author: row.author.map(|id| id.to_string()),
            attention: gravest(&row.attention),
            attention_reasons: row.attention,
            critical_open: row.critical_open,
        }
    }
}

/// A wrong name before everything else.
fn gravest(reasons: &[String]) -> Option<String> {
    reasons.iter().find(|r| *r == "identity_corrected").or_else(|| reasons.first()).cloned()
}

/// The worklist, most urgent first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Worklist {
    /// Server time, UTC ms: countdowns are `due_at_ms - now_ms` at the moment of the answer.
    pub now_ms: i64,
    /// Rows, at most `limit`.
    pub items: Vec<WorkRow>,
    /// Rows that the filter finds, also beyond `limit`.
    pub total: u64,
    /// Rows of which a part cannot be read: left out, or shown without that part. The county's `doctor` names them.
    pub damaged: u64,
}

/// A claimed work item.
#[derive(Debug, Serialize, ToSchema)]
pub struct Claimed {
    /// Work item id.
    pub item: i64,
    /// The lease.
    pub lease: Lease,
    /// Server time, UTC ms.
    pub now_ms: i64,
}

/// Answer to *claim next*.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClaimedNext {
    /// What was claimed; absent when nothing is open to the caller.
    pub claimed: Option<Claimed>,
}

/// The lease that the caller believes to hold.
#[derive(Debug, Deserialize, ToSchema)]
pub struct LeaseEpoch {
    /// Fencing number of the caller's claim.
    pub epoch: u64,
}

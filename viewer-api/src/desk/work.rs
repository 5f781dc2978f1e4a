//! The worklist: rows, leases, filters.

use relay_core::clock::UtcMs;
use relay_core::ids::{PersonId, ReportId, StudyKey};
use relay_core::report::ReportKind;
use relay_core::study::{Class, Completeness, Kind};

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

/// The worklist as one answer holds it.
#[derive(Debug, Clone, Default)]
pub struct WorkList {
    /// Rows, most urgent first, at most as many as asked for.
    pub rows: Vec<WorkRow>,
    /// Rows that the filter finds, also beyond that.
    pub total: u64,
    /// Rows of which a part cannot be read: left out, or shown without that part. The log and `doctor` name them.
    pub damaged: u64,
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

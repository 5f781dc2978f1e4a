//! Which FHIR R4 element holds which field. Part of the signed format: entries are added, never changed.

use super::map::{Form, Home, plain};

/// Identifier systems of this format.
pub(super) const REPORT_ID: &str = "urn:relay:id:report";
pub(super) const PLAN_ID: &str = "urn:relay:id:plan";

pub(super) const COMPOSITION: &[Home] = &[plain("report_id", "identifier/value")];
pub(super) const PLAN_COMPOSITION: &[Home] = &[plain("plan_id", "identifier/value")];
/// `report_no` is the number of the DiagnosticReport; impression is its conclusion.
pub(super) const REPORT_NO: &str = "identifier[urn:relay:id:report-no]/value";
pub(super) const ORGANIZATION: &[Home] =
    &[plain("name", "name"), plain("code", "identifier[urn:relay:id:organization]/value")];
pub(super) const CLINIC_ID: &str = "identifier[urn:relay:id:clinic]/value";
pub(super) const PATIENT: &[Home] = &[
    plain("name", "name/0/text"),
    plain("sex", "gender"),
    plain("birth_date", "birthDate"),
    plain("local_id", "identifier[urn:relay:id:patient]/value"),
    plain("visit_no", "identifier[urn:relay:id:visit]/value"),
    // 居民身份证号 in the Chinese shared health documents (WS/T 500).
    plain("national_id", "identifier[urn:oid:2.16.156.10011.1.3]/value"),
    plain("phone", "telecom[phone]/value"),
];
pub(super) const REQUEST: &[Home] = &[
    plain("apply_no", "identifier[urn:relay:id:application]/value"),
    plain("doctor", "requester/display"),
    plain("clinical_diagnosis", "reasonCode/0/text"),
    plain("complaint", "note/0/text"),
    Home { key: "requested_at", path: "authoredOn", form: Form::Instant },
];
pub(super) const IMAGING_EXAM: &[Home] = &[
    plain("modality", "modality/0/code"),
    plain("item", "procedureCode/0/text"),
    Home { key: "performed_at", path: "started", form: Form::Instant },
];
pub(super) const ECG_EXAM: &[Home] = &[
    plain("modality", "category/0/coding/0/code"),
    plain("item", "method/text"),
    plain("device", "device/display"),
    Home { key: "performed_at", path: "effectiveDateTime", form: Form::Instant },
];
pub(super) const STUDY: &[Home] =
    &[Home { key: "study_instance_uid", path: "identifier[urn:dicom:uid]/value", form: Form::Uid }];
pub(super) const PRACTITIONER: &[Home] = &[
    plain("name", "name/0/text"),
    plain("employee_id", "identifier[urn:relay:id:employee]/value"),
    plain("license_no", "identifier[urn:relay:id:license]/value"),
];
/// When a practitioner signed stands in the Composition, not with the person.
pub(super) const SIGNED_AT: &str = "signed_at";

/// Measurements with a LOINC code: field, code, English name, UCUM unit.
pub(super) const MEASUREMENTS: &[(&str, &str, &str, &str)] = &[
    ("ventricular_rate", "8867-4", "Heart rate", "/min"),
    ("pr_ms", "8625-6", "P-R Interval", "ms"),
    ("qrs_ms", "8633-0", "QRS duration", "ms"),
    ("qt_ms", "8634-8", "Q-T interval", "ms"),
    ("qtc_ms", "8636-3", "Q-T interval corrected", "ms"),
    ("p_axis", "8626-4", "P wave axis", "deg"),
    ("qrs_axis", "8632-2", "QRS axis", "deg"),
    ("t_axis", "8638-9", "T wave axis", "deg"),
];

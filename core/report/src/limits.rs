//! Limits of a report and the rules between its fields.
//!
//! Lengths are in characters (Unicode scalar values), which is what a form and its author can count.

use crate::content::{Critical, Patient, ReportContent, ReportKind, Signatory, UtcMillis};
use crate::error::ContentError;

/// Names and numbers that stand in titles, headers and signatures, where a line cannot wrap for long.
pub const MAX_NAME_CHARS: usize = 40;
/// Identifiers given by software; printed in the footer.
pub const MAX_ID_CHARS: usize = 64;
/// Short fields of the header grid, which wrap.
pub const MAX_LINE_CHARS: usize = 120;
/// Complaint, clinical diagnosis, purpose, correction reason: a short paragraph in the grid.
pub const MAX_NOTE_CHARS: usize = 500;
/// 检查所见: more than three printed pages.
pub const MAX_FINDINGS_CHARS: usize = 6_000;
/// 诊断意见, 建议, 备注 and each text of a treatment plan.
pub const MAX_OPINION_CHARS: usize = 2_000;
/// View positions of one examination.
pub const MAX_VIEWS: usize = 12;
/// Critical values on one report: far above what one examination shows.
pub const MAX_CRITICALS: usize = 16;
/// Problems, steps or drugs in one treatment plan.
pub const MAX_PLAN_ITEMS: usize = 30;
/// Pages of one PDF, without the ECG drawing: all fields at their limits need ten, more means thousands of line feeds.
pub const MAX_PAGES: usize = 12;
/// Instances of one study; far above any plain-film examination.
pub const MAX_INSTANCES: u32 = 10_000;
/// Bytes of a canonical document; the fields at their limits need about a quarter of it.
pub const MAX_CANONICAL_BYTES: usize = 1 << 20;
/// Earliest time accepted: a device clock that was reset shows the epoch.
pub const MIN_TIME_MS: UtcMillis = 0;
/// 2100-01-01T00:00:00Z.
pub const MAX_TIME_MS: UtcMillis = 4_102_444_800_000;
/// Largest ECG rate, interval (ms) or angle that is a measurement and not a slip.
const MAX_RATE: u16 = 600;
const MAX_INTERVAL_MS: u16 = 5_000;
const MAX_ANGLE: u16 = 360;
/// Largest R or S amplitude, µV.
const MAX_AMPLITUDE_UV: u32 = 20_000;

/// Characters that would make the printed line differ from the signed text.
fn is_forbidden(c: char) -> bool {
    let control = c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    control
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// Checks a text that must be there.
pub(crate) fn text(field: &'static str, value: &str, limit: usize) -> Result<(), ContentError> {
    // One pass, stopped early: a hostile text may be far longer than the limit.
    let mut blank = true;
    for (position, c) in value.chars().enumerate() {
        if position >= limit {
            return Err(ContentError::TooLong { field, chars: value.chars().count(), limit });
        }
        if is_forbidden(c) {
            return Err(ContentError::Character { field, code: c as u32, position });
        }
        blank &= c.is_whitespace();
    }
    if blank { Err(ContentError::Empty { field }) } else { Ok(()) }
}

/// Checks a text that may be absent.
pub(crate) fn optional(
    field: &'static str,
    value: Option<&String>,
    limit: usize,
) -> Result<(), ContentError> {
    value.map_or(Ok(()), |v| text(field, v, limit))
}

pub(crate) fn time(field: &'static str, ms: UtcMillis) -> Result<(), ContentError> {
    if (MIN_TIME_MS..MAX_TIME_MS).contains(&ms) { Ok(()) } else { Err(ContentError::Time { field, ms }) }
}

pub(crate) fn holds(condition: bool, field: &'static str, reason: &'static str) -> Result<(), ContentError> {
    if condition { Ok(()) } else { Err(ContentError::Invalid { field, reason }) }
}

pub(crate) fn check_report(report: &ReportContent) -> Result<(), ContentError> {
    identity(report)?;
    check_patient(&report.patient)?;
    request(report)?;
    exam(report)?;
    body(report)?;
    ecg(report)?;
    signatures(report)
}

fn identity(r: &ReportContent) -> Result<(), ContentError> {
    text("report_id", &r.report_id, MAX_ID_CHARS)?;
    text("report_no", &r.report_no, MAX_NAME_CHARS)?;
    holds(r.version >= 1, "version", "must be at least 1")?;
    let told = match r.becomes {
        None => r.kind != ReportKind::Preliminary,
        Some(end) => r.kind == ReportKind::Preliminary && end != ReportKind::Preliminary,
    };
    holds(told, "becomes", "a preliminary version, and no other, says what it becomes")?;
    if let Some(earlier) = &r.replaces {
        text("replaces.version_id", &earlier.version_id, MAX_ID_CHARS)?;
        text("replaces.reason", &earlier.reason, MAX_NOTE_CHARS)?;
        let before = (1..r.version).contains(&earlier.version);
        holds(before, "replaces.version", "must be at least 1 and smaller than version")?;
        holds(earlier.version_id != r.report_id, "replaces.version_id", "must differ from report_id")?;
    } else {
        let first = r.version == 1 && matches!(r.kind, ReportKind::Preliminary | ReportKind::Final);
        holds(first, "replaces", "every version after the first must name the one it follows")?;
    }
    text("study.clinic_id", &r.study.clinic_id, MAX_ID_CHARS)?;
    let uid = &r.study.study_instance_uid;
    // PS3.5 §9.1: at most 64 characters of digits and dots.
    let uid_ok = !uid.is_empty() && uid.len() <= 64 && uid.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    holds(uid_ok, "study.study_instance_uid", "must be 1 to 64 digits and dots")?;
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let revision_ok = (16..=128).contains(&r.study.revision.len()) && r.study.revision.bytes().all(hex);
    holds(revision_ok, "study.revision", "must be 16 to 128 lower-case hexadecimal digits")?;
    holds(r.study.instances_total <= MAX_INSTANCES, "study.instances_total", "more than 10000 instances")?;
    let read = (1..=r.study.instances_total).contains(&r.study.instances_read);
    holds(read, "study.instances_read", "must be from 1 to instances_total")?;
    text("clinic.name", &r.clinic.name, MAX_NAME_CHARS)?;
    optional("clinic.code", r.clinic.code.as_ref(), MAX_LINE_CHARS)?;
    text("hospital.name", &r.hospital.name, MAX_NAME_CHARS)?;
    optional("hospital.code", r.hospital.code.as_ref(), MAX_LINE_CHARS)
}

pub(crate) fn check_patient(p: &Patient) -> Result<(), ContentError> {
    text("patient.name", &p.name, MAX_NAME_CHARS)?;
    text("patient.age_text", &p.age_text, MAX_NAME_CHARS)?;
    text("patient.local_id", &p.local_id, MAX_NAME_CHARS)?;
    optional("patient.visit_no", p.visit_no.as_ref(), MAX_LINE_CHARS)?;
    optional("patient.patient_type", p.patient_type.as_ref(), MAX_LINE_CHARS)?;
    optional("patient.national_id", p.national_id.as_ref(), MAX_LINE_CHARS)?;
    optional("patient.phone", p.phone.as_ref(), MAX_LINE_CHARS)?;
    match &p.birth_date {
        Some(date) => holds(is_fhir_date(date), "patient.birth_date", "must be YYYY-MM-DD, YYYY-MM or YYYY"),
        None => Ok(()),
    }
}

/// FHIR `date`: a whole date, a month or a year.
fn is_fhir_date(text: &str) -> bool {
    let whole = match text.len() {
        4 => format!("{text}-01-01"),
        7 => format!("{text}-01"),
        10 => text.to_owned(),
        _ => return false,
    };
    let digits =
        text.bytes().enumerate().all(|(i, b)| if i == 4 || i == 7 { b == b'-' } else { b.is_ascii_digit() });
    digits && whole.parse::<jiff::civil::Date>().is_ok()
}

fn request(r: &ReportContent) -> Result<(), ContentError> {
    let q = &r.request;
    optional("request.apply_no", q.apply_no.as_ref(), MAX_LINE_CHARS)?;
    optional("request.dept", q.dept.as_ref(), MAX_LINE_CHARS)?;
    optional("request.doctor", q.doctor.as_ref(), MAX_LINE_CHARS)?;
    optional("request.complaint", q.complaint.as_ref(), MAX_NOTE_CHARS)?;
    optional("request.clinical_diagnosis", q.clinical_diagnosis.as_ref(), MAX_NOTE_CHARS)?;
    optional("request.purpose", q.purpose.as_ref(), MAX_NOTE_CHARS)?;
    q.requested_at.map_or(Ok(()), |ms| time("request.requested_at", ms))
}

fn exam(r: &ReportContent) -> Result<(), ContentError> {
    let e = &r.exam;
    let code = !e.modality.is_empty()
        && e.modality.len() <= 16
        && e.modality.bytes().all(|b| b.is_ascii_alphanumeric());
    holds(code, "exam.modality", "must be 1 to 16 letters or digits")?;
    text("exam.item", &e.item, MAX_LINE_CHARS)?;
    optional("exam.item_code", e.item_code.as_ref(), MAX_LINE_CHARS)?;
    optional("exam.body_part", e.body_part.as_ref(), MAX_LINE_CHARS)?;
    optional("exam.method", e.method.as_ref(), MAX_NOTE_CHARS)?;
    optional("exam.device", e.device.as_ref(), MAX_LINE_CHARS)?;
    optional("exam.technician", e.technician.as_ref(), MAX_LINE_CHARS)?;
    optional("exam.image_no", e.image_no.as_ref(), MAX_LINE_CHARS)?;
    optional("exam.comparison", e.comparison.as_ref(), MAX_NOTE_CHARS)?;
    if e.views.len() > MAX_VIEWS {
        return Err(ContentError::TooMany { field: "exam.views", count: e.views.len(), limit: MAX_VIEWS });
    }
    e.views.iter().try_for_each(|v| text("exam.views", v, MAX_LINE_CHARS))?;
    time("exam.performed_at", e.performed_at)
}

fn body(r: &ReportContent) -> Result<(), ContentError> {
    text("text.findings", &r.text.findings, MAX_FINDINGS_CHARS)?;
    text("text.impression", &r.text.impression, MAX_OPINION_CHARS)?;
    optional("text.advice", r.text.advice.as_ref(), MAX_OPINION_CHARS)?;
    optional("text.remarks", r.text.remarks.as_ref(), MAX_OPINION_CHARS)?;
    optional("mutual_recognition", r.mutual_recognition.as_ref(), MAX_LINE_CHARS)?;
    if r.criticals.len() > MAX_CRITICALS {
        let count = r.criticals.len();
        return Err(ContentError::TooMany { field: "criticals", count, limit: MAX_CRITICALS });
    }
    r.criticals.iter().try_for_each(check_critical)
}

fn check_critical(critical: &Critical) -> Result<(), ContentError> {
    text("critical.code", &critical.code, MAX_NAME_CHARS)?;
    text("critical.name", &critical.name, MAX_LINE_CHARS)?;
    optional("critical.notified_person", critical.notified_person.as_ref(), MAX_LINE_CHARS)?;
    let together = critical.notified_person.is_some() == critical.notified_at.is_some();
    holds(together, "critical.notified_at", "person and time of notification belong together")?;
    holds(
        !critical.read_back || critical.notified_person.is_some(),
        "critical.read_back",
        "nobody was notified",
    )?;
    critical.notified_at.map_or(Ok(()), |ms| time("critical.notified_at", ms))
}

fn ecg(r: &ReportContent) -> Result<(), ContentError> {
    let e = &r.ecg;
    if r.exam_kind.is_imaging() {
        return holds(*e == Default::default(), "ecg", "an image has no ECG measurements");
    }
    optional("ecg.rhythm", e.rhythm.as_ref(), MAX_LINE_CHARS)?;
    optional("ecg.lead_set", e.lead_set.as_ref(), MAX_LINE_CHARS)?;
    let rates = [e.ventricular_rate, e.atrial_rate];
    holds(rates.iter().flatten().all(|v| *v <= MAX_RATE), "ecg.ventricular_rate", "above 600 per minute")?;
    let intervals = [e.p_ms, e.pr_ms, e.qrs_ms, e.qt_ms, e.qtc_ms];
    holds(intervals.iter().flatten().all(|v| *v <= MAX_INTERVAL_MS), "ecg.qt_ms", "interval above 5000 ms")?;
    let axes = [e.p_axis, e.qrs_axis, e.t_axis];
    holds(
        axes.iter().flatten().all(|v| v.unsigned_abs() <= MAX_ANGLE),
        "ecg.qrs_axis",
        "beyond 360 degrees",
    )?;
    let amplitudes = [e.rv5_uv, e.sv1_uv];
    let in_range = amplitudes.iter().flatten().all(|v| v.unsigned_abs() <= MAX_AMPLITUDE_UV);
    holds(in_range, "ecg.rv5_uv", "amplitude above 20000 µV")?;
    holds(e.qtc_ms.is_some() || e.qtc_formula.is_none(), "ecg.qtc_formula", "formula without QTc")
}

fn signatures(r: &ReportContent) -> Result<(), ContentError> {
    signatory(
        ["author.name", "author.role", "author.employee_id", "author.license_no", "author.signed_at"],
        &r.author,
    )?;
    if let Some(reviewer) = &r.reviewer {
        signatory(
            [
                "reviewer.name",
                "reviewer.role",
                "reviewer.employee_id",
                "reviewer.license_no",
                "reviewer.signed_at",
            ],
            reviewer,
        )?;
        let other = reviewer.employee_id != r.author.employee_id;
        holds(other, "reviewer.employee_id", "the reviewer must not be the author")?;
        holds(!r.single_reader, "single_reader", "a report with a reviewer is not a single-reader report")?;
        holds(
            reviewer.signed_at >= r.author.signed_at,
            "reviewer.signed_at",
            "earlier than the author's signature",
        )?;
    } else {
        let may = r.single_reader || r.kind == ReportKind::Preliminary;
        holds(
            may,
            "reviewer",
            "needed unless the report is preliminary or policy lets a single reader sign",
        )?;
    }
    Ok(())
}

/// Checks one signatory; `fields` are the paths of its five fields in order.
pub(crate) fn signatory(fields: [&'static str; 5], s: &Signatory) -> Result<(), ContentError> {
    let [name, role, employee, license, signed] = fields;
    text(name, &s.name, MAX_NAME_CHARS)?;
    text(role, &s.role, MAX_NAME_CHARS)?;
    text(employee, &s.employee_id, MAX_NAME_CHARS)?;
    optional(license, s.license_no.as_ref(), MAX_LINE_CHARS)?;
    time(signed, s.signed_at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn the_samples_are_valid() {
        for report in [samples::xray(), samples::ecg(), samples::correction()] {
            report.validate().unwrap();
        }
    }

    #[test]
    fn an_error_names_the_field_and_the_limit() {
        let mut report = samples::xray();
        report.text.findings = "肺".repeat(MAX_FINDINGS_CHARS + 1);
        let message = report.validate().unwrap_err().to_string();
        assert_eq!(message, "report field text.findings: 6001 characters, at most 6000 allowed");
        report = samples::xray();
        report.text.advice = Some(" \n".into());
        assert_eq!(report.validate().unwrap_err(), ContentError::Empty { field: "text.advice" });
    }

    #[test]
    fn characters_that_change_the_printed_order_are_refused() {
        let mut report = samples::xray();
        report.patient.name = "张\u{202e}三".into();
        let expected = ContentError::Character { field: "patient.name", code: 0x202e, position: 1 };
        assert_eq!(report.validate().unwrap_err(), expected);
    }

    #[test]
    fn the_reviewer_is_another_person_and_missing_only_where_the_report_says_so() {
        let mut report = samples::xray();
        let author = report.author.employee_id.clone();
        report.reviewer.as_mut().unwrap().employee_id = author;
        assert!(matches!(
            report.validate(),
            Err(ContentError::Invalid { field: "reviewer.employee_id", .. })
        ));
        report.reviewer = None;
        assert!(matches!(report.validate(), Err(ContentError::Invalid { field: "reviewer", .. })));
        report.single_reader = true;
        report.validate().unwrap();
    }

    #[test]
    fn a_correction_names_what_it_replaces() {
        let mut report = samples::correction();
        report.replaces = None;
        assert!(matches!(report.validate(), Err(ContentError::Invalid { field: "replaces", .. })));
    }

    #[test]
    fn birth_dates_are_calendar_dates() {
        for good in ["1959", "1959-02", "1960-02-29"] {
            assert!(is_fhir_date(good), "{good}");
        }
        for bad in ["", "195", "1959-13", "1959-02-30", "一九五九", "1959/02/01"] {
            assert!(!is_fhir_date(bad), "{bad}");
        }
    }
}

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::content::MeasuredBy;
use crate::samples;

#[test]
fn a_report_reads_back_from_its_canonical_form() {
    for report in [samples::xray(), samples::ecg(), samples::correction()] {
        let bytes = canonical_json(&report).unwrap();
        assert_eq!(ReportContent::from_canonical(&bytes).unwrap(), report);
    }
    let mut measured = samples::ecg();
    for by in [MeasuredBy::Device, MeasuredBy::Software] {
        measured.ecg.measured_by = Some(by);
        let bytes = canonical_json(&measured).unwrap();
        assert_eq!(ReportContent::from_canonical(&bytes).unwrap(), measured);
    }
    let plan = samples::plan();
    assert_eq!(TreatmentPlan::from_canonical(&canonical_plan_json(&plan).unwrap()).unwrap(), plan);
}

#[test]
fn a_report_with_only_the_needed_fields_reads_back() {
    let mut report = samples::xray();
    report.clinic.code = None;
    report.hospital.code = None;
    report.patient.birth_date = None;
    report.patient.visit_no = None;
    report.patient.patient_type = None;
    report.patient.national_id = None;
    report.patient.phone = None;
    report.request = serde_json::from_value(json!({"class": "emergency"})).unwrap();
    report.exam =
        serde_json::from_value(json!({"modality": "CR", "item": "胸片", "performed_at": 0})).unwrap();
    report.text.advice = None;
    report.author.license_no = None;
    let bytes = canonical_json(&report).unwrap();
    assert_eq!(ReportContent::from_canonical(&bytes).unwrap(), report);
}

/// The recorded bytes are what released software signed; a difference here breaks old signatures' meaning.
#[test]
fn the_canonical_form_equals_the_recorded_bytes() {
    let golden: [(&str, Vec<u8>, &[u8]); 3] = [
        ("xray", canonical_json(&samples::xray()).unwrap(), include_bytes!("../../tests/golden/xray.json")),
        ("ecg", canonical_json(&samples::ecg()).unwrap(), include_bytes!("../../tests/golden/ecg.json")),
        (
            "plan",
            canonical_plan_json(&samples::plan()).unwrap(),
            include_bytes!("../../tests/golden/plan.json"),
        ),
    ];
    let differing = golden.iter().filter(|(_, written, recorded)| written != recorded);
    let names: Vec<&str> = differing
        .inspect(|(name, w, _)| println!("{name}: {}", String::from_utf8_lossy(w)))
        .map(|g| g.0)
        .collect();
    assert_eq!(names, [""; 0], "differ from tests/golden");
}

#[test]
fn a_document_that_says_two_things_is_refused() {
    let bytes = canonical_json(&samples::xray()).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    // The narrative only: the coded text stays.
    let forged = text.replacen("<p>胸廓对称", "<p>胸廓畸形", 1);
    assert_ne!(forged, text);
    assert!(matches!(
        ReportContent::from_canonical(forged.as_bytes()),
        Err(CanonicalError::NotCanonical { .. })
    ));
    let spaced = text.replacen(':', ": ", 1);
    assert!(matches!(
        ReportContent::from_canonical(spaced.as_bytes()),
        Err(CanonicalError::NotCanonical { .. })
    ));
}

#[test]
fn the_summary_passes_over_what_newer_software_adds() {
    let report = samples::correction();
    let mut value: Value = serde_json::from_slice(&canonical_json(&report).unwrap()).unwrap();
    value["later"] = json!({"x": 1});
    let bytes = jcs::to_vec(&value);
    assert!(ReportContent::from_canonical(&bytes).is_err());
    let summary = ReportSummary::from_canonical(&bytes).unwrap();
    assert_eq!((summary.version, summary.kind.as_str()), (2, "correction"));
    assert_eq!(summary.impression, report.text.impression);
    assert_eq!(summary.author, (report.author.name, report.author.signed_at));
    let reviewer = report.reviewer.unwrap();
    assert_eq!(summary.reviewer, Some((reviewer.name, reviewer.signed_at)));
}

#[test]
fn a_preliminary_addendum_appends_and_every_other_successor_replaces() {
    use crate::content::ReportKind;
    for (kind, becomes, relation) in [
        (ReportKind::Preliminary, Some(ReportKind::Addendum), "appends"),
        (ReportKind::Preliminary, Some(ReportKind::Correction), "replaces"),
        (ReportKind::Preliminary, Some(ReportKind::Final), "replaces"),
        (ReportKind::Addendum, None, "appends"),
        (ReportKind::Correction, None, "replaces"),
    ] {
        let report = ReportContent { kind, becomes, ..samples::correction() };
        let bytes = canonical_json(&report).unwrap();
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value["entry"][0]["resource"]["relatesTo"][0]["code"], relation, "{becomes:?}");
        assert_eq!(ReportContent::from_canonical(&bytes).unwrap(), report);
    }
    let silent = ReportContent { kind: ReportKind::Preliminary, becomes: None, ..samples::correction() };
    assert!(canonical_json(&silent).is_err());
}

#[test]
fn references_point_to_entries_of_the_same_document() {
    let value = bundle::report(&samples::ecg()).unwrap();
    let text = value.to_string();
    let urls: Vec<&str> =
        value["entry"].as_array().unwrap().iter().map(|e| e["fullUrl"].as_str().unwrap()).collect();
    for part in text.split("\"reference\":\"").skip(1) {
        let target = part.split('"').next().unwrap();
        assert!(urls.contains(&target), "{target}");
    }
    assert_eq!(value["entry"][0]["resource"]["resourceType"], "Composition");
}

proptest! {
    #[test]
    fn any_text_reads_back_or_is_refused_by_field(a in any::<String>(), b in any::<String>(), c in any::<String>()) {
        let mut report = samples::ecg();
        report.patient.name = a;
        report.text.findings = b;
        report.exam.views = vec![c.clone()];
        report.criticals[0].name = c;
        match canonical_json(&report) {
            Ok(bytes) => prop_assert_eq!(ReportContent::from_canonical(&bytes).unwrap(), report),
            Err(error) => prop_assert!(matches!(error, CanonicalError::Content(_))),
        }
    }

    #[test]
    fn damaged_bytes_never_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = canonical_json(&samples::ecg()).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        drop(ReportContent::from_canonical(&bytes));
        drop(ReportSummary::from_canonical(&bytes));
    }
}

//! Writing a report or a plan as a FHIR R4 document Bundle.

use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::homes::{
    CLINIC_ID, COMPOSITION, ECG_EXAM, IMAGING_EXAM, MEASUREMENTS, ORGANIZATION, PATIENT, PLAN_COMPOSITION,
    PLAN_ID, PRACTITIONER, REPORT_ID, REPORT_NO, REQUEST, SIGNED_AT, STUDY,
};
use super::map::{settle, slot};
use crate::content::{ExamKind, PriorityClass, ReportContent, ReportKind, UtcMillis};
use crate::error::CanonicalError;
use crate::plan::TreatmentPlan;
use crate::time::instant;

/// Version of this format.
pub(super) const PROFILE: &str = "urn:relay:report:document:1";
pub(super) const PLAN_PROFILE: &str = "urn:relay:report:plan:1";
const LOINC: &str = "http://loinc.org";

/// Resources of one document in order, with references derived from the document's identity.
struct Document {
    seed: String,
    entries: Vec<Value>,
}

impl Document {
    fn new(seed: String) -> Self {
        Self { seed, entries: Vec::new() }
    }

    /// `urn:uuid:` of a resource: version 8 (RFC 9562), bits of SHA-256 over seed and role.
    fn urn(&self, role: &str) -> String {
        let digest = Sha256::digest(format!("{}\n{role}", self.seed));
        let mut id: [u8; 16] = std::array::from_fn(|i| digest[i]);
        id[6] = 0x80 | (id[6] & 0x0f);
        id[8] = 0x80 | (id[8] & 0x3f);
        let text = hex::encode(id);
        format!(
            "urn:uuid:{}-{}-{}-{}-{}",
            &text[..8],
            &text[8..12],
            &text[12..16],
            &text[16..20],
            &text[20..]
        )
    }

    fn reference(&self, role: &str) -> Value {
        json!({"reference": self.urn(role)})
    }

    fn add(&mut self, role: &str, mut resource: Value) {
        *slot(&mut resource, "id") = role.into();
        self.entries.push(json!({"fullUrl": self.urn(role), "resource": resource}));
    }

    fn bundle(self, profile: &str, identifier: Value, at: UtcMillis) -> Value {
        json!({
            "resourceType": "Bundle", "type": "document", "meta": {"profile": [profile]},
            "identifier": identifier, "timestamp": instant(at), "entry": self.entries,
        })
    }
}

/// Fields of a struct, ready to be moved.
fn fields(value: &impl Serialize) -> Result<Map<String, Value>, CanonicalError> {
    match serde_json::to_value(value)? {
        Value::Object(map) => Ok(map),
        _ => Ok(Map::new()),
    }
}

fn code(system: &str, code: &str, display: &str) -> Value {
    json!({"coding": [{"system": system, "code": code, "display": display}]})
}

/// Narrative of plain text (XHTML, one paragraph a line).
fn narrative(text: &str) -> Value {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let body = escaped.replace('\n', "</p><p>");
    json!({"status": "generated", "div": format!("<div xmlns=\"http://www.w3.org/1999/xhtml\"><p>{body}</p></div>")})
}

fn section(title: &str, loinc: &str, display: &str, text: &str, entry: Value) -> Value {
    json!({"title": title, "code": code(LOINC, loinc, display), "text": narrative(text), "entry": [entry]})
}

/// LOINC code of the document by what was examined.
fn document_code(kind: ExamKind) -> Value {
    match kind {
        ExamKind::Ecg => code(LOINC, "11524-6", "EKG study"),
        _ => code(LOINC, "18748-4", "Diagnostic imaging study"),
    }
}

pub(super) fn report(r: &ReportContent) -> Result<Value, CanonicalError> {
    let mut doc = Document::new(format!("{}\n{}", r.report_id, r.version));
    composition(&mut doc, r)?;
    diagnostic_report(&mut doc, r);
    people(&mut doc, r)?;
    exam(&mut doc, r)?;
    for (role, loinc, display, text) in texts(r) {
        let observation = json!({
            "resourceType": "Observation", "status": "final", "code": code(LOINC, loinc, display),
            "subject": doc.reference("patient"), "valueString": text,
        });
        doc.add(role, observation);
    }
    let identifier = json!({"system": REPORT_ID, "value": r.report_id});
    Ok(doc.bundle(PROFILE, identifier, r.issued_at()))
}

/// Texts that are Observations: role, LOINC code, its name, text.
fn texts(r: &ReportContent) -> Vec<(&'static str, &'static str, &'static str, &str)> {
    let mut texts = vec![("findings", "59776-5", "Procedure findings", r.text.findings.as_str())];
    texts.extend(r.text.advice.as_deref().map(|t| ("advice", "18783-1", "Study recommendation", t)));
    texts.extend(r.text.remarks.as_deref().map(|t| ("remarks", "48767-8", "Annotation comment", t)));
    texts
}

fn composition(doc: &mut Document, r: &ReportContent) -> Result<(), CanonicalError> {
    let mut rest = fields(r)?;
    let elsewhere = [
        "report_no",
        "study",
        "clinic",
        "hospital",
        "patient",
        "request",
        "exam",
        "text",
        "ecg",
        "author",
        "reviewer",
    ];
    rest.retain(|key, _| !elsewhere.contains(&key.as_str()));
    let status = match r.kind {
        ReportKind::Preliminary => "preliminary",
        ReportKind::Final => "final",
        ReportKind::Addendum | ReportKind::Correction => "amended",
    };
    let mut attesters = vec![
        json!({"mode": "professional", "time": instant(r.author.signed_at), "party": doc.reference("author")}),
    ];
    attesters.extend(
        r.reviewer.as_ref().map(
            |s| json!({"mode": "legal", "time": instant(s.signed_at), "party": doc.reference("reviewer")}),
        ),
    );
    let mut sections = vec![section(
        "检查所见",
        "59776-5",
        "Procedure findings",
        &r.text.findings,
        doc.reference("findings"),
    )];
    sections.push(section(
        "诊断意见",
        "19005-8",
        "Radiology Imaging study [Impression]",
        &r.text.impression,
        doc.reference("report"),
    ));
    for (title, role) in [("建议", "advice"), ("备注", "remarks")] {
        if let Some((_, loinc, display, text)) = texts(r).into_iter().find(|t| t.0 == role) {
            sections.push(section(title, loinc, display, text, doc.reference(role)));
        }
    }
    let mut resource = json!({
        "resourceType": "Composition", "language": "zh-CN", "status": status, "type": document_code(r.exam_kind),
        "title": format!("{}（{}）", r.exam_kind.title_zh(), r.kind.zh()), "date": instant(r.issued_at()),
        "identifier": {"system": REPORT_ID}, "subject": doc.reference("patient"),
        "author": [doc.reference("author")], "attester": attesters, "custodian": doc.reference("hospital"),
        "section": sections,
    });
    if let Some(earlier) = &r.replaces {
        let relation = if r.stands_as() == ReportKind::Addendum { "appends" } else { "replaces" };
        let target = json!({"system": REPORT_ID, "value": earlier.version_id});
        *slot(&mut resource, "relatesTo") = json!([{"code": relation, "targetIdentifier": target}]);
    }
    settle(&mut resource, rest, COMPOSITION, "report");
    doc.add("composition", resource);
    Ok(())
}

fn diagnostic_report(doc: &mut Document, r: &ReportContent) {
    let status = match r.kind {
        ReportKind::Preliminary => "preliminary",
        ReportKind::Final => "final",
        ReportKind::Addendum => "appended",
        ReportKind::Correction => "corrected",
    };
    let mut results: Vec<Value> = texts(r).iter().map(|t| doc.reference(t.0)).collect();
    let mut resource = json!({
        "resourceType": "DiagnosticReport", "status": status, "code": document_code(r.exam_kind),
        "subject": doc.reference("patient"), "basedOn": [doc.reference("request")],
        "effectiveDateTime": instant(r.exam.performed_at), "issued": instant(r.issued_at()),
        "performer": [doc.reference("hospital")], "conclusion": r.text.impression,
    });
    let mut interpreters = vec![doc.reference("author")];
    interpreters.extend(r.reviewer.as_ref().map(|_| doc.reference("reviewer")));
    *slot(&mut resource, "resultsInterpreter") = Value::Array(interpreters);
    match r.exam_kind {
        ExamKind::Ecg => results.push(doc.reference("study")),
        _ => *slot(&mut resource, "imagingStudy") = json!([doc.reference("study")]),
    }
    *slot(&mut resource, "result") = Value::Array(results);
    *slot(&mut resource, REPORT_NO) = r.report_no.clone().into();
    doc.add("report", resource);
}

fn people(doc: &mut Document, r: &ReportContent) -> Result<(), CanonicalError> {
    patient(doc, &r.patient)?;
    practitioner(doc, "author", &r.author)?;
    if let Some(reviewer) = &r.reviewer {
        practitioner(doc, "reviewer", reviewer)?;
    }
    organization(doc, "hospital", &r.hospital, None)?;
    organization(doc, "clinic", &r.clinic, Some(&r.study.clinic_id))?;
    let priority = match r.request.class {
        PriorityClass::Green => "stat",
        PriorityClass::Emergency => "urgent",
        PriorityClass::Routine | PriorityClass::Complex | PriorityClass::Screening => "routine",
    };
    let mut request = json!({
        "resourceType": "ServiceRequest", "status": "completed", "intent": "order", "priority": priority,
        "subject": doc.reference("patient"), "requester": doc.reference("clinic"),
    });
    settle(&mut request, fields(&r.request)?, REQUEST, "request");
    doc.add("request", request);
    Ok(())
}

fn patient(doc: &mut Document, patient: &crate::content::Patient) -> Result<(), CanonicalError> {
    let mut resource = json!({"resourceType": "Patient"});
    settle(&mut resource, fields(patient)?, PATIENT, "patient");
    doc.add("patient", resource);
    Ok(())
}

fn practitioner(
    doc: &mut Document,
    role: &str,
    signatory: &crate::content::Signatory,
) -> Result<(), CanonicalError> {
    let mut rest = fields(signatory)?;
    rest.remove(SIGNED_AT);
    let mut resource = json!({"resourceType": "Practitioner"});
    settle(&mut resource, rest, PRACTITIONER, "practitioner");
    doc.add(role, resource);
    Ok(())
}

fn organization(
    doc: &mut Document,
    role: &str,
    organization: &crate::content::Organization,
    clinic_id: Option<&str>,
) -> Result<(), CanonicalError> {
    let mut resource = json!({"resourceType": "Organization"});
    if let Some(id) = clinic_id {
        *slot(&mut resource, CLINIC_ID) = id.into();
    }
    settle(&mut resource, fields(organization)?, ORGANIZATION, "organization");
    doc.add(role, resource);
    Ok(())
}

/// The examination: an ImagingStudy, or an Observation with the measurements as components.
fn exam(doc: &mut Document, r: &ReportContent) -> Result<(), CanonicalError> {
    let mut study = fields(&r.study)?;
    study.remove("clinic_id");
    let exam = fields(&r.exam)?;
    let mut resource = match r.exam_kind {
        ExamKind::Ecg => json!({
            "resourceType": "Observation", "status": "final", "subject": doc.reference("patient"),
            "code": code(LOINC, "11524-6", "EKG study"), "basedOn": [doc.reference("request")],
            "category": [{"coding": [{"system": "http://dicom.nema.org/resources/ontology/DCM"}]}],
        }),
        _ => json!({
            "resourceType": "ImagingStudy", "status": "available", "subject": doc.reference("patient"),
            "basedOn": [doc.reference("request")], "numberOfInstances": r.study.instances_total,
            "modality": [{"system": "http://dicom.nema.org/resources/ontology/DCM"}],
        }),
    };
    settle(&mut resource, study, STUDY, "study");
    let homes = if r.exam_kind.is_imaging() { IMAGING_EXAM } else { ECG_EXAM };
    settle(&mut resource, exam, homes, "exam");
    let mut ecg = fields(&r.ecg)?;
    let mut components = Vec::new();
    for (key, loinc, display, unit) in MEASUREMENTS {
        if let Some(value @ Value::Number(_)) = ecg.remove(*key) {
            let quantity =
                json!({"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit});
            components.push(json!({"code": code(LOINC, loinc, display), "valueQuantity": quantity}));
        }
    }
    if !components.is_empty() {
        *slot(&mut resource, "component") = Value::Array(components);
    }
    settle(&mut resource, ecg, &[], "ecg");
    doc.add("study", resource);
    Ok(())
}

pub(super) fn plan(p: &TreatmentPlan) -> Result<Value, CanonicalError> {
    let mut doc = Document::new(format!("{}\n{}", p.plan_id, p.version));
    let mut rest = fields(p)?;
    rest.retain(|key, _| !["clinic", "hospital", "patient", "author", "assessment"].contains(&key.as_str()));
    let attester = json!({"mode": "professional", "time": instant(p.author.signed_at), "party": doc.reference("author")});
    let mut resource = json!({
        "resourceType": "Composition", "language": "zh-CN", "status": "final", "title": "治疗方案",
        "type": code(LOINC, "18776-5", "Plan of care note"), "date": instant(p.author.signed_at),
        "identifier": {"system": PLAN_ID}, "subject": doc.reference("patient"),
        "author": [doc.reference("author")], "attester": [attester], "custodian": doc.reference("hospital"),
        "section": [section("病情评估", "51848-0", "Evaluation note", &p.assessment, doc.reference("plan"))],
        "relatesTo": [{"code": "appends", "targetIdentifier": {"system": REPORT_ID, "value": p.report_id}}],
    });
    settle(&mut resource, rest, PLAN_COMPOSITION, "plan");
    doc.add("composition", resource);
    let care = json!({
        "resourceType": "CarePlan", "status": "active", "intent": "proposal", "subject": doc.reference("patient"),
        "author": doc.reference("author"), "created": instant(p.author.signed_at), "description": p.assessment,
    });
    doc.add("plan", care);
    patient(&mut doc, &p.patient)?;
    practitioner(&mut doc, "author", &p.author)?;
    organization(&mut doc, "hospital", &p.hospital, None)?;
    organization(&mut doc, "clinic", &p.clinic, None)?;
    let identifier = json!({"system": PLAN_ID, "value": p.plan_id});
    Ok(doc.bundle(PLAN_PROFILE, identifier, p.author.signed_at))
}

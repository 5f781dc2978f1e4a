//! Canonical form: a FHIR R4 document Bundle in RFC 8785 bytes. These bytes are hashed and signed.

mod bundle;
mod homes;
mod map;
mod read;

use serde_json::Value;

use crate::content::{ReportContent, UtcMillis};
use crate::error::CanonicalError;
use crate::jcs;
use crate::plan::TreatmentPlan;
use read::Reader;

/// The canonical bytes of a report.
///
/// # Errors
/// A field that breaks a rule of [`ReportContent::validate`].
pub fn canonical_json(report: &ReportContent) -> Result<Vec<u8>, CanonicalError> {
    report.validate()?;
    Ok(jcs::to_vec(&bundle::report(report)?))
}

/// The canonical bytes of a treatment plan.
///
/// # Errors
/// A field that breaks a rule of [`TreatmentPlan::validate`].
pub fn canonical_plan_json(plan: &TreatmentPlan) -> Result<Vec<u8>, CanonicalError> {
    plan.validate()?;
    Ok(jcs::to_vec(&bundle::plan(plan)?))
}

impl ReportContent {
    /// Reads canonical bytes, strictly: writing the result again must give the same bytes, so that nothing in
    /// them is unknown to this version, stands twice with different values or breaks a rule.
    ///
    /// # Errors
    /// What is wrong, or where the bytes leave the canonical form. A report of newer software may fail here;
    /// [`ReportSummary::from_canonical`] still shows its text.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, CanonicalError> {
        let report = read::report(&Reader::new(bytes)?)?;
        same(bytes, &canonical_json(&report)?)?;
        Ok(report)
    }
}

impl TreatmentPlan {
    /// Reads canonical bytes, strictly, as [`ReportContent::from_canonical`].
    ///
    /// # Errors
    /// What is wrong, or where the bytes leave the canonical form.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, CanonicalError> {
        let plan = read::plan(&Reader::new(bytes)?)?;
        same(bytes, &canonical_plan_json(&plan)?)?;
        Ok(plan)
    }
}

fn same(found: &[u8], written: &[u8]) -> Result<(), CanonicalError> {
    if found == written {
        return Ok(());
    }
    let offset = found.iter().zip(written).position(|(a, b)| a != b);
    Err(CanonicalError::NotCanonical { offset: offset.unwrap_or(found.len().min(written.len())) })
}

/// What a list or a screen needs of a report, read without the strictness of [`ReportContent::from_canonical`]:
/// elements that newer software added are passed over. The signature over the bytes is checked elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportSummary {
    /// Identifier of the report version.
    pub report_id: String,
    /// Number of the report.
    pub report_no: String,
    /// Version.
    pub version: u32,
    /// `preliminary`, `final`, `addendum`, `correction`, or a later word.
    pub kind: String,
    /// Name of the patient.
    pub patient_name: String,
    /// Number of the patient in the clinic.
    pub patient_local_id: String,
    /// 检查所见.
    pub findings: String,
    /// 诊断意见.
    pub impression: String,
    /// 建议.
    pub advice: Option<String>,
    /// Name of the author and when he or she signed.
    pub author: (String, UtcMillis),
    /// Name of the reviewer and when he or she signed.
    pub reviewer: Option<(String, UtcMillis)>,
}

impl ReportSummary {
    /// Reads the summary from a canonical document.
    ///
    /// # Errors
    /// Not JSON, too large, of another major format, or without an element that every report has.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, CanonicalError> {
        let reader = Reader::new(bytes)?;
        if reader.profile() != Some(bundle::PROFILE) {
            return Err(CanonicalError::Missing { element: "Bundle.meta.profile" });
        }
        let needed = |role, path, element| reader.text(role, path).ok_or(CanonicalError::Missing { element });
        let composition = reader.resource("composition").unwrap_or(&Value::Null);
        let mut own = map::collect(composition, homes::COMPOSITION, "report");
        let version = own.get("version").and_then(Value::as_u64).and_then(|v| u32::try_from(v).ok());
        let mut word = |key, element| match own.remove(key) {
            Some(Value::String(text)) => Ok(text),
            _ => Err(CanonicalError::Missing { element }),
        };
        let signed = |role, attester| {
            let name = reader.text(role, "name/0/text");
            name.zip(reader.signed_at(attester))
        };
        Ok(Self {
            report_id: word("report_id", "Composition.identifier")?,
            report_no: needed("report", homes::REPORT_NO, "DiagnosticReport.identifier")?,
            version: version.ok_or(CanonicalError::Missing { element: "version" })?,
            kind: word("kind", "kind")?,
            patient_name: needed("patient", "name/0/text", "Patient.name")?,
            patient_local_id: needed(
                "patient",
                "identifier[urn:relay:id:patient]/value",
                "Patient.identifier",
            )?,
            findings: needed("findings", "valueString", "findings")?,
            impression: needed("report", "conclusion", "DiagnosticReport.conclusion")?,
            advice: reader.text("advice", "valueString"),
            author: signed("author", 0).ok_or(CanonicalError::Missing { element: "author" })?,
            reviewer: signed("reviewer", 1),
        })
    }
}

#[cfg(test)]
mod tests;

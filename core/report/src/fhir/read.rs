//! Reading what [`super::bundle`] writes.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::homes::{
    CLINIC_ID, COMPOSITION, ECG_EXAM, IMAGING_EXAM, MEASUREMENTS, ORGANIZATION, PATIENT, PLAN_COMPOSITION,
    PRACTITIONER, REPORT_NO, REQUEST, SIGNED_AT, STUDY,
};
use super::map::{Home, collect, find};
use crate::content::ReportContent;
use crate::error::CanonicalError;
use crate::limits::MAX_CANONICAL_BYTES;
use crate::plan::TreatmentPlan;
use crate::time::parse_instant;

/// A parsed Bundle whose resources are found by their role.
pub(super) struct Reader {
    bundle: Value,
}

impl Reader {
    pub(super) fn new(bytes: &[u8]) -> Result<Self, CanonicalError> {
        if bytes.len() > MAX_CANONICAL_BYTES {
            return Err(CanonicalError::TooLarge { bytes: bytes.len(), limit: MAX_CANONICAL_BYTES });
        }
        Ok(Self { bundle: serde_json::from_slice(bytes)? })
    }

    pub(super) fn profile(&self) -> Option<&str> {
        find(&self.bundle, "meta/profile/0").and_then(Value::as_str)
    }

    /// The resource with this `id`.
    pub(super) fn resource(&self, role: &str) -> Option<&Value> {
        let entries = self.bundle.get("entry")?.as_array()?;
        let mut resources = entries.iter().filter_map(|e| e.get("resource"));
        resources.find(|r| r.get("id").and_then(Value::as_str) == Some(role))
    }

    fn needed(&self, role: &'static str) -> Result<&Value, CanonicalError> {
        self.resource(role).ok_or(CanonicalError::Missing { element: role })
    }

    pub(super) fn text(&self, role: &str, path: &str) -> Option<String> {
        find(self.resource(role)?, path)?.as_str().map(str::to_owned)
    }

    /// When the author (0) or the reviewer (1) signed.
    pub(super) fn signed_at(&self, attester: usize) -> Option<i64> {
        parse_instant(&self.text("composition", &format!("attester/{attester}/time"))?)
    }

    fn group(&self, role: &'static str, homes: &[Home], name: &str) -> Result<Value, CanonicalError> {
        Ok(Value::Object(collect(self.needed(role)?, homes, name)))
    }

    fn signatory(&self, role: &'static str, attester: usize) -> Result<Value, CanonicalError> {
        let mut fields = collect(self.needed(role)?, PRACTITIONER, "practitioner");
        let signed = self
            .signed_at(attester)
            .ok_or(CanonicalError::Missing { element: "Composition.attester.time" })?;
        fields.insert(SIGNED_AT.to_owned(), signed.into());
        Ok(Value::Object(fields))
    }
}

fn build<T: DeserializeOwned>(fields: Map<String, Value>) -> Result<T, CanonicalError> {
    Ok(serde_json::from_value(Value::Object(fields))?)
}

pub(super) fn report(reader: &Reader) -> Result<ReportContent, CanonicalError> {
    let mut all = collect(reader.needed("composition")?, COMPOSITION, "report");
    let mut put = |key: &str, value: Value| all.insert(key.to_owned(), value);
    put("report_no", find(reader.needed("report")?, REPORT_NO).cloned().unwrap_or_default());
    put("hospital", reader.group("hospital", ORGANIZATION, "organization")?);
    put("clinic", reader.group("clinic", ORGANIZATION, "organization")?);
    put("patient", reader.group("patient", PATIENT, "patient")?);
    put("request", reader.group("request", REQUEST, "request")?);
    put("author", reader.signatory("author", 0)?);
    if reader.resource("reviewer").is_some() {
        put("reviewer", reader.signatory("reviewer", 1)?);
    }
    let study = reader.needed("study")?;
    let mut key = collect(study, STUDY, "study");
    key.insert(
        "clinic_id".to_owned(),
        find(reader.needed("clinic")?, CLINIC_ID).cloned().unwrap_or_default(),
    );
    put("study", Value::Object(key));
    let film = study.get("resourceType").and_then(Value::as_str) == Some("ImagingStudy");
    put("exam", reader.group("study", if film { IMAGING_EXAM } else { ECG_EXAM }, "exam")?);
    put("ecg", Value::Object(measurements(study)));

    let mut text = Map::new();
    let sources = [
        ("findings", "findings", "valueString"),
        ("impression", "report", "conclusion"),
        ("advice", "advice", "valueString"),
        ("remarks", "remarks", "valueString"),
    ];
    for (key, role, path) in sources {
        if let Some(value) = reader.text(role, path) {
            text.insert(key.to_owned(), value.into());
        }
    }
    put("text", Value::Object(text));
    build(all)
}

fn measurements(study: &Value) -> Map<String, Value> {
    let mut fields = collect(study, &[], "ecg");
    let components = study.get("component").and_then(Value::as_array);
    for component in components.into_iter().flatten() {
        let code = find(component, "code/coding/0/code").and_then(Value::as_str);
        let known = MEASUREMENTS.iter().find(|m| Some(m.1) == code);
        if let (Some((key, ..)), Some(value)) = (known, find(component, "valueQuantity/value")) {
            fields.insert((*key).to_owned(), value.clone());
        }
    }
    fields
}

pub(super) fn plan(reader: &Reader) -> Result<TreatmentPlan, CanonicalError> {
    let mut all = collect(reader.needed("composition")?, PLAN_COMPOSITION, "plan");
    let mut put = |key: &str, value: Value| all.insert(key.to_owned(), value);
    put("hospital", reader.group("hospital", ORGANIZATION, "organization")?);
    put("clinic", reader.group("clinic", ORGANIZATION, "organization")?);
    put("patient", reader.group("patient", PATIENT, "patient")?);
    put("author", reader.signatory("author", 0)?);
    put("assessment", find(reader.needed("plan")?, "description").cloned().unwrap_or_default());
    build(all)
}

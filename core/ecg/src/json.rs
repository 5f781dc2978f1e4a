//! The JSON document of an ECG: stored, derived and median leads in µV, what the device said, what is measured here, checks.

use std::collections::BTreeMap;
use std::io;

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::Value;

use crate::checks::Finding;
use crate::lead::Lead;
use crate::measure::{Measured, StLevel};
use crate::model::{Acquired, Ecg};

/// The whole document. Missing samples and values that could not be measured are null, never 0.
pub fn document(ecg: &Ecg, measured: &Measured, checks: &[Finding]) -> Value {
    serde_json::to_value(whole(ecg, measured, checks)).unwrap_or(Value::Null)
}

/// Writes the document to `out`, sample by sample: a record of a day is never held as text.
///
/// # Errors
/// The error of `out`.
pub fn write(ecg: &Ecg, measured: &Measured, checks: &[Finding], out: impl io::Write) -> io::Result<()> {
    serde_json::to_writer(out, &whole(ecg, measured, checks)).map_err(io::Error::from)
}

#[derive(serde::Serialize)]
struct Document<'a> {
    format: &'static str,
    variant: &'a str,
    view_only: bool,
    leads: Leads<'a>,
    derived: Owned,
    median: Leads<'a>,
    not_ecg: &'a [crate::model::NotEcg],
    device: Device<'a>,
    patient: &'a crate::model::Patient,
    pacing: &'a [crate::model::PacingMark],
    annotations: &'a [crate::model::Annotation],
    series: &'a Option<crate::model::SeriesPlace>,
    measured: Estimate<'a>,
    checks: &'a [Finding],
    warnings: &'a [String],
    acquired_at: Option<String>,
    acquired: &'a Option<Acquired>,
}

#[derive(serde::Serialize)]
struct Device<'a> {
    confirmed: bool,
    note: &'static str,
    manufacturer: &'a Option<String>,
    model: &'a Option<String>,
    serial: &'a Option<String>,
    software: &'a Option<String>,
    institution: &'a Option<String>,
    measurements: BTreeMap<&'a str, Option<f64>>,
    statements: &'a [String],
    marks: &'a [crate::model::DeviceMark],
    filters: &'a crate::lead::Filters,
}

/// What was measured here, marked as an estimate, ST levels by lead.
struct Estimate<'a>(&'a Measured);

impl Serialize for Estimate<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut value = serde_json::to_value(self.0).unwrap_or(Value::Null);
        if let Some(object) = value.as_object_mut() {
            object.insert("status".into(), "estimate".into());
            let levels =
                |s: &StLevel| serde_json::json!({"j": s.j, "j40": s.j40, "j60": s.j60, "j80": s.j80});
            let st = self.0.st_uv.iter().map(|s| (s.lead.clone(), levels(s))).collect();
            object.insert("st_uv".into(), Value::Object(st));
        }
        value.serialize(serializer)
    }
}

struct Leads<'a>(&'a [Lead]);
struct Owned(Vec<Lead>);
struct One<'a>(&'a Lead);
struct Samples<'a>(&'a Lead);

impl Serialize for Leads<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(One))
    }
}

impl Serialize for Owned {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Leads(&self.0).serialize(serializer)
    }
}

impl Serialize for One<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let lead = self.0;
        let mut map = serializer.serialize_map(Some(8))?;
        map.serialize_entry("name", lead.name())?;
        map.serialize_entry("lead", &lead.id)?;
        map.serialize_entry("rate_hz", &lead.rate_hz)?;
        map.serialize_entry("unit", lead.unit.name())?;
        map.serialize_entry("n", &lead.len())?;
        map.serialize_entry("start_s", &lead.start_s)?;
        map.serialize_entry("ecg", &lead.is_ecg)?;
        map.serialize_entry("samples", &Samples(lead))?;
        map.end()
    }
}

impl Serialize for Samples<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.uv_iter())
    }
}

fn whole<'a>(ecg: &'a Ecg, measured: &'a Measured, checks: &'a [Finding]) -> Document<'a> {
    let mut measurements = BTreeMap::new();
    for m in &ecg.device.measurements {
        measurements.entry(m.key.as_str()).or_insert(m.value);
    }
    let device = &ecg.device;
    Document {
        format: ecg.format.name(),
        variant: &ecg.variant,
        view_only: ecg.is_view_only(),
        leads: Leads(&ecg.rhythm),
        derived: Owned(ecg.derived()),
        median: Leads(&ecg.median),
        not_ecg: &ecg.not_ecg,
        device: Device {
            confirmed: false,
            note: "machine, unconfirmed",
            manufacturer: &device.manufacturer,
            model: &device.model,
            serial: &device.serial,
            software: &device.software,
            institution: &device.institution,
            measurements,
            statements: &device.statements,
            marks: &device.marks,
            filters: &device.filters,
        },
        patient: &ecg.patient,
        pacing: &ecg.pacing,
        annotations: &ecg.annotations,
        series: &ecg.series,
        measured: Estimate(measured),
        checks,
        warnings: &ecg.warnings,
        acquired_at: ecg.acquired.as_ref().and_then(Acquired::iso),
        acquired: &ecg.acquired,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synth::{Spec, ecg};

    #[test]
    fn what_is_not_known_is_null() {
        let mut e = ecg(&Spec::atrial_fibrillation(2));
        e.rhythm[0].missing = Some(e.rhythm[0].samples.get(7).unwrap());
        e.device.measured("pr_ms", "x", Some(0.0), "ms");
        let m = crate::measure::measure(&e);
        let doc = document(&e, &m, &crate::checks::check(&e, &m));
        assert_eq!(doc["leads"][0]["samples"][7], Value::Null);
        assert_eq!(doc["device"]["measurements"]["pr_ms"], Value::Null);
        assert_eq!(doc["measured"]["pr_ms"], Value::Null);
        assert_eq!(doc["acquired_at"], Value::Null);
        assert_eq!(doc["leads"][1]["unit"], "uV");
        let mut text = Vec::new();
        write(&e, &m, &crate::checks::check(&e, &m), &mut text).unwrap();
        let again = |text: &[u8]| serde_json::from_slice::<Value>(text).unwrap();
        assert_eq!(again(&text), again(doc.to_string().as_bytes()), "written and built are the same");
    }
}

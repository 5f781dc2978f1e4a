//! The JSON document of an ECG: stored, derived and median leads in µV, what the device said, what is measured here, checks.

use serde_json::{Map, Value, json};

use crate::checks::Finding;
use crate::lead::Lead;
use crate::measure::Measured;
use crate::model::Ecg;

/// The whole document. Missing samples and values that could not be measured are null, never 0.
pub fn document(ecg: &Ecg, measured: &Measured, checks: &[Finding]) -> Value {
    let mut measurements = Map::new();
    for m in &ecg.device.measurements {
        measurements.entry(m.key.clone()).or_insert_with(|| m.value.map_or(Value::Null, |v| json!(v)));
    }
    json!({
        "format": ecg.format.name(),
        "variant": ecg.variant,
        "view_only": ecg.is_view_only(),
        "leads": ecg.rhythm.iter().map(lead).collect::<Vec<_>>(),
        "derived": ecg.derived().iter().map(lead).collect::<Vec<_>>(),
        "median": ecg.median.iter().map(lead).collect::<Vec<_>>(),
        "not_ecg": ecg.not_ecg,
        "device": {
            "confirmed": false,
            "note": "machine, unconfirmed",
            "manufacturer": ecg.device.manufacturer,
            "model": ecg.device.model,
            "serial": ecg.device.serial,
            "software": ecg.device.software,
            "institution": ecg.device.institution,
            "measurements": measurements,
            "statements": ecg.device.statements,
            "marks": ecg.device.marks,
            "filters": ecg.device.filters,
        },
        "patient": ecg.patient,
        "pacing": ecg.pacing,
        "annotations": ecg.annotations,
        "series": ecg.series,
        "measured": measured_json(measured),
        "checks": checks,
        "warnings": ecg.warnings,
        "acquired_at": ecg.acquired.as_ref().and_then(crate::model::Acquired::iso),
        "acquired": ecg.acquired,
    })
}

fn lead(lead: &Lead) -> Value {
    json!({
        "name": lead.name(),
        "lead": lead.id,
        "rate_hz": lead.rate_hz,
        "unit": lead.unit.name(),
        "n": lead.len(),
        "start_s": lead.start_s,
        "ecg": lead.is_ecg,
        "samples": lead.uv_iter().map(|v| v.map_or(Value::Null, |v| json!(v))).collect::<Vec<_>>(),
    })
}

fn measured_json(measured: &Measured) -> Value {
    let mut value = serde_json::to_value(measured).unwrap_or(Value::Null);
    if let Some(object) = value.as_object_mut() {
        object.insert("status".into(), json!("estimate"));
        let st: Map<String, Value> = measured
            .st_uv
            .iter()
            .map(|s| (s.lead.clone(), json!({"j": s.j, "j40": s.j40, "j60": s.j60, "j80": s.j80})))
            .collect();
        object.insert("st_uv".into(), Value::Object(st));
    }
    value
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
    }
}

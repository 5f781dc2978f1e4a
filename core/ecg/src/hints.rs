//! Hints towards the critical-value list: never a diagnosis, off unless policy asks for them, and they may only raise priority.
//!
//! Each hint carries its rule and the numbers that raised it.

use serde::Serialize;

use crate::measure::Measured;

/// One hint.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hint {
    /// Code of the list entry it points to (`E-A01` …).
    pub code: &'static str,
    /// The rule in words.
    pub rule: &'static str,
    /// The numbers.
    pub because: String,
}

/// Which rules are asked for; all off by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policy {
    /// Give hints at all.
    pub enabled: bool,
}

/// Contiguous lead groups for ST elevation (Thygesen 2018, fourth universal definition of myocardial infarction).
const GROUPS: [(&str, &[&str]); 4] = [
    ("inferior", &["II", "III", "aVF"]),
    ("lateral", &["I", "aVL", "V5", "V6"]),
    ("anterior", &["V1", "V2", "V3", "V4"]),
    ("right or posterior", &["V3R", "V4R", "V5R", "V7", "V8", "V9"]),
];

/// Hints for an adult ECG; empty when the policy does not ask for them.
pub fn hints(measured: &Measured, policy: Policy) -> Vec<Hint> {
    let mut out = Vec::new();
    if !policy.enabled {
        return out;
    }
    st_elevation(measured, &mut out);
    let rate = measured.rate_bpm;
    if let Some(r) = rate.filter(|r| *r <= 35.0) {
        out.push(Hint {
            code: "E-A11",
            rule: "mean ventricular rate at most 35/min",
            because: format!("{r:.0}/min"),
        });
    }
    if let Some(r) = rate.filter(|r| *r >= 180.0) {
        out.push(Hint {
            code: "E-A06",
            rule: "mean ventricular rate at least 180/min",
            because: format!("{r:.0}/min"),
        });
    }
    let pause = measured.beats_s.windows(2).map(|w| w[1] - w[0]).fold(0.0, f64::max);
    if pause >= 3.0 {
        out.push(Hint {
            code: "E-A12",
            rule: "RR interval of 3.0 s or longer",
            because: format!("{pause:.1} s"),
        });
    }
    if let Some(q) = measured.qtc_ms.filter(|q| q.fridericia >= 500.0) {
        let code = if q.fridericia >= 550.0 { "E-A15" } else { "E-B" };
        out.push(Hint {
            code,
            rule: "QTc (Fridericia) of 500 ms or longer",
            because: format!("{:.0} ms", q.fridericia),
        });
    }
    out
}

/// E-A01: ST at J+60 elevated in two leads of one group: 100 µV in limb leads and V4-V6, 300 µV in V1-V3, 50 µV in V7-V9 and V3R-V5R.
fn st_elevation(measured: &Measured, out: &mut Vec<Hint>) {
    let limit = |lead: &str| match lead {
        "V1" | "V2" | "V3" => 300.0,
        "V7" | "V8" | "V9" | "V3R" | "V4R" | "V5R" => 50.0,
        _ => 100.0,
    };
    for (group, leads) in GROUPS {
        let high: Vec<String> = measured
            .st_uv
            .iter()
            .filter(|s| leads.contains(&s.lead.as_str()) && s.j60 >= limit(&s.lead))
            .map(|s| format!("{} {:+.0} µV", s.lead, s.j60))
            .collect();
        if high.len() >= 2 {
            let rule = "ST at J+60 ms elevated in two leads of one group: limb, V4-V6 100 µV; V1-V3 300 µV; V7-V9, V3R-V5R 50 µV";
            out.push(Hint { code: "E-A01", rule, because: format!("{group}: {}", high.join(", ")) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::measure;
    use crate::synth::{Spec, ecg};

    const ON: Policy = Policy { enabled: true };

    #[test]
    fn nothing_is_hinted_unless_asked_for() {
        assert!(hints(&measure(&ecg(&Spec::inferior_stemi(1))), Policy::default()).is_empty());
    }

    #[test]
    fn inferior_elevation_hints_with_its_numbers() {
        let found = hints(&measure(&ecg(&Spec::inferior_stemi(1))), ON);
        assert!(found.iter().any(|h| h.code == "E-A01" && h.because.contains("III")), "{found:?}");
        assert!(hints(&measure(&ecg(&Spec::normal(1))), ON).is_empty());
    }

    #[test]
    fn very_slow_and_very_fast_are_hinted() {
        let at = |bpm: f64| hints(&measure(&ecg(&Spec { rate_bpm: bpm, ..Spec::normal(1) })), ON);
        assert!(at(30.0).iter().any(|h| h.code == "E-A11"));
        assert!(at(195.0).iter().any(|h| h.code == "E-A06"));
    }
}

//! Every corpus file against its recorded ground truth. Needs `RELAY_CORPUS=DIR` with `DIR/ecg`.
#![expect(clippy::print_stdout, reason = "a corpus run prints what it read")]

use std::path::{Path, PathBuf};

use relay_ecg::{Companion, Ecg, Hints, Lead, ReadError, read};
use serde_json::Value;

fn corpus() -> Option<PathBuf> {
    let Some(dir) = std::env::var_os("RELAY_CORPUS") else {
        println!("skipped: RELAY_CORPUS is not set");
        return None;
    };
    Some(PathBuf::from(dir).join("ecg"))
}

fn load(root: &Path, file: &str) -> Result<Ecg, ReadError> {
    let path = root.join(file);
    let bytes = std::fs::read(&path).expect("corpus file");
    let stem = path.file_stem().expect("name").to_string_lossy().into_owned();
    let mut near: Vec<(String, Vec<u8>)> = Vec::new();
    if file.ends_with(".hea") {
        for entry in std::fs::read_dir(path.parent().expect("folder")).expect("folder").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(&format!("{stem}.")) {
                near.push((name, std::fs::read(entry.path()).expect("companion")));
            }
        }
    }
    let companions: Vec<Companion<'_>> = near.iter().map(|(name, bytes)| Companion { name, bytes }).collect();
    read(&bytes, &Hints { name: Some(file), companions: &companions, format: None })
}

struct Report {
    lines: Vec<String>,
}

impl Report {
    fn near(&mut self, what: &str, got: f64, want: f64, tolerance: f64) {
        // Written so that NaN fails.
        let ok = (got - want).abs() <= tolerance;
        if !ok {
            self.lines.push(format!("{what}: {got} instead of {want}"));
        }
    }
}

/// 0 µV: equal to the ground truth within its own rounding (4 decimals).
const ROUNDING: f64 = 6e-5;

fn compare(what: &str, leads: &[Lead], expected: &Value, tolerance: f64, report: &mut Report) {
    let expected = expected.as_array().map(Vec::as_slice).unwrap_or_default();
    let names: Vec<&str> = leads.iter().map(Lead::name).collect();
    let wanted: Vec<&str> = expected.iter().filter_map(|l| l["name"].as_str()).collect();
    if names != wanted {
        report.lines.push(format!("{what}: leads {names:?} instead of {wanted:?}"));
        return;
    }
    for (lead, want) in leads.iter().zip(expected) {
        let what = format!("{what} {}", lead.name());
        report.near(
            &format!("{what} rate"),
            lead.rate_hz,
            want["sampling_rate_hz"].as_f64().expect("rate"),
            1e-9,
        );
        report.near(
            &format!("{what} samples"),
            lead.len() as f64,
            want["n_samples"].as_f64().expect("n"),
            0.0,
        );
        report.near(
            &format!("{what} missing"),
            lead.missing_count() as f64,
            want["n_missing"].as_f64().expect("n_missing"),
            0.0,
        );
        let values: Vec<Option<f64>> = lead.uv_iter().collect();
        let present: Vec<f64> = values.iter().flatten().copied().collect();
        for (i, v) in want["first10"].as_array().expect("first10").iter().enumerate() {
            match v.as_f64() {
                Some(v) => report.near(
                    &format!("{what}[{i}]"),
                    values.get(i).copied().flatten().unwrap_or(f64::NAN),
                    v,
                    tolerance,
                ),
                None if values.get(i).copied().flatten().is_some() => {
                    report.lines.push(format!("{what}[{i}] should be missing"))
                }
                None => {}
            }
        }
        for (i, v) in want["spot"].as_object().expect("spot") {
            let index: usize = i.parse().expect("index");
            if let Some(v) = v.as_f64() {
                report.near(
                    &format!("{what}[{i}]"),
                    values.get(index).copied().flatten().unwrap_or(f64::NAN),
                    v,
                    tolerance,
                );
            }
        }
        if let Some(min) = want["min"].as_f64() {
            report.near(
                &format!("{what} min"),
                present.iter().copied().fold(f64::MAX, f64::min),
                min,
                tolerance,
            );
            report.near(
                &format!("{what} max"),
                present.iter().copied().fold(f64::MIN, f64::max),
                want["max"].as_f64().expect("max"),
                tolerance,
            );
            let mean = present.iter().sum::<f64>() / present.len() as f64;
            report.near(&format!("{what} mean"), mean, want["mean"].as_f64().expect("mean"), tolerance);
        }
    }
}

#[test]
fn every_corpus_file_reads_to_its_ground_truth() {
    let Some(root) = corpus() else { return };
    let mut all = Vec::new();
    let mut names: Vec<PathBuf> =
        std::fs::read_dir(root.join("expected")).expect("expected").flatten().map(|e| e.path()).collect();
    names.sort();
    let only = std::env::var("RELAY_ECG_ONLY").unwrap_or_default();
    for path in names {
        let want: Value = serde_json::from_slice(&std::fs::read(&path).expect("json")).expect("json");
        let file = want["file"].as_str().expect("file").to_owned();
        if !file.contains(&only) {
            continue;
        }
        let mut report = Report { lines: Vec::new() };
        let result = load(&root, &file);
        if want["expected_result"] == "error" {
            match result {
                Ok(_) => report.lines.push("was read, must be refused".into()),
                Err(cause) => println!("refused {file}: {cause}"),
            }
        } else {
            match result {
                Ok(ecg) => {
                    // the Contec script rounds derived augmented leads to 5 µV (SOURCES.md)
                    let tolerance = if file.contains("contec_ecg90a") { 2.5 } else { ROUNDING };
                    compare("rhythm", ecg.leads(), &want["leads"], tolerance, &mut report);
                    if want["median_beats"].as_array().is_some_and(|m| !m.is_empty()) {
                        compare("median", &ecg.median, &want["median_beats"], tolerance, &mut report);
                    }
                    if want["derived_leads"].is_array() {
                        compare("derived", &ecg.derived(), &want["derived_leads"], tolerance, &mut report);
                    }
                    println!(
                        "read {file}: {} {} leads, {}",
                        ecg.format,
                        ecg.rhythm.len(),
                        if report.lines.is_empty() { "equal" } else { "DIFFERENT" }
                    );
                }
                Err(cause) => report.lines.push(format!("refused: {cause}")),
            }
        }
        all.extend(report.lines.into_iter().take(4).map(|l| format!("{file}: {l}")));
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

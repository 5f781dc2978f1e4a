//! Measurements against what the carts stored, and the detector against the annotated record. Needs `RELAY_CORPUS=DIR` with `DIR/ecg`.
#![expect(clippy::print_stdout, reason = "the comparison is printed as a table")]

use std::path::{Path, PathBuf};

use relay_ecg::measure::{Measured, detect, measure};
use relay_ecg::read::wfdb::BEATS;
use relay_ecg::synth::Random;
use relay_ecg::{Companion, Ecg, Format, Hints, Lead, Samples, read};

fn corpus() -> Option<PathBuf> {
    let Some(dir) = std::env::var_os("RELAY_CORPUS") else {
        println!("skipped: RELAY_CORPUS is not set");
        return None;
    };
    Some(PathBuf::from(dir).join("ecg"))
}

fn load(path: &Path) -> Option<Ecg> {
    let bytes = std::fs::read(path).ok()?;
    let stem = path.file_stem()?.to_string_lossy().into_owned();
    let near: Vec<(String, Vec<u8>)> = std::fs::read_dir(path.parent()?)
        .ok()?
        .flatten()
        .map(|e| (e.file_name().to_string_lossy().into_owned(), e.path()))
        .filter(|(n, _)| path.extension().is_some_and(|e| e == "hea") && n.starts_with(&format!("{stem}.")))
        .map(|(n, p)| (n, std::fs::read(p).unwrap_or_default()))
        .collect();
    let companions: Vec<Companion<'_>> = near.iter().map(|(name, bytes)| Companion { name, bytes }).collect();
    read(&bytes, &Hints { name: path.to_str(), companions: &companions, format: None }).ok()
}

fn all(root: &Path) -> Vec<(String, Ecg)> {
    let mut out = Vec::new();
    for folder in std::fs::read_dir(root).expect("corpus").flatten().filter(|e| e.path().is_dir()) {
        for file in std::fs::read_dir(folder.path()).expect("folder").flatten() {
            let name =
                format!("{}/{}", folder.file_name().to_string_lossy(), file.file_name().to_string_lossy());
            if let Some(ecg) = load(&file.path()).filter(|e| !e.rhythm.is_empty()) {
                out.push((name, ecg));
            }
        }
    }
    out.sort_by(|a, b| a.0.cmp(&b.0));
    out
}

/// Values in these containers are test values, not measured from the signal.
const MADE_UP: [&str; 3] = [
    "dicom/dicom12_gb18030_name.dcm",
    "scp/scp_refbeat_huffman_12lead.scp",
    "scp/scp_firstdiff_raw_8lead.scp",
];

/// This cart states the mean of the rates from beat to beat, not the rate of the mean RR: it also states their lowest (70), highest
/// (104) and standard deviation (14), which the same beats show here. They run from 70 to 105/min within the ten seconds.
const AVERAGES_BEAT_RATES: [&str; 1] = ["philips/philips_1_04_utf16.xml"];

/// Mean, lowest, highest and deviation of the rates from beat to beat.
fn beat_rates(m: &Measured) -> [f64; 4] {
    let rates: Vec<f64> = m.beats_s.windows(2).map(|w| 60.0 / (w[1] - w[0])).collect();
    let mean = rates.iter().sum::<f64>() / rates.len() as f64;
    let variance = rates.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / (rates.len() - 1) as f64;
    let (low, high) = rates.iter().fold((f64::MAX, f64::MIN), |(l, h), r| (l.min(*r), h.max(*r)));
    [mean, low, high, variance.sqrt()]
}

#[test]
fn the_one_rate_that_differs_is_the_mean_of_the_rates_from_beat_to_beat() {
    let Some(root) = corpus() else { return };
    for name in AVERAGES_BEAT_RATES {
        let ecg = load(&root.join(name)).expect(name);
        let found = beat_rates(&measure(&ecg));
        assert_eq!(ecg.device.value("rate_bpm"), Some(84.0));
        for (ours, stated) in found.into_iter().zip([84.0, 70.0, 104.0, 14.0]) {
            assert!((ours - stated).abs() <= 1.0, "{found:?}");
        }
    }
}

#[test]
fn measurements_agree_with_what_the_carts_stored() {
    let Some(root) = corpus() else { return };
    let (mut qrs, mut pr, mut qt, mut late) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    println!("{:<44} {:>13} {:>13} {:>13} {:>13} {:>9}", "file", "rate", "PR", "QRS", "QT", "QRS axis");
    for (name, ecg) in all(&root).into_iter().filter(|(n, _)| !MADE_UP.contains(&n.as_str())) {
        let m: Measured = measure(&ecg);
        let stored = |key: &str| ecg.device.value(key);
        let pair = |ours: Option<f64>, key: &str| {
            let show = |v: Option<f64>| v.map_or("-".to_owned(), |v| format!("{v:.0}"));
            format!("{}/{}", show(ours), show(stored(key)))
        };
        println!(
            "{name:<44} {:>13} {:>13} {:>13} {:>13} {:>9}",
            pair(m.rate_bpm, "rate_bpm"),
            pair(m.pr_ms, "pr_ms"),
            pair(m.qrs_ms, "qrs_ms"),
            pair(m.qt_ms, "qt_ms"),
            pair(m.axis_deg.qrs, "qrs_axis_deg")
        );
        let gather = |ours: Option<f64>, key: &str, list: &mut Vec<f64>| {
            if let (Some(a), Some(b)) = (ours, stored(key)) {
                list.push(a - b);
            }
        };
        gather(m.qrs_ms, "qrs_ms", &mut qrs);
        gather(m.pr_ms, "pr_ms", &mut pr);
        gather(m.qt_ms, "qt_ms", &mut qt);
        if let (Some(a), Some(b)) = (m.rate_bpm, stored("rate_bpm"))
            && (a.round() - b).abs() > 1.0
            && !AVERAGES_BEAT_RATES.contains(&name.as_str())
        {
            late.push(format!("{name}: rate {a:.1}, stored {b}"));
        }
    }
    let median = |v: &mut Vec<f64>| {
        v.sort_unstable_by(f64::total_cmp);
        v[v.len() / 2]
    };
    let (q, p, t) = (median(&mut qrs), median(&mut pr), median(&mut qt));
    println!(
        "median of differences: QRS {q:.1} ms of {}, PR {p:.1} ms of {}, QT {t:.1} ms of {}",
        qrs.len(),
        pr.len(),
        qt.len()
    );
    println!("QRS {qrs:.0?}\nPR {pr:.0?}\nQT {qt:.0?}");
    assert!(late.is_empty(), "{late:?}");
    assert!(q.abs() <= 10.0 && p.abs() <= 10.0 && t.abs() <= 20.0, "QRS {q:.1}, PR {p:.1}, QT {t:.1}");
}

/// Sensitivity and precision at 150 ms.
fn score(ecg: &Ecg, truth: &[f64]) -> (f64, f64) {
    let found = detect(ecg);
    let beats: Vec<f64> = found.beats.iter().map(|b| found.start_s + *b as f64 / found.rate_hz).collect();
    let near = |list: &[f64], t: f64| {
        let i = list.partition_point(|x| *x < t);
        [i.wrapping_sub(1), i].iter().filter_map(|i| list.get(*i)).any(|x| (x - t).abs() <= 0.150)
    };
    let hit = truth.iter().filter(|t| near(&beats, **t)).count() as f64;
    let right = beats.iter().filter(|b| near(truth, **b)).count() as f64;
    (100.0 * hit / truth.len() as f64, 100.0 * right / beats.len() as f64)
}

fn record_100(root: &Path) -> (Ecg, Vec<f64>) {
    let ecg = load(&root.join("wfdb/100.hea")).expect("record 100");
    let truth = ecg
        .annotations
        .iter()
        .filter(|a| a.text.chars().next().is_some_and(|c| BEATS.contains(c)))
        .map(|a| a.at_s)
        .collect();
    (ecg, truth)
}

#[test]
fn the_detector_finds_the_annotated_beats() {
    let Some(root) = corpus() else { return };
    let (ecg, truth) = record_100(&root);
    assert_eq!(truth.len(), 2273);
    let (se, pp) = score(&ecg, &truth);
    println!("MIT-BIH 100, both leads: Se {se:.2} +P {pp:.2}");
    assert!(se >= 99.9 && pp >= 99.9, "Se {se:.3} +P {pp:.3}");
    for keep in 0..2 {
        let mut one = ecg.clone();
        one.rhythm = vec![ecg.rhythm[keep].clone()];
        let (se, pp) = score(&one, &truth);
        println!("MIT-BIH 100, {} alone: Se {se:.2} +P {pp:.2}", one.rhythm[0].name());
        assert!(se >= 99.0 && pp >= 99.0, "lead {keep}: Se {se:.3} +P {pp:.3}");
    }
}

/// Noise of one kind at 10 dB against the lead's power, made here (muscle: white; wander: slow sines; electrode motion: slow random steps).
fn noisy(ecg: &Ecg, kind: &str) -> Ecg {
    let mut out = Ecg::new(Format::Wfdb);
    for (n, lead) in ecg.rhythm.iter().enumerate() {
        let mut random = Random::new(77 + n as u64);
        let uv: Vec<f64> = lead.uv_iter().map(|v| v.unwrap_or(0.0)).collect();
        let mean = uv.iter().sum::<f64>() / uv.len() as f64;
        let power = uv.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / uv.len() as f64;
        let rms = (power / 10.0).sqrt();
        let mut walk = 0.0;
        let noise: Vec<f64> = (0..uv.len())
            .map(|i| {
                let t = i as f64 / lead.rate_hz;
                match kind {
                    "muscle" => random.normal(),
                    "wander" => (t * 1.3).sin() + (t * 2.9 + 1.0).sin(),
                    _ => {
                        if random.uniform() < 0.5 / lead.rate_hz {
                            walk += 3.0 * random.normal();
                        }
                        walk *= 1.0 - 1.0 / lead.rate_hz;
                        walk + 0.2 * random.normal()
                    }
                }
            })
            .collect();
        let own = (noise.iter().map(|v| v * v).sum::<f64>() / noise.len() as f64).sqrt();
        let values = uv.iter().zip(&noise).map(|(v, e)| (v + e * rms / own).round() as i32).collect();
        out.rhythm.push(Lead::new(lead.name(), lead.rate_hz, Samples::I32(values), 1.0));
    }
    out
}

#[test]
fn the_detector_holds_under_noise() {
    let Some(root) = corpus() else { return };
    let (ecg, truth) = record_100(&root);
    for kind in ["muscle", "wander", "electrode motion"] {
        let (se, pp) = score(&noisy(&ecg, kind), &truth);
        println!("10 dB of {kind}: Se {se:.2} +P {pp:.2}");
        assert!(se >= 99.0 && pp >= 99.0, "{kind}: Se {se:.3} +P {pp:.3}");
    }
}

#[test]
fn three_copies_of_one_ecg_draw_identically() {
    use relay_ecg::draw::{Options, layout};
    let Some(root) = corpus() else { return };
    let files = [
        "dicom/dicom12_ecgtoolkit_example.dcm",
        "scp/scp_ecgtoolkit_example.scp",
        "aecg/aecg_hl7_example.xml",
    ];
    let papers: Vec<_> =
        files.iter().map(|f| layout(&load(&root.join(f)).expect(f), &Options::default())).collect();
    for other in &papers[1..] {
        assert_eq!(papers[0].traces, other.traces);
        assert_eq!(papers[0].pulses, other.pulses);
    }
}

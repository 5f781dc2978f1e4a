//! Milliseconds of processor time for decode, measure and layout, so that a busy machine measures the same.

use anyhow::Context as _;
use relay_ecg::draw::{Options, layout};
use relay_ecg::measure::measure;
use relay_ecg::synth::{self, Spec};
use relay_ecg::write::{self, DicomIdentity, ScpIdentity};
use relay_ecg::{Hints, read};
use std::io::Write;

/// What a 10 s 12-lead ECG may take.
pub(super) const ALLOWED_MS: f64 = 5.0;
/// Runs of each part: the clock of a thread moves in steps of milliseconds.
const RUNS: u32 = 200;

/// Time this thread has run, ms (Linux: first field of schedstat, ns).
fn spent() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split_whitespace().next().context("schedstat is empty")?.parse::<f64>()? / 1e6)
}

fn mean<T>(mut run: impl FnMut() -> T) -> anyhow::Result<f64> {
    let begin = spent()?;
    for _ in 0..RUNS {
        std::hint::black_box(run());
    }
    Ok((spent()? - begin) / f64::from(RUNS))
}

/// Ten seconds of twelve leads at 500 and 1000 Hz, as DICOM and SCP-ECG.
pub(super) fn synthetic() -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let mut made = Vec::new();
    for rate_hz in [500.0, 1000.0] {
        let ecg = synth::ecg(&Spec { rate_hz, ..Spec::normal(1) });
        let identity = DicomIdentity {
            study_uid: "2.25.1".into(),
            series_uid: "2.25.2".into(),
            instance_uid: "2.25.3".into(),
            acquired: "20260102083000".into(),
            ..DicomIdentity::default()
        };
        let scp = ScpIdentity { acquired: (2026, 1, 2, 8, 30, 0), ..ScpIdentity::default() };
        made.push((format!("synthetic {rate_hz} Hz DICOM"), write::dicom(&ecg, &identity)?));
        made.push((format!("synthetic {rate_hz} Hz SCP-ECG"), write::scp(&ecg, &scp)?));
    }
    Ok(made)
}

/// One line, or none for a file without samples.
pub(super) fn one(name: &str, bytes: &[u8], out: &mut dyn Write) -> anyhow::Result<()> {
    let hints = Hints { name: Some(name), ..Hints::default() };
    let Some(ecg) = read(bytes, &hints).ok().filter(|e| !e.rhythm.is_empty()) else { return Ok(()) };
    let decode = mean(|| read(bytes, &hints))?;
    let measured = mean(|| measure(&ecg))?;
    let drawn = mean(|| layout(&ecg, &Options::default()))?;
    let (total, leads, seconds) = (decode + measured + drawn, ecg.rhythm.len(), ecg.duration_s());
    let ratio = total / ALLOWED_MS;
    writeln!(
        out,
        "{total:>7.2} ms, ratio {ratio:.2}: decode {decode:.2} measure {measured:.2} layout {drawn:.2}  {leads} leads {seconds:.0} s  {name}"
    )?;
    Ok(())
}

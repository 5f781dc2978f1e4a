//! Measurement. Everything here is an estimate until a physician has signed it.
//!
//! QRS detection and the median beat use all leads together; on- and offsets are global (earliest and latest over leads),
//! as AHA/ACC/HRS 2007 part I asks.

mod axis;
mod delineate;
mod median;
mod qrs;
mod qtc;

pub use axis::axis_deg;
pub use qrs::{Detection, detect};
pub use qtc::{Qtc, qtc};

use serde::Serialize;

use crate::lead::{Lead, LeadId};
use crate::model::Ecg;

/// ST level of a lead, µV against the isoelectric level before QRS, at J and 40, 60, 80 ms after it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StLevel {
    /// Lead name.
    pub lead: String,
    /// At J.
    pub j: f64,
    /// At J+40 ms.
    pub j40: f64,
    /// At J+60 ms.
    pub j60: f64,
    /// At J+80 ms.
    pub j80: f64,
}

/// R and S (or Q) amplitudes of a lead, µV against the isoelectric level.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Amplitude {
    /// Lead name.
    pub lead: String,
    /// Highest point of QRS.
    pub r: f64,
    /// Lowest point of QRS.
    pub s: f64,
    /// T wave peak with its sign.
    pub t: f64,
}

/// Frontal axes in degrees, -180 to 180; `None` = not measurable.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Axes {
    /// P wave.
    pub p: Option<f64>,
    /// QRS.
    pub qrs: Option<f64>,
    /// T wave.
    pub t: Option<f64>,
}

/// What was measured here. `None` = not measurable, never 0.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Measured {
    /// R places, s after the start of the record.
    pub beats_s: Vec<f64>,
    /// Class of each beat: 0 = the dominant one, others by number.
    pub classes: Vec<usize>,
    /// Mean ventricular rate over the record.
    pub rate_bpm: Option<f64>,
    /// Mean RR interval.
    pub rr_ms: Option<f64>,
    /// Standard deviation of RR over its mean: the larger, the less regular.
    pub rr_variation: Option<f64>,
    /// P duration.
    pub p_ms: Option<f64>,
    /// PR interval; `None` without P waves (atrial fibrillation).
    pub pr_ms: Option<f64>,
    /// QRS duration.
    pub qrs_ms: Option<f64>,
    /// QT interval.
    pub qt_ms: Option<f64>,
    /// QTc by named formula.
    pub qtc_ms: Option<Qtc>,
    /// Axes.
    pub axis_deg: Axes,
    /// ST levels.
    pub st_uv: Vec<StLevel>,
    /// R, S, T amplitudes.
    pub amplitude_uv: Vec<Amplitude>,
    /// Number of pacing marks stored in the file.
    pub pacing_marks: usize,
    /// Caveats of these numbers.
    pub notes: Vec<String>,
}

/// Rate that measuring works at, samples a second: what AHA/ACC/HRS 2007 part I asks of the signal. Records of twice that and
/// more are thinned to it; slower ones stay as they are.
const WORK_HZ: f64 = 500.0;

/// A lead as µV at the working rate, gaps bridged; never empty.
#[derive(Debug, Clone)]
pub(crate) struct Channel {
    pub(crate) id: LeadId,
    pub(crate) name: String,
    pub(crate) uv: Vec<f64>,
}

/// ECG leads of one rate and start, cut to what is ECG.
#[derive(Debug)]
pub(crate) struct Channels {
    /// Working rate, samples a second.
    pub(crate) rate: f64,
    pub(crate) start_s: f64,
    pub(crate) leads: Vec<Channel>,
}

impl Channels {
    pub(crate) fn of(ecg: &Ecg) -> Option<Self> {
        let all = ecg.all_leads();
        let first = all.iter().find(|l| !l.is_empty())?.clone();
        let fits = |l: &&Lead| {
            l.rate_hz.to_bits() == first.rate_hz.to_bits()
                && l.len() == first.len()
                && l.start_s == first.start_s
        };
        let range = ecg.common_range(&first);
        let step = ((first.rate_hz / WORK_HZ) as usize).max(1);
        let leads: Vec<Channel> = all
            .iter()
            .filter(fits)
            .filter_map(|l| {
                // a channel holds a sample at least: what is shorter than one thinned sample measures nothing
                let uv = Some(thinned(bridged(l, range.clone())?, step)).filter(|uv| !uv.is_empty())?;
                Some(Channel { id: l.id, name: l.paper_name().to_owned(), uv })
            })
            .collect();
        // a thinned sample stands in the middle of its block
        let start_s = first.start_s + (range.start as f64 + (step - 1) as f64 / 2.0) / first.rate_hz;
        (!leads.is_empty()).then_some(Self { rate: first.rate_hz / step as f64, start_s, leads })
    }
}

/// Means of blocks of `step` samples.
fn thinned(uv: Vec<f64>, step: usize) -> Vec<f64> {
    match step {
        0 | 1 => uv,
        2 => uv.as_chunks::<2>().0.iter().map(|[a, b]| (a + b) / 2.0).collect(),
        _ => uv.chunks_exact(step).map(|block| block.iter().sum::<f64>() / step as f64).collect(),
    }
}

/// Missing samples bridged by a straight line; a lead with more missing than present is left out.
fn bridged(lead: &Lead, range: std::ops::Range<usize>) -> Option<Vec<f64>> {
    let mut uv = lead.uv_range(range);
    let present = uv.iter().filter(|v| v.is_finite()).count();
    if present * 2 <= uv.len() {
        return None;
    }
    if present == uv.len() {
        return Some(uv);
    }
    let mut i = 0;
    while i < uv.len() {
        if uv[i].is_finite() {
            i += 1;
            continue;
        }
        let end = uv[i..].iter().position(|v| v.is_finite()).map_or(uv.len(), |p| i + p);
        let before = i.checked_sub(1).map(|b| uv[b]);
        let after = uv.get(end).copied();
        let (a, b) = (before.or(after).unwrap_or(0.0), after.or(before).unwrap_or(0.0));
        let n = (end - i + 1) as f64;
        for (k, slot) in uv[i..end].iter_mut().enumerate() {
            *slot = a + (b - a) * (k + 1) as f64 / n;
        }
        i = end;
    }
    Some(uv)
}

/// Measures an ECG.
pub fn measure(ecg: &Ecg) -> Measured {
    let mut out = Measured { pacing_marks: ecg.pacing.len(), ..Measured::default() };
    let Some(channels) = Channels::of(ecg) else {
        out.notes.push("no ECG lead to measure".into());
        return out;
    };
    let detection = qrs::detect_channels(&channels);
    out.beats_s = detection.beats.iter().map(|b| channels.start_s + *b as f64 / channels.rate).collect();
    rates(&mut out);
    if detection.beats.len() < 2 {
        out.notes.push("fewer than two beats found: no interval is measured".into());
        return out;
    }
    let Some(beat) = median::median_beat(&channels, &detection.beats) else {
        out.notes.push("no beat stands whole inside the record".into());
        return out;
    };
    out.classes = beat.classes.clone();
    delineate::intervals(&beat, out.rr_ms, out.rr_variation, &mut out);
    if let (Some(qt), Some(rr)) = (out.qt_ms, out.rr_ms) {
        out.qtc_ms = Some(qtc(qt, rr));
        if out.rate_bpm.is_some_and(|r| !(50.0..=100.0).contains(&r)) {
            out.notes.push("QTc by Bazett is unreliable outside 50 to 100/min".into());
        }
    }
    out
}

fn rates(out: &mut Measured) {
    let rr: Vec<f64> = out.beats_s.windows(2).map(|w| w[1] - w[0]).collect();
    if rr.is_empty() {
        return;
    }
    let mean = rr.iter().sum::<f64>() / rr.len() as f64;
    let variance = rr.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / rr.len() as f64;
    out.rr_ms = Some(mean * 1000.0);
    out.rate_bpm = Some(60.0 / mean);
    out.rr_variation = (rr.len() > 1).then(|| variance.sqrt() / mean);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synth::{Rhythm, Spec, ecg};

    #[test]
    fn sixty_a_minute_reads_sixty() {
        let m = measure(&ecg(&Spec { rate_bpm: 60.0, ..Spec::normal(1) }));
        assert!((m.rate_bpm.unwrap() - 60.0).abs() < 0.2, "{:?}", m.rate_bpm);
        assert!((m.axis_deg.qrs.unwrap() - 50.0).abs() < 25.0, "{:?}", m.axis_deg);
        assert!((m.pr_ms.unwrap() - 170.0).abs() < 40.0, "{:?}", m.pr_ms);
        assert!((m.qrs_ms.unwrap() - 85.0).abs() < 25.0, "{:?}", m.qrs_ms);
        assert!((m.qt_ms.unwrap() - 400.0).abs() < 45.0, "{:?}", m.qt_ms);
    }

    #[test]
    fn a_record_of_a_thousand_hertz_measures_like_its_twin_of_five_hundred() {
        let at = |rate_hz: f64| measure(&ecg(&Spec { rate_hz, ..Spec::inferior_stemi(4) }));
        let (slow, fast) = (at(500.0), at(1000.0));
        assert_eq!(slow.beats_s.len(), fast.beats_s.len());
        for (a, b) in slow.beats_s.iter().zip(&fast.beats_s) {
            assert!((a - b).abs() < 0.006, "{a} and {b} s");
        }
        let near = |a: Option<f64>, b: Option<f64>, by: f64| {
            assert!((a.unwrap() - b.unwrap()).abs() <= by, "{a:?} {b:?}")
        };
        near(slow.rate_bpm, fast.rate_bpm, 0.5);
        near(slow.qrs_ms, fast.qrs_ms, 12.0);
        near(slow.qt_ms, fast.qt_ms, 20.0);
        near(slow.pr_ms, fast.pr_ms, 20.0);
        for (a, b) in slow.st_uv.iter().zip(&fast.st_uv) {
            assert!((a.j60 - b.j60).abs() < 40.0, "{a:?} {b:?}");
        }
    }

    #[test]
    fn an_inferior_infarct_shows_in_the_st_levels() {
        let m = measure(&ecg(&Spec::inferior_stemi(4)));
        let st = |lead: &str| m.st_uv.iter().find(|s| s.lead == lead).unwrap().j60;
        assert!(st("III") > 150.0 && st("aVF") > 120.0 && st("aVL") < -80.0, "{:?}", m.st_uv);
    }

    #[test]
    fn fibrillation_has_no_pr_interval() {
        let m = measure(&ecg(&Spec::atrial_fibrillation(6)));
        assert_eq!(m.pr_ms, None, "{m:?}");
        assert!(m.rr_variation.unwrap() > 0.1);
    }

    #[test]
    fn every_beat_is_found_at_many_rates() {
        for rate in [30.0, 45.0, 72.0, 110.0, 150.0, 190.0] {
            let spec = Spec { rate_bpm: rate, rhythm: Rhythm::Sinus, ..Spec::normal(9) };
            let truth = crate::synth::beats(&spec);
            let m = measure(&ecg(&spec));
            let missed = truth.iter().filter(|t| !m.beats_s.iter().any(|b| (b - **t).abs() < 0.075)).count();
            assert!(
                missed <= 1 && m.beats_s.len() <= truth.len() + 1,
                "{rate}: {missed} missed, {} found of {}",
                m.beats_s.len(),
                truth.len()
            );
        }
    }

    #[test]
    fn an_empty_record_measures_nothing_and_says_so() {
        let m = measure(&Ecg::new(crate::Format::Dicom));
        assert!(m.rate_bpm.is_none() && !m.notes.is_empty());
    }
}

//! QRS detection on all leads together: band-passed slope magnitude, thresholds from the whole record (10 s leave no time to learn),
//! search-back, and placement on the largest deflection.
//!
//! After Pan & Tompkins 1985 and Hamilton & Tompkins 1986 (band, 150 ms integration, 200 ms refractory period, search-back at
//! 1.66 RR), with the running estimates replaced by record-wide ones over windows.

use serde::Serialize;

use super::{Channel, Channels, thinned};
use crate::filter;
use crate::lead::LeadId;
use crate::model::Ecg;

/// Beats found.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Detection {
    /// Place of the largest deflection of each QRS, in samples of `rate_hz` from `start_s` on.
    pub beats: Vec<usize>,
    /// Samples per second of detection: the record's own rate, or that of the thinned record.
    pub rate_hz: f64,
    /// Start of what is ECG, s.
    pub start_s: f64,
}

/// QRS energy lies between these, Hz (Thakor 1984: maximum signal to noise at 17 Hz; Pan & Tompkins 5-15 Hz).
const BAND_HZ: [f64; 2] = [5.0, 25.0];
/// Lowest rate detection works at, Hz: eight times the upper end of the band.
const WORK_HZ: f64 = 200.0;
/// Integration window, s (Pan & Tompkins: 150 ms; narrower keeps near beats apart).
const WINDOW_S: f64 = 0.10;
/// Refractory period, s (Pan & Tompkins).
const REFRACTORY_S: f64 = 0.20;
/// A second peak within this of a beat is a T wave unless it is as steep, s (Pan & Tompkins).
const T_WAVE_S: f64 = 0.36;
/// Threshold as a share of the local QRS level.
const SHARE: f64 = 0.30;
/// Search-back: share and the gap that starts it, in mean RR (Pan & Tompkins: half, 166 %).
const BACK_SHARE: f64 = 0.14;
const BACK_GAP: f64 = 1.66;
/// Window for the local QRS level, s: holds beats at 20/min.
const LEVEL_S: f64 = 8.0;

/// Detects QRS complexes.
pub fn detect(ecg: &Ecg) -> Detection {
    Channels::of(ecg).map(|c| detect_channels(&c)).unwrap_or_default()
}

pub(crate) fn detect_channels(channels: &Channels) -> Detection {
    // the band ends at 25 Hz: more than WORK_HZ adds time and nothing else
    let step = ((channels.rate / WORK_HZ) as usize).max(1);
    let rate = channels.rate / step as f64;
    let (steep, envelope) = feature(&channels.leads, rate, step);
    let mut beats = pick(&envelope, &steep, rate);
    place(&mut beats, &steep, rate);
    // the middle of each block of `step` samples
    let length = channels.leads.first().map_or(0, |l| l.uv.len());
    let beats =
        beats.into_iter().map(|b| (b * step + (step - 1) / 2).min(length.saturating_sub(1))).collect();
    Detection { beats, rate_hz: channels.rate, start_s: channels.start_s }
}

/// Sum over leads of the band-passed slope, each lead weighted so that a noisy one does not drown the others; and its moving mean.
fn feature(leads: &[Channel], rate: f64, step: usize) -> (Vec<f64>, Vec<f64>) {
    let n = leads.first().map_or(0, |l| l.uv.len() / step);
    let mut sum = vec![0.0; n];
    // derived limb leads add nothing, unless they are all there is
    let derived = |l: &&Channel| matches!(l.id, LeadId::III | LeadId::AVR | LeadId::AVL | LeadId::AVF);
    let all_derived = leads.iter().all(|l| derived(&l));
    let pair = [LeadId::I, LeadId::II].iter().all(|id| leads.iter().any(|l| l.id == *id));
    for lead in leads.iter().filter(|l| n > 0 && (all_derived || !pair || !derived(l))) {
        let mut s = thinned(lead.uv.clone(), step);
        filter::high_pass(&mut s, BAND_HZ[0], rate);
        filter::low_pass(&mut s, BAND_HZ[1].min(rate * 0.4), rate);
        let slope: Vec<f64> = (0..n)
            .map(|i| {
                let (a, b) = (s[i.saturating_sub(1)], s[(i + 1).min(n - 1)]);
                (b - a).abs() * rate / 2.0
            })
            .collect();
        // crest of the lead against its floor: a lead of pure noise has little
        let mut ranked = slope.clone();
        let mut at =
            |q: f64| *ranked.select_nth_unstable_by(((n as f64 - 1.0) * q) as usize, f64::total_cmp).1;
        let (floor, crest) = (at(0.5), at(0.98));
        if crest <= 0.0 {
            continue;
        }
        let quality = ((crest - 2.0 * floor) / crest).max(0.0);
        let weight = quality * quality / crest.max(1.0);
        for (out, v) in sum.iter_mut().zip(&slope) {
            *out += weight * v;
        }
    }
    let window = ((WINDOW_S * rate) as usize).max(1);
    (sum.clone(), moving_mean(&sum, window))
}

fn moving_mean(values: &[f64], window: usize) -> Vec<f64> {
    let half = window / 2;
    let mut prefix = Vec::with_capacity(values.len() + 1);
    let mut total = 0.0;
    prefix.push(0.0);
    for v in values {
        total += v;
        prefix.push(total);
    }
    (0..values.len())
        .map(|i| {
            let (a, b) = (i.saturating_sub(half), (i + half + 1).min(values.len()));
            (prefix[b] - prefix[a]) / (b - a) as f64
        })
        .collect()
}

/// Local maxima of the envelope with the refractory period between them.
fn peaks(envelope: &[f64], rate: f64) -> Vec<usize> {
    let guard = (REFRACTORY_S * rate) as usize;
    let mut out: Vec<usize> = Vec::new();
    for i in 1..envelope.len().saturating_sub(1) {
        if envelope[i] < envelope[i - 1] || envelope[i] <= envelope[i + 1] {
            continue;
        }
        match out.last().copied() {
            Some(last) if i - last < guard => {
                if envelope[i] > envelope[last] {
                    out.pop();
                    out.push(i);
                }
            }
            _ => out.push(i),
        }
    }
    out
}

/// QRS level around sample `i`: the upper quartile of the second-strongest peaks in windows, robust to one giant artefact.
fn level(envelope: &[f64], candidates: &[usize], i: usize, rate: f64) -> f64 {
    let half = (LEVEL_S / 2.0 * rate) as usize;
    let n = envelope.len();
    // near the ends the window keeps its length
    let from = i.saturating_sub(half).min(n.saturating_sub(2 * half));
    let to = (from + 2 * half).min(n);
    let (a, b) = (candidates.partition_point(|c| *c < from), candidates.partition_point(|c| *c < to));
    let mut heights: Vec<f64> = candidates[a..b].iter().map(|c| envelope[*c]).collect();
    heights.sort_unstable_by(f64::total_cmp);
    // Beats are at least 20/min: the third strongest of 8 s (or the strongest of a short record) is a QRS.
    let rank = if heights.len() >= 6 { 3 } else { 1 };
    heights.len().checked_sub(rank).and_then(|k| heights.get(k)).copied().unwrap_or(0.0)
}

fn pick(envelope: &[f64], steep: &[f64], rate: f64) -> Vec<usize> {
    let candidates = peaks(envelope, rate);
    let levels: Vec<f64> = candidates.iter().map(|c| level(envelope, &candidates, *c, rate)).collect();
    let slope_at = |c: usize| {
        let half = (0.05 * rate) as usize;
        steep[c.saturating_sub(half)..(c + half).min(steep.len())].iter().copied().fold(0.0, f64::max)
    };
    let mut beats: Vec<usize> = Vec::new();
    for (c, level) in candidates.iter().zip(&levels) {
        if envelope[*c] < SHARE * level || *level <= 0.0 {
            continue;
        }
        let near = beats.last().is_some_and(|b| (c - b) as f64 / rate < T_WAVE_S);
        if near && beats.last().is_some_and(|b| slope_at(*c) < 0.5 * slope_at(*b)) {
            continue;
        }
        beats.push(*c);
    }
    search_back(envelope, &candidates, &levels, beats, rate)
}

/// A gap much longer than the usual RR is looked through again with a lower threshold.
fn search_back(
    envelope: &[f64],
    candidates: &[usize],
    levels: &[f64],
    beats: Vec<usize>,
    rate: f64,
) -> Vec<usize> {
    let mut gaps: Vec<usize> = beats.windows(2).map(|w| w[1] - w[0]).collect();
    gaps.sort_unstable();
    let Some(usual) = gaps.get(gaps.len() / 2).copied() else { return beats };
    let guard = (T_WAVE_S * rate) as usize;
    let mut out: Vec<usize> = Vec::with_capacity(beats.len());
    for beat in beats {
        if let Some(last) = out.last().copied().filter(|l| (beat - l) as f64 > BACK_GAP * usual as f64) {
            let inside =
                candidates.iter().zip(levels).filter(|(c, _)| **c > last + guard && **c + guard < beat);
            let best = inside.max_by(|a, b| envelope[*a.0].total_cmp(&envelope[*b.0]));
            if let Some((c, _)) = best.filter(|(c, level)| envelope[**c] > BACK_SHARE * **level) {
                out.push(*c);
            }
        }
        out.push(beat);
    }
    out
}

/// Moves each beat to the middle of its steepest 60 ms: between up- and downstroke.
fn place(beats: &mut [usize], steep: &[f64], rate: f64) {
    let reach = (0.07 * rate) as usize;
    for beat in beats {
        let (a, b) = (beat.saturating_sub(reach), (*beat + reach).min(steep.len()));
        let weight: f64 = steep[a..b].iter().map(|v| v * v).sum();
        if weight > 0.0 {
            let centre =
                steep[a..b].iter().enumerate().map(|(i, v)| (a + i) as f64 * v * v).sum::<f64>() / weight;
            *beat = centre.round() as usize;
        }
    }
}

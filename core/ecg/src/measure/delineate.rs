//! Global on- and offsets on the median beat: QRS from the vector magnitude of the slope, T end by the tangent, P by its own bump.

use super::median::Beat;
use super::{Amplitude, Measured, StLevel, axis_deg};
use crate::filter;
use crate::lead::LeadId;

/// Share of the largest QRS slope at which QRS begins and ends.
const EDGE_SHARE: f64 = 0.06;
/// The slope must stay below its limit this long, s, for QRS to be over (AHA: 10 to 12 ms of quiet).
const QUIET_S: f64 = 0.012;
/// QRS reaches at most this far from its middle, s.
const QRS_REACH_S: f64 = 0.13;

/// The tangent cuts off the flat tail of T; carts put its end this much later (median over the carts' files at hand, own calibration).
const T_TAIL_S: f64 = 0.014;

/// Root of the summed squares over leads.
fn magnitude(leads: &[Vec<f64>]) -> Vec<f64> {
    let n = leads.first().map_or(0, Vec::len);
    (0..n).map(|i| leads.iter().map(|l| l[i] * l[i]).sum::<f64>().sqrt()).collect()
}

fn slope(uv: &[f64], rate: f64, reach_s: f64) -> Vec<f64> {
    let k = ((reach_s * rate) as usize).max(1);
    let n = uv.len();
    (0..n)
        .map(|i| {
            let (a, b) = (i.saturating_sub(k), (i + k).min(n - 1));
            (uv[b] - uv[a]) * rate / (b - a).max(1) as f64
        })
        .collect()
}

/// Independent leads only: derived ones would count twice.
fn counted(id: LeadId) -> bool {
    !matches!(id, LeadId::III | LeadId::AVR | LeadId::AVL | LeadId::AVF)
}

/// Fills intervals, axes, ST levels and amplitudes.
pub(super) fn intervals(beat: &Beat, rr_ms: Option<f64>, variation: Option<f64>, out: &mut Measured) {
    let rate = beat.rate;
    let ms = |samples: f64| samples * 1000.0 / rate;
    let leads: Vec<&super::Channel> = {
        let independent: Vec<&super::Channel> = beat.leads.iter().filter(|l| counted(l.id)).collect();
        if independent.is_empty() { beat.leads.iter().collect() } else { independent }
    };
    let smooth: Vec<Vec<f64>> = leads
        .iter()
        .map(|l| {
            let mut s = l.uv.clone();
            filter::low_pass(&mut s, 60.0, rate);
            s
        })
        .collect();
    let slopes: Vec<Vec<f64>> = smooth.iter().map(|s| slope(s, rate, 0.004)).collect();
    let speed = magnitude(&slopes);
    let Some((on, off)) = qrs_edges(&speed, beat.fiducial, rate) else {
        out.notes.push("QRS on- and offset not found".into());
        return;
    };
    out.qrs_ms = Some(ms((off - on) as f64));
    let iso: Vec<f64> = beat.leads.iter().map(|l| level(&l.uv, on, rate)).collect();
    let end = t_end(&leads, off, on, rr_ms, rate);
    out.qt_ms = end.map(|e| ms(e - on as f64));
    let regular = variation.is_none_or(|v| v < 0.12);
    if let Some((p_on, p_off)) = p_wave(&leads, on, rate) {
        // an irregular rhythm with a weak bump before QRS is taken for fibrillation
        if regular || p_strength(&leads, p_on, p_off, on) > 8.0 {
            out.p_ms = Some(ms((p_off - p_on) as f64));
            out.pr_ms = Some(ms((on - p_on) as f64));
            out.axis_deg.p = area_axis(beat, &iso, p_on, p_off);
        }
    }
    out.axis_deg.qrs = area_axis(beat, &iso, on, off);
    let t_to = end.map_or(beat.leads[0].uv.len(), |e| e as usize).min(beat.leads[0].uv.len());
    let t_from = off + (0.06 * rate) as usize;
    if t_from < t_to {
        out.axis_deg.t = area_axis(beat, &iso, t_from, t_to);
    }
    levels(beat, &iso, (on, off, t_to), out);
}

/// QRS edges: outward from the fiducial until the slope stays small.
fn qrs_edges(speed: &[f64], fiducial: usize, rate: f64) -> Option<(usize, usize)> {
    let reach = (QRS_REACH_S * rate) as usize;
    let (a, b) = (fiducial.saturating_sub(reach), (fiducial + reach).min(speed.len()));
    let window = speed.get(a..b)?;
    let top = a + window.iter().enumerate().max_by(|x, y| x.1.total_cmp(y.1)).map(|(i, _)| i)?;
    let peak = speed[top];
    // the floor of the beat bounds the share from below
    let mut sorted: Vec<f64> = speed.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let floor = sorted[sorted.len() / 4];
    let limit = (EDGE_SHARE * peak).max(2.2 * floor);
    let quiet = ((QUIET_S * rate) as usize).max(2);
    let mut on = a;
    let mut run = 0;
    for i in (a..top).rev() {
        run = if speed[i] < limit { run + 1 } else { 0 };
        if run >= quiet {
            on = i + quiet;
            break;
        }
    }
    let mut off = b;
    run = 0;
    for (i, v) in speed.iter().enumerate().take(b).skip(top) {
        run = if *v < limit { run + 1 } else { 0 };
        if run >= quiet {
            off = i + 1 - quiet;
            break;
        }
    }
    (off > on).then_some((on, off))
}

/// Level of the PR segment just before QRS.
fn level(uv: &[f64], on: usize, rate: f64) -> f64 {
    let span = ((0.02 * rate) as usize).max(1);
    let a = on.saturating_sub(span + 1);
    let window = &uv[a..on.max(a + 1).min(uv.len())];
    window.iter().sum::<f64>() / window.len().max(1) as f64
}

/// T end: the tangent at the steepest point after the T peak meets the level behind it; the median of the leads with the clearest T.
fn t_end(leads: &[&super::Channel], off: usize, on: usize, rr_ms: Option<f64>, rate: f64) -> Option<f64> {
    let n = leads.first()?.uv.len();
    let from = off + (0.08 * rate) as usize;
    // T ends within 62 % of RR from QRS onset at usual rates
    let limit = rr_ms.map_or(n, |rr| on + (((rr * 0.62).min(620.0) + 60.0) * rate / 1000.0) as usize);
    let to = limit.min(n.saturating_sub(2));
    if from + 10 >= to {
        return None;
    }
    let mut found: Vec<(f64, f64)> = Vec::new();
    for lead in leads {
        let mut s = lead.uv.clone();
        filter::low_pass(&mut s, 15.0, rate);
        let iso = level(&s, on, rate);
        let peak = (from..to).max_by(|a, b| (s[*a] - iso).abs().total_cmp(&(s[*b] - iso).abs()))?;
        let sign = (s[peak] - iso).signum();
        let height = (s[peak] - iso).abs();
        let d = slope(&s, rate, 0.012);
        let reach = (peak + (0.16 * rate) as usize).min(to);
        let Some(steepest) = (peak + 1..reach).min_by(|a, b| (sign * d[*a]).total_cmp(&(sign * d[*b])))
        else {
            continue;
        };
        let fall = -sign * d[steepest] / rate;
        if fall <= 0.0 || height < 30.0 {
            continue;
        }
        // level behind T: the lowest of what follows, in the direction of T
        let tail = (steepest..(steepest + (0.12 * rate) as usize).min(n))
            .map(|i| sign * s[i])
            .fold(f64::MAX, f64::min);
        let base = tail.max(sign * iso - 0.25 * height).min(sign * iso + 0.25 * height);
        let end = steepest as f64 + (sign * s[steepest] - base) / fall;
        found.push((height, end));
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    found.truncate(5);
    let mut ends: Vec<f64> =
        found.into_iter().map(|(_, e)| e).filter(|e| *e < n as f64 + 0.05 * rate).collect();
    ends.sort_unstable_by(f64::total_cmp);
    // a global T end is the latest of the clear leads, unless that one stands alone
    let middle = *ends.get(ends.len() / 2)?;
    ends.retain(|e| *e - middle <= 0.04 * rate);
    ends.last().map(|e| e + T_TAIL_S * rate)
}

fn p_signal(leads: &[&super::Channel], rate: f64) -> Vec<f64> {
    let smooth: Vec<Vec<f64>> = leads
        .iter()
        .map(|l| {
            let mut s = l.uv.clone();
            filter::low_pass(&mut s, 25.0, rate);
            slope(&s, rate, 0.008)
        })
        .collect();
    magnitude(&smooth)
}

/// P on- and offset from the slope magnitude before QRS; `None` without a clear bump.
fn p_wave(leads: &[&super::Channel], on: usize, rate: f64) -> Option<(usize, usize)> {
    let speed = p_signal(leads, rate);
    let (far, near) = ((0.30 * rate) as usize, (0.035 * rate) as usize);
    let (a, b) = (on.saturating_sub(far), on.checked_sub(near)?);
    if b < a + (0.08 * rate) as usize {
        return None;
    }
    let window = &speed[a..b];
    let top = a + window.iter().enumerate().max_by(|x, y| x.1.total_cmp(y.1)).map(|(i, _)| i)?;
    let mut sorted = window.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let floor = sorted[sorted.len() / 5];
    let peak = speed[top];
    // a P wave is steeper than three times the quiet before QRS, and its slope 1 mV/s at least over all leads
    if peak < 3.0 * floor || peak < 1000.0 {
        return None;
    }
    let limit = floor + 0.20 * (peak - floor);
    let hold = (0.016 * rate) as usize;
    // both flanks: upstroke and downstroke are at most 90 ms apart
    let reach = (0.11 * rate) as usize;
    let quiet_before = |i: usize| (i.saturating_sub(hold)..i).all(|k| speed[k] < limit);
    let quiet_after = |i: usize| (i..(i + hold).min(speed.len())).all(|k| speed[k] < limit);
    let first = (top.saturating_sub(reach).max(a)..=top).find(|i| speed[*i] >= limit)?;
    let p_on = (a.saturating_sub(hold).max(1)..=first)
        .rev()
        .find(|i| quiet_before(*i) && speed[*i - 1] < limit)
        .unwrap_or(first);
    let last = (top..(top + reach).min(b)).rev().find(|i| speed[*i] >= limit)?;
    let p_off = (last..on).find(|i| quiet_after(*i)).unwrap_or(last);
    let wide = (p_off - p_on) as f64 / rate;
    (0.04..0.20).contains(&wide).then_some((p_on, p_off))
}

/// How far the P window stands out of the rest before QRS.
fn p_strength(leads: &[&super::Channel], p_on: usize, p_off: usize, on: usize) -> f64 {
    let power = |lead: &super::Channel, a: usize, b: usize| {
        let window = &lead.uv[a..b.max(a + 1)];
        let mean = window.iter().sum::<f64>() / window.len() as f64;
        window.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / window.len() as f64
    };
    let inside: f64 = leads.iter().map(|l| power(l, p_on, p_off)).sum();
    let outside: f64 = leads.iter().map(|l| power(l, 0, p_on) + power(l, p_off, on)).sum::<f64>() / 2.0;
    inside / outside.max(1.0)
}

/// Axis from net areas in I and aVF.
fn area_axis(beat: &Beat, iso: &[f64], from: usize, to: usize) -> Option<f64> {
    let area = |id: LeadId| {
        let (lead, level) = beat.leads.iter().zip(iso).find(|(l, _)| l.id == id)?;
        Some(lead.uv.get(from..to)?.iter().map(|v| v - level).sum::<f64>() / beat.rate)
    };
    axis_deg(area(LeadId::I)?, area(LeadId::AVF)?)
}

fn levels(beat: &Beat, iso: &[f64], (on, off, t_to): (usize, usize, usize), out: &mut Measured) {
    let rate = beat.rate;
    for (lead, iso) in beat.leads.iter().zip(iso) {
        let at = |delay_s: f64| {
            let i = off + (delay_s * rate).round() as usize;
            // mean of 8 ms: one sample of noise is no ST level
            let half = ((0.004 * rate) as usize).max(1);
            let window =
                &lead.uv[i.saturating_sub(half).min(lead.uv.len() - 1)..(i + half).min(lead.uv.len())];
            window.iter().sum::<f64>() / window.len().max(1) as f64 - iso
        };
        out.st_uv.push(StLevel {
            lead: lead.name.clone(),
            j: at(0.0),
            j40: at(0.04),
            j60: at(0.06),
            j80: at(0.08),
        });
        let qrs = lead.uv.get(on..off).unwrap_or(&[]);
        let t = lead.uv.get((off + (0.08 * rate) as usize).min(t_to)..t_to).unwrap_or(&[]);
        let peak = t.iter().map(|v| v - iso).max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(0.0);
        out.amplitude_uv.push(Amplitude {
            lead: lead.name.clone(),
            r: qrs.iter().copied().fold(f64::MIN, f64::max).max(*iso) - iso,
            s: qrs.iter().copied().fold(f64::MAX, f64::min).min(*iso) - iso,
            t: peak,
        });
    }
}

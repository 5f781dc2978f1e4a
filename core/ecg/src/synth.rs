//! Synthetic 12-, 15- and 18-lead ECGs with plausible P, QRS and T for demonstrations and tests. Deterministic: the seed is an argument.
//!
//! Limb leads obey Einthoven and Goldberger exactly, in stored integers.

use std::f64::consts::TAU;

use crate::format::Format;
use crate::lead::{Lead, LeadId, Samples};
use crate::model::Ecg;

/// What beats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rhythm {
    /// Regular, with P waves.
    Sinus,
    /// Irregular, fibrillatory baseline instead of P waves.
    AtrialFibrillation,
}

/// What to generate.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// Mean ventricular rate, per minute.
    pub rate_bpm: f64,
    /// Samples per second.
    pub rate_hz: f64,
    /// Length, s.
    pub seconds: f64,
    /// Rhythm.
    pub rhythm: Rhythm,
    /// ST level in µV of I, II, V1-V6 (and V7-V9, V3R-V5R); the other limb leads follow.
    pub st_uv: Vec<(LeadId, f64)>,
    /// Muscle-like noise, µV root mean square.
    pub noise_uv: f64,
    /// Baseline wander, µV.
    pub wander_uv: f64,
    /// Leads beyond the twelve (`V7`, `V3R` …).
    pub extra: Vec<LeadId>,
    /// Seed of noise and irregularity.
    pub seed: u64,
}

impl Spec {
    /// Sinus rhythm, 72/min, nothing remarkable.
    pub fn normal(seed: u64) -> Self {
        Self {
            rate_bpm: 72.0,
            rate_hz: 500.0,
            seconds: 10.0,
            rhythm: Rhythm::Sinus,
            st_uv: Vec::new(),
            noise_uv: 8.0,
            wander_uv: 30.0,
            extra: Vec::new(),
            seed,
        }
    }

    /// Elevated ST in II, III, aVF, depressed in I, aVL, V2, as in an acute inferior infarction.
    pub fn inferior_stemi(seed: u64) -> Self {
        let st_uv = vec![
            (LeadId::I, -90.0),
            (LeadId::II, 210.0),
            (LeadId::V1, -40.0),
            (LeadId::V2, -120.0),
            (LeadId::V3, -60.0),
            (LeadId::V7, 60.0),
            (LeadId::V8, 60.0),
            (LeadId::V4R, 110.0),
        ];
        Self { rate_bpm: 64.0, st_uv, ..Self::normal(seed) }
    }

    /// Irregular ventricular response of about 110/min without P waves.
    pub fn atrial_fibrillation(seed: u64) -> Self {
        Self { rate_bpm: 110.0, rhythm: Rhythm::AtrialFibrillation, ..Self::normal(seed) }
    }

    /// The same with the six further leads of an 18-lead ECG.
    pub fn with_eighteen_leads(mut self) -> Self {
        self.extra = vec![LeadId::V3R, LeadId::V4R, LeadId::V5R, LeadId::V7, LeadId::V8, LeadId::V9];
        self
    }
}

/// Stored unit, µV.
const UNIT_UV: f64 = 2.5;

/// µV of P, Q, R, S, T by lead.
const WAVES: [(LeadId, [f64; 5]); 14] = [
    (LeadId::I, [60.0, -40.0, 650.0, -70.0, 190.0]),
    (LeadId::II, [125.0, -60.0, 1000.0, -120.0, 300.0]),
    (LeadId::V1, [40.0, 0.0, 210.0, -900.0, 60.0]),
    (LeadId::V2, [50.0, 0.0, 420.0, -1300.0, 420.0]),
    (LeadId::V3, [50.0, 0.0, 750.0, -900.0, 450.0]),
    (LeadId::V4, [50.0, -50.0, 1350.0, -450.0, 420.0]),
    (LeadId::V5, [50.0, -70.0, 1300.0, -190.0, 330.0]),
    (LeadId::V6, [50.0, -70.0, 1000.0, -80.0, 250.0]),
    (LeadId::V7, [40.0, -60.0, 650.0, -50.0, 180.0]),
    (LeadId::V8, [35.0, -50.0, 500.0, -40.0, 140.0]),
    (LeadId::V9, [30.0, -40.0, 400.0, -30.0, 110.0]),
    (LeadId::V3R, [35.0, 0.0, 160.0, -500.0, -40.0]),
    (LeadId::V4R, [30.0, 0.0, 130.0, -380.0, -50.0]),
    (LeadId::V5R, [25.0, 0.0, 110.0, -300.0, -50.0]),
];

/// SplitMix64: small, seedable, the same everywhere.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A generator for `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Uniform in 0..1.
    pub fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ z >> 31) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Normal, mean 0, deviation 1 (sum of twelve).
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

/// R peaks in seconds; also the truth a detector is tested against.
pub fn beats(spec: &Spec) -> Vec<f64> {
    let mut random = Random::new(spec.seed ^ 0xB347);
    let rr = 60.0 / spec.rate_bpm.clamp(10.0, 350.0);
    let (mut at, mut out) = (0.4_f64.min(rr), Vec::new());
    while at < spec.seconds {
        out.push(at);
        at += match spec.rhythm {
            Rhythm::Sinus => rr,
            // coefficient of variation about 0.2, as in treated fibrillation
            Rhythm::AtrialFibrillation => (rr * (1.0 + 0.22 * random.normal())).clamp(rr * 0.55, rr * 1.8),
        };
    }
    out
}

fn bump(t: f64, centre: f64, width: f64) -> f64 {
    let x = (t - centre) / width;
    if x.abs() > 6.0 { 0.0 } else { (-0.5 * x * x).exp() }
}

/// One beat of one lead in µV at `t` seconds after its R peak; `rr` is the interval it stands in.
fn beat(waves: &[f64; 5], st: f64, t: f64, rr: f64, with_p: bool) -> f64 {
    let stretch = rr.clamp(0.3, 1.5).sqrt();
    let t_peak = 0.275 * stretch;
    let t_width = 0.042 * stretch;
    let [p, q, r, s, tw] = *waves;
    let atrial = if with_p { p * bump(t, -0.165, 0.022) } else { 0.0 };
    let qrs = q * bump(t, -0.024, 0.007) + r * bump(t, 0.0, 0.0105) + s * bump(t, 0.026, 0.009);
    let plateau = if t > 0.02 && t < t_peak + 3.0 * t_width {
        let rise = ((t - 0.03) / 0.012).clamp(0.0, 1.0);
        let fall = ((t_peak + 1.6 * t_width - t) / (1.8 * t_width)).clamp(0.0, 1.0);
        st * rise * fall
    } else {
        0.0
    };
    atrial + qrs + plateau + tw * bump(t, t_peak, t_width)
}

/// Generates the ECG: twelve leads (limb leads exact), then the extra ones.
pub fn ecg(spec: &Spec) -> Ecg {
    let n = (spec.seconds * spec.rate_hz).round().max(0.0) as usize;
    let beats = beats(spec);
    let column = |id: LeadId| -> Vec<i32> {
        let waves = WAVES.iter().find(|(l, _)| *l == id).map_or([0.0; 5], |(_, w)| *w);
        let st = spec.st_uv.iter().find(|(l, _)| *l == id).map_or(0.0, |(_, v)| *v);
        // I and II are kept even, so that half sums are whole
        let step = if matches!(id, LeadId::I | LeadId::II) { 2 } else { 1 };
        render(spec, &beats, n, &waves, st, id)
            .into_iter()
            .map(|uv| (uv / UNIT_UV / f64::from(step)).round() as i32 * step)
            .collect()
    };
    let (one, two) = (column(LeadId::I), column(LeadId::II));
    let both = |f: fn(i32, i32) -> i32| one.iter().zip(&two).map(|(a, b)| f(*a, *b)).collect::<Vec<i32>>();
    let limb = [
        (LeadId::I, one.clone()),
        (LeadId::II, two.clone()),
        (LeadId::III, both(|a, b| b - a)),
        (LeadId::AVR, both(|a, b| -(a + b) / 2)),
        (LeadId::AVL, both(|a, b| a - b / 2)),
        (LeadId::AVF, both(|a, b| b - a / 2)),
    ];
    let chest = [LeadId::V1, LeadId::V2, LeadId::V3, LeadId::V4, LeadId::V5, LeadId::V6];
    let chest = chest.into_iter().chain(spec.extra.iter().copied()).map(|id| (id, column(id)));
    let mut ecg = Ecg::new(Format::Dicom);
    ecg.rhythm = limb
        .into_iter()
        .chain(chest)
        .map(|(id, values)| Lead::new(id.name(), spec.rate_hz, Samples::narrowest(values), UNIT_UV))
        .collect();
    ecg.device.manufacturer = Some("relay-ecg".into());
    ecg.device.model = Some("synthetic".into());
    ecg
}

fn render(spec: &Spec, beats: &[f64], n: usize, waves: &[f64; 5], st: f64, id: LeadId) -> Vec<f64> {
    let mut random = Random::new(spec.seed.wrapping_mul(31).wrapping_add(id as u64 + 1));
    let phase = random.uniform();
    let with_p = spec.rhythm == Rhythm::Sinus;
    let fibrillation = if with_p {
        0.0
    } else if id == LeadId::V1 {
        70.0
    } else {
        35.0
    };
    let mut next = 0;
    (0..n)
        .map(|i| {
            let t = i as f64 / spec.rate_hz;
            while next < beats.len() && beats[next] < t - 0.9 {
                next += 1;
            }
            let mut uv = 0.0;
            for (k, at) in beats.iter().enumerate().skip(next).take_while(|(_, at)| **at < t + 0.35) {
                let following = beats.get(k + 1).map_or(60.0 / spec.rate_bpm, |b| b - at);
                uv += beat(waves, st, t - at, following, with_p);
            }
            let f = fibrillation
                * ((TAU * 6.1 * t + phase).sin() + 0.6 * (TAU * 7.3 * t + 2.0 * phase).sin())
                / 1.6;
            uv + f + spec.noise_uv * random.normal() + spec.wander_uv * (TAU * (0.21 * t + phase)).sin()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_ecg_and_limb_leads_are_exact() {
        let (a, b) = (ecg(&Spec::normal(7)), ecg(&Spec::normal(7)));
        assert_eq!(a, b);
        let at = |id: LeadId, i: usize| a.lead(id).unwrap().uv(i).unwrap();
        for i in 0..5000 {
            assert!((at(LeadId::III, i) - (at(LeadId::II, i) - at(LeadId::I, i))).abs() < 1e-9);
            assert!((at(LeadId::AVR, i) + (at(LeadId::I, i) + at(LeadId::II, i)) / 2.0).abs() < 1e-9);
        }
    }

    #[test]
    fn an_inferior_infarct_lifts_the_inferior_leads() {
        let spec = Spec { noise_uv: 0.0, wander_uv: 0.0, ..Spec::inferior_stemi(1) };
        let (ecg, at) = (ecg(&spec), beats(&spec)[3]);
        let st = |id: LeadId| ecg.lead(id).unwrap().uv(((at + 0.08) * 500.0) as usize).unwrap();
        assert!(st(LeadId::III) > 200.0 && st(LeadId::AVF) > 150.0 && st(LeadId::AVL) < -100.0);
    }
}

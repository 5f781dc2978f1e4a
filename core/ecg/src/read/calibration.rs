//! The calibration pulse that Philips carts store in the last second of an 11 s record, and exports of such records keep.

use crate::lead::Lead;
use crate::model::{Ecg, NotEcg};

/// Shortest pulse that counts, s (the pulse is 200 ms).
const PULSE_S: f64 = 0.15;
/// The stretch at the end that belongs to the pulse, s.
const TAIL_S: f64 = 1.0;
/// Tolerance of the pulse's 1 mV, µV (exports round).
const NEAR_UV: f64 = 20.0;

/// Marks the last second as not ECG when every lead holds 1 mV at the same time for 150 ms or longer in it.
pub(super) fn mark(ecg: &mut Ecg) {
    let Some(first) = ecg.rhythm.first() else { return };
    let (rate, n) = (first.rate_hz, first.len());
    let alike = |l: &Lead| l.rate_hz.to_bits() == rate.to_bits() && l.len() == n;
    let tail = (TAIL_S * rate) as usize;
    if ecg.rhythm.len() < 2 || !ecg.rhythm.iter().all(alike) || n <= tail * 2 {
        return;
    }
    let high = |i: usize| ecg.rhythm.iter().all(|l| l.uv(i).is_some_and(|v| (v - 1000.0).abs() <= NEAR_UV));
    let (mut run, mut longest) = (0_usize, 0_usize);
    for i in n - tail..n {
        run = if high(i) { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    if longest as f64 >= PULSE_S * rate {
        let end_s = n as f64 / rate;
        ecg.not_ecg.push(NotEcg {
            start_s: end_s - TAIL_S,
            end_s,
            what: "calibration pulse".into(),
            lead: None,
        });
    }
}

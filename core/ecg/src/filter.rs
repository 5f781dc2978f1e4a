//! Zero-phase filters for display and measurement: second-order sections run forward and backward.
//!
//! Corners are those of the whole forward-backward pass (-3 dB there), after Kligfield et al. 2007: 0.05 Hz, or 0.5 Hz only
//! with zero phase; 40, 100, 150 Hz low-pass.

use std::f64::consts::{FRAC_1_SQRT_2, TAU};

/// One biquad, direct form 2 transposed.
#[derive(Debug, Clone, Copy)]
struct Section {
    b: [f64; 3],
    a: [f64; 2],
}

/// Ratio of the single-pass corner to the corner of two passes of a second-order Butterworth section (-1.5 dB each).
const TWO_PASS: f64 = 0.802_243_2;

/// `corner` moved by `factor` on the analogue side of the bilinear transform.
fn moved(corner: f64, rate: f64, factor: f64) -> f64 {
    let w = std::f64::consts::PI * (corner / rate).min(0.49);
    rate / std::f64::consts::PI * (w.tan() * factor).atan()
}

impl Section {
    fn scaled(b: [f64; 3], a: [f64; 3]) -> Self {
        Self { b: b.map(|v| v / a[0]), a: [a[1] / a[0], a[2] / a[0]] }
    }

    fn low_pass(corner: f64, rate: f64) -> Self {
        let (_, cos, alpha) = Self::angles(moved(corner, rate, 1.0 / TWO_PASS), rate, FRAC_1_SQRT_2);
        Self::scaled(
            [(1.0 - cos) / 2.0, 1.0 - cos, (1.0 - cos) / 2.0],
            [1.0 + alpha, -2.0 * cos, 1.0 - alpha],
        )
    }

    fn high_pass(corner: f64, rate: f64) -> Self {
        let (_, cos, alpha) = Self::angles(moved(corner, rate, TWO_PASS), rate, FRAC_1_SQRT_2);
        Self::scaled(
            [(1.0 + cos) / 2.0, -(1.0 + cos), (1.0 + cos) / 2.0],
            [1.0 + alpha, -2.0 * cos, 1.0 - alpha],
        )
    }

    fn notch(centre: f64, rate: f64) -> Self {
        /// Quality 20: 2.5 Hz wide at 50 Hz, narrow enough not to ring visibly after a tall S.
        const QUALITY: f64 = 20.0;
        let (_, cos, alpha) = Self::angles(centre, rate, QUALITY);
        Self::scaled([1.0, -2.0 * cos, 1.0], [1.0 + alpha, -2.0 * cos, 1.0 - alpha])
    }

    fn angles(hertz: f64, rate: f64, quality: f64) -> (f64, f64, f64) {
        // below half the rate, or the section is meaningless
        let w = TAU * (hertz / rate).min(0.49);
        (w.sin(), w.cos(), w.sin() / (2.0 * quality))
    }

    fn run(&self, signal: &mut [f64], backward: bool) {
        let first = if backward { signal.last() } else { signal.first() }.copied().unwrap_or(0.0);
        // steady state for a constant input equal to the first sample
        let gain = self.b.iter().sum::<f64>() / (1.0 + self.a[0] + self.a[1]);
        let y = gain * first;
        let mut z1 = y - self.b[0] * first;
        let mut z2 = self.b[2] * first - self.a[1] * y;
        let mut step = |v: &mut f64| {
            let x = *v;
            let y = self.b[0] * x + z1;
            z1 = self.b[1] * x - self.a[0] * y + z2;
            z2 = self.b[2] * x - self.a[1] * y;
            *v = y;
        };
        if backward {
            signal.iter_mut().rev().for_each(&mut step)
        } else {
            signal.iter_mut().for_each(&mut step)
        }
    }
}

fn both_ways(section: Section, signal: &mut Vec<f64>, pad: usize) {
    // odd reflection at both ends keeps the ends where they are
    let n = signal.len();
    let pad = pad.min(n.saturating_sub(1));
    if n < 3 {
        return;
    }
    let (first, last) = (signal[0], signal[n - 1]);
    let head: Vec<f64> = (1..=pad).rev().map(|i| 2.0 * first - signal[i]).collect();
    let tail: Vec<f64> = (1..=pad).map(|i| 2.0 * last - signal[n - 1 - i]).collect();
    let mut long: Vec<f64> = head.into_iter().chain(signal.iter().copied()).chain(tail).collect();
    section.run(&mut long, false);
    section.run(&mut long, true);
    signal.clear();
    signal.extend_from_slice(&long[pad..pad + n]);
}

/// Low-pass at `corner` Hz.
pub fn low_pass(signal: &mut Vec<f64>, corner: f64, rate: f64) {
    if corner < rate * 0.45 {
        both_ways(Section::low_pass(corner, rate), signal, (rate / corner * 3.0) as usize);
    }
}

/// High-pass at `corner` Hz.
pub fn high_pass(signal: &mut Vec<f64>, corner: f64, rate: f64) {
    both_ways(Section::high_pass(corner, rate), signal, (rate / corner) as usize);
}

/// Notch at `centre` Hz.
pub fn notch(signal: &mut Vec<f64>, centre: f64, rate: f64) {
    if centre < rate * 0.45 {
        both_ways(Section::notch(centre, rate), signal, (rate / centre * 40.0) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gain(filter: impl Fn(&mut Vec<f64>), hertz: f64) -> f64 {
        let rate = 500.0;
        let mut s: Vec<f64> = (0..20_000).map(|i| (TAU * hertz * f64::from(i) / rate).sin()).collect();
        filter(&mut s);
        (s[8000..12_000].iter().map(|v| v * v).sum::<f64>() / 2000.0).sqrt()
    }

    #[test]
    fn corners_are_three_decibels_down() {
        for corner in [40.0, 100.0] {
            let g = gain(|s| low_pass(s, corner, 500.0), corner);
            assert!((g - FRAC_1_SQRT_2).abs() < 0.03, "{corner} Hz: {g}");
        }
        let g = gain(|s| high_pass(s, 0.5, 500.0), 0.5);
        assert!((g - FRAC_1_SQRT_2).abs() < 0.03, "0.5 Hz: {g}");
        assert!(gain(|s| notch(s, 50.0, 500.0), 50.0) < 0.01);
        assert!(gain(|s| notch(s, 50.0, 500.0), 40.0) > 0.95);
    }

    #[test]
    fn the_high_pass_keeps_the_st_level_of_a_beat() {
        // a plateau of 200 µV over 120 ms each second stays within 10 µV of its level above the baseline
        let rate = 500.0;
        let mut s: Vec<f64> =
            (0..5000).map(|i| if (i % 500) >= 100 && (i % 500) < 160 { 200.0 } else { 0.0 }).collect();
        high_pass(&mut s, 0.5, rate);
        let level = s[2500 + 130] - s[2500 + 95];
        assert!((level - 200.0).abs() < 10.0, "{level}");
    }
}

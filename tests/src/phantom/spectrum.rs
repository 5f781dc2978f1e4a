//! Measuring the noise: two exposures of one body differ by noise alone.

use super::{View, pixels};

/// Edge of the square of pixels that is measured.
const EDGE: usize = 256;

/// Noise in one square of a film.
#[derive(Debug, Clone, PartialEq)]
pub struct Noise {
    /// Mean stored value.
    pub mean: f64,
    /// Standard deviation of a single film's noise, stored values.
    pub deviation: f64,
    /// Noise power by eighths of the Nyquist frequency, along rows, relative to the lowest eighth.
    pub power: [f64; 8],
}

/// Measures noise at the middle of the square whose corner is at (`column`, `row`) parts of a chest film.
#[must_use]
pub fn measure(seed: u64, scale: f32, column: f32, row: f32) -> Noise {
    // Same body, other quanta.
    let (a, b) = (pixels(View::ChestPa, "M", seed, scale, 12), super::exposed_again(seed, scale));
    let (c0, r0) = ((column * a.columns as f32) as usize, (row * a.rows as f32) as usize);
    let edge = EDGE.min(a.columns / 2).min(a.rows / 2);
    let mut lines: Vec<Vec<f64>> = Vec::with_capacity(edge);
    let mut mean = 0.0;
    for r in r0..r0 + edge {
        let at = |image: &super::Image, c: usize| f64::from(image.pixels[r * image.columns + c]);
        lines.push((c0..c0 + edge).map(|c| (at(&a, c) - at(&b, c)) / std::f64::consts::SQRT_2).collect());
        mean += (c0..c0 + edge).map(|c| at(&a, c)).sum::<f64>();
    }
    let count = (edge * edge) as f64;
    let deviation = (lines.iter().flatten().map(|d| d * d).sum::<f64>() / count).sqrt();
    Noise { mean: mean / count, deviation, power: bands(&lines) }
}

/// Power of each eighth of the band, by a plain Fourier sum.
fn bands(lines: &[Vec<f64>]) -> [f64; 8] {
    let n = lines.first().map_or(0, Vec::len);
    let mut power = [0.0; 8];
    let half = n / 2;
    for k in 1..half {
        let mut sum = 0.0;
        for line in lines.iter().step_by(4) {
            let (mut re, mut im) = (0.0, 0.0);
            for (i, value) in line.iter().enumerate() {
                let angle = std::f64::consts::TAU * (k * i % n) as f64 / n as f64;
                re += value * angle.cos();
                im += value * angle.sin();
            }
            sum += re * re + im * im;
        }
        power[(8 * k / half).min(7)] += sum;
    }
    let first = power[0].max(f64::MIN_POSITIVE);
    power.map(|p| p / first)
}

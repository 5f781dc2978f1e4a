//! From attenuation to stored pixels: beam, quanta, blur, electronics, presentation.
//!
//! The order makes the noise spectrum of a real indirect detector: quantum noise (Poisson, so its variance follows the
//! exposure) is drawn *before* the scintillator's blur and falls off with frequency; electronic noise is added after it
//! and is white; a fixed gain per column stays faintly behind, as after a real gain correction.

use super::canvas::{CELL_PIXELS, Canvas, box_blur};
use super::dice::{Dice, normal_table};

/// How a film is exposed and shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exposure {
    /// Bits stored: 12 to 14.
    pub(super) bits: u16,
    /// Quanta a pixel in the direct beam.
    pub(super) quanta: f32,
    /// Slope of the S-shaped presentation curve.
    pub(super) slope: f32,
    /// Large-area contrast given back by processing (unsharp masking over 25 mm).
    pub(super) clarity: f32,
    /// The lit field: left, right, top, bottom edges in pixels. An electronic shutter blackens what is outside.
    pub(super) field: [usize; 4],
}

/// Scintillator blur: gaussian sigma in pixels, as five taps.
const BLUR_SIGMA: f32 = 0.62;
/// Electronic noise, standard deviation in quanta.
const ELECTRONIC: f32 = 4.0;
/// Gain that stays behind in each column after correction, standard deviation.
const COLUMN_GAIN: f32 = 0.0012;
/// Part of the smoothed exposure that comes back as scatter behind the grid.
const SCATTER: f32 = 0.10;
/// Half-width of penumbra at the collimator blades, pixels.
const PENUMBRA: f32 = 3.5;
/// The shutter closes so many pixels inside the blades' middle: no bright rim of penumbra.
const SHUTTER: usize = 7;
/// What leaks through the blades.
const LEAK: f32 = 0.004;

/// Pixels, row by row, MONOCHROME2: dense matter is bright.
pub(super) fn expose(
    canvas: &Canvas,
    columns: usize,
    rows: usize,
    exposure: Exposure,
    seed: u64,
) -> Vec<u16> {
    let beam = beam(canvas);
    let (low, wide) = presentation(canvas, &beam, columns, rows, exposure.field);
    let curve = Curve::new(exposure, low);
    let mut dice = Dice::new(seed, 0xF11A);
    let normal = normal_table();
    let gains: Vec<f32> = (0..columns).map(|_| 1.0 + COLUMN_GAIN * deviate(&normal, &mut dice)).collect();
    let taps = taps();
    let field_of = |at: usize, from: usize, to: usize| {
        let edge = |d: f32| 1.0 / (1.0 + (-d / PENUMBRA * 3.0).clamp(-30.0, 30.0).exp());
        edge(at as f32 - from as f32) * edge(to as f32 - at as f32)
    };
    let across: Vec<f32> = (0..columns).map(|c| field_of(c, exposure.field[0], exposure.field[1])).collect();
    let mut ring: Vec<Vec<f32>> = vec![vec![0.0; columns]; 5];
    let mut wide_row = vec![0.0; columns];
    let (mut clean, mut noisy) = (vec![0.0f32; columns], vec![0.0f32; columns]);
    let mut pixels = Vec::with_capacity(columns * rows);
    // Two rows of look-ahead for the vertical taps.
    for line in 0..rows + 2 {
        let source = line.min(rows - 1);
        upsample(&beam, canvas, source, &mut clean);
        let lit = field_of(source, exposure.field[2], exposure.field[3]);
        quanta(&mut clean, &across, lit, exposure.quanta, &normal, &mut dice, &mut noisy);
        blur_row(&noisy, taps, &mut ring[line % 5]);
        if line == 0 {
            let first = ring[0].clone();
            ring[3].clone_from(&first);
            ring[4] = first;
        }
        if line < 2 {
            continue;
        }
        let row = line - 2;
        upsample(&wide, canvas, row, &mut wide_row);
        let r = |d: usize| &ring[(row + 5 + d - 2) % 5];
        let (a, b, c, d, e) = (r(0), r(1), r(2), r(3), r(4));
        let [left, right, top, bottom] = exposure.field;
        for column in 0..columns {
            if column < left + SHUTTER
                || column + SHUTTER > right
                || row < top + SHUTTER
                || row + SHUTTER > bottom
            {
                pixels.push(0);
                continue;
            }
            let sum =
                taps[0] * (a[column] + e[column]) + taps[1] * (b[column] + d[column]) + taps[2] * c[column];
            let read = sum * gains[column] + ELECTRONIC * deviate(&normal, &mut dice);
            pixels.push(curve.of(read.max(1.0), wide_row[column]));
        }
    }
    pixels
}

fn deviate(normal: &[f32], dice: &mut Dice) -> f32 {
    normal[(dice.next() >> 48) as usize]
}

fn taps() -> [f32; 3] {
    let g = |d: f32| (-0.5 * (d / BLUR_SIGMA).powi(2)).exp();
    let sum = g(0.0) + 2.0 * (g(1.0) + g(2.0));
    [g(2.0) / sum, g(1.0) / sum, g(0.0) / sum]
}

/// Relative exposure on the coarse grid, scatter included.
fn beam(canvas: &Canvas) -> Vec<f32> {
    let primary: Vec<f32> = canvas.data.iter().map(|a| 10f32.powf(-a.max(0.0))).collect();
    let radius = (22.0 / canvas.cell) as usize;
    let once = box_blur(&primary, canvas.width, canvas.height, radius);
    let scatter = box_blur(&once, canvas.width, canvas.height, radius);
    primary.iter().zip(&scatter).map(|(p, s)| (p + SCATTER * s) / (1.0 + SCATTER)).collect()
}

/// The logarithm's range inside the field, and its large-area mean on the coarse grid.
fn presentation(
    canvas: &Canvas,
    beam: &[f32],
    columns: usize,
    rows: usize,
    field: [usize; 4],
) -> ([f32; 2], Vec<f32>) {
    let logs: Vec<f32> = beam.iter().map(|e| e.max(1e-6).log10()).collect();
    let radius = (12.0 / canvas.cell) as usize;
    let wide =
        box_blur(&box_blur(&logs, canvas.width, canvas.height, radius), canvas.width, canvas.height, radius);
    let mut inside = Vec::new();
    for row in (0..rows).step_by(4 * CELL_PIXELS) {
        for column in (0..columns).step_by(4 * CELL_PIXELS) {
            if (field[0]..field[1]).contains(&column) && (field[2]..field[3]).contains(&row) {
                inside.push(logs[(row / CELL_PIXELS + 1) * canvas.width + column / CELL_PIXELS + 1]);
            }
        }
    }
    inside.sort_by(f32::total_cmp);
    let at = |part: f32| inside.get((inside.len() as f32 * part) as usize).copied().unwrap_or(-1.0);
    ([at(0.01), at(0.985)], wide)
}

/// One film row of a coarse map, by Catmull-Rom both ways.
fn upsample(map: &[f32], canvas: &Canvas, row: usize, out: &mut [f32]) {
    let width = canvas.width;
    let weights = |t: f32| {
        [
            ((-t + 2.0) * t - 1.0) * t * 0.5,
            ((3.0 * t - 5.0) * t * t + 2.0) * 0.5,
            ((-3.0 * t + 4.0) * t + 1.0) * t * 0.5,
            (t - 1.0) * t * t * 0.5,
        ]
    };
    let v = weights((row % CELL_PIXELS) as f32 / CELL_PIXELS as f32);
    let base = row / CELL_PIXELS * width;
    let lines = [
        &map[base..][..width],
        &map[base + width..][..width],
        &map[base + 2 * width..][..width],
        &map[base + 3 * width..][..width],
    ];
    let column: Vec<f32> = (0..width)
        .map(|i| v[0] * lines[0][i] + v[1] * lines[1][i] + v[2] * lines[2][i] + v[3] * lines[3][i])
        .collect();
    let phases: Vec<[f32; 4]> = (0..CELL_PIXELS).map(|p| weights(p as f32 / CELL_PIXELS as f32)).collect();
    for (i, group) in out.chunks_mut(CELL_PIXELS).enumerate() {
        let four = &column[i..i + 4];
        for (value, h) in group.iter_mut().zip(&phases) {
            *value = h[0] * four[0] + h[1] * four[1] + h[2] * four[2] + h[3] * four[3];
        }
    }
}

/// Draws the quanta of one row: mean from beam and collimator, variance equal to the mean.
fn quanta(
    clean: &mut [f32],
    across: &[f32],
    lit: f32,
    direct: f32,
    normal: &[f32],
    dice: &mut Dice,
    out: &mut [f32],
) {
    let mut bits = 0;
    for (column, (mean, value)) in clean.iter().zip(out.iter_mut()).enumerate() {
        if column % 4 == 0 {
            bits = dice.next();
        }
        let expected = mean.max(0.0) * direct * (across[column] * lit).max(LEAK);
        *value = expected + expected.sqrt() * normal[(bits & 0xFFFF) as usize];
        bits >>= 16;
    }
}

fn blur_row(row: &[f32], taps: [f32; 3], out: &mut [f32]) {
    let last = row.len() - 1;
    for column in [0, 1, last - 1, last] {
        let at = |d: isize| row[column.saturating_add_signed(d).min(last)];
        out[column] = taps[0] * (at(-2) + at(2)) + taps[1] * (at(-1) + at(1)) + taps[2] * at(0);
    }
    for (value, w) in out[2..].iter_mut().zip(row.windows(5)) {
        *value = taps[0] * (w[0] + w[4]) + taps[1] * (w[1] + w[3]) + taps[2] * w[2];
    }
}

/// The presentation curve as a table over the log of the exposure.
struct Curve {
    table: Vec<u16>,
    /// ln(quanta) to position: offset and scale.
    scale: f32,
    offset: f32,
    clarity: f32,
    wide_scale: f32,
}

impl Curve {
    /// Steps of the table: four for each code of a 14-bit film.
    const STEPS: usize = 65_536;

    fn new(exposure: Exposure, [low, high]: [f32; 2]) -> Self {
        let top = f32::from((1u16 << exposure.bits) - 1);
        let span = (high - low).max(0.05);
        let s = |z: f32| 1.0 / (1.0 + (-exposure.slope * (z - 0.5)).exp());
        let (bottom, range) = (s(0.0), s(1.0) - s(0.0));
        // The table covers a margin of half the range on both sides.
        let table = (0..Self::STEPS)
            .map(|i| {
                let z = (i as f32 / Self::STEPS as f32) * 2.0 - 0.5;
                let film = ((s(z) - bottom) / range * 0.9 + 0.05).clamp(0.0, 1.0);
                (top - film * top).round() as u16
            })
            .collect();
        let steps = Self::STEPS as f32;
        let per_decade = 0.5 * steps / span;
        let gain = 1.0 + exposure.clarity;
        Self {
            table,
            scale: gain * per_decade / std::f32::consts::LN_10,
            offset: (0.25 * steps) - per_decade * (low + gain * exposure.quanta.log10()),
            clarity: exposure.clarity,
            wide_scale: per_decade,
        }
    }

    fn of(&self, quanta: f32, wide: f32) -> u16 {
        let at = quanta.ln() * self.scale + self.offset - self.clarity * wide * self.wide_scale;
        self.table[(at.max(0.0) as usize).min(Self::STEPS - 1)]
    }
}

//! Beat classes by correlation, and the median beat of the dominant class.

use super::{Channel, Channels};

/// The median beat of every lead.
#[derive(Debug)]
pub(super) struct Beat {
    pub(super) rate: f64,
    pub(super) leads: Vec<Channel>,
    /// Sample of the fiducial inside the beat.
    pub(super) fiducial: usize,
    pub(super) classes: Vec<usize>,
}

/// Stretch before and after the fiducial, s: PR to 300 ms and QT to 600 ms, shortened at high rates.
const BEFORE_S: f64 = 0.40;
const AFTER_S: f64 = 0.65;
/// Correlation over QRS that makes two beats one class.
const SAME_CLASS: f64 = 0.90;
/// Correlation above which no other class is tried.
const SURELY_SAME: f64 = 0.98;
/// Half width of the QRS window compared, s.
const COMPARE_S: f64 = 0.06;
/// Largest shift tried when a beat is laid on the template, s.
const SHIFT_S: f64 = 0.02;

/// Builds classes and the median beat; `None` when no beat stands whole inside the record.
pub(super) fn median_beat(channels: &Channels, beats: &[usize]) -> Option<Beat> {
    let rate = channels.rate;
    let n = channels.leads.first()?.uv.len();
    let mut rr: Vec<usize> = beats.windows(2).map(|w| w[1] - w[0]).collect();
    rr.sort_unstable();
    let usual = rr.get(rr.len() / 2).copied().unwrap_or(n) as f64 / rate;
    let before = ((BEFORE_S.min(usual * 0.45)) * rate) as usize;
    let after = ((AFTER_S.min(usual * 0.75)) * rate) as usize;
    let (classes, aligned) = classify(channels, beats);
    let mut sizes = vec![0_usize; classes.iter().max().map_or(0, |m| m + 1)];
    for class in &classes {
        sizes[*class] += 1;
    }
    let dominant = sizes.iter().enumerate().max_by_key(|(i, n)| (**n, usize::MAX - i)).map_or(0, |(i, _)| i);
    let chosen: Vec<usize> = classes
        .iter()
        .zip(&aligned)
        .filter(|(class, at)| **class == dominant && **at >= before && **at + after < n)
        .map(|(_, at)| *at)
        .collect();
    if chosen.is_empty() {
        return None;
    }
    let leads = channels
        .leads
        .iter()
        .map(|lead| Channel {
            id: lead.id,
            name: lead.name.clone(),
            uv: median_of(&lead.uv, &chosen, before, after),
        })
        .collect();
    // number the dominant class 0
    let renumber = |c: usize| {
        if c == dominant {
            0
        } else if c < dominant {
            c + 1
        } else {
            c
        }
    };
    Some(Beat { rate, leads, fiducial: before, classes: classes.into_iter().map(renumber).collect() })
}

/// Sample by sample median of the beats, each taken off its own level before the P wave.
fn median_of(uv: &[f64], beats: &[usize], before: usize, after: usize) -> Vec<f64> {
    /// Beats that enter; more add time and nothing else.
    const MOST: usize = 40;
    let step = beats.len().div_ceil(MOST);
    let windows: Vec<(&[f64], f64)> = beats
        .iter()
        .step_by(step)
        .map(|at| {
            let window = &uv[at - before..at + after];
            // the level just before QRS follows the baseline beat by beat
            let quiet = &window[before.saturating_sub(before / 4)..before - before / 8];
            (window, quiet.iter().sum::<f64>() / quiet.len().max(1) as f64)
        })
        .collect();
    let mut column = vec![0.0; windows.len()];
    (0..before + after)
        .map(|i| {
            for (slot, (window, level)) in column.iter_mut().zip(&windows) {
                *slot = window[i] - level;
            }
            let middle = column.len() / 2;
            *column.select_nth_unstable_by(middle, f64::total_cmp).1
        })
        .collect()
}

/// A class's first beat: its QRS window of every lead about its own mean.
struct Template {
    windows: Vec<Vec<f64>>,
    power: f64,
}

impl Template {
    fn at(channels: &Channels, at: usize, half: usize) -> Self {
        let windows: Vec<Vec<f64>> = channels
            .leads
            .iter()
            .map(|lead| {
                let window = &lead.uv[at - half..at + half];
                let mean = window.iter().sum::<f64>() / window.len() as f64;
                window.iter().map(|v| v - mean).collect()
            })
            .collect();
        let power = windows.iter().flatten().map(|v| v * v).sum();
        Self { windows, power }
    }

    /// Correlation with the window at `at` over all leads together, each lead about its own mean.
    fn correlation(&self, channels: &Channels, at: usize, half: usize) -> f64 {
        let (mut ab, mut bb) = (0.0, 0.0);
        for (own, lead) in self.windows.iter().zip(&channels.leads) {
            let (cross, sum, square) = sums(own, &lead.uv[at - half..at + half]);
            // the template has no mean, so that of the other falls out of the product
            ab += cross;
            bb += square - sum * sum / own.len() as f64;
        }
        if self.power > 0.0 && bb > 0.0 { ab / (self.power * bb).sqrt() } else { 0.0 }
    }
}

/// Sum of products, of `y`, and of its squares; four lanes, so that one addition need not wait for the last.
fn sums(x: &[f64], y: &[f64]) -> (f64, f64, f64) {
    let (mut cross, mut sum, mut square) = ([0.0; 4], [0.0; 4], [0.0; 4]);
    let ((xs, x_rest), (ys, y_rest)) = (x.as_chunks::<4>(), y.as_chunks::<4>());
    for (p, q) in xs.iter().zip(ys) {
        for k in 0..4 {
            cross[k] += p[k] * q[k];
            sum[k] += q[k];
            square[k] += q[k] * q[k];
        }
    }
    for (p, q) in x_rest.iter().zip(y_rest) {
        cross[0] += p * q;
        sum[0] += q;
        square[0] += q * q;
    }
    (cross.iter().sum(), sum.iter().sum(), square.iter().sum())
}

/// Classes of beats and their places aligned on the template of their class.
fn classify(channels: &Channels, beats: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let half = (COMPARE_S * channels.rate) as usize;
    let shift = (SHIFT_S * channels.rate) as usize;
    let n = channels.leads[0].uv.len();
    let mut templates: Vec<Template> = Vec::new();
    let (mut classes, mut aligned) = (Vec::new(), Vec::new());
    for &beat in beats {
        let inside = |at: usize| at >= half && at + half < n;
        let mut best = (f64::MIN, 0, beat);
        for (class, template) in templates.iter().enumerate() {
            for at in (beat.saturating_sub(shift)..=beat + shift).filter(|at| inside(*at)) {
                let r = template.correlation(channels, at, half);
                if r > best.0 {
                    best = (r, class, at);
                }
            }
            // the dominant shapes come first; one that fits this well is not beaten by a later one
            if best.0 > SURELY_SAME {
                break;
            }
        }
        /// Classes kept; what fits none of them joins the last.
        const MOST: usize = 12;
        if best.0 >= SAME_CLASS || !inside(beat) {
            classes.push(best.1);
            aligned.push(best.2);
        } else if templates.len() < MOST {
            templates.push(Template::at(channels, beat, half));
            classes.push(templates.len() - 1);
            aligned.push(beat);
        } else {
            classes.push(MOST - 1);
            aligned.push(beat);
        }
    }
    (classes, aligned)
}

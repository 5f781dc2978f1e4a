//! From stored value to grey: modality transformation, window or VOI LUT, inversion (PS3.3 C.11, PS3.4 N.2).
//!
//! All of it depends on the value alone, so it is one table of 65,536 entries, made once a picture.

use super::decode::Frame;
use crate::api::image::{FrameInfo, Lut, VoiFunction};

/// Values of 16 bits.
const VALUES: usize = 0x1_0000;
/// Share of pixels cut off at either end when the window is taken from the samples.
const TAIL_SHARE: f64 = 0.005;

/// How values become grey.
enum Voi<'a> {
    Window { center: f64, width: f64, function: VoiFunction },
    Table(&'a Lut),
}

/// The table: grey of each 16-bit raw value.
///
/// `counts` is asked how often each value stands in the frame when neither caller nor file names a window.
///
/// # Errors
/// What `counts` says.
pub fn table<E>(
    info: &FrameInfo,
    window: Option<(f64, f64)>,
    function: Option<VoiFunction>,
    counts: impl FnOnce() -> Result<Vec<u64>, E>,
) -> Result<Vec<u8>, E> {
    let function = function.unwrap_or(info.voi_function);
    let voi = match (window, info.windows.first(), &info.voi_lut) {
        (Some((center, width)), ..) => Voi::Window { center, width, function },
        (None, Some(window), _) => Voi::Window { center: window.center, width: window.width, function },
        (None, None, Some(lut)) => Voi::Table(lut),
        (None, None, None) => from_samples(info, counts)?,
    };
    Ok((0..VALUES).map(|raw| grey(info, &voi, raw as u16)).collect())
}

/// Counts before the first sample.
#[must_use]
pub fn no_counts() -> Vec<u64> {
    vec![0; VALUES]
}

/// Counts the values of a grey frame.
pub fn count(frame: &Frame, counts: &mut [u64]) {
    for index in 0..frame.container.len() / frame.sample_bytes {
        counts[usize::from(frame.value(index))] += 1;
    }
}

fn grey(info: &FrameInfo, voi: &Voi<'_>, raw: u16) -> u8 {
    let stored = stored(info, raw);
    if info.padding.is_some_and(|padding| (padding.low..=padding.high).contains(&stored)) {
        return 0;
    }
    let value = modality(info, stored);
    let share = match voi {
        Voi::Window { center, width, function } => windowed(value, *center, *width, *function),
        Voi::Table(lut) => {
            let top = lut.entries.iter().copied().max().unwrap_or(1).max(((1_u32 << lut.bits) - 1) as u16);
            f64::from(looked_up(lut, value.round() as i64)) / f64::from(top)
        }
    };
    let share = if info.invert { 1.0 - share } else { share };
    (share * 255.0).round().clamp(0.0, 255.0) as u8
}

fn stored(info: &FrameInfo, raw: u16) -> i32 {
    if info.signed { i32::from(raw as i16) } else { i32::from(raw) }
}

/// Modality LUT or rescale (C.11.1).
fn modality(info: &FrameInfo, stored: i32) -> f64 {
    match &info.modality_lut {
        Some(lut) => f64::from(looked_up(lut, i64::from(stored))),
        None => f64::from(stored) * info.rescale_slope + info.rescale_intercept,
    }
}

fn looked_up(lut: &Lut, value: i64) -> u16 {
    let last = lut.entries.len().saturating_sub(1) as i64;
    let index = (value - i64::from(lut.first)).clamp(0, last);
    lut.entries.get(index as usize).copied().unwrap_or(0)
}

/// C.11.2.1.2 and C.11.2.1.3; 0 to 1.
#[must_use]
pub fn windowed(value: f64, center: f64, width: f64, function: VoiFunction) -> f64 {
    match function {
        VoiFunction::Linear if width >= 1.0 => {
            let (center, half) = (center - 0.5, (width - 1.0) / 2.0);
            if value <= center - half {
                0.0
            } else if value > center + half {
                1.0
            } else {
                (value - center) / (width - 1.0) + 0.5
            }
        }
        VoiFunction::Sigmoid => 1.0 / (1.0 + (-4.0 * (value - center) / width).exp()),
        // LINEAR is defined from width 1 on; below it only the exact form has a meaning.
        VoiFunction::Linear | VoiFunction::LinearExact => ((value - center) / width + 0.5).clamp(0.0, 1.0),
    }
}

/// A window from the samples, padding left out: the whole range for 8 bits, else all but a small tail at either end.
fn from_samples<E>(
    info: &FrameInfo,
    counts: impl FnOnce() -> Result<Vec<u64>, E>,
) -> Result<Voi<'static>, E> {
    let exact = |low: f64, high: f64| {
        let (low, high) = (low.min(high), low.max(high));
        Voi::Window {
            center: f64::midpoint(low, high),
            width: (high - low).max(1.0),
            function: VoiFunction::LinearExact,
        }
    };
    if info.bits_stored <= 8 && !info.signed && info.modality_lut.is_none() {
        let top = (1_i32 << info.bits_stored) - 1;
        return Ok(exact(modality(info, 0), modality(info, top)));
    }
    let counts = counts()?;
    let order = |at: usize| if info.signed { (at ^ 0x8000) as u16 } else { at as u16 };
    let kept: Vec<(i32, u64)> = (0..VALUES)
        .map(|at| (stored(info, order(at)), counts[usize::from(order(at))]))
        .filter(|(value, count)| {
            *count > 0 && info.padding.is_none_or(|padding| !(padding.low..=padding.high).contains(value))
        })
        .collect();
    let total = kept.iter().map(|(_, count)| count).sum::<u64>() as f64;
    let quantile = |share: f64| {
        let mut seen = 0.0;
        kept.iter()
            .find(|(_, count)| {
                seen += *count as f64;
                seen >= total * share
            })
            .map_or(0, |(value, _)| *value)
    };
    Ok(exact(modality(info, quantile(TAIL_SHARE)), modality(info, quantile(1.0 - TAIL_SHARE))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linear_window_of_ps3_3_maps_its_examples() {
        // PS3.3 C.11.2.1.2.1: c=2048, w=4096: 0 → 0, 4095 → 1; c=2048, w=1: threshold between 2047 and 2048.
        let linear = |value, center, width| windowed(value, center, width, VoiFunction::Linear);
        assert_eq!(linear(0.0, 2048.0, 4096.0), 0.0);
        assert_eq!(linear(4095.0, 2048.0, 4096.0), 1.0);
        assert_eq!((linear(2047.0, 2048.0, 1.0), linear(2048.0, 2048.0, 1.0)), (0.0, 1.0));
        assert_eq!((linear(0.0, 0.0, 100.0) * 99.0).round(), 50.0);
    }

    #[test]
    fn exact_and_sigmoid_are_one_half_at_the_centre() {
        for function in [VoiFunction::LinearExact, VoiFunction::Sigmoid] {
            assert_eq!(windowed(40.0, 40.0, 400.0, function), 0.5);
        }
        assert_eq!(windowed(-160.0, 40.0, 400.0, VoiFunction::LinearExact), 0.0);
        assert!(windowed(-160.0, 40.0, 400.0, VoiFunction::Sigmoid) > 0.0);
    }

    #[test]
    fn a_table_is_clamped_at_both_ends() {
        let lut = Lut { first: -2, bits: 8, entries: vec![1, 2, 3], explanation: String::new() };
        assert_eq!((looked_up(&lut, -9), looked_up(&lut, -1), looked_up(&lut, 99)), (1, 2, 3));
    }
}

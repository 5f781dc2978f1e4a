//! One component of a film, row by row: what is known of a sample before it is coded, and what is learnt from it.

use super::activity::{Activity, Errors, LEVELS, estimate};
use super::model::{Model, read, write};
use super::predict::{DEPTH, FINE, Predictor, Samples, TILE, predict};
use super::rans::{Reader, Writer};
use super::rows::{MARGIN, Rows};
use crate::error::{DecodeError, damaged};

/// Octaves of the estimated error.
const OCTAVES: u32 = 16;
/// Octaves so quiet that it matters where between two whole numbers the prediction lies.
const QUIET: usize = 6;
/// Thirds of half a step.
const PARTS: usize = 3;
/// Ratios of the errors nearby to those around.
const RATIOS: usize = 5;
/// Bands of grey.
const BANDS: usize = 16;
/// An error of nought is taken for 0.15, which is 38/256.
const FLOOR: i32 = 38;
/// Octave, of the estimate in 1/256, below which all is one.
const FIRST_OCTAVE: u32 = 5;
/// Octave at which a mean error is four samples: above it low bits are written as they are.
const PLAIN_OCTAVE: u32 = 10;
/// Errors above this count as this.
const MOST: i32 = i16::MAX as i32;

/// Which values samples have, and where the bands of grey lie. Ranks when the film is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) lowest: u16,
    pub(super) highest: u16,
    /// The first level of grey begins here …
    pub(super) base: u16,
    /// … and each has 2^shift values.
    pub(super) shift: u8,
}

/// Where residuals go to or come from.
pub(super) trait Channel {
    /// Codes `actual`, or gives what was coded.
    fn residual(&mut self, a: &mut Model, b: &mut Model, plain: u32, actual: i32) -> i32;
}

impl Channel for Writer {
    #[inline]
    fn residual(&mut self, a: &mut Model, b: &mut Model, plain: u32, actual: i32) -> i32 {
        write(self, a, b, actual, plain);
        actual
    }
}

impl Channel for Reader<'_> {
    #[inline]
    fn residual(&mut self, a: &mut Model, b: &mut Model, plain: u32, _actual: i32) -> i32 {
        read(self, a, b, plain)
    }
}

/// Everything that is remembered of a component.
pub(super) struct Plane {
    samples: Samples,
    errors: Errors,
    predictor: Predictor,
    activity: Activity,
    by_ratio: Vec<Model>,
    by_band: Vec<Model>,
}

impl Plane {
    pub(super) fn new(width: usize) -> Self {
        let by_ratio = expected([2, 6, 10, 14]).flat_map(|size| vec![Model::new(size); RATIOS]).collect();
        let by_band = expected([1, 4, 8, 12, 15]).flat_map(|size| vec![Model::new(size); BANDS]).collect();
        Self {
            samples: Rows::<i16, DEPTH>::new(width, 0),
            errors: Rows::new(width, 64),
            predictor: Predictor::new(width),
            activity: Activity::new(width),
            by_ratio,
            by_band,
        }
    }

    /// Samples are called otherwise from now on.
    pub(super) fn rename(&mut self, name: impl Fn(u16) -> u16) {
        self.samples.each(|sample| centred(name(plain(sample))));
    }

    /// The current row, after [`Plane::row`].
    pub(super) fn samples(&self) -> impl Iterator<Item = u16> {
        let row = self.samples.row(0);
        row[MARGIN..row.len() - MARGIN].iter().map(|sample| plain(*sample))
    }

    /// Begins a row. When coding, `row` has its samples.
    pub(super) fn begin(&mut self, row: Option<impl Iterator<Item = u16>>) {
        self.samples.advance();
        self.errors.advance();
        self.samples.begin(self.samples.row(1)[MARGIN]);
        self.errors.begin(self.errors.row(1)[MARGIN]);
        if let Some(row) = row {
            for (place, sample) in self.samples.split().0[MARGIN..].iter_mut().zip(row) {
                *place = centred(sample);
            }
        }
        self.predictor.begin(&self.samples);
        self.activity.begin(&self.samples, &self.errors);
    }

    /// Codes or decodes the row.
    pub(super) fn row(&mut self, span: Span, channel: &mut impl Channel) -> Result<(), DecodeError> {
        let (current, above) = self.samples.split();
        let up = &above[0];
        let width = current.len() - 2 * MARGIN;
        let up = &up[..current.len()];
        let errors = &mut self.errors.split().0[..current.len()];
        let at = |row: &[i16], x: usize| i32::from(row[x]);
        let mut left = [at(current, MARGIN - 1), at(current, MARGIN - 2), at(current, MARGIN - 3)];
        let mut left_errors = [at(errors, MARGIN - 1), at(errors, MARGIN - 2)];
        let mut corner = at(up, MARGIN - 1);
        let mut mean = left_errors[0] << (8 - FINE);
        let (lowest, highest) = (i32::from(centred(span.lowest)), i32::from(centred(span.highest)));
        let base = i32::from(centred(span.base));
        let mut outside = false;
        for start in (0..width).step_by(TILE) {
            let weights = self.activity.weights(start);
            let of_left = self.predictor.left(start / TILE);
            let end = width.min(start + TILE);
            let from_above = &self.predictor.above()[start..end];
            let up = &up[start + MARGIN..end + MARGIN];
            let current = &mut current[start + MARGIN..end + MARGIN];
            let errors = &mut errors[start + MARGIN..end + MARGIN];
            let part = self.activity.part(start, end);
            let [of_rows, of_levels, steps] = part.terms;
            for x in 0..end - start {
                let above = i32::from(up[x]);
                let fine =
                    predict(from_above[x], above, left, of_left).clamp(lowest << FINE, highest << FINE);
                let whole = (fine + (1 << (FINE - 1))) >> FINE;
                let level = ((whole - base) >> span.shift).clamp(0, LEVELS as i32 - 1) as usize;
                let step = ((left[0] - corner).abs() << (FINE - 2)).min(MOST);
                let of_level = part.levels.mean(level).min(MOST);
                let of_row = mean >> (8 - FINE);
                let terms = [left_errors[0], left_errors[1], of_row, of_level, step];
                let size = estimate(part.above[x], terms, weights) + FLOOR;
                (of_rows[x], of_levels[x], steps[x]) = (of_row as i16, of_level as i16, step as i16);
                let near = i32::from(part.near[x]) + ((2 * left_errors[0] + left_errors[1]) >> 3);
                let wide = (3 * part.wide[x] + mean) >> (10 - FINE);
                let fraction = fine - (whole << FINE);
                let (slot, between, low_bits) = slot(size, fraction);
                let a = &mut self.by_ratio[slot * RATIOS + ratio(near, wide)];
                let b = &mut self.by_band[between * BANDS + level * BANDS / LEVELS];
                let flip = if low_bits == 0 { fraction >> 31 } else { 0 };
                let actual = ((i32::from(current[x]) - whole) ^ flip) - flip;
                let residual = channel.residual(a, b, low_bits, actual);
                let sample = whole + ((residual ^ flip) - flip);
                outside |= sample < lowest || sample > highest;
                current[x] = sample as i16;
                let error = ((sample << FINE) - fine).abs().min(MOST);
                errors[x] = error as i16;
                part.levels.note(level, error);
                mean += ((error << (8 - FINE)) - mean) >> 3;
                left = [sample, left[0], left[1]];
                left_errors = [error, left_errors[0]];
                corner = above;
            }
        }
        if outside {
            return Err(damaged("residuals", "a sample lies outside the span of its strip"));
        }
        Ok(())
    }

    /// Ends a row: everything is learnt from it.
    pub(super) fn end(&mut self) {
        self.samples.end();
        self.errors.end();
        self.activity.learn(&self.errors);
        self.predictor.learn(&self.samples, self.errors.row(0), &self.activity.wide);
    }
}

fn centred(sample: u16) -> i16 {
    (sample ^ 0x8000).cast_signed()
}

fn plain(sample: i16) -> u16 {
    sample.cast_unsigned() ^ 0x8000
}

/// The slots of an estimated error by ratio and by band, and the low bits of a residual that are not modelled.
///
/// The second slots lie between the first: two models of which each takes a quarter of an octave for one size tell eighths.
#[inline]
fn slot(size: i32, fraction: i32) -> (usize, usize, u32) {
    let octave = size.max(1 << FIRST_OCTAVE).ilog2().min(FIRST_OCTAVE + OCTAVES - 1);
    let eighth = ((size >> (octave - 3)) - 8).min(7) as usize;
    let above = (octave - FIRST_OCTAVE) as usize;
    if above < QUIET {
        let part = (fraction.unsigned_abs() as usize / 3).min(PARTS - 1);
        let first = (above * 4 + eighth / 2) * PARTS + part;
        let second = (above * 5 + eighth.div_ceil(2)) * PARTS + part;
        (first, second, octave.saturating_sub(PLAIN_OCTAVE))
    } else {
        let quiet = QUIET * (PARTS - 1);
        (
            quiet * 4 + above * 4 + eighth / 2,
            quiet * 5 + above * 5 + eighth.div_ceil(2),
            octave - PLAIN_OCTAVE,
        )
    }
}

/// The mean residual, in sixteenths of a token, of each slot in an octave cut at these eighths.
fn expected<const N: usize>(cuts: [u32; N]) -> impl Iterator<Item = u32> {
    (0..OCTAVES).flat_map(move |above| {
        let octave = FIRST_OCTAVE + above;
        let parts = if above < QUIET as u32 { PARTS } else { 1 };
        cuts.into_iter().flat_map(move |sixteenths| {
            let size = ((16 + sixteenths) << (octave - 4)) >> octave.saturating_sub(PLAIN_OCTAVE) >> 4;
            std::iter::repeat_n(size, parts)
        })
    })
}

#[inline]
fn ratio(near: i32, wide: i32) -> usize {
    let (near, wide) = ((near + 2) << 6, wide + 2);
    usize::from(near > wide * 35)
        + usize::from(near > wide * 51)
        + usize::from(near > wide * 74)
        + usize::from(near > wide * 109)
}

//! Prediction: for every tile of columns the linear predictor that would have served best in the rows just above.

use super::reciprocal::reciprocal;
use super::rows::{MARGIN, Rows};
use super::solve::{solve, triangle};

/// Columns of a tile.
pub(super) const TILE: usize = 64;
/// Neighbours that are weighed; what they say is taken relative to the sample above.
const TAPS: usize = 17;
/// The neighbours in the row itself, by distance to the left.
const LEFT: usize = 3;
/// The others: row above and column, relative to the sample.
const ABOVE: [(usize, isize); TAPS - LEFT] = [
    (1, -3),
    (1, -2),
    (1, -1),
    (1, 1),
    (1, 2),
    (1, 3),
    (2, -2),
    (2, -1),
    (2, 0),
    (2, 1),
    (2, 2),
    (3, -1),
    (3, 0),
    (3, 1),
];
/// Rows above the current one that are looked at.
pub(super) const DEPTH: usize = 4;
/// Bits after the point of a weight.
const POINT: u32 = 13;
/// Bits after the point of a prediction.
pub(super) const FINE: u32 = 4;
/// A tile forgets this part of its sums with every row: 1/16.
const FORGET: u32 = 4;
/// A tile is solved anew every so many rows, its neighbours in other rows.
const EVERY: usize = 4;
/// Rows before the first solution: fewer say too little of sixteen weights.
const FIRST: usize = 3;
/// Part of the mean diagonal, in 1/65,536, by which weights are drawn to [`PLANE`]; and more while rows are few.
const RIDGE: i64 = 4;
const FEW_RIDGE: i64 = 1 << 22;
/// The first row has only its left neighbour, (the weights are relative to the sample above).
const FIRST_ROW: [i32; TAPS] = [1 << POINT, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// Three quarters of left and above, less half of left above.
const PLANE: [i32; TAPS] = [3 << (POINT - 2), 0, 0, 0, 0, -1 << (POINT - 1), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Thirty-two times the usual error: more counts as this. The sum of 64 products then has 28 bits.
const MOST: i16 = 2047;

/// The samples of a row and those above, as distances from the middle of 16 bits.
pub(super) type Samples = Rows<i16, DEPTH>;

#[derive(Clone)]
struct Tile {
    sums: [i64; triangle(TAPS)],
    /// What the rows since the last solution add, and how many they are: at most [`EVERY`].
    fresh: [i32; triangle(TAPS)],
    fresh_rows: i64,
    weights: [i16; TAPS],
}

/// The predictors of all tiles.
pub(super) struct Predictor {
    tiles: Vec<Tile>,
    /// What the rows above say of every sample of this row, relative to the sample above.
    above: Vec<i32>,
    rows: usize,
}

impl Predictor {
    pub(super) fn new(width: usize) -> Self {
        let tile = Tile {
            sums: [0; triangle(TAPS)],
            fresh: [0; triangle(TAPS)],
            fresh_rows: 0,
            weights: FIRST_ROW.map(|w| w as i16),
        };
        Self { tiles: vec![tile; width.div_ceil(TILE)], above: vec![0; width], rows: 0 }
    }

    /// Before a row: everything that the rows above say.
    pub(super) fn begin(&mut self, samples: &Samples) {
        let width = self.above.len();
        for (index, tile) in self.tiles.iter().enumerate() {
            let place = index * TILE..width.min((index + 1) * TILE);
            let out = &mut self.above[place.clone()];
            out.fill(0);
            let up = &samples.row(1)[place.start + MARGIN..place.end + MARGIN];
            for ((row, column), weight) in ABOVE.iter().zip(&tile.weights[LEFT..]) {
                let from = (place.start + MARGIN).wrapping_add_signed(*column);
                let row = &samples.row(*row)[from..from + out.len()];
                for ((out, value), up) in out.iter_mut().zip(row).zip(up) {
                    let relative = value.saturating_sub(*up);
                    *out = out.wrapping_add(i32::from(relative) * i32::from(*weight));
                }
            }
        }
    }

    /// The weights of the left neighbours in the tile of column `x`.
    #[inline]
    pub(super) fn left(&self, tile: usize) -> [i32; LEFT] {
        let weights = &self.tiles[tile].weights;
        [i32::from(weights[0]), i32::from(weights[1]), i32::from(weights[2])]
    }

    /// What the rows above say of the sample at `x`, for [`predict`].
    #[inline]
    pub(super) fn above(&self) -> &[i32] {
        &self.above
    }

    /// After a row, which is the current one of `samples`: learns from it. `errors` are magnitudes with [`FINE`] bits, `wide` the
    /// mean errors around with 8 bits.
    pub(super) fn learn(&mut self, samples: &Samples, errors: &[i16], wide: &[i32]) {
        self.rows += 1;
        let width = self.above.len();
        let mut scratch = [[0i16; TILE]; TAPS + 1];
        for (index, tile) in self.tiles.iter_mut().enumerate() {
            let place = index * TILE..width.min((index + 1) * TILE);
            let errors = &errors[place.start + MARGIN..place.end + MARGIN];
            relatives(samples, place.start, errors, &wide[place], &mut scratch);
            tile.add(&scratch);
            if self.rows >= 4 * EVERY && !(self.rows + index).is_multiple_of(EVERY) {
                continue;
            }
            tile.settle();
            if self.rows < FIRST {
                tile.weights = PLANE.map(|w| w as i16);
            } else {
                let seen = (self.rows.min(1 << FORGET) * errors.len()) as i64;
                solve(&tile.sums, RIDGE + FEW_RIDGE / (seen * seen), &PLANE, &mut tile.weights);
            }
        }
    }
}

/// The prediction with [`FINE`] bits after the point, above the middle of 16 bits. `above` is from [`Predictor::above`], `up` the
/// sample above, `left` the samples to the left from the nearest.
#[inline]
pub(super) fn predict(above: i32, up: i32, left: [i32; LEFT], weights: [i32; LEFT]) -> i32 {
    let mut sum = above;
    for (left, weight) in left.iter().zip(weights) {
        sum = sum.wrapping_add((left - up).wrapping_mul(weight));
    }
    (up << FINE) + (sum >> (POINT - FINE))
}

/// Neighbours and sample relative to the sample above, in 1/64 of the error that is usual there, for a tile: a quiet place says
/// as much as a loud one, and an outlier little.
fn relatives(
    samples: &Samples,
    start: usize,
    errors: &[i16],
    wide: &[i32],
    out: &mut [[i16; TILE]; TAPS + 1],
) {
    let length = errors.len();
    let base = start + MARGIN;
    let up = &samples.row(1)[base..base + length];
    let left = (0..LEFT).map(|l| (0, -1 - l.cast_signed()));
    let taps = left.chain(ABOVE).chain([(0, 0)]);
    let mut all = 0;
    for (out, (row, column)) in out.iter_mut().zip(taps) {
        let from = base.wrapping_add_signed(column);
        let row = &samples.row(row)[from..from + length];
        for ((out, value), up) in out.iter_mut().zip(row).zip(up) {
            *out = value.saturating_sub(*up);
            all |= *out ^ (*out >> 15);
        }
        out[length..].fill(0);
    }
    // as far up as the largest allows
    let shift = (all.cast_unsigned().leading_zeros() - 1).min(14);
    let mut inverse = [0i16; TILE];
    for ((inverse, wide), error) in inverse.iter_mut().zip(wide).zip(errors) {
        let usual = (wide >> (8 - FINE)) + (i32::from(*error) >> 2) + 5;
        *inverse = reciprocal(usual.unsigned_abs(), 26 - shift);
    }
    for out in out.iter_mut() {
        for (value, inverse) in out.iter_mut().zip(&inverse) {
            let scaled = (i32::from(*value << shift) * i32::from(*inverse)) >> 16;
            *value = (scaled as i16).clamp(-MOST, MOST);
        }
    }
}

/// Sum of products, added up so that a vector unit multiplies eight pairs at a time.
#[inline(never)]
pub(super) fn product(a: &[i16; TILE], b: &[i16; TILE]) -> i32 {
    let mut sums = [0i32; 4];
    for (a, b) in a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0) {
        for (k, sum) in sums.iter_mut().enumerate() {
            let even = i32::from(a[2 * k]) * i32::from(b[2 * k]);
            let odd = i32::from(a[2 * k + 1]) * i32::from(b[2 * k + 1]);
            *sum = sum.wrapping_add(even.wrapping_add(odd));
        }
    }
    sums.iter().fold(0, |all, sum| all.wrapping_add(*sum))
}

impl Tile {
    /// Adds the products of a row.
    fn add(&mut self, relatives: &[[i16; TILE]; TAPS + 1]) {
        let mut sums = self.fresh.iter_mut();
        for (i, a) in relatives.iter().enumerate() {
            for (b, sum) in relatives[..=i].iter().zip(&mut sums) {
                *sum = sum.wrapping_add(product(a, b));
            }
        }
        self.fresh_rows += 1;
    }

    /// Forgets a little for each row since the last time, and takes up what they taught.
    fn settle(&mut self) {
        for (sum, fresh) in self.sums.iter_mut().zip(&mut self.fresh) {
            *sum += (i64::from(*fresh) << 8) - (*sum >> FORGET) * self.fresh_rows;
            *fresh = 0;
        }
        self.fresh_rows = 0;
    }
}

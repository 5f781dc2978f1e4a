//! How large the next error will be: a weighted sum of the errors around it, weights learnt as the film goes.

use super::predict::{FINE, Samples, TILE, product};
use super::reciprocal::reciprocal;
use super::rows::{MARGIN, Rows};
use super::solve::{solve, triangle};

/// What the estimate is made of, in this order: left, second left, above, above left and right, the wider ring, the mean of the
/// rows above, the mean of this row, the mean at this grey value, the step left, the steps above.
const TERMS: usize = 10;
/// Columns for which weights are learnt together.
pub(super) const BLOCK: usize = 256;
const _: () = assert!(BLOCK.is_multiple_of(TILE));
/// Bits after the point of a weight of the estimate: those of the solver.
const POINT: u32 = 13;
/// Weights before anything is learnt.
const PRIOR: [i32; TERMS] = [800, 400, 800, 1000, 1000, 2400, 800, 800, 160, 160];
/// The sums are kept over about so many learning rows, as a power of two.
const FORGET: u32 = 4;
/// Every so many rows are learnt from.
const EVERY: usize = 2;
/// Every so many rows the weights of a block are made anew.
const SOLVE_EVERY: usize = 2;
/// Ridge of the solver, in 1/65,536 of the mean diagonal.
const RIDGE: i64 = 4;
/// Levels of grey for which a mean error is kept.
pub(super) const LEVELS: usize = 64;
/// Errors above this, in sixteenths, count as this: what one corner says must fit the sums.
const MOST: i32 = i16::MAX as i32;

/// Errors of a row and those above, magnitudes with [`FINE`] bits.
pub(super) type Errors = Rows<i16, 3>;

/// Mean error at each level of grey, 16 bits after the point.
pub(super) struct Levels([i32; LEVELS]);

impl Levels {
    /// With [`FINE`] bits.
    #[inline]
    pub(super) fn mean(&self, level: usize) -> i32 {
        self.0[level] >> (16 - FINE)
    }

    #[inline]
    pub(super) fn note(&mut self, level: usize, error: i32) {
        let mean = &mut self.0[level];
        *mean += ((error << (16 - FINE)) - *mean) >> 8;
    }
}

/// What a row needs of some columns.
pub(super) struct Part<'a> {
    /// What the rows above say of each sample, for [`estimate`].
    pub(super) above: &'a [i32],
    /// Errors around in the rows above, with [`FINE`] bits.
    pub(super) near: &'a [i16],
    /// Mean error of the rows above around each column, with 8 bits.
    pub(super) wide: &'a [i32],
    /// What the estimate is made of where it needs this row: mean of the row, mean of the level, step left.
    pub(super) terms: [&'a mut [i16]; 3],
    pub(super) levels: &'a mut Levels,
}

/// What is learnt for a block of columns.
#[derive(Clone)]
struct Block {
    weights: [i16; TERMS],
    sums: [i64; triangle(TERMS)],
}

/// State of the estimate.
pub(super) struct Activity {
    blocks: Vec<Block>,
    rows: usize,
    /// Mean error of the rows above around each column, 8 bits after the point.
    pub(super) wide: Vec<i32>,
    /// Steps between the samples above, in quarters.
    steps: Vec<i16>,
    /// What the rows above say of each sample: weighted sum, 17 bits after the point.
    above: Vec<i32>,
    /// Errors around in the rows above, for the ratio of near to wide.
    near: Vec<i16>,
    levels: Levels,
    /// What the estimate was made of where it needs this row: mean of the row, mean of the level, step left.
    terms: [Vec<i16>; 3],
    ring: Vec<i16>,
}

impl Activity {
    pub(super) fn new(width: usize) -> Self {
        Self {
            blocks: vec![
                Block { weights: PRIOR.map(|w| w as i16), sums: [0; triangle(TERMS)] };
                width.div_ceil(BLOCK)
            ],
            rows: 0,
            wide: vec![4 << 8; width],
            steps: vec![0; width],
            above: vec![0; width],
            near: vec![0; width],
            levels: Levels([4 << 16; LEVELS]),
            terms: std::array::from_fn(|_| vec![0; width]),
            ring: vec![0; width],
        }
    }

    /// Before a row: everything that the rows above say.
    pub(super) fn begin(&mut self, samples: &Samples, errors: &Errors) {
        let width = self.wide.len();
        let at = |row: usize, column: isize| {
            let from = MARGIN.wrapping_add_signed(column);
            &errors.row(row)[from..from + width]
        };
        let (up, up_left, up_right) = (at(1, 0), at(1, -1), at(1, 1));
        let outer = [at(1, -2), at(1, 2), at(2, -1), at(2, 1), at(2, 0)];
        let sample = |column: isize| {
            let from = MARGIN.wrapping_add_signed(column);
            &samples.row(1)[from..from + width]
        };
        let (left, middle, right) = (sample(-1), sample(0), sample(1));
        for x in 0..width {
            let step = |a: i16, b: i16| i32::from(a.saturating_sub(b)).abs();
            let steps = (step(middle[x], left[x]) + step(middle[x], right[x])) << (FINE - 2);
            self.steps[x] = steps.min(MOST) as i16;
        }
        for x in 0..width {
            let sum: i32 = outer.iter().map(|row| i32::from(row[x])).sum();
            // a fifth
            self.ring[x] = ((sum * 13) >> 6) as i16;
        }
        for (index, block) in self.blocks.iter().enumerate() {
            let w = block.weights.map(i32::from);
            for x in index * BLOCK..width.min((index + 1) * BLOCK) {
                let diagonal = (i32::from(up_left[x]) + i32::from(up_right[x])) >> 1;
                let wide = self.wide[x] >> (8 - FINE);
                self.above[x] = (i32::from(up[x]) * w[2])
                    .wrapping_add(diagonal * w[3])
                    .wrapping_add(i32::from(self.ring[x]) * w[4])
                    .wrapping_add(wide.min(MOST) * w[5])
                    .wrapping_add(i32::from(self.steps[x]) * w[9]);
                let near = 2 * i32::from(up[x]) + 2 * diagonal + i32::from(outer[4][x]);
                self.near[x] = (near >> 3) as i16;
            }
        }
    }

    /// The weights of what needs this row: left, second left, mean of the row, mean of the level, step left; in the
    /// block of column `x`.
    #[inline]
    pub(super) fn weights(&self, x: usize) -> [i32; 5] {
        let weights = &self.blocks[x / BLOCK].weights;
        [0, 1, 6, 7, 8].map(|i| i32::from(weights[i]))
    }

    /// What a row needs of columns `from` to `to`.
    #[inline]
    pub(super) fn part(&mut self, from: usize, to: usize) -> Part<'_> {
        Part {
            above: &self.above[from..to],
            near: &self.near[from..to],
            wide: &self.wide[from..to],
            terms: self.terms.each_mut().map(|terms| &mut terms[from..to]),
            levels: &mut self.levels,
        }
    }

    /// After a row, which is the current one of `errors`.
    pub(super) fn learn(&mut self, errors: &Errors) {
        let width = self.wide.len();
        let around = &errors.row(0)[MARGIN - 4..];
        for (x, wide) in self.wide.iter_mut().enumerate() {
            let sum: i32 = around[x..x + 9].iter().map(|e| i32::from(*e)).sum();
            // a ninth, with 8 bits after the point
            let mean = if self.rows == 0 { (sum * 455) >> 8 } else { *wide };
            *wide = mean + ((((sum * 455) >> 8) - mean) >> 3);
        }
        self.rows += 1;
        let tiles = width.div_ceil(TILE);
        for index in 0..tiles {
            if self.rows <= 4 * EVERY || (self.rows + index / (BLOCK / TILE)).is_multiple_of(EVERY) {
                self.tile(index, errors);
            }
        }
        for (index, block) in self.blocks.iter_mut().enumerate() {
            let turn = self.rows + index;
            if self.rows <= 4 * EVERY || turn.is_multiple_of(EVERY) {
                block.sums.iter_mut().for_each(|sum| *sum -= *sum >> FORGET);
            }
            if self.rows > 2 && (self.rows <= 4 * EVERY || turn.is_multiple_of(SOLVE_EVERY)) {
                solve(&block.sums, RIDGE, &PRIOR, &mut block.weights);
            }
        }
    }

    /// Learns from a tile of the row.
    fn tile(&mut self, index: usize, errors: &Errors) {
        let place = index * TILE..self.wide.len().min((index + 1) * TILE);
        let length = place.len();
        let row = |above: usize, column: isize| {
            let from = (place.start + MARGIN).wrapping_add_signed(column);
            &errors.row(above)[from..from + length]
        };
        let mut terms = [[0i16; TILE]; TERMS + 1];
        let [left, left2, up, diagonal, ring, wide, mean, level, step, steps, actual] = &mut terms;
        left[..length].copy_from_slice(row(0, -1));
        left2[..length].copy_from_slice(row(0, -2));
        up[..length].copy_from_slice(row(1, 0));
        for ((out, a), b) in diagonal.iter_mut().zip(row(1, -1)).zip(row(1, 1)) {
            *out = ((i32::from(*a) + i32::from(*b)) >> 1) as i16;
        }
        ring[..length].copy_from_slice(&self.ring[place.clone()]);
        for (out, value) in wide.iter_mut().zip(&self.wide[place.clone()]) {
            *out = (value >> (8 - FINE)).min(MOST) as i16;
        }
        for (out, from) in [mean, level, step].into_iter().zip(&self.terms) {
            out[..length].copy_from_slice(&from[place.clone()]);
        }
        steps[..length].copy_from_slice(&self.steps[place.clone()]);
        actual[..length].copy_from_slice(row(0, 0));
        // relative to their size, in 1/256, so that a quiet place says as much as a loud one: first as far up as the largest allows
        let all = terms.iter().flatten().fold(0, |all, term| all | *term);
        let shift = (all.cast_unsigned().leading_zeros().max(1) - 1).min(10);
        let mut inverse = [0i16; TILE];
        for (inverse, wide) in inverse.iter_mut().zip(terms[5]) {
            *inverse = reciprocal(i32::from(wide).unsigned_abs() + 8, 24 - shift);
        }
        for (index, terms) in terms.iter_mut().enumerate() {
            let most = if index == TERMS { 4 * 256 } else { 8 * 256 };
            for (term, inverse) in terms.iter_mut().zip(&inverse) {
                let scaled = (i32::from(*term << shift) * i32::from(*inverse)) >> 16;
                *term = (scaled as i16).min(most);
            }
        }
        let mut sums = self.blocks[index * TILE / BLOCK].sums.iter_mut();
        for (i, a) in terms.iter().enumerate() {
            for (b, sum) in terms[..=i].iter().zip(&mut sums) {
                *sum += i64::from(product(a, b)) << 8;
            }
        }
    }
}

/// The estimate with 8 bits after the point.
#[inline]
pub(super) fn estimate(above: i32, terms: [i32; 5], weights: [i32; 5]) -> i32 {
    let mut sum = above;
    for (term, weight) in terms.iter().zip(weights) {
        sum = sum.wrapping_add(term.wrapping_mul(weight));
    }
    (sum >> (POINT + FINE - 8)).max(5)
}

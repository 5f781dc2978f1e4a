//! Residuals as tokens, and how probable each token is where.

use super::rans::{PROBABILITY_BITS, Reader, Share, Writer};

/// Tokens: 32 magnitudes of either sign.
pub(super) const TOKENS: usize = 64;
/// Magnitudes with a token of their own; above, seven tokens stand for 2, 4, … 128 magnitudes, the last for all others.
const PLAIN: u32 = 24;
const GROUPS: u32 = 7;
/// The first magnitude of the last token.
const FAR: u32 = PLAIN + (2 << GROUPS) - 2;
/// Bits of what the last token leaves open.
const FAR_BITS: u32 = 17;

/// Sum of the shares of one model; two models together make the whole.
const MODEL_TOTAL: u32 = 1 << (PROBABILITY_BITS - 1);
/// What one token adds to its count.
const INCREMENT: u16 = 4;
/// Counts are halved when their sum passes this.
const MAX_SUM: u32 = 60_000;
/// Tokens after which shares are made anew: few at first, then ever more.
const FIRST_STEP: u16 = 16;
const LAST_STEP: u16 = 512;

/// Token of a signed magnitude, and the bits it leaves open.
#[inline]
fn token(value: i32) -> (usize, u32, u32) {
    let sign = (value >> 31).cast_unsigned();
    let magnitude = (value.cast_unsigned()) ^ sign;
    let (index, rest, bits) = if magnitude < PLAIN {
        (magnitude, 0, 0)
    } else if magnitude < FAR {
        let above = magnitude - PLAIN + 2;
        let group = above.ilog2();
        (PLAIN - 1 + group, above - (1 << group), group)
    } else {
        (PLAIN + GROUPS, magnitude - FAR, FAR_BITS)
    };
    ((index * 2 + (sign & 1)) as usize, rest, bits)
}

/// First magnitude of a token, the bits it leaves open, and whether it is negative.
#[inline]
fn magnitudes(token: usize) -> (u32, u32, i32) {
    let index = (token / 2) as u32;
    let sign = -((token & 1) as i32);
    if index < PLAIN {
        (index, 0, sign)
    } else if index < PLAIN + GROUPS {
        let group = index + 1 - PLAIN;
        (PLAIN + (1 << group) - 2, group, sign)
    } else {
        (FAR, FAR_BITS, sign)
    }
}

/// How often each token came in one context.
#[derive(Clone)]
pub(super) struct Model {
    /// Shares of the tokens before each token.
    before: [u16; TOKENS],
    counts: [u16; TOKENS],
    step: u16,
    left: u16,
}

impl Model {
    /// A model of residuals whose mean magnitude is about `scale`/16 tokens: Student's distribution of three degrees of
    /// freedom, worth some thirty tokens.
    pub(super) fn new(scale: u32) -> Self {
        let square = u64::from(scale * scale).max(64) * 3;
        let mut weights = [0u64; TOKENS];
        for (t, weight) in weights.iter_mut().enumerate() {
            let (first, bits, _) = magnitudes(t);
            let bits = if bits == FAR_BITS { GROUPS + 1 } else { bits };
            let middle = u64::from(first * 16 + (8 << bits));
            let root = ((square << 16) / (square + middle * middle)).max(1);
            *weight = ((root * root) >> 12 << bits).max(1);
        }
        let sum: u64 = weights.iter().sum();
        let mut model = Self { before: [0; TOKENS], counts: [0; TOKENS], step: FIRST_STEP, left: FIRST_STEP };
        for (count, weight) in model.counts.iter_mut().zip(weights) {
            *count = u16::try_from((weight * 128 + sum / 2) / sum).unwrap_or(0);
        }
        model.share();
        model
    }

    fn share(&mut self) {
        let sum = self.counts.iter().map(|count| u32::from(*count)).sum::<u32>().max(1);
        let scale = ((MODEL_TOTAL - TOKENS as u32) << 15) / sum;
        let mut total = 0;
        let mut most = (0, 0);
        let mut shares = [0u32; TOKENS];
        for (t, (share, count)) in shares.iter_mut().zip(self.counts).enumerate() {
            *share = 1 + ((u64::from(count) * u64::from(scale)) >> 15) as u32;
            total += *share;
            if count > most.0 {
                most = (count, t);
            }
        }
        shares[most.1] += MODEL_TOTAL - total;
        let mut before = 0;
        for (place, share) in self.before.iter_mut().zip(shares) {
            *place = before as u16;
            before += share;
        }
    }

    #[inline]
    fn count(&mut self, token: usize) {
        self.counts[token] += INCREMENT;
        self.left -= 1;
        if self.left == 0 {
            self.renew();
        }
    }

    #[cold]
    fn renew(&mut self) {
        self.step = (self.step * 2).min(LAST_STEP);
        self.left = self.step;
        self.share();
        if self.counts.iter().map(|count| u32::from(*count)).sum::<u32>() > MAX_SUM {
            self.counts.iter_mut().for_each(|count| *count -= *count / 2);
        }
    }
}

/// Shares of the token in both models together.
#[inline]
fn joint(a: &Model, b: &Model, token: usize) -> Share {
    let start = a.before[token] + b.before[token];
    let end = if token + 1 < TOKENS { a.before[token + 1].wrapping_add(b.before[token + 1]) } else { 0 };
    Share { start, length: end.wrapping_sub(start) }
}

/// Codes one residual, of which `plain` low bits are written as they are.
#[inline]
pub(super) fn write(writer: &mut Writer, a: &mut Model, b: &mut Model, residual: i32, plain: u32) {
    let (token, rest, bits) = token(residual >> plain);
    writer.share(joint(a, b, token));
    if bits > 0 {
        writer.bits(rest, bits);
    }
    writer.bits(residual.cast_unsigned() & ((1 << plain) - 1), plain);
    a.count(token);
    b.count(token);
}

/// The residual that [`write`] coded.
#[inline]
pub(super) fn read(reader: &mut Reader<'_>, a: &mut Model, b: &mut Model, plain: u32) -> i32 {
    let slot = reader.slot();
    let mut below = 0u16;
    for (a, b) in a.before.iter().zip(&b.before) {
        below += u16::from(a.wrapping_add(*b) <= slot);
    }
    let token = usize::from(below).wrapping_sub(1) & (TOKENS - 1);
    reader.advance(joint(a, b, token));
    let (first, bits, sign) = magnitudes(token);
    let mut magnitude = first;
    if bits > 0 {
        magnitude += reader.bits(bits);
    }
    let value = (magnitude.cast_signed() ^ sign) << plain;
    a.count(token);
    b.count(token);
    value | reader.bits(plain).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_residual_comes_back() {
        let residuals: Vec<i32> = (0..17)
            .flat_map(|bit| [1 << bit, (1 << bit) - 1, -(1 << bit), 1 - (1 << bit)])
            .chain([0, 65_535, -65_535])
            .collect();
        for plain in [0, 1, 7, 13] {
            let (mut a, mut b) = (Model::new(16), Model::new(90));
            let mut writer = Writer::default();
            for _ in 0..50 {
                for residual in &residuals {
                    write(&mut writer, &mut a, &mut b, *residual, plain);
                }
            }
            let mut out = Vec::new();
            writer.finish(&mut out);
            let (mut a, mut b) = (Model::new(16), Model::new(90));
            let mut reader = Reader::new(&mut out.as_slice()).unwrap();
            for _ in 0..50 {
                for residual in &residuals {
                    assert_eq!(read(&mut reader, &mut a, &mut b, plain), *residual);
                }
            }
            reader.finish().unwrap();
        }
    }

    #[test]
    fn shares_fill_the_whole_whatever_the_counts() {
        for scale in [0, 1, 16, 100, 200, 4000] {
            let mut model = Model::new(scale);
            for t in 0..200_000usize {
                model.count(if t % 3 == 0 { t / 7 % TOKENS } else { 5 });
            }
            let shares: u32 = (0..TOKENS).map(|t| u32::from(joint(&model, &model, t).length)).sum();
            assert_eq!(shares, 1 << PROBABILITY_BITS);
            assert!((0..TOKENS).all(|t| joint(&model, &model, t).length >= 2));
        }
    }
}

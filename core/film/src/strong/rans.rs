//! Entropy coding of tokens (range asymmetric numeral system, Duda 2013) and plain bits beside it.
//!
//! The state has 48 bits and moves 16 at a time; probabilities have 16 bits. The coder runs from the last token to the first,
//! so that the decoder runs from the first to the last.

use crate::error::{DecodeError, damaged};
use crate::varint;

/// Bits of a probability.
pub(super) const PROBABILITY_BITS: u32 = 16;
/// The state before the first token is coded, and after the last is decoded.
const REST: u64 = 1 << 32;
const STATE_BYTES: usize = 6;

/// What a token takes of the whole: from where, and how much.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    pub(super) start: u16,
    pub(super) length: u16,
}

/// Collects the tokens and bits of a segment.
#[derive(Debug, Default)]
pub(super) struct Writer {
    shares: Vec<Share>,
    bits: Vec<u8>,
    held: u64,
    held_bits: u32,
    reversed: Vec<u8>,
}

impl Writer {
    #[inline]
    pub(super) fn share(&mut self, share: Share) {
        self.shares.push(share);
    }

    /// Writes the low `count` (at most 20) bits of `value`; the others are zero.
    #[inline]
    pub(super) fn bits(&mut self, value: u32, count: u32) {
        self.held |= u64::from(value) << self.held_bits;
        self.held_bits += count;
        if self.held_bits >= 32 {
            self.bits.extend_from_slice(&(self.held as u32).to_le_bytes());
            self.held >>= 32;
            self.held_bits -= 32;
        }
    }

    /// Appends the segment to `out` and is empty again.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        self.reversed.clear();
        let mut state = REST;
        for share in self.shares.drain(..).rev() {
            let length = u64::from(share.length);
            if state >= length << 32 {
                let [low, high, ..] = state.to_le_bytes();
                self.reversed.extend_from_slice(&[high, low]);
                state >>= 16;
            }
            state = ((state / length) << PROBABILITY_BITS) + state % length + u64::from(share.start);
        }
        let state = state.to_le_bytes();
        self.reversed.extend(state[..STATE_BYTES].iter().rev());
        self.reversed.reverse();
        let rest = self.held.to_le_bytes();
        self.bits.extend_from_slice(&rest[..self.held_bits.div_ceil(8) as usize]);
        (self.held, self.held_bits) = (0, 0);
        varint::put(out, self.reversed.len() as u64);
        varint::put(out, self.bits.len() as u64);
        out.extend_from_slice(&self.reversed);
        out.extend_from_slice(&self.bits);
        self.bits.clear();
    }
}

/// Reads the tokens and bits of a segment. Beyond their ends it reads noughts; [`Reader::finish`] then tells.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    state: u64,
    tokens: &'a [u8],
    bits: &'a [u8],
    held: u64,
    held_bits: u32,
    missing: bool,
}

impl<'a> Reader<'a> {
    /// Takes a segment off the front of `bytes`.
    pub(super) fn new(bytes: &mut &'a [u8]) -> Result<Self, DecodeError> {
        let most = bytes.len();
        let tokens = varint::take_up_to(bytes, most, "length of the tokens")?;
        let bits = varint::take_up_to(bytes, most, "length of the bits")?;
        if tokens < STATE_BYTES || tokens > bytes.len() || bits > bytes.len() - tokens {
            return Err(damaged("length of the tokens", format!("{tokens} and {bits} of {}", bytes.len())));
        }
        let (tokens, rest) = bytes.split_at(tokens);
        let (bits, rest) = rest.split_at(bits);
        *bytes = rest;
        let (first, tokens) = tokens.split_at(STATE_BYTES);
        let mut state = [0; 8];
        state[..STATE_BYTES].copy_from_slice(first);
        let state = u64::from_le_bytes(state);
        Ok(Self { state, tokens, bits, held: 0, held_bits: 0, missing: false })
    }

    /// Where in the whole the next token lies.
    #[inline]
    pub(super) fn slot(&self) -> u16 {
        (self.state & 0xFFFF) as u16
    }

    /// Moves past the token that was found at [`Reader::slot`].
    #[inline]
    pub(super) fn advance(&mut self, share: Share) {
        let slot = self.state & 0xFFFF;
        self.state = u64::from(share.length)
            .wrapping_mul(self.state >> PROBABILITY_BITS)
            .wrapping_add(slot.wrapping_sub(u64::from(share.start)));
        if self.state < REST {
            if let Some((word, rest)) = self.tokens.split_first_chunk::<2>() {
                self.state = self.state << 16 | u64::from(u16::from_le_bytes(*word));
                self.tokens = rest;
            } else {
                self.missing = true;
                self.state = self.state << 16 | 1;
            }
        }
    }

    /// The next `count` (at most 20) bits.
    #[inline]
    pub(super) fn bits(&mut self, count: u32) -> u32 {
        if self.held_bits < count {
            if let Some((word, rest)) = self.bits.split_first_chunk::<4>() {
                self.held |= u64::from(u32::from_le_bytes(*word)) << self.held_bits;
                self.held_bits += 32;
                self.bits = rest;
            } else {
                self.last_bits();
            }
        }
        let value = (self.held & ((1 << count) - 1)) as u32;
        self.held >>= count;
        self.held_bits -= count;
        value
    }

    #[cold]
    fn last_bits(&mut self) {
        self.missing |= self.bits.is_empty();
        let mut word = [0; 4];
        word[..self.bits.len()].copy_from_slice(self.bits);
        self.held |= u64::from(u32::from_le_bytes(word)) << self.held_bits;
        self.held_bits += 32;
        self.bits = &[];
    }

    /// The segment is decoded: all of it was there, and all of it was used.
    pub(super) fn finish(self) -> Result<(), DecodeError> {
        if self.missing || self.state != REST || !self.tokens.is_empty() || !self.bits.is_empty() {
            return Err(damaged("tokens", "they do not end where their segment ends"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARES: [Share; 3] = [
        Share { start: 0, length: 60_000 },
        Share { start: 60_000, length: 5_000 },
        Share { start: 65_000, length: 536 },
    ];

    fn coded(tokens: &[usize]) -> Vec<u8> {
        let mut writer = Writer::default();
        for &token in tokens {
            writer.share(SHARES[token]);
            writer.bits(token as u32 + 5, 3);
        }
        let mut out = Vec::new();
        writer.finish(&mut out);
        out
    }

    fn decoded(mut bytes: &[u8], count: usize) -> Result<Vec<usize>, DecodeError> {
        let mut reader = Reader::new(&mut bytes)?;
        let mut tokens = Vec::new();
        for _ in 0..count {
            let slot = reader.slot();
            let token = SHARES.iter().rposition(|share| share.start <= slot).unwrap();
            reader.advance(SHARES[token]);
            assert!(reader.bits(3) == token as u32 + 5 || bytes.is_empty());
            tokens.push(token);
        }
        reader.finish()?;
        Ok(tokens)
    }

    #[test]
    fn tokens_come_back_in_their_order_at_about_their_cost() {
        let tokens: Vec<usize> =
            (0..10_000).map(|i| if i % 100 == 0 { 2 } else { usize::from(i % 13 == 0) }).collect();
        let bytes = coded(&tokens);
        assert_eq!(decoded(&bytes, tokens.len()).unwrap(), tokens);
        let of = |token| tokens.iter().filter(|t| **t == token).count() as f64;
        let bits: f64 = (0..3).map(|t| of(t) * (65_536.0 / f64::from(SHARES[t].length)).log2()).sum();
        let ideal = bits / 8.0 + 10_000.0 * 3.0 / 8.0;
        assert!((bytes.len() as f64) < ideal * 1.002 + 16.0, "{} of {ideal}", bytes.len());
        assert_eq!(decoded(&coded(&[]), 0).unwrap(), []);
    }

    #[test]
    fn a_segment_that_ends_elsewhere_is_refused() {
        let bytes = coded(&[0, 1, 2, 0]);
        assert!(decoded(&bytes, 5).is_err());
        assert!(decoded(&bytes, 3).is_err());
        assert!(decoded(&bytes[..bytes.len() - 1], 4).is_err());
        assert!(decoded(&[3, 0, 1, 2, 3], 0).is_err());
        assert!(decoded(&[], 0).is_err());
    }
}

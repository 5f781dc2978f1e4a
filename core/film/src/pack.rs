//! Histogram packing: films whose look-up table left gaps use few of their values; ranks leave no gaps.

use crate::error::{DecodeError, damaged};
use crate::varint;

/// Values a sample can have.
pub(crate) const VALUES: usize = 1 << 16;

/// Level of zstd for the map: it is at most some kB, once a strip.
const MAP_LEVEL: i32 = 9;

/// Bytes of one gap between neighbours of a map, at most.
const MAX_GAP_BYTES: usize = 3;

/// The values that a strip uses, in ascending order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Map {
    values: Vec<u16>,
}

/// What a strip uses of its values.
#[derive(Debug)]
pub(crate) struct Survey {
    counts: Vec<u32>,
    pub(crate) lowest: u16,
    pub(crate) highest: u16,
    pub(crate) levels: usize,
    /// Between these lie all samples but a hundredth at either end.
    pub(crate) common: (u16, u16),
}

impl Survey {
    /// Looks at every sample. `samples` is not empty.
    pub(crate) fn of(samples: &[u16]) -> Self {
        let mut counts = vec![0u32; VALUES];
        for &sample in samples {
            counts[usize::from(sample)] += 1;
        }
        let at = |index: Option<usize>| index.and_then(|i| u16::try_from(i).ok()).unwrap_or(0);
        let few = u32::try_from(samples.len() / 100).unwrap_or(u32::MAX);
        let mut below = 0;
        let first = counts.iter().position(|count| {
            below += count;
            below > few
        });
        let mut above = 0;
        let last = counts.iter().rposition(|count| {
            above += count;
            above > few
        });
        Self {
            lowest: at(counts.iter().position(|count| *count > 0)),
            highest: at(counts.iter().rposition(|count| *count > 0)),
            levels: counts.iter().filter(|count| **count > 0).count(),
            common: (at(first), at(last)),
            counts,
        }
    }

    /// Whether ranks are worth their map: a quarter of the values between the ends is not used, and the bits so saved
    /// are more than twice what the map costs.
    pub(crate) fn pays(&self, samples: usize) -> bool {
        let span = usize::from(self.highest - self.lowest) + 1;
        if self.levels * 4 > span * 3 {
            return false;
        }
        // log2(span / levels) in 1/16 bit from the whole part and a linear rest; at least 6
        let bits16 = (log2_16(span)).saturating_sub(log2_16(self.levels));
        samples.saturating_mul(bits16) / 128 > self.levels + 64
    }

    /// The map of these values, and of those that `with` has already.
    pub(crate) fn map(&self, with: Option<&Map>) -> Map {
        let mut seen: Vec<bool> = self.counts.iter().map(|count| *count > 0).collect();
        for &value in with.iter().flat_map(|map| &map.values) {
            seen[usize::from(value)] = true;
        }
        Map { values: (0..=u16::MAX).filter(|v| seen[usize::from(*v)]).collect() }
    }
}

/// About log2(value) in sixteenths, `value` at least 1.
fn log2_16(value: usize) -> usize {
    let whole = value.ilog2() as usize;
    whole * 16 + ((value << 4) >> whole) - 16
}

impl Map {
    /// How many values there are.
    pub(crate) fn levels(&self) -> usize {
        self.values.len()
    }

    /// Value of each rank.
    pub(crate) fn values(&self) -> &[u16] {
        &self.values
    }

    /// For each value the count of used values below it: its rank when it is used itself.
    pub(crate) fn ranks(&self) -> Vec<u16> {
        let mut ranks = Vec::with_capacity(VALUES);
        for (rank, &value) in self.values.iter().enumerate() {
            let rank =
                u16::try_from(rank).expect("invariant: a map has at most as many ranks as there are values");
            ranks.resize(usize::from(value) + 1, rank);
        }
        let last = u16::try_from(self.values.len().saturating_sub(1)).unwrap_or(u16::MAX);
        ranks.resize(VALUES, last);
        ranks
    }

    /// Writes the map: levels, coded length, gaps under zstd.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let mut gaps = Vec::with_capacity(self.values.len() + 2);
        let mut next = 0u64;
        for &value in &self.values {
            varint::put(&mut gaps, u64::from(value) - next);
            next = u64::from(value) + 1;
        }
        varint::put(out, self.values.len() as u64);
        let coded = zstd::bulk::compress(&gaps, MAP_LEVEL).ok().filter(|coded| coded.len() < gaps.len());
        varint::put(out, coded.as_ref().map_or(0, Vec::len) as u64);
        out.extend(coded.as_ref().unwrap_or(&gaps));
    }

    /// Reads what [`Map::put`] wrote off the front of `bytes`.
    pub(crate) fn take(bytes: &mut &[u8]) -> Result<Self, DecodeError> {
        const FIELD: &str = "map";
        let levels = varint::take_up_to(bytes, VALUES, FIELD)?;
        if levels == 0 {
            return Err(damaged(FIELD, "no values"));
        }
        let most = bytes.len();
        let coded = varint::take_up_to(bytes, most, FIELD)?;
        let unpacked;
        let mut gaps: &[u8] = if coded == 0 {
            bytes
        } else {
            let frame = bytes.get(..coded).ok_or_else(|| damaged(FIELD, "cut"))?;
            unpacked = zstd::bulk::decompress(frame, levels * MAX_GAP_BYTES)
                .map_err(|error| damaged(FIELD, error.to_string()))?;
            &unpacked
        };
        let all = gaps.len();
        let mut values = Vec::with_capacity(levels);
        let mut next = 0;
        for _ in 0..levels {
            let value = next + varint::take_up_to(&mut gaps, VALUES, FIELD)?;
            values.push(u16::try_from(value).map_err(|_| damaged(FIELD, "a value of more than 16 bits"))?);
            next = value + 1;
        }
        if coded > 0 && !gaps.is_empty() {
            return Err(damaged(FIELD, "more gaps than values"));
        }
        *bytes = &bytes[if coded == 0 { all - gaps.len() } else { coded }..];
        Ok(Self { values })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_comes_back_and_leaves_what_follows() {
        for samples in
            [vec![0u16], vec![u16::MAX], vec![5, 900, 7, 7, 65_535], (0..4096).map(|i| i * 3).collect()]
        {
            let map = Survey::of(&samples).map(None);
            let mut bytes = Vec::new();
            map.put(&mut bytes);
            bytes.push(99);
            let mut rest = bytes.as_slice();
            assert_eq!(Map::take(&mut rest).unwrap(), map);
            assert_eq!(rest, [99]);
            let ranks = map.ranks();
            for sample in samples {
                assert_eq!(map.values()[usize::from(ranks[usize::from(sample)])], sample);
            }
        }
    }

    #[test]
    fn a_map_that_lies_is_refused() {
        for bytes in
            [&[][..], &[0, 0], &[2, 0, 1], &[1, 0, 0xFF, 0xFF, 0xFF, 0xFF], &[3, 50, 1], &[1, 4, 1, 2, 3, 4]]
        {
            assert!(Map::take(&mut &*bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn gaps_pay_and_few_samples_do_not() {
        let sparse: Vec<u16> = (0..100_000u32).map(|i| (i % 800 * 5) as u16).collect();
        assert!(Survey::of(&sparse).pays(sparse.len()));
        assert!(!Survey::of(&sparse[..200]).pays(200));
        let dense: Vec<u16> = (0..100_000u32).map(|i| (i % 4096) as u16).collect();
        assert!(!Survey::of(&dense).pays(dense.len()));
    }
}

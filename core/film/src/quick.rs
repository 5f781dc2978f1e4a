//! The cheap coder: ranks where they pay, plane predictor, residuals by byte plane, zstd at its fastest level with entropy coding.

use crate::error::{DecodeError, damaged};
use crate::layout::Geometry;
use crate::limits::MAX_STRIP_BYTES;
use crate::pack::{Map, Survey};
use crate::varint;

/// Higher levels are slower and, after the predictor, no smaller.
const LEVEL: i32 = 1;

/// The samples are ranks of the map that follows.
const PACKED: u8 = 1;
/// Residuals have two byte planes, the low ones first.
const TWO_PLANES: u8 = 2;

/// Codes strips, each by itself.
pub(crate) struct Coder {
    geometry: Geometry,
    samples: Vec<u16>,
    low: Vec<u8>,
    high: Vec<u8>,
}

impl std::fmt::Debug for Coder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("quick::Coder").field("geometry", &self.geometry).finish_non_exhaustive()
    }
}

impl Coder {
    pub(crate) fn new(geometry: Geometry) -> Self {
        Self { geometry, samples: Vec::new(), low: Vec::new(), high: Vec::new() }
    }

    /// Appends the coded form of `strip` (whole rows) to `out`. None, and rubbish in `out`, when zstd refuses.
    pub(crate) fn encode(&mut self, strip: &[u8], out: &mut Vec<u8>) -> Option<()> {
        self.geometry.samples(strip, &mut self.samples);
        let survey = Survey::of(&self.samples);
        let mut flags = 0;
        let mut top = self.geometry.top();
        let map = survey.pays(self.samples.len()).then(|| survey.map(None));
        if let Some(map) = &map {
            flags |= PACKED;
            let ranks = map.ranks();
            self.samples.iter_mut().for_each(|sample| *sample = ranks[usize::from(*sample)]);
            top = u16::try_from(map.levels() - 1).unwrap_or(u16::MAX);
        }
        if top > 0xFF {
            flags |= TWO_PLANES;
        }
        out.push(flags);
        if let Some(map) = &map {
            map.put(out);
        }
        self.residuals(top > 0xFF);
        let low = zstd::bulk::compress(&self.low, LEVEL).ok()?;
        varint::put(out, low.len() as u64);
        out.extend(low);
        if top > 0xFF {
            out.extend(zstd::bulk::compress(&self.high, LEVEL).ok()?);
        }
        Some(())
    }

    /// Fills the byte planes.
    fn residuals(&mut self, two: bool) {
        let Geometry { width, step, .. } = self.geometry;
        let count = self.samples.len();
        self.low.resize(count, 0);
        self.high.resize(if two { count } else { 0 }, 0);
        let mut folded = vec![0u16; width];
        let mut above: Option<&[u16]> = None;
        for (y, row) in self.samples.chunks_exact(width).enumerate() {
            differences(row, above, step, &mut folded);
            above = Some(row);
            let place = y * width..(y + 1) * width;
            if two {
                fold(&mut folded);
                let planes = self.low[place.clone()].iter_mut().zip(&mut self.high[place]);
                for ((low, high), value) in planes.zip(&folded) {
                    [*low, *high] = value.to_le_bytes();
                }
            } else {
                for (low, value) in self.low[place].iter_mut().zip(&folded) {
                    let value = value.to_le_bytes()[0];
                    *low = (value << 1) ^ (value.cast_signed() >> 7).cast_unsigned();
                }
            }
        }
    }

    /// Appends the `length` bytes of a strip to `out`. `length` is a whole number of rows within the limits.
    pub(crate) fn decode(
        &mut self,
        mut coded: &[u8],
        length: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        debug_assert!(length <= MAX_STRIP_BYTES);
        let (&flags, rest) = coded.split_first().ok_or_else(|| damaged("quick flags", "missing"))?;
        if flags & !(PACKED | TWO_PLANES) != 0 {
            return Err(damaged("quick flags", format!("{flags:#04x}")));
        }
        coded = rest;
        let map = if flags & PACKED > 0 { Some(Map::take(&mut coded)?) } else { None };
        let count = length / if self.geometry.wide { 2 } else { 1 };
        let most = coded.len();
        let low = varint::take_up_to(&mut coded, most, "low plane")?;
        let (low, high) = coded.split_at_checked(low).ok_or_else(|| damaged("low plane", "cut"))?;
        unpack(low, count, "low plane", &mut self.low)?;
        let two = flags & TWO_PLANES > 0;
        unpack(high, if two { count } else { 0 }, "high plane", &mut self.high)?;
        self.samples.resize(count, 0);
        let width = self.geometry.width;
        for y in 0..count / width {
            let (done, row) = self.samples.split_at_mut(y * width);
            let row = &mut row[..width];
            let place = y * width..(y + 1) * width;
            if two {
                for (value, (low, high)) in
                    row.iter_mut().zip(self.low[place.clone()].iter().zip(&self.high[place]))
                {
                    let folded = u16::from_le_bytes([*low, *high]);
                    *value = (folded >> 1) ^ (folded & 1).wrapping_neg();
                }
            } else {
                for (value, folded) in row.iter_mut().zip(&self.low[place]) {
                    *value = u16::from((folded >> 1) ^ (folded & 1).wrapping_neg());
                }
            }
            let mask = if two { u16::MAX } else { 0xFF };
            sums(row, y.checked_sub(1).map(|above| &done[above * width..]), self.geometry.step, mask);
        }
        if let Some(map) = &map {
            self.unrank(map)?;
        }
        self.geometry.bytes(&self.samples, out);
        Ok(())
    }

    /// Ranks back to values.
    fn unrank(&mut self, map: &Map) -> Result<(), DecodeError> {
        let top = map.levels() - 1;
        let mut highest = 0;
        for sample in &mut self.samples {
            highest = highest.max(usize::from(*sample));
            *sample = map.values()[usize::from(*sample).min(top)];
        }
        if highest > top {
            return Err(damaged("quick residuals", format!("rank {highest} of {top}")));
        }
        Ok(())
    }
}

/// One plane of `count` bytes.
fn unpack(coded: &[u8], count: usize, field: &'static str, plane: &mut Vec<u8>) -> Result<(), DecodeError> {
    plane.clear();
    if count == 0 {
        return if coded.is_empty() { Ok(()) } else { Err(damaged(field, "not expected")) };
    }
    *plane = zstd::bulk::decompress(coded, count).map_err(|error| damaged(field, error.to_string()))?;
    if plane.len() != count {
        return Err(damaged(field, format!("{} of {count} bytes", plane.len())));
    }
    Ok(())
}

/// Three quarters of left and above, less half of left above, in whole numbers.
fn plane(left: u16, above: u16, corner: u16) -> u16 {
    let sum = 3 * (i32::from(left) + i32::from(above)) - 2 * i32::from(corner);
    // between -32,767 and 98,302: the low 16 bits are taken at both ends
    ((sum >> 2) & 0xFFFF) as u16
}

/// Samples less their prediction, modulo 65,536.
fn differences(row: &[u16], above: Option<&[u16]>, step: usize, out: &mut [u16]) {
    let Some(above) = above else {
        out[..step].copy_from_slice(&row[..step]);
        for (out, (value, left)) in out[step..].iter_mut().zip(row[step..].iter().zip(row)) {
            *out = value.wrapping_sub(*left);
        }
        return;
    };
    for (out, (value, above)) in out.iter_mut().zip(row.iter().zip(above)).take(step) {
        *out = value.wrapping_sub(*above);
    }
    let near = row[step..].iter().zip(row).zip(above[step..].iter().zip(above));
    for (out, ((value, left), (above, corner))) in out[step..].iter_mut().zip(near) {
        *out = value.wrapping_sub(plane(*left, *above, *corner));
    }
}

/// Small magnitudes to small numbers, the sign in the lowest bit.
fn fold(values: &mut [u16]) {
    for value in values {
        *value = (*value << 1) ^ (value.cast_signed() >> 15).cast_unsigned();
    }
}

/// Undoes [`differences`] in place.
fn sums(row: &mut [u16], above: Option<&[u16]>, step: usize, mask: u16) {
    let Some(above) = above else {
        for x in step..row.len() {
            row[x] = row[x].wrapping_add(row[x - step]) & mask;
        }
        return;
    };
    for (value, above) in row.iter_mut().zip(above).take(step) {
        *value = value.wrapping_add(*above) & mask;
    }
    if step == 1 {
        let mut left = row[0];
        for (value, pair) in row[1..].iter_mut().zip(above.windows(2)) {
            left = value.wrapping_add(plane(left, pair[1], pair[0])) & mask;
            *value = left;
        }
        return;
    }
    let above = &above[..row.len()];
    for x in step..row.len() {
        row[x] = row[x].wrapping_add(plane(row[x - step], above[x], above[x - step])) & mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(geometry: Geometry, strip: &[u8]) -> usize {
        let mut coder = Coder::new(geometry);
        let mut coded = Vec::new();
        coder.encode(strip, &mut coded).unwrap();
        let mut back = Vec::new();
        coder.decode(&coded, strip.len(), &mut back).unwrap();
        assert!(back == strip, "{geometry:?}");
        coded.len()
    }

    #[test]
    fn strips_come_back_packed_and_not_in_one_plane_and_two() {
        for wide in [false, true] {
            for step in [1, 3] {
                let geometry = Geometry { width: 96, step, wide, signed: false, big_endian: false };
                let noise: Vec<u8> =
                    (0..geometry.row_bytes() * 64).map(|i| ((i * 2_654_435_761) >> 13) as u8).collect();
                round_trip(geometry, &noise);
                let sparse: Vec<u8> = noise.iter().map(|byte| byte & 0x88).collect();
                assert!(round_trip(geometry, &sparse) < sparse.len() / 2);
                round_trip(geometry, &vec![0xFF; geometry.row_bytes()]);
            }
        }
    }

    #[test]
    fn what_zstd_accepts_and_no_coder_wrote_is_refused() {
        let geometry = Geometry { width: 4, step: 1, wide: true, signed: false, big_endian: false };
        let mut coder = Coder::new(geometry);
        let frame = |count: usize| zstd::bulk::compress(&vec![9; count], 1).unwrap();
        let strip = |flags: u8, low: usize, high: usize| {
            let mut coded = vec![flags];
            let low = frame(low);
            varint::put(&mut coded, low.len() as u64);
            coded.extend(low);
            if high > 0 {
                coded.extend(frame(high));
            }
            coded
        };
        let mut out = Vec::new();
        assert!(coder.decode(&strip(TWO_PLANES, 4, 4), 8, &mut out).is_ok());
        for (flags, low, high) in
            [(TWO_PLANES, 4, 3), (TWO_PLANES, 4, 0), (0, 4, 4), (0, 3, 0), (0, 4000, 0), (4, 4, 0)]
        {
            assert!(coder.decode(&strip(flags, low, high), 8, &mut out).is_err(), "{flags} {low} {high}");
        }
        assert!(coder.decode(&[], 8, &mut out).is_err());
    }
}

//! The strong coder: every sample is predicted from its neighbours, how far it will be off is estimated from their errors, and
//! the residual is coded with what was learnt in like places. Whole numbers throughout, so that every machine learns the same.

mod activity;
mod model;
mod plane;
mod predict;
mod rans;
mod reciprocal;
mod rows;
mod solve;

use crate::error::{DecodeError, damaged};
use crate::layout::Geometry;
use crate::pack::{Map, Survey};
use crate::varint;
use plane::{Plane, Span};
use rans::{Reader, Writer};

/// The samples are ranks.
const PACKED: u8 = 1;
/// Their map follows; otherwise it is that of the strip before.
const NEW_MAP: u8 = 2;

/// Samples of a segment of the coded bytes, about: what the writer holds back at a time.
const SEGMENT_SAMPLES: usize = 1 << 17;

/// Codes or decodes strip after strip; what one teaches serves the next.
pub(crate) struct Coder {
    geometry: Geometry,
    planes: Vec<Plane>,
    map: Option<Map>,
    samples: Vec<u16>,
    writer: Writer,
}

impl std::fmt::Debug for Coder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("strong::Coder").field("geometry", &self.geometry).finish_non_exhaustive()
    }
}

impl Coder {
    pub(crate) fn new(geometry: Geometry) -> Self {
        Self { geometry, planes: Vec::new(), map: None, samples: Vec::new(), writer: Writer::default() }
    }

    /// Forgets everything that strips have taught.
    pub(crate) fn forget(&mut self) {
        self.planes.clear();
        self.map = None;
    }

    /// Rows of a segment.
    fn segment(&self) -> usize {
        (SEGMENT_SAMPLES / self.geometry.width).max(1)
    }

    /// Appends the coded form of `strip` (whole rows) to `out`.
    pub(crate) fn encode(&mut self, strip: &[u8], out: &mut Vec<u8>) {
        let Geometry { width, step, .. } = self.geometry;
        self.geometry.samples(strip, &mut self.samples);
        apart(&mut self.samples, step);
        let survey = Survey::of(&self.samples);
        let map = survey.pays(self.samples.len()).then(|| survey.map(self.map.as_ref()));
        let mut span = survey.span();
        let mut flags = 0;
        if let Some(map) = &map {
            flags |= PACKED;
            let ranks = map.ranks();
            self.samples.iter_mut().for_each(|sample| *sample = ranks[usize::from(*sample)]);
            span = span.ranked(&ranks);
            if self.map.as_ref() != Some(map) {
                flags |= NEW_MAP;
            }
        }
        out.push(flags);
        if let Some(map) = map.as_ref().filter(|_| flags & NEW_MAP > 0) {
            map.put(out);
        }
        span.put(out);
        self.change(map);
        let mut writer = std::mem::take(&mut self.writer);
        let samples = std::mem::take(&mut self.samples);
        let segment = self.segment();
        for (y, row) in samples.chunks_exact(width).enumerate() {
            for (component, plane) in self.planes.iter_mut().enumerate() {
                plane.begin(Some(row.iter().skip(component).step_by(step).copied()));
                let coded = plane.row(span, &mut writer);
                debug_assert!(coded.is_ok(), "the span is that of these samples");
                plane.end();
            }
            if (y + 1).is_multiple_of(segment) {
                writer.finish(out);
            }
        }
        if !(samples.len() / width).is_multiple_of(segment) {
            writer.finish(out);
        }
        self.writer = writer;
        self.samples = samples;
    }

    /// Appends the `length` bytes of a strip to `out`. `length` is a whole number of rows within the limits.
    pub(crate) fn decode(
        &mut self,
        mut coded: &[u8],
        length: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        let Geometry { width, step, .. } = self.geometry;
        let (&flags, rest) = coded.split_first().ok_or_else(|| damaged("strong flags", "missing"))?;
        coded = rest;
        let map = match flags {
            0 => None,
            PACKED => Some(self.map.take().ok_or_else(|| damaged("map", "of a strip that is not there"))?),
            3 => Some(Map::take(&mut coded)?),
            _ => return Err(damaged("strong flags", format!("{flags:#04x}"))),
        };
        let top = map.as_ref().map_or(usize::from(u16::MAX), |map| map.levels() - 1);
        let span = Span::take(&mut coded, top)?;
        if flags == PACKED {
            self.map = map;
            self.planes();
        } else {
            self.change(map);
        }
        let rows = length / self.geometry.row_bytes();
        let mut samples = std::mem::take(&mut self.samples);
        samples.resize(rows * width, 0);
        let segment = self.segment();
        for strip in samples.chunks_mut(segment * width) {
            let mut reader = Reader::new(&mut coded)?;
            for row in strip.chunks_exact_mut(width) {
                for (component, plane) in self.planes.iter_mut().enumerate() {
                    plane.begin(None::<std::iter::Empty<u16>>);
                    plane.row(span, &mut reader)?;
                    plane.end();
                    let places = row.iter_mut().skip(component).step_by(step);
                    places.zip(plane.samples()).for_each(|(place, sample)| *place = sample);
                }
            }
            reader.finish()?;
        }
        if !coded.is_empty() {
            return Err(damaged("tokens", format!("{} bytes after the last segment", coded.len())));
        }
        if let Some(map) = &self.map {
            let values = map.values();
            samples.iter_mut().for_each(|sample| *sample = values[usize::from(*sample)]);
        }
        together(&mut samples, step);
        self.geometry.bytes(&samples, out);
        self.samples = samples;
        Ok(())
    }

    fn planes(&mut self) {
        let Geometry { width, step, .. } = self.geometry;
        if self.planes.is_empty() {
            self.planes = (0..step).map(|_| Plane::new(width / step)).collect();
        }
    }

    /// From now on samples are ranks of `map`, or values.
    fn change(&mut self, map: Option<Map>) {
        if self.planes.is_empty() {
            self.planes();
        } else if map != self.map {
            let ranks = map.as_ref().map(Map::ranks);
            let values = self.map.as_ref().map(Map::values);
            let name = |sample: u16| {
                let value = values.map_or(sample, |values| {
                    values.get(usize::from(sample)).or(values.last()).copied().unwrap_or(sample)
                });
                ranks.as_ref().map_or(value, |ranks| ranks[usize::from(value)])
            };
            self.planes.iter_mut().for_each(|plane| plane.rename(name));
        }
        self.map = map;
    }
}

/// Red and blue of a colour pixel less its green: grey that is kept as colour then costs next to nothing.
fn apart(samples: &mut [u16], step: usize) {
    if step == 3 {
        for pixel in samples.as_chunks_mut::<3>().0 {
            let [red, green, blue] = *pixel;
            *pixel = [green, red.wrapping_sub(green) ^ 0x8000, blue.wrapping_sub(green) ^ 0x8000];
        }
    }
}

/// Undoes [`apart`].
fn together(samples: &mut [u16], step: usize) {
    if step == 3 {
        for pixel in samples.as_chunks_mut::<3>().0 {
            let [green, red, blue] = *pixel;
            *pixel = [(red ^ 0x8000).wrapping_add(green), green, (blue ^ 0x8000).wrapping_add(green)];
        }
    }
}

impl Survey {
    /// The span of the values, with the levels of grey laid where all but a hundredth of the samples are.
    fn span(&self) -> Span {
        Span { lowest: self.lowest, highest: self.highest, base: self.common.0, shift: 0 }
            .spread(self.common.1)
    }
}

impl Span {
    /// Lays 64 levels between base and `last`.
    fn spread(self, last: u16) -> Self {
        let width = u32::from(last - self.base) + 1;
        let shift = width.next_power_of_two().ilog2().saturating_sub(activity::LEVELS.ilog2());
        Self { shift: shift as u8, ..self }
    }

    /// The same span in ranks.
    fn ranked(self, ranks: &[u16]) -> Self {
        let rank = |value: u16| ranks[usize::from(value)];
        let last = u32::from(self.base) + ((activity::LEVELS as u32) << self.shift) - 1;
        let last = rank(last.min(u32::from(self.highest)) as u16);
        Self { lowest: rank(self.lowest), highest: rank(self.highest), base: rank(self.base), shift: 0 }
            .spread(last)
    }

    fn put(self, out: &mut Vec<u8>) {
        varint::put(out, u64::from(self.lowest));
        varint::put(out, u64::from(self.highest - self.lowest));
        varint::put(out, u64::from(self.base - self.lowest));
        out.push(self.shift);
    }

    fn take(bytes: &mut &[u8], top: usize) -> Result<Self, DecodeError> {
        const FIELD: &str = "span";
        let lowest = varint::take_up_to(bytes, top, FIELD)?;
        let width = varint::take_up_to(bytes, top - lowest, FIELD)?;
        let base = lowest + varint::take_up_to(bytes, width, FIELD)?;
        let (&shift, rest) = bytes.split_first().ok_or_else(|| damaged(FIELD, "cut"))?;
        if u32::from(shift) > u16::BITS {
            return Err(damaged(FIELD, format!("levels of 2^{shift} values")));
        }
        *bytes = rest;
        let sample = |value: usize| u16::try_from(value).unwrap_or(u16::MAX);
        Ok(Self { lowest: sample(lowest), highest: sample(lowest + width), base: sample(base), shift })
    }
}

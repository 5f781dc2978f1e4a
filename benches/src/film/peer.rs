//! The peer: histogram packing where it pays, then JPEG-LS by CharLS, told the true precision.

use super::load::Film;
use super::{Figure, figure};
use charls::{CharLS, FrameInfo, InterleaveMode};

/// Level of zstd for the map of packed values, as in the film coder.
const MAP_LEVEL: i32 = 9;

/// The smaller of JPEG-LS and pack + JPEG-LS (whose map counts), with its speed.
pub(super) fn packed_jpeg_ls(film: &Film, runs: u32) -> anyhow::Result<Figure> {
    let plain = coded(film, runs, false)?;
    let levels = film.levels();
    let samples = film.samples();
    let span =
        samples.iter().max().zip(samples.iter().min()).map_or(0, |(high, low)| usize::from(high - low) + 1);
    if levels * 10 > span * 9 {
        return Ok(plain);
    }
    let packed = coded(film, runs, true)?;
    Ok(if packed.bytes < plain.bytes { packed } else { plain })
}

fn coded(film: &Film, runs: u32, pack: bool) -> anyhow::Result<Figure> {
    figure(film, runs, || encode(film, pack), |coded| decode(film, coded))
}

/// Length of the map, map, frame.
fn encode(film: &Film, pack: bool) -> anyhow::Result<Vec<u8>> {
    let mut samples = film.samples();
    let map = if pack { zstd::bulk::compress(&gaps(&rank(&mut samples)), MAP_LEVEL)? } else { Vec::new() };
    let mut out = u32::try_from(map.len())?.to_le_bytes().to_vec();
    out.extend(map);
    let top = samples.iter().copied().max().unwrap_or(0);
    let bits = (u16::BITS - top.leading_zeros()).max(2);
    let bytes: Vec<u8> = if bits <= 8 {
        samples.iter().map(|sample| sample.to_le_bytes()[0]).collect()
    } else {
        samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
    };
    let components = i32::from(film.layout.samples);
    let info = FrameInfo {
        width: film.layout.columns,
        height: film.layout.rows,
        bits_per_sample: bits.cast_signed(),
        component_count: components,
    };
    let mut charls = CharLS::default();
    if components > 1 {
        charls.set_interleave_mode(InterleaveMode::Sample)?;
    }
    out.extend(charls.encode(info, 0, &bytes)?);
    Ok(out)
}

fn decode(film: &Film, coded: &[u8]) -> anyhow::Result<Vec<u8>> {
    let (length, rest) = coded.split_first_chunk::<4>().ok_or_else(|| anyhow::anyhow!("cut"))?;
    let (map, frame) = rest.split_at(u32::from_le_bytes(*length) as usize);
    let map = if map.is_empty() { None } else { Some(values(&zstd::bulk::decompress(map, 4 << 16)?)) };
    let info = CharLS::default().get_frame_info(frame)?;
    let bytes = CharLS::default().decode(frame)?;
    let ranks: Vec<u16> = if info.bits_per_sample <= 8 {
        bytes.iter().map(|byte| u16::from(*byte)).collect()
    } else {
        bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair)).collect()
    };
    let turn = if film.layout.signed { 0x8000 } else { 0 };
    let values = ranks.iter().map(|rank| map.as_ref().map_or(*rank, |map| map[usize::from(*rank)]) ^ turn);
    Ok(if film.layout.bits_allocated == 8 {
        values.map(|value| value.to_le_bytes()[0]).collect()
    } else {
        values.flat_map(u16::to_le_bytes).collect()
    })
}

/// Samples to ranks; the values that occur.
fn rank(samples: &mut [u16]) -> Vec<u16> {
    let mut seen = vec![false; 1 << 16];
    samples.iter().for_each(|sample| seen[usize::from(*sample)] = true);
    let mut ranks = vec![0u16; 1 << 16];
    let mut map = Vec::new();
    for value in 0..=u16::MAX {
        if seen[usize::from(value)] {
            ranks[usize::from(value)] = map.len() as u16;
            map.push(value);
        }
    }
    samples.iter_mut().for_each(|sample| *sample = ranks[usize::from(*sample)]);
    map
}

/// Steps from value to value: one byte where it is small.
fn gaps(map: &[u16]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut next = 0u32;
    for &value in map {
        let gap = u32::from(value) - next;
        if gap < 255 {
            out.push(gap as u8);
        } else {
            out.push(255);
            out.extend(value.to_le_bytes());
        }
        next = u32::from(value) + 1;
    }
    out
}

fn values(gaps: &[u8]) -> Vec<u16> {
    let (mut map, mut next, mut rest) = (Vec::new(), 0u32, gaps);
    while let Some((&gap, after)) = rest.split_first() {
        rest = after;
        let mut value = next + u32::from(gap);
        if gap == 255
            && let Some((bytes, after)) = rest.split_first_chunk::<2>()
        {
            value = u32::from(u16::from_le_bytes(*bytes));
            rest = after;
        }
        map.push(value as u16);
        next = value + 1;
    }
    map
}

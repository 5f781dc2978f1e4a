//! Films by the film coder, a piece at a time.

use super::sink::Sink;
use super::{LEVEL, Pace, Plain};
use relay_core::durable::{BlobError, BlobStore};
use relay_film::{Encoder, Layout, MAX_SAMPLE_BYTES, Mode, Speed, Speeds};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};

/// Bytes read at a time.
const STEP_BYTES: usize = 256 * 1024;
/// Rows coded at a time, in bytes: a quarter of what the coder may hold. A clinic's box has little memory, and the films lose no hundredth.
const STRIP_BYTES: usize = 1024 * 1024;
/// Coding one film must not take longer, in seconds: the machine that sends it waits for the answer, and so do the films behind it.
const WITHIN_SECONDS: u64 = 5;
/// Of a film below this many bytes the strong coder saves a few kB …
const SMALL_BYTES: u64 = 1024 * 1024;
/// … which a line of more bytes a second than this (2 Mbit/s) carries in less time than both ends would work for them. Of larger films
/// one is coded and restored while others travel.
const SMALL_LINE: u64 = 250_000;

/// What a look at the middle of a film says.
pub(super) struct Choice {
    /// The coder; stored = none.
    pub(super) mode: Mode,
    /// About how many bytes the object has by Zstandard.
    pub(super) by_zstd: u64,
}

/// Chooses the coder for content, line and both ends.
pub(super) fn choose(
    blobs: &BlobStore,
    plain: Plain,
    layout: &Layout,
    pace: Pace,
) -> Result<Choice, BlobError> {
    let disk = |source| BlobError::Disk { step: "read", path: blobs.path_of(&plain.hash), source };
    let mut file = blobs.open_blob(&plain.hash)?;
    let sample = read(&mut file, layout).map_err(disk)?;
    if sample.is_empty() {
        return Ok(Choice { mode: Mode::Stored, by_zstd: plain.length });
    }
    let mode = relay_film::choose(Some(layout), &sample, pace.line, &in_time(pace, plain.length));
    let packed = zstd::bulk::compress(&sample, LEVEL).map_or(sample.len(), |packed| packed.len());
    let by_zstd = u128::from(plain.length) * packed as u128 / sample.len() as u128;
    Ok(Choice { mode, by_zstd: u64::try_from(by_zstd).unwrap_or(u64::MAX) })
}

fn read(file: &mut File, layout: &Layout) -> io::Result<Vec<u8>> {
    let place = layout.sample();
    let length = usize::try_from(place.end - place.start).unwrap_or(0).min(MAX_SAMPLE_BYTES);
    let mut sample = Vec::with_capacity(length);
    file.seek(SeekFrom::Start(place.start))?;
    // A file that is shorter than its layout says is shown as far as it goes.
    file.take(length as u64).read_to_end(&mut sample)?;
    Ok(sample)
}

/// A coder that would take too long for so many bytes counts as one that stands still. The quick one is the last resort: it is faster than
/// the disk of a clinic.
fn in_time(Pace { line, speeds }: Pace, length: u64) -> Speeds {
    let slower = speeds.strong.encode.min(speeds.strong.decode);
    let soon = length / slower.max(1) < WITHIN_SECONDS;
    let worth_it = length >= SMALL_BYTES || line <= SMALL_LINE;
    if soon && worth_it { speeds } else { Speeds { strong: Speed { encode: 0, decode: 0 }, ..speeds } }
}

/// Codes the whole object.
pub(super) fn encode(
    blobs: &BlobStore,
    plain: Plain,
    layout: &Layout,
    mode: Mode,
    mut sink: Sink,
) -> Result<Sink, BlobError> {
    let disk = |source| BlobError::Disk { step: "read", path: blobs.path_of(&plain.hash), source };
    let mut file = blobs.open_blob(&plain.hash)?;
    let mut encoder = Encoder::new(Some(layout), mode).in_strips(STRIP_BYTES);
    let (mut buffer, mut out) = (vec![0_u8; STEP_BYTES], Vec::new());
    loop {
        let read = file.read(&mut buffer).map_err(disk)?;
        if read == 0 {
            break;
        }
        let mut rest = &buffer[..read];
        while !rest.is_empty() {
            let taken = encoder.push(rest, &mut out);
            rest = &rest[taken..];
            if !out.is_empty() {
                sink.put(&out)?;
                out.clear();
            }
        }
    }
    encoder.finish(&mut out);
    sink.put(&out)?;
    Ok(sink)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_a_giant_nor_a_thumbnail_on_a_good_line_is_given_to_the_strong_coder() {
        let speed = |mb: u64| Speed { encode: mb * 1_000_000, decode: mb * 1_000_000 };
        let speeds = Speeds { quick: speed(400), strong: speed(25) };
        let (township, field) = (Pace { line: 2_500_000, speeds }, Pace { line: 60_000, speeds });
        let quick = Speeds { strong: speed(0), ..speeds };
        assert_eq!((in_time(township, 15_500_000), in_time(field, 15_500_000)), (speeds, speeds));
        assert_eq!((in_time(township, 497_000_000), in_time(field, 497_000_000)), (quick, quick));
        assert_eq!((in_time(township, 145_000), in_time(field, 145_000)), (quick, speeds));
    }
}

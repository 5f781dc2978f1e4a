//! The form in which an object travels: a film by the film coder, other things by Zstandard where it pays, as it is where neither does.
//! The same object always gets the same form again, so that a transfer that was cut goes on where it was.

mod film;
mod sink;

use relay_core::durable::{BlobError, BlobStore, Partial};
use relay_core::ids::ObjectHash;
use relay_core::study::{CodedForm, Encoding};
use relay_film::{Layout, Mode, Speeds};
use sink::Sink;
use std::io;

/// Level 3: 100 MB/s and more on one core of a township PC, 1.5 to 2.5 times smaller on raw films.
const LEVEL: i32 = 3;
/// Below this many bytes a frame header costs more than it saves.
const MIN_BYTES: u64 = 512;
/// A coded form must be this much smaller (in 1/100) to be worth its place on the disk.
const MUST_SAVE_PERCENT: u64 = 3;

/// What is to be coded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plain {
    /// Its address.
    pub(super) hash: ObjectHash,
    /// Its bytes.
    pub(super) length: u64,
}

/// How an object is to be coded.
#[derive(Debug, Clone, Copy)]
pub(super) enum How {
    /// Not at all: it is compressed already.
    Identity,
    /// By Zstandard where it pays.
    Zstd,
    /// As a film by the coder that suits content, line and both ends, or by Zstandard where that is smaller.
    Choose(Layout, Pace),
    /// As a film by this coder, as before.
    Film(Layout, Mode),
}

/// What the coders must keep up with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    /// Bytes a second that the line to the county carries.
    pub(super) line: u64,
    /// Of the coders at both ends.
    pub(super) speeds: Speeds,
}

/// A coded form and what is needed to make it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Coded {
    /// As the manifest has it.
    pub(super) form: CodedForm,
    /// Which coder of films made it.
    pub(super) mode: Option<Mode>,
}

impl Coded {
    /// The plain form as a coded form.
    pub(super) const fn identity(plain: Plain) -> Self {
        let Plain { hash, length } = plain;
        Self { form: CodedForm { encoding: Encoding::Identity, length, hash }, mode: None }
    }

    /// Whether it is a blob of its own.
    pub(super) fn is_kept(&self) -> bool {
        self.form.encoding != Encoding::Identity
    }

    /// Number of the coder in the database.
    pub(super) const fn mode_number(&self) -> i64 {
        match self.mode {
            None | Some(Mode::Stored) => 0,
            Some(Mode::Quick) => 1,
            Some(Mode::Strong) => 2,
        }
    }
}

/// The coder of a number in the database.
pub(super) const fn mode_of(number: i64) -> Option<Mode> {
    match number {
        1 => Some(Mode::Quick),
        2 => Some(Mode::Strong),
        _ => None,
    }
}

/// Something coded, in an unfinished blob.
struct Made {
    sink: Sink,
    encoding: Encoding,
    mode: Option<Mode>,
}

/// Codes a blob by way of unfinished blobs whose names begin with `name`, which nobody else uses. When there is no room for a coded
/// form, the object travels as it is: that is slower, not wrong.
///
/// # Errors
/// [`BlobError`] when the disk fails for another reason than being full.
pub(super) fn code(blobs: &BlobStore, plain: Plain, how: How, name: &str) -> Result<Coded, BlobError> {
    if matches!(how, How::Identity) || plain.length < MIN_BYTES {
        return Ok(Coded::identity(plain));
    }
    let names = [format!("{name}-film"), format!("{name}-zstd")];
    let coded = smallest(blobs, plain, how, &names).and_then(|made| keep(blobs, plain, made));
    for name in &names {
        blobs.discard(name)?;
    }
    match coded {
        Err(error) if error.is_full() => Ok(Coded::identity(plain)),
        coded => coded,
    }
}

/// Makes a blob of what is small enough.
fn keep(blobs: &BlobStore, plain: Plain, made: Option<Made>) -> Result<Coded, BlobError> {
    let Some(Made { sink, encoding, mode }) = made.filter(|made| made.sink.length() <= worth(plain.length))
    else {
        return Ok(Coded::identity(plain));
    };
    let (partial, hash, length) = sink.into_parts();
    blobs.commit(partial, &hash)?;
    Ok(Coded { form: CodedForm { encoding, length, hash }, mode })
}

const fn worth(length: u64) -> u64 {
    length - length * MUST_SAVE_PERCENT / 100
}

fn smallest(
    blobs: &BlobStore,
    plain: Plain,
    how: How,
    [film, zstd]: &[String; 2],
) -> Result<Option<Made>, BlobError> {
    let (layout, mode, rival) = match how {
        How::Identity => return Ok(None),
        How::Zstd => return by_zstd(blobs, plain, zstd).map(Some),
        How::Film(layout, mode) => (layout, mode, None),
        How::Choose(layout, pace) => {
            let choice = film::choose(blobs, plain, &layout, pace)?;
            if choice.mode == Mode::Stored {
                return by_zstd(blobs, plain, zstd).map(Some);
            }
            (layout, choice.mode, Some(choice.by_zstd))
        }
    };
    let sink = film::encode(blobs, plain, &layout, mode, Sink::new(blobs, film)?)?;
    let film = Made { sink, encoding: Encoding::Film, mode: Some(mode) };
    // Screens and drawings: what repeats is smaller by Zstandard.
    if rival.is_some_and(|length| length < film.sink.length()) {
        let other = by_zstd(blobs, plain, zstd)?;
        if other.sink.length() < film.sink.length() {
            return Ok(Some(other));
        }
    }
    Ok(Some(film))
}

fn by_zstd(blobs: &BlobStore, plain: Plain, name: &str) -> Result<Made, BlobError> {
    let path = blobs.path_of(&plain.hash);
    let disk = |source| BlobError::Disk { step: "code", path: path.clone(), source };
    let mut source = blobs.open_blob(&plain.hash)?;
    let mut encoder = zstd::Encoder::new(Sink::new(blobs, name)?, LEVEL).map_err(disk)?;
    encoder.set_pledged_src_size(Some(plain.length)).map_err(disk)?;
    if let Err(source) = io::copy(&mut source, &mut encoder) {
        let failed = encoder.get_mut().take_failure();
        return Err(failed.unwrap_or_else(|| disk(source)));
    }
    match encoder.try_finish() {
        Ok(sink) => Ok(Made { sink, encoding: Encoding::Zstd, mode: None }),
        Err((mut encoder, source)) => {
            let failed = encoder.get_mut().take_failure();
            Err(failed.unwrap_or_else(|| disk(source)))
        }
    }
}

/// Opens the unfinished blob `name`, empty.
fn fresh(blobs: &BlobStore, name: &str) -> Result<Partial, BlobError> {
    blobs.discard(name)?;
    blobs.partial(name)
}

#[cfg(test)]
mod tests;

//! Phantom films: X-ray objects computed from nothing but arguments, so that no third-party file is ever needed.
//!
//! Each film is a valid DX image (For Presentation, explicit VR little endian, MONOCHROME2) with anatomy that a
//! radiologist recognises, a side marker, and the noise of a real detector (see [`film`] for how its
//! spectrum comes about). `relay-phantom films` writes files; `relay-phantom spectrum` measures the noise, here of seed 1
//! (12 bits; noise power by eighths of the Nyquist frequency along rows, lowest = 1):
//!
//! | place | mean | deviation | power |
//! |---|---|---|---|
//! | lung | 1675 | 16.0 | 1.00 0.92 0.77 0.54 0.37 0.25 0.17 0.13 |
//! | heart | 3390 | 33.1 | 1.00 1.05 0.85 0.63 0.48 0.36 0.27 0.25 |
//! | abdomen | 3566 | 34.6 | 1.00 0.99 0.84 0.66 0.52 0.37 0.31 0.27 |
//!
//! The power falls with frequency (blur after quantum noise) towards a white floor (electronics) that weighs more where
//! quanta are few. Lossless ratio under JPEG-LS (`dcmcjpls`): chest PA 2.8, lateral 3.2, hand 3.0 at 12 bits;
//! chest 2.2 and 2.4 at 14 bits. About a second a film at full size.
//!
//! Same arguments, same bytes on the same machine.

mod body;
mod canvas;
mod chest_lateral;
mod chest_pa;
mod dice;
mod film;
mod hand;
mod marker;
mod object;
mod plan;
pub mod spectrum;

use canvas::Canvas;
use dice::Dice;
use film::Exposure;
use relay_core::clock::UtcMs;

pub use object::PhantomError;
pub use plan::{Study, study};

/// Columns and rows at scale 1: 15.5 MB a film.
pub const FULL_COLUMNS: usize = 2544;
/// Rows at scale 1.
pub const FULL_ROWS: usize = 3056;

/// What is on the film.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum View {
    /// Chest from behind.
    ChestPa,
    /// Chest from the side.
    ChestLateral,
    /// Hand from behind; `left` or right.
    Hand {
        /// The patient's left hand.
        left: bool,
    },
}

/// How Chinese text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TextCoding {
    /// `GB18030`, as domestic devices do.
    Gb18030,
    /// `ISO_IR 192`.
    Utf8,
}

/// The patient of a film. All made up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patient {
    /// (0010,0010) such as `张^伟`.
    pub name: String,
    /// (0010,0020).
    pub id: String,
    /// (0010,0040) `M` or `F`.
    pub sex: String,
    /// (0010,0030) `YYYYMMDD`.
    pub birth_date: String,
    /// (0010,1010) such as `046Y`.
    pub age: String,
}

/// Everything that goes into one film.
#[derive(Debug, Clone)]
pub struct FilmRequest {
    /// What is on it.
    pub view: View,
    /// The patient.
    pub patient: Patient,
    /// Chance: build, anatomy and noise.
    pub seed: u64,
    /// Size against [`FULL_COLUMNS`] x [`FULL_ROWS`]; anatomy shrinks with it. At least [`MIN_SCALE`].
    pub scale: f32,
    /// Bits stored, 12 to 14.
    pub bits: u16,
    /// (0020,000D).
    pub study_uid: String,
    /// (0020,000E).
    pub series_uid: String,
    /// (0008,0018).
    pub instance_uid: String,
    /// (0020,0011), and part of the order of views.
    pub series_number: u32,
    /// When the exposure was.
    pub exam_at: UtcMs,
    /// (0008,0050).
    pub accession: String,
    /// (0008,0080).
    pub institution: String,
    /// (0008,1010).
    pub station: String,
    /// Character set of the texts.
    pub coding: TextCoding,
}

/// Smallest lawful scale: below it the anatomy falls apart.
pub const MIN_SCALE: f32 = 0.05;

/// A finished film.
#[derive(Debug, Clone)]
pub struct Film {
    /// The DICOM file.
    pub file: Vec<u8>,
    /// Rows of the image.
    pub rows: usize,
    /// Columns of the image.
    pub columns: usize,
}

/// Computes a film and writes it as a DICOM file.
///
/// # Errors
/// [`PhantomError`] when bits or scale are out of range or the object cannot be written.
pub fn film(request: &FilmRequest) -> Result<Film, PhantomError> {
    if !(12..=14).contains(&request.bits) {
        return Err(PhantomError::Bits(request.bits));
    }
    if !(MIN_SCALE..=2.0).contains(&request.scale) {
        return Err(PhantomError::Scale(request.scale));
    }
    let image = pixels(request.view, &request.patient.sex, request.seed, request.scale, request.bits);
    let (rows, columns) = (image.rows, image.columns);
    let file = object::write(request, image)?;
    Ok(Film { file, rows, columns })
}

/// The pixels of a film with what is known of its exposure.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) pixels: Vec<u16>,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Pixel pitch at the detector, mm.
    pub(crate) pitch: f32,
    pub(crate) field: [usize; 4],
}

/// Draws, marks and exposes.
pub(crate) fn pixels(view: View, sex: &str, seed: u64, scale: f32, bits: u16) -> Image {
    expose(view, sex, seed, seed, scale, bits)
}

/// The male chest of `seed` once more with other quanta: what differs is noise.
pub(crate) fn exposed_again(seed: u64, scale: f32) -> Image {
    expose(View::ChestPa, "M", seed, !seed, scale, 12)
}

fn expose(view: View, sex: &str, seed: u64, noise: u64, scale: f32, bits: u16) -> Image {
    let even = |n: usize| ((n as f32 * scale) as usize).max(2) / 2 * 2;
    let (columns, rows) = (even(FULL_COLUMNS), even(FULL_ROWS));
    let pitch = match view {
        View::Hand { .. } => 0.1,
        View::ChestPa | View::ChestLateral => 0.139,
    } / scale;
    let mut canvas = Canvas::new(columns, rows, pitch);
    let mut dice = Dice::new(seed, 1);
    let build = body::Build::of(sex, &mut dice);
    let blades = |part: f32, all: usize| (part * all as f32) as usize;
    let mut margin = |low: f32, high: f32| dice.within(low, high);
    let sides = if matches!(view, View::Hand { .. }) { (0.05, 0.09) } else { (0.012, 0.035) };
    let field = [
        blades(margin(sides.0, sides.1), columns),
        blades(1.0 - margin(sides.0, sides.1), columns),
        blades(margin(0.012, 0.03), rows),
        blades(1.0 - margin(0.012, 0.03), rows),
    ];
    // The picture's left and right edge of the lit field, mm.
    let edge = |column: usize| (column as f32 - 0.5 * columns as f32) * pitch;
    let (from, to, top) = (edge(field[0]), edge(field[1]), field[2] as f32 * pitch);
    let mut exposure = Exposure { bits, quanta: 14_000.0, slope: 4.2, clarity: 0.35, field };
    match view {
        View::ChestPa => {
            chest_pa::draw(&mut canvas, build, &mut dice);
            marker::put(&mut canvas, true, to - 24.0, top + 14.0);
        }
        View::ChestLateral => {
            chest_lateral::draw(&mut canvas, build, &mut dice);
            marker::put(&mut canvas, true, from + 14.0, top + 14.0);
        }
        View::Hand { left } => {
            hand::draw(&mut canvas, left, &mut dice);
            marker::put(&mut canvas, left, if left { to - 24.0 } else { from + 14.0 }, top + 14.0);
            exposure = Exposure { quanta: 5_500.0, slope: 3.2, clarity: 0.3, ..exposure };
        }
    }
    let pixels = film::expose(&canvas, columns, rows, exposure, noise ^ view_number(view));
    Image { pixels, rows, columns, pitch, field }
}

/// Two views of one body have quanta of their own.
const fn view_number(view: View) -> u64 {
    match view {
        View::ChestPa => 0,
        View::ChestLateral => 1 << 32,
        View::Hand { .. } => 2 << 32,
    }
}

#[cfg(test)]
mod tests;

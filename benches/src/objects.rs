//! The bytes that are sent: phantom films, each object with identifiers of its own.

use anyhow::{Context as _, ensure};
use relay_core::clock::{Clock as _, HOUR_MS, SystemClock};
use relay_tests::lab::{make_dir, put};
use relay_tests::phantom::{FULL_COLUMNS, FULL_ROWS, FilmRequest, film, study};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

/// Scale at which a phantom film is 145 kB: the size of a ten-second ECG in DICOM.
pub const SMALL_SCALE: f32 = 0.0965;
/// Scale of a full film: 15.5 MB.
pub const FULL_SCALE: f32 = 1.0;
/// Bodies that are computed; further films are copies under other identifiers.
const BODIES: u64 = 4;
/// Digits at the end of a UID that make copies different.
const DIGITS: usize = 8;

/// Makes `clinics` folders of `studies` studies with `views` films each.
///
/// # Errors
/// Of the phantom or the disk.
pub fn make(
    dir: &Path,
    clinics: usize,
    studies: usize,
    views: usize,
    scale: f32,
) -> anyhow::Result<Vec<Vec<PathBuf>>> {
    let bodies = bodies(scale)?;
    let mut number = 0_usize;
    let mut all = Vec::with_capacity(clinics);
    for clinic in 0..clinics {
        let folder = dir.join(format!("clinic{clinic:02}"));
        make_dir(&folder)?;
        let mut files = Vec::with_capacity(studies * views);
        for _ in 0..studies {
            let (request, bytes) = &bodies[number % bodies.len()];
            let first = number;
            for _ in 0..views {
                let path = folder.join(format!("{number:05}.dcm"));
                put(&path, &copy(request, bytes, first, number)?)?;
                files.push(path);
                number += 1;
            }
        }
        all.push(files);
    }
    Ok(all)
}

fn bodies(scale: f32) -> anyhow::Result<Vec<(FilmRequest, Vec<u8>)>> {
    let exam = SystemClock.now().plus_ms(-HOUR_MS / 6);
    (0..BODIES)
        .map(|index| {
            let request =
                study(7, index, scale, exam).films.into_iter().next().context("a study without a film")?;
            let bytes = film(&request)?.file;
            Ok((request, bytes))
        })
        .collect()
}

/// The same film as another instance of another study: UIDs of equal length in place of its own.
fn copy(request: &FilmRequest, bytes: &[u8], study: usize, instance: usize) -> anyhow::Result<Vec<u8>> {
    let mut bytes = bytes.to_vec();
    for (uid, number) in
        [(&request.study_uid, study), (&request.series_uid, instance), (&request.instance_uid, instance)]
    {
        replace(&mut bytes, uid, number)?;
    }
    Ok(bytes)
}

fn replace(bytes: &mut [u8], uid: &str, number: usize) -> anyhow::Result<()> {
    let kept = uid.len() - DIGITS;
    let new = format!("{}{number:0DIGITS$}", &uid[..kept]);
    let mut found = 0;
    let mut at = 0;
    // Identifiers stand before the pixels; nothing is looked for behind the header.
    let header = bytes.len().min(HEADER_BYTES);
    while let Some(place) = bytes[at..header].windows(uid.len()).position(|window| window == uid.as_bytes()) {
        bytes[at + place..at + place + uid.len()].copy_from_slice(new.as_bytes());
        at += place + uid.len();
        found += 1;
    }
    ensure!(found > 0, "the phantom does not hold its UID {uid}");
    Ok(())
}

/// A phantom's header is shorter.
const HEADER_BYTES: usize = 8192;
/// How often a full film is repeated across and down in the giant.
const ACROSS: usize = 4;
/// See [`ACROSS`]: together 497 MB.
const DOWN: usize = 8;

/// One object of 497 MB: a full film tiled over a detector that nobody has built.
///
/// # Errors
/// Of the phantom or the disk.
pub fn giant(path: &Path) -> anyhow::Result<()> {
    let (request, file) = bodies(FULL_SCALE)?.into_iter().next().context("no body")?;
    let columns = FULL_COLUMNS * ACROSS;
    let pixels_at = file.len() - FULL_COLUMNS * FULL_ROWS * 2;
    let mut header = copy(&request, &file, 1, 1)?;
    header.truncate(pixels_at);
    patch(
        &mut header,
        [0x28, 0, 0x10, 0, b'U', b'S', 2, 0],
        &u16::try_from(FULL_ROWS * DOWN)?.to_le_bytes(),
    )?;
    patch(&mut header, [0x28, 0, 0x11, 0, b'U', b'S', 2, 0], &u16::try_from(columns)?.to_le_bytes())?;
    let length = u32::try_from(columns * FULL_ROWS * DOWN * 2)?;
    patch(&mut header, [0xe0, 0x7f, 0x10, 0, b'O', b'W', 0, 0], &length.to_le_bytes())?;
    let mut out = BufWriter::new(
        std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path)
            .with_context(|| path.display().to_string())?,
    );
    out.write_all(&header)?;
    for _ in 0..DOWN {
        for row in file[pixels_at..].chunks_exact(FULL_COLUMNS * 2) {
            for _ in 0..ACROSS {
                out.write_all(row)?;
            }
        }
    }
    Ok(out.flush()?)
}

/// Overwrites the value of an element in explicit VR little endian, found by its head.
fn patch(header: &mut [u8], head: [u8; 8], value: &[u8]) -> anyhow::Result<()> {
    let at = header.windows(head.len()).position(|window| window == head);
    let at = at.with_context(|| format!("the phantom has no element {head:02x?}"))? + head.len();
    header[at..at + value.len()].copy_from_slice(value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_object_has_an_identifier_of_its_own_and_views_share_their_study() {
        let dir = tempfile::tempdir().unwrap();
        let made = make(dir.path(), 2, 3, 2, 0.06).unwrap();
        let bytes: BTreeSet<Vec<u8>> =
            made.iter().flatten().map(|path| std::fs::read(path).unwrap()).collect();
        assert_eq!(bytes.len(), 12);
        let studies: BTreeSet<String> = made
            .iter()
            .flatten()
            .map(|path| {
                let file = std::fs::File::open(path).unwrap();
                relay_core::formats::dicom::admit(file).unwrap().study_uid.to_string()
            })
            .collect();
        assert_eq!(studies.len(), 6);
    }
}

//! From the coded form back to the plaintext: bounded memory, bounded output, nothing trusted.

use relay_core::codes::{Code, Refusal};
use relay_core::durable::{BlobError, BlobStore, Partial};
use relay_core::limits::ZSTD_WINDOW_LOG_MAX;
use relay_core::study::{Encoding, ManifestObject};
use std::borrow::Cow;
use std::io::{self, Read as _};
use std::path::Path;

/// Bytes moved at a time.
const STEP_BYTES: usize = 256 * 1024;

/// Why an object was not restored.
#[derive(Debug)]
pub(super) enum RestoreError {
    /// The coded bytes are wrong.
    Refused(Refusal),
    /// The county's disk failed.
    Disk(BlobError),
    /// Reading back failed.
    Io(io::Error),
}

fn encoding(reason: impl Into<String>) -> RestoreError {
    RestoreError::Refused(Refusal::new(Code::RefusedEncoding, "coded form", reason))
}

/// Restores the plaintext of `object` from the file `coded`, into the partial `name` where it is coded at all. On a refusal the
/// half of it that was made is gone: what is kept for a person to look at is what came.
pub(super) fn plain(
    blobs: &BlobStore,
    coded: Partial,
    name: &str,
    object: &ManifestObject,
) -> Result<Partial, RestoreError> {
    let plain = match object.coded.encoding {
        Encoding::Identity => return Ok(coded),
        Encoding::Zstd => zstd(blobs, coded.path(), name, object.length),
        Encoding::Film => film(blobs, coded.path(), name, object.length),
    };
    if let Err(RestoreError::Refused(_)) = &plain {
        blobs.discard(name).map_err(RestoreError::Disk)?;
    }
    plain
}

/// As [`plain`], for a small object in memory; `None` when anything is wrong.
pub(super) fn plain_in_memory<'a>(coded: &'a [u8], object: &ManifestObject) -> Option<Cow<'a, [u8]>> {
    match object.coded.encoding {
        Encoding::Identity => Some(Cow::Borrowed(coded)),
        Encoding::Zstd => zstd_in_memory(coded, object.length).map(Cow::Owned),
        Encoding::Film => {
            let decoded = unwinding(|| relay_film::decode_file(coded, object.length));
            decoded?.ok().map(Cow::Owned)
        }
    }
}

/// A decoder that fails on hostile bytes refuses these bytes; they must not be sent again for ever.
fn unwinding<T>(decode: impl FnOnce() -> T) -> Option<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(decode)).ok()
}

/// Decodes a coded film of `length` plaintext bytes, strip by strip.
fn film(blobs: &BlobStore, coded: &Path, name: &str, length: u64) -> Result<Partial, RestoreError> {
    let mut file = std::fs::File::open(coded).map_err(RestoreError::Io)?;
    blobs.discard(name).map_err(RestoreError::Disk)?;
    let mut plain = blobs.partial(name).map_err(RestoreError::Disk)?;
    let refused = |e: relay_film::DecodeError| encoding(e.to_string());
    let decoded = unwinding(|| {
        let mut decoder = relay_film::Decoder::new(length);
        let (mut buffer, mut out, mut at) = (vec![0_u8; STEP_BYTES], Vec::new(), 0_u64);
        loop {
            let read = file.read(&mut buffer).map_err(RestoreError::Io)?;
            if read == 0 {
                return decoder.finish().map_err(refused);
            }
            let mut rest = &buffer[..read];
            while !rest.is_empty() {
                let taken = decoder.push(rest, &mut out).map_err(refused)?;
                rest = &rest[taken..];
                if !out.is_empty() {
                    plain.write_at(at, &out).map_err(RestoreError::Disk)?;
                    at += out.len() as u64;
                    out.clear();
                }
            }
        }
    });
    decoded.unwrap_or_else(|| Err(encoding("the film decoder failed on these bytes")))?;
    Ok(plain)
}

/// Decodes one zstd frame of `length` plaintext bytes from the file `coded` into the partial `name`.
fn zstd(blobs: &BlobStore, coded: &Path, name: &str, length: u64) -> Result<Partial, RestoreError> {
    let file = std::fs::File::open(coded).map_err(RestoreError::Io)?;
    let reader = io::BufReader::with_capacity(STEP_BYTES, file);
    let mut decoder = zstd::stream::read::Decoder::with_buffer(reader)
        .map_err(|e| encoding(format!("zstd: {e}")))?
        .single_frame();
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|e| encoding(format!("zstd: {e}")))?;
    blobs.discard(name).map_err(RestoreError::Disk)?;
    let mut plain = blobs.partial(name).map_err(RestoreError::Disk)?;
    let mut buffer = vec![0_u8; STEP_BYTES];
    let mut at = 0_u64;
    loop {
        let read = decoder.read(&mut buffer).map_err(|e| encoding(format!("zstd: {e}")))?;
        if read == 0 {
            break;
        }
        if at + read as u64 > length {
            return Err(encoding(format!("more than the announced {length} bytes")));
        }
        plain.write_at(at, &buffer[..read]).map_err(RestoreError::Disk)?;
        at += read as u64;
    }
    if at < length {
        return Err(encoding(format!("{at} bytes where {length} were announced")));
    }
    let mut rest = decoder.finish();
    let mut one = [0_u8; 1];
    if rest.read(&mut one).map_err(RestoreError::Io)? != 0 {
        return Err(encoding("bytes after the end of the zstd frame"));
    }
    Ok(plain)
}

/// Decodes one whole zstd frame of exactly `length` bytes in memory; `None` when it is anything else.
fn zstd_in_memory(coded: &[u8], length: u64) -> Option<Vec<u8>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(coded).ok()?.single_frame();
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).ok()?;
    let mut plain = Vec::with_capacity(usize::try_from(length).ok()?);
    decoder.by_ref().take(length + 1).read_to_end(&mut plain).ok()?;
    (plain.len() as u64 == length && decoder.finish().is_empty()).then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_core::durable::RealDisk;
    use relay_core::ids::ObjectHash;
    use relay_core::study::CodedForm;
    use relay_film::{Layout, Mode, encode_file};
    use std::sync::Arc;

    fn restored(encoding: Encoding, coded: &[u8], length: u64) -> Result<Vec<u8>, RestoreError> {
        let dir = tempfile::tempdir().unwrap();
        let blobs = BlobStore::open(Arc::new(RealDisk), dir.path()).unwrap();
        let mut partial = blobs.partial("coded").unwrap();
        partial.write_at(0, coded).unwrap();
        let hash = ObjectHash::of(coded);
        let form = CodedForm { encoding, length: coded.len() as u64, hash };
        let kind = relay_core::study::ObjectKind::Dicom;
        let object = ManifestObject { hash, length, kind, instance: None, series: None, coded: form };
        let small = plain_in_memory(coded, &object);
        let restored = plain(&blobs, partial, "plain", &object);
        assert_eq!(small.is_some(), restored.is_ok(), "memory and file disagree");
        assert_eq!(blobs.partial_path("plain").exists(), restored.is_ok(), "nothing half made is left");
        let restored = std::fs::read(restored?.path()).unwrap();
        assert_eq!(small.as_deref(), Some(&restored[..]));
        Ok(restored)
    }

    fn film() -> (Vec<u8>, Layout) {
        let file: Vec<u8> = (0..300_u32 * 400)
            .flat_map(|i| u16::try_from(i % 400 + i / 400 + i * 7_919 % 13).unwrap().to_le_bytes())
            .collect();
        let length = file.len() as u64;
        let layout =
            Layout { rows: 300, columns: 400, samples: 1, bits_allocated: 16, length, ..Layout::default() };
        (file, layout)
    }

    #[test]
    fn a_film_of_either_coder_comes_back_exactly() {
        let (file, layout) = film();
        for mode in [Mode::Stored, Mode::Quick, Mode::Strong] {
            let coded = encode_file(&file, Some(&layout), mode);
            assert_eq!(restored(Encoding::Film, &coded, file.len() as u64).unwrap(), file, "{mode:?}");
        }
    }

    #[test]
    fn films_that_are_cut_changed_too_long_or_none_are_refused_or_differ() {
        let (file, layout) = film();
        let length = file.len() as u64;
        let coded = encode_file(&file, Some(&layout), Mode::Strong);
        let mut cases: Vec<(Vec<u8>, u64)> = vec![
            (coded.clone(), length - 1),
            (coded.clone(), length + 1),
            (coded[..coded.len() - 1].to_vec(), length),
            ([&coded[..], b"x"].concat(), length),
            (zstd::encode_all(&file[..], 3).unwrap(), length),
        ];
        for at in (0..coded.len()).step_by(coded.len() / 40) {
            let mut changed = coded.clone();
            changed[at] ^= 0x55;
            cases.push((changed, length));
        }
        for (number, (bytes, length)) in cases.into_iter().enumerate() {
            match restored(Encoding::Film, &bytes, length) {
                Err(RestoreError::Refused(refusal)) => {
                    assert_eq!(refusal.code, Code::RefusedEncoding, "{number}");
                }
                // Its digest is wrong then.
                Ok(plain) => {
                    assert!(number >= 5 && plain != file && plain.len() as u64 == length, "{number}")
                }
                other => panic!("case {number}: {other:?}"),
            }
        }
    }

    #[test]
    fn one_frame_comes_back_exactly() {
        let plain = b"ecg ".repeat(100_000);
        let coded = zstd::encode_all(&plain[..], 3).unwrap();
        assert_eq!(restored(Encoding::Zstd, &coded, plain.len() as u64).unwrap(), plain);
    }

    #[test]
    fn bombs_cuts_wide_windows_and_trailing_bytes_are_refused() {
        let plain = vec![0_u8; 3_000_000];
        let coded = zstd::encode_all(&plain[..], 3).unwrap();
        let wide = {
            let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
            encoder.window_log(27).unwrap();
            io::Write::write_all(&mut encoder, &plain).unwrap();
            encoder.finish().unwrap()
        };
        let cases: [(&[u8], u64); 6] = [
            (&coded, 1_000),
            (&coded, 3_000_001),
            (&coded[..coded.len() - 3], 3_000_000),
            (&[&coded[..], b"x"].concat(), 3_000_000),
            (b"not zstd at all", 15),
            (&wide, 3_000_000),
        ];
        for (at, (bytes, length)) in cases.into_iter().enumerate() {
            match restored(Encoding::Zstd, bytes, length) {
                Err(RestoreError::Refused(refusal)) => {
                    assert_eq!(refusal.code, Code::RefusedEncoding, "{at}")
                }
                other => panic!("case {at}: {other:?}"),
            }
        }
    }
}

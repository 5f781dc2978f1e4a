//! From the coded form back to the plaintext: bounded memory, bounded output, nothing trusted.

use relay_core::codes::{Code, Refusal};
use relay_core::durable::{BlobError, BlobStore, Partial};
use relay_core::limits::ZSTD_WINDOW_LOG_MAX;
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

/// Decodes one zstd frame of `length` plaintext bytes from the file `coded` into the partial `name`.
pub(super) fn zstd(
    blobs: &BlobStore,
    coded: &Path,
    name: &str,
    length: u64,
) -> Result<Partial, RestoreError> {
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
pub(super) fn zstd_in_memory(coded: &[u8], length: u64) -> Option<Vec<u8>> {
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
    use std::sync::Arc;

    fn restored(coded: &[u8], length: u64) -> Result<Vec<u8>, RestoreError> {
        let dir = tempfile::tempdir().unwrap();
        let blobs = BlobStore::open(Arc::new(RealDisk), dir.path()).unwrap();
        let mut partial = blobs.partial("coded").unwrap();
        partial.write_at(0, coded).unwrap();
        let small = zstd_in_memory(coded, length);
        let plain = zstd(&blobs, partial.path(), "plain", length);
        assert_eq!(small.is_some(), plain.is_ok(), "memory and file disagree");
        let plain = std::fs::read(plain?.path()).unwrap();
        assert_eq!(small.as_deref(), Some(&plain[..]));
        Ok(plain)
    }

    #[test]
    fn one_frame_comes_back_exactly() {
        let plain = b"ecg ".repeat(100_000);
        let coded = zstd::encode_all(&plain[..], 3).unwrap();
        assert_eq!(restored(&coded, plain.len() as u64).unwrap(), plain);
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
            match restored(bytes, length) {
                Err(RestoreError::Refused(refusal)) => {
                    assert_eq!(refusal.code, Code::RefusedEncoding, "{at}")
                }
                other => panic!("case {at}: {other:?}"),
            }
        }
    }
}

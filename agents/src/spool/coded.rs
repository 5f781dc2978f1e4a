//! The form in which an object travels: Zstandard where it pays, as it is where it does not. The same object always
//! gets the same form, so that a transfer that was cut goes on where it was.

use relay_core::durable::{BlobError, BlobStore, Partial};
use relay_core::ids::ObjectHash;
use relay_core::study::{CodedForm, Encoding};
use std::io::{self, Write};

/// Level 3: 100 MB/s and more on one core of a township PC, 1.5 to 2.5 times smaller on raw films.
const LEVEL: i32 = 3;
/// Below this many bytes a frame header costs more than it saves.
const MIN_BYTES: u64 = 512;
/// A coded form must be this much smaller (in 1/100) to be worth its place on the disk.
const MUST_SAVE_PERCENT: u64 = 3;

/// Writes into an unfinished blob and hashes.
struct Sink {
    partial: Partial,
    blake: blake3::Hasher,
    length: u64,
    failed: Option<BlobError>,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.partial.write_at(self.length, bytes) {
            self.failed = Some(error);
            return Err(io::Error::other("coded form"));
        }
        self.blake.update(bytes);
        self.length += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The plain form as a coded form.
pub(super) const fn identity(hash: ObjectHash, length: u64) -> CodedForm {
    CodedForm { encoding: Encoding::Identity, length, hash }
}

/// Codes a blob by way of the unfinished blob `name`, which nobody else uses. When there is no room for a coded form, the object travels as it is: that is slower, not wrong.
///
/// # Errors
/// [`BlobError`] when the disk fails for another reason than being full.
pub(super) fn code(
    blobs: &BlobStore,
    hash: &ObjectHash,
    length: u64,
    compressible: bool,
    name: &str,
) -> Result<CodedForm, BlobError> {
    let plain = identity(*hash, length);
    if !compressible || length < MIN_BYTES {
        return Ok(plain);
    }
    match compress(blobs, name, hash, length) {
        Ok(sink) if sink.length <= length - length * MUST_SAVE_PERCENT / 100 => {
            let coded = ObjectHash(*sink.blake.finalize().as_bytes());
            let form = CodedForm { encoding: Encoding::Zstd, length: sink.length, hash: coded };
            match blobs.commit(sink.partial, &coded) {
                Ok(_) => Ok(form),
                Err(error) => {
                    blobs.discard(name)?;
                    if error.is_full() { Ok(plain) } else { Err(error) }
                }
            }
        }
        Ok(sink) => {
            drop(sink);
            blobs.discard(name)?;
            Ok(plain)
        }
        Err(error) => {
            blobs.discard(name)?;
            if error.is_full() { Ok(plain) } else { Err(error) }
        }
    }
}

fn compress(blobs: &BlobStore, name: &str, hash: &ObjectHash, length: u64) -> Result<Sink, BlobError> {
    blobs.discard(name)?;
    let path = blobs.path_of(hash);
    let disk = |step: &'static str| {
        let path = path.clone();
        move |source| BlobError::Disk { step, path, source }
    };
    let mut source = blobs.open_blob(hash)?;
    let partial = blobs.partial(name)?;
    let sink = Sink { partial, blake: blake3::Hasher::new(), length: 0, failed: None };
    let mut encoder = zstd::Encoder::new(sink, LEVEL).map_err(disk("code"))?;
    encoder.set_pledged_src_size(Some(length)).map_err(disk("code"))?;
    if let Err(source) = io::copy(&mut source, &mut encoder) {
        let failed = encoder.get_mut().failed.take();
        return Err(failed.unwrap_or_else(|| disk("code")(source)));
    }
    match encoder.try_finish() {
        Ok(sink) => Ok(sink),
        Err((mut encoder, source)) => {
            let failed = encoder.get_mut().failed.take();
            Err(failed.unwrap_or_else(|| disk("code")(source)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_core::durable::FaultyDisk;
    use std::sync::Arc;

    fn store() -> (tempfile::TempDir, FaultyDisk, BlobStore) {
        let dir = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::default();
        let blobs = BlobStore::open(Arc::new(disk.clone()), dir.path()).unwrap();
        (dir, disk, blobs)
    }

    #[test]
    fn what_compresses_is_coded_the_same_way_twice_and_restores_exactly() {
        let (_dir, _, blobs) = store();
        let plain: Vec<u8> =
            (0..300_000_u32).flat_map(|i| u16::try_from(i / 9 % 4096).unwrap().to_le_bytes()).collect();
        let hash = blobs.put(&plain).unwrap();
        let form = code(&blobs, &hash, plain.len() as u64, true, "z").unwrap();
        assert_eq!(form.encoding, Encoding::Zstd);
        assert_eq!(code(&blobs, &hash, plain.len() as u64, true, "z").unwrap(), form);
        let back = zstd::decode_all(blobs.open_blob(&form.hash).unwrap()).unwrap();
        assert_eq!(ObjectHash::of(&back), hash);
    }

    #[test]
    fn noise_and_compressed_syntaxes_travel_as_they_are() {
        let (_dir, _, blobs) = store();
        let mut state = 1_u64;
        let noise: Vec<u8> = (0..20_000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                state.to_be_bytes()[0]
            })
            .collect();
        let hash = blobs.put(&noise).unwrap();
        assert_eq!(code(&blobs, &hash, 20_000, true, "z").unwrap().encoding, Encoding::Identity);
        let zeros = vec![0; 20_000];
        let hash = blobs.put(&zeros).unwrap();
        assert_eq!(code(&blobs, &hash, 20_000, false, "z").unwrap().encoding, Encoding::Identity);
    }

    #[test]
    fn without_room_for_a_coded_form_the_object_travels_as_it_is() {
        let (_dir, disk, blobs) = store();
        let hash = blobs.put(&vec![7; 100_000]).unwrap();
        disk.faults.full_after(0);
        assert_eq!(code(&blobs, &hash, 100_000, true, "z").unwrap(), identity(hash, 100_000));
    }
}

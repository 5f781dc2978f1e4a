//! Content-addressed, immutable blobs: `blobs/ab/<hash>`; unfinished ones in `partial/`.
//!
//! A blob exists once its name is in place and its directory is synced; before that it does not count.

use super::disk::{Disk, DiskFile};
use crate::ids::{ObjectHash, Sha256};
use sha2::Digest as _;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes read at a time when a blob is hashed.
const READ_BYTES: usize = 256 * 1024;
/// Blobs are private to the service's account.
const BLOB_MODE: u32 = 0o600;

/// Why a blob operation failed.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The disk refused a step.
    #[error("{step} {path}")]
    Disk {
        /// What was tried.
        step: &'static str,
        /// On which path.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
    /// The content is not what its name says.
    #[error("content has hash {found}, expected {expected}")]
    Digest {
        /// The announced address.
        expected: ObjectHash,
        /// What the bytes are.
        found: ObjectHash,
    },
    /// There is no such blob.
    #[error("no blob {0}")]
    Absent(ObjectHash),
}

impl BlobError {
    /// True when the disk is full (or over quota): the caller answers `STORAGE_FULL`.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Disk { source, .. }
            if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }
}

fn disk_error(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BlobError {
    let path = path.to_owned();
    move |source| BlobError::Disk { step, path, source }
}

/// A directory of blobs.
#[derive(Debug, Clone)]
pub struct BlobStore {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    /// Tells apart temporary files of equal bytes that are written at the same time.
    puts: Arc<AtomicU64>,
}

/// An unfinished blob: bytes at offsets, not yet hashed. Survives a restart under its name.
#[derive(Debug)]
pub struct Partial {
    file: Box<dyn DiskFile>,
    path: PathBuf,
}

impl Partial {
    /// Writes all bytes at the offset.
    ///
    /// # Errors
    /// [`BlobError::Disk`].
    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), BlobError> {
        self.file.write_at(offset, bytes).map_err(disk_error("write", &self.path))
    }

    /// Makes what was written durable, so that a record of it may be kept.
    ///
    /// # Errors
    /// [`BlobError::Disk`].
    pub fn sync(&mut self) -> Result<(), BlobError> {
        self.file.sync().map_err(disk_error("sync", &self.path))
    }

    /// Cuts the file to `length` bytes.
    ///
    /// # Errors
    /// [`BlobError::Disk`].
    pub fn truncate(&mut self, length: u64) -> Result<(), BlobError> {
        self.file.set_len(length).map_err(disk_error("truncate", &self.path))
    }

    /// Bytes in the file.
    ///
    /// # Errors
    /// [`BlobError::Disk`].
    pub fn length(&self) -> Result<u64, BlobError> {
        self.file.length().map_err(disk_error("stat", &self.path))
    }

    /// Where it is, for reading back.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl BlobStore {
    /// Opens (and creates) the store under `root`.
    ///
    /// # Errors
    /// [`BlobError::Disk`] when the directories cannot be made.
    pub fn open(disk: Arc<dyn Disk>, root: impl Into<PathBuf>) -> Result<Self, BlobError> {
        let store = Self { disk, root: root.into(), puts: Arc::new(AtomicU64::new(0)) };
        let blobs = store.root.join("blobs");
        for dir in [blobs.clone(), store.root.join("partial")] {
            store.disk.create_dir_all(&dir).map_err(disk_error("create", &dir))?;
        }
        // All of them now, and synced now: nobody may rely on a directory whose entry somebody else has yet to sync.
        for first in 0..=u8::MAX {
            let dir = blobs.join(hex::encode([first]));
            if !dir.is_dir() {
                store.disk.create_dir_all(&dir).map_err(disk_error("create", &dir))?;
            }
        }
        store.disk.sync_dir(&blobs).map_err(disk_error("sync", &blobs))?;
        Ok(store)
    }

    /// Where a blob is, whether or not it exists.
    #[must_use]
    pub fn path_of(&self, hash: &ObjectHash) -> PathBuf {
        let hex = hash.to_hex();
        self.root.join("blobs").join(&hex[..2]).join(&hex)
    }

    /// Where an unfinished blob of this name is. `name` comes from us (a hash), never from a peer's text.
    #[must_use]
    pub fn partial_path(&self, name: &str) -> PathBuf {
        self.root.join("partial").join(name)
    }

    /// True when the blob is there.
    #[must_use]
    pub fn contains(&self, hash: &ObjectHash) -> bool {
        self.path_of(hash).is_file()
    }

    /// Bytes that may still be written.
    ///
    /// # Errors
    /// [`BlobError::Disk`].
    pub fn free_bytes(&self) -> Result<u64, BlobError> {
        self.disk.free_bytes(&self.root).map_err(disk_error("statvfs", &self.root))
    }

    /// Opens an unfinished blob, with what it already holds.
    ///
    /// # Errors
    /// [`BlobError::Disk`].
    pub fn partial(&self, name: &str) -> Result<Partial, BlobError> {
        let path = self.partial_path(name);
        let file = self.disk.open_for_append(&path).map_err(disk_error("open", &path))?;
        Ok(Partial { file, path })
    }

    /// Drops an unfinished blob.
    ///
    /// # Errors
    /// [`BlobError::Disk`].
    pub fn discard(&self, name: &str) -> Result<(), BlobError> {
        let path = self.partial_path(name);
        self.disk.remove(&path).map_err(disk_error("remove", &path))
    }

    /// Turns an unfinished blob into a blob: checks its digest by reading it back, syncs, renames, syncs the
    /// directory. On a digest error the partial stays for the caller to quarantine or discard.
    ///
    /// # Errors
    /// [`BlobError::Digest`], [`BlobError::Disk`].
    pub fn commit(&self, mut partial: Partial, expected: &ObjectHash) -> Result<Sha256, BlobError> {
        let (found, sha256, _) = digest_file(&partial.path)?;
        if found != *expected {
            return Err(BlobError::Digest { expected: *expected, found });
        }
        if let Err(error) = partial.sync() {
            // After a failed sync the page cache may claim what the disk does not have: start again from nothing.
            let _ = self.disk.remove(&partial.path);
            return Err(error);
        }
        self.place(&partial.path, expected)?;
        Ok(sha256)
    }

    /// Stores bytes that are already in memory; a blob that is there is left alone.
    ///
    /// # Errors
    /// [`BlobError::Disk`].
    pub fn put(&self, bytes: &[u8]) -> Result<ObjectHash, BlobError> {
        self.put_named(ObjectHash::of(bytes), bytes)
    }

    /// As [`Self::put`], for bytes whose hash the caller has just computed.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub fn put_named(&self, hash: ObjectHash, bytes: &[u8]) -> Result<ObjectHash, BlobError> {
        if self.contains(&hash) {
            // Whoever placed it may not have come to sync the directory.
            self.sync_place(&hash)?;
            return Ok(hash);
        }
        let temp = self.partial_path(&format!("{hash}.{}.put", self.puts.fetch_add(1, Ordering::Relaxed)));
        let mut file = self.disk.create(&temp, BLOB_MODE).map_err(disk_error("create", &temp))?;
        let written = file.write_at(0, bytes).and_then(|()| file.sync());
        if let Err(source) = written {
            let _ = self.disk.remove(&temp);
            return Err(BlobError::Disk { step: "write", path: temp, source });
        }
        self.place(&temp, &hash)?;
        Ok(hash)
    }

    fn place(&self, from: &Path, hash: &ObjectHash) -> Result<(), BlobError> {
        let to = self.path_of(hash);
        self.disk.rename(from, &to).map_err(disk_error("rename", &to))?;
        self.sync_place(hash)
    }

    fn sync_place(&self, hash: &ObjectHash) -> Result<(), BlobError> {
        let path = self.path_of(hash);
        let dir = path.parent().expect("invariant: a blob path has a parent");
        self.disk.sync_dir(dir).map_err(disk_error("sync", dir))
    }

    /// Opens a blob for reading.
    ///
    /// # Errors
    /// [`BlobError::Absent`], [`BlobError::Disk`].
    pub fn open_blob(&self, hash: &ObjectHash) -> Result<File, BlobError> {
        let path = self.path_of(hash);
        match File::open(&path) {
            Ok(file) => Ok(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(BlobError::Absent(*hash)),
            Err(source) => Err(BlobError::Disk { step: "open", path, source }),
        }
    }

    /// Reads the blob back and proves its hash; gives SHA-256 and length.
    ///
    /// # Errors
    /// [`BlobError::Absent`], [`BlobError::Digest`], [`BlobError::Disk`].
    pub fn verify(&self, hash: &ObjectHash) -> Result<(Sha256, u64), BlobError> {
        drop(self.open_blob(hash)?);
        let (found, sha256, length) = digest_file(&self.path_of(hash))?;
        if found == *hash { Ok((sha256, length)) } else { Err(BlobError::Digest { expected: *hash, found }) }
    }

    /// As [`Self::verify`], for BLAKE3 alone: proves a blob that is about to be shown, at several times the speed.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub fn check(&self, hash: &ObjectHash) -> Result<(), BlobError> {
        let (mut file, path) = (self.open_blob(hash)?, self.path_of(hash));
        let mut blake = blake3::Hasher::new();
        let mut buffer = vec![0_u8; READ_BYTES];
        loop {
            let read = file.read(&mut buffer).map_err(disk_error("read", &path))?;
            if read == 0 {
                break;
            }
            blake.update(&buffer[..read]);
        }
        let found = ObjectHash(*blake.finalize().as_bytes());
        if found == *hash { Ok(()) } else { Err(BlobError::Digest { expected: *hash, found }) }
    }

    /// Removes a blob. Deletion is a policy's decision, recorded by the caller before.
    ///
    /// # Errors
    /// [`BlobError::Disk`].
    pub fn remove(&self, hash: &ObjectHash) -> Result<(), BlobError> {
        let path = self.path_of(hash);
        self.disk.remove(&path).map_err(disk_error("remove", &path))
    }
}

/// BLAKE3, SHA-256 and length of a file, read in pieces.
fn digest_file(path: &Path) -> Result<(ObjectHash, Sha256, u64), BlobError> {
    let mut file = File::open(path).map_err(disk_error("open", path))?;
    let (mut blake, mut sha, mut length) = (blake3::Hasher::new(), sha2::Sha256::new(), 0_u64);
    let mut buffer = vec![0_u8; READ_BYTES];
    loop {
        let read = file.read(&mut buffer).map_err(disk_error("read", path))?;
        if read == 0 {
            return Ok((ObjectHash(*blake.finalize().as_bytes()), Sha256(sha.finalize().into()), length));
        }
        blake.update(&buffer[..read]);
        sha.update(&buffer[..read]);
        length += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::FaultyDisk;

    fn store(disk: &FaultyDisk) -> (tempfile::TempDir, BlobStore) {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(Arc::new(disk.clone()), dir.path()).unwrap();
        (dir, store)
    }

    #[test]
    fn a_blob_written_in_pieces_out_of_order_is_committed_under_its_hash() {
        let (_dir, store) = store(&FaultyDisk::default());
        let hash = ObjectHash::of(b"hello world");
        let mut partial = store.partial(&hash.to_hex()).unwrap();
        partial.write_at(6, b"world").unwrap();
        partial.write_at(0, b"hello ").unwrap();
        assert_eq!(store.commit(partial, &hash).unwrap(), Sha256::of(b"hello world"));
        assert_eq!(store.verify(&hash).unwrap().1, 11);
        assert!(!store.partial_path(&hash.to_hex()).exists());
    }

    #[test]
    fn wrong_bytes_never_get_the_name() {
        let (_dir, store) = store(&FaultyDisk::default());
        let hash = ObjectHash::of(b"announced");
        let mut partial = store.partial("p").unwrap();
        partial.write_at(0, b"different").unwrap();
        assert!(matches!(store.commit(partial, &hash), Err(BlobError::Digest { .. })));
        assert!(!store.contains(&hash));
    }

    #[test]
    fn a_full_disk_is_said_to_be_full_and_leaves_no_blob() {
        let disk = FaultyDisk::default();
        let (_dir, store) = store(&disk);
        disk.faults.full_after(4);
        let error = store.put(b"more than four bytes").unwrap_err();
        assert!(error.is_full(), "{error:?}");
        assert!(!store.contains(&ObjectHash::of(b"more than four bytes")));
        disk.faults.room_again();
        assert!(store.put(b"more than four bytes").is_ok());
    }

    #[test]
    fn a_failed_sync_is_no_blob() {
        let disk = FaultyDisk::default();
        let (_dir, store) = store(&disk);
        disk.faults.sync_fails(true);
        assert!(store.put(b"x").is_err());
        assert!(!store.contains(&ObjectHash::of(b"x")));
    }

    #[test]
    fn a_flipped_bit_on_disk_is_found() {
        let (_dir, store) = store(&FaultyDisk::default());
        let hash = store.put(b"film").unwrap();
        let mut file = RealDiskForTest::open(&store.path_of(&hash));
        file.write_at(0, b"F").unwrap();
        assert!(matches!(store.verify(&hash), Err(BlobError::Digest { .. })));
        assert!(matches!(store.check(&hash), Err(BlobError::Digest { .. })));
        let whole = store.put(b"whole").unwrap();
        assert!(store.check(&whole).is_ok());
    }

    struct RealDiskForTest;
    impl RealDiskForTest {
        fn open(path: &Path) -> Box<dyn DiskFile> {
            crate::durable::RealDisk.open_for_append(path).unwrap()
        }
    }
}

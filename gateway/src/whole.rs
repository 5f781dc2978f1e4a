//! Objects are proven before they are shown: the bytes that a reader looks at are those that were received.
//!
//! A file is read through once; what was found is remembered for as long as the file stays the same (inode, size, times of
//! change), so that turning pages costs no second reading. Rot that leaves no trace in those is the scrub's to find.

use crate::background::scrub::{self, Finding};
use crate::store::Store;
use relay_core::clock::UtcMs;
use relay_core::codes::{Code, Refusal};
use relay_core::durable::BlobError;
use relay_core::ids::ObjectHash;
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Files remembered: two days of a busy county, 1 MB of memory; the oldest is forgotten first.
const MAX_REMEMBERED: usize = 8_192;
/// Files proven at the same time, told apart by the first byte of the hash: many pages that ask for one film at once cause
/// one reading, and a large film holds up few others.
const LANES: usize = 32;

/// What tells that a file was not touched since. The time of the last change of the inode cannot be set back by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(meta: &std::fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        Self {
            inode: meta.ino(),
            length: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

#[derive(Debug, Default)]
struct Remembered {
    found: BTreeMap<ObjectHash, (Stamp, Finding)>,
    order: VecDeque<ObjectHash>,
}

impl Remembered {
    fn put(&mut self, hash: ObjectHash, stamp: Stamp, finding: Finding) {
        if self.found.insert(hash, (stamp, finding)).is_none() {
            self.order.push_back(hash);
        }
        while self.order.len() > MAX_REMEMBERED {
            if let Some(oldest) = self.order.pop_front() {
                self.found.remove(&oldest);
            }
        }
    }
}

/// Proves objects, once per file as it stands; clones are handles to the same memory.
#[derive(Debug, Clone)]
pub struct Whole(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    remembered: Mutex<Remembered>,
    lanes: [tokio::sync::Mutex<()>; LANES],
}

impl Default for Whole {
    fn default() -> Self {
        let lanes = std::array::from_fn(|_| tokio::sync::Mutex::new(()));
        Self(Arc::new(Parts { remembered: Mutex::default(), lanes }))
    }
}

impl Whole {
    /// The path of an object whose bytes are those of its address. `recorded` is the status of its location row: what is
    /// found otherwise is recorded, and a loss is asked of the clinic again.
    ///
    /// # Errors
    /// `DAMAGED` naming the object; storage refusals.
    pub async fn path(
        &self,
        store: &Store,
        hash: &ObjectHash,
        recorded: &str,
        now: UtcMs,
    ) -> Result<PathBuf, Refusal> {
        let _lane = self.0.lanes[usize::from(hash.0[0]) % LANES].lock().await;
        let (own, whole, object) = (store.clone(), self.clone(), *hash);
        let finding = tokio::task::spawn_blocking(move || whole.look(&own, object))
            .await
            .unwrap_or_else(|e| Finding::Unreadable(e.to_string()));
        // An unreadable file has no status of its own: nothing is known of its bytes.
        if finding.status().is_some_and(|status| status != recorded) {
            scrub::record(store, *hash, finding.clone(), now).await?;
        }
        match finding {
            Finding::Whole => Ok(store.blobs().path_of(hash)),
            Finding::Missing => Err(damaged(hash, "its bytes are gone; the clinic is asked for it again")),
            Finding::Corrupt(_) => Err(damaged(
                hash,
                "its bytes are not those that were received; the clinic is asked for it again",
            )),
            Finding::Unreadable(_) => {
                Err(damaged(hash, "the county's disk does not give its bytes just now"))
            }
        }
    }

    /// Reads the file through unless it stands as it was when it was last read. Blocks.
    fn look(&self, store: &Store, hash: ObjectHash) -> Finding {
        let path = store.blobs().path_of(&hash);
        let stamp = match std::fs::metadata(&path) {
            Ok(meta) => Stamp::of(&meta),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Finding::Missing,
            Err(error) => return Finding::Unreadable(error.to_string()),
        };
        if let Some((then, finding)) = self.remembered().found.get(&hash)
            && *then == stamp
        {
            return finding.clone();
        }
        let finding = match store.blobs().check(&hash) {
            Ok(()) => Finding::Whole,
            Err(BlobError::Absent(_)) => Finding::Missing,
            Err(BlobError::Digest { found, .. }) => Finding::Corrupt(format!("BLAKE3 {found}")),
            Err(error @ BlobError::Disk { .. }) => Finding::Unreadable(error.to_string()),
        };
        if matches!(finding, Finding::Whole | Finding::Corrupt(_)) {
            self.remembered().put(hash, stamp, finding.clone());
        }
        finding
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, Remembered> {
        self.0.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn damaged(hash: &ObjectHash, reason: &str) -> Refusal {
    Refusal::new(Code::Damaged, format!("object {hash}"), reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::samples::{Film, Lab, NOW, manifest, overwrite, plain};
    use relay_core::study::Class;

    async fn status(lab: &Lab) -> String {
        sqlx::query_scalar("SELECT status FROM location")
            .fetch_one(&mut *lab.store.read().await.unwrap())
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn a_film_that_was_patched_on_the_disk_is_named_and_recorded_and_a_mended_one_is_shown_again() {
        let lab = Lab::new().await;
        let bytes = Film::default().bytes();
        lab.deliver("a", &manifest(Class::Routine, vec![plain(&bytes)]), &[&bytes]).await;
        let (whole, hash) = (Whole::default(), ObjectHash::of(&bytes));
        let path = whole.path(&lab.store, &hash, "ok", NOW).await.unwrap();
        let mut patched = bytes.clone();
        *patched.last_mut().unwrap() ^= 1;
        overwrite(&path, patched);
        let refusal = whole.path(&lab.store, &hash, "ok", NOW).await.unwrap_err();
        assert_eq!(refusal.code, Code::Damaged);
        assert!(refusal.field.contains(&hash.to_hex()), "{refusal}");
        assert_eq!(status(&lab).await, "corrupt");
        overwrite(&path, bytes);
        assert!(whole.path(&lab.store, &hash, "corrupt", NOW).await.is_ok());
        assert_eq!(status(&lab).await, "ok");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(whole.path(&lab.store, &hash, "ok", NOW).await.unwrap_err().code, Code::Damaged);
        assert_eq!(status(&lab).await, "missing");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut remembered, stamp) =
            (Remembered::default(), Stamp { inode: 1, length: 1, modified: (0, 0), changed: (0, 0) });
        for n in 0..MAX_REMEMBERED as u64 + 10 {
            remembered.put(ObjectHash::of(&n.to_be_bytes()), stamp, Finding::Whole);
        }
        assert_eq!((remembered.found.len(), remembered.order.len()), (MAX_REMEMBERED, MAX_REMEMBERED));
    }
}

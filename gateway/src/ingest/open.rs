//! Unfinished objects that are being written. One state for each, shared by every writer of the same bytes, so that two
//! connections of one agent (the old one not yet timed out) cannot disturb each other.

use super::ranges::Ranges;
use super::record;
use crate::link::ports::ObjectReceipt;
use crate::store::{Columns, Store, StoreError};
use relay_core::codes::{Code, Refusal};
use relay_core::durable::Partial;
use relay_core::ids::{ClinicId, ObjectHash, StudyUid};
use relay_core::study::ManifestObject;
use sqlx::SqliteConnection;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use tokio::sync::Mutex;

/// Idle unfinished objects remembered in memory; older ones fall back to their last sync.
const MAX_REMEMBERED: usize = 512;

/// One unfinished object.
#[derive(Debug, Default)]
pub(super) struct Unfinished {
    /// What only one writer at a time may touch; held over the hashing of the whole object.
    pub(super) state: Mutex<PartialState>,
    /// Written, as this process knows it. Apart from the state: whoever asks what is missing waits for no disk.
    written: std::sync::Mutex<Ranges>,
}

impl Unfinished {
    fn ranges(&self) -> std::sync::MutexGuard<'_, Ranges> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is written.
    pub(super) fn written(&self) -> Ranges {
        self.ranges().clone()
    }

    /// Notes a written range.
    pub(super) fn wrote(&self, range: std::ops::Range<u64>) {
        self.ranges().insert(range);
    }

    /// Nothing is here any more.
    pub(super) fn lost(&self) {
        *self.ranges() = Ranges::default();
    }
}

/// The part of an unfinished object that one writer at a time touches.
#[derive(Debug, Default)]
pub(super) struct PartialState {
    /// The open file; `None` before the first byte and while a blocking task holds it.
    pub(super) file: Option<Partial>,
    /// Bytes written since the last sync.
    pub(super) unsynced: u64,
    /// What became of it.
    pub(super) done: Option<Result<ObjectReceipt, Refusal>>,
}

pub(super) type Shared = Arc<Unfinished>;
type Key = (ClinicId, ObjectHash);
/// For which object of which study the bytes come.
type Owner = (StudyUid, ObjectHash);

#[derive(Debug, Default)]
pub(super) struct OpenPartials(std::sync::Mutex<BTreeMap<Key, (Owner, Shared)>>);

/// File name of a partial: from clinic and coded hash, never from a peer's text.
pub(super) fn name_of(clinic: &ClinicId, object: &ManifestObject) -> String {
    partial_name(clinic.as_str(), &object.coded.hash.0)
}

/// File name of the partial that a row names.
pub(crate) fn partial_name(clinic: &str, coded_hash: &[u8]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"relay partial v1\0").update(clinic.as_bytes()).update(b"\0").update(coded_hash);
    hasher.finalize().to_hex().to_string()
}

impl OpenPartials {
    fn find(&self, key: &Key) -> Option<(Owner, Shared)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// What is here of the object, without opening it.
    pub(super) async fn peek(
        &self,
        store: &Store,
        reader: &mut SqliteConnection,
        clinic: &ClinicId,
        object: &ManifestObject,
    ) -> Result<Ranges, StoreError> {
        if let Some((_, shared)) = self.find(&(clinic.clone(), object.coded.hash)) {
            return Ok(shared.written());
        }
        synced(store, reader, clinic, object).await
    }

    /// The shared state of the object, read from the store when nobody holds it.
    pub(super) async fn open(
        &self,
        store: &Store,
        reader: &mut SqliteConnection,
        clinic: &ClinicId,
        study: &StudyUid,
        object: &ManifestObject,
    ) -> Result<Shared, StoreError> {
        let (key, owner) = ((clinic.clone(), object.coded.hash), (study.clone(), object.hash));
        match self.find(&key) {
            Some((of, shared)) if of == owner => return Ok(shared),
            // The same coded bytes for something else: it must not have the other's receipt.
            Some((_, shared)) if Arc::strong_count(&shared) > 2 => {
                let reason = "these bytes are just arriving for another object; send again later";
                return Err(StoreError::refuse(Code::Busy, "object", reason));
            }
            Some(_) => self.close(clinic, object),
            None => {}
        }
        let done = match record::study_id(reader, clinic, study).await? {
            Some(id) => record::receipt(reader, id, &object.hash).await?.map(Ok),
            None => None,
        };
        let written = synced(store, reader, clinic, object).await?;
        let state = Mutex::new(PartialState { done, ..PartialState::default() });
        let fresh = Arc::new(Unfinished { state, written: std::sync::Mutex::new(written) });
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= MAX_REMEMBERED {
            // Nobody holds these; what was synced of them is in the table.
            open.retain(|_, (_, shared)| Arc::strong_count(shared) > 1);
        }
        let (of, shared) = open.entry(key).or_insert((owner.clone(), fresh));
        if *of != owner {
            return Err(StoreError::refuse(
                Code::Busy,
                "object",
                "these bytes are just arriving for another object",
            ));
        }
        Ok(Arc::clone(shared))
    }

    /// Forgets an object that is finished; writers that still hold its state read `done`.
    pub(super) fn close(&self, clinic: &ClinicId, object: &ManifestObject) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(&(clinic.clone(), object.coded.hash));
    }
}

/// What the table says was synced, cut to what the file can hold.
async fn synced(
    store: &Store,
    reader: &mut SqliteConnection,
    clinic: &ClinicId,
    object: &ManifestObject,
) -> Result<Ranges, StoreError> {
    let row = sqlx::query("SELECT ranges FROM partial WHERE clinic = $1 AND coded_hash = $2")
        .bind(clinic.as_str())
        .bind(&object.coded.hash.0[..])
        .fetch_optional(reader)
        .await
        .map_err(StoreError::database("read a partial"))?;
    let Some(row) = row else { return Ok(Ranges::default()) };
    let key = object.coded.hash.to_hex();
    let ranges: Ranges = Columns::of(&row, "partial", &key).json("ranges")?;
    let path = store.blobs().partial_path(&name_of(clinic, object));
    let length = tokio::fs::metadata(path).await.map_or(0, |m| m.len());
    Ok(ranges.cut(length))
}

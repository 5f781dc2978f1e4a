//! Unfinished objects that are being written. One state for each, shared by every writer of the same bytes, so that two
//! connections of one agent (the old one not yet timed out) cannot disturb each other.

use super::ranges::Ranges;
use crate::link::ports::ObjectReceipt;
use crate::store::{Columns, Store, StoreError, signed};
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

    /// What is here of the object, without opening it; `synced` is what the table says of it.
    pub(super) async fn peek(
        &self,
        store: &Store,
        clinic: &ClinicId,
        object: &ManifestObject,
        synced: Option<Ranges>,
    ) -> Ranges {
        match self.find(&(clinic.clone(), object.coded.hash)) {
            Some((_, shared)) => shared.written(),
            None => on_disk(store, clinic, object, synced).await,
        }
    }

    /// The shared state of the object; `before` counts when nobody holds it.
    pub(super) async fn open(
        &self,
        store: &Store,
        clinic: &ClinicId,
        study: &StudyUid,
        object: &ManifestObject,
        before: Before,
    ) -> Result<Shared, StoreError> {
        let (key, owner) = ((clinic.clone(), object.coded.hash), (study.clone(), object.hash));
        match self.find(&key) {
            // What is remembered and written by nobody may be older than what the store says now: an object that was
            // stored and has been lost since must not be answered with its old receipt.
            Some((of, shared))
                if of == owner && Arc::strong_count(&shared) == 2 && before.receipt.is_none() =>
            {
                if shared.state.try_lock().is_ok_and(|state| state.done.is_none()) {
                    return Ok(shared);
                }
                self.close(clinic, object);
            }
            Some((of, shared)) if of == owner => return Ok(shared),
            // The same coded bytes for something else: it must not have the other's receipt.
            Some((_, shared)) if Arc::strong_count(&shared) > 2 => {
                let reason = "these bytes are just arriving for another object; send again later";
                return Err(StoreError::refuse(Code::Busy, "object", reason));
            }
            Some(_) => self.close(clinic, object),
            None => {}
        }
        let done = before.receipt.map(Ok);
        let written = on_disk(store, clinic, object, before.synced).await;
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

/// What the store knows of an object before its bytes come.
pub(super) struct Before {
    receipt: Option<ObjectReceipt>,
    synced: Option<Ranges>,
}

/// Bytes are taken only for an object that a manifest has named with exactly this form.
pub(super) async fn before(
    reader: &mut SqliteConnection,
    clinic: &ClinicId,
    study: &StudyUid,
    object: &ManifestObject,
) -> Result<Before, Refusal> {
    let row = sqlx::query(
        "SELECT o.sha256, o.stored_at, p.ranges FROM announced a JOIN study s ON s.id = a.study_id
         LEFT JOIN location l ON l.hash = a.hash AND l.status = 'ok'
         LEFT JOIN object o ON o.study_id = s.id AND o.hash = l.hash
         LEFT JOIN partial p ON p.clinic = s.clinic AND p.coded_hash = a.coded_hash
         WHERE s.clinic = $1 AND s.uid = $2 AND a.hash = $3 AND a.length = $4
           AND a.coded_length = $5 AND a.coded_hash = $6 AND a.coded_encoding = $7",
    )
    .bind(clinic.as_str())
    .bind(study.as_str())
    .bind(&object.hash.0[..])
    .bind(signed(object.length)?)
    .bind(signed(object.coded.length)?)
    .bind(&object.coded.hash.0[..])
    .bind(object.coded.encoding.word())
    .fetch_optional(reader)
    .await
    .map_err(StoreError::database("find an announced object"))?;
    let reason = "no manifest of this study names this object in this form";
    let row = row.ok_or_else(|| Refusal::new(Code::RefusedUnannounced, "object", reason))?;
    let key = object.hash.to_hex();
    let c = Columns::of(&row, "object", &key);
    let receipt = match c.time_or_none("stored_at")? {
        Some(stored_at) => Some(ObjectReceipt { hash: object.hash, sha256: c.sha256("sha256")?, stored_at }),
        None => None,
    };
    let synced = match c.get::<Option<String>>("ranges")? {
        Some(_) => Some(c.json("ranges")?),
        None => None,
    };
    Ok(Before { receipt, synced })
}

/// What the table says was synced, cut to what the file can hold.
async fn on_disk(
    store: &Store,
    clinic: &ClinicId,
    object: &ManifestObject,
    synced: Option<Ranges>,
) -> Ranges {
    let Some(ranges) = synced else { return Ranges::default() };
    let path = store.blobs().partial_path(&name_of(clinic, object));
    let length = tokio::fs::metadata(path).await.map_or(0, |m| m.len());
    ranges.cut(length)
}

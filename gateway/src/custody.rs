//! The county as the link listener sees it.

use crate::ingest::{self, Ingest, ensure_clinic};
use crate::link::ports::{Custody, ObjectState, ObjectWriter};
use crate::returns::Returns;
use crate::store::{Columns, NewEvent, Store, StoreError, event, one_row, signed};
use async_trait::async_trait;
use bytes::Bytes;
use relay_core::clock::{SECOND_MS, UtcMs};
use relay_core::codes::Refusal;
use relay_core::ids::{ClinicId, LetterId, ObjectHash, StudyUid};
use relay_core::letter::{LetterHead, Note};
use relay_core::sla::SlaPolicy;
use relay_core::study::{Manifest, ManifestObject};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use tokio::sync::watch;

/// A heartbeat is written at most this often for a clinic; a change of online is written at once.
const HEARD_EVERY_MS: i64 = 15 * SECOND_MS;
/// A measured offset that moved by more than this is written at once.
const OFFSET_STEP_MS: i64 = SECOND_MS;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Heard {
    online: bool,
    at: UtcMs,
    offset_ms: Option<i64>,
}

/// Ingest, returns and presence behind one port.
#[derive(Debug)]
pub struct County {
    store: Store,
    ingest: Ingest,
    returns: Returns,
    heard: Mutex<BTreeMap<ClinicId, Heard>>,
}

impl County {
    /// The port over its parts.
    #[must_use]
    pub const fn new(store: Store, ingest: Ingest, returns: Returns) -> Self {
        Self { store, ingest, returns, heard: Mutex::new(BTreeMap::new()) }
    }

    /// Whether this hearing must be written; remembers it if so.
    fn news(&self, clinic: &ClinicId, now: Heard) -> Option<Option<Heard>> {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let before = heard.get(clinic).copied();
        let offset_moved = |b: &Heard| match (b.offset_ms, now.offset_ms) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(b), Some(n)) => b.abs_diff(n) > OFFSET_STEP_MS.unsigned_abs(),
        };
        let quiet = before.as_ref().is_some_and(|b| {
            b.online == now.online && now.at.since(b.at) < HEARD_EVERY_MS && !offset_moved(b)
        });
        if quiet {
            return None;
        }
        let offset_ms = now.offset_ms.or_else(|| before.and_then(|b| b.offset_ms));
        heard.insert(clinic.clone(), Heard { offset_ms, ..now });
        Some(before)
    }
}

async fn record_heard(
    tx: &mut sqlx::SqliteConnection,
    policy: &SlaPolicy,
    clinic: &ClinicId,
    heard: Heard,
    changed: bool,
) -> Result<(), StoreError> {
    ensure_clinic(tx, clinic, heard.at).await?;
    let done = sqlx::query(
        "UPDATE clinic SET online = $2, heard_at = $3,
             silent_since = CASE WHEN $2 THEN NULL ELSE silent_since END
         WHERE id = $1",
    )
    .bind(clinic.as_str())
    .bind(heard.online)
    .bind(heard.at.0)
    .execute(&mut *tx)
    .await
    .map_err(StoreError::database("record that a clinic was heard"))?;
    one_row(&done, "clinic", clinic)?;
    if let Some(offset_ms) = heard.offset_ms {
        ingest::clock_measured(tx, policy, clinic, offset_ms, heard.at).await?;
    }
    if !changed {
        return Ok(());
    }
    let new = NewEvent {
        at: heard.at,
        actor: clinic.as_str(),
        kind: if heard.online { "clinic.online" } else { "clinic.offline" },
        subject: clinic.to_string(),
        clinic: Some(clinic),
        study_id: None,
        work_item: None,
        class: None,
        body: json!({ "clock_offset_ms": heard.offset_ms }),
    };
    event::append(tx, new).await.map(|_| ())
}

#[async_trait]
impl Custody for County {
    async fn seen(&self, clinic: &ClinicId, online: bool, clock_offset_ms: Option<i64>, now: UtcMs) {
        let heard = Heard { online, at: now, offset_ms: clock_offset_ms };
        let Some(before) = self.news(clinic, heard) else { return };
        let changed = before.is_none_or(|b| b.online != online);
        let (owned, policy) = (clinic.clone(), self.ingest.policy());
        let written = self
            .store
            .write(move |tx| {
                Box::pin(async move {
                    record_heard(tx, &policy, &owned, heard, changed).await?;
                    if changed && online { crate::returns::connected(tx, &owned, now).await } else { Ok(()) }
                })
            })
            .await;
        if let Err(error) = written {
            tracing::warn!(%clinic, error = &error as &dyn std::error::Error, "recording presence");
            self.heard.lock().unwrap_or_else(PoisonError::into_inner).remove(clinic);
        }
    }

    async fn offered(
        &self,
        clinic: &ClinicId,
        manifest: &Manifest,
        now: UtcMs,
    ) -> Result<Vec<ObjectState>, Refusal> {
        self.ingest.offered(clinic, manifest, now).await
    }

    async fn open_writer(
        &self,
        clinic: &ClinicId,
        study: &StudyUid,
        object: &ManifestObject,
        offset: u64,
    ) -> Result<Box<dyn ObjectWriter>, Refusal> {
        self.ingest.open_writer(clinic, study, object, offset).await
    }

    async fn pending_letters(
        &self,
        clinic: &ClinicId,
        limit: usize,
        now: UtcMs,
    ) -> Result<Vec<LetterHead>, Refusal> {
        self.returns.pending(clinic, limit, now).await
    }

    async fn damaged(&self, clinic: &ClinicId, limit: usize) -> Result<Vec<(StudyUid, ObjectHash)>, Refusal> {
        let mut tx = self.store.read().await?;
        let rows = sqlx::query(
            "SELECT s.uid, o.hash FROM location l JOIN object o ON o.hash = l.hash JOIN study s ON s.id = o.study_id
             WHERE l.status <> 'ok' AND o.clinic = $1 ORDER BY s.id, o.id LIMIT $2",
        )
        .bind(clinic.as_str())
        .bind(signed(limit)?)
        .fetch_all(&mut *tx)
        .await
        .map_err(StoreError::database("read damaged objects"))?;
        let place = |row| {
            let c = Columns::of(row, "object", "?");
            Ok((c.parsed("uid")?, c.hash("hash")?))
        };
        rows.iter().map(place).collect()
    }

    async fn letter_delayed(
        &self,
        clinic: &ClinicId,
        id: &LetterId,
        refusal: &Refusal,
        now: UtcMs,
    ) -> Result<(), Refusal> {
        self.returns.delayed(clinic, id, refusal, now).await
    }

    fn letter_changes(&self) -> watch::Receiver<u64> {
        self.returns.changes()
    }

    async fn letter_body(&self, clinic: &ClinicId, id: &LetterId, now: UtcMs) -> Result<Bytes, Refusal> {
        self.returns.body(clinic, id, now).await
    }

    async fn letter_receipted(
        &self,
        clinic: &ClinicId,
        id: &LetterId,
        stored_at: UtcMs,
        now: UtcMs,
    ) -> Result<(), Refusal> {
        self.returns.receipted(clinic, id, stored_at, now).await
    }

    async fn letter_refused(
        &self,
        clinic: &ClinicId,
        id: &LetterId,
        refusal: &Refusal,
        now: UtcMs,
    ) -> Result<(), Refusal> {
        self.returns.refused(clinic, id, refusal, now).await
    }

    async fn note(
        &self,
        clinic: &ClinicId,
        note: &Note,
        device_certificate: &[u8],
        now: UtcMs,
    ) -> Result<(), Refusal> {
        self.returns.note(clinic, note, device_certificate, now).await
    }
}

#[cfg(test)]
mod tests;

//! A work item between its row and the rules of `relay_core::work_item`.

use crate::store::{Columns, NewEvent, Scope, StoreError, one_row, signed};
use relay_core::clock::UtcMs;
use relay_core::codes::Code;
use relay_core::ids::{ClinicId, PersonId, StudyUid};
use relay_core::study::{Class, Kind};
use relay_core::work_item::{Lease, WorkItem};
use sqlx::SqliteConnection;

/// A work item with the study it belongs to.
#[derive(Debug, Clone)]
pub struct StoredItem {
    /// Row of `work_item`.
    pub id: i64,
    /// Row of `study`.
    pub study_id: i64,
    /// The clinic that sent the study.
    pub clinic: ClinicId,
    /// Its StudyInstanceUID.
    pub study_uid: StudyUid,
    /// Kind.
    pub kind: Kind,
    /// The rule-bearing part.
    pub item: WorkItem,
}

impl StoredItem {
    /// Urgency.
    #[must_use]
    pub const fn class(&self) -> Class {
        self.item.class
    }

    /// An event about this item.
    #[must_use]
    pub const fn event<'a>(
        &'a self,
        actor: &'a str,
        kind: &'static str,
        subject: String,
        body: serde_json::Value,
        now: UtcMs,
    ) -> NewEvent<'a> {
        NewEvent {
            at: now,
            actor,
            kind,
            subject,
            clinic: Some(&self.clinic),
            study_id: Some(self.study_id),
            work_item: Some(self.id),
            class: Some(self.item.class),
            body,
        }
    }

    /// How events name its study.
    #[must_use]
    pub fn study_key(&self) -> String {
        format!("{}/{}", self.clinic, self.study_uid)
    }

    /// The same row after a transition.
    #[must_use]
    pub fn with(&self, item: WorkItem) -> Self {
        Self { item, ..self.clone() }
    }
}

/// Loads an item that the scope may see.
///
/// # Errors
/// `NOT_FOUND` when there is none in scope; [`StoreError`].
pub async fn load(tx: &mut SqliteConnection, scope: &Scope, id: i64) -> Result<StoredItem, StoreError> {
    let row = sqlx::query(
        "SELECT w.study_id, w.state, w.lease_holder, w.lease_claimed_at, w.lease_expires_at, w.lease_epoch, w.author,
           w.awaits_audit, s.clinic, s.uid, s.kind, s.class,
           EXISTS (SELECT 1 FROM draft d WHERE d.work_item = w.id) AS has_draft
         FROM work_item w JOIN study s ON s.id = w.study_id
         WHERE w.id = $1 AND ($2 IS NULL OR s.clinic IN (SELECT value FROM json_each($2)))",
    )
    .bind(id)
    .bind(scope.bind())
    .fetch_optional(tx)
    .await
    .map_err(StoreError::database("read a work item"))?
    .ok_or_else(|| StoreError::refuse(Code::NotFound, "work_item", "no such item for this reader"))?;
    let key = id.to_string();
    let c = Columns::of(&row, "work_item", &key);
    let holder: Option<PersonId> = c.parsed_or_none("lease_holder")?;
    let lease = match holder {
        None => None,
        Some(holder) => Some(Lease {
            holder,
            claimed_at: c.time("lease_claimed_at")?,
            expires_at: c.time("lease_expires_at")?,
        }),
    };
    Ok(StoredItem {
        id,
        study_id: c.get("study_id")?,
        clinic: c.parsed("clinic")?,
        study_uid: c.parsed("uid")?,
        kind: c.parsed("kind")?,
        item: WorkItem {
            state: c.parsed("state")?,
            class: c.parsed("class")?,
            lease,
            epoch: c.unsigned("lease_epoch")?,
            author: c.parsed_or_none("author")?,
            has_draft: c.get("has_draft")?,
            awaits_audit: c.get("awaits_audit")?,
        },
    })
}

/// Writes state, lease, epoch and author back. Draft and versions have rows of their own.
///
/// # Errors
/// [`StoreError`].
pub async fn save(tx: &mut SqliteConnection, stored: &StoredItem, now: UtcMs) -> Result<(), StoreError> {
    let lease = stored.item.lease.as_ref();
    let done = sqlx::query(
        "UPDATE work_item SET state_at = CASE WHEN state = $2 THEN state_at ELSE max($3, state_at + 1) END, state = $2,
           lease_holder = $4, lease_claimed_at = $5, lease_expires_at = $6, lease_epoch = $7, author = $8,
           awaits_audit = $9,
           closed_at = CASE WHEN $2 = 'closed' THEN coalesce(closed_at, $3) ELSE NULL END
         WHERE id = $1",
    )
    .bind(stored.id)
    .bind(stored.item.state.word())
    .bind(now.0)
    .bind(lease.map(|l| l.holder.as_str()))
    .bind(lease.map(|l| l.claimed_at.0))
    .bind(lease.map(|l| l.expires_at.0))
    .bind(signed(stored.item.epoch)?)
    .bind(stored.item.author.as_ref().map(PersonId::as_str))
    .bind(stored.item.awaits_audit)
    .execute(tx)
    .await
    .map_err(StoreError::database("write a work item"))?;
    one_row(&done, "work_item", stored.id)
}

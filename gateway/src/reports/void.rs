//! 作废: signed versions that may not be used any more. The clinic is told by a letter of its own; their signatures stay as
//! they are, and a later version of the same report stands.

use super::letter::{Body, numbered, post};
use super::text::put_text;
use super::versions;
use crate::queue::{self, StoredItem};
use crate::store::{Scope, Store, StoreError, event, signed};
use relay_core::clock::UtcMs;
use relay_core::codes::{Code, Refusal};
use relay_core::ids::ReportId;
use relay_core::letter::{LetterKind, ReportVoid};
use sqlx::SqliteConnection;
use viewer_api::desk::Reader;

/// What is to be withdrawn; the letter's body is durable already.
pub(super) struct Withdrawal {
    /// Newest signed version of the item when it was read.
    seen: Option<u32>,
    /// Report, its newest version, the reason, the letter's body; `None` when nothing that stands is signed.
    what: Option<(ReportId, u32, String, Body)>,
}

impl Withdrawal {
    /// Prepares the withdrawal of every signed version of an item.
    ///
    /// # Errors
    /// `NOT_FOUND`; storage refusals.
    pub(super) async fn of_item(
        store: &Store,
        scope: &Scope,
        item: i64,
        reader: &Reader,
        reason: &str,
        now: UtcMs,
    ) -> Result<Self, Refusal> {
        let mut read = store.read().await?;
        let stored = queue::load(&mut read, scope, item).await?;
        let newest = versions(&mut read, stored.study_id).await?.pop();
        drop(read);
        let seen = newest.as_ref().map(|v| v.version);
        let Some(newest) = newest.filter(|v| v.voided.is_none()) else {
            return Ok(Self { seen, what: None });
        };
        let void = ReportVoid {
            clinic: stored.clinic,
            report: newest.report,
            through_version: newest.version,
            reason: reason.to_owned(),
            by_name: reader.name.clone(),
            at: now,
        };
        let body = Body::of(store, &void).await?;
        Ok(Self { seen, what: Some((void.report, void.through_version, void.reason, body)) })
    }

    /// Withdraws; says whether there was something to withdraw. Part of the caller's transaction.
    ///
    /// # Errors
    /// `STATE_CONFLICT` when a version was signed meanwhile; [`StoreError`].
    pub(super) async fn apply(
        &self,
        tx: &mut SqliteConnection,
        stored: &StoredItem,
        reader: &Reader,
        now: UtcMs,
    ) -> Result<bool, StoreError> {
        let newest = versions(tx, stored.study_id).await?.pop().map(|v| v.version);
        if newest != self.seen {
            let reason = "a version was signed meanwhile; look at it, then correct";
            return Err(StoreError::refuse(Code::StateConflict, "report", reason));
        }
        let Some((report, through, reason, body)) = &self.what else { return Ok(false) };
        let letter = numbered(tx, "void", stored.study_id, i64::from(*through)).await?;
        post(tx, &letter, LetterKind::ReportVoid, stored, *body, now).await?;
        let words = serde_json::json!({ "text": reason });
        let text_id = put_text(tx, stored.study_id, "void", &words, now).await?;
        sqlx::query(
            "INSERT INTO report_void (report, through_version, text_id, by_person, by_name, at, letter)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(report.as_str())
        .bind(signed(*through)?)
        .bind(text_id)
        .bind(reader.id.as_str())
        .bind(&reader.name)
        .bind(now.0)
        .bind(letter.as_str())
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database("withdraw a report"))?;
        let facts = serde_json::json!({ "through_version": through, "letter": letter });
        let (by, subject) = (reader.id.as_str(), format!("{report}/{through}"));
        event::append(tx, stored.event(by, "report.voided", subject, facts, now)).await?;
        Ok(true)
    }
}

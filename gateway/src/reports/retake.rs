//! 退回: a study goes back to the clinic with a reason; the county's clock stands still meanwhile.

use super::letter::{Body, numbered, post};
use super::text::put_text;
use crate::queue;
use crate::sla::{self, kinds};
use crate::store::{Scope, Store, StoreError, event};
use relay_core::clock::UtcMs;
use relay_core::codes::{Code, Refusal};
use relay_core::letter::{LetterKind, RetakeRequest};
use relay_core::sla::SlaPolicy;
use std::sync::Arc;
use viewer_api::desk::Reader;

/// Reasons a reader may give.
pub const REASONS: [&str; 7] =
    ["position", "exposure", "motion", "wrong_patient", "lead_off", "incomplete", "other"];
/// Characters of the words that go with the reason.
const MAX_TEXT_CHARS: usize = 1_000;

/// What the reader asks for.
#[derive(Debug, Clone)]
pub struct Retake {
    /// One of [`REASONS`].
    pub reason: String,
    /// What to do, in words.
    pub text: String,
    /// Fencing epoch of the reader's lease.
    pub epoch: u64,
}

/// Sends the study back: state, letter and event in one transaction.
///
/// # Errors
/// `FIELD_INVALID`, `LEASE_LOST`, `STATE_CONFLICT`, `NOT_FOUND`; storage refusals.
pub async fn request_retake(
    store: &Store,
    policy: Arc<SlaPolicy>,
    scope: Scope,
    reader: &Reader,
    item: i64,
    retake: Retake,
    now: UtcMs,
) -> Result<(), Refusal> {
    if !REASONS.contains(&retake.reason.as_str()) {
        let reason = format!("{:?} is none of {}", retake.reason, REASONS.join(", "));
        return Err(Refusal::new(Code::FieldInvalid, "reason", reason));
    }
    let chars = retake.text.chars().count();
    if retake.text.trim().is_empty() || chars > MAX_TEXT_CHARS {
        let reason = format!("1 to {MAX_TEXT_CHARS} characters are needed, not {chars}");
        return Err(Refusal::new(Code::FieldInvalid, "text", reason));
    }
    let request = RetakeRequest {
        reason: retake.reason.clone(),
        text: retake.text.clone(),
        asked_by_name: reader.name.clone(),
        asked_at: now,
    };
    let body = Body::of(store, &request).await?;
    let reader = reader.clone();
    store
        .write(move |tx| {
            Box::pin(async move {
                let before = queue::load(tx, &scope, item).await?;
                let stored =
                    before.with(before.item.clone().request_retake(&reader.id, retake.epoch, now)?);
                queue::save(tx, &stored, now).await?;
                let words = serde_json::json!({ "text": retake.text });
                let text_id = put_text(tx, stored.study_id, "retake", &words, now).await?;
                let count: i64 = sqlx::query_scalar("SELECT count(*) FROM retake WHERE study_id = $1")
                    .bind(stored.study_id)
                    .fetch_one(&mut *tx)
                    .await
                    .map_err(StoreError::database("count retake requests"))?;
                let id = numbered(tx, "retake", stored.study_id, count + 1).await?;
                post(tx, &id, LetterKind::RetakeRequest, &stored, body, now).await?;
                sqlx::query(
                    "INSERT INTO retake (study_id, reason, text_id, asked_by, asked_by_name, asked_at, letter)
                     VALUES ($1, $2, $3, $4, $5, $6, $7)",
                )
                .bind(stored.study_id)
                .bind(&retake.reason)
                .bind(text_id)
                .bind(reader.id.as_str())
                .bind(&reader.name)
                .bind(now.0)
                .bind(id.as_str())
                .execute(&mut *tx)
                .await
                .map_err(StoreError::database("store a retake request"))?;
                let facts = serde_json::json!({ "reason": retake.reason });
                let kind = kinds::RETAKE_REQUESTED;
                event::append(tx, stored.event(reader.id.as_str(), kind, id.to_string(), facts, now)).await?;
                sla::refresh(tx, &policy, stored.study_id).await
            })
        })
        .await?;
    Ok(())
}

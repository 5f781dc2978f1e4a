//! Drafts: saved under the lease's epoch, each save naming the one it replaces, so that no word is lost unseen.

use super::text::{put_text, replace_text, text_of};
use crate::queue::{self, StoredItem};
use crate::store::{Columns, Scope, StoreError, event, signed};
use relay_core::clock::UtcMs;
use relay_core::codes::Code;
use relay_core::ids::PersonId;
use relay_report::limits::{MAX_FINDINGS_CHARS, MAX_OPINION_CHARS};
use sqlx::SqliteConnection;
use viewer_api::desk::{Draft, DraftText};

/// The draft of an item, if there is one.
///
/// # Errors
/// [`StoreError`].
pub async fn load_draft(tx: &mut SqliteConnection, item: i64) -> Result<Option<Draft>, StoreError> {
    let found = sqlx::query("SELECT text_id, revision, author, saved_at FROM draft WHERE work_item = $1")
        .bind(item)
        .fetch_optional(&mut *tx)
        .await
        .map_err(StoreError::database("read a draft"))?;
    let Some(row) = found else { return Ok(None) };
    let key = item.to_string();
    let c = Columns::of(&row, "draft", &key);
    let (revision, author, saved_at) = (c.unsigned("revision")?, c.parsed("author")?, c.time("saved_at")?);
    let text = text_of(tx, c.get("text_id")?).await?;
    Ok(Some(Draft { text, revision, saved_at, author }))
}

pub(super) fn check_text(text: &DraftText) -> Result<(), StoreError> {
    // The lengths that paper holds; what it refuses besides is said at signing, and the draft stays.
    let fields = [
        ("findings", &text.findings, MAX_FINDINGS_CHARS),
        ("impression", &text.impression, MAX_OPINION_CHARS),
        ("advice", &text.advice, MAX_OPINION_CHARS),
    ];
    for (field, value, most) in fields {
        let chars = value.chars().count();
        if chars > most {
            let reason = format!("{chars} characters, at most {most} are lawful");
            return Err(StoreError::refuse(Code::FieldInvalid, field, reason));
        }
    }
    let one_of = |field: &str, value: &str, lawful: &[&str]| {
        if lawful.contains(&value) {
            return Ok(());
        }
        Err(StoreError::refuse(
            Code::FieldInvalid,
            field,
            format!("{value:?} is none of {}", lawful.join(", ")),
        ))
    };
    one_of("result", &text.result, &["", "positive", "negative", "undetermined"])?;
    one_of("ecg_class", &text.ecg_class, &["", "normal", "borderline", "suspicious", "abnormal"])
}

/// Saves a draft. `replaces` is the revision that the page last saw (0 = none): a draft changed elsewhere is a conflict,
/// never overwritten.
///
/// # Errors
/// `LEASE_LOST`, `STATE_CONFLICT`, `FIELD_INVALID`, `NOT_FOUND`; [`StoreError`].
#[expect(clippy::too_many_arguments, reason = "each is a fact of one save")]
pub async fn save_draft(
    tx: &mut SqliteConnection,
    scope: &Scope,
    item: i64,
    who: &PersonId,
    epoch: u64,
    replaces: u64,
    text: &DraftText,
    now: UtcMs,
) -> Result<Draft, StoreError> {
    check_text(text)?;
    let before = queue::load(tx, scope, item).await?;
    let stored = before.with(before.item.clone().draft_saved(who, epoch, now)?);
    let current = load_draft(tx, item).await?.map_or(0, |d| d.revision);
    if current != replaces {
        let reason = format!("the draft is at revision {current}, not {replaces}; load it first");
        return Err(StoreError::refuse(Code::StateConflict, "replaces", reason));
    }
    let draft = write_draft(tx, &stored, who, current + 1, text, now).await?;
    queue::save(tx, &stored, now).await?;
    let facts = serde_json::json!({ "revision": draft.revision });
    let saved = stored.event(who.as_str(), "report.drafted", stored.study_key(), facts, now);
    event::append(tx, saved).await?;
    Ok(draft)
}

async fn write_draft(
    tx: &mut SqliteConnection,
    stored: &StoredItem,
    who: &PersonId,
    revision: u64,
    text: &DraftText,
    now: UtcMs,
) -> Result<Draft, StoreError> {
    let text_id = put_draft(tx, stored, text, now).await?;
    sqlx::query(
        "INSERT INTO draft (work_item, text_id, revision, epoch, author, saved_at) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (work_item) DO UPDATE SET text_id = $2, revision = $3, epoch = $4, author = $5, saved_at = $6",
    )
    .bind(stored.id)
    .bind(text_id)
    .bind(signed(revision)?)
    .bind(signed(stored.item.epoch)?)
    .bind(who.as_str())
    .bind(now.0)
    .execute(tx)
    .await
    .map_err(StoreError::database("save a draft"))?;
    Ok(Draft { text: text.clone(), revision, saved_at: now, author: who.clone() })
}

/// Unsigned words are personal data without a use once they are replaced: only the newest are kept.
async fn put_draft(
    tx: &mut SqliteConnection,
    stored: &StoredItem,
    text: &DraftText,
    now: UtcMs,
) -> Result<i64, StoreError> {
    let before: Option<i64> = sqlx::query_scalar("SELECT text_id FROM draft WHERE work_item = $1")
        .bind(stored.id)
        .fetch_optional(&mut *tx)
        .await
        .map_err(StoreError::database("read a draft"))?;
    match before {
        Some(id) => replace_text(tx, id, text, now).await.map(|()| id),
        None => put_text(tx, stored.study_id, "draft", text, now).await,
    }
}

/// Closes a draft: it has become a version, which has the words.
///
/// # Errors
/// [`StoreError`].
pub(super) async fn close(tx: &mut SqliteConnection, stored: &StoredItem) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM draft WHERE work_item = $1")
        .bind(stored.id)
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database("close the draft"))?;
    sqlx::query("DELETE FROM report_text WHERE study_id = $1 AND purpose = 'draft'")
        .bind(stored.study_id)
        .execute(tx)
        .await
        .map(|_| ())
        .map_err(StoreError::database("forget the draft's words"))
}

//! Claiming, renewing, giving back; leases that end by themselves.

use super::attention;
use super::item::{StoredItem, load, save};
use super::list::order;
use crate::sla::{self, kinds};
use crate::store::{NewEvent, Scope, StoreError, event};
use relay_core::clock::UtcMs;
use relay_core::codes::Code;
use relay_core::ids::PersonId;
use relay_core::sla::SlaPolicy;
use relay_core::study::Kind;
use relay_core::work_item::{State, WorkItem};
use sqlx::{Row as _, SqliteConnection};

/// Candidates looked at for *next case*: the first few may have been taken a moment ago.
const NEXT_CANDIDATES: i64 = 20;
/// Leases ended in one transaction: a reconciler's step, not a night's backlog.
const EXPIRE_BATCH: i64 = 200;

fn work_event<'a>(stored: &'a StoredItem, actor: &'a str, kind: &'static str, now: UtcMs) -> NewEvent<'a> {
    let body = serde_json::json!({ "state": stored.item.state.word(), "epoch": stored.item.epoch });
    stored.event(actor, kind, stored.study_key(), body, now)
}

/// Claims an item: to read it, to audit it where `may_audit`, or, of a released report, to correct or add to it.
///
/// # Errors
/// `CLAIM_HELD`, `STATE_CONFLICT`, `REVIEWER_IS_AUTHOR`, `FORBIDDEN`, `NOT_FOUND`; [`StoreError`].
pub async fn claim(
    tx: &mut SqliteConnection,
    policy: &SlaPolicy,
    scope: &Scope,
    id: i64,
    (who, may_audit): (&PersonId, bool),
    now: UtcMs,
) -> Result<WorkItem, StoreError> {
    let before = load(tx, scope, id).await?;
    // A withdrawn version is not audited: it is signed anew. What came after the author's signature is the author's to add,
    // audited or not.
    let released = matches!(before.item.state, State::Audited | State::Closed)
        || before.item.state == State::Signed
            && (!before.item.awaits_audit
                || withdrawn(tx, &before).await?
                || before.item.author.as_ref() == Some(who) && attention::asked(tx, id).await?);
    let is_author = before.item.author.as_ref() == Some(who);
    if before.item.state == State::Signed && !released && !may_audit && !is_author {
        let reason = "it awaits the second signature, which is a reviewer's";
        return Err(StoreError::refuse(Code::Forbidden, "role", reason));
    }
    let item = before.item.clone();
    let item = if released { item.claim_released(who, now)? } else { item.claim(who, now)? };
    let fresh = item.epoch != before.item.epoch;
    let stored = before.with(item);
    save(tx, &stored, now).await?;
    if fresh {
        event::append(tx, work_event(&stored, who.as_str(), kinds::CLAIMED, now)).await?;
        sla::refresh(tx, policy, stored.study_id).await?;
    }
    Ok(stored.item)
}

/// True when the newest version of the item's report may not be used any more.
async fn withdrawn(tx: &mut SqliteConnection, stored: &StoredItem) -> Result<bool, StoreError> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM report r JOIN report_void d ON d.report = r.id WHERE r.study_id = $1
           AND d.through_version >= (SELECT max(v.version) FROM report_version v WHERE v.report = r.id))",
    )
    .bind(stored.study_id)
    .fetch_one(tx)
    .await
    .map_err(StoreError::database("look for a withdrawal"))
}

/// The most urgent open items of the scope, first the one to claim next.
///
/// # Errors
/// [`StoreError`].
pub async fn next_candidates(
    tx: &mut SqliteConnection,
    scope: &Scope,
    kinds_read: &[Kind],
    now: UtcMs,
) -> Result<Vec<i64>, StoreError> {
    let words: Vec<&str> = kinds_read.iter().map(|k| k.word()).collect();
    let sql = format!(
        "SELECT w.id FROM work_item w JOIN study s ON s.id = w.study_id
         WHERE w.state IN ('waiting', 'claimed', 'drafted')
           AND (w.lease_holder IS NULL OR w.lease_expires_at <= $1)
           AND s.kind IN (SELECT value FROM json_each($2))
           AND ($3 IS NULL OR s.clinic IN (SELECT value FROM json_each($3)))
         {} LIMIT $4",
        order("$1")
    );
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
        .bind(now.0)
        .bind(serde_json::json!(words).to_string())
        .bind(scope.bind())
        .bind(NEXT_CANDIDATES)
        .fetch_all(tx)
        .await
        .map_err(StoreError::database("look for the next case"))
}

/// Renews a lease after input.
///
/// # Errors
/// `LEASE_LOST`, `NOT_FOUND`; [`StoreError`].
pub async fn renew(
    tx: &mut SqliteConnection,
    scope: &Scope,
    id: i64,
    who: &PersonId,
    epoch: u64,
    now: UtcMs,
) -> Result<WorkItem, StoreError> {
    let before = load(tx, scope, id).await?;
    let stored = before.with(before.item.clone().renew(who, epoch, now)?);
    save(tx, &stored, now).await?;
    Ok(stored.item)
}

/// Gives an item back; the draft stays.
///
/// # Errors
/// `LEASE_LOST`, `NOT_FOUND`; [`StoreError`].
pub async fn release(
    tx: &mut SqliteConnection,
    scope: &Scope,
    id: i64,
    who: &PersonId,
    epoch: u64,
    now: UtcMs,
) -> Result<(), StoreError> {
    let before = load(tx, scope, id).await?;
    let stored = before.with(before.item.clone().release(who, epoch, now)?);
    save(tx, &stored, now).await?;
    event::append(tx, work_event(&stored, who.as_str(), "work.released", now)).await?;
    Ok(())
}

/// Ends every lease whose time is over. Idempotent; gives how many ended.
///
/// # Errors
/// [`StoreError`].
pub async fn expire_leases(tx: &mut SqliteConnection, now: UtcMs) -> Result<u64, StoreError> {
    let rows = sqlx::query(
        "SELECT id FROM work_item WHERE lease_holder IS NOT NULL AND lease_expires_at <= $1 ORDER BY id LIMIT $2",
    )
    .bind(now.0)
    .bind(EXPIRE_BATCH)
    .fetch_all(&mut *tx)
    .await
    .map_err(StoreError::database("look for ended leases"))?;
    let mut ended = 0;
    for row in rows {
        let id: i64 = row.get("id");
        let before = match load(tx, &Scope::County, id).await {
            Ok(before) => before,
            // A row that cannot be read is told; the other leases end.
            Err(error @ StoreError::Corrupt { .. }) => {
                tracing::error!(
                    work_item = id,
                    error = &error as &dyn std::error::Error,
                    "a lease cannot end"
                );
                continue;
            }
            Err(error) => return Err(error),
        };
        let holder = before.item.lease.as_ref().map(|l| l.holder.clone());
        if let (Some(item), Some(holder)) = (before.item.clone().expired(now), holder) {
            let stored = before.with(item);
            save(tx, &stored, now).await?;
            event::append(tx, work_event(&stored, holder.as_str(), "work.lease_ended", now)).await?;
            ended += 1;
        }
    }
    Ok(ended)
}

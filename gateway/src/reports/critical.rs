//! Critical notices: their own durable message, before any signature.

use super::letter::{Body, numbered, post};
use super::text::put_text;
use crate::queue;
use crate::store::{Columns, Scope, Store, StoreError, event};
use relay_core::clock::UtcMs;
use relay_core::codes::{Code, Refusal};
use relay_core::letter::{CriticalNotice, LetterKind};
use relay_core::sla::SlaPolicy;
use sqlx::SqliteConnection;
use viewer_api::desk::{CriticalState, RaiseCritical, Reader};

/// Characters of finding and advice.
const MAX_TEXT_CHARS: usize = 1_000;

fn check(raise: &RaiseCritical) -> Result<&'static str, Refusal> {
    let tier = match raise.code.as_bytes() {
        [b'E' | b'X', b'-', b'A', digits @ ..] if is_number(digits) => "A",
        [b'E' | b'X', b'-', b'B', digits @ ..] if is_number(digits) => "B",
        _ => {
            let reason = "a code of the critical-value list such as E-A01 or X-B02 is needed";
            return Err(Refusal::new(Code::FieldInvalid, "code", reason));
        }
    };
    if raise.finding.trim().is_empty() {
        return Err(Refusal::new(Code::FieldInvalid, "finding", "the finding is empty"));
    }
    for (field, text) in [("finding", Some(&raise.finding)), ("advice", raise.advice.as_ref())] {
        if text.is_some_and(|t| t.chars().count() > MAX_TEXT_CHARS) {
            return Err(Refusal::new(
                Code::FieldInvalid,
                field,
                format!("longer than {MAX_TEXT_CHARS} characters"),
            ));
        }
    }
    Ok(tier)
}

fn is_number(digits: &[u8]) -> bool {
    (1..=3).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
}

/// Raises a critical notice: the letter is in the outbox when this returns. Needs no lease: whoever sees it, says it.
///
/// # Errors
/// `FIELD_INVALID`, `NOT_FOUND`; storage refusals.
pub async fn raise_critical(
    store: &Store,
    scope: Scope,
    reader: &Reader,
    item: i64,
    raise: RaiseCritical,
    phone: Option<String>,
    now: UtcMs,
) -> Result<(), Refusal> {
    let tier = check(&raise)?;
    let mut read = store.read().await?;
    let stored = queue::load(&mut read, &scope, item).await?;
    let (_, row) = queue::by_item(&mut read, &scope, item).await?;
    drop(read);
    let notice = CriticalNotice {
        code: raise.code.clone(),
        tier: tier.to_owned(),
        finding: raise.finding.clone(),
        advice: raise.advice.clone(),
        clinic: stored.clinic.clone(),
        patient_name: row.patient.name,
        raised_by: reader.id.clone(),
        raised_by_name: reader.name.clone(),
        raised_at: now,
        phone,
    };
    let body = Body::of(store, &notice).await?;
    let reader = reader.clone();
    store
        .write(move |tx| {
            Box::pin(async move {
                let text = serde_json::json!({ "finding": raise.finding, "advice": raise.advice });
                let text_id = put_text(tx, stored.study_id, "critical", &text, now).await?;
                let count: i64 = sqlx::query_scalar("SELECT count(*) FROM critical WHERE study_id = $1")
                    .bind(stored.study_id)
                    .fetch_one(&mut *tx)
                    .await
                    .map_err(StoreError::database("count critical notices"))?;
                let id = numbered(tx, "crit", stored.study_id, count + 1).await?;
                post(tx, &id, LetterKind::CriticalNotice, &stored, body, now).await?;
                sqlx::query(
                    "INSERT INTO critical (study_id, code, tier, text_id, raised_by, raised_by_name, raised_at, letter)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                )
                .bind(stored.study_id)
                .bind(&raise.code)
                .bind(tier)
                .bind(text_id)
                .bind(reader.id.as_str())
                .bind(&reader.name)
                .bind(now.0)
                .bind(id.as_str())
                .execute(&mut *tx)
                .await
                .map_err(StoreError::database("store a critical notice"))?;
                let facts = serde_json::json!({ "code": raise.code, "tier": tier });
                let by = reader.id.as_str();
                event::append(tx, stored.event(by, "critical.raised", id.to_string(), facts, now)).await?;
                Ok(())
            })
        })
        .await?;
    Ok(())
}

/// Notices looked at in one round: a county's worst hour.
const ESCALATE_BATCH: i64 = 200;
/// Who is to be told next, by step, while nobody has read a notice back.
const LADDER: [&str; 3] = ["second_contact", "duty_chief", "county_emergency"];

/// A step of the ladder: its number, how long after the notice, who is told.
type Step = (i64, i64, &'static str);

fn ladder(policy: &SlaPolicy) -> Vec<Step> {
    (1..).zip(&policy.critical.escalate_ms).zip(LADDER).map(|((step, ms), to)| (step, *ms, to)).collect()
}

/// Notices that nobody has read back and of which a step may be due, the oldest first.
///
/// # Errors
/// [`StoreError`].
pub async fn unread(
    tx: &mut SqliteConnection,
    policy: &SlaPolicy,
    now: UtcMs,
) -> Result<Vec<i64>, StoreError> {
    let ladder = ladder(policy);
    let Some(first_ms) = ladder.first().map(|(_, ms, _)| *ms) else { return Ok(Vec::new()) };
    sqlx::query_scalar(
        "SELECT id FROM critical WHERE read_back_at IS NULL AND raised_at <= $1 AND escalated < $2
         ORDER BY escalated, raised_at LIMIT $3",
    )
    .bind(now.plus_ms(-first_ms).0)
    .bind(i64::try_from(ladder.len()).unwrap_or(i64::MAX))
    .bind(ESCALATE_BATCH)
    .fetch_all(tx)
    .await
    .map_err(StoreError::database("look for notices that nobody has read back"))
}

/// Takes the steps of the ladder that are due for a notice that nobody has read back: an event for each, which the pages of
/// the reading room ring for. Idempotent; a step is taken once, and late ones are taken together after an outage.
///
/// # Errors
/// [`StoreError`].
pub async fn escalate(
    tx: &mut SqliteConnection,
    policy: &SlaPolicy,
    notice: i64,
    now: UtcMs,
) -> Result<u64, StoreError> {
    let found = sqlx::query(
        "SELECT k.raised_at, k.escalated, k.letter, w.id AS item FROM critical k
         JOIN work_item w ON w.study_id = k.study_id WHERE k.id = $1 AND k.read_back_at IS NULL",
    )
    .bind(notice)
    .fetch_optional(&mut *tx)
    .await
    .map_err(StoreError::database("read a critical notice"))?;
    let Some(row) = found else { return Ok(0) };
    let key = notice.to_string();
    let c = Columns::of(&row, "critical", &key);
    let (raised_at, done): (UtcMs, i64) = (c.time("raised_at")?, c.get("escalated")?);
    let stored = queue::load(tx, &Scope::County, c.get("item")?).await?;
    let letter: String = c.get("letter")?;
    let mut taken = 0;
    for (step, ms, to) in ladder(policy) {
        if step <= done || raised_at.plus_ms(ms) > now {
            continue;
        }
        sqlx::query("UPDATE critical SET escalated = $2 WHERE id = $1")
            .bind(notice)
            .bind(step)
            .execute(&mut *tx)
            .await
            .map_err(StoreError::database("take a step of the ladder"))?;
        tracing::warn!(%letter, step, to, "a critical notice has not been read back");
        let facts = serde_json::json!({ "step": step, "to": to, "after_ms": ms });
        event::append(tx, stored.event("county", "critical.escalated", letter.clone(), facts, now)).await?;
        taken += 1;
    }
    Ok(taken)
}

/// The critical notices of a study, oldest first.
///
/// # Errors
/// [`StoreError`].
pub async fn of_study(tx: &mut SqliteConnection, study_id: i64) -> Result<Vec<CriticalState>, StoreError> {
    let rows = sqlx::query(
        "SELECT k.code, k.raised_at, k.raised_by_name, k.escalated, k.received_at, k.read_back_by, k.read_back_at, k.action_by,
           k.action_at, t.body, a.body AS action_body
         FROM critical k JOIN report_text t ON t.id = k.text_id LEFT JOIN report_text a ON a.id = k.action_text
         WHERE k.study_id = $1 ORDER BY k.id",
    )
    .bind(study_id)
    .fetch_all(tx)
    .await
    .map_err(StoreError::database("read critical notices"))?;
    let key = study_id.to_string();
    rows.iter()
        .map(|row| {
            let c = Columns::of(row, "critical", &key);
            let body: serde_json::Value = c.json("body")?;
            let words = |value: &serde_json::Value, field: &str| {
                value.get(field).and_then(|f| f.as_str()).unwrap_or_default().to_owned()
            };
            let action_text = match c.get::<Option<String>>("action_body")? {
                Some(_) => words(&c.json("action_body")?, "text"),
                None => String::new(),
            };
            let by = |who: Option<String>, at: Option<UtcMs>| who.zip(at);
            Ok(CriticalState {
                code: c.get("code")?,
                finding: words(&body, "finding"),
                raised_at: c.time("raised_at")?,
                raised_by_name: c.get("raised_by_name")?,
                escalated: c.unsigned("escalated")?,
                received_at: c.time_or_none("received_at")?,
                read_back: by(c.get("read_back_by")?, c.time_or_none("read_back_at")?),
                action: by(c.get("action_by")?, c.time_or_none("action_at")?)
                    .map(|(who, at)| (who, at, action_text)),
            })
        })
        .collect()
}

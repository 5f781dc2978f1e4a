//! Letters that do not get through: refused by the clinic, not sendable, not judgeable there just now. None is given up: most
//! reasons pass (a clock that is set, a newer program, a copied key), and a critical notice must ring somewhere.

use super::receipts::{find, letter_event};
use crate::store::{Columns, StoreError, event, one_row};
use relay_core::clock::{HOUR_MS, MINUTE_MS, UtcMs};
use relay_core::codes::{Code, Refusal};
use relay_core::ids::{ClinicId, LetterId};
use relay_core::letter::LetterKind;
use serde_json::json;
use sqlx::SqliteConnection;

/// Pauses before a letter is offered again.
const PAUSES_MS: [i64; 5] = [MINUTE_MS, 5 * MINUTE_MS, 30 * MINUTE_MS, 2 * HOUR_MS, 6 * HOUR_MS];
/// A critical notice is offered again this often, for as long as it takes.
const CRITICAL_PAUSE_MS: i64 = MINUTE_MS;
/// A clinic that comes back is offered its refused letters at once, unless they were tried this short a time ago.
const RECONNECT_PAUSE_MS: i64 = 10 * MINUTE_MS;

fn next_try(kind: LetterKind, failures: i64, now: UtcMs) -> UtcMs {
    if kind == LetterKind::CriticalNotice {
        return now.plus_ms(CRITICAL_PAUSE_MS);
    }
    let step = usize::try_from(failures).unwrap_or(0).min(PAUSES_MS.len() - 1);
    now.plus_ms(PAUSES_MS[step])
}

/// The clinic will not have it.
pub(super) async fn refused(
    tx: &mut SqliteConnection,
    clinic: &ClinicId,
    id: &LetterId,
    refusal: &Refusal,
    now: UtcMs,
) -> Result<(), StoreError> {
    let letter = find(tx, clinic, id).await?;
    if letter.received {
        return Ok(());
    }
    let code = i64::from(refusal.code.number());
    let done = sqlx::query(
        "UPDATE letter SET refused_at = coalesce(refused_at, $2), refused_code = $3, refused_field = $4,
             refused_reason = $5, refusals = refusals + 1, tried_at = $2, next_try_at = $6 WHERE id = $1",
    )
    .bind(id.as_str())
    .bind(now.0)
    .bind(code)
    .bind(&refusal.field)
    .bind(&refusal.reason)
    .bind(next_try(letter.kind, letter.failures.0, now).0)
    .execute(&mut *tx)
    .await
    .map_err(StoreError::database("record a refusal of a letter"))?;
    one_row(&done, "letter", id)?;
    if letter.refused == Some(code) {
        // Known and told.
        return Ok(());
    }
    let body =
        json!({ "letter": id, "kind": letter.kind, "code": refusal.code.name(), "field": refusal.field });
    let kind = if letter.kind == LetterKind::CriticalNotice { "critical.refused" } else { "letter.refused" };
    event::append(tx, letter_event(clinic, &letter, kind, body, now)).await.map(|_| ())
}

/// It could not be sent, or the clinic can neither take nor judge it just now.
pub(super) async fn delayed(
    tx: &mut SqliteConnection,
    clinic: &ClinicId,
    id: &LetterId,
    refusal: &Refusal,
    now: UtcMs,
) -> Result<(), StoreError> {
    let letter = find(tx, clinic, id).await?;
    if letter.received {
        return Ok(());
    }
    let done = sqlx::query(
        "UPDATE letter SET delays = delays + 1, delay_reason = $3, tried_at = $2, next_try_at = $4 WHERE id = $1",
    )
    .bind(id.as_str())
    .bind(now.0)
    .bind(refusal.to_string())
    .bind(next_try(letter.kind, letter.failures.1, now).0)
    .execute(&mut *tx)
    .await
    .map_err(StoreError::database("record a delay of a letter"))?;
    one_row(&done, "letter", id)?;
    if letter.failures.1 > 0 {
        return Ok(());
    }
    let body =
        json!({ "letter": id, "kind": letter.kind, "code": refusal.code.name(), "field": refusal.field });
    event::append(tx, letter_event(clinic, &letter, "letter.delayed", body, now)).await.map(|_| ())
}

/// A clinic has come back: its clock may be right now, its program newer.
///
/// # Errors
/// [`StoreError`].
pub async fn connected(tx: &mut SqliteConnection, clinic: &ClinicId, now: UtcMs) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE letter SET next_try_at = $2 WHERE clinic = $1 AND received_at IS NULL AND superseded_at IS NULL
             AND next_try_at > $2 AND (tried_at <= $3 OR kind = $4)",
    )
    .bind(clinic.as_str())
    .bind(now.0)
    .bind(now.plus_ms(-RECONNECT_PAUSE_MS).0)
    .bind(LetterKind::CriticalNotice.word())
    .execute(tx)
    .await
    .map(|_| ())
    .map_err(StoreError::database("offer letters again"))
}

/// A letter that waits for its receipt.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Unreceived {
    /// Which letter.
    pub id: LetterId,
    /// For which clinic.
    pub clinic: ClinicId,
    /// What it is.
    pub kind: LetterKind,
    /// When it was written.
    pub written_at: UtcMs,
    /// Name of the code with which the clinic refuses it; `None` when it does not.
    pub refused: Option<String>,
    /// The field it is refused for, or why it did not get through.
    pub reason: String,
    /// How often it was refused.
    pub refusals: i64,
    /// How often it could not be sent or judged.
    pub delays: i64,
    /// When it is offered again at the latest, if the clinic is on line.
    pub next_try_at: Option<UtcMs>,
}

/// Letters without a receipt, tried or not, critical notices first, at most `limit`. A word of progress counts once it was
/// refused or delayed: until then a newer one may take its place.
///
/// # Errors
/// [`StoreError`].
pub async fn unreceived(tx: &mut SqliteConnection, limit: i64) -> Result<Vec<Unreceived>, StoreError> {
    let rows = sqlx::query(
        "SELECT * FROM letter WHERE received_at IS NULL AND superseded_at IS NULL
           AND (refusals + delays > 0 OR kind <> 'study_status')
         ORDER BY priority, written_at, id LIMIT $1",
    )
    .bind(limit)
    .fetch_all(tx)
    .await
    .map_err(StoreError::database("read letters without a receipt"))?;
    rows.iter()
        .map(|row| {
            let id: LetterId = Columns::of(row, "letter", "?").parsed("id")?;
            let c = Columns::of(row, "letter", id.as_str());
            let refused: Option<i64> =
                if c.time_or_none("refused_at")?.is_some() { c.get("refused_code")? } else { None };
            let name = |number: i64| {
                let code = u16::try_from(number).ok().and_then(Code::from_number);
                code.map_or_else(|| number.to_string(), |code| code.name().to_owned())
            };
            let text = |column| c.get::<Option<String>>(column).map(Option::unwrap_or_default);
            let reason = match refused {
                Some(_) => format!("{}: {}", text("refused_field")?, text("refused_reason")?),
                None => text("delay_reason")?,
            };
            Ok(Unreceived {
                clinic: c.parsed("clinic")?,
                kind: c.parsed("kind")?,
                written_at: c.time("written_at")?,
                refused: refused.map(name),
                reason,
                refusals: c.get("refusals")?,
                delays: c.get("delays")?,
                next_try_at: c.time_or_none("next_try_at")?,
                id: id.clone(),
            })
        })
        .collect()
}

/// Has letters that did not get through offered again at once: one, or all. Gives how many.
///
/// # Errors
/// `NOT_FOUND` when the one named does not wait.
pub async fn offer_again(
    tx: &mut SqliteConnection,
    id: Option<&LetterId>,
    now: UtcMs,
) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "UPDATE letter SET next_try_at = $2 WHERE received_at IS NULL AND superseded_at IS NULL
             AND refusals + delays > 0 AND ($1 IS NULL OR id = $1)",
    )
    .bind(id.map(LetterId::as_str))
    .bind(now.0)
    .execute(tx)
    .await
    .map_err(StoreError::database("offer letters again"))?
    .rows_affected();
    match id {
        Some(id) if done == 0 => {
            let reason =
                format!("letter {id} is unknown, received or replaced, or was never refused or delayed");
            Err(StoreError::refuse(Code::NotFound, "letter", reason))
        }
        _ => Ok(done),
    }
}

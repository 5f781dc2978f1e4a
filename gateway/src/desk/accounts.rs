//! Accounts, lockout, sessions as stored.

use crate::store::{Columns, StoreError, one_row, signed};
use relay_core::clock::{MINUTE_MS, UtcMs};
use relay_core::codes::Code;
use relay_core::ids::{PersonId, Sha256};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use viewer_api::desk::{
    Account, AccountRow, ClinicRow, LOCKOUT_FAILURES, LOCKOUT_MS, Reader, SESSION_IDLE_MS, Session,
};

/// Use is written down at most this often, so that reading a list does not write.
const TOUCH_MS: i64 = MINUTE_MS;

fn reader(c: Columns<'_>) -> Result<Reader, StoreError> {
    Ok(Reader {
        id: c.parsed("id")?,
        name: c.get("name")?,
        roles: c.json("roles")?,
        clinics: c.json("clinics")?,
        kinds: c.json("kinds")?,
    })
}

fn key_of(row: &SqliteRow) -> Result<String, StoreError> {
    Columns::of(row, "account", "?").get("id")
}

/// An account that is not disabled.
pub(super) async fn account(
    tx: &mut SqliteConnection,
    login: &PersonId,
) -> Result<Option<Account>, StoreError> {
    let found = sqlx::query("SELECT * FROM account WHERE id = $1 AND disabled_at IS NULL")
        .bind(login.as_str())
        .fetch_optional(tx)
        .await
        .map_err(StoreError::database("read an account"))?;
    let Some(row) = found else { return Ok(None) };
    let key = key_of(&row)?;
    let c = Columns::of(&row, "account", &key);
    let step: Option<i64> = c.get("totp_last_step")?;
    Ok(Some(Account {
        reader: reader(c)?,
        password_hash: c.get("password_hash")?,
        totp_secret: c.get("totp_secret")?,
        totp_last_step: step.map(i64::unsigned_abs),
        failures: c.unsigned("failures")?,
        locked_until: c.time_or_none("locked_until")?,
    }))
}

pub(super) async fn record_login(
    tx: &mut SqliteConnection,
    login: &PersonId,
    ok: bool,
    totp_step: Option<u64>,
    now: UtcMs,
) -> Result<(), StoreError> {
    // An unknown login changes no row; the caller has audited the attempt.
    let query = if ok {
        sqlx::query(
            "UPDATE account SET failures = 0, locked_until = NULL, totp_last_step = coalesce($2, totp_last_step)
             WHERE id = $1 AND ($2 IS NULL OR totp_last_step IS NULL OR totp_last_step < $2)",
        )
        .bind(login.as_str())
        .bind(totp_step.map(signed).transpose()?)
    } else {
        sqlx::query(
            "UPDATE account SET
               locked_until = CASE WHEN failures + 1 >= $2 THEN $3 ELSE locked_until END,
               failures = CASE WHEN failures + 1 >= $2 THEN 0 ELSE failures + 1 END
             WHERE id = $1",
        )
        .bind(login.as_str())
        .bind(i64::from(LOCKOUT_FAILURES))
        .bind(now.plus_ms(LOCKOUT_MS).0)
    };
    let done = query.execute(tx).await.map_err(StoreError::database("record a login"))?;
    if ok && totp_step.is_some() && done.rows_affected() == 0 {
        // Two logins with one code at the same time: the second is a replay.
        return Err(StoreError::refuse(Code::Unauthenticated, "totp", "this code has been used"));
    }
    Ok(())
}

pub(super) async fn open_session(
    tx: &mut SqliteConnection,
    token: &Sha256,
    login: &PersonId,
    expires_at: UtcMs,
    now: UtcMs,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO session (token, account, opened_at, used_at, expires_at) VALUES ($1, $2, $3, $3, $4)",
    )
    .bind(&token.0[..])
    .bind(login.as_str())
    .bind(now.0)
    .bind(expires_at.0)
    .execute(tx)
    .await
    .map_err(StoreError::database("open a session"))?;
    Ok(())
}

/// A live session, and whether its use should be written down.
pub(super) async fn session(
    tx: &mut SqliteConnection,
    token: &Sha256,
    now: UtcMs,
) -> Result<Option<(Session, bool)>, StoreError> {
    let found = sqlx::query(
        "SELECT a.*, s.used_at, s.expires_at FROM session s JOIN account a ON a.id = s.account
         WHERE s.token = $1 AND s.closed_at IS NULL AND a.disabled_at IS NULL AND s.expires_at > $2 AND s.used_at > $3",
    )
    .bind(&token.0[..])
    .bind(now.0)
    .bind(now.plus_ms(-SESSION_IDLE_MS).0)
    .fetch_optional(tx)
    .await
    .map_err(StoreError::database("read a session"))?;
    let Some(row) = found else { return Ok(None) };
    let key = key_of(&row)?;
    let c = Columns::of(&row, "session", &key);
    let session =
        Session { reader: reader(c)?, expires_at: c.time("expires_at")?, used_at: c.time("used_at")? };
    let stale = now.since(session.used_at) >= TOUCH_MS;
    Ok(Some((session, stale)))
}

pub(super) async fn touch_session(
    tx: &mut SqliteConnection,
    token: &Sha256,
    now: UtcMs,
) -> Result<(), StoreError> {
    let done = sqlx::query("UPDATE session SET used_at = max(used_at, $2) WHERE token = $1")
        .bind(&token.0[..])
        .bind(now.0)
        .execute(tx)
        .await
        .map_err(StoreError::database("mark a session used"))?;
    one_row(&done, "session", "of a token")
}

pub(super) async fn close_session(
    tx: &mut SqliteConnection,
    token: &Sha256,
    now: UtcMs,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE session SET closed_at = coalesce(closed_at, $2) WHERE token = $1")
        .bind(&token.0[..])
        .bind(now.0)
        .execute(tx)
        .await
        .map_err(StoreError::database("close a session"))?;
    Ok(())
}

/// Accounts on one page of administration: a county has tens.
const MAX_ROWS: i64 = 1_000;

/// Every account that is not disabled, by login. No hash, no secret.
pub(super) async fn all(tx: &mut SqliteConnection) -> Result<Vec<AccountRow>, StoreError> {
    let rows = sqlx::query("SELECT * FROM account WHERE disabled_at IS NULL ORDER BY id LIMIT $1")
        .bind(MAX_ROWS)
        .fetch_all(tx)
        .await
        .map_err(StoreError::database("read accounts"))?;
    rows.iter()
        .map(|row| {
            let key = key_of(row)?;
            let c = Columns::of(row, "account", &key);
            Ok(AccountRow {
                reader: reader(c)?,
                totp: c.get::<Option<String>>("totp_secret")?.is_some(),
                failures: c.unsigned("failures")?,
                locked_until: c.time_or_none("locked_until")?,
            })
        })
        .collect()
}

/// Clears failures and lock.
pub(super) async fn unlock(tx: &mut SqliteConnection, login: &PersonId) -> Result<(), StoreError> {
    let done = sqlx::query("UPDATE account SET failures = 0, locked_until = NULL, pin_failures = 0, pin_locked_until = NULL WHERE id = $1")
        .bind(login.as_str())
        .execute(tx)
        .await
        .map_err(StoreError::database("unlock an account"))?;
    if done.rows_affected() == 0 {
        return Err(StoreError::refuse(Code::NotFound, "login", "no such account"));
    }
    Ok(())
}

/// Every clinic that is not disabled, by id.
pub(super) async fn clinics(tx: &mut SqliteConnection) -> Result<Vec<ClinicRow>, StoreError> {
    let rows = sqlx::query("SELECT * FROM clinic WHERE disabled_at IS NULL ORDER BY id LIMIT $1")
        .bind(MAX_ROWS)
        .fetch_all(tx)
        .await
        .map_err(StoreError::database("read clinics"))?;
    rows.iter()
        .map(|row| {
            let c = Columns::of(row, "clinic", "?");
            Ok(ClinicRow {
                clinic: c.parsed("id")?,
                name: c.get("name")?,
                online: c.get("online")?,
                heard_at: c.time_or_none("heard_at")?,
                clock_offset_ms: c.get("clock_offset_ms")?,
            })
        })
        .collect()
}

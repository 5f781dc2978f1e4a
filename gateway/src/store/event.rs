//! The append-only `event` table: everything that happened, in commit order, without personal data.

use super::{Batch, Columns, Scope, StoreError};
use relay_core::clock::UtcMs;
use relay_core::ids::ClinicId;
use relay_core::study::Class;
use sqlx::SqliteConnection;

/// Version of the event bodies written now.
pub const EVENT_VERSION: i64 = 1;

/// An event to append. `body` is JSON without personal data.
#[derive(Debug, Clone)]
pub struct NewEvent<'a> {
    /// When.
    pub at: UtcMs,
    /// A person, a clinic, or `county`.
    pub actor: &'a str,
    /// Type word, such as `study.arrived`, `work.claimed`, `report.received`.
    pub kind: &'static str,
    /// What it is about: a study key, a letter id, a clinic.
    pub subject: String,
    /// The clinic it concerns.
    pub clinic: Option<&'a ClinicId>,
    /// Row of `study`.
    pub study_id: Option<i64>,
    /// Row of `work_item`.
    pub work_item: Option<i64>,
    /// The study's class.
    pub class: Option<Class>,
    /// Facts as JSON.
    pub body: serde_json::Value,
}

/// An event as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Sequence in commit order.
    pub seq: i64,
    /// When.
    pub at: UtcMs,
    /// Site.
    pub source: String,
    /// Actor.
    pub actor: String,
    /// Type word.
    pub kind: String,
    /// Subject.
    pub subject: String,
    /// Clinic.
    pub clinic: Option<ClinicId>,
    /// Row of `study`.
    pub study_id: Option<i64>,
    /// Row of `work_item`.
    pub work_item: Option<i64>,
    /// Class.
    pub class: Option<Class>,
    /// Body.
    pub body: serde_json::Value,
}

const INSERT: &str =
    "INSERT INTO event (at, source, actor, type, version, subject, clinic, study_id, work_item, class, body)
     VALUES ($1, coalesce((SELECT value FROM site WHERE key = 'id'), 'county'), $2, $3, $4, $5, $6, $7, $8, $9, $10)";

/// Appends an event inside the caller's transaction and gives its sequence number.
///
/// # Errors
/// [`StoreError`].
pub async fn append(tx: &mut SqliteConnection, event: NewEvent<'_>) -> Result<i64, StoreError> {
    let mut batch = Batch::on(tx);
    add(&mut batch, event);
    batch.add("number an event", "SELECT last_insert_rowid() AS seq");
    let row = batch.row().await?.ok_or(StoreError::Writer("gave an event no number"))?;
    Columns::of(&row, "event", "new").get("seq")
}

/// As [`append`], with the caller's other statements; nobody asks for its number.
pub fn add(batch: &mut Batch<'_>, event: NewEvent<'_>) {
    batch
        .add("append an event", INSERT)
        .bind(event.at.0)
        .bind(event.actor)
        .bind(event.kind)
        .bind(EVENT_VERSION)
        .bind(event.subject)
        .bind(event.clinic.map(ClinicId::as_str))
        .bind(event.study_id)
        .bind(event.work_item)
        .bind(event.class.map(Class::word))
        .bind(event.body.to_string());
}

const COLUMNS: &str = "seq, at, source, actor, type, subject, clinic, study_id, work_item, class, body";

fn stored(row: &sqlx::sqlite::SqliteRow) -> Result<StoredEvent, StoreError> {
    let seq: i64 = Columns::of(row, "event", "?").get("seq")?;
    let key = seq.to_string();
    let c = Columns::of(row, "event", &key);
    Ok(StoredEvent {
        seq,
        at: c.time("at")?,
        source: c.get("source")?,
        actor: c.get("actor")?,
        kind: c.get("type")?,
        subject: c.get("subject")?,
        clinic: c.parsed_or_none("clinic")?,
        study_id: c.get("study_id")?,
        work_item: c.get("work_item")?,
        class: c.parsed_or_none("class")?,
        body: c.json("body")?,
    })
}

/// Events after `seq`, oldest first, at most `limit`.
pub(super) async fn after(
    tx: &mut SqliteConnection,
    seq: i64,
    limit: i64,
) -> Result<Vec<StoredEvent>, StoreError> {
    after_in(tx, &Scope::County, seq, limit).await
}

/// Events after `seq` that the scope may see, oldest first, at most `limit`.
///
/// # Errors
/// [`StoreError`].
pub async fn after_in(
    tx: &mut SqliteConnection,
    scope: &Scope,
    seq: i64,
    limit: i64,
) -> Result<Vec<StoredEvent>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM event
         WHERE seq > $1 AND ($3 IS NULL OR clinic IN (SELECT value FROM json_each($3))) ORDER BY seq LIMIT $2"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(seq)
        .bind(limit)
        .bind(scope.bind())
        .fetch_all(tx)
        .await
        .map_err(StoreError::database("read events"))?;
    rows.iter().map(stored).collect()
}

/// Events of `kinds` after `seq` in the whole county, oldest first, at most `limit`: for those who count and see no patient.
///
/// # Errors
/// [`StoreError`].
pub async fn counted_after(
    tx: &mut SqliteConnection,
    kinds: &[&str],
    seq: i64,
    limit: i64,
) -> Result<Vec<StoredEvent>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM event WHERE seq > $1 AND type IN (SELECT value FROM json_each($3)) ORDER BY seq LIMIT $2"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(seq)
        .bind(limit)
        .bind(serde_json::json!(kinds).to_string())
        .fetch_all(tx)
        .await
        .map_err(StoreError::database("read events"))?;
    rows.iter().map(stored).collect()
}

/// Every event of one study, oldest first: what SLA and figures are computed from.
///
/// # Errors
/// [`StoreError`].
pub async fn of_study(tx: &mut SqliteConnection, study_id: i64) -> Result<Vec<StoredEvent>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM event WHERE study_id = $1 ORDER BY seq");
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(study_id)
        .fetch_all(tx)
        .await
        .map_err(StoreError::database("read a study's events"))?;
    rows.iter().map(stored).collect()
}

/// The newest sequence number; 0 when there is none.
///
/// # Errors
/// [`StoreError`].
pub async fn last_seq(tx: &mut SqliteConnection) -> Result<i64, StoreError> {
    sqlx::query_scalar("SELECT coalesce(max(seq), 0) FROM event")
        .fetch_one(tx)
        .await
        .map_err(StoreError::database("read the newest event"))
}

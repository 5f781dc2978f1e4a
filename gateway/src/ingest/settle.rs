//! After every change of a study's objects, class or completeness: counts, revision, completeness, and the work item.
//! A pure function of what is stored, run inside the transaction that changed it; running it again changes nothing.

use crate::queue::attention;
use crate::sla;
use crate::store::{Columns, NewEvent, StoreError, event, one_row, signed};
use relay_core::clock::UtcMs;
use relay_core::ids::{ClinicId, ObjectHash};
use relay_core::sla::SlaPolicy;
use relay_core::study::{Class, Completeness, Kind, StudyRevision};
use relay_core::work_item::State;
use serde_json::json;
use sqlx::{Row as _, SqliteConnection};

struct Study {
    id: i64,
    clinic: ClinicId,
    uid: String,
    class: Class,
    kind: Kind,
    completeness: Completeness,
    t0: UtcMs,
    arrived: bool,
    completed: bool,
    revision: Option<Vec<u8>>,
    revision_number: i64,
}

struct Counts {
    here: usize,
    outstanding: i64,
    announced: i64,
    revision: StudyRevision,
}

/// Brings study and work item in line with the stored objects.
///
/// # Errors
/// [`StoreError`].
pub async fn settle(
    tx: &mut SqliteConnection,
    policy: &SlaPolicy,
    id: i64,
    now: UtcMs,
) -> Result<(), StoreError> {
    settle_with(tx, policy, id, false, now).await
}

/// As [`settle`]; `overdue` queues a study whose manifest is complete although objects are still missing.
pub(crate) async fn settle_with(
    tx: &mut SqliteConnection,
    policy: &SlaPolicy,
    id: i64,
    overdue: bool,
    now: UtcMs,
) -> Result<(), StoreError> {
    let study = read(tx, id).await?;
    let counts = count(tx, id, &study.clinic).await?;
    let revised = counts.here > 0 && study.revision.as_deref() != Some(&counts.revision.0.0[..]);
    let complete = study.completeness == Completeness::Complete && counts.outstanding == 0 && counts.here > 0;
    let newly_complete = complete && (!study.completed || revised);
    update(tx, &study, &counts, revised, newly_complete, now).await?;
    if revised {
        let kind = if study.arrived { "study.revised" } else { sla::kinds::ARRIVED };
        tell(tx, &study, &counts, kind, None, now).await?;
    }
    if newly_complete {
        tell(tx, &study, &counts, "study.complete", None, now).await?;
    }
    let due =
        study.class.is_urgent() || complete || (overdue && study.completeness == Completeness::Complete);
    work_item(tx, &study, &counts, revised, due, now).await?;
    sla::refresh(tx, policy, id).await
}

async fn read(tx: &mut SqliteConnection, id: i64) -> Result<Study, StoreError> {
    let row = sqlx::query(
        "SELECT clinic, uid, class, kind, completeness, t0, arrived_at, complete_at, revision, revision_number
         FROM study WHERE id = $1",
    )
    .bind(id)
    .fetch_one(tx)
    .await
    .map_err(StoreError::database("read a study"))?;
    let key = id.to_string();
    let c = Columns::of(&row, "study", &key);
    Ok(Study {
        id,
        clinic: c.parsed("clinic")?,
        uid: c.get("uid")?,
        class: c.parsed("class")?,
        kind: c.parsed("kind")?,
        completeness: c.parsed("completeness")?,
        t0: c.time("t0")?,
        arrived: c.time_or_none("arrived_at")?.is_some(),
        completed: c.time_or_none("complete_at")?.is_some(),
        revision: c.get("revision")?,
        revision_number: c.get("revision_number")?,
    })
}

async fn count(tx: &mut SqliteConnection, id: i64, clinic: &ClinicId) -> Result<Counts, StoreError> {
    let rows = sqlx::query("SELECT hash FROM object WHERE study_id = $1")
        .bind(id)
        .fetch_all(&mut *tx)
        .await
        .map_err(StoreError::database("read a study's objects"))?;
    let key = id.to_string();
    let hashes: Vec<ObjectHash> =
        rows.iter().map(|row| Columns::of(row, "object", &key).hash("hash")).collect::<Result<_, _>>()?;
    let row = sqlx::query(
        "SELECT count(*) AS absent,
                coalesce(sum(NOT EXISTS (SELECT 1 FROM refused r WHERE r.clinic = $2 AND r.hash = a.hash)), 0) AS outstanding
         FROM announced a WHERE a.study_id = $1
           AND NOT EXISTS (SELECT 1 FROM object o WHERE o.study_id = $1 AND o.hash = a.hash)",
    )
    .bind(id)
    .bind(clinic.as_str())
    .fetch_one(tx)
    .await
    .map_err(StoreError::database("count a study's objects"))?;
    let absent: i64 = row.try_get("absent").map_err(StoreError::database("count a study's objects"))?;
    let outstanding = row.try_get("outstanding").map_err(StoreError::database("count a study's objects"))?;
    let announced = absent + signed(hashes.len())?;
    Ok(Counts { here: hashes.len(), outstanding, announced, revision: StudyRevision::of(hashes) })
}

async fn update(
    tx: &mut SqliteConnection,
    study: &Study,
    counts: &Counts,
    revised: bool,
    newly_complete: bool,
    now: UtcMs,
) -> Result<(), StoreError> {
    let done = sqlx::query(
        "UPDATE study SET objects_here = $2, objects_announced = $3,
             revision = CASE WHEN $4 THEN $5 ELSE revision END, revision_number = revision_number + $4,
             arrived_at = CASE WHEN $4 THEN coalesce(arrived_at, $6) ELSE arrived_at END,
             complete_at = CASE WHEN $7 THEN $6 ELSE complete_at END
         WHERE id = $1",
    )
    .bind(study.id)
    .bind(signed(counts.here)?)
    .bind(counts.announced)
    .bind(revised)
    .bind(&counts.revision.0.0[..])
    .bind(now.0)
    .bind(newly_complete)
    .execute(tx)
    .await
    .map_err(StoreError::database("settle a study"))?;
    one_row(&done, "study", study.id)
}

async fn tell(
    tx: &mut SqliteConnection,
    study: &Study,
    counts: &Counts,
    kind: &'static str,
    work_item: Option<i64>,
    now: UtcMs,
) -> Result<(), StoreError> {
    let new = NewEvent {
        at: now,
        actor: study.clinic.as_str(),
        kind,
        subject: format!("{}/{}", study.clinic, study.uid),
        clinic: Some(&study.clinic),
        study_id: Some(study.id),
        work_item,
        class: Some(study.class),
        body: json!({
            "kind": study.kind, "t0": study.t0, "here": counts.here, "announced": counts.announced,
            "revision": counts.revision, "revision_number": study.revision_number + 1,
        }),
    };
    event::append(tx, new).await.map(|_| ())
}

async fn work_item(
    tx: &mut SqliteConnection,
    study: &Study,
    counts: &Counts,
    revised: bool,
    due: bool,
    now: UtcMs,
) -> Result<(), StoreError> {
    let row = sqlx::query("SELECT id, state FROM work_item WHERE study_id = $1")
        .bind(study.id)
        .fetch_optional(&mut *tx)
        .await
        .map_err(StoreError::database("find a work item"))?;
    let Some(row) = row else {
        if !due || counts.here == 0 {
            return Ok(());
        }
        let item = sqlx::query(
            "INSERT INTO work_item (study_id, state, state_at, created_at) VALUES ($1, 'waiting', $2, $2)",
        )
        .bind(study.id)
        .bind(now.0)
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database("add a work item"))?
        .last_insert_rowid();
        return tell(tx, study, counts, "work.created", Some(item), now).await;
    };
    if !revised {
        return Ok(());
    }
    let key = study.id.to_string();
    let c = Columns::of(&row, "work_item", &key);
    let (item, state): (i64, State) = (c.get("id")?, c.parsed("state")?);
    let kind = match state {
        State::Waiting | State::Claimed | State::Drafted | State::Withdrawn => "work.revised",
        State::Signed | State::Audited | State::Closed => {
            attention::ask(tx, item, attention::LATE_OBJECTS, now).await?;
            "work.attention"
        }
        State::RetakeRequested => {
            let done = sqlx::query(
                "UPDATE work_item SET state = 'waiting', state_at = max($2, state_at + 1) WHERE id = $1",
            )
            .bind(item)
            .bind(now.0)
            .execute(&mut *tx)
            .await
            .map_err(StoreError::database("queue a work item again"))?;
            one_row(&done, "work_item", item)?;
            sla::kinds::RETAKEN
        }
    };
    tell(tx, study, counts, kind, Some(item), now).await
}

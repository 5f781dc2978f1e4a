//! After every change of a study's objects, class or completeness: counts, revision, completeness, and the work item.
//! A pure function of what is stored, run inside the transaction that changed it; running it again changes nothing.

use crate::queue::attention;
use crate::sla;
use crate::store::{Batch, Columns, NewEvent, StoreError, event, signed};
use relay_core::clock::UtcMs;
use relay_core::ids::{ClinicId, ObjectHash};
use relay_core::sla::SlaPolicy;
use relay_core::study::{Class, Completeness, Kind, StudyRevision};
use relay_core::work_item::State;
use serde_json::json;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

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
    work_item: Option<(i64, State)>,
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

/// As [`settle`]; `overdue` queues a study of which something is here although more is to come: the rest does not come.
pub(crate) async fn settle_with(
    tx: &mut SqliteConnection,
    policy: &SlaPolicy,
    id: i64,
    overdue: bool,
    now: UtcMs,
) -> Result<(), StoreError> {
    let mut batch = Batch::on(tx);
    settle_in(&mut batch, policy, id, overdue, now).await?;
    batch.run().await
}

/// As [`settle_with`], with the caller's other statements.
pub(super) async fn settle_in(
    batch: &mut Batch<'_>,
    policy: &SlaPolicy,
    id: i64,
    overdue: bool,
    now: UtcMs,
) -> Result<(), StoreError> {
    let (study, counts) = read(batch, id).await?;
    let revised = counts.here > 0 && study.revision.as_deref() != Some(&counts.revision.0.0[..]);
    let complete = study.completeness == Completeness::Complete && counts.outstanding == 0 && counts.here > 0;
    let newly_complete = complete && (!study.completed || revised);
    update(batch, &study, &counts, revised, newly_complete, now)?;
    if revised {
        let kind = if study.arrived { "study.revised" } else { sla::kinds::ARRIVED };
        tell(batch, &study, &counts, kind, None, now);
    }
    if newly_complete {
        tell(batch, &study, &counts, "study.complete", None, now);
    }
    let due = study.class.is_urgent() || complete || overdue;
    if work_item(batch, &study, &counts, revised, due, now).await? {
        sla::refresh_in(batch, policy, id).await?;
    }
    Ok(())
}

/// The study, its work item, what is announced and what is here: one row for each durable object.
async fn read(batch: &mut Batch<'_>, id: i64) -> Result<(Study, Counts), StoreError> {
    batch
        .add(
            "read a study and its objects",
            "SELECT s.clinic, s.uid, s.class, s.kind, s.completeness, s.t0, s.arrived_at, s.complete_at, s.revision,
                    s.revision_number, w.id AS item, w.state, o.hash,
                    absent.all_absent, absent.outstanding
             FROM study s LEFT JOIN work_item w ON w.study_id = s.id LEFT JOIN object o ON o.study_id = s.id
             CROSS JOIN (
                 SELECT count(*) AS all_absent, coalesce(sum(NOT EXISTS (
                            SELECT 1 FROM refused r WHERE r.clinic = b.clinic AND r.hash = a.hash)), 0) AS outstanding
                 FROM announced a JOIN study b ON b.id = a.study_id
                 WHERE a.study_id = $1
                   AND NOT EXISTS (SELECT 1 FROM object h WHERE h.study_id = $1 AND h.hash = a.hash)) AS absent
             WHERE s.id = $1",
        )
        .bind(id);
    let rows = batch.rows().await?;
    let missing = || StoreError::database("read a study")(sqlx::Error::RowNotFound);
    let row = rows.first().ok_or_else(missing)?;
    let key = id.to_string();
    let c = Columns::of(row, "study", &key);
    let item = match c.get::<Option<i64>>("item")? {
        Some(item) => Some((item, c.parsed("state")?)),
        None => None,
    };
    let study = Study {
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
        work_item: item,
    };
    let hashes = hashes(&rows, &key)?;
    let counts = Counts {
        here: hashes.len(),
        outstanding: c.get("outstanding")?,
        announced: c.get::<i64>("all_absent")? + signed(hashes.len())?,
        revision: StudyRevision::of(hashes),
    };
    Ok((study, counts))
}

fn hashes(rows: &[SqliteRow], key: &str) -> Result<Vec<ObjectHash>, StoreError> {
    let mut hashes = Vec::with_capacity(rows.len());
    for row in rows {
        let c = Columns::of(row, "object", key);
        // A study without objects has one row without a hash.
        if c.get::<Option<Vec<u8>>>("hash")?.is_some() {
            hashes.push(c.hash("hash")?);
        }
    }
    Ok(hashes)
}

fn update(
    batch: &mut Batch<'_>,
    study: &Study,
    counts: &Counts,
    revised: bool,
    newly_complete: bool,
    now: UtcMs,
) -> Result<(), StoreError> {
    batch
        .add(
            "settle a study",
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
        .one_row("study", study.id);
    Ok(())
}

fn tell(
    batch: &mut Batch<'_>,
    study: &Study,
    counts: &Counts,
    kind: &'static str,
    work_item: Option<i64>,
    now: UtcMs,
) {
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
    event::add(batch, new);
}

/// Queues the study when it is due, and tells the queue of new objects. Says whether there is a work item.
async fn work_item(
    batch: &mut Batch<'_>,
    study: &Study,
    counts: &Counts,
    revised: bool,
    due: bool,
    now: UtcMs,
) -> Result<bool, StoreError> {
    let Some((item, state)) = study.work_item else {
        if !due || counts.here == 0 {
            return Ok(false);
        }
        batch
            .add(
                "add a work item",
                "INSERT INTO work_item (study_id, state, state_at, created_at) VALUES ($1, 'waiting', $2, $2) RETURNING id",
            )
            .bind(study.id)
            .bind(now.0);
        let row = batch.only_row().await?;
        let item = Columns::of(&row, "work_item", "new").get("id")?;
        tell(batch, study, counts, "work.created", Some(item), now);
        return Ok(true);
    };
    if !revised {
        return Ok(true);
    }
    let kind = match state {
        State::Waiting | State::Claimed | State::Drafted | State::Withdrawn => "work.revised",
        State::Signed | State::Audited | State::Closed => {
            attention::ask(batch, item, attention::LATE_OBJECTS, now);
            "work.attention"
        }
        State::RetakeRequested => {
            batch
                .add(
                    "queue a work item again",
                    "UPDATE work_item SET state = 'waiting', state_at = max($2, state_at + 1) WHERE id = $1",
                )
                .bind(item)
                .bind(now.0)
                .one_row("work_item", item);
            sla::kinds::RETAKEN
        }
    };
    tell(batch, study, counts, kind, Some(item), now);
    Ok(true)
}

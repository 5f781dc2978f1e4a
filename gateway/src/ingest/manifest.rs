//! What a manifest changes: study, class, announced objects, what the clinic adds. Part of one transaction of the caller.

use super::record::study_id;
use super::settle::settle;
use super::timing;
use crate::store::{Columns, NewEvent, StoreError, event, one_row, signed};
use relay_core::clock::UtcMs;
use relay_core::codes::Code;
use relay_core::ids::{ClinicId, StudyUid};
use relay_core::sla::SlaPolicy;
use relay_core::study::{Class, Manifest, StudyContext};
use serde_json::json;
use sqlx::SqliteConnection;

/// The clinic is known to the county from now on. Its certificate is the authority; name and hours follow by command.
///
/// # Errors
/// [`StoreError`].
pub async fn ensure_clinic(
    tx: &mut SqliteConnection,
    clinic: &ClinicId,
    now: UtcMs,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO clinic (id, name, added_at) VALUES ($1, $1, $2) ON CONFLICT (id) DO NOTHING")
        .bind(clinic.as_str())
        .bind(now.0)
        .execute(tx)
        .await
        .map(|_| ())
        .map_err(StoreError::database("add a clinic"))
}

/// Records a manifest: the highest generation wins, the class is only raised. Idempotent.
pub(super) async fn record(
    tx: &mut SqliteConnection,
    policy: &SlaPolicy,
    clinic: &ClinicId,
    manifest: &Manifest,
    now: UtcMs,
) -> Result<i64, StoreError> {
    ensure_clinic(tx, clinic, now).await?;
    let row = sqlx::query("SELECT id, class, generation FROM study WHERE clinic = $1 AND uid = $2")
        .bind(clinic.as_str())
        .bind(manifest.study.as_str())
        .fetch_optional(&mut *tx)
        .await
        .map_err(StoreError::database("find a study"))?;
    let (id, newer) = if let Some(row) = row {
        let c = Columns::of(&row, "study", manifest.study.as_str());
        let (id, before, generation): (i64, Class, u64) =
            (c.get("id")?, c.parsed("class")?, c.unsigned("generation")?);
        let newer = manifest.generation > generation;
        if newer {
            update_study(tx, id, manifest, now).await?;
        }
        raise_class(tx, clinic, id, before, manifest, now).await?;
        (id, newer)
    } else {
        (insert_study(tx, clinic, manifest, now).await?, true)
    };
    no_length_changed(tx, id, manifest).await?;
    announce(tx, id, manifest, newer).await?;
    if newer {
        context(tx, clinic, id, &manifest.context, now).await?;
        timing::retime(tx, id, now).await?;
    }
    settle(tx, policy, id, now).await?;
    Ok(id)
}

async fn insert_study(
    tx: &mut SqliteConnection,
    clinic: &ClinicId,
    m: &Manifest,
    now: UtcMs,
) -> Result<i64, StoreError> {
    let id = sqlx::query(
        "INSERT INTO study (clinic, uid, class, kind, completeness, generation, source, t0, time_suspect, first_object_at,
             exam_time_source, exam_time_ms, clock_offset_ms, retake_of, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1, $8, $9, $10,
             (SELECT clock_offset_ms FROM clinic WHERE id = $1), $11, $12, $12)",
    )
    .bind(clinic.as_str())
    .bind(m.study.as_str())
    .bind(m.class.word())
    .bind(m.kind.word())
    .bind(m.completeness.word())
    .bind(signed(m.generation)?)
    .bind(&m.source)
    .bind(m.first_object_at.0)
    .bind(exam_source(m))
    .bind(m.exam_completed_at.map(|t| t.0))
    .bind(m.context.retake_of.as_ref().map(StudyUid::as_str))
    .bind(now.0)
    .execute(&mut *tx)
    .await
    .map_err(StoreError::database("add a study"))?
    .last_insert_rowid();
    sqlx::query("INSERT INTO person (study_id, clinic) VALUES ($1, $2)")
        .bind(id)
        .bind(clinic.as_str())
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database("add a person"))?;
    event::append(
        tx,
        NewEvent {
            at: now,
            actor: clinic.as_str(),
            kind: "study.announced",
            subject: format!("{clinic}/{}", m.study),
            clinic: Some(clinic),
            study_id: Some(id),
            work_item: None,
            class: Some(m.class),
            body: json!({ "objects": m.objects.len(), "kind": m.kind, "first_object_at": m.first_object_at }),
        },
    )
    .await?;
    Ok(id)
}

/// Where the exam time came from: `manifest`, doubted by the agent or not; `None` = the manifest has none.
fn exam_source(m: &Manifest) -> Option<&'static str> {
    m.exam_completed_at.map(|_| if m.time_suspect { timing::MANIFEST_DOUBTED } else { timing::MANIFEST })
}

async fn update_study(
    tx: &mut SqliteConnection,
    id: i64,
    m: &Manifest,
    now: UtcMs,
) -> Result<(), StoreError> {
    let done = sqlx::query(
        "UPDATE study SET kind = $2, completeness = $3, generation = $4, source = $5,
             first_object_at = min(first_object_at, $6),
             exam_time_source = CASE WHEN $8 IS NULL THEN exam_time_source ELSE $7 END,
             exam_time_ms = coalesce($8, exam_time_ms),
             retake_of = coalesce($9, retake_of), updated_at = $10
         WHERE id = $1",
    )
    .bind(id)
    .bind(m.kind.word())
    .bind(m.completeness.word())
    .bind(signed(m.generation)?)
    .bind(&m.source)
    .bind(m.first_object_at.0)
    .bind(exam_source(m))
    .bind(m.exam_completed_at.map(|t| t.0))
    .bind(m.context.retake_of.as_ref().map(StudyUid::as_str))
    .bind(now.0)
    .execute(tx)
    .await
    .map_err(StoreError::database("update a study"))?;
    one_row(&done, "study", id)
}

async fn raise_class(
    tx: &mut SqliteConnection,
    clinic: &ClinicId,
    id: i64,
    before: Class,
    m: &Manifest,
    now: UtcMs,
) -> Result<(), StoreError> {
    let class = before.raised_by(m.class);
    if class == before {
        return Ok(());
    }
    let done = sqlx::query("UPDATE study SET class = $2, updated_at = $3 WHERE id = $1")
        .bind(id)
        .bind(class.word())
        .bind(now.0)
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database("raise a class"))?;
    one_row(&done, "study", id)?;
    let work_item: Option<i64> = sqlx::query_scalar("SELECT id FROM work_item WHERE study_id = $1")
        .bind(id)
        .fetch_optional(&mut *tx)
        .await
        .map_err(StoreError::database("find a work item"))?;
    event::append(
        tx,
        NewEvent {
            at: now,
            actor: clinic.as_str(),
            kind: "study.class_raised",
            subject: format!("{clinic}/{}", m.study),
            clinic: Some(clinic),
            study_id: Some(id),
            work_item,
            class: Some(class),
            body: json!({ "from": before, "to": class }),
        },
    )
    .await
    .map(|_| ())
}

/// A manifest that gives a stored or announced object another length lies.
async fn no_length_changed(tx: &mut SqliteConnection, id: i64, m: &Manifest) -> Result<(), StoreError> {
    let liar: Option<String> = sqlx::query_scalar(
        "SELECT lower(hex(k.hash)) FROM json_each($2) AS j
         JOIN (SELECT hash, length FROM object WHERE study_id = $1
               UNION SELECT hash, length FROM announced WHERE study_id = $1) AS k
           ON k.hash = unhex(json_extract(j.value, '$.h'))
         WHERE k.length <> json_extract(j.value, '$.l') LIMIT 1",
    )
    .bind(id)
    .bind(objects_json(m)?)
    .fetch_optional(tx)
    .await
    .map_err(StoreError::database("compare lengths"))?;
    match liar {
        None => Ok(()),
        Some(hash) => Err(StoreError::refuse(
            Code::RefusedManifest,
            "objects",
            format!("object {hash} was announced with another length before"),
        )),
    }
}

fn objects_json(m: &Manifest) -> Result<String, StoreError> {
    let mut rows = Vec::with_capacity(m.objects.len());
    for o in &m.objects {
        rows.push(json!({
            "h": o.hash.to_hex(), "l": signed(o.length)?, "k": o.kind.word(),
            "e": o.coded.encoding.word(), "cl": signed(o.coded.length)?, "ch": o.coded.hash.to_hex(),
        }));
    }
    Ok(serde_json::Value::Array(rows).to_string())
}

/// A newer manifest replaces what was announced; an older one only adds, so that an agent whose counter was lost with
/// its disk still gets its objects through.
async fn announce(tx: &mut SqliteConnection, id: i64, m: &Manifest, newer: bool) -> Result<(), StoreError> {
    if newer {
        sqlx::query("DELETE FROM announced WHERE study_id = $1")
            .bind(id)
            .execute(&mut *tx)
            .await
            .map_err(StoreError::database("replace announced objects"))?;
    }
    sqlx::query(
        "INSERT INTO announced (study_id, hash, length, kind, coded_encoding, coded_length, coded_hash)
         SELECT $1, unhex(json_extract(value, '$.h')), json_extract(value, '$.l'), json_extract(value, '$.k'),
                json_extract(value, '$.e'), json_extract(value, '$.cl'), unhex(json_extract(value, '$.ch'))
         FROM json_each($2) WHERE true
         ON CONFLICT (study_id, hash) DO UPDATE SET coded_encoding = excluded.coded_encoding,
             coded_length = excluded.coded_length, coded_hash = excluded.coded_hash",
    )
    .bind(id)
    .bind(objects_json(m)?)
    .execute(tx)
    .await
    .map(|_| ())
    .map_err(StoreError::database("announce objects"))
}

/// What the clinic adds: fills what the files leave empty, never what a person has corrected.
async fn context(
    tx: &mut SqliteConnection,
    clinic: &ClinicId,
    id: i64,
    context: &StudyContext,
    now: UtcMs,
) -> Result<(), StoreError> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let body = serde_json::to_string(context)
        .map_err(|_| StoreError::refuse(Code::RefusedManifest, "context", "cannot be stored as JSON"))?;
    let local_id = text(&context.patient_id);
    let national = if super::facts::is_national_id(&local_id) { local_id.clone() } else { String::new() };
    let done = sqlx::query(
        "UPDATE person SET context = $2,
             name = CASE WHEN name = '' THEN $3 ELSE name END,
             local_id = CASE WHEN local_id = '' THEN $4 ELSE local_id END,
             sex = CASE WHEN sex = '' THEN $5 ELSE sex END,
             birth_date = CASE WHEN birth_date = '' THEN $6 ELSE birth_date END,
             national_id = CASE WHEN national_id = '' THEN $7 ELSE national_id END
         WHERE study_id = $1",
    )
    .bind(id)
    .bind(body)
    .bind(text(&context.patient_name))
    .bind(local_id)
    .bind(text(&context.patient_sex))
    .bind(text(&context.patient_birth_date))
    .bind(national)
    .execute(&mut *tx)
    .await
    .map_err(StoreError::database("keep the context"))?;
    one_row(&done, "person", id)?;
    match &context.retake_of {
        Some(of) => answer_retake(tx, clinic, id, of, now).await,
        None => Ok(()),
    }
}

/// The retaken study takes the place of the one that was sent back: nobody waits for that one any more.
async fn answer_retake(
    tx: &mut SqliteConnection,
    clinic: &ClinicId,
    id: i64,
    of: &StudyUid,
    now: UtcMs,
) -> Result<(), StoreError> {
    let Some(old) = study_id(tx, clinic, of).await? else { return Ok(()) };
    sqlx::query("UPDATE retake SET answered_by_study = $1, answered_at = $3 WHERE answered_at IS NULL AND study_id = $2")
        .bind(id)
        .bind(old)
        .bind(now.0)
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database("answer a retake request"))?;
    let item: Option<i64> = sqlx::query_scalar(
        "UPDATE work_item SET state = 'withdrawn', state_at = max($2, state_at + 1)
         WHERE study_id = $1 AND state = 'retake_requested' RETURNING id",
    )
    .bind(old)
    .bind(now.0)
    .fetch_optional(&mut *tx)
    .await
    .map_err(StoreError::database("withdraw a retaken study"))?;
    let Some(item) = item else { return Ok(()) };
    let withdrawn = NewEvent {
        at: now,
        actor: clinic.as_str(),
        kind: "work.withdrawn",
        subject: format!("{clinic}/{of}"),
        clinic: Some(clinic),
        study_id: Some(old),
        work_item: Some(item),
        class: None,
        body: json!({ "reason": "retaken", "by_study": id }),
    };
    event::append(tx, withdrawn).await.map(|_| ())
}

//! What an object changes, arrived or refused. Each function is part of one transaction of the caller.

use super::facts::{ObjectFacts, PersonFacts};
use super::ranges::Ranges;
use super::settle::settle;
use super::timing;
use crate::link::ports::ObjectReceipt;
use crate::store::{Columns, NewEvent, StoreError, event, one_row, signed};
use relay_core::clock::UtcMs;
use relay_core::codes::{Code, Refusal};
use relay_core::ids::{ClinicId, ObjectHash, Sha256, StudyUid};
use relay_core::sla::SlaPolicy;
use relay_core::study::ManifestObject;
use serde_json::json;
use sqlx::SqliteConnection;

/// Row id of a study.
pub(super) async fn study_id(
    tx: &mut SqliteConnection,
    clinic: &ClinicId,
    uid: &StudyUid,
) -> Result<Option<i64>, StoreError> {
    sqlx::query_scalar("SELECT id FROM study WHERE clinic = $1 AND uid = $2")
        .bind(clinic.as_str())
        .bind(uid.as_str())
        .fetch_optional(tx)
        .await
        .map_err(StoreError::database("find a study"))
}

/// An object whose bytes are durable and admitted.
pub(super) struct Arrived {
    pub(super) clinic: ClinicId,
    pub(super) study: StudyUid,
    pub(super) object: ManifestObject,
    pub(super) sha256: Sha256,
    pub(super) facts: ObjectFacts,
    pub(super) now: UtcMs,
}

/// Records an object: location, object, person, study, work item, events and preview job. Idempotent.
pub(super) async fn object(
    tx: &mut SqliteConnection,
    policy: &SlaPolicy,
    a: &Arrived,
) -> Result<ObjectReceipt, StoreError> {
    let id = study_id(tx, &a.clinic, &a.study).await?.ok_or_else(|| {
        StoreError::refuse(Code::RefusedUnannounced, "study", "no manifest has announced this study")
    })?;
    if let Some(receipt) = receipt(tx, id, &a.object.hash).await? {
        location(tx, a).await?;
        return Ok(receipt);
    }
    location(tx, a).await?;
    if healed(tx, id, a).await? {
        forget_partial(tx, &a.clinic, &a.object).await?;
        forget_refusal(tx, a).await?;
        settle(tx, policy, id, a.now).await?;
        return Ok(ObjectReceipt { hash: a.object.hash, sha256: a.sha256, stored_at: a.now });
    }
    let (here, identity_differs) = identity(tx, id, &a.facts.person).await?;
    let others = versions_of(tx, id, a).await?;
    insert_object(tx, id, a, others > 0).await?;
    forget_partial(tx, &a.clinic, &a.object).await?;
    forget_refusal(tx, a).await?;
    person(tx, id, &a.facts.person, here == 0).await?;
    describe(tx, id, a).await?;
    if let Some(exam) = &a.facts.exam {
        timing::learn(tx, id, exam, here == 0, a.now).await?;
    }
    let warn = |kind: &'static str| NewEvent {
        at: a.now,
        actor: a.clinic.as_str(),
        kind,
        subject: format!("{}/{}", a.clinic, a.study),
        clinic: Some(&a.clinic),
        study_id: Some(id),
        work_item: None,
        class: None,
        body: json!({ "object": a.object.hash }),
    };
    if others > 0 {
        event::append(tx, warn("study.object_conflict")).await?;
    }
    if identity_differs {
        event::append(tx, warn("study.identity_conflict")).await?;
    }
    if a.facts.has_pixels {
        crate::jobs::add(tx, "preview", &a.object.hash.to_hex(), a.now).await?;
    }
    settle(tx, policy, id, a.now).await?;
    Ok(ObjectReceipt { hash: a.object.hash, sha256: a.sha256, stored_at: a.now })
}

/// An object that is recorded already and whose bytes had been lost or damaged: they are back, nothing else changes. Which
/// version of an image is the current one was decided when it first came.
async fn healed(tx: &mut SqliteConnection, id: i64, a: &Arrived) -> Result<bool, StoreError> {
    let done = sqlx::query("UPDATE object SET stored_at = $3 WHERE study_id = $1 AND hash = $2")
        .bind(id)
        .bind(&a.object.hash.0[..])
        .bind(a.now.0)
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database("heal an object"))?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    let healed = NewEvent {
        at: a.now,
        actor: a.clinic.as_str(),
        kind: "object.healed",
        subject: format!("{}/{}", a.clinic, a.study),
        clinic: Some(&a.clinic),
        study_id: Some(id),
        work_item: None,
        class: None,
        body: json!({ "object": a.object.hash }),
    };
    event::append(tx, healed).await?;
    if a.facts.has_pixels {
        crate::jobs::add(tx, "preview", &a.object.hash.to_hex(), a.now).await?;
    }
    Ok(true)
}

async fn forget_refusal(tx: &mut SqliteConnection, a: &Arrived) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM refused WHERE clinic = $1 AND hash = $2")
        .bind(a.clinic.as_str())
        .bind(&a.object.hash.0[..])
        .execute(tx)
        .await
        .map(|_| ())
        .map_err(StoreError::database("forget a refusal"))
}

/// The receipt of an object that is durable in this study.
pub(super) async fn receipt(
    tx: &mut SqliteConnection,
    study_id: i64,
    hash: &ObjectHash,
) -> Result<Option<ObjectReceipt>, StoreError> {
    let row = sqlx::query(
        "SELECT o.sha256, o.stored_at FROM object o JOIN location l ON l.hash = o.hash AND l.status = 'ok'
         WHERE o.study_id = $1 AND o.hash = $2",
    )
    .bind(study_id)
    .bind(&hash.0[..])
    .fetch_optional(tx)
    .await
    .map_err(StoreError::database("find an object"))?;
    row.map(|row| {
        let key = hash.to_hex();
        let c = Columns::of(&row, "object", &key);
        Ok(ObjectReceipt { hash: *hash, sha256: c.sha256("sha256")?, stored_at: c.time("stored_at")? })
    })
    .transpose()
}

async fn location(tx: &mut SqliteConnection, a: &Arrived) -> Result<(), StoreError> {
    let hex = a.object.hash.to_hex();
    sqlx::query(
        "INSERT INTO location (hash, storage, path, length, sha256, encoding, status, stored_at, verified_at)
         VALUES ($1, 'file', $2, $3, $4, 'identity', 'ok', $5, $5)
         ON CONFLICT (hash) DO UPDATE SET status = 'ok', verified_at = excluded.verified_at",
    )
    .bind(&a.object.hash.0[..])
    .bind(format!("blobs/{}/{hex}", &hex[..2]))
    .bind(signed(a.object.length)?)
    .bind(&a.sha256.0[..])
    .bind(a.now.0)
    .execute(tx)
    .await
    .map(|_| ())
    .map_err(StoreError::database("record a location"))
}

/// Objects here so far, and whether the file names another patient than they do.
async fn identity(
    tx: &mut SqliteConnection,
    id: i64,
    person: &PersonFacts,
) -> Result<(i64, bool), StoreError> {
    let row = sqlx::query(
        "SELECT (SELECT count(*) FROM object WHERE study_id = $1) AS here, local_id, name FROM person
         WHERE study_id = $1 AND corrected_at IS NULL
         UNION ALL SELECT (SELECT count(*) FROM object WHERE study_id = $1), '', '' LIMIT 1",
    )
    .bind(id)
    .fetch_one(tx)
    .await
    .map_err(StoreError::database("compare identities"))?;
    let key = id.to_string();
    let c = Columns::of(&row, "person", &key);
    let here: i64 = c.get("here")?;
    let other = |known: &str, told: &str| !known.is_empty() && !told.is_empty() && known != told;
    let differs = other(&c.get::<String>("local_id")?, &person.local_id)
        || other(&c.get::<String>("name")?, &person.name);
    Ok((here, here > 0 && differs))
}

/// Same SOPInstanceUID with other bytes: a version. Both stay, the newest is current, all show the conflict.
async fn versions_of(tx: &mut SqliteConnection, id: i64, a: &Arrived) -> Result<u64, StoreError> {
    if a.facts.instance_uid.is_empty() {
        return Ok(0);
    }
    sqlx::query("UPDATE object SET current = 0, conflict = 1 WHERE study_id = $1 AND instance_uid = $2")
        .bind(id)
        .bind(&a.facts.instance_uid)
        .execute(tx)
        .await
        .map(|done| done.rows_affected())
        .map_err(StoreError::database("mark versions"))
}

async fn insert_object(
    tx: &mut SqliteConnection,
    id: i64,
    a: &Arrived,
    conflict: bool,
) -> Result<(), StoreError> {
    let f = &a.facts;
    let notes = serde_json::json!(f.notes).to_string();
    sqlx::query(
        "INSERT INTO object (study_id, clinic, hash, sha256, length, kind, instance_uid, series_uid, sop_class, modality,
             \"rows\", \"columns\", frames, body_part, laterality, view_position, transfer_syntax, description,
             is_waveform, conflict, notes, stored_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)",
    )
    .bind(id)
    .bind(a.clinic.as_str())
    .bind(&a.object.hash.0[..])
    .bind(&a.sha256.0[..])
    .bind(signed(a.object.length)?)
    .bind(f.kind.unwrap_or(a.object.kind).word())
    .bind(&f.instance_uid)
    .bind(&f.series_uid)
    .bind(&f.sop_class)
    .bind(&f.modality)
    .bind(i64::from(f.rows))
    .bind(i64::from(f.columns))
    .bind(i64::from(f.frames))
    .bind(&f.body_part)
    .bind(&f.laterality)
    .bind(&f.view_position)
    .bind(&f.transfer_syntax)
    .bind(&f.description)
    .bind(f.is_waveform)
    .bind(conflict)
    .bind(notes)
    .bind(a.now.0)
    .execute(tx)
    .await
    .map(|_| ())
    .map_err(StoreError::database("add an object"))
}

/// The first file's patient facts replace what only the clinic had given, later files fill gaps: the name on the screen
/// never changes by itself under a reader's eyes. What a person has corrected stays.
async fn person(tx: &mut SqliteConnection, id: i64, p: &PersonFacts, first: bool) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE person SET
             name = CASE WHEN $2 <> '' AND ($9 OR name = '') THEN $2 ELSE name END, sex = CASE WHEN $3 <> '' AND ($9 OR sex = '') THEN $3 ELSE sex END,
             birth_date = CASE WHEN $4 <> '' AND ($9 OR birth_date = '') THEN $4 ELSE birth_date END,
             age = CASE WHEN $5 <> '' AND ($9 OR age = '') THEN $5 ELSE age END,
             local_id = CASE WHEN $6 <> '' AND ($9 OR local_id = '') THEN $6 ELSE local_id END,
             national_id = CASE WHEN $7 <> '' AND ($9 OR national_id = '') THEN $7 ELSE national_id END,
             name_repaired = CASE WHEN $2 <> '' AND ($9 OR name = '') THEN $8 ELSE name_repaired END
         WHERE study_id = $1 AND corrected_at IS NULL",
    )
    .bind(id)
    .bind(&p.name)
    .bind(&p.sex)
    .bind(&p.birth_date)
    .bind(&p.age)
    .bind(&p.local_id)
    .bind(&p.national_id)
    .bind(p.name_repaired)
    .bind(first)
    .execute(tx)
    .await
    .map(|_| ())
    .map_err(StoreError::database("record the patient"))
}

async fn describe(tx: &mut SqliteConnection, id: i64, a: &Arrived) -> Result<(), StoreError> {
    let f = &a.facts;
    let view = [f.body_part.as_str(), f.laterality.as_str(), f.view_position.as_str()];
    let view = view.iter().filter(|t| !t.is_empty()).copied().collect::<Vec<_>>().join(" ");
    let item = if f.body_part.is_empty() && !f.description.is_empty() { f.description.clone() } else { view };
    let done = sqlx::query(
        "UPDATE study SET modality = CASE WHEN modality = '' THEN $2 ELSE modality END,
             item = CASE WHEN item = '' THEN $3 ELSE item END, last_object_at = $4, updated_at = $4 WHERE id = $1",
    )
    .bind(id)
    .bind(&f.modality)
    .bind(item)
    .bind(a.now.0)
    .execute(tx)
    .await
    .map_err(StoreError::database("describe a study"))?;
    one_row(&done, "study", id)
}

/// Keeps which synced bytes of an unfinished object are here.
pub(super) async fn partial(
    tx: &mut SqliteConnection,
    clinic: &ClinicId,
    object: &ManifestObject,
    ranges: &Ranges,
    now: UtcMs,
) -> Result<(), StoreError> {
    let body = serde_json::to_string(ranges)
        .map_err(|_| StoreError::refuse(Code::Internal, "ranges", "cannot be stored as JSON"))?;
    sqlx::query(
        "INSERT INTO partial (clinic, coded_hash, hash, coded_length, ranges, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (clinic, coded_hash) DO UPDATE SET ranges = excluded.ranges, updated_at = excluded.updated_at",
    )
    .bind(clinic.as_str())
    .bind(&object.coded.hash.0[..])
    .bind(&object.hash.0[..])
    .bind(signed(object.coded.length)?)
    .bind(body)
    .bind(now.0)
    .execute(tx)
    .await
    .map(|_| ())
    .map_err(StoreError::database("keep a partial"))
}

/// The partial is no longer needed.
pub(super) async fn forget_partial(
    tx: &mut SqliteConnection,
    clinic: &ClinicId,
    object: &ManifestObject,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM partial WHERE clinic = $1 AND coded_hash = $2")
        .bind(clinic.as_str())
        .bind(&object.coded.hash.0[..])
        .execute(tx)
        .await
        .map(|_| ())
        .map_err(StoreError::database("forget a partial"))
}

/// An object that may not enter custody.
pub(super) struct Refused<'a> {
    pub(super) policy: &'a SlaPolicy,
    pub(super) clinic: &'a ClinicId,
    pub(super) study: &'a StudyUid,
    pub(super) object: &'a ManifestObject,
    pub(super) refusal: &'a Refusal,
    pub(super) quarantine: Option<String>,
}

/// Keeps why an object may not enter custody; the study goes on without it.
pub(super) async fn refusal(tx: &mut SqliteConnection, r: Refused<'_>, now: UtcMs) -> Result<(), StoreError> {
    let Refused { clinic, study, object, refusal, .. } = r;
    forget_partial(tx, clinic, object).await?;
    sqlx::query(
        "INSERT INTO refused (clinic, hash, study_uid, generation, code, field, reason, quarantine, length, at)
         VALUES ($1, $2, $3, coalesce((SELECT generation FROM study WHERE clinic = $1 AND uid = $3), 0),
                 $4, $5, $6, $7, $8, $9)
         ON CONFLICT (clinic, hash) DO UPDATE SET generation = excluded.generation, code = excluded.code,
             field = excluded.field, reason = excluded.reason, quarantine = excluded.quarantine, at = excluded.at",
    )
    .bind(clinic.as_str())
    .bind(&object.hash.0[..])
    .bind(study.as_str())
    .bind(i64::from(refusal.code.number()))
    .bind(&refusal.field)
    .bind(&refusal.reason)
    .bind(&r.quarantine)
    .bind(signed(object.length)?)
    .bind(now.0)
    .execute(&mut *tx)
    .await
    .map_err(StoreError::database("record a refusal"))?;
    let id = study_id(tx, clinic, study).await?;
    event::append(
        tx,
        NewEvent {
            at: now,
            actor: "county",
            kind: "object.refused",
            subject: format!("{clinic}/{study}"),
            clinic: Some(clinic),
            study_id: id,
            work_item: None,
            class: None,
            body: json!({ "object": object.hash, "code": refusal.code.name(), "field": refusal.field }),
        },
    )
    .await?;
    match id {
        Some(id) => settle(tx, r.policy, id, now).await,
        None => Ok(()),
    }
}

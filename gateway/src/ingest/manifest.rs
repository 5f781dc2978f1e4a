//! What a manifest changes: study, class, announced objects, what the clinic adds. Part of one transaction of the caller.

use super::ranges::Ranges;
use super::record::study_id;
use super::settle::settle_in;
use super::timing;
use crate::store::{Batch, Columns, NewEvent, StoreError, event, signed};
use relay_core::clock::UtcMs;
use relay_core::codes::{Code, Refusal};
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
    let mut batch = Batch::on(tx);
    add_clinic(&mut batch, clinic, now);
    batch.run().await
}

fn add_clinic(batch: &mut Batch<'_>, clinic: &ClinicId, now: UtcMs) {
    batch
        .add(
            "add a clinic",
            "INSERT INTO clinic (id, name, added_at) VALUES ($1, $1, $2) ON CONFLICT (id) DO NOTHING",
        )
        .bind(clinic.as_str())
        .bind(now.0);
}

/// How an announced object stands at the county.
pub(super) struct Standing {
    /// Durable, and its file whole.
    pub(super) stored: bool,
    /// Refused, and the refusal still stands.
    pub(super) refused: Option<Refusal>,
    /// What was synced of it.
    pub(super) ranges: Option<Ranges>,
}

/// Records a manifest: the highest generation wins, the class is only raised. Idempotent. Says how each object stands, in
/// the manifest's order.
pub(super) async fn record(
    mut batch: Batch<'_>,
    policy: &SlaPolicy,
    clinic: &ClinicId,
    manifest: &Manifest,
    now: UtcMs,
) -> Result<Vec<Standing>, StoreError> {
    let b = &mut batch;
    add_clinic(b, clinic, now);
    b.add("find a study", "SELECT id, class, generation FROM study WHERE clinic = $1 AND uid = $2")
        .bind(clinic.as_str())
        .bind(manifest.study.as_str());
    let (id, newer) = if let Some(row) = b.row().await? {
        let c = Columns::of(&row, "study", manifest.study.as_str());
        let (id, before, generation): (i64, Class, u64) =
            (c.get("id")?, c.parsed("class")?, c.unsigned("generation")?);
        let newer = manifest.generation > generation;
        if newer {
            update_study(b, id, manifest, now)?;
        }
        raise_class(b, clinic, id, before, manifest, now).await?;
        no_length_changed(b, id, manifest).await?;
        (id, newer)
    } else {
        (insert_study(b, clinic, manifest, now).await?, true)
    };
    announce(b, id, manifest, newer)?;
    if newer {
        context(b, clinic, id, &manifest.context, now).await?;
        timing::retime(b, policy, id, now).await?;
    }
    settle_in(b, policy, id, false, now).await?;
    standing(b, clinic, id, manifest).await
}

async fn standing(
    batch: &mut Batch<'_>,
    clinic: &ClinicId,
    id: i64,
    manifest: &Manifest,
) -> Result<Vec<Standing>, StoreError> {
    batch
        .add(
            "read how objects stand",
            "WITH named AS (SELECT key AS place, unhex(json_extract(value, '$.h')) AS hash,
                                   unhex(json_extract(value, '$.ch')) AS coded_hash FROM json_each($3))
             SELECT l.hash IS NOT NULL AS stored, r.code, r.field, r.reason, r.generation, p.ranges
             FROM named n
             LEFT JOIN object o ON o.study_id = $2 AND o.hash = n.hash
             LEFT JOIN location l ON l.hash = o.hash AND l.status = 'ok'
             LEFT JOIN refused r ON r.clinic = $1 AND r.hash = n.hash AND r.study_uid = $4
             LEFT JOIN partial p ON p.clinic = $1 AND p.coded_hash = n.coded_hash
             ORDER BY n.place",
        )
        .bind(clinic.as_str())
        .bind(id)
        .bind(objects_json(manifest)?)
        .bind(manifest.study.as_str());
    let rows = batch.rows().await?;
    rows.iter().map(|row| stands(&Columns::of(row, "object", manifest.study.as_str()), manifest)).collect()
}

/// Refusals that still stand: whatever is wrong with the bytes themselves, and whatever was refused under this generation.
/// A digest or coding fault may be a disk fault at the clinic: a newer manifest may try again.
fn stands(c: &Columns<'_>, manifest: &Manifest) -> Result<Standing, StoreError> {
    let refused = match c.get::<Option<i64>>("code")? {
        None => None,
        Some(number) => {
            let code = u16::try_from(number).ok().and_then(Code::from_number).unwrap_or(Code::Internal);
            let transient = matches!(code, Code::RefusedDigest | Code::RefusedEncoding);
            let over = transient && manifest.generation > c.unsigned::<u64>("generation")?;
            let refusal = Refusal::new(code, c.get::<String>("field")?, c.get::<String>("reason")?);
            (!over).then_some(refusal)
        }
    };
    let ranges = match c.get::<Option<String>>("ranges")? {
        Some(_) => Some(c.json("ranges")?),
        None => None,
    };
    Ok(Standing { stored: c.get("stored")?, refused, ranges })
}

async fn insert_study(
    batch: &mut Batch<'_>,
    clinic: &ClinicId,
    m: &Manifest,
    now: UtcMs,
) -> Result<i64, StoreError> {
    batch
        .add(
            "add a study",
            "INSERT INTO study (clinic, uid, class, kind, completeness, generation, source, t0, time_suspect, first_object_at,
                 exam_time_source, exam_time_ms, clock_offset_ms, retake_of, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1, $8, $9, $10,
                 (SELECT clock_offset_ms FROM clinic WHERE id = $1), $11, $12, $12) RETURNING id",
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
        .bind(now.0);
    let row = batch.only_row().await?;
    let id = Columns::of(&row, "study", m.study.as_str()).get("id")?;
    batch
        .add("add a person", "INSERT INTO person (study_id, clinic) VALUES ($1, $2)")
        .bind(id)
        .bind(clinic.as_str());
    let announced = NewEvent {
        at: now,
        actor: clinic.as_str(),
        kind: "study.announced",
        subject: format!("{clinic}/{}", m.study),
        clinic: Some(clinic),
        study_id: Some(id),
        work_item: None,
        class: Some(m.class),
        body: json!({ "objects": m.objects.len(), "kind": m.kind, "first_object_at": m.first_object_at }),
    };
    event::add(batch, announced);
    Ok(id)
}

/// Where the exam time came from: `manifest`, doubted by the agent or not; `None` = the manifest has none.
fn exam_source(m: &Manifest) -> Option<&'static str> {
    m.exam_completed_at.map(|_| if m.time_suspect { timing::MANIFEST_DOUBTED } else { timing::MANIFEST })
}

fn update_study(batch: &mut Batch<'_>, id: i64, m: &Manifest, now: UtcMs) -> Result<(), StoreError> {
    batch
        .add(
            "update a study",
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
        .one_row("study", id);
    Ok(())
}

async fn raise_class(
    batch: &mut Batch<'_>,
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
    batch
        .add("raise a class", "UPDATE study SET class = $2, updated_at = $3 WHERE id = $1")
        .bind(id)
        .bind(class.word())
        .bind(now.0)
        .one_row("study", id);
    batch.add("find a work item", "SELECT id FROM work_item WHERE study_id = $1").bind(id);
    let work_item = match batch.row().await? {
        Some(row) => Some(Columns::of(&row, "work_item", m.study.as_str()).get("id")?),
        None => None,
    };
    let raised = NewEvent {
        at: now,
        actor: clinic.as_str(),
        kind: "study.class_raised",
        subject: format!("{clinic}/{}", m.study),
        clinic: Some(clinic),
        study_id: Some(id),
        work_item,
        class: Some(class),
        body: json!({ "from": before, "to": class }),
    };
    event::add(batch, raised);
    Ok(())
}

/// A manifest that gives a stored or announced object another length lies.
async fn no_length_changed(batch: &mut Batch<'_>, id: i64, m: &Manifest) -> Result<(), StoreError> {
    batch
        .add(
            "compare lengths",
            "SELECT lower(hex(k.hash)) AS hash FROM json_each($2) AS j
             JOIN (SELECT hash, length FROM object WHERE study_id = $1
                   UNION SELECT hash, length FROM announced WHERE study_id = $1) AS k
               ON k.hash = unhex(json_extract(j.value, '$.h'))
             WHERE k.length <> json_extract(j.value, '$.l') LIMIT 1",
        )
        .bind(id)
        .bind(objects_json(m)?);
    let Some(liar) = batch.row().await? else { return Ok(()) };
    let hash: String = Columns::of(&liar, "object", m.study.as_str()).get("hash")?;
    Err(StoreError::refuse(
        Code::RefusedManifest,
        "objects",
        format!("object {hash} was announced with another length before"),
    ))
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
fn announce(batch: &mut Batch<'_>, id: i64, m: &Manifest, newer: bool) -> Result<(), StoreError> {
    if newer {
        batch.add("replace announced objects", "DELETE FROM announced WHERE study_id = $1").bind(id);
    }
    batch
        .add(
            "announce objects",
            "INSERT INTO announced (study_id, hash, length, kind, coded_encoding, coded_length, coded_hash)
             SELECT $1, unhex(json_extract(value, '$.h')), json_extract(value, '$.l'), json_extract(value, '$.k'),
                    json_extract(value, '$.e'), json_extract(value, '$.cl'), unhex(json_extract(value, '$.ch'))
             FROM json_each($2) WHERE true
             ON CONFLICT (study_id, hash) DO UPDATE SET coded_encoding = excluded.coded_encoding,
                 coded_length = excluded.coded_length, coded_hash = excluded.coded_hash",
        )
        .bind(id)
        .bind(objects_json(m)?);
    Ok(())
}

/// What the clinic adds: fills what the files leave empty, never what a person has corrected. Of whom it is the first word
/// stands, also in what is kept of the context: whose name is on the screen can be told from it.
async fn context(
    batch: &mut Batch<'_>,
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
    batch
        .add(
            "keep the context",
            "UPDATE person SET context = json_patch($2, (SELECT json_group_object(key, value) FROM json_each(person.context)
                   WHERE key IN ('patient_name', 'patient_id', 'patient_sex', 'patient_birth_date') AND value IS NOT NULL)),
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
        .one_row("person", id);
    match &context.retake_of {
        Some(of) => answer_retake(batch, clinic, id, of, now).await,
        None => Ok(()),
    }
}

/// The retaken study takes the place of the one that was sent back: nobody waits for that one any more.
async fn answer_retake(
    batch: &mut Batch<'_>,
    clinic: &ClinicId,
    id: i64,
    of: &StudyUid,
    now: UtcMs,
) -> Result<(), StoreError> {
    let Some(old) = study_id(batch, clinic, of).await? else { return Ok(()) };
    batch
        .add(
            "answer a retake request",
            "UPDATE retake SET answered_by_study = $1, answered_at = $3 WHERE answered_at IS NULL AND study_id = $2",
        )
        .bind(id)
        .bind(old)
        .bind(now.0);
    batch
        .add(
            "withdraw a retaken study",
            "UPDATE work_item SET state = 'withdrawn', state_at = max($2, state_at + 1)
             WHERE study_id = $1 AND state = 'retake_requested' RETURNING id",
        )
        .bind(old)
        .bind(now.0);
    let Some(row) = batch.row().await? else { return Ok(()) };
    let withdrawn = NewEvent {
        at: now,
        actor: clinic.as_str(),
        kind: "work.withdrawn",
        subject: format!("{clinic}/{of}"),
        clinic: Some(clinic),
        study_id: Some(old),
        work_item: Some(Columns::of(&row, "work_item", of.as_str()).get("id")?),
        class: None,
        body: json!({ "reason": "retaken", "by_study": id }),
    };
    event::add(batch, withdrawn);
    Ok(())
}

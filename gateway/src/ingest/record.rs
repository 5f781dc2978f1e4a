//! What an object changes, arrived or refused. Each function is part of one transaction of the caller.

use super::facts::{ObjectFacts, PersonFacts};
use super::ranges::Ranges;
use super::settle::settle_in;
use super::timing;
use crate::link::ports::ObjectReceipt;
use crate::store::{Batch, Columns, NewEvent, StoreError, event, signed};
use relay_core::clock::UtcMs;
use relay_core::codes::{Code, Refusal};
use relay_core::formats::text::written_name;
use relay_core::ids::{ClinicId, Sha256, StudyUid};
use relay_core::sla::SlaPolicy;
use relay_core::study::ManifestObject;
use serde_json::json;
use sqlx::SqliteConnection;

/// Row id of a study.
pub(super) async fn study_id(
    batch: &mut Batch<'_>,
    clinic: &ClinicId,
    uid: &StudyUid,
) -> Result<Option<i64>, StoreError> {
    batch
        .add("find a study", "SELECT id FROM study WHERE clinic = $1 AND uid = $2")
        .bind(clinic.as_str())
        .bind(uid.as_str());
    batch.row().await?.map(|row| Columns::of(&row, "study", uid.as_str()).get("id")).transpose()
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

/// What the store knows of an arrived object and its study.
struct Known {
    study_id: i64,
    /// The object, recorded before.
    before: Option<(Sha256, UtcMs)>,
    /// Whether the bytes of its address are good.
    bytes_good: bool,
    /// Objects of the study so far.
    here: i64,
    /// Of which those with this SOPInstanceUID.
    versions: i64,
    /// What the study says of the patient, also where a person has corrected it.
    local_id: String,
    name: String,
}

async fn known(batch: &mut Batch<'_>, a: &Arrived) -> Result<Option<Known>, StoreError> {
    batch
        .add(
            "find an object and its study",
            "SELECT s.id, o.sha256, o.stored_at, coalesce(l.status = 'ok', 0) AS bytes_good,
                    (SELECT count(*) FROM object h WHERE h.study_id = s.id) AS here,
                    (SELECT count(*) FROM object v WHERE v.study_id = s.id AND v.instance_uid = $4 AND $4 <> '') AS versions,
                    coalesce(p.local_id, '') AS local_id, coalesce(p.name, '') AS name
             FROM study s LEFT JOIN object o ON o.study_id = s.id AND o.hash = $3 LEFT JOIN location l ON l.hash = $3
             LEFT JOIN person p ON p.study_id = s.id
             WHERE s.clinic = $1 AND s.uid = $2",
        )
        .bind(a.clinic.as_str())
        .bind(a.study.as_str())
        .bind(&a.object.hash.0[..])
        .bind(&a.facts.instance_uid);
    let Some(row) = batch.row().await? else { return Ok(None) };
    let c = Columns::of(&row, "study", a.study.as_str());
    let before = match c.time_or_none("stored_at")? {
        Some(at) => Some((c.sha256("sha256")?, at)),
        None => None,
    };
    Ok(Some(Known {
        study_id: c.get("id")?,
        before,
        bytes_good: c.get("bytes_good")?,
        here: c.get("here")?,
        versions: c.get("versions")?,
        local_id: c.get("local_id")?,
        name: c.get("name")?,
    }))
}

impl Known {
    /// Whether the file names another patient than the study's objects do.
    fn identity_differs(&self, person: &PersonFacts) -> bool {
        let other = |known: &str, told: &str| !known.is_empty() && !told.is_empty() && known != told;
        let (known, told) = (written_name(&self.name), written_name(&person.name));
        self.here > 0 && (other(&self.local_id, &person.local_id) || other(&known, &told))
    }
}

/// Records an object: location, object, person, study, work item, events and preview job. Idempotent.
pub(super) async fn object(
    mut batch: Batch<'_>,
    policy: &SlaPolicy,
    a: &Arrived,
) -> Result<ObjectReceipt, StoreError> {
    let known = known(&mut batch, a).await?.ok_or_else(|| {
        StoreError::refuse(Code::RefusedUnannounced, "study", "no manifest has announced this study")
    })?;
    location(&mut batch, a)?;
    let receipt = match known.before {
        Some((sha256, stored_at)) if known.bytes_good => {
            ObjectReceipt { hash: a.object.hash, sha256, stored_at }
        }
        before => {
            if before.is_some() {
                heal(&mut batch, known.study_id, a);
            } else {
                enter(&mut batch, policy, &known, a).await?;
            }
            forget_partial(&mut batch, &a.clinic, &a.object);
            forget_refusal(&mut batch, a);
            settle_in(&mut batch, policy, known.study_id, false, a.now).await?;
            ObjectReceipt { hash: a.object.hash, sha256: a.sha256, stored_at: a.now }
        }
    };
    batch.run().await?;
    Ok(receipt)
}

/// What a new object adds.
async fn enter(
    batch: &mut Batch<'_>,
    policy: &SlaPolicy,
    known: &Known,
    a: &Arrived,
) -> Result<(), StoreError> {
    let (id, first) = (known.study_id, known.here == 0);
    if known.versions > 0 {
        set_versions_aside(batch, id, a);
    }
    let other_patient = known.identity_differs(&a.facts.person);
    insert_object(batch, id, a, [known.versions > 0, other_patient])?;
    person(batch, id, &a.facts.person, first);
    describe(batch, id, a);
    if let Some(exam) = &a.facts.exam {
        timing::learn(batch, id, policy, exam, first, a.now).await?;
    }
    if known.versions > 0 {
        event::add(batch, about_object(a, id, "study.object_conflict"));
    }
    if other_patient {
        event::add(batch, about_object(a, id, "study.identity_conflict"));
    }
    if a.facts.has_pixels {
        crate::jobs::add(batch, "preview", &a.object.hash.to_hex(), a.now);
    }
    Ok(())
}

fn about_object<'a>(a: &'a Arrived, id: i64, kind: &'static str) -> NewEvent<'a> {
    NewEvent {
        at: a.now,
        actor: a.clinic.as_str(),
        kind,
        subject: format!("{}/{}", a.clinic, a.study),
        clinic: Some(&a.clinic),
        study_id: Some(id),
        work_item: None,
        class: None,
        body: json!({ "object": a.object.hash }),
    }
}

/// An object that is recorded already and whose bytes had been lost or damaged: they are back, nothing else changes. Which
/// version of an image is the current one was decided when it first came.
fn heal(batch: &mut Batch<'_>, id: i64, a: &Arrived) {
    batch
        .add("heal an object", "UPDATE object SET stored_at = $3 WHERE study_id = $1 AND hash = $2")
        .bind(id)
        .bind(&a.object.hash.0[..])
        .bind(a.now.0)
        .one_row("object", a.object.hash);
    event::add(batch, about_object(a, id, "object.healed"));
    if a.facts.has_pixels {
        crate::jobs::add(batch, "preview", &a.object.hash.to_hex(), a.now);
    }
}

fn forget_refusal(batch: &mut Batch<'_>, a: &Arrived) {
    batch
        .add("forget a refusal", "DELETE FROM refused WHERE clinic = $1 AND hash = $2")
        .bind(a.clinic.as_str())
        .bind(&a.object.hash.0[..]);
}

fn location(batch: &mut Batch<'_>, a: &Arrived) -> Result<(), StoreError> {
    let hex = a.object.hash.to_hex();
    batch
        .add(
            "record a location",
            "INSERT INTO location (hash, storage, path, length, sha256, encoding, status, stored_at, verified_at)
             VALUES ($1, 'file', $2, $3, $4, 'identity', 'ok', $5, $5)
             ON CONFLICT (hash) DO UPDATE SET status = 'ok', verified_at = excluded.verified_at",
        )
        .bind(&a.object.hash.0[..])
        .bind(format!("blobs/{}/{hex}", &hex[..2]))
        .bind(signed(a.object.length)?)
        .bind(&a.sha256.0[..])
        .bind(a.now.0);
    Ok(())
}

/// Same SOPInstanceUID with other bytes: a version. Both stay, the newest is current, all show the conflict.
fn set_versions_aside(batch: &mut Batch<'_>, id: i64, a: &Arrived) {
    batch
        .add(
            "mark versions",
            "UPDATE object SET current = 0, conflict = 1 WHERE study_id = $1 AND instance_uid = $2",
        )
        .bind(id)
        .bind(&a.facts.instance_uid);
}

fn insert_object(
    batch: &mut Batch<'_>,
    id: i64,
    a: &Arrived,
    [conflict, other_patient]: [bool; 2],
) -> Result<(), StoreError> {
    let f = &a.facts;
    let notes = serde_json::json!(f.notes).to_string();
    batch
        .add(
            "add an object",
            "INSERT INTO object (study_id, clinic, hash, sha256, length, kind, instance_uid, series_uid, sop_class, modality,
                 \"rows\", \"columns\", frames, body_part, laterality, view_position, transfer_syntax, description,
                 is_waveform, conflict, notes, stored_at, other_patient)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)",
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
        .bind(other_patient);
    Ok(())
}

/// The first file's patient facts replace what only the clinic had given, later files fill gaps: the name on the screen
/// never changes by itself under a reader's eyes. What a person has corrected stays.
fn person(batch: &mut Batch<'_>, id: i64, p: &PersonFacts, first: bool) {
    batch
        .add(
            "record the patient",
            "UPDATE person SET
                 name = CASE WHEN $2 <> '' AND ($9 OR name = '') THEN $2 ELSE name END,
                 sex = CASE WHEN $3 <> '' AND ($9 OR sex = '') THEN $3 ELSE sex END,
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
        .bind(first);
}

fn describe(batch: &mut Batch<'_>, id: i64, a: &Arrived) {
    let f = &a.facts;
    let view = [f.body_part.as_str(), f.laterality.as_str(), f.view_position.as_str()];
    let view = view.iter().filter(|t| !t.is_empty()).copied().collect::<Vec<_>>().join(" ");
    let item = if f.body_part.is_empty() && !f.description.is_empty() { f.description.clone() } else { view };
    batch
        .add(
            "describe a study",
            "UPDATE study SET modality = CASE WHEN modality = '' THEN $2 ELSE modality END,
                 item = CASE WHEN item = '' THEN $3 ELSE item END, last_object_at = $4, updated_at = $4 WHERE id = $1",
        )
        .bind(id)
        .bind(&f.modality)
        .bind(item)
        .bind(a.now.0)
        .one_row("study", id);
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
fn forget_partial(batch: &mut Batch<'_>, clinic: &ClinicId, object: &ManifestObject) {
    batch
        .add("forget a partial", "DELETE FROM partial WHERE clinic = $1 AND coded_hash = $2")
        .bind(clinic.as_str())
        .bind(&object.coded.hash.0[..]);
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
    let mut batch = Batch::on(tx);
    let id = study_id(&mut batch, clinic, study).await?;
    forget_partial(&mut batch, clinic, object);
    batch
        .add(
            "record a refusal",
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
        .bind(now.0);
    let refused = NewEvent {
        at: now,
        actor: "county",
        kind: "object.refused",
        subject: format!("{clinic}/{study}"),
        clinic: Some(clinic),
        study_id: id,
        work_item: None,
        class: None,
        body: json!({ "object": object.hash, "code": refusal.code.name(), "field": refusal.field }),
    };
    event::add(&mut batch, refused);
    if let Some(id) = id {
        settle_in(&mut batch, r.policy, id, false, now).await?;
    }
    batch.run().await
}

//! A study as the reading room shows it.

use super::priors;
use crate::reports;
use crate::store::{Columns, Scope, StoreError};
use relay_core::codes::Code;
use relay_core::ids::{ObjectHash, StudyKey};
use relay_core::study::{StudyContext, StudyRevision};
use sqlx::SqliteConnection;
use viewer_api::desk::{StudyObject, StudyView, WorkRow};

/// The whole view of a study whose row is in scope already.
pub(super) async fn view(
    tx: &mut SqliteConnection,
    scope: &Scope,
    study_id: i64,
    row: WorkRow,
) -> Result<StudyView, StoreError> {
    let key = study_id.to_string();
    let study = sqlx::query(
        "SELECT s.revision, p.context FROM study s LEFT JOIN person p ON p.study_id = s.id WHERE s.id = $1",
    )
    .bind(study_id)
    .fetch_one(&mut *tx)
    .await
    .map_err(StoreError::database("read a study"))?;
    let c = Columns::of(&study, "study", &key);
    let context = match c.get::<Option<String>>("context")? {
        Some(_) => c.json("context")?,
        None => StudyContext::default(),
    };
    let revision = match c.get::<Option<Vec<u8>>>("revision")? {
        Some(_) => StudyRevision(c.hash("revision")?),
        None => StudyRevision::of([]),
    };
    let (certain, suspected) = priors::find(tx, scope, study_id, &row).await?;
    Ok(StudyView {
        objects: objects(tx, study_id).await?,
        revision,
        context,
        missing: row.objects.1.saturating_sub(row.objects.0),
        priors: certain,
        suspected,
        versions: reports::versions_shown(tx, study_id).await?,
        critical: reports::critical_of_study(tx, study_id).await?,
        row,
    })
}

async fn objects(tx: &mut SqliteConnection, study_id: i64) -> Result<Vec<StudyObject>, StoreError> {
    let rows = sqlx::query("SELECT * FROM object WHERE study_id = $1 ORDER BY series_uid, instance_uid, id")
        .bind(study_id)
        .fetch_all(tx)
        .await
        .map_err(StoreError::database("read a study's objects"))?;
    rows.iter()
        .map(|row| {
            let key = study_id.to_string();
            let c = Columns::of(row, "object", &key);
            Ok(StudyObject {
                hash: c.hash("hash")?,
                sha256: c.sha256("sha256")?,
                length: c.unsigned("length")?,
                kind: c.parsed("kind")?,
                instance_uid: c.get("instance_uid")?,
                series_uid: c.get("series_uid")?,
                modality: c.get("modality")?,
                rows: c.unsigned("rows")?,
                columns: c.unsigned("columns")?,
                frames: c.unsigned("frames")?,
                body_part: c.get("body_part")?,
                laterality: c.get("laterality")?,
                view_position: c.get("view_position")?,
                transfer_syntax: c.get("transfer_syntax")?,
                current: c.get("current")?,
                conflict: c.get("conflict")?,
                other_patient: c.get("other_patient")?,
                stored_at: c.time("stored_at")?,
            })
        })
        .collect()
}

/// The status of an object's bytes, when it belongs to a study in scope.
pub(super) async fn require_object(
    tx: &mut SqliteConnection,
    scope: &Scope,
    study: &StudyKey,
    object: &ObjectHash,
) -> Result<String, StoreError> {
    if !scope.allows(&study.clinic) {
        return Err(StoreError::refuse(Code::NotFound, "study", "no such study for this reader"));
    }
    let found: Option<String> = sqlx::query_scalar(
        "SELECT l.status FROM object o JOIN study s ON s.id = o.study_id JOIN location l ON l.hash = o.hash
         WHERE s.clinic = $1 AND s.uid = $2 AND o.hash = $3",
    )
    .bind(study.clinic.as_str())
    .bind(study.uid.as_str())
    .bind(&object.0[..])
    .fetch_optional(tx)
    .await
    .map_err(StoreError::database("find an object"))?;
    found.ok_or_else(|| StoreError::refuse(Code::NotFound, "object", "no such object in this study"))
}

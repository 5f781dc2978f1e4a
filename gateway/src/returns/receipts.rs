//! What a receipt means: the version is at the clinic, the critical notice has arrived, the case may be closed.

use super::outbox::unknown;
use crate::sla;
use crate::store::{Batch, Columns, NewEvent, StoreError, event, one_row};
use relay_core::clock::UtcMs;
use relay_core::ids::{ClinicId, LetterId};
use relay_core::letter::LetterKind;
use relay_core::report::ReportKind;
use relay_core::sla::SlaPolicy;
use relay_core::study::Class;
use serde_json::json;
use sqlx::SqliteConnection;

/// What a letter is about.
pub(super) struct Letter {
    pub(super) kind: LetterKind,
    pub(super) study_id: Option<i64>,
    pub(super) work_item: Option<i64>,
    pub(super) class: Option<Class>,
    pub(super) received: bool,
    /// The code of the refusal that stands.
    pub(super) refused: Option<i64>,
    /// How often it did not get through: refusals and delays.
    pub(super) failures: (i64, i64),
    pub(super) subject: String,
}

pub(super) async fn find(
    tx: &mut SqliteConnection,
    clinic: &ClinicId,
    id: &LetterId,
) -> Result<Letter, StoreError> {
    let row = sqlx::query(
        "SELECT l.kind, l.study_uid, l.study_id, l.received_at, l.refused_at, l.refused_code,
             l.refusals, l.delays, w.id AS work_item, s.class AS class
         FROM letter l LEFT JOIN study s ON s.id = l.study_id LEFT JOIN work_item w ON w.study_id = l.study_id
         WHERE l.id = $1 AND l.clinic = $2",
    )
    .bind(id.as_str())
    .bind(clinic.as_str())
    .fetch_optional(tx)
    .await
    .map_err(StoreError::database("find a letter"))?
    .ok_or_else(|| unknown(id))?;
    let c = Columns::of(&row, "letter", id.as_str());
    Ok(Letter {
        kind: c.parsed("kind")?,
        study_id: c.get("study_id")?,
        work_item: c.get("work_item")?,
        class: c.parsed_or_none("class")?,
        received: c.time_or_none("received_at")?.is_some(),
        refused: if c.time_or_none("refused_at")?.is_some() { c.get("refused_code")? } else { None },
        failures: (c.get("refusals")?, c.get("delays")?),
        subject: format!("{clinic}/{}", c.get::<String>("study_uid")?),
    })
}

/// An event about a letter.
pub(super) fn letter_event<'a>(
    clinic: &'a ClinicId,
    letter: &Letter,
    kind: &'static str,
    body: serde_json::Value,
    now: UtcMs,
) -> NewEvent<'a> {
    NewEvent {
        at: now,
        actor: clinic.as_str(),
        kind,
        subject: letter.subject.clone(),
        clinic: Some(clinic),
        study_id: letter.study_id,
        work_item: letter.work_item,
        class: letter.class,
        body,
    }
}

/// The receipt of a status letter means no more than itself. False when the letter is another, or received before.
pub(super) async fn status_received(
    mut batch: Batch<'_>,
    clinic: &ClinicId,
    id: &LetterId,
    stored_at: UtcMs,
    now: UtcMs,
) -> Result<bool, StoreError> {
    batch
        .add(
            "record the receipt of a status letter",
            "UPDATE letter SET received_at = $3, stored_at = $4, refused_at = NULL, next_try_at = NULL
             WHERE id = $1 AND clinic = $2 AND kind = 'study_status' AND received_at IS NULL RETURNING id",
        )
        .bind(id.as_str())
        .bind(clinic.as_str())
        .bind(now.0)
        .bind(stored_at.0);
    Ok(batch.row().await?.is_some())
}

pub(super) async fn received(
    tx: &mut SqliteConnection,
    policy: &SlaPolicy,
    clinic: &ClinicId,
    id: &LetterId,
    stored_at: UtcMs,
    now: UtcMs,
) -> Result<(), StoreError> {
    let letter = find(tx, clinic, id).await?;
    if letter.received {
        return Ok(());
    }
    let done = sqlx::query(
        "UPDATE letter SET received_at = $2, stored_at = $3, refused_at = NULL, next_try_at = NULL
         WHERE id = $1 AND received_at IS NULL",
    )
    .bind(id.as_str())
    .bind(now.0)
    .bind(stored_at.0)
    .execute(&mut *tx)
    .await
    .map_err(StoreError::database("record a receipt"))?;
    one_row(&done, "letter", id)?;
    mean(tx, clinic, id, &letter, stored_at, now).await?;
    match letter.study_id {
        Some(study) => sla::refresh(tx, policy, study).await,
        None => Ok(()),
    }
}

/// What the receipt means for what the letter carried.
async fn mean(
    tx: &mut SqliteConnection,
    clinic: &ClinicId,
    id: &LetterId,
    letter: &Letter,
    stored_at: UtcMs,
    now: UtcMs,
) -> Result<(), StoreError> {
    match letter.kind {
        LetterKind::Report | LetterKind::TreatmentPlan => {
            version_received(tx, clinic, id, letter, stored_at, now).await
        }
        LetterKind::CriticalNotice => {
            let done = sqlx::query("UPDATE critical SET received_at = $2 WHERE letter = $1")
                .bind(id.as_str())
                .bind(now.0)
                .execute(&mut *tx)
                .await
                .map_err(StoreError::database("mark a critical notice as received"))?;
            one_row(&done, "critical", id)?;
            let body = json!({ "letter": id, "stored_at": stored_at });
            event::append(tx, letter_event(clinic, letter, "critical.received", body, now)).await.map(|_| ())
        }
        LetterKind::RetakeRequest => {
            let body = json!({ "letter": id, "stored_at": stored_at });
            event::append(tx, letter_event(clinic, letter, "retake.received", body, now)).await.map(|_| ())
        }
        LetterKind::ReportVoid => {
            let body = json!({ "letter": id, "stored_at": stored_at });
            event::append(tx, letter_event(clinic, letter, "report.void_received", body, now))
                .await
                .map(|_| ())
        }
        LetterKind::StudyStatus => Ok(()),
    }
}

async fn version_received(
    tx: &mut SqliteConnection,
    clinic: &ClinicId,
    id: &LetterId,
    letter: &Letter,
    stored_at: UtcMs,
    now: UtcMs,
) -> Result<(), StoreError> {
    let row = sqlx::query(
        "UPDATE report_version SET received_at = $2,
             delivery = CASE WHEN delivery = 'opened' THEN delivery ELSE 'received' END
         WHERE letter = $1 RETURNING report, version, kind",
    )
    .bind(id.as_str())
    .bind(now.0)
    .fetch_optional(&mut *tx)
    .await
    .map_err(StoreError::database("mark a version as received"))?;
    let Some(row) = row else {
        // A treatment plan has no version row of its own.
        let body = json!({ "letter": id, "stored_at": stored_at });
        return event::append(tx, letter_event(clinic, letter, "plan.received", body, now)).await.map(|_| ());
    };
    let c = Columns::of(&row, "report_version", id.as_str());
    let (report, version, kind): (String, i64, ReportKind) =
        (c.get("report")?, c.get("version")?, c.parsed("kind")?);
    let body =
        json!({ "letter": id, "report": report, "version": version, "kind": kind, "stored_at": stored_at });
    event::append(tx, letter_event(clinic, letter, sla::kinds::RECEIVED, body, now)).await?;
    let Some(item) = letter.work_item else { return Ok(()) };
    if kind == ReportKind::Preliminary {
        sqlx::query(
            "UPDATE work_item SET prelim_received_at = coalesce(prelim_received_at, $2) WHERE id = $1",
        )
        .bind(item)
        .bind(now.0)
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database("mark a work item"))?;
    } else {
        sqlx::query("UPDATE work_item SET received_at = coalesce(received_at, $2) WHERE id = $1")
            .bind(item)
            .bind(now.0)
            .execute(&mut *tx)
            .await
            .map_err(StoreError::database("mark a work item"))?;
        close_when_delivered(tx, clinic, letter, item, now).await?;
    }
    Ok(())
}

/// The newest version is at the clinic, is final, and nobody has to sign any more: the case is closed.
async fn close_when_delivered(
    tx: &mut SqliteConnection,
    clinic: &ClinicId,
    letter: &Letter,
    item: i64,
    now: UtcMs,
) -> Result<(), StoreError> {
    let done = sqlx::query(
        "UPDATE work_item SET state = 'closed', state_at = $2, closed_at = coalesce(closed_at, $2)
         WHERE id = $1 AND (state = 'audited' OR (state = 'signed' AND awaits_audit = 0))
           AND NOT EXISTS (SELECT 1 FROM report r JOIN report_version v ON v.report = r.id
                           WHERE r.study_id = work_item.study_id AND v.received_at IS NULL
                             AND v.version = (SELECT max(version) FROM report_version WHERE report = r.id))",
    )
    .bind(item)
    .bind(now.0)
    .execute(&mut *tx)
    .await
    .map_err(StoreError::database("close a work item"))?;
    if done.rows_affected() == 0 {
        return Ok(());
    }
    event::append(tx, letter_event(clinic, letter, "work.closed", json!({}), now)).await.map(|_| ())
}

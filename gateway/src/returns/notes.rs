//! Notes: what a person did at the clinic, signed by its device.

use super::receipts::{Letter, find, letter_event};
use crate::sla;
use crate::store::{StoreError, event, one_row};
use relay_core::clock::UtcMs;
use relay_core::codes::{Code, Refusal};
use relay_core::ids::{ClinicId, LetterId, ObjectHash};
use relay_core::letter::{LetterKind, Note, NoteBody, NoteKind};
use relay_core::sla::SlaPolicy;
use serde_json::json;
use sqlx::SqliteConnection;

/// Checks a note against the certificate of the connection it came by.
pub trait NoteJudge: Send + Sync {
    /// The body of a note whose signature is by the device, for this clinic.
    ///
    /// # Errors
    /// A refusal that names what does not fit.
    fn judge(&self, note: &Note, device_certificate: &[u8], clinic: &ClinicId) -> Result<NoteBody, Refusal>;
}

/// A note whose signed bytes are durable.
pub(super) struct Kept<'a> {
    pub(super) clinic: &'a ClinicId,
    pub(super) note: &'a Note,
    pub(super) body: &'a NoteBody,
    pub(super) hash: ObjectHash,
    pub(super) device: &'a [u8],
}

pub(super) async fn record(
    tx: &mut SqliteConnection,
    policy: &SlaPolicy,
    kept: Kept<'_>,
    now: UtcMs,
) -> Result<(), StoreError> {
    if !insert(tx, &kept, now).await? {
        return Ok(());
    }
    let letter = match &kept.body.letter {
        Some(id) => find(tx, kept.clinic, id).await?,
        None => without_letter(tx, &kept).await?,
    };
    mean(tx, &kept, &letter, now).await?;
    match letter.study_id {
        Some(study) => sla::refresh(tx, policy, study).await,
        None => Ok(()),
    }
}

async fn mean(
    tx: &mut SqliteConnection,
    kept: &Kept<'_>,
    letter: &Letter,
    now: UtcMs,
) -> Result<(), StoreError> {
    match kept.body.kind {
        NoteKind::ReportOpened => opened(tx, kept, letter, now).await,
        NoteKind::CriticalReadBack => {
            critical(tx, kept, letter, "read_back", "critical.read_back", now).await
        }
        NoteKind::CriticalAction => critical(tx, kept, letter, "action", "critical.action", now).await,
        NoteKind::RetakeSeen => retake_seen(tx, kept, letter, now).await,
        NoteKind::PlanDecision => {
            let body = json!({ "note": kept.note.id, "at_clinic": kept.body.at });
            event::append(tx, letter_event(kept.clinic, letter, "plan.decision", body, now)).await.map(|_| ())
        }
    }
}

/// False when the note was here before. The same id with other bytes is refused.
async fn insert(tx: &mut SqliteConnection, kept: &Kept<'_>, now: UtcMs) -> Result<bool, StoreError> {
    let before: Option<Vec<u8>> =
        sqlx::query_scalar("SELECT body_hash FROM note WHERE clinic = $1 AND id = $2")
            .bind(kept.clinic.as_str())
            .bind(kept.note.id.as_str())
            .fetch_optional(&mut *tx)
            .await
            .map_err(StoreError::database("find a note"))?;
    if let Some(before) = before {
        if before == kept.hash.0 {
            return Ok(false);
        }
        return Err(StoreError::refuse(Code::FieldInvalid, "note id", "another note has this id already"));
    }
    let (report, version) = kept.body.report.clone().map_or((None, None), |(r, v)| (Some(r), Some(v)));
    sqlx::query(
        "INSERT INTO note (clinic, id, kind, study_uid, letter, report, version, person, body_hash, signature,
             device_certificate, at_clinic, received_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
    )
    .bind(kept.clinic.as_str())
    .bind(kept.note.id.as_str())
    .bind(kept.body.kind.word())
    .bind(kept.body.study.as_str())
    .bind(kept.body.letter.as_ref().map(LetterId::as_str))
    .bind(report.map(|r| r.as_str().to_owned()))
    .bind(version.map(i64::from))
    .bind(&kept.body.person)
    .bind(&kept.hash.0[..])
    .bind(&kept.note.signature)
    .bind(kept.device)
    .bind(kept.body.at.0)
    .bind(now.0)
    .execute(tx)
    .await
    .map_err(StoreError::database("keep a note"))?;
    Ok(true)
}

/// What a note without a letter is about: the study it names, if this clinic has it.
async fn without_letter(tx: &mut SqliteConnection, kept: &Kept<'_>) -> Result<Letter, StoreError> {
    let study_id: Option<i64> = sqlx::query_scalar("SELECT id FROM study WHERE clinic = $1 AND uid = $2")
        .bind(kept.clinic.as_str())
        .bind(kept.body.study.as_str())
        .fetch_optional(&mut *tx)
        .await
        .map_err(StoreError::database("find a study"))?;
    let work_item: Option<i64> = sqlx::query_scalar("SELECT id FROM work_item WHERE study_id = $1")
        .bind(study_id)
        .fetch_optional(tx)
        .await
        .map_err(StoreError::database("find a work item"))?;
    Ok(Letter {
        kind: LetterKind::Report,
        study_id,
        work_item,
        class: None,
        received: true,
        refused: None,
        failures: (0, 0),
        subject: format!("{}/{}", kept.clinic, kept.body.study),
    })
}

/// A named person opened a version. The first opening counts; later ones stay as notes.
async fn opened(
    tx: &mut SqliteConnection,
    kept: &Kept<'_>,
    letter: &Letter,
    now: UtcMs,
) -> Result<(), StoreError> {
    let Some((report, version)) = &kept.body.report else {
        return Err(StoreError::refuse(
            Code::FieldInvalid,
            "report",
            "an opened note names report and version",
        ));
    };
    let kind: Option<String> = sqlx::query_scalar(
        "UPDATE report_version SET delivery = 'opened', opened_at = $4, opened_by = $5,
             received_at = coalesce(received_at, $4)
         WHERE report = $1 AND version = $2 AND opened_at IS NULL
           AND report IN (SELECT r.id FROM report r JOIN study s ON s.id = r.study_id WHERE s.clinic = $3)
         RETURNING kind",
    )
    .bind(report.as_str())
    .bind(i64::from(*version))
    .bind(kept.clinic.as_str())
    .bind(now.0)
    .bind(&kept.body.person)
    .fetch_optional(&mut *tx)
    .await
    .map_err(StoreError::database("mark a version as opened"))?;
    let first = kind.is_some();
    if let (Some(kind), Some(item)) = (&kind, letter.work_item) {
        let sql = if kind == "preliminary" {
            "UPDATE work_item SET prelim_opened_at = coalesce(prelim_opened_at, $2) WHERE id = $1"
        } else {
            "UPDATE work_item SET opened_at = coalesce(opened_at, $2) WHERE id = $1"
        };
        sqlx::query(sql)
            .bind(item)
            .bind(now.0)
            .execute(&mut *tx)
            .await
            .map_err(StoreError::database("mark a work item"))?;
    }
    let body = json!({
        "note": kept.note.id, "report": report, "version": version, "kind": kind, "first": first,
        "at_clinic": kept.body.at,
    });
    event::append(tx, letter_event(kept.clinic, letter, sla::kinds::OPENED, body, now)).await.map(|_| ())
}

async fn text(
    tx: &mut SqliteConnection,
    kept: &Kept<'_>,
    purpose: &str,
    now: UtcMs,
) -> Result<Option<i64>, StoreError> {
    let Some(text) = &kept.body.text else { return Ok(None) };
    let done = sqlx::query(
        "INSERT INTO report_text (study_id, purpose, body, at)
         SELECT id, $3, $4, $5 FROM study WHERE clinic = $1 AND uid = $2",
    )
    .bind(kept.clinic.as_str())
    .bind(kept.body.study.as_str())
    .bind(purpose)
    .bind(json!({ "text": text }).to_string())
    .bind(now.0)
    .execute(tx)
    .await
    .map_err(StoreError::database("keep a text"))?;
    one_row(&done, "report_text", &kept.body.study)?;
    Ok(Some(done.last_insert_rowid()))
}

/// Read back or acted upon, by a named person. The first one counts; later ones stay as notes and events.
async fn critical(
    tx: &mut SqliteConnection,
    kept: &Kept<'_>,
    letter: &Letter,
    purpose: &'static str,
    kind: &'static str,
    now: UtcMs,
) -> Result<(), StoreError> {
    let Some(id) = &kept.body.letter else {
        return Err(StoreError::refuse(Code::FieldInvalid, "letter", "the note names no critical notice"));
    };
    if letter.kind != LetterKind::CriticalNotice {
        return Err(StoreError::refuse(
            Code::FieldInvalid,
            "letter",
            format!("letter {id} is no critical notice"),
        ));
    }
    let text = text(tx, kept, purpose, now).await?;
    let sql = if purpose == "read_back" {
        "UPDATE critical SET read_back_by = $2, read_back_at = $3, read_back_text = $4, received_at = coalesce(received_at, $3)
         WHERE letter = $1 AND read_back_at IS NULL"
    } else {
        "UPDATE critical SET action_by = $2, action_at = $3, action_text = $4, received_at = coalesce(received_at, $3)
         WHERE letter = $1 AND action_at IS NULL"
    };
    let done = sqlx::query(sql)
        .bind(id.as_str())
        .bind(&kept.body.person)
        .bind(now.0)
        .bind(text)
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database("record what was done on a critical notice"))?;
    let body = json!({
        "note": kept.note.id, "letter": id, "first": done.rows_affected() == 1, "at_clinic": kept.body.at,
    });
    event::append(tx, letter_event(kept.clinic, letter, kind, body, now)).await.map(|_| ())
}

async fn retake_seen(
    tx: &mut SqliteConnection,
    kept: &Kept<'_>,
    letter: &Letter,
    now: UtcMs,
) -> Result<(), StoreError> {
    if let Some(id) = &kept.body.letter {
        sqlx::query("UPDATE retake SET seen_at = coalesce(seen_at, $2) WHERE letter = $1")
            .bind(id.as_str())
            .bind(now.0)
            .execute(&mut *tx)
            .await
            .map_err(StoreError::database("mark a retake request as seen"))?;
    }
    let body = json!({ "note": kept.note.id, "at_clinic": kept.body.at });
    event::append(tx, letter_event(kept.clinic, letter, "retake.seen", body, now)).await.map(|_| ())
}

//! Retake requests: shown until a named person has seen them.

use super::cells::Cells;
use super::error::db;
use super::{Spool, SpoolError, notes, view};
use relay_core::clock::UtcMs;
use relay_core::ids::{LetterId, StudyUid};
use relay_core::letter::{LetterHead, Note, RetakeRequest};
use sqlx::sqlite::SqliteRow;

/// Requests in one list: those not seen come first and are never cut by older ones.
const MAX_RETAKES: i64 = 1_000;

/// A retake request at the clinic.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct RetakeRow {
    /// The letter that brought it.
    pub letter: LetterId,
    /// The study.
    pub study: StudyUid,
    /// Who was examined, as the clinic knows it.
    #[serde(default)]
    pub patient_name: Option<String>,
    /// What is asked.
    pub request: RetakeRequest,
    /// When it was seen.
    pub seen_at: Option<UtcMs>,
    /// By whom.
    pub seen_by: Option<String>,
}

/// Columns of a request, with the person it is about.
macro_rules! retake_rows {
    ($rest:literal) => {
        concat!(
            "SELECT r.*, p.name AS file_name, p.context AS context FROM retake r LEFT JOIN person p ON p.study = r.study ",
            $rest
        )
    };
}

impl Spool {
    pub(crate) async fn store_retake(
        &self,
        head: &LetterHead,
        request: &RetakeRequest,
        body: &[u8],
        now: UtcMs,
    ) -> Result<(), SpoolError> {
        let mut tx = self.begin_letter(head, None, now).await?;
        sqlx::query(
            "INSERT INTO retake (letter, study, reason, body, asked_at) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (letter) DO NOTHING",
        )
        .bind(head.id.as_str())
        .bind(head.study.as_str())
        .bind(&request.reason)
        .bind(body)
        .bind(request.asked_at.0)
        .execute(&mut *tx)
        .await
        .map_err(db("insert a retake request"))?;
        self.commit(tx).await
    }

    /// Retake requests not seen yet, oldest first; with `seen`, those and then the seen ones.
    ///
    /// # Errors
    /// [`SpoolError`] of the database.
    pub async fn retakes(&self, seen: bool) -> Result<Vec<RetakeRow>, SpoolError> {
        let rows = sqlx::query(retake_rows!(
            "WHERE ? OR r.seen_at IS NULL ORDER BY r.seen_at IS NOT NULL, r.asked_at LIMIT ?"
        ))
        .bind(seen)
        .bind(MAX_RETAKES)
        .fetch_all(&self.0.reader)
        .await
        .map_err(db("list retake requests"))?;
        Ok(self.readable(rows.iter().map(|row| self.retake_of(row))))
    }

    /// The request that this letter brought.
    ///
    /// # Errors
    /// [`SpoolError`] of the database, also when its row is damaged.
    pub async fn retake(&self, id: &str) -> Result<Option<RetakeRow>, SpoolError> {
        let row = sqlx::query(retake_rows!("WHERE r.letter = ?"))
            .bind(id)
            .fetch_optional(&self.0.reader)
            .await
            .map_err(db("look a retake request up"))?;
        row.as_ref().map(|row| self.retake_of(row)).transpose()
    }

    /// A damaged body is still shown: with what the other columns say, and a word to telephone.
    fn retake_of(&self, row: &SqliteRow) -> Result<RetakeRow, SpoolError> {
        let cells = Cells::of(row, "retake", "letter");
        let request = cells.read("body", |body: Vec<u8>| serde_json::from_slice(&body).ok());
        let request = request.unwrap_or_else(|error| {
            self.remember_damage(&error);
            RetakeRequest {
                reason: cells.get("reason").unwrap_or_else(|_| "?".to_owned()),
                text: "退回说明在本机已损坏，请致电县级核实".to_owned(),
                asked_by_name: "县级".to_owned(),
                asked_at: cells.time("asked_at").unwrap_or(UtcMs(0)),
            }
        });
        Ok(RetakeRow {
            letter: cells.read("letter", |id: String| LetterId::parse(&id).ok())?,
            study: cells.study("study")?,
            patient_name: view::patient_name(&cells),
            request,
            seen_at: cells.maybe_time("seen_at")?,
            seen_by: cells.get("seen_by")?,
        })
    }

    /// A retake request was seen: row and note in one transaction. `Ok(false)` when it had been seen before.
    pub(crate) async fn record_retake_seen(
        &self,
        letter: &LetterId,
        person: &str,
        note: &Note,
        now: UtcMs,
    ) -> Result<bool, SpoolError> {
        let mut tx = self.begin().await?;
        let done =
            sqlx::query("UPDATE retake SET seen_at = ?, seen_by = ? WHERE letter = ? AND seen_at IS NULL")
                .bind(now.0)
                .bind(person)
                .bind(letter.as_str())
                .execute(&mut *tx)
                .await
                .map_err(db("record that a retake request was seen"))?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        notes::insert(&mut tx, note).await?;
        self.commit(tx).await?;
        Ok(true)
    }
}

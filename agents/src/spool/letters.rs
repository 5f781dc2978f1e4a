//! Rows of what came from the county, one for each letter; and where a study stands there.

use super::cells::Cells;
use super::error::db;
use super::{Spool, SpoolError, WriteTx};
use relay_core::clock::UtcMs;
use relay_core::codes::Refusal;
use relay_core::ids::{LetterId, ObjectHash};
use relay_core::letter::{LetterHead, LetterKind, StudyStatus};

/// Letters of one kind in one answer.
const MAX_LETTERS: i64 = 10_000;

/// A letter that is durable here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterRow {
    /// BLAKE3 of its body.
    pub hash: ObjectHash,
    /// When it became durable.
    pub stored_at: UtcMs,
    /// True when it was refused and is kept in quarantine.
    pub quarantined: bool,
}

impl Spool {
    /// The letter of this id, when it is here.
    ///
    /// # Errors
    /// [`SpoolError`] of the database.
    pub async fn letter(&self, id: &LetterId) -> Result<Option<LetterRow>, SpoolError> {
        let row = sqlx::query("SELECT id, hash, stored_at, refused_code FROM letter WHERE id = ?")
            .bind(id.as_str())
            .fetch_optional(&self.0.reader)
            .await
            .map_err(db("look a letter up"))?;
        row.map(|row| {
            let cells = Cells::of(&row, "letter", "id");
            Ok(LetterRow {
                hash: cells.hash("hash")?,
                stored_at: cells.time("stored_at")?,
                quarantined: cells.get::<Option<i64>>("refused_code")?.is_some(),
            })
        })
        .transpose()
    }

    /// Letters of a kind that were taken, newest first. `rowless`: only reports whose row is gone.
    pub(crate) async fn letters_of(
        &self,
        kind: LetterKind,
        rowless: bool,
    ) -> Result<Vec<LetterHead>, SpoolError> {
        let rows = sqlx::query(
            "SELECT l.* FROM letter l WHERE l.kind = ?1 AND l.refused_code IS NULL
                AND (?2 = 0 OR NOT EXISTS (SELECT 1 FROM report r WHERE r.package = l.hash))
             ORDER BY l.stored_at DESC LIMIT ?3",
        )
        .bind(kind.number())
        .bind(rowless)
        .bind(MAX_LETTERS)
        .fetch_all(&self.0.reader)
        .await
        .map_err(db("list letters"))?;
        Ok(self.readable(rows.iter().map(|row| {
            let cells = Cells::of(row, "letter", "id");
            Ok(LetterHead {
                id: cells.read("id", |id: String| LetterId::parse(&id).ok())?,
                kind,
                study: cells.study("study")?,
                length: cells.count("length")?,
                hash: cells.hash("hash")?,
                written_at: cells.time("written_at")?,
            })
        })))
    }

    /// Records a letter that was refused; its body stays as a blob.
    pub(crate) async fn quarantine_letter(
        &self,
        head: &LetterHead,
        refusal: &Refusal,
        now: UtcMs,
    ) -> Result<(), SpoolError> {
        let tx = self.begin_letter(head, Some(refusal), now).await?;
        self.commit(tx).await
    }

    /// Records where a study stands; an older word changes nothing.
    pub(crate) async fn store_status(
        &self,
        head: &LetterHead,
        status: &StudyStatus,
        now: UtcMs,
    ) -> Result<(), SpoolError> {
        let mut tx = self.begin_letter(head, None, now).await?;
        sqlx::query(
            "UPDATE study SET county_state = ?, county_reader = ?, county_due_at = ?, county_unattended = ?, county_state_at = ?
             WHERE uid = ? AND (county_state_at IS NULL OR county_state_at <= ?)",
        )
        .bind(&status.state)
        .bind(&status.reader_name)
        .bind(status.due_at.map(|t| t.0))
        .bind(status.unattended)
        .bind(status.at.0)
        .bind(head.study.as_str())
        .bind(status.at.0)
        .execute(&mut *tx)
        .await
        .map_err(db("record a study's progress"))?;
        self.commit(tx).await
    }

    /// A letter that needs no row of its own kind (a treatment plan).
    pub(crate) async fn store_other(&self, head: &LetterHead, now: UtcMs) -> Result<(), SpoolError> {
        let tx = self.begin_letter(head, None, now).await?;
        self.commit(tx).await
    }

    /// Begins a transaction that records a letter; the caller adds what the letter brings, and commits.
    pub(super) async fn begin_letter(
        &self,
        head: &LetterHead,
        refusal: Option<&Refusal>,
        now: UtcMs,
    ) -> Result<WriteTx, SpoolError> {
        let mut tx = self.begin().await?;
        // The same id again with other content: what was verified last counts; the older body stays as a blob.
        sqlx::query(
            "INSERT INTO letter (id, kind, study, hash, length, written_at, stored_at, refused_code, refused_field,
                refused_reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (id) DO UPDATE SET hash = excluded.hash, length = excluded.length, stored_at = excluded.stored_at,
                refused_code = excluded.refused_code, refused_field = excluded.refused_field,
                refused_reason = excluded.refused_reason
             WHERE excluded.refused_code IS NULL OR letter.refused_code IS NOT NULL",
        )
        .bind(head.id.as_str())
        .bind(head.kind.number())
        .bind(head.study.as_str())
        .bind(head.hash.0.as_slice())
        .bind(i64::try_from(head.length).unwrap_or(i64::MAX))
        .bind(head.written_at.0)
        .bind(now.0)
        .bind(refusal.map(|r| r.code.number()))
        .bind(refusal.map(|r| r.field.as_str()))
        .bind(refusal.map(|r| r.reason.as_str()))
        .execute(&mut *tx)
        .await
        .map_err(db("insert a letter"))?;
        Ok(tx)
    }
}

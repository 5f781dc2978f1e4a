//! Notes: what happened at the clinic, on its way to the county.

use super::cells::Cells;
use super::error::db;
use super::{Spool, SpoolError};
use relay_core::clock::{HOUR_MS, MINUTE_MS, UtcMs};
use relay_core::codes::Refusal;
use relay_core::ids::NoteId;
use relay_core::letter::{Note, NoteKind};
use sqlx::SqliteConnection;

/// Pauses before a refused note is offered again: the county may lack the letter it answers (a restore) for some minutes,
/// or a new certificate's chain for some hours.
const RETRY_MS: [i64; 4] = [MINUTE_MS, 10 * MINUTE_MS, HOUR_MS, 6 * HOUR_MS];

const OPEN: &str =
    "SELECT * FROM note WHERE (next_try_at IS NULL OR next_try_at <= ?1) AND (receipted_at IS NULL
      OR receipted_in IS NOT (SELECT store FROM county) AND EXISTS (SELECT 1 FROM county WHERE first = 1))
    ORDER BY receipted_at IS NOT NULL, refusals > 0, seq LIMIT ?2";

impl Spool {
    /// Notes that the county does not hold, oldest first: refused ones last and not before their time. After them those that
    /// only another store of the county holds.
    pub(super) async fn open_notes(&self, limit: usize) -> Result<Vec<Note>, SpoolError> {
        let rows = sqlx::query(OPEN)
            .bind(self.now().0)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&self.0.reader)
            .await
            .map_err(db("list notes"))?;
        Ok(self.readable(rows.iter().map(|row| {
            let cells = Cells::of(row, "note", "id");
            Ok(Note {
                id: cells.read("id", |id: String| NoteId::parse(&id).ok())?,
                kind: cells.read("kind", NoteKind::from_number)?,
                body: cells.get("body")?,
                signature: cells.get("signature")?,
                certificate: cells.get("certificate")?,
            })
        })))
    }

    pub(super) async fn record_note_receipt(&self, id: &NoteId, at: UtcMs) -> Result<(), SpoolError> {
        sqlx::query(
            "UPDATE note SET receipted_at = COALESCE(receipted_at, ?), receipted_in = (SELECT store FROM county),
                 refused_at = NULL, refused_code = NULL, refused_field = NULL, refused_reason = NULL, next_try_at = NULL
             WHERE id = ?",
        )
        .bind(at.0)
        .bind(id.as_str())
        .execute(&self.0.writer)
        .await
        .map_err(db("record a note's receipt"))?;
        Ok(())
    }

    /// The county refuses the note: it is offered again after a while, longer each time, and holds no other back.
    pub(super) async fn record_note_refusal(&self, id: &NoteId, refusal: &Refusal) -> Result<(), SpoolError> {
        let mut tx = self.0.writer.begin_with("BEGIN IMMEDIATE").await.map_err(db("begin"))?;
        let before: Option<i64> = sqlx::query_scalar("SELECT refusals FROM note WHERE id = ?")
            .bind(id.as_str())
            .fetch_optional(&mut *tx)
            .await
            .map_err(db("count a note's refusals"))?;
        let step = usize::try_from(before.unwrap_or(0)).unwrap_or(usize::MAX).min(RETRY_MS.len() - 1);
        let now = self.now();
        sqlx::query(
            "UPDATE note SET refusals = refusals + 1, refused_at = ?, refused_code = ?, refused_field = ?,
                 refused_reason = ?, next_try_at = ? WHERE id = ?",
        )
        .bind(now.0)
        .bind(refusal.code.number())
        .bind(&refusal.field)
        .bind(&refusal.reason)
        .bind(now.plus_ms(RETRY_MS[step]).0)
        .bind(id.as_str())
        .execute(&mut *tx)
        .await
        .map_err(db("record a note's refusal"))?;
        tx.commit().await.map_err(db("commit"))
    }
}

/// Adds a note inside the transaction of the state change that it reports.
pub(super) async fn insert(tx: &mut SqliteConnection, note: &Note) -> Result<(), SpoolError> {
    sqlx::query(
        "INSERT INTO note (id, seq, kind, body, signature, certificate)
         VALUES (?, (SELECT COALESCE(MAX(seq), 0) + 1 FROM note), ?, ?, ?, ?)",
    )
    .bind(note.id.as_str())
    .bind(note.kind.number())
    .bind(&note.body)
    .bind(&note.signature)
    .bind(&note.certificate)
    .execute(tx)
    .await
    .map_err(db("insert a note"))?;
    Ok(())
}

//! Notes: what happened at the clinic, on its way to the county.

use super::cells::Cells;
use super::error::db;
use super::{Spool, SpoolError};
use relay_core::clock::UtcMs;
use relay_core::ids::NoteId;
use relay_core::letter::{Note, NoteKind};
use sqlx::SqliteConnection;

impl Spool {
    /// Notes not yet receipted, oldest first.
    pub(super) async fn open_notes(&self, limit: usize) -> Result<Vec<Note>, SpoolError> {
        let rows = sqlx::query("SELECT * FROM note WHERE receipted_at IS NULL ORDER BY seq LIMIT ?")
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
            })
        })))
    }

    pub(super) async fn record_note_receipt(&self, id: &NoteId, at: UtcMs) -> Result<(), SpoolError> {
        sqlx::query("UPDATE note SET receipted_at = ? WHERE id = ? AND receipted_at IS NULL")
            .bind(at.0)
            .bind(id.as_str())
            .execute(&self.0.writer)
            .await
            .map_err(db("record a note's receipt"))?;
        Ok(())
    }
}

/// Adds a note inside the transaction of the state change that it reports.
pub(super) async fn insert(tx: &mut SqliteConnection, note: &Note) -> Result<(), SpoolError> {
    sqlx::query(
        "INSERT INTO note (id, seq, kind, body, signature)
         VALUES (?, (SELECT COALESCE(MAX(seq), 0) + 1 FROM note), ?, ?, ?)",
    )
    .bind(note.id.as_str())
    .bind(note.kind.number())
    .bind(&note.body)
    .bind(&note.signature)
    .execute(tx)
    .await
    .map_err(db("insert a note"))?;
    Ok(())
}

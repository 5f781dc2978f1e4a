//! Critical notices: open until a named person has read them back and the action is recorded.

use super::cells::Cells;
use super::error::db;
use super::{Spool, SpoolError, notes};
use relay_core::clock::UtcMs;
use relay_core::ids::{LetterId, PersonId, StudyUid};
use relay_core::letter::{CriticalNotice, LetterHead, Note};
use sqlx::sqlite::SqliteRow;

/// Notices in one list: a clinic has a few a week; those not closed come first and are never cut by older ones.
const MAX_CRITICALS: i64 = 1_000;

/// A critical notice at the clinic.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct CriticalRow {
    /// The letter that brought it.
    pub letter: LetterId,
    /// The study.
    pub study: StudyUid,
    /// What it says; when the stored notice is damaged, what is left of it, and whom to ask.
    pub notice: CriticalNotice,
    /// Who was examined, as people write the name.
    #[serde(default)]
    pub patient_name: String,
    /// When it was read back.
    pub read_back_at: Option<UtcMs>,
    /// By whom.
    pub read_back_by: Option<String>,
    /// When the action was recorded.
    pub action_at: Option<UtcMs>,
    /// By whom.
    pub action_by: Option<String>,
}

impl Spool {
    pub(crate) async fn store_critical(
        &self,
        head: &LetterHead,
        notice: &CriticalNotice,
        body: &[u8],
        now: UtcMs,
    ) -> Result<(), SpoolError> {
        let mut tx = self.begin_letter(head, None, now).await?;
        sqlx::query(
            "INSERT INTO critical (letter, study, code, tier, body, raised_at) VALUES (?, ?, ?, ?, ?, ?)
             ON CONFLICT (letter) DO NOTHING",
        )
        .bind(head.id.as_str())
        .bind(head.study.as_str())
        .bind(&notice.code)
        .bind(&notice.tier)
        .bind(body)
        .bind(notice.raised_at.0)
        .execute(&mut *tx)
        .await
        .map_err(db("insert a critical notice"))?;
        self.commit(tx).await
    }

    /// Critical notices whose action is not recorded, oldest first; with `closed`, those and then the closed ones,
    /// newest first.
    ///
    /// # Errors
    /// [`SpoolError`] of the database.
    pub async fn criticals(&self, closed: bool) -> Result<Vec<CriticalRow>, SpoolError> {
        let rows = sqlx::query(
            "SELECT * FROM critical WHERE ? OR action_at IS NULL
             ORDER BY action_at IS NOT NULL, CASE WHEN action_at IS NULL THEN raised_at ELSE -raised_at END LIMIT ?",
        )
        .bind(closed)
        .bind(MAX_CRITICALS)
        .fetch_all(&self.0.reader)
        .await
        .map_err(db("list critical notices"))?;
        Ok(self.readable(rows.iter().map(|row| self.critical_of(row))))
    }

    /// The notice that this letter brought.
    ///
    /// # Errors
    /// [`SpoolError`] of the database, also when its row is damaged.
    pub async fn critical(&self, id: &str) -> Result<Option<CriticalRow>, SpoolError> {
        let row = sqlx::query("SELECT * FROM critical WHERE letter = ?")
            .bind(id)
            .fetch_optional(&self.0.reader)
            .await
            .map_err(db("look a critical notice up"))?;
        row.as_ref().map(|row| self.critical_of(row)).transpose()
    }

    /// A damaged body still rings: with what the other columns say, and a word to telephone.
    fn critical_of(&self, row: &SqliteRow) -> Result<CriticalRow, SpoolError> {
        let cells = Cells::of(row, "critical", "letter");
        let notice = cells.read("body", |body: Vec<u8>| serde_json::from_slice(&body).ok());
        let notice = match notice {
            Ok(notice) => notice,
            Err(error) => {
                self.remember_damage(&error);
                self.what_is_left(&cells)?
            }
        };
        Ok(CriticalRow {
            letter: cells.read("letter", |id: String| LetterId::parse(&id).ok())?,
            study: cells.study("study")?,
            patient_name: relay_core::formats::text::written_name(&notice.patient_name),
            notice,
            read_back_at: cells.maybe_time("read_back_at")?,
            read_back_by: cells.get("read_back_by")?,
            action_at: cells.maybe_time("action_at")?,
            action_by: cells.get("action_by")?,
        })
    }

    fn what_is_left(&self, cells: &Cells<'_>) -> Result<CriticalNotice, SpoolError> {
        Ok(CriticalNotice {
            code: cells.get("code").unwrap_or_else(|_| "?".to_owned()),
            tier: cells.get("tier").unwrap_or_else(|_| "A".to_owned()),
            finding: "通知内容在本机已损坏，请立即致电县级值班医师核实".to_owned(),
            advice: None,
            clinic: self.clinic().clone(),
            patient_name: "（姓名无法读取）".to_owned(),
            raised_by: PersonId::parse("unknown").map_err(|_| cells.corrupt("body"))?,
            raised_by_name: "县级".to_owned(),
            raised_at: cells.time("raised_at").unwrap_or(UtcMs(0)),
            phone: None,
        })
    }

    /// A critical notice was read back (`action` = false) or its action recorded: row and note in one transaction.
    /// `Ok(false)` when it had been done before, or (for an action) was not read back yet.
    pub(crate) async fn record_critical(
        &self,
        letter: &LetterId,
        person: &str,
        action: bool,
        note: &Note,
        now: UtcMs,
    ) -> Result<bool, SpoolError> {
        let mut tx = self.begin().await?;
        let statement = if action {
            "UPDATE critical SET action_at = ?, action_by = ?
             WHERE letter = ? AND action_at IS NULL AND read_back_at IS NOT NULL"
        } else {
            "UPDATE critical SET read_back_at = ?, read_back_by = ? WHERE letter = ? AND read_back_at IS NULL"
        };
        let done = sqlx::query(statement)
            .bind(now.0)
            .bind(person)
            .bind(letter.as_str())
            .execute(&mut *tx)
            .await
            .map_err(db("record a critical notice"))?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        notes::insert(&mut tx, note).await?;
        self.commit(tx).await?;
        Ok(true)
    }
}

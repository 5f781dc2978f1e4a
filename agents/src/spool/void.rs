//! 作废: versions of a report that the county has withdrawn. Kept apart from the versions themselves, so that a version
//! that arrives after its withdrawal is void from the first moment.

use super::cells::Cells;
use super::error::db;
use super::{Spool, SpoolError};
use relay_core::clock::UtcMs;
use relay_core::ids::ReportId;
use relay_core::letter::{LetterHead, ReportVoid};

/// Withdrawals that are held against their letters: a county withdraws a report now and then.
const MAX_VOIDS: i64 = 10_000;

/// Why a version may not be used any more, whatever its signature says.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Voided {
    /// Why, in words.
    pub reason: String,
    /// Who withdrew it.
    pub by_name: String,
    /// When.
    pub at: UtcMs,
}

impl Voided {
    /// What a Chinese user is told before anything else.
    #[must_use]
    pub fn zh(&self) -> String {
        format!("作废，请勿使用：{}（{}）", self.reason, self.by_name)
    }

    /// What an English user is told before anything else.
    #[must_use]
    pub fn en(&self) -> String {
        format!("WITHDRAWN, do not use: {} ({})", self.reason, self.by_name)
    }

    /// From the columns `void_reason`, `void_by`, `void_at` of a row.
    pub(super) fn of(cells: &Cells<'_>) -> Result<Option<Self>, SpoolError> {
        let Some(at) = cells.maybe_time("void_at")? else { return Ok(None) };
        Ok(Some(Self { reason: cells.get("void_reason")?, by_name: cells.get("void_by")?, at }))
    }
}

impl Spool {
    /// Every withdrawal as its row says it; a row that cannot be read is none.
    pub(crate) async fn voids(&self) -> Result<Vec<ReportVoid>, SpoolError> {
        let rows = sqlx::query("SELECT *, CAST(rowid AS TEXT) AS key FROM report_void LIMIT ?")
            .bind(MAX_VOIDS)
            .fetch_all(&self.0.reader)
            .await
            .map_err(db("list withdrawals"))?;
        Ok(self.readable(rows.iter().map(|row| {
            let cells = Cells::of(row, "report_void", "key");
            Ok(ReportVoid {
                clinic: self.clinic().clone(),
                report: cells.read("report_id", |id: String| ReportId::parse(&id).ok())?,
                through_version: cells.get("through_version")?,
                reason: cells.get("reason")?,
                by_name: cells.get("by_name")?,
                at: cells.time("at")?,
            })
        })))
    }

    /// Puts the row of a withdrawal back as its letter says it.
    pub(crate) async fn restore_void(&self, head: &LetterHead, void: &ReportVoid) -> Result<(), SpoolError> {
        sqlx::query(
            "INSERT INTO report_void (report_id, through_version, study, letter, reason, by_name, at)
             VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (report_id, through_version) DO UPDATE SET study = excluded.study,
                letter = excluded.letter, reason = excluded.reason, by_name = excluded.by_name, at = excluded.at",
        )
        .bind(void.report.as_str())
        .bind(void.through_version)
        .bind(head.study.as_str())
        .bind(head.id.as_str())
        .bind(&void.reason)
        .bind(&void.by_name)
        .bind(void.at.0)
        .execute(&self.0.writer)
        .await
        .map_err(db("put a withdrawal back"))?;
        self.touch();
        Ok(())
    }

    /// Records a withdrawal. The same one twice is one; of two that overlap each version shows the nearest.
    pub(crate) async fn store_void(
        &self,
        head: &LetterHead,
        void: &ReportVoid,
        now: UtcMs,
    ) -> Result<(), SpoolError> {
        let mut tx = self.begin_letter(head, None, now).await?;
        sqlx::query(
            "INSERT INTO report_void (report_id, through_version, study, letter, reason, by_name, at)
             VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (report_id, through_version) DO NOTHING",
        )
        .bind(void.report.as_str())
        .bind(void.through_version)
        .bind(head.study.as_str())
        .bind(head.id.as_str())
        .bind(&void.reason)
        .bind(&void.by_name)
        .bind(void.at.0)
        .execute(&mut *tx)
        .await
        .map_err(db("record a withdrawal"))?;
        self.commit(tx).await
    }
}

//! Urgent studies that the county does not hold whole: somebody may have to telephone.

use super::cells::Cells;
use super::error::db;
use super::{Spool, SpoolError, view};
use relay_core::clock::{DAY_MS, UtcMs};
use relay_core::ids::StudyUid;
use relay_core::study::Class;

/// Most rows: more than a hundred emergencies at once are one breakdown, told by its first hundred.
const MAX_ROWS: i64 = 100;

/// An urgent study of which the county lacks something, or which nobody there takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrgentRow {
    /// The study.
    pub study: StudyUid,
    /// Who was examined.
    pub patient_name: Option<String>,
    /// Green or emergency.
    pub class: Class,
    /// When it became urgent.
    pub urgent_since: UtcMs,
    /// Objects that wait, since when the oldest waits.
    pub waiting: u64,
    /// See `waiting`.
    pub waiting_since: Option<UtcMs>,
    /// Objects that the county refused within the last 24 hours.
    pub refused: u64,
    /// The county has not confirmed yet that the study is urgent.
    pub unheard: bool,
    /// The county says that nobody there has taken it.
    pub unattended: bool,
}

impl Spool {
    /// Urgent studies with an object that the county does not hold, whatever else has come back for them; whose
    /// urgency it has not confirmed; or which nobody there has taken. Longest urgent first. Refusals are listed for 24 hours.
    ///
    /// # Errors
    /// [`SpoolError`] of the database.
    pub async fn urgent_open(&self) -> Result<Vec<UrgentRow>, SpoolError> {
        let rows = sqlx::query(
            "SELECT s.uid, s.class, COALESCE(s.urgent_since, s.first_object_at) AS urgent_since,
                s.receipted_generation < COALESCE(s.urgent_generation, 1) AS unheard,
                p.name AS file_name, p.context AS context, s.county_unattended AS unattended,
                COALESCE(SUM(o.receipted_at IS NULL AND o.refused_code IS NULL
                    AND (s.refused_generation < s.generation OR s.last_activity_at >= ?1)), 0) AS waiting,
                MIN(CASE WHEN o.receipted_at IS NULL AND o.refused_code IS NULL THEN o.stored_at END) AS waiting_since,
                COALESCE(SUM(o.receipted_at IS NULL AND o.refused_code IS NOT NULL AND o.stored_at >= ?1), 0) AS refused
             FROM study s JOIN person p ON p.study = s.uid JOIN object o ON o.study = s.uid
             WHERE s.class <= ?2 AND (s.safe_at IS NULL OR s.last_activity_at >= ?1)
             GROUP BY s.uid HAVING waiting > 0 OR refused > 0 OR unattended
                OR (unheard AND s.refused_generation < s.generation AND MAX(o.receipted_at) IS NOT NULL)
             ORDER BY urgent_since LIMIT ?3",
        )
        .bind(self.now().plus_ms(-DAY_MS).0)
        .bind(Class::Emergency.number())
        .bind(MAX_ROWS)
        .fetch_all(&self.0.reader)
        .await
        .map_err(db("list urgent studies"))?;
        Ok(self.readable(rows.iter().map(|row| {
            let cells = Cells::of(row, "study", "uid");
            Ok(UrgentRow {
                study: cells.study("uid")?,
                patient_name: view::patient_name(&cells),
                class: cells.read("class", Class::from_number)?,
                urgent_since: cells.time("urgent_since")?,
                waiting: cells.count("waiting")?,
                waiting_since: cells.maybe_time("waiting_since")?,
                refused: cells.count("refused")?,
                unheard: cells.flag("unheard")?,
                unattended: cells.flag("unattended")?,
            })
        })))
    }
}

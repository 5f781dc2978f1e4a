//! Counts of everything, for metrics and `doctor`: never a name.

use super::error::db;
use super::view::not_safe;
use super::{Spool, SpoolError};
use sqlx::Row as _;

/// How much of what there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Studies here.
    pub studies: u64,
    /// Studies not safe at the county: something waits, was refused, or is lost here.
    pub studies_not_safe: u64,
    /// Of these, of class green or emergency.
    pub studies_urgent_not_safe: u64,
    /// Objects here.
    pub objects: u64,
    /// Objects that the county holds.
    pub objects_receipted: u64,
    /// Objects that wait for it.
    pub objects_waiting: u64,
    /// When the oldest of these became safe here, UTC ms.
    pub oldest_waiting_at: Option<i64>,
    /// Objects that the county refused and whose bytes are still here.
    pub objects_refused: u64,
    /// Their bytes.
    pub refused_bytes: u64,
    /// Report versions.
    pub reports: u64,
    /// Report versions nobody has opened, without superseded ones.
    pub reports_unopened: u64,
    /// Report versions that a later check found damaged.
    pub reports_faulty: u64,
    /// Letters in quarantine.
    pub letters_refused: u64,
    /// Critical notices not read back.
    pub criticals_ringing: u64,
    /// Critical notices read back, whose action is not recorded.
    pub criticals_open: u64,
    /// Retake requests not seen.
    pub retakes_unseen: u64,
    /// Notes on their way to the county.
    pub notes_waiting: u64,
    /// Files not taken that are remembered.
    pub rejects: u64,
    /// People enrolled.
    pub staff: u64,
    /// Objects without receipt whose bytes are lost or damaged on this disk.
    pub objects_lost: u64,
    /// Rows that could not be read since the start.
    pub damaged: u64,
}

impl Spool {
    /// Counts everything.
    ///
    /// # Errors
    /// [`SpoolError`] of the database.
    pub async fn figures(&self) -> Result<Figures, SpoolError> {
        let row = sqlx::query(concat!(
            "SELECT (SELECT COUNT(*) FROM study) AS studies,
                (SELECT COUNT(*) FROM study s WHERE ",
            not_safe!(),
            ") AS not_safe,
                (SELECT COUNT(*) FROM study s WHERE ",
            not_safe!(),
            " AND s.class <= 1) AS urgent,
                (SELECT COUNT(*) FROM object) AS objects,
                (SELECT COUNT(*) FROM object WHERE receipted_at IS NOT NULL) AS receipted,
                (SELECT COUNT(*) FROM object WHERE receipted_at IS NULL AND refused_code IS NULL) AS waiting,
                (SELECT MIN(stored_at) FROM object WHERE receipted_at IS NULL AND refused_code IS NULL) AS oldest,
                (SELECT COUNT(*) FROM object WHERE receipted_at IS NULL AND refused_code IS NOT NULL
                    AND evicted_at IS NULL) AS refused,
                (SELECT COALESCE(SUM(length + coded_kept * coded_length), 0) FROM object WHERE receipted_at IS NULL
                    AND refused_code IS NOT NULL AND evicted_at IS NULL) AS refused_bytes,
                (SELECT COUNT(*) FROM object WHERE receipted_at IS NULL AND unreadable_at IS NOT NULL) AS lost,
                (SELECT COUNT(*) FROM report) AS reports,
                (SELECT COUNT(*) FROM report r WHERE r.opened_at IS NULL AND NOT EXISTS (SELECT 1 FROM report n
                    WHERE n.report_id = r.report_id AND n.study = r.study AND n.version > r.version
                        AND (r.kind = 1 OR n.kind IN (2, 4)))) AS unopened,
                (SELECT COUNT(*) FROM report WHERE fault IS NOT NULL) AS faulty,
                (SELECT COUNT(*) FROM letter WHERE refused_code IS NOT NULL) AS letters_refused,
                (SELECT COUNT(*) FROM critical WHERE read_back_at IS NULL) AS ringing,
                (SELECT COUNT(*) FROM critical WHERE read_back_at IS NOT NULL AND action_at IS NULL) AS open,
                (SELECT COUNT(*) FROM retake WHERE seen_at IS NULL) AS unseen,
                (SELECT COUNT(*) FROM note WHERE receipted_at IS NULL) AS notes,
                (SELECT COUNT(*) FROM reject) AS rejects,
                (SELECT COUNT(*) FROM staff) AS staff",
        ))
        .fetch_one(&self.0.reader)
        .await
        .map_err(db("count what there is"))?;
        let count = |column| u64::try_from(row.get::<i64, _>(column)).unwrap_or(0);
        Ok(Figures {
            studies: count("studies"),
            studies_not_safe: count("not_safe"),
            studies_urgent_not_safe: count("urgent"),
            objects: count("objects"),
            objects_receipted: count("receipted"),
            objects_waiting: count("waiting"),
            oldest_waiting_at: row.get("oldest"),
            objects_refused: count("refused"),
            refused_bytes: count("refused_bytes"),
            reports: count("reports"),
            reports_unopened: count("unopened"),
            reports_faulty: count("faulty"),
            letters_refused: count("letters_refused"),
            criticals_ringing: count("ringing"),
            criticals_open: count("open"),
            retakes_unseen: count("unseen"),
            notes_waiting: count("notes"),
            rejects: count("rejects"),
            staff: count("staff"),
            objects_lost: count("lost"),
            damaged: self.damaged().len() as u64,
        })
    }
}

//! Rows of what came from the county: letters, report versions, critical notices, retake requests, progress.

use super::error::db;
use super::{Spool, SpoolError, notes, view};
use relay_core::clock::UtcMs;
use relay_core::codes::Refusal;
use relay_core::ids::{LetterId, ObjectHash, ReportId, StudyUid};
use relay_core::letter::{CriticalNotice, LetterHead, Note, RetakeRequest, StudyStatus};
use relay_core::report::ReportKind;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

/// Report versions in one list: a clinic's busiest week.
const MAX_REPORTS: i64 = 500;

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

/// A verified report version about to be recorded.
#[derive(Debug, Clone)]
pub struct ReportInsert {
    /// The report.
    pub report_id: ReportId,
    /// Its version.
    pub version: u32,
    /// Preliminary, final, addendum, correction.
    pub kind: ReportKind,
    /// Name of the author.
    pub author: String,
    /// Name of the reviewer.
    pub reviewer: Option<String>,
    /// When the author signed.
    pub signed_at: UtcMs,
    /// When the reviewer signed.
    pub reviewed_at: Option<UtcMs>,
    /// Signed with a demonstration key.
    pub demo: bool,
}

/// A report version at the clinic.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct ReportRow {
    /// The letter that brought it: the id people open it by.
    pub letter: LetterId,
    /// The report.
    pub report_id: ReportId,
    /// Its version.
    pub version: u32,
    /// Preliminary, final, addendum, correction.
    pub kind: ReportKind,
    /// The study it reads.
    pub study: StudyUid,
    /// BLAKE3 of the package.
    pub package: ObjectHash,
    /// Name of the author.
    pub author: String,
    /// Name of the reviewer.
    pub reviewer: Option<String>,
    /// When the author signed.
    pub signed_at: UtcMs,
    /// When the reviewer signed.
    pub reviewed_at: Option<UtcMs>,
    /// Signed with a demonstration key.
    pub demo: bool,
    /// When it was received and verified.
    pub received_at: UtcMs,
    /// When a person opened it first.
    pub opened_at: Option<UtcMs>,
    /// Who.
    pub opened_by: Option<String>,
    /// What a later check from disk found wrong.
    pub fault: Option<String>,
    /// True when a newer version is here: 旧版.
    pub superseded: bool,
}

/// A critical notice at the clinic.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct CriticalRow {
    /// The letter that brought it.
    pub letter: LetterId,
    /// The study.
    pub study: StudyUid,
    /// What it says.
    pub notice: CriticalNotice,
    /// When it was read back.
    pub read_back_at: Option<UtcMs>,
    /// By whom.
    pub read_back_by: Option<String>,
    /// When the action was recorded.
    pub action_at: Option<UtcMs>,
    /// By whom.
    pub action_by: Option<String>,
}

/// A retake request at the clinic.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct RetakeRow {
    /// The letter that brought it.
    pub letter: LetterId,
    /// The study.
    pub study: StudyUid,
    /// What is asked.
    pub request: RetakeRequest,
    /// When it was seen.
    pub seen_at: Option<UtcMs>,
    /// By whom.
    pub seen_by: Option<String>,
}

impl Spool {
    /// The letter of this id, when it is here.
    ///
    /// # Errors
    /// [`SpoolError`] of the database.
    pub async fn letter(&self, id: &LetterId) -> Result<Option<LetterRow>, SpoolError> {
        let row = sqlx::query("SELECT hash, stored_at, refused_code FROM letter WHERE id = ?")
            .bind(id.as_str())
            .fetch_optional(&self.0.reader)
            .await
            .map_err(db("look a letter up"))?;
        row.map(|row| {
            let hash = ObjectHash::from_slice(&row.get::<Vec<u8>, _>("hash"));
            let corrupt = SpoolError::Corrupt { table: "letter", column: "hash", row: id.to_string() };
            Ok(LetterRow {
                hash: hash.ok_or(corrupt)?,
                stored_at: UtcMs(row.get("stored_at")),
                quarantined: row.get::<Option<i64>, _>("refused_code").is_some(),
            })
        })
        .transpose()
    }

    /// Records a letter that was refused; its body stays as a blob.
    pub(crate) async fn quarantine_letter(
        &self,
        head: &LetterHead,
        refusal: &Refusal,
        now: UtcMs,
    ) -> Result<(), SpoolError> {
        let mut tx = self.0.writer.begin_with("BEGIN IMMEDIATE").await.map_err(db("begin"))?;
        insert_letter(&mut tx, head, Some(refusal), now).await?;
        tx.commit().await.map_err(db("commit"))?;
        self.touch();
        Ok(())
    }

    /// Records a verified report version. `Ok(false)` when this version is here with other content: then nothing is
    /// recorded.
    pub(crate) async fn store_report(
        &self,
        head: &LetterHead,
        report: &ReportInsert,
        now: UtcMs,
    ) -> Result<bool, SpoolError> {
        let mut tx = self.0.writer.begin_with("BEGIN IMMEDIATE").await.map_err(db("begin"))?;
        let other: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT package FROM report WHERE report_id = ? AND version = ?")
                .bind(report.report_id.as_str())
                .bind(report.version)
                .fetch_optional(&mut *tx)
                .await
                .map_err(db("look a report version up"))?;
        if other.as_deref().is_some_and(|hash| hash != head.hash.0) {
            return Ok(false);
        }
        insert_letter(&mut tx, head, None, now).await?;
        if other.is_none() {
            sqlx::query(
                "INSERT INTO report (letter, report_id, version, kind, study, package, author, reviewer, signed_at,
                    reviewed_at, demo, verified_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )
            .bind(head.id.as_str())
            .bind(report.report_id.as_str())
            .bind(report.version)
            .bind(report.kind.number())
            .bind(head.study.as_str())
            .bind(head.hash.0.as_slice())
            .bind(&report.author)
            .bind(&report.reviewer)
            .bind(report.signed_at.0)
            .bind(report.reviewed_at.map(|t| t.0))
            .bind(report.demo)
            .bind(now.0)
            .execute(&mut *tx)
            .await
            .map_err(db("insert a report version"))?;
        }
        tx.commit().await.map_err(db("commit"))?;
        self.touch();
        Ok(true)
    }

    pub(crate) async fn store_critical(
        &self,
        head: &LetterHead,
        notice: &CriticalNotice,
        body: &[u8],
        now: UtcMs,
    ) -> Result<(), SpoolError> {
        let mut tx = self.0.writer.begin_with("BEGIN IMMEDIATE").await.map_err(db("begin"))?;
        insert_letter(&mut tx, head, None, now).await?;
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
        tx.commit().await.map_err(db("commit"))?;
        self.touch();
        Ok(())
    }

    pub(crate) async fn store_retake(
        &self,
        head: &LetterHead,
        request: &RetakeRequest,
        body: &[u8],
        now: UtcMs,
    ) -> Result<(), SpoolError> {
        let mut tx = self.0.writer.begin_with("BEGIN IMMEDIATE").await.map_err(db("begin"))?;
        insert_letter(&mut tx, head, None, now).await?;
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
        tx.commit().await.map_err(db("commit"))?;
        self.touch();
        Ok(())
    }

    /// Records where a study stands; an older word changes nothing.
    pub(crate) async fn store_status(
        &self,
        head: &LetterHead,
        status: &StudyStatus,
        now: UtcMs,
    ) -> Result<(), SpoolError> {
        let mut tx = self.0.writer.begin_with("BEGIN IMMEDIATE").await.map_err(db("begin"))?;
        insert_letter(&mut tx, head, None, now).await?;
        sqlx::query(
            "UPDATE study SET county_state = ?, county_reader = ?, county_due_at = ?, county_state_at = ?
             WHERE uid = ? AND (county_state_at IS NULL OR county_state_at <= ?)",
        )
        .bind(&status.state)
        .bind(&status.reader_name)
        .bind(status.due_at.map(|t| t.0))
        .bind(status.at.0)
        .bind(head.study.as_str())
        .bind(status.at.0)
        .execute(&mut *tx)
        .await
        .map_err(db("record a study's progress"))?;
        tx.commit().await.map_err(db("commit"))?;
        self.touch();
        Ok(())
    }

    /// A letter that needs no row of its own kind (a treatment plan).
    pub(crate) async fn store_other(&self, head: &LetterHead, now: UtcMs) -> Result<(), SpoolError> {
        let mut tx = self.0.writer.begin_with("BEGIN IMMEDIATE").await.map_err(db("begin"))?;
        insert_letter(&mut tx, head, None, now).await?;
        tx.commit().await.map_err(db("commit"))?;
        self.touch();
        Ok(())
    }

    /// Report versions, newest first, at most 500; of one study when given.
    ///
    /// # Errors
    /// [`SpoolError`] of the database.
    pub async fn reports(&self, study: Option<&StudyUid>) -> Result<Vec<ReportRow>, SpoolError> {
        self.report_rows(study.map(StudyUid::as_str), None).await
    }

    /// The report version that this letter brought; by the report's own id, its newest version.
    ///
    /// # Errors
    /// [`SpoolError`] of the database.
    pub async fn report(&self, id: &str) -> Result<Option<ReportRow>, SpoolError> {
        Ok(self.report_rows(None, Some(id)).await?.into_iter().max_by_key(|row| row.version))
    }

    async fn report_rows(&self, study: Option<&str>, id: Option<&str>) -> Result<Vec<ReportRow>, SpoolError> {
        let rows = sqlx::query(
            "SELECT r.*, EXISTS (SELECT 1 FROM report n WHERE n.report_id = r.report_id AND n.version > r.version)
                AS superseded FROM report r
             WHERE (?1 IS NULL OR r.study = ?1) AND (?2 IS NULL OR r.letter = ?2 OR r.report_id = ?2)
             ORDER BY r.verified_at DESC, r.version DESC LIMIT ?3",
        )
        .bind(study)
        .bind(id)
        .bind(MAX_REPORTS)
        .fetch_all(&self.0.reader)
        .await
        .map_err(db("list reports"))?;
        rows.iter().map(report_of).collect()
    }

    /// A person has opened a report version: row and note in one transaction.
    pub(crate) async fn record_opened(
        &self,
        letter: &LetterId,
        person: &str,
        note: &Note,
        now: UtcMs,
    ) -> Result<(), SpoolError> {
        let mut tx = self.0.writer.begin_with("BEGIN IMMEDIATE").await.map_err(db("begin"))?;
        sqlx::query("UPDATE report SET opened_at = COALESCE(opened_at, ?), opened_by = COALESCE(opened_by, ?), fault = NULL WHERE letter = ?")
            .bind(now.0)
            .bind(person)
            .bind(letter.as_str())
            .execute(&mut *tx)
            .await
            .map_err(db("record that a report was opened"))?;
        notes::insert(&mut tx, note).await?;
        tx.commit().await.map_err(db("commit"))?;
        self.touch();
        Ok(())
    }

    /// A check from disk found the report damaged.
    pub(crate) async fn record_fault(&self, letter: &LetterId, fault: &str) -> Result<(), SpoolError> {
        sqlx::query("UPDATE report SET fault = ? WHERE letter = ?")
            .bind(fault)
            .bind(letter.as_str())
            .execute(&self.0.writer)
            .await
            .map_err(db("record a damaged report"))?;
        self.touch();
        Ok(())
    }

    /// Critical notices whose action is not recorded, oldest first; all of them with `closed`.
    ///
    /// # Errors
    /// [`SpoolError`] of the database.
    pub async fn criticals(&self, closed: bool) -> Result<Vec<CriticalRow>, SpoolError> {
        let rows = sqlx::query("SELECT * FROM critical WHERE ? OR action_at IS NULL ORDER BY raised_at")
            .bind(closed)
            .fetch_all(&self.0.reader)
            .await
            .map_err(db("list critical notices"))?;
        rows.iter()
            .map(|row| {
                let id: String = row.get("letter");
                let corrupt = |column| SpoolError::Corrupt { table: "critical", column, row: id.clone() };
                Ok(CriticalRow {
                    letter: LetterId::parse(&id).map_err(|_| corrupt("letter"))?,
                    study: view::study_uid(row.get("study"))?,
                    notice: serde_json::from_slice(&row.get::<Vec<u8>, _>("body"))
                        .map_err(|_| corrupt("body"))?,
                    read_back_at: row.get::<Option<i64>, _>("read_back_at").map(UtcMs),
                    read_back_by: row.get("read_back_by"),
                    action_at: row.get::<Option<i64>, _>("action_at").map(UtcMs),
                    action_by: row.get("action_by"),
                })
            })
            .collect()
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
        let mut tx = self.0.writer.begin_with("BEGIN IMMEDIATE").await.map_err(db("begin"))?;
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
        tx.commit().await.map_err(db("commit"))?;
        self.touch();
        Ok(true)
    }

    /// Retake requests not seen yet, oldest first; all of them with `seen`.
    ///
    /// # Errors
    /// [`SpoolError`] of the database.
    pub async fn retakes(&self, seen: bool) -> Result<Vec<RetakeRow>, SpoolError> {
        let rows = sqlx::query("SELECT * FROM retake WHERE ? OR seen_at IS NULL ORDER BY asked_at")
            .bind(seen)
            .fetch_all(&self.0.reader)
            .await
            .map_err(db("list retake requests"))?;
        rows.iter()
            .map(|row| {
                let id: String = row.get("letter");
                let corrupt = |column| SpoolError::Corrupt { table: "retake", column, row: id.clone() };
                Ok(RetakeRow {
                    letter: LetterId::parse(&id).map_err(|_| corrupt("letter"))?,
                    study: view::study_uid(row.get("study"))?,
                    request: serde_json::from_slice(&row.get::<Vec<u8>, _>("body"))
                        .map_err(|_| corrupt("body"))?,
                    seen_at: row.get::<Option<i64>, _>("seen_at").map(UtcMs),
                    seen_by: row.get("seen_by"),
                })
            })
            .collect()
    }

    /// A retake request was seen: row and note in one transaction. `Ok(false)` when it had been seen before.
    pub(crate) async fn record_retake_seen(
        &self,
        letter: &LetterId,
        person: &str,
        note: &Note,
        now: UtcMs,
    ) -> Result<bool, SpoolError> {
        let mut tx = self.0.writer.begin_with("BEGIN IMMEDIATE").await.map_err(db("begin"))?;
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
        tx.commit().await.map_err(db("commit"))?;
        self.touch();
        Ok(true)
    }
}

async fn insert_letter(
    tx: &mut SqliteConnection,
    head: &LetterHead,
    refusal: Option<&Refusal>,
    now: UtcMs,
) -> Result<(), SpoolError> {
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
    .execute(tx)
    .await
    .map_err(db("insert a letter"))?;
    Ok(())
}

fn report_of(row: &SqliteRow) -> Result<ReportRow, SpoolError> {
    let id: String = row.get("letter");
    let corrupt = |column| SpoolError::Corrupt { table: "report", column, row: id.clone() };
    Ok(ReportRow {
        letter: LetterId::parse(&id).map_err(|_| corrupt("letter"))?,
        report_id: ReportId::parse(row.get("report_id")).map_err(|_| corrupt("report_id"))?,
        version: row.get("version"),
        kind: ReportKind::from_number(row.get("kind")).ok_or_else(|| corrupt("kind"))?,
        study: view::study_uid(row.get("study"))?,
        package: ObjectHash::from_slice(&row.get::<Vec<u8>, _>("package"))
            .ok_or_else(|| corrupt("package"))?,
        author: row.get("author"),
        reviewer: row.get("reviewer"),
        signed_at: UtcMs(row.get("signed_at")),
        reviewed_at: row.get::<Option<i64>, _>("reviewed_at").map(UtcMs),
        demo: row.get::<i64, _>("demo") != 0,
        received_at: UtcMs(row.get("verified_at")),
        opened_at: row.get::<Option<i64>, _>("opened_at").map(UtcMs),
        opened_by: row.get("opened_by"),
        fault: row.get("fault"),
        superseded: row.get::<i64, _>("superseded") != 0,
    })
}

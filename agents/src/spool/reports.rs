//! Report versions at the clinic: verified when they came, opened by named people.

use super::cells::Cells;
use super::error::db;
use super::pages::Slice;
use super::void::Voided;
use super::{Spool, SpoolError, notes, view};
use relay_core::clock::UtcMs;
use relay_core::ids::{LetterId, ObjectHash, ReportId, StudyUid};
use relay_core::letter::{LetterHead, Note};
use relay_core::report::ReportKind;
use relay_core::study::StudyRevision;
use sqlx::sqlite::SqliteRow;
use std::sync::PoisonError;

/// Versions of one list of studies: a study has one or two, and is corrected a handful of times.
const MAX_VERSIONS: i64 = 8_000;

/// A verified report version about to be recorded.
#[derive(Debug, Clone)]
pub struct ReportInsert {
    /// The report.
    pub report_id: ReportId,
    /// Its version, over all kinds.
    pub version: u32,
    /// The number that paper shows and people are told.
    pub paper_version: u32,
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
    /// The set of objects it has read.
    pub revision: StudyRevision,
}

/// A report version at the clinic.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct ReportRow {
    /// The letter that brought it: the id people open it by.
    pub letter: LetterId,
    /// The report.
    pub report_id: ReportId,
    /// Its version, over all kinds.
    pub version: u32,
    /// The number that paper shows and people are told.
    pub paper_version: u32,
    /// Preliminary, final, addendum, correction.
    pub kind: ReportKind,
    /// The study it reads.
    pub study: StudyUid,
    /// Who was examined, as the clinic knows it.
    #[serde(default)]
    pub patient_name: Option<String>,
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
    /// What the last check from disk found wrong.
    pub fault: Option<String>,
    /// Its package was verified as it lies on this disk; until then nothing may be called valid.
    #[serde(default)]
    pub checked: bool,
    /// True when a newer version takes its place: 旧版. An addendum takes no place, a preliminary version only that of one.
    pub superseded: bool,
    /// 作废: withdrawn by the county, whatever the signature says.
    #[serde(default)]
    pub voided: Option<Voided>,
}

/// A page of report versions: those that nobody has opened yet are on the first one, all of them, and those that were
/// withdrawn with nothing in their place.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct ReportPage {
    /// The versions: unopened and withdrawn ones first, then the newest.
    pub reports: Vec<ReportRow>,
    /// Versions altogether.
    pub total: u64,
    /// Current versions that nobody has opened.
    pub unopened: u64,
    /// Which page this is, from 0.
    pub page: u64,
    /// How many there are.
    pub pages: u64,
}

/// Columns of a report version, with the person it is about.
macro_rules! report_rows {
    ($rest:literal) => {
        concat!(
            "SELECT r.*, p.name AS file_name, p.context AS context,
                EXISTS (SELECT 1 FROM report n WHERE n.report_id = r.report_id AND n.study = r.study
                    AND n.version > r.version AND (r.kind = 1 OR n.kind IN (2, 4))) AS superseded,
                d.reason AS void_reason, d.by_name AS void_by, d.at AS void_at
             FROM report r LEFT JOIN person p ON p.study = r.study
             LEFT JOIN report_void d ON d.report_id = r.report_id
                AND d.through_version = (SELECT MIN(m.through_version) FROM report_void m
                    WHERE m.report_id = r.report_id AND m.through_version >= r.version) ",
            $rest
        )
    };
}

impl Spool {
    /// Records a verified report version. `Ok(false)` when this version is here with other content: then nothing is
    /// recorded.
    pub(crate) async fn store_report(
        &self,
        head: &LetterHead,
        report: &ReportInsert,
        now: UtcMs,
    ) -> Result<bool, SpoolError> {
        let mut tx = self.begin_letter(head, None, now).await?;
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
        if other.is_none() {
            sqlx::query(
                "INSERT INTO report (letter, report_id, version, paper_version, kind, study, package, author, reviewer,
                    signed_at, reviewed_at, demo, revision, verified_at)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )
            .bind(head.id.as_str())
            .bind(report.report_id.as_str())
            .bind(report.version)
            .bind(report.paper_version)
            .bind(report.kind.number())
            .bind(head.study.as_str())
            .bind(head.hash.0.as_slice())
            .bind(&report.author)
            .bind(&report.reviewer)
            .bind(report.signed_at.0)
            .bind(report.reviewed_at.map(|t| t.0))
            .bind(report.demo)
            .bind(report.revision.0.0.as_slice())
            .bind(now.0)
            .execute(&mut *tx)
            .await
            .map_err(db("insert a report version"))?;
        }
        self.commit(tx).await?;
        // Verified just now, before it was stored.
        self.set_checked(&head.id, true);
        Ok(true)
    }

    /// Report versions of these studies, newest first.
    ///
    /// # Errors
    /// [`SpoolError`] of the database.
    pub async fn reports_of(&self, studies: &[StudyUid]) -> Result<Vec<ReportRow>, SpoolError> {
        let uids: Vec<&str> = studies.iter().map(StudyUid::as_str).collect();
        let uids = serde_json::to_string(&uids).expect("invariant: texts serialise");
        let rows = sqlx::query(report_rows!(
            "WHERE r.study IN (SELECT value FROM json_each(?)) ORDER BY r.verified_at DESC, r.version DESC LIMIT ?"
        ))
        .bind(uids)
        .bind(MAX_VERSIONS)
        .fetch_all(&self.0.reader)
        .await
        .map_err(db("list the reports of studies"))?;
        Ok(self.readable(rows.iter().map(|row| self.report_of(row))))
    }

    /// A page of report versions, from 0.
    ///
    /// # Errors
    /// [`SpoolError`] of the database.
    pub async fn reports(&self, page: u64) -> Result<ReportPage, SpoolError> {
        let count = sqlx::query_as::<_, (i64, i64, i64)>(
            "SELECT COUNT(*), COALESCE(SUM(current AND opened_at IS NULL), 0),
                COALESCE(SUM(current AND (opened_at IS NULL OR voided)), 0)
             FROM (SELECT r.opened_at, NOT EXISTS (SELECT 1 FROM report n WHERE n.report_id = r.report_id
                        AND n.study = r.study AND n.version > r.version AND (r.kind = 1 OR n.kind IN (2, 4))) AS current,
                    EXISTS (SELECT 1 FROM report_void d WHERE d.report_id = r.report_id
                        AND d.through_version >= r.version) AS voided FROM report r)",
        );
        let (total, unopened, first) = count.fetch_one(&self.0.reader).await.map_err(db("count reports"))?;
        let slice = Slice::of(page, total, first);
        let rows = sqlx::query(report_rows!(
            "ORDER BY ((r.opened_at IS NULL OR d.at IS NOT NULL) AND NOT superseded) DESC, r.verified_at DESC, r.version DESC, r.letter
             LIMIT ? OFFSET ?"
        ))
        .bind(slice.limit)
        .bind(slice.offset)
        .fetch_all(&self.0.reader)
        .await
        .map_err(db("list reports"))?;
        Ok(ReportPage {
            reports: self.readable(rows.iter().map(|row| self.report_of(row))),
            total: total.unsigned_abs(),
            unopened: unopened.unsigned_abs(),
            page,
            pages: slice.pages,
        })
    }

    /// The report version that this letter brought; by the report's own id, its newest version.
    ///
    /// # Errors
    /// [`SpoolError`] of the database, also when its row is damaged.
    pub async fn report(&self, id: &str) -> Result<Option<ReportRow>, SpoolError> {
        let row = sqlx::query(report_rows!(
            "WHERE r.letter = ?1 OR r.report_id = ?1 ORDER BY r.version DESC, r.verified_at DESC LIMIT 1"
        ))
        .bind(id)
        .fetch_optional(&self.0.reader)
        .await
        .map_err(db("look a report up"))?;
        row.as_ref().map(|row| self.report_of(row)).transpose()
    }

    /// A person has opened a report version: row and note in one transaction.
    pub(crate) async fn record_opened(
        &self,
        letter: &LetterId,
        person: &str,
        note: &Note,
        now: UtcMs,
    ) -> Result<(), SpoolError> {
        let mut tx = self.begin().await?;
        sqlx::query("UPDATE report SET opened_at = COALESCE(opened_at, ?), opened_by = COALESCE(opened_by, ?), fault = NULL WHERE letter = ?")
            .bind(now.0)
            .bind(person)
            .bind(letter.as_str())
            .execute(&mut *tx)
            .await
            .map_err(db("record that a report was opened"))?;
        notes::insert(&mut tx, note).await?;
        self.commit(tx).await
    }

    /// Versions that the last check from disk found wrong, newest first, at most `limit`.
    ///
    /// # Errors
    /// [`SpoolError`] of the database.
    pub async fn faulty_reports(&self, limit: u32) -> Result<Vec<ReportRow>, SpoolError> {
        let rows = sqlx::query(report_rows!("WHERE r.fault IS NOT NULL ORDER BY r.verified_at DESC LIMIT ?"))
            .bind(limit)
            .fetch_all(&self.0.reader)
            .await
            .map_err(db("list damaged reports"))?;
        Ok(self.readable(rows.iter().map(|row| self.report_of(row))))
    }

    /// Remembers whether a version was verified as it lies on this disk; true when that is news.
    pub(crate) fn set_checked(&self, letter: &LetterId, checked: bool) -> bool {
        let mut known = self.0.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if checked { known.insert(letter.clone()) } else { known.remove(letter) }
    }

    pub(super) fn is_checked(&self, letter: &str) -> bool {
        LetterId::parse(letter).is_ok_and(|letter| {
            self.0.checked.lock().unwrap_or_else(PoisonError::into_inner).contains(&letter)
        })
    }

    /// The row says again what the signed package says.
    pub(crate) async fn correct_report(
        &self,
        letter: &LetterId,
        says: &ReportInsert,
    ) -> Result<(), SpoolError> {
        sqlx::query(
            "UPDATE report SET paper_version = ?, author = ?, reviewer = ?, signed_at = ?, reviewed_at = ?, demo = ?
             WHERE letter = ?",
        )
        .bind(says.paper_version)
        .bind(&says.author)
        .bind(&says.reviewer)
        .bind(says.signed_at.0)
        .bind(says.reviewed_at.map(|t| t.0))
        .bind(says.demo)
        .bind(letter.as_str())
        .execute(&self.0.writer)
        .await
        .map_err(db("put a report's row right"))?;
        self.touch();
        Ok(())
    }

    /// What the last check from disk found of a version.
    pub(crate) async fn record_fault(
        &self,
        letter: &LetterId,
        fault: Option<&str>,
    ) -> Result<(), SpoolError> {
        sqlx::query("UPDATE report SET fault = ? WHERE letter = ?")
            .bind(fault)
            .bind(letter.as_str())
            .execute(&self.0.writer)
            .await
            .map_err(db("record a damaged report"))?;
        self.touch();
        Ok(())
    }
}

impl Spool {
    fn report_of(&self, row: &SqliteRow) -> Result<ReportRow, SpoolError> {
        let mut report = report_of(row)?;
        report.checked = self.is_checked(report.letter.as_str());
        Ok(report)
    }
}

fn report_of(row: &SqliteRow) -> Result<ReportRow, SpoolError> {
    let cells = Cells::of(row, "report", "letter");
    Ok(ReportRow {
        checked: false,
        letter: cells.read("letter", |id: String| LetterId::parse(&id).ok())?,
        report_id: cells.read("report_id", |id: String| ReportId::parse(&id).ok())?,
        version: cells.get("version")?,
        paper_version: cells.get("paper_version")?,
        kind: cells.read("kind", ReportKind::from_number)?,
        study: cells.study("study")?,
        patient_name: view::patient_name(&cells),
        package: cells.hash("package")?,
        author: cells.get("author")?,
        reviewer: cells.get("reviewer")?,
        signed_at: cells.time("signed_at")?,
        reviewed_at: cells.maybe_time("reviewed_at")?,
        demo: cells.flag("demo")?,
        received_at: cells.time("verified_at")?,
        opened_at: cells.maybe_time("opened_at")?,
        opened_by: cells.get("opened_by")?,
        fault: cells.get("fault")?,
        superseded: cells.flag("superseded")?,
        voided: Voided::of(&cells)?,
    })
}

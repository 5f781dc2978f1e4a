//! Studies as people see them.

use super::cells::Cells;
use super::error::db;
use super::pages::Slice;
use super::rejects::code_name;
use super::standing::{Current, Standing};
use super::{Spool, SpoolError};
use relay_core::clock::{DAY_MS, UtcMs};
use relay_core::ids::{ObjectHash, StudyUid};
use relay_core::study::{Class, Completeness, Kind, StudyContext, StudyRevision};
use sqlx::sqlite::SqliteRow;
use std::sync::PoisonError;

/// A study as the radiographer sees it.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct StudyView {
    /// StudyInstanceUID.
    pub uid: StudyUid,
    /// `safe_here`, `lost_here`, `travelling`, `safe_at_county`, `partly_refused`, `being_read`, `retake_requested`, `reported`, `report_void`,
    /// `report_invalid`, `report_unchecked`, `refused`.
    pub state: String,
    /// The same in Chinese, with what still waits.
    pub state_zh: String,
    /// Share of the coded bytes that the county has, 0 to 100.
    pub percent: u8,
    /// Urgency.
    pub class: Class,
    /// ECG, X-ray or other.
    pub kind: Kind,
    /// Whether more is to come.
    pub complete: bool,
    /// AE title or folder.
    pub source: String,
    /// Patient name: the clinic's own, else the file's.
    pub patient_name: Option<String>,
    /// Patient id.
    pub patient_id: Option<String>,
    /// Chief complaint.
    pub complaint: Option<String>,
    /// First object safe here.
    pub first_object_at: UtcMs,
    /// Exam time as the file writes it.
    pub exam_time_text: Option<String>,
    /// Objects here.
    pub objects: u64,
    /// Objects the county holds.
    pub receipted: u64,
    /// Objects the county refused and does not hold.
    pub refused: u64,
    /// Objects neither held nor refused by the county: they wait, whatever the state says.
    #[serde(default)]
    pub waiting: u64,
    /// Of these, objects whose bytes are lost or damaged on this disk: they must be sent from the device once more.
    #[serde(default)]
    pub lost: u64,
    /// Plaintext bytes.
    pub bytes: u64,
    /// Bytes as they travel.
    pub coded_bytes: u64,
    /// When all was safe at the county.
    pub safe_at: Option<UtcMs>,
    /// State word at the county.
    pub county_state: Option<String>,
    /// Who reads it.
    pub reader: Option<String>,
    /// When the report is promised.
    pub due_at: Option<UtcMs>,
    /// Valid report versions here.
    pub reports: u64,
    /// The county holds objects that no report here has read: 待补充.
    #[serde(default)]
    pub late: bool,
    /// Why it was refused: code, field, reason.
    pub refusal: Option<String>,
    /// What a person should look at in an ECG before it is read: electrodes, noise, missing leads. In Chinese.
    #[serde(default)]
    pub findings: Vec<String>,
}

/// A page of studies: those not safe at the county are on the first one, urgent ones before the others.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct StudyPage {
    /// The studies.
    pub studies: Vec<StudyView>,
    /// Studies of the last 24 hours and everything that has not arrived.
    pub total: u64,
    /// Of these, not safe at the county: something waits, was refused, or is lost here.
    pub not_safe: u64,
    /// Which page this is, from 0.
    pub page: u64,
    /// How many there are.
    pub pages: u64,
}

/// Not safe at the county: something has no receipt, also when the county has refused it or this disk has lost it. What went
/// from here by policy after a refusal has been dealt with.
macro_rules! not_safe {
    () => {
        "(s.safe_at IS NULL OR EXISTS (SELECT 1 FROM object u WHERE u.study = s.uid AND u.receipted_at IS NULL
            AND u.evicted_at IS NULL))"
    };
}

pub(super) use not_safe;

/// Which studies are listed: those of the last 24 hours, and everything that has not arrived and whose bytes are here.
macro_rules! listed {
    () => {
        "(s.first_object_at >= ?1 OR s.last_activity_at >= ?1
            OR (s.safe_at IS NULL AND EXISTS (SELECT 1 FROM object e WHERE e.study = s.uid
                AND (e.evicted_at IS NULL OR e.receipted_at IS NOT NULL))))"
    };
}

macro_rules! study_rows {
    ($($rest:expr),+) => {
        concat!(
            "SELECT s.*, p.name AS file_name, p.patient_id AS file_patient_id, p.context AS context,
                COUNT(o.hash) AS objects, COALESCE(SUM(o.receipted_at IS NOT NULL), 0) AS receipted,
                COALESCE(SUM(o.refused_code IS NOT NULL AND o.receipted_at IS NULL), 0) AS refused,
                COALESCE(SUM(o.unreadable_at IS NOT NULL AND o.receipted_at IS NULL), 0) AS lost,
                COALESCE(SUM(o.length), 0) AS bytes, COALESCE(SUM(o.coded_length), 0) AS coded_bytes,
                COALESCE(SUM(CASE WHEN o.receipted_at IS NOT NULL THEN o.coded_length ELSE 0 END), 0) AS there,
                MAX(CASE WHEN o.receipted_at IS NULL THEN o.refused_code END) AS object_code,
                o.refused_field AS object_field, o.refused_reason AS object_reason,
                (SELECT COUNT(*) FROM report r WHERE r.study = s.uid AND r.fault IS NULL AND NOT EXISTS (SELECT 1
                    FROM report_void d WHERE d.report_id = r.report_id AND d.through_version >= r.version)) AS reports,
                EXISTS (SELECT 1 FROM report_void d WHERE d.study = s.uid) AS voided,
                (SELECT group_concat(CASE WHEN r.fault IS NULL THEN r.letter ELSE '!' END, char(10)) FROM report r
                    WHERE r.study = s.uid AND NOT EXISTS (SELECT 1 FROM report n WHERE n.report_id = r.report_id
                        AND n.study = r.study AND n.version > r.version AND (r.kind = 1 OR n.kind IN (2, 4)))
                    AND NOT EXISTS (SELECT 1 FROM report_void d WHERE d.report_id = r.report_id
                        AND d.through_version >= r.version)) AS current,
                (SELECT group_concat(hex(r.revision)) FROM report r WHERE r.study = s.uid AND r.fault IS NULL) AS revisions,
                CASE WHEN EXISTS (SELECT 1 FROM report r WHERE r.study = s.uid) THEN (SELECT group_concat(hex(h.hash))
                    FROM object h WHERE h.study = s.uid AND h.receipted_at IS NOT NULL) END AS at_county,
                (SELECT group_concat(f.findings, char(10)) FROM object f WHERE f.study = s.uid) AS findings,
                COALESCE(NOT EXISTS (SELECT 1 FROM county) OR s.confirmed_in IN (SELECT store FROM county)
                    OR s.confirmed_in IN (SELECT home FROM county)
                    OR NOT EXISTS (SELECT 1 FROM object h WHERE h.study = s.uid AND h.evicted_at IS NULL), 0) AS confirmed
             FROM study s JOIN person p ON p.study = s.uid LEFT JOIN object o ON o.study = s.uid ",
            $($rest),+
        )
    };
}

impl Spool {
    /// Studies of the last 24 hours and everything that has not arrived yet, in pages from 0: what is urgent and not
    /// safe first, then what is not safe, then the rest by urgency.
    ///
    /// # Errors
    /// [`SpoolError`] of the database.
    pub async fn studies(&self, page: u64) -> Result<StudyPage, SpoolError> {
        let since = self.now().plus_ms(-DAY_MS).0;
        let count = sqlx::query_as::<_, (i64, i64)>(concat!(
            "SELECT COUNT(*), COALESCE(SUM(",
            not_safe!(),
            "), 0) FROM study s WHERE ",
            listed!()
        ));
        let (total, not_safe) =
            count.bind(since).fetch_one(&self.0.reader).await.map_err(db("count studies"))?;
        let slice = Slice::of(page, total, not_safe);
        let rows = sqlx::query(study_rows!(
            "WHERE ",
            listed!(),
            " GROUP BY s.uid ORDER BY NOT ",
            not_safe!(),
            ", s.class, s.first_object_at DESC, s.uid LIMIT ?2 OFFSET ?3"
        ))
        .bind(since)
        .bind(slice.limit)
        .bind(slice.offset)
        .fetch_all(&self.0.reader)
        .await
        .map_err(db("list studies"))?;
        Ok(StudyPage {
            studies: self.readable(rows.iter().map(|row| self.study_view(row))),
            total: total.unsigned_abs(),
            not_safe: not_safe.unsigned_abs(),
            page,
            pages: slice.pages,
        })
    }

    /// One study, however old.
    ///
    /// # Errors
    /// [`SpoolError::NoStudy`], or of the database, also when its row is damaged.
    pub async fn study(&self, study: &StudyUid) -> Result<StudyView, SpoolError> {
        let row = sqlx::query(study_rows!("WHERE s.uid = ? GROUP BY s.uid"))
            .bind(study.as_str())
            .fetch_optional(&self.0.reader)
            .await
            .map_err(db("read a study"))?;
        self.study_view(&row.ok_or_else(|| SpoolError::NoStudy(study.to_string()))?)
    }

    fn study_view(&self, row: &SqliteRow) -> Result<StudyView, SpoolError> {
        let cells = Cells::of(row, "study", "uid");
        let study = cells.study("uid")?;
        let context = context(&cells)?;
        let (objects, receipted) = (cells.count("objects")?, cells.count("receipted")?);
        let (refused, lost) = (cells.count("refused")?, cells.count("lost")?);
        let waiting = objects.saturating_sub(receipted).saturating_sub(refused);
        let coded_bytes = cells.count("coded_bytes")?;
        let sent = self.0.progress.lock().unwrap_or_else(PoisonError::into_inner).get(&study).copied();
        let there = cells.count("there")?.max(sent.unwrap_or(0)).min(coded_bytes);
        let percent = (there * 100).checked_div(coded_bytes).and_then(|p| u8::try_from(p).ok()).unwrap_or(0);
        // Another store of the county must say so anew before it counts.
        let confirmed = cells.flag("confirmed")?;
        let safe_at = cells.maybe_time("safe_at")?.filter(|_| confirmed);
        let county: Option<String> = cells.get("county_state")?;
        let reports = cells.count("reports")?;
        let whole_refused = cells.get::<i64>("refused_generation")? >= cells.get::<i64>("generation")?;
        let kind = cells.read("kind", Kind::from_number)?;
        let stands = Standing {
            current: self.current(cells.get("current")?),
            voided: cells.flag("voided")?,
            refused: (refused > 0 && receipted == 0 && waiting == 0) || whole_refused,
            being_read: county
                .as_deref()
                .is_some_and(|s| !matches!(s, "waiting" | "withdrawn" | "retake_requested")),
            retake: county.as_deref() == Some("retake_requested"),
            late: waiting == 0 && unread(&cells)?,
            kind,
            settled: safe_at.is_some(),
            objects,
            receipted,
            refused_objects: refused,
            waiting,
            lost,
            travelling: there > 0,
        };
        let (state, state_zh) = stands.words(percent);
        Ok(StudyView {
            uid: study,
            state: state.to_owned(),
            state_zh,
            percent: if safe_at.is_some() { 100 } else { percent },
            class: cells.read("class", Class::from_number)?,
            kind,
            complete: cells.read("completeness", Completeness::from_number)? == Completeness::Complete,
            source: cells.get("source")?,
            patient_name: patient_name(&cells),
            patient_id: context.patient_id.or(cells.get("file_patient_id")?),
            complaint: context.complaint,
            first_object_at: cells.time("first_object_at")?,
            exam_time_text: cells.get("exam_time_text")?,
            objects,
            receipted,
            refused,
            waiting,
            lost,
            bytes: cells.count("bytes")?,
            coded_bytes,
            safe_at,
            county_state: county,
            reader: cells.get("county_reader")?,
            // A film that is to be taken again has no report on its way.
            due_at: cells.maybe_time("county_due_at")?.filter(|_| !stands.retake),
            reports,
            late: stands.current == Current::Valid && stands.late,
            refusal: refusal_text(&cells, refused > 0)?,
            findings: lines(cells.get("findings")?),
        })
    }
}

impl Spool {
    /// What the current versions of a study are: the column `current` names each by its letter, a damaged one by `!`.
    fn current(&self, letters: Option<String>) -> Current {
        let Some(letters) = letters else { return Current::None };
        if letters.lines().any(|letter| letter == "!") {
            return Current::Invalid;
        }
        if letters.lines().all(|letter| self.is_checked(letter)) {
            Current::Valid
        } else {
            Current::Unchecked
        }
    }
}

/// Whether the county holds objects that no report version here has read.
fn unread(cells: &Cells<'_>) -> Result<bool, SpoolError> {
    let (read, there): (Option<String>, Option<String>) = (cells.get("revisions")?, cells.get("at_county")?);
    let (Some(read), Some(there)) = (read, there) else { return Ok(false) };
    let hashes: Option<Vec<ObjectHash>> =
        there.split(',').map(|hex| ObjectHash::from_slice(&hex::decode(hex).ok()?)).collect();
    let now = StudyRevision::of(hashes.ok_or_else(|| cells.corrupt("hash"))?).0.to_hex();
    Ok(!read.split(',').any(|revision| revision.eq_ignore_ascii_case(&now)))
}

fn lines(text: Option<String>) -> Vec<String> {
    text.unwrap_or_default().lines().map(str::to_owned).collect()
}

fn refusal_text(cells: &Cells<'_>, of_an_object: bool) -> Result<Option<String>, SpoolError> {
    let text = |code, field, reason| {
        let code: Option<i64> = cells.get(code)?;
        let (field, reason): (Option<String>, Option<String>) = (cells.get(field)?, cells.get(reason)?);
        Ok::<_, SpoolError>(code.map(|code| {
            format!("{}: {}: {}", code_name(code), field.unwrap_or_default(), reason.unwrap_or_default())
        }))
    };
    let whole = text("refused_code", "refused_field", "refused_reason")?;
    if whole.is_some() || !of_an_object {
        return Ok(whole);
    }
    text("object_code", "object_field", "object_reason")
}

/// The clinic's own word for the patient, else the file's; `None` also when it cannot be read.
pub(super) fn patient_name(cells: &Cells<'_>) -> Option<String> {
    let own = context(cells).ok().and_then(|c| c.patient_name);
    own.or_else(|| cells.get("file_name").ok().flatten())
        .map(|name| relay_core::formats::text::written_name(&name))
}

/// The column `context` of a row.
pub(super) fn context(cells: &Cells<'_>) -> Result<StudyContext, SpoolError> {
    match cells.get::<Option<String>>("context")? {
        Some(json) => serde_json::from_str(&json).map_err(|_| cells.corrupt("context")),
        None => Ok(StudyContext::default()),
    }
}

pub(super) fn context_json(context: &StudyContext) -> String {
    serde_json::to_string(context).expect("invariant: texts serialise")
}

//! What people see of the spool.

use super::error::db;
use super::{Spool, SpoolError};
use relay_core::clock::{DAY_MS, UtcMs};
use relay_core::codes::Code;
use relay_core::ids::{Sha256, StudyUid};
use relay_core::study::{Class, Completeness, Kind, StudyContext};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use std::sync::PoisonError;

/// Studies in one list: a clinic's busiest day has a hundred.
const MAX_STUDIES: i64 = 500;
/// Refused files in one list.
const MAX_REJECTS: i64 = 500;

/// A study as the radiographer sees it.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct StudyView {
    /// StudyInstanceUID.
    pub uid: StudyUid,
    /// `safe_here`, `travelling`, `safe_at_county`, `being_read`, `reported`, `refused`.
    pub state: String,
    /// The same in Chinese.
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
    /// Objects the county refused.
    pub refused: u64,
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
    /// Why it was refused: code, field, reason.
    pub refusal: Option<String>,
}

/// A file that was not taken.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct RejectView {
    /// When.
    pub at: UtcMs,
    /// AE title, folder or `send`.
    pub source: String,
    /// Its name.
    pub file: String,
    /// SHA-256 of its bytes.
    pub sha256: Sha256,
    /// Name of the code.
    pub code: String,
    /// Which field.
    pub field: String,
    /// Why.
    pub reason: String,
}

const STUDIES: &str = "SELECT s.*, p.name, p.patient_id AS file_patient_id, p.context,
        COUNT(o.hash) AS objects, COALESCE(SUM(o.receipted_at IS NOT NULL), 0) AS receipted,
        COALESCE(SUM(o.refused_code IS NOT NULL), 0) AS refused,
        COALESCE(SUM(o.length), 0) AS bytes, COALESCE(SUM(o.coded_length), 0) AS coded_bytes,
        COALESCE(SUM(CASE WHEN o.receipted_at IS NOT NULL THEN o.coded_length ELSE 0 END), 0) AS there,
        MAX(o.refused_code) AS object_code, MAX(o.refused_field) AS object_field, MAX(o.refused_reason) AS object_reason,
        (SELECT COUNT(*) FROM report r WHERE r.study = s.uid AND r.fault IS NULL) AS reports
    FROM study s JOIN person p ON p.study = s.uid LEFT JOIN object o ON o.study = s.uid
    WHERE s.uid = COALESCE(?1, s.uid) AND (s.first_object_at >= ?2 OR s.safe_at IS NULL OR s.last_activity_at >= ?2)
    GROUP BY s.uid ORDER BY s.class, s.first_object_at DESC LIMIT ?3";

impl Spool {
    /// Studies of the last 24 hours and everything that has not arrived yet, urgent first.
    ///
    /// # Errors
    /// [`SpoolError`] of the database.
    pub async fn studies(&self) -> Result<Vec<StudyView>, SpoolError> {
        self.study_rows(None, self.now().plus_ms(-DAY_MS)).await
    }

    /// One study, however old.
    ///
    /// # Errors
    /// [`SpoolError::NoStudy`], or of the database.
    pub async fn study(&self, study: &StudyUid) -> Result<StudyView, SpoolError> {
        let mut rows = self.study_rows(Some(study), UtcMs(i64::MIN)).await?;
        rows.pop().ok_or_else(|| SpoolError::NoStudy(study.to_string()))
    }

    async fn study_rows(&self, study: Option<&StudyUid>, since: UtcMs) -> Result<Vec<StudyView>, SpoolError> {
        let rows = sqlx::query(STUDIES)
            .bind(study.map(StudyUid::as_str))
            .bind(since.0)
            .bind(MAX_STUDIES)
            .fetch_all(&self.0.reader)
            .await
            .map_err(db("list studies"))?;
        rows.iter().map(|row| self.study_view(row)).collect()
    }

    fn study_view(&self, row: &SqliteRow) -> Result<StudyView, SpoolError> {
        let uid: String = row.get("uid");
        let corrupt = |column| SpoolError::Corrupt { table: "study", column, row: uid.clone() };
        let study = study_uid(&uid)?;
        let count = |column| u64::try_from(row.get::<i64, _>(column)).unwrap_or(0);
        let context = context(row.get("context"), &uid)?;
        let coded_bytes = count("coded_bytes");
        let sent = self.0.progress.lock().unwrap_or_else(PoisonError::into_inner).get(&study).copied();
        let there = count("there").max(sent.unwrap_or(0)).min(coded_bytes);
        let percent = (there * 100).checked_div(coded_bytes).and_then(|p| u8::try_from(p).ok()).unwrap_or(0);
        let refusal = refusal_text(row);
        let safe_at = row.get::<Option<i64>, _>("safe_at").map(UtcMs);
        let county: Option<String> = row.get("county_state");
        let waiting = count("objects") - count("receipted") - count("refused").min(count("objects"));
        let stands = Standing {
            reported: count("reports") > 0,
            refused: refusal.is_some() && count("receipted") == 0 && waiting == 0
                || row.get::<i64, _>("refused_generation") >= row.get::<i64, _>("generation"),
            being_read: county.as_deref().is_some_and(|s| !matches!(s, "waiting" | "withdrawn")),
            safe: safe_at.is_some() || county.is_some(),
            travelling: there > 0,
        };
        let (state, state_zh) = stands.words(percent);
        Ok(StudyView {
            uid: study,
            state: state.to_owned(),
            state_zh,
            percent: if safe_at.is_some() { 100 } else { percent },
            class: Class::from_number(row.get("class")).ok_or_else(|| corrupt("class"))?,
            kind: Kind::from_number(row.get("kind")).ok_or_else(|| corrupt("kind"))?,
            complete: row.get::<u8, _>("completeness") == Completeness::Complete.number(),
            source: row.get("source"),
            patient_name: context.patient_name.or_else(|| row.get("name")),
            patient_id: context.patient_id.or_else(|| row.get("file_patient_id")),
            complaint: context.complaint,
            first_object_at: UtcMs(row.get("first_object_at")),
            exam_time_text: row.get("exam_time_text"),
            objects: count("objects"),
            receipted: count("receipted"),
            refused: count("refused"),
            bytes: count("bytes"),
            coded_bytes,
            safe_at,
            county_state: county,
            reader: row.get("county_reader"),
            due_at: row.get::<Option<i64>, _>("county_due_at").map(UtcMs),
            reports: count("reports"),
            refusal,
        })
    }

    /// Files that were not taken, newest first.
    ///
    /// # Errors
    /// [`SpoolError`] of the database.
    pub async fn rejects(&self) -> Result<Vec<RejectView>, SpoolError> {
        let rows = sqlx::query("SELECT * FROM reject ORDER BY at DESC, id DESC LIMIT ?")
            .bind(MAX_REJECTS)
            .fetch_all(&self.0.reader)
            .await
            .map_err(db("list refused files"))?;
        rows.iter()
            .map(|row| {
                let corrupt = |column| SpoolError::Corrupt {
                    table: "reject",
                    column,
                    row: row.get::<i64, _>("id").to_string(),
                };
                Ok(RejectView {
                    at: UtcMs(row.get("at")),
                    source: row.get("source"),
                    file: row.get("file_name"),
                    sha256: Sha256::from_slice(&row.get::<Vec<u8>, _>("sha256"))
                        .ok_or_else(|| corrupt("sha256"))?,
                    code: code_name(row.get("code")),
                    field: row.get("field"),
                    reason: row.get("reason"),
                })
            })
            .collect()
    }
}

struct Standing {
    reported: bool,
    refused: bool,
    being_read: bool,
    safe: bool,
    travelling: bool,
}

impl Standing {
    fn words(&self, percent: u8) -> (&'static str, String) {
        match self {
            Self { reported: true, .. } => ("reported", "报告已返回，签名有效".to_owned()),
            Self { refused: true, .. } => ("refused", "县级拒收".to_owned()),
            Self { being_read: true, .. } => ("being_read", "正在阅片".to_owned()),
            Self { safe: true, .. } => ("safe_at_county", "已安全到达县级".to_owned()),
            Self { travelling: true, .. } => ("travelling", format!("正在上传 {percent}%")),
            _ => ("safe_here", "已安全存于本机".to_owned()),
        }
    }
}

fn refusal_text(row: &SqliteRow) -> Option<String> {
    let text = |code: &str, field: &str, reason: &str| {
        let code: Option<i64> = row.get(code);
        let (field, reason): (Option<String>, Option<String>) = (row.get(field), row.get(reason));
        code.map(|code| {
            format!("{}: {}: {}", code_name(code), field.unwrap_or_default(), reason.unwrap_or_default())
        })
    };
    text("refused_code", "refused_field", "refused_reason")
        .or_else(|| text("object_code", "object_field", "object_reason"))
}

fn code_name(number: i64) -> String {
    let code = u16::try_from(number).ok().and_then(Code::from_number);
    code.map_or_else(|| number.to_string(), |c| c.name().to_owned())
}

pub(super) fn study_uid(text: &str) -> Result<StudyUid, SpoolError> {
    StudyUid::parse(text).map_err(|_| SpoolError::Corrupt {
        table: "study",
        column: "uid",
        row: text.to_owned(),
    })
}

pub(super) fn context(json: &str, row: &str) -> Result<StudyContext, SpoolError> {
    serde_json::from_str(json).map_err(|_| SpoolError::Corrupt {
        table: "person",
        column: "context",
        row: row.to_owned(),
    })
}

pub(super) fn context_json(context: &StudyContext) -> String {
    serde_json::to_string(context).expect("invariant: texts serialise")
}

//! From the store's facts to what a report says.

use super::exam;
use super::files::{FileFacts, Source};
use super::text::text_of;
use crate::queue::{self, StoredItem};
use crate::store::{Columns, Scope, StoreError};
use relay_core::clock::UtcMs;
use relay_core::codes::{Code, Refusal};
use relay_core::formats::text::written_name;
use relay_core::study::{Class, Completeness, Kind, StudyContext, StudyRevision};
use relay_report as paper;
use relay_report::limits::{MAX_CRITICALS, MAX_LINE_CHARS, MAX_NAME_CHARS, MAX_NOTE_CHARS};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use std::collections::BTreeMap;
use viewer_api::desk::{DraftText, PatientFacts, ReportVersion, WorkRow};

/// The county hospital as it appears on paper.
#[derive(Debug, Clone)]
pub struct Site {
    /// Site id: part of report numbers.
    pub id: String,
    /// Hospital name.
    pub hospital: String,
    /// Its organisation code (组织机构代码), printed with it.
    pub code: Option<String>,
    /// Number to call back.
    pub phone: Option<String>,
}

/// Everything a report of one study needs, read in one go.
#[derive(Debug, Clone)]
pub struct StudyFacts {
    /// The item and its lease.
    pub stored: StoredItem,
    /// Its row in the list.
    pub row: WorkRow,
    /// What the clinic adds.
    pub context: StudyContext,
    /// The revision that is here now.
    pub revision: StudyRevision,
    /// Its current objects, oldest first.
    pub sources: Vec<Source>,
    /// The clinic's organisation code.
    pub clinic_code: Option<String>,
    /// Licence numbers (执业证书编号) of the people who may sign, by their id.
    pub licenses: BTreeMap<String, String>,
    /// Modality of the study.
    pub modality: String,
    /// Views in order, e.g. `PA`, `LL`.
    pub views: Vec<String>,
    /// Body parts with their sides (`L`, `R`, `B` or nothing) as the files say, each pair once.
    pub parts: Vec<(String, String)>,
    /// Which life of the store this is: see [`crate::store::incarnation`].
    pub incarnation: String,
    /// Signed versions so far.
    pub versions: Vec<ReportVersion>,
    /// Critical notices in the order in which they were raised: code, finding, told to, when, read back.
    pub criticals: Vec<paper::Critical>,
}

impl StudyFacts {
    /// Reads them.
    ///
    /// # Errors
    /// `NOT_FOUND`; [`StoreError`].
    pub async fn load(tx: &mut SqliteConnection, scope: &Scope, item: i64) -> Result<Self, StoreError> {
        let stored = queue::load(tx, scope, item).await?;
        let (study_id, row) = queue::by_item(tx, scope, item).await?;
        let key = study_id.to_string();
        let study = sqlx::query(
            "SELECT s.revision, s.modality, p.context FROM study s LEFT JOIN person p ON p.study_id = s.id WHERE s.id = $1",
        )
        .bind(study_id)
        .fetch_one(&mut *tx)
        .await
        .map_err(StoreError::database("read a study"))?;
        let c = Columns::of(&study, "study", &key);
        let context = match c.get::<Option<String>>("context")? {
            Some(_) => c.json("context")?,
            None => StudyContext::default(),
        };
        let (revision, modality) = (StudyRevision(c.hash("revision")?), c.get("modality")?);
        let objects = sqlx::query(
            "SELECT view_position, body_part, laterality, hash, kind, is_waveform FROM object WHERE study_id = $1 AND current = 1 ORDER BY id",
        )
        .bind(study_id)
        .fetch_all(&mut *tx)
        .await
        .map_err(StoreError::database("read objects"))?;
        let (mut views, mut parts) = (Vec::new(), Vec::new());
        for object in &objects {
            let c = Columns::of(object, "object", &key);
            let view: String = c.get("view_position")?;
            if !view.is_empty() && !views.contains(&view) {
                views.push(view);
            }
            let part: (String, String) = (c.get("body_part")?, c.get("laterality")?);
            let named = !part.0.is_empty() || !part.1.is_empty();
            if named && !parts.contains(&part) {
                parts.push(part);
            }
        }
        let source = |row| {
            let c = Columns::of(row, "object", &key);
            let (hash, kind) = (c.hash("hash")?, c.parsed("kind")?);
            Ok(Source { hash, kind, is_waveform: c.get("is_waveform")? })
        };
        let sources = objects.iter().map(source).collect::<Result<_, StoreError>>()?;
        let (clinic_code, licenses) = (clinic_code(tx, &row).await?, licenses(tx).await?);
        let incarnation = crate::store::incarnation(tx).await?;
        let versions = super::versions(tx, study_id).await?;
        let criticals = criticals(tx, study_id).await?;
        Ok(Self {
            stored,
            row,
            context,
            revision,
            sources,
            clinic_code,
            licenses,
            modality,
            views,
            parts,
            incarnation,
            versions,
            criticals,
        })
    }

    /// The number that paper shows of the next version of `kind`.
    #[must_use]
    pub fn paper_version(&self, kind: relay_core::report::ReportKind) -> u32 {
        super::version::next_on_paper(&self.versions, kind)
    }
}

async fn clinic_code(tx: &mut SqliteConnection, row: &WorkRow) -> Result<Option<String>, StoreError> {
    sqlx::query_scalar("SELECT organization_code FROM clinic WHERE id = $1")
        .bind(row.study.clinic.as_str())
        .fetch_one(tx)
        .await
        .map_err(StoreError::database("read a clinic's code"))
}

async fn licenses(tx: &mut SqliteConnection) -> Result<BTreeMap<String, String>, StoreError> {
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT id, license_no FROM account WHERE license_no IS NOT NULL")
            .fetch_all(tx)
            .await
            .map_err(StoreError::database("read licences"))?;
    Ok(rows.into_iter().collect())
}

/// All of a study's; beyond what paper holds the newest.
async fn criticals(tx: &mut SqliteConnection, study_id: i64) -> Result<Vec<paper::Critical>, StoreError> {
    let rows = sqlx::query(
        "SELECT * FROM (SELECT id, code, text_id, read_back_by, read_back_at FROM critical WHERE study_id = $1
           ORDER BY id DESC LIMIT $2) ORDER BY id",
    )
    .bind(study_id)
    .bind(i64::try_from(MAX_CRITICALS).unwrap_or(i64::MAX))
    .fetch_all(&mut *tx)
    .await
    .map_err(StoreError::database("read critical notices"))?;
    let mut criticals = Vec::with_capacity(rows.len());
    for row in &rows {
        criticals.push(critical(tx, row).await?);
    }
    Ok(criticals)
}

async fn critical(tx: &mut SqliteConnection, row: &SqliteRow) -> Result<paper::Critical, StoreError> {
    let key = Columns::of(row, "critical", "?").get::<i64>("id")?.to_string();
    let c = Columns::of(row, "critical", &key);
    let words: serde_json::Value = text_of(tx, c.get("text_id")?).await?;
    // Paper says who was told and when, or that nobody has read it back yet: a notice in the clinic's store told no person.
    let read_back = c.time_or_none("read_back_at")?;
    Ok(paper::Critical {
        code: c.get("code")?,
        name: match printable(
            words.get("finding").and_then(|f| f.as_str()).unwrap_or_default(),
            MAX_LINE_CHARS,
        ) {
            Some(finding) => finding,
            None => c.get("code")?,
        },
        notified_person: c
            .get::<Option<String>>("read_back_by")?
            .and_then(|name| printable(&name, MAX_NAME_CHARS)),
        notified_at: read_back.map(|t| t.0),
        read_back: read_back.is_some(),
    })
}

/// What is signed now, apart from the facts.
#[derive(Debug, Clone)]
pub(super) struct Wanted<'a> {
    /// The words.
    pub text: &'a DraftText,
    /// Standing of the new version.
    pub kind: relay_core::report::ReportKind,
    /// What it is in the end: the same, or what a preliminary version becomes under the second signature.
    pub becomes: relay_core::report::ReportKind,
    /// Report id.
    pub report_id: String,
    /// Version over all kinds.
    pub version: u32,
    /// Reason of a correction or addendum.
    pub reason: Option<String>,
    /// Author: name, employee id, when.
    pub author: (String, String, UtcMs),
    /// Reviewer: name, employee id, when.
    pub reviewer: Option<(String, String, UtcMs)>,
    /// Policy lets one doctor sign.
    pub single_reader: bool,
    /// A demonstration key signs.
    pub demo: bool,
    /// What paper adds about the signing itself (备注).
    pub remarks: Option<String>,
}

fn some(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// A text from a file's header as paper takes it: a study is never unreportable because of its header. Control and
/// direction marks go; what is too long for the form ends in ….
pub(super) fn printable(text: &str, limit: usize) -> Option<String> {
    let spaced = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let lawful = |c: &char| !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}');
    let clean = some(&spaced.filter(lawful).collect::<String>())?;
    if clean.chars().count() <= limit {
        return Some(clean);
    }
    Some(clean.chars().take(limit - 1).chain(['…']).collect())
}

fn signatory(facts: &StudyFacts, role: &str, (name, id, at): &(String, String, UtcMs)) -> paper::Signatory {
    paper::Signatory {
        name: name.clone(),
        role: role.to_owned(),
        employee_id: id.clone(),
        license_no: facts.licenses.get(id).and_then(|number| printable(number, MAX_LINE_CHARS)),
        signed_at: at.0,
    }
}

/// The report as it will be printed and signed.
///
/// # Errors
/// `FIELD_INVALID` naming what the reader has not filled in.
pub(super) fn content(
    site: &Site,
    facts: &StudyFacts,
    wanted: &Wanted<'_>,
    files: &FileFacts,
) -> Result<paper::ReportContent, Refusal> {
    let required = [
        ("findings", wanted.text.findings.as_str()),
        ("impression", wanted.text.impression.as_str()),
        ("result", wanted.text.result.as_str()),
    ];
    for (field, value) in required {
        if value.trim().is_empty() {
            return Err(Refusal::new(Code::FieldInvalid, field, "must be filled in before signing"));
        }
    }
    let row = &facts.row;
    let is_ecg = row.kind == Kind::Ecg;
    Ok(paper::ReportContent {
        report_id: format!("{}-v{}", wanted.report_id, wanted.version),
        report_no: wanted.report_id.to_uppercase(),
        version: facts.paper_version(wanted.kind),
        kind: paper_kind(wanted.kind),
        becomes: (wanted.kind == relay_core::report::ReportKind::Preliminary)
            .then(|| paper_kind(wanted.becomes)),
        exam_kind: exam::kind(row.kind, &facts.modality),
        replaces: replaces(facts, wanted),
        study: paper::StudyKey {
            clinic_id: row.study.clinic.to_string(),
            study_instance_uid: row.study.uid.to_string(),
            revision: facts.revision.0.to_hex(),
            instances_read: row.objects.0,
            instances_total: row.objects.1.max(row.objects.0),
        },
        clinic: paper::Organization { name: row.clinic_name.clone(), code: facts.clinic_code.clone() },
        hospital: paper::Organization { name: site.hospital.clone(), code: site.code.clone() },
        patient: paper::Patient {
            visit_no: files.visit_no.clone(),
            ..patient(&row.patient, facts.context.phone.as_deref(), row.t0)
        },
        request: request(row.class, &facts.context, files),
        exam: exam::of(facts, files),
        text: paper::ReportText {
            findings: wanted.text.findings.trim().to_owned(),
            impression: wanted.text.impression.trim().to_owned(),
            advice: some(&wanted.text.advice),
            remarks: wanted.remarks.clone(),
        },
        result: match wanted.text.result.as_str() {
            "positive" => paper::ResultFlag::Positive,
            "negative" => paper::ResultFlag::Negative,
            _ => paper::ResultFlag::Undetermined,
        },
        criticals: facts.criticals.clone(),
        ecg: if is_ecg {
            paper::EcgFindings { class: ecg_class(&wanted.text.ecg_class), ..files.ecg.clone() }
        } else {
            paper::EcgFindings::default()
        },
        author: signatory(facts, "报告医师", &wanted.author),
        reviewer: wanted.reviewer.as_ref().map(|r| signatory(facts, "审核医师", r)),
        single_reader: wanted.single_reader,
        signer_demo: wanted.demo,
        mutual_recognition: None,
    })
}

/// What paper says of a study that its clinic has not finished: everything announced is here, and more may come.
pub(super) fn unfinished(facts: &StudyFacts) -> Option<String> {
    let row = &facts.row;
    (row.completeness == Completeness::Partial && row.objects.0 >= row.objects.1).then(|| {
        format!("签名时机构尚未确认检查完成，本报告仅据已到达的 {} 幅（份）资料作出。", row.objects.0)
    })
}

/// The version that a correction or addendum follows: the last of its stage on paper, or, where nothing final was
/// released, the last preliminary one. The first final version follows none.
fn replaces(facts: &StudyFacts, wanted: &Wanted<'_>) -> Option<paper::Replaces> {
    use relay_core::report::ReportKind::Preliminary;
    let reason = wanted.reason.clone()?;
    let finals = facts.versions.iter().filter(|v| v.kind != Preliminary).count();
    let followed = if finals == 0 && wanted.kind != Preliminary {
        None
    } else {
        facts.versions.iter().rev().find(|v| finals == 0 || v.kind != Preliminary)
    }?;
    let number = if finals == 0 { facts.versions.len() } else { finals };
    Some(paper::Replaces {
        version_id: format!("{}-v{}", wanted.report_id, followed.version),
        version: u32::try_from(number).unwrap_or(u32::MAX),
        reason,
    })
}

const fn paper_kind(kind: relay_core::report::ReportKind) -> paper::ReportKind {
    use relay_core::report::ReportKind as Kind;
    match kind {
        Kind::Preliminary => paper::ReportKind::Preliminary,
        Kind::Final => paper::ReportKind::Final,
        Kind::Addendum => paper::ReportKind::Addendum,
        Kind::Correction => paper::ReportKind::Correction,
    }
}

/// The words of signed content, as the editor holds them: the reverse of [`content`].
pub(super) fn signed_words(content: &paper::ReportContent) -> DraftText {
    let result = match content.result {
        paper::ResultFlag::Positive => "positive",
        paper::ResultFlag::Negative => "negative",
        paper::ResultFlag::Undetermined => "undetermined",
    };
    let ecg_class = match content.ecg.class {
        Some(paper::EcgClass::Normal) => "normal",
        Some(paper::EcgClass::Borderline) => "borderline",
        Some(paper::EcgClass::Suspicious) => "suspicious",
        Some(paper::EcgClass::Abnormal) => "abnormal",
        None => "",
    };
    DraftText {
        findings: content.text.findings.clone(),
        impression: content.text.impression.clone(),
        advice: content.text.advice.clone().unwrap_or_default(),
        result: result.to_owned(),
        ecg_class: ecg_class.to_owned(),
    }
}

fn ecg_class(word: &str) -> Option<paper::EcgClass> {
    match word {
        "normal" => Some(paper::EcgClass::Normal),
        "borderline" => Some(paper::EcgClass::Borderline),
        "suspicious" => Some(paper::EcgClass::Suspicious),
        "abnormal" => Some(paper::EcgClass::Abnormal),
        _ => None,
    }
}

/// Age in words: from the file (`045Y`), else from the birth date at the exam, else 不详.
fn age_text(patient: &PatientFacts, t0: UtcMs) -> String {
    let age = patient.age.trim();
    if let Some((number, unit)) = age.split_at_checked(age.len().saturating_sub(1))
        && let Ok(number) = number.parse::<u32>()
        && let Some(word) = match unit {
            "Y" => Some("岁"),
            "M" => Some("月"),
            "W" => Some("周"),
            "D" => Some("天"),
            _ => None,
        }
    {
        return format!("{number}{word}");
    }
    let years = (|| {
        let birth: u32 = patient.birth_date.parse().ok()?;
        let exam: u32 = t0
            .plus_ms(8 * relay_core::clock::HOUR_MS)
            .to_rfc3339()
            .get(..10)?
            .replace('-', "")
            .parse()
            .ok()?;
        exam.checked_sub(birth).map(|difference| difference / 10_000)
    })();
    years.map_or_else(|| "不详".to_owned(), |years| format!("{years}岁"))
}

pub(super) fn patient(facts: &PatientFacts, phone: Option<&str>, t0: UtcMs) -> paper::Patient {
    // `00000000` and the thirtieth of February are no dates.
    let birth_date =
        jiff::civil::Date::strptime("%Y%m%d", &facts.birth_date).ok().map(|date| date.to_string());
    paper::Patient {
        name: printable(&written_name(&facts.name), MAX_NAME_CHARS).unwrap_or_else(|| "未具名".to_owned()),
        sex: match facts.sex.as_str() {
            "M" => paper::Sex::Male,
            "F" => paper::Sex::Female,
            "O" => paper::Sex::Other,
            _ => paper::Sex::Unknown,
        },
        age_text: age_text(facts, t0),
        birth_date,
        local_id: printable(&facts.local_id, MAX_NAME_CHARS).unwrap_or_else(|| "不详".to_owned()),
        visit_no: None,
        patient_type: None,
        national_id: printable(&facts.national_id, MAX_NAME_CHARS),
        phone: phone.and_then(|phone| printable(phone, MAX_LINE_CHARS)),
    }
}

fn request(class: Class, context: &StudyContext, files: &FileFacts) -> paper::Request {
    let text = |t: &Option<String>, limit| t.as_deref().and_then(|t| printable(t, limit));
    paper::Request {
        apply_no: files.apply_no.clone(),
        dept: files.dept.clone(),
        doctor: text(&context.doctor, MAX_LINE_CHARS).or_else(|| files.doctor.clone()),
        complaint: text(&context.complaint, MAX_NOTE_CHARS),
        clinical_diagnosis: None,
        purpose: None,
        requested_at: None,
        class: match class {
            Class::Green => paper::PriorityClass::Green,
            Class::Emergency => paper::PriorityClass::Emergency,
            Class::Routine => paper::PriorityClass::Routine,
            Class::Complex => paper::PriorityClass::Complex,
            Class::Screening => paper::PriorityClass::Screening,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strange_header_still_makes_a_report() {
        let facts = PatientFacts {
            name: format!("\u{202e}abc\0^{}", "名".repeat(60)),
            birth_date: "00000000".into(),
            local_id: "\u{1}".into(),
            ..PatientFacts::default()
        };
        let paper = patient(&facts, None, UtcMs(1_795_300_000_000));
        assert!(paper.name.starts_with("abc␣名") && paper.name.ends_with('…'), "{}", paper.name);
        assert_eq!(paper.name.chars().count(), MAX_NAME_CHARS);
        assert_eq!((paper.birth_date, paper.local_id.as_str()), (None, "不详"));
        let lawful = PatientFacts { birth_date: "19600229".into(), ..PatientFacts::default() };
        assert_eq!(patient(&lawful, None, UtcMs(0)).birth_date.as_deref(), Some("1960-02-29"));
    }

    #[test]
    fn age_comes_from_the_file_then_from_the_birth_date() {
        let t0 = UtcMs(1_795_300_000_000); // 2026-11-21
        let with = |age: &str, birth: &str| PatientFacts {
            age: age.into(),
            birth_date: birth.into(),
            ..PatientFacts::default()
        };
        assert_eq!(age_text(&with("061Y", ""), t0), "61岁");
        assert_eq!(age_text(&with("005M", "20260601"), t0), "5月");
        assert_eq!(age_text(&with("", "19651201"), t0), "60岁");
        assert_eq!(age_text(&with("", ""), t0), "不详");
    }
}

//! Signed versions as stored.

use super::text::text_of;
use crate::store::{Columns, Scope, StoreError};
use relay_core::clock::UtcMs;
use relay_core::codes::Code;
use relay_core::ids::{ClinicId, ObjectHash, PersonId, ReportId};
use relay_core::report::ReportKind;
use relay_core::study::StudyRevision;
use sqlx::SqliteConnection;
use viewer_api::desk::{DraftText, ReportVersion};

/// All signed versions of a study's report, oldest first.
///
/// # Errors
/// [`StoreError`].
pub async fn versions(tx: &mut SqliteConnection, study_id: i64) -> Result<Vec<ReportVersion>, StoreError> {
    read(tx, study_id, false).await
}

/// As [`versions`], to look at: a version whose row cannot be read stands there as one that differs from what was signed,
/// without its words, and takes nothing else of the study away.
///
/// # Errors
/// [`StoreError`].
pub async fn versions_shown(
    tx: &mut SqliteConnection,
    study_id: i64,
) -> Result<Vec<ReportVersion>, StoreError> {
    read(tx, study_id, true).await
}

async fn read(
    tx: &mut SqliteConnection,
    study_id: i64,
    shown: bool,
) -> Result<Vec<ReportVersion>, StoreError> {
    let rows = sqlx::query(
        "SELECT v.*, d.at AS void_at, d.by_name AS void_by FROM report_version v JOIN report r ON r.id = v.report
         LEFT JOIN report_void d ON d.report = v.report
           AND d.through_version = (SELECT min(n.through_version) FROM report_void n
                                    WHERE n.report = v.report AND n.through_version >= v.version)
         WHERE r.study_id = $1 AND r.purpose = 'report' ORDER BY v.version",
    )
    .bind(study_id)
    .fetch_all(&mut *tx)
    .await
    .map_err(StoreError::database("read report versions"))?;
    let mut out: Vec<ReportVersion> = Vec::with_capacity(rows.len());
    for row in &rows {
        let key = study_id.to_string();
        let c = Columns::of(row, "report_version", &key);
        let read = match version(c, &out) {
            Ok(version) => words(tx, c, version).await,
            Err(error) => Err(error),
        };
        match read {
            Ok(version) => out.push(version),
            Err(StoreError::Corrupt { table, column, row, reason }) if shown => {
                tracing::error!(table, column, row, reason, "a signed version cannot be read");
                out.extend(unreadable(c, format!("{table}.{column}")));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(out)
}

fn version(c: Columns<'_>, before: &[ReportVersion]) -> Result<ReportVersion, StoreError> {
    let opened = match (c.time_or_none("opened_at")?, c.get::<Option<String>>("opened_by")?) {
        (Some(at), Some(by)) => Some((at, by)),
        _ => None,
    };
    let kind = c.parsed("kind")?;
    Ok(ReportVersion {
        report: c.parsed("report")?,
        version: c.unsigned("version")?,
        paper_version: next_on_paper(before, kind),
        kind,
        author: c.parsed("author")?,
        author_name: c.get("author_name")?,
        reviewer_name: c.get("reviewer_name")?,
        signed_at: c.time("signed_at")?,
        audited_at: c.time_or_none("audited_at")?,
        revision: StudyRevision(c.hash("study_revision")?),
        delivery: c.get("delivery")?,
        received_at: c.time_or_none("received_at")?,
        opened,
        voided: c.time_or_none("void_at")?.zip(c.get("void_by")?),
        differs: None,
        text: DraftText::default(),
    })
}

async fn words(
    tx: &mut SqliteConnection,
    c: Columns<'_>,
    version: ReportVersion,
) -> Result<ReportVersion, StoreError> {
    Ok(ReportVersion { text: text_of(tx, c.get("text_id")?).await?, ..version })
}

/// A version of which no more is known than that it is there; what was signed fills it in again where the package tells.
fn unreadable(c: Columns<'_>, differs: String) -> Option<ReportVersion> {
    Some(ReportVersion {
        report: c.parsed("report").ok()?,
        version: c.unsigned("version").ok()?,
        paper_version: 0,
        kind: ReportKind::Preliminary,
        author: PersonId::parse("unknown").ok()?,
        author_name: String::new(),
        reviewer_name: None,
        signed_at: c.time("signed_at").unwrap_or(UtcMs(0)),
        audited_at: None,
        revision: StudyRevision::of([]),
        delivery: c.get("delivery").unwrap_or_default(),
        received_at: None,
        opened: None,
        voided: c.time_or_none("void_at").ok().flatten().zip(c.get("void_by").ok()),
        differs: Some(differs),
        text: DraftText::default(),
    })
}

/// The number that paper shows of a version of `kind` after these: how often a version of its stage (临时, or 最终 and what
/// follows it) was released.
#[must_use]
pub(super) fn next_on_paper(versions: &[ReportVersion], kind: ReportKind) -> u32 {
    let preliminary = |kind| kind == ReportKind::Preliminary;
    let same = versions.iter().filter(|v| preliminary(v.kind) == preliminary(kind)).count();
    u32::try_from(same).unwrap_or(u32::MAX).saturating_add(1)
}

/// The blob that holds the signed package of a version, in scope, and the clinic it is addressed to.
///
/// # Errors
/// `NOT_FOUND`; [`StoreError`].
pub async fn package_hash(
    tx: &mut SqliteConnection,
    scope: &Scope,
    report: &ReportId,
    version: u32,
) -> Result<(ObjectHash, ClinicId), StoreError> {
    let row = sqlx::query(
        "SELECT v.package_hash, s.clinic FROM report_version v JOIN report r ON r.id = v.report JOIN study s ON s.id = r.study_id
         WHERE v.report = $1 AND v.version = $2 AND ($3 IS NULL OR s.clinic IN (SELECT value FROM json_each($3)))",
    )
    .bind(report.as_str())
    .bind(i64::from(version))
    .bind(scope.bind())
    .fetch_optional(tx)
    .await
    .map_err(StoreError::database("find a report version"))?
    .ok_or_else(|| StoreError::refuse(Code::NotFound, "report", "no such version for this reader"))?;
    let c = Columns::of(&row, "report_version", report.as_str());
    Ok((c.hash("package_hash")?, c.parsed("clinic")?))
}

//! Signed versions as stored.

use super::text::text_of;
use crate::store::{Columns, Scope, StoreError};
use relay_core::codes::Code;
use relay_core::ids::{ClinicId, ObjectHash, ReportId};
use relay_core::report::ReportKind;
use relay_core::study::StudyRevision;
use sqlx::SqliteConnection;
use viewer_api::desk::ReportVersion;

/// All signed versions of a study's report, oldest first.
///
/// # Errors
/// [`StoreError`].
pub async fn versions(tx: &mut SqliteConnection, study_id: i64) -> Result<Vec<ReportVersion>, StoreError> {
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
        let opened = match (c.time_or_none("opened_at")?, c.get::<Option<String>>("opened_by")?) {
            (Some(at), Some(by)) => Some((at, by)),
            _ => None,
        };
        let kind = c.parsed("kind")?;
        out.push(ReportVersion {
            report: c.parsed("report")?,
            version: c.unsigned("version")?,
            paper_version: next_on_paper(&out, kind),
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
            text: text_of(tx, c.get("text_id")?).await?,
        });
    }
    Ok(out)
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

//! Keeps the exam time with its text and source, learns device and agent clocks, and sets T0 by the rule of
//! [`super::exam_time`].

use super::exam_time::{Known, MAX_AGE_MS};
use super::facts::ExamFacts;
use crate::sla;
use crate::store::{Batch, Columns, StoreError, one_row};
use relay_core::clock::{SECOND_MS, UtcMs};
use relay_core::ids::ClinicId;
use relay_core::sla::SlaPolicy;
use sqlx::SqliteConnection;

/// `study.exam_time_source` when the agent's manifest gave the time.
pub(super) const MANIFEST: &str = "manifest";
/// The same, doubted by the agent.
pub(super) const MANIFEST_DOUBTED: &str = "manifest_doubted";
/// Marks a file's time as doubtful: appended to its source word.
const DOUBTED: &str = "_doubted";

/// A file has told its exam time: keep the text; use the time unless the manifest gave one; learn the device's clock from
/// the first object of the study.
pub(super) async fn learn(
    batch: &mut Batch<'_>,
    id: i64,
    policy: &SlaPolicy,
    exam: &ExamFacts,
    first: bool,
    now: UtcMs,
) -> Result<(), StoreError> {
    let source = if exam.doubtful { format!("{}{DOUBTED}", exam.source) } else { exam.source.clone() };
    batch
        .add(
            "keep the exam time",
            "UPDATE study SET exam_time_text = coalesce(exam_time_text, $2), exam_time_zone = coalesce(exam_time_zone, $3),
                 exam_time_source = CASE WHEN exam_time_source LIKE 'manifest%' OR $5 IS NULL THEN exam_time_source ELSE $4 END,
                 exam_time_ms = CASE WHEN exam_time_source LIKE 'manifest%' OR $5 IS NULL THEN exam_time_ms
                                     ELSE max(coalesce(exam_time_ms, $5), $5) END
             WHERE id = $1",
        )
        .bind(id)
        .bind(&exam.text)
        .bind(&exam.zone)
        .bind(source)
        .bind(exam.at.map(|t| t.0))
        .one_row("study", id);
    if let (true, false, Some(at)) = (first, exam.doubtful, exam.at) {
        sample(batch, id, at, now);
    }
    retime(batch, policy, id, now).await
}

/// Follows the smallest arrival minus exam time down at once and up slowly, so that a clock that was set right is believed
/// again after some twenty studies. What comes by hand, by upload or from a folder for all comes from no one device, and a date
/// of the future is no clock to learn from.
fn sample(batch: &mut Batch<'_>, id: i64, exam: UtcMs, now: UtcMs) {
    batch
        .add(
            "learn a device clock",
            "INSERT INTO device (clinic, source, offset_ms, samples, updated_at)
             SELECT clinic, source, first_object_at - $2, 1, $3 FROM study
             WHERE id = $1 AND source NOT IN ('send', 'folder', 'upload') AND $2 - first_object_at <= $4
             ON CONFLICT (clinic, source) DO UPDATE SET
                 offset_ms = min(excluded.offset_ms, offset_ms + (excluded.offset_ms - offset_ms) / 8),
                 samples = samples + 1, updated_at = excluded.updated_at",
        )
        .bind(id)
        .bind(exam.0)
        .bind(now.0)
        .bind(MAX_AGE_MS);
}

/// Computes T0 again from what is stored.
pub(super) async fn retime(
    batch: &mut Batch<'_>,
    policy: &SlaPolicy,
    id: i64,
    now: UtcMs,
) -> Result<(), StoreError> {
    batch
        .add(
            "read the times of a study",
            "SELECT s.exam_time_ms, s.exam_time_source, s.first_object_at,
                    coalesce(s.clock_offset_ms, c.clock_offset_ms) AS clock_offset_ms, s.clock_jumped,
                    d.offset_ms, d.samples
             FROM study s JOIN clinic c ON c.id = s.clinic
             LEFT JOIN device d ON d.clinic = s.clinic AND d.source = s.source AND d.source NOT IN ('send', 'folder', 'upload')
             WHERE s.id = $1",
        )
        .bind(id);
    let row = batch.only_row().await?;
    let key = id.to_string();
    let c = Columns::of(&row, "study", &key);
    let source: Option<String> = c.get("exam_time_source")?;
    let (offset, samples): (Option<i64>, Option<i64>) = (c.get("offset_ms")?, c.get("samples")?);
    let (clock_offset_ms, jumped): (Option<i64>, bool) = (c.get("clock_offset_ms")?, c.get("clock_jumped")?);
    let known = Known {
        exam: c.time_or_none("exam_time_ms")?,
        by_agent: source.as_deref().is_some_and(|s| s.starts_with(MANIFEST)),
        doubtful: source.is_some_and(|s| s.ends_with(DOUBTED)),
        first_object: c.time("first_object_at")?,
        // Not measured yet: no correction now, and a new T0 at the first measurement.
        clock_offset_ms: clock_offset_ms.unwrap_or(0),
        device: offset.zip(samples),
        max_future_ms: policy.clock.max_future_skew_ms,
        now,
    };
    let t0 = known.t0();
    batch
        .add(
            "set T0",
            "UPDATE study SET t0 = $2, time_suspect = $3, device_offset_ms = $4, clock_offset_ms = $5 WHERE id = $1",
        )
        .bind(id)
        .bind(t0.at.0)
        .bind(t0.suspect || jumped)
        .bind(t0.device_offset_ms)
        .bind(clock_offset_ms)
        .one_row("study", id);
    Ok(())
}

/// A measured offset that differs from the one before by more than this is a clock that was set, not one that drifts.
const CLOCK_JUMP_MS: i64 = 5 * SECOND_MS;
/// A clinic's clock that is off by more than this is told.
pub(crate) const CLOCK_TOLERATED_MS: i64 = 2 * SECOND_MS;
/// Studies timed anew at one measurement: more than a clinic has open.
const RETIME_LIMIT: i64 = 1_000;

/// The clinic's clock was measured. Studies that nobody has signed and that were announced under an unmeasured clock get
/// their T0 now. Those announced since the last measurement of a clock that has jumped meanwhile get the new offset too,
/// and are marked: before or after the jump, nobody knows.
///
/// # Errors
/// [`StoreError`].
pub async fn clock_measured(
    tx: &mut SqliteConnection,
    policy: &SlaPolicy,
    clinic: &ClinicId,
    offset_ms: i64,
    now: UtcMs,
) -> Result<(), StoreError> {
    let row = sqlx::query("SELECT clock_offset_ms, clock_measured_at FROM clinic WHERE id = $1")
        .bind(clinic.as_str())
        .fetch_one(&mut *tx)
        .await
        .map_err(StoreError::database("read a clinic's clock"))?;
    let c = Columns::of(&row, "clinic", clinic.as_str());
    let (before, since): (Option<i64>, Option<i64>) =
        (c.get("clock_offset_ms")?, c.get("clock_measured_at")?);
    let done = sqlx::query("UPDATE clinic SET clock_offset_ms = $2, clock_measured_at = $3 WHERE id = $1")
        .bind(clinic.as_str())
        .bind(offset_ms)
        .bind(now.0)
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database("keep a clinic's clock"))?;
    one_row(&done, "clinic", clinic)?;
    let off = |offset: i64| offset.saturating_abs() > CLOCK_TOLERATED_MS;
    if off(offset_ms) && !before.is_some_and(off) {
        tracing::warn!(%clinic, offset_ms, "a clinic's clock is off; its times are corrected by the link's measurement");
    }
    let jumped =
        before.is_some_and(|before| offset_ms.saturating_sub(before).saturating_abs() > CLOCK_JUMP_MS);
    if before.is_some() && !jumped {
        return Ok(());
    }
    let ids: Vec<i64> = sqlx::query_scalar(
        "SELECT s.id FROM study s WHERE s.clinic = $1 AND (s.clock_offset_ms IS NULL OR $2 AND s.created_at >= $3)
           AND NOT EXISTS (SELECT 1 FROM work_item w WHERE w.study_id = s.id
                           AND w.state IN ('signed', 'audited', 'closed', 'withdrawn'))
         ORDER BY s.id DESC LIMIT $4",
    )
    .bind(clinic.as_str())
    .bind(jumped)
    .bind(since.unwrap_or(i64::MIN))
    .bind(RETIME_LIMIT)
    .fetch_all(&mut *tx)
    .await
    .map_err(StoreError::database("find studies of an unmeasured clock"))?;
    let mut batch = Batch::on(tx);
    for id in ids {
        batch
            .add(
                "time a study by a measured clock",
                "UPDATE study SET clock_offset_ms = $2, clock_jumped = max(clock_jumped, $3) WHERE id = $1",
            )
            .bind(id)
            .bind(offset_ms)
            .bind(jumped);
        retime(&mut batch, policy, id, now).await?;
        sla::refresh_in(&mut batch, policy, id).await?;
    }
    batch.run().await
}

//! Today's throughput: counts only, no names. Every figure comes from stored events.

use crate::sla;
use crate::store::{Columns, StoreError};
use futures::TryStreamExt as _;
use relay_core::clock::{DAY_MS, UtcMs};
use relay_core::sla::{SlaPolicy, StudyTimes, promise};
use relay_core::study::{Class, Kind};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use std::collections::BTreeMap;
use viewer_api::desk::{ClinicFigure, StageFigure, Throughput};

/// Studies that one page of figures looks at: a county's stress day has 3,000.
const MAX_STUDIES: i64 = 20_000;

struct Counted {
    clinic: String,
    arrived_at: UtcMs,
    first_object_at: UtcMs,
    open: bool,
    times: StudyTimes,
    due_at: UtcMs,
    received_at: Option<UtcMs>,
}

/// The figures of the local day that holds `now`.
pub(super) async fn throughput(
    tx: &mut SqliteConnection,
    policy: &SlaPolicy,
    now: UtcMs,
) -> Result<Throughput, StoreError> {
    let day = policy.calendar.day_start(now);
    let studies = studies(tx, policy, day).await?;
    let today = |at: Option<UtcMs>| at.is_some_and(|at| at >= day);
    let count = |wanted: &dyn Fn(&&Counted) -> bool| studies.iter().filter(wanted).count() as u64;
    // The clock of a study that lies with its clinic stands still, unless it had run out before.
    let rests = |s: &Counted| s.times.pauses.running().is_some_and(|since| since < s.due_at);
    let fell_due = |s: &&Counted| s.due_at >= day && s.due_at <= now && !rests(s);
    let on_time = |s: &&Counted| fell_due(s) && s.received_at.is_some_and(|at| at <= s.due_at);
    let oldest = |wanted: &dyn Fn(&&Counted) -> bool| {
        let first = studies.iter().filter(wanted).filter(|s| s.open).map(|s| s.arrived_at).min();
        first.map(|at| now.since(at))
    };
    let mut clinics = clinics(tx).await?;
    for figure in &mut clinics {
        let of = |wanted: &dyn Fn(&&Counted) -> bool| count(&|s| s.clinic == figure.clinic && wanted(s));
        figure.received = of(&|s| today(Some(s.arrived_at)));
        figure.reported = of(&|s| today(s.times.reported));
        figure.returned = of(&|s| today(s.times.received));
        figure.due = of(&fell_due);
        figure.on_time = of(&on_time);
        figure.backlog = of(&|s| s.open);
        figure.backlog_oldest_ms = oldest(&|s| s.clinic == figure.clinic);
        figure.stages = stages(studies.iter().filter(|s| s.clinic == figure.clinic), day);
    }
    Ok(Throughput {
        day_start_ms: day.0,
        at_ms: now.0,
        received: count(&|s| today(Some(s.arrived_at))),
        reported: count(&|s| today(s.times.reported)),
        returned: count(&|s| today(s.times.received)),
        due: count(&fell_due),
        on_time: count(&on_time),
        backlog: count(&|s| s.open),
        backlog_oldest_ms: oldest(&|_| true),
        stages: stages(studies.iter(), day),
        clinics,
    })
}

/// The studies that count: those that arrived or fell due since the day before, whether or not there is a work item of them
/// yet, and the open ones; newest first. Each set has an index.
const COUNTED: &str = "SELECT id FROM (
     SELECT id FROM study WHERE arrived_at >= $1
     UNION SELECT study_id FROM work_item WHERE promise_at >= $1
     UNION SELECT study_id FROM work_item WHERE state IN ('waiting', 'claimed', 'drafted', 'signed', 'audited', 'retake_requested'))
   ORDER BY id DESC LIMIT $2";

async fn studies(
    tx: &mut SqliteConnection,
    policy: &SlaPolicy,
    day: UtcMs,
) -> Result<Vec<Counted>, StoreError> {
    let since = day.plus_ms(-DAY_MS);
    let mut times = times(tx, since).await?;
    let sql = format!(
        "SELECT s.id, s.clinic, s.kind, s.class, s.t0, s.arrived_at, s.first_object_at, w.state,
           coalesce(s.clock_offset_ms, c.clock_offset_ms, 0) AS clock_offset_ms
         FROM study s JOIN clinic c ON c.id = s.clinic LEFT JOIN work_item w ON w.study_id = s.id
         WHERE s.arrived_at IS NOT NULL AND s.id IN ({COUNTED})"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(since.0)
        .bind(MAX_STUDIES)
        .fetch_all(&mut *tx)
        .await
        .map_err(StoreError::database("read the day's studies"))?;
    if rows.len() as i64 >= MAX_STUDIES {
        tracing::warn!(studies = MAX_STUDIES, "the figures leave older studies out");
    }
    let mut found = Vec::with_capacity(rows.len());
    for row in &rows {
        let id: i64 = Columns::of(row, "study", "?").get("id")?;
        match counted(policy, row, id, times.remove(&id).unwrap_or_default()) {
            Ok(one) => found.push(one),
            // One row that cannot be read takes no figure away from the others.
            Err(error @ StoreError::Corrupt { .. }) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a study is left out of the figures"
                );
            }
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

fn counted(policy: &SlaPolicy, row: &SqliteRow, id: i64, times: StudyTimes) -> Result<Counted, StoreError> {
    let key = id.to_string();
    let c = Columns::of(row, "study", &key);
    let (kind, class): (Kind, Class) = (c.parsed("kind")?, c.parsed("class")?);
    let times = StudyTimes { t0: c.time("t0")?, ..times };
    let promised = promise(policy, kind, class, &times);
    let state: Option<String> = c.get("state")?;
    Ok(Counted {
        clinic: c.get("clinic")?,
        arrived_at: c.time("arrived_at")?,
        // By the county's clock: the agent's may be an hour off.
        first_object_at: c.time("first_object_at")?.plus_ms(c.get("clock_offset_ms")?),
        open: !matches!(state.as_deref(), Some("closed" | "withdrawn")),
        times,
        due_at: promised.due_at,
        received_at: promised.received_at,
    })
}

/// The times of the studies that count, folded row by row as the database gives them: only events that move a clock, and
/// of those nothing but type, time and kind of version.
async fn times(tx: &mut SqliteConnection, since: UtcMs) -> Result<BTreeMap<i64, StudyTimes>, StoreError> {
    let sql = format!(
        "SELECT study_id, type, at, json_extract(body, '$.kind') AS report,
           json_extract(body, '$.becomes') AS becomes FROM event
         WHERE study_id IN ({COUNTED}) AND type IN (SELECT value FROM json_each($3)) ORDER BY study_id, seq"
    );
    let mut rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(since.0)
        .bind(MAX_STUDIES)
        .bind(serde_json::json!(sla::kinds::ALL).to_string())
        .fetch(tx);
    let mut folding: BTreeMap<i64, sla::Fold> = BTreeMap::new();
    while let Some(row) = rows.try_next().await.map_err(StoreError::database("read the day's events"))? {
        let c = Columns::of(&row, "event", "?");
        let (study, kind): (i64, String) = (c.get("study_id")?, c.get("type")?);
        let (report, becomes) = (sla::report_kind(c, "report")?, sla::report_kind(c, "becomes")?);
        let moment = sla::Moment { kind: &kind, at: c.time("at")?, report, becomes };
        folding.entry(study).or_insert_with(|| sla::Fold::new(UtcMs(0))).take(moment);
    }
    Ok(folding.into_iter().map(|(study, fold)| (study, fold.times())).collect())
}

async fn clinics(tx: &mut SqliteConnection) -> Result<Vec<ClinicFigure>, StoreError> {
    let rows = sqlx::query(
        "SELECT id, name, online, heard_at, silent_since FROM clinic WHERE disabled_at IS NULL ORDER BY id",
    )
    .fetch_all(tx)
    .await
    .map_err(StoreError::database("read clinics"))?;
    rows.iter()
        .map(|row| {
            let c = Columns::of(row, "clinic", "?");
            Ok(ClinicFigure {
                clinic: c.get("id")?,
                name: c.get("name")?,
                online: c.get("online")?,
                heard_at_ms: c.get("heard_at")?,
                silent: c.get::<Option<i64>>("silent_since")?.is_some(),
                received: 0,
                reported: 0,
                returned: 0,
                due: 0,
                on_time: 0,
                backlog: 0,
                backlog_oldest_ms: None,
                stages: Vec::new(),
            })
        })
        .collect()
}

/// Stage durations of studies that arrived today.
fn stages<'s>(studies: impl Iterator<Item = &'s Counted> + Clone, day: UtcMs) -> Vec<StageFigure> {
    type Ends = fn(&Counted) -> (Option<UtcMs>, Option<UtcMs>);
    let ends: [(&str, Ends); 6] = [
        ("link", |s| (Some(s.first_object_at), Some(s.arrived_at))),
        ("queue", |s| (Some(s.arrived_at), s.times.claimed)),
        ("reading", |s| (s.times.claimed, s.times.reported)),
        ("audit", |s| (s.times.reported, s.times.audited)),
        ("return", |s| (s.times.audited.or(s.times.reported), s.times.received)),
        ("opening", |s| (s.times.received, s.times.opened)),
    ];
    ends.iter()
        .map(|(stage, ends)| {
            let mut durations: Vec<i64> = studies
                .clone()
                .filter(|s| s.arrived_at >= day)
                .filter_map(|s| match ends(s) {
                    (Some(from), Some(to)) => Some(to.since(from).max(0)),
                    _ => None,
                })
                .collect();
            durations.sort_unstable();
            StageFigure {
                stage: (*stage).to_owned(),
                count: durations.len() as u64,
                median_ms: percentile(&durations, 50),
                p90_ms: percentile(&durations, 90),
            }
        })
        .collect()
}

/// Nearest-rank percentile of sorted values: the smallest that at least `percent` of them do not exceed.
fn percentile(sorted: &[i64], percent: usize) -> Option<i64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        assert_eq!(percentile(&[], 50), None);
        assert_eq!(percentile(&[7], 90), Some(7));
        let ten: Vec<i64> = (1..=10).collect();
        assert_eq!((percentile(&ten, 50), percentile(&ten, 90)), (Some(5), Some(9)));
    }
}

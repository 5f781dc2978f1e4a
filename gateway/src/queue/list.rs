//! The worklist: one query, most urgent first, scope inside.

use crate::store::{Columns, Scope, StoreError};
use futures::TryStreamExt as _;
use relay_core::clock::UtcMs;
use relay_core::codes::Code;
use relay_core::ids::{PersonId, ReportId, StudyKey};
use relay_core::report::ReportKind;
use relay_core::study::Kind;
use relay_core::work_item::State;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use viewer_api::desk::{Lease, PatientFacts, WorkFilter, WorkList, WorkRow};

/// Rows of one answer at most: a page of a county's day.
const MAX_ROWS: u32 = 1_000;
/// Faults named at most: more say no more.
const MAX_FAULTS: usize = 100;
/// States shown when the filter names none.
const OPEN_STATES: [&str; 4] = ["waiting", "claimed", "drafted", "signed"];
/// Everything a row shows, in scope.
const SELECT: &str = "
SELECT w.id, w.state, w.lease_holder, w.lease_claimed_at, w.lease_expires_at, w.lease_epoch, w.author,
  (SELECT json_group_array(t.reason) FROM (SELECT reason FROM attention WHERE work_item = w.id AND settled_at IS NULL
     ORDER BY id) t) AS attention,
  w.due_at, w.due_stage, w.promise_at, s.id AS study_id, s.clinic, s.uid, s.class, s.kind, s.completeness, s.t0,
  s.time_suspect, s.arrived_at, s.item, s.objects_here, s.objects_announced, c.name AS clinic_name,
  a.name AS holder_name, p.name, p.sex, p.birth_date, p.age, p.local_id, p.national_id, p.name_repaired,
  v.report, v.version, v.kind AS report_kind, v.delivery,
  EXISTS (SELECT 1 FROM critical k WHERE k.study_id = s.id AND k.action_at IS NULL) AS critical_open
FROM work_item w
JOIN study s ON s.id = w.study_id
JOIN clinic c ON c.id = s.clinic
LEFT JOIN account a ON a.id = w.lease_holder
LEFT JOIN person p ON p.study_id = s.id
LEFT JOIN report r ON r.study_id = s.id AND r.purpose = 'report'
LEFT JOIN report_version v ON v.report = r.id
  AND v.version = (SELECT max(n.version) FROM report_version n WHERE n.report = r.id)
WHERE ($1 IS NULL OR s.clinic IN (SELECT value FROM json_each($1)))";

/// The order of work, for the list and for *next case*. Green first, then emergency, routine, complex, screening; within a
/// class what is due first. Complex and screening come up to routine once their promise is over, and stand there by their
/// deadline: so nothing waits for ever behind the day's routine. Nothing comes up to emergency or green by its age: those are
/// few, and no old film may stand before a new chest pain. `now` is the parameter that holds the time.
pub(super) fn order(now: &str) -> String {
    format!(
        " ORDER BY CASE s.class WHEN 'green' THEN 0 WHEN 'emergency' THEN 1 WHEN 'routine' THEN 2
            ELSE CASE WHEN w.promise_at <= {now} THEN 2 WHEN s.class = 'complex' THEN 3 ELSE 4 END END,
          coalesce(w.due_at, w.promise_at, 9223372036854775807), w.id"
    )
}

/// The list for a reader. A row that cannot be read is left out and told; the others stand.
///
/// # Errors
/// [`StoreError`].
pub async fn rows(
    tx: &mut SqliteConnection,
    scope: &Scope,
    who: &PersonId,
    kinds: &[Kind],
    filter: &WorkFilter,
    now: UtcMs,
) -> Result<WorkList, StoreError> {
    let states = if filter.states.is_empty() {
        serde_json::json!(OPEN_STATES)
    } else {
        serde_json::json!(filter.states)
    };
    let kinds: Vec<&str> =
        kinds.iter().filter(|k| filter.kind.is_none_or(|wanted| wanted == **k)).map(|k| k.word()).collect();
    let sql = format!(
        "{} AND (w.state IN (SELECT value FROM json_each($2)) OR ($8 AND EXISTS (SELECT 1 FROM attention t
           WHERE t.work_item = w.id AND t.settled_at IS NULL))) AND s.kind IN (SELECT value FROM json_each($3))
         AND ($4 = 0 OR w.lease_holder = $5 OR w.author = $5 OR EXISTS (SELECT 1 FROM attention t WHERE t.work_item = w.id AND t.settled_at IS NULL AND t.owner = $5))
         AND ($6 IS NULL OR instr(lower(coalesce(p.name, '') || ' ' || coalesce(p.local_id, '') || ' ' || c.name
              || ' ' || s.uid || ' ' || s.item), lower($6)) > 0){} LIMIT $7",
        SELECT.replacen("SELECT", "SELECT count(*) OVER () AS total,", 1),
        order("$9")
    );
    let text = filter.text.as_deref().map(str::trim).filter(|t| !t.is_empty());
    let found = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(scope.bind())
        .bind(states.to_string())
        .bind(serde_json::json!(kinds).to_string())
        .bind(filter.mine)
        .bind(who.as_str())
        .bind(text)
        .bind(i64::from(filter.limit.clamp(1, MAX_ROWS)))
        // Whatever asks for attention is open work, in whichever state.
        .bind(filter.states.is_empty())
        .bind(now.0)
        .fetch_all(tx)
        .await
        .map_err(StoreError::database("read the worklist"))?;
    let total = match found.first() {
        Some(first) => Columns::of(first, "work_item", "list").unsigned("total")?,
        None => 0,
    };
    let mut list = WorkList { total, ..WorkList::default() };
    for found in &found {
        let mut faults = Vec::new();
        match row(found, &mut faults) {
            Ok(row) => list.rows.push(row),
            Err(error @ StoreError::Corrupt { .. }) => faults.push(error),
            Err(error) => return Err(error),
        }
        list.damaged += u64::from(!faults.is_empty());
        faults.iter().for_each(told);
    }
    Ok(list)
}

fn told(error: &StoreError) {
    tracing::error!(error = error as &dyn std::error::Error, "a row of the worklist is damaged");
}

/// What cannot be read of work that is not at its end, by table, row and column: `doctor` names it.
///
/// # Errors
/// [`StoreError`].
pub async fn damaged(tx: &mut SqliteConnection) -> Result<Vec<StoreError>, StoreError> {
    let sql = format!("{SELECT} AND w.state NOT IN ('closed', 'withdrawn') ORDER BY w.id");
    let mut rows = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(Scope::County.bind()).fetch(tx);
    let mut faults = Vec::new();
    while let Some(found) = rows.try_next().await.map_err(StoreError::database("read the open work"))? {
        let key = Columns::of(&found, "work_item", "?").get::<i64>("id")?.to_string();
        if let Err(error) = Columns::of(&found, "work_item", &key).parsed::<State>("state") {
            faults.push(error);
        }
        match row(&found, &mut faults) {
            Ok(_) => {}
            Err(error @ StoreError::Corrupt { .. }) => faults.push(error),
            Err(error) => return Err(error),
        }
        if faults.len() >= MAX_FAULTS {
            break;
        }
    }
    Ok(faults)
}

/// One row by work item, in scope.
///
/// # Errors
/// `NOT_FOUND`; [`StoreError`].
pub async fn by_item(
    tx: &mut SqliteConnection,
    scope: &Scope,
    id: i64,
) -> Result<(i64, WorkRow), StoreError> {
    let sql = format!("{SELECT} AND w.id = $2");
    let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(scope.bind()).bind(id);
    single(query.fetch_optional(tx).await)
}

/// One row by study key, in scope.
///
/// # Errors
/// `NOT_FOUND`; [`StoreError`].
pub async fn by_study(
    tx: &mut SqliteConnection,
    scope: &Scope,
    study: &StudyKey,
) -> Result<(i64, WorkRow), StoreError> {
    let sql = format!("{SELECT} AND s.clinic = $2 AND s.uid = $3");
    let query = sqlx::query(sqlx::AssertSqlSafe(sql));
    let query = query.bind(scope.bind()).bind(study.clinic.as_str()).bind(study.uid.as_str());
    single(query.fetch_optional(tx).await)
}

fn single(found: Result<Option<SqliteRow>, sqlx::Error>) -> Result<(i64, WorkRow), StoreError> {
    let found = found.map_err(StoreError::database("read a row of the worklist"))?;
    let found =
        found.ok_or_else(|| StoreError::refuse(Code::NotFound, "study", "no such study for this reader"))?;
    let mut faults = Vec::new();
    let work_row = row(&found, &mut faults)?;
    faults.iter().for_each(told);
    let key = work_row.id.to_string();
    Ok((Columns::of(&found, "work_item", &key).get("study_id")?, work_row))
}

/// What is damaged of the report goes to `faults`: the study and its images are to be read all the same.
fn row(found: &SqliteRow, faults: &mut Vec<StoreError>) -> Result<WorkRow, StoreError> {
    let id: i64 = Columns::of(found, "work_item", "?").get("id")?;
    let key = id.to_string();
    let c = Columns::of(found, "work_item", &key);
    let report = report(c).unwrap_or_else(|error| {
        faults.push(error);
        None
    });
    // The faults of its study name the study's row.
    let study = Columns::of(found, "work_item", "?").get::<i64>("study_id")?.to_string();
    let s = Columns::of(found, "study", &study);
    Ok(WorkRow {
        id,
        study: StudyKey { clinic: s.parsed("clinic")?, uid: s.parsed("uid")? },
        clinic_name: c.get("clinic_name")?,
        class: s.parsed("class")?,
        kind: s.parsed("kind")?,
        state: c.get("state")?,
        lease: lease(c)?,
        patient: patient(c)?,
        item: c.get("item")?,
        t0: c.time("t0")?,
        time_suspect: c.get("time_suspect")?,
        arrived_at: c.time_or_none("arrived_at")?.unwrap_or(UtcMs(0)),
        due_at: c.time_or_none("due_at")?,
        due_stage: c.get("due_stage")?,
        promise_at: c.time_or_none("promise_at")?,
        objects: (s.unsigned("objects_here")?, s.unsigned("objects_announced")?),
        completeness: s.parsed("completeness")?,
        report,
        delivery: c.get("delivery")?,
        author: c.parsed_or_none("author")?,
        attention: c.json("attention")?,
        critical_open: c.get("critical_open")?,
    })
}

/// The newest signed version, where there is one.
fn report(c: Columns<'_>) -> Result<Option<(ReportId, u32, ReportKind)>, StoreError> {
    Ok(match (c.parsed_or_none("report")?, c.parsed_or_none("report_kind")?) {
        (Some(report), Some(kind)) => Some((report, c.unsigned("version")?, kind)),
        _ => None,
    })
}

fn lease(c: Columns<'_>) -> Result<Option<Lease>, StoreError> {
    let Some(holder) = c.parsed_or_none::<PersonId>("lease_holder")? else { return Ok(None) };
    let holder_name: Option<String> = c.get("holder_name")?;
    Ok(Some(Lease {
        holder_name: holder_name.unwrap_or_else(|| holder.to_string()),
        holder,
        claimed_at: c.time("lease_claimed_at")?,
        expires_at: c.time("lease_expires_at")?,
        epoch: c.unsigned("lease_epoch")?,
    }))
}

/// Patient columns of `person`, absent row = all empty.
pub(crate) fn patient(c: Columns<'_>) -> Result<PatientFacts, StoreError> {
    let text = |column| c.get::<Option<String>>(column).map(Option::unwrap_or_default);
    Ok(PatientFacts {
        name: text("name")?,
        sex: text("sex")?,
        birth_date: text("birth_date")?,
        age: text("age")?,
        local_id: text("local_id")?,
        national_id: text("national_id")?,
        name_repaired: c.get::<Option<bool>>("name_repaired")?.unwrap_or(false),
    })
}

//! Turnaround of studies, folded from their events. What the tables hold of it is a cache for lists.

pub mod watch;

use crate::store::{Batch, Columns, Store, StoreError, StoredEvent};
use relay_core::clock::UtcMs;
use relay_core::report::ReportKind;
use relay_core::sla::{CorrectionTimes, SlaPolicy, StudyTimes, next_due, promise};
use relay_core::study::{Class, Kind};
use serde_json::json;
use sqlx::SqliteConnection;
use std::collections::BTreeSet;

/// Event types that move a study's clocks. Written by ingest, queue, reports and returns.
pub mod kinds {
    /// First durable object at the county.
    pub const ARRIVED: &str = "study.arrived";
    /// A reader has taken the item.
    pub const CLAIMED: &str = "work.claimed";
    /// A version was released; the body's `kind` says which.
    pub const SIGNED: &str = "report.signed";
    /// The second person has signed; the body's `kind` says what was released.
    pub const AUDITED: &str = "report.audited";
    /// A version is in the clinic's store; the body's `kind` says which.
    pub const RECEIVED: &str = "report.received";
    /// A version was opened by a named person; the body's `kind` says which.
    pub const OPENED: &str = "report.opened";
    /// The study went back to the clinic: the county's clock stands still.
    pub const RETAKE_REQUESTED: &str = "retake.requested";
    /// New objects came after a retake request: the county's clock runs on.
    pub const RETAKEN: &str = "work.retaken";
    /// All of them.
    pub const ALL: [&str; 8] =
        [ARRIVED, CLAIMED, SIGNED, AUDITED, RECEIVED, OPENED, RETAKE_REQUESTED, RETAKEN];
}

/// An event as far as clocks are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment<'a> {
    /// Its type, one of [`kinds`].
    pub kind: &'a str,
    /// When.
    pub at: UtcMs,
    /// Which kind of version it is about, where it says so.
    pub report: Option<ReportKind>,
    /// What that version is, or becomes under the second signature, where it says so.
    pub becomes: Option<ReportKind>,
}

impl<'a> Moment<'a> {
    fn of(event: &'a StoredEvent) -> Self {
        let word = |field| event.body.get(field).and_then(|k| k.as_str()).and_then(|k| k.parse().ok());
        Self { kind: &event.kind, at: event.at, report: word("kind"), becomes: word("becomes") }
    }
}

/// A study's clocks while its events are read, oldest first. The first of each kind counts: a later correction has clocks
/// of its own.
#[derive(Debug, Clone)]
pub struct Fold {
    times: StudyTimes,
}

impl Fold {
    /// Before the first event.
    #[must_use]
    pub fn new(t0: UtcMs) -> Self {
        Self { times: StudyTimes { t0, ..StudyTimes::default() } }
    }

    /// One event more.
    pub fn take(&mut self, moment: Moment<'_>) {
        let Moment { kind, at, report, .. } = moment;
        self.correct(moment);
        let (times, preliminary) = (&mut self.times, report == Some(ReportKind::Preliminary));
        let slot = match kind {
            kinds::ARRIVED => &mut times.safe,
            kinds::CLAIMED => &mut times.claimed,
            kinds::SIGNED => {
                if preliminary {
                    times.prelim.get_or_insert(at);
                }
                &mut times.reported
            }
            kinds::AUDITED => &mut times.audited,
            // Which version it was about is not known: it moves no clock.
            kinds::RECEIVED | kinds::OPENED if report.is_none() => return,
            kinds::RECEIVED if preliminary => &mut times.prelim_received,
            kinds::RECEIVED => &mut times.received,
            kinds::OPENED if preliminary => &mut times.prelim_opened,
            kinds::OPENED => &mut times.opened,
            kinds::RETAKE_REQUESTED => {
                times.pauses.begin(at);
                return;
            }
            kinds::RETAKEN => {
                times.pauses.end(at);
                return;
            }
            _ => return,
        };
        slot.get_or_insert(at);
    }

    /// A correction or addendum has clocks of its own; the newest counts.
    fn correct(&mut self, Moment { kind, at, report, becomes }: Moment<'_>) {
        let later = |kind| matches!(kind, Some(ReportKind::Correction | ReportKind::Addendum));
        if kind == kinds::SIGNED && later(becomes.or(report)) {
            self.times.correction = Some(CorrectionTimes { signed: at, ..CorrectionTimes::default() });
            return;
        }
        let Some(correction) = self.times.correction.as_mut().filter(|_| later(report)) else { return };
        match kind {
            kinds::AUDITED => correction.audited.get_or_insert(at),
            kinds::RECEIVED => correction.received.get_or_insert(at),
            kinds::OPENED => correction.opened.get_or_insert(at),
            _ => return,
        };
    }

    /// The times that deadlines are computed from.
    #[must_use]
    pub const fn times(self) -> StudyTimes {
        self.times
    }
}

/// Folds a study's events, oldest first.
#[must_use]
pub fn fold(t0: UtcMs, events: &[StoredEvent]) -> StudyTimes {
    let mut folding = Fold::new(t0);
    events.iter().for_each(|event| folding.take(Moment::of(event)));
    folding.times()
}

/// Recomputes the cached deadline columns of a study's work item from its events. Called in every transaction that
/// appends an event of [`kinds`] or changes class or T0; without a work item it does nothing.
///
/// # Errors
/// [`StoreError`].
pub async fn refresh(tx: &mut SqliteConnection, policy: &SlaPolicy, study_id: i64) -> Result<(), StoreError> {
    let mut batch = Batch::on(tx);
    refresh_in(&mut batch, policy, study_id).await?;
    batch.run().await
}

/// Work items whose deadlines are computed anew in one transaction.
const REFRESH_BATCH: i64 = 200;

/// Brings the deadlines of open work in line with the policy when that is another than at the last start. A study that cannot
/// be judged keeps no other waiting.
///
/// # Errors
/// [`StoreError`].
pub async fn refresh_open(store: &Store, policy: &SlaPolicy) -> Result<(), StoreError> {
    let digest = blake3::hash(format!("{policy:?}").as_bytes()).to_hex().to_string();
    let before: Option<String> = sqlx::query_scalar("SELECT value FROM site WHERE key = 'policy'")
        .fetch_optional(&mut *store.read().await?)
        .await
        .map_err(StoreError::database("read the policy of the last start"))?;
    if before.as_ref() == Some(&digest) {
        return Ok(());
    }
    let mut after = 0;
    loop {
        let studies: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT id, study_id FROM work_item WHERE id > $1 AND state NOT IN ('closed', 'withdrawn') ORDER BY id LIMIT $2",
        )
        .bind(after)
        .bind(REFRESH_BATCH)
        .fetch_all(&mut *store.read().await?)
        .await
        .map_err(StoreError::database("read open work"))?;
        let Some((last, _)) = studies.last() else { break };
        after = *last;
        for (_, study) in studies {
            let policy = policy.clone();
            let done = store.write(move |tx| Box::pin(async move { refresh(tx, &policy, study).await }));
            if let Err(error) = done.await {
                tracing::error!(
                    study,
                    error = &error as &dyn std::error::Error,
                    "deadlines stay as they were"
                );
            }
        }
    }
    store
        .write(move |tx| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO site (key, value) VALUES ('policy', $1) ON CONFLICT (key) DO UPDATE SET value = $1",
                )
                .bind(digest)
                .execute(tx)
                .await
                .map(|_| ())
                .map_err(StoreError::database("record the policy"))
            })
        })
        .await
}

/// As [`refresh`], with the caller's other statements.
///
/// # Errors
/// [`StoreError`].
pub async fn refresh_in(batch: &mut Batch<'_>, policy: &SlaPolicy, study_id: i64) -> Result<(), StoreError> {
    if let Some(clocks) = clocks(batch, study_id).await? {
        cache(batch, policy, &clocks);
    }
    Ok(())
}

/// A work item with the clocks of its study.
struct Clocks {
    item: i64,
    kind: Kind,
    class: Class,
    times: StudyTimes,
    /// What the watcher has said of them.
    said: BTreeSet<String>,
}

/// The clocks of a study as its events tell them; `None` without a work item.
async fn clocks(batch: &mut Batch<'_>, study_id: i64) -> Result<Option<Clocks>, StoreError> {
    batch
        .add(
            "read a work item's study and moments",
            "SELECT w.id, w.watch_said, s.t0, s.kind, s.class, e.type, e.at, CAST(e.body ->> 'kind' AS TEXT) AS report,
               CAST(e.body ->> 'becomes' AS TEXT) AS becomes
             FROM work_item w JOIN study s ON s.id = w.study_id
             LEFT JOIN event e ON e.study_id = s.id AND e.type IN (SELECT value FROM json_each($2))
             WHERE s.id = $1 ORDER BY e.seq",
        )
        .bind(study_id)
        .bind(json!(kinds::ALL).to_string());
    let rows = batch.rows().await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let key = study_id.to_string();
    let c = Columns::of(row, "study", &key);
    let (item, t0, said): (i64, UtcMs, _) = (c.get("id")?, c.time("t0")?, c.json("watch_said")?);
    let (kind, class): (Kind, Class) = (c.parsed("kind")?, c.parsed("class")?);
    let mut folding = Fold::new(t0);
    for row in &rows {
        let c = Columns::of(row, "event", &key);
        let Some(at) = c.time_or_none("at")? else { continue };
        let (report, becomes) = (report_kind(c, "report")?, report_kind(c, "becomes")?);
        folding.take(Moment { kind: &c.get::<String>("type")?, at, report, becomes });
    }
    Ok(Some(Clocks { item, kind, class, times: folding.times(), said }))
}

/// A word of an event's body; one that this version does not know moves no clock.
pub(crate) fn report_kind(c: Columns<'_>, column: &'static str) -> Result<Option<ReportKind>, StoreError> {
    let word: Option<String> = c.get(column)?;
    Ok(word.and_then(|word| word.parse().ok()))
}

/// Writes the clocks down for lists. A promise that moves is told to the clinic again: the time of the state moves with it.
fn cache(batch: &mut Batch<'_>, policy: &SlaPolicy, clocks: &Clocks) {
    let Clocks { item, kind, class, times, .. } = clocks;
    let due = next_due(policy, *kind, *class, times);
    let promised = promise(policy, *kind, *class, times);
    batch
        .add(
            "cache deadlines",
            "UPDATE work_item SET first_claimed_at = $2, prelim_at = $3, reported_at = $4, audited_at = $5,
               received_at = $6, opened_at = $7, due_at = $8, due_stage = $9, promise_at = $10, prelim_received_at = $11,
               prelim_opened_at = $12, watch_at = $13,
               state_at = state_at + (promise_at IS NOT NULL AND promise_at <> $10 AND state NOT IN ('closed', 'withdrawn'))
             WHERE id = $1",
        )
        .bind(*item)
        .bind(times.claimed.map(|t| t.0))
        .bind(times.prelim.map(|t| t.0))
        .bind(times.reported.map(|t| t.0))
        .bind(times.audited.map(|t| t.0))
        .bind(times.received.map(|t| t.0))
        .bind(times.opened.map(|t| t.0))
        .bind(due.map(|d| d.due_at.0))
        .bind(due.map(|d| d.stage.word()))
        .bind(promised.due_at.0)
        .bind(times.prelim_received.map(|t| t.0))
        .bind(times.prelim_opened.map(|t| t.0))
        .bind(watch::next(policy, clocks).map(|t| t.0))
        .one_row("work_item", *item);
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_core::sla::Pauses;

    fn event(kind: &str, at: i64, body: serde_json::Value) -> StoredEvent {
        StoredEvent {
            seq: at,
            at: UtcMs(at),
            source: "county".into(),
            actor: "x".into(),
            kind: kind.into(),
            subject: String::new(),
            clinic: None,
            study_id: Some(1),
            work_item: None,
            class: None,
            body,
        }
    }

    #[test]
    fn preliminary_and_final_receipts_are_kept_apart() {
        let prelim = serde_json::json!({"kind": "preliminary"});
        let last = serde_json::json!({"kind": "final"});
        let events = [
            event(kinds::ARRIVED, 1, serde_json::Value::Null),
            event(kinds::SIGNED, 5, prelim.clone()),
            event(kinds::RECEIVED, 6, prelim),
            event(kinds::AUDITED, 8, last.clone()),
            event(kinds::RECEIVED, 9, last),
        ];
        let times = fold(UtcMs(0), &events);
        assert_eq!((times.prelim_received, times.received), (Some(UtcMs(6)), Some(UtcMs(9))));
        assert_eq!((times.prelim, times.audited), (Some(UtcMs(5)), Some(UtcMs(8))));
    }

    #[test]
    fn a_correction_that_awaits_its_second_signature_has_clocks_of_its_own() {
        let last = serde_json::json!({"kind": "final"});
        let mut events = vec![
            event(kinds::SIGNED, 1, serde_json::json!({"kind": "preliminary", "becomes": "final"})),
            event(kinds::AUDITED, 2, last.clone()),
            event(kinds::RECEIVED, 3, last.clone()),
            event(kinds::OPENED, 4, last),
        ];
        assert_eq!(fold(UtcMs(0), &events).correction, None);
        events.push(event(
            kinds::SIGNED,
            10,
            serde_json::json!({"kind": "preliminary", "becomes": "correction"}),
        ));
        let expected = CorrectionTimes { signed: UtcMs(10), ..CorrectionTimes::default() };
        assert_eq!(fold(UtcMs(0), &events).correction, Some(expected));
        let corrected = serde_json::json!({"kind": "correction"});
        events.push(event(kinds::AUDITED, 12, corrected.clone()));
        events.push(event(kinds::RECEIVED, 13, corrected));
        let expected = CorrectionTimes { audited: Some(UtcMs(12)), received: Some(UtcMs(13)), ..expected };
        assert_eq!(fold(UtcMs(0), &events).correction, Some(expected));
        assert_eq!(fold(UtcMs(0), &events).received, Some(UtcMs(3)), "the first version's clocks stand");
    }

    #[test]
    fn an_opening_of_an_unknown_version_moves_no_clock() {
        let events = [event(kinds::OPENED, 9, serde_json::json!({ "kind": null }))];
        assert_eq!(fold(UtcMs(0), &events), StudyTimes { t0: UtcMs(0), ..StudyTimes::default() });
    }

    #[test]
    fn time_at_the_clinic_does_not_count_and_the_first_of_each_kind_does() {
        let nothing = serde_json::Value::Null;
        let events = [
            event(kinds::CLAIMED, 2, nothing.clone()),
            event(kinds::RETAKE_REQUESTED, 10, nothing.clone()),
            event(kinds::RETAKEN, 40, nothing.clone()),
            event(kinds::CLAIMED, 50, nothing),
        ];
        let times = fold(UtcMs(0), &events);
        let mut expected = Pauses::default();
        expected.begin(UtcMs(10));
        expected.end(UtcMs(40));
        assert_eq!((times.pauses, times.claimed), (expected, Some(UtcMs(2))));
    }
}

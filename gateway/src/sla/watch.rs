//! Says in time what the deadlines of open studies ask to be said: a warning, a breach and whom it is booked to, a green study
//! that nobody takes. What was said stands as an event, once; what was missed while nobody watched is said afterwards.

use super::{Clocks, clocks};
use crate::queue;
use crate::store::{Batch, Scope, StoreError, event};
use relay_core::clock::UtcMs;
use relay_core::sla::{Alarm, Said, SlaPolicy, holder, said};
use relay_core::work_item::State;
use serde_json::json;
use sqlx::SqliteConnection;

/// Studies looked at in one round; what is left waits for the next, which follows at once.
const ROUND: i64 = 256;

/// The event of each alarm.
const fn event_of(alarm: Alarm) -> &'static str {
    match alarm {
        Alarm::Warned => "sla.warned",
        Alarm::Unattended => "sla.unattended",
        Alarm::Breached => "sla.breached",
    }
}

/// How what was said is remembered: a limit that moves is another limit.
fn word(said: &Said) -> String {
    format!("{}:{}:{}", said.alarm, said.stage, said.due_at.0)
}

fn unsaid(policy: &SlaPolicy, clocks: &Clocks) -> impl Iterator<Item = Said> {
    let all = said(policy, clocks.kind, clocks.class, &clocks.times);
    all.into_iter().filter(|s| !clocks.said.contains(&word(s)))
}

/// When there is something to say next.
pub(super) fn next(policy: &SlaPolicy, clocks: &Clocks) -> Option<UtcMs> {
    unsaid(policy, clocks).map(|s| s.at).min()
}

/// Work items and their studies of which something is to be said at `now`, the longest due first.
///
/// # Errors
/// [`StoreError`].
pub async fn due(tx: &mut SqliteConnection, now: UtcMs) -> Result<Vec<(i64, i64)>, StoreError> {
    sqlx::query_as("SELECT id, study_id FROM work_item WHERE watch_at <= $1 ORDER BY watch_at LIMIT $2")
        .bind(now.0)
        .bind(ROUND)
        .fetch_all(tx)
        .await
        .map_err(StoreError::database("find deadlines that are due"))
}

/// Says what is to be said of one study at `now`. Idempotent: a second time there is nothing left.
///
/// # Errors
/// [`StoreError`].
pub async fn say(
    tx: &mut SqliteConnection,
    policy: &SlaPolicy,
    (item, study_id): (i64, i64),
    now: UtcMs,
) -> Result<(), StoreError> {
    let stored = queue::load(tx, &Scope::County, item).await?;
    let mut batch = Batch::on(tx);
    let Some(mut clocks) = clocks(&mut batch, study_id).await? else { return Ok(()) };
    // The county's clock stands still, or nobody waits any more; the next event of the study starts it again.
    let resting = matches!(stored.item.state, State::RetakeRequested | State::Withdrawn);
    let due: Vec<Said> = unsaid(policy, &clocks).filter(|s| s.at <= now && !resting).collect();
    for said in &due {
        let with = holder(policy, clocks.kind, &clocks.times, said.due_at);
        let facts = json!({ "stage": said.stage, "due_at": said.due_at, "since": said.at, "with": with });
        let subject = stored.study_key();
        event::add(&mut batch, stored.event("county", event_of(said.alarm), subject, facts, now));
        metrics::counter!("relay_deadlines_total", "said" => said.alarm.word(), "stage" => said.stage.word(),
            "with" => with.word())
        .increment(1);
        clocks.said.insert(word(said));
    }
    let unattended = due.iter().any(|s| s.alarm == Alarm::Unattended);
    batch
        .add(
            "remember what was said of a deadline",
            "UPDATE work_item SET watch_at = $2, watch_said = $3,
               unattended_at = CASE WHEN $4 THEN $5 ELSE unattended_at END,
               state_at = CASE WHEN $4 THEN max($5, state_at + 1) ELSE state_at END WHERE id = $1",
        )
        .bind(item)
        .bind(next(policy, &clocks).filter(|_| !resting).map(|t| t.0))
        .bind(json!(clocks.said).to_string())
        .bind(unattended)
        .bind(now.0)
        .one_row("work_item", item);
    batch.run().await
}

//! Figures of now for Prometheus: what waits, what is late. The clock of what was sent back stands still. Counts only, no names.

use crate::queue;
use crate::store::{Columns, Store, StoreError};
use relay_core::clock::UtcMs;
use relay_core::work_item::State;

/// States in which something is still to be done.
const OPEN: [State; 6] =
    [State::Waiting, State::Claimed, State::Drafted, State::Signed, State::Audited, State::RetakeRequested];

/// Reads them from the store.
pub(super) async fn set(store: &Store, now: UtcMs) -> Result<(), StoreError> {
    let mut read = store.read().await?;
    // By state, which is indexed: what is closed or withdrawn is most of the table.
    let found = sqlx::query(
        "SELECT state, count(*) AS items, sum(due_at < $1 AND state <> 'retake_requested') AS overdue FROM work_item
         WHERE state IN ('waiting', 'claimed', 'drafted', 'signed', 'audited', 'retake_requested') GROUP BY state",
    )
    .bind(now.0)
    .fetch_all(&mut *read)
    .await
    .map_err(StoreError::database("count work items"))?;
    let mut items: Vec<(&'static str, i64, i64)> = OPEN.iter().map(|state| (state.word(), 0, 0)).collect();
    for row in &found {
        let c = Columns::of(row, "work_item", "state");
        let state: String = c.get("state")?;
        if let Some(item) = items.iter_mut().find(|(word, ..)| *word == state) {
            (item.1, item.2) = (c.get("items")?, c.get::<Option<i64>>("overdue")?.unwrap_or(0));
        }
    }
    for (state, count, overdue) in items {
        metrics::gauge!("relay_work_items", "state" => state).set(count as f64);
        metrics::gauge!("relay_work_overdue", "state" => state).set(overdue as f64);
    }
    let row = sqlx::query(
        "SELECT (SELECT count(*) FROM critical WHERE read_back_at IS NULL) AS critical_open,
           (SELECT count(*) FROM letter WHERE received_at IS NULL AND superseded_at IS NULL) AS letters_waiting,
           (SELECT min(s.arrived_at) FROM work_item w JOIN study s ON s.id = w.study_id WHERE w.state = 'waiting') AS oldest",
    )
    .fetch_one(&mut *read)
    .await
    .map_err(StoreError::database("count what waits"))?;
    let c = Columns::of(&row, "work_item", "figures");
    let count = |name: &'static str| Ok::<_, StoreError>(c.get::<i64>(name)? as f64);
    metrics::gauge!("relay_critical_open").set(count("critical_open")?);
    metrics::gauge!("relay_letters_waiting").set(count("letters_waiting")?);
    let damaged = queue::damaged(&mut read).await?;
    for error in &damaged {
        tracing::error!(error = error as &dyn std::error::Error, "a row of open work is damaged");
    }
    metrics::gauge!("relay_damaged_rows").set(damaged.len() as f64);
    let oldest = c.time_or_none("oldest")?.map_or(0, |at| now.since(at).max(0));
    metrics::gauge!("relay_work_oldest_waiting_seconds").set(oldest as f64 / 1_000.0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_core::durable::RealDisk;
    use std::sync::Arc;

    #[tokio::test]
    async fn the_figures_can_be_read_from_a_store() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Arc::new(RealDisk)).await.unwrap();
        set(&store, UtcMs(1_795_226_400_000)).await.unwrap();
        crate::audit::tell_head(&store).await.unwrap();
    }
}

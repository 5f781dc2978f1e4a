//! Commands that run side by side in one transaction.
//!
//! What many clinics do at once is the same few steps, each step one way to the database. Here each command goes as far as
//! its next read; then the reads (and the writes before them) of all are sent together, and all go on with their rows.
//! Commands with one key (a study) never run side by side, so that each sees the other's work done or not begun. When one
//! of them fails, nothing of the round is kept: that one is run again alone, behind a savepoint of its own, the others
//! together once more.

use super::StoreError;
use super::batch::{Batch, Step, execute};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Equal requests that are sent as one text. Texts are prepared and kept: these counts bound how many there are.
const SHARED: [usize; 4] = [8, 4, 2, 1];

/// Where a command's statements meet the others'.
#[derive(Debug, Default)]
pub(super) struct Seat(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    Asked(Vec<Step>),
    Answered(Vec<SqliteRow>),
}

impl Seat {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves the statements here and waits for the rows of the last one.
    pub(super) async fn ask(&self, steps: Vec<Step>) -> Result<Vec<SqliteRow>, StoreError> {
        *self.state() = State::Asked(steps);
        std::future::poll_fn(|_| {
            let mut state = self.state();
            match std::mem::take(&mut *state) {
                State::Answered(rows) => Poll::Ready(Ok(rows)),
                other => {
                    *state = other;
                    Poll::Pending
                }
            }
        })
        .await
    }

    fn asked(&self) -> Option<Vec<Step>> {
        let mut state = self.state();
        match std::mem::take(&mut *state) {
            State::Asked(steps) => Some(steps),
            other => {
                *state = other;
                None
            }
        }
    }
}

/// A command that may run side by side with others and, after a failure, again. True when its changes stay.
pub(super) type Work = Arc<dyn for<'c> Fn(Batch<'c>) -> BoxFuture<'c, bool> + Send + Sync>;

/// Why a round must be taken back.
#[derive(Debug)]
pub(super) enum Spoilt {
    /// The command at this place failed by itself.
    By(usize),
    /// The database failed.
    Store(StoreError),
}

struct Running {
    place: usize,
    seat: Arc<Seat>,
    future: BoxFuture<'static, bool>,
}

/// Runs all of `works` side by side. `Err`: at least one failed, and what was done must be taken back.
pub(super) async fn run(tx: &mut SqliteConnection, works: &[Work]) -> Result<(), Spoilt> {
    let mut running: Vec<Running> = works
        .iter()
        .enumerate()
        .map(|(place, work)| {
            let seat = Arc::new(Seat::default());
            let future = AssertUnwindSafe(work(Batch::at(Arc::clone(&seat)))).catch_unwind();
            // What the panic was is told when the command is run alone.
            Running { place, seat, future: async move { future.await.unwrap_or(false) }.boxed() }
        })
        .collect();
    while !running.is_empty() {
        let (mut asking, mut requests) =
            (Vec::with_capacity(running.len()), Vec::with_capacity(running.len()));
        for mut one in running {
            match one.future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(true) => {}
                Poll::Ready(false) => return Err(Spoilt::By(one.place)),
                Poll::Pending => {
                    // A command waits for nothing but its own batch; one that does is run alone.
                    requests.push(one.seat.asked().ok_or(Spoilt::By(one.place))?);
                    asking.push(one);
                }
            }
        }
        let seats: Vec<Arc<Seat>> = asking.iter().map(|one| Arc::clone(&one.seat)).collect();
        answer(tx, &seats, requests).await.map_err(Spoilt::Store)?;
        running = asking;
    }
    Ok(())
}

async fn answer(
    tx: &mut SqliteConnection,
    seats: &[Arc<Seat>],
    requests: Vec<Vec<Step>>,
) -> Result<(), StoreError> {
    let mut equal: BTreeMap<Vec<&'static str>, Vec<usize>> = BTreeMap::new();
    for (place, steps) in requests.iter().enumerate() {
        equal.entry(steps.iter().map(|step| step.sql).collect()).or_default().push(place);
    }
    for places in equal.into_values() {
        let mut rest = &places[..];
        while let Some(count) = SHARED.into_iter().find(|count| *count <= rest.len()) {
            let (now, later) = rest.split_at(count);
            let steps: Vec<&Vec<Step>> = now.iter().map(|place| &requests[*place]).collect();
            for (place, rows) in now.iter().zip(execute(tx, &steps).await?) {
                *seats[*place].state() = State::Answered(rows);
            }
            rest = later;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::{Connection as _, Row as _};

    async fn table() -> SqliteConnection {
        let mut tx = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        sqlx::query("CREATE TABLE t (a INTEGER PRIMARY KEY, b INTEGER) STRICT")
            .execute(&mut tx)
            .await
            .unwrap();
        tx
    }

    /// Inserts `a`, reads how many there are, and writes that down; fails when told so.
    fn work(a: i64, fails: bool) -> Work {
        Arc::new(move |mut batch| {
            Box::pin(async move {
                batch.add("insert", "INSERT INTO t VALUES ($1, 0)").bind(a);
                batch.add("count", "SELECT count(*) AS n, $1 AS mine FROM t").bind(a);
                let Ok(row) = batch.only_row().await else { return false };
                assert_eq!(row.get::<i64, _>("mine"), a, "everybody gets the rows of its own statements");
                let n: i64 = row.get("n");
                batch.add("note", "UPDATE t SET b = $1 WHERE a = $2").bind(n).bind(a).one_row("t", a);
                batch.run().await.is_ok() && !fails
            })
        })
    }

    #[tokio::test]
    async fn every_command_gets_its_own_rows_however_many_run_side_by_side() {
        for count in [1_i64, 3, 8, 21] {
            let mut tx = table().await;
            let works: Vec<Work> = (0..count).map(|a| work(a, false)).collect();
            run(&mut tx, &works).await.unwrap();
            let (rows, noted): (i64, i64) =
                sqlx::query_as("SELECT count(*), sum(b > 0) FROM t").fetch_one(&mut tx).await.unwrap();
            assert_eq!((rows, noted), (count, count));
        }
    }

    #[tokio::test]
    async fn a_command_that_fails_panics_or_breaks_a_rule_takes_the_round_back() {
        let panics: Work = Arc::new(|_| Box::pin(async { panic!("a fault of the program") }));
        let twice = work(1, false);
        for (last, by) in [(work(9, true), Some(1)), (panics, Some(1)), (twice, None)] {
            let mut tx = table().await;
            let spoilt = run(&mut tx, &[work(1, false), last]).await.unwrap_err();
            let found = if let Spoilt::By(place) = spoilt { Some(place) } else { None };
            assert_eq!(found, by, "{spoilt:?}");
        }
    }
}

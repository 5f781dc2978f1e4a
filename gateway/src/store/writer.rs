//! One writer, group commit: many commands share one transaction and one sync; each is answered after the commit.
//!
//! A command that fails is rolled back to its savepoint and does not touch its neighbours.

use super::StoreError;
use super::event::{self, StoredEvent};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteOperation;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

/// Commands that share one transaction at most: bounds the time a caller waits for its neighbours.
const MAX_GROUP: usize = 128;
/// Commands that wait at most; beyond that callers wait for room.
pub(super) const QUEUE: usize = 1_024;
/// How long a caller waits for its commit before it says that the outcome is unknown.
const WRITE_DEADLINE: Duration = Duration::from_secs(60);
/// Live events kept for a slow listener; one that falls behind reads the table.
pub(super) const LIVE_EVENTS: usize = 1_024;

type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
type Command = Box<dyn for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Executed> + Send>;

struct Executed {
    /// Whether the command's changes stay.
    failed: bool,
    answer: Answer,
}

/// The callers' end.
#[derive(Clone)]
pub(super) struct Writer {
    commands: mpsc::Sender<Command>,
}

impl Writer {
    /// Runs `work` inside the next transaction; its result comes back after the commit.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        let command: Command = Box::new(move |tx| {
            Box::pin(async move {
                let result = match AssertUnwindSafe(work(tx)).catch_unwind().await {
                    Ok(result) => result,
                    Err(_) => Err(StoreError::Writer("met a panic in a command; it was rolled back")),
                };
                let failed = result.is_err();
                let answer: Answer = Box::new(move |committed| {
                    // A caller that has gone away does not want the answer.
                    let _ = tell.send(committed.and(result));
                });
                Executed { failed, answer }
            })
        });
        let stopped = |_| StoreError::Writer("has stopped");
        let wait = async {
            self.commands.send(command).await.map_err(|_| StoreError::Writer("has stopped"))?;
            told.await.map_err(stopped)?
        };
        tokio::time::timeout(WRITE_DEADLINE, wait)
            .await
            .map_err(|_| StoreError::Writer("did not answer within its deadline"))?
    }
}

/// Who hears of commits.
pub(super) struct Listeners {
    /// Events in commit order.
    pub(super) live: broadcast::Sender<StoredEvent>,
    /// Counts commits that wrote a letter.
    pub(super) letters: watch::Sender<u64>,
    /// Newest event before the start.
    pub(super) last_seq: i64,
}

/// Starts the writer on its connection. It ends when every [`Writer`] is dropped.
pub(super) async fn start(
    mut connection: SqliteConnection,
    listeners: Listeners,
) -> Result<(Writer, tokio::task::JoinHandle<()>), StoreError> {
    let wrote_letter = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&wrote_letter);
    let mut handle = connection.lock_handle().await.map_err(StoreError::database("watch for letters"))?;
    handle.set_update_hook(move |change| {
        if change.table == "letter" && change.operation == SqliteOperation::Insert {
            seen.store(true, Ordering::SeqCst);
        }
    });
    drop(handle);
    let (commands, queue) = mpsc::channel(QUEUE);
    let task = tokio::spawn(run(connection, queue, listeners, wrote_letter));
    Ok((Writer { commands }, task))
}

async fn run(
    mut connection: SqliteConnection,
    mut queue: mpsc::Receiver<Command>,
    mut listeners: Listeners,
    wrote_letter: Arc<AtomicBool>,
) {
    while let Some(first) = queue.recv().await {
        let mut group = vec![first];
        while group.len() < MAX_GROUP {
            match queue.try_recv() {
                Ok(command) => group.push(command),
                Err(_) => break,
            }
        }
        metrics::histogram!("relay_store_group_commands")
            .record(u32::try_from(group.len()).unwrap_or(u32::MAX));
        let (answers, committed) = transact(&mut connection, group).await;
        let ok = committed.is_ok();
        for answer in answers {
            answer(committed.clone());
        }
        if ok {
            publish(&mut connection, &listeners.live, &mut listeners.last_seq).await;
            if wrote_letter.swap(false, Ordering::SeqCst) {
                listeners.letters.send_modify(|count| *count += 1);
            }
        }
    }
    // Checkpoints and closes the file; a failure here loses nothing, the log is replayed at the next start.
    if let Err(error) = sqlx::Connection::close(connection).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "closing the database");
    }
}

/// Runs one group in one transaction. On `Err` nothing of it was kept.
async fn transact(tx: &mut SqliteConnection, group: Vec<Command>) -> (Vec<Answer>, Result<(), StoreError>) {
    let mut answers = Vec::with_capacity(group.len());
    let mut state = statement(tx, "BEGIN IMMEDIATE", "begin").await;
    for command in group {
        if state.is_err() {
            // Its answer channel closes: the caller learns that the writer did not run it.
            answers.push(not_run(command, tx).await);
            continue;
        }
        state = one(tx, command, &mut answers).await;
    }
    let result = match state {
        Ok(()) => statement(tx, "COMMIT", "commit").await,
        Err(error) => Err(error),
    };
    if let Err(error) = &result {
        tracing::error!(error = error as &dyn std::error::Error, "a write transaction was rolled back");
        // SQLite may have rolled back by itself; then this says so and does no harm.
        let _ = statement(tx, "ROLLBACK", "rollback").await;
    }
    (answers, result)
}

async fn one(
    tx: &mut SqliteConnection,
    command: Command,
    answers: &mut Vec<Answer>,
) -> Result<(), StoreError> {
    statement(tx, "SAVEPOINT command", "savepoint").await?;
    let Executed { failed, answer } = command(tx).await;
    answers.push(answer);
    if failed {
        // When this fails, SQLite has rolled back the whole transaction (full disk, I/O error): the group fails.
        statement(tx, "ROLLBACK TO command", "rollback to savepoint").await?;
    }
    statement(tx, "RELEASE command", "release").await
}

/// A command of a group that is already lost is dropped unexecuted; its caller hears that the writer failed.
#[expect(clippy::unused_async, reason = "one shape with its neighbours")]
async fn not_run(command: Command, _tx: &mut SqliteConnection) -> Answer {
    drop(command);
    Box::new(|_| ())
}

async fn statement(
    tx: &mut SqliteConnection,
    sql: &'static str,
    what: &'static str,
) -> Result<(), StoreError> {
    sqlx::query(sql).execute(tx).await.map(|_| ()).map_err(StoreError::database(what))
}

async fn publish(tx: &mut SqliteConnection, live: &broadcast::Sender<StoredEvent>, last_seq: &mut i64) {
    match event::after(tx, *last_seq, i64::from(u32::MAX)).await {
        Ok(events) => {
            for event in events {
                *last_seq = event.seq;
                // No listener is no error.
                let _ = live.send(event);
            }
        }
        Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "reading new events"),
    }
}

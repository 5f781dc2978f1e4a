//! One writer, group commit: many commands share one transaction and one sync; each is answered after the commit.
//!
//! A command that fails is rolled back to its savepoint and does not touch its neighbours.

use super::StoreError;
use super::batch::Batch;
use super::event::{self, StoredEvent};
use super::together::{self, Spoilt, Work};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteOperation;
use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
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
type Alone = Box<dyn for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Executed> + Send>;

enum Command {
    Alone(Alone),
    Joint(Joint),
}

/// A command that runs side by side with others of another key.
struct Joint {
    key: String,
    work: Work,
    answer: Answer,
}

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
        let command: Alone = Box::new(move |tx| {
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
        self.send(Command::Alone(command), told).await
    }

    /// Runs `work` inside the next transaction, side by side with others; its result comes back after the commit.
    pub(super) async fn write_together<T, F>(&self, key: String, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> Fn(Batch<'c>) -> BoxFuture<'c, Result<T, StoreError>> + Send + Sync + 'static,
    {
        let (tell, told) = oneshot::channel();
        let (work, result) = (Arc::new(work), Arc::new(Mutex::new(None)));
        let found = Arc::clone(&result);
        let work: Work = Arc::new(move |batch| {
            let (work, result) = (Arc::clone(&work), Arc::clone(&result));
            Box::pin(async move {
                // What an earlier try found was taken back with it.
                *result.lock().unwrap_or_else(PoisonError::into_inner) = None;
                let done = work(batch).await;
                let stays = done.is_ok();
                *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
                stays
            })
        });
        let answer: Answer = Box::new(move |committed| {
            let found = found.lock().unwrap_or_else(PoisonError::into_inner).take();
            let result =
                found.unwrap_or(Err(StoreError::Writer("met a panic in a command; it was rolled back")));
            // A caller that has gone away does not want the answer.
            let _ = tell.send(committed.and(result));
        });
        self.send(Command::Joint(Joint { key, work, answer }), told).await
    }

    async fn send<T>(
        &self,
        command: Command,
        told: oneshot::Receiver<Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let wait = async {
            self.commands.send(command).await.map_err(|_| StoreError::Writer("has stopped"))?;
            told.await.map_err(|_| StoreError::Writer("has stopped"))?
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
    let seen = Arc::new(Seen::default());
    let notes = Arc::clone(&seen);
    let mut handle = connection.lock_handle().await.map_err(StoreError::database("watch what is written"))?;
    handle.set_update_hook(move |change| {
        if change.operation == SqliteOperation::Insert {
            match change.table {
                "letter" => notes.letter.store(true, Ordering::SeqCst),
                "event" => notes.event.store(true, Ordering::SeqCst),
                _ => {}
            }
        }
    });
    drop(handle);
    let (commands, queue) = mpsc::channel(QUEUE);
    let task = tokio::spawn(run(connection, queue, listeners, seen));
    Ok((Writer { commands }, task))
}

/// What a transaction has added that somebody waits for.
#[derive(Default)]
struct Seen {
    letter: AtomicBool,
    event: AtomicBool,
}

async fn run(
    mut connection: SqliteConnection,
    mut queue: mpsc::Receiver<Command>,
    mut listeners: Listeners,
    seen: Arc<Seen>,
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
        // After a failure the marks stay: the next commit looks at both tables, and finds nothing or what is there.
        if !ok {
            continue;
        }
        if seen.event.swap(false, Ordering::SeqCst) {
            let told = publish(&mut connection, &listeners.live, &mut listeners.last_seq).await;
            // What could not be read is told after the next commit, whatever that is.
            seen.event.fetch_or(!told, Ordering::SeqCst);
        }
        if seen.letter.swap(false, Ordering::SeqCst) {
            listeners.letters.send_modify(|count| *count += 1);
        }
    }
    // Checkpoints and closes the file; a failure here loses nothing, the log is replayed at the next start.
    if let Err(error) = sqlx::Connection::close(connection).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "closing the database");
    }
}

/// Runs one group in one transaction. On `Err` nothing of it was kept.
async fn transact(
    tx: &mut SqliteConnection,
    mut group: Vec<Command>,
) -> (Vec<Answer>, Result<(), StoreError>) {
    if group.len() == 1
        && let Some(command) = group.pop()
    {
        return single(tx, command.alone()).await;
    }
    let (mut alone, mut joint) = (Vec::new(), Vec::new());
    for command in group {
        match command {
            Command::Alone(command) => alone.push(command),
            Command::Joint(command) => joint.push(command),
        }
    }
    let mut answers = Vec::new();
    let mut state = statement(tx, "BEGIN IMMEDIATE; SAVEPOINT command", "begin").await;
    let mut spoilt = 0;
    while state.is_ok() && !joint.is_empty() {
        state = side_by_side(tx, &mut joint, &mut alone, &mut answers, &mut spoilt).await;
    }
    for command in alone {
        if state.is_err() {
            // Its answer channel closes: the caller learns that the writer did not run it.
            drop(command);
            continue;
        }
        let Executed { failed, answer } = command(tx).await;
        answers.push(answer);
        state = next_savepoint(tx, failed).await;
    }
    let result = match state {
        Ok(()) => statement(tx, "RELEASE command; COMMIT", "commit").await,
        Err(error) => Err(error),
    };
    if let Err(error) = &result {
        tracing::error!(error = error as &dyn std::error::Error, "a write transaction was rolled back");
        // SQLite may have rolled back by itself; then this says so and does no harm.
        let _ = statement(tx, "ROLLBACK", "rollback").await;
    }
    (answers, result)
}

/// Keeps what was done since the last savepoint, or takes it back. When the way back fails, SQLite has rolled back the whole
/// transaction (full disk, I/O error): the group fails.
async fn next_savepoint(tx: &mut SqliteConnection, failed: bool) -> Result<(), StoreError> {
    if failed {
        let back = "ROLLBACK TO command; RELEASE command; SAVEPOINT command";
        statement(tx, back, "rollback to savepoint").await
    } else {
        statement(tx, "RELEASE command; SAVEPOINT command", "savepoint").await
    }
}

/// Rounds of a group that may be spoilt by one of their commands; after that all that is left runs one by one.
const MAX_SPOILT: usize = 2;

/// Runs the first command of each key in `joint`, side by side. A command that fails goes to `alone` with those of its key
/// that came after it; the others stay in `joint`, or go there too when too many rounds were spoilt.
async fn side_by_side(
    tx: &mut SqliteConnection,
    joint: &mut Vec<Joint>,
    alone: &mut Vec<Alone>,
    answers: &mut Vec<Answer>,
    spoilt: &mut usize,
) -> Result<(), StoreError> {
    let mut keys = BTreeSet::new();
    let (now, later): (Vec<Joint>, Vec<Joint>) =
        std::mem::take(joint).into_iter().partition(|command| keys.insert(command.key.clone()));
    let works: Vec<Work> = now.iter().map(|command| Arc::clone(&command.work)).collect();
    let done = together::run(tx, &works).await;
    let Err(why) = done else {
        answers.extend(now.into_iter().map(|command| command.answer));
        *joint = later;
        return next_savepoint(tx, false).await;
    };
    metrics::counter!("relay_store_rounds_repeated_total").increment(1);
    tracing::debug!(?why, "a round is taken back");
    *spoilt += 1;
    // In their order: the second command of a key never overtakes its first.
    let mut rest: Vec<Joint> = now;
    let failed = if let Spoilt::By(place) = &why { rest.get(*place).map(|c| c.key.clone()) } else { None };
    rest.extend(later);
    let goes_alone = |command: &Joint| match &failed {
        Some(key) if *spoilt <= MAX_SPOILT => command.key == *key,
        _ => true,
    };
    let (one_by_one, together): (Vec<Joint>, Vec<Joint>) = rest.into_iter().partition(goes_alone);
    alone.extend(one_by_one.into_iter().map(Joint::alone));
    *joint = together;
    match (next_savepoint(tx, true).await, why) {
        // SQLite has rolled everything back by itself: the cause is what the callers must hear of.
        (Err(_), Spoilt::Store(error)) => Err(error),
        (back, _) => back,
    }
}

impl Command {
    fn alone(self) -> Alone {
        match self {
            Self::Alone(command) => command,
            Self::Joint(command) => command.alone(),
        }
    }
}

impl Joint {
    fn alone(self) -> Alone {
        Box::new(move |tx| {
            Box::pin(async move {
                let stays = AssertUnwindSafe((self.work)(Batch::on(tx))).catch_unwind().await;
                Executed { failed: !stays.unwrap_or(false), answer: self.answer }
            })
        })
    }
}

/// A command that has its transaction for itself needs no savepoint.
async fn single(tx: &mut SqliteConnection, command: Alone) -> (Vec<Answer>, Result<(), StoreError>) {
    if let Err(error) = statement(tx, "BEGIN IMMEDIATE", "begin").await {
        return (Vec::new(), Err(error));
    }
    let Executed { failed, answer } = command(tx).await;
    if failed {
        // SQLite may have rolled back by itself; then this says so and does no harm.
        let _ = statement(tx, "ROLLBACK", "rollback").await;
        return (vec![answer], Ok(()));
    }
    let result = statement(tx, "COMMIT", "commit").await;
    if let Err(error) = &result {
        tracing::error!(error = error as &dyn std::error::Error, "a write transaction was rolled back");
        let _ = statement(tx, "ROLLBACK", "rollback").await;
    }
    (vec![answer], result)
}

async fn statement(
    tx: &mut SqliteConnection,
    sql: &'static str,
    what: &'static str,
) -> Result<(), StoreError> {
    sqlx::raw_sql(sql).execute(tx).await.map(|_| ()).map_err(StoreError::database(what))
}

/// Tells listeners of the events since the last time; false when they cannot be read.
async fn publish(
    tx: &mut SqliteConnection,
    live: &broadcast::Sender<StoredEvent>,
    last_seq: &mut i64,
) -> bool {
    match event::after(tx, *last_seq, i64::from(u32::MAX)).await {
        Ok(events) => {
            for event in events {
                *last_seq = event.seq;
                // No listener is no error.
                let _ = live.send(event);
            }
            true
        }
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "reading new events");
            false
        }
    }
}

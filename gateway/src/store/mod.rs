//! The county's facts in SQLite (WAL, `synchronous=FULL`) and its bytes in the blob store.
//!
//! Durable rule: a state change, its event and the follow-up job are one transaction. Every write goes through
//! [`Store::write`] (one writer, group commit, a savepoint for each command); reads have their own connections.

mod batch;
mod error;
pub mod event;
mod row;
mod scope;
mod together;
mod writer;

pub use batch::Batch;
pub use error::StoreError;
pub use event::{NewEvent, StoredEvent};
pub use row::{Columns, one_row, signed};
pub use scope::Scope;

use futures::future::BoxFuture;
use relay_core::durable::{BlobStore, Disk};
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Sqlite, SqliteConnection};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, broadcast, watch};
use tokio::task::JoinHandle;

/// Connections for reading: a page each for the list, a study, figures and background, and one to spare.
const READERS: u32 = 5;
/// How long a reader waits for a connection.
const READ_DEADLINE: Duration = Duration::from_secs(10);
/// Prepared texts that the writer keeps: every command's, those of [`together`] in a few counts.
const WRITER_STATEMENTS: usize = 256;
/// Pages of 4 KiB in the log before they are carried into the database: 16 MiB, read back at a start within a second.
const CHECKPOINT_PAGES: &str = "4096";
/// How long SQLite waits for a lock that another process (backup, command line) holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long closing waits for the writer.
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);
/// The database file under the home directory.
pub const DATABASE_FILE: &str = "county.db";
/// The blob store's directory under the home directory.
pub const BLOB_DIR: &str = "store";
/// Objects that may not enter custody, under the home directory.
pub const QUARANTINE_DIR: &str = "quarantine";
/// Previews, under the home directory; they can be made again.
pub const PREVIEW_DIR: &str = "previews";

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// The county's store. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    home: Arc<PathBuf>,
    readers: SqlitePool,
    writer: writer::Writer,
    task: Arc<Mutex<Option<JoinHandle<()>>>>,
    live: broadcast::Sender<StoredEvent>,
    letter_changes: watch::Receiver<u64>,
    blobs: BlobStore,
    disk: Arc<dyn Disk>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("home", &self.home).finish_non_exhaustive()
    }
}

fn options(home: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(home.join(DATABASE_FILE))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging()
}

impl Store {
    /// Opens the store under `home`, creating and migrating it when needed.
    ///
    /// # Errors
    /// [`StoreError`] naming what failed; a database of a newer release is refused.
    pub async fn open(home: &Path, disk: Arc<dyn Disk>) -> Result<Self, StoreError> {
        for dir in [home.to_owned(), home.join(QUARANTINE_DIR), home.join(PREVIEW_DIR)] {
            disk.create_dir_all(&dir).map_err(|e| StoreError::Database {
                what: "create the home directory",
                source: Arc::new(sqlx::Error::Io(e)),
            })?;
        }
        // SQLite gives its log files the permissions of the database, which is private from its first byte.
        drop(disk.open_for_append(&home.join(DATABASE_FILE)).map_err(|e| {
            let source = Arc::new(sqlx::Error::Io(e));
            StoreError::Database { what: "create the database file", source }
        })?);
        let blobs = BlobStore::open(Arc::clone(&disk), home.join(BLOB_DIR)).map_err(|e| {
            let source = sqlx::Error::Io(std::io::Error::other(e));
            StoreError::Database { what: "open the blob store", source: Arc::new(source) }
        })?;
        let mut connection = options(home)
            .statement_cache_capacity(WRITER_STATEMENTS)
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
            .connect()
            .await
            .map_err(StoreError::database("open the database"))?;
        MIGRATIONS.run(&mut connection).await.map_err(|e| StoreError::Migration(e.to_string()))?;
        let last_seq = event::last_seq(&mut connection).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(READ_DEADLINE)
            // A connection to a file cannot have been lost while nobody used it.
            .test_before_acquire(false)
            .connect_with(options(home).pragma("query_only", "1"))
            .await
            .map_err(StoreError::database("open the readers"))?;
        let (live, _) = broadcast::channel(writer::LIVE_EVENTS);
        let (letters, letter_changes) = watch::channel(0);
        let listeners = writer::Listeners { live: live.clone(), letters, last_seq };
        let (writer, task) = writer::start(connection, listeners).await?;
        let task = Arc::new(Mutex::new(Some(task)));
        Ok(Self { home: Arc::new(home.to_owned()), readers, writer, task, live, letter_changes, blobs, disk })
    }

    /// Runs `work` in the next transaction and answers after the commit. On `Err` nothing of it is kept; neighbours in
    /// the same transaction are not touched.
    ///
    /// ```ignore
    /// store.write(move |tx| Box::pin(async move { event::append(tx, new).await })).await?;
    /// ```
    ///
    /// # Errors
    /// What `work` returns, or that the commit failed.
    pub async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
    {
        self.writer.write(work).await
    }

    /// As [`Store::write`], for what many clinics do at once: `work` shares its ways to the database with others of another
    /// `key`. It waits for nothing but its batch, and may be run more than once before its result counts.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub async fn write_together<T, F>(&self, key: String, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> Fn(Batch<'c>) -> BoxFuture<'c, Result<T, StoreError>> + Send + Sync + 'static,
    {
        self.writer.write_together(key, work).await
    }

    /// A connection for reading. It cannot write.
    ///
    /// # Errors
    /// [`StoreError::Database`] when none is free within the deadline.
    pub async fn read(&self) -> Result<PoolConnection<Sqlite>, StoreError> {
        self.readers.acquire().await.map_err(StoreError::database("acquire a reader"))
    }

    /// A connection of its own to the same file, for a snapshot of the whole.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn side_connection(&self) -> Result<SqliteConnection, StoreError> {
        options(&self.home).connect().await.map_err(StoreError::database("open a connection"))
    }

    /// Events as they are committed. A listener that falls behind reads [`event::after_in`].
    #[must_use]
    pub fn live(&self) -> broadcast::Receiver<StoredEvent> {
        self.live.subscribe()
    }

    /// Counts up with every commit that wrote a letter.
    #[must_use]
    pub fn letter_changes(&self) -> watch::Receiver<u64> {
        self.letter_changes.clone()
    }

    /// The bytes.
    #[must_use]
    pub const fn blobs(&self) -> &BlobStore {
        &self.blobs
    }

    /// The disk beneath, for small files through `relay_core::durable`.
    #[must_use]
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// The home directory.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Where the preview of an object is, whether or not it has been made.
    #[must_use]
    pub fn preview_path(&self, hash: &relay_core::ids::ObjectHash) -> PathBuf {
        let hex = hash.to_hex();
        self.home.join(PREVIEW_DIR).join(&hex[..2]).join(format!("{hex}.jpg"))
    }

    /// Ends reading and waits until the writer has committed what it was given and closed the file, when this is the last
    /// handle; otherwise, or after `CLOSE_DEADLINE`, the writer goes on until the last handle is dropped.
    pub async fn close(self) {
        let Self { readers, writer, task, .. } = self;
        readers.close().await;
        drop(writer);
        let Some(task) = task.lock().await.take() else { return };
        if tokio::time::timeout(CLOSE_DEADLINE, task).await.is_err() {
            tracing::warn!("the store is still in use at shutdown; its log is replayed at the next start");
        }
    }
}

/// Key of `site` that holds the store's incarnation.
const INCARNATION: &str = "incarnation";

/// Which life of the store this is: empty in the first, the time of the restore in later ones. Part of every id that a
/// clinic sees, because a restored store gives its row numbers out again.
///
/// # Errors
/// [`StoreError`].
pub async fn incarnation(tx: &mut SqliteConnection) -> Result<String, StoreError> {
    let found: Option<String> = sqlx::query_scalar("SELECT value FROM site WHERE key = $1")
        .bind(INCARNATION)
        .fetch_optional(tx)
        .await
        .map_err(StoreError::database("read the store's incarnation"))?;
    Ok(found.unwrap_or_default())
}

/// The name by which this store is told from every other one: a backup's restore, a standby's own. What a clinic holds a
/// receipt of another store for, this one must confirm anew.
///
/// # Errors
/// [`StoreError`].
pub async fn name(tx: &mut SqliteConnection) -> Result<String, StoreError> {
    sqlx::query_scalar("SELECT value FROM site WHERE key = 'store'")
        .fetch_one(tx)
        .await
        .map_err(StoreError::database("read the store's name"))
}

/// Begins a new life of a restored store. `at` makes it differ from any other restore of the same backup.
///
/// # Errors
/// [`StoreError`].
pub async fn begin_incarnation(
    tx: &mut SqliteConnection,
    at: relay_core::clock::UtcMs,
) -> Result<(), StoreError> {
    // Seconds are enough to tell two restores of one backup apart, and keep the id short.
    let value = format!("{:x}x", at.0 / relay_core::clock::SECOND_MS);
    sqlx::query("UPDATE site SET value = lower(hex(randomblob(16))) WHERE key = 'store'")
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database("name a restored store anew"))?;
    sqlx::query("INSERT INTO site (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = $2")
        .bind(INCARNATION)
        .bind(value)
        .execute(tx)
        .await
        .map_err(StoreError::database("begin a new incarnation"))?;
    Ok(())
}

#[cfg(test)]
mod tests;

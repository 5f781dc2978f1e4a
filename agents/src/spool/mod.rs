//! What the clinic holds: objects by content, studies, letters, notes and staff, safe against a power cut at any instant.
//!
//! Custody: the blob is synced and its directory too, then its row is committed (WAL, `synchronous=FULL`), and only
//! then anybody is told. What has no receipt of the county is never evicted.

mod admit;
mod again;
mod cells;
mod coded;
mod criticals;
mod error;
mod figures;
mod held;
mod intake;
mod letters;
mod line;
mod notes;
mod outbox;
mod owner;
mod pages;
mod receive;
mod recode;
mod rejects;
mod reports;
mod retakes;
mod retention;
mod room;
mod staff;
mod standing;
mod study;
mod urgent;
mod view;
mod void;

pub use admit::{Admitted, Announced, CONTRADICTS, Origin};
pub use criticals::CriticalRow;
pub use error::{SpoolError, chain};
pub use figures::Figures;
pub use held::LostObjects;
pub use intake::Intake;
pub use letters::LetterRow;
pub use owner::owner_of;
pub use receive::{Received, Receiving};
pub use rejects::RejectView;
pub use reports::{ReportInsert, ReportPage, ReportRow};
pub use retakes::RetakeRow;
pub use room::SpoolLimits;
pub use staff::{PinError, StaffRow};
pub use study::{Mark, Marked, Unfinished};
pub use urgent::UrgentRow;
pub use view::{StudyPage, StudyView};
pub use void::Voided;

use crate::config::QuietSeconds;
use error::db;
use relay_core::clock::{Clock, UtcMs};
use relay_core::durable::{BlobStore, Disk};
use relay_core::ids::{ClinicId, LetterId, StudyUid};
use relay_core::study::{Class, Kind};
use room::Room;
use sqlx::sqlite::{
    Sqlite, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// A statement that has waited this long for the lock has met a bug, not load.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Readers beside the one writer: page and courier at the same time. Each costs about 1 MiB.
const READERS: u32 = 2;
/// Page cache of one connection in KiB (negative: SQLite's way to say KiB).
const CACHE_KIB: &str = "-2048";
/// Waiting for a connection this long means that the disk hangs.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);

/// A transaction that writes.
type WriteTx = sqlx::Transaction<'static, Sqlite>;

/// How to open a spool.
#[derive(Debug, Clone)]
pub struct SpoolOptions {
    /// Directory of database and blobs.
    pub dir: PathBuf,
    /// Whose spool it is.
    pub clinic: ClinicId,
    /// Room.
    pub limits: SpoolLimits,
    /// When silence completes a study.
    pub quiet: QuietSeconds,
}

/// The clinic's store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Spool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clinic: ClinicId,
    limits: SpoolLimits,
    quiet: QuietSeconds,
    writer: SqlitePool,
    reader: SqlitePool,
    blobs: BlobStore,
    clock: Arc<dyn Clock>,
    changed: watch::Sender<u64>,
    room: Room,
    /// Held while an object enters custody, by the first byte of its hash.
    admitting: [tokio::sync::Mutex<()>; admit::ADMITTING],
    /// Held while a large object or a film is coded.
    coding: tokio::sync::Semaphore,
    /// What is known of line and county.
    way: line::Way,
    /// Set while films get another form, for a county that restores none.
    recoding: AtomicBool,
    pins: staff::PinDesk,
    /// Where the next look for lost bytes goes on.
    checked_to: Mutex<Option<Vec<u8>>>,
    /// Rows that could not be read, in words.
    damaged: Mutex<BTreeSet<String>>,
    next_partial: AtomicU64,
    /// Studies with objects from associations that are still open.
    open: Mutex<HashMap<StudyUid, usize>>,
    /// Report versions that were verified as they lie on this disk.
    checked: Mutex<BTreeSet<LetterId>>,
    /// Coded bytes at the county, for the progress bar.
    progress: Mutex<HashMap<StudyUid, u64>>,
    /// Held while the spool is open; the operating system releases it when the process dies.
    _lock: std::fs::File,
}

impl Spool {
    /// Opens (and creates) the spool, brings the schema up to date and drops unfinished receptions.
    ///
    /// # Errors
    /// [`SpoolError::Locked`] when another process has it; else of disk or database.
    pub async fn open(
        options: SpoolOptions,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SpoolError> {
        let blobs = BlobStore::open(Arc::clone(&disk), &options.dir)?;
        let lock = lock(&options.dir.join("lock"))?;
        let file = options.dir.join("spool.db");
        let connect = SqliteConnectOptions::new()
            .filename(&file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .pragma("cache_size", CACHE_KIB)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = |max| SqlitePoolOptions::new().max_connections(max).acquire_timeout(ACQUIRE_TIMEOUT);
        let writer = pool(1).connect_with(connect.clone()).await.map_err(db("open"))?;
        sqlx::migrate!("./migrations").run(&writer).await?;
        private(&file)?;
        owner::claim(&writer, &options.clinic).await?;
        let reader =
            pool(READERS).connect_with(connect.read_only(true)).await.map_err(db("open for reading"))?;
        let file_error = |source| SpoolError::File { step: "sync", path: options.dir.clone(), source };
        disk.sync_dir(&options.dir).map_err(file_error)?;
        let way = line::Way::remembered(&reader).await?;
        let spool = Self(Arc::new(Inner {
            clinic: options.clinic,
            limits: options.limits,
            quiet: options.quiet,
            writer,
            reader,
            blobs,
            clock,
            changed: watch::Sender::new(0),
            room: Room::default(),
            coding: tokio::sync::Semaphore::new(1),
            way,
            recoding: AtomicBool::new(false),
            admitting: std::array::from_fn(|_| tokio::sync::Mutex::new(())),
            pins: staff::PinDesk::default(),
            checked_to: Mutex::default(),
            damaged: Mutex::default(),
            next_partial: AtomicU64::new(0),
            open: Mutex::default(),
            checked: Mutex::default(),
            progress: Mutex::default(),
            _lock: lock,
        }));
        spool.drop_unfinished(&options.dir.join("partial"))?;
        spool.count_unreceipted().await?;
        Ok(spool)
    }

    /// Unfinished receptions were never acknowledged.
    fn drop_unfinished(&self, dir: &Path) -> Result<(), SpoolError> {
        let wrong = |source| SpoolError::File { step: "list", path: dir.to_owned(), source };
        for entry in std::fs::read_dir(dir).map_err(wrong)? {
            let name = entry.map_err(wrong)?.file_name();
            if let Some(name) = name.to_str() {
                self.0.blobs.discard(name)?;
            }
        }
        Ok(())
    }

    /// Begins to write: the writer's lock is taken at once.
    async fn begin(&self) -> Result<WriteTx, SpoolError> {
        match self.0.writer.begin_with("BEGIN IMMEDIATE").await {
            Err(sqlx::Error::InvalidSavePointStatement) => {}
            begun => return begun.map_err(db("begin")),
        }
        // A full disk makes SQLite end a transaction by itself; the connection goes on counting it. It is replaced, or
        // nothing would be written until the next start.
        tracing::warn!("the writing connection is opened anew after a transaction that the disk has ended");
        let stuck = self.0.writer.acquire().await.map_err(db("begin"))?;
        stuck.close().await.map_err(db("begin"))?;
        self.0.writer.begin_with("BEGIN IMMEDIATE").await.map_err(db("begin"))
    }

    /// Commits, then tells who listens.
    async fn commit(&self, tx: WriteTx) -> Result<(), SpoolError> {
        tx.commit().await.map_err(db("commit"))?;
        self.touch();
        Ok(())
    }

    /// Closes the database. Open receptions fail.
    pub async fn close(&self) {
        self.0.reader.close().await;
        self.0.writer.close().await;
    }

    /// Whose spool it is.
    #[must_use]
    pub fn clinic(&self) -> &ClinicId {
        &self.0.clinic
    }

    /// The blobs.
    #[must_use]
    pub fn blobs(&self) -> &BlobStore {
        &self.0.blobs
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> UtcMs {
        self.0.clock.now()
    }

    /// Counts up with every change that page or courier may want to see.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    pub(crate) fn touch(&self) {
        self.0.changed.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// Silence after which a study is complete, in ms.
    fn quiet_ms(&self, class: Class, kind: Kind) -> i64 {
        self.0.quiet.ms(class, kind)
    }
}

/// Runs a step that blocks on the disk.
pub(crate) async fn blocking<T: Send + 'static>(
    step: impl FnOnce() -> T + Send + 'static,
) -> Result<T, SpoolError> {
    tokio::task::spawn_blocking(step).await.map_err(|_| SpoolError::ShuttingDown)
}

fn lock(path: &Path) -> Result<std::fs::File, SpoolError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let opened = std::fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
    let file = opened.map_err(|source| SpoolError::File { step: "open", path: path.to_owned(), source })?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(error) if error == rustix::io::Errno::WOULDBLOCK => {
            Err(SpoolError::Locked { lock: path.to_owned() })
        }
        Err(error) => Err(SpoolError::File { step: "lock", path: path.to_owned(), source: error.into() }),
    }
}

/// The database holds names: its owner alone reads it.
fn private(path: &Path) -> Result<(), SpoolError> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .map_err(|source| SpoolError::File { step: "chmod 600", path: path.to_owned(), source })
}

#[cfg(test)]
impl Spool {
    /// Does to the database what only a defect or a strange hand would do.
    pub(crate) async fn tamper(&self, statement: &'static str) {
        sqlx::query(statement).execute(&self.0.writer).await.unwrap();
    }
}

#[cfg(test)]
mod tests;

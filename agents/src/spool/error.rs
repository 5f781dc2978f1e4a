//! Why the spool cannot do something.

use relay_core::codes::{Code, Refusal};
use relay_core::durable::BlobError;
use relay_core::ids::ClinicId;
use std::path::PathBuf;

/// A failure of the agent's own store. Nothing is acknowledged when one of these comes back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpoolError {
    /// The database refused a statement.
    #[error("spool database, {step}")]
    Database {
        /// What was tried.
        step: &'static str,
        /// What SQLite said.
        #[source]
        source: sqlx::Error,
    },
    /// The schema could not be brought up to date.
    #[error("spool schema")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A blob operation failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// A stored value is not lawful: the database was damaged or written by something else.
    #[error("spool database is damaged: table {table}, column {column}, row {row:?}")]
    Corrupt {
        /// Which table.
        table: &'static str,
        /// Which column.
        column: &'static str,
        /// Which row, by its key.
        row: String,
    },
    /// Another process has the spool open.
    #[error(
        "{lock} is held by another process: an agent or another command works on this home; stop it, or wait, then try again"
    )]
    Locked {
        /// The lock file.
        lock: PathBuf,
    },
    /// The spool holds what another clinic has sent and received.
    #[error(
        "本目录属于机构 {owner}，不能用于机构 {clinic}：请用 --home 指定该机构自己的目录 / this home is that of clinic {owner}, not of {clinic}: name another --home"
    )]
    OtherClinic {
        /// Whose it is.
        owner: String,
        /// For whom it was opened.
        clinic: ClinicId,
    },
    /// A file of the spool cannot be used.
    #[error("{step} {path}")]
    File {
        /// What was tried.
        step: &'static str,
        /// On which path.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        source: std::io::Error,
    },
    /// A blocking task was cut off by shutdown.
    #[error("the agent is shutting down")]
    ShuttingDown,
    /// No such study here.
    #[error("no study {0} at this clinic")]
    NoStudy(String),
}

/// SQLite's primary result code for a full disk (`SQLITE_FULL`).
const SQLITE_FULL: i32 = 13;

impl SpoolError {
    /// True when there is no room, for bytes or for their row.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self {
            Self::Blob(error) => error.is_full(),
            // The low byte is the primary code, whatever the extended one says.
            Self::Database { source: sqlx::Error::Database(error), .. } => {
                let code = error.code().and_then(|code| code.parse::<i32>().ok());
                code.is_some_and(|code| code & 0xFF == SQLITE_FULL)
            }
            Self::File { source, .. } => {
                matches!(source.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }

    /// As it is told to the sender of an object.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        match self {
            full if full.is_full() => Refusal::new(
                Code::StorageFull,
                "",
                "the clinic's disk is full: make room, then send again (relay-agent doctor)",
            ),
            Self::NoStudy(uid) => {
                Refusal::new(Code::NotFound, "study", format!("no study {uid} at this clinic"))
            }
            Self::ShuttingDown => Refusal::new(Code::ShuttingDown, "", self.to_string()),
            other => Refusal::new(Code::StorageFailed, "", chain(other)),
        }
    }
}

/// An error with its causes in one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// Names the step of a failed statement.
pub(super) fn db(step: &'static str) -> impl Fn(sqlx::Error) -> SpoolError {
    move |source| SpoolError::Database { step, source }
}

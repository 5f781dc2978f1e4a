//! Whose spool it is, and which folders were watched for it.

use super::error::db;
use super::{Spool, SpoolError};
use relay_core::ids::ClinicId;
use sqlx::sqlite::{Sqlite, SqliteConnectOptions, SqlitePool};
use sqlx::{ConnectOptions as _, Connection as _};
use std::path::Path;

/// Gives an unowned spool to the clinic.
///
/// # Errors
/// [`SpoolError::OtherClinic`] when it is another's.
pub(super) async fn claim(writer: &SqlitePool, clinic: &ClinicId) -> Result<(), SpoolError> {
    sqlx::query("INSERT INTO owner (id, clinic) VALUES (1, ?) ON CONFLICT (id) DO NOTHING")
        .bind(clinic.as_str())
        .execute(writer)
        .await
        .map_err(db("record whose spool it is"))?;
    let owner: String = sqlx::query_scalar::<Sqlite, String>("SELECT clinic FROM owner WHERE id = 1")
        .fetch_one(writer)
        .await
        .map_err(db("read whose spool it is"))?;
    if owner == clinic.as_str() {
        Ok(())
    } else {
        Err(SpoolError::OtherClinic { owner, clinic: clinic.clone() })
    }
}

/// Whose spool lies in this directory; `None` when there is none yet. Also while an agent has it open.
///
/// # Errors
/// [`SpoolError`] of the database.
pub async fn owner_of(dir: &Path) -> Result<Option<String>, SpoolError> {
    let file = dir.join("spool.db");
    if !file.exists() {
        return Ok(None);
    }
    let options = SqliteConnectOptions::new().filename(&file).busy_timeout(super::BUSY_TIMEOUT);
    let mut connection = options.connect().await.map_err(db("open"))?;
    let owner = sqlx::query_scalar::<Sqlite, String>("SELECT clinic FROM owner WHERE id = 1")
        .fetch_optional(&mut connection)
        .await
        .map_err(db("read whose spool it is"))?;
    connection.close().await.map_err(db("close"))?;
    Ok(owner)
}

impl Spool {
    /// Whether this folder was made, or found, by a watcher of this home before.
    pub(crate) async fn folder_known(&self, path: &Path) -> Result<bool, SpoolError> {
        sqlx::query_scalar::<Sqlite, i64>("SELECT COUNT(*) FROM folder WHERE path = ?")
            .bind(path.to_string_lossy())
            .fetch_one(&self.0.reader)
            .await
            .map(|count| count > 0)
            .map_err(db("look a watched folder up"))
    }

    /// The folder is there: when it is missing later, it was not this agent that forgot to make it.
    pub(crate) async fn remember_folder(&self, path: &Path) -> Result<(), SpoolError> {
        sqlx::query("INSERT INTO folder (path) VALUES (?) ON CONFLICT (path) DO NOTHING")
            .bind(path.to_string_lossy())
            .execute(&self.0.writer)
            .await
            .map_err(db("remember a watched folder"))?;
        Ok(())
    }
}

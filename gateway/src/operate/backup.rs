//! Backup and restore, while the gateway runs.
//!
//! The database is copied by SQLite itself in one consistent snapshot (`VACUUM INTO`); blobs never change once they have
//! their name, so every blob that the snapshot names can be copied afterwards at leisure. `backup.json` is written last:
//! without it a backup is unfinished and is refused.

use super::{empty_dir, verify};
use crate::audit;
use crate::background::scrub;
use crate::config::CONFIG_FILE;
use crate::home::{CA_DIR, Home, SIGNER_DIR, TLS_DIR};
use crate::store::{BLOB_DIR, DATABASE_FILE, NewEvent, Store, StoreError, event};
use anyhow::Context as _;
use relay_core::clock::UtcMs;
use relay_core::durable::{BlobStore, Disk as _, RealDisk, write_atomic};
use relay_core::ids::ObjectHash;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// Written last into a backup.
const SEAL_FILE: &str = "backup.json";

/// What a finished backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    /// Version of this layout.
    pub format: u32,
    /// When.
    pub at: UtcMs,
    /// BLAKE3 of the database copy.
    pub database: ObjectHash,
    /// Blobs copied and proved.
    pub blobs: u64,
    /// Newest event.
    pub events: i64,
    /// Newest audit entry and its hash: keep it elsewhere, it proves the log's length.
    pub audit: (i64, ObjectHash),
    /// Blobs that were damaged or absent at their source and are not in the backup; everything else is.
    #[serde(default)]
    pub faults: Vec<BlobFault>,
}

/// A blob that could not be copied because it is not what its name says.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct BlobFault {
    /// Which.
    pub blob: ObjectHash,
    /// What is wrong with it.
    pub reason: String,
}

/// What a restore brought back.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Restored {
    /// The backup's own word.
    pub seal: Seal,
    /// What is not whole in the new home: known to the backup already, or lost since.
    pub faults: Vec<verify::Fault>,
    /// Faults beyond those listed.
    pub more_faults: u64,
}

/// How blobs come into the backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blobs {
    /// Copied: survives a dying disk.
    Copy,
    /// Hard links where the file system allows: quick, same disk.
    Link,
}

/// Backs up a home into an empty directory. Blobs that are damaged at their source are left out and named in the seal, in an
/// event, and (objects) asked of their clinic again: one rotten file never stands between a county and its backup.
///
/// # Errors
/// Naming what failed; then there is no `backup.json`.
pub async fn backup(home: &Home, store: &Store, to: &Path, how: Blobs, now: UtcMs) -> anyhow::Result<Seal> {
    empty_dir(to)?;
    let copy = to.join(DATABASE_FILE);
    snapshot(store, &copy).await.context("copying the database")?;
    let (hashes, events, audit) = contents(&copy).await.context("reading the copy back")?;
    let target = BlobStore::open(Arc::new(RealDisk), to.join(BLOB_DIR))?;
    let named = hashes.len() as u64;
    let from = store.blobs().clone();
    let faults = tokio::task::spawn_blocking(move || copy_blobs(&from, &target, &hashes, how)).await??;
    tell(store, &faults, now).await?;
    let blobs = named - faults.len() as u64;
    for name in [CA_DIR, TLS_DIR, SIGNER_DIR] {
        copy_dir(&home.path().join(name), &to.join(name))?;
    }
    copy_file(&home.path().join(CONFIG_FILE), &to.join(CONFIG_FILE))?;
    let seal = Seal { format: 1, at: now, database: hash_file(&copy)?, blobs, events, audit, faults };
    write_atomic(&RealDisk, &to.join(SEAL_FILE), &serde_json::to_vec_pretty(&seal)?, 0o600)
        .context("writing backup.json")?;
    Ok(seal)
}

/// Records what could not be backed up.
async fn tell(store: &Store, faults: &[BlobFault], now: UtcMs) -> anyhow::Result<()> {
    if faults.is_empty() {
        return Ok(());
    }
    for fault in faults {
        tracing::error!(blob = %fault.blob, reason = fault.reason, "a blob is not in the backup");
        let (own, hash) = (store.clone(), fault.blob);
        let Some(recorded) = scrub::recorded(store, &hash).await? else { continue };
        let finding = tokio::task::spawn_blocking(move || scrub::prove(&own, &recorded)).await?;
        scrub::record(store, hash, finding, now).await?;
    }
    let count = faults.len();
    let told = store.write(move |tx| {
        Box::pin(async move {
            let incomplete = NewEvent {
                at: now,
                actor: "operator",
                kind: "store.backup_incomplete",
                subject: "backup".to_owned(),
                clinic: None,
                study_id: None,
                work_item: None,
                class: None,
                body: serde_json::json!({ "blobs": count }),
            };
            event::append(tx, incomplete).await.map(|_| ())
        })
    });
    Ok(told.await?)
}

/// Makes a new home from a backup and proves every byte of it before it says done. Clinics that are sent to the new home
/// offer again what it lacks. What the backup itself lacks is listed; the rest is brought back whole.
///
/// # Errors
/// When the backup is unfinished or damaged, or the new home is not empty.
pub async fn restore(from: &Path, home: &Home, now: UtcMs) -> anyhow::Result<Restored> {
    let text = std::fs::read(from.join(SEAL_FILE))
        .with_context(|| format!("{} is no finished backup: {SEAL_FILE} is missing", from.display()))?;
    let seal: Seal = serde_json::from_slice(&text).context("backup.json")?;
    anyhow::ensure!(seal.format == 1, "backup.json: format {} is not known here", seal.format);
    let found = hash_file(&from.join(DATABASE_FILE))?;
    anyhow::ensure!(
        found == seal.database,
        "the database in the backup is damaged: BLAKE3 {found}, sealed {}",
        seal.database
    );
    empty_dir(home.path())?;
    copy_file(&from.join(DATABASE_FILE), &home.path().join(DATABASE_FILE))?;
    let (hashes, _, _) = contents(&home.path().join(DATABASE_FILE)).await?;
    let source = BlobStore::open(Arc::new(RealDisk), from.join(BLOB_DIR))?;
    let target = BlobStore::open(Arc::new(RealDisk), home.path().join(BLOB_DIR))?;
    tokio::task::spawn_blocking(move || copy_blobs(&source, &target, &hashes, Blobs::Copy)).await??;
    for name in [CA_DIR, TLS_DIR, SIGNER_DIR] {
        copy_dir(&from.join(name), &home.path().join(name))?;
    }
    // Last: without its configuration no gateway starts there.
    copy_file(&from.join(CONFIG_FILE), &home.path().join(CONFIG_FILE))?;
    let store = super::open_store(home).await?;
    store.write(move |tx| Box::pin(async move { crate::store::begin_incarnation(tx, now).await })).await?;
    let report = verify::verify_store(&store, super::trust(home).as_ref(), now).await?;
    store.close().await;
    let broken: Vec<_> =
        report.faults.iter().filter(|f| matches!(f.table.as_str(), "database" | "audit")).collect();
    anyhow::ensure!(broken.is_empty(), "the restored database has faults: {broken:?}");
    Ok(Restored { seal, faults: report.faults, more_faults: report.more_faults })
}

async fn snapshot(store: &Store, to: &Path) -> anyhow::Result<()> {
    let path = to.to_str().context("the backup's path is not UTF-8")?.to_owned();
    // There before SQLite writes into it: a backup holds names and second factors, and is its owner's only.
    drop(RealDisk.create(to, 0o600)?);
    let mut connection = store.side_connection().await?;
    sqlx::query("VACUUM INTO $1").bind(path).execute(&mut connection).await?;
    sqlx::Connection::close(connection).await?;
    let mut file = RealDisk.open_for_append(to)?;
    file.sync()?;
    RealDisk.sync_dir(to.parent().context("the backup's path has no parent")?)?;
    Ok(())
}

type Contents = (BTreeSet<ObjectHash>, i64, (i64, ObjectHash));

/// Every blob that a database names, its newest event, its audit head.
async fn contents(database: &Path) -> anyhow::Result<Contents> {
    use sqlx::ConnectOptions as _;
    let mut tx = sqlx::sqlite::SqliteConnectOptions::new().filename(database).connect().await?;
    let check: String = sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(&mut tx).await?;
    anyhow::ensure!(check == "ok", "the database copy is damaged: {check}");
    let locations: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT hash FROM location WHERE status = 'ok'").fetch_all(&mut tx).await?;
    let mut hashes = BTreeSet::new();
    for bytes in locations {
        hashes.insert(ObjectHash::from_slice(&bytes).context("table location, column hash: no digest")?);
    }
    hashes.extend(verify::paper_hashes(&mut tx).await?.into_iter().map(|(_, _, hash)| hash));
    let events = crate::store::event::last_seq(&mut tx).await?;
    let head = audit::head(&mut tx).await?;
    sqlx::Connection::close(tx).await.map_err(StoreError::database("close the copy"))?;
    Ok((hashes, events, head))
}

/// Copies and proves every blob; gives those that are not whole at their source. What goes wrong at the target ends it.
fn copy_blobs(
    from: &BlobStore,
    to: &BlobStore,
    hashes: &BTreeSet<ObjectHash>,
    how: Blobs,
) -> anyhow::Result<Vec<BlobFault>> {
    let mut faults = Vec::new();
    for hash in hashes {
        let Err(error) = copy_blob(from, to, hash, how) else { continue };
        let reason = match from.verify(hash) {
            // The source is whole: it is the target that fails.
            Ok(_) => return Err(error),
            Err(fault) => fault.to_string(),
        };
        let copy = to.path_of(hash);
        if copy.exists() {
            RealDisk.remove(&copy).with_context(|| format!("removing {}", copy.display()))?;
        }
        faults.push(BlobFault { blob: *hash, reason });
    }
    Ok(faults)
}

fn copy_blob(from: &BlobStore, to: &BlobStore, hash: &ObjectHash, how: Blobs) -> anyhow::Result<()> {
    let (source, target) = (from.path_of(hash), to.path_of(hash));
    let dir = target.parent().context("a blob path has no parent")?;
    RealDisk.create_dir_all(dir)?;
    let linked = how == Blobs::Link && std::fs::hard_link(&source, &target).is_ok();
    if !linked {
        copy_file(&source, &target)?;
    }
    RealDisk.sync_dir(dir)?;
    to.verify(hash).with_context(|| format!("proving the copy of blob {hash}"))?;
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::copy(from, to).with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
    RealDisk.open_for_append(to)?.sync().with_context(|| format!("syncing {}", to.display()))
}

/// Copies the files of a flat directory with their permissions.
fn copy_dir(from: &Path, to: &Path) -> anyhow::Result<()> {
    RealDisk.create_dir_all(to)?;
    let Ok(entries) = std::fs::read_dir(from) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            copy_file(&entry.path(), &to.join(entry.file_name()))?;
        }
    }
    Ok(RealDisk.sync_dir(to)?)
}

fn hash_file(path: &Path) -> anyhow::Result<ObjectHash> {
    let mut hasher = blake3::Hasher::new();
    let file = std::fs::File::open(path).with_context(|| format!("reading {}", path.display()))?;
    hasher.update_reader(file)?;
    Ok(ObjectHash(*hasher.finalize().as_bytes()))
}

//! Proves everything that is stored.

use crate::audit;
use crate::background::scrub::{self, Finding, Recorded};
use crate::store::{Columns, Store, StoreError};
use relay_core::clock::UtcMs;
use relay_core::ids::ObjectHash;
use std::collections::BTreeSet;

/// Objects proved between two looks at the table.
const PAGE: i64 = 256;
/// Faults listed by name; more are counted.
const MAX_LISTED: usize = 1_000;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Report {
    /// True when nothing is wrong.
    pub ok: bool,
    /// Objects proved.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Letter bodies, packages and notes proved.
    pub papers: u64,
    /// Faults: what, and which.
    pub faults: Vec<Fault>,
    /// Faults beyond those listed.
    pub more_faults: u64,
    /// Blobs that no row names: left by a crash between file and row; harmless.
    pub orphans: u64,
    /// SQLite's own check.
    pub database: String,
    /// Audit entries whose chain holds.
    pub audit_entries: i64,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Fault {
    /// `object`, `letter`, `report`, `note`, `audit`, `database`.
    pub table: String,
    /// Row key.
    pub row: String,
    /// What is wrong.
    pub reason: String,
}

impl Report {
    fn fault(&mut self, table: &str, row: String, reason: String) {
        if self.faults.len() < MAX_LISTED {
            self.faults.push(Fault { table: table.to_owned(), row, reason });
        } else {
            self.more_faults += 1;
        }
    }
}

/// Proves objects (and records what was found), bodies of letters, packages, notes, the database and the audit chain.
///
/// # Errors
/// [`StoreError`] when the database cannot be read at all.
pub async fn verify_store(store: &Store, now: UtcMs) -> Result<Report, StoreError> {
    let mut report = Report::default();
    let mut named = BTreeSet::new();
    objects(store, &mut report, &mut named, now).await?;
    papers(store, &mut report, &mut named).await?;
    let mut tx = store.read().await?;
    report.database = sqlx::query_scalar("PRAGMA quick_check(1)")
        .fetch_one(&mut *tx)
        .await
        .map_err(StoreError::database("check the database"))?;
    if report.database != "ok" {
        let reason = report.database.clone();
        report.fault("database", "quick_check".into(), reason);
    }
    let chain = audit::verify(&mut tx).await?;
    report.audit_entries = chain.entries;
    if let Some(broken) = chain.broken {
        report.fault("audit", broken.seq.to_string(), broken.reason);
    }
    report.orphans = orphans(store, &named);
    report.ok = report.faults.is_empty();
    Ok(report)
}

async fn objects(
    store: &Store,
    report: &mut Report,
    named: &mut BTreeSet<ObjectHash>,
    now: UtcMs,
) -> Result<(), StoreError> {
    let mut after: Vec<u8> = Vec::new();
    loop {
        let page = page(store, &after).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.hash.0.to_vec();
        for recorded in page {
            named.insert(recorded.hash);
            let (own, one) = (store.clone(), recorded.clone());
            let finding = tokio::task::spawn_blocking(move || scrub::prove(&own, &one))
                .await
                .unwrap_or_else(|e| Finding::Unreadable(e.to_string()));
            report.objects += 1;
            report.bytes += recorded.length;
            if finding != Finding::Whole {
                report.fault("object", recorded.hash.to_hex(), format!("{finding:?}"));
                scrub::record(store, recorded.hash, finding, now).await?;
            }
        }
    }
}

async fn page(store: &Store, after: &[u8]) -> Result<Vec<Recorded>, StoreError> {
    let mut tx = store.read().await?;
    let rows =
        sqlx::query("SELECT hash, sha256, length FROM location WHERE hash > $1 ORDER BY hash LIMIT $2")
            .bind(after)
            .bind(PAGE)
            .fetch_all(&mut *tx)
            .await
            .map_err(StoreError::database("read locations"))?;
    rows.iter()
        .map(|row| {
            let c = Columns::of(row, "location", "page");
            Ok(Recorded { hash: c.hash("hash")?, sha256: c.sha256("sha256")?, length: c.unsigned("length")? })
        })
        .collect()
}

/// Every blob that a letter, a version or a note names.
pub(super) async fn paper_hashes(
    tx: &mut sqlx::SqliteConnection,
) -> Result<Vec<(String, String, ObjectHash)>, StoreError> {
    let rows = sqlx::query(
        "SELECT 'letter' AS kind, id AS key, body_hash AS hash FROM letter WHERE body IS NULL
         UNION ALL SELECT 'report', report || ' v' || version, package_hash FROM report_version
         UNION ALL SELECT 'note', clinic || '/' || id, body_hash FROM note",
    )
    .fetch_all(tx)
    .await
    .map_err(StoreError::database("read papers"))?;
    rows.iter()
        .map(|row| {
            let key: String = Columns::of(row, "letter", "?").get("key")?;
            let c = Columns::of(row, "letter", &key);
            Ok((c.get("kind")?, key.clone(), c.hash("hash")?))
        })
        .collect()
}

async fn papers(
    store: &Store,
    report: &mut Report,
    named: &mut BTreeSet<ObjectHash>,
) -> Result<(), StoreError> {
    let hashes = {
        let mut tx = store.read().await?;
        paper_hashes(&mut tx).await?
    };
    for (table, row, hash) in hashes {
        report.papers += 1;
        if !named.insert(hash) {
            continue;
        }
        let blobs = store.blobs().clone();
        let proved =
            tokio::task::spawn_blocking(move || blobs.verify(&hash).map(|_| ()).map_err(|e| e.to_string()));
        if let Err(reason) = proved.await.unwrap_or_else(|e| Err(e.to_string())) {
            report.fault(&table, row, reason);
        }
    }
    Ok(())
}

fn orphans(store: &Store, named: &BTreeSet<ObjectHash>) -> u64 {
    let zero = ObjectHash([0; 32]);
    let Some(root) =
        store.blobs().path_of(&zero).parent().and_then(|p| p.parent()).map(std::path::Path::to_owned)
    else {
        return 0;
    };
    let mut count = 0;
    for dir in std::fs::read_dir(root).into_iter().flatten().flatten() {
        for file in std::fs::read_dir(dir.path()).into_iter().flatten().flatten() {
            let name = file.file_name();
            let hash = name.to_str().and_then(|n| ObjectHash::from_hex(n).ok());
            count += u64::from(hash.is_none_or(|h| !named.contains(&h)));
        }
    }
    count
}

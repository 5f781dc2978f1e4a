//! Proves everything that is stored.

use crate::audit;
use crate::background::scrub::{self, Finding, Recorded};
use crate::reports::{CountyTrust, Proofs, facts_of, identity_of, stated};
use crate::store::{Columns, Store, StoreError};
use relay_core::clock::UtcMs;
use relay_core::ids::ObjectHash;
use relay_core::letter::NoteBody;
use relay_core::limits::MAX_LETTER_BYTES;
use std::collections::BTreeSet;
use std::io::Read as _;

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
    /// Signed versions held against their packages.
    pub versions: u64,
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
    /// `object`, `letter`, `report`, `note`, `audit`, `database`; or the table whose row is not what was signed.
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

/// Proves objects (and records what was found), bodies of letters, packages, notes, the database and the audit chain; with
/// the county's `trust` also that the rows of signed versions say what was signed.
///
/// # Errors
/// [`StoreError`] when the database cannot be read at all.
pub async fn verify_store(
    store: &Store,
    trust: Option<&CountyTrust>,
    now: UtcMs,
) -> Result<Report, StoreError> {
    let mut report = Report::default();
    let mut named = BTreeSet::new();
    objects(store, &mut report, &mut named, now).await?;
    papers(store, &mut report, &mut named).await?;
    match trust {
        Some(trust) => versions(store, trust, &mut report, now).await?,
        None => unproven(store, &mut report).await?,
    }
    patients(store, &mut report).await?;
    let mut tx = store.read().await?;
    deliveries(store, &mut tx, &mut report).await?;
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

/// Without the county's CA no signature counts.
async fn unproven(store: &Store, report: &mut Report) -> Result<(), StoreError> {
    let versions: i64 = sqlx::query_scalar("SELECT count(*) FROM report_version")
        .fetch_one(&mut *store.read().await?)
        .await
        .map_err(StoreError::database("count signed versions"))?;
    if versions > 0 {
        let reason = format!("{versions} signed versions are not proven: the county's CA cannot be read");
        report.fault("report_version", "all".to_owned(), reason);
    }
    Ok(())
}

/// Holds every signed version against its package, and looks for versions that were signed but have no row.
async fn versions(
    store: &Store,
    trust: &CountyTrust,
    report: &mut Report,
    now: UtcMs,
) -> Result<(), StoreError> {
    let studies: Vec<i64> = sqlx::query_scalar("SELECT DISTINCT study_id FROM report ORDER BY study_id")
        .fetch_all(&mut *store.read().await?)
        .await
        .map_err(StoreError::database("read reports"))?;
    let proofs = Proofs::default();
    for study in studies {
        let read = stated(&mut *store.read().await?, study).await;
        let stated = match read {
            Ok(stated) => stated,
            Err(StoreError::Corrupt { table, column, row, reason }) => {
                report.fault(table, row, format!("{column}: {reason}"));
                continue;
            }
            Err(error) => return Err(error),
        };
        report.versions += stated.len() as u64;
        let found = proofs.of(store, trust, stated, now).await.map_err(StoreError::Refused)?;
        for difference in found.into_iter().filter_map(|proof| proof.difference) {
            report.fault(
                difference.table,
                difference.row,
                format!("{}: {}", difference.field, difference.reason),
            );
        }
    }
    let mut tx = store.read().await?;
    let gone: Vec<String> = sqlx::query_scalar(
        "SELECT e.subject FROM event e WHERE e.type IN ('report.signed', 'report.audited') AND NOT EXISTS
           (SELECT 1 FROM report_version v WHERE e.subject = v.report || '/' || v.version
              AND lower(hex(v.package_hash)) = e.body ->> 'package') ORDER BY e.seq",
    )
    .fetch_all(&mut *tx)
    .await
    .map_err(StoreError::database("look for versions without a row"))?;
    for subject in gone {
        report.fault(
            "report_version",
            subject,
            "package_hash: it is not the version that was signed".to_owned(),
        );
    }
    corrections(&mut tx, report).await
}

/// The patient of every study, signed or not, is the one that its files name, unless a person corrected that.
async fn patients(store: &Store, report: &mut Report) -> Result<(), StoreError> {
    let mut after = 0;
    loop {
        let studies: Vec<i64> =
            sqlx::query_scalar("SELECT study_id FROM person WHERE study_id > $1 ORDER BY study_id LIMIT $2")
                .bind(after)
                .bind(PAGE)
                .fetch_all(&mut *store.read().await?)
                .await
                .map_err(StoreError::database("read patients"))?;
        let Some(last) = studies.last() else { return Ok(()) };
        after = *last;
        for study in studies {
            match scrub::patient(store, study).await {
                Ok(None) => {}
                Ok(Some(field)) => {
                    let named = |f: &Fault| {
                        f.table == "person" && f.row == study.to_string() && f.reason.starts_with(field)
                    };
                    if !report.faults.iter().any(named) {
                        let reason =
                            format!("{field}: it is not what the files say, and nobody corrected it");
                        report.fault("person", study.to_string(), reason);
                    }
                }
                Err(StoreError::Corrupt { table, column, row, reason }) => {
                    report.fault(table, row, format!("{column}: {reason}"));
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// What a version's row says of its way to the clinic is what receipts and signed notes say.
async fn deliveries(
    store: &Store,
    tx: &mut sqlx::SqliteConnection,
    report: &mut Report,
) -> Result<(), StoreError> {
    let rows = sqlx::query(
        "SELECT v.report || '/' || v.version AS key, v.delivery, v.received_at, v.opened_at, v.opened_by,
           (SELECT n.body_hash FROM note n JOIN event o ON o.body ->> 'note' = n.id AND o.clinic = n.clinic
            WHERE o.type = 'report.opened' AND o.study_id = r.study_id AND o.at = v.opened_at AND o.body ->> 'first' = 1
              AND o.body ->> 'report' = v.report AND o.body ->> 'version' = v.version LIMIT 1) AS note,
           EXISTS (SELECT 1 FROM event e WHERE e.study_id = r.study_id AND e.type IN ('report.received', 'report.opened')
              AND e.body ->> 'report' = v.report AND e.body ->> 'version' = v.version) AS told,
           EXISTS (SELECT 1 FROM event e WHERE e.study_id = r.study_id AND e.type IN ('report.received', 'report.opened')
              AND e.body ->> 'report' = v.report AND e.body ->> 'version' = v.version AND e.at = v.received_at) AS told_then,
           EXISTS (SELECT 1 FROM event e WHERE e.study_id = r.study_id AND e.type = 'report.opened'
              AND e.body ->> 'report' = v.report AND e.body ->> 'version' = v.version) AS opened
         FROM report_version v JOIN report r ON r.id = v.report",
    )
    .fetch_all(tx)
    .await
    .map_err(StoreError::database("read deliveries"))?;
    for row in &rows {
        let key: String = Columns::of(row, "report_version", "?").get("key")?;
        let c = Columns::of(row, "report_version", &key);
        let (received, opened) = (c.time_or_none("received_at")?, c.time_or_none("opened_at")?);
        let (by, delivery): (Option<String>, String) = (c.get("opened_by")?, c.get("delivery")?);
        let person = match c.get::<Option<Vec<u8>>>("note")? {
            Some(_) => note_person(store, c.hash("note")?).await,
            None => None,
        };
        let (told, told_then): (bool, bool) = (c.get("told")?, c.get("told_then")?);
        let word = match (opened, received) {
            (Some(_), _) => delivery == "opened",
            (None, Some(_)) => delivery == "received",
            (None, None) => delivery == "queued" || delivery == "sent",
        };
        let fields = [
            ("received_at", if received.is_some() { told_then } else { !told }),
            (
                "opened_at",
                opened.is_some() == c.get::<bool>("opened")? && opened.is_some() == person.is_some(),
            ),
            ("opened_by", by == person),
            ("delivery", word),
        ];
        if let Some((field, _)) = fields.into_iter().find(|(_, same)| !same) {
            report.fault(
                "report_version",
                key,
                format!("{field}: it is not what the clinic's receipt or note says"),
            );
        }
    }
    Ok(())
}

/// Who stands in the signed bytes of a note.
async fn note_person(store: &Store, hash: ObjectHash) -> Option<String> {
    let blobs = store.blobs().clone();
    let read = tokio::task::spawn_blocking(move || {
        blobs.check(&hash).ok()?;
        let file = blobs.open_blob(&hash).ok()?;
        serde_json::from_reader::<_, NoteBody>(file.take(MAX_LETTER_BYTES)).ok()
    });
    read.await.ok().flatten().map(|body| body.person)
}

/// The patient of a corrected study is the one that a named person wrote down last.
async fn corrections(tx: &mut sqlx::SqliteConnection, report: &mut Report) -> Result<(), StoreError> {
    let rows = sqlx::query(
        "SELECT p.*, c.after_json FROM person_correction c JOIN person p ON p.study_id = c.study_id
         WHERE c.id = (SELECT max(n.id) FROM person_correction n WHERE n.study_id = c.study_id)",
    )
    .fetch_all(tx)
    .await
    .map_err(StoreError::database("read identity corrections"))?;
    for row in &rows {
        let study = Columns::of(row, "person", "?").get::<i64>("study_id")?.to_string();
        let c = Columns::of(row, "person", &study);
        let (patient, written) = (crate::queue::patient_of(c)?, facts_of(&c.json("after_json")?));
        let fields = ["name", "sex", "birth_date", "local_id", "national_id"].into_iter();
        let pairs = identity_of(&patient).into_iter().zip(identity_of(&written));
        if let Some((field, _)) = fields.zip(pairs).find(|(_, (stored, written))| stored != written) {
            report.fault("person", study, format!("{field}: it is not what the last correction says"));
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

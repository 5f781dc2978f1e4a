//! Reads stored bytes back and proves their hashes, a few at a time, oldest proof first.

use crate::reports::{CountyTrust, Difference, PatientTold, Proofs, Stated, stated};
use crate::store::{Columns, NewEvent, Store, StoreError, event, one_row, signed};
use relay_core::clock::{DAY_MS, UtcMs};
use relay_core::durable::BlobError;
use relay_core::ids::{ObjectHash, Sha256};
use serde_json::json;

/// Bytes read in one round: a few seconds of a slow disk, so that reading and ingest are not disturbed.
const ROUND_BYTES: u64 = 256 * 1024 * 1024;
/// Studies whose signed versions are proved in one round at most: a few milliseconds each.
const ROUND_STUDIES: i64 = 50;
/// Objects proved in one round at most.
const ROUND_OBJECTS: i64 = 200;
/// Open studies whose patient is held against the files in one round: a county's worst backlog, a millisecond each.
const ROUND_PATIENTS: i64 = 1_000;
/// A proof is good for this long.
const PROOF_MS: i64 = 30 * DAY_MS;

/// What reading an object back has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// As recorded.
    Whole,
    /// The file is not there.
    Missing,
    /// The bytes are not those that were recorded.
    Corrupt(String),
    /// The disk would not say.
    Unreadable(String),
}

impl Finding {
    /// The word of `location.status`; `None` when nothing is known.
    #[must_use]
    pub const fn status(&self) -> Option<&'static str> {
        match self {
            Self::Whole => Some("ok"),
            Self::Missing => Some("missing"),
            Self::Corrupt(_) => Some("corrupt"),
            Self::Unreadable(_) => None,
        }
    }
}

/// An object as its location row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Address.
    pub hash: ObjectHash,
    /// SHA-256.
    pub sha256: Sha256,
    /// Bytes.
    pub length: u64,
}

/// Reads an object back. Blocks.
#[must_use]
pub fn prove(store: &Store, recorded: &Recorded) -> Finding {
    match store.blobs().verify(&recorded.hash) {
        Ok((sha256, length)) if sha256 == recorded.sha256 && length == recorded.length => Finding::Whole,
        Ok((sha256, length)) => Finding::Corrupt(format!("SHA-256 {sha256}, {length} bytes")),
        Err(BlobError::Absent(_)) => Finding::Missing,
        Err(BlobError::Digest { found, .. }) => Finding::Corrupt(format!("BLAKE3 {found}")),
        Err(error @ BlobError::Disk { .. }) => Finding::Unreadable(error.to_string()),
    }
}

/// Locations whose proof is older than `before`, oldest first.
///
/// # Errors
/// [`StoreError`].
pub async fn unproved(store: &Store, before: UtcMs, limit: i64) -> Result<Vec<Recorded>, StoreError> {
    let mut tx = store.read().await?;
    let rows = sqlx::query(
        "SELECT hash, sha256, length FROM location WHERE verified_at < $1 ORDER BY verified_at LIMIT $2",
    )
    .bind(before.0)
    .bind(limit)
    .fetch_all(&mut *tx)
    .await
    .map_err(StoreError::database("read locations"))?;
    let read = |row| {
        let c = Columns::of(row, "location", "?");
        let hash = c.hash("hash")?;
        let key = hash.to_hex();
        let c = Columns::of(row, "location", &key);
        Ok(Recorded { hash, sha256: c.sha256("sha256")?, length: c.unsigned("length")? })
    };
    let readable = rows.iter().filter_map(|row| match read(row) {
        Ok(recorded) => Some(recorded),
        Err::<_, StoreError>(error) => {
            super::failed("scrub", "a location", &error);
            None
        }
    });
    Ok(readable.collect())
}

/// The location row of a hash, when it is an object's.
///
/// # Errors
/// [`StoreError`].
pub async fn recorded(store: &Store, hash: &ObjectHash) -> Result<Option<Recorded>, StoreError> {
    let mut tx = store.read().await?;
    let row = sqlx::query("SELECT sha256, length FROM location WHERE hash = $1")
        .bind(&hash.0[..])
        .fetch_optional(&mut *tx)
        .await
        .map_err(StoreError::database("read a location"))?;
    row.map(|row| {
        let key = hash.to_hex();
        let c = Columns::of(&row, "location", &key);
        Ok(Recorded { hash: *hash, sha256: c.sha256("sha256")?, length: c.unsigned("length")? })
    })
    .transpose()
}

/// Records a finding; a loss is an event, and the next offer of the object asks the clinic for it again.
///
/// # Errors
/// [`StoreError`].
pub async fn record(store: &Store, hash: ObjectHash, finding: Finding, now: UtcMs) -> Result<(), StoreError> {
    let Some(status) = finding.status() else {
        tracing::warn!(object = %hash, ?finding, "an object cannot be read just now");
        return Ok(());
    };
    store
        .write(move |tx| {
            Box::pin(async move {
                let before: String = sqlx::query_scalar("SELECT status FROM location WHERE hash = $1")
                    .bind(&hash.0[..])
                    .fetch_one(&mut *tx)
                    .await
                    .map_err(StoreError::database("read a location"))?;
                let done = sqlx::query("UPDATE location SET status = $2, verified_at = $3 WHERE hash = $1")
                    .bind(&hash.0[..])
                    .bind(status)
                    .bind(now.0)
                    .execute(&mut *tx)
                    .await
                    .map_err(StoreError::database("record a proof"))?;
                one_row(&done, "location", hash)?;
                if status == "ok" || before == status {
                    return Ok(());
                }
                tracing::error!(object = %hash, ?finding, "a stored object is damaged");
                let lost = NewEvent {
                    at: now,
                    actor: "county",
                    kind: "store.damaged",
                    subject: hash.to_hex(),
                    clinic: None,
                    study_id: None,
                    work_item: None,
                    class: None,
                    body: json!({ "status": status }),
                };
                event::append(tx, lost).await.map(|_| ())
            })
        })
        .await
}

/// One round.
///
/// # Errors
/// [`StoreError`].
pub(super) async fn some(store: &Store, now: UtcMs) -> Result<(), StoreError> {
    let mut left = ROUND_BYTES;
    for recorded in unproved(store, now.plus_ms(-PROOF_MS), ROUND_OBJECTS).await? {
        if recorded.length > left && left < ROUND_BYTES {
            break;
        }
        left = left.saturating_sub(recorded.length);
        let (own, hash) = (store.clone(), recorded.hash);
        match tokio::task::spawn_blocking(move || prove(&own, &recorded)).await {
            Ok(finding) => {
                if let Err(error) = record(store, hash, finding, now).await {
                    super::failed("scrub", &hash.to_hex(), &error);
                }
            }
            Err(error) => tracing::error!(%error, "proving an object"),
        }
    }
    Ok(())
}

/// Holds signed versions against their packages, oldest proof first; a difference is an event. One row that cannot be read
/// keeps no other waiting.
///
/// # Errors
/// [`StoreError`].
pub async fn versions(
    store: &Store,
    proofs: &Proofs,
    trust: &CountyTrust,
    now: UtcMs,
) -> Result<(), StoreError> {
    let studies: Vec<i64> = sqlx::query_scalar(
        "SELECT r.study_id FROM report_version v JOIN report r ON r.id = v.report WHERE v.proved_at < $1
         GROUP BY r.study_id ORDER BY min(v.proved_at) LIMIT $2",
    )
    .bind(now.plus_ms(-PROOF_MS).0)
    .bind(ROUND_STUDIES)
    .fetch_all(&mut *store.read().await?)
    .await
    .map_err(StoreError::database("look for versions to prove"))?;
    for study in studies {
        if let Err(error) = versions_of(store, proofs, trust, study, now).await {
            super::failed("scrub", &format!("versions of study {study}"), &error);
        }
    }
    Ok(())
}

/// The field in which the patient of a study differs from what its files say, or from what a person last corrected.
///
/// # Errors
/// [`StoreError`].
pub async fn patient(store: &Store, study: i64) -> Result<Option<&'static str>, StoreError> {
    let told = PatientTold::load(&mut *store.read().await?, study).await?;
    let blobs = store.blobs().clone();
    tokio::task::spawn_blocking(move || told.difference(&blobs))
        .await
        .map_err(|_| StoreError::Writer("did not finish holding a patient against the files"))
}

/// Holds the patients of what waits for a signature against their files, the newest first: a difference is told before somebody
/// signs. Signed ones are held against their packages.
///
/// # Errors
/// [`StoreError`].
pub async fn patients(store: &Store) -> Result<(), StoreError> {
    let studies: Vec<i64> = sqlx::query_scalar(
        "SELECT study_id FROM work_item WHERE state IN ('waiting', 'claimed', 'drafted') ORDER BY id DESC LIMIT $1",
    )
    .bind(ROUND_PATIENTS)
    .fetch_all(&mut *store.read().await?)
    .await
    .map_err(StoreError::database("look for patients to prove"))?;
    let mut differing = 0_u32;
    for study in studies {
        match patient(store, study).await {
            Ok(None) => {}
            Ok(Some(field)) => {
                differing += 1;
                tracing::error!(study, field, "the patient of a study is not the one of its files");
            }
            Err(error) => super::failed("patients", &format!("study {study}"), &error),
        }
    }
    metrics::gauge!("relay_patients_damaged").set(f64::from(differing));
    Ok(())
}

async fn versions_of(
    store: &Store,
    proofs: &Proofs,
    trust: &CountyTrust,
    study: i64,
    now: UtcMs,
) -> Result<(), StoreError> {
    let read = stated(&mut *store.read().await?, study).await;
    let (found, unreadable) = match read {
        Ok(stated) => {
            let proved = proofs.of(store, trust, stated.clone(), now).await.map_err(StoreError::Refused)?;
            (stated.into_iter().zip(proved.into_iter().map(|p| p.difference)).collect(), None)
        }
        // Told, and passed over until the next turn.
        Err(error @ StoreError::Corrupt { .. }) => (Vec::new(), Some(error)),
        Err(error) => return Err(error),
    };
    store
        .write(move |tx| {
            Box::pin(async move {
                for (one, difference) in found {
                    record_version(tx, &one, difference, now).await?;
                }
                sqlx::query(
                    "UPDATE report_version SET proved_at = $2 WHERE report IN (SELECT id FROM report WHERE study_id = $1)",
                )
                .bind(study)
                .bind(now.0)
                .execute(tx)
                .await
                .map(|_| ())
                .map_err(StoreError::database("record a proof"))
            })
        })
        .await?;
    unreadable.map_or(Ok(()), Err)
}

async fn record_version(
    tx: &mut sqlx::SqliteConnection,
    one: &Stated,
    difference: Option<Difference>,
    now: UtcMs,
) -> Result<(), StoreError> {
    let damage = difference.as_ref().map(|d| format!("{}.{}", d.table, d.field));
    let done = sqlx::query(
        "UPDATE report_version SET damage = $3 WHERE report = $1 AND version = $2 AND damage IS NOT $3",
    )
    .bind(one.report())
    .bind(signed(one.version())?)
    .bind(&damage)
    .execute(&mut *tx)
    .await
    .map_err(StoreError::database("record a difference"))?;
    let Some(difference) = difference.filter(|_| done.rows_affected() > 0) else { return Ok(()) };
    tracing::error!(report = one.key(), %difference, "a signed version is not what its rows say");
    let found = NewEvent {
        at: now,
        actor: "county",
        kind: "report.damaged",
        subject: one.key(),
        clinic: Some(one.clinic()),
        study_id: Some(one.study()),
        work_item: None,
        class: None,
        body: json!({ "table": difference.table, "row": difference.row, "field": difference.field }),
    };
    event::append(tx, found).await.map(|_| ())
}

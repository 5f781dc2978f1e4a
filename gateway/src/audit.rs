//! Who did or tried what: append-only, each row chained to the one before it by BLAKE3, so that a change, a removal or an
//! insertion anywhere is found. The head is written to the log every hour and when the gateway ends: a head kept elsewhere
//! proves the tail, which no chain can prove by itself.

use crate::store::{Columns, Store, StoreError};
use relay_core::clock::UtcMs;
use relay_core::ids::ObjectHash;
use sqlx::{Row as _, SqliteConnection};

/// Rows read at a time while verifying.
const VERIFY_PAGE: i64 = 1_000;
/// Characters of one field: an action or a subject is an id, not a text.
const MAX_FIELD_CHARS: usize = 256;
/// The hash before the first row.
const GENESIS: ObjectHash = ObjectHash([0; 32]);

/// One entry. No personal data: ids only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: UtcMs,
    /// Person id, clinic id, `county`, `operator` or `-` (nobody known).
    pub who: String,
    /// What, such as `login`, `study.view`, `report.sign`, `GET /api/v1/worklist`.
    pub action: String,
    /// On what.
    pub subject: String,
    /// Whether it was allowed.
    pub allowed: bool,
    /// More, as short words.
    pub detail: String,
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_FIELD_CHARS).collect()
}

/// Hash of a row: over the previous hash and every field with its length, so that nothing can slide between fields.
fn chained(previous: &ObjectHash, seq: i64, entry: &Entry) -> ObjectHash {
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(b"relay audit v1\0")
        .update(&previous.0)
        .update(&seq.to_be_bytes())
        .update(&entry.at.0.to_be_bytes());
    for field in [&entry.who, &entry.action, &entry.subject, &entry.detail] {
        hasher.update(&(field.len() as u64).to_be_bytes()).update(field.as_bytes());
    }
    hasher.update(&[u8::from(entry.allowed)]);
    ObjectHash(*hasher.finalize().as_bytes())
}

/// Appends an entry inside the caller's transaction.
///
/// # Errors
/// [`StoreError`].
pub async fn append(tx: &mut SqliteConnection, entry: &Entry) -> Result<(), StoreError> {
    let entry = Entry {
        who: cut(&entry.who),
        action: cut(&entry.action),
        subject: cut(&entry.subject),
        detail: cut(&entry.detail),
        ..entry.clone()
    };
    let (last, previous) = head(tx).await?;
    let seq = last + 1;
    let hash = chained(&previous, seq, &entry);
    sqlx::query(
        "INSERT INTO audit (seq, at, who, action, subject, allowed, detail, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(seq)
    .bind(entry.at.0)
    .bind(&entry.who)
    .bind(&entry.action)
    .bind(&entry.subject)
    .bind(entry.allowed)
    .bind(&entry.detail)
    .bind(&hash.0[..])
    .execute(tx)
    .await
    .map(|_| ())
    .map_err(StoreError::database("append to the audit log"))
}

/// Appends an entry in a transaction of its own.
///
/// # Errors
/// [`StoreError`].
pub async fn record(store: &Store, entry: Entry) -> Result<(), StoreError> {
    store.write(move |tx| Box::pin(async move { append(tx, &entry).await })).await
}

/// Sequence number and hash of the newest row.
///
/// # Errors
/// [`StoreError`].
pub async fn head(tx: &mut SqliteConnection) -> Result<(i64, ObjectHash), StoreError> {
    let row = sqlx::query("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")
        .fetch_optional(tx)
        .await
        .map_err(StoreError::database("read the head of the audit log"))?;
    let Some(row) = row else { return Ok((0, GENESIS)) };
    let c = Columns::of(&row, "audit", "newest");
    Ok((c.get("seq")?, c.hash("hash")?))
}

/// Writes the head to the log, where it leaves the machine with the rest of it.
///
/// # Errors
/// [`StoreError`].
pub async fn tell_head(store: &Store) -> Result<(), StoreError> {
    let (entries, head) = head(&mut *store.read().await?).await?;
    tracing::info!(entries, %head, "head of the audit log");
    Ok(())
}

/// What verification found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Verified {
    /// Rows whose chain holds, from the first.
    pub entries: i64,
    /// Hash of the last of them.
    pub head: ObjectHash,
    /// First row that does not fit, and why.
    pub broken: Option<Broken>,
}

/// Where the chain breaks.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Broken {
    /// Sequence number of the row.
    pub seq: i64,
    /// Why.
    pub reason: String,
}

/// Walks the chain from its beginning.
///
/// # Errors
/// [`StoreError`] when the table cannot be read; a broken chain is not an error but the answer.
pub async fn verify(tx: &mut SqliteConnection) -> Result<Verified, StoreError> {
    let mut found = Verified { entries: 0, head: GENESIS, broken: None };
    loop {
        let rows = sqlx::query(
            "SELECT seq, at, who, action, subject, allowed, detail, hash FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2",
        )
        .bind(found.entries)
        .bind(VERIFY_PAGE)
        .fetch_all(&mut *tx)
        .await
        .map_err(StoreError::database("read the audit log"))?;
        if rows.is_empty() {
            return Ok(found);
        }
        for row in &rows {
            let seq: i64 = row.try_get("seq").map_err(StoreError::database("read the audit log"))?;
            match check(row, seq, &found) {
                Ok(hash) => (found.entries, found.head) = (seq, hash),
                Err(reason) => {
                    found.broken = Some(Broken { seq, reason });
                    return Ok(found);
                }
            }
        }
    }
}

fn check(row: &sqlx::sqlite::SqliteRow, seq: i64, before: &Verified) -> Result<ObjectHash, String> {
    if seq != before.entries + 1 {
        return Err(format!("row {} is missing", before.entries + 1));
    }
    let key = seq.to_string();
    let c = Columns::of(row, "audit", &key);
    let read = || {
        let entry = Entry {
            at: c.time("at")?,
            who: c.get("who")?,
            action: c.get("action")?,
            subject: c.get("subject")?,
            allowed: c.get("allowed")?,
            detail: c.get("detail")?,
        };
        Ok::<_, StoreError>((entry, c.hash("hash")?))
    };
    let (entry, hash) = read().map_err(|e| e.to_string())?;
    if chained(&before.head, seq, &entry) == hash {
        Ok(hash)
    } else {
        Err("its hash is not that of its content and its predecessor".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_core::durable::RealDisk;
    use std::sync::Arc;

    fn entry(action: &str) -> Entry {
        Entry {
            at: UtcMs(1),
            who: "d1".into(),
            action: action.into(),
            subject: "1".into(),
            allowed: true,
            detail: String::new(),
        }
    }

    async fn with_entries(count: usize) -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Arc::new(RealDisk)).await.unwrap();
        for n in 0..count {
            record(&store, entry(&format!("a{n}"))).await.unwrap();
        }
        (dir, store)
    }

    async fn tampered(sql: &'static str) -> Verified {
        let (dir, store) = with_entries(5).await;
        store.close().await;
        let tool = std::process::Command::new("sqlite3")
            .arg(dir.path().join(crate::store::DATABASE_FILE))
            .arg(format!(
                "DROP TRIGGER audit_is_append_only_update; DROP TRIGGER audit_is_append_only_delete; {sql}"
            ))
            .status()
            .unwrap();
        assert!(tool.success());
        let store = Store::open(dir.path(), Arc::new(RealDisk)).await.unwrap();
        let mut tx = store.read().await.unwrap();
        verify(&mut tx).await.unwrap()
    }

    #[tokio::test]
    async fn an_honest_chain_verifies_to_its_head() {
        let (_dir, store) = with_entries(3).await;
        let mut tx = store.read().await.unwrap();
        let found = verify(&mut tx).await.unwrap();
        assert_eq!((found.entries, found.broken), (3, None));
        assert_eq!(head(&mut tx).await.unwrap(), (3, found.head));
    }

    #[tokio::test]
    async fn a_changed_field_a_missing_row_and_a_swapped_field_are_found() {
        let changed = tampered("UPDATE audit SET allowed = 0 WHERE seq = 3").await;
        assert_eq!((changed.entries, changed.broken.unwrap().seq), (2, 3));
        let missing = tampered("DELETE FROM audit WHERE seq = 2").await;
        assert_eq!(missing.broken.unwrap(), Broken { seq: 3, reason: "row 2 is missing".into() });
        let slid = tampered("UPDATE audit SET who = 'd', action = '1a3' WHERE seq = 4").await;
        assert_eq!(slid.broken.unwrap().seq, 4);
    }
}

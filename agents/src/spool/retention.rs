//! Room: coded forms go when they are receipted; old delivered studies go by policy; nothing else ever.

use super::error::db;
use super::{Spool, SpoolError, blocking};
use relay_core::clock::DAY_MS;
use relay_core::ids::ObjectHash;
use sqlx::Row as _;

/// Blobs dropped in one round, so that a round is short.
const ROUND: i64 = 256;

impl Spool {
    /// Drops the coded copies of objects that the county holds. Idempotent; gives how many.
    ///
    /// # Errors
    /// [`SpoolError`]; what was dropped stays dropped.
    pub async fn drop_delivered_coded_forms(&self) -> Result<usize, SpoolError> {
        let rows = sqlx::query(
            "SELECT o.hash, o.coded_hash FROM object o JOIN study s ON s.uid = o.study
             WHERE o.coded_kept = 1 AND o.receipted_at IS NOT NULL AND s.safe_at IS NOT NULL LIMIT ?",
        )
        .bind(ROUND)
        .fetch_all(&self.0.reader)
        .await
        .map_err(db("list delivered objects"))?;
        let dropped = rows.len();
        for row in rows {
            let (hash, coded): (Vec<u8>, Vec<u8>) = (row.get("hash"), row.get("coded_hash"));
            // The row first: a copy without row is made again when it is wanted; a row without copy too.
            sqlx::query("UPDATE object SET coded_kept = 0 WHERE hash = ? AND receipted_at IS NOT NULL")
                .bind(hash)
                .execute(&self.0.writer)
                .await
                .map_err(db("drop a coded form"))?;
            self.remove_blob(&coded).await?;
        }
        Ok(dropped)
    }

    /// Removes the bytes of studies that have been safe at the county for more than `keep_days`; the rows stay.
    /// Zero keeps everything. Idempotent; gives how many objects.
    ///
    /// # Errors
    /// [`SpoolError`]; what was removed stays removed.
    pub async fn evict_delivered(&self, keep_days: u32) -> Result<usize, SpoolError> {
        if keep_days == 0 {
            return Ok(0);
        }
        let before = self.now().plus_ms(-i64::from(keep_days) * DAY_MS);
        let rows = sqlx::query(
            "SELECT o.hash FROM object o JOIN study s ON s.uid = o.study
             WHERE s.safe_at < ? AND o.receipted_at IS NOT NULL AND o.evicted_at IS NULL ORDER BY s.safe_at LIMIT ?",
        )
        .bind(before.0)
        .bind(ROUND)
        .fetch_all(&self.0.reader)
        .await
        .map_err(db("list old studies"))?;
        let evicted = rows.len();
        for row in rows {
            let hash: Vec<u8> = row.get("hash");
            // The row first: bytes that outlive it waste room, a row that outlives them would be a lie.
            sqlx::query("UPDATE object SET evicted_at = ? WHERE hash = ? AND receipted_at IS NOT NULL")
                .bind(self.now().0)
                .bind(&hash)
                .execute(&self.0.writer)
                .await
                .map_err(db("evict an object"))?;
            self.remove_blob(&hash).await?;
        }
        if evicted > 0 {
            tracing::info!(evicted, keep_days, "delivered objects left the clinic's archive by policy");
        }
        Ok(evicted)
    }

    async fn remove_blob(&self, hash: &[u8]) -> Result<(), SpoolError> {
        if let Some(hash) = ObjectHash::from_slice(hash) {
            let blobs = self.0.blobs.clone();
            blocking(move || blobs.remove(&hash)).await??;
        }
        Ok(())
    }
}

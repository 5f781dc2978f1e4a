//! Room is made by policy: coded forms go when they are receipted, delivered studies and refused objects after so many
//! days where the site says so, progress words when newer ones have come. What waits for its receipt is never touched.

use super::error::db;
use super::{Spool, SpoolError, blocking};
use relay_core::clock::DAY_MS;
use relay_core::ids::ObjectHash;
use relay_core::letter::LetterKind;
use sqlx::Row as _;

/// Blobs dropped in one round, so that a round is short.
const ROUND: i64 = 256;
/// Days that a progress word is remembered after a newer one has come: as long as the county may still ask for it.
const STATUS_DAYS: i64 = 7;
/// Days that a mark waits for its study.
const MARK_DAYS: i64 = 90;

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
        self.evict(
            keep_days,
            "SELECT o.hash, o.coded_hash FROM object o JOIN study s ON s.uid = o.study
             WHERE s.safe_at < ?1 AND o.receipted_at IS NOT NULL AND o.evicted_at IS NULL
               AND s.confirmed_in IS (SELECT home FROM county) ORDER BY s.safe_at LIMIT ?2",
            "UPDATE object SET evicted_at = ?1, coded_kept = 0 WHERE hash = ?2 AND receipted_at IS NOT NULL",
            "delivered objects left the clinic's archive by policy",
        )
        .await
    }

    /// Removes the bytes of objects that the county has refused for good, `keep_days` after they came; the rows with the
    /// reason stay. Zero keeps everything. Idempotent; gives how many objects.
    ///
    /// # Errors
    /// [`SpoolError`]; what was removed stays removed.
    pub async fn evict_refused(&self, keep_days: u32) -> Result<usize, SpoolError> {
        self.evict(
            keep_days,
            "SELECT hash, coded_hash FROM object WHERE refused_code IS NOT NULL AND receipted_at IS NULL
                AND evicted_at IS NULL AND stored_at < ?1 ORDER BY stored_at LIMIT ?2",
            "UPDATE object SET evicted_at = ?1, coded_kept = 0 WHERE hash = ?2 AND refused_code IS NOT NULL
                AND receipted_at IS NULL",
            "objects refused by the county left the clinic's disk by policy",
        )
        .await
    }

    async fn evict(
        &self,
        keep_days: u32,
        list: &'static str,
        mark: &'static str,
        words: &'static str,
    ) -> Result<usize, SpoolError> {
        if keep_days == 0 {
            return Ok(0);
        }
        let before = self.now().plus_ms(-i64::from(keep_days) * DAY_MS);
        let rows = sqlx::query(list)
            .bind(before.0)
            .bind(ROUND)
            .fetch_all(&self.0.reader)
            .await
            .map_err(db("list old objects"))?;
        let mut evicted = 0;
        for row in rows {
            let (hash, coded): (Vec<u8>, Vec<u8>) = (row.get("hash"), row.get("coded_hash"));
            // The row first: bytes that outlive it waste room, a row that outlives them would be a lie.
            let marked = sqlx::query(mark)
                .bind(self.now().0)
                .bind(&hash)
                .execute(&self.0.writer)
                .await
                .map_err(db("evict an object"))?;
            if marked.rows_affected() == 0 {
                continue;
            }
            evicted += 1;
            self.remove_blob(&hash).await?;
            if coded != hash {
                self.remove_blob(&coded).await?;
            }
        }
        if evicted > 0 {
            tracing::info!(evicted, keep_days, words);
        }
        Ok(evicted)
    }

    /// Forgets progress words that newer ones have replaced, and marks whose study never came. Idempotent.
    ///
    /// # Errors
    /// [`SpoolError`] of the database.
    pub async fn forget_old_words(&self) -> Result<u64, SpoolError> {
        let now = self.now();
        let letters = sqlx::query(
            "DELETE FROM letter WHERE id IN (SELECT l.id FROM letter l WHERE l.kind = ?1 AND l.stored_at < ?2
                AND EXISTS (SELECT 1 FROM letter n WHERE n.study = l.study AND n.kind = ?1
                    AND n.written_at > l.written_at) LIMIT ?3)",
        )
        .bind(LetterKind::StudyStatus.number())
        .bind(now.plus_ms(-STATUS_DAYS * DAY_MS).0)
        .bind(ROUND)
        .execute(&self.0.writer)
        .await
        .map_err(db("forget old progress words"))?;
        let marks = sqlx::query("DELETE FROM mark_ahead WHERE at < ?")
            .bind(now.plus_ms(-MARK_DAYS * DAY_MS).0)
            .execute(&self.0.writer)
            .await
            .map_err(db("forget marks without a study"))?;
        Ok(letters.rows_affected() + marks.rows_affected())
    }

    /// Whether the county has held these bytes for longer than `keep_days`: then another copy of them may go.
    ///
    /// # Errors
    /// [`SpoolError`] of the database.
    pub async fn delivered_for(&self, hash: &ObjectHash, keep_days: u32) -> Result<bool, SpoolError> {
        let before = self.now().plus_ms(-i64::from(keep_days) * DAY_MS);
        let there: i64 = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM object o JOIN study s ON s.uid = o.study
                WHERE o.hash = ? AND o.receipted_at < ? AND s.safe_at IS NOT NULL)",
        )
        .bind(hash.0.as_slice())
        .bind(before.0)
        .fetch_one(&self.0.reader)
        .await
        .map_err(db("look a delivered object up"))?;
        Ok(there != 0)
    }

    async fn remove_blob(&self, hash: &[u8]) -> Result<(), SpoolError> {
        if let Some(hash) = ObjectHash::from_slice(hash) {
            let blobs = self.0.blobs.clone();
            blocking(move || blobs.remove(&hash)).await??;
        }
        Ok(())
    }
}

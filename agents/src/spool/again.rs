//! Which store of the county answers, and what it must confirm anew.
//!
//! A receipt is the word of one store. A county that was restored from a backup, lost objects, or is a standby with a store
//! of its own has not got what another store receipted: until it has said so itself, nothing counts as safe by the other's
//! word, and nothing leaves the clinic's archive. Offering again is cheap: it answers *stored* for what it has.

use super::error::db;
use super::{Spool, SpoolError};
use crate::courier::ports::Answering;
use relay_core::clock::DAY_MS;
use relay_core::codes::Code;
use relay_core::ids::{ObjectHash, StudyUid};
use relay_core::link::frame::FilmSpeeds;
use sqlx::sqlite::SqliteRow;

/// Studies that only another store has confirmed, offered at once beside what is new: enough to keep the line busy, few
/// enough that they do not stand before new ones of their class.
const AGAIN_AT_ONCE: usize = 16;
/// A standby is offered what has no report yet and is not older than this: the rest is the first gateway's archive.
const STANDBY_MS: i64 = 7 * DAY_MS;

/// Confirmed by another store than the one that answers, and still held here. Newest first: they are the ones a backup
/// lacks.
const UNCONFIRMED: &str = "SELECT s.*, p.context FROM study s JOIN person p ON p.study = s.uid JOIN county c
    WHERE s.safe_at IS NOT NULL AND s.confirmed_in IS NOT c.store AND s.refused_generation < s.generation
      AND EXISTS (SELECT 1 FROM object o WHERE o.study = s.uid AND o.refused_code IS NULL AND o.evicted_at IS NULL)
      AND (c.first = 1 OR s.safe_at >= ?1 AND NOT EXISTS (SELECT 1 FROM report r WHERE r.study = s.uid))
    ORDER BY s.first_object_at DESC, s.uid LIMIT ?2";

/// A county as its row has it: store, whether it is the first gateway's, whether it restores films, how fast by either coder.
type County = (String, bool, bool, Option<i64>, Option<i64>);

impl Spool {
    pub(super) async fn record_greeting(&self, county: &Answering) -> Result<(), SpoolError> {
        let known: Option<County> =
            sqlx::query_as("SELECT store, first, takes_film, film_quick, film_strong FROM county")
                .fetch_optional(&self.0.reader)
                .await
                .map_err(db("read which county store answered"))?;
        let speed = |of: fn(FilmSpeeds) -> u64| {
            county.film_speeds.map(|speeds| i64::try_from(of(speeds)).unwrap_or(i64::MAX))
        };
        let Answering { store, first, takes_film, .. } = county;
        let now: County = (store.clone(), *first, *takes_film, speed(|s| s.quick), speed(|s| s.strong));
        self.0.way.answered(county);
        if known.as_ref() == Some(&now) {
            return Ok(());
        }
        sqlx::query(
            "INSERT INTO county (id, store, home, first, takes_film, film_quick, film_strong, since)
             VALUES (1, ?1, CASE WHEN ?2 THEN ?1 END, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (id) DO UPDATE SET store = ?1, home = CASE WHEN ?2 THEN ?1 ELSE home END, first = ?2,
                 takes_film = ?3, film_quick = ?4, film_strong = ?5, since = ?6",
        )
        .bind(store)
        .bind(first)
        .bind(takes_film)
        .bind(now.3)
        .bind(now.4)
        .bind(self.now().0)
        .execute(&self.0.writer)
        .await
        .map_err(db("record which county store answers"))?;
        if known.is_some_and(|before| before.0 != *store) {
            tracing::warn!(
                store,
                first,
                "another store of the county answers: what is held here is offered to it again"
            );
        }
        self.touch();
        Ok(())
    }

    /// Studies to be confirmed anew, at most `room`.
    pub(super) async fn unconfirmed(&self, room: usize) -> Result<Vec<SqliteRow>, SpoolError> {
        sqlx::query(UNCONFIRMED)
            .bind(self.now().plus_ms(-STANDBY_MS).0)
            .bind(i64::try_from(room.min(AGAIN_AT_ONCE)).unwrap_or(0))
            .fetch_all(&self.0.reader)
            .await
            .map_err(db("list what another store has confirmed"))
    }

    pub(super) async fn record_missing(
        &self,
        study: &StudyUid,
        objects: &[ObjectHash],
    ) -> Result<(), SpoolError> {
        let mut tx = self.0.writer.begin_with("BEGIN IMMEDIATE").await.map_err(db("begin"))?;
        let (mut lost, mut gone) = (0, 0);
        for hash in objects {
            lost += unreceipt(&mut tx, study, hash).await?;
            // Nobody has it any more. The study goes on without it, and says so.
            gone += sqlx::query(
                "UPDATE object SET receipted_at = NULL, receipted_in = NULL, refused_code = ?, refused_field = 'archive',
                     refused_reason = 'the county lacks it and the clinic no longer holds its bytes'
                 WHERE hash = ? AND study = ? AND evicted_at IS NOT NULL AND refused_code IS NULL",
            )
            .bind(Code::NotFound.number())
            .bind(hash.0.as_slice())
            .bind(study.as_str())
            .execute(&mut *tx)
            .await
            .map_err(db("record that an object is lost"))?
            .rows_affected();
        }
        if lost + gone == 0 {
            return Ok(());
        }
        tracing::warn!(%study, lost, gone, "the county lacks objects that it had receipted");
        sqlx::query(
            "UPDATE study SET safe_at = NULL, confirmed_in = NULL, generation = generation + ? WHERE uid = ?",
        )
        .bind(i64::from(gone > 0))
        .bind(study.as_str())
        .execute(&mut *tx)
        .await
        .map_err(db("record that a study is not safe"))?;
        tx.commit().await.map_err(db("commit"))?;
        self.count_unreceipted().await?;
        self.touch();
        Ok(())
    }

    pub(super) async fn record_wanted(
        &self,
        study: &StudyUid,
        objects: &[ObjectHash],
    ) -> Result<Vec<ObjectHash>, SpoolError> {
        let mut absent = Vec::new();
        let mut tx = self.0.writer.begin_with("BEGIN IMMEDIATE").await.map_err(db("begin"))?;
        for hash in objects {
            let held: Option<i64> = sqlx::query_scalar(
                "SELECT 1 FROM object WHERE hash = ? AND study = ? AND evicted_at IS NULL",
            )
            .bind(hash.0.as_slice())
            .bind(study.as_str())
            .fetch_optional(&mut *tx)
            .await
            .map_err(db("look an object up"))?;
            if held.is_none() {
                absent.push(*hash);
            } else {
                unreceipt(&mut tx, study, hash).await?;
            }
        }
        if absent.len() < objects.len() {
            sqlx::query("UPDATE study SET safe_at = NULL, confirmed_in = NULL WHERE uid = ?")
                .bind(study.as_str())
                .execute(&mut *tx)
                .await
                .map_err(db("record that a study is not safe"))?;
        }
        tx.commit().await.map_err(db("commit"))?;
        self.count_unreceipted().await?;
        self.touch();
        Ok(absent)
    }
}

/// Takes back the receipt of an object that is held here; gives how many rows that changed.
async fn unreceipt(
    tx: &mut sqlx::SqliteConnection,
    study: &StudyUid,
    hash: &ObjectHash,
) -> Result<u64, SpoolError> {
    sqlx::query(
        "UPDATE object SET receipted_at = NULL, receipted_in = NULL
         WHERE hash = ? AND study = ? AND evicted_at IS NULL AND receipted_at IS NOT NULL",
    )
    .bind(hash.0.as_slice())
    .bind(study.as_str())
    .execute(tx)
    .await
    .map(|done| done.rows_affected())
    .map_err(db("take a receipt back"))
}

#[cfg(test)]
mod tests;

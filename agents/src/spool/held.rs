//! What the clinic says it holds, it must hold: bytes that are lost or damaged on this disk are found, said, and taken again
//! when they come once more.

use super::cells::Cells;
use super::error::db;
use super::{Received, Spool, SpoolError, blocking, view};
use relay_core::codes::Code;
use relay_core::durable::BlobError;
use relay_core::ids::{ObjectHash, StudyUid};
use sqlx::Row as _;
use std::sync::PoisonError;

/// Objects looked at in one round: a spool of 10,000 waiting objects is through in twenty minutes, and a loss is mostly
/// met earlier, when the object is to be sent.
const ROUND: i64 = 256;
/// Studies with lost objects in one list: more are one broken disk.
const MAX_LOST: i64 = 20;

/// A study with objects that neither this disk nor the county holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostObjects {
    /// The study.
    pub study: StudyUid,
    /// Who was examined.
    pub patient_name: Option<String>,
    /// How many.
    pub objects: u64,
}

/// An object whose bytes have come again.
struct Known {
    receipted: bool,
    evicted: bool,
    unreadable: bool,
    refused: Option<i64>,
    coded: ObjectHash,
}

impl Spool {
    /// The bytes of a known object have come once more: when they are not here any more, or not as they were, they are
    /// made durable before anybody is told that they are here. What left by policy after its receipt stays away.
    pub(super) async fn hold_again(&self, study: &StudyUid, received: Received) -> Result<(), SpoolError> {
        let hash = received.hash;
        let Some(known) = self.known(&hash).await? else { return Ok(()) };
        if known.evicted && known.receipted {
            return Ok(());
        }
        if !known.evicted && self.is_whole(&hash).await? {
            return if known.unreadable { self.set_unreadable(&hash, false).await } else { Ok(()) };
        }
        tracing::warn!(%study, object = %hash, "bytes that were lost here have come again");
        let blobs = self.0.blobs.clone();
        let room = blocking(move || received.commit(&blobs)).await??;
        if known.coded != hash && !self.is_whole(&known.coded).await? {
            // It is made again when it is wanted.
            let (blobs, coded) = (self.0.blobs.clone(), known.coded);
            blocking(move || blobs.remove(&coded)).await??;
        }
        // Refused because the bytes were gone or damaged: they are not any more.
        let ours =
            [Code::NotFound, Code::RefusedDigest, Code::RefusedEncoding].map(|c| i64::from(c.number()));
        let forgiven = known.refused.is_some_and(|code| ours.contains(&code));
        let mut tx = self.begin().await?;
        sqlx::query(
            "UPDATE object SET unreadable_at = NULL, evicted_at = NULL, digest_refusals = 0,
                refused_code = CASE WHEN ?1 THEN NULL ELSE refused_code END,
                refused_field = CASE WHEN ?1 THEN NULL ELSE refused_field END,
                refused_reason = CASE WHEN ?1 THEN NULL ELSE refused_reason END WHERE hash = ?2",
        )
        .bind(forgiven)
        .bind(hash.0.as_slice())
        .execute(&mut *tx)
        .await
        .map_err(db("record bytes that have come again"))?;
        // A newer manifest, so that the county asks for them at once.
        sqlx::query("UPDATE study SET generation = generation + 1, safe_at = NULL WHERE uid = ?")
            .bind(study.as_str())
            .execute(&mut *tx)
            .await
            .map_err(db("record bytes that have come again"))?;
        self.commit(tx).await?;
        self.count_unreceipted().await?;
        drop(room);
        Ok(())
    }

    async fn known(&self, hash: &ObjectHash) -> Result<Option<Known>, SpoolError> {
        let row = sqlx::query(
            "SELECT study, receipted_at, evicted_at, unreadable_at, refused_code, coded_hash FROM object WHERE hash = ?",
        )
        .bind(hash.0.as_slice())
        .fetch_optional(&self.0.reader)
        .await
        .map_err(db("look an object up"))?;
        row.map(|row| {
            let cells = Cells::of(&row, "object", "study");
            Ok(Known {
                receipted: cells.maybe_time("receipted_at")?.is_some(),
                evicted: cells.maybe_time("evicted_at")?.is_some(),
                unreadable: cells.maybe_time("unreadable_at")?.is_some(),
                refused: cells.get("refused_code")?,
                coded: cells.hash("coded_hash")?,
            })
        })
        .transpose()
    }

    /// Whether a blob is there and has its hash, read to its end.
    async fn is_whole(&self, hash: &ObjectHash) -> Result<bool, SpoolError> {
        let (blobs, hash) = (self.0.blobs.clone(), *hash);
        Ok(blocking(move || blobs.verify(&hash)).await?.is_ok())
    }

    /// Records that an object without receipt cannot be read, or can be again; people are shown it.
    pub(super) async fn set_unreadable(&self, hash: &ObjectHash, unreadable: bool) -> Result<(), SpoolError> {
        let changed = sqlx::query(
            "UPDATE object SET unreadable_at = CASE WHEN ?1 THEN ?2 END
             WHERE hash = ?3 AND receipted_at IS NULL AND (unreadable_at IS NULL) = ?1",
        )
        .bind(unreadable)
        .bind(self.now().0)
        .bind(hash.0.as_slice())
        .execute(&self.0.writer)
        .await
        .map_err(db("record that an object cannot be read"))?;
        if changed.rows_affected() > 0 {
            if unreadable {
                tracing::error!(object = %hash, "the bytes of an object that waits are lost or damaged on this disk");
            }
            self.touch();
        }
        Ok(())
    }

    /// Looks whether the bytes of what waits are there, some objects a round; a loss is not to be found only when the line
    /// comes back. Gives how many are not.
    ///
    /// # Errors
    /// [`SpoolError`] of the database.
    pub async fn check_held(&self) -> Result<usize, SpoolError> {
        let from =
            self.0.checked_to.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
        let rows = sqlx::query(
            "SELECT hash, length, unreadable_at FROM object WHERE hash > ? AND receipted_at IS NULL
                AND refused_code IS NULL AND evicted_at IS NULL ORDER BY hash LIMIT ?",
        )
        .bind(from)
        .bind(ROUND)
        .fetch_all(&self.0.reader)
        .await
        .map_err(db("list what waits"))?;
        let full = i64::try_from(rows.len()).is_ok_and(|n| n >= ROUND);
        let last: Option<Vec<u8>> = rows.last().filter(|_| full).map(|row| row.get("hash"));
        let held: Vec<(ObjectHash, i64, bool)> = rows
            .iter()
            .filter_map(|row| {
                let hash = ObjectHash::from_slice(row.get::<Vec<u8>, _>("hash").as_slice())?;
                Some((hash, row.get("length"), row.get::<Option<i64>, _>("unreadable_at").is_some()))
            })
            .collect();
        let blobs = self.0.blobs.clone();
        let looked = blocking(move || {
            held.into_iter()
                .map(|(hash, length, unreadable)| {
                    let there = std::fs::metadata(blobs.path_of(&hash)).map(|m| m.len()).ok();
                    let there = there.is_some_and(|found| i64::try_from(found) == Ok(length));
                    // What was bad once must prove itself.
                    (hash, unreadable, there && (!unreadable || blobs.verify(&hash).is_ok()))
                })
                .collect::<Vec<_>>()
        });
        let mut lost = 0;
        for (hash, unreadable, good) in looked.await? {
            lost += usize::from(!good);
            if unreadable == good {
                self.set_unreadable(&hash, !good).await?;
            }
        }
        *self.0.checked_to.lock().unwrap_or_else(PoisonError::into_inner) = last;
        Ok(lost)
    }

    /// Studies with objects that neither this disk nor the county holds, at most 20.
    ///
    /// # Errors
    /// [`SpoolError`] of the database.
    pub async fn lost_objects(&self) -> Result<Vec<LostObjects>, SpoolError> {
        let rows = sqlx::query(
            "SELECT s.uid, p.name AS file_name, p.context, COUNT(*) AS objects FROM object o
                JOIN study s ON s.uid = o.study JOIN person p ON p.study = s.uid
             WHERE o.unreadable_at IS NOT NULL AND o.receipted_at IS NULL GROUP BY s.uid ORDER BY s.first_object_at LIMIT ?",
        )
        .bind(MAX_LOST)
        .fetch_all(&self.0.reader)
        .await
        .map_err(db("list lost objects"))?;
        Ok(self.readable(rows.iter().map(|row| {
            let cells = Cells::of(row, "study", "uid");
            Ok(LostObjects {
                study: cells.study("uid")?,
                patient_name: view::patient_name(&cells),
                objects: cells.count("objects")?,
            })
        })))
    }
}

/// Whether an error of opening an object's bytes says that they are not there, or not as they should be.
pub(super) fn is_loss(error: &SpoolError) -> bool {
    match error {
        SpoolError::Blob(BlobError::Absent(_) | BlobError::Digest { .. }) => true,
        SpoolError::Blob(BlobError::Disk { source, .. }) | SpoolError::File { source, .. } => {
            matches!(source.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::UnexpectedEof)
                || source.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
        }
        _ => false,
    }
}

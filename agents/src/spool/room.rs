//! Room: what waits for a receipt, what is arriving, and what must stay free.

use super::error::db;
use super::{Spool, SpoolError};
use relay_core::codes::{Code, Refusal};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Bytes in a MiB, for people.
const MIB: u64 = 1024 * 1024;

/// How much the spool may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpoolLimits {
    /// Plain and coded bytes without receipt: beyond it new objects are refused.
    pub max_unreceipted_bytes: u64,
    /// Bytes that stay free on the disk, so that database and operating system go on working.
    pub free_floor_bytes: u64,
}

/// What is taken of the room.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Plain and coded bytes without receipt, as of the last count.
    unreceipted: AtomicU64,
    /// One count at a time: an older one never overwrites a newer.
    counting: tokio::sync::Mutex<()>,
    arriving: Mutex<Arriving>,
}

/// Receptions that are under way.
#[derive(Debug, Default, Clone, Copy)]
struct Arriving {
    /// Bytes promised to them.
    reserved: u64,
    /// Of these, what is on the disk already.
    written: u64,
}

/// Room that one reception holds until it is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    spool: Spool,
    reserved: u64,
    written: u64,
}

impl Reservation {
    /// Bytes that it may hold.
    pub(super) const fn reserved(&self) -> u64 {
        self.reserved
    }

    /// Asks for `more` bytes beside those it has.
    ///
    /// # Errors
    /// `STORAGE_FULL` naming which limit is met.
    pub(super) fn extend(&mut self, more: u64) -> Result<(), Refusal> {
        self.spool.take_room(more)?;
        self.reserved += more;
        Ok(())
    }

    /// So many of its bytes are on the disk now.
    pub(super) fn wrote(&mut self, bytes: u64) {
        let bytes = bytes.min(self.reserved - self.written);
        self.written += bytes;
        self.spool.0.room.arriving.lock().unwrap_or_else(PoisonError::into_inner).written += bytes;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut arriving = self.spool.0.room.arriving.lock().unwrap_or_else(PoisonError::into_inner);
        arriving.reserved -= self.reserved;
        arriving.written -= self.written;
    }
}

impl Spool {
    /// Plain and coded bytes that have no receipt.
    #[must_use]
    pub fn unreceipted_bytes(&self) -> u64 {
        self.0.room.unreceipted.load(Ordering::SeqCst)
    }

    /// The limits it was opened with.
    #[must_use]
    pub fn limits(&self) -> SpoolLimits {
        self.0.limits
    }

    /// Counts what has no receipt, after a commit that changed it.
    pub(super) async fn count_unreceipted(&self) -> Result<(), SpoolError> {
        let _one = self.0.room.counting.lock().await;
        let sum: i64 = sqlx::query_scalar(
            "SELECT COALESCE(SUM(length + coded_kept * coded_length), 0) FROM object
             WHERE receipted_at IS NULL AND refused_code IS NULL",
        )
        .fetch_one(&self.0.reader)
        .await
        .map_err(db("count what has no receipt"))?;
        self.0.room.unreceipted.store(u64::try_from(sum).unwrap_or(0), Ordering::SeqCst);
        Ok(())
    }

    /// Room for a reception of about `bytes`.
    ///
    /// # Errors
    /// `STORAGE_FULL` naming which limit is met.
    pub(super) fn reserve(&self, bytes: u64) -> Result<Reservation, Refusal> {
        self.take_room(bytes)?;
        Ok(Reservation { spool: self.clone(), reserved: bytes, written: 0 })
    }

    /// Whether so many bytes may come in, as things stand: what is arriving elsewhere has its room already.
    ///
    /// # Errors
    /// `STORAGE_FULL` naming which limit is met and what to do.
    pub fn room_for(&self, more: u64) -> Result<(), Refusal> {
        let arriving = *self.0.room.arriving.lock().unwrap_or_else(PoisonError::into_inner);
        self.fits(arriving, more)
    }

    fn take_room(&self, more: u64) -> Result<(), Refusal> {
        let mut arriving = self.0.room.arriving.lock().unwrap_or_else(PoisonError::into_inner);
        self.fits(*arriving, more)?;
        arriving.reserved += more;
        Ok(())
    }

    fn fits(&self, arriving: Arriving, more: u64) -> Result<(), Refusal> {
        let (limits, held) = (self.0.limits, self.unreceipted_bytes());
        if held.saturating_add(arriving.reserved).saturating_add(more) > limits.max_unreceipted_bytes {
            let reason = format!(
                "{} MiB wait for the county's receipt and {} MiB are arriving, the limit is {} MiB: \
                 bring the line to the county back, or raise the limit in agent.toml",
                held / MIB,
                arriving.reserved / MIB,
                limits.max_unreceipted_bytes / MIB
            );
            return Err(Refusal::new(Code::StorageFull, "spool.max_unreceipted_gib", reason));
        }
        let free = self.0.blobs.free_bytes().map_err(|e| SpoolError::from(e).refusal())?;
        let promised = arriving.reserved - arriving.written;
        if free < limits.free_floor_bytes.saturating_add(promised).saturating_add(more) {
            let reason = format!(
                "{} MiB are free on the clinic's disk, {} MiB must stay free: make room on the disk",
                free / MIB,
                limits.free_floor_bytes / MIB
            );
            return Err(Refusal::new(Code::StorageFull, "spool.free_floor_gib", reason));
        }
        Ok(())
    }
}

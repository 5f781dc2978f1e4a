//! What goes back to the clinics and what comes from their desks: letters with receipts, notes with signatures.
//!
//! A letter is durable before it travels (`reports::post`, in the transaction that decides it) and is sent until its
//! receipt or refusal is durable. Three facts have three times: receipt, stored at the clinic, opened by a person.

mod notes;
mod outbox;
mod receipts;
mod retry;
mod status;

pub use notes::NoteJudge;
pub use retry::{connected, offer_again, unreceived};
pub use status::{Round, write_statuses};

use crate::store::{Store, StoreError};
use bytes::Bytes;
use relay_core::clock::UtcMs;
use relay_core::codes::Refusal;
use relay_core::ids::{ClinicId, LetterId};
use relay_core::letter::{LetterHead, Note};
use relay_core::sla::SlaPolicy;
use std::sync::Arc;
use tokio::sync::watch;

/// Letters and notes. Cheap to clone.
#[derive(Clone)]
pub struct Returns {
    store: Store,
    judge: Arc<dyn NoteJudge>,
    policy: Arc<SlaPolicy>,
}

impl std::fmt::Debug for Returns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Returns").finish_non_exhaustive()
    }
}

impl Returns {
    /// Letters and notes of `store`; `judge` checks device signatures.
    #[must_use]
    pub const fn new(store: Store, judge: Arc<dyn NoteJudge>, policy: Arc<SlaPolicy>) -> Self {
        Self { store, judge, policy }
    }

    /// Counts up whenever [`Self::pending`] may answer differently for any clinic.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.store.letter_changes()
    }

    /// Letters without receipt that may be offered at `now`, critical notices first, oldest first; those that did not get
    /// through before come last. At most `limit` critical notices and `limit` others.
    ///
    /// # Errors
    /// `STORAGE_FAILED`.
    pub async fn pending(
        &self,
        clinic: &ClinicId,
        limit: usize,
        now: UtcMs,
    ) -> Result<Vec<LetterHead>, Refusal> {
        let mut tx = self.store.read().await?;
        Ok(outbox::pending(&mut tx, clinic, limit, now).await?)
    }

    /// The body of a letter; the attempt to send a report, plan, notice or request is recorded before it is given out.
    ///
    /// # Errors
    /// `NOT_FOUND`, `STORAGE_FAILED`.
    pub async fn body(&self, clinic: &ClinicId, id: &LetterId, now: UtcMs) -> Result<Bytes, Refusal> {
        let short = outbox::short_body(&mut *self.store.read().await?, clinic, id).await?;
        if let Some(body) = short {
            return Ok(Bytes::from(body));
        }
        let (to, letter) = (clinic.clone(), id.clone());
        let hash = self
            .store
            .write(move |tx| Box::pin(async move { outbox::attempt(tx, &to, &letter, now).await }))
            .await?;
        outbox::read_body(&self.store, id, hash).await
    }

    /// The clinic holds the letter durably. Idempotent.
    ///
    /// # Errors
    /// `NOT_FOUND`, `STORAGE_FAILED`.
    pub async fn receipted(
        &self,
        clinic: &ClinicId,
        id: &LetterId,
        stored_at: UtcMs,
        now: UtcMs,
    ) -> Result<(), Refusal> {
        let told = Arc::new((clinic.clone(), id.clone()));
        let status = self.store.write_together(id.to_string(), move |batch| {
            let told = Arc::clone(&told);
            Box::pin(async move { receipts::status_received(batch, &told.0, &told.1, stored_at, now).await })
        });
        if status.await? {
            return Ok(());
        }
        let (from, letter, policy) = (clinic.clone(), id.clone(), Arc::clone(&self.policy));
        self.write(move |tx| {
            Box::pin(async move { receipts::received(tx, &policy, &from, &letter, stored_at, now).await })
        })
        .await
    }

    /// The clinic refuses the letter: recorded, alarmed by event, offered again after long pauses.
    ///
    /// # Errors
    /// `NOT_FOUND`, `STORAGE_FAILED`.
    pub async fn refused(
        &self,
        clinic: &ClinicId,
        id: &LetterId,
        refusal: &Refusal,
        now: UtcMs,
    ) -> Result<(), Refusal> {
        tracing::error!(%clinic, letter = %id, %refusal, "a clinic refused a letter");
        let (from, letter, why) = (clinic.clone(), id.clone(), refusal.clone());
        metrics::counter!("relay_letters_refused_total", "code" => refusal.code.name()).increment(1);
        self.write(move |tx| Box::pin(async move { retry::refused(tx, &from, &letter, &why, now).await }))
            .await
    }

    /// The letter could not be sent, or the clinic can neither take nor judge it just now: recorded, told by event the first
    /// time, offered again later and after others.
    ///
    /// # Errors
    /// `NOT_FOUND`, `STORAGE_FAILED`.
    pub async fn delayed(
        &self,
        clinic: &ClinicId,
        id: &LetterId,
        refusal: &Refusal,
        now: UtcMs,
    ) -> Result<(), Refusal> {
        tracing::warn!(%clinic, letter = %id, %refusal, "a letter does not get through");
        metrics::counter!("relay_letters_delayed_total", "code" => refusal.code.name()).increment(1);
        let (from, letter, why) = (clinic.clone(), id.clone(), refusal.clone());
        self.write(move |tx| Box::pin(async move { retry::delayed(tx, &from, &letter, &why, now).await }))
            .await
    }

    /// A note from a clinic: signature checked, signed bytes kept, its meaning recorded. Idempotent.
    ///
    /// # Errors
    /// What the judge says; `STORAGE_FAILED`.
    pub async fn note(
        &self,
        clinic: &ClinicId,
        note: &Note,
        device_certificate: &[u8],
        now: UtcMs,
    ) -> Result<(), Refusal> {
        let body = self.judge.judge(note, device_certificate, clinic)?;
        let hash = outbox::put(&self.store, note.body.clone()).await?;
        let device = if note.certificate.is_empty() { device_certificate } else { &note.certificate };
        let (from, note, device) = (clinic.clone(), note.clone(), device.to_vec());
        let policy = Arc::clone(&self.policy);
        self.write(move |tx| {
            Box::pin(async move {
                let kept = notes::Kept { clinic: &from, note: &note, body: &body, hash, device: &device };
                notes::record(tx, &policy, kept, now).await
            })
        })
        .await
    }

    async fn write<F>(&self, work: F) -> Result<(), Refusal>
    where
        F: for<'c> FnOnce(
                &'c mut sqlx::SqliteConnection,
            ) -> futures::future::BoxFuture<'c, Result<(), StoreError>>
            + Send
            + 'static,
    {
        self.store.write(work).await.map_err(Refusal::from)
    }
}

#[cfg(test)]
mod tests;

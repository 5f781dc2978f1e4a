//! The signing PIN. A try is counted before it is made, in the one writer: tries at the same moment cannot pass the limit,
//! and a kill in the middle gives none back.

use super::bytes::off_thread;
use super::signer::SignerVault;
use crate::store::{Columns, Store, StoreError, one_row};
use relay_certs::signing::Signer;
use relay_core::clock::UtcMs;
use relay_core::codes::{Code, Refusal};
use relay_core::ids::PersonId;
use sqlx::SqliteConnection;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use viewer_api::desk::{LOCKOUT_FAILURES, LOCKOUT_MS};

/// Keys opened at the same time, over all people: the derivation costs memory and a core by design.
const OPENED_AT_ONCE: usize = 2;
/// Wait for a turn: with two at a time this is a queue of dozens, nobody signs that fast.
const TURN_DEADLINE: Duration = Duration::from_secs(20);

/// Where signers come from, a few at a time.
#[derive(Debug, Clone)]
pub struct PinGate {
    vault: Arc<dyn SignerVault>,
    turns: Arc<Semaphore>,
}

impl PinGate {
    /// Before this vault.
    #[must_use]
    pub fn new(vault: Arc<dyn SignerVault>) -> Self {
        Self { vault, turns: Arc::new(Semaphore::new(OPENED_AT_ONCE)) }
    }

    /// Opens the person's signer.
    ///
    /// # Errors
    /// `PIN_WRONG`; `ACCOUNT_LOCKED` after [`LOCKOUT_FAILURES`] wrong tries, for [`LOCKOUT_MS`], without looking at the PIN;
    /// `BUSY`; what the vault says.
    pub(super) async fn open(
        &self,
        store: &Store,
        who: &PersonId,
        pin: &str,
        now: UtcMs,
    ) -> Result<Box<dyn Signer>, Refusal> {
        let busy = || Refusal::new(Code::Busy, "signer", "too many signatures at this moment; try again");
        let turn = tokio::time::timeout(TURN_DEADLINE, self.turns.acquire()).await;
        let _turn = turn.map_err(|_| busy())?.map_err(|_| busy())?;
        let counted = who.clone();
        let free = store.write(move |tx| Box::pin(async move { count(tx, &counted, now).await })).await?;
        if !free {
            let reason = "locked after too many wrong signing PINs; wait, or ask the administrator";
            return Err(Refusal::new(Code::AccountLocked, "pin", reason));
        }
        let (vault, person, pin) = (Arc::clone(&self.vault), who.clone(), pin.to_owned());
        let opened = off_thread(move || vault.open(&person, &pin)).await;
        // Only a wrong PIN is a guess; a key that is absent or broken is not the doctor's fault.
        if !matches!(&opened, Err(refusal) if refusal.code == Code::PinWrong) {
            let cleared = who.clone();
            store.write(move |tx| Box::pin(async move { clear(tx, &cleared).await })).await?;
        }
        opened
    }
}

/// Counts one try; false when the account is locked. The last lawful try locks before it is made: a right PIN unlocks.
async fn count(tx: &mut SqliteConnection, who: &PersonId, now: UtcMs) -> Result<bool, StoreError> {
    let row = sqlx::query("SELECT pin_locked_until FROM account WHERE id = $1")
        .bind(who.as_str())
        .fetch_optional(&mut *tx)
        .await
        .map_err(StoreError::database("read an account's lock"))?
        .ok_or_else(|| StoreError::refuse(Code::NotFound, "signer", "no such account"))?;
    let until = Columns::of(&row, "account", who.as_str()).time_or_none("pin_locked_until")?;
    if until.is_some_and(|until| now < until) {
        return Ok(false);
    }
    let done = sqlx::query(
        "UPDATE account SET pin_locked_until = CASE WHEN pin_failures + 1 >= $2 THEN $3 ELSE NULL END,
           pin_failures = CASE WHEN pin_failures + 1 >= $2 THEN 0 ELSE pin_failures + 1 END WHERE id = $1",
    )
    .bind(who.as_str())
    .bind(i64::from(LOCKOUT_FAILURES))
    .bind(now.plus_ms(LOCKOUT_MS).0)
    .execute(tx)
    .await
    .map_err(StoreError::database("count a PIN"))?;
    one_row(&done, "account", who)?;
    Ok(true)
}

async fn clear(tx: &mut SqliteConnection, who: &PersonId) -> Result<(), StoreError> {
    let done = sqlx::query("UPDATE account SET pin_failures = 0, pin_locked_until = NULL WHERE id = $1")
        .bind(who.as_str())
        .execute(tx)
        .await
        .map_err(StoreError::database("forget wrong PINs"))?;
    one_row(&done, "account", who)
}

//! The county's side of the port [`ReadingDesk`]: every method takes the reader, makes his scope, and calls the module
//! that knows the rule. No rule lives here.

mod accounts;
mod figures;
mod priors;
mod study;
#[cfg(test)]
mod tests;

use crate::background::scrub;
use crate::jobs;
use crate::queue;
use crate::reports::{self, Press, Retake};
use crate::store::{Batch, Scope, Store, StoreError, StoredEvent, event};
use async_trait::async_trait;
use relay_core::clock::UtcMs;
use relay_core::codes::{Code, Refusal};
use relay_core::ids::{ObjectHash, PersonId, ReportId, Sha256, StudyKey};
use relay_core::study::Kind;
use relay_core::work_item::WorkItem;
use sqlx::Sqlite;
use sqlx::pool::PoolConnection;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::broadcast;
use viewer_api::desk::{
    Account, AccountRow, ClinicRow, Draft, DraftText, Lease, LiveEvent, PatientFacts, RaiseCritical, Reader,
    ReadingDesk, Role, Session, SignRequest, Signed, StudyView, Throughput, WorkFilter, WorkList,
};

/// A preview has at most 1024 pixels on its long side; what is larger is none.
const MAX_PREVIEW_BYTES: u64 = 4 * 1024 * 1024;
/// Live events kept for a slow page; one that falls behind asks for what it missed.
const LIVE_EVENTS: usize = 1_024;

/// What people who count and see no patient are told of: everything that moves a figure of theirs.
const COUNTED: [&str; 11] = [
    "study.arrived",
    "study.complete",
    "work.created",
    "work.closed",
    "work.withdrawn",
    "report.signed",
    "report.audited",
    "report.received",
    "clinic.silent",
    "clinic.online",
    "clinic.offline",
];

/// Writes one line of the audit log; implemented by `crate::audit`, so that the desk knows no chain.
#[async_trait]
pub trait AuditTrail: Send + Sync {
    /// Who did or tried what, and whether it was allowed.
    async fn record(&self, who: &str, action: &str, subject: &str, allowed: bool, now: UtcMs);
}

/// The county's reading desk.
#[derive(Clone)]
pub struct CountyDesk {
    store: Store,
    press: Press,
    audit: Arc<dyn AuditTrail>,
    live: broadcast::Sender<LiveEvent>,
}

impl std::fmt::Debug for CountyDesk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CountyDesk").field("press", &self.press).finish_non_exhaustive()
    }
}

impl CountyDesk {
    /// A desk over the store. [`Self::run`] must run for live events to flow.
    #[must_use]
    pub fn new(store: Store, press: Press, audit: Arc<dyn AuditTrail>) -> Self {
        let (live, _) = broadcast::channel(LIVE_EVENTS);
        Self { store, press, audit, live }
    }

    /// Carries committed events to the pages until the store ends.
    pub async fn run(self) {
        let mut events = self.store.live();
        loop {
            match events.recv().await {
                // No page open is no error.
                Ok(stored) => drop(self.live.send(live_event(stored))),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    /// Holds the signed versions whose proof is the oldest against their packages. Idempotent; for the background.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn prove_versions(&self, now: UtcMs) -> Result<(), StoreError> {
        scrub::versions(&self.store, &self.press.proofs, &self.press.trust, now).await
    }

    /// Ends leases whose time is over. Idempotent; for the background.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn expire_leases(&self, now: UtcMs) -> Result<u64, StoreError> {
        self.store.write(move |tx| Box::pin(queue::expire_leases(tx, now))).await
    }

    /// A PIN that was wrong, or not looked at because the account is locked, has a line of its own.
    async fn record_pin<T: Sync>(&self, reader: &Reader, done: &Result<T, Refusal>, now: UtcMs) {
        if let Err(refusal) = done
            && matches!(refusal.code, Code::PinWrong | Code::AccountLocked)
        {
            self.audit.record(reader.id.as_str(), "signer.pin", refusal.code.name(), false, now).await;
        }
    }

    /// A reader reads what his licence covers: films, ECGs or both. He may look at the others (a prior ECG beside a film).
    async fn require_kind(&self, reader: &Reader, item: i64) -> Result<(), Refusal> {
        let kind = queue::load(&mut *self.store.read().await?, &scope(reader), item).await?.kind;
        if reader.kinds.contains(&kind) {
            return Ok(());
        }
        let reason = format!("this account does not read {}", kind.word());
        Err(Refusal::new(Code::Forbidden, "kind", reason))
    }

    /// What is signed is withdrawn by who signed it, or by a reviewer.
    async fn require_own_report(&self, reader: &Reader, item: i64) -> Result<(), Refusal> {
        let author = queue::load(&mut *self.store.read().await?, &scope(reader), item).await?.item.author;
        if author.is_none_or(|author| author == reader.id) || reader.roles.contains(&Role::Reviewer) {
            return Ok(());
        }
        let reason = "a signed report is withdrawn by its author or by a reviewer";
        Err(Refusal::new(Code::Forbidden, "role", reason))
    }

    /// A study's view with its versions held against what was signed. Where not even that can be read of them, none of their
    /// words is shown; the images are.
    async fn proven(
        &self,
        mut read: PoolConnection<Sqlite>,
        study_id: i64,
        mut view: StudyView,
        now: UtcMs,
    ) -> Result<StudyView, Refusal> {
        let stated = match reports::stated(&mut read, study_id).await {
            Err(error @ StoreError::Corrupt { .. }) => {
                tracing::error!(error = &error as &dyn std::error::Error, "signed versions cannot be read");
                Vec::new()
            }
            stated => stated?,
        };
        drop(read);
        self.press.proofs.mark(&self.store, &self.press.trust, stated, &mut view, now).await?;
        Ok(view)
    }

    async fn lease_of(&self, item: i64, scope: &Scope) -> Result<Lease, Refusal> {
        let mut read = self.store.read().await?;
        let (_, row) = queue::by_item(&mut read, scope, item).await?;
        row.lease.ok_or_else(|| Refusal::new(Code::LeaseLost, "work_item", "the lease has ended"))
    }
}

fn live_event(stored: StoredEvent) -> LiveEvent {
    LiveEvent {
        seq: stored.seq,
        kind: stored.kind,
        clinic: stored.clinic,
        work_item: stored.work_item,
        class: stored.class,
        at: stored.at,
    }
}

/// Whose studies a person may see. People who see no patient get the empty scope.
fn scope(reader: &Reader) -> Scope {
    if sees_patients(reader) { Scope::Clinics(reader.clinics.clone()) } else { Scope::Clinics(Vec::new()) }
}

fn sees_patients(reader: &Reader) -> bool {
    let sees = [Role::Reader, Role::Reviewer, Role::Clinician];
    reader.roles.iter().any(|role| sees.contains(role))
}

fn require(reader: &Reader, role: Role) -> Result<(), Refusal> {
    if reader.roles.contains(&role) {
        return Ok(());
    }
    Err(Refusal::new(Code::Forbidden, "role", format!("the role {role:?} is needed").to_lowercase()))
}

fn require_any(reader: &Reader, roles: &[Role]) -> Result<(), Refusal> {
    if roles.iter().any(|role| reader.roles.contains(role)) {
        return Ok(());
    }
    Err(Refusal::new(Code::Forbidden, "role", "the account's roles do not allow this"))
}

fn lease(item: &WorkItem, name: &str) -> Result<Lease, Refusal> {
    let held = item.lease.as_ref().ok_or_else(|| Refusal::new(Code::LeaseLost, "epoch", "no lease"))?;
    Ok(Lease {
        holder: held.holder.clone(),
        holder_name: name.to_owned(),
        claimed_at: held.claimed_at,
        expires_at: held.expires_at,
        epoch: item.epoch,
    })
}

#[async_trait]
impl ReadingDesk for CountyDesk {
    async fn account(&self, login: &PersonId) -> Result<Option<Account>, Refusal> {
        let mut read = self.store.read().await?;
        Ok(accounts::account(&mut read, login).await?)
    }

    async fn record_login(
        &self,
        login: &PersonId,
        ok: bool,
        totp_step: Option<u64>,
        peer: &str,
        now: UtcMs,
    ) -> Result<(), Refusal> {
        let (login, subject) = (login.clone(), format!("login from {peer}"));
        self.audit.record(login.as_str(), "session.open", &subject, ok, now).await;
        self.store
            .write(move |tx| {
                Box::pin(async move { accounts::record_login(tx, &login, ok, totp_step, now).await })
            })
            .await?;
        Ok(())
    }

    async fn open_session(
        &self,
        token: &Sha256,
        login: &PersonId,
        expires_at: UtcMs,
        now: UtcMs,
    ) -> Result<(), Refusal> {
        let (token, login) = (*token, login.clone());
        self.store
            .write(move |tx| {
                Box::pin(async move { accounts::open_session(tx, &token, &login, expires_at, now).await })
            })
            .await?;
        Ok(())
    }

    async fn session(&self, token: &Sha256, touch: bool, now: UtcMs) -> Result<Option<Session>, Refusal> {
        let mut read = self.store.read().await?;
        let Some((session, stale)) = accounts::session(&mut read, token, now).await? else { return Ok(None) };
        drop(read);
        if stale && touch {
            let token = *token;
            self.store
                .write(move |tx| Box::pin(async move { accounts::touch_session(tx, &token, now).await }))
                .await?;
        }
        Ok(Some(session))
    }

    async fn close_session(&self, token: &Sha256, now: UtcMs) -> Result<(), Refusal> {
        let token = *token;
        self.store
            .write(move |tx| Box::pin(async move { accounts::close_session(tx, &token, now).await }))
            .await?;
        Ok(())
    }

    async fn accounts(&self, reader: &Reader) -> Result<Vec<AccountRow>, Refusal> {
        require(reader, Role::Administrator)?;
        let mut read = self.store.read().await?;
        Ok(accounts::all(&mut read).await?)
    }

    async fn unlock_account(&self, reader: &Reader, login: &PersonId, now: UtcMs) -> Result<(), Refusal> {
        require(reader, Role::Administrator)?;
        let who = login.clone();
        let done =
            self.store.write(move |tx| Box::pin(async move { accounts::unlock(tx, &who).await })).await;
        self.audit.record(reader.id.as_str(), "account.unlock", login.as_str(), done.is_ok(), now).await;
        Ok(done?)
    }

    async fn clinics(&self, reader: &Reader) -> Result<Vec<ClinicRow>, Refusal> {
        require(reader, Role::Administrator)?;
        let mut read = self.store.read().await?;
        Ok(accounts::clinics(&mut read).await?)
    }

    async fn worklist(&self, reader: &Reader, filter: &WorkFilter, now: UtcMs) -> Result<WorkList, Refusal> {
        let mut read = self.store.read().await?;
        let mut list = queue::rows(&mut read, &scope(reader), &reader.id, &reader.kinds, filter, now).await?;
        for row in &mut list.rows {
            row.lease = row.lease.take().filter(|lease| now < lease.expires_at);
        }
        Ok(list)
    }

    async fn claim(&self, reader: &Reader, item: i64, now: UtcMs) -> Result<Lease, Refusal> {
        require_any(reader, &[Role::Reader, Role::Reviewer])?;
        self.require_kind(reader, item).await?;
        let (scope, who, policy) = (scope(reader), reader.id.clone(), Arc::clone(&self.press.policy));
        let may_audit = reader.roles.contains(&Role::Reviewer);
        let claimed = self
            .store
            .write(move |tx| {
                Box::pin(async move { queue::claim(tx, &policy, &scope, item, (&who, may_audit), now).await })
            })
            .await;
        match claimed.map_err(Refusal::from) {
            Ok(item) => lease(&item, &reader.name),
            Err(refusal) if refusal.code == Code::ClaimHeld => {
                let held = self.lease_of(item, &self::scope(reader)).await?;
                let since = held.claimed_at.to_rfc3339();
                Err(Refusal::new(Code::ClaimHeld, "work_item", format!("{} since {since}", held.holder_name)))
            }
            Err(refusal) => Err(refusal),
        }
    }

    async fn claim_next(
        &self,
        reader: &Reader,
        kind: Option<Kind>,
        now: UtcMs,
    ) -> Result<Option<(i64, Lease)>, Refusal> {
        require(reader, Role::Reader)?;
        let kinds: Vec<Kind> =
            reader.kinds.iter().copied().filter(|k| kind.is_none_or(|w| w == *k)).collect();
        let candidates =
            queue::next_candidates(&mut *self.store.read().await?, &scope(reader), &kinds, now).await?;
        for id in candidates {
            let (scope, who, policy) = (scope(reader), reader.id.clone(), Arc::clone(&self.press.policy));
            let claimed = self.store.write(move |tx| {
                Box::pin(async move {
                    // What could not be opened afterwards is not claimed.
                    queue::by_item(tx, &scope, id).await?;
                    queue::claim(tx, &policy, &scope, id, (&who, false), now).await
                })
            });
            match claimed.await {
                Ok(item) => return lease(&item, &reader.name).map(|lease| Some((id, lease))),
                // Somebody else was faster.
                Err(StoreError::Refused(_)) => {}
                // A case that cannot be read is told, and keeps nobody from the next.
                Err(error @ StoreError::Corrupt { .. }) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(work_item = id, error, "a case cannot be claimed");
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    async fn renew(&self, reader: &Reader, item: i64, epoch: u64, now: UtcMs) -> Result<Lease, Refusal> {
        let (scope, who) = (scope(reader), reader.id.clone());
        let renewed = self
            .store
            .write(move |tx| Box::pin(async move { queue::renew(tx, &scope, item, &who, epoch, now).await }))
            .await?;
        lease(&renewed, &reader.name)
    }

    async fn release(&self, reader: &Reader, item: i64, epoch: u64, now: UtcMs) -> Result<(), Refusal> {
        let (scope, who) = (scope(reader), reader.id.clone());
        self.store
            .write(move |tx| {
                Box::pin(async move { queue::release(tx, &scope, item, &who, epoch, now).await })
            })
            .await?;
        Ok(())
    }

    async fn study(&self, reader: &Reader, item: i64, now: UtcMs) -> Result<StudyView, Refusal> {
        let mut read = self.store.read().await?;
        let (study_id, row) = queue::by_item(&mut read, &scope(reader), item).await?;
        let view = study::view(&mut read, &scope(reader), study_id, row).await?;
        self.proven(read, study_id, view, now).await
    }

    async fn study_by_key(&self, reader: &Reader, key: &StudyKey, now: UtcMs) -> Result<StudyView, Refusal> {
        let mut read = self.store.read().await?;
        let (study_id, row) = queue::by_study(&mut read, &scope(reader), key).await?;
        let view = study::view(&mut read, &scope(reader), study_id, row).await?;
        let view = self.proven(read, study_id, view, now).await?;
        self.audit.record(reader.id.as_str(), "study.open_prior", &key.to_string(), true, now).await;
        Ok(view)
    }

    async fn object_path(
        &self,
        reader: &Reader,
        study: &StudyKey,
        object: &ObjectHash,
        now: UtcMs,
    ) -> Result<PathBuf, Refusal> {
        let mut read = self.store.read().await?;
        let status = study::require_object(&mut read, &scope(reader), study, object).await?;
        drop(read);
        self.press.whole.path(&self.store, object, &status, now).await
    }

    async fn preview(
        &self,
        reader: &Reader,
        study: &StudyKey,
        object: &ObjectHash,
        now: UtcMs,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        // A picture of what is damaged would hide that it is.
        self.object_path(reader, study, object, now).await?;
        let path = self.store.preview_path(object);
        match tokio::fs::metadata(&path).await {
            Ok(file) if file.len() <= MAX_PREVIEW_BYTES => {}
            _ => return Ok(None),
        }
        let (Ok(bytes), subject) = (tokio::fs::read(&path).await, object.to_hex()) else { return Ok(None) };
        let made = jobs::made_by(&mut *self.store.read().await?, "preview", &subject).await?;
        if made == Some(ObjectHash::of(&bytes)) {
            return Ok(Some(bytes));
        }
        if made.is_some() {
            tracing::error!(%object, "a preview is not the one that was made; it is made anew");
            self.store
                .write(move |tx| {
                    Box::pin(async move {
                        let mut batch = Batch::on(tx);
                        jobs::add(&mut batch, "preview", &subject, now);
                        batch.run().await
                    })
                })
                .await?;
        }
        Ok(None)
    }

    async fn draft(&self, reader: &Reader, item: i64) -> Result<Option<Draft>, Refusal> {
        let mut read = self.store.read().await?;
        queue::load(&mut read, &scope(reader), item).await?;
        Ok(reports::load_draft(&mut read, item).await?)
    }

    async fn save_draft(
        &self,
        reader: &Reader,
        item: i64,
        epoch: u64,
        replaces: u64,
        text: &DraftText,
        now: UtcMs,
    ) -> Result<Draft, Refusal> {
        let (scope, who, text) = (scope(reader), reader.id.clone(), text.clone());
        let saved = self.store.write(move |tx| {
            Box::pin(
                async move { reports::save_draft(tx, &scope, item, &who, epoch, replaces, &text, now).await },
            )
        });
        Ok(saved.await?)
    }

    async fn sign(
        &self,
        reader: &Reader,
        item: i64,
        request: SignRequest,
        now: UtcMs,
    ) -> Result<Signed, Refusal> {
        require(reader, Role::Reader)?;
        self.require_kind(reader, item).await?;
        let signed = reports::sign(&self.store, &self.press, scope(reader), reader, item, request, now).await;
        self.audit.record(reader.id.as_str(), "report.sign", &item.to_string(), signed.is_ok(), now).await;
        self.record_pin(reader, &signed, now).await;
        signed
    }

    async fn audit(
        &self,
        reader: &Reader,
        item: i64,
        request: SignRequest,
        changed: Option<DraftText>,
        now: UtcMs,
    ) -> Result<Signed, Refusal> {
        require(reader, Role::Reviewer)?;
        self.require_kind(reader, item).await?;
        let signed =
            reports::audit(&self.store, &self.press, scope(reader), reader, item, request, changed, now)
                .await;
        self.audit.record(reader.id.as_str(), "report.audit", &item.to_string(), signed.is_ok(), now).await;
        self.record_pin(reader, &signed, now).await;
        signed
    }

    async fn raise_critical(
        &self,
        reader: &Reader,
        item: i64,
        raise: RaiseCritical,
        now: UtcMs,
    ) -> Result<(), Refusal> {
        // Of any kind: whoever sees it, says it.
        require_any(reader, &[Role::Reader, Role::Reviewer])?;
        let phone = self.press.site.phone.clone();
        let raised =
            reports::raise_critical(&self.store, scope(reader), reader, item, raise, phone, now).await;
        self.audit.record(reader.id.as_str(), "critical.raise", &item.to_string(), raised.is_ok(), now).await;
        raised
    }

    async fn request_retake(
        &self,
        reader: &Reader,
        item: i64,
        epoch: u64,
        reason: &str,
        text: &str,
        now: UtcMs,
    ) -> Result<(), Refusal> {
        require_any(reader, &[Role::Reader, Role::Reviewer])?;
        self.require_kind(reader, item).await?;
        let retake = Retake { reason: reason.to_owned(), text: text.to_owned(), epoch };
        let policy = Arc::clone(&self.press.policy);
        reports::request_retake(&self.store, policy, scope(reader), reader, item, retake, now).await
    }

    async fn correct_identity(
        &self,
        reader: &Reader,
        item: i64,
        patient: PatientFacts,
        reason: &str,
        now: UtcMs,
    ) -> Result<(), Refusal> {
        require_any(reader, &[Role::Reader, Role::Reviewer])?;
        self.require_kind(reader, item).await?;
        self.require_own_report(reader, item).await?;
        let corrected =
            reports::correct_identity(&self.store, scope(reader), reader, item, patient, reason, now).await;
        let ok = corrected.is_ok();
        self.audit.record(reader.id.as_str(), "study.correct_identity", &item.to_string(), ok, now).await;
        corrected
    }

    async fn report_package(
        &self,
        reader: &Reader,
        report: &ReportId,
        version: u32,
    ) -> Result<Vec<u8>, Refusal> {
        let mut read = self.store.read().await?;
        let (hash, clinic) = reports::package_hash(&mut read, &scope(reader), report, version).await?;
        drop(read);
        let bytes = reports::read_package(&self.store, hash, &format!("{report} v{version}")).await?;
        reports::signed_package(&self.press.trust, bytes, clinic, (report, version)).await
    }

    async fn events_after(&self, reader: &Reader, seq: i64, limit: u32) -> Result<Vec<LiveEvent>, Refusal> {
        let mut read = self.store.read().await?;
        if sees_patients(reader) {
            let events = event::after_in(&mut read, &scope(reader), seq, i64::from(limit)).await?;
            return Ok(events.into_iter().map(live_event).collect());
        }
        let events = event::counted_after(&mut read, &COUNTED, seq, i64::from(limit)).await?;
        // That something happened at a clinic; not to whom.
        Ok(events.into_iter().map(|e| LiveEvent { work_item: None, ..live_event(e) }).collect())
    }

    async fn last_event(&self) -> Result<i64, Refusal> {
        Ok(event::last_seq(&mut *self.store.read().await?).await?)
    }

    fn live(&self) -> broadcast::Receiver<LiveEvent> {
        self.live.subscribe()
    }

    async fn throughput(&self, reader: &Reader, now: UtcMs) -> Result<Throughput, Refusal> {
        require_any(reader, &[Role::Monitor, Role::Administrator, Role::Reviewer])?;
        let mut read = self.store.read().await?;
        Ok(figures::throughput(&mut read, &self.press.policy, now).await?)
    }

    async fn record_access(
        &self,
        who: Option<&PersonId>,
        action: &str,
        subject: &str,
        allowed: bool,
        now: UtcMs,
    ) {
        self.audit.record(who.map_or("-", PersonId::as_str), action, subject, allowed, now).await;
    }
}

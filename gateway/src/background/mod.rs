//! Idempotent reconcilers: each brings the world in line with what is stored, on a timer and on a nudge. Running one twice,
//! or never for an hour, loses nothing.

mod gauges;
mod preview;
pub mod scrub;
pub(crate) mod silence;
pub mod sweep;

use crate::desk::CountyDesk;
use crate::reports::{escalate, unread};
use crate::returns;
use crate::sla::watch;
use crate::store::{Store, StoreError};
use futures::FutureExt as _;
use relay_core::clock::{Clock, UtcMs};
use relay_core::sla::SlaPolicy;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use viewer_api::DecodePool;

/// Leases, statuses, previews: how often without a nudge.
const QUICK: Duration = Duration::from_secs(5);
/// Everything else.
const SLOW: Duration = Duration::from_secs(60);
/// The head of the audit log: what was cut off its end since can be proven to the hour.
const HOURLY: Duration = Duration::from_secs(3_600);
/// Least time between two rounds, however often nudged: what is told to a clinic or made for a page gives way to what is
/// being received.
const PAUSE: Duration = Duration::from_millis(200);
/// Status letters written in one round: eighty a second at most.
const STATUSES: usize = 16;

/// Everything the reconcilers need.
#[derive(Debug, Clone)]
pub struct Background {
    /// The store.
    pub store: Store,
    /// For the end of leases.
    pub desk: CountyDesk,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Service levels and the duty calendar.
    pub policy: Arc<SlaPolicy>,
    /// Turns for image decoders, shared with the pages.
    pub decoders: DecodePool,
}

/// One row that cannot be worked on is told, and does not keep the others waiting.
fn failed(task: &'static str, what: &str, error: &(dyn std::error::Error + 'static)) {
    metrics::counter!("relay_background_failures_total", "task" => task).increment(1);
    tracing::error!(task, what, error, "background work failed");
}

/// Runs `work` every `every` and whenever nudged, until `stop`. A failure is logged and tried again.
async fn every<F, W>(
    name: &'static str,
    every: Duration,
    nudge: Arc<Notify>,
    stop: CancellationToken,
    work: W,
) where
    F: Future<Output = Result<(), StoreError>> + Send,
    W: Fn() -> F + Send,
{
    loop {
        // A panic in one task would end them all.
        match AssertUnwindSafe(work()).catch_unwind().await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => failed(name, "a round", &error),
            Err(_) => {
                metrics::counter!("relay_background_failures_total", "task" => name).increment(1);
                tracing::error!(task = name, "background work panicked; it goes on with the next round");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(every) => {}
            () = async { tokio::join!(nudge.notified(), tokio::time::sleep(PAUSE)); } => {}
        }
    }
}

/// Takes the due steps of every critical notice that nobody has read back; one that cannot be read stops no other.
pub(crate) async fn climb(store: &Store, policy: &Arc<SlaPolicy>, now: UtcMs) -> Result<u64, StoreError> {
    let due = unread(&mut *store.read().await?, policy, now).await?;
    let mut all = 0;
    for notice in due {
        let policy = Arc::clone(policy);
        let taken =
            store.write(move |tx| Box::pin(async move { escalate(tx, &policy, notice, now).await })).await;
        match taken {
            Ok(taken) => all += taken,
            Err(error) => failed("critical", &format!("critical notice {notice}"), &error),
        }
    }
    metrics::counter!("relay_critical_escalations_total").increment(all);
    Ok(all)
}

impl Background {
    /// Runs all reconcilers until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let (status, preview) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let quiet = Arc::new(Notify::new());
        tokio::join!(
            self.nudges(Arc::clone(&status), Arc::clone(&preview), stop.clone()),
            every("leases", QUICK, Arc::clone(&quiet), stop.clone(), || self.leases()),
            every("statuses", QUICK, Arc::clone(&status), stop.clone(), || self.statuses(&status)),
            every("critical", QUICK, Arc::clone(&quiet), stop.clone(), || self.critical()),
            every("deadlines", QUICK, Arc::clone(&quiet), stop.clone(), || self.deadlines()),
            every("previews", QUICK, Arc::clone(&preview), stop.clone(), || preview::make_due(
                &self.store,
                &self.decoders,
                &preview,
                self.clock.now()
            )),
            every("overdue", SLOW, Arc::clone(&quiet), stop.clone(), || {
                sweep::queue_overdue(&self.store, &self.policy, self.clock.now())
            }),
            every("silence", SLOW, Arc::clone(&quiet), stop.clone(), || {
                silence::watch(&self.store, &self.policy, self.clock.now())
            }),
            every("gauges", SLOW, Arc::clone(&quiet), stop.clone(), || {
                gauges::set(&self.store, self.clock.now())
            }),
            every("audit head", HOURLY, Arc::clone(&quiet), stop.clone(), || {
                crate::audit::tell_head(&self.store)
            }),
            every("scrub", SLOW, Arc::clone(&quiet), stop.clone(), || scrub::some(
                &self.store,
                self.clock.now()
            )),
            every("versions", SLOW, Arc::clone(&quiet), stop.clone(), || self
                .desk
                .prove_versions(self.clock.now())),
            every("patients", HOURLY, Arc::clone(&quiet), stop.clone(), || scrub::patients(&self.store)),
            every("sweep", SLOW, quiet, stop, || sweep::old(&self.store, self.clock.now())),
        );
    }

    /// Turns committed events into nudges.
    async fn nudges(&self, status: Arc<Notify>, preview: Arc<Notify>, stop: CancellationToken) {
        let mut events = self.store.live();
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => return,
                event = events.recv() => event,
            };
            match event {
                Ok(event) if event.kind.starts_with("study.") => preview.notify_one(),
                Ok(event) if event.work_item.is_some() => status.notify_one(),
                Ok(_) => {}
                Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
                Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {
                    status.notify_one();
                    preview.notify_one();
                }
            }
            // A new item is both a study's and the queue's.
        }
    }

    async fn critical(&self) -> Result<(), StoreError> {
        climb(&self.store, &self.policy, self.clock.now()).await.map(|_| ())
    }

    /// One study that cannot be judged keeps no other one waiting.
    async fn deadlines(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let due = watch::due(&mut *self.store.read().await?, now).await?;
        for (item, study) in due {
            let policy = Arc::clone(&self.policy);
            let told = self.store.write(move |tx| {
                let policy = Arc::clone(&policy);
                Box::pin(async move { watch::say(tx, &policy, (item, study), now).await })
            });
            if let Err(error) = told.await {
                failed("deadlines", &format!("study {study}"), &error);
            }
        }
        Ok(())
    }

    async fn leases(&self) -> Result<(), StoreError> {
        let ended = self.desk.expire_leases(self.clock.now()).await?;
        if ended > 0 {
            tracing::info!(ended, "leases ended without input");
        }
        Ok(())
    }

    async fn statuses(&self, again: &Notify) -> Result<(), StoreError> {
        let round = returns::write_statuses(&self.store, STATUSES, self.clock.now()).await?;
        for (study, error) in &round.failed {
            failed("statuses", &format!("study {study}"), error);
        }
        if round.more {
            again.notify_one();
        }
        Ok(())
    }
}

//! Previews of films, made after ingest.

use crate::jobs::{self, Job};
use crate::store::{Store, StoreError, signed};
use relay_core::clock::UtcMs;
use relay_core::codes::{Code, Refusal};
use relay_core::ids::ObjectHash;
use tokio::sync::Notify;
use viewer_api::DecodePool;
use viewer_api::limits::PREVIEW_BUDGET_BYTES;
use viewer_api::problem::Problem;

/// Previews made in one round: forty a second at most, because they give way to what is being received. One at a time, so
/// that memory stays bounded.
const ROUND: usize = 8;
/// What a preview may take of the decoders' budget.
const PREVIEW_MIB: u32 = (PREVIEW_BUDGET_BYTES >> 20) as u32;

/// Makes the previews that are due.
///
/// # Errors
/// [`StoreError`].
pub(super) async fn make_due(
    store: &Store,
    decoders: &DecodePool,
    again: &Notify,
    now: UtcMs,
) -> Result<(), StoreError> {
    let due = {
        let mut tx = store.read().await?;
        jobs::due(&mut tx, "preview", now, signed(ROUND)?).await?
    };
    if due.len() == ROUND {
        again.notify_one();
    }
    for job in due {
        let id = job.id;
        match store.write(move |tx| Box::pin(async move { jobs::begin(tx, id).await })).await {
            Ok(true) => {}
            Ok(false) => {
                tracing::error!(object = %job.subject, "no preview: the gateway ended each time it was begun");
                continue;
            }
            Err(error) => {
                super::failed("previews", &job.subject, &error);
                continue;
            }
        }
        let made = make(store, decoders, &job).await;
        let (id, subject) = (job.id, job.subject.clone());
        let recorded = store
            .write(move |tx| {
                Box::pin(async move {
                    match made {
                        Ok(digest) => jobs::made(tx, id, digest, now).await,
                        Err((reason, give_up)) => jobs::failed(tx, &job, &reason, give_up, now).await,
                    }
                })
            })
            .await;
        if let Err(error) = recorded {
            super::failed("previews", &subject, &error);
        }
    }
    Ok(())
}

/// Why, and whether trying again is of no use.
async fn make(store: &Store, decoders: &DecodePool, job: &Job) -> Result<ObjectHash, (String, bool)> {
    let hash = ObjectHash::from_hex(&job.subject).map_err(|e| (e.to_string(), true))?;
    let (from, to, disk) = (store.blobs().path_of(&hash), store.preview_path(&hash), store.disk().clone());
    let blobs = store.blobs().clone();
    let made = decoders.run(PREVIEW_MIB, move || {
        // A picture is made of what was received, or not at all.
        blobs.check(&hash).map_err(|e| Problem(Refusal::new(Code::Damaged, "object", e.to_string())))?;
        if let Some(dir) = to.parent() {
            disk.create_dir_all(dir)
                .map_err(|e| Problem(Refusal::new(Code::StorageFailed, "preview", e.to_string())))?;
        }
        viewer_api::make_preview(disk.as_ref(), &from, &to).map(|bytes| ObjectHash::of(&bytes))
    });
    match made.await.map_err(|problem| problem.0) {
        Ok(digest) => Ok(digest),
        Err(refusal) => {
            let give_up = refusal.code.fault() == relay_core::codes::Fault::Sender;
            tracing::info!(object = %hash, %refusal, "no preview");
            Err((refusal.to_string(), give_up))
        }
    }
}

//! Puts right what a crash or a missing end leaves behind.

use crate::ingest::settle_with;
use crate::store::{Store, StoreError};
use relay_core::clock::{DAY_MS, MINUTE_MS, UtcMs};
use relay_core::sla::SlaPolicy;
use std::collections::BTreeSet;

/// A study whose manifest is complete is queued after this time even when objects are still missing: somebody looks.
const OVERDUE_MS: i64 = 10 * MINUTE_MS;
/// A study of which the clinic has not said that it is complete is queued when nothing of it has come for this long: a clinic
/// that fell silent in the middle of it leaves nobody's films unseen.
const SILENT_MS: i64 = 15 * MINUTE_MS;
/// Studies queued in one round.
const OVERDUE_ROUND: i64 = 64;
/// An unfinished object that nobody has continued for this long is dropped; the clinic sends it again from the start.
const STALE_PARTIAL_MS: i64 = 14 * DAY_MS;
/// Ended sessions are kept this long.
const OLD_SESSION_MS: i64 = DAY_MS;

/// Before anything listens: the site's id, nobody online, no left-over files.
///
/// # Errors
/// [`StoreError`].
pub async fn at_start(store: &Store, site: &str, now: UtcMs) -> Result<(), StoreError> {
    let site = site.to_owned();
    store
        .write(move |tx| {
            Box::pin(async move {
                sqlx::query("INSERT INTO site (key, value) VALUES ('id', $1) ON CONFLICT (key) DO UPDATE SET value = $1")
                    .bind(site)
                    .execute(&mut *tx)
                    .await
                    .map_err(StoreError::database("record the site"))?;
                sqlx::query("UPDATE clinic SET online = 0 WHERE online <> 0")
                    .execute(tx)
                    .await
                    .map(|_| ())
                    .map_err(StoreError::database("mark clinics as offline"))
            })
        })
        .await?;
    old(store, now).await?;
    left_over_files(store).await
}

/// Files in `partial/` that no row names: coded forms and plaintexts of objects that were finished or refused.
async fn left_over_files(store: &Store) -> Result<(), StoreError> {
    let rows: Vec<(String, Vec<u8>)> = {
        let mut tx = store.read().await?;
        sqlx::query_as("SELECT clinic, coded_hash FROM partial")
            .fetch_all(&mut *tx)
            .await
            .map_err(StoreError::database("read partials"))?
    };
    let wanted: BTreeSet<String> =
        rows.iter().map(|(clinic, hash)| crate::ingest::partial_name(clinic, hash)).collect();
    let own = store.clone();
    let swept = tokio::task::spawn_blocking(move || {
        let dir = own.blobs().partial_path("");
        let mut dropped = 0_u32;
        for entry in std::fs::read_dir(dir)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !wanted.contains(&name) && entry.file_type().is_ok_and(|t| t.is_file()) {
                own.disk().remove(&entry.path())?;
                dropped += 1;
            }
        }
        Ok::<_, std::io::Error>(dropped)
    });
    match swept.await {
        Ok(Ok(0)) => {}
        Ok(Ok(dropped)) => tracing::info!(dropped, "left-over partial files removed"),
        Ok(Err(error)) => tracing::warn!(%error, "left-over partial files stay"),
        Err(error) => tracing::warn!(%error, "left-over partial files stay"),
    }
    Ok(())
}

/// Rows that have served their time.
pub(super) async fn old(store: &Store, now: UtcMs) -> Result<(), StoreError> {
    store
        .write(move |tx| {
            Box::pin(async move {
                sqlx::query("DELETE FROM session WHERE expires_at < $1 OR closed_at < $1")
                    .bind(now.plus_ms(-OLD_SESSION_MS).0)
                    .execute(&mut *tx)
                    .await
                    .map_err(StoreError::database("forget old sessions"))?;
                sqlx::query("DELETE FROM partial WHERE updated_at < $1")
                    .bind(now.plus_ms(-STALE_PARTIAL_MS).0)
                    .execute(tx)
                    .await
                    .map(|_| ())
                    .map_err(StoreError::database("forget old partials"))
            })
        })
        .await
}

/// Queues studies whose last objects do not come: those that the clinic calls complete, and those that it never finished.
pub(super) async fn queue_overdue(store: &Store, policy: &SlaPolicy, now: UtcMs) -> Result<(), StoreError> {
    let overdue: Vec<i64> = {
        let mut tx = store.read().await?;
        sqlx::query_scalar(
            "SELECT s.id FROM study s WHERE s.objects_here > 0 AND s.arrived_at < $1
               AND s.last_object_at < CASE WHEN s.completeness = 'complete' THEN $1 ELSE $3 END
               AND NOT EXISTS (SELECT 1 FROM work_item w WHERE w.study_id = s.id)
               AND NOT EXISTS (SELECT 1 FROM announced a JOIN partial p ON p.coded_hash = a.coded_hash AND p.clinic = s.clinic
                               WHERE a.study_id = s.id AND s.completeness <> 'complete' AND p.updated_at >= $3)
             ORDER BY s.id LIMIT $2",
        )
        .bind(now.plus_ms(-OVERDUE_MS).0)
        .bind(OVERDUE_ROUND)
        .bind(now.plus_ms(-SILENT_MS).0)
        .fetch_all(&mut *tx)
        .await
        .map_err(StoreError::database("find overdue studies"))?
    };
    for id in overdue {
        let policy = policy.clone();
        let queued =
            store.write(move |tx| Box::pin(async move { settle_with(tx, &policy, id, true, now).await }));
        if let Err(error) = queued.await {
            super::failed("overdue", &format!("study {id}"), &error);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::samples::{Film, Lab, NOW, manifest, overwrite, plain, policy};
    use relay_core::study::{Class, Completeness, Manifest};

    #[tokio::test]
    async fn a_complete_study_whose_last_object_never_comes_is_queued_after_a_while() {
        let lab = Lab::new().await;
        let (one, two) = (Film::default().bytes(), Film { sop: 2, ..Film::default() }.bytes());
        lab.deliver("a", &manifest(Class::Routine, vec![plain(&one), plain(&two)]), &[&one]).await;
        queue_overdue(&lab.store, &policy(), NOW.plus_ms(MINUTE_MS)).await.unwrap();
        assert_eq!(lab.number("SELECT count(*) FROM work_item").await, 0);
        for _ in 0..2 {
            queue_overdue(&lab.store, &policy(), NOW.plus_ms(11 * MINUTE_MS)).await.unwrap();
        }
        assert_eq!(lab.number("SELECT count(*) FROM work_item").await, 1);
    }

    #[tokio::test]
    async fn a_study_whose_clinic_falls_silent_before_its_end_is_queued_and_stays_partial() {
        let lab = Lab::new().await;
        let bytes = Film::default().bytes();
        let unfinished =
            Manifest { completeness: Completeness::Partial, ..manifest(Class::Routine, vec![plain(&bytes)]) };
        lab.deliver("a", &unfinished, &[&bytes]).await;
        queue_overdue(&lab.store, &policy(), NOW.plus_ms(14 * MINUTE_MS)).await.unwrap();
        assert_eq!(lab.number("SELECT count(*) FROM work_item").await, 0);
        for _ in 0..2 {
            queue_overdue(&lab.store, &policy(), NOW.plus_ms(16 * MINUTE_MS)).await.unwrap();
        }
        assert_eq!(lab.number("SELECT count(*) FROM work_item WHERE state = 'waiting'").await, 1);
        assert_eq!(lab.number("SELECT count(*) FROM work_item WHERE promise_at IS NOT NULL").await, 1);
        assert_eq!(lab.text("SELECT completeness FROM study").await, "partial");
        // What comes after all makes it whole; there is no second item.
        let finished = Manifest {
            generation: 2,
            completeness: Completeness::Complete,
            ..manifest(Class::Routine, vec![plain(&bytes)])
        };
        lab.offer("a", &finished).await.unwrap();
        assert_eq!(lab.text("SELECT completeness FROM study").await, "complete");
        assert_eq!(lab.number("SELECT count(*) FROM work_item").await, 1);
    }

    #[tokio::test]
    async fn a_start_drops_left_over_files_and_keeps_named_partials() {
        let lab = Lab::new().await;
        let bytes = Film { side: 2048, ..Film::default() }.bytes();
        let offer = manifest(Class::Routine, vec![plain(&bytes)]);
        lab.offer("a", &offer).await.unwrap();
        lab.send("a", &offer.study, &plain(&bytes), &bytes, 0..5 << 20).await.unwrap();
        overwrite(lab.store.blobs().partial_path("left-over.plain"), b"x");
        at_start(&lab.store, "county", NOW).await.unwrap();
        assert!(!lab.store.blobs().partial_path("left-over.plain").exists());
        assert_eq!(std::fs::read_dir(lab.store.blobs().partial_path("")).unwrap().count(), 1);
    }
}

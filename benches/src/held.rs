//! The clinics' end of the link without the clinics' bookkeeping: what waits was spooled before, and what the county says
//! is kept in memory, so that the county is what is measured.

use async_trait::async_trait;
use relay_agent::courier::ports::{Answering, Inbox, LetterFate, Outbox, PortError};
use relay_agent::spool::Spool;
use relay_core::clock::UtcMs;
use relay_core::codes::Refusal;
use relay_core::ids::{LetterId, NoteId, ObjectHash, StudyUid};
use relay_core::letter::{LetterHead, Note};
use relay_core::study::Manifest;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Studies that one spool holds at most.
const MAX_STUDIES: usize = 100_000;

/// A spool's studies until their objects are receipted.
pub struct Held {
    spool: Spool,
    waiting: Mutex<BTreeMap<StudyUid, (Manifest, BTreeSet<ObjectHash>)>>,
    left: watch::Sender<usize>,
    changes: watch::Sender<u64>,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").field("left", &*self.left.borrow()).finish_non_exhaustive()
    }
}

impl Held {
    /// Everything that waits in `spool`.
    ///
    /// # Errors
    /// Of the spool.
    pub async fn in_spool(spool: Spool) -> Result<Self, PortError> {
        let manifests = spool.pending_studies(MAX_STUDIES).await?;
        let waiting: BTreeMap<_, _> = manifests
            .into_iter()
            .map(|m| (m.study.clone(), (m.clone(), m.objects.iter().map(|o| o.hash).collect())))
            .collect();
        let (left, _) = watch::channel(waiting.len());
        let (changes, _) = watch::channel(0);
        Ok(Self { spool, waiting: Mutex::new(waiting), left, changes })
    }

    /// Bytes of the forms in which what waits travels.
    #[must_use]
    pub fn coded_bytes(&self) -> u64 {
        self.waiting().values().flat_map(|(manifest, _)| &manifest.objects).map(|o| o.coded.length).sum()
    }

    /// How many studies are not receipted whole.
    #[must_use]
    pub fn left(&self) -> watch::Receiver<usize> {
        self.left.subscribe()
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<StudyUid, (Manifest, BTreeSet<ObjectHash>)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unexpected(step: &'static str, why: &impl std::fmt::Display) -> PortError {
    PortError { step, source: anyhow::anyhow!("{why}") }
}

#[async_trait]
impl Outbox for Held {
    async fn pending_studies(&self, limit: usize) -> Result<Vec<Manifest>, PortError> {
        Ok(self.waiting().values().take(limit).map(|(manifest, _)| manifest.clone()).collect())
    }

    async fn greeted(&self, _: &Answering) -> Result<(), PortError> {
        Ok(())
    }

    async fn line_measured(&self, _: u64) -> Result<(), PortError> {
        Ok(())
    }

    async fn missing(&self, _study: &StudyUid, _objects: &[ObjectHash]) -> Result<(), PortError> {
        Ok(())
    }

    async fn wanted(&self, study: &StudyUid, _objects: &[ObjectHash]) -> Result<Vec<ObjectHash>, PortError> {
        Err(unexpected("the county has lost objects", study))
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    async fn open_coded(&self, study: &StudyUid, object: &ObjectHash) -> Result<tokio::fs::File, PortError> {
        let coded = self.waiting().get(study).and_then(|(manifest, _)| {
            manifest.objects.iter().find(|known| known.hash == *object).map(|known| known.coded.hash)
        });
        let coded = coded.ok_or_else(|| unexpected("the county asks for what it has", object))?;
        let path = self.spool.blobs().path_of(&coded);
        tokio::fs::File::open(&path).await.map_err(|error| unexpected("open a coded form", &error))
    }

    async fn receipted(
        &self,
        study: &StudyUid,
        _generation: u64,
        objects: &[ObjectHash],
        _at: UtcMs,
    ) -> Result<(), PortError> {
        let mut waiting = self.waiting();
        if let Some((_, missing)) = waiting.get_mut(study) {
            missing.retain(|hash| !objects.contains(hash));
            if missing.is_empty() {
                waiting.remove(study);
                self.left.send_replace(waiting.len());
                self.changes.send_modify(|count| *count += 1);
            }
        }
        Ok(())
    }

    async fn refused(
        &self,
        study: &StudyUid,
        _object: Option<&ObjectHash>,
        _generation: u64,
        refusal: &Refusal,
    ) -> Result<(), PortError> {
        tracing::error!(%study, %refusal, "the county refuses what the measurement sends");
        Err(unexpected("the county refuses", refusal))
    }

    async fn progress(&self, _study: &StudyUid, _coded_bytes_at_county: u64) {}

    async fn pending_notes(&self, _limit: usize) -> Result<Vec<Note>, PortError> {
        Ok(Vec::new())
    }

    async fn note_receipted(&self, _id: &NoteId, _at: UtcMs) -> Result<(), PortError> {
        Ok(())
    }

    async fn note_refused(&self, _id: &NoteId, refusal: &Refusal) -> Result<(), PortError> {
        Err(unexpected("the county refuses a note", refusal))
    }
}

/// Takes every letter and keeps its name.
#[derive(Debug, Default)]
pub struct Letters(Mutex<BTreeMap<LetterId, UtcMs>>);

#[async_trait]
impl Inbox for Letters {
    async fn has(&self, id: &LetterId, _hash: &ObjectHash) -> Result<Option<UtcMs>, PortError> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).copied())
    }

    async fn revocations(&self, _list: Vec<u8>) -> Result<bool, Refusal> {
        Ok(false)
    }

    async fn accept(&self, head: &LetterHead, _body: Vec<u8>, now: UtcMs) -> Result<LetterFate, PortError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(head.id.clone(), now);
        Ok(LetterFate::Stored { at: now })
    }
}

//! The models behind the drivers' ports.

use super::clinic::Clinic;
use super::county::{County, Place};
use async_trait::async_trait;
use bytes::Bytes;
use relay_agent::courier::ports::{Answering, Inbox, LetterFate, Outbox, PortError};
use relay_agent::trust::Device;
use relay_core::clock::UtcMs;
use relay_core::codes::{Code, Refusal};
use relay_core::ids::{ClinicId, LetterId, NoteId, ObjectHash, StudyUid};
use relay_core::letter::{LetterHead, Note};
use relay_core::link::frame;
use relay_core::link::gateway::Greeting;
use relay_core::study::{Manifest, ManifestObject};
use relay_gateway::link::Reception;
use relay_gateway::link::ports::{Custody, ObjectReceipt, ObjectState, ObjectWriter};
use std::collections::BTreeMap;
use std::io::{Seek as _, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A clinic behind the courier's ports.
#[derive(Debug, Clone)]
pub struct ClinicPorts {
    clinic: Arc<Mutex<Clinic>>,
    changed: watch::Sender<u64>,
    /// Takes revocation lists.
    device: Option<Arc<Device>>,
}

impl ClinicPorts {
    /// Behind ports from now on.
    #[must_use]
    pub fn new(clinic: Clinic) -> Self {
        let changed = watch::Sender::new(clinic.version);
        Self { clinic: Arc::new(Mutex::new(clinic)), changed, device: None }
    }

    /// With a device that takes the revocation lists that come.
    #[must_use]
    pub fn trusting(self, device: &Arc<Device>) -> Self {
        Self { device: Some(Arc::clone(device)), ..self }
    }

    /// Looks at the model or changes it, and tells who waits for changes.
    pub fn with<T>(&self, act: impl FnOnce(&mut Clinic) -> T) -> T {
        let mut clinic = lock(&self.clinic);
        let before = clinic.version;
        let result = act(&mut clinic);
        if clinic.version != before {
            self.changed.send_replace(clinic.version);
        }
        result
    }

    /// Waits until the model is as described.
    ///
    /// # Panics
    /// When it is not within `seconds`.
    pub async fn until(&self, seconds: u64, what: &str, is_so: impl Fn(&Clinic) -> bool) {
        let mut changes = self.changed.subscribe();
        let wait = async {
            while !is_so(&lock(&self.clinic)) {
                changes.changed().await.expect("the model lives");
            }
        };
        let waited = tokio::time::timeout(std::time::Duration::from_secs(seconds), wait).await;
        assert!(waited.is_ok(), "not within {seconds} s: {what}");
    }
}

fn port_error(step: &'static str) -> PortError {
    PortError { step, source: anyhow::anyhow!("not in this model") }
}

#[async_trait]
impl Outbox for ClinicPorts {
    async fn pending_studies(&self, limit: usize) -> Result<Vec<Manifest>, PortError> {
        Ok(lock(&self.clinic).pending_studies(limit))
    }

    async fn greeted(&self, county: &Answering) -> Result<(), PortError> {
        self.with(|clinic| clinic.greeted(&county.store));
        Ok(())
    }

    async fn line_measured(&self, _bytes_per_second: u64) -> Result<(), PortError> {
        Ok(())
    }

    async fn missing(&self, study: &StudyUid, objects: &[ObjectHash]) -> Result<(), PortError> {
        self.with(|clinic| clinic.unreceipted(study, objects));
        Ok(())
    }

    async fn wanted(&self, study: &StudyUid, objects: &[ObjectHash]) -> Result<Vec<ObjectHash>, PortError> {
        self.with(|clinic| clinic.unreceipted(study, objects));
        Ok(Vec::new())
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    async fn open_coded(&self, _study: &StudyUid, object: &ObjectHash) -> Result<tokio::fs::File, PortError> {
        let coded = lock(&self.clinic).held.get(object).map(|held| held.coded.clone());
        let coded = coded.ok_or_else(|| port_error("open an object nobody holds"))?;
        let written = tempfile::tempfile().and_then(|mut file| {
            file.write_all(&coded)?;
            file.rewind()?;
            Ok(file)
        });
        let file = written.map_err(|e| PortError { step: "write the coded form", source: e.into() })?;
        Ok(tokio::fs::File::from_std(file))
    }

    async fn receipted(
        &self,
        study: &StudyUid,
        generation: u64,
        objects: &[ObjectHash],
        _at: UtcMs,
    ) -> Result<(), PortError> {
        self.with(|clinic| clinic.receipted(study, generation, objects));
        Ok(())
    }

    async fn refused(
        &self,
        study: &StudyUid,
        object: Option<&ObjectHash>,
        _generation: u64,
        refusal: &Refusal,
    ) -> Result<(), PortError> {
        self.with(|clinic| clinic.refused(study, object, refusal));
        Ok(())
    }

    async fn progress(&self, study: &StudyUid, coded_bytes_at_county: u64) {
        self.with(|clinic| {
            if let Some(out) = clinic.studies.get_mut(study) {
                out.progress = coded_bytes_at_county;
                clinic.version += 1;
            }
        });
    }

    async fn pending_notes(&self, limit: usize) -> Result<Vec<Note>, PortError> {
        Ok(lock(&self.clinic).notes.values().take(limit).cloned().collect())
    }

    async fn note_receipted(&self, id: &NoteId, _at: UtcMs) -> Result<(), PortError> {
        self.with(|clinic| clinic.note_receipted(id));
        Ok(())
    }

    async fn note_refused(&self, _id: &NoteId, _refusal: &Refusal) -> Result<(), PortError> {
        Ok(())
    }
}

#[async_trait]
impl Inbox for ClinicPorts {
    async fn has(&self, id: &LetterId, hash: &ObjectHash) -> Result<Option<UtcMs>, PortError> {
        let clinic = lock(&self.clinic);
        Ok(clinic.letters.get(id).filter(|(head, ..)| head.hash == *hash).map(|(_, _, at)| *at))
    }

    async fn revocations(&self, list: Vec<u8>) -> Result<bool, Refusal> {
        let newer = match &self.device {
            Some(device) => {
                device.take_crl(&list).map_err(|r| Refusal::new(Code::FieldInvalid, "list", r))?
            }
            None => false,
        };
        self.with(|clinic| {
            clinic.version += 1;
            clinic.revocations = Some(list);
        });
        Ok(newer)
    }

    async fn accept(&self, head: &LetterHead, body: Vec<u8>, now: UtcMs) -> Result<LetterFate, PortError> {
        let fate = self.with(|clinic| {
            clinic.version += 1;
            clinic.accept_letter(head, body, now)
        });
        Ok(match fate {
            Ok(at) => LetterFate::Stored { at },
            Err(refusal) => LetterFate::Refused(refusal),
        })
    }
}

/// A county behind the listener's ports.
#[derive(Debug, Clone)]
pub struct CountyPorts {
    county: Arc<Mutex<County>>,
    changed: watch::Sender<u64>,
    /// Letters written or answered.
    letters: watch::Sender<u64>,
    /// Objects whose bytes from this offset on are not taken yet.
    held: watch::Sender<BTreeMap<ObjectHash, u64>>,
}

impl CountyPorts {
    /// Behind ports from now on.
    #[must_use]
    pub fn new(county: County) -> Self {
        let (changed, letters) = (watch::Sender::new(0), watch::Sender::new(0));
        Self { county: Arc::new(Mutex::new(county)), changed, letters, held: watch::Sender::default() }
    }

    /// Takes no bytes of the object from `offset` on, until [`Self::release`].
    pub fn hold(&self, object: ObjectHash, offset: u64) {
        self.held.send_modify(|held| {
            held.insert(object, offset);
        });
    }

    /// Takes everything again.
    pub fn release(&self) {
        self.held.send_modify(BTreeMap::clear);
    }

    /// Changes letters, and tells who waits for it.
    pub fn with_letters<T>(&self, act: impl FnOnce(&mut County) -> T) -> T {
        let result = self.with(act);
        self.letters.send_modify(|n| *n += 1);
        result
    }

    /// Looks at the model or changes it, and tells who waits for changes.
    pub fn with<T>(&self, act: impl FnOnce(&mut County) -> T) -> T {
        let result = act(&mut lock(&self.county));
        self.changed.send_modify(|n| *n += 1);
        result
    }

    /// Waits until the model is as described.
    ///
    /// # Panics
    /// When it is not within `seconds`.
    pub async fn until(&self, seconds: u64, what: &str, is_so: impl Fn(&County) -> bool) {
        let mut changes = self.changed.subscribe();
        let wait = async {
            while !is_so(&lock(&self.county)) {
                changes.changed().await.expect("the model lives");
            }
        };
        let waited = tokio::time::timeout(std::time::Duration::from_secs(seconds), wait).await;
        assert!(waited.is_ok(), "not within {seconds} s: {what}");
    }
}

struct Writer {
    ports: CountyPorts,
    place: Place,
    object: ManifestObject,
    at: u64,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.ports.with(|county| county.sync(&self.place));
    }
}

#[async_trait]
impl ObjectWriter for Writer {
    async fn write(&mut self, chunk: Bytes) -> Result<(), Refusal> {
        let (place, at) = (&self.place, self.at);
        let mut held = self.ports.held.subscribe();
        let free = |held: &BTreeMap<ObjectHash, u64>| held.get(&place.2).is_none_or(|from| at < *from);
        held.wait_for(free).await.expect("the model lives");
        self.ports.with(|county| county.write(place, at, &chunk))?;
        self.at += chunk.len() as u64;
        Ok(())
    }

    async fn finish(self: Box<Self>, now: UtcMs) -> Result<Option<ObjectReceipt>, Refusal> {
        let finished = self.ports.with(|county| county.finish(&self.place, &self.object, now))?;
        Ok(finished.map(|r| ObjectReceipt { hash: r.hash, sha256: r.sha256, stored_at: r.stored_at }))
    }
}

#[async_trait]
impl Custody for CountyPorts {
    async fn seen(&self, clinic: &ClinicId, online: bool, clock_offset_ms: Option<i64>, _now: UtcMs) {
        self.with(|county| {
            if online {
                county.online.insert(clinic.clone());
            } else {
                county.online.remove(clinic);
            }
            if let Some(offset) = clock_offset_ms {
                county.offsets.insert(clinic.clone(), offset);
            }
        });
    }

    async fn offered(
        &self,
        clinic: &ClinicId,
        manifest: &Manifest,
        _now: UtcMs,
    ) -> Result<Vec<ObjectState>, Refusal> {
        let states = self.with(|county| county.offered(clinic, manifest))?;
        Ok(states
            .into_iter()
            .map(|state| match state {
                frame::ObjectState::Stored => ObjectState::Stored,
                frame::ObjectState::Missing(ranges) => ObjectState::Missing(ranges),
                frame::ObjectState::Refused(refusal) => ObjectState::Refused(refusal),
            })
            .collect())
    }

    async fn open_writer(
        &self,
        clinic: &ClinicId,
        study: &StudyUid,
        object: &ManifestObject,
        offset: u64,
    ) -> Result<Box<dyn ObjectWriter>, Refusal> {
        let place = (clinic.clone(), study.clone(), object.hash);
        Ok(Box::new(Writer { ports: self.clone(), place, object: object.clone(), at: offset }))
    }

    async fn pending_letters(
        &self,
        clinic: &ClinicId,
        limit: usize,
        _now: UtcMs,
    ) -> Result<Vec<LetterHead>, Refusal> {
        Ok(lock(&self.county).pending_letters(clinic, limit))
    }

    async fn damaged(
        &self,
        clinic: &ClinicId,
        _limit: usize,
    ) -> Result<Vec<(StudyUid, ObjectHash)>, Refusal> {
        Ok(lock(&self.county).damaged_of(clinic))
    }

    async fn letter_delayed(
        &self,
        clinic: &ClinicId,
        id: &LetterId,
        refusal: &Refusal,
        _now: UtcMs,
    ) -> Result<(), Refusal> {
        self.with(|county| county.delayed.insert((clinic.clone(), id.clone()), refusal.clone()));
        Ok(())
    }

    fn letter_changes(&self) -> watch::Receiver<u64> {
        self.letters.subscribe()
    }

    async fn letter_body(&self, clinic: &ClinicId, id: &LetterId, _now: UtcMs) -> Result<Bytes, Refusal> {
        let county = lock(&self.county);
        let letter = county.letters.get(&(clinic.clone(), id.clone()));
        let letter = letter.ok_or_else(|| Refusal::new(Code::NotFound, "letter", "no such letter"))?;
        Ok(Bytes::from(letter.body.clone()))
    }

    async fn letter_receipted(
        &self,
        clinic: &ClinicId,
        id: &LetterId,
        stored_at: UtcMs,
        _now: UtcMs,
    ) -> Result<(), Refusal> {
        self.with(|county| {
            if let Some(letter) = county.letters.get_mut(&(clinic.clone(), id.clone())) {
                letter.receipted = Some(stored_at);
            }
        });
        Ok(())
    }

    async fn letter_refused(
        &self,
        clinic: &ClinicId,
        id: &LetterId,
        refusal: &Refusal,
        _now: UtcMs,
    ) -> Result<(), Refusal> {
        self.with(|county| {
            if let Some(letter) = county.letters.get_mut(&(clinic.clone(), id.clone())) {
                letter.refused = Some(refusal.clone());
            }
        });
        Ok(())
    }

    async fn note(
        &self,
        clinic: &ClinicId,
        note: &Note,
        device_certificate: &[u8],
        _now: UtcMs,
    ) -> Result<(), Refusal> {
        if device_certificate.is_empty() {
            return Err(Refusal::new(Code::CertificateNoClinic, "certificate", "none was handed over"));
        }
        self.with(|county| county.notes.insert((clinic.clone(), note.id.clone()), note.clone()));
        Ok(())
    }
}

/// Greets every clinic with its id as name, until it is closed.
#[derive(Debug, Clone)]
pub struct OpenDoor(pub CountyPorts);

#[async_trait]
impl Reception for OpenDoor {
    async fn greet(
        &self,
        clinic: &ClinicId,
        _hello: &frame::Hello,
        _now: UtcMs,
    ) -> Result<Greeting, Refusal> {
        let store = lock(&self.0.county).store.clone();
        Ok(Greeting { clinic_name: clinic.to_string(), duty_phone: Some("0555-120".into()), store })
    }

    async fn still_welcome(&self, _clinic: &ClinicId) -> Result<(), Refusal> {
        Ok(())
    }
}

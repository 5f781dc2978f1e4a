//! Manifests: given to custody, answered, remembered for the data that follows.

use super::{GatewayEvent, GatewayLink, MAX_OBJECTS_PER_STUDY, limits};
use crate::codes::{Code, Refusal};
use crate::ids::{ObjectHash, StudyUid};
use crate::link::frame::{Frame, ObjectReceipt, ObjectState, ObjectStates, Scope};
use crate::link::{Now, is_final, range};
use crate::study::{Manifest, ManifestObject};
use std::collections::BTreeMap;
use std::ops::Range;

/// States in one frame: with the longest reasons in all of them the frame stays below its limit.
const STATES_PER_FRAME: usize = 256;

/// Pause (ms) that an agent is asked for when storage is full.
const STORAGE_FULL_PAUSE_MS: u64 = 30_000;

/// An object of a recorded manifest.
#[derive(Debug)]
pub(super) struct Awaited {
    pub(super) object: ManifestObject,
    pub(super) state: AwaitedState,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum AwaitedState {
    Stored,
    Missing(Vec<Range<u64>>),
    Refused,
}

/// A recorded manifest whose data may come.
#[derive(Debug)]
pub(super) struct Announced {
    pub(super) generation: u64,
    pub(super) urgent: bool,
    pub(super) objects: BTreeMap<ObjectHash, Awaited>,
}

impl Announced {
    /// Nothing of it is awaited any more: what is refused does not come.
    fn is_settled(&self) -> bool {
        self.objects.values().all(|o| matches!(o.state, AwaitedState::Stored | AwaitedState::Refused))
    }
}

impl GatewayLink {
    pub(super) fn handle_manifest(&mut self, manifest: Box<Manifest>) {
        if let Err(error) = manifest.check() {
            let scope = Scope::Study { study: manifest.study, generation: Some(manifest.generation) };
            return self.refuse(scope, Refusal::new(Code::RefusedManifest, "manifest", error.to_string()));
        }
        if !self.has_room_for(&manifest) {
            let scope = Scope::Study { study: manifest.study, generation: Some(manifest.generation) };
            return self
                .refuse(scope, Refusal::new(Code::Busy, "manifest", "too many unfinished studies at once"));
        }
        self.manifests_waiting += 1;
        self.events.push_back(GatewayEvent::Offered(manifest));
    }

    fn has_room_for(&mut self, manifest: &Manifest) -> bool {
        let fits = |studies: &BTreeMap<StudyUid, Announced>| {
            let others = || studies.iter().filter(|(uid, _)| **uid != manifest.study);
            let objects: usize = others().map(|(_, s)| s.objects.len()).sum();
            others().count() < limits::MAX_STUDIES_ANNOUNCED
                && objects + manifest.objects.len() <= limits::MAX_OBJECTS_ANNOUNCED
        };
        if !fits(&self.studies) {
            self.studies.retain(|_, s| !s.is_settled());
        }
        fits(&self.studies)
    }

    /// Custody's answer to a manifest: one state for each object, in the manifest's order.
    pub fn answer_manifest(
        &mut self,
        manifest: &Manifest,
        answer: Result<Vec<ObjectState>, Refusal>,
        now: Now,
    ) {
        self.manifests_waiting = self.manifests_waiting.saturating_sub(1);
        if self.is_closed() {
            return;
        }
        let (study, generation) = (manifest.study.clone(), manifest.generation);
        // A newer one was answered meanwhile; the agent no longer waits for this.
        if self.studies.get(&study).is_some_and(|known| known.generation > generation) {
            return;
        }
        let states = match answer {
            Ok(states) if states.len() == manifest.objects.len() => states,
            Ok(_) => {
                let refusal =
                    Refusal::new(Code::Internal, "manifest", "the answer does not fit the manifest");
                return self.refuse(Scope::Study { study, generation: Some(generation) }, refusal);
            }
            Err(refusal) => {
                self.pause_if_full(&refusal);
                return self.refuse(Scope::Study { study, generation: Some(generation) }, refusal);
            }
        };
        let states: Vec<(ObjectHash, ObjectState)> =
            manifest.objects.iter().map(|o| o.hash).zip(states).collect();
        self.remember(manifest, &states);
        for part in states.chunks(STATES_PER_FRAME) {
            let (study, states) = (study.clone(), part.to_vec());
            self.send(Frame::ObjectStates(ObjectStates { study, generation, at: now.utc, states }));
        }
        self.finish_whole_objects(&study);
        self.settle_waiting_streams(&study);
    }

    fn remember(&mut self, manifest: &Manifest, states: &[(ObjectHash, ObjectState)]) {
        let mut old = self.studies.remove(&manifest.study).map(|s| s.objects).unwrap_or_default();
        let mut objects = BTreeMap::new();
        for (object, (hash, state)) in manifest.objects.iter().zip(states) {
            let arriving = self.streams.values().any(|s| s.is_arriving(&manifest.study, hash));
            let state = match (state, old.remove(hash).map(|o| o.state)) {
                // While bytes arrive, what is missing is known better here than from what was synced.
                (ObjectState::Missing(_), Some(AwaitedState::Missing(ranges))) if arriving => {
                    AwaitedState::Missing(ranges)
                }
                (ObjectState::Missing(ranges), _) => AwaitedState::Missing(ranges.clone()),
                (ObjectState::Stored, _) => AwaitedState::Stored,
                (ObjectState::Refused(_), _) => AwaitedState::Refused,
            };
            objects.insert(*hash, Awaited { object: object.clone(), state });
        }
        let (generation, urgent) = (manifest.generation, manifest.class.is_urgent());
        self.studies.insert(manifest.study.clone(), Announced { generation, urgent, objects });
    }

    /// Objects of which nothing is missing and nothing arrives: a restart came between the last byte and the end.
    fn finish_whole_objects(&mut self, uid: &StudyUid) {
        let Some(study) = self.studies.get(uid) else { return };
        for (hash, awaited) in &study.objects {
            let whole = matches!(&awaited.state, AwaitedState::Missing(ranges) if ranges.is_empty());
            if whole && !self.streams.values().any(|s| s.is_arriving(uid, hash)) {
                let (study, object) = (uid.clone(), Box::new(awaited.object.clone()));
                self.events.push_back(GatewayEvent::FinishObject { study, object });
            }
        }
    }

    /// What came of finishing an object, after a data stream or [`GatewayEvent::FinishObject`].
    pub fn object_finished(
        &mut self,
        study: &StudyUid,
        object: &ObjectHash,
        outcome: Result<Option<ObjectReceipt>, Refusal>,
    ) {
        match outcome {
            Ok(Some(receipt)) => self.receipt(study, receipt),
            Ok(None) => {}
            Err(refusal) => {
                if is_final(&refusal) {
                    self.set_state(study, object, AwaitedState::Refused);
                }
                self.pause_if_full(&refusal);
                self.refuse(Scope::Object { study: study.clone(), object: *object }, refusal);
            }
        }
    }

    fn receipt(&mut self, uid: &StudyUid, receipt: ObjectReceipt) {
        self.set_state(uid, &receipt.hash, AwaitedState::Stored);
        let generation = self.studies.get(uid).map_or(0, |s| s.generation);
        if let Some(Frame::ObjectReceipts { study, generation: of, receipts }) = self.out.back_mut()
            && *study == *uid
            && *of == generation
            && receipts.len() < MAX_OBJECTS_PER_STUDY
        {
            receipts.push(receipt);
            return;
        }
        self.send(Frame::ObjectReceipts { study: uid.clone(), generation, receipts: vec![receipt] });
    }

    /// Takes what custody had and has lost of this clinic's objects, all of it each time, and asks the agent for what it
    /// was not asked for lately.
    pub fn want_again(&mut self, damaged: &[(StudyUid, ObjectHash)], now: Now) {
        if !self.is_up() {
            return;
        }
        self.wanted.retain(|place, _| damaged.contains(place));
        let mut studies: BTreeMap<&StudyUid, Vec<ObjectHash>> = BTreeMap::new();
        for place in damaged.iter().take(limits::MAX_WANTED) {
            let due = self.wanted.get(place).is_none_or(|again_at| now.mono_ms >= *again_at);
            if due {
                self.wanted.insert(place.clone(), now.mono_ms + limits::WANT_INTERVAL_MS);
                studies.entry(&place.0).or_default().push(place.1);
            }
        }
        for (study, objects) in studies {
            for part in objects.chunks(limits::MAX_WANTED_PER_FRAME) {
                self.send(Frame::Want { study: study.clone(), objects: part.to_vec() });
            }
        }
    }

    fn set_state(&mut self, uid: &StudyUid, hash: &ObjectHash, state: AwaitedState) {
        if let Some(awaited) = self.studies.get_mut(uid).and_then(|s| s.objects.get_mut(hash)) {
            awaited.state = state;
        }
    }

    fn pause_if_full(&mut self, refusal: &Refusal) {
        if refusal.code == Code::StorageFull {
            self.back_off(STORAGE_FULL_PAUSE_MS, refusal.clone());
        }
    }

    pub(super) fn take_range(&mut self, uid: &StudyUid, hash: &ObjectHash, part: &Range<u64>) {
        let Some(awaited) = self.studies.get_mut(uid).and_then(|s| s.objects.get_mut(hash)) else { return };
        if let AwaitedState::Missing(ranges) = &mut awaited.state {
            range::subtract(ranges, part);
            if ranges.is_empty() {
                self.finish_whole_objects(uid);
            }
        }
    }
}

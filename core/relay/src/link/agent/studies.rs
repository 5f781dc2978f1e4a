//! Studies on offer: which manifest was sent and answered, and where each object stands.

use super::{AgentEvent, AgentLink};
use crate::clock::UtcMs;
use crate::codes::Refusal;
use crate::ids::{ObjectHash, StudyUid};
use crate::link::frame::{Frame, ObjectReceipt, ObjectState, ObjectStates};
use crate::link::{Now, STOP_NOT_NEEDED, is_final, limits, range};
use crate::study::{Class, CodedForm, Manifest};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offer {
    /// The manifest must be sent.
    Needed,
    /// Refused for a passing reason: needed again at this time.
    Held { until: u64 },
    /// Sent; to be answered by this time.
    Sent { deadline: u64 },
    /// The county has recorded this generation.
    Answered,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// The county has not said what it lacks.
    Unknown,
    /// Its bytes went with the manifest, before the answer.
    Inline,
    /// Ranges are queued or on their way.
    Sending,
    /// Everything the county lacked was sent; the receipt is due.
    Awaiting,
    /// Durable there.
    Stored,
    /// Refused for good.
    Refused,
}

#[derive(Debug)]
pub(super) struct Object {
    pub(super) coded: CodedForm,
    pub(super) standing: Standing,
    /// Coded bytes at the county.
    pub(super) arrived: u64,
    /// Ranges queued, plus data streams not acknowledged.
    pub(super) open: u32,
    /// When it is due in the list of questions.
    pub(super) ask_at: Option<u64>,
    ask_wait: u64,
    /// The question was asked: the next answer decides.
    pub(super) asked: bool,
    /// It failed for a reason of its own, and nothing of it has arrived since.
    setback: bool,
}

#[derive(Debug)]
pub(super) struct Study {
    pub(super) manifest: Manifest,
    pub(super) offer: Offer,
    /// The county has answered some generation of it on this connection.
    known: bool,
    /// How often in a row its manifest was refused for a passing reason.
    setbacks: u32,
    pub(super) objects: BTreeMap<ObjectHash, Object>,
    /// Ranges to send, in the manifest's order.
    pub(super) todo: VecDeque<(ObjectHash, Range<u64>)>,
    /// Data streams that have bytes left to write, oldest first.
    pub(super) writing: VecDeque<u64>,
}

impl Object {
    /// Bytes of it have arrived.
    pub(super) const fn clear_setback(&mut self) {
        self.setback = false;
    }
}

/// Smaller goes first: class, then age.
pub(super) type Urgency = (Class, UtcMs, StudyUid);

impl Study {
    fn new(manifest: Manifest) -> Self {
        let mut study = Self {
            manifest,
            offer: Offer::Needed,
            known: false,
            setbacks: 0,
            objects: BTreeMap::new(),
            todo: VecDeque::new(),
            writing: VecDeque::new(),
        };
        study.adopt_objects();
        study
    }

    fn adopt_objects(&mut self) {
        for object in &self.manifest.objects {
            self.objects.entry(object.hash).or_insert_with(|| Object {
                coded: object.coded.clone(),
                standing: Standing::Unknown,
                arrived: 0,
                open: 0,
                ask_at: None,
                ask_wait: limits::RECEIPT_DEADLINE_MS,
                asked: false,
                setback: false,
            });
        }
    }

    pub(super) fn urgency(&self) -> Urgency {
        (self.manifest.class, self.manifest.first_object_at, self.manifest.study.clone())
    }

    pub(super) fn answer_deadline(&self) -> Option<u64> {
        match self.offer {
            Offer::Sent { deadline } => Some(deadline),
            Offer::Needed | Offer::Held { .. } | Offer::Answered => None,
        }
    }

    pub(super) fn held_until(&self) -> Option<u64> {
        match self.offer {
            Offer::Held { until } => Some(until),
            Offer::Needed | Offer::Sent { .. } | Offer::Answered => None,
        }
    }

    fn is_done(&self) -> bool {
        let settled = |o: &Object| matches!(o.standing, Standing::Stored | Standing::Refused);
        self.offer == Offer::Answered && self.objects.values().all(settled)
    }

    /// Held back by an error of its own: the manifest, or every object that is still to go.
    fn is_on_hold(&self) -> bool {
        let settled = |o: &&Object| matches!(o.standing, Standing::Stored | Standing::Refused);
        let mut open = self.objects.values().filter(|o| !settled(o)).peekable();
        self.setbacks > 0 || (open.peek().is_some() && open.all(|o| o.setback))
    }

    /// As [`Self::is_on_hold`], but its manifest is recorded: the gateway remembers it too.
    fn is_remembered_on_hold(&self) -> bool {
        self.setbacks == 0 && self.is_on_hold()
    }

    fn arrived(&self) -> u64 {
        self.objects.values().map(|o| o.arrived).sum()
    }
}

impl AgentLink {
    /// Takes a manifest to offer. A newer generation of a known study takes the old one's place at once; an equal or
    /// older one changes nothing. False when there is no room for it now: the most urgent should be offered first.
    pub fn offer_study(&mut self, manifest: Manifest) -> bool {
        if self.is_closed() {
            return false;
        }
        let Some(study) = self.studies.get_mut(&manifest.study) else { return self.take_study(manifest) };
        if manifest.generation <= study.manifest.generation {
            return true;
        }
        let same = |m: &Manifest, hash: &ObjectHash, coded: &CodedForm| {
            m.objects.iter().any(|o| o.hash == *hash && o.coded == *coded)
        };
        let gone: Vec<ObjectHash> = study
            .objects
            .iter()
            .filter(|(hash, object)| !same(&manifest, hash, &object.coded))
            .map(|(hash, _)| *hash)
            .collect();
        let uid = manifest.study.clone();
        for hash in &gone {
            self.drop_flows(&uid, hash);
        }
        let Some(study) = self.studies.get_mut(&uid) else { return false };
        for hash in &gone {
            study.objects.remove(hash);
        }
        study.manifest = manifest;
        study.adopt_objects();
        study.offer = Offer::Needed;
        true
    }

    fn take_study(&mut self, manifest: Manifest) -> bool {
        let (mut places, mut objects, mut objects_back) = (0, 0, 0);
        for study in self.studies.values() {
            let of = if study.is_on_hold() { &mut objects_back } else { &mut objects };
            *of += study.objects.len();
            places += usize::from(!study.is_on_hold());
        }
        // What is held back takes no place, as long as the memory for that lasts, here and at the gateway.
        let (refused, remembered) = self.on_hold();
        places += refused.saturating_sub(limits::MAX_STUDIES_ON_HOLD);
        places += remembered.saturating_sub(limits::MAX_STUDIES_REMEMBERED_ON_HOLD);
        objects += usize::saturating_sub(objects_back, limits::MAX_OBJECTS_HELD);
        let study = Study::new(manifest);
        let full = places >= limits::MAX_STUDIES_HELD
            || (places > 0 && objects + study.objects.len() > limits::MAX_OBJECTS_HELD);
        if full && !self.make_room_for(&study) {
            return false;
        }
        self.studies.insert(study.manifest.study.clone(), study);
        true
    }

    /// Studies that an error of their own holds back. Ask the outbox for so many more than there are places: it lists them
    /// too.
    #[must_use]
    pub fn studies_on_hold(&self) -> usize {
        let (refused, remembered) = self.on_hold();
        refused.min(limits::MAX_STUDIES_ON_HOLD) + remembered.min(limits::MAX_STUDIES_REMEMBERED_ON_HOLD)
    }

    /// By a refused manifest, and by their objects.
    fn on_hold(&self) -> (usize, usize) {
        let all = self.studies.values().filter(|s| s.is_on_hold()).count();
        let remembered = self.studies.values().filter(|s| s.is_remembered_on_hold()).count();
        (all - remembered, remembered)
    }

    /// Gives the least urgent study without open data back to the spool, if the new one is more urgent.
    fn make_room_for(&mut self, new: &Study) -> bool {
        let idle =
            self.studies.values().filter(|s| !s.is_on_hold() && s.objects.values().all(|o| o.open == 0));
        let Some(last) = idle.map(Study::urgency).max() else { return false };
        if last <= new.urgency() {
            return false;
        }
        self.remove_study(&last.2);
        true
    }

    pub(super) fn remove_study(&mut self, uid: &StudyUid) -> Option<Study> {
        let hashes: Vec<ObjectHash> = self.studies.get(uid)?.objects.keys().copied().collect();
        for hash in &hashes {
            self.drop_flows(uid, hash);
        }
        self.asks.retain(|(_, study, _)| study != uid);
        self.studies.remove(uid)
    }

    /// The most urgent manifest that may be sent now.
    pub(super) fn next_manifest(&mut self, now: Now) -> Option<Frame> {
        if !self.is_up() || self.paused_until.is_some_and(|at| now.mono_ms < at) {
            return None;
        }
        // Each kind has offers of its own: a row of refusals is waited for by nobody else.
        let unanswered = |on_hold: bool| {
            let asked = self.studies.values().filter(|s| s.answer_deadline().is_some());
            asked.filter(|s| s.is_on_hold() == on_hold).count()
        };
        let free = [unanswered(false), unanswered(true)].map(|n| n < limits::MAX_OFFERS_UNANSWERED);
        let may_go = |s: &&mut Study| {
            let free = free[usize::from(s.is_on_hold())];
            s.offer == Offer::Needed && (free || s.known || s.manifest.class.is_urgent())
        };
        let study = self.studies.values_mut().filter(may_go).min_by_key(|s| (s.is_on_hold(), s.urgency()))?;
        study.offer = Offer::Sent { deadline: now.mono_ms + limits::ANSWER_DEADLINE_MS };
        queue_inline(study, self.inline_bytes);
        Some(Frame::Manifest(Box::new(study.manifest.clone())))
    }

    pub(super) fn handle_states(&mut self, answer: ObjectStates, now: Now) {
        let Some(study) = self.studies.get_mut(&answer.study) else { return };
        if answer.generation == study.manifest.generation && matches!(study.offer, Offer::Sent { .. }) {
            study.offer = Offer::Answered;
        }
        (study.known, study.setbacks) = (true, 0);
        let is_stored =
            |(hash, state): &(ObjectHash, ObjectState)| (*state == ObjectState::Stored).then_some(*hash);
        let mut objects: Vec<ObjectHash> = answer.states.iter().filter_map(is_stored).collect();
        objects.retain(|hash| self.settle(&answer.study, hash, Standing::Stored));
        let (study, generation, at) = (answer.study.clone(), answer.generation, answer.at);
        self.events.push_back(AgentEvent::Receipted { study, generation, objects, at });
        let mut lacking = Vec::new();
        for (hash, state) in answer.states {
            match state {
                ObjectState::Stored => {}
                ObjectState::Missing(ranges) => {
                    if self.handle_missing(&answer.study, &hash, ranges, now) {
                        lacking.push(hash);
                    }
                }
                ObjectState::Refused(refusal) => {
                    self.handle_object_refused(&answer.study, &hash, refusal, now)
                }
            }
        }
        if !lacking.is_empty() {
            self.events.push_back(AgentEvent::Missing { study: answer.study.clone(), objects: lacking });
        }
        self.report(&answer.study);
    }

    pub(super) fn handle_receipts(&mut self, uid: &StudyUid, generation: u64, receipts: &[ObjectReceipt]) {
        for receipt in receipts {
            self.settle(uid, &receipt.hash, Standing::Stored);
        }
        // A receipt is good news for the spool even if this machine has let go of the study meanwhile.
        let Some(at) = receipts.iter().map(|r| r.stored_at).max() else { return };
        let objects = receipts.iter().map(|r| r.hash).collect();
        self.events.push_back(AgentEvent::Receipted { study: uid.clone(), generation, objects, at });
        self.report(uid);
    }

    pub(super) fn handle_progress(&mut self, uid: &StudyUid, hash: &ObjectHash, received: u64) {
        let object = self.studies.get_mut(uid).and_then(|s| s.objects.get_mut(hash));
        if let Some(object) = object {
            object.arrived = object.arrived.max(received.min(object.coded.length));
            object.setback = false;
            self.report(uid);
        }
    }

    /// Progress, and the end of the study when nothing of it is open.
    pub(super) fn report(&mut self, uid: &StudyUid) {
        let Some(study) = self.studies.get(uid) else { return };
        let coded_bytes = study.arrived();
        self.events.push_back(AgentEvent::Progress { study: uid.clone(), coded_bytes });
        if study.is_done() {
            let generation = study.manifest.generation;
            self.remove_study(uid);
            self.events.push_back(AgentEvent::StudyDone { study: uid.clone(), generation });
        }
    }

    /// The object needs nothing more. False when it is not of this study.
    fn settle(&mut self, uid: &StudyUid, hash: &ObjectHash, standing: Standing) -> bool {
        if !self.studies.get(uid).is_some_and(|s| s.objects.contains_key(hash)) {
            return false;
        }
        self.drop_flows(uid, hash);
        self.do_not_ask(uid, hash);
        if let Some(object) = self.object_mut(uid, hash) {
            object.standing = standing;
            object.setback = false;
            if standing == Standing::Stored {
                object.arrived = object.coded.length;
            }
        }
        true
    }

    /// True when the county's word counts: it does not while bytes are on their way that it did not know of.
    fn handle_missing(
        &mut self,
        uid: &StudyUid,
        hash: &ObjectHash,
        ranges: Vec<Range<u64>>,
        now: Now,
    ) -> bool {
        let Some(object) = self.object_mut(uid, hash) else { return false };
        if !range::lawful(&ranges, object.coded.length) {
            let reason = format!("ranges of object {hash} are not lawful");
            let refusal = Refusal::new(crate::codes::Code::FrameMalformed, "states.ranges", reason);
            self.events.push_back(AgentEvent::Remark(refusal));
            return false;
        }
        let whole = range::total(&ranges) == object.coded.length;
        match object.standing {
            // On its way already. What the county says now was true before those bytes arrived.
            Standing::Sending => return false,
            Standing::Awaiting if !object.asked => return false,
            Standing::Inline if whole && object.open > 0 => {
                object.standing = Standing::Sending;
                return true;
            }
            Standing::Inline if whole && object.arrived == object.coded.length => {
                object.standing = Standing::Awaiting;
                self.ask_later(uid, hash, limits::RECEIPT_DEADLINE_MS, now);
                return true;
            }
            Standing::Inline
            | Standing::Unknown
            | Standing::Awaiting
            | Standing::Stored
            | Standing::Refused => {}
        }
        self.drop_flows(uid, hash);
        self.start(uid, hash, ranges, now);
        true
    }

    fn start(&mut self, uid: &StudyUid, hash: &ObjectHash, ranges: Vec<Range<u64>>, now: Now) {
        self.do_not_ask(uid, hash);
        let Some(study) = self.studies.get_mut(uid) else { return };
        let Some(object) = study.objects.get_mut(hash) else { return };
        object.asked = false;
        object.arrived = object.coded.length - range::total(&ranges);
        if ranges.is_empty() {
            object.standing = Standing::Awaiting;
            let wait = object.ask_wait;
            return self.ask_later(uid, hash, wait, now);
        }
        object.standing = Standing::Sending;
        object.open = u32::try_from(ranges.len()).unwrap_or(u32::MAX);
        study.todo.extend(ranges.into_iter().map(|r| (*hash, r)));
    }

    /// The question about this object is due after `wait` ms.
    pub(super) fn ask_later(&mut self, uid: &StudyUid, hash: &ObjectHash, wait: u64, now: Now) {
        self.do_not_ask(uid, hash);
        let at = now.mono_ms + wait;
        if let Some(object) = self.object_mut(uid, hash) {
            object.ask_at = Some(at);
            self.asks.insert((at, uid.clone(), *hash));
        }
    }

    fn do_not_ask(&mut self, uid: &StudyUid, hash: &ObjectHash) {
        let at = self.object_mut(uid, hash).and_then(|o| o.ask_at.take());
        if let Some(at) = at {
            self.asks.remove(&(at, uid.clone(), *hash));
        }
    }

    /// Manifests held back whose time has come.
    pub(super) fn release_held(&mut self, now: Now) {
        for study in self.studies.values_mut() {
            if study.held_until().is_some_and(|until| now.mono_ms >= until) {
                study.offer = Offer::Needed;
            }
        }
    }

    /// Objects whose receipt is overdue: send the manifest again, its answer says what became of them.
    pub(super) fn ask_again(&mut self, now: Now) {
        while let Some((at, uid, hash)) = self.asks.first().cloned() {
            if at > now.mono_ms {
                return;
            }
            self.asks.pop_first();
            let Some(study) = self.studies.get_mut(&uid) else { continue };
            let Some(object) = study.objects.get_mut(&hash) else { continue };
            object.asked = true;
            object.ask_wait = (object.ask_wait * 2).min(limits::RECEIPT_DEADLINE_MAX_MS);
            let wait = object.ask_wait;
            if !matches!(study.offer, Offer::Sent { .. }) {
                study.offer = Offer::Needed;
            }
            self.ask_later(&uid, &hash, wait, now);
        }
    }

    /// The county has lost objects: what is held here is asked about again, the rest is the outbox's to offer.
    pub(super) fn handle_want(&mut self, study: StudyUid, objects: Vec<ObjectHash>, now: Now) {
        for hash in &objects {
            if self.object_mut(&study, hash).is_some_and(|o| o.standing == Standing::Stored) {
                self.hold(&study, hash, limits::RETRY_MS, now);
                if let Some(object) = self.object_mut(&study, hash) {
                    object.arrived = 0;
                }
            }
        }
        self.events.push_back(AgentEvent::Wanted { study, objects });
    }

    pub(super) fn handle_study_refused(
        &mut self,
        uid: &StudyUid,
        generation: Option<u64>,
        refusal: Refusal,
        now: Now,
    ) {
        let Some(study) = self.studies.get_mut(uid) else { return };
        if generation.is_some_and(|g| g != study.manifest.generation) {
            return;
        }
        if is_final(&refusal) {
            return self.refuse_study(uid, refusal);
        }
        let longer = if study.manifest.class.is_urgent() {
            0
        } else {
            study.setbacks.min(limits::RETRY_MAX_MS.ilog2())
        };
        let wait = limits::RETRY_MAX_MS.min(limits::RETRY_MS << longer);
        study.offer = Offer::Held { until: now.mono_ms + wait };
        study.setbacks = study.setbacks.saturating_add(1);
        self.events.push_back(AgentEvent::Held { study: uid.clone(), object: None, refusal });
    }

    pub(super) fn refuse_study(&mut self, uid: &StudyUid, refusal: Refusal) {
        if let Some(gone) = self.remove_study(uid) {
            let (study, generation) = (uid.clone(), gone.manifest.generation);
            self.events.push_back(AgentEvent::Refused { study, object: None, generation, refusal });
        }
    }

    pub(super) fn handle_object_refused(
        &mut self,
        uid: &StudyUid,
        hash: &ObjectHash,
        refusal: Refusal,
        now: Now,
    ) {
        if is_final(&refusal) {
            if self.settle(uid, hash, Standing::Refused) {
                let (study, object) = (uid.clone(), Some(*hash));
                let generation = self.studies.get(uid).map_or(0, |s| s.manifest.generation);
                self.events.push_back(AgentEvent::Refused { study, object, generation, refusal });
                self.report(uid);
            }
            return;
        }
        self.hold(uid, hash, limits::RETRY_MS, now);
        self.events.push_back(AgentEvent::Held { study: uid.clone(), object: Some(*hash), refusal });
    }

    /// Sends no more of the object for now, and asks about it after `wait` ms.
    pub(super) fn hold(&mut self, uid: &StudyUid, hash: &ObjectHash, wait: u64, now: Now) {
        self.drop_flows(uid, hash);
        if let Some(object) = self.object_mut(uid, hash) {
            object.standing = Standing::Awaiting;
            object.setback = true;
            self.ask_later(uid, hash, wait, now);
        }
    }

    pub(super) fn object_mut(&mut self, uid: &StudyUid, hash: &ObjectHash) -> Option<&mut Object> {
        self.studies.get_mut(uid)?.objects.get_mut(hash)
    }

    /// Takes the object out of the queue and resets its streams.
    pub(super) fn drop_flows(&mut self, uid: &StudyUid, hash: &ObjectHash) {
        let of_object = |flow: &super::Flow| flow.object == *hash && flow.study == *uid;
        let keys: Vec<u64> = self.flows.iter().filter(|(_, f)| of_object(f)).map(|(key, _)| *key).collect();
        for key in &keys {
            if self.flows.remove(key).is_some_and(|flow| flow.opened) {
                self.events.push_back(AgentEvent::ResetData { key: *key, code: STOP_NOT_NEEDED });
            }
        }
        if let Some(study) = self.studies.get_mut(uid) {
            study.todo.retain(|(object, _)| object != hash);
            study.writing.retain(|key| !keys.contains(key));
            if let Some(object) = study.objects.get_mut(hash) {
                object.open = 0;
            }
        }
    }
}

/// Small urgent objects nobody has answered for go right after their manifest.
fn queue_inline(study: &mut Study, inline_bytes: u64) {
    if !study.manifest.class.is_urgent() || study.manifest.objects.len() > limits::MAX_INLINE_MANIFEST_OBJECTS
    {
        return;
    }
    let mut total = 0;
    for announced in &study.manifest.objects {
        let Some(object) = study.objects.get_mut(&announced.hash) else { continue };
        let length = object.coded.length;
        if object.standing != Standing::Unknown || length > inline_bytes {
            continue;
        }
        total += length;
        if total > limits::MAX_INLINE_TOTAL_BYTES {
            return;
        }
        object.standing = Standing::Inline;
        object.open = 1;
        study.todo.push_back((announced.hash, 0..length));
    }
}

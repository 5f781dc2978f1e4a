//! Which bytes go next, and what became of those that went.

use super::studies::{Standing, Urgency};
use super::{AgentEvent, AgentLink, limits};
use crate::codes::{Code, Refusal};
use crate::ids::{ObjectHash, StudyUid};
use crate::limits::DATA_CHUNK_BYTES;
use crate::link::Now;
use crate::link::frame::{Frame, ObjectData};
use crate::study::Class;
use std::ops::Range;

/// Ways to wait before an object that could not be read here is tried again, as a multiple of the retry time.
const UNREADABLE_RETRIES: u64 = 6;

/// One data stream: one range of one object.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) study: StudyUid,
    pub(super) object: ObjectHash,
    range: Range<u64>,
    /// First byte not yet written.
    next: u64,
    pub(super) opened: bool,
}

/// The next piece of data to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataJob {
    /// The data stream, by this end's own number.
    pub key: u64,
    /// The study, to find the bytes.
    pub study: StudyUid,
    /// The object, to find the bytes.
    pub object: ObjectHash,
    /// Header to open the stream with; `None` when it is open.
    pub header: Option<Vec<u8>>,
    /// Where in the coded form.
    pub offset: u64,
    /// How many bytes at most, never zero.
    pub length: usize,
    /// True when these bytes are the last of the stream.
    pub last: bool,
    /// Priority of the stream among all streams; a larger number goes first.
    pub priority: i32,
}

impl AgentLink {
    /// The most urgent piece of data, strict by class, then by age. The same job comes again until
    /// [`Self::data_opened`] and [`Self::data_written`] say what was done of it, or a more urgent one comes up.
    pub fn peek_data(&mut self, now: Now) -> Option<DataJob> {
        if !self.is_up() || self.paused_until.is_some_and(|at| now.mono_ms < at) {
            return None;
        }
        let open = self.flows.len();
        let free = |class: Class| {
            let kept = if class.is_urgent() { 0 } else { limits::FLOWS_KEPT_FOR_URGENT };
            open < limits::MAX_FLOWS - kept
        };
        let ready =
            |s: &&mut super::Study| !s.writing.is_empty() || (!s.todo.is_empty() && free(s.manifest.class));
        let study = self.studies.values_mut().filter(ready).min_by_key(|s| s.urgency())?;
        let priority = i32::from(u8::MAX - study.manifest.class.number());
        let key = match study.writing.front() {
            Some(key) => *key,
            None => {
                let (object, range) = study.todo.pop_front()?;
                let key = self.next_key;
                self.next_key += 1;
                study.writing.push_back(key);
                let (study, next) = (study.manifest.study.clone(), range.start);
                self.flows.insert(key, Flow { study, object, range, next, opened: false });
                key
            }
        };
        self.flows.get(&key).map(|flow| flow.job(key, priority))
    }

    /// True when something more urgent than the study of stream `key` has bytes to send: put the piece away.
    pub fn is_overtaken(&mut self, key: u64, now: Now) -> bool {
        let urgency = |link: &Self, key: u64| -> Option<Urgency> {
            let flow = link.flows.get(&key)?;
            link.studies.get(&flow.study).map(super::Study::urgency)
        };
        let Some(mine) = urgency(self, key) else { return true };
        let best = self.peek_data(now).map(|job| job.key);
        best.and_then(|best| urgency(self, best)).is_some_and(|best| best.0 < mine.0)
    }

    /// True while stream `key` is still wanted: neither cancelled nor acknowledged.
    #[must_use]
    pub fn is_open(&self, key: u64) -> bool {
        self.flows.contains_key(&key)
    }

    /// The header of the stream was written.
    pub fn data_opened(&mut self, key: u64) {
        if let Some(flow) = self.flows.get_mut(&key) {
            flow.opened = true;
        }
    }

    /// `count` bytes of the job were taken by the transport.
    pub fn data_written(&mut self, key: u64, count: usize) {
        let Some(flow) = self.flows.get_mut(&key) else { return };
        flow.next = flow.range.end.min(flow.next + count as u64);
        if flow.next == flow.range.end
            && let Some(study) = self.studies.get_mut(&flow.study)
        {
            study.writing.retain(|k| *k != key);
        }
    }

    /// The peer's transport has acknowledged the whole stream.
    pub fn data_acked(&mut self, key: u64, now: Now) {
        let Some(flow) = self.flows.remove(&key) else { return };
        let Some(object) = self.object_mut(&flow.study, &flow.object) else { return };
        object.open = object.open.saturating_sub(1);
        if object.open > 0 {
            return;
        }
        object.arrived = object.coded.length;
        object.clear_setback();
        if object.standing == Standing::Sending {
            object.standing = Standing::Awaiting;
            self.ask_later(&flow.study, &flow.object, limits::RECEIPT_DEADLINE_MS, now);
        }
        self.report(&flow.study);
    }

    /// The peer stopped the stream. Why comes as a frame, or the next answer says it.
    pub fn data_stopped(&mut self, key: u64, now: Now) {
        let Some(flow) = self.flows.get(&key) else { return };
        let (study, object) = (flow.study.clone(), flow.object);
        self.flows.get_mut(&key).expect("invariant: just found").opened = false;
        let inline = self.object_mut(&study, &object).is_some_and(|o| o.standing == Standing::Inline);
        if inline {
            // Its answer is still to come and says what is missing.
            self.drop_flows(&study, &object);
        } else {
            self.hold(&study, &object, limits::RETRY_MS, now);
        }
    }

    /// The bytes could not be read here. The object waits; the others go on.
    pub fn data_unreadable(&mut self, key: u64, now: Now) {
        if let Some(flow) = self.flows.get(&key) {
            let (study, object) = (flow.study.clone(), flow.object);
            self.hold(&study, &object, UNREADABLE_RETRIES * limits::RETRY_MS, now);
            let refusal =
                Refusal::new(Code::StorageFailed, "object", "its bytes cannot be read at the clinic");
            self.events.push_back(AgentEvent::Held { study, object: Some(object), refusal });
        }
    }
}

impl Flow {
    fn job(&self, key: u64, priority: i32) -> DataJob {
        let left = self.range.end - self.next;
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(DATA_CHUNK_BYTES);
        DataJob {
            key,
            study: self.study.clone(),
            object: self.object,
            header: (!self.opened).then(|| self.header()),
            offset: self.next,
            length,
            last: length as u64 == left,
            priority,
        }
    }

    fn header(&self) -> Vec<u8> {
        let (offset, length) = (self.range.start, self.range.end - self.range.start);
        let data = ObjectData { study: self.study.clone(), object: self.object, offset, length };
        Frame::ObjectData(data).encode().expect("invariant: a header of a few identifiers fits a frame")
    }
}

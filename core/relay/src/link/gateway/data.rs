//! Data streams: matched with what was announced, taken or stopped.

use super::studies::AwaitedState;
use super::{GatewayEvent, GatewayLink, limits};
use crate::codes::{Code, Refusal};
use crate::ids::{ObjectHash, StudyUid};
use crate::link::frame::{Frame, ObjectData, ObjectReceipt, Scope};
use crate::link::{Now, STOP_NOT_NEEDED, STOP_REFUSED, range};
use crate::study::ManifestObject;
use std::ops::Range;

/// What is to become of a data stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataVerdict {
    /// Open a writer at `data.offset` and take exactly `data.length` bytes.
    Take {
        /// The stream's header.
        data: ObjectData,
        /// The object as announced.
        object: Box<ManifestObject>,
        /// Of a study of class green or emergency.
        urgent: bool,
    },
    /// Stop the stream with this code.
    Stop {
        /// [`STOP_NOT_NEEDED`] or [`STOP_REFUSED`].
        code: u32,
    },
}

/// A data stream whose header was read.
#[derive(Debug)]
pub(super) struct Stream {
    data: ObjectData,
    state: StreamState,
}

#[derive(Debug)]
enum StreamState {
    /// Its manifest has not been answered yet.
    Waiting {
        until: u64,
    },
    Arriving {
        received: u64,
        reported_at: u64,
    },
}

impl Stream {
    pub(super) const fn deadline(&self) -> Option<u64> {
        match self.state {
            StreamState::Waiting { until } => Some(until),
            StreamState::Arriving { .. } => None,
        }
    }

    pub(super) fn is_arriving(&self, study: &StudyUid, object: &ObjectHash) -> bool {
        matches!(self.state, StreamState::Arriving { .. })
            && self.data.object == *object
            && self.data.study == *study
    }

    const fn range(&self) -> Range<u64> {
        self.data.offset..self.data.offset + self.data.length
    }
}

enum Match {
    Unknown,
    Take(Box<ManifestObject>, bool),
    NotNeeded,
    Refuse(Refusal),
}

impl GatewayLink {
    /// The header of data stream `stream` (this end's own number) was read. The verdict comes as an event.
    pub fn handle_data(&mut self, stream: u64, data: ObjectData, now: Now) {
        if !self.is_up() {
            return self.stop(stream, STOP_NOT_NEEDED);
        }
        let until = now.mono_ms + limits::UNANNOUNCED_WAIT_MS;
        self.streams.insert(stream, Stream { data, state: StreamState::Waiting { until } });
        self.judge(stream);
    }

    fn stop(&mut self, stream: u64, code: u32) {
        self.events.push_back(GatewayEvent::Data { stream, verdict: DataVerdict::Stop { code } });
    }

    fn judge(&mut self, number: u64) {
        let Some(stream) = self.streams.get(&number) else { return };
        match self.match_up(stream) {
            Match::Unknown => {}
            Match::Take(object, urgent) => {
                let verdict = DataVerdict::Take { data: stream.data.clone(), object, urgent };
                if let Some(stream) = self.streams.get_mut(&number) {
                    stream.state = StreamState::Arriving { received: 0, reported_at: 0 };
                }
                self.events.push_back(GatewayEvent::Data { stream: number, verdict });
            }
            Match::NotNeeded => {
                self.streams.remove(&number);
                self.stop(number, STOP_NOT_NEEDED);
            }
            Match::Refuse(refusal) => self.turn_away(number, refusal),
        }
    }

    fn turn_away(&mut self, number: u64, refusal: Refusal) {
        let Some(Stream { data, .. }) = self.streams.remove(&number) else { return };
        self.stop(number, STOP_REFUSED);
        self.refuse(Scope::Object { study: data.study, object: data.object }, refusal);
    }

    fn match_up(&self, stream: &Stream) -> Match {
        let (data, wanted) = (&stream.data, stream.range());
        let Some(study) = self.studies.get(&data.study) else { return Match::Unknown };
        // A newer manifest that names the object may be on its way.
        let Some(awaited) = study.objects.get(&data.object) else { return Match::Unknown };
        let coded = awaited.object.coded.length;
        if wanted.end > coded {
            let reason = format!("bytes {} to {} of {coded} announced", wanted.start, wanted.end);
            return Match::Refuse(Refusal::new(Code::RefusedLength, "length", reason));
        }
        let mut others = self.streams.values().filter(|s| s.is_arriving(&data.study, &data.object));
        match &awaited.state {
            AwaitedState::Missing(ranges)
                if range::covers(ranges, &wanted) && !others.any(|s| range::overlap(&s.range(), &wanted)) =>
            {
                Match::Take(Box::new(awaited.object.clone()), study.urgent)
            }
            AwaitedState::Missing(_) | AwaitedState::Stored | AwaitedState::Refused => Match::NotNeeded,
        }
    }

    pub(super) fn settle_waiting_streams(&mut self, study: &StudyUid) {
        let waiting = |s: &Stream| s.deadline().is_some() && s.data.study == *study;
        let numbers: Vec<u64> = self.streams.iter().filter(|(_, s)| waiting(s)).map(|(n, _)| *n).collect();
        for number in numbers {
            self.judge(number);
        }
    }

    pub(super) fn give_up_waiting_streams(&mut self, now: Now) {
        let late = |s: &Stream| s.deadline().is_some_and(|until| now.mono_ms >= until);
        let numbers: Vec<u64> = self.streams.iter().filter(|(_, s)| late(s)).map(|(n, _)| *n).collect();
        for number in numbers {
            let refusal = Refusal::new(Code::RefusedUnannounced, "object", "no manifest names this object");
            self.turn_away(number, refusal);
        }
    }

    pub(super) fn stop_waiting_streams(&mut self) {
        let numbers: Vec<u64> =
            self.streams.iter().filter(|(_, s)| s.deadline().is_some()).map(|(n, _)| *n).collect();
        for number in numbers {
            self.streams.remove(&number);
            self.stop(number, STOP_NOT_NEEDED);
        }
    }

    /// So many bytes of the stream have been taken by custody.
    pub fn data_progress(&mut self, number: u64, taken: u64, now: Now) {
        let Some(stream) = self.streams.get_mut(&number) else { return };
        let StreamState::Arriving { received, reported_at } = &mut stream.state else { return };
        *received = taken;
        if now.mono_ms < *reported_at + limits::PROGRESS_INTERVAL_MS || !self.out.is_empty() {
            return;
        }
        *reported_at = now.mono_ms;
        let (study, object) = (stream.data.study.clone(), stream.data.object);
        if let Some(received) = self.arrived(&study, &object) {
            self.send(Frame::ObjectProgress { study, object, received });
        }
    }

    fn arrived(&self, study: &StudyUid, object: &ObjectHash) -> Option<u64> {
        let awaited = self.studies.get(study)?.objects.get(object)?;
        let AwaitedState::Missing(ranges) = &awaited.state else { return None };
        let arriving = self.streams.values().filter(|s| s.is_arriving(study, object));
        let received: u64 = arriving
            .map(|s| match s.state {
                StreamState::Arriving { received, .. } => received,
                StreamState::Waiting { .. } => 0,
            })
            .sum();
        Some((awaited.object.coded.length - range::total(ranges)).saturating_add(received))
    }

    /// All bytes of the stream were given to custody, with this outcome; or custody refused on the way.
    pub fn data_finished(&mut self, number: u64, outcome: Result<Option<ObjectReceipt>, Refusal>) {
        let Some(stream) = self.streams.remove(&number) else { return };
        let (study, object, range) = (stream.data.study.clone(), stream.data.object, stream.range());
        let partly = outcome == Ok(None);
        self.object_finished(&study, &object, outcome);
        if partly {
            self.take_range(&study, &object, &range);
        }
    }

    /// The stream ended early without fault of this end: reset by the agent, or cut. The agent will ask.
    pub fn data_broken(&mut self, number: u64) {
        self.streams.remove(&number);
    }
}

//! What each frame from the gateway does.

use super::{AgentEvent, AgentLink, MIN_HEARTBEAT_MS, Phase};
use crate::codes::{Code, Refusal};
use crate::limits::MAX_URGENT_INLINE_BYTES;
use crate::link::clock::ClockSample;
use crate::link::frame::{Frame, HeartbeatAnswer, HelloAck, Scope};
use crate::link::{Now, VERSION, VERSION_MIN, limits};

impl AgentLink {
    pub(super) fn handle_frame(&mut self, frame: Frame, now: Now) {
        if matches!(self.phase, Phase::Greeting { .. }) {
            return self.handle_greeting(frame, now);
        }
        match frame {
            Frame::ObjectStates(answer) => self.handle_states(answer, now),
            Frame::ObjectReceipts { study, generation, receipts } => {
                self.handle_receipts(&study, generation, &receipts);
            }
            Frame::ObjectProgress { study, object, received } => {
                self.handle_progress(&study, &object, received)
            }
            Frame::Refused { scope, refusal } => self.handle_refused(scope, refusal, now),
            Frame::HeartbeatAnswer(answer) => self.handle_beat_answer(answer, now),
            Frame::Want { study, objects } => self.handle_want(study, objects, now),
            Frame::LetterOffer(head) => self.handle_letter_offer(head),
            Frame::NoteReceipt { id } => {
                if self.notes.remove(&id).is_some() {
                    self.events.push_back(AgentEvent::NoteReceipted(id));
                }
            }
            Frame::BackOff { ms, refusal } => self.handle_back_off(ms, refusal, now),
            Frame::Revocations { list } => self.events.push_back(AgentEvent::Revocations(list)),
            Frame::Bye(bye) => self.closed(bye.refusal),
            other => self.fail(unexpected(&other)),
        }
    }

    fn handle_greeting(&mut self, frame: Frame, now: Now) {
        match frame {
            Frame::HelloAck(ack) => self.greeted(ack, now),
            Frame::Refused { scope: Scope::Link, refusal } => self.closed(Some(refusal)),
            Frame::Refused { refusal, .. } => self.events.push_back(AgentEvent::Remark(refusal)),
            Frame::BackOff { ms, refusal } => self.handle_back_off(ms, refusal, now),
            Frame::Bye(bye) => self.closed(bye.refusal),
            other => self.fail(unexpected(&other)),
        }
    }

    fn greeted(&mut self, ack: HelloAck, now: Now) {
        if !(VERSION_MIN..=VERSION).contains(&ack.version) {
            let reason = format!("the gateway chose version {}, not offered", ack.version);
            return self.fail(Refusal::new(Code::VersionUnsupported, "version", reason));
        }
        self.phase = Phase::Up;
        self.inline_bytes = ack.limits.inline_bytes.min(MAX_URGENT_INLINE_BYTES);
        self.beats.interval_ms = ack.heartbeat_ms.clamp(MIN_HEARTBEAT_MS, limits::SILENCE_DEADLINE_MS / 4);
        self.beats.next_at = now.mono_ms;
        let hello = self.hello_sent;
        if let Some(sample) = ClockSample::of(hello.utc, ack.now, ack.now, hello.mono_ms, now.mono_ms) {
            self.estimate.add(sample);
        }
        self.events.push_back(AgentEvent::Up(ack));
    }

    fn handle_beat_answer(&mut self, answer: HeartbeatAnswer, now: Now) {
        let HeartbeatAnswer { sent_at, mono_ms, received_at, answered_at, .. } = answer;
        if let Some(sample) = ClockSample::of(sent_at, received_at, answered_at, mono_ms, now.mono_ms) {
            self.estimate.add(sample);
            self.events.push_back(AgentEvent::Clock(sample));
        }
    }

    fn handle_back_off(&mut self, ms: u64, refusal: Refusal, now: Now) {
        let ms = ms.min(limits::MAX_BACK_OFF_MS);
        self.paused_until = Some(now.mono_ms + ms);
        self.back_off_ms = Some(ms);
        self.events.push_back(AgentEvent::BackOff { ms, refusal });
    }

    fn handle_refused(&mut self, scope: Scope, refusal: Refusal, now: Now) {
        match scope {
            Scope::Link => self.closed(Some(refusal)),
            Scope::Frame(_) => self.events.push_back(AgentEvent::Remark(refusal)),
            Scope::Study { study, generation } => self.handle_study_refused(&study, generation, refusal, now),
            Scope::Object { study, object } => self.handle_object_refused(&study, &object, refusal, now),
            Scope::Letter(id) => self.letters.forget(&id),
            Scope::Note(id) => {
                if self.notes.remove(&id).is_some() {
                    self.events.push_back(AgentEvent::NoteRefused(id, refusal));
                }
            }
        }
    }
}

fn unexpected(frame: &Frame) -> Refusal {
    let name = frame.kind().name();
    Refusal::new(Code::FrameUnexpected, name, format!("frame {name} is not lawful in this state"))
}

//! The agent's end of the link.
//!
//! The driver gives it manifests and notes from the spool, bytes from the control stream and news of data streams; it
//! gives frames to write, the next piece of data to send, and events for spool and inbox.

mod data;
mod frames;
mod letters;
mod studies;

use super::clock::{ClockEstimate, ClockSample};
use super::frame::{Bye, Frame, FrameError, FrameReader, Heartbeat, Hello, HelloAck, Scope};
use super::{Now, VERSION, VERSION_MIN, limits};
use crate::clock::UtcMs;
use crate::codes::{Code, Refusal};
use crate::ids::{NoteId, ObjectHash, StudyUid};
use crate::letter::{LetterHead, Note};
use crate::limits::MAX_FRAME_BYTES;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub use data::DataJob;
pub use letters::{LetterAnswer, LetterOutcome};

use data::Flow;
use letters::Letters;
use studies::Study;

/// Heartbeats right after the hello that come at [`FIRST_BEAT_MS`], so that the clock is known within two seconds.
const FIRST_BEATS: u64 = 4;
/// Distance of the first heartbeats in ms.
const FIRST_BEAT_MS: u64 = 500;
/// Least heartbeat interval (ms) that a gateway may ask for.
const MIN_HEARTBEAT_MS: u64 = 500;

/// What the agent says of itself.
#[derive(Debug, Clone)]
pub struct AgentSettings {
    /// Name and version of the software.
    pub software: String,
    /// What it can do beyond the version.
    pub capabilities: Vec<String>,
}

/// What happened, for the driver to carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentEvent {
    /// The gateway has answered: only now the link is up.
    Up(HelloAck),
    /// The county holds these objects durably, as of this generation of the manifest (which it has recorded too, so
    /// that the list may be empty).
    Receipted {
        /// Which study.
        study: StudyUid,
        /// Which generation of the manifest is recorded.
        generation: u64,
        /// Objects that are durable there.
        objects: Vec<ObjectHash>,
        /// When.
        at: UtcMs,
    },
    /// The county refuses for good: one object, or the whole study.
    Refused {
        /// Which study.
        study: StudyUid,
        /// Which object; `None` for the whole.
        object: Option<ObjectHash>,
        /// The generation that was offered: a newer one is not refused by it.
        generation: u64,
        /// Why.
        refusal: Refusal,
    },
    /// The county lacks these objects, whatever it said before.
    Missing {
        /// Which study.
        study: StudyUid,
        /// Which objects.
        objects: Vec<ObjectHash>,
    },
    /// The county has lost these objects and asks for them again.
    Wanted {
        /// Which study.
        study: StudyUid,
        /// Which objects.
        objects: Vec<ObjectHash>,
    },
    /// A study, or one object of it, is held back by an error of its own and tried again later. It takes no place: ask the
    /// outbox again.
    Held {
        /// Which study.
        study: StudyUid,
        /// Which object; `None` for the whole.
        object: Option<ObjectHash>,
        /// Why.
        refusal: Refusal,
    },
    /// Coded bytes of the study at the county.
    Progress {
        /// Which study.
        study: StudyUid,
        /// Bytes there, receipted or not.
        coded_bytes: u64,
    },
    /// Nothing of this generation is open any more.
    StudyDone {
        /// Which study.
        study: StudyUid,
        /// Which generation.
        generation: u64,
    },
    /// A letter waits: ask the inbox, then call [`AgentLink::answer_letter`].
    LetterOffered(LetterHead),
    /// The county holds the note.
    NoteReceipted(NoteId),
    /// The county refuses the note.
    NoteRefused(NoteId, Refusal),
    /// The county's revocation list, to be verified and taken.
    Revocations(Vec<u8>),
    /// A heartbeat was answered.
    Clock(ClockSample),
    /// This data stream is to be reset with the code.
    ResetData {
        /// Which stream.
        key: u64,
        /// With which code.
        code: u32,
    },
    /// The gateway asks for a pause.
    BackOff {
        /// How long.
        ms: u64,
        /// Why.
        refusal: Refusal,
    },
    /// The peer did not understand a frame, or this end did not; for the log.
    Remark(Refusal),
    /// The link is over: write what [`AgentLink::poll_frame`] still gives, then close.
    Closed {
        /// Why; `None` is an orderly end by the peer.
        refusal: Option<Refusal>,
        /// When to come back at the earliest, in ms, as the gateway asked.
        back_off_ms: Option<u64>,
    },
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    Greeting { deadline: u64 },
    Up,
    Closed,
}

#[derive(Debug)]
struct Beats {
    seq: u64,
    interval_ms: u64,
    next_at: u64,
}

/// The state machine of the agent's end, for one connection.
#[derive(Debug)]
pub struct AgentLink {
    phase: Phase,
    hello_sent: Now,
    reader: FrameReader,
    out: VecDeque<Frame>,
    events: VecDeque<AgentEvent>,
    studies: BTreeMap<StudyUid, Study>,
    flows: BTreeMap<u64, Flow>,
    next_key: u64,
    /// When to ask again about an object without receipt.
    asks: BTreeSet<(u64, StudyUid, ObjectHash)>,
    letters: Letters,
    notes: BTreeMap<NoteId, u64>,
    beats: Beats,
    heard_at: u64,
    estimate: ClockEstimate,
    paused_until: Option<u64>,
    back_off_ms: Option<u64>,
    inline_bytes: u64,
}

impl AgentLink {
    /// A link whose connection was just made. The hello is the first frame to write.
    #[must_use]
    pub fn new(settings: AgentSettings, now: Now) -> Self {
        let AgentSettings { software, capabilities } = settings;
        let hello =
            Hello { version_min: VERSION_MIN, version_max: VERSION, capabilities, software, now: now.utc };
        Self {
            phase: Phase::Greeting { deadline: now.mono_ms + limits::HELLO_DEADLINE_MS },
            hello_sent: now,
            reader: FrameReader::new(MAX_FRAME_BYTES),
            out: VecDeque::from([Frame::Hello(hello)]),
            events: VecDeque::new(),
            studies: BTreeMap::new(),
            flows: BTreeMap::new(),
            next_key: 0,
            asks: BTreeSet::new(),
            letters: Letters::default(),
            notes: BTreeMap::new(),
            beats: Beats { seq: 0, interval_ms: limits::HEARTBEAT_INTERVAL_MS, next_at: u64::MAX },
            heard_at: now.mono_ms,
            estimate: ClockEstimate::default(),
            paused_until: None,
            back_off_ms: None,
            inline_bytes: 0,
        }
    }

    /// True between the gateway's answer and the end.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.phase == Phase::Up
    }

    /// True while something of this end waits for the gateway: its hello, a study that is not settled, a note.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        let greeting = matches!(self.phase, Phase::Greeting { .. });
        greeting || (self.is_up() && !(self.studies.is_empty() && self.notes.is_empty()))
    }

    /// True after the end: nothing more comes out but the frames still waiting.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// False while too many answers wait to be written: then read no more from the control stream.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        self.out.len() < limits::MAX_FRAMES_WAITING
    }

    /// The best measurement of the county's clock.
    #[must_use]
    pub fn clock(&self) -> Option<ClockSample> {
        self.estimate.best()
    }

    /// Notes sent and not answered; the driver offers more when there are fewer than the limit.
    #[must_use]
    pub fn notes_waiting(&self) -> usize {
        self.notes.len()
    }

    /// Takes bytes of the control stream.
    pub fn handle_control(&mut self, bytes: &[u8], now: Now) {
        self.reader.push(bytes);
        while self.phase != Phase::Closed {
            match self.reader.next_frame() {
                None => return,
                Some(Ok(frame)) => {
                    self.heard_at = now.mono_ms;
                    self.handle_frame(frame, now);
                }
                Some(Err(error)) => self.handle_bad_frame(&error),
            }
        }
    }

    fn handle_bad_frame(&mut self, error: &FrameError) {
        let refusal = error.refusal();
        let scope = match error {
            FrameError::Unknown { number } => Some(Scope::Frame(*number)),
            FrameError::Malformed { scope, .. } => scope.as_deref().cloned(),
            FrameError::TooLarge { .. } | FrameError::TooShort { .. } => None,
        };
        match scope {
            Some(scope) => {
                self.events.push_back(AgentEvent::Remark(refusal.clone()));
                self.out.push_back(Frame::Refused { scope, refusal });
            }
            None => self.fail(refusal),
        }
    }

    /// Ends the link with a refusal that the peer is told.
    pub fn fail(&mut self, refusal: Refusal) {
        if self.phase != Phase::Closed {
            self.out.push_back(Frame::Bye(Bye { refusal: Some(refusal.clone()) }));
            self.closed(Some(refusal));
        }
    }

    /// Ends the link in order: this end is shutting down.
    pub fn leave(&mut self) {
        if self.phase != Phase::Closed {
            self.out.push_back(Frame::Bye(Bye::default()));
            self.closed(None);
        }
    }

    fn closed(&mut self, refusal: Option<Refusal>) {
        self.phase = Phase::Closed;
        self.flows.clear();
        self.events.push_back(AgentEvent::Closed { refusal, back_off_ms: self.back_off_ms });
    }

    /// Takes a note to send. False when it waits already or there is no room: offer it again later.
    pub fn offer_note(&mut self, note: Note, now: Now) -> bool {
        let full = self.notes.len() >= limits::MAX_NOTES_UNANSWERED;
        if self.phase != Phase::Up || full || self.notes.contains_key(&note.id) {
            return false;
        }
        self.notes.insert(note.id.clone(), now.mono_ms + limits::ANSWER_DEADLINE_MS);
        self.out.push_back(Frame::Note(note));
        true
    }

    /// Says that an object the county asked for is not here any more.
    pub fn decline(&mut self, study: StudyUid, object: ObjectHash) {
        if self.is_up() {
            let refusal = Refusal::new(Code::NotFound, "object", "the clinic no longer holds these bytes");
            self.out.push_back(Frame::Refused { scope: Scope::Object { study, object }, refusal });
        }
    }

    /// The next frame to write to the control stream, as bytes.
    pub fn poll_frame(&mut self, now: Now) -> Option<Vec<u8>> {
        loop {
            let frame = self.out.pop_front().or_else(|| self.next_manifest(now))?;
            match frame.encode() {
                Ok(bytes) => return Some(bytes),
                // Only a manifest can grow that large, and the spool holds the same limit.
                Err(error) => {
                    let refusal = Refusal { code: Code::RefusedTooLarge, ..error.refusal() };
                    if let Frame::Manifest(manifest) = frame {
                        self.refuse_study(&manifest.study, refusal);
                    } else {
                        self.events.push_back(AgentEvent::Remark(refusal));
                    }
                }
            }
        }
    }

    /// The next thing for the driver to carry out.
    pub fn poll_event(&mut self) -> Option<AgentEvent> {
        self.events.pop_front()
    }

    /// When [`Self::handle_timeout`] must be called at the latest, on the monotonic clock.
    #[must_use]
    pub fn next_timeout(&self) -> Option<u64> {
        match self.phase {
            Phase::Closed => None,
            Phase::Greeting { deadline } => Some(deadline),
            Phase::Up => {
                let silence = self.heard_at + limits::SILENCE_DEADLINE_MS;
                let ask = self.asks.first().map(|(at, ..)| *at);
                let answer = self.studies.values().filter_map(Study::answer_deadline).min();
                let note = self.notes.values().min().copied();
                let held = self.studies.values().filter_map(Study::held_until).min();
                [Some(silence), Some(self.beats.next_at), self.paused_until, ask, answer, note, held]
                    .into_iter()
                    .flatten()
                    .min()
            }
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        match self.phase {
            Phase::Closed => return,
            Phase::Greeting { deadline } => {
                if now.mono_ms >= deadline {
                    self.fail(Refusal::new(Code::TimedOut, "hello", "the gateway did not answer the hello"));
                }
                return;
            }
            Phase::Up => {}
        }
        if now.mono_ms >= self.heard_at + limits::SILENCE_DEADLINE_MS {
            return self.fail(Refusal::new(Code::TimedOut, "heartbeat", "the gateway is silent"));
        }
        let answer = self.studies.values().filter_map(Study::answer_deadline).min();
        let note = self.notes.values().min().copied();
        if [answer, note].into_iter().flatten().any(|at| now.mono_ms >= at) {
            return self.fail(Refusal::new(
                Code::TimedOut,
                "answer",
                "a manifest or note was not answered in time",
            ));
        }
        if self.paused_until.is_some_and(|at| now.mono_ms >= at) {
            self.paused_until = None;
            self.back_off_ms = None;
        }
        self.release_held(now);
        self.ask_again(now);
        if now.mono_ms >= self.beats.next_at {
            self.beat(now);
        }
    }

    fn beat(&mut self, now: Now) {
        let offset_ms = self.estimate.best().map(|s| s.offset_ms);
        let (seq, mono_ms) = (self.beats.seq, now.mono_ms);
        self.out.push_back(Frame::Heartbeat(Heartbeat { seq, sent_at: now.utc, mono_ms, offset_ms }));
        self.beats.seq += 1;
        let first = self.beats.interval_ms.min(FIRST_BEAT_MS);
        self.beats.next_at = now.mono_ms + if seq < FIRST_BEATS { first } else { self.beats.interval_ms };
    }
}

#[cfg(test)]
mod tests;

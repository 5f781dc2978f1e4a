//! The gateway's end of the link, for one connection of one clinic.
//!
//! The driver gives it bytes from the control stream, headers of data streams and the answers of custody; it gives
//! frames to write and events for custody. Which clinic speaks is known from the certificate before this begins.

mod data;
mod letters;
mod studies;

use super::frame::{
    Bye, FilmSpeeds, Frame, FrameError, FrameReader, Heartbeat, HeartbeatAnswer, Hello, HelloAck, PeerLimits,
    Scope,
};
use super::{Now, VERSION, VERSION_MIN, limits};
use crate::clock::UtcMs;
use crate::codes::{Code, Refusal};
use crate::ids::{LetterId, NoteId, ObjectHash, StudyUid};
use crate::letter::{LetterHead, Note};
use crate::limits::{MAX_FRAME_BYTES, MAX_OBJECT_BYTES, MAX_OBJECTS_PER_STUDY, MAX_URGENT_INLINE_BYTES};
use crate::study::{Manifest, ManifestObject};
use std::collections::{BTreeMap, VecDeque};

pub use data::DataVerdict;

use data::Stream;
use letters::Letters;
use studies::Announced;

/// Notes given to custody and not yet answered, beyond which no more control input is taken.
const MAX_NOTES_WAITING: usize = 64;

/// What the gateway says of itself.
#[derive(Debug, Clone)]
pub struct GatewaySettings {
    /// Name and version of the software.
    pub software: String,
    /// What it can do beyond the version.
    pub capabilities: Vec<String>,
    /// How often it wants a heartbeat, in ms.
    pub heartbeat_ms: u64,
    /// How fast it restores films, when it says so.
    pub film_speeds: Option<FilmSpeeds>,
}

/// What the gateway tells this clinic on arrival.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Greeting {
    /// The clinic's name as the county knows it.
    pub clinic_name: String,
    /// Telephone of the duty reader.
    pub duty_phone: Option<String>,
    /// Which store answers, told from every other one.
    pub store: String,
}

/// What happened, for the driver to carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GatewayEvent {
    /// The agent has said hello: answer with [`GatewayLink::greet`] or [`GatewayLink::fail`].
    Hello(Hello),
    /// A manifest to record, in this order: answer with [`GatewayLink::answer_manifest`].
    Offered(Box<Manifest>),
    /// What is to become of a data stream.
    Data {
        /// Which stream.
        stream: u64,
        /// Take it or stop it.
        verdict: DataVerdict,
    },
    /// Every byte of the object is here but it was never finished: finish it and say so with
    /// [`GatewayLink::object_finished`].
    FinishObject {
        /// Which study.
        study: StudyUid,
        /// Which object.
        object: Box<ManifestObject>,
    },
    /// The agent wants the letter's body: open a stream with this header, then [`GatewayLink::letter_sent`].
    SendLetter {
        /// Which letter.
        head: LetterHead,
        /// First bytes of the stream.
        header: Vec<u8>,
    },
    /// The clinic holds the letter durably.
    LetterReceipted {
        /// Which letter.
        id: LetterId,
        /// Since when, by the clinic's clock.
        stored_at: UtcMs,
    },
    /// The clinic refuses the letter.
    LetterRefused {
        /// Which letter.
        id: LetterId,
        /// Why.
        refusal: Refusal,
    },
    /// The clinic cannot take the letter just now, or cannot judge it: it is offered again later.
    LetterDelayed {
        /// Which letter.
        id: LetterId,
        /// Why.
        refusal: Refusal,
    },
    /// Something happened at the clinic: answer with [`GatewayLink::answer_note`].
    Note(Note),
    /// A heartbeat came, with county clock minus agent clock in ms as the agent measures it.
    Heartbeat {
        /// `None` before its first measurement.
        offset_ms: Option<i64>,
    },
    /// The peer did not understand something, or this end did not; for the log.
    Remark(Refusal),
    /// The link is over: write what is still to write, then close.
    Closed {
        /// Why; `None` is an orderly end by the peer.
        refusal: Option<Refusal>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    AwaitingHello { deadline: u64 },
    Greeting { version: u16 },
    Up,
    Closed,
}

/// The state machine of the gateway's end, for one connection.
#[derive(Debug)]
pub struct GatewayLink {
    settings: GatewaySettings,
    phase: Phase,
    reader: FrameReader,
    out: VecDeque<Frame>,
    events: VecDeque<GatewayEvent>,
    studies: BTreeMap<StudyUid, Announced>,
    manifests_waiting: usize,
    streams: BTreeMap<u64, Stream>,
    letters: Letters,
    /// Objects asked for again, and when to ask once more.
    wanted: BTreeMap<(StudyUid, ObjectHash), u64>,
    notes_waiting: usize,
    heard_at: u64,
}

impl GatewayLink {
    /// A link whose connection was just accepted.
    #[must_use]
    pub fn new(settings: GatewaySettings, now: Now) -> Self {
        Self {
            settings,
            phase: Phase::AwaitingHello { deadline: now.mono_ms + limits::HELLO_DEADLINE_MS },
            reader: FrameReader::new(MAX_FRAME_BYTES),
            out: VecDeque::new(),
            events: VecDeque::new(),
            studies: BTreeMap::new(),
            manifests_waiting: 0,
            streams: BTreeMap::new(),
            letters: Letters::default(),
            wanted: BTreeMap::new(),
            notes_waiting: 0,
            heard_at: now.mono_ms,
        }
    }

    /// True between the answer to the hello and the end.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.phase == Phase::Up
    }

    /// True after the end.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// False while too much waits for custody or for the wire: then read no more from the control stream.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        self.out.len() < limits::MAX_FRAMES_WAITING
            && self.manifests_waiting < limits::MAX_MANIFESTS_WAITING
            && self.notes_waiting < MAX_NOTES_WAITING
    }

    /// Takes bytes of the control stream.
    pub fn handle_control(&mut self, bytes: &[u8], now: Now) {
        self.reader.push(bytes);
        self.read_on(now);
    }

    /// Goes on with bytes that were taken before but had to wait. Call it when [`Self::wants_input`] is true again.
    pub fn read_on(&mut self, now: Now) {
        while self.phase != Phase::Closed && self.wants_input() {
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
            Some(scope) if self.is_up() => self.refuse(scope, refusal),
            _ => self.fail(refusal),
        }
    }

    fn handle_frame(&mut self, frame: Frame, now: Now) {
        match (self.phase, frame) {
            (_, Frame::Bye(bye)) => self.closed(bye.refusal),
            (_, Frame::Refused { refusal, .. }) if self.phase != Phase::Up => self.closed(Some(refusal)),
            (Phase::AwaitingHello { .. }, Frame::Hello(hello)) => self.handle_hello(hello),
            (Phase::Up, frame) => self.handle_frame_up(frame, now),
            (_, other) => self.fail(unexpected(&other)),
        }
    }

    fn handle_hello(&mut self, hello: Hello) {
        let version = VERSION.min(hello.version_max);
        if version < VERSION_MIN.max(hello.version_min) {
            let (min, max) = (hello.version_min, hello.version_max);
            let reason =
                format!("the agent speaks versions {min} to {max}, the gateway {VERSION_MIN} to {VERSION}");
            return self.fail(Refusal::new(Code::VersionUnsupported, "version", reason));
        }
        self.phase = Phase::Greeting { version };
        self.events.push_back(GatewayEvent::Hello(hello));
    }

    fn handle_frame_up(&mut self, frame: Frame, now: Now) {
        match frame {
            Frame::Manifest(manifest) => self.handle_manifest(manifest),
            Frame::Heartbeat(beat) => self.handle_heartbeat(beat, now),
            Frame::Note(note) => {
                self.notes_waiting += 1;
                self.events.push_back(GatewayEvent::Note(note));
            }
            Frame::LetterWant { id } => self.handle_letter_want(&id, now),
            Frame::LetterHave { id, stored_at } | Frame::LetterReceipt { id, stored_at } => {
                if self.letter_over(&id, now) {
                    self.events.push_back(GatewayEvent::LetterReceipted { id, stored_at });
                }
            }
            Frame::LetterRefused { id, refusal } => {
                if self.letter_over(&id, now) {
                    self.events.push_back(GatewayEvent::LetterRefused { id, refusal });
                }
            }
            Frame::Refused { scope: Scope::Letter(id), refusal } => {
                self.handle_letter_delayed(&id, refusal, now)
            }
            Frame::Refused { scope: Scope::Link, refusal } => self.closed(Some(refusal)),
            Frame::Refused { refusal, .. } => self.events.push_back(GatewayEvent::Remark(refusal)),
            other => self.fail(unexpected(&other)),
        }
    }

    fn handle_heartbeat(&mut self, beat: Heartbeat, now: Now) {
        let Heartbeat { seq, sent_at, mono_ms, offset_ms } = beat;
        // Written at once: what it then waits in the transport counts as round trip and makes the sample a bad one.
        let answer = HeartbeatAnswer { seq, sent_at, mono_ms, received_at: now.utc, answered_at: now.utc };
        self.out.push_back(Frame::HeartbeatAnswer(answer));
        self.events.push_back(GatewayEvent::Heartbeat { offset_ms });
    }

    /// Answers the hello: from now on the link is up.
    pub fn greet(&mut self, greeting: Greeting, now: Now) {
        let Phase::Greeting { version } = self.phase else { return };
        self.phase = Phase::Up;
        self.heard_at = now.mono_ms;
        let limits = PeerLimits {
            frame_bytes: MAX_FRAME_BYTES as u64,
            objects_per_study: MAX_OBJECTS_PER_STUDY as u64,
            object_bytes: MAX_OBJECT_BYTES,
            inline_bytes: MAX_URGENT_INLINE_BYTES,
        };
        self.out.push_back(Frame::HelloAck(HelloAck {
            version,
            capabilities: self.settings.capabilities.clone(),
            software: self.settings.software.clone(),
            now: now.utc,
            heartbeat_ms: self.settings.heartbeat_ms,
            limits,
            clinic_name: greeting.clinic_name,
            duty_phone: greeting.duty_phone,
            store: greeting.store,
            film_speeds: self.settings.film_speeds,
        }));
    }

    /// Tells the county's revocation list in force; one that still waits to be written is replaced. False when it is too
    /// long for the link: then the clinic learns of it with its next report.
    pub fn tell_revocations(&mut self, list: &[u8]) -> bool {
        if list.len() > limits::MAX_REVOCATION_LIST_BYTES {
            return false;
        }
        if self.is_up() {
            self.out.retain(|frame| !matches!(frame, Frame::Revocations { .. }));
            self.out.push_back(Frame::Revocations { list: list.to_vec() });
        }
        true
    }

    /// Custody's answer to a note.
    pub fn answer_note(&mut self, id: NoteId, answer: Result<(), Refusal>) {
        self.notes_waiting = self.notes_waiting.saturating_sub(1);
        match answer {
            Ok(()) => self.send(Frame::NoteReceipt { id }),
            Err(refusal) => self.refuse(Scope::Note(id), refusal),
        }
    }

    /// Asks the agent to start nothing for `ms`.
    pub fn back_off(&mut self, ms: u64, refusal: Refusal) {
        self.send(Frame::BackOff { ms, refusal });
    }

    /// Ends the link with a refusal that the peer is told.
    pub fn fail(&mut self, refusal: Refusal) {
        if self.phase != Phase::Closed {
            self.out.push_back(Frame::Bye(Bye { refusal: Some(refusal.clone()) }));
            self.closed(Some(refusal));
        }
    }

    fn closed(&mut self, refusal: Option<Refusal>) {
        if self.phase == Phase::Closed {
            return;
        }
        self.phase = Phase::Closed;
        self.stop_waiting_streams();
        self.events.push_back(GatewayEvent::Closed { refusal });
    }

    fn send(&mut self, frame: Frame) {
        if self.phase != Phase::Closed {
            self.out.push_back(frame);
        }
    }

    fn refuse(&mut self, scope: Scope, refusal: Refusal) {
        self.events.push_back(GatewayEvent::Remark(refusal.clone()));
        self.send(Frame::Refused { scope, refusal });
    }

    /// The next frame to write to the control stream, as bytes.
    pub fn poll_frame(&mut self) -> Option<Vec<u8>> {
        loop {
            match self.out.pop_front()?.encode() {
                Ok(bytes) => return Some(bytes),
                // All frames of this end are bounded well below the limit; said for the log should one ever not be.
                Err(error) => self.events.push_back(GatewayEvent::Remark(error.refusal())),
            }
        }
    }

    /// The next thing for the driver to carry out.
    pub fn poll_event(&mut self) -> Option<GatewayEvent> {
        self.events.pop_front()
    }

    /// When [`Self::handle_timeout`] must be called at the latest, on the monotonic clock.
    #[must_use]
    pub fn next_timeout(&self) -> Option<u64> {
        match self.phase {
            Phase::Closed | Phase::Greeting { .. } => None,
            Phase::AwaitingHello { deadline } => Some(deadline),
            Phase::Up => {
                let silence = self.heard_at + limits::SILENCE_DEADLINE_MS;
                let stream = self.streams.values().filter_map(Stream::deadline).min();
                let letter = self.letters.next_timeout();
                [Some(silence), stream, letter].into_iter().flatten().min()
            }
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        match self.phase {
            Phase::Closed | Phase::Greeting { .. } => {}
            Phase::AwaitingHello { deadline } => {
                if now.mono_ms >= deadline {
                    self.fail(Refusal::new(Code::TimedOut, "hello", "no hello came"));
                }
            }
            Phase::Up if now.mono_ms >= self.heard_at + limits::SILENCE_DEADLINE_MS => {
                self.fail(Refusal::new(Code::TimedOut, "heartbeat", "the agent is silent"));
            }
            Phase::Up => {
                self.give_up_waiting_streams(now);
                self.letters_time_out(now);
            }
        }
    }
}

fn unexpected(frame: &Frame) -> Refusal {
    let name = frame.kind().name();
    Refusal::new(Code::FrameUnexpected, name, format!("frame {name} is not lawful in this state"))
}

#[cfg(test)]
mod tests;

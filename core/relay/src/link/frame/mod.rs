//! The frames of the link: numbers, contents, bytes.
//!
//! A frame is `length (u32, big-endian) | type (u16, big-endian) | fields`; the length counts type and fields and is at
//! most [`MAX_FRAME_BYTES`]. Fields are those of [`super::wire`]. A type or field number is never reused, a field never
//! changes its meaning; what is new gets a new number and, where the peer must understand it, a capability.

mod letter;
mod reader;
mod session;
mod study;

use super::limits;
use super::wire::{Field, FieldError, FieldWriter, Once, each_field};
use crate::clock::UtcMs;
use crate::codes::{Code, Refusal};
use crate::ids::{LetterId, NoteId, ObjectHash, Sha256, StudyUid};
use crate::letter::{LetterHead, Note};
use crate::limits::MAX_FRAME_BYTES;
use crate::study::Manifest;
use std::ops::Range;

pub use reader::FrameReader;
pub use session::{Bye, FilmSpeeds, Heartbeat, HeartbeatAnswer, Hello, HelloAck, PeerLimits, Scope};

/// Bytes before the fields: length and type.
pub const FRAME_HEAD_BYTES: usize = 6;

macro_rules! frame_types {
    ($($(#[$doc:meta])* $name:ident = $number:literal;)+) => {
        /// The types of frames. The one list of their numbers.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum FrameType { $($(#[$doc])* $name = $number,)+ }

        impl FrameType {
            /// Every type, in order of number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The number on the wire.
            #[must_use]
            pub const fn number(self) -> u16 {
                self as u16
            }

            /// The type of a number; `None` for one this version does not know.
            #[must_use]
            pub const fn from_number(number: u16) -> Option<Self> {
                match number { $($number => Some(Self::$name),)+ _ => None }
            }

            /// The name in logs and refusals.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }
        }
    };
}

frame_types! {
    /// Agent: versions, capabilities, software, clock. The first frame.
    Hello = 1;
    /// Gateway: chosen version, limits, time, who it is. Only now the link is up.
    HelloAck = 2;
    /// Either end: the last frame, with the reason.
    Bye = 3;
    /// Gateway: start nothing for a while.
    BackOff = 4;
    /// Agent: still here; its clocks.
    Heartbeat = 5;
    /// Gateway: the heartbeat's echo with its own clock.
    HeartbeatAnswer = 6;
    /// Either end: one thing is refused, everything else goes on.
    Refused = 7;
    /// Gateway: the county's revocation list in force, after the hello and whenever it changes.
    Revocations = 8;
    /// Agent: everything it says of one study.
    Manifest = 16;
    /// Gateway: what it has and lacks of a manifest's objects.
    ObjectStates = 17;
    /// Gateway: objects that are durable now.
    ObjectReceipts = 18;
    /// Gateway: coded bytes of an object that have arrived. Not a receipt.
    ObjectProgress = 19;
    /// Gateway: objects that it had and has lost; they are to be offered again.
    Want = 20;
    /// Gateway: the head of a letter.
    LetterOffer = 32;
    /// Agent: the letter's body may come.
    LetterWant = 33;
    /// Agent: the letter was already durable here.
    LetterHave = 34;
    /// Agent: the letter is durable here.
    LetterReceipt = 35;
    /// Agent: the letter does not verify, or is not for this clinic.
    LetterRefused = 36;
    /// Agent: something that happened at the clinic.
    Note = 48;
    /// Gateway: the note is durable here.
    NoteReceipt = 49;
    /// First on a data stream of the agent: which bytes of which object follow.
    ObjectData = 64;
    /// First on a data stream of the gateway: which letter's body follows.
    LetterData = 65;
}

/// What the county has and lacks of one object, in ranges of its coded form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectState {
    /// Durable there.
    Stored,
    /// These ranges are missing; none: everything has arrived and is being checked.
    Missing(Vec<Range<u64>>),
    /// Refused, now or before.
    Refused(Refusal),
}

/// The answer to a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectStates {
    /// Which study.
    pub study: StudyUid,
    /// Which generation of its manifest is durable there.
    pub generation: u64,
    /// When this was true, by the county's clock.
    pub at: UtcMs,
    /// State by object.
    pub states: Vec<(ObjectHash, ObjectState)>,
}

/// A durable object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectReceipt {
    /// Which object.
    pub hash: ObjectHash,
    /// SHA-256 of its plaintext as the county computed it.
    pub sha256: Sha256,
    /// When the transaction that holds it was committed.
    pub stored_at: UtcMs,
}

/// Header of a data stream of the agent. `length` bytes of the coded form from `offset` follow, and the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectData {
    /// The study in whose manifest the object stands.
    pub study: StudyUid,
    /// The object.
    pub object: ObjectHash,
    /// First byte of the coded form that follows.
    pub offset: u64,
    /// How many bytes follow; not zero.
    pub length: u64,
}

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "each variant is documented by the frame type of its name and by its content's type"
)]
pub enum Frame {
    Hello(Hello),
    HelloAck(HelloAck),
    Bye(Bye),
    BackOff { ms: u64, refusal: Refusal },
    Heartbeat(Heartbeat),
    HeartbeatAnswer(HeartbeatAnswer),
    Refused { scope: Scope, refusal: Refusal },
    Revocations { list: Vec<u8> },
    Manifest(Box<Manifest>),
    ObjectStates(ObjectStates),
    ObjectReceipts { study: StudyUid, generation: u64, receipts: Vec<ObjectReceipt> },
    ObjectProgress { study: StudyUid, object: ObjectHash, received: u64 },
    Want { study: StudyUid, objects: Vec<ObjectHash> },
    LetterOffer(LetterHead),
    LetterWant { id: LetterId },
    LetterHave { id: LetterId, stored_at: UtcMs },
    LetterReceipt { id: LetterId, stored_at: UtcMs },
    LetterRefused { id: LetterId, refusal: Refusal },
    Note(Note),
    NoteReceipt { id: NoteId },
    ObjectData(ObjectData),
    LetterData { id: LetterId },
}

/// Why bytes are not a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The announced length is beyond the limit: what follows cannot be trusted.
    #[error("a frame of {length} bytes, at most {max} are lawful")]
    TooLarge {
        /// Announced bytes.
        length: u64,
        /// Allowed bytes.
        max: usize,
    },
    /// The announced length has no room for a type.
    #[error("a frame of {length} bytes has no type")]
    TooShort {
        /// Announced bytes.
        length: u64,
    },
    /// A type that this version does not know. The frame was skipped.
    #[error("frame type {number} is unknown here")]
    Unknown {
        /// Its number.
        number: u16,
    },
    /// A known type with unlawful fields. The frame was skipped.
    #[error("frame {}: {error}", kind.name())]
    Malformed {
        /// Which type.
        kind: FrameType,
        /// The study, letter or note it is about, where that can be read.
        scope: Option<Box<Scope>>,
        /// What is wrong.
        error: FieldError,
    },
}

impl FrameError {
    /// The refusal that the peer is told.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::TooLarge { .. } => Refusal::new(Code::FrameTooLarge, "length", self.to_string()),
            Self::TooShort { .. } => Refusal::new(Code::FrameMalformed, "length", self.to_string()),
            Self::Unknown { number } => {
                Refusal::new(Code::FrameUnknown, format!("type {number}"), self.to_string())
            }
            Self::Malformed { kind, error, .. } => {
                let field = error.field();
                let field =
                    if field.is_empty() { kind.name().into() } else { format!("{}.{field}", kind.name()) };
                Refusal::new(Code::FrameMalformed, field, self.to_string())
            }
        }
    }
}

impl Frame {
    /// The type of the frame.
    #[must_use]
    pub const fn kind(&self) -> FrameType {
        match self {
            Self::Hello(_) => FrameType::Hello,
            Self::HelloAck(_) => FrameType::HelloAck,
            Self::Bye(_) => FrameType::Bye,
            Self::BackOff { .. } => FrameType::BackOff,
            Self::Heartbeat(_) => FrameType::Heartbeat,
            Self::HeartbeatAnswer(_) => FrameType::HeartbeatAnswer,
            Self::Refused { .. } => FrameType::Refused,
            Self::Revocations { .. } => FrameType::Revocations,
            Self::Manifest(_) => FrameType::Manifest,
            Self::ObjectStates(_) => FrameType::ObjectStates,
            Self::ObjectReceipts { .. } => FrameType::ObjectReceipts,
            Self::ObjectProgress { .. } => FrameType::ObjectProgress,
            Self::Want { .. } => FrameType::Want,
            Self::LetterOffer(_) => FrameType::LetterOffer,
            Self::LetterWant { .. } => FrameType::LetterWant,
            Self::LetterHave { .. } => FrameType::LetterHave,
            Self::LetterReceipt { .. } => FrameType::LetterReceipt,
            Self::LetterRefused { .. } => FrameType::LetterRefused,
            Self::Note(_) => FrameType::Note,
            Self::NoteReceipt { .. } => FrameType::NoteReceipt,
            Self::ObjectData(_) => FrameType::ObjectData,
            Self::LetterData { .. } => FrameType::LetterData,
        }
    }

    /// The bytes of the frame, length first.
    ///
    /// # Errors
    /// [`FrameError::TooLarge`]: a frame that the peer would refuse is not sent.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        let mut writer = FieldWriter::new();
        self.write_fields(&mut writer);
        let fields = writer.into_bytes();
        let length = fields.len() + 2;
        if length > MAX_FRAME_BYTES {
            return Err(FrameError::TooLarge { length: length as u64, max: MAX_FRAME_BYTES });
        }
        let mut out = Vec::with_capacity(length + 4);
        let length = u32::try_from(length).expect("invariant: the limit is below 2^32");
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&self.kind().number().to_be_bytes());
        out.extend_from_slice(&fields);
        Ok(out)
    }

    fn write_fields(&self, w: &mut FieldWriter) {
        match self {
            Self::Hello(hello) => hello.write(w),
            Self::HelloAck(ack) => ack.write(w),
            Self::Bye(bye) => bye.write(w),
            Self::BackOff { ms, refusal } => {
                w.number(1, *ms).group(2, |w| write_refusal(w, refusal));
            }
            Self::Heartbeat(beat) => beat.write(w),
            Self::HeartbeatAnswer(answer) => answer.write(w),
            Self::Refused { scope, refusal } => {
                scope.write(w);
                w.group(16, |w| write_refusal(w, refusal));
            }
            Self::Revocations { list } => {
                w.bytes(1, list);
            }
            Self::Manifest(manifest) => study::write_manifest(w, manifest),
            Self::ObjectStates(states) => study::write_states(w, states),
            Self::ObjectReceipts { study, generation, receipts } => {
                study::write_receipts(w, study, *generation, receipts);
            }
            Self::ObjectProgress { study, object, received } => {
                w.text(1, study.as_str()).hash(2, object).number(3, *received);
            }
            Self::Want { study, objects } => {
                w.text(1, study.as_str());
                for object in objects {
                    w.hash(2, object);
                }
            }
            Self::LetterOffer(head) => letter::write_head(w, head),
            Self::LetterWant { id } | Self::LetterData { id } => {
                w.text(1, id.as_str());
            }
            Self::LetterHave { id, stored_at } | Self::LetterReceipt { id, stored_at } => {
                w.text(1, id.as_str()).time(2, *stored_at);
            }
            Self::LetterRefused { id, refusal } => {
                w.text(1, id.as_str()).group(2, |w| write_refusal(w, refusal));
            }
            Self::Note(note) => letter::write_note(w, note),
            Self::NoteReceipt { id } => {
                w.text(1, id.as_str());
            }
            Self::ObjectData(data) => study::write_data(w, data),
        }
    }

    /// Reads the part after the length: type and fields.
    ///
    /// # Errors
    /// [`FrameError::Unknown`] or [`FrameError::Malformed`]; the caller may skip the frame and go on.
    pub fn decode(body: &[u8]) -> Result<Self, FrameError> {
        let Some((head, fields)) = body.split_first_chunk::<2>() else {
            return Err(FrameError::TooShort { length: body.len() as u64 });
        };
        let number = u16::from_be_bytes(*head);
        let kind = FrameType::from_number(number).ok_or(FrameError::Unknown { number })?;
        Self::read_fields(kind, fields).map_err(|error| {
            let scope = subject_of(kind, fields).map(Box::new);
            FrameError::Malformed { kind, scope, error }
        })
    }

    fn read_fields(kind: FrameType, fields: &[u8]) -> Result<Self, FieldError> {
        Ok(match kind {
            FrameType::Hello => Self::Hello(Hello::read(fields)?),
            FrameType::HelloAck => Self::HelloAck(HelloAck::read(fields)?),
            FrameType::Bye => Self::Bye(Bye::read(fields)?),
            FrameType::BackOff => session::read_back_off(fields)?,
            FrameType::Heartbeat => Self::Heartbeat(Heartbeat::read(fields)?),
            FrameType::HeartbeatAnswer => Self::HeartbeatAnswer(HeartbeatAnswer::read(fields)?),
            FrameType::Refused => session::read_refused(fields)?,
            FrameType::Revocations => session::read_revocations(fields)?,
            FrameType::Manifest => Self::Manifest(Box::new(study::read_manifest(fields)?)),
            FrameType::ObjectStates => Self::ObjectStates(study::read_states(fields)?),
            FrameType::ObjectReceipts => study::read_receipts(fields)?,
            FrameType::ObjectProgress => study::read_progress(fields)?,
            FrameType::Want => study::read_want(fields)?,
            FrameType::LetterOffer => Self::LetterOffer(letter::read_head(fields)?),
            FrameType::LetterWant => Self::LetterWant { id: letter::read_id(fields)? },
            FrameType::LetterData => Self::LetterData { id: letter::read_id(fields)? },
            FrameType::LetterHave => {
                let (id, stored_at) = letter::read_stored(fields)?;
                Self::LetterHave { id, stored_at }
            }
            FrameType::LetterReceipt => {
                let (id, stored_at) = letter::read_stored(fields)?;
                Self::LetterReceipt { id, stored_at }
            }
            FrameType::LetterRefused => letter::read_refused(fields)?,
            FrameType::Note => Self::Note(letter::read_note(fields)?),
            FrameType::NoteReceipt => letter::read_note_receipt(fields)?,
            FrameType::ObjectData => Self::ObjectData(study::read_data(fields)?),
        })
    }
}

/// What a malformed frame is about: field 1 of these frames is the identifier of the one thing that is refused.
fn subject_of(kind: FrameType, fields: &[u8]) -> Option<Scope> {
    let mut first = None;
    // The error is known already; only the first field matters here.
    let _ = each_field(fields, |f| {
        if f.tag == 1 && first.is_none() {
            first = Some(f);
        }
        Ok(())
    });
    let first: Field<'_> = first?;
    match kind {
        FrameType::Manifest => {
            first.parsed("study").ok().map(|study| Scope::Study { study, generation: None })
        }
        FrameType::LetterOffer => first.parsed("id").ok().map(Scope::Letter),
        FrameType::Note => first.parsed("id").ok().map(Scope::Note),
        _ => None,
    }
}

pub(super) fn write_refusal(w: &mut FieldWriter, refusal: &Refusal) {
    w.number(1, u64::from(refusal.code.number()));
    w.text(2, &shortened(&refusal.field)).text(3, &shortened(&refusal.reason));
}

/// A reason that grew beyond the limit (a parser's message) is cut, not refused by the peer.
fn shortened(text: &str) -> std::borrow::Cow<'_, str> {
    match text.char_indices().nth(limits::MAX_TEXT_CHARS) {
        Some((at, _)) => text[..at].into(),
        None => text.into(),
    }
}

pub(super) fn read_refusal(fields: &[u8]) -> Result<Refusal, FieldError> {
    let (mut code, mut field, mut reason) = (Once::new("code"), Once::new("field"), Once::new("reason"));
    each_field(fields, |f| match f.tag {
        1 => code.set(|n| f.small::<u16>(n)),
        2 => field.set(|n| f.text(n, limits::MAX_TEXT_CHARS).map(str::to_owned)),
        3 => reason.set(|n| f.text(n, limits::MAX_TEXT_CHARS).map(str::to_owned)),
        _ => Ok(()),
    })?;
    let (number, field, reason) =
        (code.need()?, field.get().unwrap_or_default(), reason.get().unwrap_or_default());
    // A code from a newer peer: its words are kept, and it counts as passing, so that nothing is given up for it.
    Ok(match Code::from_number(number) {
        Some(code) => Refusal { code, field, reason },
        None => Refusal { code: Code::Internal, field, reason: format!("code {number}: {reason}") },
    })
}

#[cfg(test)]
mod tests;

//! Hello, heartbeat, refusal, end.

use super::letter::bounded;
use super::{Frame, read_refusal, write_refusal};
use crate::clock::UtcMs;
use crate::codes::Refusal;
use crate::ids::{LetterId, NoteId, ObjectHash, StudyUid};
use crate::link::CAPABILITY_FILM;
use crate::link::limits::{
    MAX_CAPABILITIES, MAX_CAPABILITY_BYTES, MAX_REVOCATION_LIST_BYTES, MAX_STORE_ID_CHARS, MAX_TEXT_CHARS,
};
use crate::link::wire::{Field, FieldError, FieldWriter, Once, each_field};

/// The agent's first words. Its clinic comes from the certificate, never from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Oldest protocol version it speaks.
    pub version_min: u16,
    /// Newest protocol version it speaks.
    pub version_max: u16,
    /// What it can do beyond the version, as words.
    pub capabilities: Vec<String>,
    /// Name and version of the software, for the county's list of sites.
    pub software: String,
    /// Its clock.
    pub now: UtcMs,
}

/// What a gateway takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerLimits {
    /// Bytes of one control frame.
    pub frame_bytes: u64,
    /// Objects of one study.
    pub objects_per_study: u64,
    /// Bytes of one object, plain and coded.
    pub object_bytes: u64,
    /// Bytes of an urgent object that may come before the answer.
    pub inline_bytes: u64,
}

/// How fast one core of a gateway restores coded films.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilmSpeeds {
    /// Plain bytes a second of the quick coder.
    pub quick: u64,
    /// Plain bytes a second of the strong coder.
    pub strong: u64,
}

/// The gateway's answer: now the link is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelloAck {
    /// The version that both speak from here on.
    pub version: u16,
    /// What the gateway can do beyond the version.
    pub capabilities: Vec<String>,
    /// Name and version of its software.
    pub software: String,
    /// Its clock.
    pub now: UtcMs,
    /// How often it wants a heartbeat.
    pub heartbeat_ms: u64,
    /// What it takes.
    pub limits: PeerLimits,
    /// The clinic's name as the county knows it.
    pub clinic_name: String,
    /// Telephone of the duty reader.
    pub duty_phone: Option<String>,
    /// Which store answers: another one than before (restored from a backup, replaced, a standby's own) must confirm anew
    /// what the clinic holds.
    pub store: String,
    /// How fast it restores films, measured on its machine; `None` = not said.
    pub film_speeds: Option<FilmSpeeds>,
}

/// The agent's sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// Counts up.
    pub seq: u64,
    /// The agent's clock when it was written.
    pub sent_at: UtcMs,
    /// The agent's monotonic clock in ms, only to be sent back.
    pub mono_ms: u64,
    /// County clock minus agent clock in ms as measured so far.
    pub offset_ms: Option<i64>,
}

/// The gateway's answer to a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeartbeatAnswer {
    /// From the heartbeat.
    pub seq: u64,
    /// From the heartbeat.
    pub sent_at: UtcMs,
    /// From the heartbeat.
    pub mono_ms: u64,
    /// The county's clock when the heartbeat arrived.
    pub received_at: UtcMs,
    /// The county's clock when this was written.
    pub answered_at: UtcMs,
}

/// The last frame.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bye {
    /// Why; `None` is an orderly end.
    pub refusal: Option<Refusal>,
}

/// What a refusal is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// The connection itself; it ends.
    Link,
    /// A frame of this number, which was skipped.
    Frame(u16),
    /// A whole manifest.
    Study {
        /// Which study.
        study: StudyUid,
        /// Which generation, where it could be read.
        generation: Option<u64>,
    },
    /// One object; the rest of its study goes on.
    Object {
        /// Which study.
        study: StudyUid,
        /// Which object.
        object: ObjectHash,
    },
    /// One letter.
    Letter(LetterId),
    /// One note.
    Note(NoteId),
}

fn write_capabilities(w: &mut FieldWriter, tag: u64, words: &[String]) {
    for word in words.iter().take(MAX_CAPABILITIES) {
        w.text(tag, word);
    }
}

fn push_capability(words: &mut Vec<String>, f: Field<'_>) -> Result<(), FieldError> {
    let word = f.text("capabilities", MAX_CAPABILITY_BYTES)?;
    // More than the limit are not an error: what a peer can do that nobody here asks for does not matter.
    if words.len() < MAX_CAPABILITIES {
        words.push(word.to_owned());
    }
    Ok(())
}

fn owned(f: Field<'_>, name: &'static str) -> Result<String, FieldError> {
    f.text(name, MAX_TEXT_CHARS).map(str::to_owned)
}

impl Hello {
    pub(super) fn write(&self, w: &mut FieldWriter) {
        w.number(1, u64::from(self.version_min)).number(2, u64::from(self.version_max));
        w.text(3, &self.software).time(4, self.now);
        write_capabilities(w, 5, &self.capabilities);
    }

    pub(super) fn read(fields: &[u8]) -> Result<Self, FieldError> {
        let (mut min, mut max) = (Once::new("version_min"), Once::new("version_max"));
        let (mut software, mut now, mut capabilities) = (Once::new("software"), Once::new("now"), Vec::new());
        each_field(fields, |f| match f.tag {
            1 => min.set(|n| f.small(n)),
            2 => max.set(|n| f.small(n)),
            3 => software.set(|n| owned(f, n)),
            4 => now.set(|n| f.time(n)),
            5 => push_capability(&mut capabilities, f),
            _ => Ok(()),
        })?;
        let (version_min, version_max) = (min.need()?, max.need()?);
        Ok(Self { version_min, version_max, capabilities, software: software.need()?, now: now.need()? })
    }
}

impl FilmSpeeds {
    fn write(self, w: &mut FieldWriter) {
        w.number(1, self.quick).number(2, self.strong);
    }

    fn read(fields: &[u8]) -> Result<Self, FieldError> {
        let (mut quick, mut strong) = (Once::new("film_quick"), Once::new("film_strong"));
        each_field(fields, |f| match f.tag {
            1 => quick.set(|n| f.number(n)),
            2 => strong.set(|n| f.number(n)),
            _ => Ok(()),
        })?;
        Ok(Self { quick: quick.need()?, strong: strong.need()? })
    }
}

impl PeerLimits {
    fn write(&self, w: &mut FieldWriter) {
        w.number(1, self.frame_bytes).number(2, self.objects_per_study);
        w.number(3, self.object_bytes).number(4, self.inline_bytes);
    }

    fn read(fields: &[u8]) -> Result<Self, FieldError> {
        let (mut frame, mut objects) = (Once::new("frame_bytes"), Once::new("objects_per_study"));
        let (mut object, mut inline) = (Once::new("object_bytes"), Once::new("inline_bytes"));
        each_field(fields, |f| match f.tag {
            1 => frame.set(|n| f.number(n)),
            2 => objects.set(|n| f.number(n)),
            3 => object.set(|n| f.number(n)),
            4 => inline.set(|n| f.number(n)),
            _ => Ok(()),
        })?;
        let (frame_bytes, objects_per_study) = (frame.need()?, objects.need()?);
        Ok(Self {
            frame_bytes,
            objects_per_study,
            object_bytes: object.need()?,
            inline_bytes: inline.need()?,
        })
    }
}

impl HelloAck {
    pub(super) fn write(&self, w: &mut FieldWriter) {
        w.number(1, u64::from(self.version)).text(2, &self.software).time(3, self.now);
        w.number(4, self.heartbeat_ms).group(5, |w| self.limits.write(w));
        w.text(6, &self.clinic_name).text_opt(7, self.duty_phone.as_deref());
        write_capabilities(w, 8, &self.capabilities);
        w.text(9, &self.store);
        if let Some(speeds) = self.film_speeds {
            w.group(10, |w| speeds.write(w));
        }
    }

    /// Whether objects may be coded as films.
    #[must_use]
    pub fn takes_film(&self) -> bool {
        self.capabilities.iter().any(|word| word == CAPABILITY_FILM)
    }

    pub(super) fn read(fields: &[u8]) -> Result<Self, FieldError> {
        let (mut version, mut software, mut now) =
            (Once::new("version"), Once::new("software"), Once::new("now"));
        let (mut heartbeat, mut limits) = (Once::new("heartbeat_ms"), Once::new("limits"));
        let (mut clinic, mut phone) = (Once::new("clinic_name"), Once::new("duty_phone"));
        let (mut store, mut capabilities) = (Once::new("store"), Vec::new());
        let mut film_speeds = Once::new("film_speeds");
        each_field(fields, |f| match f.tag {
            1 => version.set(|n| f.small(n)),
            2 => software.set(|n| owned(f, n)),
            3 => now.set(|n| f.time(n)),
            4 => heartbeat.set(|n| f.number(n)),
            5 => limits.set(|_| PeerLimits::read(f.value)),
            6 => clinic.set(|n| owned(f, n)),
            7 => phone.set(|n| owned(f, n)),
            8 => push_capability(&mut capabilities, f),
            9 => store.set(|n| f.text(n, MAX_STORE_ID_CHARS).map(str::to_owned)),
            10 => film_speeds.set(|_| FilmSpeeds::read(f.value)),
            _ => Ok(()),
        })?;
        Ok(Self {
            version: version.need()?,
            capabilities,
            software: software.need()?,
            now: now.need()?,
            heartbeat_ms: heartbeat.need()?,
            limits: limits.need()?,
            clinic_name: clinic.need()?,
            duty_phone: phone.get(),
            store: store.need()?,
            film_speeds: film_speeds.get(),
        })
    }
}

impl Heartbeat {
    pub(super) fn write(&self, w: &mut FieldWriter) {
        w.number(1, self.seq).time(2, self.sent_at).number(3, self.mono_ms);
        if let Some(offset) = self.offset_ms {
            w.signed(4, offset);
        }
    }

    pub(super) fn read(fields: &[u8]) -> Result<Self, FieldError> {
        let (mut seq, mut sent, mut mono) = (Once::new("seq"), Once::new("sent_at"), Once::new("mono_ms"));
        let mut offset = Once::new("offset_ms");
        each_field(fields, |f| match f.tag {
            1 => seq.set(|n| f.number(n)),
            2 => sent.set(|n| f.time(n)),
            3 => mono.set(|n| f.number(n)),
            4 => offset.set(|n| f.signed(n)),
            _ => Ok(()),
        })?;
        Ok(Self { seq: seq.need()?, sent_at: sent.need()?, mono_ms: mono.need()?, offset_ms: offset.get() })
    }
}

impl HeartbeatAnswer {
    pub(super) fn write(&self, w: &mut FieldWriter) {
        w.number(1, self.seq).time(2, self.sent_at).number(3, self.mono_ms);
        w.time(4, self.received_at).time(5, self.answered_at);
    }

    pub(super) fn read(fields: &[u8]) -> Result<Self, FieldError> {
        let (mut seq, mut sent, mut mono) = (Once::new("seq"), Once::new("sent_at"), Once::new("mono_ms"));
        let (mut received, mut answered) = (Once::new("received_at"), Once::new("answered_at"));
        each_field(fields, |f| match f.tag {
            1 => seq.set(|n| f.number(n)),
            2 => sent.set(|n| f.time(n)),
            3 => mono.set(|n| f.number(n)),
            4 => received.set(|n| f.time(n)),
            5 => answered.set(|n| f.time(n)),
            _ => Ok(()),
        })?;
        let (seq, sent_at, mono_ms) = (seq.need()?, sent.need()?, mono.need()?);
        Ok(Self { seq, sent_at, mono_ms, received_at: received.need()?, answered_at: answered.need()? })
    }
}

impl Bye {
    pub(super) fn write(&self, w: &mut FieldWriter) {
        if let Some(refusal) = &self.refusal {
            w.group(1, |w| write_refusal(w, refusal));
        }
    }

    pub(super) fn read(fields: &[u8]) -> Result<Self, FieldError> {
        let mut refusal = Once::new("refusal");
        each_field(fields, |f| match f.tag {
            1 => refusal.set(|_| read_refusal(f.value)),
            _ => Ok(()),
        })?;
        Ok(Self { refusal: refusal.get() })
    }
}

pub(super) fn read_back_off(fields: &[u8]) -> Result<Frame, FieldError> {
    let (mut ms, mut refusal) = (Once::new("ms"), Once::new("refusal"));
    each_field(fields, |f| match f.tag {
        1 => ms.set(|n| f.number(n)),
        2 => refusal.set(|_| read_refusal(f.value)),
        _ => Ok(()),
    })?;
    Ok(Frame::BackOff { ms: ms.need()?, refusal: refusal.need()? })
}

pub(super) fn read_revocations(fields: &[u8]) -> Result<Frame, FieldError> {
    let mut list = Once::new("list");
    each_field(fields, |f| match f.tag {
        1 => list.set(|n| bounded(f, n, MAX_REVOCATION_LIST_BYTES)),
        _ => Ok(()),
    })?;
    Ok(Frame::Revocations { list: list.need()? })
}

impl Scope {
    /// Writes which kind of thing (field 1) and its identifiers (2 to 7).
    pub(super) fn write(&self, w: &mut FieldWriter) {
        match self {
            Self::Link => w.number(1, 1),
            Self::Frame(number) => w.number(1, 2).number(2, u64::from(*number)),
            Self::Study { study, generation } => {
                w.number(1, 3).text(3, study.as_str());
                if let Some(generation) = generation {
                    w.number(4, *generation);
                }
                w
            }
            Self::Object { study, object } => w.number(1, 4).text(3, study.as_str()).hash(5, object),
            Self::Letter(id) => w.number(1, 5).text(6, id.as_str()),
            Self::Note(id) => w.number(1, 6).text(7, id.as_str()),
        };
    }
}

pub(super) fn read_refused(fields: &[u8]) -> Result<Frame, FieldError> {
    let (mut kind, mut number) = (Once::new("scope"), Once::new("frame_type"));
    let (mut study, mut generation, mut object) =
        (Once::new("study"), Once::new("generation"), Once::new("object"));
    let (mut letter, mut note, mut refusal) = (Once::new("letter"), Once::new("note"), Once::new("refusal"));
    each_field(fields, |f| match f.tag {
        1 => kind.set(|n| f.number(n)),
        2 => number.set(|n| f.small(n)),
        3 => study.set(|n| f.parsed(n)),
        4 => generation.set(|n| f.number(n)),
        5 => object.set(|n| f.hash(n)),
        6 => letter.set(|n| f.parsed(n)),
        7 => note.set(|n| f.parsed(n)),
        16 => refusal.set(|_| read_refusal(f.value)),
        _ => Ok(()),
    })?;
    let scope = match kind.need()? {
        1 => Scope::Link,
        2 => Scope::Frame(number.need()?),
        3 => Scope::Study { study: study.need()?, generation: generation.get() },
        4 => Scope::Object { study: study.need()?, object: object.need()? },
        5 => Scope::Letter(letter.need()?),
        6 => Scope::Note(note.need()?),
        other => {
            return Err(FieldError::Value { name: "scope", reason: format!("unknown value {other}") });
        }
    };
    Ok(Frame::Refused { scope, refusal: refusal.need()? })
}

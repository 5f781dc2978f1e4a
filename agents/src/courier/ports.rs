//! What the courier needs from the rest of the agent. The courier knows the link; the spool and the inbox know the disk.

use async_trait::async_trait;
use relay_core::clock::UtcMs;
use relay_core::codes::Refusal;
use relay_core::ids::{LetterId, NoteId, ObjectHash, StudyUid};
use relay_core::letter::{LetterHead, Note};
use relay_core::link::frame::FilmSpeeds;
use relay_core::study::Manifest;
use rustls_pki_types::CertificateDer;
use std::sync::Arc;
use tokio::sync::watch;

/// A failure of the agent's own store. The courier logs it, waits and tries again; nothing is acknowledged.
#[derive(Debug, thiserror::Error)]
#[error("{step}")]
pub struct PortError {
    /// What was tried.
    pub step: &'static str,
    /// Why it failed.
    #[source]
    pub source: anyhow::Error,
}

/// Which gateway answers, and what it can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answering {
    /// Name of its store.
    pub store: String,
    /// It is the gateway that the clinic prefers, whose store keeps everything; a standby is offered only what still waits
    /// for a report.
    pub first: bool,
    /// It restores coded films.
    pub takes_film: bool,
    /// How fast, when it says so.
    pub film_speeds: Option<FilmSpeeds>,
}

/// The outgoing side: what waits for the county.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Manifests with at least one object, or a change of the manifest itself, that the county has not receipted.
    /// Most urgent first: class, then deadline (first object). At most `limit`.
    async fn pending_studies(&self, limit: usize) -> Result<Vec<Manifest>, PortError>;

    /// A gateway has answered. Another store than before must confirm anew what is held here, and until it has, nothing
    /// counts as safe by the word of the other. What it cannot restore is not offered to it. Idempotent.
    async fn greeted(&self, county: &Answering) -> Result<(), PortError>;

    /// What the line to the county has carried lately, in bytes a second. Need not be recorded each time.
    async fn line_measured(&self, bytes_per_second: u64) -> Result<(), PortError>;

    /// The county lacks these objects, whatever it said before: they are not safe. Idempotent.
    async fn missing(&self, study: &StudyUid, objects: &[ObjectHash]) -> Result<(), PortError>;

    /// The county has lost these objects and asks for them again: they are pending. Gives those that are not held here any
    /// more. Idempotent.
    async fn wanted(&self, study: &StudyUid, objects: &[ObjectHash]) -> Result<Vec<ObjectHash>, PortError>;

    /// Counts up whenever [`Self::pending_studies`] or [`Self::pending_notes`] may answer differently.
    fn changes(&self) -> watch::Receiver<u64>;

    /// Opens the coded form of an object for reading at any offset.
    async fn open_coded(&self, study: &StudyUid, object: &ObjectHash) -> Result<tokio::fs::File, PortError>;

    /// The county holds these objects durably (by hash), as of manifest `generation`. Idempotent.
    async fn receipted(
        &self,
        study: &StudyUid,
        generation: u64,
        objects: &[ObjectHash],
        at: UtcMs,
    ) -> Result<(), PortError>;

    /// The county refuses one object, or the whole study (`object` = `None`), as offered with `generation`. It is not
    /// offered again until changed.
    async fn refused(
        &self,
        study: &StudyUid,
        object: Option<&ObjectHash>,
        generation: u64,
        refusal: &Refusal,
    ) -> Result<(), PortError>;

    /// Coded bytes of the study that the county has, for the progress bar. Need not be durable.
    async fn progress(&self, study: &StudyUid, coded_bytes_at_county: u64);

    /// Notes that the county does not hold, oldest first; refused ones after the others and not before their time. At most
    /// `limit`.
    async fn pending_notes(&self, limit: usize) -> Result<Vec<Note>, PortError>;

    /// The county holds this note durably. Idempotent.
    async fn note_receipted(&self, id: &NoteId, at: UtcMs) -> Result<(), PortError>;

    /// The county refuses this note: it is offered again later, and holds no other back.
    async fn note_refused(&self, id: &NoteId, refusal: &Refusal) -> Result<(), PortError>;
}

/// What became of a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LetterFate {
    /// Verified and durable here (also when it was here before): send the receipt.
    Stored {
        /// When it was first durable here.
        at: UtcMs,
    },
    /// Does not verify, or is not for this clinic: kept in quarantine, refused with the reason.
    Refused(Refusal),
    /// Cannot be judged just now (this clinic's clock, its disk): the county sends it again later.
    Later(Refusal),
}

/// The incoming side: letters from the county.
#[async_trait]
pub trait Inbox: Send + Sync {
    /// True when the letter is already durable here, so its body need not travel.
    async fn has(&self, id: &LetterId, hash: &ObjectHash) -> Result<Option<UtcMs>, PortError>;

    /// Takes the county's revocation list where it is newer than the one in force; `Ok(false)`: it is not.
    async fn revocations(&self, list: Vec<u8>) -> Result<bool, Refusal>;

    /// Verifies and stores a letter. The body has the announced length and hash.
    async fn accept(&self, head: &LetterHead, body: Vec<u8>, now: UtcMs) -> Result<LetterFate, PortError>;
}

/// Whom the link trusts just now. A newer revocation list makes a new one.
#[derive(Clone)]
pub struct LinkTrust {
    /// Mutual TLS 1.3 with the county's CA, ALPN [`relay_core::link::ALPN`].
    pub tls: Arc<rustls::ClientConfig>,
    /// Whether a gateway's certificate, good when the link was made, is revoked by now.
    pub revoked: Arc<dyn Fn(&CertificateDer<'_>) -> bool + Send + Sync>,
}

impl LinkTrust {
    /// Trust that never changes.
    #[must_use]
    pub fn fixed(tls: Arc<rustls::ClientConfig>) -> watch::Receiver<Self> {
        watch::channel(Self { tls, revoked: Arc::new(|_| false) }).1
    }
}

impl std::fmt::Debug for LinkTrust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinkTrust").finish_non_exhaustive()
    }
}

/// The county takes nothing just now, by its own word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Why.
    pub refusal: Refusal,
    /// When it said so first.
    pub since: UtcMs,
    /// When it is tried again.
    pub until: UtcMs,
}

/// What the courier says of the line, for status and the local page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    /// No gateway answers.
    Down {
        /// Since when.
        since: UtcMs,
        /// Why, in words for a person.
        reason: String,
        /// The refusal, when the gateway (or TLS) gave one.
        refusal: Option<Refusal>,
    },
    /// A gateway has answered.
    Up {
        /// Since when.
        since: UtcMs,
        /// Which one, as configured.
        gateway: String,
        /// Round trip in microseconds, measured.
        rtt_us: u64,
        /// County clock minus agent clock in ms, measured on the link.
        clock_offset_ms: i64,
        /// Last answer heard.
        heard_at: UtcMs,
        /// Telephone of the duty reader, as the county says.
        duty_phone: Option<String>,
        /// Wire bytes sent since start, for the study table of the demo and for metrics.
        wire_bytes_sent: u64,
        /// The county has asked for a pause and taken nothing since.
        pause: Option<Pause>,
    },
}

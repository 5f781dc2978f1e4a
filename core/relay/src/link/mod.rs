//! The link between a clinic's agent and its county's gateway: frames and sans-IO state machines of both ends.
//!
//! **Participants.** The *agent* holds studies and notes that the county has not receipted; the *gateway* holds letters
//! that the clinic has not receipted. Each side keeps what it sends until the other says it is durable.
//!
//! **Goals.** Nothing is acknowledged that is not durable; after any cut either end asks, never guesses; an urgent
//! object passes everything that is already on its way; one bad object stops nothing else; every wait has a deadline,
//! every list a limit; old agents keep working.
//!
//! **Non-goals.** No routing, no broker, no delivery to anyone but the peer, no encryption of its own (TLS 1.3 below),
//! no decision about content: codings, checks and custody are the business of spool, ingest and inbox.
//!
//! **Form.** [`frame`] has the numbers and bytes, [`agent::AgentLink`] and [`gateway::GatewayLink`] the behaviour.
//! The machines do no I/O and read no clock. Four families of methods drive them: `handle_*` takes what happened,
//! `poll_frame` / `poll_event` / `peek_data` give what to do, `next_timeout` says when to come back at the latest,
//! `handle_timeout` comes back. The same machines run over QUIC in the drivers and in virtual time in the simulator.

pub mod agent;
mod clock;
pub mod frame;
pub mod gateway;
pub mod limits;
mod range;
pub mod wire;

use crate::clock::UtcMs;
use crate::codes::{Code, Fault, Refusal};

pub use clock::{ClockEstimate, ClockSample};

/// The protocol version of this source.
pub const VERSION: u16 = 1;
/// The oldest version that is still spoken.
pub const VERSION_MIN: u16 = 1;
/// Application protocol name in TLS (ALPN). The number is that of the framing; the version is agreed in hello.
pub const ALPN: &[u8] = b"relay/1";

/// Capability of a gateway that takes [`crate::study::Encoding::Film`], format version 1.
pub const CAPABILITY_FILM: &str = "film-1";

/// Code of a stream that is stopped or reset because its bytes are not needed (any more).
pub const STOP_NOT_NEEDED: u32 = 1;
/// Code of a stream that is stopped because its object is refused; a frame says why.
pub const STOP_REFUSED: u32 = 2;
/// Code of a stream that is reset because the sender cannot read its bytes just now.
pub const STOP_UNREADABLE: u32 = 3;
/// Code of a connection that is closed in order; a refusal closes with its own code number plus this.
pub const CLOSE_BASE: u32 = 256;

/// The code with which a connection is closed.
#[must_use]
pub fn close_code(refusal: Option<&Refusal>) -> u32 {
    CLOSE_BASE + refusal.map_or(0, |r| u32::from(r.code.number()))
}

/// The code behind a connection that the peer closed.
#[must_use]
pub fn code_of_close(number: u64) -> Option<Code> {
    let number = number.checked_sub(u64::from(CLOSE_BASE))?;
    u16::try_from(number).ok().and_then(Code::from_number)
}

/// The moment of a call: a monotonic clock for deadlines and the wall clock for stamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a clock that never steps; its zero is any moment before the machine was made.
    pub mono_ms: u64,
    /// The wall clock.
    pub utc: UtcMs,
}

/// True when sending the same again cannot help. Everything else is tried again.
#[must_use]
pub fn is_final(refusal: &Refusal) -> bool {
    // Unannounced data and unexpected frames are doubt between two healthy ends after a cut: asking again settles it.
    let doubt = matches!(refusal.code, Code::RefusedUnannounced | Code::FrameUnexpected);
    !doubt && matches!(refusal.code.fault(), Fault::Sender | Fault::Incompatible)
}

//! Enrolment of a clinic: a one-time code in the administrator's hand becomes a certificate for a key that never leaves
//! the clinic.
//!
//! ```text
//! county:  issue code ──(paper, telephone)──▶ clinic: types code and CA fingerprint
//! clinic:  makes key and request ──POST /enrol/v1 over TLS pinned by the fingerprint──▶ county
//! county:  code known, unused, in time, not too many attempts, request signed by its key ──▶ certificate
//! clinic:  chain ends in the pinned CA, key and clinic are its own ──▶ stores key (0600) and chain
//! ```

mod agent;
mod code;
mod desk;
mod limits;
mod wire;

pub use agent::{AgentIdentity, AgentRequest, EnrolReplyError, make_csr};
pub use code::{CodeError, EnrolmentCode, Invitation};
pub use desk::{EnrolDesk, EnrolError, MAX_CODE_VALID_MS};
pub use limits::{
    AttemptLimiter, GLOBAL_ATTEMPTS_PER_WINDOW, MAX_TRACKED_PEERS, PEER_FAILURES_PER_WINDOW, WINDOW_MS,
};
pub use wire::{ENROL_PATH, EnrolReply, EnrolRequest, MAX_ENROL_BODY_BYTES, handle};

#[cfg(test)]
mod tests;

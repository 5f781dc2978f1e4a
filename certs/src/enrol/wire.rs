//! The one HTTPS exchange of enrolment, as types and a pure handler; the gateway mounts it.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rand::CryptoRng;
use relay_core::clock::UtcMs;
use relay_core::codes::Code;
use serde::{Deserialize, Serialize};

use super::{EnrolDesk, EnrolError};
use crate::authority::RequestError;

/// Path of `POST`; body [`EnrolRequest`], answer [`EnrolReply`].
pub const ENROL_PATH: &str = "/enrol/v1";
/// Most bytes of the request body: code and request have about 600.
pub const MAX_ENROL_BODY_BYTES: usize = 16 * 1024;

/// What the agent sends.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolRequest {
    /// The code as typed.
    pub code: String,
    /// PKCS#10 request, DER in base64.
    pub csr: String,
}

impl std::fmt::Debug for EnrolRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EnrolRequest(hidden)")
    }
}

/// What the county answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum EnrolReply {
    /// Enrolled.
    Issued {
        /// The chain as PEM, leaf first, CA last.
        chain_pem: String,
        /// The current revocation list, DER in base64: the clinic can judge signatures from its first minute.
        #[serde(default)]
        crl: String,
    },
    /// Refused.
    Refused {
        /// Name in the list of codes, such as `ENROLMENT_CODE_EXPIRED`.
        code: String,
        /// What a Chinese user is told.
        zh: String,
        /// What an English user is told.
        en: String,
    },
}

impl EnrolReply {
    fn refused(code: Code) -> Self {
        Self::Refused { code: code.name().to_owned(), zh: code.zh().to_owned(), en: code.en().to_owned() }
    }
}

/// Answers one request: HTTP status and body. Blocks on files.
pub fn handle(
    desk: &EnrolDesk,
    body: &[u8],
    peer: IpAddr,
    now: UtcMs,
    rng: &mut dyn CryptoRng,
) -> (u16, EnrolReply) {
    if body.len() > MAX_ENROL_BODY_BYTES {
        return (Code::RefusedTooLarge.http_status(), EnrolReply::refused(Code::RefusedTooLarge));
    }
    let Ok(request) = serde_json::from_slice::<EnrolRequest>(body) else {
        return (Code::RequestInvalid.http_status(), EnrolReply::refused(Code::RequestInvalid));
    };
    let issued = BASE64
        .decode(&request.csr)
        .map_err(|e| EnrolError::Request(RequestError::Unreadable(e.to_string())))
        .and_then(|csr| desk.enrol(&request.code, &csr, peer, now, rng));
    match issued {
        Ok(issued) => {
            // The certificate counts; a list that cannot be read just now comes with the next one.
            let crl = desk.authority().crl_der().map(|der| BASE64.encode(der)).unwrap_or_default();
            (200, EnrolReply::Issued { chain_pem: issued.chain_pem(), crl })
        }
        Err(error) => (error.code().http_status(), EnrolReply::refused(error.code())),
    }
}

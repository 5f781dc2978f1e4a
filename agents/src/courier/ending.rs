//! Why a connection ended, in the Relay's codes and in words for a person.

use quinn::ConnectionError;
use relay_core::codes::{Code, Refusal};
use relay_core::link;
use std::time::Duration;

/// QUIC error codes from here on are TLS alerts (RFC 9001 §4.8).
const TLS_ALERT_BASE: u64 = 0x100;
/// QUIC CONNECTION_REFUSED (RFC 9000 §20.1).
const CONNECTION_REFUSED: u64 = 2;

/// Whose certificate a refusal is about.
pub(crate) const OF_THIS_AGENT: &str = "certificate of this agent";
/// The same.
pub(crate) const OF_THE_GATEWAY: &str = "certificate of the gateway";

/// How one attempt or connection ended.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    /// In words.
    pub(super) reason: String,
    /// The code, where one is known.
    pub(super) refusal: Option<Refusal>,
    /// The gateway asked to stay away for this long.
    pub(super) back_off: Option<Duration>,
    /// The gateway had answered the hello.
    pub(super) was_up: bool,
}

impl Ending {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), refusal: None, back_off: None, was_up: false }
    }

    pub(super) fn refused(refusal: Refusal) -> Self {
        Self { reason: refusal.to_string(), refusal: Some(refusal), back_off: None, was_up: false }
    }
}

/// What a lost connection says.
pub(super) fn ending_of(error: &ConnectionError) -> Ending {
    match error {
        ConnectionError::TransportError(error) => {
            tls_ending(error.code.into(), OF_THE_GATEWAY, error.to_string())
        }
        ConnectionError::ConnectionClosed(close) => {
            tls_ending(close.error_code.into(), OF_THIS_AGENT, close.to_string())
        }
        ConnectionError::ApplicationClosed(close) => {
            let words = String::from_utf8_lossy(&close.reason).into_owned();
            match link::code_of_close(close.error_code.into_inner()) {
                Some(code) => Ending::refused(Refusal::new(code, subject_of(code), words)),
                None => Ending::new(format!("the gateway closed the connection: {words}")),
            }
        }
        ConnectionError::TimedOut => {
            Ending::new("no answer from the gateway (UDP may be blocked on the way)")
        }
        ConnectionError::Reset => Ending::new("the gateway has restarted"),
        other => Ending::new(other.to_string()),
    }
}

/// What a gateway's close code is about.
const fn subject_of(code: Code) -> &'static str {
    match code {
        Code::CertificateUnknownCa
        | Code::CertificateExpired
        | Code::CertificateRevoked
        | Code::CertificateNoClinic => OF_THIS_AGENT,
        _ => "link",
    }
}

/// `whose` certificate is judged: the peer's when this end gave up, ours when the peer did.
fn tls_ending(code: u64, whose: &'static str, words: String) -> Ending {
    if code == CONNECTION_REFUSED {
        return Ending::refused(Refusal::new(Code::Busy, "link", "the gateway takes no more connections"));
    }
    let alert = code.checked_sub(TLS_ALERT_BASE).and_then(|alert| u8::try_from(alert).ok());
    let Some(alert) = alert else { return Ending::new(words) };
    let error = rustls::Error::AlertReceived(rustls::AlertDescription::from(alert));
    match relay_certs::trust::refusal_code(&error) {
        Some(Code::VersionUnsupported) => {
            Ending::refused(Refusal::new(Code::VersionUnsupported, "ALPN", words))
        }
        Some(code) => Ending::refused(Refusal::new(code, whose, words)),
        None => Ending::new(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_about_our_certificate_has_its_code_and_says_whose() {
        let ending = tls_ending(0x100 + 44, OF_THIS_AGENT, "aborted by peer".into());
        let refusal = ending.refusal.unwrap();
        assert_eq!(refusal.code, Code::CertificateRevoked);
        assert_eq!(refusal.field, "certificate of this agent");
    }

    #[test]
    fn a_refusal_of_the_gateway_comes_back_out_of_the_close_code() {
        let refusal = Refusal::new(Code::ShuttingDown, "link", "shutting down");
        let close = quinn::ApplicationClose {
            error_code: link::close_code(Some(&refusal)).into(),
            reason: bytes::Bytes::from_static(b"shutting down"),
        };
        let ending = ending_of(&ConnectionError::ApplicationClosed(close));
        assert_eq!(ending.refusal, Some(refusal));
    }
}

//! The county's side of enrolment.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rand::CryptoRng;
use relay_core::clock::{DAY_MS, UtcMs};
use relay_core::codes::Code;
use relay_core::ids::ClinicId;

use super::{AttemptLimiter, CodeError, EnrolmentCode, Invitation};
use crate::authority::{
    Authority, AuthorityError, CodeRecord, IssuedCertificate, Redeemed, RequestError, check_request,
};

/// Longest life of a code: a letter to a far clinic takes a week.
pub const MAX_CODE_VALID_MS: i64 = 14 * DAY_MS;

/// Why an enrolment is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnrolError {
    /// Too many attempts from this address, or from all.
    #[error("too many enrolment attempts; try again later")]
    TooManyAttempts,
    /// The code is not of the form or has a typing error.
    #[error("enrolment code: {0}")]
    Code(#[from] CodeError),
    /// Nobody issued this code.
    #[error("the enrolment code is unknown")]
    Unknown,
    /// The code was used for another key.
    #[error("the enrolment code was used already")]
    Used,
    /// The code's time is over.
    #[error("the enrolment code has expired")]
    Expired,
    /// The certificate request is refused; the code is not spent.
    #[error("certificate request: {0}")]
    Request(#[from] RequestError),
    /// The CA failed; the code is not spent.
    #[error("the county CA failed: {0}")]
    Authority(#[from] AuthorityError),
}

impl EnrolError {
    /// The code that crosses the boundary. Unknown and used codes look alike from outside.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::TooManyAttempts => Code::TooManyAttempts,
            Self::Code(_) | Self::Unknown | Self::Used => Code::EnrolmentCodeInvalid,
            Self::Expired => Code::EnrolmentCodeExpired,
            Self::Request(_) => Code::RequestInvalid,
            Self::Authority(error) => error.code(),
        }
    }
}

/// Issues codes and turns them into certificates. One per gateway process: the attempt counters live here.
#[derive(Debug, Clone)]
pub struct EnrolDesk {
    authority: Arc<Authority>,
    limiter: Arc<Mutex<AttemptLimiter>>,
}

impl EnrolDesk {
    /// A desk before this CA.
    #[must_use]
    pub fn new(authority: Arc<Authority>) -> Self {
        Self { authority, limiter: Arc::default() }
    }

    /// The CA behind the desk.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// A new one-time code for a clinic, valid for `valid_for_ms` from `now`.
    ///
    /// # Errors
    /// [`AuthorityError`] of the directory, or a lawless duration.
    pub fn issue_code(
        &self,
        clinic: &ClinicId,
        valid_for_ms: i64,
        now: UtcMs,
        rng: &mut dyn CryptoRng,
    ) -> Result<Invitation, AuthorityError> {
        let result = self.issue_code_inner(clinic, valid_for_ms, now, rng);
        match &result {
            Ok(_) => {
                tracing::info!(target: "relay_certs::audit", verb = "code.issue", subject = %clinic, outcome = "done")
            }
            Err(error) => tracing::warn!(
                target: "relay_certs::audit", verb = "code.issue", subject = %clinic, outcome = "refused", %error
            ),
        }
        result
    }

    fn issue_code_inner(
        &self,
        clinic: &ClinicId,
        valid_for_ms: i64,
        now: UtcMs,
        rng: &mut dyn CryptoRng,
    ) -> Result<Invitation, AuthorityError> {
        if !(1..=MAX_CODE_VALID_MS).contains(&valid_for_ms) {
            let reason = format!("{valid_for_ms} ms; 1 to {MAX_CODE_VALID_MS} are lawful");
            return Err(AuthorityError::Field { field: "validity of the code", reason });
        }
        let code = EnrolmentCode::generate(clinic, rng);
        let record = CodeRecord {
            code_sha256: code.sha256(),
            clinic: clinic.clone(),
            issued_at: now,
            expires_at: now.plus_ms(valid_for_ms),
            used_for: None,
        };
        self.authority.add_code(record, now)?;
        Ok(Invitation { code, ca_fingerprint: self.authority.ca_fingerprint() })
    }

    /// Turns a code and a request into a certificate. A code serves one key; the same code with the same key within its
    /// time gives the same certificate again, because the first answer may have been lost on the way. Blocks on files:
    /// async callers use their blocking pool.
    ///
    /// # Errors
    /// [`EnrolError`]; only success spends the code.
    pub fn enrol(
        &self,
        code: &str,
        csr_der: &[u8],
        peer: IpAddr,
        now: UtcMs,
        rng: &mut dyn CryptoRng,
    ) -> Result<IssuedCertificate, EnrolError> {
        let admitted = self.limiter.lock().unwrap_or_else(PoisonError::into_inner).admit(peer, now);
        let result =
            if admitted { self.redeem(code, csr_der, now, rng) } else { Err(EnrolError::TooManyAttempts) };
        match &result {
            Ok((clinic, issued)) => tracing::info!(
                target: "relay_certs::audit", verb = "agent.enrol", subject = %clinic, %peer,
                serial = %issued.serial, outcome = "done"
            ),
            Err(error) => {
                if admitted {
                    self.limiter.lock().unwrap_or_else(PoisonError::into_inner).failed(peer, now);
                }
                tracing::warn!(
                    target: "relay_certs::audit", verb = "agent.enrol", %peer, outcome = "refused",
                    code = error.code().name(), %error
                );
            }
        }
        result.map(|(_, issued)| issued)
    }

    fn redeem(
        &self,
        code: &str,
        csr_der: &[u8],
        now: UtcMs,
        rng: &mut dyn CryptoRng,
    ) -> Result<(ClinicId, IssuedCertificate), EnrolError> {
        let code = EnrolmentCode::parse(code)?;
        let public_key_der = check_request(csr_der)?;
        match self.authority.redeem_code(&code.sha256(), &public_key_der, now, rng)? {
            Redeemed::Issued(issued) => Ok((code.clinic().clone(), issued)),
            Redeemed::Unknown => Err(EnrolError::Unknown),
            Redeemed::Expired => Err(EnrolError::Expired),
            Redeemed::Used => Err(EnrolError::Used),
        }
    }
}

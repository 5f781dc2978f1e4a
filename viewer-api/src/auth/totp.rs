//! Second factor: TOTP (RFC 6238), SHA-1, 6 digits, 30 s, one step of skew either way.

use super::Entropy;
use crate::problem::Problem;
use relay_core::clock::{SECOND_MS, UtcMs};
use relay_core::codes::Code;
use totp_rs::{Builder, Secret, Totp};

/// Bytes of a secret: the length of a SHA-1 digest, as RFC 4226 recommends.
const SECRET_BYTES: usize = 20;

fn totp(secret: &str) -> Result<Totp, Problem> {
    let internal = |reason: String| Problem::new(Code::Internal, "totp_secret", reason);
    let secret = Secret::try_from_base32(secret).map_err(|error| internal(error.to_string()))?;
    Builder::new().with_skew(1).with_secret(secret).build().map_err(|error| internal(error.to_string()))
}

fn seconds(now: UtcMs) -> u64 {
    u64::try_from(now.0 / SECOND_MS).unwrap_or(0)
}

/// A new secret in base32, shown once to its owner.
///
/// # Errors
/// `INTERNAL` when the entropy source fails.
pub fn new_secret(entropy: &dyn Entropy) -> Result<String, Problem> {
    let mut bytes = [0_u8; SECRET_BYTES];
    entropy.fill(&mut bytes)?;
    Ok(Secret::from(bytes.as_slice()).to_base32())
}

/// The step whose code this is; `None` when it is wrong, or not newer than `last_step` (a replay).
///
/// # Errors
/// `INTERNAL` when the stored secret cannot be read.
pub fn check(secret: &str, code: &str, last_step: Option<u64>, now: UtcMs) -> Result<Option<u64>, Problem> {
    let totp = totp(secret)?;
    let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
    Ok(totp.check(&code, seconds(now)).filter(|step| last_step.is_none_or(|last| *step > last)))
}

/// The code of a secret at a time; what an authenticator app shows.
///
/// # Errors
/// `INTERNAL` when the secret cannot be read.
pub fn code(secret: &str, at: UtcMs) -> Result<String, Problem> {
    Ok(totp(secret)?.generate(seconds(at)).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    #[test]
    fn the_code_of_rfc_6238_is_accepted_once() {
        let now = UtcMs(59_000);
        assert_eq!(code(SECRET, now).unwrap(), "287082");
        assert_eq!(check(SECRET, "287 082", None, now).unwrap(), Some(1));
        assert_eq!(check(SECRET, "287082", Some(1), now).unwrap(), None);
        assert_eq!(check(SECRET, "287083", None, now).unwrap(), None);
    }

    #[test]
    fn one_step_of_skew_is_allowed_and_two_are_not() {
        let code = code(SECRET, UtcMs(59_000)).unwrap();
        assert!(check(SECRET, &code, None, UtcMs(89_000)).unwrap().is_some());
        assert!(check(SECRET, &code, None, UtcMs(119_000)).unwrap().is_none());
    }
}

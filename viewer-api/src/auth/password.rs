//! Passwords as argon2id (RFC 9106) PHC strings, m = 19 MiB, t = 2, p = 1.

use super::Entropy;
use crate::limits::{MAX_PASSWORD_BYTES, MAX_PASSWORD_HASHES, PASSWORD_QUEUE_DEADLINE};
use crate::problem::Problem;
use argon2::Argon2;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use relay_core::codes::Code;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Bytes of salt.
const SALT_BYTES: usize = 16;

/// The PHC string to store for a new password. Blocks for about 60 ms.
///
/// # Errors
/// `FIELD_INVALID` for an empty or overlong password, `INTERNAL` when the entropy source fails.
pub fn hash(password: &str, entropy: &dyn Entropy) -> Result<String, Problem> {
    if password.is_empty() || password.len() > MAX_PASSWORD_BYTES {
        let reason = format!("must have 1 to {MAX_PASSWORD_BYTES} bytes");
        return Err(Problem::new(Code::FieldInvalid, "password", reason));
    }
    let mut salt = [0_u8; SALT_BYTES];
    entropy.fill(&mut salt)?;
    Argon2::default()
        .hash_password_with_salt(password.as_bytes(), &salt)
        .map(|phc| phc.to_string())
        .map_err(|error| Problem::new(Code::Internal, "password", error.to_string()))
}

/// Verifies passwords off the async threads, a few at a time.
#[derive(Debug, Clone)]
pub struct Verifier {
    turns: Arc<Semaphore>,
    /// Hash of nothing anybody knows: what an unknown login is compared with, so that it takes as long.
    decoy: Arc<str>,
}

impl Verifier {
    /// A verifier whose decoy is made from `entropy`.
    ///
    /// # Errors
    /// As [`hash`].
    pub fn new(entropy: &dyn Entropy) -> Result<Self, Problem> {
        let mut secret = [0_u8; 32];
        entropy.fill(&mut secret)?;
        let decoy = hash(&hex::encode(secret), entropy)?.into();
        Ok(Self { turns: Arc::new(Semaphore::new(MAX_PASSWORD_HASHES)), decoy })
    }

    /// Whether the password is that of the stored hash; without one a hash is spent all the same and the answer is no.
    ///
    /// # Errors
    /// `BUSY` when too many wait, `INTERNAL` when the stored hash cannot be read.
    pub async fn verify(&self, password: String, stored: Option<String>) -> Result<bool, Problem> {
        if password.len() > MAX_PASSWORD_BYTES {
            return Err(Problem::new(Code::FieldInvalid, "password", "is too long"));
        }
        let turn = tokio::time::timeout(PASSWORD_QUEUE_DEADLINE, self.turns.clone().acquire_owned());
        let Ok(Ok(turn)) = turn.await else {
            return Err(Problem::new(Code::Busy, "login", "too many logins wait"));
        };
        let decoy = self.decoy.clone();
        let verified = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let known = stored.is_some();
            let phc = stored.as_deref().unwrap_or(&decoy);
            match Argon2::default().verify_password(password.as_bytes(), phc) {
                Ok(()) => Ok(known),
                Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
                Err(error) => Err(Problem::new(Code::Internal, "password_hash", error.to_string())),
            }
        });
        verified.await.map_err(|_| Problem::new(Code::Internal, "password_hash", "the verifier stopped"))?
    }
}

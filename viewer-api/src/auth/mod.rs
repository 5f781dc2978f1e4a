//! Who asks: login, session, role, and the guard against requests forged by other sites.

pub mod login;
pub mod password;
pub mod policy;
pub mod rate;
pub mod session;
pub mod totp;

pub use policy::Caller;

/// Where random bytes come from.
pub trait Entropy: Send + Sync {
    /// Fills `bytes` with bytes that nobody can guess.
    ///
    /// # Errors
    /// `INTERNAL` when the source fails.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), crate::problem::Problem>;
}

/// The operating system's source. Constructed in binaries.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), crate::problem::Problem> {
        use rand::TryRngCore as _;
        rand::rngs::OsRng.try_fill_bytes(bytes).map_err(|error| {
            crate::problem::Problem::new(relay_core::codes::Code::Internal, "entropy", error.to_string())
        })
    }
}

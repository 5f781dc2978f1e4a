//! What every handler shares.

use crate::auth::Entropy;
use crate::auth::password::Verifier;
use crate::auth::rate::{LoginRate, UnknownLogins};
use crate::desk::ReadingDesk;
use crate::image::pool::DecodePool;
use crate::limits::MAX_EVENT_STREAMS;
use crate::problem::Problem;
use relay_core::clock::Clock;
use std::ops::Deref;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// The reading room's shared state; clones are handles to the same.
#[derive(Clone)]
pub struct Viewer(Arc<Parts>);

/// What [`Viewer`] points at.
pub struct Parts {
    /// The county behind the port.
    pub desk: Arc<dyn ReadingDesk>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Password verifier.
    pub passwords: Verifier,
    /// Login attempts per address.
    pub login_rate: LoginRate,
    /// Lockout of names without account.
    pub unknown_logins: UnknownLogins,
    /// Image decoders.
    pub decoders: DecodePool,
    /// Turns for live event streams.
    pub streams: Arc<Semaphore>,
    /// Cancelled when the process stops: live event streams end.
    pub stop: CancellationToken,
}

impl Viewer {
    /// State around a desk. Blocks for one password hash (about 60 ms).
    ///
    /// # Errors
    /// `INTERNAL` when the entropy source fails.
    pub fn new(
        desk: Arc<dyn ReadingDesk>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        stop: CancellationToken,
    ) -> Result<Self, Problem> {
        Self::with_decoders(desk, clock, entropy, DecodePool::default(), stop)
    }

    /// As [`Self::new`], over decoders that others share: one budget of memory for the whole process.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_decoders(
        desk: Arc<dyn ReadingDesk>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        decoders: DecodePool,
        stop: CancellationToken,
    ) -> Result<Self, Problem> {
        let passwords = Verifier::new(entropy.as_ref())?;
        Ok(Self(Arc::new(Parts {
            desk,
            clock,
            entropy,
            passwords,
            login_rate: LoginRate::default(),
            unknown_logins: UnknownLogins::default(),
            decoders,
            streams: Arc::new(Semaphore::new(MAX_EVENT_STREAMS)),
            stop,
        })))
    }
}

impl Deref for Viewer {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl std::fmt::Debug for Viewer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Viewer").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}

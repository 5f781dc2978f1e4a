//! Storage and verification SCP (PS3.4 Annex A and B): takes every storage class in every transfer syntax, writes the
//! data set byte by byte as it came behind a file meta of our own, and says success only when it is in custody.

mod association;
mod command;
mod file_meta;
mod wire;

use crate::config::Dicom;
use crate::spool::Spool;
use relay_core::ids::StudyUid;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections above the limit that get a proper rejection at a time; further ones are closed.
const MAX_REJECTING: usize = 8;
/// After a failed `accept` (out of descriptors) it is tried again after this long.
const ACCEPT_RETRY: Duration = Duration::from_millis(200);

/// The listener.
#[derive(Debug)]
pub struct DimseListener {
    listener: TcpListener,
    scp: Arc<Scp>,
}

#[derive(Debug)]
struct Scp {
    config: Dicom,
    spool: Spool,
}

/// Studies that one association has brought, so that their quiet time begins when it ends, however it ends.
#[derive(Debug, Clone, Default)]
struct Brought(Arc<Mutex<BTreeSet<StudyUid>>>);

impl Brought {
    fn add(&self, spool: &Spool, study: &StudyUid) {
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(study.clone()) {
            spool.opened(study);
        }
    }

    async fn close(&self, spool: &Spool) {
        let studies = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for study in studies {
            if let Err(error) = spool.closed(&study).await {
                tracing::error!(%study, error = %crate::spool::chain(&error), "the end of an association was not recorded");
            }
        }
    }
}

impl DimseListener {
    /// Binds the port.
    ///
    /// # Errors
    /// Of the operating system, naming the address.
    pub async fn bind(config: Dicom, spool: Spool) -> Result<Self, std::io::Error> {
        let listener = TcpListener::bind(config.listen)
            .await
            .map_err(|e| std::io::Error::new(e.kind(), format!("dicom.listen {}: {e}", config.listen)))?;
        Ok(Self { listener, scp: Arc::new(Scp { config, spool }) })
    }

    /// The bound address.
    ///
    /// # Errors
    /// Of the operating system.
    pub fn local_addr(&self) -> Result<SocketAddr, std::io::Error> {
        self.listener.local_addr()
    }

    /// Takes associations until `stop`; then waits for the open ones until `kill`.
    pub async fn run(self, stop: CancellationToken, kill: CancellationToken) {
        let places = Arc::new(Semaphore::new(self.scp.config.max_associations));
        let rejecting = Arc::new(Semaphore::new(MAX_REJECTING));
        let tasks = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "DICOM port: accept failed");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            let (scp, kill) = (Arc::clone(&self.scp), kill.clone());
            if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
                tasks.spawn(async move {
                    attend(scp, stream, peer, kill).await;
                    drop(place);
                });
            } else if let Ok(place) = Arc::clone(&rejecting).try_acquire_owned() {
                tracing::warn!(%peer, limit = scp.config.max_associations, "too many associations");
                tasks.spawn(async move {
                    association::turn_away(stream, &scp.config).await;
                    drop(place);
                });
            }
        }
        tasks.close();
        tokio::select! {
            () = tasks.wait() => {}
            () = kill.cancelled() => {}
        }
    }
}

/// One connection. A panic inside ends this association only.
async fn attend(scp: Arc<Scp>, stream: TcpStream, peer: SocketAddr, kill: CancellationToken) {
    let (brought, spool) = (Brought::default(), scp.spool.clone());
    let inner = brought.clone();
    let mut task = tokio::spawn(async move { association::serve(&scp, stream, peer, &inner).await });
    let ended = tokio::select! {
        ended = &mut task => ended,
        () = kill.cancelled() => {
            task.abort();
            task.await
        }
    };
    match ended {
        Ok(Ok(objects)) => tracing::info!(%peer, objects, "association released"),
        Ok(Err(error)) => tracing::warn!(%peer, %error, "association ended"),
        Err(error) if error.is_panic() => tracing::error!(%peer, "association failed on an internal error"),
        Err(_) => tracing::warn!(%peer, "association cut off by shutdown"),
    }
    brought.close(&spool).await;
}

#[cfg(test)]
mod tests;

//! Storage and verification SCP (PS3.4 Annex A and B): takes every storage class in every transfer syntax, writes the
//! data set byte by byte as it came behind a file meta of our own, and says success only when it is in custody.

mod association;
mod command;
mod file_meta;
mod wire;

use crate::config::Dicom;
use crate::spool::Spool;
use relay_core::ids::StudyUid;
use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections that get a proper rejection at a time, from strangers or above the limit; further ones are closed.
const MAX_REJECTING: usize = 8;
/// Connections that have not asked for an association yet: each holds a few KiB for some seconds.
const MAX_WAITING: usize = 128;
/// Of these, from one address: a modality opens a handful at once; a silent machine keeps nobody else out.
const MAX_WAITING_PER_ADDRESS: usize = 16;
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
    /// Associations at once.
    places: Semaphore,
}

/// Connections that have not asked for an association yet, by address.
#[derive(Debug, Clone, Default)]
struct Waiting(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One of them; dropped when it asks, or ends.
#[derive(Debug)]
struct Seat {
    waiting: Waiting,
    address: IpAddr,
}

impl Waiting {
    fn seat(&self, address: IpAddr) -> Option<Seat> {
        let mut by_address = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = by_address.values().sum();
        let here = by_address.get(&address).copied().unwrap_or(0);
        if all >= MAX_WAITING || here >= MAX_WAITING_PER_ADDRESS {
            return None;
        }
        by_address.insert(address, here + 1);
        Some(Seat { waiting: self.clone(), address })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut by_address = self.waiting.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&self.address);
            }
        }
    }
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
        let places = Semaphore::new(config.max_associations);
        Ok(Self { listener, scp: Arc::new(Scp { config, spool, places }) })
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
        let waiting = Waiting::default();
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
            let strange = !may_come(&scp.config, peer.ip());
            let seat = if strange { None } else { waiting.seat(peer.ip()) };
            if let Some(seat) = seat {
                tasks.spawn(attend(scp, stream, peer, seat, kill));
            } else if let Ok(place) = Arc::clone(&rejecting).try_acquire_owned() {
                let why = if strange { "address is not in dicom.allow_address" } else { "too many wait" };
                tracing::warn!(%peer, why, "connection turned away");
                tasks.spawn(async move {
                    association::turn_away(stream, &scp.config, strange).await;
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

fn may_come(config: &Dicom, address: IpAddr) -> bool {
    config.allow_address.is_empty() || config.allow_address.iter().any(|net| net.contains(address))
}

/// One connection. A panic inside ends this association only.
async fn attend(scp: Arc<Scp>, stream: TcpStream, peer: SocketAddr, seat: Seat, kill: CancellationToken) {
    let (brought, spool) = (Brought::default(), scp.spool.clone());
    let inner = brought.clone();
    let mut task = tokio::spawn(async move { association::serve(&scp, stream, peer, seat, &inner).await });
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

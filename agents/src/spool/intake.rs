//! A reception fed from async code: bytes go over a short queue to a thread that may block on the disk.

use super::{Admitted, Origin, Received, Receiving, Spool, SpoolError, blocking};
use bytes::Bytes;
use relay_core::codes::Refusal;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Pieces between socket and disk: 8 × 128 KiB bound one reception's memory at 1 MiB.
const PIECES_AHEAD: usize = 8;

/// One object coming in from the network. Dropping it drops what has arrived.
#[derive(Debug)]
pub struct Intake {
    spool: Spool,
    pieces: Option<mpsc::Sender<Bytes>>,
    writer: JoinHandle<Result<Receiving, Refusal>>,
}

impl Spool {
    /// Begins a reception with the bytes that come first.
    #[must_use]
    pub fn intake(&self, first: Vec<u8>) -> Intake {
        let spool = self.clone();
        let (pieces, mut incoming) = mpsc::channel::<Bytes>(PIECES_AHEAD);
        let writer = tokio::task::spawn_blocking(move || {
            let mut receiving = spool.receive(None)?;
            receiving.write(&first)?;
            while let Some(piece) = incoming.blocking_recv() {
                receiving.write(&piece)?;
            }
            Ok(receiving)
        });
        Intake { spool: self.clone(), pieces: Some(pieces), writer }
    }
}

impl Intake {
    /// Hands over the next bytes, waiting for the disk. After a refusal the rest is thrown away; [`Self::admit`] says why.
    pub async fn push(&mut self, piece: Bytes) {
        if let Some(pieces) = &self.pieces
            && pieces.send(piece).await.is_err()
        {
            self.pieces = None;
        }
    }

    /// All bytes have come, and are not taken: the refusal stands in the list of refused files with what came.
    ///
    /// # Errors
    /// Of reception, of the store.
    pub async fn refuse(mut self, origin: &Origin, refusal: &Refusal) -> Result<(), Refusal> {
        self.pieces = None;
        let receiving = self.writer.await.map_err(|_| SpoolError::ShuttingDown.refusal())??;
        let received: Received = blocking(move || receiving.finish()).await.map_err(|e| e.refusal())?;
        self.spool.record_reject(origin, received.sha256, refusal).await.map_err(|e| e.refusal())
    }

    /// All bytes have come: takes the object into custody.
    ///
    /// # Errors
    /// The refusal of reception or admission.
    pub async fn admit(mut self, origin: &Origin) -> Result<Admitted, Refusal> {
        self.pieces = None;
        let receiving = self.writer.await.map_err(|_| SpoolError::ShuttingDown.refusal())??;
        let received: Received = blocking(move || receiving.finish()).await.map_err(|e| e.refusal())?;
        self.spool.admit(received, origin).await
    }
}

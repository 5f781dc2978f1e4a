//! PDUs over TCP (PS3.8 §9.3) with limits and deadlines.

use bytes::{Buf as _, BytesMut};
use dicom_ul::pdu::{
    AbortRQServiceProviderReason, AbortRQSource, AssociationRJ, AssociationRJResult, AssociationRJSource,
    PDataValue, PDataValueType, Pdu, read_pdu, write_pdu,
};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longest PDU that we announce, in bytes: as many as dcmtk sends at most; larger ones gain nothing on a LAN.
pub(super) const MAX_PDU_BYTES: u32 = 128 * 1024;
/// Longest PDU that is read: an A-ASSOCIATE-RQ with 128 contexts and their syntaxes may be longer than a P-DATA-TF.
const MAX_READ_BYTES: u32 = 256 * 1024;
/// Writing a response waits at most this long for the peer.
const WRITE_DEADLINE: Duration = Duration::from_secs(30);

/// Why an association ends other than by release.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("the device closed the connection without release")]
    Closed,
    #[error("no byte for {0:?}")]
    Idle(Duration),
    #[error("PDU type {kind:#04x} claims {length} bytes, at most {MAX_READ_BYTES} are read")]
    TooLong { kind: u8, length: u32 },
    #[error("malformed PDU: {0}")]
    Malformed(String),
    #[error("aborted by the device")]
    Aborted,
    #[error("{0}")]
    Protocol(&'static str),
    #[error("connection: {0}")]
    Io(#[from] std::io::Error),
}

/// A TCP connection that speaks PDUs.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    buffer: BytesMut,
    idle: Duration,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, idle: Duration) -> Self {
        Self { stream, buffer: BytesMut::with_capacity(8 * 1024), idle }
    }

    /// The next PDU.
    pub(super) async fn next(&mut self) -> Result<Pdu, WireError> {
        self.fill(6).await?;
        let (kind, length) = (
            self.buffer[0],
            u32::from_be_bytes([self.buffer[2], self.buffer[3], self.buffer[4], self.buffer[5]]),
        );
        if length > MAX_READ_BYTES {
            return Err(WireError::TooLong { kind, length });
        }
        let whole = 6 + length as usize;
        self.fill(whole).await?;
        let pdu = read_pdu(&self.buffer[..whole], MAX_READ_BYTES, true);
        self.buffer.advance(whole);
        match pdu {
            Ok(Some(pdu)) => Ok(pdu),
            Ok(None) => Err(WireError::Malformed("incomplete".to_owned())),
            Err(error) => Err(WireError::Malformed(error.to_string())),
        }
    }

    async fn fill(&mut self, want: usize) -> Result<(), WireError> {
        while self.buffer.len() < want {
            self.buffer.reserve(want - self.buffer.len());
            let read = tokio::time::timeout(self.idle, self.stream.read_buf(&mut self.buffer));
            if read.await.map_err(|_| WireError::Idle(self.idle))?? == 0 {
                return Err(WireError::Closed);
            }
        }
        Ok(())
    }

    pub(super) async fn send(&mut self, pdu: &Pdu) -> Result<(), WireError> {
        let mut bytes = Vec::with_capacity(1024);
        write_pdu(&mut bytes, pdu).map_err(|e| WireError::Malformed(e.to_string()))?;
        let write = async {
            self.stream.write_all(&bytes).await?;
            self.stream.flush().await
        };
        tokio::time::timeout(WRITE_DEADLINE, write).await.map_err(|_| WireError::Idle(WRITE_DEADLINE))??;
        Ok(())
    }

    pub(super) async fn command(&mut self, context: u8, data: Vec<u8>) -> Result<(), WireError> {
        let value = PDataValue {
            presentation_context_id: context,
            value_type: PDataValueType::Command,
            is_last: true,
            data,
        };
        self.send(&Pdu::PData { data: vec![value] }).await
    }

    pub(super) async fn reject(&mut self, result: AssociationRJResult, source: AssociationRJSource) {
        // The peer may be gone already; there is nobody left to tell.
        let _ = self.send(&Pdu::AssociationRJ(AssociationRJ { result, source })).await;
        self.close().await;
    }

    pub(super) async fn abort(&mut self, reason: AbortRQServiceProviderReason) {
        // As above.
        let _ = self.send(&Pdu::AbortRQ { source: AbortRQSource::ServiceProvider(reason) }).await;
        self.close().await;
    }

    /// Ends our half; the peer's last bytes are not waited for.
    pub(super) async fn close(&mut self) {
        let _ = tokio::time::timeout(WRITE_DEADLINE, self.stream.shutdown()).await;
    }
}

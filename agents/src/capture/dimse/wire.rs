//! PDUs over TCP (PS3.8 §9.3) with limits and deadlines.

use bytes::{Buf as _, BytesMut};
use dicom_ul::pdu::{
    AbortRQServiceProviderReason, AbortRQSource, AssociationRJ, AssociationRJResult, AssociationRJSource,
    PDataValue, PDataValueType, Pdu, read_pdu, write_pdu,
};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Longest PDU that we announce, in bytes: as many as dcmtk sends at most; larger ones gain nothing on a LAN.
pub(super) const MAX_PDU_BYTES: u32 = 128 * 1024;
/// Longest PDU that is read: an A-ASSOCIATE-RQ with 128 contexts and their syntaxes may be longer than a P-DATA-TF.
const MAX_READ_BYTES: u32 = 256 * 1024;
/// Writing a response waits at most this long for the peer.
const WRITE_DEADLINE: Duration = Duration::from_secs(30);
/// A device that sends slower than this over a whole PDU, or over a whole data set, keeps a place from the others. The
/// slowest lawful line, a serial bridge of an old CR, brings 10 KiB/s.
const MIN_BYTES_PER_S: u64 = 2 * 1024;
/// A PDU or a data set may pause this long on top: a device that reads its own slow disk.
const PAUSE: Duration = Duration::from_secs(30);

/// Longest time in which so many bytes must have come.
fn longest(bytes: u64, pause: Duration) -> Duration {
    pause + Duration::from_secs(bytes / MIN_BYTES_PER_S)
}

/// The pace of one data set.
#[derive(Debug)]
pub(super) struct Pace {
    began: Instant,
    bytes: u64,
    pause: Duration,
}

impl Pace {
    /// Counts the bytes that have come since.
    pub(super) fn add(&mut self, bytes: usize) -> Result<(), WireError> {
        self.bytes += bytes as u64;
        let (took, most) = (self.began.elapsed(), longest(self.bytes, self.pause));
        if took > most { Err(WireError::Slow { bytes: self.bytes, took }) } else { Ok(()) }
    }
}

/// Why an association ends other than by release.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("the device closed the connection without release")]
    Closed,
    #[error("no byte for {0:?}")]
    Idle(Duration),
    #[error("{bytes} bytes in {took:?}: slower than {MIN_BYTES_PER_S} bytes/s")]
    Slow { bytes: u64, took: Duration },
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
    /// What a PDU or data set may pause.
    pause: Duration,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, idle: Duration) -> Self {
        Self { stream, buffer: BytesMut::with_capacity(8 * 1024), idle, pause: PAUSE.min(idle) }
    }

    /// The pace of a data set that begins now.
    pub(super) fn pace(&self) -> Pace {
        Pace { began: Instant::now(), bytes: 0, pause: self.pause }
    }

    /// The next PDU: its first byte within the idle time, the rest of it at no less than the lowest rate.
    pub(super) async fn next(&mut self) -> Result<Pdu, WireError> {
        self.fill(1, Instant::now() + self.idle)
            .await
            .map_err(|e| e.unwrap_or(WireError::Idle(self.idle)))?;
        let began = Instant::now();
        let slow = |e: Option<WireError>, bytes: usize| {
            e.unwrap_or_else(|| WireError::Slow { bytes: bytes as u64, took: began.elapsed() })
        };
        let filled = self.fill(6, began + longest(6, self.pause)).await;
        filled.map_err(|e| slow(e, self.buffer.len()))?;
        let (kind, length) = (
            self.buffer[0],
            u32::from_be_bytes([self.buffer[2], self.buffer[3], self.buffer[4], self.buffer[5]]),
        );
        if length > MAX_READ_BYTES {
            return Err(WireError::TooLong { kind, length });
        }
        let whole = 6 + length as usize;
        let filled = self.fill(whole, began + longest(u64::from(length), self.pause)).await;
        filled.map_err(|e| slow(e, self.buffer.len()))?;
        let pdu = read_pdu(&self.buffer[..whole], MAX_READ_BYTES, true);
        self.buffer.advance(whole);
        match pdu {
            Ok(Some(pdu)) => Ok(pdu),
            Ok(None) => Err(WireError::Malformed("incomplete".to_owned())),
            Err(error) => Err(WireError::Malformed(error.to_string())),
        }
    }

    /// Reads until `want` bytes are there; `Err(None)` when the deadline passes.
    async fn fill(&mut self, want: usize, deadline: Instant) -> Result<(), Option<WireError>> {
        while self.buffer.len() < want {
            self.buffer.reserve(want - self.buffer.len());
            let read = tokio::time::timeout_at(deadline, self.stream.read_buf(&mut self.buffer));
            let read = read.await.map_err(|_| None)?;
            if read.map_err(|e| Some(e.into()))? == 0 {
                return Err(Some(WireError::Closed));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_data_set_that_trickles_is_ended_and_a_slow_honest_one_is_not() {
        let mut honest = Pace { began: Instant::now(), bytes: 0, pause: PAUSE };
        for _ in 0..600 {
            tokio::time::advance(Duration::from_secs(1)).await;
            honest.add(4 * 1024).unwrap();
        }
        let mut trickle = Pace { began: Instant::now(), bytes: 0, pause: PAUSE };
        let mut seconds = 0;
        while trickle.add(1).is_ok() {
            tokio::time::advance(Duration::from_secs(20)).await;
            seconds += 20;
        }
        assert_eq!(seconds, 40, "the pause is used up");
    }

    #[tokio::test]
    async fn a_pdu_that_comes_byte_by_byte_is_ended_by_its_own_deadline() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let device = tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            // A header that promises 256 KiB, and then a byte as often as the other end listens.
            let _ = stream.write_all(&[4, 0, 0, 4, 0, 0]).await;
            while stream.write_all(&[0]).await.is_ok() {
                tokio::task::yield_now().await;
                if stream.peer_addr().is_err() {
                    break;
                }
            }
        });
        let (stream, _) = listener.accept().await.unwrap();
        let mut wire = Wire::new(stream, Duration::from_millis(50));
        let deadline = Instant::now() + Duration::from_millis(20);
        assert!(matches!(wire.fill(MAX_READ_BYTES as usize * 16, deadline).await, Err(None)));
        drop(wire);
        device.abort();
    }
}

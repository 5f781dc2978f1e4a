//! One data stream of an agent: header, verdict, bytes to custody, outcome.

use super::clerk::{CUSTODY_DEADLINE, late};
use super::connection::Message;
use super::ports::{Custody, ObjectWriter};
use super::turns::{OwnTurns, STALL};
use super::window::Sending;
use quinn::{ReadError, RecvStream};
use relay_core::clock::Clock;
use relay_core::codes::{Code, Refusal};
use relay_core::ids::ClinicId;
use relay_core::limits::DATA_CHUNK_BYTES;
use relay_core::link::frame::{Frame, FrameReader, ObjectData, ObjectReceipt, ObjectState};
use relay_core::link::gateway::DataVerdict;
use relay_core::link::limits::MAX_STREAM_HEADER_BYTES;
use relay_core::link::{STOP_NOT_NEEDED, STOP_REFUSED, frame};
use relay_core::study::ManifestObject;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// The header must follow the opening of the stream within this time.
const HEADER_DEADLINE: Duration = Duration::from_secs(30);
/// Finishing an object restores, hashes, checks and syncs up to 4 GiB.
const FINISH_DEADLINE: Duration = Duration::from_secs(600);

/// How a stream ended.
pub(super) enum Outcome {
    /// Custody has the range, or refuses it.
    Finished(Result<Option<ObjectReceipt>, Refusal>),
    /// Cut or reset; what was synced stays.
    Broken,
}

pub(super) struct Arrival {
    pub(super) number: u64,
    pub(super) clinic: ClinicId,
    pub(super) custody: Arc<dyn Custody>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) turns: OwnTurns,
    #[expect(dead_code, reason = "held, not read")]
    pub(super) sending: Arc<Sending>,
    pub(super) messages: mpsc::Sender<Message>,
}

fn receipt(receipt: super::ports::ObjectReceipt) -> ObjectReceipt {
    let super::ports::ObjectReceipt { hash, sha256, stored_at } = receipt;
    ObjectReceipt { hash, sha256, stored_at }
}

pub(super) fn state(state: super::ports::ObjectState) -> ObjectState {
    match state {
        super::ports::ObjectState::Stored => ObjectState::Stored,
        super::ports::ObjectState::Missing(mut ranges) => {
            // The rest is named by the next answer.
            ranges.truncate(relay_core::link::limits::MAX_RANGES_PER_OBJECT);
            ObjectState::Missing(ranges)
        }
        super::ports::ObjectState::Refused(refusal) => ObjectState::Refused(refusal),
    }
}

impl Arrival {
    pub(super) async fn run(self, mut stream: RecvStream) {
        let Some((data, rest)) = self.header(&mut stream).await else {
            // Not a data stream, or cut: nothing was announced, nothing is lost.
            let _ = stream.stop(STOP_REFUSED.into());
            return;
        };
        let (verdict, decided) = oneshot::channel();
        if self.tell(Message::Data { number: self.number, data, verdict }).await.is_none() {
            return;
        }
        match decided.await {
            Ok(DataVerdict::Take { data, object, urgent }) => {
                let outcome = self.take(&data, &object, urgent, &mut stream, rest).await;
                self.tell(Message::Arrived { number: self.number, outcome }).await;
            }
            Ok(DataVerdict::Stop { code }) => {
                // Fails only when the stream is over already.
                let _ = stream.stop(code.into());
            }
            Err(_) => {}
        }
    }

    async fn tell(&self, message: Message) -> Option<()> {
        self.messages.send(message).await.ok()
    }

    async fn header(&self, stream: &mut RecvStream) -> Option<(ObjectData, Vec<u8>)> {
        let mut reader = FrameReader::new(MAX_STREAM_HEADER_BYTES);
        let read = async {
            loop {
                let chunk = stream.read_chunk(MAX_STREAM_HEADER_BYTES, true).await.ok()??;
                reader.push(&chunk.bytes);
                match reader.next_frame() {
                    None => {}
                    Some(Ok(Frame::ObjectData(data))) => return Some(data),
                    Some(Ok(other)) => {
                        tracing::warn!(clinic = %self.clinic, frame = other.kind().name(), "not a data stream");
                        return None;
                    }
                    Some(Err(error)) => {
                        self.remark(&error).await;
                        return None;
                    }
                }
            }
        };
        let data = tokio::time::timeout(HEADER_DEADLINE, read).await.ok()??;
        Some((data, reader.into_rest()))
    }

    async fn remark(&self, error: &frame::FrameError) {
        self.tell(Message::BadHeader(error.refusal())).await;
    }

    /// Bytes from the stream to the writer, a turn at a time: whoever stalls gives his turn back and takes another when
    /// bytes come again. A quiet stream is not an error: more urgent ones go before it, and the connection's own deadlines
    /// find a dead peer.
    async fn take(
        &self,
        data: &ObjectData,
        object: &ManifestObject,
        urgent: bool,
        stream: &mut RecvStream,
        rest: Vec<u8>,
    ) -> Outcome {
        let (mut taken, mut next) = (0, bytes::Bytes::from(rest));
        loop {
            let Some(turn) = self.turns.take(urgent).await else { return Outcome::Broken };
            let opened = self.custody.open_writer(&self.clinic, &data.study, object, data.offset + taken);
            let opened = tokio::time::timeout(CUSTODY_DEADLINE, opened).await;
            let mut writer = match opened.unwrap_or_else(|_| Err(late())) {
                Ok(writer) => writer,
                Err(refusal) => return self.refuse(stream, refusal),
            };
            match self.pour(&mut *writer, data.length, stream, &mut taken, next).await {
                // What was taken is put away; more of the range is to come.
                Poured::Stalled => match finish(writer, &*self.clock).await {
                    Ok(None) => {}
                    finished => return Outcome::Finished(finished),
                },
                Poured::Over(outcome) => return outcome,
                Poured::Ended if taken != data.length => {
                    let reason = format!("the stream ended after {taken} of {} announced bytes", data.length);
                    return Outcome::Finished(Err(Refusal::new(Code::RefusedLength, "length", reason)));
                }
                Poured::Ended => return Outcome::Finished(finish(writer, &*self.clock).await),
            }
            drop(turn);
            next = match self.read(stream).await {
                Ok(Some(bytes)) => bytes,
                // The end came in a piece of its own: one more turn finishes the object.
                Ok(None) => bytes::Bytes::new(),
                Err(outcome) => return outcome,
            };
        }
    }

    fn refuse(&self, stream: &mut RecvStream, refusal: Refusal) -> Outcome {
        // Fails only when the stream is over already.
        let _ = stream.stop(STOP_REFUSED.into());
        Outcome::Finished(Err(refusal))
    }

    /// The next piece; `None` at the end of the stream.
    async fn read(&self, stream: &mut RecvStream) -> Result<Option<bytes::Bytes>, Outcome> {
        match stream.read_chunk(DATA_CHUNK_BYTES, true).await {
            Ok(chunk) => Ok(chunk.map(|chunk| chunk.bytes)),
            Err(ReadError::Reset(_) | ReadError::ConnectionLost(_)) => Err(Outcome::Broken),
            Err(_) => {
                let _ = stream.stop(STOP_NOT_NEEDED.into());
                Err(Outcome::Broken)
            }
        }
    }

    async fn pour(
        &self,
        writer: &mut dyn ObjectWriter,
        length: u64,
        stream: &mut RecvStream,
        taken: &mut u64,
        mut next: bytes::Bytes,
    ) -> Poured {
        loop {
            if !next.is_empty() {
                let all = *taken + next.len() as u64;
                if all > length {
                    let reason = format!("more than the announced {length} bytes");
                    let refusal = Refusal::new(Code::RefusedLength, "length", reason);
                    return Poured::Over(self.refuse(stream, refusal));
                }
                let wrote = tokio::time::timeout(CUSTODY_DEADLINE, writer.write(next)).await;
                if let Err(refusal) = wrote.unwrap_or_else(|_| Err(late())) {
                    return Poured::Over(self.refuse(stream, refusal));
                }
                *taken = all;
                // A full queue: the next piece reports more.
                let _ = self.messages.try_send(Message::Progress { number: self.number, taken: all });
            }
            next = match tokio::time::timeout(STALL, self.read(stream)).await {
                Ok(Ok(Some(bytes))) => bytes,
                Ok(Ok(None)) => return Poured::Ended,
                Ok(Err(outcome)) => return Poured::Over(outcome),
                Err(_) => return Poured::Stalled,
            };
        }
    }
}

/// Why pouring stopped.
enum Poured {
    /// No bytes for a while; more may come.
    Stalled,
    /// The stream has ended.
    Ended,
    /// Nothing more is to be done.
    Over(Outcome),
}

async fn finish(writer: Box<dyn ObjectWriter>, clock: &dyn Clock) -> Result<Option<ObjectReceipt>, Refusal> {
    let finished = tokio::time::timeout(FINISH_DEADLINE, writer.finish(clock.now())).await;
    Ok(finished.unwrap_or_else(|_| Err(late()))?.map(receipt))
}

/// Every byte is here; only the end is missing.
pub(super) async fn finish_whole(
    custody: &dyn Custody,
    clock: &dyn Clock,
    clinic: &ClinicId,
    study: &relay_core::ids::StudyUid,
    object: &ManifestObject,
) -> Result<Option<ObjectReceipt>, Refusal> {
    let opened = custody.open_writer(clinic, study, object, object.coded.length);
    let writer = tokio::time::timeout(CUSTODY_DEADLINE, opened).await.unwrap_or_else(|_| Err(late()))?;
    finish(writer, clock).await
}

//! Letters: read from their stream, checked against their head, given to the inbox.

use super::ports::{Inbox, LetterFate};
use quinn::RecvStream;
use relay_core::clock::Clock;
use relay_core::codes::{Code, Refusal};
use relay_core::ids::{LetterId, ObjectHash};
use relay_core::letter::LetterHead;
use relay_core::limits::MAX_LETTER_BYTES;
use relay_core::link::agent::{LetterAnswer, LetterOutcome};
use relay_core::link::frame::{Frame, FrameReader};
use relay_core::link::limits::MAX_STREAM_HEADER_BYTES;
use std::sync::Arc;
use std::time::Duration;

/// The header must follow the opening of the stream within this time.
const HEADER_DEADLINE: Duration = Duration::from_secs(30);
/// 16 MiB in this time are 220 kbit/s; slower than that, the letter is offered again and other letters may pass.
const BODY_DEADLINE: Duration = Duration::from_secs(600);
/// The inbox must answer within this time: checking signatures and syncing a file take milliseconds.
const INBOX_DEADLINE: Duration = Duration::from_secs(60);

/// Asks the inbox about an offered letter.
pub(super) async fn known(inbox: Arc<dyn Inbox>, head: LetterHead) -> (LetterId, LetterAnswer) {
    let answer = match tokio::time::timeout(INBOX_DEADLINE, inbox.has(&head.id, &head.hash)).await {
        Ok(Ok(Some(at))) => LetterAnswer::Have(at),
        Ok(Ok(None)) => LetterAnswer::Want,
        Ok(Err(error)) => {
            tracing::error!(letter = %head.id, step = error.step, source = %error.source, "the inbox cannot be read");
            LetterAnswer::Later(failed("the clinic's inbox cannot be read just now"))
        }
        Err(_) => LetterAnswer::Later(failed("the clinic's inbox does not answer")),
    };
    (head.id, answer)
}

/// Gives the county's revocation list to the inbox.
pub(super) async fn revocations(inbox: Arc<dyn Inbox>, list: Vec<u8>) -> Result<bool, Refusal> {
    let taken = tokio::time::timeout(INBOX_DEADLINE, inbox.revocations(list)).await;
    taken.unwrap_or_else(|_| Err(failed("the clinic's inbox does not answer")))
}

/// A letter stream whose header was read.
pub(super) struct Arriving {
    pub(super) id: LetterId,
    pub(super) stream: RecvStream,
    /// Bytes of the body that came with the header.
    first: Vec<u8>,
}

/// Reads the header of a stream that the gateway opened; `None` when it is not one of a letter.
pub(super) async fn read_header(mut stream: RecvStream) -> Option<Arriving> {
    let mut reader = FrameReader::new(MAX_STREAM_HEADER_BYTES);
    let read = async {
        loop {
            let chunk = stream.read_chunk(MAX_STREAM_HEADER_BYTES, true).await.ok()??;
            reader.push(&chunk.bytes);
            match reader.next_frame() {
                None => {}
                Some(Ok(Frame::LetterData { id })) => return Some(id),
                Some(_) => return None,
            }
        }
    };
    let id = tokio::time::timeout(HEADER_DEADLINE, read).await.ok()??;
    Some(Arriving { id, stream, first: reader.into_rest() })
}

/// Reads the body and gives it to the inbox.
pub(super) async fn receive(
    inbox: Arc<dyn Inbox>,
    clock: Arc<dyn Clock>,
    head: LetterHead,
    letter: Arriving,
) -> (LetterId, LetterOutcome) {
    let id = head.id.clone();
    let body = match tokio::time::timeout(BODY_DEADLINE, read_body(&head, letter)).await {
        Ok(Ok(body)) => body,
        Ok(Err(outcome)) => return (id, outcome),
        Err(_) => return (id, LetterOutcome::Failed(broken("the body did not arrive in time"))),
    };
    let outcome = match tokio::time::timeout(INBOX_DEADLINE, inbox.accept(&head, body, clock.now())).await {
        Ok(Ok(LetterFate::Stored { at })) => LetterOutcome::Stored(at),
        Ok(Ok(LetterFate::Refused(refusal))) => LetterOutcome::Refused(refusal),
        Ok(Ok(LetterFate::Later(refusal))) => LetterOutcome::Failed(refusal),
        Ok(Err(error)) => {
            tracing::error!(letter = %id, step = error.step, source = %error.source, "the inbox cannot store");
            LetterOutcome::Failed(failed("the clinic cannot store the letter just now"))
        }
        Err(_) => LetterOutcome::Failed(failed("the clinic's inbox does not answer")),
    };
    (id, outcome)
}

/// The way or the disk was at fault, not the letter: it may come again.
fn broken(reason: impl Into<String>) -> Refusal {
    Refusal::new(Code::TimedOut, "body", reason)
}

fn failed(reason: &'static str) -> Refusal {
    Refusal::new(Code::StorageFailed, "inbox", reason)
}

async fn read_body(head: &LetterHead, letter: Arriving) -> Result<Vec<u8>, LetterOutcome> {
    let Arriving { mut stream, first, .. } = letter;
    let limit = usize::try_from(head.length.min(MAX_LETTER_BYTES)).unwrap_or(usize::MAX);
    let mut body = first;
    while body.len() <= limit {
        match stream.read_chunk(limit + 1 - body.len(), true).await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk.bytes),
            Ok(None) => break,
            Err(_) => return Err(LetterOutcome::Failed(broken("the stream of the body broke off"))),
        }
    }
    if body.len() as u64 != head.length {
        let reason = format!("the body has {} bytes or more, {} were announced", body.len(), head.length);
        return Err(LetterOutcome::Failed(broken(reason)));
    }
    if ObjectHash::of(&body) != head.hash {
        return Err(LetterOutcome::Failed(broken("the body does not have the announced digest")));
    }
    Ok(body)
}

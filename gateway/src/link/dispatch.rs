//! Bodies of letters: each on a stream of its own, critical notices before all others.

use super::clerk::{CUSTODY_DEADLINE, late};
use super::connection::Shared;
use super::transport::SEND_WINDOW;
use relay_core::codes::{Code, Refusal};
use relay_core::ids::ClinicId;
use relay_core::letter::{LetterHead, LetterKind};
use relay_core::limits::DATA_CHUNK_BYTES;
use relay_core::link::limits::{MAX_CRITICAL_BODIES, MAX_LETTER_BODIES};
use std::time::Duration;
use tokio::sync::watch;

/// A body of 16 MiB in this time is 220 kbit/s; then it is offered again.
const BODY_DEADLINE: Duration = Duration::from_secs(600);
/// Priority of letters among the gateway's streams: below control.
const LETTER_PRIORITY: i32 = 1;
/// Priority of critical notices: before every other letter.
const CRITICAL_PRIORITY: i32 = 2;
/// Bytes that may wait for the wire beyond the usual window while a critical notice is sent: room for it, and for the one
/// piece of each other letter that wakes up when the window grows.
const CRITICAL_RESERVE: u64 = ((MAX_LETTER_BODIES + MAX_CRITICAL_BODIES) * DATA_CHUNK_BYTES) as u64;

/// Sends one body: whether it arrived, or why it cannot be read here. `ringing` counts the critical notices on their way.
pub(super) async fn send(
    shared: &Shared,
    clinic: &ClinicId,
    connection: &quinn::Connection,
    ringing: &watch::Sender<usize>,
    head: &LetterHead,
    header: &[u8],
) -> Result<bool, Refusal> {
    let read = shared.custody.letter_body(clinic, &head.id, shared.clock.now());
    let body = tokio::time::timeout(CUSTODY_DEADLINE, read).await.unwrap_or_else(|_| Err(late()))?;
    if body.len() as u64 != head.length {
        let reason = format!("the body has {} bytes, the head says {}", body.len(), head.length);
        return Err(Refusal::new(Code::StorageFailed, "letter", reason));
    }
    let _rings = (head.kind == LetterKind::CriticalNotice).then(|| Ringing::begin(ringing, connection));
    let sent = send_body(connection, head, header, &body, ringing.subscribe());
    Ok(match tokio::time::timeout(BODY_DEADLINE, sent).await {
        Ok(Ok(arrived)) => arrived,
        Ok(Err(reason)) => {
            tracing::warn!(%clinic, letter = %head.id, reason, "the letter's body was not sent");
            false
        }
        Err(_) => false,
    })
}

/// While it lives, other letters pause and the window has room for a critical notice.
struct Ringing<'a>(&'a watch::Sender<usize>, &'a quinn::Connection);

impl<'a> Ringing<'a> {
    fn begin(count: &'a watch::Sender<usize>, connection: &'a quinn::Connection) -> Self {
        count.send_modify(|n| *n += 1);
        connection.set_send_window(SEND_WINDOW + CRITICAL_RESERVE);
        Self(count, connection)
    }
}

impl Drop for Ringing<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|n| *n -= 1);
        if *self.0.borrow() == 0 {
            self.1.set_send_window(SEND_WINDOW);
        }
    }
}

async fn send_body(
    connection: &quinn::Connection,
    head: &LetterHead,
    header: &[u8],
    body: &[u8],
    mut ringing: watch::Receiver<usize>,
) -> Result<bool, String> {
    let mut stream = connection.open_uni().await.map_err(|e| e.to_string())?;
    let critical = head.kind == LetterKind::CriticalNotice;
    // Fails only when the stream is closed already, which the write reports.
    let _ = stream.set_priority(if critical { CRITICAL_PRIORITY } else { LETTER_PRIORITY });
    stream.write_all(header).await.map_err(|e| e.to_string())?;
    for piece in body.chunks(DATA_CHUNK_BYTES) {
        if !critical {
            ringing.wait_for(|notices| *notices == 0).await.map_err(|e| e.to_string())?;
        }
        stream.write_all(piece).await.map_err(|e| e.to_string())?;
    }
    stream.finish().map_err(|e| e.to_string())?;
    Ok(matches!(stream.stopped().await, Ok(None)))
}

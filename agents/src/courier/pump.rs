//! Data streams: reads coded forms piece by piece and writes the most urgent piece first.

use super::ports::Outbox;
use futures::FutureExt as _;
use relay_core::link::agent::{AgentLink, DataJob};
use relay_core::link::{Now, STOP_UNREADABLE};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::SeekFrom;
use std::time::Duration;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

/// Opening a coded form or reading a piece of it must not take longer; then the object waits and others go on. Far below
/// the silence after which the gateway gives the link up, because heartbeats wait for it.
const READ_DEADLINE: Duration = Duration::from_secs(10);
/// Objects that may turn out unreadable before the loop lets other work go first.
const SKIPS_PER_TURN: usize = 8;

struct OpenStream {
    send: quinn::SendStream,
    file: Option<File>,
    priority: i32,
}

/// Bytes on their way into the transport.
struct Piece {
    key: u64,
    bytes: Vec<u8>,
    written: usize,
    /// Of `bytes`, the stream's header.
    header: usize,
    last: bool,
}

/// What a write did.
pub(super) enum Wrote {
    /// Some bytes went.
    Some { key: u64, count: usize },
    /// The peer stopped the stream, or it was closed.
    Stopped { key: u64 },
    /// The connection is gone.
    Lost(quinn::ConnectionError),
}

/// A stream whose last byte was given to the transport.
pub(super) struct Finished {
    pub(super) key: u64,
    /// Resolves when the peer's transport has everything (true), or stopped it (false).
    pub(super) delivered: futures::future::BoxFuture<'static, bool>,
}

#[derive(Default)]
pub(super) struct Pump {
    streams: BTreeMap<u64, OpenStream>,
    piece: Option<Piece>,
}

enum Loading {
    Ready(Piece),
    Unreadable(String),
    /// The disk did not answer at all: other objects would fare no better now.
    Stuck,
    /// The peer allows no further stream just now.
    NoStream,
}

impl Pump {
    pub(super) const fn has_piece(&self) -> bool {
        self.piece.is_some()
    }

    /// Data is on its way: not all of it is acknowledged.
    pub(super) fn is_carrying(&self) -> bool {
        !self.streams.is_empty()
    }

    /// Priority of the piece on its way, to decide how far ahead of the wire to go.
    pub(super) fn priority(&self) -> Option<i32> {
        let piece = self.piece.as_ref()?;
        self.streams.get(&piece.key).map(|s| s.priority)
    }

    /// Makes the most urgent piece ready. Puts a piece away whose stream was cancelled, or that was overtaken.
    pub(super) async fn prepare(
        &mut self,
        link: &mut AgentLink,
        connection: &quinn::Connection,
        outbox: &dyn Outbox,
        now: Now,
    ) {
        if let Some(piece) = &self.piece {
            let in_header = piece.written > 0 && piece.written < piece.header;
            let stays = link.is_open(piece.key) && (in_header || !link.is_overtaken(piece.key, now));
            if stays {
                return;
            }
            self.piece = None;
        }
        for _ in 0..SKIPS_PER_TURN {
            let Some(job) = link.peek_data(now) else { return };
            match self.load(&job, connection, outbox).await {
                Loading::Ready(piece) => {
                    self.piece = Some(piece);
                    return;
                }
                Loading::NoStream => return,
                Loading::Unreadable(reason) => {
                    tracing::error!(study = %job.study, object = %job.object, reason, "the coded form cannot be read");
                    self.reset(job.key, STOP_UNREADABLE);
                    link.data_unreadable(job.key, now);
                }
                Loading::Stuck => {
                    tracing::error!(study = %job.study, object = %job.object, "the disk does not answer");
                    self.reset(job.key, STOP_UNREADABLE);
                    link.data_unreadable(job.key, now);
                    return;
                }
            }
        }
    }

    async fn load(&mut self, job: &DataJob, connection: &quinn::Connection, outbox: &dyn Outbox) -> Loading {
        let stream = match self.streams.entry(job.key) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(place) => {
                let Some(Ok(send)) = connection.open_uni().now_or_never() else { return Loading::NoStream };
                place.insert(OpenStream { send, file: None, priority: i32::MIN })
            }
        };
        if stream.priority != job.priority && stream.send.set_priority(job.priority).is_ok() {
            stream.priority = job.priority;
        }
        let mut bytes = job.header.clone().unwrap_or_default();
        let header = bytes.len();
        bytes.resize(header + job.length, 0);
        let read = tokio::time::timeout(READ_DEADLINE, read_piece(stream, job, outbox, &mut bytes[header..]));
        match read.await {
            Ok(Ok(())) => Loading::Ready(Piece { key: job.key, bytes, written: 0, header, last: job.last }),
            Ok(Err(reason)) => Loading::Unreadable(reason),
            Err(_) => Loading::Stuck,
        }
    }

    /// Gives bytes of the piece to the transport; waits while it has enough. Safe to drop.
    pub(super) async fn write(&mut self) -> Wrote {
        let Some(piece) = &self.piece else { return std::future::pending().await };
        let key = piece.key;
        let Some(stream) = self.streams.get_mut(&key) else { return Wrote::Stopped { key } };
        match stream.send.write(&piece.bytes[piece.written..]).await {
            Ok(count) => Wrote::Some { key, count },
            Err(quinn::WriteError::ConnectionLost(error)) => Wrote::Lost(error),
            Err(_) => Wrote::Stopped { key },
        }
    }

    /// Takes note of written bytes. Returns the stream when they were its last.
    pub(super) fn wrote(&mut self, link: &mut AgentLink, key: u64, count: usize) -> Option<Finished> {
        let piece = self.piece.as_mut().filter(|piece| piece.key == key)?;
        let data_before = piece.written.saturating_sub(piece.header);
        piece.written += count;
        if piece.header > 0 && piece.written >= piece.header {
            link.data_opened(key);
        }
        let data = piece.written.saturating_sub(piece.header) - data_before;
        link.data_written(key, data);
        if piece.written < piece.bytes.len() {
            return None;
        }
        let last = piece.last;
        self.piece = None;
        if !last {
            return None;
        }
        let stream = self.streams.get_mut(&key)?;
        stream.file = None;
        // Fails only when the stream is closed already, which the future below reports.
        let _ = stream.send.finish();
        let stopped = stream.send.stopped();
        Some(Finished { key, delivered: async move { matches!(stopped.await, Ok(None)) }.boxed() })
    }

    /// The stream is over, one way or the other.
    pub(super) fn forget(&mut self, key: u64) {
        self.streams.remove(&key);
        if self.piece.as_ref().is_some_and(|piece| piece.key == key) {
            self.piece = None;
        }
    }

    /// Resets the stream: its bytes are not to be sent.
    pub(super) fn reset(&mut self, key: u64, code: u32) {
        if let Some(mut stream) = self.streams.remove(&key) {
            // Fails only when the stream is closed already.
            let _ = stream.send.reset(code.into());
        }
        self.forget(key);
    }
}

async fn read_piece(
    stream: &mut OpenStream,
    job: &DataJob,
    outbox: &dyn Outbox,
    into: &mut [u8],
) -> Result<(), String> {
    if stream.file.is_none() {
        let opened = outbox.open_coded(&job.study, &job.object).await;
        stream.file = Some(opened.map_err(|error| format!("{error}: {}", error.source))?);
    }
    let Some(file) = &mut stream.file else { return Err("no file".into()) };
    let read = async {
        file.seek(SeekFrom::Start(job.offset)).await?;
        file.read_exact(into).await
    };
    read.await.map(drop).map_err(|error| format!("{} bytes at {}: {error}", job.length, job.offset))
}

//! A file handed over by a browser or by `send`, with a limit on every wait: a laptop that falls asleep keeps nobody out.

use super::api::{Answer, Shared};
use crate::spool::{Intake, Origin, Spool};
use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use relay_core::codes::{Code, Refusal};
use relay_core::limits::MAX_OBJECT_BYTES;
use relay_core::study::{Class, Kind};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Uploads at a time; each holds about 1 MiB.
const MAX_UPLOADS: usize = 4;
/// Longest name of a file or source, in characters.
const MAX_NAME_CHARS: usize = 255;

/// Places for uploads, and how long one may take.
#[derive(Debug)]
pub struct Uploads {
    places: Semaphore,
    /// Waiting for a place.
    wait: Duration,
    /// Between two pieces.
    idle: Duration,
    /// From the first piece to the last.
    whole: Duration,
}

impl Default for Uploads {
    /// A 500 MB study over a bad WLAN takes five minutes; the largest object over a cable takes six.
    fn default() -> Self {
        Self {
            places: Semaphore::new(MAX_UPLOADS),
            wait: Duration::from_secs(60),
            idle: Duration::from_secs(30),
            whole: Duration::from_secs(540),
        }
    }
}

impl Uploads {
    async fn place(&self) -> Result<SemaphorePermit<'_>, Refusal> {
        match tokio::time::timeout(self.wait, self.places.acquire()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) => Err(Refusal::new(Code::ShuttingDown, "", "the agent is shutting down: try again")),
            Err(_) => {
                let reason =
                    format!("{MAX_UPLOADS} other files are being handed over: try again in a minute");
                Err(Refusal::new(Code::Busy, "", reason))
            }
        }
    }

    /// Takes a body to its end.
    async fn receive<E: std::fmt::Display>(
        &self,
        spool: &Spool,
        mut pieces: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<Intake, Refusal> {
        let slow = |reason: String| Refusal::new(Code::TimedOut, "body", reason);
        let mut intake = spool.intake(Vec::new());
        let whole = async {
            loop {
                let next = tokio::time::timeout(self.idle, pieces.next()).await.map_err(|_| {
                    slow(format!("no byte for {} s: send the file again", self.idle.as_secs()))
                })?;
                let Some(piece) = next else { return Ok(intake) };
                let piece = piece.map_err(|e| slow(format!("the file was cut off ({e}): send it again")))?;
                intake.push(piece).await;
            }
        };
        let late = || slow(format!("the file did not come within {} s: send it again", self.whole.as_secs()));
        tokio::time::timeout(self.whole, whole).await.map_err(|_| late())?
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Upload {
    name: Option<String>,
    class: Option<Class>,
    kind: Option<Kind>,
    source: Option<String>,
    /// True when the study is completed by a later word (`send`), and by silence only when that does not come.
    #[serde(default)]
    explicit: bool,
}

pub(super) async fn upload(
    State(page): Shared,
    Query(query): Query<Upload>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let short = |text: Option<String>| text.map(|t| t.chars().take(MAX_NAME_CHARS).collect::<String>());
    let spool = page.spool();
    // What cannot be kept need not travel.
    let length = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if let Some(length) = length {
        if length > MAX_OBJECT_BYTES {
            let reason = format!("{length} bytes, at most {MAX_OBJECT_BYTES} are taken");
            return Err(Refusal::new(Code::RefusedTooLarge, "", reason).into());
        }
        spool.room_for(length)?;
    }
    let _place = page.uploads.place().await?;
    let intake = page.uploads.receive(spool, body.into_data_stream()).await?;
    let origin = Origin {
        source: short(query.source).unwrap_or_else(|| "upload".to_owned()),
        name: short(query.name),
        class: query.class.unwrap_or(Class::Routine),
        kind: query.kind,
        quiet: !query.explicit,
        open: false,
        announced: None,
    };
    Ok(Json(intake.admit(&origin).await?).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn uploads(places: usize, idle_ms: u64, whole_ms: u64) -> Uploads {
        let ms = Duration::from_millis;
        Uploads { places: Semaphore::new(places), wait: ms(20), idle: ms(idle_ms), whole: ms(whole_ms) }
    }

    fn piece() -> Result<Bytes, std::convert::Infallible> {
        Ok(Bytes::from_static(b"x"))
    }

    #[tokio::test]
    async fn an_upload_that_falls_silent_or_trickles_is_ended_and_leaves_nothing() {
        let bench = testing::SpoolBench::new().await;
        let silent = futures::stream::iter([piece()]).chain(futures::stream::pending());
        let refusal = uploads(1, 20, 60_000).receive(&bench.spool, silent).await.unwrap_err();
        assert_eq!((refusal.code, refusal.field.as_str()), (Code::TimedOut, "body"));
        let trickle = futures::stream::repeat_with(piece).then(|piece| async {
            tokio::task::yield_now().await;
            piece
        });
        let refusal = uploads(1, 60_000, 20).receive(&bench.spool, Box::pin(trickle)).await.unwrap_err();
        assert!(refusal.reason.contains("did not come within"), "{refusal}");
    }

    #[tokio::test]
    async fn without_a_free_place_the_sender_is_told_to_come_back() {
        let uploads = uploads(1, 20, 20);
        let _taken = uploads.place().await.unwrap();
        assert_eq!(uploads.place().await.unwrap_err().code, Code::Busy);
    }
}

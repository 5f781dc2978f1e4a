//! Live events as server-sent events. A client resumes after the last id it saw (`Last-Event-ID`).

use crate::api::words;
use crate::auth::policy::{Caller, Listens};
use crate::auth::session::Current;
use crate::desk::{self, Reader};
use crate::extract::Asked;
use crate::limits::{EVENT_KEEP_ALIVE, EVENT_PAGE, EVENT_SESSION_CHECK};
use crate::problem::{Problem, ProblemBody};
use crate::state::Viewer;
use axum::Extension;
use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures::Stream;
use http::HeaderMap;
use relay_core::codes::Code;
use relay_core::ids::Sha256;
use relay_core::study::Class;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::convert::Infallible;
use tokio::sync::{OwnedSemaphorePermit, broadcast};
use tokio::time::{Instant, sleep_until};
use utoipa::{IntoParams, ToSchema};

/// A change. The event's SSE id is `seq`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LiveEvent {
    /// Sequence in commit order.
    seq: i64,
    /// Type word, such as `work.claimed`, `study.arrived`, `report.opened`.
    kind: String,
    /// Clinic it concerns.
    clinic: Option<String>,
    /// Work item, if any.
    work_item: Option<i64>,
    /// Class, so that the page can ring.
    #[schema(value_type = Option<words::Class>)]
    class: Option<Class>,
    /// When, UTC ms.
    at_ms: i64,
}

impl From<desk::LiveEvent> for LiveEvent {
    fn from(event: desk::LiveEvent) -> Self {
        Self {
            seq: event.seq,
            kind: event.kind,
            clinic: event.clinic.map(|id| id.to_string()),
            work_item: event.work_item,
            class: event.class,
            at_ms: event.at.0,
        }
    }
}

/// Where to resume.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct EventsQuery {
    /// Sequence last seen; the header `Last-Event-ID` wins over it. Without either: from now on.
    #[serde(default)]
    after: Option<i64>,
}

/// Live events (`text/event-stream`). First comes an event `hello` with `{"now_ms":…}`: from then on nothing is missed.
/// Each `message` event holds one change as JSON. An event `reset` with `{"seq":…}` follows the greeting where the client has
/// seen more than there is (the county was restored from a backup): everything shown is to be read anew.
#[utoipa::path(get, path = "/events", tag = "events", operation_id = "events", params(EventsQuery,
    ("Last-Event-ID" = Option<i64>, Header, description = "Sequence last seen; set by EventSource itself")), responses(
    (status = 200, description = "The stream", content_type = "text/event-stream", body = LiveEvent),
    (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn events(
    State(state): State<Viewer>,
    caller: Caller<Listens>,
    Extension(current): Extension<Current>,
    Asked(query): Asked<EventsQuery>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let last =
        match headers.get("last-event-id").and_then(|value| value.to_str().ok()) {
            Some(text) => Some(text.trim().parse().map_err(|_| {
                Problem::new(Code::FieldInvalid, "Last-Event-ID", "is not a sequence number")
            })?),
            None => query.after,
        };
    let turn = state.streams.clone().try_acquire_owned();
    let turn = turn.map_err(|_| Problem::new(Code::Busy, "events", "too many streams are open"))?;
    let token = current.token.ok_or_else(|| Problem::new(Code::Unauthenticated, "session", "no session"))?;
    // After a restore from a backup the county counts from there again: what the page has seen is of another store.
    let head = state.desk.last_event().await?;
    let reset = last.is_some_and(|last: i64| last > head);
    let last = last.map(|last| last.min(head));
    let feed = Feed {
        reset,
        wake: state.desk.live(),
        check_at: Instant::now() + EVENT_SESSION_CHECK,
        greeted: false,
        behind: last.is_some(),
        ready: VecDeque::new(),
        reader: caller.session.reader,
        token,
        last,
        seen: None,
        state,
        _turn: turn,
    };
    let stream = futures::stream::unfold(feed, |mut feed| async move {
        let event = feed.next().await?;
        Some((Ok(event), feed))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(EVENT_KEEP_ALIVE)))
}

/// One open stream. It is pulled by the connection: a slow reader holds at most one page of events.
struct Feed {
    /// The page has to begin anew at `last`.
    reset: bool,
    state: Viewer,
    reader: Reader,
    token: Sha256,
    last: Option<i64>,
    seen: Option<i64>,
    wake: broadcast::Receiver<desk::LiveEvent>,
    ready: VecDeque<desk::LiveEvent>,
    behind: bool,
    greeted: bool,
    check_at: Instant,
    _turn: OwnedSemaphorePermit,
}

impl Feed {
    async fn next(&mut self) -> Option<Event> {
        if !self.greeted {
            self.greeted = true;
            let hello = serde_json::json!({ "now_ms": self.state.clock.now().0 });
            return Some(Event::default().event("hello").data(hello.to_string()));
        }
        if std::mem::take(&mut self.reset) {
            let seq = self.last.unwrap_or(0);
            let head = serde_json::json!({ "seq": seq });
            return Some(Event::default().event("reset").id(seq.to_string()).data(head.to_string()));
        }
        loop {
            if let Some(event) = self.ready.pop_front() {
                let id = event.seq.to_string();
                let data = serde_json::to_string(&LiveEvent::from(event)).ok()?;
                return Some(Event::default().id(id).data(data));
            }
            if self.behind {
                self.read_page().await?;
            } else {
                self.wait().await?;
            }
        }
    }

    /// Reads what the caller may see after `last`.
    async fn read_page(&mut self) -> Option<()> {
        let after = self.last.unwrap_or(0);
        let page = match self.state.desk.events_after(&self.reader, after, EVENT_PAGE).await {
            Ok(page) => page,
            Err(refusal) => {
                tracing::warn!(%refusal, "live events end");
                return None;
            }
        };
        self.behind = page.len() >= EVENT_PAGE as usize;
        if let Some(newest) = page.last() {
            self.last = Some(newest.seq);
        }
        if !self.behind {
            // Sequence is in commit order: what was not in the page up to here is of other clinics.
            self.last = self.last.max(self.seen);
        }
        self.ready.extend(page);
        Some(())
    }

    /// Waits for something newer; `None` when the session, the desk or the process ends.
    async fn wait(&mut self) -> Option<()> {
        tokio::select! {
            () = self.state.stop.cancelled() => None,
            () = sleep_until(self.check_at) => {
                self.check_at = Instant::now() + EVENT_SESSION_CHECK;
                let session = self.state.desk.session(&self.token, false, self.state.clock.now()).await;
                // Roles and clinics may have changed since the stream was opened.
                self.reader = session.ok()??.reader;
                Some(())
            }
            woken = self.wake.recv() => match woken {
                Ok(event) => {
                    if self.last.is_none() {
                        self.last = Some(event.seq - 1);
                    }
                    self.seen = self.seen.max(Some(event.seq));
                    self.behind = self.last.is_none_or(|last| event.seq > last);
                    Some(())
                }
                // Without a starting point the gap cannot be read: the page reconnects and reads the worklist again.
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    self.behind = true;
                    self.last.map(|_| ())
                }
                Err(broadcast::error::RecvError::Closed) => None,
            }
        }
    }
}

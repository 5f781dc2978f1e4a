//! One connection, from the hello to its end.

use super::ending::{self, Ending, ending_of};
use super::keeper::{Fresh, Keeper, Order};
use super::letters::{self, Arriving};
use super::meter::Meter;
use super::ports::{Answering, Inbox, LinkState, LinkTrust, Outbox};
use super::pump::{Pump, Wrote};
use super::status::Status;
use super::transport;
use relay_core::clock::Clock;
use relay_core::codes::{Code, Refusal};
use relay_core::ids::{LetterId, ObjectHash, StudyUid};
use relay_core::limits::DATA_CHUNK_BYTES;
use relay_core::link::agent::{AgentEvent, AgentLink, AgentSettings, LetterAnswer, LetterOutcome};
use relay_core::link::frame::HelloAck;
use relay_core::link::limits::{MAX_NOTES_UNANSWERED, MAX_STUDIES_HELD};
use relay_core::link::{Now, STOP_NOT_NEEDED, close_code};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often the outbox is asked even when it does not say that something changed.
const LIST_INTERVAL: Duration = Duration::from_secs(5);
/// Between two such questions: a line full of small studies answers many times a second, and each answer may make room.
const LIST_PAUSE: Duration = Duration::from_millis(20);
/// How often the room ahead of the wire follows the congestion window: once a round trip on the shortest lines.
const WINDOW_INTERVAL: Duration = Duration::from_millis(30);
/// Nothing heard from the gateway for this long while something is on its way: it is asked, and again each time.
const PROBE_INTERVAL: Duration = Duration::from_millis(900);
/// How often the state of the line is measured and told.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// Time to get the last frames out before the connection is closed.
const FAREWELL: Duration = Duration::from_secs(1);
/// The control stream must be there within this time.
const OPEN_DEADLINE: Duration = Duration::from_secs(10);
/// Control frames written ahead in one buffer.
const CONTROL_BUFFER_BYTES: usize = 64 * 1024;
/// Letter streams and questions at work at once.
const MAX_TASKS: usize = 128;
/// Congestion windows ahead of the wire: one is on its way, another may wait behind a lost packet that is sent again, twice.
const WINDOWS_AHEAD: u64 = 4;
/// Least bytes ahead of the wire.
const WINDOW_FLOOR: u64 = 256 * 1024;
/// Extra bytes ahead of the wire for urgent data, so that it never waits for room taken by other data.
const URGENT_RESERVE: u64 = 512 * 1024;
/// Priority of data streams of an urgent class: see `DataJob::priority`.
const URGENT_PRIORITY: i32 = u8::MAX as i32 - 1;

/// What a session needs from the courier.
pub(super) struct Context {
    pub(super) settings: AgentSettings,
    pub(super) outbox: Arc<dyn Outbox>,
    pub(super) inbox: Arc<dyn Inbox>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) keeper: Keeper,
    pub(super) trust: watch::Receiver<LinkTrust>,
    pub(super) send_window: u64,
    pub(super) started: Instant,
}

impl Context {
    pub(super) fn now(&self) -> Now {
        let mono_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { mono_ms, utc: self.clock.now() }
    }
}

/// Work done beside the loop.
enum Done {
    Delivered { key: u64, whole: bool },
    Known(LetterId, LetterAnswer),
    Arriving(Option<Arriving>),
    Body(LetterId, LetterOutcome),
    Absent(StudyUid, Vec<ObjectHash>),
    Revocations(Result<bool, Refusal>),
}

/// What woke the loop.
enum Input {
    Shutdown,
    Control(bytes::Bytes),
    ControlWritten(usize),
    Wrote(Wrote),
    Done(Done),
    Letter(quinn::RecvStream),
    Fresh(Option<Fresh>),
    Changed,
    Trust,
    Timer,
    Lost(Ending),
}

pub(super) struct Session<'a> {
    context: &'a Context,
    connection: quinn::Connection,
    control: quinn::SendStream,
    replies: quinn::RecvStream,
    link: AgentLink,
    pump: Pump,
    meter: Meter,
    out: Vec<u8>,
    tasks: JoinSet<Done>,
    changes: watch::Receiver<u64>,
    trust: watch::Receiver<LinkTrust>,
    fresh: Option<oneshot::Receiver<Fresh>>,
    list_due: bool,
    list_at: Instant,
    listed_at: Instant,
    status_at: Instant,
    /// The gateway is the one that the clinic prefers.
    first: bool,
    window: u64,
    base_window: u64,
    window_at: Instant,
    probe_at: Instant,
    probes: u32,
    /// Packets heard so far, to know when there is silence.
    heard: u64,
    was_up: bool,
    end: Option<Ending>,
}

impl<'a> Session<'a> {
    /// Opens the control stream.
    pub(super) async fn open(
        context: &'a Context,
        connection: quinn::Connection,
        first: bool,
    ) -> Result<Self, Ending> {
        let opened = tokio::time::timeout(OPEN_DEADLINE, connection.open_bi()).await;
        let (control, replies) = match opened {
            Ok(opened) => opened.map_err(|error| ending_of(&error))?,
            Err(_) => return Err(Ending::new("the gateway takes no control stream")),
        };
        if control.set_priority(i32::MAX).is_err() {
            return Err(Ending::new("the control stream was closed at once"));
        }
        let now = Instant::now();
        let mut session = Self {
            link: AgentLink::new(context.settings.clone(), context.now()),
            changes: context.outbox.changes(),
            trust: context.trust.clone(),
            context,
            connection,
            control,
            replies,
            pump: Pump::default(),
            meter: Meter::default(),
            out: Vec::new(),
            tasks: JoinSet::new(),
            fresh: None,
            list_due: false,
            list_at: now + LIST_INTERVAL,
            // Long ago: what waits now is asked for at once.
            listed_at: context.started,
            status_at: now + STATUS_INTERVAL,
            first,
            window: context.send_window,
            base_window: WINDOW_FLOOR.min(context.send_window),
            window_at: now + WINDOW_INTERVAL,
            probe_at: now + PROBE_INTERVAL,
            probes: 0,
            heard: 0,
            was_up: false,
            end: None,
        };
        // A list may have come while the connection was made.
        session.judge_gateway();
        Ok(session)
    }

    /// Ends the link when the gateway's certificate is revoked by now.
    fn judge_gateway(&mut self) {
        let chain = self.connection.peer_identity();
        let chain =
            chain.and_then(|chain| chain.downcast::<Vec<rustls_pki_types::CertificateDer<'static>>>().ok());
        let Some(leaf) = chain.as_ref().and_then(|chain| chain.first()) else { return };
        let revoked = { Arc::clone(&self.trust.borrow_and_update().revoked) };
        if revoked(leaf) {
            let reason = "the county has revoked the certificate of this gateway";
            let refusal = Refusal::new(Code::CertificateRevoked, ending::OF_THE_GATEWAY, reason);
            tracing::error!(%refusal, "the link is closed");
            self.end = Some(Ending { was_up: self.was_up, ..Ending::refused(refusal) });
        }
    }

    /// Runs until the end of the connection.
    pub(super) async fn run(mut self, status: &mut Status, shutdown: &CancellationToken) -> Ending {
        loop {
            self.carry_out(status).await;
            self.fill_control();
            if let Some(ending) = self.end.take() {
                return self.farewell(ending, status).await;
            }
            self.ask_outbox().await;
            let now = self.context.now();
            self.pump.prepare(&mut self.link, &self.connection, &*self.context.outbox, now).await;
            self.fit_window();
            self.measure_line();
            self.probe_silence();
            match self.wait(shutdown).await {
                Input::Lost(ending) => {
                    status.sent(&self.connection);
                    return Ending { was_up: self.was_up, ..ending };
                }
                input => self.handle(input, status),
            }
        }
    }

    async fn wait(&mut self, shutdown: &CancellationToken) -> Input {
        let timeout = self.link.next_timeout().map(|at| self.context.started + Duration::from_millis(at));
        let list = self.may_list().then_some(self.listed_at + LIST_PAUSE);
        let probe = self.link.is_waiting().then_some(self.probe_at);
        let timer =
            [timeout, list, probe, Some(self.list_at), Some(self.status_at)].into_iter().flatten().min();
        let timer = timer.unwrap_or(self.status_at);
        let (out, fresh, busy) = (&self.out, &mut self.fresh, self.tasks.len() >= MAX_TASKS);
        tokio::select! {
            biased;
            () = shutdown.cancelled() => Input::Shutdown,
            written = self.control.write(out), if !out.is_empty() => match written {
                Ok(count) => Input::ControlWritten(count),
                Err(quinn::WriteError::ConnectionLost(error)) => Input::Lost(ending_of(&error)),
                Err(error) => Input::Lost(Ending::new(format!("control stream: {error}"))),
            },
            chunk = self.replies.read_chunk(DATA_CHUNK_BYTES, true), if self.link.wants_input() => match chunk {
                Ok(Some(chunk)) => Input::Control(chunk.bytes),
                Ok(None) => Input::Lost(Ending::new("the gateway ended the control stream")),
                Err(quinn::ReadError::ConnectionLost(error)) => Input::Lost(ending_of(&error)),
                Err(error) => Input::Lost(Ending::new(format!("control stream: {error}"))),
            },
            Some(done) = self.tasks.join_next() => match done {
                Ok(done) => Input::Done(done),
                Err(error) => Input::Lost(Ending::new(format!("a task of the courier failed: {error}"))),
            },
            fresh = async { match fresh { Some(fresh) => fresh.await.ok(), None => std::future::pending().await } } => {
                Input::Fresh(fresh)
            }
            changed = self.changes.changed() => match changed {
                Ok(()) => Input::Changed,
                Err(_) => Input::Shutdown,
            },
            // A trust that nobody changes any more is the one that holds.
            Ok(()) = self.trust.changed() => Input::Trust,
            stream = self.connection.accept_uni(), if !busy => match stream {
                Ok(stream) => Input::Letter(stream),
                Err(error) => Input::Lost(ending_of(&error)),
            },
            // Before data: a writer that is always ready must not keep heartbeats and deadlines waiting.
            () = tokio::time::sleep_until(timer) => Input::Timer,
            wrote = self.pump.write(), if self.pump.has_piece() => match wrote {
                Wrote::Lost(error) => Input::Lost(ending_of(&error)),
                wrote => Input::Wrote(wrote),
            },
        }
    }

    fn handle(&mut self, input: Input, status: &mut Status) {
        let now = self.context.now();
        match input {
            Input::Shutdown => self.link.leave(),
            Input::Control(bytes) => {
                status.heard(now.utc);
                self.link.handle_control(&bytes, now);
            }
            Input::ControlWritten(count) => {
                self.out.drain(..count);
            }
            Input::Wrote(Wrote::Some { key, count }) => {
                if let Some(finished) = self.pump.wrote(&mut self.link, key, count) {
                    let key = finished.key;
                    self.tasks.spawn(async move { Done::Delivered { key, whole: finished.delivered.await } });
                }
            }
            Input::Wrote(Wrote::Stopped { key }) => self.stopped(key, now),
            Input::Wrote(Wrote::Lost(_)) | Input::Lost(_) => {}
            Input::Done(done) => self.handle_done(done, now),
            Input::Letter(stream) => {
                self.tasks.spawn(async move { Done::Arriving(letters::read_header(stream).await) });
            }
            Input::Fresh(fresh) => self.take_fresh(fresh.unwrap_or_default(), now),
            Input::Changed => self.list_due = true,
            Input::Trust => self.judge_gateway(),
            Input::Timer => self.handle_timer(now, status),
        }
    }

    fn stopped(&mut self, key: u64, now: Now) {
        self.pump.forget(key);
        self.link.data_stopped(key, now);
    }

    fn handle_done(&mut self, done: Done, now: Now) {
        match done {
            Done::Delivered { key, whole: true } => {
                self.pump.forget(key);
                self.link.data_acked(key, now);
            }
            Done::Delivered { key, whole: false } => self.stopped(key, now),
            Done::Known(id, answer) => self.link.answer_letter(&id, answer),
            Done::Body(id, outcome) => self.link.finish_letter(&id, outcome),
            Done::Absent(study, objects) => {
                for object in objects {
                    self.link.decline(study.clone(), object);
                }
                self.list_due = true;
            }
            Done::Revocations(Ok(newer)) => tracing::debug!(newer, "the county's revocation list"),
            Done::Revocations(Err(refusal)) => {
                tracing::error!(%refusal, "the gateway's revocation list is not taken; the one in force stays");
            }
            Done::Arriving(None) => {}
            Done::Arriving(Some(mut letter)) => match self.link.receive_letter(&letter.id) {
                Some(head) => {
                    let (inbox, clock) = (Arc::clone(&self.context.inbox), Arc::clone(&self.context.clock));
                    self.tasks.spawn(async move {
                        let (id, outcome) = letters::receive(inbox, clock, head, letter).await;
                        Done::Body(id, outcome)
                    });
                }
                None => {
                    // Fails only when the stream is over already.
                    let _ = letter.stream.stop(STOP_NOT_NEEDED.into());
                }
            },
        }
    }

    fn handle_timer(&mut self, now: Now, status: &mut Status) {
        let at = Instant::now();
        self.link.handle_timeout(now);
        if at >= self.list_at {
            self.list_at = at + LIST_INTERVAL;
            self.list_due = true;
        }
        if at >= self.status_at {
            self.status_at = at + STATUS_INTERVAL;
            status.measured(&self.connection, self.link.clock(), now.utc);
        }
    }

    fn fit_window(&mut self) {
        let now = Instant::now();
        if now >= self.window_at {
            self.window_at = now + WINDOW_INTERVAL;
            let cwnd = self.connection.stats().path.cwnd;
            self.base_window = (WINDOWS_AHEAD * cwnd)
                .clamp(WINDOW_FLOOR.min(self.context.send_window), self.context.send_window);
        }
        let urgent = self.pump.priority().is_some_and(|p| p >= URGENT_PRIORITY);
        let window = self.base_window + if urgent { URGENT_RESERVE } else { 0 };
        if window != self.window {
            self.window = window;
            self.connection.set_send_window(window);
        }
    }

    fn measure_line(&mut self) {
        let carried = || {
            let stats = self.connection.stats();
            stats.udp_tx.bytes.saturating_sub(stats.path.lost_bytes)
        };
        let rate = self.meter.look(Instant::now(), self.pump.is_carrying(), carried);
        if let Some(bytes_per_second) = rate {
            self.context.keeper.hint(Order::Line { bytes_per_second });
        }
    }

    /// Asks into the silence of a line that may be away. The transport alone would ask at doubling distance.
    fn probe_silence(&mut self) {
        let now = Instant::now();
        let heard = self.connection.stats().udp_rx.datagrams;
        if heard != self.heard || !self.link.is_waiting() {
            (self.heard, self.probe_at) = (heard, now + PROBE_INTERVAL);
        } else if now >= self.probe_at {
            self.probe_at = now + PROBE_INTERVAL;
            transport::probe(&self.connection, &mut self.probes);
        }
    }

    fn fill_control(&mut self) {
        let now = self.context.now();
        while self.out.len() < CONTROL_BUFFER_BYTES {
            let Some(bytes) = self.link.poll_frame(now) else { return };
            self.out.extend_from_slice(&bytes);
        }
    }

    fn may_list(&self) -> bool {
        self.list_due && self.fresh.is_none() && self.link.is_up()
    }

    /// Asks the outbox what waits, one question at a time.
    async fn ask_outbox(&mut self) {
        let now = Instant::now();
        if self.may_list() && now >= self.listed_at + LIST_PAUSE {
            (self.list_due, self.listed_at) = (false, now);
            // Those held back are listed too and take no place; of notes twice the places, for those on their way.
            let studies = MAX_STUDIES_HELD + self.link.studies_on_hold();
            self.fresh = Some(self.context.keeper.list(studies, 2 * MAX_NOTES_UNANSWERED).await);
        }
    }

    fn take_fresh(&mut self, fresh: Fresh, now: Now) {
        self.fresh = None;
        for manifest in fresh.studies {
            let study = manifest.study.clone();
            if !self.link.offer_study(manifest) {
                tracing::debug!(%study, "no room for the study on the link yet");
            }
        }
        for note in fresh.notes {
            self.link.offer_note(note, now);
        }
    }

    /// Carries out what the machine asks for.
    async fn carry_out(&mut self, status: &mut Status) {
        while let Some(event) = self.link.poll_event() {
            let order = match event {
                AgentEvent::Receipted { study, generation, objects, at } => {
                    if !objects.is_empty() {
                        status.took();
                    }
                    Order::Receipted { study, generation, objects, at }
                }
                AgentEvent::Refused { study, object, generation, refusal } => {
                    tracing::warn!(%study, object = ?object, generation, %refusal, "refused by the county");
                    Order::Refused { study, object, generation, refusal }
                }
                AgentEvent::Missing { study, objects } => Order::Missing { study, objects },
                AgentEvent::Wanted { study, objects } => self.wanted(study, objects),
                AgentEvent::NoteRefused(id, refusal) => {
                    tracing::warn!(note = %id, %refusal, "the county refuses a note");
                    self.list_due = true;
                    Order::NoteRefused { id, refusal }
                }
                AgentEvent::Up(ack) => {
                    let (store, first) = (ack.store.clone(), self.first);
                    let (takes_film, film_speeds) = (ack.takes_film(), ack.film_speeds);
                    let county = Answering { store, first, takes_film, film_speeds };
                    if !self.context.keeper.greeted(county).await {
                        let reason = "which store answers cannot be recorded";
                        self.link.fail(Refusal::new(Code::StorageFailed, "outbox", reason));
                        continue;
                    }
                    self.up(ack, status);
                    continue;
                }
                AgentEvent::NoteReceipted(id) => {
                    self.list_due = true;
                    Order::NoteReceipted { id, at: self.context.clock.now() }
                }
                AgentEvent::BackOff { ms, refusal } => {
                    tracing::warn!(ms, %refusal, "the county asks for a pause");
                    status.paused(refusal, ms, self.context.clock.now());
                    continue;
                }
                AgentEvent::Progress { study, coded_bytes } => {
                    self.context.keeper.hint(Order::Progress { study, coded_bytes });
                    continue;
                }
                other => {
                    self.carry_out_here(other);
                    continue;
                }
            };
            if !self.context.keeper.order(order).await {
                self.link.fail(Refusal::new(Code::Internal, "outbox", "the outbox task has ended"));
            }
        }
    }

    /// Only now the link is up.
    fn up(&mut self, ack: HelloAck, status: &mut Status) {
        let (software, clinic) = (ack.software, ack.clinic_name);
        tracing::info!(gateway = status.gateway(), software, clinic, store = ack.store, "link up");
        (self.was_up, self.list_due) = (true, true);
        status.up(&self.connection, self.link.clock(), ack.duty_phone, self.context.clock.now());
    }

    /// Has what the county lost made pending again; what is not held here any more is said.
    fn wanted(&mut self, study: StudyUid, objects: Vec<ObjectHash>) -> Order {
        tracing::warn!(%study, objects = objects.len(), "the county has lost objects and asks for them again");
        let (answer, absent) = oneshot::channel();
        let of = study.clone();
        self.tasks.spawn(async move { Done::Absent(of, absent.await.unwrap_or_default()) });
        Order::Wanted { study, objects, answer }
    }

    fn carry_out_here(&mut self, event: AgentEvent) {
        match event {
            AgentEvent::LetterOffered(head) => {
                let inbox = Arc::clone(&self.context.inbox);
                self.tasks.spawn(async move {
                    let (id, answer) = letters::known(inbox, head).await;
                    Done::Known(id, answer)
                });
            }
            AgentEvent::Revocations(list) => {
                let inbox = Arc::clone(&self.context.inbox);
                self.tasks.spawn(async move { Done::Revocations(letters::revocations(inbox, list).await) });
            }
            AgentEvent::StudyDone { study, generation } => {
                tracing::info!(%study, generation, "nothing of the study is open");
                self.list_due = true;
            }
            AgentEvent::Held { study, object, refusal } => {
                tracing::info!(%study, object = ?object, %refusal, "held back; it is tried again");
                self.list_due = true;
            }
            AgentEvent::ResetData { key, code } => self.pump.reset(key, code),
            AgentEvent::Remark(refusal) => tracing::info!(%refusal, "link"),
            AgentEvent::Closed { refusal, back_off_ms } => {
                let back_off = back_off_ms.map(Duration::from_millis);
                let ending = match refusal {
                    Some(refusal) => Ending::refused(refusal),
                    None => Ending::new("the link was ended in order"),
                };
                self.end = Some(Ending { back_off, was_up: self.was_up, ..ending });
            }
            AgentEvent::Clock(_)
            | AgentEvent::BackOff { .. }
            | AgentEvent::Receipted { .. }
            | AgentEvent::Up(_)
            | AgentEvent::Refused { .. }
            | AgentEvent::Missing { .. }
            | AgentEvent::Wanted { .. }
            | AgentEvent::NoteRefused(..)
            | AgentEvent::NoteReceipted(_)
            | AgentEvent::Progress { .. } => {}
        }
    }

    /// Gets the last frames out, then closes with the code.
    async fn farewell(mut self, ending: Ending, status: &mut Status) -> Ending {
        let last_words = async {
            // A peer that is gone needs no farewell: whatever fails here, the connection is closed below.
            if self.control.write_all(&self.out).await.is_ok() && self.control.finish().is_ok() {
                let _ = self.control.stopped().await;
            }
        };
        // The deadline is the answer to a peer that does not take them.
        let _ = tokio::time::timeout(FAREWELL, last_words).await;
        let code = close_code(ending.refusal.as_ref());
        self.connection.close(code.into(), ending.reason.as_bytes());
        status.sent(&self.connection);
        ending
    }
}

/// The state when there is no connection.
pub(super) fn down(ending: &Ending, since: relay_core::clock::UtcMs) -> LinkState {
    LinkState::Down { since, reason: ending.reason.clone(), refusal: ending.refusal.clone() }
}

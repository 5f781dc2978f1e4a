//! One connection of one clinic, from the hello to its end.

use super::arrival::{self, Arrival, Outcome};
use super::clerk::{CUSTODY_DEADLINE, Clerk, MAX_ORDERS, Order, Reply, late};
use super::listener::Revoked;
use super::ports::Custody;
use super::presence::Presence;
use super::turns::{OwnTurns, Turns};
use super::window::{Sending, Windows};
use super::{Peer, Reception, dispatch};
use quinn::VarInt;
use relay_core::clock::Clock;
use relay_core::codes::{Code, Refusal};
use relay_core::ids::{LetterId, ObjectHash, StudyUid};
use relay_core::letter::LetterHead;
use relay_core::limits::DATA_CHUNK_BYTES;
use relay_core::link::frame::{Hello, ObjectData, ObjectReceipt, ObjectState};
use relay_core::link::gateway::{DataVerdict, GatewayEvent, GatewayLink, GatewaySettings, Greeting};
use relay_core::link::limits::MAX_DATA_STREAMS;
use relay_core::link::{Now, close_code};
use relay_core::study::Manifest;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The agent must open its control stream within this time.
const OPEN_DEADLINE: Duration = Duration::from_secs(10);
/// Time to get the last frames out before the connection is closed.
const FAREWELL: Duration = Duration::from_secs(1);
/// Messages from tasks to the loop.
const MAX_MESSAGES: usize = 256;
/// Control frames written ahead in one buffer.
const CONTROL_BUFFER_BYTES: usize = 64 * 1024;
/// How often letters and damaged objects are looked up even when nobody says that something changed, and whether the
/// clinic is still welcome and its certificate still valid.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);
/// Least time between two looks for letters: every commit of a letter, whoever it is for, asks for one.
const LETTER_PAUSE: Duration = Duration::from_millis(50);
/// How often the clinic's clock offset is recorded while it hardly changes.
const SEEN_INTERVAL: Duration = Duration::from_secs(60);
/// Pause that an agent is asked for when the gateway shuts down: a restart takes about this long.
const SHUTDOWN_PAUSE_MS: u64 = 2_000;
/// Manifests with custody at once, per connection.
const MAX_OFFERS_AT_WORK: usize = 64;

/// What every connection shares.
pub(super) struct Shared {
    pub(super) custody: Arc<dyn Custody>,
    pub(super) reception: Arc<dyn Reception>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) settings: GatewaySettings,
    pub(super) turns: Turns,
    pub(super) windows: Windows,
    pub(super) started: Instant,
    /// First stage of shutdown.
    pub(super) leaving: CancellationToken,
}

impl Shared {
    fn now(&self) -> Now {
        let mono_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { mono_ms, utc: self.clock.now() }
    }
}

/// What tasks tell the loop.
pub(super) enum Message {
    Data {
        number: u64,
        data: ObjectData,
        verdict: oneshot::Sender<DataVerdict>,
    },
    BadHeader(Refusal),
    Progress {
        number: u64,
        taken: u64,
    },
    Arrived {
        number: u64,
        outcome: Outcome,
    },
    Clerk(Reply),
    Greeted(Result<Greeting, Refusal>),
    Offered {
        manifest: Box<Manifest>,
        answer: Result<Vec<ObjectState>, Refusal>,
    },
    Whole {
        study: StudyUid,
        object: ObjectHash,
        outcome: Result<Option<ObjectReceipt>, Refusal>,
    },
    /// The body has arrived (`true`), was not taken, or cannot be read here.
    LetterSent(LetterId, Result<bool, Refusal>),
}

enum Input {
    Control(bytes::Bytes),
    ControlWritten(usize),
    Message(Message),
    Stream(quinn::RecvStream),
    Letters,
    Revocations,
    Timer,
    Leaving,
    Lost(String),
}

pub(super) struct Desk<'a> {
    shared: &'a Arc<Shared>,
    peer: &'a Peer,
    connection: quinn::Connection,
    control: quinn::SendStream,
    requests: quinn::RecvStream,
    link: GatewayLink,
    out: Vec<u8>,
    messages: mpsc::Sender<Message>,
    inbox: mpsc::Receiver<Message>,
    clerk: mpsc::Sender<Order>,
    tasks: JoinSet<()>,
    verdicts: BTreeMap<u64, oneshot::Sender<DataVerdict>>,
    next_stream: u64,
    letters: watch::Receiver<u64>,
    revoked: watch::Receiver<Revoked>,
    letters_due: bool,
    /// Not looked for before.
    letters_at: Instant,
    /// Damaged objects and welcome are to be looked up.
    look_due: bool,
    look_at: Instant,
    turns: OwnTurns,
    /// Lives while objects are arriving.
    sending: Weak<Sending>,
    /// Critical notices on their way: other letters pause meanwhile.
    ringing: Arc<watch::Sender<usize>>,
    seen_at: Instant,
    seen_offset: Option<i64>,
    /// Letters whose bodies cannot be read here, to be recorded.
    delayed: Vec<(LetterId, Refusal)>,
    leaving: bool,
    end: Option<Option<Refusal>>,
}

/// Serves one connection. `cut`: close it at once with the refusal that the channel then holds.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    peer: &Peer,
    connection: quinn::Connection,
    welcome: Result<(), (u64, Refusal)>,
    revoked: watch::Receiver<Revoked>,
    presence: &Presence<'_>,
) {
    let opened = tokio::time::timeout(OPEN_DEADLINE, connection.accept_bi()).await;
    let Ok(Ok((control, requests))) = opened else {
        connection.close(close_code(None).into(), b"no control stream");
        return;
    };
    // Fails only when the stream is closed already; then the loop ends at once.
    let _ = control.set_priority(i32::MAX);
    let (messages, inbox) = mpsc::channel(MAX_MESSAGES);
    let (clerk, orders) = mpsc::channel(MAX_ORDERS);
    let clinic = peer.identity.clinic.clone();
    let worker = Clerk {
        clinic,
        certificate: peer.certificate.as_ref().to_vec(),
        custody: Arc::clone(&shared.custody),
        reception: Arc::clone(&shared.reception),
        clock: Arc::clone(&shared.clock),
    };
    let worker = tokio::spawn(worker.work(orders, messages.clone()));
    let now = Instant::now();
    let mut desk = Desk {
        link: GatewayLink::new(shared.settings.clone(), shared.now()),
        letters: shared.custody.letter_changes(),
        revoked,
        shared,
        peer,
        connection,
        control,
        requests,
        out: Vec::new(),
        messages,
        inbox,
        clerk,
        tasks: JoinSet::new(),
        verdicts: BTreeMap::new(),
        next_stream: 0,
        letters_due: false,
        letters_at: Instant::now(),
        look_due: false,
        look_at: now + LOOK_INTERVAL,
        turns: shared.turns.own(),
        sending: Weak::new(),
        ringing: Arc::new(watch::Sender::new(0)),
        seen_at: now,
        seen_offset: None,
        delayed: Vec::new(),
        leaving: false,
        end: None,
    };
    if let Err((pause_ms, refusal)) = welcome {
        if pause_ms > 0 {
            desk.link.back_off(pause_ms, refusal.clone());
        }
        desk.link.fail(refusal);
    }
    desk.run(presence).await;
    drop(desk);
    // The clerk finishes what the clinic has told; its own deadlines bound it.
    if let Err(error) = worker.await {
        tracing::error!(%error, "the clerk of a connection failed");
    }
}

impl Desk<'_> {
    async fn run(&mut self, presence: &Presence<'_>) {
        let mut was_up = false;
        let reason = loop {
            self.carry_out().await;
            self.fill_control();
            if let Some(end) = self.end.take() {
                break self.farewell(end).await;
            }
            was_up |= self.link.is_up();
            self.ask_clerk();
            match self.wait().await {
                Input::Lost(reason) => break reason,
                input => self.handle(input).await,
            }
        };
        // Objects that are being finished are finished: their bytes are here. Their receipts are asked for later.
        self.tasks.detach_all();
        if was_up {
            tracing::info!(clinic = %self.peer.identity.clinic, reason, "link down");
        }
        // While another connection of the clinic lives, it is on line.
        if presence.leave(was_up) {
            let order = Order::Seen { online: false, offset_ms: self.seen_offset };
            if self.clerk.send(order).await.is_err() {
                tracing::error!("the clerk of a connection has gone");
            }
        }
    }

    async fn wait(&mut self) -> Input {
        let timeout = self.link.next_timeout().map(|at| self.shared.started + Duration::from_millis(at));
        let asks = self.link.is_up() && (self.letters_due || self.look_due || !self.delayed.is_empty());
        let full = self.clerk.capacity() == 0;
        // What is left after asking was left because the clerk was full, though it may have room by now.
        let left = asks && (full || self.look_due || !self.delayed.is_empty());
        // Without room at the clerk's the timer would only find that out again and again.
        let letters = (asks && !full && self.letters_due).then_some(self.letters_at);
        let timer = [timeout, letters].into_iter().flatten().fold(self.look_at, Instant::min);
        let streams = self.tasks.len() < MAX_DATA_STREAMS as usize * 2 + MAX_OFFERS_AT_WORK;
        tokio::select! {
            biased;
            written = self.control.write(&self.out), if !self.out.is_empty() => match written {
                Ok(count) => Input::ControlWritten(count),
                Err(error) => Input::Lost(error.to_string()),
            },
            // Before what may always be ready, so that no deadline is missed under load.
            () = tokio::time::sleep_until(timer) => Input::Timer,
            Ok(_room) = self.clerk.reserve(), if left => Input::Timer,
            Some(message) = self.inbox.recv() => Input::Message(message),
            chunk = self.requests.read_chunk(DATA_CHUNK_BYTES, true), if self.link.wants_input() => match chunk {
                Ok(Some(chunk)) => Input::Control(chunk.bytes),
                Ok(None) => Input::Lost("the agent ended the control stream".into()),
                Err(error) => Input::Lost(error.to_string()),
            },
            () = self.shared.leaving.cancelled(), if !self.leaving => Input::Leaving,
            Ok(()) = self.letters.changed() => Input::Letters,
            Ok(()) = self.revoked.changed() => Input::Revocations,
            Some(_) = self.tasks.join_next() => Input::Timer,
            stream = self.connection.accept_uni(), if streams => match stream {
                Ok(stream) => Input::Stream(stream),
                Err(error) => Input::Lost(error.to_string()),
            },
        }
    }

    async fn handle(&mut self, input: Input) {
        let now = self.shared.now();
        match input {
            Input::Control(bytes) => {
                self.check_certificate(now);
                self.link.handle_control(&bytes, now);
            }
            Input::ControlWritten(count) => {
                self.out.drain(..count);
                self.link.read_on(now);
            }
            Input::Message(message) => self.handle_message(message, now),
            Input::Stream(stream) => self.take_stream(stream),
            Input::Letters => self.letters_due = true,
            Input::Revocations => self.tell_revocations(),
            Input::Timer => {
                self.link.handle_timeout(now);
                if Instant::now() >= self.look_at {
                    self.look_at = Instant::now() + LOOK_INTERVAL;
                    (self.letters_due, self.look_due) = (true, true);
                    self.check_certificate(now);
                }
            }
            Input::Leaving => {
                self.leaving = true;
                let refusal = Refusal::new(Code::ShuttingDown, "link", "the gateway is shutting down");
                self.link.back_off(SHUTDOWN_PAUSE_MS, refusal.clone());
                self.link.fail(refusal);
            }
            Input::Lost(_) => {}
        }
    }

    fn handle_message(&mut self, message: Message, now: Now) {
        match message {
            Message::Data { number, data, verdict } => {
                self.verdicts.insert(number, verdict);
                self.link.handle_data(number, data, now);
            }
            Message::BadHeader(refusal) => self.link.fail(refusal),
            Message::Progress { number, taken } => self.link.data_progress(number, taken, now),
            Message::Arrived { number, outcome: Outcome::Finished(outcome) } => {
                self.link.data_finished(number, outcome);
            }
            Message::Arrived { number, outcome: Outcome::Broken } => self.link.data_broken(number),
            Message::Clerk(Reply::Note(id, answer)) => self.link.answer_note(id, answer),
            Message::Clerk(Reply::Letters(pending)) => self.link.offer_letters(&pending, now),
            Message::Clerk(Reply::Damaged(damaged)) => self.link.want_again(&damaged, now),
            Message::Clerk(Reply::Unwelcome(refusal)) => self.link.fail(refusal),
            Message::Greeted(Ok(greeting)) => {
                self.link.greet(greeting, now);
                self.tell_revocations();
                (self.letters_due, self.look_due) = (true, true);
            }
            Message::Greeted(Err(refusal)) => self.link.fail(refusal),
            Message::Offered { manifest, answer } => self.link.answer_manifest(&manifest, answer, now),
            Message::Whole { study, object, outcome } => self.link.object_finished(&study, &object, outcome),
            Message::LetterSent(id, sent) => {
                self.link.letter_sent(&id, sent == Ok(true), now);
                if let Err(refusal) = sent {
                    self.delayed.push((id, refusal));
                }
            }
        }
        self.link.read_on(now);
    }

    /// A clinic does not wait for its next report to learn of a revocation.
    fn tell_revocations(&mut self) {
        let revoked = Arc::clone(&self.revoked.borrow_and_update());
        if !revoked.list.is_empty() && !self.link.tell_revocations(&revoked.list) {
            let bytes = revoked.list.len();
            tracing::error!(clinic = %self.peer.identity.clinic, bytes, "the revocation list is too long for the link; clinics learn of it with their next report");
        }
    }

    fn take_stream(&mut self, stream: quinn::RecvStream) {
        let number = self.next_stream;
        self.next_stream += 1;
        let (sending, window) = self.shared.windows.begin(&mut self.sending);
        self.connection.set_receive_window(VarInt::from_u64(window).unwrap_or(VarInt::MAX));
        let arrival = Arrival {
            number,
            clinic: self.peer.identity.clinic.clone(),
            custody: Arc::clone(&self.shared.custody),
            clock: Arc::clone(&self.shared.clock),
            turns: self.turns.clone(),
            sending,
            messages: self.messages.clone(),
        };
        self.tasks.spawn(arrival.run(stream));
    }

    fn fill_control(&mut self) {
        while self.out.len() < CONTROL_BUFFER_BYTES {
            let Some(bytes) = self.link.poll_frame() else { return };
            self.out.extend_from_slice(&bytes);
        }
    }

    fn ask_clerk(&mut self) {
        // A full clerk is asked when it has room again: `wait` waits for it.
        if !self.link.is_up() {
            return;
        }
        while let Some((id, refusal)) = self.delayed.pop() {
            let order = Order::LetterDelayed { id: id.clone(), refusal: refusal.clone() };
            if self.clerk.try_send(order).is_err() {
                self.delayed.push((id, refusal));
                return;
            }
        }
        let now = Instant::now();
        if self.letters_due && now >= self.letters_at && self.clerk.try_send(Order::ListLetters).is_ok() {
            (self.letters_due, self.letters_at) = (false, now + LETTER_PAUSE);
        }
        for order in [Order::AskWelcome, Order::ListDamaged] {
            if self.look_due && self.clerk.try_send(order).is_err() {
                return;
            }
        }
        self.look_due = false;
    }

    /// TLS has judged the certificate when the connection was made; it may have run out since.
    fn check_certificate(&mut self, now: Now) {
        let until = self.peer.identity.not_after;
        if now.utc > until {
            let reason = format!("the certificate was valid until {}", until.to_rfc3339());
            self.link.fail(Refusal::new(Code::CertificateExpired, "certificate", reason));
        }
    }

    async fn carry_out(&mut self) {
        while let Some(event) = self.link.poll_event() {
            let order = match event {
                GatewayEvent::Note(note) => Order::Note(note),
                GatewayEvent::LetterReceipted { id, stored_at } => {
                    self.letters_due = true;
                    Order::LetterReceipted { id, stored_at }
                }
                GatewayEvent::LetterRefused { id, refusal } => {
                    self.letters_due = true;
                    Order::LetterRefused { id, refusal }
                }
                GatewayEvent::LetterDelayed { id, refusal } => Order::LetterDelayed { id, refusal },
                GatewayEvent::Heartbeat { offset_ms } => match self.seen(offset_ms) {
                    Some(order) => order,
                    None => continue,
                },
                other => {
                    self.carry_out_here(other);
                    continue;
                }
            };
            if self.clerk.send(order).await.is_err() {
                self.link.fail(Refusal::new(Code::Internal, "link", "the clerk of this connection has gone"));
            }
        }
    }

    /// What a heartbeat tells, if it is news.
    fn seen(&mut self, offset_ms: Option<i64>) -> Option<Order> {
        let first = self.seen_offset.is_none() && offset_ms.is_some();
        if Instant::now() < self.seen_at && !first {
            return None;
        }
        self.seen_at = Instant::now() + SEEN_INTERVAL;
        self.seen_offset = offset_ms.or(self.seen_offset);
        Some(Order::Seen { online: true, offset_ms })
    }

    fn carry_out_here(&mut self, event: GatewayEvent) {
        match event {
            GatewayEvent::Hello(hello) => self.receive(hello),
            GatewayEvent::Offered(manifest) => self.offer(manifest),
            GatewayEvent::Data { stream, verdict } => {
                if let Some(waiting) = self.verdicts.remove(&stream) {
                    // The stream's task ended meanwhile: the verdict is moot.
                    let _ = waiting.send(verdict);
                }
            }
            GatewayEvent::FinishObject { study, object } => {
                let (shared, clinic) = (Arc::clone(self.shared), self.peer.identity.clinic.clone());
                self.spawn(async move {
                    let outcome =
                        arrival::finish_whole(&*shared.custody, &*shared.clock, &clinic, &study, &object)
                            .await;
                    Message::Whole { study, object: object.hash, outcome }
                });
            }
            GatewayEvent::SendLetter { head, header } => self.send_letter(head, header),
            GatewayEvent::Remark(refusal) => {
                tracing::warn!(clinic = %self.peer.identity.clinic, %refusal, "link");
            }
            GatewayEvent::Closed { refusal } => {
                if let Some(refusal) = &refusal {
                    tracing::warn!(clinic = %self.peer.identity.clinic, %refusal, "the connection is ended");
                }
                self.end = Some(refusal);
            }
            GatewayEvent::Note(_)
            | GatewayEvent::LetterReceipted { .. }
            | GatewayEvent::LetterRefused { .. }
            | GatewayEvent::LetterDelayed { .. }
            | GatewayEvent::Heartbeat { .. } => {}
        }
    }

    fn spawn(&mut self, work: impl Future<Output = Message> + Send + 'static) {
        let messages = self.messages.clone();
        self.tasks.spawn(async move {
            // The connection is over; what was done stays done.
            let _ = messages.send(work.await).await;
        });
    }

    fn receive(&mut self, hello: Hello) {
        let (shared, clinic) = (Arc::clone(self.shared), self.peer.identity.clinic.clone());
        tracing::info!(%clinic, software = hello.software, "hello");
        self.spawn(async move {
            let greeted = shared.reception.greet(&clinic, &hello, shared.clock.now());
            let greeting =
                tokio::time::timeout(CUSTODY_DEADLINE, greeted).await.unwrap_or_else(|_| Err(late()));
            if greeting.is_ok() {
                let seen = shared.custody.seen(&clinic, true, None, shared.clock.now());
                if tokio::time::timeout(CUSTODY_DEADLINE, seen).await.is_err() {
                    return Message::Greeted(Err(late()));
                }
            }
            Message::Greeted(greeting)
        });
    }

    fn offer(&mut self, manifest: Box<Manifest>) {
        let (shared, clinic) = (Arc::clone(self.shared), self.peer.identity.clinic.clone());
        self.spawn(async move {
            let offered = shared.custody.offered(&clinic, &manifest, shared.clock.now());
            let answer =
                tokio::time::timeout(CUSTODY_DEADLINE, offered).await.unwrap_or_else(|_| Err(late()));
            let answer = answer.map(|states| states.into_iter().map(arrival::state).collect());
            Message::Offered { manifest, answer }
        });
    }

    fn send_letter(&mut self, head: LetterHead, header: Vec<u8>) {
        let (shared, clinic) = (Arc::clone(self.shared), self.peer.identity.clinic.clone());
        let (connection, ringing) = (self.connection.clone(), Arc::clone(&self.ringing));
        self.spawn(async move {
            let id = head.id.clone();
            let sent = dispatch::send(&shared, &clinic, &connection, &ringing, &head, &header).await;
            Message::LetterSent(id, sent)
        });
    }

    /// Gets the last frames out, then closes with the code.
    async fn farewell(&mut self, refusal: Option<Refusal>) -> String {
        let last_words = async {
            // A peer that is gone needs no farewell: whatever fails here, the connection is closed below.
            if self.control.write_all(&self.out).await.is_ok() && self.control.finish().is_ok() {
                let _ = self.control.stopped().await;
            }
        };
        // The deadline is the answer to a peer that does not take them.
        let _ = tokio::time::timeout(FAREWELL, last_words).await;
        let reason = refusal.as_ref().map_or_else(|| "ended in order".to_owned(), ToString::to_string);
        self.connection.close(close_code(refusal.as_ref()).into(), reason.as_bytes());
        reason
    }
}

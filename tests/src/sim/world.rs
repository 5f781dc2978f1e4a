//! Both state machines in virtual time, over a line that is slow, reorders streams, breaks at any point and leaves old
//! connections behind, between stores of which either may restart. Deterministic: the same seed gives the same run.

use super::clinic::Clinic;
use super::county::{County, Place};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use relay_core::clock::UtcMs;
use relay_core::ids::{ClinicId, LetterId, ObjectHash};
use relay_core::limits::MAX_FRAME_BYTES;
use relay_core::link::agent::{AgentEvent, AgentLink, AgentSettings, LetterAnswer, LetterOutcome};
use relay_core::link::frame::{Frame, FrameReader};
use relay_core::link::gateway::{DataVerdict, GatewayEvent, GatewayLink, GatewaySettings, Greeting};
use relay_core::link::limits::MAX_STUDIES_HELD;
use relay_core::link::{Now, STOP_NOT_NEEDED};
use relay_core::study::{Manifest, ManifestObject};
use std::collections::{BTreeMap, BTreeSet};

/// Bytes ahead of the wire, as the courier's driver keeps them.
const AHEAD_BYTES: u64 = 128 * 1024;
/// The clinic's clock is this far behind the county's, in ms.
const CLINIC_IS_BEHIND_MS: i64 = 3_600_000;
/// Wall time of the county when the run begins.
const EPOCH: i64 = 1_800_000_000_000;

/// The line.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    /// One way, in ms.
    pub latency_ms: u64,
    /// Up to so much more, differently for each stream.
    pub jitter_ms: u64,
    /// Bytes each ms, each way.
    pub rate: u64,
    /// Up to so long custody takes for one step, in ms.
    pub custody_ms: u64,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection is cut with everything on its way; the gateway finds out this much later.
    Cut {
        /// In ms.
        gateway_knows_after: u64,
    },
    /// The agent gives the connection up, but what is on its way still arrives.
    Leave {
        /// In ms.
        gateway_knows_after: u64,
    },
    /// The agent restarts.
    AgentRestart,
    /// The gateway's machine loses power.
    GatewayCrash,
    /// The county makes a backup.
    Backup,
    /// The county's machine dies, and its newest backup (or an empty store) is put in its place.
    Restore,
    /// The county's disk eats the object that was stored at this place of the order, and the scrub finds it out.
    Rot {
        /// Counted from the oldest, round and round.
        nth: usize,
    },
    /// The gateway's disk is full for so long, in ms.
    DiskFull {
        /// In ms.
        ms: u64,
    },
}

enum Packet {
    Control(Vec<u8>),
    Data { key: u64, bytes: Vec<u8>, fin: bool },
    Reset { key: u64 },
    Stop { key: u64 },
    Acked { key: u64 },
    Letter { id: LetterId, body: Vec<u8> },
    LetterAcked { id: LetterId },
}

enum Step {
    ToGateway(u64, Packet),
    ToAgent(u64, Packet),
    GatewayLost(u64),
    Offered(u64, Box<Manifest>),
    Finish(u64, Option<u64>, Place, Box<ManifestObject>),
    Fault(Fault),
    DiskFree,
}

struct AgentSide {
    conn: u64,
    link: AgentLink,
    version: Option<u64>,
    opened: BTreeSet<u64>,
}

#[derive(Default)]
struct Arriving {
    header: Option<FrameReader>,
    waiting: Vec<u8>,
    fin: bool,
    taking: Option<(Place, Box<ManifestObject>, u64, u64)>,
    over: bool,
}

struct GatewaySide {
    link: GatewayLink,
    streams: BTreeMap<u64, Arriving>,
}

/// The whole run.
pub struct World {
    now: u64,
    rng: StdRng,
    line: Line,
    /// The clinic's store.
    pub clinic: Clinic,
    /// The county's store.
    pub county: County,
    /// The clinic's id.
    pub id: ClinicId,
    agent: Option<AgentSide>,
    dial_at: u64,
    gateways: BTreeMap<u64, GatewaySide>,
    queue: BTreeMap<(u64, u64), Step>,
    serial: u64,
    conns: u64,
    /// When each direction's wire is free.
    free: [u64; 2],
    backup: County,
    restores: u32,
    /// Last arrival by direction, connection and stream, so that one stream stays in order.
    last: BTreeMap<(usize, u64, Option<u64>), u64>,
    /// When each object was receipted at the clinic.
    pub receipted_at: BTreeMap<ObjectHash, u64>,
    /// Offset of the county's clock as the agent measured it last, in ms.
    pub offset_ms: Option<i64>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("now", &self.now).field("line", &self.line).finish_non_exhaustive()
    }
}

impl World {
    /// Nothing has happened yet.
    ///
    /// # Panics
    /// Never: the clinic id is lawful.
    #[must_use]
    pub fn new(seed: u64, line: Line) -> Self {
        Self {
            now: 0,
            rng: StdRng::seed_from_u64(seed),
            line,
            clinic: Clinic::default(),
            county: County::default(),
            id: ClinicId::parse("shilipu-01").expect("lawful"),
            agent: None,
            dial_at: 0,
            gateways: BTreeMap::new(),
            queue: BTreeMap::new(),
            serial: 0,
            conns: 0,
            free: [0; 2],
            backup: County::default(),
            restores: 0,
            last: BTreeMap::new(),
            receipted_at: BTreeMap::new(),
            offset_ms: None,
        }
    }

    /// Milliseconds since the beginning.
    #[must_use]
    pub const fn now_ms(&self) -> u64 {
        self.now
    }

    /// Lets something go wrong at `at`.
    pub fn plan(&mut self, at: u64, fault: Fault) {
        self.schedule(at, Step::Fault(fault));
    }

    /// Everything that was to cross has crossed.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let answered = |l: &super::county::Letter| l.receipted.is_some() || l.refused.is_some();
        let known = self.clinic.county_store.as_ref() == Some(&self.county.store);
        known
            && self.county.damaged.is_empty()
            && self.clinic.is_idle()
            && self.county.letters.values().all(answered)
    }

    /// Runs to the time, or until everything is quiet if asked for.
    pub fn run_until(&mut self, end: u64, stop_when_quiet: bool) {
        loop {
            self.settle();
            if stop_when_quiet && self.is_quiet() {
                return;
            }
            let next = self.next_time();
            if next > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            while let Some(entry) = self.queue.first_entry().filter(|e| e.key().0 <= self.now) {
                let step = entry.remove();
                self.act(step);
            }
            self.time_out();
        }
    }

    fn county_now(&self) -> Now {
        Now { mono_ms: self.now, utc: UtcMs(EPOCH).plus_ms(i64::try_from(self.now).expect("small")) }
    }

    fn clinic_now(&self) -> Now {
        let Now { mono_ms, utc } = self.county_now();
        Now { mono_ms, utc: utc.plus_ms(-CLINIC_IS_BEHIND_MS) }
    }

    fn next_time(&self) -> u64 {
        let queued = self.queue.keys().next().map(|(at, _)| *at);
        let agent = match &self.agent {
            None => Some(self.dial_at),
            Some(agent) => agent.link.next_timeout(),
        };
        // The wire drains even when nothing arrives: look again when there is room for the next piece.
        let room =
            (self.free[0] > self.now).then(|| self.free[0].saturating_sub(self.ahead_ms()).max(self.now + 1));
        let gateways = self.gateways.values().filter_map(|g| g.link.next_timeout()).min();
        [queued, agent, gateways, room].into_iter().flatten().min().unwrap_or(u64::MAX).max(self.now)
    }

    const fn ahead_ms(&self) -> u64 {
        AHEAD_BYTES / self.line.rate
    }

    fn schedule(&mut self, at: u64, step: Step) {
        self.serial += 1;
        self.queue.insert((at, self.serial), step);
    }

    fn after_custody(&mut self, step: Step) {
        let delay = self.rng.random_range(0..=self.line.custody_ms);
        self.schedule(self.now + delay, step);
    }

    /// Puts bytes on the wire. `way`: 0 to the gateway, 1 to the agent.
    fn send(&mut self, way: usize, conn: u64, packet: Packet) {
        let (stream, size) = match &packet {
            Packet::Control(bytes) => (None, bytes.len()),
            Packet::Data { key, bytes, .. } => (Some(*key), bytes.len()),
            Packet::Letter { body, .. } => (Some(u64::MAX), body.len()),
            Packet::Reset { key } | Packet::Stop { key } | Packet::Acked { key } => (Some(*key), 0),
            Packet::LetterAcked { .. } => (Some(u64::MAX), 0),
        };
        self.free[way] = self.free[way].max(self.now) + size as u64 / self.line.rate;
        let jitter = self.rng.random_range(0..=self.line.jitter_ms);
        let last = self.last.entry((way, conn, stream)).or_default();
        *last = (self.free[way] + self.line.latency_ms + jitter).max(*last);
        let at = *last;
        let step = if way == 0 { Step::ToGateway(conn, packet) } else { Step::ToAgent(conn, packet) };
        self.schedule(at, step);
    }

    fn act(&mut self, step: Step) {
        match step {
            Step::ToGateway(conn, packet) => self.at_gateway(conn, packet),
            Step::ToAgent(conn, packet) => self.at_agent(conn, packet),
            Step::GatewayLost(conn) => self.gateway_lost(conn),
            Step::Offered(conn, manifest) => {
                // Durable before the answer; and durable although the connection may be gone.
                let answer = self.county.offered(&self.id, &manifest);
                let now = self.county_now();
                if let Some(side) = self.gateways.get_mut(&conn) {
                    side.link.answer_manifest(&manifest, answer, now);
                }
            }
            Step::Finish(conn, stream, place, object) => {
                let now = self.county_now();
                let outcome = self.county.finish(&place, &object, now.utc);
                if let Some(side) = self.gateways.get_mut(&conn) {
                    match stream {
                        Some(stream) => side.link.data_finished(stream, outcome),
                        None => side.link.object_finished(&place.1, &place.2, outcome),
                    }
                }
            }
            Step::Fault(fault) => self.strike(fault),
            Step::DiskFree => self.county.full = false,
        }
    }

    fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::Cut { gateway_knows_after } => {
                if let Some(agent) = self.agent.take() {
                    self.lose_packets(|conn| conn == agent.conn);
                    self.schedule(self.now + gateway_knows_after, Step::GatewayLost(agent.conn));
                }
            }
            Fault::Leave { gateway_knows_after } => {
                if let Some(agent) = self.agent.take() {
                    self.schedule(self.now + gateway_knows_after, Step::GatewayLost(agent.conn));
                }
            }
            Fault::AgentRestart => {
                if let Some(agent) = self.agent.take() {
                    self.schedule(self.now + 15_000, Step::GatewayLost(agent.conn));
                }
            }
            Fault::GatewayCrash => self.lose_power(),
            Fault::Backup => {
                let mut backup = self.county.clone();
                // What is not synced is in no backup.
                backup.crash();
                self.backup = backup;
                return;
            }
            Fault::Restore => {
                self.lose_power();
                self.restores += 1;
                self.county.restore(self.backup.clone(), format!("restore {}", self.restores));
            }
            Fault::Rot { nth } => {
                let stored: Vec<Place> = self.county.objects.keys().cloned().collect();
                if let Some(place) = stored.get(nth % stored.len().max(1)) {
                    self.county.rot(place);
                }
                return;
            }
            Fault::DiskFull { ms } => {
                self.county.full = true;
                self.schedule(self.now + ms, Step::DiskFree);
            }
        }
        self.dial_at = self.now + self.rng.random_range(100..1_000);
    }

    fn lose_power(&mut self) {
        self.gateways.clear();
        self.lose_packets(|_| true);
        self.queue.retain(|_, step| !matches!(step, Step::Offered(..) | Step::Finish(..)));
        self.county.crash();
        self.agent = None;
    }

    fn lose_packets(&mut self, of: impl Fn(u64) -> bool) {
        self.queue.retain(|_, step| match step {
            Step::ToGateway(conn, _) | Step::ToAgent(conn, _) => !of(*conn),
            _ => true,
        });
    }

    fn gateway_lost(&mut self, conn: u64) {
        // Writers that go away sync what they have.
        if let Some(side) = self.gateways.remove(&conn) {
            for (place, ..) in side.streams.into_values().filter_map(|s| s.taking) {
                self.county.sync(&place);
            }
        }
    }

    fn time_out(&mut self) {
        let (clinic_now, county_now) = (self.clinic_now(), self.county_now());
        match &mut self.agent {
            Some(agent) => agent.link.handle_timeout(clinic_now),
            None if self.now >= self.dial_at => {
                self.conns += 1;
                let settings = AgentSettings { software: "sim".into(), capabilities: Vec::new() };
                let link = AgentLink::new(settings, clinic_now);
                self.agent =
                    Some(AgentSide { conn: self.conns, link, version: None, opened: BTreeSet::new() });
                let settings = GatewaySettings {
                    software: "sim".into(),
                    capabilities: Vec::new(),
                    heartbeat_ms: 5_000,
                    film_speeds: None,
                };
                let link = GatewayLink::new(settings, county_now);
                self.gateways.insert(self.conns, GatewaySide { link, streams: BTreeMap::new() });
            }
            None => {}
        }
        for side in self.gateways.values_mut() {
            side.link.handle_timeout(county_now);
        }
    }

    /// Lets both ends do all they can do now.
    fn settle(&mut self) {
        self.settle_agent();
        let conns: Vec<u64> = self.gateways.keys().copied().collect();
        for conn in conns {
            self.settle_gateway(conn);
        }
    }

    fn settle_agent(&mut self) {
        let now = self.clinic_now();
        let Some(mut agent) = self.agent.take() else { return };
        let mut over = false;
        while let Some(event) = agent.link.poll_event() {
            over |= self.agent_event(&mut agent, event);
        }
        if agent.link.is_up() && agent.version != Some(self.clinic.version) {
            agent.version = Some(self.clinic.version);
            for manifest in self.clinic.pending_studies(MAX_STUDIES_HELD + agent.link.studies_on_hold()) {
                agent.link.offer_study(manifest);
            }
            for note in self.clinic.notes.values().cloned() {
                agent.link.offer_note(note, now);
            }
        }
        while let Some(bytes) = agent.link.poll_frame(now) {
            self.send(0, agent.conn, Packet::Control(bytes));
        }
        while self.free[0] <= self.now + self.ahead_ms() {
            let Some(job) = agent.link.peek_data(now) else { break };
            let mut bytes = job.header.unwrap_or_default();
            let coded = &self.clinic.held[&job.object].coded;
            let from = usize::try_from(job.offset).expect("small");
            bytes.extend_from_slice(&coded[from..from + job.length]);
            agent.link.data_opened(job.key);
            agent.opened.insert(job.key);
            agent.link.data_written(job.key, job.length);
            self.send(0, agent.conn, Packet::Data { key: job.key, bytes, fin: job.last });
        }
        if over {
            self.schedule(self.now + self.line.latency_ms, Step::GatewayLost(agent.conn));
            self.dial_at = self.now + self.rng.random_range(100..1_000);
        } else {
            self.agent = Some(agent);
        }
    }

    /// Carries out one event; true when the link is over.
    fn agent_event(&mut self, agent: &mut AgentSide, event: AgentEvent) -> bool {
        match event {
            AgentEvent::Receipted { study, generation, objects, .. } => {
                for object in &objects {
                    let place = (self.id.clone(), study.clone(), *object);
                    let stored = self.county.objects.get(&place);
                    let held = self.clinic.held.get(object).map(|h| &h.plain);
                    // Rot is the one way to lose what was receipted, and then it is known.
                    assert!(
                        stored.is_some() && stored == held || self.county.damaged.contains(&place),
                        "{object} is receipted and not there byte by byte"
                    );
                    self.receipted_at.entry(*object).or_insert(self.now);
                }
                self.clinic.receipted(&study, generation, &objects);
            }
            AgentEvent::Up(ack) => self.clinic.greeted(&ack.store),
            AgentEvent::Missing { study, objects } | AgentEvent::Wanted { study, objects } => {
                self.clinic.unreceipted(&study, &objects);
            }
            AgentEvent::Refused { study, object, refusal, .. } => {
                self.clinic.refused(&study, object.as_ref(), &refusal);
            }
            AgentEvent::NoteReceipted(id) => {
                assert!(self.county.notes.contains_key(&(self.id.clone(), id.clone())), "{id} is not there");
                self.clinic.note_receipted(&id);
            }
            AgentEvent::LetterOffered(head) => {
                let known = self.clinic.letters.get(&head.id).map(|(_, _, at)| *at);
                agent.link.answer_letter(&head.id, known.map_or(LetterAnswer::Want, LetterAnswer::Have));
            }
            AgentEvent::ResetData { key, .. } => self.send(0, agent.conn, Packet::Reset { key }),
            AgentEvent::StudyDone { .. } | AgentEvent::Held { .. } => agent.version = None,
            AgentEvent::Clock(_) => self.offset_ms = agent.link.clock().map(|c| c.offset_ms),
            AgentEvent::Revocations(list) => self.clinic.revocations = Some(list),
            AgentEvent::Closed { .. } => return true,
            AgentEvent::Progress { .. }
            | AgentEvent::NoteRefused(..)
            | AgentEvent::BackOff { .. }
            | AgentEvent::Remark(_) => {}
        }
        false
    }

    fn at_agent(&mut self, conn: u64, packet: Packet) {
        let now = self.clinic_now();
        let Some(agent) = self.agent.as_mut().filter(|agent| agent.conn == conn) else { return };
        match packet {
            Packet::Control(bytes) => agent.link.handle_control(&bytes, now),
            Packet::Stop { key } => agent.link.data_stopped(key, now),
            Packet::Acked { key } => agent.link.data_acked(key, now),
            Packet::Letter { id, body } => {
                if let Some(head) = agent.link.receive_letter(&id) {
                    let outcome = match self.clinic.accept_letter(&head, body, now.utc) {
                        Ok(at) => LetterOutcome::Stored(at),
                        Err(refusal) => LetterOutcome::Refused(refusal),
                    };
                    agent.link.finish_letter(&id, outcome);
                }
                self.send(0, conn, Packet::LetterAcked { id });
            }
            Packet::Data { .. } | Packet::Reset { .. } | Packet::LetterAcked { .. } => {}
        }
    }

    fn at_gateway(&mut self, conn: u64, packet: Packet) {
        let now = self.county_now();
        let Some(side) = self.gateways.get_mut(&conn) else { return };
        match packet {
            Packet::Control(bytes) => side.link.handle_control(&bytes, now),
            Packet::Data { key, bytes, fin } => self.data_at_gateway(conn, key, &bytes, fin),
            Packet::Reset { key } => {
                if let Some((place, ..)) = side.streams.remove(&key).and_then(|s| s.taking) {
                    self.county.sync(&place);
                }
                side.link.data_broken(key);
            }
            Packet::LetterAcked { id } => side.link.letter_sent(&id, true, now),
            Packet::Stop { .. } | Packet::Acked { .. } | Packet::Letter { .. } => {}
        }
    }

    fn data_at_gateway(&mut self, conn: u64, key: u64, bytes: &[u8], fin: bool) {
        let now = self.county_now();
        let Some(side) = self.gateways.get_mut(&conn) else { return };
        let stream = side.streams.entry(key).or_insert_with(|| Arriving {
            header: Some(FrameReader::new(MAX_FRAME_BYTES)),
            ..Arriving::default()
        });
        stream.fin |= fin;
        match stream.header.take() {
            None => stream.waiting.extend_from_slice(bytes),
            Some(mut reader) => {
                reader.push(bytes);
                match reader.next_frame() {
                    Some(Ok(Frame::ObjectData(data))) => {
                        stream.waiting = reader.into_rest();
                        side.link.handle_data(key, data, now);
                    }
                    other => panic!("a data stream begins with {other:?}"),
                }
            }
        }
        if fin {
            self.send(1, conn, Packet::Acked { key });
        }
        self.pour(conn, key);
    }

    /// Gives waiting bytes of a stream to the store.
    fn pour(&mut self, conn: u64, key: u64) {
        let now = self.county_now();
        let Some(side) = self.gateways.get_mut(&conn) else { return };
        let Some(stream) = side.streams.get_mut(&key).filter(|s| !s.over) else { return };
        let Some((place, object, at, length)) = &mut stream.taking else { return };
        let bytes = std::mem::take(&mut stream.waiting);
        if let Err(refusal) = self.county.write(place, *at, &bytes) {
            stream.over = true;
            side.link.data_finished(key, Err(refusal));
            return self.send(1, conn, Packet::Stop { key });
        }
        *at += bytes.len() as u64;
        *length -= bytes.len() as u64;
        side.link.data_progress(key, *at, now);
        if stream.fin {
            assert_eq!(*length, 0, "the stream has the announced length");
            stream.over = true;
            let step = Step::Finish(conn, Some(key), place.clone(), object.clone());
            self.after_custody(step);
        }
    }

    fn settle_gateway(&mut self, conn: u64) {
        let now = self.county_now();
        loop {
            let Some(side) = self.gateways.get_mut(&conn) else { return };
            if side.link.is_up() {
                let pending = self.county.pending_letters(&self.id, 16);
                side.link.offer_letters(&pending, now);
                side.link.want_again(&self.county.damaged_of(&self.id), now);
            }
            side.link.read_on(now);
            let Some(event) = side.link.poll_event() else { break };
            if self.gateway_event(conn, event) {
                // The frames that say why go out before the end.
                let delay = self.line.latency_ms + self.line.jitter_ms + 1_000;
                self.schedule(self.now + delay, Step::GatewayLost(conn));
            }
        }
        while let Some(bytes) = self.gateways.get_mut(&conn).and_then(|side| side.link.poll_frame()) {
            self.send(1, conn, Packet::Control(bytes));
        }
    }

    fn gateway_event(&mut self, conn: u64, event: GatewayEvent) -> bool {
        let now = self.county_now();
        let Some(side) = self.gateways.get_mut(&conn) else { return false };
        match event {
            GatewayEvent::Hello(_) => {
                let store = self.county.store.clone();
                side.link.greet(Greeting { store, ..Greeting::default() }, now);
                assert!(side.link.tell_revocations(b"the list in force"));
                // As the listener does: a newer connection of the same agent ends the older ones.
                let older: Vec<u64> = self.gateways.keys().copied().filter(|other| *other < conn).collect();
                for other in older {
                    self.gateway_lost(other);
                }
            }
            GatewayEvent::Offered(manifest) => self.after_custody(Step::Offered(conn, manifest)),
            GatewayEvent::Data { stream, verdict: DataVerdict::Take { data, object, .. } } => {
                let place = (self.id.clone(), data.study, data.object);
                if let Some(arriving) = side.streams.get_mut(&stream) {
                    arriving.taking = Some((place, object, data.offset, data.length));
                }
                self.pour(conn, stream);
            }
            GatewayEvent::Data { stream, verdict: DataVerdict::Stop { code } } => {
                assert_eq!(code, STOP_NOT_NEEDED, "the agent never sends what nobody announced");
                if let Some(arriving) = side.streams.get_mut(&stream) {
                    arriving.over = true;
                }
                self.send(1, conn, Packet::Stop { key: stream });
            }
            GatewayEvent::FinishObject { study, object } => {
                let place = (self.id.clone(), study, object.hash);
                self.after_custody(Step::Finish(conn, None, place, object));
            }
            GatewayEvent::SendLetter { head, .. } => {
                let body = self.county.letters[&(self.id.clone(), head.id.clone())].body.clone();
                self.send(1, conn, Packet::Letter { id: head.id, body });
            }
            GatewayEvent::LetterReceipted { id, stored_at } => {
                assert!(self.clinic.letters.contains_key(&id), "{id} is receipted and not at the clinic");
                if let Some(letter) = self.county.letters.get_mut(&(self.id.clone(), id)) {
                    letter.receipted = Some(stored_at);
                }
            }
            GatewayEvent::LetterRefused { id, refusal } => {
                if let Some(letter) = self.county.letters.get_mut(&(self.id.clone(), id)) {
                    letter.refused = Some(refusal);
                }
            }
            GatewayEvent::Note(note) => {
                let id = note.id.clone();
                self.county.notes.insert((self.id.clone(), id.clone()), note);
                side.link.answer_note(id, Ok(()));
            }
            GatewayEvent::Closed { .. } => return true,
            GatewayEvent::Heartbeat { .. } | GatewayEvent::Remark(_) | GatewayEvent::LetterDelayed { .. } => {
            }
        }
        false
    }
}

//! Sockets in memory under real quinn endpoints, with [`Channel`]s between clinics and county.

use super::channel::{Channel, Count, Direction};
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::future::Future as _;
use std::io::IoSliceMut;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// IPv4 and UDP headers.
pub const HEADER_BYTES: u64 = 28;
/// What passes between two machines on the way; larger packets do not.
const MAX_PACKET_BYTES: u64 = 1_500;
/// Clinics are 10.1.x.y, the county is 10.2.x.y.
const CLINIC_NET: u8 = 1;

/// Both directions.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Clinic to county.
    pub up: Direction,
    /// County to clinic.
    pub down: Direction,
}

#[derive(Debug)]
struct State {
    up: Channel,
    down: Channel,
    begun: Instant,
    mailboxes: BTreeMap<SocketAddr, Mailbox>,
    /// Packets so far, to keep the order of those that arrive at once.
    order: u64,
    /// Of each clinic on the way up.
    sent: BTreeMap<SocketAddr, Sent>,
}

/// What one clinic has sent.
#[derive(Debug, Clone, Default)]
pub struct Sent {
    /// Bytes offered to the line, headers included.
    pub offered: u64,
    /// Bytes that arrived, headers included, in bins of [`BIN`].
    pub arrived: Vec<u64>,
}

/// Bins of what is recorded over time.
pub const BIN: Duration = Duration::from_millis(10);

/// Adds to the bin of a time.
pub(super) fn add(bins: &mut Vec<u64>, at: Duration, amount: u64) {
    let bin = usize::try_from(at.as_micros() / BIN.as_micros()).unwrap_or(usize::MAX);
    if bin < MAX_BINS {
        if bins.len() <= bin {
            bins.resize(bin + 1, 0);
        }
        bins[bin] += amount;
    }
}

/// A day of bins.
const MAX_BINS: usize = 24 * 3_600 * 100;

#[derive(Debug, Default)]
struct Mailbox {
    packets: BinaryHeap<Reverse<Packet>>,
    reader: Option<Waker>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Packet {
    at: Instant,
    order: u64,
    from: SocketAddr,
    bytes: Vec<u8>,
}

/// A line and everybody on it.
#[derive(Debug, Clone)]
pub struct Net(Arc<Mutex<State>>);

impl Net {
    /// An idle line.
    #[must_use]
    pub fn new(line: Line, seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            up: Channel::new(line.up, seed),
            down: Channel::new(line.down, seed ^ 0x5555_5555),
            begun: Instant::now(),
            mailboxes: BTreeMap::new(),
            order: 0,
            sent: BTreeMap::new(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time since the line was made.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.lock().begun.elapsed()
    }

    /// A socket at the clinics' end.
    #[must_use]
    pub fn clinic(&self, number: u8) -> Arc<MemorySocket> {
        self.socket(SocketAddr::from((Ipv4Addr::new(10, CLINIC_NET, 0, number), 40_000)))
    }

    /// A socket at the county's end.
    #[must_use]
    pub fn county(&self, number: u8) -> Arc<MemorySocket> {
        self.socket(SocketAddr::from((Ipv4Addr::new(10, 2, 0, number), 4433)))
    }

    fn socket(&self, address: SocketAddr) -> Arc<MemorySocket> {
        self.lock().mailboxes.insert(address, Mailbox::default());
        Arc::new(MemorySocket { net: self.clone(), place: Mutex::new(Place { address, sleep: None }) })
    }

    /// What became of packets on the way up and down.
    #[must_use]
    pub fn counts(&self) -> (Count, Count) {
        let state = self.lock();
        (state.up.count(), state.down.count())
    }

    /// What a clinic has sent.
    #[must_use]
    pub fn sent_by(&self, clinic: SocketAddr) -> Sent {
        self.lock().sent.get(&clinic).cloned().unwrap_or_default()
    }

    /// How long a packet would wait now on the way up.
    #[must_use]
    pub fn waiting_up(&self) -> Duration {
        let mut state = self.lock();
        let now = state.begun.elapsed();
        state.up.waiting(now)
    }

    fn send(&self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let size = bytes.len() as u64 + HEADER_BYTES;
        let mut state = self.lock();
        let state = &mut *state;
        let now = state.begun.elapsed();
        let is_up = matches!(from.ip(), IpAddr::V4(ip) if ip.octets()[1] == CLINIC_NET);
        if is_up {
            state.sent.entry(from).or_default().offered += size;
        }
        if size > MAX_PACKET_BYTES {
            return;
        }
        let arrival = if is_up { state.up.offer(now, size) } else { state.down.offer(now, size) };
        let Some(arrival) = arrival else { return };
        if is_up {
            add(&mut state.sent.entry(from).or_default().arrived, arrival, size);
        }
        let Some(mailbox) = state.mailboxes.get_mut(&to) else { return };
        state.order += 1;
        let packet = Packet { at: state.begun + arrival, order: state.order, from, bytes: bytes.to_vec() };
        mailbox.packets.push(Reverse(packet));
        if let Some(reader) = mailbox.reader.take() {
            reader.wake();
        }
    }
}

#[derive(Debug)]
struct Place {
    address: SocketAddr,
    sleep: Option<Pin<Box<Sleep>>>,
}

/// One socket.
#[derive(Debug)]
pub struct MemorySocket {
    net: Net,
    place: Mutex<Place>,
}

impl MemorySocket {
    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.place().address
    }

    /// Moves it, as when a cell or a NAT gives another address: the program above does not notice.
    pub fn move_to(&self, ip: Ipv4Addr, port: u16) {
        let mut place = self.place();
        let to = SocketAddr::from((ip, port));
        let mut state = self.net.lock();
        let mailbox = state.mailboxes.remove(&place.address).unwrap_or_default();
        let reader = mailbox.reader;
        state.mailboxes.insert(to, Mailbox { reader, ..Mailbox::default() });
        place.address = to;
    }
}

#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncUdpSocket for MemorySocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> std::io::Result<()> {
        let from = self.address();
        self.net.send(from, transmit.destination, transmit.contents);
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<std::io::Result<usize>> {
        let mut place = self.place();
        let mut state = self.net.lock();
        let Some(mailbox) = state.mailboxes.get_mut(&place.address) else { return Poll::Pending };
        let now = Instant::now();
        let mut count = 0;
        while count < bufs.len().min(meta.len()) {
            if mailbox.packets.peek().is_none_or(|next| next.0.at > now) {
                break;
            }
            let Some(Reverse(packet)) = mailbox.packets.pop() else { break };
            let length = packet.bytes.len().min(bufs[count].len());
            bufs[count][..length].copy_from_slice(&packet.bytes[..length]);
            meta[count] = RecvMeta { addr: packet.from, len: length, stride: length, ..RecvMeta::default() };
            count += 1;
        }
        if count > 0 {
            return Poll::Ready(Ok(count));
        }
        mailbox.reader = Some(cx.waker().clone());
        let Some(next) = mailbox.packets.peek().map(|next| next.0.at) else {
            place.sleep = None;
            return Poll::Pending;
        };
        drop(state);
        let sleep = place.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(next)));
        sleep.as_mut().reset(next);
        if sleep.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.address())
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

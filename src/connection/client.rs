//! A connected client, as everything but its own thread sees it.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::flusher::Flusher;
use super::frame::Frame;
use super::outbox::{Awaited, Flushed, Offered, Outbox};
use super::queue::Bounds;
use super::session::CloseReason;
use crate::{Error, Message};

/// The id of the next client or listener of this process.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

pub(crate) fn next_id() -> u64 {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

/// A connected WebSocket client. Clones are the same client, and equal.
///
/// A [`Session`](crate::Session) gets it with each call, and may keep clones to send from any
/// thread. Messages arrive whole, and in the order of the calls that send them. What goes through
/// a hub has an order of its own: to send to one client in order with your broadcasts, use
/// [`HubHandle::send_to`](crate::HubHandle::send_to).
///
/// ```
/// use kentros::{Incoming, ServerConfig};
///
/// let config = ServerConfig::default().websocket("/ws/echo", |client, message| {
///     let _ = match message {
///         Incoming::Text("bye") => Ok(client.close(1000, "goodbye")),
///         Incoming::Text(text) => client.send_text(text),
///         Incoming::Binary(bytes) => client.send_binary(bytes),
///     };
/// });
/// ```
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
    /// Beside the rest: a delivery touches nothing else of the client, thousands of times.
    outbox: Arc<Outbox>,
}

struct Inner {
    id: u64,
    peer: SocketAddr,
    flusher: Flusher,
    /// The code and reason of our Close.
    closing: OnceLock<Box<(u16, String)>>,
    /// The hubs it is registered with, by id; `None` once the connection has ended.
    hubs: Mutex<Option<Hubs>>,
}

type Hubs = Vec<(u64, Arc<dyn Registrar>)>;

/// A hub, as its clients know it.
pub(crate) trait Registrar: Send + Sync {
    /// The connection of a client that was registered has ended.
    fn connection_ended(&self, client: u64);
}

impl Client {
    pub(crate) fn new(
        peer: SocketAddr,
        socket: TcpStream,
        bounds: Bounds,
        write_deadline: Duration,
        flusher: Flusher,
    ) -> Self {
        let outbox = Arc::new(Outbox::new(socket, bounds, write_deadline));
        let (id, closing) = (next_id(), OnceLock::new());
        let hubs = Mutex::new(Some(Vec::new()));
        Self { inner: Arc::new(Inner { id, peer, flusher, closing, hubs }), outbox }
    }

    /// The client's number, unique in this process.
    ///
    /// ```
    /// # fn f(client: &kentros::Client) {
    /// println!("client {} connected from {}", client.id(), client.peer_addr());
    /// # }
    /// ```
    pub fn id(&self) -> u64 {
        self.inner.id
    }

    /// The address that the client connected from.
    pub fn peer_addr(&self) -> SocketAddr {
        self.inner.peer
    }

    /// Sends one message and waits until the socket has taken it: at most the hub's
    /// [`write_deadline`](crate::HubConfig::write_deadline) until its first byte is sent, and as
    /// long again until its last.
    ///
    /// ```
    /// # fn f(client: &kentros::Client) -> Result<(), kentros::Error> {
    /// client.send(&kentros::Message::new("welcome", client.id()))?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Stopped`](crate::ErrorKind::Stopped) if the connection has ended,
    /// [`Busy`](crate::ErrorKind::Busy) if the client did not read in time and will not get this
    /// message, [`Encode`](crate::ErrorKind::Encode) if the payload is not JSON.
    pub fn send(&self, message: &Message) -> Result<(), Error> {
        self.send_frame(Frame::message(message)?)
    }

    /// Sends a text message as it is; waits like [`send`](Self::send).
    ///
    /// # Errors
    /// Like [`send`](Self::send).
    pub fn send_text(&self, text: &str) -> Result<(), Error> {
        self.send_frame(Frame::text(text))
    }

    /// Sends a binary message; waits like [`send`](Self::send).
    ///
    /// # Errors
    /// Like [`send`](Self::send).
    pub fn send_binary(&self, bytes: &[u8]) -> Result<(), Error> {
        self.send_frame(Frame::binary(bytes))
    }

    /// Sends one message without ever waiting: what the socket does not take at once is queued,
    /// within the hub's bounds.
    ///
    /// ```
    /// # fn f(client: &kentros::Client) {
    /// let progress = kentros::Message::new("progress", 42).latest();
    /// if client.try_send(&progress).is_err_and(|error| error.is_busy()) {
    ///     println!("client {} reads too slowly", client.id());
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Stopped`](crate::ErrorKind::Stopped) if the connection has ended,
    /// [`Busy`](crate::ErrorKind::Busy) if the queue is full: the client will not get this message
    /// and stays connected. [`Encode`](crate::ErrorKind::Encode) if the payload is not JSON.
    pub fn try_send(&self, message: &Message) -> Result<(), Error> {
        let frame = Frame::message(message)?;
        match self.offer(std::slice::from_ref(&frame), frame.bytes()) {
            Offered::Sent | Offered::Waits { .. } => Ok(()),
            Offered::Full => Err(Error::busy()),
            Offered::Gone => Err(Error::stopped()),
        }
    }

    /// Closes the connection: what is queued is sent, then a Close with `code` and `reason` (RFC
    /// 6455, section 7.4; at most 123 bytes of the reason). Does nothing if it is closing already.
    pub fn close(&self, code: u16, reason: &str) {
        self.end(code, reason, false, self.outbox.write_deadline());
    }

    /// Ends the connection with this answer to its handshake, unless it has one.
    pub(crate) fn refuse(&self, answer: &[u8], within: Duration) -> bool {
        let refused = self.outbox.refuse_handshake(&Frame::raw(answer), within);
        if refused {
            self.inner.flusher.watch(&self.outbox);
        }
        refused
    }

    pub(crate) fn send_frame(&self, frame: Frame) -> Result<(), Error> {
        let frame = &frame.awaited();
        // Room first, and no bound of the queue's after: a sender who can wait never makes its own
        // client count as slow.
        let limit = self.outbox.write_deadline();
        let until = Instant::now() + limit;
        if self.outbox.flush_within(limit) == Flushed::Waits {
            return Err(Error::busy());
        }
        match self.outbox.offer(std::slice::from_ref(frame), frame.bytes()) {
            Offered::Sent => Ok(()),
            Offered::Gone => Err(Error::stopped()),
            Offered::Full => Err(Error::busy()),
            Offered::Waits { watch, .. } => {
                if watch {
                    self.inner.flusher.watch(&self.outbox);
                }
                match self.outbox.await_sent(frame, until) {
                    Awaited::Sent => Ok(()),
                    Awaited::TakenBack => Err(Error::busy()),
                    Awaited::Gone => Err(Error::stopped()),
                }
            }
        }
    }

    /// Sends without waiting; the flusher gets what the socket does not take.
    pub(crate) fn offer(&self, frames: &[Frame], joined: &[u8]) -> Offered {
        let offered = self.outbox.offer(frames, joined);
        if let Offered::Waits { watch: true, .. } = offered {
            self.inner.flusher.watch(&self.outbox);
        }
        offered
    }

    /// Sends a control frame between the hub's; a client without room even for that is evicted.
    pub(crate) fn post(&self, frame: &Frame) {
        if self.offer(std::slice::from_ref(frame), frame.bytes()) == Offered::Full {
            self.evict();
        }
    }

    /// Closes with this code; `forget` drops what has not begun to leave. The peer has `within` to
    /// take the Close and to close its side, and is cut then. Returns whether this call began it.
    pub(crate) fn end(&self, code: u16, reason: &str, forget: bool, within: Duration) -> bool {
        // Noted before it is sent: the answer may come at once.
        let note = || {
            let _ = self.inner.closing.set(Box::new((code, reason.to_owned())));
        };
        let began = self.outbox.close_noting(&Frame::close(code, reason), forget, within, note);
        if began {
            self.inner.flusher.watch(&self.outbox);
        }
        began
    }

    /// The same with this Close frame, such as the echo of the peer's.
    pub(crate) fn end_with(&self, close: &Frame, forget: bool, within: Duration) -> bool {
        let began = self.outbox.close(close, forget, within);
        if began {
            self.inner.flusher.watch(&self.outbox);
        }
        began
    }

    /// Our Close, if this side began the closing.
    pub(crate) fn closed_by_us(&self) -> Option<CloseReason> {
        let (code, reason) = &**self.inner.closing.get()?;
        Some(CloseReason::Server { code: *code, reason: reason.clone() })
    }

    /// Closes a client that has more queued than the bounds allow, and counts it.
    pub(crate) fn evict(&self) {
        let reason = "too slow: the queue is full";
        if self.end(1008, reason, true, self.outbox.write_deadline()) {
            self.inner.flusher.count_slow(self.peer_addr());
            log::debug!("client {} at {} is too slow: evicted", self.id(), self.peer_addr());
        }
    }

    /// Shuts both halves, and has the flusher let go of the socket.
    pub(crate) fn shut(&self) {
        self.outbox.shut();
        self.inner.flusher.watch(&self.outbox);
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Notes that it is registered with the hub of this id; `false` if it was already.
    ///
    /// # Errors
    /// If the connection has ended: nothing would ever unregister it.
    pub(crate) fn enter(&self, hub: u64, registrar: Arc<dyn Registrar>) -> Result<bool, Error> {
        let mut hubs = self.hubs();
        let Some(hubs) = &mut *hubs else { return Err(Error::stopped()) };
        let new = !hubs.iter().any(|(id, _)| *id == hub);
        if new {
            // One is usual, and there may be ten thousand clients.
            hubs.reserve_exact(1);
            hubs.push((hub, registrar));
        }
        Ok(new)
    }

    /// Notes that it is no longer registered with this hub; `false` if it was not.
    pub(crate) fn leave(&self, hub: u64) -> bool {
        let mut hubs = self.hubs();
        let Some(hubs) = &mut *hubs else { return false };
        let before = hubs.len();
        hubs.retain(|(id, _)| *id != hub);
        hubs.len() < before
    }

    /// Whether it is registered with this hub.
    ///
    /// # Errors
    /// If the connection has ended.
    pub(crate) fn is_in(&self, hub: u64) -> Result<bool, Error> {
        let hubs = self.hubs();
        let Some(hubs) = &*hubs else { return Err(Error::stopped()) };
        Ok(hubs.iter().any(|(id, _)| *id == hub))
    }

    /// Unregisters it from every hub, for good: its connection has ended.
    pub(crate) fn unregister_everywhere(&self) {
        let hubs = self.hubs().take();
        for (_, hub) in hubs.into_iter().flatten() {
            hub.connection_ended(self.id());
        }
    }

    fn hubs(&self) -> MutexGuard<'_, Option<Hubs>> {
        self.inner.hubs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PartialEq for Client {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for Client {}

impl Hash for Client {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({} at {})", self.id(), self.peer_addr())
    }
}

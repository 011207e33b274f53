//! The handle to a connected client.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use super::flusher::Flusher;
use super::frame::Frame;
use super::outbox::{BlockingSendResult, FlushResult, OfferResult, Outbox};
use super::queue::QueueBounds;
use super::session::CloseReason;
use crate::lock::lock;
use crate::{Error, Message};

/// The id of the next client or listener of this process.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

pub(crate) fn next_id() -> u64 {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

/// A connected WebSocket client. Clones refer to the same client and compare equal.
///
/// It is passed to each method of a [`Session`](crate::Session), which may keep clones to send from
/// any thread. Messages arrive whole and in the order in which they were sent. Messages of a hub are
/// ordered separately: to send to one client in order with broadcasts, use
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
    inner: Arc<ClientInner>,
    /// Not in `inner`, because this is all that sending to thousands of clients touches.
    outbox: Arc<Outbox>,
}

struct ClientInner {
    id: u64,
    peer: SocketAddr,
    flusher: Flusher,
    /// The code and reason of the Close frame sent.
    closing: OnceLock<Box<(u16, String)>>,
    /// The hubs the client is registered with, by id. `None` once the connection has ended.
    hubs: Mutex<Option<Hubs>>,
}

type Hubs = Vec<(u64, Arc<dyn Registrar>)>;

/// The interface of a hub to its clients.
pub(crate) trait Registrar: Send + Sync {
    /// The connection of a registered client has ended.
    fn connection_ended(&self, client: u64);
}

impl Client {
    pub(crate) fn new(
        peer: SocketAddr,
        socket: TcpStream,
        bounds: QueueBounds,
        write_deadline: Duration,
        flusher: Flusher,
    ) -> Self {
        let outbox = Arc::new(Outbox::new(socket, bounds, write_deadline));
        let (id, closing) = (next_id(), OnceLock::new());
        let hubs = Mutex::new(Some(Vec::new()));
        Self { inner: Arc::new(ClientInner { id, peer, flusher, closing, hubs }), outbox }
    }

    /// Returns the client's id, which is unique in this process.
    ///
    /// ```
    /// # fn f(client: &kentros::Client) {
    /// println!("client {} connected from {}", client.id(), client.peer_addr());
    /// # }
    /// ```
    pub fn id(&self) -> u64 {
        self.inner.id
    }

    /// Returns the address that the client connected from.
    pub fn peer_addr(&self) -> SocketAddr {
        self.inner.peer
    }

    /// Sends one message. Blocks until the socket has accepted it: at most the hub's
    /// [`write_deadline`](crate::HubConfig::write_deadline) until the first byte is sent, and as
    /// long again until the last.
    ///
    /// ```
    /// # fn f(client: &kentros::Client) -> Result<(), kentros::Error> {
    /// client.send(&kentros::Message::new("welcome", client.id()))?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Stopped`](crate::ErrorKind::Stopped) if the connection has ended,
    /// [`Busy`](crate::ErrorKind::Busy) if the client did not read in time, so that it will not get
    /// this message, [`Encode`](crate::ErrorKind::Encode) if the payload cannot be encoded as JSON.
    pub fn send(&self, message: &Message) -> Result<(), Error> {
        self.send_frame(Frame::message(message)?)
    }

    /// Sends a text message. Blocks like [`send`](Self::send).
    ///
    /// # Errors
    /// Like [`send`](Self::send).
    pub fn send_text(&self, text: &str) -> Result<(), Error> {
        self.send_frame(Frame::text(text))
    }

    /// Sends a binary message. Blocks like [`send`](Self::send).
    ///
    /// # Errors
    /// Like [`send`](Self::send).
    pub fn send_binary(&self, bytes: &[u8]) -> Result<(), Error> {
        self.send_frame(Frame::binary(bytes))
    }

    /// Sends one message without blocking. What the socket does not accept at once is queued, within
    /// the hub's bounds.
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
    /// but stays connected, [`Encode`](crate::ErrorKind::Encode) if the payload cannot be encoded as
    /// JSON.
    pub fn try_send(&self, message: &Message) -> Result<(), Error> {
        let frame = Frame::message(message)?.counted(self.inner.flusher.queued_bytes());
        match self.offer(std::slice::from_ref(&frame), frame.bytes()) {
            OfferResult::Sent | OfferResult::Queued { .. } => Ok(()),
            OfferResult::Full => Err(Error::busy()),
            OfferResult::Closing => Err(Error::stopped()),
        }
    }

    /// Closes the connection after sending queued messages. `code` and `reason` are those of RFC
    /// 6455, section 7.4; the reason is cut to 123 bytes. Does nothing if the connection is closing
    /// already.
    pub fn close(&self, code: u16, reason: &str) {
        self.close_within(code, reason, false, self.outbox.write_deadline());
    }

    /// Ends the connection with this response to its handshake, unless there was one.
    pub(crate) fn reject_handshake(&self, response: &[u8], within: Duration) -> bool {
        let rejected = self.outbox.reject_handshake(&Frame::raw(response), within);
        if rejected {
            self.inner.flusher.watch(&self.outbox);
        }
        rejected
    }

    pub(crate) fn send_frame(&self, frame: Frame) -> Result<(), Error> {
        let frame = &frame.blocking();
        // Empty the queue first. A blocking sender must not make its own client count as slow.
        let limit = self.outbox.write_deadline();
        let until = Instant::now() + limit;
        if self.outbox.flush_blocking(limit) == FlushResult::Blocked {
            return Err(Error::busy());
        }
        match self.outbox.offer(std::slice::from_ref(frame), frame.bytes()) {
            OfferResult::Sent => Ok(()),
            OfferResult::Closing => Err(Error::stopped()),
            OfferResult::Full => Err(Error::busy()),
            OfferResult::Queued { watch, .. } => {
                if watch {
                    self.inner.flusher.watch(&self.outbox);
                }
                match self.outbox.wait_until_sent(frame, until) {
                    BlockingSendResult::Sent => Ok(()),
                    BlockingSendResult::Withdrawn => Err(Error::busy()),
                    BlockingSendResult::Closing => Err(Error::stopped()),
                }
            }
        }
    }

    /// Sends without blocking. The flusher sends later what the socket does not accept.
    pub(crate) fn offer(&self, frames: &[Frame], joined: &[u8]) -> OfferResult {
        let offered = self.outbox.offer(frames, joined);
        if let OfferResult::Queued { watch: true, .. } = offered {
            self.inner.flusher.watch(&self.outbox);
        }
        offered
    }

    /// Sends a control frame. Evicts a client whose queue is full.
    pub(crate) fn send_control(&self, frame: &Frame) {
        if self.offer(std::slice::from_ref(frame), frame.bytes()) == OfferResult::Full {
            self.evict();
        }
    }

    /// Closes with this code. The peer has `within` to read the Close and close its side.
    /// `discard_queued` drops the queued frames. Returns false if the connection was closing already.
    pub(crate) fn close_within(
        &self,
        code: u16,
        reason: &str,
        discard_queued: bool,
        within: Duration,
    ) -> bool {
        // Stored before the Close is sent, because the answer may arrive at once.
        let store_reason = || {
            let _ = self.inner.closing.set(Box::new((code, reason.to_owned())));
        };
        let is_first = self.outbox.close_with_hook(
            &Frame::close(code, reason),
            discard_queued,
            within,
            store_reason,
        );
        if is_first {
            self.inner.flusher.watch(&self.outbox);
        }
        is_first
    }

    /// Closes with this Close frame, such as the echo of the peer's.
    pub(crate) fn close_with_frame(
        &self,
        close: &Frame,
        discard_queued: bool,
        within: Duration,
    ) -> bool {
        let is_first = self.outbox.close(close, discard_queued, within);
        if is_first {
            self.inner.flusher.watch(&self.outbox);
        }
        is_first
    }

    /// The reason if the server closed the connection first.
    pub(crate) fn server_close_reason(&self) -> Option<CloseReason> {
        let (code, reason) = &**self.inner.closing.get()?;
        Some(CloseReason::Server { code: *code, reason: reason.clone() })
    }

    /// Closes and counts a client whose queue is full.
    pub(crate) fn evict(&self) {
        let reason = "too slow: the queue is full";
        if self.close_within(1008, reason, true, self.outbox.write_deadline()) {
            self.inner.flusher.count_slow(self.peer_addr());
            log::debug!("evicted client {} at {}: too slow", self.id(), self.peer_addr());
        }
    }

    /// Closes and counts a client because the queues of all clients are full. Frees its queue at once.
    pub(crate) fn evict_to_free_memory(&self) {
        let reason = "too slow: the queues of all clients are full";
        let store_reason = || {
            let _ = self.inner.closing.set(Box::new((1008, reason.to_owned())));
        };
        let (close, within) = (Frame::close(1008, reason), self.outbox.write_deadline());
        if self.outbox.close_and_free(&close, within, store_reason) {
            self.inner.flusher.watch(&self.outbox);
            self.inner.flusher.count_for_memory(self.peer_addr());
        }
    }

    /// Shuts down the socket and removes it from the flusher.
    pub(crate) fn disconnect(&self) {
        self.outbox.disconnect();
        self.inner.flusher.watch(&self.outbox);
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Marks the client as registered with this hub. Returns false if it was registered already.
    ///
    /// # Errors
    /// If the connection has ended, because then nothing would unregister the client.
    pub(crate) fn add_hub(&self, hub: u64, registrar: Arc<dyn Registrar>) -> Result<bool, Error> {
        let mut hubs = self.hubs();
        let Some(hubs) = &mut *hubs else { return Err(Error::stopped()) };
        let new = !hubs.iter().any(|(id, _)| *id == hub);
        if new {
            // Usually the only one, times ten thousand clients.
            hubs.reserve_exact(1);
            hubs.push((hub, registrar));
        }
        Ok(new)
    }

    /// Marks the client as unregistered from this hub. Returns false if it was not registered.
    pub(crate) fn remove_hub(&self, hub: u64) -> bool {
        let mut hubs = self.hubs();
        let Some(hubs) = &mut *hubs else { return false };
        let before = hubs.len();
        hubs.retain(|(id, _)| *id != hub);
        hubs.len() < before
    }

    /// Whether the client is registered with this hub.
    ///
    /// # Errors
    /// If the connection has ended.
    pub(crate) fn is_registered_with(&self, hub: u64) -> Result<bool, Error> {
        let hubs = self.hubs();
        let Some(hubs) = &*hubs else { return Err(Error::stopped()) };
        Ok(hubs.iter().any(|(id, _)| *id == hub))
    }

    /// Unregisters the client from all hubs, because its connection has ended.
    pub(crate) fn unregister_everywhere(&self) {
        let hubs = self.hubs().take();
        for (_, hub) in hubs.into_iter().flatten() {
            hub.connection_ended(self.id());
        }
    }

    fn hubs(&self) -> MutexGuard<'_, Option<Hubs>> {
        lock(&self.inner.hubs)
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

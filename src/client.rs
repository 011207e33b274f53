//! A connected client, as everything but its own thread sees it: somewhere to send to.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::flusher::Flusher;
use crate::frame::Frame;
use crate::outbox::{Awaited, Flushed, Offered, Outbox};
use crate::queue::Bounds;
use crate::{Error, Message};

/// A connected WebSocket client. Clones are the same client.
///
/// A [`Handler`](crate::Handler) gets it with each event of its connection, and may keep clones
/// to send from any thread. What is sent arrives whole and in the order in which it was sent.
///
/// ```
/// use kentros::{Client, Handler, HubHandle, Incoming, Message};
///
/// /// Greets, echoes, and lets whoever says so hear what the hub tells.
/// struct Greeter(HubHandle);
///
/// impl Handler for Greeter {
///     fn open(&self, client: &Client) {
///         let words = format!("you are number {}, at {}", client.id(), client.peer_addr());
///         let _ = client.send(&Message::new("welcome", words));
///     }
///
///     fn message(&self, client: &Client, message: Incoming<'_>) {
///         let _ = match message {
///             Incoming::Text("subscribe") => self.0.register(client),
///             Incoming::Text("unsubscribe") => self.0.unregister(client),
///             Incoming::Text("bye") => Ok(client.close(1000, "as you wish")),
///             Incoming::Text(text) => client.send_text(text),
///             Incoming::Binary(bytes) => client.send_binary(bytes),
///         };
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
    /// Beside the rest: a delivery touches nothing else of the client, thousands of times.
    outbox: Arc<Outbox>,
}

#[derive(Debug)]
struct Inner {
    id: u64,
    peer: SocketAddr,
    flusher: Flusher,
}

impl Client {
    pub(crate) fn new(
        id: u64,
        peer: SocketAddr,
        socket: TcpStream,
        bounds: Bounds,
        write_deadline: Duration,
        flusher: Flusher,
    ) -> Self {
        let outbox = Arc::new(Outbox::new(socket, bounds, write_deadline));
        Self { inner: Arc::new(Inner { id, peer, flusher }), outbox }
    }

    /// A number that no other client of the same hub has, nor will have.
    pub fn id(&self) -> u64 {
        self.inner.id
    }

    /// The address it connected from.
    pub fn peer_addr(&self) -> SocketAddr {
        self.inner.peer
    }

    /// Sends one message, and waits until the socket has taken it: at most the hub's
    /// [`write_deadline`](crate::HubConfig::write_deadline) until it begins to leave, and as long
    /// again until the last byte has left.
    ///
    /// # Errors
    /// [`is_stopped`](Error::is_stopped) if the client is gone, [`is_busy`](Error::is_busy) if it
    /// did not read in time, and will not get this message; [`is_encode`](Error::is_encode) if the payload is no JSON.
    pub fn send(&self, message: &Message) -> Result<(), Error> {
        let frame = Frame::text(&message.to_json()?);
        self.send_frame(frame)
    }

    /// Sends a text message as it stands; waits as [`send`](Self::send) does.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_text(&self, text: &str) -> Result<(), Error> {
        self.send_frame(Frame::text(text))
    }

    /// Sends a binary message; waits as [`send`](Self::send) does.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_binary(&self, bytes: &[u8]) -> Result<(), Error> {
        self.send_frame(Frame::binary(bytes))
    }

    /// Closes the connection: what waits is sent, then a Close with `code` and `reason` (RFC 6455,
    /// section 7.4; at most 123 bytes of it). Does nothing where it is closing already.
    pub fn close(&self, code: u16, reason: &str) {
        self.end(&Frame::close(code, reason), false, self.outbox.write_deadline());
    }

    /// The bytes of a frame are all that is held of it meanwhile.
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

    /// Sends a control frame between the hub's; whoever has no room even for that is evicted.
    pub(crate) fn post(&self, frame: &Frame) {
        if self.offer(std::slice::from_ref(frame), frame.bytes()) == Offered::Full {
            self.evict();
        }
    }

    /// Closes with this Close frame; `forget` drops what has not begun to leave. The peer has
    /// `within` to take the Close and to close its side, and is cut then. Tells whether this call
    /// began it.
    pub(crate) fn end(&self, close: &Frame, forget: bool, within: Duration) -> bool {
        let began = self.outbox.close(close, forget, within);
        if began {
            self.inner.flusher.watch(&self.outbox);
        }
        began
    }

    /// Closes a client for whom more waits than the bounds allow, and counts it.
    pub(crate) fn evict(&self) {
        let close = Frame::close(1008, "too slow: too much waits for you");
        if self.end(&close, true, self.outbox.write_deadline()) {
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
}

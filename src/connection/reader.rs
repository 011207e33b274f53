//! The thread `client-<id>`: reads one connection until its end. It is never woken to deliver.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Error as Fault, Message, WebSocket};

use super::frame::Frame;
use super::outbox::Flushed;
use super::session::{CloseReason, Incoming, Session};
use crate::rate_limited::RateLimitedWarning;
use crate::{Client, retry, threads};

/// Bytes read at a time. Clients say little, and every connection has its own buffer.
const READ_BUFFER: usize = 1024;
/// How long the peer has to end its side after a Close.
const DRAIN: Duration = Duration::from_secs(2);
/// The most that is read and thrown away meanwhile.
const DRAIN_BYTES: usize = 1 << 20;
/// The most bytes of the wire for each byte of a message: alone in a masked frame it takes seven.
const FRAMING: usize = 8;

/// The limits of a client's messages.
#[derive(Debug)]
pub(crate) struct ConnectionLimits {
    /// Largest message, bytes.
    pub(crate) max_message: usize,
    /// Messages a second, sustained; twice as many at once.
    pub(crate) max_rate: Option<u32>,
    /// How long a client may show no sign of life.
    pub(crate) silence_limit: Duration,
    pub(crate) warnings: LimitWarnings,
}

/// The warnings about clients that exceed the limits.
#[derive(Debug, Default)]
pub(crate) struct LimitWarnings {
    too_many: RateLimitedWarning,
    too_big: RateLimitedWarning,
    silent: RateLimitedWarning,
}

/// Why a connection ends.
enum End {
    /// The peer closed, with this code and reason or with none.
    Closed(Option<CloseFrame>),
    /// The stream ended or broke, or we are closing already.
    Gone,
    /// The peer has answered our Close.
    Answered,
    /// We close it, with this code and reason.
    Because(u16, &'static str),
}

/// Serves `client` until its connection ends. `early` is what came with the handshake.
pub(crate) fn serve(
    client: &Client,
    session: &mut dyn Session,
    early: Vec<u8>,
    limits: &ConnectionLimits,
) {
    let end = threads::guarded("a client's session", || {
        session.open(client);
        client.outbox().flush();
        read(client, session, early, limits)
    });
    let answered = matches!(end, Some(End::Answered));
    let reason = match end {
        // The echo that RFC 6455, section 5.5.1, wants. It is ours and not the library's, so
        // that nothing can come between it and the end.
        Some(End::Closed(close)) => {
            client.end_with(&Frame::echo(close.clone()), false, DRAIN);
            CloseReason::Client {
                code: close.as_ref().map(|close| close.code.into()),
                reason: close.map(|close| close.reason.as_str().to_owned()).unwrap_or_default(),
            }
        }
        // A Close of ours may still wait to leave.
        Some(End::Gone | End::Answered) => CloseReason::Lost,
        Some(End::Because(code, reason)) => {
            let peer = client.peer_addr();
            log::debug!("client {} at {peer} closed: {code} {reason}", client.id());
            if code == 1009 {
                let most = limits.max_message;
                let say = || format!("{peer} sends more than {most} bytes at once: it gets 1009");
                limits.warnings.too_big.warn(say);
            }
            client.end(code, reason, false, DRAIN);
            CloseReason::Server { code, reason: reason.to_owned() }
        }
        None => {
            client.end(1011, "internal error", false, DRAIN);
            CloseReason::Server { code: 1011, reason: "internal error".to_owned() }
        }
    };
    if answered && client.outbox().flush() == Flushed::HalfClosed {
        client.shut();
    } else {
        drain(client);
    }
    // Where we began the closing, what came of the peer's side is its answer.
    let reason = client.closed_by_us().unwrap_or(reason);
    client.unregister_everywhere();
    threads::guarded("a client's session", || session.close(client, reason));
}

fn read(
    client: &Client,
    session: &mut dyn Session,
    early: Vec<u8>,
    limits: &ConnectionLimits,
) -> End {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_message_size(Some(limits.max_message))
        .max_frame_size(Some(limits.max_message));
    // Each read waits so long for a sign of life; the pings that ask for one are the server's.
    if client.outbox().socket().set_read_timeout(Some(limits.silence_limit)).is_err() {
        return End::Gone;
    }
    let most = limits.max_message.saturating_mul(FRAMING).saturating_add(READ_BUFFER);
    let wire = Wire { client, left: most };
    let mut socket = WebSocket::from_partially_read(wire, early, Role::Server, Some(config));
    let mut bucket = TokenBucket::new(limits.max_rate, Instant::now());
    loop {
        socket.get_mut().left = most;
        let message = match socket.read() {
            Ok(message) => message,
            Err(Fault::Io(error)) if error.kind() == io::ErrorKind::QuotaExceeded => {
                return End::Because(1009, "message in too many fragments");
            }
            Err(Fault::Io(error)) if is_timeout(&error) => {
                limits.warnings.silent.warn(|| {
                    let (limit, peer) = (limits.silence_limit, client.peer_addr());
                    format!("{peer} shows no sign of life for {limit:?}: it gets 1008")
                });
                return End::Because(1008, "no sign of life");
            }
            Err(fault) => return end_of(&fault),
        };
        if !client.outbox().is_open() {
            // We are closing: nothing but the answer to our Close is of interest.
            return if message.is_close() { End::Answered } else { End::Gone };
        }
        if !bucket.take(Instant::now()) {
            limits.warnings.too_many.warn(|| {
                let (rate, peer) = (limits.max_rate.unwrap_or_default(), client.peer_addr());
                format!("{peer} sends more than {rate} messages a second: it gets 1008")
            });
            return End::Because(1008, "too many messages");
        }
        match message {
            Message::Text(text) => session.message(client, Incoming::Text(&text)),
            Message::Binary(bytes) => session.message(client, Incoming::Binary(&bytes)),
            Message::Close(close) => return End::Closed(close),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
}

/// The code that tells the peer what it did wrong: RFC 6455, section 7.4.1.
fn end_of(fault: &Fault) -> End {
    use tungstenite::error::ProtocolError;
    match fault {
        Fault::ConnectionClosed
        | Fault::AlreadyClosed
        | Fault::Protocol(ProtocolError::ResetWithoutClosingHandshake)
        | Fault::Io(_) => End::Gone,
        Fault::Capacity(_) => End::Because(1009, "message too big"),
        Fault::Utf8(_) => End::Because(1007, "text is not UTF-8"),
        _ => End::Because(1002, "protocol error"),
    }
}

/// Reads and forgets until the peer ends its side, so that our Close reaches it: closing a socket
/// with unread input resets the connection. The closing has a deadline.
pub(crate) fn drain(client: &Client) {
    let mut left = DRAIN_BYTES;
    let mut buffer = [0; 512];
    let socket = client.outbox().socket();
    while left > 0
        && let Some(until) = client.outbox().deadline()
        && let wait = until.saturating_duration_since(Instant::now())
        && !wait.is_zero()
        && socket.set_read_timeout(Some(wait)).is_ok()
    {
        match retry::read(socket, &mut buffer) {
            Ok(0) => break,
            Ok(n) => left = left.saturating_sub(n),
            Err(error) if is_timeout(&error) => {}
            Err(_) => break,
        }
    }
    client.shut();
}

/// What a receive timeout is told as differs between kernels.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// The stream that tungstenite reads and writes: it reads the socket, and what it writes, whole
/// frames, goes into the outbox between the hub's frames.
struct Wire<'a> {
    client: &'a Client,
    /// Bytes that may still come of one message. Empty fragments without end make no message too
    /// big and none too many, yet keep a core busy.
    left: usize,
}

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let n = retry::read(self.client.outbox().socket(), buffer)?;
        self.left = self.left.saturating_sub(n);
        Ok(n)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.client.post(&Frame::raw(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A token bucket: a client may send `rate` messages a second, and twice as many at once.
struct TokenBucket {
    rate: Option<f64>,
    left: f64,
    at: Instant,
}

impl TokenBucket {
    fn new(rate: Option<u32>, now: Instant) -> Self {
        let rate = rate.map(f64::from);
        Self { rate, left: 2.0 * rate.unwrap_or_default(), at: now }
    }

    fn take(&mut self, now: Instant) -> bool {
        let Some(rate) = self.rate else { return true };
        let earned = now.saturating_duration_since(self.at).as_secs_f64() * rate;
        self.left = (self.left + earned).min(2.0 * rate);
        self.at = now;
        if self.left < 1.0 {
            return false;
        }
        self.left -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forty_messages_may_come_at_once_and_twenty_a_second_after() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(Some(20), start);
        assert_eq!((0..50).filter(|_| bucket.take(start)).count(), 40);
        let later = start + Duration::from_secs(1);
        assert_eq!((0..50).filter(|_| bucket.take(later)).count(), 20);
        let much_later = later + Duration::from_secs(3600);
        assert_eq!((0..50).filter(|_| bucket.take(much_later)).count(), 40, "and no more");
    }
}

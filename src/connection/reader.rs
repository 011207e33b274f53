//! The thread `client-<id>`, which reads one connection. Sending never wakes it.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Error as Fault, Message, WebSocket};

use super::frame::Frame;
use super::outbox::FlushResult;
use super::session::{CloseReason, Incoming, Session};
use crate::rate_limited::RateLimitedWarning;
use crate::{Client, retry, threads};

/// The size of the read buffer, in bytes. Small, because each connection has one.
const READ_BUFFER: usize = 1024;
/// How long the peer has to close its side after a Close.
const DRAIN: Duration = Duration::from_secs(2);
/// Maximum number of bytes read and discarded while waiting for the peer to close.
const DRAIN_BYTES: usize = 1 << 20;
/// Maximum number of bytes received per byte of a message: one byte in a masked frame takes seven.
const FRAMING: usize = 8;

/// The limits of a client's messages.
#[derive(Debug)]
pub(crate) struct ConnectionLimits {
    /// The largest message, in bytes.
    pub(crate) max_message: usize,
    /// The sustained rate of messages per second. A burst may have twice as many.
    pub(crate) max_rate: Option<u32>,
    /// How long a client may be silent.
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

/// Why reading ended.
enum ReadOutcome {
    /// The peer sent a Close.
    PeerClosed(Option<CloseFrame>),
    /// The connection broke, or is closing already.
    Lost,
    /// The peer answered our Close.
    CloseAnswered,
    /// The client violated a limit or the protocol: close with this code and reason.
    CloseWith(u16, &'static str),
}

/// Serves `client` until its connection ends. `early` is the bytes received with the handshake.
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
    let answered = matches!(end, Some(ReadOutcome::CloseAnswered));
    let reason = match end {
        // The echo required by RFC 6455, section 5.5.1. Sent here instead of by tungstenite, so that
        // no frame can follow it.
        Some(ReadOutcome::PeerClosed(close)) => {
            client.close_with_frame(&Frame::echo(close.clone()), false, DRAIN);
            CloseReason::Client {
                code: close.as_ref().map(|close| close.code.into()),
                reason: close.map(|close| close.reason.as_str().to_owned()).unwrap_or_default(),
            }
        }
        // A Close of ours may still be queued.
        Some(ReadOutcome::Lost | ReadOutcome::CloseAnswered) => CloseReason::Lost,
        Some(ReadOutcome::CloseWith(code, reason)) => {
            let peer = client.peer_addr();
            log::debug!("client {} at {peer} closed: {code} {reason}", client.id());
            if code == 1009 {
                let most = limits.max_message;
                let text = || {
                    format!(
                        "disconnected {peer} with close code 1009: it sent a message of more than \
                         {most} bytes"
                    )
                };
                limits.warnings.too_big.warn(text);
            }
            client.close_within(code, reason, false, DRAIN);
            CloseReason::Server { code, reason: reason.to_owned() }
        }
        None => {
            client.close_within(1011, "internal error", false, DRAIN);
            CloseReason::Server { code: 1011, reason: "internal error".to_owned() }
        }
    };
    if answered && client.outbox().flush() == FlushResult::HalfClosed {
        client.disconnect();
    } else {
        drain(client);
    }
    // If the server closed first, the peer's Close was only its answer.
    let reason = client.server_close_reason().unwrap_or(reason);
    client.unregister_everywhere();
    threads::guarded("a client's session", || session.close(client, reason));
}

fn read(
    client: &Client,
    session: &mut dyn Session,
    early: Vec<u8>,
    limits: &ConnectionLimits,
) -> ReadOutcome {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_message_size(Some(limits.max_message))
        .max_frame_size(Some(limits.max_message));
    // The server sends pings, so that a live client is never silent for this long.
    if client.outbox().socket().set_read_timeout(Some(limits.silence_limit)).is_err() {
        return ReadOutcome::Lost;
    }
    let most = limits.max_message.saturating_mul(FRAMING).saturating_add(READ_BUFFER);
    let wire = OutboxStream { client, left: most };
    let mut socket = WebSocket::from_partially_read(wire, early, Role::Server, Some(config));
    let mut bucket = TokenBucket::new(limits.max_rate, Instant::now());
    loop {
        socket.get_mut().left = most;
        let message = match socket.read() {
            Ok(message) => message,
            Err(Fault::Io(error)) if error.kind() == io::ErrorKind::QuotaExceeded => {
                return ReadOutcome::CloseWith(1009, "message in too many fragments");
            }
            Err(Fault::Io(error)) if is_timeout(&error) => {
                limits.warnings.silent.warn(|| {
                    let (limit, peer) = (limits.silence_limit, client.peer_addr());
                    format!(
                        "disconnected {peer} with close code 1008: no sign of life for {limit:?}"
                    )
                });
                return ReadOutcome::CloseWith(1008, "no sign of life");
            }
            Err(fault) => return end_of(&fault),
        };
        if !client.outbox().is_open() {
            // While closing, ignore everything except the answer to our Close.
            return if message.is_close() { ReadOutcome::CloseAnswered } else { ReadOutcome::Lost };
        }
        if !bucket.take(Instant::now()) {
            limits.warnings.too_many.warn(|| {
                let (rate, peer) = (limits.max_rate.unwrap_or_default(), client.peer_addr());
                format!(
                    "disconnected {peer} with close code 1008: it sent more than {rate} messages \
                     per second"
                )
            });
            return ReadOutcome::CloseWith(1008, "too many messages");
        }
        match message {
            Message::Text(text) => session.message(client, Incoming::Text(&text)),
            Message::Binary(bytes) => session.message(client, Incoming::Binary(&bytes)),
            Message::Close(close) => return ReadOutcome::PeerClosed(close),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
}

/// The Close code for an error: RFC 6455, section 7.4.1.
fn end_of(fault: &Fault) -> ReadOutcome {
    use tungstenite::error::ProtocolError;
    match fault {
        Fault::ConnectionClosed
        | Fault::AlreadyClosed
        | Fault::Protocol(ProtocolError::ResetWithoutClosingHandshake)
        | Fault::Io(_) => ReadOutcome::Lost,
        Fault::Capacity(_) => ReadOutcome::CloseWith(1009, "message too big"),
        Fault::Utf8(_) => ReadOutcome::CloseWith(1007, "text is not UTF-8"),
        _ => ReadOutcome::CloseWith(1002, "protocol error"),
    }
}

/// Reads and discards until the peer closes its side or the deadline expires. Closing a socket with
/// unread input would reset the connection, and the peer could lose our Close.
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
    client.disconnect();
}

/// A receive timeout is reported as either kind, depending on the platform.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// The stream for tungstenite. Reads from the socket. Writes, which are whole control frames, go to
/// the outbox, between the hub's frames.
struct OutboxStream<'a> {
    client: &'a Client,
    /// The bytes left for the current message. Without this limit, endless empty fragments would
    /// exceed neither the size nor the rate limit, yet use a whole core.
    left: usize,
}

impl Read for OutboxStream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let n = retry::read(self.client.outbox().socket(), buffer)?;
        self.left = self.left.saturating_sub(n);
        Ok(n)
    }
}

impl Write for OutboxStream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.client.send_control(&Frame::raw(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A token bucket that allows `rate` messages per second, and bursts of twice as many.
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
    fn a_burst_of_twice_the_rate_is_allowed() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(Some(20), start);
        assert_eq!((0..50).filter(|_| bucket.take(start)).count(), 40);
        let later = start + Duration::from_secs(1);
        assert_eq!((0..50).filter(|_| bucket.take(later)).count(), 20);
        let much_later = later + Duration::from_secs(3600);
        assert_eq!((0..50).filter(|_| bucket.take(much_later)).count(), 40, "at most one burst");
    }
}

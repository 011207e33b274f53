//! The thread `client-<id>`: reads one connection until its end. It is never woken to deliver.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Error as Fault, Message, WebSocket};

use crate::frame::Frame;
use crate::outbox::Offered;
use crate::{Client, Handler, Incoming, threads};

/// Bytes read at a time. Clients say little, and every connection has its own buffer.
const READ_BUFFER: usize = 1024;
/// How long the peer has to end its side after a Close.
const DRAIN: Duration = Duration::from_secs(2);
/// The most that is read and thrown away meanwhile.
const DRAIN_BYTES: usize = 1 << 20;

/// What a connection may do and must keep to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Largest message, bytes.
    pub(crate) max_message: usize,
    /// Messages a second, sustained; twice as many at once.
    pub(crate) max_rate: Option<u32>,
    pub(crate) ping_interval: Duration,
    /// How long a client may show no sign of life.
    pub(crate) silence_limit: Duration,
}

/// Why a connection ends.
enum End {
    /// The peer closed, with this code and reason or with none.
    Closed(Option<CloseFrame>),
    /// The stream ended or broke, or we are closing already.
    Gone,
    /// We close it, with this code and reason.
    Because(u16, &'static str),
}

/// Serves `client` until its connection ends. `early` is what came with the handshake.
pub(crate) fn serve(client: &Client, handler: &dyn Handler, early: Vec<u8>, rules: Rules) {
    let end = threads::guarded("a client's handler", || {
        handler.open(client);
        client.outbox().flush();
        read(client, handler, early, rules)
    });
    match end {
        // The echo that RFC 6455, section 5.5.1, wants. It is ours and not the library's, so
        // that nothing can come between it and the end.
        Some(End::Closed(close)) => {
            client.end(&Frame::echo(close), false, DRAIN);
        }
        // A Close of ours may still wait to leave.
        Some(End::Gone) => {}
        Some(End::Because(code, reason)) => {
            log::debug!("client {} at {} closed: {code} {reason}", client.id(), client.peer_addr());
            client.end(&Frame::close(code, reason), false, DRAIN);
        }
        None => {
            client.end(&Frame::close(1011, "internal error"), false, DRAIN);
        }
    }
    drain(client);
    threads::guarded("a client's handler", || handler.close(client));
}

fn read(client: &Client, handler: &dyn Handler, early: Vec<u8>, rules: Rules) -> End {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_message_size(Some(rules.max_message))
        .max_frame_size(Some(rules.max_message));
    let wire = Wire { client, pulse: Pulse::new(rules, Instant::now()) };
    let mut socket = WebSocket::from_partially_read(wire, early, Role::Server, Some(config));
    let mut allowance = Allowance::new(rules.max_rate, Instant::now());
    loop {
        let message = match socket.read() {
            Ok(message) => message,
            Err(Fault::Io(error)) if is_pause(&error) => {
                match socket.get_mut().pulse.beat(Instant::now()) {
                    Beat::Quiet => {}
                    Beat::Ping => post(client, &Frame::ping()),
                    Beat::Dead => return End::Because(1008, "no sign of life"),
                }
                continue;
            }
            Err(fault) => return end_of(&fault),
        };
        if !client.outbox().is_open() {
            // We are closing: what still comes is of no interest.
            return End::Gone;
        }
        if !allowance.take(Instant::now()) {
            return End::Because(1008, "too many messages");
        }
        match message {
            Message::Text(text) => handler.message(client, Incoming::Text(&text)),
            Message::Binary(bytes) => handler.message(client, Incoming::Binary(&bytes)),
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

/// Sends a frame of ours between the hub's.
fn post(client: &Client, frame: &Frame) {
    if client.offer(std::slice::from_ref(frame), frame.bytes()) == Offered::Full {
        client.evict();
    }
}

/// Reads and forgets until the peer ends its side, so that our Close reaches it: closing a socket
/// with unread input resets the connection. The closing has a deadline.
fn drain(client: &Client) {
    let mut left = DRAIN_BYTES;
    let mut buffer = [0; 512];
    let mut socket = client.outbox().socket();
    while left > 0
        && let Some(until) = client.outbox().deadline()
        && let wait = until.saturating_duration_since(Instant::now())
        && !wait.is_zero()
        && socket.set_read_timeout(Some(wait)).is_ok()
    {
        match socket.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => left = left.saturating_sub(n),
            Err(error) if is_pause(&error) => {}
            Err(_) => break,
        }
    }
    client.shut();
}

fn is_pause(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}

/// The stream that tungstenite reads and writes: it reads the socket, and what it writes, whole
/// frames, goes into the outbox between the hub's frames.
struct Wire<'a> {
    client: &'a Client,
    pulse: Pulse,
}

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut socket = self.client.outbox().socket();
        let now = Instant::now();
        let wait = self.pulse.next(now);
        if wait.is_zero() {
            // A peer that drips bytes must not put off our pings.
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if self.pulse.timeout != Some(wait) {
            socket.set_read_timeout(Some(wait))?;
            self.pulse.timeout = Some(wait);
        }
        let n = socket.read(buffer)?;
        self.pulse.heard = Instant::now();
        Ok(n)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        post(self.client, &Frame::raw(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// When to ping and when to give up.
struct Pulse {
    rules: Rules,
    heard: Instant,
    pinged: Instant,
    /// The receive timeout the socket has now.
    timeout: Option<Duration>,
}

#[derive(Debug, PartialEq, Eq)]
enum Beat {
    Quiet,
    Ping,
    Dead,
}

impl Pulse {
    fn new(rules: Rules, now: Instant) -> Self {
        Self { rules, heard: now, pinged: now, timeout: None }
    }

    /// How long a read may block.
    fn next(&self, now: Instant) -> Duration {
        let ping = self.pinged + self.rules.ping_interval;
        let dead = self.heard + self.rules.silence_limit;
        ping.min(dead).saturating_duration_since(now)
    }

    fn beat(&mut self, now: Instant) -> Beat {
        if now >= self.heard + self.rules.silence_limit {
            Beat::Dead
        } else if now >= self.pinged + self.rules.ping_interval {
            self.pinged = now;
            Beat::Ping
        } else {
            Beat::Quiet
        }
    }
}

/// How many messages a client may still send: a bucket of twice its rate.
struct Allowance {
    rate: Option<f64>,
    left: f64,
    at: Instant,
}

impl Allowance {
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

    const RULES: Rules = Rules {
        max_message: 4096,
        max_rate: Some(20),
        ping_interval: Duration::from_secs(25),
        silence_limit: Duration::from_secs(60),
    };

    #[test]
    fn a_silent_client_is_pinged_at_25_and_50_seconds_and_given_up_at_60() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut pulse = Pulse::new(RULES, start);
        assert_eq!(pulse.next(start), Duration::from_secs(25));
        assert_eq!(pulse.beat(at(24)), Beat::Quiet);
        assert_eq!(pulse.beat(at(25)), Beat::Ping);
        assert_eq!(pulse.beat(at(50)), Beat::Ping);
        assert_eq!(pulse.next(at(50)), Duration::from_secs(10));
        assert_eq!(pulse.beat(at(60)), Beat::Dead);
    }

    #[test]
    fn a_client_that_talks_is_pinged_all_the_same() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut pulse = Pulse::new(RULES, start);
        pulse.heard = at(24);
        assert_eq!(pulse.beat(at(25)), Beat::Ping, "a proxy may count only our direction");
    }

    #[test]
    fn forty_messages_may_come_at_once_and_twenty_a_second_after() {
        let start = Instant::now();
        let mut allowance = Allowance::new(Some(20), start);
        assert_eq!((0..50).filter(|_| allowance.take(start)).count(), 40);
        let later = start + Duration::from_secs(1);
        assert_eq!((0..50).filter(|_| allowance.take(later)).count(), 20);
    }
}

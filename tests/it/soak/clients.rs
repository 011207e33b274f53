//! Clients: those that behave, whose every message is looked at, and all the others.
//!
//! What a client meets that it must not is a fault, told at once and by name; so is whatever comes of
//! a machine that is too busy to run the client, unless the client sees by its own clock that it was
//! late.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType};
use serde_json::{Value, json};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error as Fault, Message, WebSocket};

use super::record::{Log, VIEWS, View};
use super::{GUARD, pause};

type Ws = WebSocket<TcpStream>;

/// How long the program waits for a request's head.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// The handshake of RFC 6455, section 1.3.
const HEAD: &str = "GET /ws/stats HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
                    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// What clients that stay until they are told to leave have in common.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stay {
    over: Arc<AtomicBool>,
    pub(crate) received: Arc<AtomicU64>,
    /// As the witness of everything counts: a snapshot is one publish and two messages.
    pub(crate) published: Arc<AtomicU64>,
}

impl Stay {
    pub(crate) fn note(&self, kind: &str, published: bool) {
        self.received.fetch_add(1, Ordering::SeqCst);
        if published && kind != "project_stats" {
            self.published.fetch_add(1, Ordering::SeqCst);
        }
    }

    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::SeqCst)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    pub(crate) fn leave(&self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

/// A client that reads all it gets until `over`, and closes then: what it saw, from its
/// subscription on.
pub(crate) fn listen(
    addr: SocketAddr,
    view: View,
    over: &dyn Fn() -> bool,
    note: &dyn Fn(&str),
) -> Result<Log, String> {
    let mut socket = meet(addr, dial)?;
    if let Some(project) = view {
        say(&mut socket, "subscribe", project)?;
    }
    let begun = Instant::now();
    let mut log = Log::default();
    let mut recording = view.is_none();
    let mut leaving = None;
    loop {
        if leaving.is_none() && recording && over() {
            leaving = Some(Instant::now());
            socket.close(None).map_err(|error| format!("closing: {error}"))?;
        }
        match socket.read() {
            Ok(Message::Text(text)) => {
                let kind = kind(&text)?;
                note(kind);
                match kind {
                    "subscribed" => recording = true,
                    "error" => return Err(text.to_string()),
                    _ if recording => log.add(kind, &text)?,
                    _ => {}
                }
            }
            Ok(Message::Close(close)) if leaving.is_none() => return Err(format!("{close:?}")),
            Ok(Message::Binary(_)) => return Err("a binary message".to_owned()),
            Ok(_) => {}
            Err(Fault::ConnectionClosed) if leaving.is_some() => return Ok(log),
            Err(Fault::Io(error)) if is_pause(&error) => {}
            Err(error) if leaving.is_none() => return Err(format!("cut: {error}")),
            Err(error) => return Err(format!("cut before its Close was answered: {error}")),
        }
        if leaving.is_some_and(|since| since.elapsed() > GUARD) {
            return Err("its Close is not answered".to_owned());
        }
        if !recording && begun.elapsed() > GUARD {
            return Err("its subscription is not answered".to_owned());
        }
    }
}

/// Two thousand clients, each followed by another when it goes.
#[derive(Debug)]
pub(crate) struct Crowd {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Seen>>,
}

/// What became of a crowd, or of one place in it.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Of the clients that behaved.
    pub(crate) logs: Vec<(View, Log)>,
    /// Clients that were cut off for being slow.
    pub(crate) evicted: u64,
    pub(crate) misbehaved: usize,
    /// What must not be: which client, when, what.
    pub(crate) faults: Vec<String>,
}

impl Crowd {
    pub(crate) fn start(addr: SocketAddr, clients: usize) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let begun = Instant::now();
        let place = |n: usize| {
            let over = Arc::clone(&over);
            let place = Place { addr, over, begun, number: n, dice: Dice::new(n as u64 + 1) };
            let thread = thread::Builder::new().name(format!("place-{n}")).stack_size(256 << 10);
            thread.spawn(|| place.run()).unwrap_or_else(|error| {
                panic!("no thread for client {n} (ulimit -u, or pids.max of the cgroup): {error}")
            })
        };
        let threads = (0..clients).map(place).collect();
        Self { over, threads }
    }

    pub(crate) fn end(self) -> Seen {
        self.over.store(true, Ordering::SeqCst);
        self.threads.into_iter().fold(Seen::default(), |mut all, thread| {
            let seen = thread.join().unwrap_or_else(|panic| {
                let words = panic.downcast_ref::<String>();
                Seen { faults: vec![format!("a panic: {words:?}")], ..Seen::default() }
            });
            all.logs.extend(seen.logs);
            all.evicted += seen.evicted;
            all.misbehaved += seen.misbehaved;
            all.faults.extend(seen.faults);
            all
        })
    }
}

/// One client at a time.
struct Place {
    addr: SocketAddr,
    over: Arc<AtomicBool>,
    begun: Instant,
    number: usize,
    dice: Dice,
}

impl Place {
    fn run(mut self) -> Seen {
        let mut seen = Seen::default();
        self.rest(3_000);
        while !self.is_over() {
            let since = Instant::now();
            let (kind, lived) = self.live(&mut seen);
            if let Err(why) = lived {
                let fault = format!(
                    "place {}, {:.1?} after the first: a client that {kind}, {:.1?} old: {why:.600}",
                    self.number,
                    self.begun.elapsed(),
                    since.elapsed()
                );
                eprintln!("{fault}");
                seen.faults.push(fault);
            }
        }
        seen
    }

    /// The life of one client: what it does, and what it met that it must not.
    fn live(&mut self, seen: &mut Seen) -> (&'static str, Result<(), String>) {
        if self.dice.below(100) < 60 {
            let view = if self.dice.below(2) == 0 { None } else { VIEWS[self.dice.index(5)] };
            let end = Instant::now() + Duration::from_millis(self.dice.below(30_000));
            let over = || self.is_over() || Instant::now() > end;
            let log = listen(self.addr, view, &over, &|_| {});
            let name = view.map_or("listens to everything", |_| "listens to a project");
            return (name, log.map(|log| seen.logs.push((view, log))));
        }
        seen.misbehaved += 1;
        let mut slow = |evicted| seen.evicted += u64::from(evicted);
        match self.dice.below(8) {
            0 => ("chooses", self.chooses()),
            1 => ("stalls", self.stalls().map(&mut slow)),
            2 => ("drips", self.drips().map(&mut slow)),
            3 => ("resets", self.resets()),
            4 => ("sends garbage", self.sends_garbage()),
            5 => ("sends garbage frames", self.sends_garbage_frames()),
            6 => ("floods", self.floods()),
            _ => ("comes and goes", self.comes_and_goes()),
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Waits, at most so many milliseconds, or until all is over.
    fn rest(&mut self, most: u64) {
        let end = Instant::now() + Duration::from_millis(self.dice.below(most));
        while Instant::now() < end && !self.is_over() {
            pause(end.saturating_duration_since(Instant::now()).min(Duration::from_millis(200)));
        }
    }

    /// Changes its subscriptions at random: each answer must be what it asked for, and no row of
    /// another project may come.
    fn chooses(&mut self) -> Result<(), String> {
        let mut socket = meet(self.addr, dial)?;
        let mut mine: BTreeSet<String> = BTreeSet::new();
        for _ in 0..self.dice.below(10) {
            let project = ["p0", "p1", "p2", "p3", "_standalone"][self.dice.index(5)];
            let (kind, answer) = match self.dice.below(4) {
                0 => {
                    say(&mut socket, "history", json!({"seconds": 1 + self.dice.below(300)}))?;
                    find(&mut socket, "history", &mine)?;
                    continue;
                }
                1 => {
                    say(&mut socket, "history", json!({"seconds": "x".repeat(100)}))?;
                    find(&mut socket, "error", &mine)?;
                    continue;
                }
                2 => {
                    mine.remove(project);
                    ("unsubscribe", "unsubscribed")
                }
                _ => {
                    mine.insert(project.to_owned());
                    ("subscribe", "subscribed")
                }
            };
            say(&mut socket, kind, json!([project]))?;
            let got = find(&mut socket, answer, &BTreeSet::new())?;
            if got["payload"] != json!(mine) {
                return Err(format!("{project}: {got}, where it has {mine:?}"));
            }
            self.rest(1_000);
        }
        Ok(())
    }

    /// Reads nothing for some time, perhaps after it has asked for a lot: whether it was cut off.
    fn stalls(&mut self) -> Result<bool, String> {
        let mut socket = meet(self.addr, dial_narrow)?;
        if self.dice.below(4) == 0 {
            // More than a socket holds, late in a round of the whole length; with what it says later
            // as many as it may at once, for else it could be closed for that.
            for _ in 0..38 {
                if say(&mut socket, "history", json!({"seconds": 300})).is_err() {
                    return Ok(true);
                }
            }
        }
        self.rest(40_000);
        catches_up(&mut socket)
    }

    /// Sends its head, and reads what it gets, a byte at a time: whether it was cut off as a client.
    fn drips(&mut self) -> Result<bool, String> {
        let stream = dial_narrow(self.addr).map_err(|error| format!("connecting: {error}"))?;
        for byte in HEAD.as_bytes() {
            if (&stream).write_all(&[*byte]).is_err() {
                return Ok(false);
            }
            pause(Duration::from_millis(self.dice.below(20)));
        }
        let mut read = Vec::new();
        for _ in 0..self.dice.below(300) {
            let mut byte = [0];
            match (&stream).read(&mut byte) {
                Ok(1) => read.extend(byte),
                _ => break,
            }
            self.rest(40);
        }
        match answer(&stream, read) {
            Ok(rest) => catches_up(&mut websocket(stream, rest)),
            // Its head took too long.
            Err(_) => Ok(false),
        }
    }

    /// Breaks the connection at some moment.
    fn resets(&mut self) -> Result<(), String> {
        let broken = |stream: &TcpStream| {
            rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO)).unwrap();
        };
        if self.dice.below(2) == 0 {
            broken(meet(self.addr, dial)?.get_ref());
        } else {
            let stream = dial(self.addr).map_err(|error| format!("connecting: {error}"))?;
            broken(&stream);
            let _ = (&stream).write_all(b"GET /ws/stats HT");
            self.rest(500);
        }
        Ok(())
    }

    /// Sends what is no HTTP.
    fn sends_garbage(&mut self) -> Result<(), String> {
        let mut stream = dial(self.addr).map_err(|error| format!("connecting: {error}"))?;
        let _ = stream.write_all(&self.dice.bytes());
        self.read_to_the_end(&mut stream);
        Ok(())
    }

    /// Sends what are no frames, or not for long.
    fn sends_garbage_frames(&mut self) -> Result<(), String> {
        let mut socket = meet(self.addr, dial)?;
        let stream = socket.get_mut();
        for _ in 0..self.dice.below(5) {
            let _ = stream.write_all(&self.dice.bytes());
            self.rest(100);
        }
        self.read_to_the_end(stream);
        Ok(())
    }

    fn read_to_the_end(&mut self, stream: &mut TcpStream) {
        let end = Instant::now() + Duration::from_millis(self.dice.below(8_000));
        let mut buffer = [0; 4096];
        while Instant::now() < end && !self.is_over() {
            match stream.read(&mut buffer) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if is_pause(&error) => {}
                Err(_) => return,
            }
        }
    }

    /// Sends more than it may, until it is told so.
    fn floods(&mut self) -> Result<(), String> {
        // `{}` in a frame whose mask is zero.
        const FRAMES: [[u8; 8]; 100] = [[0x81, 0x82, 0, 0, 0, 0, b'{', b'}']; 100];
        let mut socket = meet(self.addr, dial)?;
        let begun = Instant::now();
        loop {
            // Where it is closed already, the Close is still to be read.
            let _ = socket.get_mut().write_all(FRAMES.as_flattened());
            match socket.read() {
                Ok(Message::Close(Some(close))) if close.reason == "too many messages" => {
                    return match u16::from(close.code) {
                        1008 => Ok(()),
                        _ => Err(format!("{close:?}")),
                    };
                }
                Ok(Message::Close(close)) => return Err(format!("closed: {close:?}")),
                Ok(_) | Err(Fault::Io(_)) if begun.elapsed() < GUARD => {}
                Ok(_) | Err(Fault::Io(_)) => return Err("its flood goes on".to_owned()),
                Err(error) => return Err(format!("it was to get its Close, not {error}")),
            }
        }
    }

    fn comes_and_goes(&mut self) -> Result<(), String> {
        for _ in 0..self.dice.below(20) {
            drop(meet(self.addr, dial)?);
        }
        Ok(())
    }
}

/// Reads up to a message of this type; rows may be of these projects only, or of any.
fn find(socket: &mut Ws, kind: &str, projects: &BTreeSet<String>) -> Result<Value, String> {
    let begun = Instant::now();
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => {
                let message: Value =
                    serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
                if message["type"] == "container_stats" && !projects.is_empty() {
                    let rows = message["payload"].as_object().into_iter().flatten();
                    let mut of = rows.map(|(_, row)| row["project_id"].as_str());
                    if !of.all(|id| id.is_some_and(|id| projects.contains(id))) {
                        return Err(format!("it chose {projects:?}, and got {text}"));
                    }
                }
                if message["type"] == kind {
                    return Ok(message);
                }
            }
            Ok(Message::Close(close)) => return Err(format!("closed, awaiting {kind}: {close:?}")),
            Ok(_) => {}
            Err(Fault::Io(error)) if is_pause(&error) => {}
            Err(error) => return Err(format!("cut, awaiting {kind}: {error}")),
        }
        if begun.elapsed() > GUARD {
            return Err(format!("{kind} does not come"));
        }
    }
}

/// Reads on after some time without, and leaves: whether the client was cut off for being slow.
fn catches_up(socket: &mut Ws) -> Result<bool, String> {
    // Once this is answered nothing old waits any more, and what ends it then is no eviction.
    if say(socket, "subscribe", "p0").is_err() {
        return Ok(true);
    }
    let (mut since, mut caught_up) = (Instant::now(), false);
    loop {
        match socket.read() {
            Ok(Message::Text(text)) if kind(&text)? == "subscribed" => {
                (since, caught_up) = (Instant::now(), true);
                if socket.close(None).is_err() {
                    return Ok(false);
                }
            }
            // The answers of all clients are written one after the other: each may take its time.
            Ok(Message::Text(text)) if kind(&text)? == "history" => since = Instant::now(),
            Ok(Message::Close(Some(close))) if close.reason.starts_with("too slow") => {
                return Ok(true);
            }
            Ok(Message::Close(close)) if !caught_up => return Err(format!("closed: {close:?}")),
            Ok(_) => {}
            Err(Fault::Io(error)) if is_pause(&error) => {}
            Err(_) => return Ok(!caught_up),
        }
        if since.elapsed() > GUARD {
            return Err(format!("slow, and neither served nor cut off; caught up: {caught_up}"));
        }
    }
}

fn dial(addr: SocketAddr) -> io::Result<TcpStream> {
    with_timeouts(TcpStream::connect(addr)?)
}

/// With the smallest receive buffer there is.
fn dial_narrow(addr: SocketAddr) -> io::Result<TcpStream> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 2048)?;
    rustix::net::connect(&socket, &addr)?;
    with_timeouts(TcpStream::from(socket))
}

fn with_timeouts(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(GUARD))?;
    stream.set_write_timeout(Some(GUARD))?;
    Ok(stream)
}

/// Connects and becomes a WebSocket; anew where it was this client that took longer for its head
/// than it may.
fn meet(
    addr: SocketAddr,
    dial: impl Fn(SocketAddr) -> io::Result<TcpStream>,
) -> Result<Ws, String> {
    let begun = Instant::now();
    loop {
        let asked = Instant::now();
        let stream = dial(addr).map_err(|error| format!("connecting: {error}"))?;
        let sent = (&stream).write_all(HEAD.as_bytes());
        let took = asked.elapsed();
        let met = sent.map_err(|error| format!("its head: {error}"));
        match met.and_then(|()| answer(&stream, Vec::new())) {
            Ok(rest) => return Ok(websocket(stream, rest)),
            Err(_) if took >= HEAD_LIMIT && begun.elapsed() < GUARD => {}
            Err(why) => return Err(format!("its head took {took:.1?}, and then: {why}")),
        }
    }
}

/// Reads the answer to a handshake, of which this much has come: what follows it.
fn answer(mut stream: &TcpStream, mut read: Vec<u8>) -> Result<Vec<u8>, String> {
    loop {
        if let Some(at) = read.windows(4).position(|end| end == b"\r\n\r\n") {
            let rest = read.split_off(at + 4);
            let head = String::from_utf8_lossy(&read);
            if head.starts_with("HTTP/1.1 101 ") && head.contains(ACCEPT) {
                return Ok(rest);
            }
            return Err(format!("{head}{}", String::from_utf8_lossy(&rest)));
        }
        let mut buffer = [0; 1024];
        match stream.read(&mut buffer) {
            Ok(0) => return Err(format!("no more than {:?}", String::from_utf8_lossy(&read))),
            Ok(n) => read.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(format!("no answer: {error}")),
        }
    }
}

/// A client's WebSocket after its handshake; reads pause after half a second.
fn websocket(stream: TcpStream, rest: Vec<u8>) -> Ws {
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let config = WebSocketConfig::default().read_buffer_size(8 * 1024);
    let config = config.max_message_size(None).max_frame_size(None);
    WebSocket::from_partially_read(stream, rest, Role::Client, Some(config))
}

fn say(socket: &mut Ws, kind: &str, payload: impl Into<Value>) -> Result<(), String> {
    let text = json!({"type": kind, "payload": payload.into()}).to_string();
    socket.send(Message::text(text)).map_err(|error| format!("{kind}: {error}"))
}

/// The type of a message, which is its first field.
fn kind(text: &str) -> Result<&str, String> {
    let kind = text.strip_prefix("{\"type\":\"").and_then(|rest| rest.split('"').next());
    kind.ok_or_else(|| format!("no message: {text}"))
}

fn is_pause(error: &io::Error) -> bool {
    use ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}

/// Numbers that are the same in each run (xorshift64*, Vigna 2016).
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % most
    }

    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap()
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = 1 + self.index(300);
        (0..length).map(|_| self.below(256).to_le_bytes()[0]).collect()
    }
}

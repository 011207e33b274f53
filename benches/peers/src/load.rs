//! The load: many WebSocket clients on one thread, and a record of what they receive.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::{frames, stamp};

/// The source addresses of the clients: one has 28,000 ports, and fewer after a run.
const ADDRESSES: usize = 8;
/// Maximum number of handshakes at a time.
const WINDOW: usize = 256;
/// The size of the read buffer.
const BUFFER: usize = 256 * 1024;
/// The largest response to a handshake.
const HEAD: usize = 4096;
/// Longest time without progress while connecting.
const STALL: Duration = Duration::from_secs(15);

/// The clients of one server.
pub struct Load {
    target: Target,
    epoll: OwnedFd,
    clients: Vec<Client>,
    buffer: Vec<u8>,
    pub record: Record,
}

/// The server's address.
#[derive(Clone, Debug)]
pub struct Target {
    pub addr: SocketAddr,
    pub host: String,
    pub path: String,
}

struct Client {
    socket: Option<TcpStream>,
    stage: Stage,
    /// The bytes of an incomplete frame or handshake response.
    pending: Vec<u8>,
    /// The expected number of the next message.
    next: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    Handshake,
    Open,
    /// Open, but never read.
    Stopped,
}

/// What the clients received.
#[derive(Debug, Default)]
pub struct Record {
    /// The latency of each stamped message, in microseconds.
    pub latencies: Vec<u32>,
    /// By the number of the message.
    pub messages: Vec<Arrival>,
    /// The number of text and binary messages, and their bytes.
    pub deliveries: u64,
    pub bytes: u64,
    /// The messages that were skipped, and those that were repeated or late.
    pub gaps: u64,
    pub duplicates: u64,
    pub pings: u64,
    /// How connections ended (`1013`, `503`, `reset`) and how often.
    pub ends: BTreeMap<String, u64>,
    /// When the last message arrived.
    pub last: u64,
    /// The handshakes without a response yet.
    pending_handshakes: usize,
}

/// The arrivals of a message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Arrival {
    pub stamp: u64,
    pub last: u64,
    pub clients: u64,
}

impl Load {
    pub fn new(target: Target) -> io::Result<Self> {
        Ok(Self {
            target,
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            clients: Vec::new(),
            buffer: vec![0; BUFFER],
            record: Record::default(),
        })
    }

    /// Connects `count` more clients. Rejected ones are counted and recorded too. Returns the
    /// elapsed time.
    pub fn connect(&mut self, count: usize) -> io::Result<Duration> {
        let start = Instant::now();
        let first = self.clients.len();
        let mut last_progress = (start, 0);
        loop {
            let started = self.clients.len() - first;
            let pending_handshakes = self.record.pending_handshakes;
            let done = started - pending_handshakes;
            if done >= count {
                return Ok(start.elapsed());
            }
            if done > last_progress.1 {
                last_progress = (Instant::now(), done);
            } else if last_progress.0.elapsed() > STALL {
                return Err(io::Error::other(format!(
                    "{pending_handshakes} handshakes make no progress"
                )));
            }
            for _ in 0..WINDOW.saturating_sub(pending_handshakes).min(count - started) {
                self.start()?;
            }
            self.turn(Duration::from_millis(100))?;
        }
    }

    fn start(&mut self) -> io::Result<()> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let family =
            if self.target.addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        if self.target.addr.ip().is_loopback() && self.target.addr.is_ipv4() {
            let last = 1 + (self.clients.len() % ADDRESSES) as u8;
            rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, last), 0))?;
        }
        match rustix::net::connect(&socket, &self.target.addr) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        let token = EventData::new_u64(self.clients.len() as u64);
        epoll::add(&self.epoll, &socket, token, EventFlags::OUT)?;
        self.record.pending_handshakes += 1;
        self.clients.push(Client {
            socket: Some(socket.into()),
            stage: Stage::Connecting,
            pending: Vec::new(),
            next: 0,
        });
        Ok(())
    }

    /// The number of connected clients.
    pub fn open(&self) -> usize {
        self.clients.iter().filter(|c| c.socket.is_some() && c.stage == Stage::Open).count()
    }

    /// Sends a text message from each client. `text` gets the number of the client.
    pub fn say(&mut self, text: impl Fn(usize) -> String) {
        for (number, client) in self.clients.iter().enumerate() {
            if let Some(mut socket) = client.socket.as_ref() {
                // The first message, and small: it fits into the socket's buffer.
                let _ = socket.write(&frames::masked(1, text(number).as_bytes()));
            }
        }
    }

    /// Stops reading the last `count` clients.
    pub fn stop_reading(&mut self, count: usize) -> io::Result<()> {
        for client in self.clients.iter_mut().rev().take(count) {
            if let Some(socket) = &client.socket {
                sockopt::set_socket_recv_buffer_size(socket, 4096)?;
                epoll::delete(&self.epoll, socket)?;
            }
            client.stage = Stage::Stopped;
        }
        Ok(())
    }

    /// Reads until `done` returns true, or until `deadline`.
    pub fn run(&mut self, deadline: Instant, done: impl Fn(&Record) -> bool) -> io::Result<()> {
        while !done(&self.record) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.turn(left.min(Duration::from_millis(100)))?;
        }
        Ok(())
    }

    /// Waits once for ready sockets and reads them.
    fn turn(&mut self, timeout: Duration) -> io::Result<()> {
        let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
        let mut events = [MaybeUninit::<Event>::uninit(); 512];
        let (events, _) = match epoll::wait(&self.epoll, &mut events, Some(&timeout)) {
            Ok(events) => events,
            Err(Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for event in events {
            self.step(event.data.u64() as usize);
        }
        Ok(())
    }

    fn step(&mut self, number: usize) {
        let client = &mut self.clients[number];
        let Some(socket) = &mut client.socket else { return };
        if client.stage == Stage::Connecting {
            let request = format!(
                "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                self.target.path, self.target.host,
            );
            let token = EventData::new_u64(number as u64);
            let sent = socket.write_all(request.as_bytes());
            let sent = sent
                .and_then(|()| Ok(epoll::modify(&self.epoll, &*socket, token, EventFlags::IN)?));
            match sent {
                Ok(()) => client.stage = Stage::Handshake,
                Err(error) => self.record.end(client, &name(&error)),
            }
            return;
        }
        match socket.read(&mut self.buffer) {
            Ok(0) => self.record.end(client, "end of file"),
            Ok(n) => self.record.take(client, &self.buffer[..n]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => self.record.end(client, &name(&error)),
        }
    }
}

fn name(error: &io::Error) -> String {
    format!("{:?}", error.kind()).to_lowercase()
}

impl Record {
    /// Clears the record, to start a measurement.
    pub fn clear(&mut self) {
        let ends = std::mem::take(&mut self.ends);
        *self = Self { ends, pending_handshakes: self.pending_handshakes, ..Self::default() };
    }

    fn end(&mut self, client: &mut Client, how: &str) {
        client.socket = None;
        if matches!(client.stage, Stage::Connecting | Stage::Handshake) {
            self.pending_handshakes -= 1;
        }
        *self.ends.entry(how.to_owned()).or_default() += 1;
    }

    fn take(&mut self, client: &mut Client, bytes: &[u8]) {
        if client.stage == Stage::Open && client.pending.is_empty() {
            let used = self.frames(client, bytes);
            client.pending.extend_from_slice(&bytes[used..]);
            return;
        }
        let mut pending = std::mem::take(&mut client.pending);
        pending.extend_from_slice(bytes);
        let mut used = 0;
        if client.stage == Stage::Handshake {
            let Some(head) = pending.windows(4).position(|w| w == b"\r\n\r\n") else {
                if pending.len() > HEAD {
                    return self.end(client, "no response to the handshake");
                }
                client.pending = pending;
                return;
            };
            let status = String::from_utf8_lossy(pending.get(9..12).unwrap_or_default());
            if status != "101" {
                return self.end(client, &status);
            }
            client.stage = Stage::Open;
            self.pending_handshakes -= 1;
            used = head + 4;
        }
        used += self.frames(client, &pending[used..]);
        pending.drain(..used);
        if !pending.is_empty() {
            client.pending = pending;
        }
    }

    /// Handles all complete frames. Returns their length in bytes.
    fn frames(&mut self, client: &mut Client, bytes: &[u8]) -> usize {
        let now = stamp::now();
        let mut used = 0;
        while let Some(frame) = frames::first(&bytes[used..]) {
            used += frame.length;
            match frame.opcode {
                1 | 2 => self.message(client, frame.payload, now),
                8 => {
                    let code = frame.payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                    let code = code.map_or("close".to_owned(), |code| code.to_string());
                    if let Some(mut socket) = client.socket.as_ref() {
                        let _ = socket.write(&frames::masked(8, frame.payload));
                    }
                    self.end(client, &code);
                    return bytes.len();
                }
                9 => {
                    self.pings += 1;
                    if let Some(mut socket) = client.socket.as_ref() {
                        let _ = socket.write(&frames::masked(10, frame.payload));
                    }
                }
                _ => {}
            }
        }
        used
    }

    fn message(&mut self, client: &mut Client, payload: &[u8], now: u64) {
        self.deliveries += 1;
        self.bytes += payload.len() as u64;
        self.last = now;
        let Some((number, stamp)) = stamp::read(payload) else { return };
        if number < client.next {
            self.duplicates += 1;
            return;
        }
        self.gaps += number - client.next;
        client.next = number + 1;
        self.latencies.push((now.saturating_sub(stamp) / 1000).min(u32::MAX.into()) as u32);
        let index = number as usize;
        if self.messages.len() <= index {
            self.messages.resize(index + 1, Arrival::default());
        }
        let arrival = &mut self.messages[index];
        *arrival = Arrival { stamp, last: now, clients: arrival.clients + 1 };
    }
}

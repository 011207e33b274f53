//! A hub behind a server on a free port, and clients of it.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, Once};
use std::time::{Duration, Instant};

use crossbeam_channel::never;
use kentros::{ContainerStats, Hub, HubConfig, HubHandle, Message, Server, ServerConfig, Snapshot};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use tungstenite::client::client_with_config;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error as Fault, Message as Frame, WebSocket};

/// The longest that a test waits for anything: reached only where something is broken.
pub(crate) const GUARD: Duration = Duration::from_secs(20);
/// What a shutdown may take, whatever the clients do.
pub(crate) const SHUTDOWN: Duration = Duration::from_secs(5);

/// A server in front of a hub. The server is the first to go when a test ends.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) server: Server,
    pub(crate) hub: Hub,
}

impl Served {
    pub(crate) fn new() -> Self {
        Self::with(HubConfig::default(), ServerConfig::default())
    }

    pub(crate) fn with(hub: HubConfig, server: ServerConfig) -> Self {
        Self::of_hub(hub, |_| server)
    }

    /// A server whose sockets and pages use the hub in front of which it stands.
    pub(crate) fn of_hub(hub: HubConfig, server: impl FnOnce(&HubHandle) -> ServerConfig) -> Self {
        many_descriptors();
        let hub = Hub::spawn(hub).unwrap();
        let config = server(&hub.handle());
        let server = Server::bind("127.0.0.1:0", hub.handle(), config).unwrap();
        Self { server, hub }
    }

    pub(crate) fn handle(&self) -> HubHandle {
        self.hub.handle()
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// A client of the stats socket.
    pub(crate) fn client(&self) -> Ws {
        self.client_at("/ws/stats")
    }

    pub(crate) fn client_at(&self, path: &str) -> Ws {
        Ws::over(dial(self.addr()), self.addr(), path)
    }

    /// A client whose kernel takes little for it, so that it stalls soon once it stops reading.
    pub(crate) fn narrow_client(&self) -> Ws {
        Ws::over(dial_narrow(self.addr()), self.addr(), "/ws/stats")
    }

    /// Waits until the hub knows of exactly so many clients.
    pub(crate) fn until_clients(&self, n: usize) {
        let handle = self.handle();
        until(&format!("{n} clients"), || handle.client_count() == n);
    }
}

/// Tests hold hundreds of connections, and the usual limit of 1,024 descriptors makes a server
/// modest.
fn many_descriptors() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit).unwrap();
    });
}

/// A connection whose reads and writes give up after the guard.
pub(crate) fn dial(addr: SocketAddr) -> TcpStream {
    guarded(TcpStream::connect(addr).unwrap())
}

/// The same with the smallest receive buffer there is; it must be set before the connection.
pub(crate) fn dial_narrow(addr: SocketAddr) -> TcpStream {
    let socket = tcp_socket();
    sockopt::set_socket_recv_buffer_size(&socket, 2048).unwrap();
    rustix::net::connect(&socket, &addr).unwrap();
    guarded(TcpStream::from(socket))
}

/// An address where nobody listens and that nobody is given while the first part lives: only a
/// program that asks for this very port listens there.
///
/// A listener that was closed to have its port would not do: a program that another test starts
/// just then holds a copy of it until it runs, and connections to it are reset.
pub(crate) fn nowhere() -> (OwnedFd, SocketAddr) {
    let socket = tcp_socket();
    sockopt::set_socket_reuseaddr(&socket, true).unwrap();
    rustix::net::bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let addr = rustix::net::getsockname(&socket).unwrap().try_into().unwrap();
    (socket, addr)
}

/// A socket that is not connected yet.
pub(crate) fn tcp_socket() -> OwnedFd {
    // Or programs that other tests start would have it too.
    let flags = SocketFlags::CLOEXEC;
    rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap()
}

fn guarded(stream: TcpStream) -> TcpStream {
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(GUARD)).unwrap();
    stream.set_write_timeout(Some(GUARD)).unwrap();
    stream
}

/// Says that a test, or a part of one, was skipped. Not with `println!`: cargo shows what that
/// prints only of tests that fail.
pub(crate) fn say_skipped(test: &str, why: &str) {
    let _ = writeln!(io::stderr(), "SKIPPED {test}: {why}");
}

/// Set for a test that runs in a process of its own.
const ALONE: &str = "KENTROS_IT_ALONE";

/// Runs the test of this name again, alone in a process of its own, for what concerns a whole
/// process; `under` is a command to run it by, or nothing. Tells whether this is that process.
#[track_caller]
pub(crate) fn alone(name: &str, under: &[&str]) -> bool {
    if std::env::var_os(ALONE).is_some() {
        many_descriptors();
        return true;
    }
    let exe = std::env::current_exe().unwrap();
    let mut words = under.iter().map(OsStr::new).chain([exe.as_os_str()]);
    let child = Command::new(words.next().unwrap())
        .args(words)
        .args(["--exact", name, "--nocapture", "--test-threads=1", "--include-ignored"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let (out, words) =
        (String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
    assert!(child.status.success(), "{out}{words}");
    assert!(out.contains("1 passed"), "it ran: {out}");
    false
}

/// The warnings of this process, which runs one test alone.
pub(crate) struct Warnings(Mutex<Vec<String>>);

impl Warnings {
    pub(crate) fn of_this_process() -> &'static Self {
        static WARNINGS: Warnings = Warnings(Mutex::new(Vec::new()));
        log::set_logger(&WARNINGS).unwrap();
        log::set_max_level(log::LevelFilter::Warn);
        &WARNINGS
    }

    /// The lines so far.
    pub(crate) fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap()
    }
}

impl log::Log for Warnings {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        self.0.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}

/// How many descriptors and threads this process has.
pub(crate) fn belongings() -> (usize, usize) {
    let descriptors = fs::read_dir("/proc/self/fd").unwrap().count();
    (descriptors, fs::read_dir("/proc/self/task").unwrap().count())
}

/// The names of this process's threads.
pub(crate) fn thread_names() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    tasks
        .filter_map(|task| fs::read_to_string(task.unwrap().path().join("comm")).ok())
        .map(|name| name.trim().to_owned())
        .collect()
}

/// The memory this process has in use, bytes: what it has allocated and touched, not its code.
pub(crate) fn memory() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    1024 * line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap()
}

/// Waits until `condition` holds: for what nothing tells but a counter.
#[track_caller]
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + GUARD;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within {GUARD:?}");
        // Lets others run; a busy loop would keep a core from them.
        let _ = never::<()>().recv_timeout(Duration::from_millis(1));
    }
}

/// A connection that goes on where a signal interrupts it: other tests start and end processes.
#[derive(Debug)]
pub(crate) struct Steady(pub(crate) TcpStream);

impl Read for Steady {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        uninterrupted(|| self.0.read(buffer))
    }
}

impl Write for Steady {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        uninterrupted(|| self.0.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

pub(crate) fn uninterrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// A WebSocket client, tungstenite's own, that reads JSON messages.
#[derive(Debug)]
pub(crate) struct Ws(WebSocket<Steady>);

impl Ws {
    pub(crate) fn over(stream: TcpStream, addr: SocketAddr, path: &str) -> Self {
        let config = WebSocketConfig::default().read_buffer_size(16 * 1024);
        let config = config.max_message_size(None).max_frame_size(None);
        let url = format!("ws://{addr}{path}");
        let (socket, _) = client_with_config(&url, Steady(stream), Some(config)).unwrap();
        Self(socket)
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.0.get_ref().0
    }

    /// The next text or binary message, or Close; pings are answered on the way.
    #[track_caller]
    pub(crate) fn frame(&mut self) -> Frame {
        loop {
            match self.0.read().expect("a message within the guard") {
                Frame::Ping(_) | Frame::Pong(_) => {}
                frame => return frame,
            }
        }
    }

    /// The next message, which must be one JSON document in a text frame.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Value {
        match self.frame() {
            Frame::Text(text) => serde_json::from_str(&text).expect("one JSON document a frame"),
            other => panic!("a text message was due, not {other:?}"),
        }
    }

    /// The next message, which must be of this type.
    #[track_caller]
    pub(crate) fn expect(&mut self, kind: &str) -> Value {
        let message = self.next();
        assert_eq!(message["type"], kind, "{message}");
        message
    }

    /// The next message of this type; others are passed over.
    #[track_caller]
    pub(crate) fn find(&mut self, kind: &str) -> Value {
        loop {
            let message = self.next();
            if message["type"] == kind {
                return message;
            }
        }
    }

    /// Everything before the next message of this type, which is read too.
    #[track_caller]
    pub(crate) fn all_until(&mut self, kind: &str) -> Vec<Value> {
        let mut before = Vec::new();
        loop {
            let message = self.next();
            if message["type"] == kind {
                return before;
            }
            before.push(message);
        }
    }

    #[track_caller]
    pub(crate) fn send_frame(&mut self, frame: Frame) {
        self.0.send(frame).unwrap();
    }

    #[track_caller]
    pub(crate) fn send(&mut self, kind: &str, payload: impl Into<Value>) {
        let message = json!({"type": kind, "payload": payload.into()});
        self.send_frame(Frame::text(message.to_string()));
    }

    /// Subscribes, and reads up to the answer: the ids subscribed to. All that the hub was asked
    /// to do before is done then.
    #[track_caller]
    pub(crate) fn subscribe(&mut self, projects: impl Into<Value>) -> Value {
        self.send("subscribe", projects);
        self.find("subscribed")["payload"].clone()
    }

    /// Reads up to the Close and on to a clean end of the stream: the code and the reason.
    #[track_caller]
    pub(crate) fn closed(&mut self) -> (u16, String) {
        let close = loop {
            if let Frame::Close(close) = self.frame() {
                break close.expect("a Close has its code");
            }
        };
        match self.0.read() {
            Err(Fault::ConnectionClosed) => {}
            other => panic!("after its Close the connection must end cleanly, not {other:?}"),
        }
        (close.code.into(), close.reason.to_string())
    }

    /// Closes from this side, and reads up to the end.
    #[track_caller]
    pub(crate) fn close(mut self) {
        self.0.close(None).unwrap();
        loop {
            match self.0.read() {
                Ok(_) => {}
                Err(Fault::ConnectionClosed) => return,
                Err(other) => panic!("a Close must be answered, not {other:?}"),
            }
        }
    }
}

/// Whether a read has only run into its timeout.
pub(crate) fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// A message of type `n` that counts.
pub(crate) fn numbered(n: usize) -> Message {
    Message::new("n", n)
}

/// A row as a sampler makes it; its memory is `bytes`.
pub(crate) fn row(project: &str, name: &str, bytes: u64) -> (String, ContainerStats) {
    let mut stats = ContainerStats::new(project, name);
    stats.memory_usage = Some(bytes);
    stats.timestamp = Some("2026-01-01T00:00:00Z".to_owned());
    stats.age_ms = Some(0);
    (format!("{project}-{name}"), stats)
}

pub(crate) fn snapshot(rows: Vec<(String, ContainerStats)>) -> Snapshot {
    Snapshot::from_rows(rows, &[], Duration::MAX).unwrap()
}

/// A snapshot of one container of each project, whose memory is `bytes`.
pub(crate) fn one_each(projects: &[&str], bytes: u64) -> Snapshot {
    snapshot(projects.iter().map(|project| row(project, "web", bytes)).collect())
}

/// The keys of an object, in order.
#[track_caller]
pub(crate) fn keys(object: &Value) -> Vec<&str> {
    object.as_object().expect("an object").keys().map(String::as_str).collect()
}

//! An engine in this process: it speaks the engine's API on a Unix socket of its own, from answers
//! recorded of a real one, and fails on demand in every way a real one can.
//!
//! A thread a connection, with keep-alive; a collector that feeds all streams in its passes and,
//! unless it is a direct engine, answers one-shots. A container's CPU counter follows the clock exactly, so that its
//! figure is known however late a sample is.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use kentros::DockerHost;
use rustix::net::{RecvFlags, recv};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A guard against hanging for ever; no test waits for it.
const GUARD: Duration = Duration::from_secs(30);
/// The time between two passes of the collector: long enough not to be taken for a direct engine.
const PASS: Duration = Duration::from_millis(400);

/// How it answers a call for one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Direct,
    Stream,
    Podman,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Never answers.
    Hang,
    /// Answers as ever, once it has been healed.
    Wait,
    /// Sends the head and half a body, and then nothing.
    HangMidBody,
    /// Sends half a body and closes.
    Cut,
    /// Sends something that is no JSON.
    Garbage,
    /// Sends something that is no HTTP.
    NoHttp,
    /// Sends 200 and nothing.
    Empty,
    /// Sends a body that has no end.
    Endless,
    /// Sends this status.
    Status(u16),
}

/// A container to be added.
#[derive(Clone, Debug)]
pub(crate) struct Fake {
    pub(crate) name: String,
    pub(crate) project: Option<String>,
    pub(crate) state: String,
    /// Cores it burns.
    pub(crate) cores: f64,
    pub(crate) network_mode: String,
}

impl Fake {
    pub(crate) fn new(name: &str, project: &str) -> Self {
        Self {
            name: name.to_owned(),
            project: Some(project.to_owned()),
            state: "running".to_owned(),
            cores: 0.25,
            network_mode: "default".to_owned(),
        }
    }

    fn labels(&self) -> BTreeMap<String, String> {
        let label =
            |key: &str, value: &str| (format!("com.docker.compose.{key}"), value.to_owned());
        let project = self.project.as_deref().map(|p| label("project", p));
        project.into_iter().chain([label("service", &self.name)]).collect()
    }
}

#[derive(Clone, Debug)]
struct Container {
    fake: Fake,
    /// Where its counter stood at zero.
    started: OffsetDateTime,
    created: i64,
    /// What lists say of it.
    listed: String,
}

#[derive(Debug)]
struct State {
    kind: Kind,
    /// API version it names, and the lowest.
    api: &'static str,
    containers: BTreeMap<String, Container>,
    /// By call (`list`) or call and container (`oneshot ID`).
    faults: HashMap<String, Fault>,
    calls: HashMap<String, usize>,
    /// Every request line, without the query, the version and the ids.
    requests: BTreeSet<String>,
    events: Vec<String>,
    pass: u64,
    /// The time between two passes.
    period: Duration,
    /// What a call for one sample takes.
    slowness: Duration,
    streams: Vec<Feed>,
    /// Runs out with each stop: its threads end.
    run: u64,
    running: bool,
    hung: bool,
    connections: Vec<Weak<UnixStream>>,
    /// Connections being served.
    open: usize,
    next: u32,
}

/// A stream of one container's samples.
#[derive(Debug)]
struct Feed {
    id: String,
    stream: Arc<UnixStream>,
    /// It never gets anything any more.
    hangs: bool,
}

type Shared = Arc<(Mutex<State>, Condvar)>;

/// The engine. It stops when it is dropped.
#[derive(Debug)]
pub(crate) struct FakeEngine {
    path: PathBuf,
    shared: Shared,
    threads: Vec<JoinHandle<()>>,
}

impl FakeEngine {
    /// Starts an engine without containers.
    pub(crate) fn start(kind: Kind) -> Self {
        let mut engine = Self::absent(kind);
        engine.restart();
        engine
    }

    /// An engine that is not there yet: [`restart`](Self::restart) starts it.
    pub(crate) fn absent(kind: Kind) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("kentros-fake-{}-{number}.sock", std::process::id()));
        let state = State {
            kind,
            api: "1.41",
            containers: BTreeMap::new(),
            faults: HashMap::new(),
            calls: HashMap::new(),
            requests: BTreeSet::new(),
            events: Vec::new(),
            pass: 0,
            period: PASS,
            slowness: Duration::ZERO,
            streams: Vec::new(),
            run: 0,
            running: false,
            hung: false,
            connections: Vec::new(),
            open: 0,
            next: 0,
        };
        let shared = Arc::new((Mutex::new(state), Condvar::new()));
        Self { path, shared, threads: Vec::new() }
    }

    pub(crate) fn host(&self) -> DockerHost {
        format!("unix://{}", self.path.display()).parse().unwrap()
    }

    /// The same engine over TCP: a thread copies bytes both ways, until the engine is dropped.
    pub(crate) fn tcp(&self) -> DockerHost {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = format!("tcp://localhost:{}", listener.local_addr().unwrap().port());
        let path = self.path.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let Ok(engine) = UnixStream::connect(&path) else { return };
                let (mut from_client, mut to_client) = (client.try_clone().unwrap(), client);
                let (mut from_engine, mut to_engine) = (engine.try_clone().unwrap(), engine);
                thread::spawn(move || {
                    let _ = io::copy(&mut from_client, &mut to_engine);
                    let _ = to_engine.shutdown(Shutdown::Both);
                });
                thread::spawn(move || {
                    let _ = io::copy(&mut from_engine, &mut to_client);
                    let _ = to_client.shutdown(Shutdown::Both);
                });
            }
        });
        host.parse().unwrap()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.shared)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let out = change(&mut self.state());
        self.shared.1.notify_all();
        out
    }

    /// Starts it anew: every counter begins at zero.
    pub(crate) fn restart(&mut self) {
        self.stop();
        let listener = UnixListener::bind(&self.path).unwrap();
        self.change(|state| {
            state.running = true;
            for container in state.containers.values_mut() {
                container.started = OffsetDateTime::now_utc();
            }
        });
        let run = self.state().run;
        let shared = Arc::clone(&self.shared);
        self.threads.push(thread::spawn(move || accept(&listener, &shared, run)));
        let shared = Arc::clone(&self.shared);
        self.threads.push(thread::spawn(move || collect(&shared, run)));
    }

    /// Stops it: every connection ends, and the socket is gone.
    pub(crate) fn stop(&mut self) {
        let connections = self.change(|state| {
            state.run += 1;
            state.running = false;
            state.streams.clear();
            std::mem::take(&mut state.connections)
        });
        for connection in connections.iter().filter_map(Weak::upgrade) {
            let _ = connection.shutdown(Shutdown::Both);
        }
        // Wakes the thread that accepts.
        let _ = UnixStream::connect(&self.path);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
        let _ = fs::remove_file(&self.path);
    }

    /// Accepts and reads, and answers nothing, until told otherwise.
    pub(crate) fn hang(&self, hung: bool) {
        self.change(|state| state.hung = hung);
    }

    /// From now on the collector takes this long from one pass to the next.
    pub(crate) fn keeps_pace(&self, period: Duration) {
        self.change(|state| state.period = period);
    }

    /// From now on a call for one sample, or for a stream of them, takes this long to its answer.
    pub(crate) fn is_slow(&self, slowness: Duration) {
        self.change(|state| state.slowness = slowness);
    }

    pub(crate) fn speaks(&self, api: &'static str) {
        self.change(|state| state.api = api);
    }

    /// Adds a container; its id.
    pub(crate) fn add(&self, fake: Fake) -> String {
        self.change(|state| {
            state.next += 1;
            let id = format!("{:064x}", state.next);
            let (started, created) = (OffsetDateTime::now_utc(), 1_795_379_301);
            let listed = listed(&id, &fake, created, state.kind);
            state.containers.insert(id.clone(), Container { fake, started, created, listed });
            id
        })
    }

    /// Removes a container, without an event.
    pub(crate) fn remove(&self, id: &str) {
        self.change(|state| state.containers.remove(id));
    }

    /// Changes a container as `change` does.
    pub(crate) fn edit(&self, id: &str, change: impl FnOnce(&mut Fake)) {
        self.change(|state| {
            let container = state.containers.get_mut(id).unwrap();
            change(&mut container.fake);
            container.listed = listed(id, &container.fake, container.created, state.kind);
        });
    }

    /// Begins its counters anew, as a restart of the container does.
    pub(crate) fn reset(&self, id: &str) {
        self.change(|state| {
            state.containers.get_mut(id).unwrap().started = OffsetDateTime::now_utc();
        });
    }

    /// Tells an event of a container.
    pub(crate) fn event(&self, id: &str, action: &str, attributes: &[(&str, &str)]) {
        self.change(|state| {
            let now = OffsetDateTime::now_utc();
            let mut about = match state.containers.get(id) {
                Some(container) => {
                    let mut about: BTreeMap<String, String> = container.fake.labels();
                    about.insert("name".to_owned(), container.fake.name.clone());
                    about
                }
                None => BTreeMap::new(),
            };
            about.extend(attributes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
            // As from API 1.52 on: without `status`, `id` and `from`.
            let event = json!({
                "Type": "container", "Action": action, "Actor": {"ID": id, "Attributes": about},
                "scope": "local", "time": now.unix_timestamp(),
                "timeNano": i64::try_from(now.unix_timestamp_nanos()).unwrap(),
            });
            state.events.push(event.to_string());
        });
    }

    /// A line among the events, as it stands.
    pub(crate) fn raw_event(&self, line: &str) {
        self.change(|state| state.events.push(line.to_owned()));
    }

    /// Makes a call fail: `list`, or `oneshot ID` for one container.
    pub(crate) fn fault(&self, call: &str, fault: Fault) {
        self.change(|state| state.faults.insert(call.to_owned(), fault));
    }

    pub(crate) fn heal(&self, call: &str) {
        self.change(|state| state.faults.remove(call));
    }

    /// How often a call was made: `list`, `oneshot` for all containers, `oneshot ID` for one.
    pub(crate) fn calls(&self, call: &str) -> usize {
        self.state().calls.get(call).copied().unwrap_or(0)
    }

    /// Every request seen so far, as in `GET /containers/{id}/json`.
    pub(crate) fn requests(&self) -> BTreeSet<String> {
        self.state().requests.clone()
    }

    /// Every kind of call made so far, as [`calls`](Self::calls) takes it.
    pub(crate) fn calls_made(&self) -> Vec<String> {
        self.state().calls.keys().cloned().collect()
    }

    /// How many calls were made so far.
    pub(crate) fn all_calls(&self) -> usize {
        self.state().calls.iter().filter(|(call, _)| !call.contains(' ')).map(|(_, n)| n).sum()
    }

    /// Waits until a call was made this often.
    pub(crate) fn wait_for_calls(&self, call: &str, times: usize) {
        let made = |state: &mut State| state.calls.get(call).copied().unwrap_or(0) < times;
        let (state, waited) = self.shared.1.wait_timeout_while(self.state(), GUARD, made).unwrap();
        assert!(!waited.timed_out(), "{call} not called {times} times: {:?}", state.calls);
    }

    /// Connections that are open.
    pub(crate) fn connections(&self) -> usize {
        self.state().open
    }

    /// Waits until every connection to it has ended.
    pub(crate) fn wait_until_alone(&self) {
        let busy = |state: &mut State| state.open > 0;
        let (_state, waited) = self.shared.1.wait_timeout_while(self.state(), GUARD, busy).unwrap();
        assert!(!waited.timed_out(), "connections are still open");
    }

    /// Waits for so many passes of the collector; not at all where the engine does not run.
    pub(crate) fn wait_for_passes(&self, passes: u64) {
        let state = self.state();
        let until = state.pass + passes;
        let short = |state: &mut State| state.running && state.pass < until;
        let (_state, waited) = self.shared.1.wait_timeout_while(state, GUARD, short).unwrap();
        assert!(!waited.timed_out());
    }
}

impl Drop for FakeEngine {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The state, also after a failed assertion elsewhere.
fn lock(shared: &Shared) -> MutexGuard<'_, State> {
    shared.0.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: &UnixListener, shared: &Shared, run: u64) {
    let mut threads = Vec::new();
    for stream in listener.incoming() {
        let stream = Arc::new(stream.unwrap());
        let mut state = lock(shared);
        if state.run != run {
            break;
        }
        state.connections.retain(|connection| connection.strong_count() > 0);
        state.connections.push(Arc::downgrade(&stream));
        state.open += 1;
        drop(state);
        let shared = Arc::clone(shared);
        threads.push(thread::spawn(move || {
            // The client may go away at any time.
            let _ = serve(&stream, &shared, run);
            let _ = stream.shutdown(Shutdown::Both);
            lock(&shared).open -= 1;
            shared.1.notify_all();
        }));
    }
    for thread in threads {
        thread.join().unwrap();
    }
}

/// The collector's loop.
fn collect(shared: &Shared, run: u64) {
    let changed = &shared.1;
    let mut state = lock(shared);
    let mut due = Instant::now() + state.period;
    while state.run == run {
        let left = due.saturating_duration_since(Instant::now());
        state = changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        if Instant::now() >= due {
            state.pass += 1;
            due = Instant::now() + state.period;
            changed.notify_all();
            if !state.hung {
                let fed: Vec<_> = std::mem::take(&mut state.streams)
                    .into_iter()
                    .map(|feed| {
                        let (sample, fault) = state.next_sample(&feed.id);
                        (feed, sample, fault)
                    })
                    .collect();
                drop(state);
                let fed =
                    fed.into_iter().filter_map(|(feed, sample, fault)| feed.go_on(sample, fault));
                let fed: Vec<Feed> = fed.collect();
                state = lock(shared);
                if state.run == run {
                    state.streams.extend(fed);
                }
            }
        }
    }
}

impl State {
    fn next_sample(&self, id: &str) -> (Option<String>, Option<Fault>) {
        let sample = self.containers.get(id).map(|container| sample(id, container, true));
        let fault = self.faults.get(&format!("stream {id}")).or(self.faults.get("stream"));
        (sample, fault.copied())
    }
}

impl Feed {
    /// Sends a sample, or fails; the feed, if it goes on. Without a sample it ends.
    fn go_on(mut self, sample: Option<String>, fault: Option<Fault>) -> Option<Self> {
        let mut stream = &*self.stream;
        let sent = match (sample, fault) {
            _ if self.hangs => return Some(self),
            (Some(sample), None) => write_chunk(stream, &sample),
            (Some(_), Some(Fault::Hang | Fault::HangMidBody | Fault::Wait)) => {
                self.hangs = true;
                return Some(self);
            }
            (Some(_), Some(Fault::Endless)) => {
                thread::spawn(move || endless(&self.stream));
                return None;
            }
            (Some(_), Some(Fault::Garbage)) => {
                let _ = write_chunk(stream, "{\"read\": garbage}}");
                Err(io::ErrorKind::Other.into())
            }
            (Some(_), Some(Fault::Cut)) => {
                let _ = stream.write_all(b"1000\r\n{\"read\":\"2026-");
                Err(io::ErrorKind::Other.into())
            }
            // Of these faults the others show when the client comes again.
            (None, _) | (Some(_), Some(Fault::NoHttp | Fault::Empty | Fault::Status(_))) => {
                let _ = stream.write_all(b"0\r\n\r\n");
                Err(io::ErrorKind::Other.into())
            }
        };
        if sent.is_err() {
            let _ = self.stream.shutdown(Shutdown::Both);
            return None;
        }
        Some(self)
    }
}

fn write_chunk(mut stream: &UnixStream, line: &str) -> io::Result<()> {
    stream.write_all(format!("{:x}\r\n{line}\n\r\n", line.len() + 1).as_bytes())
}

/// Chunks of spaces until the client goes away.
fn endless(mut stream: &UnixStream) -> io::Result<()> {
    let spaces = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    loop {
        stream.write_all(spaces.as_bytes())?;
    }
}

fn serve(stream: &Arc<UnixStream>, shared: &Shared, run: u64) -> io::Result<()> {
    let mut reader = BufReader::new(&**stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
        lock(shared).requests.insert(crate::proxy::judge(&line).0);
        assert!(line.starts_with("GET "), "only GET: {line}");
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
        }
        Connection { stream, shared, run }.answer(&target)?;
    }
}

struct Connection<'a> {
    stream: &'a Arc<UnixStream>,
    shared: &'a Shared,
    run: u64,
}

impl Connection<'_> {
    fn answer(&self, target: &str) -> io::Result<()> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = match path.split_once("/v") {
            Some(("", rest)) if rest.starts_with(|c: char| c.is_ascii_digit()) => {
                rest.find('/').map_or(path, |at| &rest[at..])
            }
            _ => path,
        };
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let (call, id) = match parts[..] {
            ["_ping"] => ("ping", None),
            ["version"] => ("version", None),
            ["events"] => ("events", None),
            ["containers", "json"] => ("list", None),
            ["containers", id, "json"] => ("inspect", Some(id)),
            ["containers", id, "stats"] if query.contains("one-shot") => ("oneshot", Some(id)),
            ["containers", id, "stats"] => ("stream", Some(id)),
            ["libpod", "containers", "stats"] => ("podman", None),
            _ => panic!("a call outside the list: {target}"),
        };
        let key = id.map(|id| format!("{call} {id}"));
        let fault = {
            let mut state = lock(self.shared);
            *state.calls.entry(call.to_owned()).or_default() += 1;
            if let Some(key) = &key {
                *state.calls.entry(key.clone()).or_default() += 1;
            }
            let of = |key: &str| state.faults.get(key).copied();
            key.as_deref().and_then(of).or_else(|| of(call))
        };
        self.shared.1.notify_all();
        drop(self.wait(|state| !state.hung)?);
        match fault {
            Some(Fault::Wait) => {
                let waits = |state: &State| state.faults.values().any(|f| *f == Fault::Wait);
                drop(self.wait(|state| !waits(state))?);
            }
            Some(fault) => return self.fail(fault),
            None => {}
        }
        match (call, id) {
            ("ping", _) => self.json(200, "OK"),
            ("version", _) => self.version(),
            ("events", _) => self.events(),
            ("list", _) => self.list(query),
            ("inspect", Some(id)) => self.inspect(id),
            ("oneshot", Some(id)) => self.one_shot(id),
            ("stream", Some(id)) => self.stream(id),
            _ => self.podman(),
        }
    }

    /// Waits; an error when the engine stops meanwhile, or the client has gone.
    fn wait(&self, until: impl Fn(&State) -> bool) -> io::Result<MutexGuard<'_, State>> {
        let mut state = lock(self.shared);
        loop {
            if state.run != self.run || self.is_alone() {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            if until(&state) {
                return Ok(state);
            }
            // Each pass of the collector wakes it.
            state = self.shared.1.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn is_alone(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        matches!(recv(self.stream, &mut [0][..], flags), Ok((_, 0)))
    }

    fn fail(&self, fault: Fault) -> io::Result<()> {
        let mut stream = &**self.stream;
        match fault {
            Fault::Hang | Fault::Wait => drop(self.wait(|_| false)?),
            Fault::HangMidBody => {
                self.head(200, "Content-Length: 1000\r\n")?;
                stream.write_all(b"{\"read\":\"2026-")?;
                drop(self.wait(|_| false)?);
            }
            Fault::Cut => {
                self.head(200, "Content-Length: 1000\r\n")?;
                stream.write_all(b"{\"read\":\"2026-")?;
                return Err(io::ErrorKind::Other.into());
            }
            Fault::Garbage => return self.json(200, "{\"read\": garbage}}\n"),
            Fault::NoHttp => {
                stream.write_all(b"\x15\x03\x01\x00\x02\x02\x16 no http at all\r\n\r\n")?;
                return Err(io::ErrorKind::Other.into());
            }
            Fault::Empty => return self.json(200, ""),
            Fault::Endless => {
                self.head(200, "Transfer-Encoding: chunked\r\n")?;
                return endless(stream);
            }
            Fault::Status(status) => {
                return self.json(status, "{\"message\":\"no, says the fake engine\"}\n");
            }
        }
        Ok(())
    }

    fn head(&self, status: u16, more: &str) -> io::Result<()> {
        let (api, podman) = {
            let state = lock(self.shared);
            (state.api, state.kind == Kind::Podman)
        };
        let server = if podman { "Libpod/4.3.1 (linux)" } else { "Docker/20.10.24 (linux)" };
        let libpod = if podman { "Libpod-Api-Version: 4.3.1\r\n" } else { "" };
        let head = format!(
            "HTTP/1.1 {status} X\r\nApi-Version: {api}\r\nServer: {server}\r\n{libpod}{more}\r\n"
        );
        let mut stream = &**self.stream;
        stream.write_all(head.as_bytes())
    }

    fn json(&self, status: u16, body: &str) -> io::Result<()> {
        self.head(status, &format!("Content-Length: {}\r\n", body.len()))?;
        let mut stream = &**self.stream;
        stream.write_all(body.as_bytes())
    }

    fn chunk(&self, line: &str) -> io::Result<()> {
        write_chunk(self.stream, line)
    }

    fn version(&self) -> io::Result<()> {
        let (api, podman) = {
            let state = lock(self.shared);
            (state.api, state.kind == Kind::Podman)
        };
        let mut version: Value = recorded(include_str!("../fixtures/docker-20.10-version.json"));
        version["ApiVersion"] = api.into();
        if podman {
            version["Version"] = "4.3.1".into();
        }
        self.json(200, &version.to_string())
    }

    fn list(&self, query: &str) -> io::Result<()> {
        let state = lock(self.shared);
        let all = query.contains("all=1");
        let listed: Vec<&str> = state
            .containers
            .iter()
            .filter(|(id, c)| {
                let runs = matches!(c.fake.state.as_str(), "running" | "paused");
                (runs || all) && (!query.contains("filters") || query.contains(id.as_str()))
            })
            .map(|(_, container)| container.listed.as_str())
            .collect();
        let listed = format!("[{}]", listed.join(","));
        drop(state);
        self.json(200, &listed)
    }

    fn inspect(&self, id: &str) -> io::Result<()> {
        let state = lock(self.shared);
        let Some(container) = state.containers.get(id) else {
            drop(state);
            return self.json(404, "{\"message\":\"No such container\"}\n");
        };
        let mut answer = recorded(include_str!("../fixtures/docker-20.10-inspect.json"));
        answer["State"]["StartedAt"] = container.started.format(&Rfc3339).unwrap().into();
        answer["HostConfig"]["NetworkMode"] = container.fake.network_mode.clone().into();
        drop(state);
        self.json(200, &answer.to_string())
    }

    /// As long as a slow engine needs for an answer about one container.
    fn take_time(&self) {
        let slowness = lock(self.shared).slowness;
        if !slowness.is_zero() {
            let _ = crossbeam_channel::after(slowness).recv();
        }
    }

    fn one_shot(&self, id: &str) -> io::Result<()> {
        let (kind, pass) = {
            let state = lock(self.shared);
            (state.kind, state.pass)
        };
        // Of two passes the first may end at once, and then it would be taken for a direct engine.
        let state = self.wait(|state| kind != Kind::Stream || state.pass > pass + 1)?;
        // A direct engine before 29 names neither.
        let named = kind != Kind::Direct;
        let sample = state.containers.get(id).map(|container| sample(id, container, named));
        drop(state);
        self.take_time();
        match sample {
            Some(sample) => self.json(200, &sample),
            None => self.json(404, "{\"message\":\"No such container\"}\n"),
        }
    }

    /// The collector sends the samples.
    fn stream(&self, id: &str) -> io::Result<()> {
        self.take_time();
        self.head(200, "Transfer-Encoding: chunked\r\n")?;
        let feed = Feed { id: id.to_owned(), stream: Arc::clone(self.stream), hangs: false };
        lock(self.shared).streams.push(feed);
        Ok(())
    }

    fn podman(&self) -> io::Result<()> {
        self.head(200, "Transfer-Encoding: chunked\r\n")?;
        let mut pass = lock(self.shared).pass;
        loop {
            let state = self.wait(|state| state.pass > pass && !state.hung)?;
            pass = state.pass;
            let now = OffsetDateTime::now_utc();
            let running = state.containers.iter().filter(|(_, c)| c.fake.state == "running");
            let samples: Vec<Value> = running
                .map(|(id, container)| {
                    json!({
                        "AvgCPU": 6.1, "ContainerID": id, "Name": container.fake.name,
                        "PerCPU": null, "CPU": 6.1, "CPUNano": counter(container, now),
                        "CPUSystemNano": 424_931,
                        "SystemNano": u64::try_from(now.unix_timestamp_nanos()).unwrap(),
                        "MemUsage": 110_592, "MemLimit": 3_052_957_696_u64,
                        "MemPerc": 0.003_6, "NetInput": 10, "NetOutput": 20, "BlockInput": 0,
                        "BlockOutput": 262_144, "PIDs": 2, "UpTime": 1, "Duration": 1,
                    })
                })
                .collect();
            drop(state);
            self.chunk(&json!({"Error": null, "Stats": samples}).to_string())?;
        }
    }

    fn events(&self) -> io::Result<()> {
        self.head(200, "Transfer-Encoding: chunked\r\n")?;
        let mut told = lock(self.shared).events.len();
        loop {
            let state = self.wait(|state| state.events.len() > told && !state.hung)?;
            let lines: Vec<String> = state.events[told..].to_vec();
            told = state.events.len();
            drop(state);
            for line in lines {
                self.chunk(&line)?;
            }
        }
    }
}

fn recorded(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The CPU time used by `now`, nanoseconds.
fn counter(container: &Container, now: OffsetDateTime) -> u64 {
    let elapsed = (now - container.started).whole_nanoseconds();
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let used = (elapsed as f64 * container.fake.cores) as u64;
    used
}

/// A recorded answer with gaps for what differs, so that thousands of them cost little.
struct Template(Vec<String>);

impl Template {
    /// `"@@"` marks a gap.
    fn new(answer: &Value) -> Self {
        Self(answer.to_string().split("\"@@\"").map(str::to_owned).collect())
    }

    /// The answer with these values, in the order of the names of their members.
    fn with(&self, values: &[Value]) -> String {
        assert_eq!(self.0.len(), values.len() + 1);
        let gaps = values.iter().map(Value::to_string).chain([String::new()]);
        self.0.iter().zip(gaps).fold(String::new(), |all, (part, gap)| all + part + &gap)
    }
}

/// An element of the list of containers.
static LISTED: LazyLock<Template> = LazyLock::new(|| {
    let mut entry = recorded(include_str!("../fixtures/docker-20.10-list.json"))[0].take();
    for member in ["Id", "Names", "Created", "State", "Labels", "HostConfig"] {
        entry[member] = "@@".into();
    }
    Template::new(&entry)
});

fn listed(id: &str, fake: &Fake, created: i64, kind: Kind) -> String {
    let host = match kind {
        // Its lists say nothing of the host's configuration.
        Kind::Podman => Value::Null,
        Kind::Direct | Kind::Stream => json!({ "NetworkMode": fake.network_mode }),
    };
    let names = json!([format!("/{}", fake.name)]);
    let labels = json!(fake.labels());
    let state = fake.state.as_str().into();
    LISTED.with(&[created.into(), host, id.into(), labels, names, state])
}

/// Samples: with a network and without, each with id and name and without.
static SAMPLES: LazyLock<[[Template; 2]; 2]> = LazyLock::new(|| {
    let mut sample = recorded(include_str!("../fixtures/docker-20.10-sample.json"));
    sample["cpu_stats"]["cpu_usage"]["total_usage"] = "@@".into();
    for member in ["read", "id", "name"] {
        sample[member] = "@@".into();
    }
    let without = |mut sample: Value, members: &[&str]| {
        for member in members {
            sample.as_object_mut().unwrap().remove(*member);
        }
        Template::new(&sample)
    };
    let both = |sample: &Value, more: &[&str]| {
        let nameless = [more, &["id", "name"]].concat();
        [without(sample.clone(), more), without(sample.clone(), &nameless)]
    };
    [both(&sample, &[]), both(&sample, &["networks"])]
});

fn sample(id: &str, container: &Container, named: bool) -> String {
    let fake = &container.fake;
    if !matches!(fake.state.as_str(), "running" | "paused") {
        return include_str!("../fixtures/docker-20.10-sample-stopped.json").replace('\n', "");
    }
    let now = OffsetDateTime::now_utc();
    let (cpu, read) = (counter(container, now).into(), now.format(&Rfc3339).unwrap().into());
    let [with_name, nameless] = &SAMPLES[usize::from(fake.network_mode == "host")];
    if named {
        with_name.with(&[cpu, id.into(), format!("/{}", fake.name).into(), read])
    } else {
        nameless.with(&[cpu, read])
    }
}

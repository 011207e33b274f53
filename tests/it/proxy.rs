//! The Engine API calls that the README lists: checked with a strict proxy in front of the socket.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use kentros::DockerSource;

use crate::harness::fake_engine::{FakeContainer, FakeEngine, Kind};
use crate::harness::real_engine::{RealEngine, unique};
use crate::harness::{Served, Ws};

/// Every Engine API call of kentros, as the README lists them. `{id}` is a container id.
const PROMISED: [&str; 6] = [
    "GET /_ping",
    "GET /version",
    "GET /events",
    "GET /containers/json",
    "GET /containers/{id}/json",
    "GET /containers/{id}/stats",
];
/// The longest request head that the proxy accepts.
const MAX_HEAD: usize = 16 << 10;

/// A proxy in front of an engine's socket, like those in common use: it forwards GET requests for
/// ping, version, events and containers, and rejects all others with 403. It stops when it is
/// dropped.
struct Proxy {
    path: PathBuf,
    shared: Arc<Mutex<Shared>>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stopped: bool,
    /// Every request, without its query and version, and with `{id}` for ids.
    requests: BTreeSet<String>,
    refused: Vec<String>,
    sockets: Vec<UnixStream>,
    threads: Vec<JoinHandle<()>>,
}

impl Proxy {
    fn start(engine: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("kentros-proxy-{}-{number}.sock", std::process::id());
        let path = std::env::temp_dir().join(name);
        let engine = engine.strip_prefix("unix://").expect("the engine's Unix socket").to_owned();
        let listener = UnixListener::bind(&path).unwrap();
        let shared: Arc<Mutex<Shared>> = Arc::default();
        let all = Arc::clone(&shared);
        let accept = thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let mut mine = all.lock().unwrap();
                if mine.stopped {
                    return;
                }
                let Ok(engine) = UnixStream::connect(&engine) else { continue };
                mine.sockets.extend([client.try_clone().unwrap(), engine.try_clone().unwrap()]);
                let (back, front) = (engine.try_clone().unwrap(), client.try_clone().unwrap());
                let shared = Arc::clone(&all);
                mine.threads.push(thread::spawn(move || {
                    let _ = forward(&client, &engine, &shared);
                    let _ = client.shutdown(Shutdown::Both);
                    let _ = engine.shutdown(Shutdown::Both);
                }));
                mine.threads.push(thread::spawn(move || {
                    let _ = io::copy(&mut &back, &mut &front);
                    let _ = front.shutdown(Shutdown::Both);
                    let _ = back.shutdown(Shutdown::Both);
                }));
            }
        });
        Self { path, shared, threads: vec![accept] }
    }

    fn source(&self) -> DockerSource {
        DockerSource::new(format!("unix://{}", self.path.display()).parse().unwrap())
    }

    fn requests(&self) -> BTreeSet<String> {
        self.shared.lock().unwrap().requests.clone()
    }

    fn refused(&self) -> Vec<String> {
        self.shared.lock().unwrap().refused.clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let Ok(mut shared) = self.shared.lock() else { return };
        shared.stopped = true;
        for socket in shared.sockets.drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
        self.threads.append(&mut shared.threads);
        drop(shared);
        // Wakes the accepting thread.
        let _ = UnixStream::connect(&self.path);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        let _ = fs::remove_file(&self.path);
    }
}

/// Forwards requests until one is rejected. A GET has no body, so a request is its head.
fn forward(
    mut client: &UnixStream,
    mut engine: &UnixStream,
    all: &Mutex<Shared>,
) -> io::Result<()> {
    while let Some(head) = read_head(client)? {
        let (request, allowed) = judge(&head);
        let mut shared = all.lock().unwrap();
        shared.requests.insert(request.clone());
        if !allowed {
            shared.refused.push(request);
            drop(shared);
            let body = "{\"message\":\"forbidden\"}";
            let length = body.len();
            let answer =
                format!("HTTP/1.1 403 Forbidden\r\nContent-Length: {length}\r\n\r\n{body}");
            return client.write_all(answer.as_bytes());
        }
        drop(shared);
        engine.write_all(head.as_bytes())?;
    }
    Ok(())
}

/// The next request head, or `None` at the end of the stream.
fn read_head(mut client: &UnixStream) -> io::Result<Option<String>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= MAX_HEAD || client.read(&mut byte)? == 0 {
            return Ok(None);
        }
        head.extend(byte);
    }
    Ok(Some(String::from_utf8_lossy(&head).into_owned()))
}

/// The request with `{id}` for ids and without version and query, and whether it is allowed.
pub(crate) fn judge(head: &str) -> (String, bool) {
    let mut words = head.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split('?').next().unwrap_or_default();
    let parts = path.trim_start_matches('/').split('/');
    let is_version = |part: &str| part.starts_with('v') && part[1..].starts_with(char::is_numeric);
    let general = parts.enumerate().filter(|(n, part)| *n > 0 || !is_version(part));
    let general = general.map(|(_, part)| {
        let is_id = part.len() == 64 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_id { "{id}" } else { part }
    });
    let path = format!("/{}", general.collect::<Vec<_>>().join("/"));
    let allowed = method == "GET"
        && (["/_ping", "/version", "/events"].contains(&path.as_str())
            || path.starts_with("/containers/"));
    (format!("{method} {path}"), allowed)
}

#[test]
fn the_test_proxy_allows_only_get_of_the_listed_paths() {
    let id = "0123456789abcdef".repeat(4);
    for (head, request, allowed) in [
        ("GET /_ping HTTP/1.1\r\n".to_owned(), "GET /_ping", true),
        (format!("GET /v1.41/containers/{id}/stats?x=1 H"), "GET /containers/{id}/stats", true),
        ("POST /containers/create H".to_owned(), "POST /containers/create", false),
        ("GET /v1.41/info H".to_owned(), "GET /info", false),
        ("HEAD /_ping H".to_owned(), "HEAD /_ping", false),
    ] {
        assert_eq!(judge(&head), (request.to_owned(), allowed));
    }
}

#[test]
fn sampling_works_behind_a_strict_socket_proxy() {
    let Some(engine) = RealEngine::find("sampling_works_behind_a_strict_socket_proxy") else {
        return;
    };
    let project = unique("proxied");
    let sleep = ["/bin/sleep", "1000"];
    let first = engine.start(&project, "first", &sleep);
    let proxy = Proxy::start(&engine.host.to_string());
    let served = Served::new();
    let source = proxy.source();
    served.handle().start_stats_streamer(Duration::from_secs(1), source).unwrap();
    let mut client = served.client();
    client.subscribe(project.as_str());
    wait_for_cpu(&mut client, &first.id);
    // Only an event reports it now: the next listing is half a minute away.
    let second = engine.start(&project, "second", &sleep);
    wait_for_event(&mut client, &second.id, "start");
    wait_for_cpu(&mut client, &second.id);
    second.act("kill");
    wait_for_event(&mut client, &second.id, "die");
    let list = client.find("project_list");
    let named = |id: &str| list["payload"].to_string().contains(id);
    assert!(named(&first.id) && named(&second.id), "{list}");
    assert_eq!(proxy.refused(), Vec::<String>::new());
    drop(served);
    let requests = proxy.requests();
    let requests: Vec<&str> = requests.iter().map(String::as_str).collect();
    for request in &requests {
        assert!(PROMISED.contains(request), "{request} is not in the README's list");
    }
    for promised in PROMISED {
        assert!(requests.contains(&promised), "{promised} is listed but not called: {requests:?}");
    }
    println!("PROXY requests: {requests:?}");
}

#[test]
fn every_sampling_mode_works_behind_a_strict_socket_proxy() {
    for kind in [Kind::Direct, Kind::Stream] {
        let engine = FakeEngine::start(kind);
        let id = engine.add(FakeContainer::new("web", "shop"));
        let proxy = Proxy::start(&engine.host().to_string());
        let served = Served::new();
        served.handle().start_stats_streamer(Duration::from_secs(1), proxy.source()).unwrap();
        wait_for_cpu(&mut served.client(), &id);
        assert_eq!(proxy.refused(), Vec::<String>::new(), "{kind:?}");
    }
}

/// For each kind of engine, with events and a restart.
#[test]
fn every_engine_call_is_a_get_from_the_documented_list() {
    for kind in [Kind::Direct, Kind::Stream, Kind::Podman] {
        let mut engine = FakeEngine::start(kind);
        let id = engine.add(FakeContainer::new("web", "shop"));
        let served = Served::new();
        let source = DockerSource::new(engine.host());
        let interval = Duration::from_millis(100);
        served.handle().start_stats_streamer(interval, source).unwrap();
        let mut client = served.client();
        wait_for_cpu(&mut client, &id);
        let second = engine.add(FakeContainer::new("db", "shop"));
        engine.event(&second, "start", &[]);
        wait_for_cpu(&mut client, &second);
        engine.stop();
        while client.find("engine_status")["payload"]["state"] != "unreachable" {}
        engine.restart();
        while client.find("engine_status")["payload"]["state"] != "connected" {}
        wait_for_cpu(&mut client, &id);
        drop(served);
        let requests = engine.requests();
        assert!(requests.contains("GET /containers/json"), "{kind:?}: {requests:?}");
        let podman = "GET /libpod/containers/stats";
        assert_eq!(requests.contains(podman), kind == Kind::Podman, "{requests:?}");
        for request in requests {
            let promised = PROMISED.contains(&request.as_str()) || request == podman;
            assert!(promised, "{kind:?}: {request}");
        }
    }
}

/// Waits for a CPU value of this container.
fn wait_for_cpu(client: &mut Ws, id: &str) {
    while !client.find("container_stats")["payload"][id]["cpu_percent"].is_number() {}
}

/// Waits for this event of this container.
fn wait_for_event(client: &mut Ws, id: &str, status: &str) {
    loop {
        let event = &client.find("project_status")["payload"];
        if event["container"]["id"] == id && event["status"] == status {
            return;
        }
    }
}

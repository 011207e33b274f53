//! A proxy in front of an engine's socket that allows only the calls kentros needs.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use kentros::{DockerHost, DockerSource};

/// The longest request head that the proxy accepts.
const MAX_HEAD: usize = 16 << 10;

/// A proxy in front of an engine's socket, like those in common use: it forwards GET requests for
/// ping, version, events and containers, and rejects all others with 403. It stops when it is
/// dropped.
pub(crate) struct StrictProxy {
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

impl StrictProxy {
    pub(crate) fn start(engine: &DockerHost) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("kentros-proxy-{}-{number}.sock", std::process::id());
        let path = std::env::temp_dir().join(name);
        let engine = engine.to_string();
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

    pub(crate) fn source(&self) -> DockerSource {
        DockerSource::new(format!("unix://{}", self.path.display()).parse().unwrap())
    }

    pub(crate) fn requests(&self) -> BTreeSet<String> {
        self.shared.lock().unwrap().requests.clone()
    }

    pub(crate) fn refused(&self) -> Vec<String> {
        self.shared.lock().unwrap().refused.clone()
    }
}

impl Drop for StrictProxy {
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

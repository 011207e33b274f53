//! The HTTP server of the fake engine: one thread per connection, with keep-alive.

use std::io::{self, BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use rustix::net::{RecvFlags, recv};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::state::{Shared, State, lock};
use super::{Fault, GUARD, Kind};

/// Accepts connections until the engine stops.
pub(super) fn accept(listener: &UnixListener, shared: &Shared, run: u64) {
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
            // The client may disconnect at any time.
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

fn serve(stream: &Arc<UnixStream>, shared: &Shared, run: u64) -> io::Result<()> {
    let mut reader = BufReader::new(&**stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
        lock(shared).requests.insert(crate::harness::strict_proxy::judge(&line).0);
        assert!(line.starts_with("GET "), "not a GET: {line}");
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
        }
        Connection { stream, shared, run }.respond(&target)?;
    }
}

pub(super) struct Connection<'a> {
    pub(super) stream: &'a Arc<UnixStream>,
    pub(super) shared: &'a Shared,
    run: u64,
}

impl Connection<'_> {
    fn respond(&self, target: &str) -> io::Result<()> {
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
            _ => panic!("not an allowed call: {target}"),
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
        // Like a fault that hangs, this must not outlast the guard.
        let deadline = Instant::now() + GUARD;
        drop(self.wait(|state| !state.hung || Instant::now() > deadline)?);
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
            ("events", _) => self.events(query),
            ("list", _) => self.list(query),
            ("inspect", Some(id)) => self.inspect(id),
            ("oneshot", Some(id)) => self.one_shot(id),
            ("stream", Some(id)) => self.stream(id),
            _ => self.podman(),
        }
    }

    /// Waits for a condition. Fails when the engine stops or the client disconnects.
    pub(super) fn wait(&self, until: impl Fn(&State) -> bool) -> io::Result<MutexGuard<'_, State>> {
        let mut state = lock(self.shared);
        loop {
            if state.run != self.run || self.is_disconnected() {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            if until(&state) {
                return Ok(state);
            }
            // Each pass of the collector wakes this thread.
            state = self.shared.1.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn is_disconnected(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        matches!(recv(self.stream, &mut [0][..], flags), Ok((_, 0)))
    }

    pub(super) fn head(&self, status: u16, more: &str) -> io::Result<()> {
        let (api, podman, now) = {
            let state = lock(self.shared);
            (state.api, state.kind == Kind::Podman, OffsetDateTime::now_utc() + state.clock_ahead)
        };
        let date = now.format(&Rfc2822).unwrap().replace("+0000", "GMT");
        let server = if podman { "Libpod/4.3.1 (linux)" } else { "Docker/20.10.24 (linux)" };
        let libpod = if podman { "Libpod-Api-Version: 4.3.1\r\n" } else { "" };
        let head = format!(
            "HTTP/1.1 {status} X\r\nApi-Version: {api}\r\nDate: {date}\r\nServer: {server}\r\n\
             {libpod}{more}\r\n"
        );
        let mut stream = &**self.stream;
        stream.write_all(head.as_bytes())
    }

    pub(super) fn json(&self, status: u16, body: &str) -> io::Result<()> {
        self.head(status, &format!("Content-Length: {}\r\n", body.len()))?;
        let mut stream = &**self.stream;
        stream.write_all(body.as_bytes())
    }
}

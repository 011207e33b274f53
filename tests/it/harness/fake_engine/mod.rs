//! A Docker Engine in this process. It serves the Engine API on its own Unix socket, with responses
//! recorded from real engines, and fails on demand in all the ways a real one can.
//!
//! A collector sends a sample on each stream at each of its passes. Unless the engine is a direct
//! one, calls for one sample wait for the collector too.

mod containers;
mod faults;
mod responses;
mod server;
mod state;
mod streams;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use kentros::DockerHost;
use serde_json::json;
use time::OffsetDateTime;

pub(crate) use containers::FakeContainer;
use containers::{Container, listed};
pub(crate) use faults::Fault;
use state::{Shared, State, lock};

use super::GUARD;

/// How it responds to a call for one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// At once.
    Direct,
    /// After the next pass of the collector.
    Stream,
    /// As Podman, with the samples of all containers in one stream.
    Podman,
}

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

    /// An engine that does not run yet. [`restart`](Self::restart) starts it.
    pub(crate) fn absent(kind: Kind) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("kentros-fake-{}-{number}.sock", std::process::id()));
        let shared = Arc::new((Mutex::new(State::new(kind)), Condvar::new()));
        Self { path, shared, threads: Vec::new() }
    }

    pub(crate) fn host(&self) -> DockerHost {
        format!("unix://{}", self.path.display()).parse().unwrap()
    }

    /// The address of a TCP proxy to this engine.
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

    /// Restarts it. All counters start at zero.
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
        self.threads.push(thread::spawn(move || server::accept(&listener, &shared, run)));
        let shared = Arc::clone(&self.shared);
        self.threads.push(thread::spawn(move || streams::collect(&shared, run)));
    }

    /// Stops it: closes all connections and removes the socket.
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
        // Wakes the accepting thread.
        let _ = UnixStream::connect(&self.path);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
        let _ = fs::remove_file(&self.path);
    }

    /// While it is hung, it accepts connections and reads requests without responding.
    pub(crate) fn hang(&self, hung: bool) {
        self.change(|state| state.hung = hung);
    }

    /// Sets the time from one pass of the collector to the next.
    pub(crate) fn set_period(&self, period: Duration) {
        self.change(|state| state.period = period);
    }

    /// Sets the delay of a response to a call for one sample, or for a stream of them.
    pub(crate) fn set_latency(&self, latency: Duration) {
        self.change(|state| state.latency = latency);
    }

    /// Sets the API version that it reports.
    pub(crate) fn set_api_version(&self, api: &'static str) {
        self.change(|state| state.api = api);
    }

    /// Sets its own version.
    pub(crate) fn set_version(&self, version: &'static str) {
        self.change(|state| state.version = Some(version));
    }

    /// Adds a container and returns its id.
    pub(crate) fn add(&self, fake: FakeContainer) -> String {
        self.change(|state| {
            state.added += 1;
            let id = format!("{:064x}", state.added);
            let (started, created) = (OffsetDateTime::now_utc(), 1_795_379_301);
            let listed = listed(&id, &fake, created, state.kind);
            state.containers.insert(id.clone(), Container { fake, started, created, listed });
            id
        })
    }

    /// Sends these elements, each with a comma, so often as a list instead of the containers.
    pub(crate) fn set_list(&self, elements: &str, times: usize) {
        self.change(|state| state.list = Some((elements.into(), times)));
    }

    /// Removes a container, without an event.
    pub(crate) fn remove(&self, id: &str) {
        self.change(|state| state.containers.remove(id));
    }

    /// Changes a container, without an event.
    pub(crate) fn edit(&self, id: &str, change: impl FnOnce(&mut FakeContainer)) {
        self.change(|state| {
            let container = state.containers.get_mut(id).unwrap();
            change(&mut container.fake);
            container.listed = listed(id, &container.fake, container.created, state.kind);
        });
    }

    /// Resets its counters, as a restart of the container does.
    pub(crate) fn reset(&self, id: &str) {
        self.change(|state| {
            state.containers.get_mut(id).unwrap().started = OffsetDateTime::now_utc();
        });
    }

    /// Sends an event of a container.
    pub(crate) fn event(&self, id: &str, action: &str, attributes: &[(&str, &str)]) {
        self.change(|state| {
            let now = OffsetDateTime::now_utc() + state.clock_ahead;
            let mut about = match state.containers.get(id) {
                Some(container) => {
                    let mut about: BTreeMap<String, String> = container.fake.labels();
                    about.insert("name".to_owned(), container.fake.name.clone());
                    about
                }
                None => BTreeMap::new(),
            };
            about.extend(attributes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
            // As since API 1.52, without `status`, `id` and `from`.
            let event = json!({
                "Type": "container", "Action": action, "Actor": {"ID": id, "Attributes": about},
                "scope": "local", "time": now.unix_timestamp(),
                "timeNano": i64::try_from(now.unix_timestamp_nanos()).unwrap(),
            });
            state.events.push(event.to_string());
        });
    }

    /// Sends a line as an event.
    pub(crate) fn raw_event(&self, line: &str) {
        self.change(|state| state.events.push(line.to_owned()));
    }

    /// Closes the connections of all event streams.
    pub(crate) fn cut_events(&self) {
        self.change(|state| state.event_cuts += 1);
    }

    /// Sets the engine's clock ahead of this machine's.
    pub(crate) fn set_clock_ahead(&self, ahead: time::Duration) {
        self.change(|state| state.clock_ahead = ahead);
    }

    /// Makes a call fail: `list`, or `oneshot ID` for one container only.
    pub(crate) fn fault(&self, call: &str, fault: Fault) {
        self.change(|state| state.faults.insert(call.to_owned(), fault));
    }

    pub(crate) fn heal(&self, call: &str) {
        self.change(|state| state.faults.remove(call));
    }

    /// The number of calls so far: `list`, `oneshot` of all containers, `oneshot ID` of one.
    pub(crate) fn calls(&self, call: &str) -> usize {
        self.state().calls.get(call).copied().unwrap_or(0)
    }

    /// All requests so far, such as `GET /containers/{id}/json`.
    pub(crate) fn requests(&self) -> BTreeSet<String> {
        self.state().requests.clone()
    }

    /// The keys of all calls so far, as [`calls`](Self::calls) takes them.
    pub(crate) fn call_keys(&self) -> Vec<String> {
        self.state().calls.keys().cloned().collect()
    }

    /// The total number of calls so far.
    pub(crate) fn total_calls(&self) -> usize {
        self.state().calls.iter().filter(|(call, _)| !call.contains(' ')).map(|(_, n)| n).sum()
    }

    /// Waits until a call has been made this often.
    pub(crate) fn wait_for_calls(&self, call: &str, times: usize) {
        let fewer = |state: &mut State| state.calls.get(call).copied().unwrap_or(0) < times;
        let (state, waited) = self.shared.1.wait_timeout_while(self.state(), GUARD, fewer).unwrap();
        assert!(
            !waited.timed_out(),
            "{call} not called {times} times within {GUARD:?}: {:?}",
            state.calls
        );
    }

    /// The number of open connections.
    pub(crate) fn connections(&self) -> usize {
        self.state().open
    }

    /// Waits until all connections are closed.
    pub(crate) fn wait_until_disconnected(&self) {
        let busy = |state: &mut State| state.open > 0;
        let (_state, waited) = self.shared.1.wait_timeout_while(self.state(), GUARD, busy).unwrap();
        assert!(!waited.timed_out(), "connections are still open");
    }

    /// Waits for this many passes of the collector, or until the engine stops.
    pub(crate) fn wait_for_passes(&self, passes: u64) {
        let state = self.state();
        let until = state.pass + passes;
        let short = |state: &mut State| state.running && state.pass < until;
        let (_state, waited) = self.shared.1.wait_timeout_while(state, GUARD, short).unwrap();
        assert!(!waited.timed_out(), "no pass of the collector within {GUARD:?}");
    }
}

impl Drop for FakeEngine {
    fn drop(&mut self) {
        self.stop();
    }
}

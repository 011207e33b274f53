//! The state that all threads of the fake engine share.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::containers::Container;
use super::streams::Feed;
use super::{Fault, Kind};

/// The time between two passes of the collector: long enough that kentros does not take the engine
/// for a direct one.
const PERIOD: Duration = Duration::from_millis(400);

#[derive(Debug)]
pub(super) struct State {
    pub(super) kind: Kind,
    /// The API version that it reports.
    pub(super) api: &'static str,
    /// Its own version, if not the usual one.
    pub(super) version: Option<&'static str>,
    pub(super) containers: BTreeMap<String, Container>,
    /// The key is a call (`list`) or a call and a container (`oneshot ID`).
    pub(super) faults: HashMap<String, Fault>,
    pub(super) calls: HashMap<String, usize>,
    /// The list of containers to send instead of that of `containers`.
    /// It repeats elements with commas.
    pub(super) list: Option<(Arc<str>, usize)>,
    /// All requests, without query, version and ids.
    pub(super) requests: BTreeSet<String>,
    pub(super) events: Vec<String>,
    /// The number of times that the event streams were cut.
    pub(super) event_cuts: u64,
    /// How far the engine's clock is ahead of this machine's.
    pub(super) clock_ahead: time::Duration,
    /// The number of passes that the collector has made.
    pub(super) pass: u64,
    /// The time between two passes.
    pub(super) period: Duration,
    /// The delay of a response about one container.
    pub(super) latency: Duration,
    pub(super) streams: Vec<Feed>,
    /// The number of stops. The threads of an earlier run end.
    pub(super) run: u64,
    pub(super) running: bool,
    pub(super) hung: bool,
    pub(super) connections: Vec<Weak<UnixStream>>,
    /// The number of connections being served.
    pub(super) open: usize,
    /// The number of containers added.
    pub(super) added: u32,
}

impl State {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            api: "1.41",
            version: None,
            containers: BTreeMap::new(),
            faults: HashMap::new(),
            calls: HashMap::new(),
            list: None,
            requests: BTreeSet::new(),
            events: Vec::new(),
            event_cuts: 0,
            clock_ahead: time::Duration::ZERO,
            pass: 0,
            period: PERIOD,
            latency: Duration::ZERO,
            streams: Vec::new(),
            run: 0,
            running: false,
            hung: false,
            connections: Vec::new(),
            open: 0,
            added: 0,
        }
    }
}

/// The state, and a signal for each change of it.
pub(super) type Shared = Arc<(Mutex<State>, Condvar)>;

/// Locks the state, also after a failed assertion in another thread.
pub(super) fn lock(shared: &Shared) -> MutexGuard<'_, State> {
    shared.0.lock().unwrap_or_else(PoisonError::into_inner)
}

//! What the stats have to share at a hub: the newest snapshot, the history, the engine's counters,
//! and the streamers that know whether it answers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::Receiver;

use super::published::PublishedSnapshot;
use super::snapshot::history::History;
use crate::rate_limited::RateLimitedWarning;

/// Whether an engine answers, and how often it was called; see
/// [`HubHandle::engine_counters`](crate::HubHandle::engine_counters).
///
/// ```
/// use kentros::{Hub, HubConfig};
///
/// let hub = Hub::spawn(HubConfig::default())?;
/// let counters = hub.handle().engine_counters();
/// assert!(!counters.up && counters.calls == 0);
/// # Ok::<(), kentros::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineCounters {
    /// Whether the last reading of a stats streamer succeeded.
    pub up: bool,
    /// Calls that the source has made to its engine.
    pub calls: u64,
    /// Calls of those that failed.
    pub errors: u64,
    /// `project_status` messages that were not published: more than a hundred came in a second, or
    /// the hub had no room.
    pub dropped: u64,
}

/// One per hub: an [extension](crate::HubHandle::extension) of it.
#[derive(Default)]
pub(super) struct StatsState {
    latest: Mutex<Option<Arc<PublishedSnapshot>>>,
    history: Mutex<History>,
    streamers: Mutex<Vec<Checked>>,
    up: AtomicBool,
    calls: AtomicU64,
    errors: AtomicU64,
    dropped: AtomicU64,
    /// Bytes of history on their way to clients.
    pub(super) history_sending: Mutex<usize>,
    pub(super) too_many_subscriptions: RateLimitedWarning,
}

/// A streamer whose source can be checked, until it has ended.
struct Checked {
    check: Arc<dyn Fn(CheckResponder) + Send + Sync>,
    ended: Receiver<()>,
}

impl Checked {
    fn runs(&self) -> bool {
        // Nothing is ever sent: the channel disconnects when the streamer has ended.
        self.ended.try_recv().is_err_and(|error| error.is_empty())
    }
}

/// Called once, from any thread, with the reason why a reading would fail.
pub(super) type CheckResponder = Box<dyn FnOnce(Result<(), String>) + Send>;

impl StatsState {
    pub(super) fn set_latest(&self, snapshot: Option<Arc<PublishedSnapshot>>) {
        *lock(&self.latest) = snapshot;
    }

    pub(super) fn latest(&self) -> Option<Arc<PublishedSnapshot>> {
        lock(&self.latest).clone()
    }

    /// What the streamers have read, for clients that come later. Held for as long as it takes to
    /// add a reading or to copy it.
    pub(super) fn history(&self) -> MutexGuard<'_, History> {
        lock(&self.history)
    }

    pub(super) fn add_streamer(
        &self,
        check: impl Fn(CheckResponder) + Send + Sync + 'static,
        ended: Receiver<()>,
    ) {
        let mut streamers = lock(&self.streamers);
        streamers.retain(Checked::runs);
        streamers.push(Checked { check: Arc::new(check), ended });
    }

    /// Has the newest streamer say whether its source would answer; without any, all is well.
    pub(super) fn check(&self, responder: CheckResponder) {
        let check = {
            let mut streamers = lock(&self.streamers);
            streamers.retain(Checked::runs);
            streamers.last().map(|streamer| Arc::clone(&streamer.check))
        };
        match check {
            Some(check) => check(responder),
            None => responder(Ok(())),
        }
    }

    pub(super) fn set_engine(&self, up: bool, calls: u64, errors: u64) {
        self.up.store(up, Ordering::Relaxed);
        self.calls.store(calls, Ordering::Relaxed);
        self.errors.store(errors, Ordering::Relaxed);
    }

    #[cfg(feature = "docker")]
    pub(super) fn count_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn counters(&self) -> EngineCounters {
        EngineCounters {
            up: self.up.load(Ordering::Relaxed),
            calls: self.calls.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }
}

pub(super) fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

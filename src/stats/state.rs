//! The state of the stats, shared by a hub's streamers, sessions and endpoints.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crossbeam_channel::Receiver;

use super::latest::LatestSnapshot;
use super::readiness::{HealthResponder, ReadinessCheck};
use super::snapshot::history::History;
use crate::Snapshot;
use crate::lock::lock;
use crate::rate_limited::RateLimitedWarning;

/// Whether the engine is up, and how often it was called; see
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
    /// Whether the last collection of a stats streamer succeeded.
    pub up: bool,
    /// Total calls to the engine.
    pub calls: u64,
    /// Failed calls.
    pub errors: u64,
    /// `project_status` messages that were dropped: more than a hundred in a second, or a full
    /// hub.
    pub dropped: u64,
}

/// One per hub, as an [extension](crate::HubHandle::extension).
#[derive(Default)]
pub(super) struct StatsState {
    latest: Mutex<Option<Arc<LatestSnapshot>>>,
    history: Mutex<History>,
    streamers: Mutex<Vec<SourceHealthCheck>>,
    pub(super) readiness: Arc<ReadinessCheck>,
    up: AtomicBool,
    calls: AtomicU64,
    errors: AtomicU64,
    dropped: AtomicU64,
    /// Bytes of `history` messages being sent.
    pub(super) history_in_flight: Mutex<usize>,
    pub(super) too_many_subscriptions: RateLimitedWarning,
}

/// The health check of a streamer's source, until the streamer ends.
struct SourceHealthCheck {
    check: Arc<dyn Fn(HealthResponder) + Send + Sync>,
    ended: Receiver<()>,
}

impl SourceHealthCheck {
    fn is_running(&self) -> bool {
        // The channel carries no messages; it disconnects when the streamer ends.
        self.ended.try_recv().is_err_and(|error| error.is_empty())
    }
}

impl StatsState {
    pub(super) fn set_latest(&self, snapshot: Option<Arc<Snapshot>>) {
        *lock(&self.latest) = snapshot.map(|snapshot| Arc::new(LatestSnapshot::new(snapshot)));
    }

    pub(super) fn latest(&self) -> Option<Arc<LatestSnapshot>> {
        lock(&self.latest).clone()
    }

    /// Locks the history. Hold the lock only to add a snapshot or to clone the history.
    pub(super) fn history(&self) -> MutexGuard<'_, History> {
        lock(&self.history)
    }

    pub(super) fn add_streamer(
        &self,
        check: impl Fn(HealthResponder) + Send + Sync + 'static,
        ended: Receiver<()>,
    ) {
        let mut streamers = lock(&self.streamers);
        streamers.retain(SourceHealthCheck::is_running);
        streamers.push(SourceHealthCheck { check: Arc::new(check), ended });
        self.readiness.invalidate();
    }

    /// Checks the source of the newest streamer, at most once per second. Succeeds if there is no
    /// streamer.
    pub(super) fn health_check(&self, responder: HealthResponder) {
        let check = {
            let mut streamers = lock(&self.streamers);
            streamers.retain(SourceHealthCheck::is_running);
            streamers.last().map(|streamer| Arc::clone(&streamer.check))
        };
        match check {
            Some(check) => self.readiness.check(responder, |responder| check(responder)),
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

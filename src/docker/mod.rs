//! The Docker Engine, or Podman, as a source of stats.
//!
//! Ownership: [`DockerSource`] is called on the streamer's thread and owns at most one
//! `EngineSession`. The session owns the connections, the two threads that keep the `Inventory` up
//! to date, the latest readings, and the threads of its sampler. The inventory is shared behind a
//! lock that no thread holds during a call to the engine.
//!
//! Streams that end are opened again. A session that loses its engine is dropped with all its
//! threads, and the next reading opens a new one.

mod engine;
#[cfg(all(any(test, fuzzing), feature = "dashboard"))]
pub(crate) mod fuzz;
mod inventory;
#[cfg(test)]
mod malformed_tests;
mod sampling;
mod session;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::lock::lock;
use crate::{EngineInfo, HubHandle, Interest, Snapshot, SourceError, StatsSource};
use engine::client::{CALL_LIMIT, CallCounters};
use engine::negotiate::negotiate;
use inventory::event_history::SharedEventHistory;
use sampling::probe::ReadMode;
use session::EngineSession;

pub use engine::host::DockerHost;

/// A [`StatsSource`] for a Docker Engine or Podman: container stats, the list of projects, events.
///
/// It connects at the first call. While the engine cannot be reached, each call returns an error
/// that says what to do; once it can, the next call reconnects. It makes only GET requests, and none
/// while there are no listeners.
///
/// ```no_run
/// use kentros::{Interest, DockerHost, DockerSource, StatsSource};
///
/// let mut source = DockerSource::new(DockerHost::default());
/// let snapshot = source.collect(&Interest::all())?;
/// # Ok::<(), kentros::SourceError>(())
/// ```
#[derive(Debug)]
pub struct DockerSource {
    host: DockerHost,
    hub: Option<HubHandle>,
    session: Option<EngineSession>,
    /// The latest information about the engine. Kept while it cannot be reached.
    info: EngineInfo,
    /// The events of all sessions.
    event_history: SharedEventHistory,
    /// The calls of all sessions.
    counters: Arc<CallCounters>,
    /// The read mode of the session that `pause` ended, so that the engine need not be probed again.
    known_mode: Option<(EngineInfo, ReadMode)>,
}

impl DockerSource {
    /// Creates a source for the engine at `host`, without connecting.
    pub fn new(host: DockerHost) -> Self {
        Self {
            host,
            hub: None,
            session: None,
            info: EngineInfo::default(),
            event_history: SharedEventHistory::default(),
            counters: Arc::default(),
            known_mode: None,
        }
    }

    /// Calls `use_session` with the current session, or with a new one, once it has its first list.
    /// After an error the session is dropped, unless it is still connecting.
    fn with_session<T>(
        &mut self,
        use_session: impl FnOnce(&mut EngineSession) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        let result = self.session().and_then(|session| {
            session.wait_for_list()?;
            use_session(session)
        });
        match &self.session {
            Some(session) if result.is_ok() || session.info.connecting => {
                self.info = session.info.clone();
            }
            _ => {
                self.session = None;
                (self.info.interval, self.info.connecting) = (None, false);
            }
        }
        result
    }

    /// The current session, or a new one.
    fn session(&mut self) -> Result<&mut EngineSession, SourceError> {
        // It may have failed between two readings. Try once more before reporting an error.
        let lost = self.session.as_ref().filter(|session| !session.info.connecting);
        if let Some(why) = lost.and_then(EngineSession::lost) {
            log::info!("reconnecting to the engine: {why}");
            self.session = None;
        }
        match &mut self.session {
            Some(session) => Ok(session),
            none => {
                let known = self.known_mode.take();
                Ok(none.insert(EngineSession::open(
                    &self.host,
                    self.hub.as_ref(),
                    &self.event_history,
                    known.as_ref(),
                    &self.counters,
                )?))
            }
        }
    }
}

impl StatsSource for DockerSource {
    fn collect(&mut self, interest: &Interest) -> Result<Snapshot, SourceError> {
        self.with_session(|session| session.collect(interest))
    }

    fn start(&mut self, hub: &HubHandle) -> Result<(), SourceError> {
        // A session opened without the hub does not publish to it.
        if self.hub.replace(hub.clone()).is_none() {
            self.session = None;
        } else if let Some(session) = &self.session {
            session.republish();
        }
        self.with_session(|_| Ok(()))
    }

    fn pause(&mut self) {
        if let Some(session) = self.session.take() {
            self.known_mode = session.read_mode().map(|mode| (session.identity(), mode));
        }
        lock(&self.event_history).pause();
        self.hub = None;
    }

    fn health_check(&mut self) -> Result<(), SourceError> {
        if self.session.as_ref().is_some_and(|session| session.lost().is_none()) {
            return Ok(());
        }
        negotiate(&self.host, Instant::now() + CALL_LIMIT, &self.counters)?;
        Ok(())
    }

    fn engine_info(&self) -> EngineInfo {
        EngineInfo {
            calls: self.counters.calls.load(Ordering::Relaxed),
            errors: self.counters.errors.load(Ordering::Relaxed),
            ..self.info.clone()
        }
    }
}

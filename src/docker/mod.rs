//! The Docker Engine, or Podman, as a source of stats.
//!
//! Who owns what: [`DockerSource`] is called on the streamer's thread and owns at most one
//! `Session`. The session owns the connections, the threads of its `Watch` (which own the list),
//! the readings (`Rows`) and the threads of its sampler (workers, or a reader). The list itself, an
//! `Inventory`, is shared behind a lock that nobody holds across a call.
//!
//! Nothing reconnects by itself: a session that fails is dropped, with all of its threads, and
//! the next reading opens another.

mod engine;
#[cfg(all(any(test, fuzzing), feature = "dashboard"))]
pub(crate) mod fuzz;
mod inventory;
mod sampling;
mod session;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::{EngineInfo, HubHandle, Interest, Snapshot, SourceError, StatsSource};
use engine::client::{CALL_LIMIT, CallCounters};
use sampling::probe::ReadMode;
use session::{EngineSession, identify};

pub use engine::host::DockerHost;

/// Reads a Docker Engine or Podman: stats, the list of projects, events.
///
/// It does nothing before it is asked. An engine that is absent makes each call fail, with the
/// remedy in the error's words, until it is there; one that goes away and comes back is taken up
/// by itself. It makes only GET requests, and while nobody listens, none.
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
    /// What was last known of the engine; kept when it goes away.
    info: EngineInfo,
    /// Of all sessions.
    tally: Arc<CallCounters>,
    /// How the engine behaved when nobody had listened for a while: it need not be probed again.
    behaviour: Option<(EngineInfo, ReadMode)>,
}

impl DockerSource {
    /// A source for the engine at `host`. It makes no connection yet.
    pub fn new(host: DockerHost) -> Self {
        Self {
            host,
            hub: None,
            session: None,
            info: EngineInfo::default(),
            tally: Arc::default(),
            behaviour: None,
        }
    }

    /// The session under way, or a new one.
    fn session(&mut self) -> Result<&mut EngineSession, SourceError> {
        // One that was lost between two readings says nothing about the engine now.
        if let Some(why) = self.session.as_ref().and_then(EngineSession::lost) {
            log::info!("engine: {why}");
            self.session = None;
        }
        match &mut self.session {
            Some(session) => Ok(session),
            none => {
                let known = self.behaviour.take();
                let (host, hub) = (&self.host, self.hub.as_ref());
                Ok(none.insert(EngineSession::open(host, hub, known.as_ref(), &self.tally)?))
            }
        }
    }
}

impl StatsSource for DockerSource {
    fn collect(&mut self, interest: &Interest) -> Result<Snapshot, SourceError> {
        let collected = self.session().and_then(|session| {
            let snapshot = session.collect(interest)?;
            Ok((snapshot, session.info.clone()))
        });
        match collected {
            Ok((snapshot, info)) => {
                self.info = info;
                Ok(snapshot)
            }
            Err(error) => {
                self.session = None;
                self.info.interval = None;
                Err(error)
            }
        }
    }

    fn start(&mut self, hub: &HubHandle) -> Result<(), SourceError> {
        // A session opened without the hub tells it nothing; one it was opened with is kept.
        if self.hub.replace(hub.clone()).is_none() {
            self.session = None;
        } else if let Some(session) = &self.session {
            session.publish_anew();
        }
        self.info = self.session()?.info.clone();
        Ok(())
    }

    fn pause(&mut self) {
        if let Some(session) = self.session.take() {
            self.behaviour = session.behaviour().map(|how| (session.identity(), how));
        }
        self.hub = None;
    }

    fn health_check(&mut self) -> Result<(), SourceError> {
        if self.session.as_ref().is_some_and(|session| session.lost().is_none()) {
            return Ok(());
        }
        identify(&self.host, Instant::now() + CALL_LIMIT, &self.tally)?;
        Ok(())
    }

    fn engine_info(&self) -> EngineInfo {
        EngineInfo {
            calls: self.tally.calls.load(Ordering::Relaxed),
            errors: self.tally.errors.load(Ordering::Relaxed),
            ..self.info.clone()
        }
    }
}

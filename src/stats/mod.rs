//! Container stats: sources, the streamer that samples them, and the endpoints that serve them.
//!
//! Everything here is built on what the hub and the server offer to any program: a snapshot is a
//! publication by interest, the stats socket is a session, the JSON API is a set of routes.

#[cfg(feature = "dashboard")]
mod dashboard;
mod endpoints;
mod engine_status;
pub(crate) mod handle;
mod latest;
mod messages;
pub(crate) mod metrics;
pub(crate) mod payload;
pub(crate) mod protocol;
mod readiness;
#[cfg(feature = "docker")]
pub(crate) mod reading;
mod serve;
pub(crate) mod snapshot;
pub(crate) mod socket;
mod state;
mod streamer;

use std::time::Duration;

use serde::Serialize;

use crate::{HubHandle, Interest, Mode, Snapshot, SourceError};

pub use state::EngineCounters;

/// A source of stats.
///
/// A closure that returns a `Result` of a value that serializes to a JSON object is a source too;
/// implement the trait for more control.
///
/// All methods are called on the streamer's thread: [`start`](Self::start) when the first listener
/// connects, [`collect`](Self::collect) at each tick while there is a listener, and
/// [`pause`](Self::pause) some time after the last one has left.
///
/// ```
/// use kentros::{EngineInfo, Interest, Snapshot, SourceError, StatsSource};
///
/// /// The load of this machine.
/// struct Load;
///
/// impl StatsSource for Load {
///     fn collect(&mut self, _: &Interest) -> Result<Snapshot, SourceError> {
///         let load = std::fs::read_to_string("/proc/loadavg")?;
///         Ok(Snapshot::from_payload(serde_json::json!({"host": {"load": load.trim()}}))?)
///     }
///
///     fn engine_info(&self) -> EngineInfo {
///         EngineInfo::new("/proc")
///     }
/// }
/// assert!(Load.collect(&Interest::all())?.to_json().contains("host"));
/// # Ok::<(), SourceError>(())
/// ```
pub trait StatsSource: Send + 'static {
    /// Collects the stats of the projects that `interest` includes. Ticks that pass during a call
    /// are skipped. Return within two seconds: a shutdown waits for this call.
    ///
    /// # Errors
    /// A human-readable reason, which is logged and sent to the clients.
    fn collect(&mut self, interest: &Interest) -> Result<Snapshot, SourceError>;

    /// Prepares for sampling, when the first listener connects. To publish more than stats, such
    /// as a project list or events, keep a clone of `hub` and publish through it, from any thread,
    /// until [`pause`](Self::pause).
    ///
    /// If [`engine_info`](Self::engine_info) names an engine after this call, clients see the
    /// engine as connected before the first snapshot.
    ///
    /// # Errors
    /// As for [`collect`](Self::collect), which is called even after an error.
    fn start(&mut self, hub: &HubHandle) -> Result<(), SourceError> {
        let _ = hub;
        Ok(())
    }

    /// Releases connections and threads, some time after the last listener has left.
    fn pause(&mut self) {}

    /// Checks cheaply whether [`collect`](Self::collect) would succeed. `/readyz` calls this while
    /// there is no listener, at most once per second.
    ///
    /// # Errors
    /// The reason why it would fail.
    fn health_check(&mut self) -> Result<(), SourceError> {
        Ok(())
    }

    /// Returns what is known about the engine, for `engine_status` messages.
    fn engine_info(&self) -> EngineInfo {
        EngineInfo::default()
    }
}

/// What a source knows about its engine.
///
/// ```
/// use kentros::EngineInfo;
/// let mut info = EngineInfo::new("Podman");
/// info.calls = 12;
/// assert_eq!((info.engine.as_deref(), info.errors), (Some("Podman"), 0));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineInfo {
    /// `Docker Engine`, `Podman`, ...
    pub engine: Option<String>,
    /// The engine's version.
    pub version: Option<String>,
    /// The API version in use.
    pub api_version: Option<String>,
    /// How samples are taken.
    pub mode: Option<Mode>,
    /// The actual time between snapshots, if longer than the streamer's interval.
    pub interval: Option<Duration>,
    /// Whether the source is still connecting. An error is then reported as
    /// [`EngineState::Connecting`](crate::EngineState::Connecting).
    pub connecting: bool,
    /// Total calls to the engine.
    pub calls: u64,
    /// Failed calls.
    pub errors: u64,
}

impl EngineInfo {
    /// Creates the info of an engine of which only the name is known.
    pub fn new(engine: impl Into<String>) -> Self {
        Self { engine: Some(engine.into()), ..Self::default() }
    }
}

impl<F, T, E> StatsSource for F
where
    F: FnMut() -> Result<T, E> + Send + 'static,
    T: Serialize,
    E: Into<SourceError>,
{
    fn collect(&mut self, _: &Interest) -> Result<Snapshot, SourceError> {
        let payload = self().map_err(Into::into)?;
        Ok(Snapshot::from_payload(payload)?)
    }
}

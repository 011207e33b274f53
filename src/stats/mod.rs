//! Stats of containers: sources, the streamer that asks them, and what a server shows of them.
//!
//! All of it is built on what the hub offers any program: a snapshot is a publication whose content
//! depends on the receiver's interest, the stats socket is a session, the API are routes.

mod api;
pub(crate) mod command;
#[cfg(feature = "docker")]
mod demo;
pub(crate) mod handle;
pub(crate) mod metrics;
pub(crate) mod payload;
mod published;
mod serve;
pub(crate) mod snapshot;
pub(crate) mod socket;
mod state;
mod streamer;
#[cfg(feature = "docker")]
pub(crate) mod usage;

use std::time::Duration;

use serde::Serialize;

use crate::{HubHandle, Interest, Mode, Snapshot, SourceError};

#[cfg(feature = "docker")]
pub use demo::DemoSource;
pub use state::EngineCounters;

/// Where stats come from.
///
/// Every call is made on the streamer's own thread. A closure that returns a `Result` of anything
/// that serializes to an object is a source too; implement the trait for more control.
///
/// The order of calls: [`start`](Self::start) when the first listener comes,
/// [`collect`](Self::collect) at each tick while there is one, [`pause`](Self::pause) a while after
/// the last has left.
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
    /// Takes one reading of what the listeners are interested in. It is called again at the next
    /// tick that is not yet past, so a slow reading slows the stream and never piles up ticks.
    /// Return within two seconds: a shutdown waits for it.
    ///
    /// # Errors
    /// The reason, in words for a person; it goes into the log and to the clients.
    fn collect(&mut self, interest: &Interest) -> Result<Snapshot, SourceError>;

    /// The first listener has come. A source that has more to tell than figures (a list of
    /// projects, events) may keep a clone of `hub` and publish through it, from any thread,
    /// until [`pause`](Self::pause).
    ///
    /// A source that names its engine in [`engine_info`](Self::engine_info) afterwards has reached
    /// it: clients are told so without waiting for the first reading.
    ///
    /// # Errors
    /// As [`collect`](Self::collect), which is called all the same.
    fn start(&mut self, hub: &HubHandle) -> Result<(), SourceError> {
        let _ = hub;
        Ok(())
    }

    /// There has been no listener for a while: let go of connections and threads.
    fn pause(&mut self) {}

    /// Whether a reading would succeed now, in a cheap way: `/readyz` calls this while nobody
    /// listens.
    ///
    /// # Errors
    /// The reason why not.
    fn health_check(&mut self) -> Result<(), SourceError> {
        Ok(())
    }

    /// What is known of the engine, for `engine_status`.
    fn engine_info(&self) -> EngineInfo {
        EngineInfo::default()
    }
}

/// What a source knows of the engine it reads.
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
    /// Its version.
    pub version: Option<String>,
    /// The API version in use.
    pub api_version: Option<String>,
    /// How samples are taken.
    pub mode: Option<Mode>,
    /// The time between two snapshots that the source really keeps, where that is longer than
    /// between two ticks.
    pub interval: Option<Duration>,
    /// Calls made to the engine so far.
    pub calls: u64,
    /// Calls of those that failed.
    pub errors: u64,
}

impl EngineInfo {
    /// An engine of this name, of which nothing else is known.
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

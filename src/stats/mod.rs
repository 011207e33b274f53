//! Sources of stats, and what they yield.

#[cfg(feature = "docker")]
mod demo;
mod handler;
mod pace;
mod streamer;
#[cfg(feature = "docker")]
pub(crate) mod usage;

use std::time::Duration;

use serde::Serialize;

use crate::protocol::payload::Mode;
use crate::{Demand, HubHandle, Snapshot};

#[cfg(feature = "docker")]
pub use demo::DemoSource;
pub(crate) use handler::StatsHandler;
pub use pace::Pace;
pub use streamer::StatsStreamer;

/// Why a source has no snapshot: shown to clients in `engine_status`, so say what to do.
///
/// ```
/// use kentros::SourceError;
///
/// fn load() -> Result<f64, SourceError> {
///     let text = std::fs::read_to_string("/proc/loadavg")?;
///     Ok(text.split(' ').next().ok_or("/proc/loadavg is empty")?.parse()?)
/// }
/// assert!(load()? >= 0.0);
/// # Ok::<(), SourceError>(())
/// ```
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// Where stats come from.
///
/// Every call is made on the streamer's own thread. A closure that returns a `Result` of anything
/// that serializes is a source too; implement the trait for more control.
///
/// The order of calls: [`begin`](Self::begin) when the first listener comes,
/// [`collect`](Self::collect) at each tick while there is one, [`rest`](Self::rest) a while after
/// the last has left.
///
/// ```
/// use kentros::{Demand, EngineInfo, Snapshot, SourceError, StatsSource};
///
/// /// The load of this machine.
/// struct Load;
///
/// impl StatsSource for Load {
///     fn collect(&mut self, _: &Demand) -> Result<Snapshot, SourceError> {
///         let load = std::fs::read_to_string("/proc/loadavg")?;
///         Ok(Snapshot::from_payload(serde_json::json!({"host": {"load": load.trim()}}))?)
///     }
///
///     fn engine(&self) -> EngineInfo {
///         EngineInfo { engine: Some("/proc".into()), ..EngineInfo::default() }
///     }
/// }
/// assert!(Load.collect(&Demand::all())?.to_json().contains("host"));
/// # Ok::<(), SourceError>(())
/// ```
pub trait StatsSource: Send + 'static {
    /// Takes one reading of what `demand` wants. It is called again at the next tick that is not
    /// yet past, so a slow reading slows the stream and never piles up ticks. Return within two
    /// seconds: a shutdown waits for it.
    ///
    /// # Errors
    /// The reason, in words for a person; it goes into the log and to the clients.
    fn collect(&mut self, demand: &Demand) -> Result<Snapshot, SourceError>;

    /// Somebody listens from now on. A source that has more to tell than figures (a list of
    /// projects, events) may keep a clone of `hub` and publish through it, from any thread,
    /// until [`rest`](Self::rest).
    ///
    /// A source that names its [`engine`](Self::engine) afterwards has reached it: clients are told
    /// so without waiting for the first reading.
    ///
    /// # Errors
    /// As [`collect`](Self::collect), which is called all the same.
    fn begin(&mut self, hub: &HubHandle) -> Result<(), SourceError> {
        let _ = hub;
        Ok(())
    }

    /// Nobody has listened for a while: let go of connections and threads.
    fn rest(&mut self) {}

    /// Whether a reading would succeed now, in a cheap way: `/readyz` asks this while nobody
    /// listens.
    ///
    /// # Errors
    /// The reason why not.
    fn check(&mut self) -> Result<(), SourceError> {
        Ok(())
    }

    /// What is known of the engine, for `engine_status`.
    fn engine(&self) -> EngineInfo {
        EngineInfo::default()
    }
}

/// What a source knows of the engine it reads.
///
/// ```
/// use kentros::EngineInfo;
/// let info = EngineInfo { engine: Some("Podman".into()), calls: 12, ..EngineInfo::default() };
/// assert_eq!(info.errors, 0);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineInfo {
    /// `Docker Engine`, `Podman`, ...
    pub engine: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// The API version in use.
    pub api_version: Option<String>,
    /// How samples are taken.
    pub mode: Option<Mode>,
    /// The pace the source really keeps, where that is slower than the ticks.
    pub interval: Option<Duration>,
    /// Calls made to the engine so far.
    pub calls: u64,
    /// Calls of those that failed.
    pub errors: u64,
}

impl<F, T, E> StatsSource for F
where
    F: FnMut() -> Result<T, E> + Send + 'static,
    T: Serialize,
    E: Into<SourceError>,
{
    fn collect(&mut self, _: &Demand) -> Result<Snapshot, SourceError> {
        let payload = self().map_err(Into::into)?;
        Ok(Snapshot::from_payload(payload)?)
    }
}

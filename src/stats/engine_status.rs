//! The payload of an `engine_status` message.

use serde::{Deserialize, Serialize};

/// The state of the engine: the payload of an `engine_status` message.
///
/// ```
/// use kentros::{EngineState, EngineStatus};
///
/// let payload = r#"{"state": "unreachable", "engine": null, "version": null, "api_version": null,
///     "mode": null, "interval_ms": 1000, "error": "no such file", "since": 1790000000}"#;
/// let status: EngineStatus = serde_json::from_str(payload)?;
/// assert_eq!(status.state, EngineState::Unreachable);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EngineStatus {
    /// Whether the engine is connected.
    pub state: EngineState,
    /// `Docker Engine`, `Podman`, or the name from a custom source.
    pub engine: Option<String>,
    /// The engine's version.
    pub version: Option<String>,
    /// The API version in use.
    pub api_version: Option<String>,
    /// How samples are taken.
    pub mode: Option<Mode>,
    /// The time between two snapshots, milliseconds.
    pub interval_ms: u64,
    /// Why the engine is unreachable, or what it takes to connect.
    pub error: Option<String>,
    /// When the engine entered this state, Unix seconds.
    pub since: u64,
}

impl EngineStatus {
    /// Creates a status with unknown fields except for the state.
    ///
    /// ```
    /// use kentros::{EngineState, EngineStatus};
    /// assert_eq!(EngineStatus::new(EngineState::Connected).error, None);
    /// ```
    pub fn new(state: EngineState) -> Self {
        Self {
            state,
            engine: None,
            version: None,
            api_version: None,
            mode: None,
            interval_ms: 0,
            error: None,
            since: 0,
        }
    }
}

/// Whether the engine is connected.
///
/// ```
/// use kentros::EngineState;
/// assert_eq!(serde_json::to_string(&EngineState::Connected)?, r#""connected""#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EngineState {
    /// The engine answers, but has not listed its containers yet.
    Connecting,
    /// The last collection succeeded.
    Connected,
    /// The last collection failed.
    Unreachable,
}

/// How samples are taken.
///
/// ```
/// use kentros::{EngineInfo, Mode};
/// let mut info = EngineInfo::new("Docker Engine");
/// info.mode = Some(Mode::Direct);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Mode {
    /// One call per container and tick.
    Direct,
    /// One stream per container, at the engine's own interval.
    Stream,
    /// Podman's single stream for all containers.
    Podman,
    /// Simulated containers.
    Demo,
}

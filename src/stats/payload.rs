//! The payloads of the stats, field by field as they are on the wire.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The project id of containers that belong to no project. No Compose project can have it.
///
/// ```
/// use kentros::{ContainerStats, STANDALONE};
/// let row = ContainerStats::new(STANDALONE, "web");
/// assert_eq!(row.project_id, "_standalone");
/// ```
pub const STANDALONE: &str = "_standalone";

/// One container's figures: a value of a `container_stats` message, whose key is the full id.
///
/// What the engine does not report is `None` (`null`), never 0, and `unavailable` says why.
///
/// ```
/// use std::collections::BTreeMap;
/// use kentros::ContainerStats;
///
/// // As a program reads the payload of a `container_stats` message.
/// let payload = r#"{"c0ffee": {"name": "web", "project_id": "shop", "cpu_percent": null,
///     "memory_usage": 1048576, "unavailable": {"cpu_percent": "first_sample"}}}"#;
/// let rows: BTreeMap<String, ContainerStats> = serde_json::from_str(payload)?;
/// assert_eq!(rows["c0ffee"].memory_usage, Some(1 << 20));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ContainerStats {
    /// The container's name, without the leading slash.
    pub name: String,
    /// Its Compose project, or [`STANDALONE`].
    pub project_id: String,
    /// Its Compose service.
    pub service_name: Option<String>,
    /// CPU used since the previous sample; one whole core is 100.
    pub cpu_percent: Option<f64>,
    /// Cores the container may see.
    pub online_cpus: Option<u32>,
    /// Cores it may use: its limit, or all that are online where it has none.
    pub cpu_limit: Option<f64>,
    /// Memory in use now, bytes, without page cache, as the docker CLI counts it.
    pub memory_usage: Option<u64>,
    /// The most memory it may use, bytes: the host's where it has no limit.
    pub memory_limit: Option<u64>,
    /// `memory_usage` of `memory_limit`, percent.
    pub memory_percent: Option<f64>,
    /// Bytes received since the container's start.
    pub network_rx: Option<u64>,
    /// Bytes sent since the container's start.
    pub network_tx: Option<u64>,
    /// Bytes read from block devices since the container's start.
    pub block_read: Option<u64>,
    /// Bytes written to block devices since the container's start.
    pub block_write: Option<u64>,
    /// Processes and threads now.
    pub pids: Option<u64>,
    /// When the engine took the reading, RFC 3339.
    pub timestamp: Option<String>,
    /// How old the reading was when the message was built, milliseconds.
    pub age_ms: Option<u64>,
    /// The fields that are `null`, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unavailable: BTreeMap<String, Unavailable>,
    /// The id of the container whose network this one shares: its bytes count once in sums.
    #[serde(skip)]
    pub network_of: Option<String>,
    /// What only `/metrics` shows.
    #[serde(skip)]
    pub prometheus: PrometheusFields,
}

impl ContainerStats {
    /// A row of this container, without figures.
    pub fn new(project_id: impl Into<String>, name: impl Into<String>) -> Self {
        Self { project_id: project_id.into(), name: name.into(), ..Self::default() }
    }
}

/// Figures of a container that are not on the wire: for Prometheus, which wants counters.
///
/// ```
/// use kentros::ContainerStats;
///
/// let mut row = ContainerStats::new("shop", "web");
/// row.prometheus.image = "nginx:1".into();
/// row.prometheus.cpu_total = Some(3_000_000_000);
/// assert!(!serde_json::to_string(&row)?.contains("nginx"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct PrometheusFields {
    /// The image, as the engine names it.
    pub image: String,
    /// CPU used since the container's start, nanoseconds.
    pub cpu_total: Option<u64>,
    /// Memory with the page cache, bytes, as the kernel counts it.
    pub memory_total: Option<u64>,
}

/// Why a figure is missing.
///
/// ```
/// use kentros::{ContainerStats, Unavailable};
///
/// let mut row = ContainerStats::default();
/// row.unavailable.insert("cpu_percent".into(), Unavailable::FirstSample);
/// assert!(serde_json::to_string(&row)?.contains(r#""cpu_percent":"first_sample""#));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unavailable {
    /// The kernel's memory cgroup is off, as on many a Raspberry Pi.
    MemoryCgroupDisabled,
    /// The container shares the host's network, which the engine does not count.
    HostNetwork,
    /// A rate needs two samples, and there is one.
    FirstSample,
    /// The container does not run.
    NotRunning,
    /// The engine gave no usable answer.
    EngineError,
}

/// A Compose project and its containers: an element of `project_list`.
///
/// ```
/// use kentros::{Container, Message, Project};
///
/// let mut web = Container::new("c0ffee", "web");
/// web.state = "running".into();
/// let shop = Project::new("shop", vec![web]);
/// assert_eq!(shop.status, "running");
/// let list = Message::new("project_list", [shop]).latest();
/// # let _ = list;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Project {
    /// The project's id: its Compose name, or [`STANDALONE`].
    pub id: String,
    /// What to show for it.
    pub name: String,
    /// `running` (every container runs), `partial` or `stopped`.
    pub status: String,
    /// Its containers, by name.
    pub containers: Vec<Container>,
}

impl Project {
    /// A project of these containers, under its id as its name. Its status is that of their states.
    pub fn new(id: impl Into<String>, containers: Vec<Container>) -> Self {
        let id = id.into();
        let running = containers.iter().filter(|c| c.state == "running").count();
        let status = match running {
            0 => "stopped",
            n if n == containers.len() => "running",
            _ => "partial",
        };
        Self { name: id.clone(), id, status: status.to_owned(), containers }
    }
}

/// One container of a [`Project`].
///
/// ```
/// use kentros::Container;
///
/// let mut web = Container::new("c0ffee", "web");
/// web.state = "running".into();
/// assert_eq!(web.health, None);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Container {
    /// The full id.
    pub id: String,
    /// Its name, without the leading slash.
    pub name: String,
    /// Its Compose service.
    pub service_name: Option<String>,
    /// The image it was made from, as the engine names it.
    pub image: String,
    /// The engine's word: `created`, `running`, `paused`, `restarting`, `exited`, `dead`, ...
    pub state: String,
    /// The engine's sentence: `Up 4 seconds (healthy)`.
    pub status: String,
    /// `starting`, `healthy` or `unhealthy`, where it has a health check.
    pub health: Option<String>,
    /// Published ports, as `docker ps` shows them: `0.0.0.0:8080->80/tcp`.
    pub ports: Vec<String>,
    /// When it was made, RFC 3339.
    pub created_at: Option<String>,
    /// When it last started, RFC 3339.
    pub started_at: Option<String>,
}

impl Container {
    /// A container of which nothing else is known.
    pub fn new(id: impl Into<String>, name: impl Into<String>) -> Self {
        Self { id: id.into(), name: name.into(), ..Self::default() }
    }
}

/// The sums over a project's containers: a value of `project_stats`.
///
/// ```
/// use std::collections::BTreeMap;
/// use kentros::ProjectTotals;
///
/// // As a program reads the payload of a `project_stats` message.
/// let payload = r#"{"shop": {"cpu_percent": 150.0, "memory_usage": 1048576, "network_rx": 1,
///     "network_tx": 2, "block_read": 3, "block_write": 4, "pids": 5,
///     "containers": 3, "running": 2, "sampled": 2}}"#;
/// let totals: BTreeMap<String, ProjectTotals> = serde_json::from_str(payload)?;
/// assert_eq!(totals["shop"].cpu_percent, Some(150.0));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProjectTotals {
    /// Sum of the CPU, one core is 100; `None` while no container has a figure.
    pub cpu_percent: Option<f64>,
    /// Sum of the memory in use, bytes.
    pub memory_usage: Option<u64>,
    /// Sum of the bytes received; a shared network counts once.
    pub network_rx: Option<u64>,
    /// Sum of the bytes sent; a shared network counts once.
    pub network_tx: Option<u64>,
    /// Sum of the bytes read.
    pub block_read: Option<u64>,
    /// Sum of the bytes written.
    pub block_write: Option<u64>,
    /// Sum of the processes and threads.
    pub pids: Option<u64>,
    /// Containers in the project, stopped ones too.
    pub containers: u32,
    /// Containers that run.
    pub running: u32,
    /// Running containers whose sample is fresh: what the sums are over, each but for a figure that
    /// a container lacks.
    pub sampled: u32,
}

/// What became of one container: the payload of `project_status`.
///
/// ```
/// use kentros::ProjectStatus;
///
/// let payload = r#"{"status": "die", "container": {"id": "c0ffee", "name": "web",
///     "state": "exited", "health": null, "exit_code": 137, "oom_killed": true}}"#;
/// let news: ProjectStatus = serde_json::from_str(payload)?;
/// assert!(news.status == "die" && news.container.oom_killed);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProjectStatus {
    /// What happened, in the engine's word: `start`, `die`, `pause`, `oom`, `health_status`, ...
    pub status: String,
    /// The container it happened to.
    pub container: StatusContainer,
}

impl ProjectStatus {
    /// This happened to this container.
    pub fn new(status: impl Into<String>, container: StatusContainer) -> Self {
        Self { status: status.into(), container }
    }
}

/// The container of a [`ProjectStatus`].
///
/// ```
/// use kentros::{Message, ProjectStatus, StatusContainer};
///
/// let mut container = StatusContainer::new("c0ffee", "web");
/// container.exit_code = Some(1);
/// let died = ProjectStatus::new("die", container);
/// let message = Message::new("project_status", died).project("shop");
/// assert_eq!(message.kind(), "project_status");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StatusContainer {
    /// The full id.
    pub id: String,
    /// Its name, without the leading slash.
    pub name: String,
    /// Its state after the event: `running`, `exited`, `paused`, ...
    pub state: String,
    /// `starting`, `healthy` or `unhealthy`, where known.
    pub health: Option<String>,
    /// The exit code, once it died.
    pub exit_code: Option<i64>,
    /// Whether it was killed for want of memory.
    pub oom_killed: bool,
}

impl StatusContainer {
    /// A container of which nothing else is known.
    pub fn new(id: impl Into<String>, name: impl Into<String>) -> Self {
        Self { id: id.into(), name: name.into(), ..Self::default() }
    }
}

/// How the engine is: the payload of `engine_status`.
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
    /// Whether it answers.
    pub state: EngineState,
    /// `Docker Engine`, `Podman`, or what a source of your own says.
    pub engine: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// The version of its API in use.
    pub api_version: Option<String>,
    /// How samples are taken.
    pub mode: Option<Mode>,
    /// The time between two snapshots, milliseconds.
    pub interval_ms: u64,
    /// Why it is unreachable.
    pub error: Option<String>,
    /// Since when it is in this state, Unix seconds.
    pub since: u64,
}

impl EngineStatus {
    /// An engine in this state, of which nothing else is known.
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

/// Whether the engine answers.
///
/// ```
/// use kentros::EngineState;
/// assert_eq!(serde_json::to_string(&EngineState::Connected)?, r#""connected""#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineState {
    /// The last reading came.
    Connected,
    /// The last reading failed.
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
    /// One call a container and tick.
    Direct,
    /// One stream a container, at the engine's own pace.
    Stream,
    /// Podman's one stream for all containers.
    Podman,
    /// No engine: simulated containers.
    Demo,
}

//! The payloads of the messages, with the fields that are on the wire.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use super::engine_status::{EngineState, EngineStatus, Mode};

/// The project id of containers without a project. Not a valid Compose project name.
///
/// ```
/// use kentros::{ContainerStats, STANDALONE};
/// let row = ContainerStats::new(STANDALONE, "web");
/// assert_eq!(row.project_id, "_standalone");
/// ```
pub const STANDALONE: &str = "_standalone";

/// The stats of one container: a value in a `container_stats` message, keyed by full id.
///
/// A value that the engine does not report is `None` (`null`), never 0; `unavailable` has the
/// reason.
///
/// ```
/// use std::collections::BTreeMap;
/// use kentros::ContainerStats;
///
/// // The payload of a `container_stats` message.
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
    /// The Compose project, or [`STANDALONE`].
    pub project_id: String,
    /// The Compose service.
    pub service_name: Option<String>,
    /// CPU used since the previous sample, percent of one core.
    pub cpu_percent: Option<f64>,
    /// CPU enforcement periods since the previous sample in which the container had to wait because
    /// of its CPU limit, percent of all. `None` without a reason if there was no period: it has no
    /// limit or did no work.
    pub cpu_throttled_percent: Option<f64>,
    /// Cores that the container sees.
    pub online_cpus: Option<u32>,
    /// The CPU limit, or all online cores if there is none.
    pub cpu_limit: Option<f64>,
    /// Memory usage without page cache, as in the docker CLI, bytes.
    pub memory_usage: Option<u64>,
    /// The memory limit, or the host's memory if there is none, bytes.
    pub memory_limit: Option<u64>,
    /// `memory_usage` as a percentage of `memory_limit`.
    pub memory_percent: Option<f64>,
    /// Memory of the container's processes, bytes.
    pub memory_anon: Option<u64>,
    /// Page cache, bytes.
    pub memory_cache: Option<u64>,
    /// Swap, bytes. Few engines report it, so it is left out of the JSON if it is `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_swap: Option<u64>,
    /// Bytes received since the container's start.
    pub network_rx: Option<u64>,
    /// Bytes sent since the container's start.
    pub network_tx: Option<u64>,
    /// Bytes read from block devices since the container's start.
    pub block_read: Option<u64>,
    /// Bytes written to block devices since the container's start.
    pub block_write: Option<u64>,
    /// Number of processes and threads.
    pub pids: Option<u64>,
    /// When the engine took the sample, RFC 3339.
    pub timestamp: Option<String>,
    /// The age of the sample when the message was built, milliseconds.
    pub age_ms: Option<u64>,
    /// The reason for each field that is `null`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unavailable: BTreeMap<String, Unavailable>,
    /// The id of the container whose network this one shares. Totals count a shared network once.
    #[serde(skip)]
    pub network_of: Option<String>,
    /// Values that only `/metrics` shows.
    #[serde(skip)]
    pub prometheus: PrometheusFields,
}

impl ContainerStats {
    /// Creates stats without any values.
    pub fn new(project_id: impl Into<String>, name: impl Into<String>) -> Self {
        Self { project_id: project_id.into(), name: name.into(), ..Self::default() }
    }
}

/// Stats of a container that only `/metrics` shows.
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
    /// The image, as named by the engine.
    pub image: String,
    /// CPU time since the container's start, nanoseconds.
    pub cpu_total: Option<u64>,
    /// CPU time in user mode since the container's start, nanoseconds.
    pub cpu_user: Option<u64>,
    /// CPU time in the kernel since the container's start, nanoseconds.
    pub cpu_system: Option<u64>,
    /// CPU enforcement periods since the container's start; none without a CPU limit.
    pub cpu_periods: Option<u64>,
    /// Those in which the container had to wait.
    pub cpu_throttled_periods: Option<u64>,
    /// How long the container had to wait since its start, nanoseconds.
    pub cpu_throttled_time: Option<u64>,
    /// Memory usage with page cache, bytes, as counted by the kernel.
    pub memory_total: Option<u64>,
    /// How often the memory limit was hit since the container's start.
    pub memory_failures: Option<u64>,
    /// The machine's memory, bytes, if the container has no limit.
    pub machine_memory: Option<u64>,
    /// When the sample arrived, Unix seconds.
    pub last_seen: Option<f64>,
    /// The CPU time that the container may use in each period, microseconds.
    pub cpu_quota: Option<u64>,
    /// The period of the CPU limit, microseconds.
    pub cpu_period: Option<u64>,
    /// When the container last started, Unix seconds.
    pub start_time: Option<f64>,
    /// 1 for a healthy container, 0 for one that is starting or unhealthy, -1 without a health check.
    pub health_state: Option<i8>,
    /// The exit code of a container that is not running.
    pub exit_code: Option<i64>,
    /// Whether a process was killed for lack of memory since the container's start.
    pub oom_killed: Option<bool>,
    /// Total out-of-memory events that were seen.
    pub oom_events: Option<u64>,
    /// How often the restart policy has restarted the container.
    pub restart_count: Option<u64>,
    /// Whether the container keeps restarting.
    pub restart_loop: Option<bool>,
}

/// The reason why a value is missing.
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
    /// The kernel's memory cgroup is disabled, as on many Raspberry Pis.
    MemoryCgroupDisabled,
    /// The container uses the host's network, whose traffic the engine does not count.
    HostNetwork,
    /// A rate needs two samples, and there is only one.
    FirstSample,
    /// The container is not running.
    NotRunning,
    /// The engine returned an error or an unusable response.
    EngineError,
    /// The engine does not report this value.
    NotReported,
}

/// A Compose project and its containers: an element of a `project_list` message.
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
    /// The Compose project name, or [`STANDALONE`].
    pub id: String,
    /// The display name.
    pub name: String,
    /// `running` (all containers are running), `partial` or `stopped`.
    pub status: String,
    /// The containers, sorted by name.
    pub containers: Vec<Container>,
}

impl Project {
    /// Creates a project with its id as its name. The status follows from the containers' states.
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
    /// The name, without the leading slash.
    pub name: String,
    /// The Compose service.
    pub service_name: Option<String>,
    /// The image, as named by the engine.
    pub image: String,
    /// The state: `created`, `running`, `paused`, `restarting`, `exited`, `dead`, ...
    pub state: String,
    /// The status as in `docker ps`: `Up 4 seconds (healthy)`.
    pub status: String,
    /// `starting`, `healthy` or `unhealthy`, if there is a health check.
    pub health: Option<String>,
    /// Published ports as in `docker ps`: `0.0.0.0:8080->80/tcp`.
    pub ports: Vec<String>,
    /// When the container was created, RFC 3339.
    pub created_at: Option<String>,
    /// When the container last started, RFC 3339.
    pub started_at: Option<String>,
    /// When the container last exited, RFC 3339.
    pub finished_at: Option<String>,
    /// The exit code; `None` while the container is running and before its first start.
    pub exit_code: Option<i64>,
    /// Whether the kernel killed a process of the container for lack of memory since its last start.
    pub oom_killed: Option<bool>,
    /// How often the engine has restarted the container because of its restart policy.
    pub restart_count: Option<u64>,
    /// The memory limit, bytes; `None` for no limit.
    pub memory_limit: Option<u64>,
    /// Restarts in the last 10 minutes, as far as they were watched.
    pub restarts_10m: Option<u64>,
    /// Restarts in the last hour, as far as they were watched.
    pub restarts_1h: Option<u64>,
    /// Whether it keeps restarting: at least 3 times in 10 minutes, the last time less than 3 minutes
    /// ago.
    pub restart_loop: Option<bool>,
    /// How often the kernel killed a process of the container for lack of memory in the last hour, as
    /// far as that was watched.
    pub oom_kills_1h: Option<u64>,
}

impl Container {
    /// Creates a container with empty fields except for id and name.
    pub fn new(id: impl Into<String>, name: impl Into<String>) -> Self {
        Self { id: id.into(), name: name.into(), ..Self::default() }
    }
}

/// The totals of a project's containers: a value in a `project_stats` message, keyed by project id.
///
/// ```
/// use std::collections::BTreeMap;
/// use kentros::ProjectTotals;
///
/// // The payload of a `project_stats` message.
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
    /// CPU used, percent of one core; `None` if unknown for all containers.
    pub cpu_percent: Option<f64>,
    /// Memory usage, bytes.
    pub memory_usage: Option<u64>,
    /// Bytes received; a shared network counts once.
    pub network_rx: Option<u64>,
    /// Bytes sent; a shared network counts once.
    pub network_tx: Option<u64>,
    /// Bytes read from block devices.
    pub block_read: Option<u64>,
    /// Bytes written to block devices.
    pub block_write: Option<u64>,
    /// Number of processes and threads.
    pub pids: Option<u64>,
    /// Number of containers, including stopped ones.
    pub containers: u32,
    /// Number of running containers.
    pub running: u32,
    /// Number of containers with a fresh sample. The totals include only these, and skip unknown
    /// values.
    pub sampled: u32,
}

/// An event of one container: the payload of a `project_status` message.
///
/// ```
/// use kentros::ProjectStatus;
///
/// let payload = r#"{"status": "die", "container": {"id": "c0ffee", "name": "web",
///     "state": "exited", "health": null, "exit_code": 137, "oom_killed": true}}"#;
/// let event: ProjectStatus = serde_json::from_str(payload)?;
/// assert!(event.status == "die" && event.container.oom_killed);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProjectStatus {
    /// The engine's event action: `start`, `die`, `pause`, `oom`, `health_status`, ...
    pub status: String,
    /// The container, after the event.
    pub container: StatusContainer,
}

impl ProjectStatus {
    /// Creates an event.
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
    /// The name, without the leading slash.
    pub name: String,
    /// The state after the event: `running`, `exited`, `paused`, ...
    pub state: String,
    /// `starting`, `healthy` or `unhealthy`, if known.
    pub health: Option<String>,
    /// The exit code, after the container has exited.
    pub exit_code: Option<i64>,
    /// Whether the container was killed because it ran out of memory.
    pub oom_killed: bool,
}

impl StatusContainer {
    /// Creates a container with empty fields except for id and name.
    pub fn new(id: impl Into<String>, name: impl Into<String>) -> Self {
        Self { id: id.into(), name: name.into(), ..Self::default() }
    }
}

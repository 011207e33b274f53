//! What is known about one container.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::STANDALONE;
use crate::docker::engine::call::is_plain_id;
use crate::docker::engine::json::{
    ContainerInspect, ContainerSummary, EngineEvent, EventAttributes, InspectState, short_id,
};
use crate::stats::payload::{Container, ProjectStatus, StatusContainer};
use crate::stats::reading::parse_timestamp;
use crate::stats::snapshot::totals::is_running;

/// The number of lists after an event that may still show the state before it. Docker 20.10 sends
/// `die` up to 100 ms before its own list shows it, and lists are half a second apart.
pub(super) const MAX_OUTDATED_LISTS: u8 = 4;

/// A container, with what is not in a `project_list`.
#[derive(Clone, Debug, Default)]
pub(super) struct InventoryEntry {
    pub(super) container: Container,
    pub(super) project: String,
    pub(super) network_mode: Option<String>,
    pub(super) inspection: Inspection,
    /// `started_at` in Unix seconds.
    pub(super) start_time: Option<f64>,
    /// The health from events and inspections, because Podman's lists have none.
    pub(super) known_health: Option<String>,
    /// Whether it has changed since it became known. It is then inspected even if it is not running.
    pub(super) has_changed: bool,
    /// The state before the last event, and how many more lists may show it.
    pub(super) previous_state: Option<(String, u8)>,
}

/// The result of inspecting a container.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Inspection {
    /// Not inspected yet.
    #[default]
    Pending,
    /// The call is being made. An event during it makes the inspection pending again.
    Running,
    /// It failed. Tried again after the next full list.
    Failed,
    /// It succeeded.
    Limits(CpuLimits),
}

/// The CPU limits of a container; `None` for no limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct CpuLimits {
    /// The number of cores.
    pub(super) cores: Option<f64>,
    /// The CPU time in each period, and the period, in microseconds.
    pub(super) quota: Option<(u64, u64)>,
}

/// The state of a removed container, for which the engine has no name.
pub(super) const REMOVED: &str = "removed";

impl InventoryEntry {
    /// An entry for a container known only from an event.
    pub(super) fn new(id: &str, attributes: &EventAttributes) -> Self {
        let name = if attributes.name.is_empty() { short_id(id) } else { &attributes.name };
        let container = Container {
            id: id.to_owned(),
            name: name.to_owned(),
            service_name: attributes.labels.service().map(str::to_owned),
            image: attributes.image.clone(),
            state: "created".to_owned(),
            ..Container::default()
        };
        let project = attributes.labels.project().unwrap_or(STANDALONE).to_owned();
        Self { container, project, ..Self::default() }
    }

    /// Whether this list shows the state before the last event.
    pub(super) fn is_newer_than(&mut self, listed: &ContainerSummary) -> bool {
        match self.previous_state.take() {
            Some((state, lists_left @ 1..)) if listed.state.eq_ignore_ascii_case(&state) => {
                self.previous_state = Some((state, lists_left - 1));
                true
            }
            _ => false,
        }
    }

    pub(super) fn update(&mut self, listed: ContainerSummary) {
        let (name, health) = (listed.name(), listed.health().map(str::to_owned));
        self.project = listed.labels.project().unwrap_or(STANDALONE).to_owned();
        if listed.host_config.network_mode.is_some() {
            self.network_mode = listed.host_config.network_mode;
        }
        let mut ports: Vec<String> = listed.ports.iter().map(ToString::to_string).collect();
        ports.sort_unstable();
        ports.dedup();
        let state = listed.state.to_ascii_lowercase();
        if !is_running(&state) {
            self.known_health = None;
        }
        let before = std::mem::take(&mut self.container);
        // A change without an event, or whose event left the result open, as `die` does.
        if before.state != state && !before.state.is_empty() {
            self.set_changed();
        }
        self.container = Container {
            id: listed.id,
            name,
            service_name: listed.labels.service().map(str::to_owned),
            image: listed.image,
            health: health.or_else(|| self.known_health.clone()),
            state,
            status: listed.status,
            ports,
            created_at: listed
                .created
                .and_then(|created| OffsetDateTime::from_unix_timestamp(created).ok())
                .and_then(|at| at.format(&Rfc3339).ok()),
            ..before
        };
    }

    /// Has the container inspected again.
    fn set_changed(&mut self) {
        self.inspection = Inspection::Pending;
        self.has_changed = true;
    }

    /// Applies an inspection; `None` if it failed.
    pub(super) fn apply_inspection(&mut self, response: Option<&ContainerInspect>) {
        self.inspection = Inspection::Failed;
        let Some(response) = response else { return };
        let status = &response.state.status;
        if !status.is_empty() && is_running(status) != is_running(&self.container.state) {
            return;
        }
        let InspectState { started_at, finished_at, exit_code, oom_killed, .. } = &response.state;
        let container = &mut self.container;
        let started = parse_timestamp(started_at);
        container.started_at = started.map(|_| started_at.clone());
        self.start_time = started.map(unix_seconds);
        container.finished_at = known_time(finished_at);
        // The exit code of a container that is running or never ran is 0.
        let has_exited = !is_running(&container.state) && container.finished_at.is_some();
        container.exit_code = exit_code.filter(|code| has_exited || *code != 0);
        // The engine may not report a process that was killed while the container kept running.
        if container.oom_killed != Some(true) {
            container.oom_killed = *oom_killed;
        }
        container.restart_count = response.restart_count;
        container.memory_limit = response.host_config.memory_limit();
        self.inspection = Inspection::Limits(CpuLimits {
            cores: response.host_config.cpu_limit(),
            quota: response.host_config.cpu_quota(),
        });
        if let Some(health) = response.state.health()
            && is_running(&container.state)
        {
            self.known_health = Some(health.to_owned());
            container.health.get_or_insert_with(|| health.to_owned());
        }
        if self.network_mode.is_none() {
            self.network_mode.clone_from(&response.host_config.network_mode);
        }
    }

    pub(super) fn apply(&mut self, event: &EngineEvent) {
        let (action, detail) = event.action();
        let attributes = &event.actor.attributes;
        if matches!(action, "start" | "die" | "update") {
            self.set_changed();
        }
        let container = &mut self.container;
        let before = container.state.clone();
        if !attributes.name.is_empty() {
            container.name.clone_from(&attributes.name);
        }
        match action {
            "start" => {
                "running".clone_into(&mut container.state);
                container.started_at = None;
                self.start_time = None;
                container.health = None;
                container.exit_code = None;
                container.oom_killed = Some(false);
                self.known_health = None;
            }
            "unpause" => "running".clone_into(&mut container.state),
            "pause" => "paused".clone_into(&mut container.state),
            "die" => {
                "exited".clone_into(&mut container.state);
                container.health = None;
                container.exit_code = attributes.exit_code.as_deref().and_then(|c| c.parse().ok());
                container.finished_at = event.time();
                self.known_health = None;
            }
            "destroy" => REMOVED.clone_into(&mut container.state),
            "oom" => container.oom_killed = Some(true),
            "health_status" => {
                container.health = detail.map(str::to_owned);
                self.known_health.clone_from(&container.health);
            }
            _ => {}
        }
        if container.state != before {
            container.status.clear();
            self.previous_state = Some((before, MAX_OUTDATED_LISTS));
        }
    }

    pub(super) fn status(&self, action: &str) -> ProjectStatus {
        ProjectStatus {
            status: action.to_owned(),
            container: StatusContainer {
                id: self.container.id.clone(),
                name: self.container.name.clone(),
                state: self.container.state.clone(),
                health: self.container.health.clone(),
                exit_code: self.container.exit_code,
                oom_killed: self.container.oom_killed.unwrap_or_default(),
            },
        }
    }

    /// Whether it has run and does not now.
    pub(super) fn has_exited(&self) -> bool {
        !is_running(&self.container.state) && self.container.state != "created"
    }

    pub(super) fn is_sampled(&self) -> bool {
        is_running(&self.container.state) && is_plain_id(&self.container.id)
    }

    /// Whether it has not been inspected since it changed.
    pub(super) fn is_pending(&self) -> bool {
        self.inspection == Inspection::Pending && is_plain_id(&self.container.id)
    }
}

/// The time, unless it is the year 1, which means "never".
fn known_time(text: &str) -> Option<String> {
    parse_timestamp(text).map(|_| text.to_owned())
}

fn unix_seconds(at: OffsetDateTime) -> f64 {
    // Exact to a microsecond.
    #[allow(clippy::cast_precision_loss)]
    let nanos = at.unix_timestamp_nanos() as f64;
    nanos / 1e9
}

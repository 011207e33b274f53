//! What is known about one container.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::STANDALONE;
use crate::docker::engine::call::is_plain_id;
use crate::docker::engine::json::{ContainerSummary, EventAttributes, short_id};
use crate::stats::payload::{Container, ProjectStatus, StatusContainer};
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
    /// The health from events and inspections, because Podman's lists have none.
    pub(super) known_health: Option<String>,
    pub(super) exit_code: Option<i64>,
    pub(super) oom_killed: bool,
    /// The state before the last event, and how many more lists may show it.
    pub(super) previous_state: Option<(String, u8)>,
}

/// The result of inspecting a container.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Inspection {
    /// Not inspected yet.
    #[default]
    Pending,
    /// It failed. Tried again after the next full list.
    Failed,
    /// The CPU limit in cores; `None` for no limit.
    CpuLimit(Option<f64>),
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
            started_at: self.container.started_at.take(),
        };
    }

    pub(super) fn apply(
        &mut self,
        action: &str,
        detail: Option<&str>,
        attributes: &EventAttributes,
    ) {
        let container = &mut self.container;
        let before = container.state.clone();
        if !attributes.name.is_empty() {
            container.name.clone_from(&attributes.name);
        }
        match action {
            "start" => {
                "running".clone_into(&mut container.state);
                container.started_at = None;
                container.health = None;
                self.known_health = None;
                self.inspection = Inspection::Pending;
                self.exit_code = None;
                self.oom_killed = false;
            }
            "unpause" => "running".clone_into(&mut container.state),
            "pause" => "paused".clone_into(&mut container.state),
            "die" => {
                "exited".clone_into(&mut container.state);
                container.health = None;
                self.known_health = None;
                self.exit_code = attributes.exit_code.as_deref().and_then(|c| c.parse().ok());
            }
            "destroy" => REMOVED.clone_into(&mut container.state),
            "update" => self.inspection = Inspection::Pending,
            "oom" => self.oom_killed = true,
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
                exit_code: self.exit_code,
                oom_killed: self.oom_killed,
            },
        }
    }

    pub(super) fn is_sampled(&self) -> bool {
        is_running(&self.container.state) && is_plain_id(&self.container.id)
    }
}

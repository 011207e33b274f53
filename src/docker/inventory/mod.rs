//! Which containers there are: pure. Lists say it, events keep it true between lists.

mod project_list;
#[cfg(test)]
mod tests;
pub(crate) mod watch;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::docker::engine::call::is_plain_id;
use crate::docker::engine::json::{
    ContainerInspect, ContainerSummary, EngineEvent, EventAttributes,
};
use crate::stats::payload::{
    Container, ProjectStatus, ProjectTotals, StatusContainer, Unavailable,
};
use crate::stats::snapshot::totals::{count, is_running};
use crate::stats::usage::{Figure, moment};
use crate::{Interest, STANDALONE};
use project_list::ListedProject;

/// The most containers told of. Beyond it the oldest stopped ones are left out, so that thousands
/// of forgotten containers cost neither memory nor bytes on the wire.
const MAX_CONTAINERS: usize = 5_000;
/// Lists that may still say what was before an event: Docker 20.10 tells of an end up to 100 ms
/// before its own list knows, and lists of what changed are half a second apart.
const MAX_BEHIND: u8 = 4;

/// The containers of one engine.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    entries: HashMap<String, InventoryEntry>,
    /// What events have touched since it was last listed.
    touched: BTreeSet<String>,
    /// Events that came while a list was under way: the list may be older than they are.
    meanwhile: Option<Vec<EngineEvent>>,
    /// Whether events come, once that is known.
    pub(crate) events: Option<bool>,
    /// The list is to be published though nothing has changed.
    pub(crate) anew: bool,
    /// Why nothing keeps this true any longer.
    pub(crate) lost: Option<String>,
}

#[derive(Clone, Debug, Default)]
struct InventoryEntry {
    container: Container,
    project: String,
    network_mode: Option<String>,
    limits: Inspection,
    exit_code: Option<i64>,
    oom_killed: bool,
    /// The state before the last event, and how many more lists may say it.
    before: Option<(String, u8)>,
}

/// What an inspection told of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Inspection {
    /// Not asked yet.
    #[default]
    Unknown,
    /// Asked in vain; asked again after the next list of all.
    Failed,
    /// The cores it may use; `None` for no limit.
    Cpu(Option<f64>),
}

/// A container to sample, and what its row says beside the figures.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Target {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) project: String,
    pub(crate) service: Option<String>,
    pub(crate) image: String,
    pub(crate) network: NetworkMode,
    /// `Ok(None)`: no limit.
    pub(crate) cpu_limit: Figure<Option<f64>>,
}

/// Whose network a container uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NetworkMode {
    /// Its own, or the engine does not say.
    Own,
    /// None at all.
    None,
    /// The host's, which the engine does not count.
    Host,
    /// The container's with this id.
    Of(String),
}

impl Inventory {
    /// A list is asked for from now on.
    pub(crate) fn listing(&mut self) -> Vec<String> {
        self.meanwhile = Some(Vec::new());
        std::mem::take(&mut self.touched).into_iter().collect()
    }

    /// The list did not come: the containers asked for are still to be listed.
    pub(crate) fn not_listed(&mut self, asked: Vec<String>) {
        self.meanwhile = None;
        self.touched.extend(asked);
    }

    /// The list of all containers came.
    pub(crate) fn listed(&mut self, mut list: Vec<ContainerSummary>) {
        if list.len() > MAX_CONTAINERS {
            log::debug!("{} containers, the oldest stopped ones are left out", list.len());
            list.sort_by_key(|c| (!is_running(&c.state), std::cmp::Reverse(c.created)));
            let running = list.partition_point(|c| is_running(&c.state));
            list.truncate(running.max(MAX_CONTAINERS));
        }
        let present: HashSet<&str> = list.iter().map(|c| c.id.as_str()).collect();
        self.entries.retain(|id, _| present.contains(id.as_str()));
        for entry in self.entries.values_mut().filter(|entry| entry.limits == Inspection::Failed) {
            entry.limits = Inspection::Unknown;
        }
        self.update(list);
    }

    /// The list of these containers came: those not in it are gone.
    pub(crate) fn listed_only(&mut self, asked: &[String], list: Vec<ContainerSummary>) {
        for id in asked {
            if !list.iter().any(|c| c.id == *id) {
                self.entries.remove(id);
            }
        }
        self.update(list);
    }

    fn update(&mut self, list: Vec<ContainerSummary>) {
        for listed in list {
            let entry = self.entries.entry(listed.id.clone()).or_default();
            if entry.is_ahead_of(&listed) {
                self.touched.insert(listed.id);
            } else {
                entry.update(listed);
            }
        }
        for event in self.meanwhile.take().unwrap_or_default() {
            self.apply(&event);
        }
    }

    /// Takes one event; what to tell the clients of its project, if it is worth telling.
    pub(crate) fn apply(&mut self, event: &EngineEvent) -> Option<(String, ProjectStatus)> {
        let (action, detail) = match event.action.split_once(": ") {
            Some((action, detail)) => (action, Some(detail)),
            None => (event.action.as_str(), None),
        };
        let id = &event.actor.id;
        if id.is_empty() || !matters(action) {
            return None;
        }
        if let Some(meanwhile) = &mut self.meanwhile {
            meanwhile.push(event.clone());
        }
        self.touched.insert(id.clone());
        let attributes = &event.actor.attributes;
        let entry =
            self.entries.entry(id.clone()).or_insert_with(|| InventoryEntry::new(id, attributes));
        entry.apply(action, detail, attributes);
        // One word for both engines.
        let word = if action == "remove" { "destroy" } else { action };
        let told = (entry.project.clone(), entry.status(word));
        if entry.container.state == REMOVED {
            self.entries.remove(id);
        }
        Some(told)
    }

    /// Whether a list is due for what events have touched.
    pub(crate) fn is_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    /// Up to `most` running containers whose limits are not known yet.
    pub(crate) fn to_inspect(&self, most: usize) -> Vec<String> {
        let unknown = |e: &&InventoryEntry| e.limits == Inspection::Unknown && e.is_sampled();
        self.entries.values().filter(unknown).take(most).map(|e| e.container.id.clone()).collect()
    }

    /// What an inspection answered; `None` where it was refused or failed.
    pub(crate) fn inspected(&mut self, id: &str, answer: Option<&ContainerInspect>) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        let Some(answer) = answer else {
            entry.limits = Inspection::Failed;
            return;
        };
        let started_at = &answer.state.started_at;
        entry.container.started_at = moment(started_at).map(|_| started_at.clone());
        entry.limits = Inspection::Cpu(answer.host_config.cpu_limit());
        if entry.network_mode.is_none() {
            entry.network_mode.clone_from(&answer.host_config.network_mode);
        }
    }

    /// The projects and their containers, in the order of their names.
    pub(crate) fn projects(&self) -> Vec<ListedProject<'_>> {
        let mut by_id: BTreeMap<&str, Vec<&Container>> = BTreeMap::new();
        for entry in self.entries.values() {
            by_id.entry(&entry.project).or_default().push(&entry.container);
        }
        by_id.into_iter().map(|(id, containers)| ListedProject::new(id, containers)).collect()
    }

    /// How many containers each project has that somebody wants, and how many of them run.
    pub(crate) fn counts(&self, interest: &Interest) -> BTreeMap<String, ProjectTotals> {
        let mut counts: BTreeMap<String, ProjectTotals> = BTreeMap::new();
        for entry in self.entries.values().filter(|entry| interest.includes(&entry.project)) {
            let sums = match counts.get_mut(&entry.project) {
                Some(sums) => sums,
                None => counts.entry(entry.project.clone()).or_default(),
            };
            count(sums, &entry.container.state);
        }
        counts
    }

    /// The containers that run, of the projects somebody wants.
    pub(crate) fn targets(&self, interest: &Interest) -> Vec<Target> {
        let wanted = |e: &&InventoryEntry| e.is_sampled() && interest.includes(&e.project);
        self.entries.values().filter(wanted).map(|entry| self.target(entry)).collect()
    }

    fn target(&self, entry: &InventoryEntry) -> Target {
        Target {
            id: entry.container.id.clone(),
            name: entry.container.name.clone(),
            project: entry.project.clone(),
            service: entry.container.service_name.clone(),
            image: entry.container.image.clone(),
            network: self.network(entry),
            cpu_limit: match entry.limits {
                Inspection::Cpu(limit) => Ok(limit),
                Inspection::Unknown | Inspection::Failed => Err(Unavailable::EngineError),
            },
        }
    }

    fn network(&self, entry: &InventoryEntry) -> NetworkMode {
        match entry.network_mode.as_deref() {
            Some("host") => NetworkMode::Host,
            Some("none") => NetworkMode::None,
            Some(mode) => match mode.strip_prefix("container:") {
                Some(other) => self.network_of(other),
                None => NetworkMode::Own,
            },
            None => NetworkMode::Own,
        }
    }

    /// The network of the container with this id or name, seen by one that shares it.
    fn network_of(&self, other: &str) -> NetworkMode {
        let named = || self.entries.values().find(|e| e.container.name == other);
        match self.entries.get(other).or_else(named) {
            Some(entry) => match entry.network_mode.as_deref() {
                Some("host") => NetworkMode::Host,
                Some("none") => NetworkMode::None,
                _ => NetworkMode::Of(entry.container.id.clone()),
            },
            None => NetworkMode::Of(other.to_owned()),
        }
    }
}

/// The state we give a container that is no more; the engine has no word for it.
const REMOVED: &str = "removed";

/// Whether an action changes anything we tell. Podman says `remove` for `destroy`.
fn matters(action: &str) -> bool {
    matches!(
        action,
        "create"
            | "start"
            | "die"
            | "destroy"
            | "remove"
            | "pause"
            | "unpause"
            | "rename"
            | "update"
            | "oom"
            | "health_status"
    )
}

impl InventoryEntry {
    /// What an event tells of a container not listed yet.
    fn new(id: &str, attributes: &EventAttributes) -> Self {
        let container = Container {
            id: id.to_owned(),
            name: attributes.name.clone(),
            service_name: attributes.labels.service().map(str::to_owned),
            image: attributes.image.clone(),
            state: "created".to_owned(),
            ..Container::default()
        };
        let project = attributes.labels.project().unwrap_or(STANDALONE).to_owned();
        Self { container, project, ..Self::default() }
    }

    /// Whether an event has told more than this list knows yet.
    fn is_ahead_of(&mut self, listed: &ContainerSummary) -> bool {
        match self.before.take() {
            Some((before, left @ 1..)) if listed.state.eq_ignore_ascii_case(&before) => {
                self.before = Some((before, left - 1));
                true
            }
            _ => false,
        }
    }

    fn update(&mut self, listed: ContainerSummary) {
        self.project = listed.labels.project().unwrap_or(STANDALONE).to_owned();
        if listed.host_config.network_mode.is_some() {
            self.network_mode = listed.host_config.network_mode;
        }
        let mut ports: Vec<String> = listed.ports.iter().map(ToString::to_string).collect();
        ports.sort_unstable();
        ports.dedup();
        let name = listed.names.into_iter().next().unwrap_or_default();
        self.container = Container {
            id: listed.id,
            name: name.strip_prefix('/').map(str::to_owned).unwrap_or(name),
            service_name: listed.labels.service().map(str::to_owned),
            image: listed.image,
            health: health(&listed.status).map(str::to_owned),
            state: listed.state.to_ascii_lowercase(),
            status: listed.status,
            ports,
            created_at: OffsetDateTime::from_unix_timestamp(listed.created)
                .ok()
                .and_then(|at| at.format(&Rfc3339).ok()),
            started_at: self.container.started_at.take(),
        };
    }

    fn apply(&mut self, action: &str, detail: Option<&str>, attributes: &EventAttributes) {
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
                self.limits = Inspection::Unknown;
                self.exit_code = None;
                self.oom_killed = false;
            }
            "unpause" => "running".clone_into(&mut container.state),
            "pause" => "paused".clone_into(&mut container.state),
            "die" => {
                "exited".clone_into(&mut container.state);
                container.health = None;
                self.exit_code = attributes.exit_code.as_deref().and_then(|c| c.parse().ok());
            }
            "destroy" | "remove" => REMOVED.clone_into(&mut container.state),
            "update" => self.limits = Inspection::Unknown,
            "oom" => self.oom_killed = true,
            "health_status" => container.health = detail.map(str::to_owned),
            _ => {}
        }
        if container.state != before {
            container.status.clear();
            self.before = Some((before, MAX_BEHIND));
        }
    }

    fn status(&self, action: &str) -> ProjectStatus {
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

    fn is_sampled(&self) -> bool {
        is_running(&self.container.state) && is_plain_id(&self.container.id)
    }
}

/// The health in the engine's sentence: `Up 4 seconds (healthy)`.
fn health(status: &str) -> Option<&'static str> {
    [("(healthy)", "healthy"), ("(unhealthy)", "unhealthy"), ("(health: starting)", "starting")]
        .into_iter()
        .find_map(|(end, health)| status.ends_with(end).then_some(health))
}

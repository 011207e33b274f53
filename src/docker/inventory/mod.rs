//! The known containers: lists replace them, events update them between lists. No I/O.

mod entry;
pub(crate) mod event_history;
mod events;
mod facts;
pub(crate) mod incidents;
#[cfg(test)]
mod inspection_tests;
mod lister;
mod project_list;
#[cfg(test)]
mod tests;
pub(crate) mod watch;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::Interest;
use crate::docker::engine::call::{EVENT_ACTIONS, is_plain_id};
use crate::docker::engine::json::{ContainerInspect, ContainerSummary, EngineEvent};
use crate::docker::engine::list::{MAX_CONTAINERS, MAX_RUNNING};
use crate::stats::payload::{
    Container, ProjectStatus, ProjectTotals, PrometheusFields, Unavailable,
};
use crate::stats::reading::Measurement;
use crate::stats::snapshot::totals::{count_container, is_running};
use entry::{Inspection, InventoryEntry, REMOVED};
use incidents::{Incidents, minute};
use project_list::ListedProject;

/// The most events remembered during a list call, and the most changed containers.
const MAX_CHANGES: usize = 5_000;

/// The number of stopped containers inspected, the newest ones, unless more of them change. Each
/// inspection costs the engine a few milliseconds.
const INSPECTED_STOPPED: usize = 100;

/// The containers of one engine.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    entries: HashMap<String, InventoryEntry>,
    /// The containers that events have changed since they were last listed.
    changed: BTreeSet<String>,
    /// Events that arrived during a list call, because the list may be older than they are.
    events_during_list: Option<Vec<EngineEvent>>,
    /// The restarts and OOM kills that events have reported.
    pub(crate) incidents: Incidents,
    /// Whether there is an event stream; `None` until that is known.
    pub(crate) events: Option<bool>,
    /// Publish the list even if it has not changed.
    pub(crate) republish: bool,
    /// Why the inventory is no longer kept up to date.
    pub(crate) lost: Option<String>,
}

/// A container to sample, with its fields in [`ContainerStats`](crate::ContainerStats).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Target {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) project: String,
    pub(crate) service: Option<String>,
    pub(crate) network: NetworkMode,
    /// In cores; `Ok(None)` for no limit.
    pub(crate) cpu_limit: Measurement<Option<f64>>,
    /// Whether it may use all of the machine's memory; false if that is unknown.
    pub(crate) unlimited_memory: bool,
    /// The facts that only `/metrics` shows.
    pub(crate) facts: PrometheusFields,
}

/// The network a container uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NetworkMode {
    /// Its own, or unknown.
    Own,
    /// None.
    None,
    /// The host's, for which the engine has no counters.
    Host,
    /// That of the container with this id.
    SharedWith(String),
}

impl Inventory {
    /// Marks the start of a list call. Returns the ids of the containers that have changed.
    pub(crate) fn begin_list(&mut self) -> Vec<String> {
        self.events_during_list = Some(Vec::new());
        std::mem::take(&mut self.changed).into_iter().collect()
    }

    /// Marks the end of a list call that failed; these containers stay changed.
    pub(crate) fn abort_list(&mut self, ids: Vec<String>) {
        self.events_during_list = None;
        self.changed.extend(ids);
    }

    /// Applies a list of all containers.
    pub(crate) fn apply_full_list(&mut self, list: Vec<ContainerSummary>) {
        let present: HashSet<&str> = list.iter().map(|c| c.id.as_str()).collect();
        self.entries.retain(|id, _| present.contains(id.as_str()));
        for entry in
            self.entries.values_mut().filter(|entry| entry.inspection == Inspection::Failed)
        {
            entry.inspection = Inspection::Pending;
        }
        self.update(list);
    }

    /// Applies a list of the containers with these ids. Those not in it were removed.
    pub(crate) fn apply_list(&mut self, ids: &[String], list: Vec<ContainerSummary>) {
        for id in ids {
            if !list.iter().any(|c| c.id == *id) {
                self.entries.remove(id);
            }
        }
        let list: Vec<_> = list.into_iter().filter(|c| self.make_room(&c.id)).collect();
        self.update(list);
    }

    fn update(&mut self, list: Vec<ContainerSummary>) {
        for listed in list {
            let entry = self.entries.entry(listed.id.clone()).or_default();
            if entry.is_newer_than(&listed) {
                self.changed.insert(listed.id);
            } else {
                entry.update(listed);
            }
        }
        for event in self.events_during_list.take().unwrap_or_default() {
            self.update_entry(&event);
        }
    }

    /// Applies an event. Returns the project and its `project_status`, unless the event is ignored.
    pub(crate) fn apply(&mut self, event: &EngineEvent) -> Option<(String, ProjectStatus)> {
        let (action, _) = event.action();
        let id = &event.actor.id;
        if !is_plain_id(id) || !EVENT_ACTIONS.contains(&action) {
            return None;
        }
        match action {
            "start" if self.entries.get(id).is_some_and(InventoryEntry::has_exited) => {
                self.incidents.count_restart(id, minute());
            }
            "oom" => self.incidents.count_oom_kill(id, minute()),
            "destroy" => self.incidents.remove(id),
            _ => {}
        }
        if let Some(events) = &mut self.events_during_list
            && events.len() < MAX_CHANGES
        {
            events.push(event.clone());
        }
        // After so many changes all containers are listed, not only these.
        if self.changed.len() < MAX_CHANGES {
            self.changed.insert(id.clone());
        }
        self.update_entry(event)
    }

    /// Updates the container of an event.
    fn update_entry(&mut self, event: &EngineEvent) -> Option<(String, ProjectStatus)> {
        let (action, _) = event.action();
        let id = &event.actor.id;
        if self.entries.len() >= MAX_CONTAINERS && !self.entries.contains_key(id) {
            // The next list decides which containers to leave out.
            return None;
        }
        let attributes = &event.actor.attributes;
        let entry =
            self.entries.entry(id.clone()).or_insert_with(|| InventoryEntry::new(id, attributes));
        entry.apply(event);
        let status = (entry.project.clone(), entry.status(action));
        if entry.container.state == REMOVED {
            self.entries.remove(id);
        }
        Some(status)
    }

    /// Returns whether the container with this id is known or there is room for it. If the limit is
    /// reached, the oldest stopped container is removed.
    fn make_room(&mut self, id: &str) -> bool {
        if self.entries.len() < MAX_CONTAINERS || self.entries.contains_key(id) {
            return true;
        }
        let stopped = self.entries.values().filter(|e| !is_running(&e.container.state));
        // Those known only from events have no time: the first ones.
        let oldest = stopped.min_by(|a, b| a.container.created_at.cmp(&b.container.created_at));
        match oldest.map(|entry| entry.container.id.clone()) {
            Some(oldest) => self.entries.remove(&oldest).is_some(),
            None => self.entries.len() < MAX_RUNNING,
        }
    }

    /// Whether events have changed containers since they were listed.
    pub(crate) fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Up to `limit` containers to inspect: those that are running, or have changed, and the newest
    /// [`INSPECTED_STOPPED`] others. The running ones come first, and the newest of each kind.
    ///
    /// Those to be listed again are left to a later call: the engine may still report the state
    /// before the event.
    pub(crate) fn uninspected(&self, limit: usize) -> Vec<String> {
        let is_running = |entry: &InventoryEntry| is_running(&entry.container.state);
        let newest_first = |entry: &&InventoryEntry| {
            let Container { created_at, id, .. } = &entry.container;
            Reverse((is_running(entry), created_at.clone(), id.clone()))
        };
        let is_pending = |entry: &InventoryEntry| {
            entry.is_pending() && !self.changed.contains(&entry.container.id)
        };
        let pending = || self.entries.values().filter(|entry| is_pending(entry));
        let mut to_inspect: Vec<&InventoryEntry> =
            pending().filter(|entry| is_running(entry) || entry.has_changed).collect();
        if pending().count() > to_inspect.len() {
            let mut stopped: Vec<_> = self.entries.values().filter(|e| !is_running(e)).collect();
            stopped.sort_by_cached_key(newest_first);
            stopped.truncate(INSPECTED_STOPPED);
            to_inspect.extend(stopped.into_iter().filter(|e| is_pending(e) && !e.has_changed));
        }
        to_inspect.sort_by_cached_key(newest_first);
        to_inspect.truncate(limit);
        to_inspect.into_iter().map(|entry| entry.container.id.clone()).collect()
    }

    /// Marks the start of a call that inspects this container.
    pub(crate) fn begin_inspection(&mut self, id: &str) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.inspection = Inspection::Running;
        }
    }

    /// Applies an inspection; `None` if it failed.
    pub(crate) fn apply_inspection(&mut self, id: &str, response: Option<&ContainerInspect>) {
        // An event during the call has made the response outdated.
        let is_awaited = |entry: &&mut InventoryEntry| entry.inspection == Inspection::Running;
        if let Some(entry) = self.entries.get_mut(id).filter(is_awaited) {
            entry.apply_inspection(response);
        }
    }

    /// Sets how often each container has restarted and run out of memory. Without events that is not
    /// known.
    pub(crate) fn update_incidents(&mut self, minute: u64) {
        self.incidents.prune(minute);
        let known = self.events == Some(true);
        for (id, entry) in &mut self.entries {
            let incidents = known.then(|| self.incidents.get(id));
            let incidents = incidents.as_ref();
            let container = &mut entry.container;
            container.restarts_10m = incidents.map(|all| all.restarts(minute, 10));
            container.restarts_1h = incidents.map(|all| all.restarts(minute, 60));
            container.restart_loop = incidents.map(|all| all.is_restart_loop(minute));
            container.oom_kills_1h = incidents.map(|all| all.oom_kills(minute, 60));
        }
    }

    /// The projects with their containers, sorted by name.
    pub(crate) fn projects(&self) -> Vec<ListedProject<'_>> {
        let mut by_id: BTreeMap<&str, Vec<&Container>> = BTreeMap::new();
        for entry in self.entries.values() {
            by_id.entry(&entry.project).or_default().push(&entry.container);
        }
        by_id.into_iter().map(|(id, containers)| ListedProject::new(id, containers)).collect()
    }

    /// The number of containers, and of running ones, of each project in `interest`.
    pub(crate) fn counts(&self, interest: &Interest) -> BTreeMap<String, ProjectTotals> {
        let mut counts: BTreeMap<String, ProjectTotals> = BTreeMap::new();
        for entry in self.entries.values().filter(|entry| interest.includes(&entry.project)) {
            let sums = match counts.get_mut(&entry.project) {
                Some(sums) => sums,
                None => counts.entry(entry.project.clone()).or_default(),
            };
            count_container(sums, &entry.container.state);
        }
        counts
    }

    /// The running containers of the projects in `interest`.
    pub(crate) fn targets(&self, interest: &Interest) -> Vec<Target> {
        let is_wanted = |e: &&InventoryEntry| e.is_sampled() && interest.includes(&e.project);
        self.entries.values().filter(is_wanted).map(|entry| self.target(entry)).collect()
    }

    fn target(&self, entry: &InventoryEntry) -> Target {
        Target {
            id: entry.container.id.clone(),
            name: entry.container.name.clone(),
            project: entry.project.clone(),
            service: entry.container.service_name.clone(),
            network: self.network(entry),
            unlimited_memory: matches!(entry.inspection, Inspection::Limits(_))
                && entry.container.memory_limit.is_none(),
            facts: self.facts(entry),
            cpu_limit: match entry.inspection {
                Inspection::Limits(limits) => Ok(limits.cores),
                Inspection::Pending | Inspection::Running | Inspection::Failed => {
                    Err(Unavailable::EngineError)
                }
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

    /// The network mode of a container that shares the network of the one with this id or name.
    fn network_of(&self, other: &str) -> NetworkMode {
        let by_name = || self.entries.values().find(|e| e.container.name == other);
        match self.entries.get(other).or_else(by_name) {
            Some(entry) => match entry.network_mode.as_deref() {
                Some("host") => NetworkMode::Host,
                Some("none") => NetworkMode::None,
                _ => NetworkMode::SharedWith(entry.container.id.clone()),
            },
            None => NetworkMode::SharedWith(other.to_owned()),
        }
    }
}

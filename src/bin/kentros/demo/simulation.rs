//! All simulated containers and their projects.

use std::collections::BTreeMap;

use kentros::{Container, ContainerStats, Interest, Project, ProjectStatus, STANDALONE};
use time::OffsetDateTime;

use super::container::{Scenario, SimulatedContainer, rfc3339};
use super::services::{SERVICES, ServiceProfile};

/// The Compose projects that containers are assigned to, in this order.
const PROJECTS: [&str; 24] = [
    "shop", "blog", "billing", "media", "search", "mail", "crm", "docs", "forum", "maps",
    "metrics", "chat", "wiki", "auth", "photos", "radio", "feeds", "games", "tickets", "library",
    "weather", "surveys", "backup", "staging",
];

/// The special containers, at every second position of the list: project, service, scenario.
const SPECIAL: [(&str, &str, Scenario); 5] = [
    (STANDALONE, "node-exporter", Scenario::HostNetwork),
    ("shop", "migrate", Scenario::Stopped),
    ("blog", "importer", Scenario::Restarts),
    ("shop", "mailer", Scenario::Unhealthy),
    (STANDALONE, "registry", Scenario::Steady),
];

pub(crate) struct Simulation {
    pub(crate) containers: Vec<SimulatedContainer>,
    /// The project list as last published.
    pub(crate) projects: Vec<Project>,
}

impl Simulation {
    /// A simulation of `n` containers.
    pub(crate) fn new(n: usize) -> Self {
        let now = OffsetDateTime::now_utc();
        let projects = PROJECTS.get(..(n / 6).clamp(1, PROJECTS.len())).unwrap_or(&PROJECTS);
        let services: Vec<&'static ServiceProfile> =
            SERVICES.iter().filter(|service| !service.special).collect();
        let mut special = SPECIAL.iter();
        let mut containers = Vec::with_capacity(n);
        let mut ordinary = 0;
        for index in 0..n {
            let next_special = if index % 2 == 1 { special.next() } else { None };
            let chosen = if let Some(&(project, name, scenario)) = next_special {
                SERVICES.iter().find(|s| s.name == name).map(|s| (project, s, 1, scenario))
            } else {
                let project = projects.get(ordinary % projects.len());
                let round = ordinary / projects.len();
                ordinary += 1;
                let replica = round / services.len() + 1;
                project
                    .zip(services.get(round % services.len()))
                    .map(|(project, service)| (*project, *service, replica, Scenario::Steady))
            };
            if let Some((project, service, replica, scenario)) = chosen {
                let made = SimulatedContainer::new(index, project, service, replica, scenario, now);
                containers.push(made);
            }
        }
        let projects = project_list(&mut containers, now);
        Self { containers, projects }
    }

    /// Refreshes the project list after a pause. Rates are missing until the second sample.
    pub(super) fn resume(&mut self, now: OffsetDateTime) {
        for container in &mut self.containers {
            container.sampled = false;
        }
        self.projects = project_list(&mut self.containers, now);
    }

    /// Advances by `seconds` and returns the events, each with its project.
    pub(crate) fn advance(
        &mut self,
        seconds: f64,
        now: OffsetDateTime,
    ) -> Vec<(String, ProjectStatus)> {
        let mut events = Vec::new();
        for container in &mut self.containers {
            if let Some(event) = container.advance(seconds, now) {
                events.push((container.project.clone(), event));
            }
        }
        if !events.is_empty() {
            self.projects = project_list(&mut self.containers, now);
        }
        events
    }

    /// Samples the running containers that `interest` includes, each with its id.
    pub(crate) fn rows(
        &mut self,
        interest: &Interest,
        now: OffsetDateTime,
    ) -> Vec<(String, ContainerStats)> {
        let timestamp = rfc3339(now);
        self.containers
            .iter_mut()
            .filter(|c| c.is_running() && interest.includes(&c.project))
            .map(|c| (c.container.id.clone(), c.sample(timestamp.clone())))
            .collect()
    }
}

/// The projects sorted by name, each with its containers sorted by name.
fn project_list(containers: &mut [SimulatedContainer], now: OffsetDateTime) -> Vec<Project> {
    let mut projects: BTreeMap<&str, Vec<Container>> = BTreeMap::new();
    for simulated in containers {
        simulated.container.status = simulated.status(now);
        projects.entry(&simulated.project).or_default().push(simulated.container.clone());
    }
    let project = |(id, mut containers): (&str, Vec<Container>)| {
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        let mut project = Project::new(id, containers);
        if id == STANDALONE {
            "Standalone".clone_into(&mut project.name);
        }
        project
    };
    projects.into_iter().map(project).collect()
}

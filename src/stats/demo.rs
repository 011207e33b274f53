//! Simulated containers, for people without an engine.

mod load;

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use self::load::{Dice, Load, SERVICES, Service};
use super::{EngineInfo, SourceError, StatsSource};
use crate::stats::payload::{
    Container, ContainerStats, Mode, Project, ProjectStatus, PrometheusFields, StatusContainer,
    Unavailable,
};
use crate::stats::snapshot::totals;
use crate::{Error, HubHandle, Interest, Snapshot};
use crate::{Message, STANDALONE};

/// The Compose projects containers are dealt to, in this order.
const PROJECTS: [&str; 24] = [
    "shop", "blog", "billing", "media", "search", "mail", "crm", "docs", "forum", "maps",
    "metrics", "chat", "wiki", "auth", "photos", "radio", "feeds", "games", "tickets", "library",
    "weather", "surveys", "backup", "staging",
];

/// How long the container that restarts stays up, seconds.
const UP: f64 = 40.0;
/// How long it has been up at first, seconds.
const AGE: f64 = 20.0;
/// How long it then stays down, seconds.
const DOWN: f64 = 4.0;
/// The longest step of the simulation, seconds: a gap in the readings is no hour of work.
const LONGEST_STEP: f64 = 10.0;

/// A source of simulated containers, marked as a demo in [`EngineInfo::mode`].
///
/// Among ten or more are one that is stopped, one that is unhealthy, one on the host's network
/// and one that fails and starts again. Ids and names are the same at each start.
///
/// ```
/// use kentros::{Interest, DemoSource, StatsSource};
/// let mut source = DemoSource::new(20);
/// let snapshot = source.collect(&Interest::all()).unwrap();
/// ```
pub struct DemoSource {
    containers: Vec<Simulated>,
    /// The list as it was last published.
    projects: Vec<Project>,
    hub: Option<HubHandle>,
    last: Option<Instant>,
}

/// One simulated container.
struct Simulated {
    project: String,
    container: Container,
    service: &'static Service,
    role: Role,
    dice: Dice,
    load: Load,
    started: OffsetDateTime,
    /// Seconds until it fails or starts again: only [`Role::Restarts`] counts them.
    turn: f64,
    /// Whether it was read since its start: a rate needs two readings.
    sampled: bool,
}

/// What sets a container apart from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Steady,
    HostNetwork,
    Stopped,
    Unhealthy,
    Restarts,
}

/// Those with a role, at every second place of the list: project, service, role.
const CAST: [(&str, &str, Role); 5] = [
    (STANDALONE, "node-exporter", Role::HostNetwork),
    ("shop", "migrate", Role::Stopped),
    ("blog", "importer", Role::Restarts),
    ("shop", "mailer", Role::Unhealthy),
    (STANDALONE, "registry", Role::Steady),
];

impl DemoSource {
    /// A source of `n` containers.
    pub fn new(n: usize) -> Self {
        let now = OffsetDateTime::now_utc();
        let spread = (n / 6).clamp(1, PROJECTS.len());
        let services: Vec<&'static Service> = SERVICES.iter().filter(|s| !s.cast).collect();
        let mut cast = CAST.iter();
        let mut containers = Vec::with_capacity(n);
        let mut dealt = 0;
        for i in 0..n {
            let member = if i % 2 == 1 { cast.next() } else { None };
            let made = if let Some(&(project, service, role)) = member {
                SERVICES.iter().find(|s| s.name == service).map(|s| (project, s, 1, role))
            } else {
                let project = PROJECTS.get(dealt % spread);
                let round = dealt / spread;
                dealt += 1;
                project.zip(services.get(round % services.len())).map(|(project, service)| {
                    (*project, *service, round / services.len() + 1, Role::Steady)
                })
            };
            if let Some((project, service, replica, role)) = made {
                containers.push(Simulated::new(i, project, service, replica, role, now));
            }
        }
        let projects = list(&mut containers, now);
        Self { containers, projects, hub: None, last: None }
    }

    /// Lets `seconds` pass, and tells what happened to whom.
    fn advance(&mut self, seconds: f64, now: OffsetDateTime) -> Vec<(String, ProjectStatus)> {
        let mut events = Vec::new();
        for simulated in &mut self.containers {
            if let Some(event) = simulated.advance(seconds, now) {
                events.push((simulated.project.clone(), event));
            }
        }
        if !events.is_empty() {
            self.projects = list(&mut self.containers, now);
        }
        events
    }

    fn rows(&mut self, interest: &Interest, now: OffsetDateTime) -> Vec<(String, ContainerStats)> {
        let timestamp = rfc3339(now);
        self.containers
            .iter_mut()
            .filter(|s| s.runs() && interest.includes(&s.project))
            .map(|s| (s.container.id.clone(), s.read(timestamp.clone())))
            .collect()
    }

    fn publish_list(&self) -> Result<(), Error> {
        let Some(hub) = &self.hub else { return Ok(()) };
        hub.broadcast(&Message::new("project_list", &self.projects).latest())
    }

    fn publish(&self, events: &[(String, ProjectStatus)]) -> Result<(), Error> {
        let Some(hub) = &self.hub else { return Ok(()) };
        for (project, status) in events {
            let message = Message::new("project_status", status).project(project);
            hub.broadcast_to_subscribers(project, &message)?;
        }
        self.publish_list()
    }
}

impl StatsSource for DemoSource {
    fn collect(&mut self, interest: &Interest) -> Result<Snapshot, SourceError> {
        let (instant, now) = (Instant::now(), OffsetDateTime::now_utc());
        if let Some(last) = self.last.replace(instant) {
            let passed = instant.duration_since(last).as_secs_f64();
            let events = self.advance(passed.min(LONGEST_STEP), now);
            if !events.is_empty() {
                self.publish(&events)?;
            }
        }
        let rows = self.rows(interest, now);
        Ok(Snapshot::from_rows(rows, &self.projects, Duration::MAX)?)
    }

    fn start(&mut self, hub: &HubHandle) -> Result<(), SourceError> {
        self.hub = Some(hub.clone());
        self.last = None;
        for simulated in &mut self.containers {
            simulated.sampled = false;
        }
        self.projects = list(&mut self.containers, OffsetDateTime::now_utc());
        // A hub that has stopped says so to the streamer as well, and that ends this source.
        let _ = self.publish_list();
        Ok(())
    }

    fn pause(&mut self) {
        self.hub = None;
    }

    fn engine_info(&self) -> EngineInfo {
        EngineInfo {
            engine: Some("Demo".to_owned()),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            mode: Some(Mode::Demo),
            ..EngineInfo::default()
        }
    }
}

impl fmt::Debug for DemoSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DemoSource")
            .field("containers", &self.containers.len())
            .field("projects", &self.projects.len())
            .finish_non_exhaustive()
    }
}

impl Simulated {
    fn new(
        index: usize,
        project: &str,
        service: &'static Service,
        replica: usize,
        role: Role,
        now: OffsetDateTime,
    ) -> Self {
        let mut dice = Dice::new(index as u64);
        let alone = project == STANDALONE;
        // From half an hour to six days, but for the one that never lives long.
        let age = if role == Role::Restarts { AGE } else { dice.between(1_800.0, 500_000.0) };
        let started = now - Duration::from_secs_f64(age);
        let port = 8_000 + index % 1_000;
        let container = Container {
            id: dice.id(),
            name: if alone {
                service.name.to_owned()
            } else {
                format!("{project}-{}-{replica}", service.name)
            },
            service_name: (!alone).then(|| service.name.to_owned()),
            image: service.image.to_owned(),
            state: if role == Role::Stopped { "exited" } else { "running" }.to_owned(),
            status: String::new(),
            health: match role {
                Role::Unhealthy => Some("unhealthy".to_owned()),
                Role::Steady if service.checked => Some("healthy".to_owned()),
                _ => None,
            },
            ports: service
                .port
                .filter(|_| role == Role::Steady)
                .map(|inside| format!("127.0.0.1:{port}->{inside}/tcp"))
                .into_iter()
                .collect(),
            created_at: rfc3339(started - Duration::from_secs(2)),
            started_at: rfc3339(started),
        };
        let load = Load::after(service, &mut dice, age);
        Self {
            project: project.to_owned(),
            container,
            service,
            role,
            dice,
            load,
            started,
            turn: UP - AGE,
            sampled: false,
        }
    }

    fn runs(&self) -> bool {
        totals::is_running(&self.container.state)
    }

    fn advance(&mut self, seconds: f64, now: OffsetDateTime) -> Option<ProjectStatus> {
        if self.runs() {
            self.load.step(self.service, &mut self.dice, seconds);
        }
        if self.role != Role::Restarts {
            return None;
        }
        self.turn -= seconds;
        if self.turn > 0.0 {
            return None;
        }
        let dies = self.runs();
        if dies {
            "restarting".clone_into(&mut self.container.state);
            self.turn = DOWN;
        } else {
            "running".clone_into(&mut self.container.state);
            self.turn = UP;
            self.started = now;
            self.container.started_at = rfc3339(now);
            self.load = Load::after(self.service, &mut self.dice, 0.0);
            self.sampled = false;
        }
        Some(ProjectStatus {
            status: if dies { "die" } else { "start" }.to_owned(),
            container: StatusContainer {
                id: self.container.id.clone(),
                name: self.container.name.clone(),
                state: self.container.state.clone(),
                health: None,
                exit_code: dies.then_some(1),
                oom_killed: false,
            },
        })
    }

    /// The row of a container that runs.
    fn read(&mut self, timestamp: Option<String>) -> ContainerStats {
        let mut unavailable = BTreeMap::new();
        let mut miss = |field: &str, why| {
            unavailable.insert(field.to_owned(), why);
        };
        let first = !std::mem::replace(&mut self.sampled, true);
        if first {
            miss("cpu_percent", Unavailable::FirstSample);
        }
        let network = self.role != Role::HostNetwork;
        if !network {
            miss("network_rx", Unavailable::HostNetwork);
            miss("network_tx", Unavailable::HostNetwork);
        }
        let load = &self.load;
        let limit = self.service.memory_limit();
        ContainerStats {
            name: self.container.name.clone(),
            project_id: self.project.clone(),
            service_name: self.container.service_name.clone(),
            cpu_percent: (!first).then(|| load.cpu_percent()),
            online_cpus: Some(load::CORES),
            cpu_limit: Some(self.service.cores()),
            memory_usage: Some(load.memory()),
            memory_limit: Some(limit),
            memory_percent: Some(load.memory_percent(limit)),
            network_rx: network.then(|| load.received()),
            network_tx: network.then(|| load.sent()),
            block_read: Some(load.read()),
            block_write: Some(load.written()),
            pids: Some(load.pids()),
            timestamp,
            age_ms: Some(0),
            unavailable,
            network_of: None,
            prometheus: PrometheusFields {
                image: self.container.image.clone(),
                cpu_total: Some(load.cpu_total()),
                memory_total: Some(load.memory()),
            },
        }
    }

    /// The engine's sentence about it.
    fn status(&self, now: OffsetDateTime) -> String {
        let since = lasting((now - self.started).whole_seconds());
        match (self.container.state.as_str(), &self.container.health) {
            ("exited", _) => format!("Exited (0) {since} ago"),
            ("restarting", _) => "Restarting (1) Less than a second ago".to_owned(),
            (_, Some(health)) => format!("Up {since} ({health})"),
            (_, None) => format!("Up {since}"),
        }
    }
}

/// The projects by name, each with its containers by name, as they are `now`.
fn list(containers: &mut [Simulated], now: OffsetDateTime) -> Vec<Project> {
    let mut projects: BTreeMap<&str, Vec<Container>> = BTreeMap::new();
    for simulated in containers {
        simulated.container.status = simulated.status(now);
        projects.entry(&simulated.project).or_default().push(simulated.container.clone());
    }
    let project = |(id, mut containers): (&str, Vec<Container>)| {
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        let running = containers.iter().filter(|c| totals::is_running(&c.state)).count();
        let status = match running {
            0 => "stopped",
            n if n == containers.len() => "running",
            _ => "partial",
        };
        let name = if id == STANDALONE { "Standalone" } else { id };
        Project { id: id.to_owned(), name: name.to_owned(), status: status.to_owned(), containers }
    };
    projects.into_iter().map(project).collect()
}

/// A stretch of time in words, as `docker ps` has it.
fn lasting(seconds: i64) -> String {
    match seconds {
        ..1 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".to_owned(),
        120..3_600 => format!("{} minutes", seconds / 60),
        3_600..7_200 => "About an hour".to_owned(),
        7_200..172_800 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn rfc3339(at: OffsetDateTime) -> Option<String> {
    at.format(&Rfc3339).ok()
}

#[cfg(test)]
mod tests;

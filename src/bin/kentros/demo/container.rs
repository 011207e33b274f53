//! One simulated container.

use std::time::Duration;

use kentros::{Container, ContainerStats, ProjectStatus, STANDALONE, StatusContainer, Unavailable};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::load::SimulatedLoad;
use super::rng::SplitMix64;
use super::services::{CORES, ServiceProfile};

/// Uptime of the restarting container, seconds.
const UPTIME: f64 = 40.0;
/// Its downtime, seconds.
const DOWNTIME: f64 = 4.0;
/// How long it has been up when the simulation starts, seconds.
const INITIAL_UPTIME: f64 = 20.0;

/// What distinguishes a container from the ordinary ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scenario {
    Steady,
    HostNetwork,
    Stopped,
    Unhealthy,
    Restarts,
}

pub(crate) struct SimulatedContainer {
    pub(super) project: String,
    pub(crate) container: Container,
    service: &'static ServiceProfile,
    scenario: Scenario,
    rng: SplitMix64,
    load: SimulatedLoad,
    started: OffsetDateTime,
    /// Seconds until it fails or restarts; used by [`Scenario::Restarts`] only.
    until_change: f64,
    /// The number of restarts since the simulation started.
    restarts: u64,
    /// Whether it was sampled since its start: a rate needs two samples.
    pub(super) sampled: bool,
}

impl SimulatedContainer {
    pub(super) fn new(
        index: usize,
        project: &str,
        service: &'static ServiceProfile,
        replica: usize,
        scenario: Scenario,
        now: OffsetDateTime,
    ) -> Self {
        let mut rng = SplitMix64::new(index as u64);
        let standalone = project == STANDALONE;
        let age = if scenario == Scenario::Restarts {
            INITIAL_UPTIME
        } else {
            // From half an hour to six days.
            rng.between(1_800.0, 500_000.0)
        };
        let started = now - Duration::from_secs_f64(age);
        let id = rng.container_id();
        let name = if standalone {
            service.name.to_owned()
        } else {
            format!("{project}-{}-{replica}", service.name)
        };
        let mut container = Container::new(id, name);
        container.service_name = (!standalone).then(|| service.name.to_owned());
        service.image.clone_into(&mut container.image);
        let state = if scenario == Scenario::Stopped { "exited" } else { "running" };
        state.clone_into(&mut container.state);
        container.health = match scenario {
            Scenario::Unhealthy => Some("unhealthy".to_owned()),
            Scenario::Steady if service.has_health_check => Some("healthy".to_owned()),
            _ => None,
        };
        if let (Some(inside), Scenario::Steady) = (service.port, scenario) {
            container.ports.push(format!("127.0.0.1:{}->{inside}/tcp", 8_000 + index % 1_000));
        }
        container.created_at = rfc3339(started - Duration::from_secs(2));
        container.started_at = rfc3339(started);
        container.memory_limit = Some(service.memory_limit());
        container.oom_killed = Some(false);
        container.oom_kills_1h = Some(0);
        if scenario == Scenario::Stopped {
            container.exit_code = Some(0);
            container.finished_at = rfc3339(started);
        }
        let load = SimulatedLoad::new(service, &mut rng, age);
        let mut simulated = Self {
            project: project.to_owned(),
            container,
            service,
            scenario,
            rng,
            load,
            started,
            until_change: UPTIME - INITIAL_UPTIME,
            restarts: 0,
            sampled: false,
        };
        simulated.count_restarts();
        simulated
    }

    /// Sets the number of restarts in the list. They happen at a constant rate.
    fn count_restarts(&mut self) {
        let restarts = self.scenario == Scenario::Restarts;
        let in_seconds = |seconds: f64| {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let count = (seconds / (UPTIME + DOWNTIME)) as u64;
            Some(if restarts { count } else { 0 })
        };
        self.container.restarts_10m = in_seconds(600.0);
        self.container.restarts_1h = in_seconds(3_600.0);
        self.container.restart_loop = Some(restarts);
        self.container.restart_count = self.container.restarts_1h.map(|hour| hour + self.restarts);
    }

    pub(super) fn is_running(&self) -> bool {
        self.container.state == "running"
    }

    /// Advances by `seconds` and returns the event, if the container failed or restarted.
    pub(super) fn advance(&mut self, seconds: f64, now: OffsetDateTime) -> Option<ProjectStatus> {
        if self.is_running() {
            self.load.advance(self.service, &mut self.rng, seconds);
        }
        if self.scenario != Scenario::Restarts {
            return None;
        }
        self.until_change -= seconds;
        if self.until_change > 0.0 {
            return None;
        }
        let fails = self.is_running();
        if fails {
            "restarting".clone_into(&mut self.container.state);
            self.container.exit_code = Some(1);
            self.container.finished_at = rfc3339(now);
            self.until_change = DOWNTIME;
        } else {
            "running".clone_into(&mut self.container.state);
            self.until_change = UPTIME;
            self.started = now;
            self.restarts += 1;
            self.count_restarts();
            self.container.exit_code = None;
            self.container.started_at = rfc3339(now);
            self.load = SimulatedLoad::new(self.service, &mut self.rng, 0.0);
            self.sampled = false;
        }
        let mut container = StatusContainer::new(&self.container.id, &self.container.name);
        container.state.clone_from(&self.container.state);
        container.exit_code = fails.then_some(1);
        Some(ProjectStatus::new(if fails { "die" } else { "start" }, container))
    }

    /// The stats of a running container.
    pub(super) fn sample(&mut self, timestamp: Option<String>) -> ContainerStats {
        let mut row = ContainerStats::new(&self.project, &self.container.name);
        row.service_name.clone_from(&self.container.service_name);
        row.timestamp = timestamp;
        row.age_ms = Some(0);

        let load = &self.load;
        if std::mem::replace(&mut self.sampled, true) {
            let cpu = load.cpu_percent();
            row.cpu_percent = Some(cpu);
            // The share above nine tenths of the limit.
            let free = 90.0 * self.service.cores();
            row.cpu_throttled_percent = Some((cpu / free - 1.0).max(0.0) * 100.0);
        } else {
            for field in ["cpu_percent", "cpu_throttled_percent"] {
                row.unavailable.insert(field.to_owned(), Unavailable::FirstSample);
            }
        }
        row.online_cpus = Some(CORES);
        row.cpu_limit = Some(self.service.cores());
        let limit = self.service.memory_limit();
        row.memory_usage = Some(load.memory());
        row.memory_limit = Some(limit);
        row.memory_percent = Some(load.memory_percent(limit));
        row.memory_anon = Some(load.memory());
        row.memory_cache = Some(0);
        row.memory_swap = Some(0);
        if self.scenario == Scenario::HostNetwork {
            for field in ["network_rx", "network_tx"] {
                row.unavailable.insert(field.to_owned(), Unavailable::HostNetwork);
            }
        } else {
            row.network_rx = Some(load.received());
            row.network_tx = Some(load.sent());
        }
        row.block_read = Some(load.read());
        row.block_write = Some(load.written());
        row.pids = Some(load.pids());

        row.prometheus.image.clone_from(&self.container.image);
        row.prometheus.cpu_total = Some(load.cpu_total());
        row.prometheus.memory_total = Some(load.memory());
        row.prometheus.oom_killed = self.container.oom_killed;
        row.prometheus.oom_events = self.container.oom_kills_1h;
        row.prometheus.restart_count = self.container.restart_count;
        row.prometheus.restart_loop = self.container.restart_loop;
        row
    }

    /// The status column of `docker ps`.
    pub(super) fn status(&self, now: OffsetDateTime) -> String {
        let elapsed = human_duration((now - self.started).whole_seconds());
        match (self.container.state.as_str(), &self.container.health) {
            ("exited", _) => format!("Exited (0) {elapsed} ago"),
            ("restarting", _) => "Restarting (1) Less than a second ago".to_owned(),
            (_, Some(health)) => format!("Up {elapsed} ({health})"),
            (_, None) => format!("Up {elapsed}"),
        }
    }
}

/// A duration in words, as in `docker ps`.
pub(crate) fn human_duration(seconds: i64) -> String {
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

pub(super) fn rfc3339(at: OffsetDateTime) -> Option<String> {
    at.format(&Rfc3339).ok()
}

//! From readings to rows: pure but for the clock it is given.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::docker::inventory::{NetworkMode, Target};
use crate::stats::payload::{ContainerStats, PrometheusFields, Unavailable};
use crate::stats::usage::{Figure, Reading};

/// A container without a sample for this long has figures no more, only a reason; for two periods
/// where the engine's are longer.
const MISSING_AFTER: Duration = Duration::from_secs(5);

/// The newest reading of each container, and its CPU since the one before.
#[derive(Debug, Default)]
pub(crate) struct ContainerReadings(HashMap<String, Row>);

#[derive(Debug)]
struct Row {
    /// When it was first wanted: without a sample it is missing from then on.
    since: Instant,
    newest: Newest,
}

#[derive(Debug)]
enum Newest {
    /// No sample yet.
    Nothing,
    /// The engine says that it does not run.
    Stopped,
    /// A sample, when it came, and the CPU since the one before.
    Sample(Box<Reading>, Instant, Figure<f64>),
}

impl ContainerReadings {
    /// Keeps the rows of these containers alone: a reading is forgotten with its container.
    pub(crate) fn keep(&mut self, targets: &[Target], now: Instant) {
        let ids: HashSet<&str> = targets.iter().map(|target| target.id.as_str()).collect();
        self.0.retain(|id, _| ids.contains(id.as_str()));
        for Target { id, .. } in targets {
            if !self.0.contains_key(id) {
                self.0.insert(id.clone(), Row { since: now, newest: Newest::Nothing });
            }
        }
    }

    /// Takes a sample of a container that came at `at`; `None` is the zero sample of one that does
    /// not run. Whether the container is one of ours.
    pub(crate) fn take(&mut self, id: &str, reading: Option<Reading>, at: Instant) -> bool {
        let Some(row) = self.0.get_mut(id) else { return false };
        row.newest = match reading {
            None => Newest::Stopped,
            Some(reading) => {
                let cpu = match &row.newest {
                    Newest::Sample(before, ..) => reading.cpu_percent(before),
                    Newest::Nothing | Newest::Stopped => None,
                };
                let cpu = cpu.ok_or(reading.cpu.err().unwrap_or(Unavailable::FirstSample));
                Newest::Sample(Box::new(reading), at, cpu)
            }
        };
        true
    }

    /// The rows of these containers, as they stand `now`, if there is a sample each `period`.
    pub(crate) fn rows(
        &self,
        targets: &[Target],
        now: Instant,
        period: Duration,
    ) -> Vec<(String, ContainerStats)> {
        let missing = MISSING_AFTER.max(period * 2);
        let mut rows = Vec::with_capacity(targets.len());
        let row = |target: &Target| Some((target.id.clone(), self.row(target, now, missing)?));
        rows.extend(targets.iter().filter_map(row));
        rows
    }

    /// `None` for a container too new to have a sample.
    fn row(&self, target: &Target, now: Instant, missing: Duration) -> Option<ContainerStats> {
        let row = self.0.get(&target.id)?;
        match &row.newest {
            Newest::Sample(reading, at, cpu) => {
                let age = now.saturating_duration_since(*at);
                Some(if age < missing {
                    sampled(target, reading, *cpu, age)
                } else {
                    unsampled(target, Unavailable::EngineError)
                })
            }
            Newest::Stopped => Some(unsampled(target, Unavailable::NotRunning)),
            Newest::Nothing => (now.saturating_duration_since(row.since) >= missing)
                .then(|| unsampled(target, Unavailable::EngineError)),
        }
    }
}

/// Takes figures apart into values and the reasons for their lack.
struct UnavailableFields(BTreeMap<String, Unavailable>);

impl UnavailableFields {
    fn take<T>(&mut self, field: &str, figure: Figure<T>) -> Option<T> {
        figure.map_err(|why| self.0.insert(field.to_owned(), why)).ok()
    }
}

fn named(target: &Target) -> ContainerStats {
    ContainerStats {
        name: target.name.clone(),
        project_id: target.project.clone(),
        service_name: target.service.clone(),
        network_of: match &target.network {
            NetworkMode::Of(id) => Some(id.clone()),
            NetworkMode::Own | NetworkMode::None | NetworkMode::Host => None,
        },
        prometheus: PrometheusFields { image: target.image.clone(), ..PrometheusFields::default() },
        ..ContainerStats::default()
    }
}

fn sampled(target: &Target, reading: &Reading, cpu: Figure<f64>, age: Duration) -> ContainerStats {
    let mut figures = UnavailableFields(BTreeMap::new());
    let network = match (reading.network, &target.network) {
        (_, NetworkMode::Host) => Err(Unavailable::HostNetwork),
        (Some(bytes), _) => Ok(bytes),
        // Without a network nothing is sent: a true 0.
        (None, NetworkMode::None) => Ok((0, 0)),
        (None, NetworkMode::Own | NetworkMode::Of(_)) => Err(Unavailable::EngineError),
    };
    let cpu_limit = target.cpu_limit.and_then(|limit| match limit {
        Some(limit) => Ok(limit),
        None => reading.online_cpus.map(f64::from),
    });
    ContainerStats {
        cpu_percent: figures.take("cpu_percent", cpu),
        online_cpus: figures.take("online_cpus", reading.online_cpus),
        cpu_limit: figures.take("cpu_limit", cpu_limit),
        memory_usage: figures.take("memory_usage", reading.memory),
        memory_limit: figures.take("memory_limit", reading.memory_limit),
        memory_percent: figures.take("memory_percent", reading.memory_percent()),
        network_rx: figures.take("network_rx", network.map(|(rx, _)| rx)),
        network_tx: figures.take("network_tx", network.map(|(_, tx)| tx)),
        block_read: figures.take("block_read", reading.block.map(|(read, _)| read)),
        block_write: figures.take("block_write", reading.block.map(|(_, write)| write)),
        pids: figures.take("pids", reading.pids),
        timestamp: reading.timestamp(),
        age_ms: u64::try_from(age.as_millis()).ok(),
        unavailable: figures.0,
        prometheus: PrometheusFields {
            image: target.image.clone(),
            cpu_total: reading.cpu.ok(),
            memory_total: reading.memory_total,
        },
        ..named(target)
    }
}

/// Every figure, in the order of the wire.
const FIGURES: &[&str] = &[
    "cpu_percent",
    "online_cpus",
    "cpu_limit",
    "memory_usage",
    "memory_limit",
    "memory_percent",
    "network_rx",
    "network_tx",
    "block_read",
    "block_write",
    "pids",
];

fn unsampled(target: &Target, why: Unavailable) -> ContainerStats {
    let unavailable = FIGURES.iter().map(|field| ((*field).to_owned(), why)).collect();
    ContainerStats { unavailable, ..named(target) }
}

#[cfg(test)]
#[path = "readings_tests.rs"]
mod tests;

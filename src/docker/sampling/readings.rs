//! The latest reading of each container, and the [`ContainerStats`] made from it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::docker::inventory::{NetworkMode, Target};
use crate::stats::payload::{ContainerStats, PrometheusFields, Unavailable};
use crate::stats::reading::{Measurement, Reading};

/// A container without a sample for this long, or for two intervals if that is longer, has no more
/// values.
const MISSING_AFTER: Duration = Duration::from_secs(5);

/// The latest reading of each container.
#[derive(Debug, Default)]
pub(crate) struct ContainerReadings(HashMap<String, LatestReading>);

#[derive(Debug)]
enum LatestReading {
    /// No sample since then.
    None(Instant),
    /// The engine reports that the container does not run.
    NotRunning,
    /// The latest sample, when it arrived, and the rates since the sample before.
    Sampled(Box<Reading>, Instant, Rates),
}

/// What takes two samples.
#[derive(Clone, Copy, Debug)]
struct Rates {
    cpu: Measurement<f64>,
    /// `None` if there was no period.
    throttled: Measurement<Option<f64>>,
}

impl ContainerReadings {
    /// Adds these containers and removes all others.
    pub(crate) fn set_targets(&mut self, targets: &[Target], now: Instant) {
        let ids: HashSet<&str> = targets.iter().map(|target| target.id.as_str()).collect();
        self.0.retain(|id, _| ids.contains(id.as_str()));
        for Target { id, .. } in targets {
            if !self.0.contains_key(id) {
                self.0.insert(id.clone(), LatestReading::None(now));
            }
        }
    }

    /// Stores a reading that arrived at `at`; `None` for a container that does not run. Returns
    /// whether the container is one of the targets.
    pub(crate) fn update(&mut self, id: &str, reading: Option<Reading>, at: Instant) -> bool {
        let Some(latest) = self.0.get_mut(id) else { return false };
        *latest = match reading {
            None => LatestReading::NotRunning,
            Some(reading) => {
                let rates = match &*latest {
                    // The engine repeats its last sample until it has a new one.
                    LatestReading::Sampled(before, ..) if before.at == reading.at => return true,
                    LatestReading::Sampled(before, received, _) => Rates {
                        cpu: reading.cpu_percent(before, at.saturating_duration_since(*received)),
                        throttled: reading.throttled_percent(before),
                    },
                    LatestReading::None(_) | LatestReading::NotRunning => Rates {
                        cpu: reading.cpu.and(Err(Unavailable::FirstSample)),
                        throttled: reading.throttling.and(Err(Unavailable::FirstSample)),
                    },
                };
                LatestReading::Sampled(Box::new(reading), at, rates)
            }
        };
        true
    }

    /// The stats of these containers at `now`, by container id. `interval` is the time between two
    /// samples. A container that is too new to have a sample is left out.
    pub(crate) fn container_stats(
        &self,
        targets: &[Target],
        now: Instant,
        interval: Duration,
    ) -> Vec<(String, ContainerStats)> {
        let missing_after = MISSING_AFTER.max(interval * 2);
        let mut all = Vec::with_capacity(targets.len());
        all.extend(targets.iter().filter_map(|target| {
            Some((target.id.clone(), self.stats_of(target, now, missing_after)?))
        }));
        all
    }

    fn stats_of(
        &self,
        target: &Target,
        now: Instant,
        missing_after: Duration,
    ) -> Option<ContainerStats> {
        match self.0.get(&target.id)? {
            LatestReading::Sampled(reading, at, rates) => {
                let age = now.saturating_duration_since(*at);
                Some(if age < missing_after {
                    sampled(target, reading, *rates, age)
                } else {
                    unsampled(target, Unavailable::EngineError)
                })
            }
            LatestReading::NotRunning => Some(unsampled(target, Unavailable::NotRunning)),
            LatestReading::None(since) => (now.saturating_duration_since(*since) >= missing_after)
                .then(|| unsampled(target, Unavailable::EngineError)),
        }
    }
}

/// Splits measurements into values and the reasons for missing ones.
struct UnavailableFields(BTreeMap<String, Unavailable>);

impl UnavailableFields {
    fn value<T>(&mut self, field: &str, measurement: Measurement<T>) -> Option<T> {
        measurement.map_err(|why| self.0.insert(field.to_owned(), why)).ok()
    }
}

fn without_values(target: &Target) -> ContainerStats {
    ContainerStats {
        name: target.name.clone(),
        project_id: target.project.clone(),
        service_name: target.service.clone(),
        network_of: match &target.network {
            NetworkMode::SharedWith(id) => Some(id.clone()),
            NetworkMode::Own | NetworkMode::None | NetworkMode::Host => None,
        },
        prometheus: target.facts.clone(),
        ..ContainerStats::default()
    }
}

fn sampled(target: &Target, reading: &Reading, rates: Rates, age: Duration) -> ContainerStats {
    let mut fields = UnavailableFields(BTreeMap::new());
    let network = match (reading.network, &target.network) {
        (_, NetworkMode::Host) => Err(Unavailable::HostNetwork),
        (Some(bytes), _) => Ok(bytes),
        // The mode `none`: nothing can be sent.
        (None, NetworkMode::None) => Ok((0, 0)),
        (None, NetworkMode::Own | NetworkMode::SharedWith(_)) => Err(Unavailable::EngineError),
    };
    let online_cpus = reading.online_cpus.map(f64::from);
    let cpu_limit = target.cpu_limit.and_then(|limit| match (limit, online_cpus) {
        (Some(limit), Ok(cpus)) => Ok(limit.min(cpus)),
        (Some(limit), Err(_)) => Ok(limit),
        (None, cpus) => cpus,
    });
    ContainerStats {
        cpu_percent: fields.value("cpu_percent", rates.cpu),
        cpu_throttled_percent: fields.value("cpu_throttled_percent", rates.throttled).flatten(),
        online_cpus: fields.value("online_cpus", reading.online_cpus),
        cpu_limit: fields.value("cpu_limit", cpu_limit),
        memory_usage: fields.value("memory_usage", reading.memory),
        memory_limit: fields.value("memory_limit", reading.memory_limit),
        memory_percent: fields.value("memory_percent", reading.memory_percent()),
        memory_anon: fields.value("memory_anon", reading.memory_anon),
        memory_cache: fields.value("memory_cache", reading.memory_cache),
        memory_swap: reading.memory_swap,
        network_rx: fields.value("network_rx", network.map(|(rx, _)| rx)),
        network_tx: fields.value("network_tx", network.map(|(_, tx)| tx)),
        block_read: fields.value("block_read", reading.block.map(|(read, _)| read)),
        block_write: fields.value("block_write", reading.block.map(|(_, write)| write)),
        pids: fields.value("pids", reading.pids),
        timestamp: reading.timestamp(),
        age_ms: u64::try_from(age.as_millis()).ok(),
        unavailable: fields.0,
        prometheus: PrometheusFields {
            cpu_total: reading.cpu.ok(),
            cpu_user: reading.cpu_modes.map(|(user, _)| user),
            cpu_system: reading.cpu_modes.map(|(_, kernel)| kernel),
            cpu_periods: reading.throttling.map(|t| t.periods).ok(),
            cpu_throttled_periods: reading.throttling.map(|t| t.throttled_periods).ok(),
            cpu_throttled_time: reading.throttling.map(|t| t.throttled_time).ok(),
            memory_total: reading.memory_total,
            memory_failures: reading.memory_failures,
            last_seen: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .ok()
                .map(|now| now.saturating_sub(age).as_secs_f64()),
            machine_memory: reading.memory_limit.ok().filter(|_| target.unlimited_memory),
            ..target.facts.clone()
        },
        ..without_values(target)
    }
}

/// The names of all measurements, in the order of the fields.
const FIELDS: &[&str] = &[
    "cpu_percent",
    "cpu_throttled_percent",
    "online_cpus",
    "cpu_limit",
    "memory_usage",
    "memory_limit",
    "memory_percent",
    "memory_anon",
    "memory_cache",
    "network_rx",
    "network_tx",
    "block_read",
    "block_write",
    "pids",
];

fn unsampled(target: &Target, why: Unavailable) -> ContainerStats {
    let unavailable = FIELDS.iter().map(|field| ((*field).to_owned(), why)).collect();
    ContainerStats { unavailable, ..without_values(target) }
}

#[cfg(test)]
#[path = "readings_tests.rs"]
mod tests;

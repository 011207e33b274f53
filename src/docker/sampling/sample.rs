//! The JSON of Docker's samples, and the [`Reading`] made from it.

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use time::OffsetDateTime;

use crate::docker::engine::lenient::{Count, Field, or_default};
use crate::stats::payload::Unavailable;
use crate::stats::reading::{Measurement, Reading, Throttling, memory_used, parse_timestamp};

/// A sample of Docker's `/containers/{id}/stats`, with the fields kentros reads.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Sample {
    #[serde(deserialize_with = "or_default")]
    read: String,
    #[serde(deserialize_with = "or_default")]
    num_procs: u32,
    #[serde(deserialize_with = "or_default")]
    cpu_stats: CpuStats,
    #[serde(deserialize_with = "or_default")]
    memory_stats: MemoryStats,
    #[serde(deserialize_with = "or_default")]
    networks: Option<HashMap<String, NetworkCounters>>,
    #[serde(deserialize_with = "or_default")]
    blkio_stats: BlkioStats,
    #[serde(deserialize_with = "or_default")]
    storage_stats: StorageStats,
    #[serde(deserialize_with = "or_default")]
    pids_stats: PidsStats,
}

/// Which engine a [`Sample`] is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SampleDialect {
    Docker,
    /// `swapped`: this version swaps bytes received and sent.
    Podman {
        swapped: bool,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CpuStats {
    #[serde(deserialize_with = "or_default")]
    cpu_usage: CpuUsage,
    /// The CPU time of the host since its start, over all CPUs, nanoseconds.
    system_cpu_usage: Field<Count>,
    #[serde(deserialize_with = "or_default")]
    online_cpus: u32,
    throttling_data: Field<ThrottlingData>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ThrottlingData {
    periods: Field<Count>,
    throttled_periods: Field<Count>,
    /// Nanoseconds.
    throttled_time: Field<Count>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CpuUsage {
    total_usage: Field<Count>,
    usage_in_usermode: Field<Count>,
    usage_in_kernelmode: Field<Count>,
    #[serde(deserialize_with = "or_default")]
    percpu_usage: Option<Vec<IgnoredAny>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MemoryStats {
    usage: Field<Count>,
    limit: Field<Count>,
    /// How often the limit was hit. Docker omits 0.
    failcnt: Field<Count>,
    stats: Field<MemoryMap>,
    /// Windows.
    privateworkingset: Field<Count>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MemoryMap {
    total_inactive_file: Field<Count>,
    inactive_file: Field<Count>,
    /// cgroup v1.
    total_rss: Field<Count>,
    total_cache: Field<Count>,
    /// If the kernel counts swap.
    total_swap: Field<Count>,
    /// cgroup v2.
    anon: Field<Count>,
    file: Field<Count>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NetworkCounters {
    rx_bytes: Field<Count>,
    tx_bytes: Field<Count>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct BlkioStats {
    io_service_bytes_recursive: Field<Vec<BlkioEntry>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct BlkioEntry {
    #[serde(deserialize_with = "or_default")]
    op: String,
    value: Field<Count>,
}

/// Windows.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StorageStats {
    read_size_bytes: Field<Count>,
    write_size_bytes: Field<Count>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PidsStats {
    current: Field<Count>,
}

impl Sample {
    /// The reading; `None` for the zero sample of a container that does not run.
    pub(crate) fn reading(&self) -> Option<Reading> {
        let at = parse_timestamp(&self.read)?;
        // Set on Windows only.
        Some(if self.num_procs > 0 { self.windows(at) } else { self.linux(at) })
    }

    /// The reading of a sample from this engine.
    pub(crate) fn reading_in(&self, dialect: SampleDialect) -> Option<Reading> {
        let mut reading = self.reading()?;
        if let SampleDialect::Podman { swapped } = dialect {
            // Podman's `system_cpu_usage` counts busy time only, its CPU modes have the wrong unit on
            // cgroup v2, and its counters of throttling are always 0.
            reading.host_clock = None;
            reading.cpu_modes = None;
            reading.throttling = Err(Unavailable::NotReported);
            if swapped {
                reading.network = reading.network.map(|(rx, tx)| (tx, rx));
            }
        }
        Some(reading)
    }

    fn linux(&self, at: OffsetDateTime) -> Reading {
        let cpu = &self.cpu_stats;
        let percpu = cpu.cpu_usage.percpu_usage.as_ref().map_or(0, Vec::len);
        let online =
            if cpu.online_cpus > 0 { Some(cpu.online_cpus) } else { percpu.try_into().ok() };
        let online = online.filter(|n| *n > 0);
        let usage = self.memory_stats.usage();
        Reading {
            at,
            host_clock: cpu
                .system_cpu_usage
                .value()
                .zip(online)
                .map(|(Count(time), cpus)| time / u64::from(cpus)),
            cpu: known(cpu.cpu_usage.total_usage),
            online_cpus: online.ok_or(Unavailable::EngineError),
            memory: usage.and_then(|usage| self.memory_stats.used(usage)),
            memory_total: usage.ok(),
            memory_anon: self.memory_stats.part(usage, |map| [map.total_rss, map.anon]),
            memory_cache: self.memory_stats.part(usage, |map| [map.total_cache, map.file]),
            memory_swap: self.memory_stats.part(usage, |map| [map.total_swap, Field::Missing]).ok(),
            memory_failures: self.memory_stats.failures(),
            throttling: throttling(&cpu.throttling_data),
            cpu_modes: known(cpu.cpu_usage.usage_in_usermode)
                .ok()
                .zip(known(cpu.cpu_usage.usage_in_kernelmode).ok()),
            memory_limit: match usage {
                Err(Unavailable::MemoryCgroupDisabled) => Err(Unavailable::MemoryCgroupDisabled),
                _ => known(self.memory_stats.limit).and_then(positive),
            },
            network: self.network(),
            block: self.block(),
            pids: known(self.pids_stats.current),
        }
    }

    fn windows(&self, at: OffsetDateTime) -> Reading {
        let (read, written) =
            (self.storage_stats.read_size_bytes, self.storage_stats.write_size_bytes);
        Reading {
            // Windows counts in units of 100 ns.
            cpu: known(self.cpu_stats.cpu_usage.total_usage).map(|time| time.saturating_mul(100)),
            online_cpus: Ok(self.num_procs),
            memory: known(self.memory_stats.privateworkingset),
            network: self.network(),
            block: known(read).and_then(|read| Ok((read, known(written)?))),
            ..Reading::not_reported(at)
        }
    }

    fn network(&self) -> Option<(u64, u64)> {
        let networks = self.networks.as_ref().filter(|networks| !networks.is_empty())?;
        networks.values().try_fold((0, 0), |(rx, tx), network| {
            Some((add(rx, network.rx_bytes).ok()?, add(tx, network.tx_bytes).ok()?))
        })
    }

    /// The sums over all devices. On cgroup v2 the list is null until the first I/O; on v1 it is null
    /// if the kernel has no counters.
    fn block(&self) -> Measurement<(u64, u64)> {
        let entries = match &self.blkio_stats.io_service_bytes_recursive {
            Field::Value(entries) => entries,
            Field::Missing if !self.memory_stats.is_cgroup_v1() => return Ok((0, 0)),
            Field::Missing | Field::Invalid => return Err(Unavailable::EngineError),
        };
        entries.iter().try_fold((0, 0), |(read, write), entry| {
            Ok(match entry.op.bytes().next().map(|first| first.to_ascii_lowercase()) {
                Some(b'r') => (add(read, entry.value)?, write),
                Some(b'w') => (read, add(write, entry.value)?),
                _ => (read, write),
            })
        })
    }
}

impl MemoryStats {
    /// Memory usage with page cache.
    fn usage(&self) -> Measurement<u64> {
        match (self.usage, &self.stats) {
            (Field::Value(_), _) => known(self.usage),
            // The engine omits a usage of 0. If the memory cgroup is disabled it also omits the map.
            (Field::Missing, Field::Missing) => Err(Unavailable::MemoryCgroupDisabled),
            (Field::Missing, Field::Value(_)) => Ok(0),
            _ => Err(Unavailable::EngineError),
        }
    }

    /// Memory usage without page cache.
    fn used(&self, usage: u64) -> Measurement<u64> {
        let cache = |field: Field<Count>| match field {
            Field::Missing => Ok(None),
            Field::Value(_) | Field::Invalid => known(field).map(Some),
        };
        match &self.stats {
            Field::Missing => Ok(usage),
            Field::Invalid => Err(Unavailable::EngineError),
            Field::Value(map) => {
                Ok(memory_used(usage, cache(map.total_inactive_file)?, cache(map.inactive_file)?))
            }
        }
    }

    /// The part of the usage in the first of these fields that the engine sends.
    fn part(
        &self,
        usage: Measurement<u64>,
        fields: impl Fn(&MemoryMap) -> [Field<Count>; 2],
    ) -> Measurement<u64> {
        match &self.stats {
            Field::Value(map) => {
                let sent = fields(map).into_iter().find(|field| *field != Field::Missing);
                sent.map_or(Err(Unavailable::NotReported), known)
            }
            Field::Missing => usage.and(Err(Unavailable::NotReported)),
            Field::Invalid => Err(Unavailable::EngineError),
        }
    }

    /// How often the limit was hit. Without the map, as from Podman, a missing field is unknown.
    fn failures(&self) -> Option<u64> {
        match (self.failcnt, &self.stats) {
            (Field::Missing, Field::Value(_)) => Some(0),
            (count, _) => known(count).ok(),
        }
    }

    fn is_cgroup_v1(&self) -> bool {
        matches!(&self.stats, Field::Value(map) if map.total_inactive_file != Field::Missing)
    }
}

/// From this value on a counter is the result of an underflow, and a limit means "no limit": 1 EiB.
/// Kernels and engines write "no limit" as 2^64 - 1, 2^63 - 4096 and similar.
const IMPLAUSIBLE: u64 = 1 << 60;

/// A plausible value of a field.
pub(super) fn known(field: Field<Count>) -> Measurement<u64> {
    let value = field.value().map(|Count(value)| value);
    value.filter(|value| *value < IMPLAUSIBLE).ok_or(Unavailable::EngineError)
}

fn throttling(data: &Field<ThrottlingData>) -> Measurement<Throttling> {
    match data {
        Field::Value(data) => Ok(Throttling {
            periods: known(data.periods)?,
            throttled_periods: known(data.throttled_periods)?,
            throttled_time: known(data.throttled_time)?,
        }),
        Field::Missing => Err(Unavailable::NotReported),
        Field::Invalid => Err(Unavailable::EngineError),
    }
}

pub(super) fn add(sum: u64, field: Field<Count>) -> Measurement<u64> {
    known(field).map(|value| sum.saturating_add(value))
}

/// A limit of 0 is unknown.
pub(super) fn positive(value: u64) -> Measurement<u64> {
    if value > 0 { Ok(value) } else { Err(Unavailable::EngineError) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    // `case_tests` checks the values.

    #[test]
    fn a_sample_without_a_time_has_no_reading() {
        for json in ["{}", r#"{"read":"soon"}"#, r#"{"read":"0001-01-01T00:00:00Z"}"#] {
            let sample: Sample = serde_json::from_str(json).unwrap();
            assert_eq!(sample.reading(), None, "{json}");
        }
    }
}

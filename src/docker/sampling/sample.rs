//! The JSON of the engine's samples, and the [`Reading`] made from it.

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use time::OffsetDateTime;

use crate::docker::engine::lenient::{self, Count, Field, or_default};
use crate::docker::engine::list::MAX_RUNNING;
use crate::stats::payload::Unavailable;
use crate::stats::reading::{Measurement, Reading, memory_used, parse_timestamp};

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
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CpuUsage {
    total_usage: Field<Count>,
    #[serde(deserialize_with = "or_default")]
    percpu_usage: Option<Vec<IgnoredAny>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MemoryStats {
    usage: Field<Count>,
    limit: Field<Count>,
    stats: Field<MemoryMap>,
    /// Windows.
    privateworkingset: Field<Count>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MemoryMap {
    total_inactive_file: Field<Count>,
    inactive_file: Field<Count>,
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
            // Podman's `system_cpu_usage` counts busy time only.
            reading.host_clock = None;
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
            at,
            host_clock: None,
            // Windows counts in units of 100 ns.
            cpu: known(self.cpu_stats.cpu_usage.total_usage).map(|time| time.saturating_mul(100)),
            online_cpus: Ok(self.num_procs),
            memory: known(self.memory_stats.privateworkingset),
            memory_total: None,
            memory_limit: Err(Unavailable::EngineError),
            network: self.network(),
            block: known(read).and_then(|read| Ok((read, known(written)?))),
            pids: Err(Unavailable::EngineError),
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

    fn is_cgroup_v1(&self) -> bool {
        matches!(&self.stats, Field::Value(map) if map.total_inactive_file != Field::Missing)
    }
}

/// From this value on a counter is the result of an underflow, and a limit means "no limit": 1 EiB.
/// Kernels and engines write "no limit" as 2^64 - 1, 2^63 - 4096 and similar.
const IMPLAUSIBLE: u64 = 1 << 60;

/// A plausible value of a field.
fn known(field: Field<Count>) -> Measurement<u64> {
    let value = field.value().map(|Count(value)| value);
    value.filter(|value| *value < IMPLAUSIBLE).ok_or(Unavailable::EngineError)
}

fn add(sum: u64, field: Field<Count>) -> Measurement<u64> {
    known(field).map(|value| sum.saturating_add(value))
}

/// A limit of 0 is unknown.
fn positive(value: u64) -> Measurement<u64> {
    if value > 0 { Ok(value) } else { Err(Unavailable::EngineError) }
}

/// A frame of Podman's `/libpod/containers/stats`, with a sample of each container.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PodmanFrame {
    #[serde(rename = "Error", deserialize_with = "or_default")]
    pub(crate) error: Option<Box<RawValue>>,
    #[serde(rename = "Stats", deserialize_with = "lenient::elements::<_, _, MAX_RUNNING>")]
    pub(crate) stats: Vec<PodmanSample>,
}

/// The sample of one container in a [`PodmanFrame`].
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct PodmanSample {
    #[serde(rename = "ContainerID", deserialize_with = "or_default")]
    pub(crate) container_id: String,
    #[serde(rename = "PerCPU", deserialize_with = "or_default")]
    per_cpu: Vec<IgnoredAny>,
    #[serde(rename = "CPUNano")]
    cpu_nano: Field<Count>,
    /// The time of the sample, nanoseconds since 1970.
    #[serde(deserialize_with = "or_default")]
    system_nano: u64,
    mem_usage: Field<Count>,
    mem_limit: Field<Count>,
    net_input: Field<Count>,
    net_output: Field<Count>,
    #[serde(deserialize_with = "or_default")]
    network: Option<HashMap<String, PodmanNetworkCounters>>,
    block_input: Field<Count>,
    block_output: Field<Count>,
    #[serde(rename = "PIDs")]
    pids: Field<Count>,
}

/// Since Podman 5 the counters are per network.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct PodmanNetworkCounters {
    rx_bytes: Field<Count>,
    tx_bytes: Field<Count>,
}

impl PodmanSample {
    /// The reading; `None` if there is no time in it. `swapped`: before 4.4 Podman swaps bytes
    /// received and sent (podman issue 16618).
    pub(crate) fn reading(&self, swapped: bool) -> Option<Reading> {
        if self.system_nano == 0 {
            return None;
        }
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.system_nano)).ok()?;
        let cpus = self.per_cpu.len();
        Some(Reading {
            at,
            host_clock: None,
            cpu: known(self.cpu_nano),
            online_cpus: cpus.try_into().ok().filter(|n| *n > 0).ok_or(Unavailable::EngineError),
            // A running process always uses memory.
            memory: match known(self.mem_usage) {
                Ok(0) => Err(Unavailable::MemoryCgroupDisabled),
                usage if self.mem_usage != Field::Missing => usage,
                _ => Err(Unavailable::MemoryCgroupDisabled),
            },
            memory_total: None,
            memory_limit: known(self.mem_limit).and_then(positive),
            network: self.network(swapped),
            block: known(self.block_input).and_then(|read| Ok((read, known(self.block_output)?))),
            pids: known(self.pids),
        })
    }

    fn network(&self, swapped: bool) -> Option<(u64, u64)> {
        if let (Ok(input), Ok(output)) = (known(self.net_input), known(self.net_output)) {
            return Some(if swapped { (output, input) } else { (input, output) });
        }
        self.network.as_ref()?.values().try_fold((0, 0), |(rx, tx), network| {
            Some((add(rx, network.rx_bytes).ok()?, add(tx, network.tx_bytes).ok()?))
        })
    }
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
        let without_time: PodmanSample = serde_json::from_str(r#"{"ContainerID":"a"}"#).unwrap();
        assert_eq!(without_time.reading(false), None);
    }

    #[test]
    fn a_frame_may_have_an_error_and_no_samples() {
        let frame: PodmanFrame = serde_json::from_str(r#"{"Error":{},"Stats":null}"#).unwrap();
        assert!(frame.error.is_some() && frame.stats.is_empty());
    }
}

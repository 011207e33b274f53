//! The JSON of the engine's samples, and the [`Reading`] made from it.

use std::collections::HashMap;

use serde::Deserialize;
use time::OffsetDateTime;

use crate::docker::engine::json::or_default;

use crate::stats::payload::Unavailable;
use crate::stats::reading::{Reading, memory_used, parse_timestamp};

/// A sample of Docker's `/containers/{id}/stats`, with the fields kentros reads.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Sample {
    read: String,
    #[serde(deserialize_with = "or_default")]
    num_procs: u32,
    #[serde(deserialize_with = "or_default")]
    cpu_stats: CpuStats,
    #[serde(deserialize_with = "or_default")]
    memory_stats: MemoryStats,
    networks: Option<HashMap<String, NetworkCounters>>,
    #[serde(deserialize_with = "or_default")]
    blkio_stats: BlkioStats,
    #[serde(deserialize_with = "or_default")]
    storage_stats: StorageStats,
    #[serde(deserialize_with = "or_default")]
    pids_stats: PidsStats,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CpuStats {
    #[serde(deserialize_with = "or_default")]
    cpu_usage: CpuUsage,
    #[serde(deserialize_with = "or_default")]
    online_cpus: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CpuUsage {
    #[serde(deserialize_with = "or_default")]
    total_usage: u64,
    percpu_usage: Option<Vec<u64>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MemoryStats {
    usage: Option<u64>,
    limit: Option<u64>,
    stats: Option<MemoryMap>,
    /// Windows.
    privateworkingset: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MemoryMap {
    total_inactive_file: Option<u64>,
    inactive_file: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NetworkCounters {
    rx_bytes: u64,
    tx_bytes: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct BlkioStats {
    io_service_bytes_recursive: Option<Vec<BlkioEntry>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct BlkioEntry {
    op: String,
    value: u64,
}

/// Windows.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StorageStats {
    read_size_bytes: u64,
    write_size_bytes: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PidsStats {
    current: Option<u64>,
}

impl Sample {
    /// The reading; `None` for the zero sample of a container that does not run.
    pub(crate) fn reading(&self) -> Option<Reading> {
        let at = parse_timestamp(&self.read)?;
        // Set on Windows only.
        Some(if self.num_procs > 0 { self.windows(at) } else { self.linux(at) })
    }

    fn linux(&self, at: OffsetDateTime) -> Reading {
        let cpu = &self.cpu_stats;
        let percpu = cpu.cpu_usage.percpu_usage.as_ref().map_or(0, Vec::len);
        let online =
            if cpu.online_cpus > 0 { Some(cpu.online_cpus) } else { percpu.try_into().ok() };
        let memory = &self.memory_stats;
        let map = memory.stats.as_ref();
        let total_inactive = map.and_then(|map| map.total_inactive_file);
        let inactive = map.and_then(|map| map.inactive_file);
        // The engine omits a usage of 0. If the memory cgroup is disabled it also omits the map.
        let usage = memory.usage.or(map.map(|_| 0));
        Reading {
            at,
            cpu: Ok(cpu.cpu_usage.total_usage),
            online_cpus: online.filter(|n| *n > 0).ok_or(Unavailable::EngineError),
            memory: usage
                .map(|usage| memory_used(usage, total_inactive, inactive))
                .ok_or(Unavailable::MemoryCgroupDisabled),
            memory_total: usage,
            memory_limit: match (usage, memory.limit) {
                (None, _) => Err(Unavailable::MemoryCgroupDisabled),
                (_, limit) => limit.filter(|limit| *limit > 0).ok_or(Unavailable::EngineError),
            },
            network: self.network(),
            block: self.block(total_inactive.is_some()),
            pids: self.pids_stats.current.ok_or(Unavailable::EngineError),
        }
    }

    fn windows(&self, at: OffsetDateTime) -> Reading {
        Reading {
            at,
            // Windows counts in units of 100 ns.
            cpu: Ok(self.cpu_stats.cpu_usage.total_usage.saturating_mul(100)),
            online_cpus: Ok(self.num_procs),
            memory: Ok(self.memory_stats.privateworkingset),
            memory_total: None,
            memory_limit: Err(Unavailable::EngineError),
            network: self.network(),
            block: Ok((self.storage_stats.read_size_bytes, self.storage_stats.write_size_bytes)),
            pids: Err(Unavailable::EngineError),
        }
    }

    fn network(&self) -> Option<(u64, u64)> {
        let networks = self.networks.as_ref().filter(|networks| !networks.is_empty())?;
        Some(networks.values().fold((0, 0), |(rx, tx), network| {
            (add(rx, network.rx_bytes), add(tx, network.tx_bytes))
        }))
    }

    /// The sums over all devices. On cgroup v2 the list is null until the first I/O; on v1 it is null
    /// if the kernel has no counters.
    fn block(&self, cgroup_v1: bool) -> Result<(u64, u64), Unavailable> {
        let Some(entries) = &self.blkio_stats.io_service_bytes_recursive else {
            return if cgroup_v1 { Err(Unavailable::EngineError) } else { Ok((0, 0)) };
        };
        Ok(entries.iter().fold((0, 0), |(read, write), entry| {
            match entry.op.bytes().next().map(|first| first.to_ascii_lowercase()) {
                Some(b'r') => (add(read, entry.value), write),
                Some(b'w') => (read, add(write, entry.value)),
                _ => (read, write),
            }
        }))
    }
}

fn add(sum: u64, value: u64) -> u64 {
    sum.saturating_add(value)
}

/// A frame of Podman's `/libpod/containers/stats`, with a sample of each container.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PodmanFrame {
    #[serde(rename = "Error")]
    pub(crate) error: Option<serde_json::Value>,
    #[serde(rename = "Stats")]
    pub(crate) stats: Option<Vec<PodmanSample>>,
}

/// The sample of one container in a [`PodmanFrame`].
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct PodmanSample {
    #[serde(rename = "ContainerID")]
    pub(crate) container_id: String,
    #[serde(rename = "PerCPU")]
    per_cpu: Option<Vec<u64>>,
    #[serde(rename = "CPUNano")]
    cpu_nano: u64,
    /// The time of the sample, nanoseconds since 1970.
    system_nano: u64,
    mem_usage: u64,
    mem_limit: u64,
    net_input: Option<u64>,
    net_output: Option<u64>,
    network: Option<HashMap<String, PodmanNetworkCounters>>,
    block_input: Option<u64>,
    block_output: Option<u64>,
    #[serde(rename = "PIDs")]
    pids: Option<u64>,
}

/// Since Podman 5 the counters are per network.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct PodmanNetworkCounters {
    rx_bytes: u64,
    tx_bytes: u64,
}

impl PodmanSample {
    /// The reading; `None` if there is no time in it. `swapped`: before 4.4 Podman swaps bytes
    /// received and sent (podman issue 16618).
    pub(crate) fn reading(&self, swapped: bool) -> Option<Reading> {
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.system_nano)).ok()?;
        let cpus = self.per_cpu.as_ref().map_or(0, Vec::len);
        let totals = self.net_input.zip(self.net_output);
        let totals = if swapped { totals.map(|(input, output)| (output, input)) } else { totals };
        let each = self.network.as_ref().map(|networks| {
            networks.values().fold((0, 0), |(rx, tx), n| (add(rx, n.rx_bytes), add(tx, n.tx_bytes)))
        });
        (self.system_nano > 0).then(|| Reading {
            at,
            cpu: Ok(self.cpu_nano),
            online_cpus: cpus.try_into().ok().filter(|n| *n > 0).ok_or(Unavailable::EngineError),
            // A running process always uses memory.
            memory: positive(self.mem_usage).ok_or(Unavailable::MemoryCgroupDisabled),
            memory_total: None,
            memory_limit: positive(self.mem_limit).ok_or(Unavailable::EngineError),
            network: totals.or(each),
            block: self.block_input.zip(self.block_output).ok_or(Unavailable::EngineError),
            pids: self.pids.ok_or(Unavailable::EngineError),
        })
    }
}

fn positive(value: u64) -> Option<u64> {
    (value > 0).then_some(value)
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
        assert!(frame.stats.is_none());
    }
}

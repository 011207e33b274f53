//! The container metrics that tell why a container suffers or what broke.
//!
//! Names, units and meanings are those of cAdvisor (its `metrics/prometheus.go`), except for the ones
//! that start with `kentros_`, which cAdvisor does not have.

use std::time::Duration;

use super::{MetricFamily, float, labels};
use crate::stats::payload::ContainerStats;

/// The value of a metric of one container.
type Value = fn(&ContainerStats) -> Option<f64>;

/// The metrics of running containers: name, type, help and value.
const RUNNING: &[(&str, &str, &str, Value)] = &[
    (
        "container_cpu_user_seconds_total",
        "counter",
        "Cumulative CPU time consumed in user mode.",
        |row| seconds(row.prometheus.cpu_user),
    ),
    (
        "container_cpu_system_seconds_total",
        "counter",
        "Cumulative CPU time consumed in the kernel.",
        |row| seconds(row.prometheus.cpu_system),
    ),
    (
        "container_cpu_cfs_periods_total",
        "counter",
        "Number of elapsed enforcement periods of the CPU limit.",
        |row| row.prometheus.cpu_periods.map(float),
    ),
    (
        "container_cpu_cfs_throttled_periods_total",
        "counter",
        "Number of periods in which the container had to wait.",
        |row| row.prometheus.cpu_throttled_periods.map(float),
    ),
    (
        "container_cpu_cfs_throttled_seconds_total",
        "counter",
        "Total time that the container had to wait because of its CPU limit.",
        |row| seconds(row.prometheus.cpu_throttled_time),
    ),
    (
        "container_spec_cpu_quota",
        "gauge",
        "CPU time that the container may use in each period, microseconds.",
        |row| row.prometheus.cpu_quota.map(float),
    ),
    (
        "container_spec_cpu_period",
        "gauge",
        "Length of a period of the CPU limit, microseconds.",
        |row| row.prometheus.cpu_period.map(float),
    ),
    ("container_memory_cache", "gauge", "Page cache, bytes.", |row| row.memory_cache.map(float)),
    ("container_memory_rss", "gauge", "Memory of the container's processes, bytes.", |row| {
        row.memory_anon.map(float)
    }),
    ("container_memory_swap", "gauge", "Swap, bytes.", |row| row.memory_swap.map(float)),
    (
        "container_memory_failcnt",
        "counter",
        "Number of times that the memory limit was hit.",
        |row| row.prometheus.memory_failures.map(float),
    ),
    (
        "container_last_seen",
        "gauge",
        "When the last sample of the container arrived, Unix seconds.",
        |row| row.prometheus.last_seen,
    ),
];

/// Those of all containers that have been inspected.
const ALL: &[(&str, &str, &str, Value)] = &[
    (
        "container_start_time_seconds",
        "gauge",
        "When the container last started, Unix seconds.",
        |row| row.prometheus.start_time,
    ),
    (
        "container_health_state",
        "gauge",
        "Health check: 1 healthy, 0 starting or unhealthy, -1 without a health check.",
        |row| row.prometheus.health_state.map(f64::from),
    ),
    ("container_oom_events_total", "counter", "Number of out-of-memory events seen.", |row| {
        row.prometheus.oom_events.map(float)
    }),
    (
        "kentros_container_oom_killed",
        "gauge",
        "Whether a process of the container was killed for lack of memory since its last start.",
        |row| row.prometheus.oom_killed.map(flag),
    ),
    (
        "kentros_container_exit_code",
        "gauge",
        "Exit code of a container that is not running.",
        // An exit code has at most 32 bits.
        #[allow(clippy::cast_precision_loss)]
        |row| row.prometheus.exit_code.map(|code| code as f64),
    ),
    (
        "kentros_container_restarts_total",
        "counter",
        "Number of restarts by the restart policy.",
        |row| row.prometheus.restart_count.map(float),
    ),
    ("kentros_container_restart_loop", "gauge", "Whether the container keeps restarting.", |row| {
        row.prometheus.restart_loop.map(flag)
    }),
];

/// Writes the metrics of the running containers in `rows`, and of the `stopped` ones.
pub(super) fn write(
    out: &mut String,
    rows: &[(String, ContainerStats)],
    stopped: &[(String, ContainerStats)],
) {
    let rows = labelled(rows);
    let stopped = labelled(stopped);
    for (name, kind, help, value) in RUNNING {
        let series = rows.iter().filter_map(|(labels, row)| Some((labels, value(row)?)));
        MetricFamily { name, kind, help }.write(out, series);
    }
    for (name, kind, help, value) in ALL {
        let all = rows.iter().chain(&stopped);
        let series = all.filter_map(|(labels, row)| Some((labels, value(row)?)));
        MetricFamily { name, kind, help }.write(out, series);
    }
    let cores = rows.iter().filter_map(|(_, row)| row.online_cpus).max();
    let memory = rows.iter().filter_map(|(_, row)| row.prometheus.machine_memory).max();
    for (name, help, value) in [
        ("machine_cpu_cores", "Number of CPU cores of the engine's machine.", cores.map(f64::from)),
        ("machine_memory_bytes", "Memory of the engine's machine.", memory.map(float)),
    ] {
        let series = value.map(|value| (String::new(), value));
        MetricFamily { name, kind: "gauge", help }.write(out, series);
    }
}

fn labelled(rows: &[(String, ContainerStats)]) -> Vec<(String, &ContainerStats)> {
    rows.iter().map(|(id, row)| (labels(id, row), row)).collect()
}

fn seconds(nanos: Option<u64>) -> Option<f64> {
    nanos.map(|nanos| Duration::from_nanos(nanos).as_secs_f64())
}

fn flag(value: bool) -> f64 {
    f64::from(u8::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::payload::PrometheusFields;

    fn text(row: ContainerStats, stopped: ContainerStats) -> String {
        let mut out = String::new();
        write(&mut out, &[("up".to_owned(), row)], &[("down".to_owned(), stopped)]);
        out
    }

    #[test]
    fn the_units_are_those_of_cadvisor() {
        let mut row = ContainerStats::new("_standalone", "web");
        row.online_cpus = Some(4);
        row.memory_anon = Some(7);
        row.prometheus = PrometheusFields {
            cpu_throttled_time: Some(1_500_000_000),
            cpu_quota: Some(50_000),
            cpu_period: Some(100_000),
            health_state: Some(-1),
            machine_memory: Some(1 << 30),
            ..PrometheusFields::default()
        };
        let mut stopped = ContainerStats::new("_standalone", "job");
        stopped.prometheus.exit_code = Some(137);
        stopped.prometheus.oom_killed = Some(true);
        stopped.prometheus.last_seen = Some(1.0);
        let text = text(row, stopped);
        let up = r#"{id="up",name="web",image=""}"#;
        let down = r#"{id="down",name="job",image=""}"#;
        for line in [
            format!("container_cpu_cfs_throttled_seconds_total{up} 1.5"),
            format!("container_spec_cpu_quota{up} 50000"),
            format!("container_spec_cpu_period{up} 100000"),
            format!("container_memory_rss{up} 7"),
            format!("container_health_state{up} -1"),
            format!("kentros_container_exit_code{down} 137"),
            format!("kentros_container_oom_killed{down} 1"),
            "machine_cpu_cores 4".to_owned(),
            "machine_memory_bytes 1073741824".to_owned(),
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        for absent in ["container_memory_swap", "container_last_seen", "container_oom_events_total"]
        {
            assert!(!text.contains(absent), "{absent}");
        }
    }

    #[test]
    fn nothing_is_written_without_containers() {
        let mut out = String::new();
        write(&mut out, &[], &[]);
        assert_eq!(out, "");
    }
}

//! Recorded and constructed engine responses, each with the stats expected from it.
//!
//! Each case names its source. `tests/fixtures/samples` holds recorded responses, named after the
//! engine and cgroup version. The expected values were computed by hand: memory and I/O with the
//! docker CLI's formulas (`stats_helpers.go`), CPU as the change of `total_usage` over the change of
//! `read`.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::podman_sample::PodmanFrame;
use super::readings::ContainerReadings;
use super::sample::Sample;
use crate::Snapshot;
use crate::docker::inventory::{NetworkMode, Target};
use crate::stats::payload::{ContainerStats, PrometheusFields};
use crate::stats::reading::Reading;

const SECOND: Duration = Duration::from_secs(1);

/// A recorded response.
macro_rules! recorded {
    ($name:literal) => {
        include_str!(concat!("../../../tests/fixtures/samples/", $name))
    };
}
pub(super) use recorded;

fn target(network: &NetworkMode) -> Target {
    Target {
        id: "id".to_owned(),
        name: "name".to_owned(),
        project: "shop".to_owned(),
        service: None,
        network: network.clone(),
        cpu_limit: Ok(None),
        unlimited_memory: true,
        facts: PrometheusFields { image: "busybox".to_owned(), ..PrometheusFields::default() },
    }
}

/// The stats after these readings, which are a second apart.
fn stats_after(network: &NetworkMode, readings: Vec<Option<Reading>>) -> ContainerStats {
    let targets = [target(network)];
    let (mut all, mut now) = (ContainerReadings::default(), Instant::now());
    for reading in readings {
        now += SECOND;
        all.set_targets(&targets, now);
        all.update("id", reading, now);
    }
    all.container_stats(&targets, now, SECOND).remove(0).1
}

/// The stats after these samples of Docker, one per line.
pub(super) fn docker(network: &NetworkMode, samples: &str) -> ContainerStats {
    let reading = |line| serde_json::from_str::<Sample>(line).unwrap().reading();
    stats_after(network, samples.lines().map(reading).collect())
}

/// The stats of the first container after these frames of Podman, one per line.
pub(super) fn podman(frames: &str, swapped: bool) -> ContainerStats {
    let reading = |line| {
        let frame: PodmanFrame = serde_json::from_str(line).unwrap();
        frame.stats.first().unwrap().reading(swapped)
    };
    stats_after(&NetworkMode::Own, frames.lines().map(reading).collect())
}

/// The fields as on the wire, with the reason in place of a missing value.
fn values(row: &ContainerStats) -> Value {
    let mut row = serde_json::to_value(row).unwrap();
    let row = row.as_object_mut().unwrap();
    let unavailable = row.remove("unavailable").unwrap_or_default();
    for (field, why) in unavailable.as_object().into_iter().flatten() {
        assert_eq!(row.insert(field.clone(), why.clone()), Some(Value::Null), "{field}");
    }
    for field in ["name", "project_id", "service_name", "age_ms", "timestamp"] {
        row.remove(field);
    }
    // `pressure_tests` checks these.
    for field in ["cpu_throttled_percent", "memory_anon", "memory_cache", "memory_swap"] {
        row.remove(field);
    }
    for percent in ["cpu_percent", "memory_percent"] {
        if let Some(exact) = row.get(percent).and_then(Value::as_f64) {
            row.insert(percent.to_owned(), json!((exact * 100.0).round() / 100.0));
        }
    }
    Value::Object(std::mem::take(row))
}

/// One test per case: its source, the stats, and the expected values in the order of the fields.
macro_rules! cases {
    ($($(#[doc = $source:literal])+ $name:ident: $row:expr => $expected:tt;)+) => {
        $($(#[doc = $source])+ #[test] fn $name() {
            let [cpu, cpus, cpu_limit, used, limit, percent, rx, tx, read, written, pids] =
                json!($expected).as_array().unwrap().clone().try_into().unwrap();
            let expected = json!({
                "cpu_percent": cpu, "online_cpus": cpus, "cpu_limit": cpu_limit,
                "memory_usage": used, "memory_limit": limit, "memory_percent": percent,
                "network_rx": rx, "network_tx": tx, "block_read": read, "block_write": written,
                "pids": pids,
            });
            assert_eq!(values(&$row), expected);
        })+
    };
}

const FIRST: &str = "first_sample";
const ERROR: &str = "engine_error";
const NO_MEMORY: &str = "memory_cgroup_disabled";
const STOPPED: &str = "not_running";
const HOST: &str = "host_network";

cases! {
    /// Recorded. Memory used: 6352896 - 4194304 `total_inactive_file`.
    docker_20_10_cgroup_v1_one_sample:
        docker(&NetworkMode::Own, recorded!("docker-20.10.24-cgroupv1-oneshot-shop-web-1.json"))
        => [FIRST, 2, 2.0, 2_158_592, 268_435_456, 0.8, 2227, 1893, 0, 0, 3];
    /// Recorded. CPU: 20281743 ns in 1004274026; memory: 6336512 - 4194304.
    docker_20_10_cgroup_v1_stream:
        docker(&NetworkMode::Own, recorded!("docker-20.10.24-cgroupv1-stream-web.jsonl"))
        => [2.02, 2, 2.0, 2_142_208, 268_435_456, 0.8, 2339, 1935, 0, 0, 3];
    /// Recorded. CPU: 76575000 ns in 1047546900; memory: 22634496 - 339968 `inactive_file`.
    docker_20_10_cgroup_v2_stream:
        docker(&NetworkMode::Own, recorded!("docker-20.10.24-cgroupv2-stream-web.jsonl"))
        => [7.31, 2, 2.0, 22_294_528, 268_435_456, 8.31, 1560, 378, 294_912, 24_641_536, 2];
    /// Recorded. The I/O lists are null before the first I/O, and there is no network.
    docker_20_10_cgroup_v2_null_lists:
        docker(&NetworkMode::None, recorded!("docker-20.10.24-cgroupv2-oneshot-idle.json"))
        => [FIRST, 2, 2.0, 315_392, 3_052_957_696_u64, 0.01, 0, 0, 0, 0, 1];
    /// Recorded. A one-shot without `id` and `name`; `--network none`.
    docker_26_1_cgroup_v1_one_shot_without_a_name:
        docker(&NetworkMode::None, recorded!("docker-26.1.5-cgroupv1-oneshot.json"))
        => [FIRST, 2, 2.0, 413_696, 25_276_502_016_u64, 0.0, 0, 0, 0, 0, 1];
    /// Recorded. A one-shot without `id` and `name`; memory: 22999040 - 589824.
    docker_28_5_cgroup_v2_one_shot_without_a_name:
        docker(&NetworkMode::Own, recorded!("docker-28.5.2-cgroupv2-oneshot-web.json"))
        => [FIRST, 2, 2.0, 22_409_216, 268_435_456, 8.35, 1616, 504, 638_976, 22_806_528, 2];
    /// Recorded. CPU: 86904000 ns in 1053949420; memory: 22990848 - 589824.
    docker_28_5_cgroup_v2_stream:
        docker(&NetworkMode::Own, recorded!("docker-28.5.2-cgroupv2-stream-web.jsonl"))
        => [8.25, 2, 2.0, 22_401_024, 268_435_456, 8.35, 1616, 504, 638_976, 23_592_960, 2];
    /// Constructed. Since 29 a one-shot has `id` and `name`, like 28's samples with two passes, and
    /// no `preread` and `precpu_stats`. Memory: 22994944 - 589824.
    docker_29_one_shot_with_a_name:
        docker(&NetworkMode::Own, &without_previous_sample(
            recorded!("docker-28.5.2-cgroupv2-nostream-web.json")))
        => [FIRST, 2, 2.0, 22_405_120, 268_435_456, 8.35, 1616, 504, 638_976, 23_068_672, 2];
    /// Recorded, and repeated a second later, as in a stream (`states20.txt`).
    a_paused_container_uses_no_cpu:
        docker(&NetworkMode::None, &twice(
            recorded!("docker-20.10.24-cgroupv2-oneshot-paused.json"), "18:57:47", "18:57:48"))
        => [0.0, 2, 2.0, 315_392, 3_052_957_696_u64, 0.01, 0, 0, 0, 0, 1];
    /// Recorded from a stopped container. Created and dead ones give the same (`states20.txt`) and
    /// are not sampled.
    docker_20_10_zero_sample:
        docker(&NetworkMode::Own, recorded!("docker-20.10.24-cgroupv1-oneshot-stopped.json"))
        => [STOPPED, STOPPED, STOPPED, STOPPED, STOPPED, STOPPED, STOPPED, STOPPED, STOPPED,
            STOPPED, STOPPED];
    /// Recorded.
    docker_28_5_zero_sample:
        docker(&NetworkMode::Own, recorded!("docker-28.5.2-cgroupv2-oneshot-stopped.json"))
        => [STOPPED, STOPPED, STOPPED, STOPPED, STOPPED, STOPPED, STOPPED, STOPPED, STOPPED,
            STOPPED, STOPPED];
    /// From `states20.txt`: `docker restart` during a stream of 20.10, cgroup v1. The counter
    /// decreases, so CPU starts over.
    a_restart_during_a_stream:
        docker(&NetworkMode::None, &restarted(2))
        => [FIRST, 2, 2.0, 847_872, 4_194_304, 20.21, 0, 0, 0, 0, 2];
    /// The next sample of the same stream: 1263665 ns in 1.004 s.
    after_a_restart_during_a_stream:
        docker(&NetworkMode::None, &restarted(3))
        => [0.13, 2, 2.0, 749_568, 4_194_304, 17.87, 0, 0, 0, 0, 2];
    /// Only the counter decreases, as after a restore from a checkpoint.
    a_decreased_counter_starts_over:
        docker(&NetworkMode::Own, "{\"read\":\"2026-11-22T18:57:34Z\",\"cpu_stats\":{\"cpu_usage\":\
            {\"total_usage\":900}}}\n{\"read\":\"2026-11-22T18:57:35Z\",\"cpu_stats\":\
            {\"cpu_usage\":{\"total_usage\":100},\"online_cpus\":2}}")
        => [FIRST, 2, 2.0, NO_MEMORY, NO_MEMORY, NO_MEMORY, ERROR, ERROR, 0, 0, ERROR];
    /// The engine sends no `networks` for `--network host`; an integration test checks that with a
    /// real engine.
    the_host_network_is_unknown:
        docker(&NetworkMode::Host, recorded!("docker-20.10.24-cgroupv2-oneshot-idle.json"))
        => [FIRST, 2, 2.0, 315_392, 3_052_957_696_u64, 0.01, HOST, HOST, 0, 0, 1];
    /// The engine should have sent `networks`.
    a_missing_network_is_unknown:
        docker(&NetworkMode::Own, recorded!("docker-20.10.24-cgroupv2-oneshot-idle.json"))
        => [FIRST, 2, 2.0, 315_392, 3_052_957_696_u64, 0.01, ERROR, ERROR, 0, 0, 1];
    /// As in moby issue 18420: a kernel with `cgroup_disable=memory`, common on a Raspberry Pi.
    the_memory_cgroup_is_disabled:
        docker(&NetworkMode::None, r#"{"read":"2026-11-22T18:57:34Z","pids_stats":{"current":1},
            "blkio_stats":{"io_service_bytes_recursive":[]},"cpu_stats":{"cpu_usage":
            {"total_usage":9},"online_cpus":4},"memory_stats":{"limit":3052957696}}"#
            .replace('\n', " ").as_str())
        => [FIRST, 4, 4.0, NO_MEMORY, NO_MEMORY, NO_MEMORY, 0, 0, 0, 0, 1];
    /// Before API 1.27 and on some kernels the CLI counts `percpu_usage` (`stats_helpers.go`). The
    /// operations have their old names; `Sync`, `Async` and `Total` must not be counted.
    an_old_engine_without_online_cpus:
        docker(&NetworkMode::Own, r#"{"read":"2026-11-22T18:57:34Z","pids_stats":{"current":1},
            "blkio_stats":{"io_service_bytes_recursive":[
            {"major":8,"minor":0,"op":"Read","value":5},{"major":8,"minor":0,"op":"Write","value":7},
            {"major":8,"minor":0,"op":"Sync","value":100},{"major":8,"minor":0,"op":"Async","value":100},
            {"major":8,"minor":0,"op":"Total","value":100},
            {"major":8,"minor":16,"op":"Read","value":50},{"major":8,"minor":16,"op":"Write","value":70}]},
            "cpu_stats":{"cpu_usage":{"total_usage":9,"percpu_usage":[1,2,3,3]}},
            "memory_stats":{"usage":100,"stats":{"total_inactive_file":40},"limit":1000},
            "networks":{"eth0":{"rx_bytes":1490,"tx_bytes":378},"eth1":{"rx_bytes":10,"tx_bytes":2}}}"#
            .replace('\n', " ").as_str())
        => [FIRST, 4, 4.0, 60, 1000, 6.0, 1500, 380, 55, 77, 1];
    /// cgroup v1 on a kernel without counters for I/O, CPUs and processes, and a memory limit of 0.
    missing_counters_of_cgroup_v1_are_unknown:
        docker(&NetworkMode::None, r#"{"read":"2026-11-22T18:57:34Z","pids_stats":{},
            "blkio_stats":{"io_service_bytes_recursive":null},"cpu_stats":{"cpu_usage":
            {"total_usage":9}},"memory_stats":{"usage":100,"stats":{"total_inactive_file":0},
            "limit":0}}"#.replace('\n', " ").as_str())
        => [FIRST, ERROR, ERROR, 100, ERROR, ERROR, 0, 0, ERROR, ERROR, ERROR];
    /// The engine's types allow null everywhere (`api/types/stats.go`).
    every_field_null:
        docker(&NetworkMode::Own, r#"{"read":"2026-11-22T18:57:34Z","pids_stats":null,
            "blkio_stats":null,"cpu_stats":null,"memory_stats":null,"networks":null,
            "storage_stats":null,"num_procs":null}"#.replace('\n', " ").as_str())
        => [ERROR, ERROR, ERROR, NO_MEMORY, NO_MEMORY, NO_MEMORY, ERROR, ERROR, 0, 0, ERROR];
    /// Limits of 2^64 - 1 and 2^63 - 4096, which mean "no limit", and a usage that underflowed.
    implausible_memory_is_unknown:
        docker(&NetworkMode::None, r#"{"read":"2026-11-22T18:57:34Z","pids_stats":{"current":1},
            "cpu_stats":{"cpu_usage":{"total_usage":9},"online_cpus":4},"memory_stats":{
            "usage":18446744073709551000,"limit":18446744073709551615,"stats":{}}}"#
            .replace('\n', " ").as_str())
        => [FIRST, 4, 4.0, ERROR, ERROR, ERROR, 0, 0, 0, 0, 1];
    /// cgroup v1 writes "no limit" as 2^63 rounded down to a page.
    a_limit_of_cgroup_v1_that_means_none_is_unknown:
        docker(&NetworkMode::None, r#"{"read":"2026-11-22T18:57:34Z","pids_stats":{"current":
            18446744073709551615},"cpu_stats":{"cpu_usage":{"total_usage":9},"online_cpus":4},
            "memory_stats":{"usage":5,"limit":9223372036854771712,"stats":{}}}"#
            .replace('\n', " ").as_str())
        => [FIRST, 4, 4.0, 5, ERROR, ERROR, 0, 0, 0, 0, ERROR];
    /// A rounded limit, a network without counters and one written as a float cost only themselves.
    fields_of_other_types_are_unknown:
        docker(&NetworkMode::Own, r#"{"read":"2026-11-22T18:57:34Z","pids_stats":{"current":"1"},
            "cpu_stats":{"cpu_usage":{"total_usage":9},"online_cpus":4},"memory_stats":{"usage":5,
            "limit":18446744073709552000,"stats":{}},"networks":{"eth0":null,
            "eth1":{"rx_bytes":1,"tx_bytes":2}}}"#.replace('\n', " ").as_str())
        => [FIRST, 4, 4.0, 5, ERROR, ERROR, ERROR, ERROR, 0, 0, ERROR];
    /// 1.5e3 bytes are 1500.
    whole_floats_are_counts:
        docker(&NetworkMode::Own, r#"{"read":"2026-11-22T18:57:34Z","pids_stats":{"current":1.0},
            "cpu_stats":{"cpu_usage":{"total_usage":9},"online_cpus":4},"memory_stats":{"usage":5,
            "limit":10,"stats":{}},"networks":{"eth0":{"rx_bytes":1.5e3,"tx_bytes":2}}}"#
            .replace('\n', " ").as_str())
        => [FIRST, 4, 4.0, 5, 10, 50.0, 1500, 2, 0, 0, 1];
    /// As in the CLI's `calculateCPUPercentWindows` and `calculateMemUsageWindows`, with units of
    /// 100 ns: half a second of CPU time in one second.
    windows:
        docker(&NetworkMode::Own, &[("34", 10_000_000_u64), ("35", 15_000_000)].map(|(second, cpu)| {
            json!({
                "read": format!("2026-11-22T18:57:{second}Z"), "num_procs": 8,
                "pids_stats": {}, "blkio_stats": {},
                "storage_stats": {"read_size_bytes": 11, "write_size_bytes": 22},
                "cpu_stats": {"cpu_usage": {"total_usage": cpu}},
                "memory_stats": {"commitbytes": 1, "privateworkingset": 4096},
                "networks": {"e1": {"rx_bytes": 1, "tx_bytes": 2}},
            }).to_string()
        }).join("\n"))
        => [50.0, 8, 8.0, 4096, ERROR, ERROR, 1, 2, 11, 22, ERROR];
    /// Recorded; the first of two containers in the frame.
    podman_4_3_cgroup_v1:
        podman(recorded!("podman-4.3.1-cgroupv1-libpod-stats.json"), true)
        => [FIRST, 2, 2.0, 1_486_848, 25_276_502_016_u64, 0.01, 0, 0, 0, 0, 1];
    /// Recorded: `PerCPU` is null with cgroup v2.
    podman_4_3_cgroup_v2:
        podman(recorded!("podman-4.3.1-cgroupv2-libpod.json"), true)
        => [FIRST, ERROR, ERROR, 110_592, 3_052_957_696_u64, 0.0, 0, 0, 0, 262_144, 2];
    /// Podman 4.3, for a container whose eth0 had received 1870 bytes and sent 790 (podman issue
    /// 16618).
    podman_4_3_swaps_received_and_sent:
        podman(r#"{"Stats":[{"SystemNano":1795382566338046482,"MemUsage":1,"MemLimit":4,"PIDs":1,
            "NetInput":790,"NetOutput":1870,"BlockInput":0,"BlockOutput":0}]}"#
            .replace('\n', " ").as_str(), true)
        => [ERROR, ERROR, ERROR, 1, 4, 25.0, 1870, 790, 0, 0, 1];
    /// Podman 5 has counters per network (`libpod/define/containerstate.go`). CPU: half a second in
    /// one second.
    podman_5_sums_its_networks:
        podman("{\"Stats\":[{\"SystemNano\":1795382566000000000,\"CPUNano\":0}]}\n\
            {\"Stats\":[{\"SystemNano\":1795382567000000000,\"CPUNano\":500000000,\
            \"PerCPU\":[1,2],\"MemUsage\":1,\"MemLimit\":4,\"PIDs\":3,\"BlockInput\":5,\
            \"BlockOutput\":6,\"Network\":{\"eth0\":{\"RxBytes\":5,\"TxBytes\":6},\
            \"eth1\":{\"RxBytes\":1,\"TxBytes\":1}}}]}", false)
        => [50.0, 2, 2.0, 1, 4, 25.0, 6, 7, 5, 6, 3];
}

/// The sample without the fields of the previous one.
fn without_previous_sample(sample: &str) -> String {
    let mut sample: Value = serde_json::from_str(sample).unwrap();
    for member in ["preread", "precpu_stats"] {
        assert!(sample.as_object_mut().unwrap().remove(member).is_some());
    }
    assert!(sample["id"].is_string() && sample["name"].is_string());
    sample.to_string()
}

/// The sample, and again with a later time.
fn twice(sample: &str, time: &str, later: &str) -> String {
    assert!(sample.contains(time));
    let sample = sample.trim_end();
    format!("{sample}\n{}", sample.replacen(time, later, 1))
}

/// The first samples of a stream across a `docker restart`, with the values of `states20.txt`.
fn restarted(samples: usize) -> String {
    let sample = |(read, cpu, memory): (&str, u64, u64)| {
        json!({
            "read": format!("2026-11-22T{read}Z"), "pids_stats": {"current": 2},
            "blkio_stats": {"io_service_bytes_recursive": []},
            "cpu_stats": {"cpu_usage": {"total_usage": cpu}, "online_cpus": 2},
            "memory_stats": {"usage": memory, "limit": 4_194_304, "stats": {}},
        })
        .to_string()
    };
    let all = [
        ("18:11:52.070", 40_862_627, 1_421_312),
        ("18:11:53.073", 30_523_856, 847_872),
        ("18:11:54.077", 31_787_521, 749_568),
    ];
    all.into_iter().take(samples).map(sample).collect::<Vec<_>>().join("\n")
}

/// Two containers with one network (`network_mode: container:X`) both report all of its bytes.
#[test]
fn a_shared_network_is_counted_once_in_sums() {
    let sample = recorded!("docker-20.10.24-cgroupv1-oneshot-shop-web-1.json");
    let guest = docker(&NetworkMode::SharedWith("owner".to_owned()), sample);
    let owner = docker(&NetworkMode::Own, sample);
    assert_eq!((guest.network_rx, owner.network_rx), (Some(2227), Some(2227)));
    let rows = vec![("guest".to_owned(), guest), ("owner".to_owned(), owner)];
    let snapshot = Snapshot::from_rows(rows, &[], SECOND).unwrap();
    let snapshot: Value = serde_json::from_str(&snapshot.to_json()).unwrap();
    let sums = &snapshot["project_stats"]["shop"];
    assert_eq!((&sums["network_rx"], &sums["network_tx"]), (&json!(2227), &json!(1893)));
    assert_eq!((&sums["memory_usage"], &sums["pids"]), (&json!(2 * 2_158_592), &json!(6)));
}

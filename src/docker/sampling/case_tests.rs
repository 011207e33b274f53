//! The table of cases: what an engine answered, and the row that must come of it.
//!
//! A case names its source. `samples/` holds answers as they were recorded, each named after its
//! engine and cgroup version; the expected values are worked out from them by hand, with the
//! formulas of the docker CLI (`stats_helpers.go`) for memory and I/O, and for the CPU as the change
//! of `total_usage` over the change of `read`.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::readings::ContainerReadings;
use super::sample::{PodmanFrame, Sample};
use crate::Snapshot;
use crate::docker::inventory::{NetworkMode, Target};
use crate::stats::payload::ContainerStats;
use crate::stats::usage::Reading;

const SECOND: Duration = Duration::from_secs(1);

/// A recorded answer.
macro_rules! recorded {
    ($name:literal) => {
        include_str!(concat!("../../../tests/fixtures/samples/", $name))
    };
}

fn target(network: &NetworkMode) -> Target {
    Target {
        id: "id".to_owned(),
        name: "name".to_owned(),
        project: "shop".to_owned(),
        service: None,
        image: "busybox".to_owned(),
        network: network.clone(),
        cpu_limit: Ok(None),
    }
}

/// The row after these readings, a second apart.
fn row_after(network: &NetworkMode, readings: Vec<Option<Reading>>) -> ContainerStats {
    let targets = [target(network)];
    let (mut rows, mut now) = (ContainerReadings::default(), Instant::now());
    for reading in readings {
        now += SECOND;
        rows.keep(&targets, now);
        rows.take("id", reading, now);
    }
    rows.rows(&targets, now, SECOND).remove(0).1
}

/// What Docker's samples come to, one a line.
fn docker(network: &NetworkMode, samples: &str) -> ContainerStats {
    let reading = |line| serde_json::from_str::<Sample>(line).unwrap().reading();
    row_after(network, samples.lines().map(reading).collect())
}

/// What the first container's samples in Podman's frames come to, one a line.
fn podman(frames: &str, swapped: bool) -> ContainerStats {
    let reading = |line| {
        let frame: PodmanFrame = serde_json::from_str(line).unwrap();
        frame.stats.unwrap().first().unwrap().reading(swapped)
    };
    row_after(&NetworkMode::Own, frames.lines().map(reading).collect())
}

/// The figures as on the wire, those that are unknown with the reason instead.
fn figures(row: &ContainerStats) -> Value {
    let mut row = serde_json::to_value(row).unwrap();
    let row = row.as_object_mut().unwrap();
    let unavailable = row.remove("unavailable").unwrap_or_default();
    for (field, why) in unavailable.as_object().into_iter().flatten() {
        assert_eq!(row.insert(field.clone(), why.clone()), Some(Value::Null), "{field}");
    }
    for beside in ["name", "project_id", "service_name", "age_ms", "timestamp"] {
        row.remove(beside);
    }
    for percent in ["cpu_percent", "memory_percent"] {
        if let Some(exact) = row.get(percent).and_then(Value::as_f64) {
            row.insert(percent.to_owned(), json!((exact * 100.0).round() / 100.0));
        }
    }
    Value::Object(std::mem::take(row))
}

/// The cases: a test each, with its source, the row, and its figures in the order of the wire.
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
            assert_eq!(figures(&$row), expected);
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
    /// Recorded. The lists of I/O are null before there was any, and there is no network at all.
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
    /// Not recorded. From 29 on a one-shot has `id` and `name`, as 28's samples of two passes have
    /// them, and leaves `preread` and `precpu_stats` out; memory: 22994944 - 589824.
    docker_29_one_shot_with_a_name:
        docker(&NetworkMode::Own, &without_the_one_before(
            recorded!("docker-28.5.2-cgroupv2-nostream-web.json")))
        => [FIRST, 2, 2.0, 22_405_120, 268_435_456, 8.35, 1616, 504, 638_976, 23_068_672, 2];
    /// Recorded, and the same again ten seconds later, as a stream says it (`states20.txt`).
    a_paused_container_stands_still:
        docker(&NetworkMode::None, &twice(
            recorded!("docker-20.10.24-cgroupv2-oneshot-paused.json"), "18:57:47", "18:57:57"))
        => [0.0, 2, 2.0, 315_392, 3_052_957_696_u64, 0.01, 0, 0, 0, 0, 1];
    /// Recorded of a container that was stopped; one that is only created or is dead says the same
    /// (`states20.txt`), and neither is sampled at all.
    docker_20_10_zero_sample:
        docker(&NetworkMode::Own, recorded!("docker-20.10.24-cgroupv1-oneshot-stopped.json"))
        => [STOPPED, STOPPED, STOPPED, STOPPED, STOPPED, STOPPED, STOPPED, STOPPED, STOPPED,
            STOPPED, STOPPED];
    /// Recorded.
    docker_28_5_zero_sample:
        docker(&NetworkMode::Own, recorded!("docker-28.5.2-cgroupv2-oneshot-stopped.json"))
        => [STOPPED, STOPPED, STOPPED, STOPPED, STOPPED, STOPPED, STOPPED, STOPPED, STOPPED,
            STOPPED, STOPPED];
    /// From `states20.txt`: `docker restart` inside one stream of 20.10, cgroup v1. The counter goes
    /// back, and that is a new baseline.
    a_restart_inside_a_stream_goes_back:
        docker(&NetworkMode::None, &restarted(2))
        => [FIRST, 2, 2.0, 847_872, 4_194_304, 20.21, 0, 0, 0, 0, 2];
    /// The next sample of the same: 1263665 ns in 1.004 s.
    a_restart_inside_a_stream_goes_on:
        docker(&NetworkMode::None, &restarted(3))
        => [0.13, 2, 2.0, 749_568, 4_194_304, 17.87, 0, 0, 0, 0, 2];
    /// The counter alone goes back, as after a restore from a checkpoint.
    a_counter_that_goes_back_is_a_new_baseline:
        docker(&NetworkMode::Own, "{\"read\":\"2026-11-22T18:57:34Z\",\"cpu_stats\":{\"cpu_usage\":\
            {\"total_usage\":900}}}\n{\"read\":\"2026-11-22T18:57:35Z\",\"cpu_stats\":\
            {\"cpu_usage\":{\"total_usage\":100},\"online_cpus\":2}}")
        => [FIRST, 2, 2.0, NO_MEMORY, NO_MEMORY, NO_MEMORY, ERROR, ERROR, 0, 0, ERROR];
    /// The engine leaves `networks` out for `--network host` (`docker-engine.md`, and
    /// `the_host_network_is_unknown_and_not_zero` against a real engine).
    the_host_network_is_unknown:
        docker(&NetworkMode::Host, recorded!("docker-20.10.24-cgroupv2-oneshot-idle.json"))
        => [FIRST, 2, 2.0, 315_392, 3_052_957_696_u64, 0.01, HOST, HOST, 0, 0, 1];
    /// A network that the engine should have told of.
    a_network_that_is_missing_is_unknown:
        docker(&NetworkMode::Own, recorded!("docker-20.10.24-cgroupv2-oneshot-idle.json"))
        => [FIRST, 2, 2.0, 315_392, 3_052_957_696_u64, 0.01, ERROR, ERROR, 0, 0, 1];
    /// After moby 18420: a kernel with `cgroup_disable=memory`, as on many a Raspberry Pi.
    the_memory_cgroup_is_off:
        docker(&NetworkMode::None, r#"{"read":"2026-11-22T18:57:34Z","pids_stats":{"current":1},
            "blkio_stats":{"io_service_bytes_recursive":[]},"cpu_stats":{"cpu_usage":
            {"total_usage":9},"online_cpus":4},"memory_stats":{"limit":3052957696}}"#
            .replace('\n', " ").as_str())
        => [FIRST, 4, 4.0, NO_MEMORY, NO_MEMORY, NO_MEMORY, 0, 0, 0, 0, 1];
    /// Before API 1.27 and on some kernels: the CLI then counts `percpu_usage` (`stats_helpers.go`).
    /// The operations by their old names, two disks, and sums that must not count again.
    online_cpus_missing_and_operations_as_older_kernels_name_them:
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
    /// cgroup v1 with a kernel that counts no I/O, no cores and no processes, and a limit of 0.
    what_cgroup_v1_does_not_count_is_unknown:
        docker(&NetworkMode::None, r#"{"read":"2026-11-22T18:57:34Z","pids_stats":{},
            "blkio_stats":{"io_service_bytes_recursive":null},"cpu_stats":{"cpu_usage":
            {"total_usage":9}},"memory_stats":{"usage":100,"stats":{"total_inactive_file":0},
            "limit":0}}"#.replace('\n', " ").as_str())
        => [FIRST, ERROR, ERROR, 100, ERROR, ERROR, 0, 0, ERROR, ERROR, ERROR];
    /// Each part null, as the engine's types allow (`api/types/stats.go`).
    every_part_null:
        docker(&NetworkMode::Own, r#"{"read":"2026-11-22T18:57:34Z","pids_stats":null,
            "blkio_stats":null,"cpu_stats":null,"memory_stats":null,"networks":null,
            "storage_stats":null,"num_procs":null}"#.replace('\n', " ").as_str())
        => [FIRST, ERROR, ERROR, NO_MEMORY, NO_MEMORY, NO_MEMORY, ERROR, ERROR, 0, 0, ERROR];
    /// After the CLI's `calculateCPUPercentWindows` and `calculateMemUsageWindows`, which divide
    /// units of 100 ns: half a second of CPU in a second.
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
    /// Podman 4.3 of a container whose eth0 had received 1870 bytes and sent 790: it says the
    /// reverse (podman issue 16618).
    podman_4_3_confuses_the_directions:
        podman(r#"{"Stats":[{"SystemNano":1795382566338046482,"MemUsage":1,"MemLimit":4,"PIDs":1,
            "NetInput":790,"NetOutput":1870,"BlockInput":0,"BlockOutput":0}]}"#
            .replace('\n', " ").as_str(), true)
        => [FIRST, ERROR, ERROR, 1, 4, 25.0, 1870, 790, 0, 0, 1];
    /// Podman 5 tells of each network by itself (`libpod/define/containerstate.go`). CPU: half a
    /// second in a second.
    podman_5_counts_each_network:
        podman("{\"Stats\":[{\"SystemNano\":1795382566000000000,\"CPUNano\":0}]}\n\
            {\"Stats\":[{\"SystemNano\":1795382567000000000,\"CPUNano\":500000000,\
            \"PerCPU\":[1,2],\"MemUsage\":1,\"MemLimit\":4,\"PIDs\":3,\"BlockInput\":5,\
            \"BlockOutput\":6,\"NetworkMode\":{\"eth0\":{\"RxBytes\":5,\"TxBytes\":6},\
            \"eth1\":{\"RxBytes\":1,\"TxBytes\":1}}}]}", false)
        => [50.0, 2, 2.0, 1, 4, 25.0, 6, 7, 5, 6, 3];
}

/// The sample without what it says of the one before.
fn without_the_one_before(sample: &str) -> String {
    let mut sample: Value = serde_json::from_str(sample).unwrap();
    for member in ["preread", "precpu_stats"] {
        assert!(sample.as_object_mut().unwrap().remove(member).is_some());
    }
    assert!(sample["id"].is_string() && sample["name"].is_string());
    sample.to_string()
}

/// The sample, and again with another clock.
fn twice(sample: &str, clock: &str, later: &str) -> String {
    assert!(sample.contains(clock));
    let sample = sample.trim_end();
    format!("{sample}\n{}", sample.replacen(clock, later, 1))
}

/// The first samples of a stream through a `docker restart`, in the figures of `states20.txt`.
fn restarted(samples: usize) -> String {
    let of = |(read, cpu, memory): (&str, u64, u64)| {
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
    all.into_iter().take(samples).map(of).collect::<Vec<_>>().join("\n")
}

/// Two containers with one network (`network_mode: container:X`): both report all of it, recorded
/// of the one and the same for the other, and the sum counts it once.
#[test]
fn a_shared_network_is_counted_once_in_sums() {
    let sample = recorded!("docker-20.10.24-cgroupv1-oneshot-shop-web-1.json");
    let guest = docker(&NetworkMode::Of("owner".to_owned()), sample);
    let owner = docker(&NetworkMode::Own, sample);
    assert_eq!((guest.network_rx, owner.network_rx), (Some(2227), Some(2227)));
    let rows = vec![("guest".to_owned(), guest), ("owner".to_owned(), owner)];
    let snapshot = Snapshot::from_rows(rows, &[], SECOND).unwrap();
    let snapshot: Value = serde_json::from_str(&snapshot.to_json()).unwrap();
    let sums = &snapshot["project_stats"]["shop"];
    assert_eq!((&sums["network_rx"], &sums["network_tx"]), (&json!(2227), &json!(1893)));
    assert_eq!((&sums["memory_usage"], &sums["pids"]), (&json!(2 * 2_158_592), &json!(6)));
}

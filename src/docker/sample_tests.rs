//! A table of samples: the numbers that matter of answers recorded from each kind of engine, and
//! what they must come to.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::protocol::payload::Unavailable::{EngineError, MemoryCgroupDisabled};

/// What is expected of a sample.
struct Expected {
    cpu: u64,
    online_cpus: Result<u32, Unavailable>,
    memory: Result<u64, Unavailable>,
    memory_limit: Result<u64, Unavailable>,
    network: Option<(u64, u64)>,
    block: Result<(u64, u64), Unavailable>,
    pids: Result<u64, Unavailable>,
}

fn check(case: &str, reading: &Reading, expected: &Expected) {
    assert_eq!(reading.cpu, Ok(expected.cpu), "{case}");
    assert_eq!(reading.online_cpus, expected.online_cpus, "{case}");
    assert_eq!(reading.memory, expected.memory, "{case}");
    assert_eq!(reading.memory_limit, expected.memory_limit, "{case}");
    assert_eq!(reading.network, expected.network, "{case}");
    assert_eq!(reading.block, expected.block, "{case}");
    assert_eq!(reading.pids, expected.pids, "{case}");
}

#[test]
#[allow(clippy::too_many_lines)] // A table.
fn docker_samples() {
    let cases = [
        (
            // Its memory by hand: 6352896 - 4194304.
            "docker-20.10.24-cgroupv1-oneshot-shop-web-1",
            r#"{"read":"2026-11-22T19:00:47.487772864Z","pids_stats":{"current":3},
                "blkio_stats":{"io_service_bytes_recursive":[]},"num_procs":0,"storage_stats":{},
                "cpu_stats":{"cpu_usage":{"total_usage":92944683,
                "percpu_usage":[15560857,77383826]},"online_cpus":2},
                "memory_stats":{"usage":6352896,"max_usage":9490432,
                "stats":{"inactive_file":4194304,"total_inactive_file":4194304},
                "limit":268435456},
                "networks":{"eth0":{"rx_bytes":2227,"tx_bytes":1893}}}"#,
            Expected {
                cpu: 92_944_683,
                online_cpus: Ok(2),
                memory: Ok(2_158_592),
                memory_limit: Ok(268_435_456),
                network: Some((2227, 1893)),
                block: Ok((0, 0)),
                pids: Ok(3),
            },
        ),
        (
            // No name, no id, no network; memory by hand: 22642688 - 339968.
            "docker-20.10.24-cgroupv2-nostream-web",
            r#"{"read":"2026-11-22T18:57:33.46848177Z",
                "pids_stats":{"current":2,"limit":18446744073709551615},
                "blkio_stats":{"io_service_bytes_recursive":[
                {"major":254,"minor":0,"op":"read","value":294912},
                {"major":254,"minor":0,"op":"write","value":23855104}]},"num_procs":0,
                "cpu_stats":{"cpu_usage":{"total_usage":2009982000},"online_cpus":2},
                "memory_stats":{"usage":22642688,"stats":{"inactive_file":339968},
                "limit":268435456},
                "networks":{"eth0":{"rx_bytes":1490,"tx_bytes":378},
                "eth1":{"rx_bytes":10,"tx_bytes":2}}}"#,
            Expected {
                cpu: 2_009_982_000,
                online_cpus: Ok(2),
                memory: Ok(22_302_720),
                memory_limit: Ok(268_435_456),
                network: Some((1500, 380)),
                block: Ok((294_912, 23_855_104)),
                pids: Ok(2),
            },
        ),
        (
            "docker-20.10.24-cgroupv2-oneshot-idle: a null list before any I/O",
            r#"{"read":"2026-11-22T18:57:34.52666467Z",
                "pids_stats":{"current":1,"limit":18446744073709551615},
                "blkio_stats":{"io_service_bytes_recursive":null},"num_procs":0,
                "cpu_stats":{"cpu_usage":{"total_usage":480013000},"online_cpus":2},
                "memory_stats":{"usage":315392,"stats":{"inactive_file":0},"limit":3052957696}}"#,
            Expected {
                cpu: 480_013_000,
                online_cpus: Ok(2),
                memory: Ok(315_392),
                memory_limit: Ok(3_052_957_696),
                network: None,
                block: Ok((0, 0)),
                pids: Ok(1),
            },
        ),
        (
            // Old op names, several devices, and ops that are neither.
            "cgroup v1 as older kernels count",
            r#"{"read":"2026-11-22T18:57:34Z","pids_stats":{"current":1},
                "blkio_stats":{"io_service_bytes_recursive":[
                {"major":8,"minor":0,"op":"Read","value":5},
                {"major":8,"minor":0,"op":"Write","value":7},
                {"major":8,"minor":0,"op":"Sync","value":100},
                {"major":8,"minor":0,"op":"Async","value":100},
                {"major":8,"minor":0,"op":"Total","value":100},
                {"major":8,"minor":16,"op":"Read","value":50},
                {"major":8,"minor":16,"op":"Write","value":70}]},
                "cpu_stats":{"cpu_usage":{"total_usage":9,"percpu_usage":[1,2,3,3]},
                "online_cpus":0},
                "memory_stats":{"usage":100,"stats":{"total_inactive_file":40},"limit":1000},
                "networks":{}}"#,
            Expected {
                cpu: 9,
                online_cpus: Ok(4),
                memory: Ok(60),
                memory_limit: Ok(1000),
                network: None,
                block: Ok((55, 77)),
                pids: Ok(1),
            },
        ),
        (
            "cgroup v1 that counts no I/O, and no pids",
            r#"{"read":"2026-11-22T18:57:34Z","pids_stats":{},
                "blkio_stats":{"io_service_bytes_recursive":null},
                "cpu_stats":{"cpu_usage":{"total_usage":9}},
                "memory_stats":{"usage":100,"stats":{"total_inactive_file":0},"limit":0}}"#,
            Expected {
                cpu: 9,
                online_cpus: Err(EngineError),
                memory: Ok(100),
                memory_limit: Err(EngineError),
                network: None,
                block: Err(EngineError),
                pids: Err(EngineError),
            },
        ),
        (
            // moby 18420: a kernel with cgroup_enable=memory left out.
            "the memory cgroup is off",
            r#"{"read":"2026-11-22T18:57:34Z","pids_stats":{"current":1},
                "blkio_stats":{"io_service_bytes_recursive":[]},
                "cpu_stats":{"cpu_usage":{"total_usage":9},"online_cpus":4},
                "memory_stats":{"limit":3052957696}}"#,
            Expected {
                cpu: 9,
                online_cpus: Ok(4),
                memory: Err(MemoryCgroupDisabled),
                memory_limit: Err(MemoryCgroupDisabled),
                network: None,
                block: Ok((0, 0)),
                pids: Ok(1),
            },
        ),
        (
            "every part null",
            r#"{"read":"2026-11-22T18:57:34Z","pids_stats":null,"blkio_stats":null,
                "cpu_stats":null,"memory_stats":null,"networks":null,"storage_stats":null,
                "num_procs":null}"#,
            Expected {
                cpu: 0,
                online_cpus: Err(EngineError),
                memory: Err(MemoryCgroupDisabled),
                memory_limit: Err(MemoryCgroupDisabled),
                network: None,
                block: Ok((0, 0)),
                pids: Err(EngineError),
            },
        ),
        (
            // Fields of the CLI's calculateCPUPercentWindows and calculateMemUsageWindows.
            "Windows, in units of 100 ns",
            r#"{"read":"2026-11-22T18:57:34Z","num_procs":8,"pids_stats":{},"blkio_stats":{},
                "storage_stats":{"read_size_bytes":11,"write_size_bytes":22},
                "cpu_stats":{"cpu_usage":{"total_usage":10000000}},
                "memory_stats":{"commitbytes":1,"privateworkingset":4096},
                "networks":{"e1":{"rx_bytes":1,"tx_bytes":2}}}"#,
            Expected {
                cpu: 1_000_000_000,
                online_cpus: Ok(8),
                memory: Ok(4096),
                memory_limit: Err(EngineError),
                network: Some((1, 2)),
                block: Ok((11, 22)),
                pids: Err(EngineError),
            },
        ),
    ];
    for (case, json, expected) in cases {
        let sample: Sample = serde_json::from_str(json).unwrap();
        check(case, &sample.reading().unwrap(), &expected);
    }
}

#[test]
fn the_zero_sample_is_no_reading() {
    // docker-28.5.2-cgroupv2-oneshot-stopped, shortened.
    let stopped = r#"{"read":"0001-01-01T00:00:00Z","preread":"0001-01-01T00:00:00Z",
        "pids_stats":{},"blkio_stats":{"io_service_bytes_recursive":null},"num_procs":0,
        "cpu_stats":{"cpu_usage":{"total_usage":0}},"memory_stats":{}}"#;
    for json in [stopped, "{}", r#"{"read":"soon"}"#] {
        let sample: Sample = serde_json::from_str(json).unwrap();
        assert_eq!(sample.reading(), None, "{json}");
    }
}

#[test]
fn podman_samples() {
    let cases = [
        (
            "podman-4.3.1-cgroupv1-libpod-stats",
            r#"{"AvgCPU":0.00146,"ContainerID":"6a4608ae","Name":"pod1",
                "PerCPU":[9679518,33771405],"CPU":0.00146,"CPUNano":43450923,
                "CPUSystemNano":24000000,"SystemNano":1795375213864500116,"MemUsage":1486848,
                "MemLimit":25276502016,"MemPerc":0.0058,"NetInput":7,"NetOutput":9,
                "BlockInput":1,"BlockOutput":2,"PIDs":1,"UpTime":43450923,"Duration":43450923}"#,
            Expected {
                cpu: 43_450_923,
                online_cpus: Ok(2),
                memory: Ok(1_486_848),
                memory_limit: Ok(25_276_502_016),
                network: Some((7, 9)),
                block: Ok((1, 2)),
                pids: Ok(1),
            },
        ),
        (
            "podman-4.3.1-cgroupv2-libpod: no list of CPUs; the network as of Podman 5",
            r#"{"AvgCPU":6.19,"ContainerID":"f0956e4b","Name":"web","PerCPU":null,"CPU":6.19,
                "CPUNano":602330000,"CPUSystemNano":424931,"SystemNano":1795373885136855230,
                "MemUsage":110592,"MemLimit":3052957696,"MemPerc":0.0036,
                "Network":{"eth0":{"RxBytes":5,"TxBytes":6},"eth1":{"RxBytes":1,"TxBytes":1}},
                "BlockInput":0,"BlockOutput":262144,"PIDs":2}"#,
            Expected {
                cpu: 602_330_000,
                online_cpus: Err(EngineError),
                memory: Ok(110_592),
                memory_limit: Ok(3_052_957_696),
                network: Some((6, 7)),
                block: Ok((0, 262_144)),
                pids: Ok(2),
            },
        ),
    ];
    for (case, json, expected) in cases {
        let sample: PodmanSample = serde_json::from_str(json).unwrap();
        let reading = sample.reading(false).unwrap();
        check(case, &reading, &expected);
        assert!(reading.timestamp().unwrap().starts_with("2026-11-22T"), "{case}");
    }
    let no_clock: PodmanSample = serde_json::from_str(r#"{"ContainerID":"a"}"#).unwrap();
    assert_eq!(no_clock.reading(false), None);
    // Podman 4.3.1 of a container whose eth0 had received 1870 bytes and sent 790.
    let json = r#"{"SystemNano":1795382566338046482,"NetInput":790,"NetOutput":1870}"#;
    let old: PodmanSample = serde_json::from_str(json).unwrap();
    assert_eq!(old.reading(true).unwrap().network, Some((1870, 790)));
    let frame: PodmanFrame = serde_json::from_str(r#"{"Error":{},"Stats":null}"#).unwrap();
    assert!(frame.stats.is_none());
}

//! CPU throttling and the parts of the memory in recorded and constructed samples.
#![allow(clippy::unwrap_used)]

use super::case_tests::{docker, podman, recorded};
use super::sample::{Sample, SampleDialect};
use crate::ContainerStats;
use crate::docker::inventory::NetworkMode;
use crate::stats::payload::Unavailable::{self, FirstSample, NotReported, NotRunning};

/// Memory of processes and page cache, or the reasons why they are missing, and swap.
type Memory = (Result<u64, Unavailable>, Result<u64, Unavailable>, Option<u64>);

fn memory(row: &ContainerStats) -> Memory {
    let value = |field, value: Option<u64>| value.ok_or_else(|| row.unavailable[field]);
    let (anon, cache) = (row.memory_anon, row.memory_cache);
    (value("memory_anon", anon), value("memory_cache", cache), row.memory_swap)
}

#[test]
fn the_memory_is_split_as_far_as_the_engine_reports_it() {
    let none = &NetworkMode::None;
    for (row, expected) in [
        (
            docker(none, recorded!("docker-20.10.24-cgroupv1-oneshot-shop-web-1.json")),
            (Ok(167_936), Ok(5_324_800), None),
        ),
        (docker(none, recorded!("docker-26.1.5-cgroupv1-oneshot.json")), (Ok(53_248), Ok(0), None)),
        (
            docker(none, recorded!("docker-20.10.24-cgroupv2-oneshot-idle.json")),
            (Ok(49_152), Ok(0), None),
        ),
        (
            docker(none, recorded!("docker-28.5.2-cgroupv2-oneshot-web.json")),
            (Ok(114_688), Ok(21_884_928), None),
        ),
        // A kernel that counts swap.
        (
            docker(
                none,
                r#"{"read":"2026-11-22T18:57:34Z","memory_stats":{"usage":9,"stats":{"total_rss":4,"total_cache":2,"total_swap":3}}}"#,
            ),
            (Ok(4), Ok(2), Some(3)),
        ),
        (
            docker(none, recorded!("docker-28.5.2-cgroupv2-oneshot-stopped.json")),
            (Err(NotRunning), Err(NotRunning), None),
        ),
        (
            podman(recorded!("podman-4.3.1-cgroupv1-libpod-stats.json"), true),
            (Err(NotReported), Err(NotReported), None),
        ),
    ] {
        assert_eq!(memory(&row), expected, "{row:?}");
        let on_the_wire = serde_json::to_string(&row).unwrap();
        assert_eq!(on_the_wire.contains("memory_swap"), row.memory_swap.is_some());
    }
}

#[test]
fn throttling_is_a_rate() {
    let sample = |second: u8, periods: u64, throttled: u64| {
        format!(
            r#"{{"read":"2026-11-22T18:57:0{second}Z","cpu_stats":{{"throttling_data":{{"periods":{periods},"throttled_periods":{throttled},"throttled_time":{}}}}}}}"#,
            throttled * 50_000_000
        )
    };
    let row = |samples: &[String]| docker(&NetworkMode::None, &samples.join("\n"));
    let first = row(&[sample(1, 30, 20)]);
    assert_eq!(first.unavailable["cpu_throttled_percent"], FirstSample);
    let second = row(&[sample(1, 30, 20), sample(2, 40, 24)]);
    assert_eq!(second.cpu_throttled_percent, Some(40.0));
    assert_eq!(second.prometheus.cpu_periods, Some(40));
    assert_eq!(second.prometheus.cpu_throttled_periods, Some(24));
    assert_eq!(second.prometheus.cpu_throttled_time, Some(1_200_000_000));
    let idle = row(&[sample(1, 30, 20), sample(2, 30, 20)]);
    assert_eq!(idle.cpu_throttled_percent, None, "no period");
    assert!(!idle.unavailable.contains_key("cpu_throttled_percent"), "no reason");
    let old = docker(&NetworkMode::None, r#"{"read":"2026-11-22T18:57:34Z"}"#);
    assert_eq!(old.unavailable["cpu_throttled_percent"], NotReported);
}

/// Podman sends zeros for every container, in any case.
#[test]
fn podmans_throttling_is_unknown() {
    let json = r#"{"read":"2026-11-22T18:57:34Z","memory_stats":{"usage":9},"cpu_stats":{"cpu_usage":
        {"total_usage":9,"usage_in_usermode":4,"usage_in_kernelmode":5},"throttling_data":
        {"periods":0,"throttled_periods":0,"throttled_time":0}}}"#;
    let sample: Sample = serde_json::from_str(json).unwrap();
    let reading = sample.reading_in(SampleDialect::Podman { swapped: false }).unwrap();
    assert_eq!(reading.throttling, Err(NotReported));
    assert_eq!((reading.cpu_modes, reading.memory_failures), (None, None));
    assert!(sample.reading().unwrap().throttling.is_ok(), "what Docker sends");
}

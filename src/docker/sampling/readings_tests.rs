#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::stats::payload::Unavailable::{
    EngineError, FirstSample, HostNetwork, MemoryCgroupDisabled, NotRunning,
};
use crate::stats::reading::{Throttling, parse_timestamp};

/// The name of the case, a container, its sample, and the fields without a value except the CPU.
type Case<'a> = (&'a str, &'a Target, &'a Reading, &'a [(&'a str, Unavailable)]);

const PERIOD: Duration = Duration::from_secs(1);

fn target(id: &str) -> Target {
    Target {
        id: id.to_owned(),
        name: format!("name of {id}"),
        project: "shop".to_owned(),
        service: Some("web".to_owned()),
        network: NetworkMode::Own,
        cpu_limit: Ok(None),
        unlimited_memory: true,
        facts: PrometheusFields { image: "busybox".to_owned(), ..PrometheusFields::default() },
    }
}

fn reading(second: u8, cpu: u64) -> Reading {
    Reading {
        at: parse_timestamp(&format!("2026-11-22T19:00:{second:02}Z")).unwrap(),
        host_clock: None,
        cpu: Ok(cpu),
        online_cpus: Ok(4),
        memory: Ok(50),
        memory_total: Some(90),
        memory_limit: Ok(200),
        memory_anon: Ok(30),
        memory_cache: Ok(40),
        memory_swap: Some(6),
        memory_failures: Some(7),
        throttling: Ok(Throttling {
            periods: u64::from(second) * 10,
            throttled_periods: u64::from(second) * 5,
            throttled_time: 8,
        }),
        cpu_modes: Some((9, 10)),
        network: Some((1, 2)),
        block: Ok((3, 4)),
        pids: Ok(5),
    }
}

/// The stats of `target` right after the last of these samples, which are a second apart.
fn stats_after(target: &Target, samples: &[Option<Reading>]) -> ContainerStats {
    let mut readings = ContainerReadings::default();
    let targets = [target.clone()];
    let mut now = Instant::now();
    for sample in samples {
        now += Duration::from_secs(1);
        readings.set_targets(&targets, now);
        assert!(readings.update(&target.id, sample.clone(), now));
    }
    readings.container_stats(&targets, now, PERIOD).remove(0).1
}

#[test]
fn two_samples_give_all_values() {
    let row = stats_after(&target("a"), &[Some(reading(0, 0)), Some(reading(1, 500_000_000))]);
    let expected = ContainerStats {
        name: "name of a".to_owned(),
        project_id: "shop".to_owned(),
        service_name: Some("web".to_owned()),
        cpu_percent: Some(50.0),
        cpu_throttled_percent: Some(50.0),
        online_cpus: Some(4),
        cpu_limit: Some(4.0),
        memory_usage: Some(50),
        memory_limit: Some(200),
        memory_percent: Some(25.0),
        memory_anon: Some(30),
        memory_cache: Some(40),
        memory_swap: Some(6),
        network_rx: Some(1),
        network_tx: Some(2),
        block_read: Some(3),
        block_write: Some(4),
        pids: Some(5),
        timestamp: Some("2026-11-22T19:00:01Z".to_owned()),
        age_ms: Some(0),
        unavailable: BTreeMap::new(),
        network_of: None,
        prometheus: PrometheusFields {
            image: "busybox".to_owned(),
            cpu_total: Some(500_000_000),
            cpu_user: Some(9),
            cpu_system: Some(10),
            cpu_periods: Some(10),
            cpu_throttled_periods: Some(5),
            cpu_throttled_time: Some(8),
            memory_total: Some(90),
            memory_failures: Some(7),
            machine_memory: Some(200),
            last_seen: row.prometheus.last_seen,
            ..PrometheusFields::default()
        },
    };
    assert_eq!(row, expected);
}

#[test]
fn unknown_values_are_null_with_a_reason() {
    let host = Target { network: NetworkMode::Host, ..target("a") };
    let none = Target { network: NetworkMode::None, ..target("a") };
    let shared = Target { network: NetworkMode::SharedWith("b".to_owned()), ..target("a") };
    let refused = Target { cpu_limit: Err(EngineError), ..target("a") };
    let no_network = Reading { network: None, ..reading(0, 0) };
    let no_memory = Reading {
        memory: Err(MemoryCgroupDisabled),
        memory_limit: Err(MemoryCgroupDisabled),
        ..reading(0, 0)
    };
    let cases: [Case<'_>; 7] = [
        ("a first sample", &target("a"), &reading(0, 0), &[]),
        (
            "no networks",
            &target("a"),
            &no_network,
            &[("network_rx", EngineError), ("network_tx", EngineError)],
        ),
        (
            "host network",
            &host,
            &reading(0, 0),
            &[("network_rx", HostNetwork), ("network_tx", HostNetwork)],
        ),
        ("network mode none", &none, &no_network, &[]),
        ("a shared network", &shared, &reading(0, 0), &[]),
        ("no limit known", &refused, &reading(0, 0), &[("cpu_limit", EngineError)]),
        (
            "memory cgroup off",
            &target("a"),
            &no_memory,
            &[
                ("memory_usage", MemoryCgroupDisabled),
                ("memory_limit", MemoryCgroupDisabled),
                ("memory_percent", MemoryCgroupDisabled),
            ],
        ),
    ];
    for (case, target, reading, missing) in cases {
        let row = stats_after(target, &[Some(reading.clone())]);
        let mut expected: BTreeMap<String, Unavailable> =
            missing.iter().map(|(field, why)| ((*field).to_owned(), *why)).collect();
        for rate in ["cpu_percent", "cpu_throttled_percent"] {
            expected.insert(rate.to_owned(), FirstSample);
        }
        assert_eq!(row.unavailable, expected, "{case}");
        let json = serde_json::to_value(&row).unwrap();
        for (field, value) in json.as_object().unwrap() {
            assert_eq!(value.is_null(), expected.contains_key(field), "{case}: {field}");
        }
    }
    assert_eq!(
        stats_after(&none, &[Some(no_network)]).network_rx,
        Some(0),
        "network mode none: 0, not unknown"
    );
    assert_eq!(stats_after(&shared, &[Some(reading(0, 0))]).network_of.as_deref(), Some("b"));
}

#[test]
fn the_cpu_limit_defaults_to_the_online_cpus() {
    let limited = Target { cpu_limit: Ok(Some(1.5)), ..target("a") };
    assert_eq!(stats_after(&limited, &[Some(reading(0, 0))]).cpu_limit, Some(1.5));
    assert_eq!(stats_after(&target("a"), &[Some(reading(0, 0))]).cpu_limit, Some(4.0));
}

#[test]
fn cpu_starts_over_after_a_restart() {
    let a = target("a");
    for (case, samples) in [
        ("the counter decreased", vec![Some(reading(0, 900)), Some(reading(1, 100))]),
        ("stopped in between", vec![Some(reading(0, 100)), None, Some(reading(2, 900))]),
    ] {
        let row = stats_after(&a, &samples);
        assert_eq!(row.cpu_percent, None, "{case}");
        assert_eq!(row.unavailable["cpu_percent"], FirstSample, "{case}");
        assert!(row.memory_usage.is_some(), "{case}");
    }
    let again = [Some(reading(0, 900)), Some(reading(1, 0)), Some(reading(2, 250_000_000))];
    assert_eq!(stats_after(&a, &again).cpu_percent, Some(25.0));
}

#[test]
fn a_stopped_container_has_no_values() {
    let row = stats_after(&target("a"), &[Some(reading(0, 0)), None]);
    assert_eq!(row.unavailable.len(), FIELDS.len());
    assert!(row.unavailable.values().all(|why| *why == NotRunning));
    assert_eq!((row.memory_usage, row.timestamp), (None, None));
}

#[test]
fn a_sample_ages_and_then_is_missing() {
    let start = Instant::now();
    let (a, new) = (target("a"), target("new"));
    let targets = [a, new];
    let mut readings = ContainerReadings::default();
    readings.set_targets(&targets, start);
    readings.update("a", Some(reading(0, 0)), start);
    let at = |ms| readings.container_stats(&targets, start + Duration::from_millis(ms), PERIOD);
    let young = at(4_999);
    assert_eq!(young.len(), 1, "a new container without a sample is left out");
    assert_eq!(young[0].1.age_ms, Some(4_999));
    assert_eq!(young[0].1.memory_usage, Some(50));
    let old = at(5_000);
    assert_eq!(old.len(), 2, "after five seconds both are missing");
    for (id, row) in old {
        assert_eq!((row.memory_usage, row.age_ms), (None, None), "{id}");
        assert_eq!(row.unavailable["memory_usage"], EngineError, "{id}");
    }
    let slow = Duration::from_secs(4);
    let at = |ms| readings.container_stats(&targets, start + Duration::from_millis(ms), slow);
    assert_eq!(at(7_999)[0].1.memory_usage, Some(50), "not missing at a longer interval");
    assert_eq!(at(8_000)[0].1.memory_usage, None);
}

#[test]
fn a_removed_container_loses_its_reading() {
    let now = Instant::now();
    let mut readings = ContainerReadings::default();
    readings.set_targets(&[target("a"), target("b")], now);
    assert!(readings.update("a", Some(reading(0, 0)), now));
    readings.set_targets(&[target("b")], now);
    assert_eq!(readings.0.len(), 1);
    assert!(!readings.update("a", Some(reading(1, 0)), now), "removed");
    readings.set_targets(&[target("a"), target("b")], now);
    assert!(readings.update("a", Some(reading(2, 999)), now));
    let row = readings.stats_of(&target("a"), now, MISSING_AFTER).unwrap();
    assert_eq!(row.cpu_percent, None, "no rate across the gap");
}

/// Each case: engine time and arrival of a second sample in milliseconds after the first one, host
/// clock in milliseconds, CPU time used in milliseconds, and the CPU percentage.
#[test]
fn a_step_of_the_engines_clock_is_no_peak() {
    for (case, engine, arrival, host, used, percent) in [
        ("no step", 1_000, 1_000, Some(1_000), 1_000, Some(100.0)),
        ("back 0.9 s", 100, 1_000, Some(1_000), 1_000, None),
        ("back 0.5 s", 500, 1_000, Some(1_000), 1_000, None),
        ("back 0.5 s, unknown host clock", 500, 1_000, None, 1_000, None),
        ("back 2 s", -1_000, 1_000, Some(1_000), 1_000, None),
        ("ahead 1 h", 3_601_000, 1_000, Some(1_000), 1_000, None),
        ("a late arrival", 1_000, 2_500, Some(1_000), 1_000, Some(100.0)),
        ("an early arrival", 1_000, 300, Some(1_010), 500, Some(50.0)),
        ("a late arrival, unknown host clock", 1_000, 2_500, None, 1_000, None),
        ("a small delay, unknown host clock", 1_000, 1_200, None, 1_000, Some(100.0)),
        ("more than all CPUs", 1_000, 1_000, None, 6_000, None),
    ] {
        let (a, start) = (target("a"), Instant::now());
        let ns = |ms: u64| ms * 1_000_000;
        let first = Reading { host_clock: host.map(|_| 5), ..reading(30, 0) };
        let second = Reading {
            at: first.at + time::Duration::milliseconds(engine),
            host_clock: host.map(|ms| 5 + ns(ms)),
            cpu: Ok(ns(used)),
            ..first.clone()
        };
        let third = Reading {
            at: second.at + time::Duration::seconds(1),
            host_clock: second.host_clock.map(|clock| clock + ns(1_000)),
            cpu: Ok(ns(used) + ns(250)),
            ..second.clone()
        };
        let mut readings = ContainerReadings::default();
        readings.set_targets(std::slice::from_ref(&a), start);
        let mut at = start;
        let mut cpu_after = |reading: Reading, wait: u64| {
            at += Duration::from_millis(wait);
            readings.update("a", Some(reading), at);
            readings.container_stats(std::slice::from_ref(&a), at, PERIOD).remove(0).1
        };
        cpu_after(first, 0);
        let row = cpu_after(second, arrival);
        assert_eq!(row.cpu_percent, percent, "{case}");
        if percent.is_none() {
            assert_eq!(row.unavailable["cpu_percent"], EngineError, "{case}");
        }
        assert_eq!(cpu_after(third, 1_000).cpu_percent, Some(25.0), "after {case}");
    }
}

#[test]
fn a_repeated_sample_keeps_the_cpu_value() {
    let samples = [(0, 0), (1, 250_000_000), (1, 250_000_000), (2, 500_000_000), (2, 500_000_000)];
    for n in 2..=samples.len() {
        let samples: Vec<_> = samples[..n].iter().map(|(s, cpu)| Some(reading(*s, *cpu))).collect();
        let now: Vec<_> = samples.iter().flatten().map(|reading| reading.at).collect();
        let a = target("a");
        let mut readings = ContainerReadings::default();
        let start = Instant::now();
        readings.set_targets(std::slice::from_ref(&a), start);
        let mut row = None;
        for sample in samples {
            let at = start + (sample.as_ref().unwrap().at - now[0]).unsigned_abs();
            readings.update("a", sample, at);
            row = Some(readings.container_stats(std::slice::from_ref(&a), at, PERIOD).remove(0).1);
        }
        assert_eq!(row.unwrap().cpu_percent, Some(25.0), "{n} samples");
    }
    let once = [Some(reading(0, 100)), Some(reading(0, 100))];
    let row = stats_after(&target("a"), &once);
    assert_eq!(row.unavailable["cpu_percent"], FirstSample, "still the first sample");
}

#[test]
fn the_cpu_limit_is_at_most_the_online_cpus() {
    for (limit, online, expected) in [
        (Some(1.5), Ok(4), Some(1.5)),
        (Some(8.0), Ok(4), Some(4.0)),
        (Some(8.0), Err(EngineError), Some(8.0)),
    ] {
        let limited = Target { cpu_limit: Ok(limit), ..target("a") };
        let sample = Reading { online_cpus: online, ..reading(0, 0) };
        assert_eq!(stats_after(&limited, &[Some(sample)]).cpu_limit, expected);
    }
}

//! `DockerSource` with many containers and slow engines.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use kentros::{DockerSource, Interest, Mode, StatsSource};

use crate::harness::GUARD;
use crate::harness::docker::{Reading, is_quarter, serve_engine, source_in};
use crate::harness::fake_engine::{FakeContainer, FakeEngine, Kind};

/// Maximum number of containers that kentros lists, as documented.
const LISTED: usize = 5_000;
/// The most stopped containers that kentros inspects, as documented.
const INSPECTED: usize = 100;

fn collect(source: &mut DockerSource) -> Reading {
    let snapshot = source.collect(&Interest::all()).unwrap();
    serde_json::from_str(&snapshot.to_json()).unwrap()
}

/// Takes readings until each of this many containers has had a CPU usage from three samples. On a
/// busy machine the engine may take seconds for a pass, but each reading has each container. Fails
/// if none of those that lack samples gets one for [`GUARD`].
fn until_all(engine: &FakeEngine, source: &mut DockerSource, running: usize) {
    let mut last_sample = Instant::now();
    let mut samples: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut listed = 0;
    while samples.values().filter(|times| times.len() >= 3).count() < running {
        let reading = collect(source);
        let rows = &reading.container_stats;
        assert!(rows.len() >= listed, "{} rows, {listed} before", rows.len());
        listed = rows.len();
        for (id, row) in rows.iter().filter(|(_, row)| row.cpu_percent.is_some()) {
            assert!(is_quarter(row.cpu_percent), "{id}: {row:?}");
            assert!(row.age_ms.is_some(), "{id}: {row:?}");
            let times = samples.entry(id.clone()).or_default();
            if times.len() < 3 && times.insert(row.timestamp.clone().unwrap()) {
                last_sample = Instant::now();
            }
        }
        assert!(last_sample.elapsed() < GUARD, "{} of {running} have a sample", samples.len());
        engine.wait_for_passes(1);
    }
    let sums = collect(source).project_stats;
    assert_eq!(listed, running);
    assert_eq!(sums.values().map(|sums| sums.running as usize).sum::<usize>(), running);
}

fn sample_thousand(kind: Kind, mode: Mode) {
    let engine = FakeEngine::start(kind);
    engine.add(FakeContainer::new("c0", "p0"));
    let mut source = source_in(mode, &engine);
    let mut running = 1;
    for wanted in [1, 50, 200, 1_000] {
        let ids: Vec<String> = (running..wanted)
            .map(|n| engine.add(FakeContainer::new(&format!("c{n}"), &format!("p{}", n / 10))))
            .collect();
        running = wanted;
        for id in &ids {
            engine.event(id, "start", &[]);
        }
        until_all(&engine, &mut source, running);
    }
    assert_eq!(source.engine_info().mode, Some(mode));
}

#[test]
fn a_thousand_containers_are_in_each_snapshot_of_a_direct_engine() {
    sample_thousand(Kind::Direct, Mode::Direct);
}

#[test]
fn a_thousand_containers_are_in_each_snapshot_of_a_streaming_engine() {
    sample_thousand(Kind::Stream, Mode::Stream);
}

#[test]
fn thirty_thousand_stopped_containers_do_not_displace_running_ones() {
    for kind in [Kind::Direct, Kind::Stream] {
        let engine = FakeEngine::start(kind);
        let stopped =
            FakeContainer { state: "exited".to_owned(), ..FakeContainer::new("job", "old") };
        let stopped: BTreeSet<String> = (0..30_000).map(|_| engine.add(stopped.clone())).collect();
        let running: Vec<String> =
            (0..20).map(|n| engine.add(FakeContainer::new(&format!("c{n}"), "shop"))).collect();
        let served = serve_engine(engine.host());
        let mut client = served.client();
        let list = client.find("project_list");
        let listed: BTreeSet<&str> = list["payload"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|project| project["containers"].as_array().unwrap())
            .map(|container| container["id"].as_str().unwrap())
            .collect();
        assert_eq!(listed.len(), LISTED, "{kind:?}");
        assert!(running.iter().all(|id| listed.contains(id.as_str())), "all running containers");
        let stats = client.find_where("container_stats", |stats| {
            let rows = stats["payload"].as_object().unwrap();
            rows.len() == 20 && rows.values().all(|row| row["cpu_percent"].is_number())
        });
        let sampled: BTreeSet<&str> =
            stats["payload"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(sampled, running.iter().map(String::as_str).collect());
        client.find_where("project_list", |list| {
            let projects = list["payload"].as_array().unwrap().iter();
            let containers = projects.flat_map(|p| p["containers"].as_array().unwrap());
            containers.filter(|c| c["exit_code"].is_number()).count() == INSPECTED
        });
        let all = engine.call_keys();
        let calls = all.iter().filter_map(|made| made.split_once(' '));
        let about_stopped: Vec<_> = calls.filter(|(_, id)| stopped.contains(*id)).collect();
        assert!(about_stopped.iter().all(|(call, _)| *call == "inspect"), "{about_stopped:?}");
        assert_eq!(about_stopped.len(), INSPECTED);
        let times = |id: &&str| engine.calls(&format!("inspect {id}"));
        assert!(about_stopped.iter().all(|(_, id)| times(id) == 1), "once each");
        assert!(engine.calls("oneshot") + engine.calls("stream") >= 20);
    }
}

#[test]
fn a_slow_direct_engine_is_sampled_at_a_longer_interval() {
    let engine = FakeEngine::start(Kind::Direct);
    let ids: Vec<String> =
        (0..40).map(|n| engine.add(FakeContainer::new(&format!("c{n}"), "shop"))).collect();
    let mut source = source_in(Mode::Direct, &engine);
    // With four calls at a time, a pass takes 0.9 s.
    engine.set_latency(Duration::from_millis(90));
    let start = Instant::now();
    while source.engine_info().interval.is_none_or(|interval| interval < Duration::from_secs(2)) {
        collect(&mut source);
        assert!(start.elapsed() < GUARD, "the interval is not longer");
    }
    for _ in 0..3 {
        let reading = collect(&mut source);
        for id in &ids {
            let row = reading.row(id);
            assert!(is_quarter(row.cpu_percent) && row.age_ms.is_some(), "{row:?}");
        }
    }
}

#[test]
fn a_stream_that_starts_late_is_accepted_in_the_end() {
    let engine = FakeEngine::start(Kind::Stream);
    engine.add(FakeContainer::new("first", "shop"));
    let mut source = source_in(Mode::Stream, &engine);
    // Longer than the first time limit of two seconds.
    engine.set_latency(Duration::from_millis(2_500));
    let second = engine.add(FakeContainer::new("second", "shop"));
    engine.event(&second, "start", &[]);
    let start = Instant::now();
    while collect(&mut source).container_stats.get(&second).is_none_or(|r| r.age_ms.is_none()) {
        assert!(start.elapsed() < GUARD, "the stream never starts");
    }
}

#[test]
fn the_interval_of_a_streaming_engine_is_reported() {
    let engine = FakeEngine::start(Kind::Stream);
    let ids: Vec<String> =
        (0..4).map(|n| engine.add(FakeContainer::new(&format!("c{n}"), "shop"))).collect();
    let served = serve_engine(engine.host());
    let mut client = served.client();
    client.find_where("engine_status", |status| status["payload"]["mode"] == "stream");
    engine.set_period(Duration::from_millis(1_800));
    client.find_where("engine_status", |status| {
        status["payload"]["interval_ms"].as_u64().is_some_and(|ms| ms > 1_500)
    });
    let stats = client.find("container_stats");
    for id in &ids {
        let row = &stats["payload"][id];
        assert!(row["age_ms"].is_u64() && row["memory_usage"].is_u64(), "{row}");
    }
}

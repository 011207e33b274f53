//! `DockerSource` with a healthy fake engine.

use std::time::Instant;

use kentros::{DockerSource, Interest, Mode, StatsSource, Unavailable};
use time::OffsetDateTime;

use crate::harness::GUARD;
use crate::harness::docker::{Reading, is_quarter, read_only, until, until_cpu};
use crate::harness::fake_engine::{FakeContainer, FakeEngine, Fault, Kind};

#[test]
fn every_kind_of_engine_gives_correct_figures() {
    for (kind, mode) in
        [(Kind::Direct, Mode::Direct), (Kind::Stream, Mode::Stream), (Kind::Podman, Mode::Podman)]
    {
        let engine = FakeEngine::start(kind);
        let ids: Vec<String> =
            (0..12).map(|n| engine.add(FakeContainer::new(&format!("c{n}"), "shop"))).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let begin = OffsetDateTime::now_utc();
        let mut source = DockerSource::new(engine.host());
        let reading = until_cpu(&engine, &mut source, &ids);
        assert_eq!(reading.container_stats.len(), 12, "{kind:?}");
        for id in &ids {
            let row = reading.row(id);
            assert!(is_quarter(row.cpu_percent), "{kind:?} {row:?}");
            assert_eq!(row.project_id, "shop");
            assert!(row.name.starts_with('c'));
            assert!(row.age_ms.is_some() && reading.sampled_at(id) > Some(begin), "{row:?}");
        }
        let sums = &reading.project_stats["shop"];
        assert_eq!((sums.containers, sums.running), (12, 12), "{kind:?}");
        let info = source.engine_info();
        assert_eq!(info.mode, Some(mode));
        assert_eq!(info.api_version.as_deref(), Some("1.41"));
        let name = if kind == Kind::Podman { "Podman" } else { "Docker Engine" };
        assert_eq!(info.engine.as_deref(), Some(name));
        assert!(info.version.is_some());
        if kind == Kind::Podman {
            // This Podman reports 10 bytes in and 20 out, which it confuses.
            let row = reading.row(ids[0]);
            assert_eq!((row.network_rx, row.network_tx), (Some(20), Some(10)));
        }
    }
}

#[test]
fn a_recorded_sample_is_converted_correctly() {
    let engine = FakeEngine::start(Kind::Direct);
    let id = engine.add(FakeContainer::new("web", "shop"));
    let mut source = DockerSource::new(engine.host());
    let inspected = |r: &Result<Reading, String>| {
        r.as_ref().is_ok_and(|r| r.row(&id).cpu_limit.is_some() && r.cpu(&id).is_some())
    };
    let reading = until(&engine, &mut source, "an inspected container", inspected).unwrap();
    let row = reading.row(&id);
    let recorded: serde_json::Value =
        serde_json::from_str(include_str!("../fixtures/docker-20.10-sample.json")).unwrap();
    let memory = &recorded["memory_stats"];
    let used = memory["usage"].as_u64().unwrap()
        - memory["stats"]["total_inactive_file"].as_u64().unwrap();
    assert_eq!(row.memory_usage, Some(used));
    assert_eq!(row.memory_limit, Some(67_108_864), "docker run -m 64m");
    assert_eq!(row.cpu_limit, Some(0.5), "docker run --cpus 0.5");
    assert_eq!(row.online_cpus, Some(2));
    assert_eq!(row.network_rx, recorded["networks"]["eth0"]["rx_bytes"].as_u64());
    assert_eq!(row.pids, recorded["pids_stats"]["current"].as_u64());
    assert_eq!(row.service_name.as_deref(), Some("web"));
    assert!(row.unavailable.is_empty(), "{row:?}");
}

#[test]
fn the_first_sample_has_no_cpu_usage() {
    for kind in [Kind::Direct, Kind::Stream, Kind::Podman] {
        let engine = FakeEngine::start(kind);
        let id = engine.add(FakeContainer::new("web", "shop"));
        let mut source = DockerSource::new(engine.host());
        let sampled =
            |r: &Result<Reading, String>| r.as_ref().is_ok_and(|r| !r.container_stats.is_empty());
        let first = until(&engine, &mut source, "a first sample", sampled).unwrap();
        let row = first.row(&id);
        assert_eq!(row.cpu_percent, None, "{kind:?}");
        assert_eq!(row.unavailable["cpu_percent"], Unavailable::FirstSample);
        assert!(row.memory_usage.is_some());
        assert!(is_quarter(until_cpu(&engine, &mut source, &[&id]).cpu(&id)));
    }
}

#[test]
fn only_running_containers_of_the_interest_are_sampled() {
    for (kind, call) in [(Kind::Direct, "oneshot"), (Kind::Stream, "stream")] {
        let engine = FakeEngine::start(kind);
        let web = engine.add(FakeContainer::new("web", "shop"));
        let paused = engine.add(FakeContainer {
            state: "paused".to_owned(),
            ..FakeContainer::new("idle", "shop")
        });
        let exited = engine
            .add(FakeContainer { state: "exited".to_owned(), ..FakeContainer::new("job", "shop") });
        let not_running = ["created", "dead", "removing", "restarting"].map(|state| {
            engine
                .add(FakeContainer { state: state.to_owned(), ..FakeContainer::new(state, "shop") })
        });
        let other = engine.add(FakeContainer::new("web", "blog"));
        let mut source = DockerSource::new(engine.host());
        let interest = Interest::only(["shop"]);
        let start = Instant::now();
        let reading = loop {
            let reading = read_only(&mut source, &interest).unwrap();
            if reading.cpu(&web).is_some() && reading.cpu(&paused).is_some() {
                break reading;
            }
            assert!(start.elapsed() < GUARD);
            engine.wait_for_passes(1);
        };
        assert_eq!(reading.container_stats.len(), 2, "{kind:?}");
        let projects: Vec<&String> = reading.project_stats.keys().collect();
        assert_eq!(projects, ["shop"]);
        for id in not_running.iter().chain([&exited]) {
            assert_eq!(engine.calls(&format!("{call} {id}")), 0);
        }
        assert_eq!(engine.calls(&format!("{call} {other}")), 0);
        assert!(engine.calls(&format!("{call} {paused}")) > 0);
    }
}

#[test]
fn new_containers_are_sampled_and_exited_ones_are_not() {
    for kind in [Kind::Direct, Kind::Stream, Kind::Podman] {
        let engine = FakeEngine::start(kind);
        let old = engine.add(FakeContainer::new("old", "shop"));
        let mut source = DockerSource::new(engine.host());
        until_cpu(&engine, &mut source, &[&old]);
        let new = engine.add(FakeContainer::new("new", "shop"));
        engine.event(&new, "create", &[]);
        engine.event(&new, "start", &[]);
        assert!(is_quarter(until_cpu(&engine, &mut source, &[&old, &new]).cpu(&new)));
        engine.edit(&old, |fake| "exited".clone_into(&mut fake.state));
        engine.event(&old, "die", &[("exitCode", "3")]);
        let alone = |r: &Result<Reading, String>| {
            r.as_ref().is_ok_and(|r| !r.container_stats.contains_key(&old))
        };
        let reading =
            until(&engine, &mut source, "the exited container to disappear", alone).unwrap();
        assert_eq!(reading.project_stats["shop"].running, 1, "{kind:?}");
    }
}

#[test]
fn a_container_restart_sets_a_new_baseline_without_a_spike() {
    for kind in [Kind::Direct, Kind::Stream, Kind::Podman] {
        let engine = FakeEngine::start(kind);
        let id = engine.add(FakeContainer::new("web", "shop"));
        let mut source = DockerSource::new(engine.host());
        until_cpu(&engine, &mut source, &[&id]);
        engine.reset(&id);
        let new_baseline = |r: &Result<Reading, String>| {
            let row = r.as_ref().unwrap().row(&id);
            assert!(row.cpu_percent.is_none_or(|cpu| cpu < 25.1), "a spike: {row:?}");
            if row.cpu_percent.is_some() {
                // The reading is older, or has skipped the sample after the restart.
                engine.reset(&id);
            }
            row.cpu_percent.is_none()
        };
        let reading = until(&engine, &mut source, "a row without CPU usage", new_baseline).unwrap();
        let why = reading.row(&id).unavailable["cpu_percent"];
        assert_eq!(why, Unavailable::FirstSample, "{kind:?}");
        assert!(is_quarter(until_cpu(&engine, &mut source, &[&id]).cpu(&id)));
    }
}

#[test]
fn a_paused_source_makes_no_calls() {
    for kind in [Kind::Direct, Kind::Stream, Kind::Podman] {
        let engine = FakeEngine::start(kind);
        let id = engine.add(FakeContainer::new("web", "shop"));
        let mut source = DockerSource::new(engine.host());
        assert_eq!(engine.total_calls(), 0, "no calls before the first reading");
        until_cpu(&engine, &mut source, &[&id]);
        source.pause();
        engine.wait_until_disconnected();
        let calls = engine.total_calls();
        engine.wait_for_passes(2);
        assert_eq!(engine.total_calls(), calls, "{kind:?}");
        // After the pause it does not probe the engine again.
        let probed = engine.calls("oneshot");
        assert!(is_quarter(until_cpu(&engine, &mut source, &[&id]).cpu(&id)));
        if kind == Kind::Stream {
            assert_eq!(engine.calls("oneshot"), probed, "no second probe");
        }
    }
}

#[test]
fn a_health_check_makes_one_ping() {
    let mut engine = FakeEngine::absent(Kind::Direct);
    let mut source = DockerSource::new(engine.host());
    let error = source.health_check().unwrap_err().to_string();
    assert!(error.contains("no such socket") && error.contains("--docker-host"), "{error}");
    engine.restart();
    source.health_check().unwrap();
    assert_eq!(engine.calls("ping"), 1);
    assert_eq!(engine.calls("list"), 0);
    engine.fault("ping", Fault::Status(500));
    assert!(source.health_check().unwrap_err().to_string().contains("500"));
}

#[test]
fn a_shared_network_is_counted_once() {
    let engine = FakeEngine::start(Kind::Direct);
    let owner = engine.add(FakeContainer::new("vpn", "shop"));
    let network_mode = format!("container:{owner}");
    let guest = engine.add(FakeContainer { network_mode, ..FakeContainer::new("app", "shop") });
    let host = engine.add(FakeContainer {
        network_mode: "host".to_owned(),
        ..FakeContainer::new("dns", "shop")
    });
    let mut source = DockerSource::new(engine.host());
    let reading = until_cpu(&engine, &mut source, &[&owner, &guest, &host]);
    let received = reading.row(&owner).network_rx;
    assert!(received.is_some_and(|bytes| bytes > 0));
    assert_eq!(reading.row(&guest).network_rx, received);
    assert_eq!(reading.row(&host).network_rx, None);
    assert_eq!(reading.row(&host).unavailable["network_rx"], Unavailable::HostNetwork);
    assert_eq!(reading.project_stats["shop"].network_rx, received);
}

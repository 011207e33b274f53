//! The Docker source against the fake engine: what it reads when all is well.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kentros::{ContainerStats, DockerSource, Interest, Mode, StatsSource, Unavailable};

use crate::fake_engine::{Fake, FakeEngine, Fault, Kind};

/// A guard against waiting for ever; no test waits for it.
pub(crate) const GUARD: Duration = Duration::from_secs(30);
/// What a reading may take on a busy machine; it aims at two seconds.
const READING: Duration = Duration::from_secs(4);

/// A snapshot as an embedder sees it.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Reading {
    pub(crate) container_stats: BTreeMap<String, ContainerStats>,
    pub(crate) project_stats: BTreeMap<String, kentros::ProjectTotals>,
}

impl Reading {
    pub(crate) fn row(&self, id: &str) -> &ContainerStats {
        self.container_stats.get(id).unwrap_or_else(|| panic!("no row of {id}: {self:?}"))
    }

    pub(crate) fn cpu(&self, id: &str) -> Option<f64> {
        self.container_stats.get(id)?.cpu_percent
    }
}

/// One reading, which must come in time.
pub(crate) fn read(source: &mut DockerSource) -> Result<Reading, String> {
    read_only(source, &Interest::all())
}

pub(crate) fn read_only(source: &mut DockerSource, interest: &Interest) -> Result<Reading, String> {
    let start = Instant::now();
    let read = source.collect(interest);
    assert!(start.elapsed() < READING, "a reading took {:?}", start.elapsed());
    let reading = read.map_err(|error| error.to_string())?;
    Ok(serde_json::from_str(&reading.to_json()).unwrap())
}

/// Reads, a reading a pass of the engine, until one is as wished.
pub(crate) fn until(
    engine: &FakeEngine,
    source: &mut DockerSource,
    what: &str,
    wished: impl Fn(&Result<Reading, String>) -> bool,
) -> Result<Reading, String> {
    let start = Instant::now();
    loop {
        let reading = read(source);
        if wished(&reading) {
            return reading;
        }
        assert!(start.elapsed() < GUARD, "never {what}: {reading:?}");
        engine.wait_for_passes(1);
    }
}

/// Reads until each of these containers has a CPU figure.
pub(crate) fn until_cpu(engine: &FakeEngine, source: &mut DockerSource, ids: &[&str]) -> Reading {
    let all = |r: &Result<Reading, String>| {
        r.as_ref().is_ok_and(|r| ids.iter().all(|id| r.cpu(id).is_some()))
    };
    until(engine, source, "a CPU figure of each", all).unwrap()
}

/// Whether this is the figure of a container that burns a quarter of a core.
pub(crate) fn is_quarter(cpu: Option<f64>) -> bool {
    cpu.is_some_and(|cpu| (cpu - 25.0).abs() < 0.1)
}

#[test]
fn every_kind_of_engine_gives_true_figures() {
    for (kind, mode) in
        [(Kind::Direct, Mode::Direct), (Kind::Stream, Mode::Stream), (Kind::Podman, Mode::Podman)]
    {
        let engine = FakeEngine::start(kind);
        let ids: Vec<String> =
            (0..12).map(|n| engine.add(Fake::new(&format!("c{n}"), "shop"))).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let mut source = DockerSource::new(engine.host());
        let reading = until_cpu(&engine, &mut source, &ids);
        assert_eq!(reading.container_stats.len(), 12, "{kind:?}");
        for id in &ids {
            let row = reading.row(id);
            assert!(is_quarter(row.cpu_percent), "{kind:?} {row:?}");
            assert_eq!(row.project_id, "shop");
            assert!(row.name.starts_with('c'));
            assert!(row.timestamp.is_some());
            assert!(row.age_ms.is_some_and(|age| age < 5_000));
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
            // This Podman says 10 in and 20 out, and has the two confused.
            let row = reading.row(ids[0]);
            assert_eq!((row.network_rx, row.network_tx), (Some(20), Some(10)));
        }
    }
}

#[test]
fn the_recorded_sample_comes_out_right() {
    let engine = FakeEngine::start(Kind::Direct);
    let id = engine.add(Fake::new("web", "shop"));
    let mut source = DockerSource::new(engine.host());
    let inspected = |r: &Result<Reading, String>| {
        r.as_ref().is_ok_and(|r| r.row(&id).cpu_limit.is_some() && r.cpu(&id).is_some())
    };
    let reading = until(&engine, &mut source, "inspected", inspected).unwrap();
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
fn the_first_sample_is_no_lifetime_average() {
    for kind in [Kind::Direct, Kind::Stream, Kind::Podman] {
        let engine = FakeEngine::start(kind);
        let id = engine.add(Fake::new("web", "shop"));
        let mut source = DockerSource::new(engine.host());
        let sampled =
            |r: &Result<Reading, String>| r.as_ref().is_ok_and(|r| !r.container_stats.is_empty());
        let first = until(&engine, &mut source, "sampled", sampled).unwrap();
        let row = first.row(&id);
        assert_eq!(row.cpu_percent, None, "{kind:?}");
        assert_eq!(row.unavailable["cpu_percent"], Unavailable::FirstSample);
        assert!(row.memory_usage.is_some());
        assert!(is_quarter(until_cpu(&engine, &mut source, &[&id]).cpu(&id)));
    }
}

#[test]
fn only_what_runs_and_is_wanted_is_asked() {
    for (kind, call) in [(Kind::Direct, "oneshot"), (Kind::Stream, "stream")] {
        let engine = FakeEngine::start(kind);
        let web = engine.add(Fake::new("web", "shop"));
        let paused = engine.add(Fake { state: "paused".to_owned(), ..Fake::new("idle", "shop") });
        let exited = engine.add(Fake { state: "exited".to_owned(), ..Fake::new("job", "shop") });
        let not_running = ["created", "dead", "removing", "restarting"]
            .map(|state| engine.add(Fake { state: state.to_owned(), ..Fake::new(state, "shop") }));
        let other = engine.add(Fake::new("web", "blog"));
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
fn a_container_that_comes_is_sampled_and_one_that_goes_is_not() {
    for kind in [Kind::Direct, Kind::Stream, Kind::Podman] {
        let engine = FakeEngine::start(kind);
        let old = engine.add(Fake::new("old", "shop"));
        let mut source = DockerSource::new(engine.host());
        until_cpu(&engine, &mut source, &[&old]);
        let new = engine.add(Fake::new("new", "shop"));
        engine.event(&new, "create", &[]);
        engine.event(&new, "start", &[]);
        assert!(is_quarter(until_cpu(&engine, &mut source, &[&old, &new]).cpu(&new)));
        engine.edit(&old, |fake| "exited".clone_into(&mut fake.state));
        engine.event(&old, "die", &[("exitCode", "3")]);
        let alone = |r: &Result<Reading, String>| {
            r.as_ref().is_ok_and(|r| !r.container_stats.contains_key(&old))
        };
        let reading = until(&engine, &mut source, "alone", alone).unwrap();
        assert_eq!(reading.project_stats["shop"].running, 1, "{kind:?}");
    }
}

#[test]
fn a_restart_inside_a_stream_is_a_new_baseline_and_no_spike() {
    for kind in [Kind::Direct, Kind::Stream, Kind::Podman] {
        let engine = FakeEngine::start(kind);
        let id = engine.add(Fake::new("web", "shop"));
        let mut source = DockerSource::new(engine.host());
        until_cpu(&engine, &mut source, &[&id]);
        engine.reset(&id);
        let new_baseline = |r: &Result<Reading, String>| {
            let row = r.as_ref().unwrap().row(&id);
            assert!(row.cpu_percent.is_none_or(|cpu| cpu < 25.1), "a spike: {row:?}");
            row.cpu_percent.is_none()
        };
        let reading = until(&engine, &mut source, "a baseline", new_baseline).unwrap();
        let why = reading.row(&id).unavailable["cpu_percent"];
        assert_eq!(why, Unavailable::FirstSample, "{kind:?}");
        assert!(is_quarter(until_cpu(&engine, &mut source, &[&id]).cpu(&id)));
    }
}

#[test]
fn nothing_is_asked_once_it_rests() {
    for kind in [Kind::Direct, Kind::Stream, Kind::Podman] {
        let engine = FakeEngine::start(kind);
        let id = engine.add(Fake::new("web", "shop"));
        let mut source = DockerSource::new(engine.host());
        assert_eq!(engine.all_calls(), 0, "a source does nothing before it is asked");
        until_cpu(&engine, &mut source, &[&id]);
        source.pause();
        engine.wait_until_alone();
        let calls = engine.all_calls();
        engine.wait_for_passes(2);
        assert_eq!(engine.all_calls(), calls, "{kind:?}");
        // And it wakes again, knowing how the engine behaves.
        let probed = engine.calls("oneshot");
        assert!(is_quarter(until_cpu(&engine, &mut source, &[&id]).cpu(&id)));
        if kind == Kind::Stream {
            assert_eq!(engine.calls("oneshot"), probed, "probed again");
        }
    }
}

#[test]
fn a_check_costs_a_ping() {
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
fn the_shared_network_is_counted_once() {
    let engine = FakeEngine::start(Kind::Direct);
    let owner = engine.add(Fake::new("vpn", "shop"));
    let network_mode = format!("container:{owner}");
    let guest = engine.add(Fake { network_mode, ..Fake::new("app", "shop") });
    let host = engine.add(Fake { network_mode: "host".to_owned(), ..Fake::new("dns", "shop") });
    let mut source = DockerSource::new(engine.host());
    let reading = until_cpu(&engine, &mut source, &[&owner, &guest, &host]);
    let received = reading.row(&owner).network_rx;
    assert!(received.is_some_and(|bytes| bytes > 0));
    assert_eq!(reading.row(&guest).network_rx, received);
    assert_eq!(reading.row(&host).network_rx, None);
    assert_eq!(reading.row(&host).unavailable["network_rx"], Unavailable::HostNetwork);
    assert_eq!(reading.project_stats["shop"].network_rx, received);
}

//! `DockerSource` with an engine that fails.

use std::os::unix::net::UnixListener;
use std::thread;
use std::time::{Duration, Instant};

use kentros::{DockerHost, DockerSource, Mode, StatsSource, Unavailable};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};
use time::OffsetDateTime;

use crate::harness::docker::{Reading, is_quarter, read, until, until_cpu};
use crate::harness::fake_engine::{FakeContainer, FakeEngine, Fault, Kind};
use crate::harness::{Warnings, in_own_process, unused_addr};

const KINDS: [Kind; 3] = [Kind::Direct, Kind::Stream, Kind::Podman];

/// All faults but [`Fault::Wait`].
const FAULTS: [Fault; 9] = [
    Fault::Hang,
    Fault::HangMidBody,
    Fault::Cut,
    Fault::Garbage,
    Fault::NoHttp,
    Fault::Empty,
    Fault::Endless,
    Fault::Status(500),
    Fault::Status(403),
];

fn failed(reading: &Result<Reading, String>) -> bool {
    reading.is_err()
}

#[test]
fn an_absent_engine_is_an_error_until_it_starts() {
    for kind in KINDS {
        let mut engine = FakeEngine::absent(kind);
        let id = engine.add(FakeContainer::new("web", "shop"));
        let mut source = DockerSource::new(engine.host());
        for _ in 0..2 {
            let error = read(&mut source).unwrap_err();
            assert!(error.contains("no such socket"), "{error}");
            assert!(error.contains(&engine.path().display().to_string()), "{error}");
        }
        engine.restart();
        assert!(is_quarter(until_cpu(&engine, &mut source, &[&id]).cpu(&id)), "{kind:?}");
    }
}

#[test]
fn an_engine_restart_causes_no_cpu_spike() {
    for kind in KINDS {
        let mut engine = FakeEngine::start(kind);
        let id = engine.add(FakeContainer::new("web", "shop"));
        let mut source = DockerSource::new(engine.host());
        until_cpu(&engine, &mut source, &[&id]);
        engine.stop();
        let gone = |r: &Result<Reading, String>| {
            r.as_ref().is_err_and(|error| error.contains("no such socket"))
        };
        until(&engine, &mut source, "the error of a stopped engine", gone).unwrap_err();
        engine.restart();
        let sampled = |r: &Result<Reading, String>| {
            let cpu = r.as_ref().ok().and_then(|r| r.cpu(&id));
            assert!(cpu.is_none_or(|cpu| cpu < 25.1), "a spike after the restart: {cpu:?}");
            is_quarter(cpu)
        };
        until(&engine, &mut source, "the CPU usage after the restart", sampled).unwrap();
    }
}

#[test]
fn an_engine_restart_between_two_readings_is_not_an_error_for_long() {
    let mut engine = FakeEngine::start(Kind::Stream);
    let id = engine.add(FakeContainer::new("web", "shop"));
    let mut source = DockerSource::new(engine.host());
    until_cpu(&engine, &mut source, &[&id]);
    engine.restart();
    // The source may notice only that the event stream has ended.
    until(&engine, &mut source, "a reading without an error", Result::is_ok).unwrap();
    assert!(is_quarter(until_cpu(&engine, &mut source, &[&id]).cpu(&id)));
}

/// Fails if a reading waits for a hung engine: it hangs until a reading has returned an error.
#[test]
fn a_hung_engine_is_an_error_until_it_recovers() {
    thread::scope(|scope| {
        for kind in KINDS {
            scope.spawn(move || hangs(kind));
        }
    });
}

fn hangs(kind: Kind) {
    let engine = FakeEngine::start(kind);
    let id = engine.add(FakeContainer::new("web", "shop"));
    let mut source = DockerSource::new(engine.host());
    until_cpu(&engine, &mut source, &[&id]);
    engine.hang(true);
    let error = until(&engine, &mut source, "an error", failed).unwrap_err();
    assert!(error.contains("does not respond"), "{kind:?}: {error}");
    assert!(read(&mut source).is_err());
    engine.hang(false);
    assert!(is_quarter(until_cpu(&engine, &mut source, &[&id]).cpu(&id)), "{kind:?}");
}

#[test]
fn an_engine_that_accepts_no_connections_is_an_error() {
    let path = std::env::temp_dir().join(format!("kentros-deaf-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let _listener = UnixListener::bind(&path).unwrap();
    let host: DockerHost = format!("unix://{}", path.display()).parse().unwrap();
    let mut source = DockerSource::new(host);
    let error = read(&mut source).unwrap_err();
    assert!(error.contains("does not respond"), "{error}");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_socket_without_a_listener_is_an_error_with_a_hint() {
    let path = std::env::temp_dir().join(format!("kentros-dead-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    let host: DockerHost = format!("unix://{}", path.display()).parse().unwrap();
    let error = read(&mut DockerSource::new(host)).unwrap_err();
    assert!(error.contains("connection refused") && error.contains("Start the engine"), "{error}");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn an_engine_over_tcp_works_and_a_refused_connection_is_an_error() {
    let (_reserved, addr) = unused_addr();
    let host: DockerHost = format!("tcp://{addr}").parse().unwrap();
    let error = read(&mut DockerSource::new(host)).unwrap_err();
    assert!(error.contains("connection refused"), "{error}");

    let engine = FakeEngine::start(Kind::Stream);
    let id = engine.add(FakeContainer::new("web", "shop"));
    let mut source = DockerSource::new(engine.tcp());
    assert!(is_quarter(until_cpu(&engine, &mut source, &[&id]).cpu(&id)));
}

#[test]
fn an_engine_that_is_too_old_is_an_error_with_a_hint() {
    let engine = FakeEngine::start(Kind::Stream);
    engine.set_api_version("1.40");
    let error = read(&mut DockerSource::new(engine.host())).unwrap_err();
    assert!(error.contains("1.40") && error.contains("Upgrade"), "{error}");
}

#[test]
fn the_source_recovers_from_each_fault_of_each_first_call() {
    thread::scope(|scope| {
        for call in ["ping", "version", "list", "events"] {
            for fault in FAULTS {
                scope.spawn(move || recovers_from_first_fault(call, fault));
            }
        }
    });
}

fn recovers_from_first_fault(call: &str, fault: Fault) {
    let engine = FakeEngine::start(Kind::Direct);
    let id = engine.add(FakeContainer::new("web", "shop"));
    engine.fault(call, fault);
    let mut source = DockerSource::new(engine.host());
    let reading = read(&mut source);
    if call == "ping" && matches!(fault, Fault::Hang | Fault::NoHttp | Fault::Status(_)) {
        assert!(reading.is_err(), "{call} {fault:?}");
    }
    engine.heal(call);
    until_cpu(&engine, &mut source, &[&id]);
}

#[test]
fn calls_that_a_proxy_forbids_are_skipped_if_they_are_optional() {
    let engine = FakeEngine::start(Kind::Direct);
    let id = engine.add(FakeContainer::new("web", "shop"));
    for call in ["version", "inspect", "events"] {
        engine.fault(call, Fault::Status(403));
    }
    let mut source = DockerSource::new(engine.host());
    let reading = until_cpu(&engine, &mut source, &[&id]);
    let row = reading.row(&id);
    assert!(is_quarter(row.cpu_percent));
    assert_eq!(row.cpu_limit, None);
    assert_eq!(row.unavailable["cpu_limit"], Unavailable::EngineError);
    assert_eq!(source.engine_info().version.as_deref(), Some("20.10.24"), "from the Server header");
    // Without events, lists find new containers.
    let new = engine.add(FakeContainer::new("new", "shop"));
    until_cpu(&engine, &mut source, &[&id, &new]);
    assert_eq!(engine.calls("inspect"), 1, "a refused call is not repeated");
}

#[test]
fn a_failing_container_does_not_affect_others() {
    thread::scope(|scope| {
        for (kind, call) in [(Kind::Direct, "oneshot"), (Kind::Stream, "stream")] {
            for fault in FAULTS {
                scope.spawn(move || others_are_sampled(kind, call, fault));
            }
        }
    });
}

/// Fails if the samples of the other containers are delayed, wrong or missing.
fn others_are_sampled(kind: Kind, call: &str, fault: Fault) {
    let engine = FakeEngine::start(kind);
    let bad = engine.add(FakeContainer::new("bad", "shop"));
    let good: Vec<String> =
        (0..6).map(|n| engine.add(FakeContainer::new(&format!("good{n}"), "shop"))).collect();
    let mut source = DockerSource::new(engine.host());
    let all: Vec<&str> = good.iter().chain([&bad]).map(String::as_str).collect();
    until_cpu(&engine, &mut source, &all);
    let key = format!("{call} {bad}");
    engine.fault(&key, fault);
    let calls = engine.calls(&key);
    let mut newest = OffsetDateTime::now_utc();
    for round in 0..4 {
        let fresh = |r: &Result<Reading, String>| {
            let r = r.as_ref().unwrap();
            good.iter().all(|id| {
                assert!(is_quarter(r.cpu(id)), "{kind:?} {fault:?} {round}: {:?}", r.row(id));
                r.sampled_at(id) > Some(newest)
            })
        };
        until(&engine, &mut source, "a new sample of each good container", fresh).unwrap();
        newest = OffsetDateTime::now_utc();
    }
    if kind == Kind::Direct {
        // On a busy machine the container may have counted as hung before, with a longer pause.
        let called = |_: &Result<Reading, String>| engine.calls(&key) > calls;
        until(&engine, &mut source, "a call of the failing container", called).unwrap();
    }
    engine.heal(&key);
    let healed = OffsetDateTime::now_utc();
    // A container that hung is not sampled for some seconds.
    let sampled =
        |r: &Result<Reading, String>| r.as_ref().is_ok_and(|r| r.sampled_at(&bad) > Some(healed));
    until(&engine, &mut source, "a sample of the healed container", sampled).unwrap();
}

#[test]
fn a_hung_container_does_not_spoil_the_probe() {
    let engine = FakeEngine::start(Kind::Direct);
    let bad = engine.add(FakeContainer::new("bad", "shop"));
    let good: Vec<String> =
        (0..2).map(|n| engine.add(FakeContainer::new(&format!("good{n}"), "shop"))).collect();
    engine.fault(&format!("oneshot {bad}"), Fault::Hang);
    let mut source = DockerSource::new(engine.host());
    let good: Vec<&str> = good.iter().map(String::as_str).collect();
    until_cpu(&engine, &mut source, &good);
    assert_eq!(source.engine_info().mode, Some(Mode::Direct));
}

#[test]
fn a_container_without_samples_has_a_reason_after_five_seconds() {
    let engine = FakeEngine::start(Kind::Direct);
    let bad = engine.add(FakeContainer::new("bad", "shop"));
    let good = engine.add(FakeContainer::new("good", "shop"));
    engine.fault(&format!("oneshot {bad}"), Fault::Status(500));
    let mut source = DockerSource::new(engine.host());
    let start = Instant::now();
    let reported = |r: &Result<Reading, String>| {
        r.as_ref().is_ok_and(|r| r.container_stats.contains_key(&bad))
    };
    let reading = until(&engine, &mut source, "a row without a sample", reported).unwrap();
    assert!(start.elapsed() >= Duration::from_secs(5));
    let row = reading.row(&bad);
    assert_eq!(row.memory_usage, None);
    assert_eq!(row.unavailable["memory_usage"], Unavailable::EngineError);
    let sums = &reading.project_stats["shop"];
    assert_eq!((sums.running, sums.sampled), (2, 1), "1 of 2");
    assert!(is_quarter(reading.cpu(&good)));
}

#[test]
fn podman_is_detected_by_its_ping_if_the_version_call_hangs() {
    let engine = FakeEngine::start(Kind::Podman);
    let id = engine.add(FakeContainer::new("web", "shop"));
    engine.fault("version", Fault::Hang);
    let mut source = DockerSource::new(engine.host());
    assert!(is_quarter(until_cpu(&engine, &mut source, &[&id]).cpu(&id)));
    assert_eq!(source.engine_info().version.as_deref(), Some("4.3.1"));
}

#[test]
fn podmans_stats_that_a_proxy_does_not_serve_are_replaced_by_calls_for_each_container() {
    let name = "docker_faults::podmans_stats_that_a_proxy_does_not_serve_are_replaced_by_calls_for_each_container";
    if !in_own_process(name, &[]) {
        return;
    }
    let warnings = Warnings::of_this_process();
    let engine = FakeEngine::start(Kind::Podman);
    let id = engine.add(FakeContainer::new("web", "shop"));
    for status in [401, 403, 404, 405, 501] {
        engine.fault("podman", Fault::Status(status));
        let mut source = DockerSource::new(engine.host());
        let reading = until_cpu(&engine, &mut source, &[&id]);
        assert!(is_quarter(reading.cpu(&id)), "{status}");
        // The fake engine is Podman 4.3, which swaps what it received and sent.
        let row = reading.row(&id);
        assert_eq!((row.network_rx, row.network_tx), (Some(0), Some(952)), "{status}");
        assert_eq!(source.engine_info().mode, Some(Mode::Direct), "{status}");
        let lines = std::mem::take(&mut *warnings.lines());
        assert_eq!(lines.len(), 1, "{lines:?}");
        for part in ["/libpod/containers/stats", &status.to_string(), "Allow"] {
            assert!(lines[0].contains(part), "{lines:?}");
        }
    }
    // Other errors do not last.
    engine.fault("podman", Fault::Status(500));
    let mut source = DockerSource::new(engine.host());
    let calls = engine.calls("podman");
    let repeated = |_: &Result<Reading, String>| engine.calls("podman") > calls + 2;
    until(&engine, &mut source, "more calls", repeated).unwrap();
    engine.heal("podman");
    until_cpu(&engine, &mut source, &[&id]);
    assert_eq!(source.engine_info().mode, Some(Mode::Podman));
    assert_eq!(*warnings.lines(), Vec::<String>::new());
}

#[test]
fn garbage_in_the_event_stream_is_skipped() {
    let engine = FakeEngine::start(Kind::Direct);
    let id = engine.add(FakeContainer::new("web", "shop"));
    let mut source = DockerSource::new(engine.host());
    until_cpu(&engine, &mut source, &[&id]);
    for line in ["", "{", "null", "[]", "{\"Action\":7}", "{\"Actor\":null,\"Action\":\"die\"}"] {
        engine.raw_event(line);
    }
    let new = engine.add(FakeContainer::new("new", "shop"));
    engine.event(&new, "start", &[]);
    until_cpu(&engine, &mut source, &[&id, &new]);
    assert_eq!(engine.calls("events"), 1, "the same stream throughout");
}

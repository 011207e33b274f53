//! The Docker source against an engine that fails in every way there is.

use std::os::unix::net::UnixListener;
use std::thread;
use std::time::{Duration, Instant};

use kentros::{DockerHost, DockerSource, Mode, StatsSource, Unavailable};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};

use crate::docker_source::{Reading, is_quarter, read, until, until_cpu};
use crate::fake_engine::{Fake, FakeEngine, Fault, Kind};
use crate::harness::nowhere;

const KINDS: [Kind; 3] = [Kind::Direct, Kind::Stream, Kind::Podman];

/// Every way an answer can go wrong.
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
fn an_absent_engine_is_an_error_until_it_comes() {
    for kind in KINDS {
        let mut engine = FakeEngine::absent(kind);
        let id = engine.add(Fake::new("web", "shop"));
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
fn an_engine_that_restarts_is_taken_up_again_without_a_spike() {
    for kind in KINDS {
        let mut engine = FakeEngine::start(kind);
        let id = engine.add(Fake::new("web", "shop"));
        let mut source = DockerSource::new(engine.host());
        until_cpu(&engine, &mut source, &[&id]);
        engine.stop();
        let gone = |r: &Result<Reading, String>| {
            r.as_ref().is_err_and(|error| error.contains("no such socket"))
        };
        until(&engine, &mut source, "gone", gone).unwrap_err();
        engine.restart();
        let wished = |r: &Result<Reading, String>| {
            let cpu = r.as_ref().ok().and_then(|r| r.cpu(&id));
            assert!(cpu.is_none_or(|cpu| cpu < 25.1), "a spike after the restart: {cpu:?}");
            is_quarter(cpu)
        };
        until(&engine, &mut source, "taken up", wished).unwrap();
    }
}

#[test]
fn an_engine_that_restarts_unseen_is_no_error() {
    let mut engine = FakeEngine::start(Kind::Stream);
    let id = engine.add(Fake::new("web", "shop"));
    let mut source = DockerSource::new(engine.host());
    until_cpu(&engine, &mut source, &[&id]);
    engine.restart();
    // Between two readings: the first sees the end of the events at the latest.
    let wished = |r: &Result<Reading, String>| r.is_ok();
    until(&engine, &mut source, "well", wished).unwrap();
    assert!(is_quarter(until_cpu(&engine, &mut source, &[&id]).cpu(&id)));
}

#[test]
fn a_hung_engine_is_an_error_and_recovers() {
    thread::scope(|scope| {
        for kind in KINDS {
            scope.spawn(move || hangs(kind));
        }
    });
}

fn hangs(kind: Kind) {
    let engine = FakeEngine::start(kind);
    let id = engine.add(Fake::new("web", "shop"));
    let mut source = DockerSource::new(engine.host());
    until_cpu(&engine, &mut source, &[&id]);
    engine.hang(true);
    // Every one of these readings comes in time.
    let error = until(&engine, &mut source, "an error", failed).unwrap_err();
    assert!(error.contains("does not respond"), "{kind:?}: {error}");
    assert!(read(&mut source).is_err());
    engine.hang(false);
    assert!(is_quarter(until_cpu(&engine, &mut source, &[&id]).cpu(&id)), "{kind:?}");
}

#[test]
fn an_engine_that_accepts_nobody_is_an_error_in_time() {
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
fn a_socket_nobody_listens_on_is_an_error_with_a_remedy() {
    let path = std::env::temp_dir().join(format!("kentros-dead-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    let host: DockerHost = format!("unix://{}", path.display()).parse().unwrap();
    let error = read(&mut DockerSource::new(host)).unwrap_err();
    assert!(error.contains("connection refused") && error.contains("start the engine"), "{error}");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn tcp_works_alike_and_a_refused_port_has_a_remedy() {
    let (_reserved, addr) = nowhere();
    let host: DockerHost = format!("tcp://{addr}").parse().unwrap();
    let error = read(&mut DockerSource::new(host)).unwrap_err();
    assert!(error.contains("connection refused"), "{error}");

    let engine = FakeEngine::start(Kind::Stream);
    let id = engine.add(Fake::new("web", "shop"));
    let mut source = DockerSource::new(engine.tcp());
    assert!(is_quarter(until_cpu(&engine, &mut source, &[&id]).cpu(&id)));
}

#[test]
fn an_engine_too_old_is_told_so() {
    let engine = FakeEngine::start(Kind::Stream);
    engine.speaks("1.40");
    let error = read(&mut DockerSource::new(engine.host())).unwrap_err();
    assert!(error.contains("1.40") && error.contains("upgrade"), "{error}");
}

#[test]
fn each_fault_of_each_call_at_the_start_is_survived() {
    thread::scope(|scope| {
        for call in ["ping", "version", "list", "events"] {
            for fault in FAULTS {
                scope.spawn(move || fails_at_the_start(call, fault));
            }
        }
    });
}

fn fails_at_the_start(call: &str, fault: Fault) {
    let engine = FakeEngine::start(Kind::Direct);
    let id = engine.add(Fake::new("web", "shop"));
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
fn a_proxy_that_forbids_what_can_be_spared_spares_it() {
    let engine = FakeEngine::start(Kind::Direct);
    let id = engine.add(Fake::new("web", "shop"));
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
    // Without events a new container is found by listing.
    let new = engine.add(Fake::new("new", "shop"));
    until_cpu(&engine, &mut source, &[&id, &new]);
    assert_eq!(engine.calls("inspect"), 1, "refused once, it is not asked again");
}

#[test]
fn one_container_that_fails_concerns_no_other() {
    thread::scope(|scope| {
        for (kind, call) in [(Kind::Direct, "oneshot"), (Kind::Stream, "stream")] {
            for fault in FAULTS {
                scope.spawn(move || one_fails(kind, call, fault));
            }
        }
    });
}

fn one_fails(kind: Kind, call: &str, fault: Fault) {
    let engine = FakeEngine::start(kind);
    let bad = engine.add(Fake::new("bad", "shop"));
    let good: Vec<String> =
        (0..6).map(|n| engine.add(Fake::new(&format!("good{n}"), "shop"))).collect();
    let mut source = DockerSource::new(engine.host());
    let all: Vec<&str> = good.iter().chain([&bad]).map(String::as_str).collect();
    until_cpu(&engine, &mut source, &all);
    let key = format!("{call} {bad}");
    engine.fault(&key, fault);
    let calls = engine.calls(&key);
    for n in 0..4 {
        engine.wait_for_passes(1);
        let reading = read(&mut source).unwrap();
        for id in &good {
            let row = reading.row(id);
            assert!(is_quarter(row.cpu_percent), "{kind:?} {fault:?} {n}: {row:?}");
            assert!(row.age_ms.is_some_and(|age| age < 3_000), "{kind:?} {fault:?} {n}: {row:?}");
        }
    }
    if kind == Kind::Direct {
        // On a busy machine it may have been taken for hung before, and left alone for a while.
        until(&engine, &mut source, "asked all the same", |_| engine.calls(&key) > calls).unwrap();
    }
    engine.heal(&key);
    let soon = |r: &Result<Reading, String>| {
        r.as_ref().is_ok_and(|r| r.row(&bad).age_ms.is_some_and(|age| age < 1_000))
    };
    // One that hung is left alone for some seconds; any other comes back sooner.
    until(&engine, &mut source, "back", soon).unwrap();
}

#[test]
fn a_container_that_hangs_from_the_start_spoils_no_probe() {
    let engine = FakeEngine::start(Kind::Direct);
    let bad = engine.add(Fake::new("bad", "shop"));
    let good: Vec<String> =
        (0..2).map(|n| engine.add(Fake::new(&format!("good{n}"), "shop"))).collect();
    engine.fault(&format!("oneshot {bad}"), Fault::Hang);
    let mut source = DockerSource::new(engine.host());
    let good: Vec<&str> = good.iter().map(String::as_str).collect();
    until_cpu(&engine, &mut source, &good);
    assert_eq!(source.engine_info().mode, Some(Mode::Direct));
}

#[test]
fn a_container_without_samples_says_so_after_five_seconds() {
    let engine = FakeEngine::start(Kind::Direct);
    let bad = engine.add(Fake::new("bad", "shop"));
    let good = engine.add(Fake::new("good", "shop"));
    engine.fault(&format!("oneshot {bad}"), Fault::Status(500));
    let mut source = DockerSource::new(engine.host());
    let start = Instant::now();
    let told = |r: &Result<Reading, String>| {
        r.as_ref().is_ok_and(|r| r.container_stats.contains_key(&bad))
    };
    let reading = until(&engine, &mut source, "told", told).unwrap();
    assert!(start.elapsed() >= Duration::from_secs(5));
    let row = reading.row(&bad);
    assert_eq!(row.memory_usage, None);
    assert_eq!(row.unavailable["memory_usage"], Unavailable::EngineError);
    let sums = &reading.project_stats["shop"];
    assert_eq!((sums.running, sums.sampled), (2, 1), "1 of 2");
    assert!(is_quarter(reading.cpu(&good)));
}

#[test]
fn podman_is_known_by_its_ping_however_late_it_tells_its_version() {
    let engine = FakeEngine::start(Kind::Podman);
    let id = engine.add(Fake::new("web", "shop"));
    engine.fault("version", Fault::Hang);
    let mut source = DockerSource::new(engine.host());
    assert!(is_quarter(until_cpu(&engine, &mut source, &[&id]).cpu(&id)));
    assert_eq!(source.engine_info().version.as_deref(), Some("4.3.1"));
}

#[test]
fn garbage_among_the_events_is_passed_over() {
    let engine = FakeEngine::start(Kind::Direct);
    let id = engine.add(Fake::new("web", "shop"));
    let mut source = DockerSource::new(engine.host());
    until_cpu(&engine, &mut source, &[&id]);
    for line in ["", "{", "null", "[]", "{\"Action\":7}", "{\"Actor\":null,\"Action\":\"die\"}"] {
        engine.raw_event(line);
    }
    let new = engine.add(Fake::new("new", "shop"));
    engine.event(&new, "start", &[]);
    until_cpu(&engine, &mut source, &[&id, &new]);
    assert_eq!(engine.calls("events"), 1, "one stream all along");
}

//! `kentros stats`, run as a command.

use std::io::{BufRead, BufReader};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::binary::{Running, kentros, run};
use crate::harness::fake_engine::{FakeContainer, FakeEngine, Fault, Kind};
use crate::harness::real_engine::{RealEngine, unique};
use crate::harness::until;

/// The rows of one run with `--once --json`.
fn once(args: &[&str]) -> Value {
    let (status, out, err) = run(kentros(&[&["stats", "--once", "--json"], args].concat()));
    assert_eq!(status, 0, "{err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out:?}"))
}

#[test]
fn once_prints_every_container_with_its_cpu_rate() {
    for kind in [Kind::Direct, Kind::Stream, Kind::Podman] {
        let engine = FakeEngine::start(kind);
        let ids: Vec<String> =
            ["web", "db", "job"].map(|name| engine.add(FakeContainer::new(name, "shop"))).into();
        // An older engine samples once a second. The probe uses up one sample, so the first reading
        // finds none.
        engine.set_period(Duration::from_secs(1));
        engine.wait_for_passes(1);
        let rows = once(&["--docker-host", &engine.host().to_string()]);
        for id in &ids {
            assert!(rows[id]["cpu_percent"].is_f64(), "{kind:?}: {rows}");
        }
    }
}

#[test]
fn a_hub_and_an_engine_give_the_same_rows_and_project_filters_them() {
    let engine = FakeEngine::start(Kind::Direct);
    let web = engine.add(FakeContainer::new("web", "shop"));
    let post = engine.add(FakeContainer::new("post", "blog"));
    let host = engine.host().to_string();
    let hub = Running::start(kentros(&["--addr", "127.0.0.1:0", "--docker-host", &host]));
    let url = format!("ws://{}/ws/stats", hub.addr());
    let both = once(&["--url", &url]);
    assert!(both[&web]["cpu_percent"].is_f64() && both[&post]["cpu_percent"].is_f64(), "{both}");
    for from in [["--url", &url], ["--docker-host", &host]] {
        let rows = once(&[&from[..], &["--project", "shop"]].concat());
        let rows = rows.as_object().unwrap();
        assert!(rows.len() == 1 && rows[&web]["name"] == "web", "{rows:?}");
        let none = once(&[&from[..], &["--project", "nowhere"]].concat());
        assert_eq!(none, serde_json::json!({}));
    }
}

/// Longer than the grace of four seconds for an engine that does not respond.
#[test]
fn once_waits_for_an_engine_that_is_slow_to_list_its_containers() {
    let engine = FakeEngine::start(Kind::Direct);
    let web = engine.add(FakeContainer::new("web", "shop"));
    let host = engine.host().to_string();
    let hub = Running::start(kentros(&["--addr", "127.0.0.1:0", "--docker-host", &host]));
    let url = format!("ws://{}/ws/stats", hub.addr());
    for from in [["--docker-host", &host], ["--url", &url]] {
        engine.fault("list", Fault::Wait);
        let listed = engine.calls("list");
        let waiting = thread::spawn({
            let from = from.map(str::to_owned);
            move || once(&[&from[0], &from[1]])
        });
        engine.wait_for_calls("list", listed + 1);
        engine.wait_for_passes(14);
        assert_eq!(engine.calls("list"), listed + 1, "{from:?}");
        engine.heal("list");
        let rows = waiting.join().unwrap();
        assert!(rows[&web]["cpu_percent"].is_f64(), "{from:?}: {rows}");
    }
}

#[test]
fn it_runs_until_its_output_is_closed() {
    let engine = FakeEngine::start(Kind::Direct);
    let web = engine.add(FakeContainer::new("web", "shop"));
    let host = engine.host().to_string();
    let mut command = kentros(&["stats", "--json", "--interval", "100ms", "--docker-host", &host]);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..3 {
        let rows: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(rows[&web]["name"], "web");
    }
    drop(lines);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_hub_without_an_engine_is_an_error_with_the_fix() {
    let absent = ["--addr", "127.0.0.1:0", "--docker-host", "unix:///nowhere/kentros.sock"];
    let hub = Running::start(kentros(&absent));
    let url = format!("ws://{}/ws/stats", hub.addr());
    for args in [&["stats", "--once", "--url", &url][..], &["stats", "--url", &url]] {
        let (status, out, err) = run(kentros(args));
        assert_eq!((status, out.as_str()), (1, ""));
        assert!(err.contains(&url) && err.contains("Start the engine"), "{err}");
    }
}

#[test]
fn the_table_matches_docker_stats() {
    let Some(engine) = RealEngine::find("the_table_matches_docker_stats") else { return };
    let project = unique("table");
    let idle = engine.start(&project, "idle", &["sleep", "1000"]);
    let cells = |table: &str| -> Vec<Vec<String>> {
        let cells = |line: &str| {
            line.split("  ").map(str::trim).filter(|c| !c.is_empty()).map(str::to_owned).collect()
        };
        table.lines().map(cells).collect()
    };
    let host = engine.host.to_string();
    let args = ["stats", "--once", "--project", &project, "--docker-host", &host];
    until("the same table", || {
        let theirs = cells(&engine.docker(&["stats", "--no-stream", &idle.id]));
        let (_, ours, _) = run(kentros(&args));
        // The CPU column differs: the two commands measure different seconds.
        cells(&ours).iter().zip(&theirs).all(|(ours, theirs)| {
            let same = |n: usize| ours.get(n) == theirs.get(n);
            ours.len() == 8 && [0, 1, 3, 4, 5, 6, 7].into_iter().all(same)
        }) && theirs.len() == 2
    });
}

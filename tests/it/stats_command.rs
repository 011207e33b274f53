//! `kentros stats`, as a person runs it.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use serde_json::Value;

use crate::binary::{Running, kentros, run};
use crate::fake_engine::{Fake, FakeEngine, Kind};
use crate::harness::until;
use crate::real_engine::{RealEngine, unique};

/// Its rows, once, as JSON.
fn once(args: &[&str]) -> Value {
    let (status, out, err) = run(kentros(&[&["stats", "--once", "--json"], args].concat()));
    assert_eq!(status, 0, "{err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out:?}"))
}

#[test]
fn one_table_has_each_container_and_its_rate() {
    for kind in [Kind::Direct, Kind::Stream, Kind::Podman] {
        let engine = FakeEngine::start(kind);
        let ids: Vec<String> =
            ["web", "db", "job"].map(|name| engine.add(Fake::new(name, "shop"))).into();
        // The first sample of an older engine comes with its next pass, here a second away, and
        // the probe before has taken another: the first reading finds nothing.
        engine.keeps_pace(Duration::from_secs(1));
        engine.wait_for_passes(1);
        let rows = once(&["--docker-host", &engine.host().to_string()]);
        for id in &ids {
            assert!(rows[id]["cpu_percent"].is_f64(), "{kind:?}: {rows}");
        }
    }
}

#[test]
fn a_hub_gives_the_same_and_of_one_project_only_its_own() {
    let engine = FakeEngine::start(Kind::Direct);
    let web = engine.add(Fake::new("web", "shop"));
    let post = engine.add(Fake::new("post", "blog"));
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

#[test]
fn it_goes_on_until_nobody_reads() {
    let engine = FakeEngine::start(Kind::Direct);
    let web = engine.add(Fake::new("web", "shop"));
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
fn a_hub_without_an_engine_is_told_with_the_remedy() {
    let absent = ["--addr", "127.0.0.1:0", "--docker-host", "unix:///nowhere/kentros.sock"];
    let hub = Running::start(kentros(&absent));
    let url = format!("ws://{}/ws/stats", hub.addr());
    for args in [&["stats", "--once", "--url", &url][..], &["stats", "--url", &url]] {
        let (status, out, err) = run(kentros(args));
        assert_eq!((status, out.as_str()), (1, ""));
        assert!(err.contains(&url) && err.contains("start the engine"), "{err}");
    }
}

#[test]
fn its_table_is_that_of_docker_stats() {
    let Some(engine) = RealEngine::find("its_table_is_that_of_docker_stats") else { return };
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
        // The CPU of either is of another second.
        cells(&ours).iter().zip(&theirs).all(|(ours, theirs)| {
            let same = |n: usize| ours.get(n) == theirs.get(n);
            ours.len() == 8 && [0, 1, 3, 4, 5, 6, 7].into_iter().all(same)
        }) && theirs.len() == 2
    });
}

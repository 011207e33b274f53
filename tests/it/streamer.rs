//! The streamer: when it reads its source, and what clients receive for each reading.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use crossbeam_channel::{after, unbounded};
use kentros::{
    Container, EngineInfo, HubHandle, Interest, Project, Snapshot, SourceError, StatsSource,
};
use serde_json::{Value, json};

use crate::harness::{GUARD, Served, keys, one_each, row, snapshot, until};
use crate::source::{Call, Reading, Script};

#[test]
fn the_source_is_read_only_while_a_client_is_connected() {
    let served = Served::new();
    let script = Script::start(&served.handle());
    // This tick causes no reading before a client connects.
    script.tick();
    let mut first = served.client();
    assert_eq!(script.call(), Call::Start);
    script.answer(Reading::Rows(one_each(&["shop"], 0)));
    assert!(matches!(script.call(), Call::Collect(_)), "the first reading, for the waiting tick");
    let mut second = served.client();
    script.read(Reading::Rows(one_each(&["shop"], 1)));
    for client in [&mut first, &mut second] {
        while client.find("container_stats")["payload"]["shop-web"]["memory_usage"] != 1 {}
    }
    first.close();
    served.until_clients(1);
    script.read(Reading::Rows(one_each(&["shop"], 2)));
    second.close();
    served.until_clients(0);
    // After this response the hub has notified the streamer.
    served.get("/healthz");
    for _ in 0..5 {
        script.tick();
    }
    // A health check reaches the source only once the streamer knows that no client is left.
    until("a health check", || {
        served.get("/readyz");
        let calls: Vec<Call> = script.calls.try_iter().collect();
        assert!(
            calls.iter().all(|call| *call == Call::HealthCheck),
            "no client is connected: {calls:?}"
        );
        !calls.is_empty()
    });
}

#[test]
fn each_tick_sends_each_client_one_snapshot() {
    let (_served, script, mut client) = Script::with_client();
    for n in 0..10 {
        assert_eq!(script.read(Reading::Rows(one_each(&["shop"], n))), Interest::all());
        if n == 0 {
            let status = client.expect("engine_status");
            assert_eq!(status["payload"]["state"], "connected");
            assert_eq!(status["payload"]["engine"], "Script");
            assert_eq!(status["payload"]["error"], Value::Null);
        }
        let stats = client.expect("container_stats");
        assert_eq!(stats["payload"]["shop-web"]["memory_usage"], n);
        client.expect("project_stats");
    }
}

#[test]
fn a_new_client_gets_the_latest_snapshot_at_once() {
    let served = Served::new();
    let script = Script::start(&served.handle());
    let mut first = served.client();
    assert_eq!(script.call(), Call::Start);
    script.read(Reading::Rows(one_each(&["shop"], 1)));
    first.find("project_stats");
    let mut later = served.client();
    assert_eq!(later.expect("engine_status")["payload"]["state"], "connected");
    assert_eq!(later.expect("container_stats")["payload"]["shop-web"]["memory_usage"], 1);
    later.expect("project_stats");
}

#[test]
fn a_failed_reading_reports_unreachable_until_one_succeeds() {
    let (served, script, mut client) = Script::with_client();
    let state = |message: &Value| {
        let payload = &message["payload"];
        (payload["state"].clone(), payload["error"].clone(), payload["since"].as_u64().unwrap())
    };
    script.read(Reading::Rows(one_each(&["shop"], 1)));
    let (connected, none, since) = state(&client.find("engine_status"));
    assert_eq!((connected, none), (json!("connected"), Value::Null));
    assert!(since > 1_700_000_000);
    script.read(Reading::Fails("the engine is gone: start it"));
    let before = client.all_until("engine_status");
    assert!(before.iter().all(|m| m["type"] != "engine_status"), "sent only on a change");
    // The same error is not sent again, a different one is.
    script.read(Reading::Fails("the engine is gone: start it"));
    script.read(Reading::Fails("permission denied"));
    let (unreachable, why, since) = state(&client.expect("engine_status"));
    assert_eq!((unreachable, why), (json!("unreachable"), json!("permission denied")));
    let mut later = served.client();
    assert_eq!(state(&later.expect("engine_status")).2, since, "since the first failure");
    // Old values must not be shown as current.
    assert!(!served.get("/metrics").body.contains("container_memory"));
    let answer = served.get("/api/v1/stats");
    assert_eq!((answer.status, answer.body.trim_end()), (503, "permission denied"));
    script.read(Reading::Rows(one_each(&["shop"], 2)));
    assert_eq!(state(&client.expect("engine_status")).0, "connected");
    assert_eq!(client.expect("container_stats")["payload"]["shop-web"]["memory_usage"], 2);
}

#[test]
fn a_panic_in_collect_reports_unreachable_and_the_streamer_keeps_running() {
    let (_served, script, mut client) = Script::with_client();
    for n in 0..3 {
        script.read(Reading::Panics("test: the source panics"));
        let status = client.find("engine_status");
        assert_eq!(status["payload"]["state"], "unreachable");
        assert!(status["payload"]["error"].as_str().unwrap().contains("panicked"), "{status}");
        script.read(Reading::Rows(one_each(&["shop"], n)));
        assert_eq!(client.expect("engine_status")["payload"]["state"], "connected");
        assert_eq!(client.find("container_stats")["payload"]["shop-web"]["memory_usage"], n);
    }
}

/// A source that knows the engine's state at its start and is never read.
struct KnownEngine(Result<&'static str, &'static str>);

impl StatsSource for KnownEngine {
    fn collect(&mut self, _: &Interest) -> Result<Snapshot, SourceError> {
        panic!("test: read without a tick")
    }

    fn start(&mut self, _: &HubHandle) -> Result<(), SourceError> {
        self.0.map(drop).map_err(Into::into)
    }

    fn engine_info(&self) -> EngineInfo {
        self.0.map_or_else(|_| EngineInfo::default(), EngineInfo::new)
    }
}

#[test]
fn the_first_client_gets_an_engine_status_before_the_first_reading() {
    for (known, expected) in [
        (Ok("Script"), json!({"state": "connected", "engine": "Script", "error": null})),
        (Err("start it"), json!({"state": "unreachable", "engine": null, "error": "start it"})),
    ] {
        let served = Served::new();
        let (_tick, ticks) = unbounded();
        served.handle().start_stats_streamer(ticks, KnownEngine(known)).unwrap();
        let status = served.client().expect("engine_status");
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(status["payload"][field], *value, "{field}");
        }
    }
}

#[test]
fn no_stats_are_sent_before_the_first_samples() {
    let without_rows = |state: &str| {
        let mut container = Container::new("c0ffee", "web");
        container.state = state.into();
        let shop = Project::new("shop", vec![container]);
        Reading::Rows(Snapshot::from_rows([], &[shop], Duration::from_secs(1)).unwrap())
    };
    let (_served, script, mut client) = Script::with_client();
    script.read(without_rows("running"));
    script.read(Reading::Rows(one_each(&["shop"], 1)));
    assert_eq!(keys(&client.find("container_stats")["payload"]), ["shop-web"]);
    // After the first samples, an empty snapshot is sent.
    script.read(without_rows("running"));
    assert!(keys(&client.find("container_stats")["payload"]).is_empty());
    // If no container runs, it is sent at once.
    let (_served, script, mut client) = Script::with_client();
    script.read(without_rows("exited"));
    assert!(keys(&client.find("container_stats")["payload"]).is_empty());
}

/// A source that panics in every method except `collect`.
struct PanicsOutsideCollect;

impl StatsSource for PanicsOutsideCollect {
    fn collect(&mut self, _: &Interest) -> Result<Snapshot, SourceError> {
        Ok(one_each(&["shop"], 1))
    }

    fn start(&mut self, _: &HubHandle) -> Result<(), SourceError> {
        panic!("test: the source panics in start()");
    }

    fn health_check(&mut self) -> Result<(), SourceError> {
        panic!("test: the source panics in health_check()");
    }

    fn pause(&mut self) {
        panic!("test: the source panics in pause()");
    }
}

#[test]
fn a_panic_in_start_pause_or_health_check_does_not_end_the_streamer() {
    let served = Served::new();
    let (tick, ticks) = unbounded();
    let streamer = served.handle().start_stats_streamer(ticks, PanicsOutsideCollect).unwrap();
    let answer = served.get("/readyz");
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("panicked"), "{answer:?}");
    let mut client = served.client();
    for _ in 0..2 {
        tick.send(Instant::now()).unwrap();
        client.find("container_stats");
    }
    streamer.stop();
}

#[test]
fn a_slow_reading_skips_the_ticks_it_missed() {
    const INTERVAL: Duration = Duration::from_millis(50);
    let served = Served::new();
    let (report, readings) = unbounded();
    let mut first = true;
    let source = move || {
        report.send(Instant::now()).unwrap();
        if std::mem::take(&mut first) {
            // This reading takes twenty intervals.
            after(20 * INTERVAL).recv().unwrap();
            report.send(Instant::now()).unwrap();
        }
        Ok::<_, io::Error>(json!({}))
    };
    let _client = served.client();
    served.handle().start_stats_streamer(INTERVAL, source).unwrap();
    let next = || readings.recv_timeout(GUARD).unwrap();
    next();
    let late = next();
    for n in 0..6 {
        // Each later reading has its own tick, at least one interval after the one before.
        assert!(next() >= late + INTERVAL * n, "reading {n} after the slow one came too early");
    }
}

#[test]
fn rows_of_a_closure_are_filtered_by_project_id() {
    let served = Served::new();
    let (mut shop, mut alone, mut all) = (served.client(), served.client(), served.client());
    shop.subscribe("shop");
    alone.subscribe("_standalone");
    let source = || {
        let row = |project: &str| HashMap::from([("project_id", project.to_owned())]);
        let rows = [("a", row("shop")), ("b", row("blog")), ("c", HashMap::new())];
        Ok::<_, io::Error>(HashMap::from(rows))
    };
    served.handle().start_stats_streamer(Duration::from_millis(20), source).unwrap();
    for _ in 0..3 {
        assert_eq!(keys(&shop.find("container_stats")["payload"]), ["a"]);
        assert_eq!(keys(&alone.find("container_stats")["payload"]), ["c"]);
        assert_eq!(keys(&all.find("container_stats")["payload"]), ["a", "b", "c"]);
    }
}

#[test]
fn a_closure_value_that_is_not_an_object_reports_an_error() {
    let served = Served::new();
    let mut client = served.client();
    let source = || Ok::<_, io::Error>([1, 2, 3]);
    served.handle().start_stats_streamer(Duration::from_millis(20), source).unwrap();
    let status = client.expect("engine_status");
    assert_eq!(status["payload"]["state"], "unreachable");
    assert!(status["payload"]["error"].as_str().unwrap().contains("object"), "{status}");
}

#[test]
fn a_stopped_streamer_drops_its_source_and_another_can_start() {
    let (served, script, mut client) = Script::with_client();
    script.read(Reading::Rows(one_each(&["shop"], 1)));
    client.find("container_stats");
    let Script { streamer, calls, .. } = script;
    streamer.stop();
    assert_eq!(calls.try_iter().collect::<Vec<_>>(), [Call::Pause, Call::Dropped]);
    let script = Script::start(&served.handle());
    assert_eq!(script.call(), Call::Start, "the new source is started");
    script.read(Reading::Rows(snapshot(vec![row("shop", "web", 2), row("shop", "db", 3)])));
    let stats = client.find("container_stats");
    assert_eq!(keys(&stats["payload"]), ["shop-db", "shop-web"]);
    assert_eq!(client.expect("project_stats")["payload"]["shop"]["sampled"], 2);
    assert_eq!(served.get("/readyz").status, 200);
}

#[test]
fn a_hub_whose_streamer_stopped_is_ready() {
    let served = Served::new();
    let script = Script::start(&served.handle());
    script.streamer.stop();
    let answer = served.get("/readyz");
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn a_streamer_survives_its_dropped_handle_and_the_end_of_its_ticks() {
    let served = Served::new();
    let (tick, ticks) = unbounded();
    let source = || Ok::<_, io::Error>(json!({"a": {}}));
    drop(served.handle().start_stats_streamer(ticks, source).unwrap());
    let mut client = served.client();
    tick.send(Instant::now()).unwrap();
    client.find("container_stats");
    drop(tick);
    client.subscribe("shop");
    assert_eq!(served.get("/readyz").status, 200);
}

#[test]
fn a_history_request_returns_the_clients_projects_only() {
    let (_served, script, mut client) = Script::with_client();
    client.send("history", json!({"seconds": 300}));
    let empty = client.expect("history");
    assert_eq!(empty["payload"], json!({"t": [], "containers": {}}));
    script.read(Reading::Rows(one_each(&["blog", "shop"], 7)));
    client.find("project_stats");
    client.send("history", json!({"seconds": 300}));
    let history = client.expect("history");
    assert_eq!(history["payload"]["t"].as_array().unwrap().len(), 1);
    assert_eq!(keys(&history["payload"]["containers"]), ["blog-web", "shop-web"]);
    assert_eq!(history["payload"]["containers"]["shop-web"]["memory_usage"], json!([7]));
    assert_eq!(history["payload"]["containers"]["shop-web"]["cpu_percent"], json!([null]));
    client.subscribe("shop");
    client.send("history", json!({"seconds": 1}));
    assert_eq!(keys(&client.find("history")["payload"]["containers"]), ["shop-web"]);
}

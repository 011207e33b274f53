//! What clients learn about containers that fail: what broke, when and how often.

use serde_json::Value;

use crate::harness::docker::serve_engine;
use crate::harness::fake_engine::{FakeContainer, FakeEngine, Kind};
use crate::harness::podman::Podman;
use crate::harness::real_engine::{RealEngine, turn, unique};
use crate::harness::{Ws, until};

/// Waits for a list in which `condition` holds for the container, and returns the container.
fn listed(client: &mut Ws, id: &str, condition: impl Fn(&Value) -> bool) -> Value {
    let find = |list: &Value| {
        let projects = list["payload"].as_array().unwrap().iter();
        let mut containers = projects.flat_map(|p| p["containers"].as_array().unwrap());
        containers.find(|container| container["id"] == id).cloned()
    };
    let list = client.find_where("project_list", |list| {
        find(list).is_some_and(|container| condition(&container))
    });
    find(&list).unwrap()
}

fn exited(container: &Value) -> bool {
    container["state"] == "exited" && container["restart_count"].is_u64()
}

#[test]
fn failures_before_a_client_connected_are_listed() {
    let Some(engine) = RealEngine::find("failures_before_a_client_connected_are_listed") else {
        return;
    };
    let project = unique("incidents");
    let start = |service: &str, options: &[&str], script: &str| {
        let options = [&["--network", "none"], options].concat();
        engine.start_with(&project, service, &options, &["/bin/sh", "-c", script])
    };
    let oom = start("oom", &["-m", "8m"], "tail /dev/zero");
    let failed = start("failed", &[], "exit 3");
    let looping = start("looping", &["--restart", "on-failure:3"], "exit 1");
    let healthy = start("healthy", &["-m", "32m"], "sleep 1000");
    let state = |id: &str| engine.docker(&["inspect", "--format", "{{json .State.Status}}", id]);
    for id in [&oom.id, &failed.id, &looping.id] {
        until("the container has exited", || state(id).trim() == "\"exited\"");
    }
    let served = serve_engine(engine.host.clone());
    let mut client = served.client();
    let oom = listed(&mut client, &oom.id, exited);
    assert_eq!((&oom["exit_code"], &oom["oom_killed"]), (&137.into(), &true.into()));
    assert_eq!(oom["memory_limit"], 8 << 20);
    let mut client = served.client();
    let failed = listed(&mut client, &failed.id, exited);
    assert_eq!((&failed["exit_code"], &failed["oom_killed"]), (&3.into(), &false.into()));
    assert_eq!(failed["memory_limit"], Value::Null);
    // Docker 20.10 may report an end a millisecond before the start.
    assert!(failed["finished_at"].is_string(), "{failed}");
    let mut client = served.client();
    let looping = listed(&mut client, &looping.id, exited);
    assert_eq!((&looping["exit_code"], &looping["restart_count"]), (&1.into(), &3.into()));
    let mut client = served.client();
    let up = listed(&mut client, &healthy.id, |c| c["oom_killed"].is_boolean());
    assert_eq!((&up["state"], &up["exit_code"]), (&"running".into(), &Value::Null));
    assert_eq!((&up["finished_at"], &up["memory_limit"]), (&Value::Null, &(32 << 20).into()));
}

#[test]
fn podmans_stopped_containers_have_an_exit_code() {
    let _turn = turn();
    let Some(podman) = Podman::find("podmans_stopped_containers_have_an_exit_code") else { return };
    let failed = podman.start("exit 3").unwrap();
    let up = podman.start("sleep 1000").unwrap();
    let served = serve_engine(podman.host());
    let mut client = served.client();
    let failed = listed(&mut client, &failed, exited);
    assert_eq!((&failed["exit_code"], &failed["oom_killed"]), (&3.into(), &false.into()));
    assert!(failed["finished_at"].is_string());
    let mut client = served.client();
    let up = listed(&mut client, &up, |c| c["restart_count"].is_u64());
    assert_eq!((&up["exit_code"], &up["finished_at"]), (&Value::Null, &Value::Null));
}

#[test]
fn a_container_that_keeps_failing_is_marked_while_it_is_up() {
    let Some(engine) = RealEngine::find("a_container_that_keeps_failing_is_marked_while_it_is_up")
    else {
        return;
    };
    let served = serve_engine(engine.host.clone());
    let mut client = served.client();
    client.find("project_list");
    let script = ["/bin/sh", "-c", "sleep 1; exit 7"];
    let options = ["--network", "none", "--restart", "always"];
    let looping = engine.start_with(&unique("looping"), "web", &options, &script);
    let marked = listed(&mut client, &looping.id, |container| {
        container["state"] == "running" && container["restart_loop"] == true
    });
    assert!(marked["restarts_10m"].as_u64() >= Some(3), "{marked}");
    assert!(marked["restarts_1h"].as_u64() >= Some(3), "{marked}");
    assert_eq!(marked["exit_code"], Value::Null, "it is up");
}

#[test]
fn a_kill_in_a_container_that_runs_on_is_counted() {
    let Some(engine) = RealEngine::find("a_kill_in_a_container_that_runs_on_is_counted") else {
        return;
    };
    let served = serve_engine(engine.host.clone());
    let mut client = served.client();
    client.find("project_list");
    let script = ["/bin/sh", "-c", "while :; do tail /dev/zero; sleep 1; done"];
    let options = ["--network", "none", "-m", "16m"];
    let web = engine.start_with(&unique("kills"), "web", &options, &script);
    let web = listed(&mut client, &web.id, |c| c["oom_kills_1h"].as_u64() >= Some(2));
    assert_eq!((&web["state"], &web["oom_killed"]), (&"running".into(), &true.into()), "{web}");
    assert_eq!((&web["restarts_1h"], &web["restart_loop"]), (&0.into(), &false.into()), "{web}");
}

#[test]
fn a_container_at_its_cpu_limit_is_throttled() {
    let Some(engine) = RealEngine::find("a_container_at_its_cpu_limit_is_throttled") else {
        return;
    };
    let project = unique("throttled");
    let script = ["/bin/sh", "-c", "while :; do :; done"];
    let options = ["--network", "none", "--cpus", "0.05"];
    let slow = engine.start_with(&project, "slow", &options, &script);
    let free = engine.start(&project, "free", &["/bin/sleep", "1000"]);
    let served = serve_engine(engine.host.clone());
    let mut client = served.client();
    let stats = client.find_where("container_stats", |stats| {
        let row = |id: &str| stats["payload"][id].clone();
        row(&slow.id)["cpu_throttled_percent"].as_f64() > Some(50.0)
            && row(&free.id)["cpu_percent"].is_number()
    });
    let free = &stats["payload"][&free.id];
    assert_eq!(free["cpu_throttled_percent"], Value::Null, "no limit");
    assert!(free["unavailable"]["cpu_throttled_percent"].is_null(), "no reason: {free}");
    for field in ["memory_anon", "memory_cache"] {
        assert!(free[field].is_u64(), "{free}");
    }
}

/// The session with the engine is a new one. The events of before are not counted again.
#[test]
fn restarts_are_still_known_after_the_engine_is_back() {
    let mut engine = FakeEngine::start(Kind::Direct);
    let id = engine.add(FakeContainer::new("web", "shop"));
    let served = serve_engine(engine.host());
    let mut client = served.client();
    engine.wait_for_calls("events", 1);
    for _ in 0..3 {
        engine.event(&id, "die", &[("exitCode", "1")]);
        engine.event(&id, "start", &[]);
    }
    listed(&mut client, &id, |web| web["restarts_10m"] == 3 && web["restart_loop"] == true);
    engine.stop();
    client.find_where("engine_status", |status| status["payload"]["state"] == "unreachable");
    engine.restart();
    client.find_where("engine_status", |status| status["payload"]["state"] == "connected");
    engine.wait_for_calls("events", 2);
    engine.event(&id, "die", &[("exitCode", "1")]);
    engine.event(&id, "start", &[]);
    let mut other = served.client();
    listed(&mut other, &id, |web| web["restarts_10m"] == 4);
    let refused = FakeEngine::start(Kind::Direct);
    refused.fault("events", crate::harness::fake_engine::Fault::Status(403));
    let id = refused.add(FakeContainer::new("web", "shop"));
    let served = serve_engine(refused.host());
    let mut client = served.client();
    let web = listed(&mut client, &id, |web| web["restart_count"].is_u64());
    assert_eq!(web["restarts_10m"], Value::Null, "no events");
}

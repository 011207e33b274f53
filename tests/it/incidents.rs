//! What the list says about containers that failed before a client connected, with real engines.

use serde_json::Value;

use crate::harness::docker::serve_engine;
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

//! The `project_list`, `project_status` and `engine_status` messages that a client of an engine
//! receives.

use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use kentros::DockerSource;
use serde_json::Value;

use crate::harness::docker::serve_engine;
use crate::harness::fake_engine::{FakeContainer, FakeEngine, Fault, Kind};
use crate::harness::real_engine::{RealEngine, unique};
use crate::harness::{GUARD, Served, Ws};

/// `NAME STATE` of each container in a `project_list`.
fn states(list: &Value) -> Vec<String> {
    let projects = list["payload"].as_array().unwrap();
    let containers = projects.iter().flat_map(|p| p["containers"].as_array().unwrap());
    containers
        .map(|c| format!("{} {}", c["name"].as_str().unwrap(), c["state"].as_str().unwrap()))
        .collect()
}

#[test]
fn the_first_list_has_stopped_containers_and_is_updated_with_start_times() {
    let engine = FakeEngine::start(Kind::Direct);
    engine.add(FakeContainer::new("web", "shop"));
    engine.add(FakeContainer::oom_killed("job", "shop"));
    engine.add(FakeContainer { project: None, ..FakeContainer::new("lone", "") });
    let served = serve_engine(engine.host());
    let mut client = served.client();
    let list = client.find("project_list");
    assert_eq!(states(&list), ["lone running", "job exited", "web running"]);
    let ids: Vec<&str> =
        list["payload"].as_array().unwrap().iter().map(|p| p["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["_standalone", "shop"]);
    assert_eq!(list["payload"][1]["status"], "partial");
    let shop = |list: &Value| list["payload"][1]["containers"].clone();
    assert!(shop(&list)[0]["exit_code"].is_null(), "not inspected yet");
    let inspected = |list: &Value| {
        let shop = shop(list);
        shop[0]["exit_code"].is_number() && shop[1]["started_at"].is_string()
    };
    let shop = shop(&client.find_where("project_list", inspected));
    assert_eq!((&shop[0]["exit_code"], &shop[0]["oom_killed"]), (&137.into(), &true.into()));
    assert!(shop[0]["finished_at"].is_string());
    assert_eq!((&shop[1]["exit_code"], &shop[1]["oom_killed"]), (&Value::Null, &false.into()));
    assert_eq!(shop[1]["memory_limit"], 64 << 20);
    assert_eq!(engine.calls("inspect"), 3, "each once");
}

/// Fails if events wait for the next snapshot: there is none after the first.
#[test]
fn events_arrive_without_another_snapshot() {
    let engine = FakeEngine::start(Kind::Stream);
    let id = engine.add(FakeContainer::new("web", "shop"));
    let served = Served::new();
    let (tick, ticks) = bounded(1);
    served.handle().start_stats_streamer(ticks, DockerSource::new(engine.host())).unwrap();
    let mut client = served.client();
    tick.send(Instant::now()).unwrap();
    client.find("container_stats");
    engine.wait_for_calls("events", 1);
    let events = [
        ("pause", &[][..], "paused", None),
        ("unpause", &[], "running", None),
        ("health_status: unhealthy", &[], "running", None),
        ("oom", &[], "running", None),
        ("die", &[("exitCode", "137")], "exited", Some(137)),
        ("start", &[], "running", None),
        ("rename", &[("name", "shop-web"), ("oldName", "/web")], "running", None),
        ("destroy", &[], "removed", None),
    ];
    for (action, attributes, state, exit_code) in events {
        engine.event(&id, action, attributes);
        let event = client.find("project_status");
        assert_eq!(event["project_id"], "shop", "{action}");
        let payload = &event["payload"];
        assert_eq!(payload["status"], action.split(':').next().unwrap());
        let container = &payload["container"];
        assert_eq!(container["id"], id.as_str());
        assert_eq!(container["state"], state, "{action}");
        assert_eq!(container["exit_code"].as_i64(), exit_code, "{action}");
        assert_eq!(container["oom_killed"], action == "oom" || action == "die", "{action}");
    }
}

/// Fails if an event waits for the list call that it causes. The engine answers that call only after
/// the event has arrived; otherwise the call times out and is repeated.
#[test]
fn events_do_not_wait_for_lists() {
    let engine = FakeEngine::start(Kind::Stream);
    engine.add(FakeContainer::new("web", "shop"));
    let served = serve_engine(engine.host());
    let mut client = served.client();
    client.find_where("project_list", |list| {
        list["payload"][0]["containers"][0]["started_at"].is_string()
    });
    // The call times out after 15 s. On a stalled machine that may happen once.
    for attempt in 0..2 {
        engine.fault("list", Fault::Wait);
        let before = engine.calls("list");
        let name = format!("new{attempt}");
        let id = engine.add(FakeContainer::new(&name, "shop"));
        engine.event(&id, "create", &[]);
        client.find_where("project_status", |event| event["payload"]["container"]["id"] == id);
        engine.wait_for_calls("list", before + 1);
        engine.heal("list");
        client.find_where("project_list", |list| states(list).contains(&format!("{name} running")));
        if engine.calls("list") == before + 1 {
            return;
        }
    }
    panic!("each event waits until its list call has timed out");
}

/// At most 100 events and two lists a second.
#[test]
fn events_and_lists_are_rate_limited() {
    let engine = FakeEngine::start(Kind::Direct);
    let id = engine.add(FakeContainer::new("web", "shop"));
    let served = serve_engine(engine.host());
    let mut client = served.client();
    client.find("project_list");
    let start = Instant::now();
    for _ in 0..1_500 {
        engine.event(&id, "die", &[("exitCode", "1")]);
        engine.event(&id, "start", &[]);
    }
    let last = engine.add(FakeContainer::new("last", "shop"));
    engine.event(&last, "start", &[]);
    let (mut lists, mut events) = (0, 0);
    loop {
        let message = client.next();
        match message["type"].as_str().unwrap() {
            "project_status" => events += 1,
            "project_list" => {
                lists += 1;
                if states(&message).iter().any(|container| container == "last running") {
                    break;
                }
            }
            _ => {}
        }
        assert!(start.elapsed() < GUARD, "no list with the last container");
    }
    let seconds = usize::try_from(start.elapsed().as_secs()).unwrap() + 1;
    assert!(events <= 100 * seconds, "{events} events in {seconds} s");
    assert!(lists <= 2 * seconds + 1, "{lists} lists in {seconds} s");
    let dropped = served.handle().engine_counters().dropped;
    assert!(events > 0 && dropped > 0, "{events} received, {dropped} dropped");
}

/// The pause of 500 ms between two lists starts when the first one has arrived.
#[test]
fn a_late_list_is_not_followed_by_another_at_once() {
    let engine = FakeEngine::start(Kind::Stream);
    engine.add(FakeContainer::new("web", "shop"));
    let served = serve_engine(engine.host());
    let mut client = served.client();
    client.find_where("project_list", |list| {
        list["payload"][0]["containers"][0]["started_at"].is_string()
    });
    let has =
        |name: &'static str| move |list: &Value| states(list).iter().any(|s| s.contains(name));
    engine.fault("list", Fault::Wait);
    let listed = engine.calls("list");
    let second = engine.add(FakeContainer::new("second", "shop"));
    engine.event(&second, "create", &[]);
    engine.wait_for_calls("list", listed + 1);
    // Longer than 500 ms.
    engine.wait_for_passes(3);
    let before = Instant::now();
    engine.heal("list");
    client.find_where("project_list", has("second"));
    let third = engine.add(FakeContainer::new("third", "shop"));
    engine.event(&third, "create", &[]);
    client.find_where("project_list", has("third"));
    assert!(before.elapsed() >= Duration::from_millis(500));
}

#[test]
fn an_unchanged_list_is_not_sent_again() {
    let engine = FakeEngine::start(Kind::Direct);
    let id = engine.add(FakeContainer::new("web", "shop"));
    let served = serve_engine(engine.host());
    let mut client = served.client();
    client.find_where("project_list", |list| {
        list["payload"][0]["containers"][0]["started_at"].is_string()
    });
    // These events cause new list calls, whose result is unchanged.
    let listed = engine.calls("list");
    engine.event(&id, "update", &[]);
    engine.wait_for_calls("list", listed + 1);
    engine.event(&id, "update", &[]);
    engine.wait_for_calls("list", listed + 2);
    let new = engine.add(FakeContainer::new("zweb", "shop"));
    engine.event(&new, "create", &[]);
    let list = client.find("project_list");
    assert_eq!(states(&list).len(), 2, "the next list has the new container");
}

#[test]
fn a_returning_client_gets_the_list_again() {
    let engine = FakeEngine::start(Kind::Direct);
    engine.add(FakeContainer::new("web", "shop"));
    let served = serve_engine(engine.host());
    for _ in 0..3 {
        let mut client = served.client();
        let list = client.find("project_list");
        assert_eq!(states(&list), ["web running"]);
        client.find("container_stats");
        client.close();
    }
}

#[test]
fn the_engine_status_changes_with_the_engine() {
    let mut engine = FakeEngine::absent(Kind::Stream);
    engine.add(FakeContainer::new("web", "shop"));
    let served = serve_engine(engine.host());
    let mut client = served.client();
    let status = client.find("engine_status");
    assert_eq!(status["payload"]["state"], "unreachable");
    assert!(status["payload"]["error"].as_str().unwrap().contains("no such socket"));
    engine.restart();
    let status = client.find_where("engine_status", |s| s["payload"]["mode"] == "stream");
    assert_eq!(status["payload"]["state"], "connected");
    assert_eq!(status["payload"]["engine"], "Docker Engine");
    client.find_where("container_stats", |s| !s["payload"].as_object().unwrap().is_empty());
    engine.stop();
    client.find_where("engine_status", |s| s["payload"]["state"] == "unreachable");
    engine.restart();
    client.find_where("engine_status", |s| s["payload"]["state"] == "connected");
    client.find_where("container_stats", |s| !s["payload"].as_object().unwrap().is_empty());
}

#[test]
fn a_real_container_is_reported_from_start_to_removal() {
    let Some(engine) = RealEngine::find("a_real_container_is_reported_from_start_to_removal")
    else {
        return;
    };
    let project = unique("watched");
    let served = serve_engine(engine.host.clone());
    let mut client = served.client();
    client.find("project_list");
    let container = engine.start(&project, "web", &["/bin/sh", "-c", "sleep 1000; exit 3"]);
    let status = |client: &mut Ws, action: &str| {
        let event = client.find_where("project_status", |event| {
            event["project_id"] == project.as_str() && event["payload"]["status"] == action
        });
        event["payload"]["container"].clone()
    };
    assert_eq!(status(&mut client, "create")["state"], "created");
    let started = status(&mut client, "start");
    assert_eq!(started["name"], container.name.as_str());
    assert_eq!(started["state"], "running");
    let listed = |list: &Value| states(list).contains(&format!("{} running", container.name));
    client.find_where("project_list", listed);
    let row = |stats: &Value| stats["payload"][&container.id]["cpu_percent"].is_number();
    client.find_where("container_stats", row);
    container.act("pause");
    assert_eq!(status(&mut client, "pause")["state"], "paused");
    container.act("unpause");
    assert_eq!(status(&mut client, "unpause")["state"], "running");
    container.act("kill");
    let died = status(&mut client, "die");
    assert_eq!(died["state"], "exited");
    assert_eq!(died["exit_code"], 137);
    let listed = |list: &Value| states(list).contains(&format!("{} exited", container.name));
    client.find_where("project_list", listed);
    container.act("rm");
    assert_eq!(status(&mut client, "destroy")["state"], "removed");
    let gone = |list: &Value| !states(list).iter().any(|c| c.starts_with(&container.name));
    client.find_where("project_list", gone);
}

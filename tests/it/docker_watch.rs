//! The list of projects and the events, from an engine through the hub to a client.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kentros::{DockerHost, DockerSource, Hub, HubConfig, Server, ServerConfig};
use serde_json::Value;
use tungstenite::{Message, WebSocket};

use crate::fake_engine::{Fake, FakeEngine, Fault, Kind};
use crate::harness::{Steady, dial};
use crate::real_engine::{RealEngine, unique};

/// A guard against waiting for ever; no test waits for it.
const GUARD: Duration = Duration::from_secs(30);

/// A hub that reads an engine.
pub(crate) struct Watching {
    hub: Hub,
    server: Server,
}

impl Watching {
    pub(crate) fn start(host: DockerHost) -> Self {
        let hub = Hub::spawn(HubConfig::default()).unwrap();
        let server = Server::bind("127.0.0.1:0", hub.handle(), ServerConfig::default()).unwrap();
        let source = DockerSource::new(host);
        hub.handle().start_stats_streamer(Duration::from_secs(1), source).unwrap();
        Self { hub, server }
    }

    pub(crate) fn view(&self) -> Viewer {
        let address = self.server.local_addr();
        let url = format!("ws://{address}/ws/stats");
        let (socket, _) = tungstenite::client(url, Steady(dial(address))).unwrap();
        Viewer { socket }
    }

    pub(crate) fn stop(self) {
        self.server.shutdown();
        self.hub.shutdown();
    }
}

/// A client that listens.
pub(crate) struct Viewer {
    socket: WebSocket<Steady>,
}

impl Viewer {
    /// The next message of this kind, and how many others came before it.
    pub(crate) fn next(&mut self, kind: &str) -> Value {
        self.until(kind, |_| true)
    }

    /// The next message of this kind that is as wished.
    pub(crate) fn until(&mut self, kind: &str, wished: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            assert!(start.elapsed() < GUARD, "no {kind} as wished");
            let message = self.read();
            if message["type"] == kind && wished(&message) {
                return message;
            }
        }
    }

    fn read(&mut self) -> Value {
        loop {
            if let Message::Text(text) = self.socket.read().unwrap() {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }
}

/// The states of the containers in a `project_list`, by name.
fn states(list: &Value) -> Vec<String> {
    let projects = list["payload"].as_array().unwrap();
    let containers = projects.iter().flat_map(|p| p["containers"].as_array().unwrap());
    containers
        .map(|c| format!("{} {}", c["name"].as_str().unwrap(), c["state"].as_str().unwrap()))
        .collect()
}

#[test]
fn the_list_comes_at_once_with_what_stopped_and_when_it_started() {
    let engine = FakeEngine::start(Kind::Direct);
    engine.add(Fake::new("web", "shop"));
    engine.add(Fake { state: "exited".to_owned(), ..Fake::new("job", "shop") });
    engine.add(Fake { project: None, ..Fake::new("lone", "") });
    let watching = Watching::start(engine.host());
    let mut viewer = watching.view();
    let list = viewer.next("project_list");
    assert_eq!(states(&list), ["lone running", "job exited", "web running"]);
    let ids: Vec<&str> =
        list["payload"].as_array().unwrap().iter().map(|p| p["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["_standalone", "shop"]);
    assert_eq!(list["payload"][1]["status"], "partial");
    let started = |list: &Value| {
        let shop = &list["payload"][1]["containers"];
        assert!(shop[0]["started_at"].is_null(), "what is stopped is not inspected");
        shop[1]["started_at"].is_string()
    };
    viewer.until("project_list", started);
    watching.stop();
}

#[test]
fn an_event_reaches_the_client_at_once() {
    let engine = FakeEngine::start(Kind::Stream);
    let id = engine.add(Fake::new("web", "shop"));
    let watching = Watching::start(engine.host());
    let mut viewer = watching.view();
    viewer.next("container_stats");
    // Any single one may have to wait for a core.
    let mut fastest: BTreeMap<&str, Duration> = BTreeMap::new();
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
    for (action, attributes, state, exit_code) in events.iter().cycle().take(5 * events.len()) {
        let (action, state) = (*action, *state);
        let start = Instant::now();
        engine.event(&id, action, attributes);
        let told = viewer.next("project_status");
        let took = start.elapsed();
        fastest.entry(action).and_modify(|least| *least = took.min(*least)).or_insert(took);
        assert_eq!(told["project_id"], "shop", "{action}");
        let payload = &told["payload"];
        assert_eq!(payload["status"], action.split(':').next().unwrap());
        let container = &payload["container"];
        assert_eq!(container["id"], id.as_str());
        assert_eq!(container["state"], state, "{action}");
        assert_eq!(container["exit_code"].as_i64(), *exit_code, "{action}");
        assert_eq!(container["oom_killed"], action == "oom" || action == "die", "{action}");
    }
    assert!(fastest.values().all(|took| *took < Duration::from_millis(100)), "{fastest:?}");
    watching.stop();
}

#[test]
fn a_flood_of_events_does_not_flood_the_client() {
    let engine = FakeEngine::start(Kind::Direct);
    let id = engine.add(Fake::new("web", "shop"));
    let watching = Watching::start(engine.host());
    let mut viewer = watching.view();
    viewer.next("project_list");
    let start = Instant::now();
    for _ in 0..1_500 {
        engine.event(&id, "die", &[("exitCode", "1")]);
        engine.event(&id, "start", &[]);
    }
    let last = engine.add(Fake::new("last", "shop"));
    engine.event(&last, "start", &[]);
    let (mut lists, mut told) = (0, 0);
    loop {
        let message = viewer.read();
        match message["type"].as_str().unwrap() {
            "project_status" => told += 1,
            "project_list" => {
                lists += 1;
                if states(&message).iter().any(|container| container == "last running") {
                    break;
                }
            }
            _ => {}
        }
        assert!(start.elapsed() < GUARD);
    }
    let seconds = usize::try_from(start.elapsed().as_secs()).unwrap() + 1;
    assert!(told <= 100 * seconds, "{told} in {seconds} s");
    assert!(lists <= 2 * seconds + 1, "{lists} in {seconds} s");
    let dropped = watching.hub.handle().engine_counters().dropped;
    assert!(told > 0 && dropped > 0, "{told} told, {dropped} dropped");
    watching.stop();
}

#[test]
fn a_list_that_was_late_is_not_followed_at_once_by_the_next() {
    let engine = FakeEngine::start(Kind::Stream);
    engine.add(Fake::new("web", "shop"));
    let watching = Watching::start(engine.host());
    let mut viewer = watching.view();
    viewer.until("project_list", |list| {
        list["payload"][0]["containers"][0]["started_at"].is_string()
    });
    let has =
        |name: &'static str| move |list: &Value| states(list).iter().any(|s| s.contains(name));
    engine.fault("list", Fault::Wait);
    let listed = engine.calls("list");
    let second = engine.add(Fake::new("second", "shop"));
    engine.event(&second, "create", &[]);
    engine.wait_for_calls("list", listed + 1);
    // Longer than the pause between two lists.
    engine.wait_for_passes(3);
    let before = Instant::now();
    engine.heal("list");
    viewer.until("project_list", has("second"));
    let third = engine.add(Fake::new("third", "shop"));
    engine.event(&third, "create", &[]);
    viewer.until("project_list", has("third"));
    assert!(before.elapsed() >= Duration::from_millis(500));
    watching.stop();
}

#[test]
fn a_list_that_is_as_it_was_is_not_sent_again() {
    let engine = FakeEngine::start(Kind::Direct);
    let id = engine.add(Fake::new("web", "shop"));
    let watching = Watching::start(engine.host());
    let mut viewer = watching.view();
    viewer.until("project_list", |list| {
        list["payload"][0]["containers"][0]["started_at"].is_string()
    });
    // It stays what it was; each of these makes the engine be asked again.
    let listed = engine.calls("list");
    engine.event(&id, "oom", &[]);
    engine.wait_for_calls("list", listed + 1);
    engine.event(&id, "oom", &[]);
    engine.wait_for_calls("list", listed + 2);
    let new = engine.add(Fake::new("zweb", "shop"));
    engine.event(&new, "create", &[]);
    let list = viewer.next("project_list");
    assert_eq!(states(&list).len(), 2, "the next list is the one with something new");
    watching.stop();
}

#[test]
fn who_comes_back_gets_the_list_again() {
    let engine = FakeEngine::start(Kind::Direct);
    engine.add(Fake::new("web", "shop"));
    let watching = Watching::start(engine.host());
    for _ in 0..3 {
        let mut viewer = watching.view();
        let list = viewer.next("project_list");
        assert_eq!(states(&list), ["web running"]);
        viewer.next("container_stats");
        viewer.socket.close(None).unwrap();
        while viewer.socket.read().is_ok() {}
    }
    watching.stop();
}

#[test]
fn the_engine_status_follows_the_engine() {
    let mut engine = FakeEngine::absent(Kind::Stream);
    engine.add(Fake::new("web", "shop"));
    let watching = Watching::start(engine.host());
    let mut viewer = watching.view();
    let status = viewer.next("engine_status");
    assert_eq!(status["payload"]["state"], "unreachable");
    assert!(status["payload"]["error"].as_str().unwrap().contains("no such socket"));
    engine.restart();
    let status = viewer.until("engine_status", |s| s["payload"]["mode"] == "stream");
    assert_eq!(status["payload"]["state"], "connected");
    assert_eq!(status["payload"]["engine"], "Docker Engine");
    viewer.until("container_stats", |s| !s["payload"].as_object().unwrap().is_empty());
    engine.stop();
    viewer.until("engine_status", |s| s["payload"]["state"] == "unreachable");
    engine.restart();
    viewer.until("engine_status", |s| s["payload"]["state"] == "connected");
    viewer.until("container_stats", |s| !s["payload"].as_object().unwrap().is_empty());
    watching.stop();
}

#[test]
fn a_real_container_is_watched_from_start_to_end() {
    let Some(engine) = RealEngine::find("a_real_container_is_watched_from_start_to_end") else {
        return;
    };
    let project = unique("watched");
    let watching = Watching::start(engine.host.clone());
    let mut viewer = watching.view();
    viewer.next("project_list");
    let container = engine.start(&project, "web", &["/bin/sh", "-c", "sleep 1000; exit 3"]);
    let status = |viewer: &mut Viewer, action: &str| {
        let told = viewer.until("project_status", |told| {
            told["project_id"] == project.as_str() && told["payload"]["status"] == action
        });
        told["payload"]["container"].clone()
    };
    assert_eq!(status(&mut viewer, "create")["state"], "created");
    let started = status(&mut viewer, "start");
    assert_eq!(started["name"], container.name.as_str());
    assert_eq!(started["state"], "running");
    let listed = |list: &Value| states(list).contains(&format!("{} running", container.name));
    viewer.until("project_list", listed);
    let row = |stats: &Value| stats["payload"][&container.id]["cpu_percent"].is_number();
    viewer.until("container_stats", row);
    container.act("pause");
    assert_eq!(status(&mut viewer, "pause")["state"], "paused");
    container.act("unpause");
    assert_eq!(status(&mut viewer, "unpause")["state"], "running");
    container.act("kill");
    let died = status(&mut viewer, "die");
    assert_eq!(died["state"], "exited");
    assert_eq!(died["exit_code"], 137);
    let listed = |list: &Value| states(list).contains(&format!("{} exited", container.name));
    viewer.until("project_list", listed);
    container.act("rm");
    assert_eq!(status(&mut viewer, "destroy")["state"], "removed");
    let gone = |list: &Value| !states(list).iter().any(|c| c.starts_with(&container.name));
    viewer.until("project_list", gone);
    watching.stop();
}

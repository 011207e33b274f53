//! The Engine API calls that the README lists: checked with a strict proxy in front of the socket.

use std::time::Duration;

use kentros::DockerSource;

use crate::harness::fake_engine::{FakeContainer, FakeEngine, Kind};
use crate::harness::real_engine::{RealEngine, unique};
use crate::harness::strict_proxy::{StrictProxy, judge};
use crate::harness::{Served, Ws};

/// Every Engine API call of kentros, as the README lists them. `{id}` is a container id.
const PROMISED: [&str; 6] = [
    "GET /_ping",
    "GET /version",
    "GET /events",
    "GET /containers/json",
    "GET /containers/{id}/json",
    "GET /containers/{id}/stats",
];

#[test]
fn the_test_proxy_allows_only_get_of_the_listed_paths() {
    let id = "0123456789abcdef".repeat(4);
    for (head, request, allowed) in [
        ("GET /_ping HTTP/1.1\r\n".to_owned(), "GET /_ping", true),
        (format!("GET /v1.41/containers/{id}/stats?x=1 H"), "GET /containers/{id}/stats", true),
        ("POST /containers/create H".to_owned(), "POST /containers/create", false),
        ("GET /v1.41/info H".to_owned(), "GET /info", false),
        ("HEAD /_ping H".to_owned(), "HEAD /_ping", false),
    ] {
        assert_eq!(judge(&head), (request.to_owned(), allowed));
    }
}

#[test]
fn sampling_works_behind_a_strict_socket_proxy() {
    let Some(engine) = RealEngine::find("sampling_works_behind_a_strict_socket_proxy") else {
        return;
    };
    let project = unique("proxied");
    let sleep = ["/bin/sleep", "1000"];
    let first = engine.start(&project, "first", &sleep);
    let proxy = StrictProxy::start(&engine.host);
    let served = Served::new();
    let source = proxy.source();
    served.handle().start_stats_streamer(Duration::from_secs(1), source).unwrap();
    let mut client = served.client();
    client.subscribe(project.as_str());
    wait_for_cpu(&mut client, &first.id);
    // Only an event reports it now: the next listing is half a minute away.
    let second = engine.start(&project, "second", &sleep);
    wait_for_event(&mut client, &second.id, "start");
    wait_for_cpu(&mut client, &second.id);
    second.act("kill");
    wait_for_event(&mut client, &second.id, "die");
    let list = client.find("project_list");
    let named = |id: &str| list["payload"].to_string().contains(id);
    assert!(named(&first.id) && named(&second.id), "{list}");
    assert_eq!(proxy.refused(), Vec::<String>::new());
    drop(served);
    let requests = proxy.requests();
    let requests: Vec<&str> = requests.iter().map(String::as_str).collect();
    for request in &requests {
        assert!(PROMISED.contains(request), "{request} is not in the README's list");
    }
    for promised in PROMISED {
        assert!(requests.contains(&promised), "{promised} is listed but not called: {requests:?}");
    }
    println!("PROXY requests: {requests:?}");
}

#[test]
fn every_sampling_mode_works_behind_a_strict_socket_proxy() {
    for kind in [Kind::Direct, Kind::Stream] {
        let engine = FakeEngine::start(kind);
        let id = engine.add(FakeContainer::new("web", "shop"));
        let proxy = StrictProxy::start(&engine.host());
        let served = Served::new();
        served.handle().start_stats_streamer(Duration::from_secs(1), proxy.source()).unwrap();
        wait_for_cpu(&mut served.client(), &id);
        assert_eq!(proxy.refused(), Vec::<String>::new(), "{kind:?}");
    }
}

/// For each kind of engine, with events and a restart.
#[test]
fn every_engine_call_is_a_get_from_the_documented_list() {
    for kind in [Kind::Direct, Kind::Stream, Kind::Podman] {
        let mut engine = FakeEngine::start(kind);
        let id = engine.add(FakeContainer::new("web", "shop"));
        let served = Served::new();
        let source = DockerSource::new(engine.host());
        let interval = Duration::from_millis(100);
        served.handle().start_stats_streamer(interval, source).unwrap();
        let mut client = served.client();
        wait_for_cpu(&mut client, &id);
        let second = engine.add(FakeContainer::new("db", "shop"));
        engine.event(&second, "start", &[]);
        wait_for_cpu(&mut client, &second);
        engine.stop();
        while client.find("engine_status")["payload"]["state"] != "unreachable" {}
        engine.restart();
        while client.find("engine_status")["payload"]["state"] != "connected" {}
        wait_for_cpu(&mut client, &id);
        drop(served);
        let requests = engine.requests();
        assert!(requests.contains("GET /containers/json"), "{kind:?}: {requests:?}");
        let podman = "GET /libpod/containers/stats";
        assert_eq!(requests.contains(podman), kind == Kind::Podman, "{requests:?}");
        for request in requests {
            let promised = PROMISED.contains(&request.as_str()) || request == podman;
            assert!(promised, "{kind:?}: {request}");
        }
    }
}

/// Waits for a CPU value of this container.
fn wait_for_cpu(client: &mut Ws, id: &str) {
    while !client.find("container_stats")["payload"][id]["cpu_percent"].is_number() {}
}

/// Waits for this event of this container.
fn wait_for_event(client: &mut Ws, id: &str, status: &str) {
    loop {
        let event = &client.find("project_status")["payload"];
        if event["container"]["id"] == id && event["status"] == status {
            return;
        }
    }
}

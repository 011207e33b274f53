//! What the port answers beside the WebSocket.

use std::io::{Read, Write};

use kentros::{Container, Hub, HubConfig, Interest, Message, Project, Server, ServerConfig};
use serde_json::Value;

use crate::demo::DemoSource;
use crate::harness::{Served, dial, keys, one_each};
use crate::raw::{Answer, get};
use crate::source::{Call, Reading, Script};

#[track_caller]
fn json(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.field("content-type"), "application/json");
    serde_json::from_str(&answer.body).unwrap()
}

#[test]
fn the_dashboard_and_its_parts_are_served_with_their_types() {
    let served = Served::new();
    let parts = [
        ("/", "text/html"),
        ("/app.js", "text/javascript"),
        ("/model.js", "text/javascript"),
        ("/style.css", "text/css"),
    ];
    for (path, kind) in parts {
        let answer = served.get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.field("content-type").starts_with(kind), "{path}: {answer:?}");
        assert_eq!(answer.field("content-length"), answer.body.len().to_string());
        assert!(answer.body.len() > 100, "{path}");
    }
    let page = served.get("/").body;
    assert!(page.contains("app.js") && page.contains("style.css"), "{page}");
    assert_eq!(served.get("/?from=a-bookmark").status, 200);
    assert_eq!(served.get("/app.js/").status, 404);
    assert_eq!(served.get("/../etc/passwd").status, 404);
}

#[test]
fn every_answer_tells_browsers_to_be_strict() {
    let served = Served::new();
    let addr = served.addr();
    let requests = [
        format!("GET / HTTP/1.1\r\nHost: {addr}\r\n\r\n"),
        format!("HEAD / HTTP/1.1\r\nHost: {addr}\r\n\r\n"),
        format!("GET /healthz HTTP/1.1\r\nHost: {addr}\r\n\r\n"),
        format!("GET /nothing HTTP/1.1\r\nHost: {addr}\r\n\r\n"),
        format!("DELETE / HTTP/1.1\r\nHost: {addr}\r\n\r\n"),
        format!("GET /ws/stats HTTP/1.1\r\nHost: {addr}\r\n\r\n"),
        "nonsense\r\n\r\n".to_owned(),
        format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(20_000)),
    ];
    let statuses = [200, 200, 200, 404, 405, 426, 400, 431];
    for (request, status) in requests.iter().zip(statuses) {
        let answer = served.ask(request);
        assert_eq!(answer.status, status, "{request}");
        let policy = answer.field("content-security-policy");
        for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
            assert!(policy.contains(part), "{status}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.field("x-content-type-options"), "nosniff", "{status}");
        assert_eq!(answer.field("x-frame-options"), "DENY", "{status}");
        assert_eq!(answer.field("referrer-policy"), "no-referrer", "{status}");
        assert_eq!(answer.field("cache-control"), "no-store", "{status}");
        assert_eq!(answer.field("connection"), "close", "{status}");
    }
}

#[test]
fn head_gets_the_fields_of_get_and_no_body() {
    let served = Served::new();
    for path in ["/", "/healthz", "/nothing"] {
        let head = served.ask(&format!("HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        let get = served.get(path);
        assert_eq!((head.status, head.fields), (get.status, get.fields), "{path}");
        assert_eq!(head.body, "", "{path}");
    }
}

#[test]
fn only_get_and_head_are_answered() {
    let served = Served::new();
    for path in ["/", "/healthz", "/api/v1/stats"] {
        let request =
            format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody");
        let answer = served.ask(&request);
        assert_eq!(answer.status, 405, "{path}");
        assert_eq!(answer.field("allow"), "GET, HEAD", "{path}");
    }
}

#[test]
fn a_page_of_ones_own_takes_the_dashboards_place() {
    let config = ServerConfig::default().page("/", "text/plain", "mine");
    let served = Served::with(HubConfig::default(), config);
    assert_eq!(served.get("/").body, "mine");
    assert_eq!(served.get("/app.js").status, 200);
}

#[test]
fn a_large_page_reaches_a_slow_reader_whole() {
    let body = "a line of the page\n".repeat(200_000);
    let config = ServerConfig::default().page("/large", "text/plain", body.clone());
    let served = Served::with(HubConfig::default(), config);
    let mut stream = crate::harness::dial_narrow(served.addr());
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(Answer::parse(&text).body == body);
}

#[test]
fn health_is_of_the_process_and_ends_with_the_hub() {
    let Served { server, hub } = Served::new();
    let addr = server.local_addr();
    assert_eq!(get(addr, "/healthz").status, 200);
    hub.shutdown();
    let answer = get(addr, "/healthz");
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("the hub has stopped"), "{answer:?}");
}

#[test]
fn ready_is_as_the_source_is_and_says_why_not() {
    let served = Served::new();
    let script = Script::start(&served.handle());
    assert_eq!(served.get("/readyz").status, 200);
    assert_eq!(script.call(), Call::HealthCheck);
    script.health(Err("no engine at unix:///nowhere: start it".into()));
    let answer = served.get("/readyz");
    assert_eq!(answer.status, 503);
    assert_eq!(answer.body, "no engine at unix:///nowhere: start it\n");
    assert_eq!(script.call(), Call::HealthCheck);
    assert_eq!(served.get("/healthz").status, 200, "the process is well all the same");
}

#[test]
fn while_somebody_listens_ready_is_what_the_last_reading_was() {
    let served = Served::new();
    let script = Script::start(&served.handle());
    let mut client = served.client();
    assert_eq!(script.call(), Call::Start);
    script.read(Reading::Fails("the engine hangs"));
    client.find("engine_status");
    let answer = served.get("/readyz");
    assert_eq!((answer.status, answer.body.as_str()), (503, "the engine hangs\n"));
    script.read(Reading::Rows(one_each(&["shop"], 1)));
    client.find("container_stats");
    assert_eq!(served.get("/readyz").status, 200);
    assert_eq!(script.calls.try_recv().ok(), None, "nothing more is asked of the engine");
}

#[test]
fn the_endpoints_give_what_is_on_the_wire() {
    let served = Served::new();
    let handle = served.handle();
    let mut client = served.client();
    let shop = Project::new("shop", vec![Container::new("c0ffee", "web")]);
    handle.broadcast(&Message::new("project_list", [shop]).latest()).unwrap();
    handle.publish_snapshot(one_each(&["blog", "shop"], 7)).unwrap();
    let list = client.expect("project_list");
    let stats = client.expect("container_stats");
    assert_eq!(json(&served.get("/api/v1/projects")), list);
    assert_eq!(json(&served.get("/api/v1/stats")), stats);
    assert_eq!(list["payload"][0]["containers"][0]["id"], "c0ffee");
    assert_eq!(stats["payload"]["shop-web"]["memory_usage"], 7);
    handle.publish_snapshot(one_each(&["shop"], 8)).unwrap();
    client.find("container_stats");
    assert_eq!(json(&served.get("/api/v1/stats"))["payload"]["shop-web"]["memory_usage"], 8);
}

#[test]
fn the_first_to_ask_for_stats_has_them_sampled() {
    let served = Served::new();
    let script = Script::start(&served.handle());
    let mut stream = dial(served.addr());
    stream.write_all(b"GET /api/v1/stats HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert_eq!(script.call(), Call::Start, "nobody has listened so far");
    let interest = script.read(Reading::Rows(one_each(&["shop"], 1)));
    assert_eq!(interest, Interest::all());
    let answer = json(&Answer::read(stream));
    assert_eq!(answer["type"], "container_stats");
    assert_eq!(answer["payload"]["shop-web"]["memory_usage"], 1);
    // Whoever asks counts as a listener for a while.
    script.read(Reading::Rows(one_each(&["shop"], 2)));
}

#[test]
fn without_a_source_whoever_asks_for_stats_is_told_so() {
    let served = Served::new();
    let answer = served.get("/api/v1/stats");
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("/readyz"), "{answer:?}");
    assert!(!answer.body.contains("engine"), "no engine is involved: {answer:?}");
}

#[test]
fn the_demo_is_marked_and_its_endpoints_answer() {
    let hub = Hub::spawn(HubConfig::default()).unwrap();
    let server = Server::bind("127.0.0.1:0", hub.handle(), ServerConfig::default()).unwrap();
    let interval = std::time::Duration::from_millis(50);
    hub.handle().start_stats_streamer(interval, DemoSource::new(12)).unwrap();
    let addr = server.local_addr();
    let projects = json(&get(addr, "/api/v1/projects"));
    let containers =
        projects["payload"].as_array().unwrap().iter().map(|p| p["containers"].as_array().unwrap());
    assert_eq!(containers.map(Vec::len).sum::<usize>(), 12);
    let stats = json(&get(addr, "/api/v1/stats"));
    assert!(stats["payload"].as_object().unwrap().len() > 5, "{stats}");
    assert_eq!(get(addr, "/readyz").status, 200);
}

#[test]
fn one_projects_stats_have_an_address_of_their_own() {
    let served = Served::new();
    served.handle().publish_snapshot(one_each(&["blog", "shop", "a b"], 7)).unwrap();
    let stats = json(&served.get("/api/v1/projects/shop/stats"));
    assert_eq!(stats["type"], "container_stats");
    assert_eq!(keys(&stats["payload"]), ["shop-web"]);
    let stats = json(&served.get("/api/v1/projects/a%20b/stats"));
    assert_eq!(keys(&stats["payload"]), ["a b-web"]);
    let answer = served.get("/api/v1/projects/nothing/stats");
    assert_eq!(answer.status, 404);
    assert!(answer.body.contains("nothing"), "{answer:?}");
}

#[test]
fn the_metrics_have_a_line_for_each_known_figure_and_the_hubs_own() {
    let served = Served::new();
    let _client = served.client();
    served.handle().publish_snapshot(one_each(&["shop"], 7)).unwrap();
    served.get("/healthz");
    let answer = served.get("/metrics");
    assert_eq!(answer.status, 200);
    assert!(answer.field("content-type").starts_with("text/plain; version=0.0.4"), "{answer:?}");
    let lines: Vec<&str> = answer.body.lines().filter(|line| !line.starts_with('#')).collect();
    let of = |name: &str| -> Vec<&&str> { lines.iter().filter(|l| l.starts_with(name)).collect() };
    let memory = of("container_memory_working_set_bytes{");
    assert_eq!(memory.len(), 1, "{lines:#?}");
    assert!(memory[0].contains("container_label_com_docker_compose_project=\"shop\""));
    assert!(memory[0].ends_with(" 7"), "{memory:?}");
    assert!(of("container_network_receive_bytes_total").is_empty(), "unknown is no line");
    assert!(lines.contains(&"kentros_clients 1"), "{lines:#?}");
}

//! HTTP: the dashboard, health checks, JSON API and metrics.

use std::io::{Read, Write};

use kentros::{Container, Hub, HubConfig, Interest, Message, Project, Server, ServerConfig};
use serde_json::Value;

use crate::demo::DemoSource;
use crate::harness::raw::{Answer, ask, get, handshake};
use crate::harness::{Served, dial, keys, one_each, until};
use crate::source::{Call, Reading, Script};

#[track_caller]
fn json(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.field("content-type"), "application/json");
    serde_json::from_str(&answer.body).unwrap()
}

#[test]
fn the_dashboard_and_its_assets_are_served_with_their_content_types() {
    let served = Served::new();
    let assets = [
        ("/", "text/html"),
        ("/app.js", "text/javascript"),
        ("/model.js", "text/javascript"),
        ("/style.css", "text/css"),
    ];
    for (path, content_type) in assets {
        let answer = served.get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.field("content-type").starts_with(content_type), "{path}: {answer:?}");
        assert_eq!(answer.field("content-length"), answer.body.len().to_string());
        assert!(answer.body.len() > 100, "{path}");
    }
    let page = served.get("/").body;
    assert!(page.contains("app.js") && page.contains("style.css"), "{page}");
    assert_eq!(served.get("/?from=a-bookmark").status, 200);
    assert_eq!(served.get("/app.js/").status, 404);
    assert_eq!(served.get("/../etc/passwd").status, 404);
}

/// The version that health checks and nginx with a bare `proxy_pass` use.
#[test]
fn http_1_0_requests_are_served() {
    let served = Served::new();
    for request in [
        "GET /healthz HTTP/1.0\r\n\r\n",
        "GET /healthz HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n",
        "HEAD /healthz HTTP/1.0\r\n\r\n",
        "GET http://localhost/healthz HTTP/1.0\r\n\r\n",
        "GET http://localhost/healthz HTTP/1.1\r\nHost: other.example\r\n\r\n",
    ] {
        let answer = ask(served.addr(), request);
        assert_eq!(answer.status, 200, "{request:?}: {answer:?}");
        assert_eq!(answer.field("connection"), "close", "{request:?}");
    }
    let rebound = "GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(ask(served.addr(), rebound).status, 403);
}

#[test]
fn a_websocket_over_http_1_0_gets_the_fix_for_nginx() {
    let served = Served::new();
    let request = handshake().replace("HTTP/1.1", "HTTP/1.0");
    let answer = ask(served.addr(), &request);
    assert_eq!(answer.status, 400, "{answer:?}");
    for line in ["proxy_http_version 1.1;", "proxy_set_header Upgrade $http_upgrade;"] {
        assert!(answer.body.contains(line), "{answer:?}");
    }
}

#[test]
fn an_unused_header_may_contain_any_bytes() {
    let served = Served::new();
    let mut stream = dial(served.addr());
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-User: J\xfcrgen\r\n\r\n")
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
}

#[test]
fn every_response_has_the_security_headers() {
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
fn head_gets_the_headers_of_get_and_no_body() {
    let served = Served::new();
    for path in ["/", "/healthz", "/nothing"] {
        let head = served.ask(&format!("HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        let get = served.get(path);
        assert_eq!((head.status, head.fields), (get.status, get.fields), "{path}");
        assert_eq!(head.body, "", "{path}");
    }
}

#[test]
fn methods_other_than_get_and_head_get_405() {
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
fn healthz_returns_200_until_the_hub_stops() {
    let Served { server, hub } = Served::new();
    let addr = server.local_addr();
    assert_eq!(get(addr, "/healthz").status, 200);
    hub.shutdown();
    let answer = get(addr, "/healthz");
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("the hub has stopped"), "{answer:?}");
}

#[test]
fn readyz_returns_the_error_of_the_sources_health_check() {
    let served = Served::new();
    let script = Script::start(&served.handle());
    script.health(Err("no engine at unix:///nowhere: start it".into()));
    let answer = served.get("/readyz");
    assert_eq!(answer.status, 503);
    assert_eq!(answer.body, "no engine at unix:///nowhere: start it\n");
    assert_eq!(script.call(), Call::HealthCheck);
    assert_eq!(served.get("/healthz").status, 200, "the process itself is healthy");
    script.health(Ok(()));
    until("the next check", || served.get("/readyz").status == 200);
}

#[test]
fn with_a_client_connected_readyz_reports_the_last_reading() {
    let (served, script, mut client) = Script::with_client();
    script.read(Reading::Fails("the engine hangs"));
    client.find("engine_status");
    let answer = served.get("/readyz");
    assert_eq!((answer.status, answer.body.as_str()), (503, "the engine hangs\n"));
    script.read(Reading::Rows(one_each(&["shop"], 1)));
    client.find("container_stats");
    assert_eq!(served.get("/readyz").status, 200);
    assert_eq!(script.calls.try_recv().ok(), None, "no health check is made");
}

#[test]
fn the_json_api_returns_the_messages_of_the_websocket() {
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
fn a_stats_request_starts_the_sampling() {
    let served = Served::new();
    let script = Script::start(&served.handle());
    let mut stream = dial(served.addr());
    stream.write_all(b"GET /api/v1/stats HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert_eq!(script.call(), Call::Start, "no client was connected before");
    let interest = script.read(Reading::Rows(one_each(&["shop"], 1)));
    assert_eq!(interest, Interest::all());
    let answer = json(&Answer::read(stream));
    assert_eq!(answer["type"], "container_stats");
    assert_eq!(answer["payload"]["shop-web"]["memory_usage"], 1);
    // A request counts as a client for a while, so sampling continues.
    script.read(Reading::Rows(one_each(&["shop"], 2)));
}

#[test]
fn stats_without_a_source_get_503() {
    let served = Served::new();
    let answer = served.get("/api/v1/stats");
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("/readyz"), "{answer:?}");
    assert!(!answer.body.contains("engine"), "no engine is involved: {answer:?}");
}

#[test]
fn the_json_api_serves_the_demo() {
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
fn each_project_has_a_stats_url() {
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
fn metrics_have_one_line_for_each_known_value() {
    let served = Served::new();
    let _client = served.client();
    served.handle().publish_snapshot(one_each(&["shop"], 7)).unwrap();
    served.get("/healthz");
    let answer = served.get("/metrics");
    assert_eq!(answer.status, 200);
    assert!(answer.field("content-type").starts_with("text/plain; version=0.0.4"), "{answer:?}");
    let lines: Vec<&str> = answer.body.lines().filter(|line| !line.starts_with('#')).collect();
    let lines_of =
        |name: &str| -> Vec<&&str> { lines.iter().filter(|l| l.starts_with(name)).collect() };
    let memory = lines_of("container_memory_working_set_bytes{");
    assert_eq!(memory.len(), 1, "{lines:#?}");
    assert!(memory[0].contains("container_label_com_docker_compose_project=\"shop\""));
    assert!(memory[0].ends_with(" 7"), "{memory:?}");
    assert!(
        lines_of("container_network_receive_bytes_total").is_empty(),
        "no line for an unknown value"
    );
    assert!(lines.contains(&"kentros_clients 1"), "{lines:#?}");
}

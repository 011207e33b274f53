//! Computed routes, built-in and own pages, and paths that a server rejects.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::{bounded, unbounded};
use kentros::{
    Access, Client, ErrorKind, Hub, HubConfig, Incoming, Request, Response, Server, ServerConfig,
    Session, Token,
};
use serde_json::{Value, json};

use crate::access::TOKEN;
use crate::harness::raw::{Answer, ask, handshake_with, read_head};
use crate::harness::{GUARD, Served, dial};

fn serve(config: ServerConfig) -> Served {
    Served::with(HubConfig::default(), config)
}

/// Sends a request without a body.
#[track_caller]
fn request(served: &Served, method: &str, path: &str) -> Answer {
    ask(served.addr(), &format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
}

/// The values of all fields of this name.
#[track_caller]
fn fields(served: &Served, path: &str, name: &str) -> Vec<String> {
    let mut stream = dial(served.addr());
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, _) = answer.split_once("\r\n\r\n").unwrap();
    let fields = head.split("\r\n").filter_map(|line| line.split_once(": "));
    fields.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.to_owned()).collect()
}

/// A route that counts its calls.
fn counting(calls: &Arc<AtomicUsize>) -> impl Fn(&Request) -> Response + Send + Sync + use<> {
    let calls = Arc::clone(calls);
    move |_| Response::json(&json!({"calls": calls.fetch_add(1, Ordering::SeqCst) + 1})).unwrap()
}

#[test]
fn a_route_is_computed_for_each_request() {
    let calls = Arc::default();
    let served = serve(ServerConfig::default().route("/value", counting(&calls)));
    for n in 1..=3 {
        let answer = served.get("/value?any=query");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.field("content-type"), "application/json");
        assert_eq!(answer.field("content-length"), answer.body.len().to_string());
        assert_eq!(serde_json::from_str::<Value>(&answer.body).unwrap(), json!({"calls": n}));
    }
    assert_eq!(served.get("/value/below").status, 404);
    assert_eq!(served.get("/").status, 200, "the dashboard is still served");
}

#[test]
fn head_gets_the_headers_of_a_route_and_other_methods_do_not_call_it() {
    let calls = Arc::default();
    let served = serve(ServerConfig::bare().route("/value", counting(&calls)));
    let head = request(&served, "HEAD", "/value");
    let get = request(&served, "GET", "/value");
    assert_eq!((head.status, head.fields, head.body.as_str()), (200, get.fields, ""));
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let answer = request(&served, method, "/value");
        assert_eq!((answer.status, answer.field("allow")), (405, "GET, HEAD"), "{method}");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[test]
fn a_blocked_route_delays_no_other_request() {
    let (arrived, arrivals) = unbounded();
    let (release, blocked) = bounded::<()>(0);
    let config = ServerConfig::default()
        .page("/page", "text/plain", "a page")
        .route("/slow", move |request| {
            if request.parameter("wait").is_some() {
                arrived.send(()).unwrap();
                let _ = blocked.recv_timeout(2 * GUARD);
            }
            Response::text("computed")
        })
        .websocket("/echo", |client, message| {
            if let Incoming::Text(text) = message {
                let _ = client.send_text(text);
            }
        });
    let served = serve(config);
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let mut stream = dial(served.addr());
            stream.write_all(b"GET /slow?wait=1 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            arrivals.recv_timeout(GUARD).unwrap();
            stream
        })
        .collect();
    for _ in 0..3 {
        assert_eq!(served.get("/slow").body, "computed", "other requests to the same route");
        assert_eq!(served.get("/page").body, "a page");
        let mut client = served.client_at("/echo");
        client.send("echo", 1);
        client.expect("echo");
    }
    drop(release);
    for stream in waiting {
        assert_eq!(Answer::read(stream).body, "computed");
    }
}

#[test]
fn a_panic_in_a_route_returns_500_and_the_server_keeps_running() {
    let served = serve(ServerConfig::bare().route("/", |request| {
        assert!(request.query().is_none(), "test: the route panics");
        Response::text("computed")
    }));
    for _ in 0..5 {
        let answer = served.get("/?panic");
        assert_eq!(answer.status, 500);
        assert!(!answer.body.contains("test:"), "the panic message must not be sent: {answer:?}");
        assert_eq!(served.get("/").body, "computed");
    }
}

#[test]
fn a_response_keeps_its_status_and_its_own_headers() {
    const OWN: &str = "default-src 'self' 'unsafe-inline'";
    let served = serve(ServerConfig::bare().route("/*", |request| {
        match request.tail() {
            "moved" => Response::new(302, "text/plain", "").with_header("Location", "/elsewhere"),
            "cookies" => Response::text("two")
                .with_header("Set-Cookie", "a=1; HttpOnly")
                .with_header("Set-Cookie", "b=2"),
            "policy" => Response::new(200, "text/html", "<script>1</script>")
                .with_header("content-security-policy", OWN),
            status => {
                let status = status.parse().unwrap();
                Response::new(status, "application/x-mine", b"body".to_vec())
            }
        }
    }));
    for status in [200, 201, 404, 410, 418, 451, 500, 503, 599] {
        let answer = served.get(&format!("/{status}"));
        assert_eq!((answer.status, answer.body.as_str()), (status, "body"));
        assert_eq!(answer.field("content-type"), "application/x-mine");
        assert_eq!(answer.field("x-content-type-options"), "nosniff");
    }
    let answer = served.get("/moved");
    assert_eq!((answer.status, answer.field("location")), (302, "/elsewhere"));
    assert_eq!(fields(&served, "/cookies", "set-cookie"), ["a=1; HttpOnly", "b=2"]);
    assert_eq!(
        fields(&served, "/policy", "content-security-policy"),
        [OWN],
        "replaces the default"
    );
}

#[test]
fn an_invalid_header_returns_500() {
    let header = |name: &'static str, value: &'static str| {
        move |_: &Request| Response::text("body").with_header(name, value)
    };
    let config = ServerConfig::bare()
        .route("/value", header("X-Mine", "a\r\nSet-Cookie: stolen=1"))
        .route("/feed", header("X-Mine", "a\nSet-Cookie: stolen=1"))
        .route("/name", header("X-Mine: a\r\nSet-Cookie", "stolen=1"))
        .route("/space", header("X Mine", "a"))
        .route("/empty", header("", "a"))
        .route("/type", |_| Response::new(200, "text/plain\r\nSet-Cookie: stolen=1", "body"));
    let served = serve(config);
    for path in ["/value", "/feed", "/name", "/space", "/empty", "/type"] {
        assert_eq!(served.get(path).status, 500, "{path}");
        assert!(fields(&served, path, "set-cookie").is_empty(), "{path}");
    }
}

#[test]
fn a_configured_content_security_policy_applies_to_pages_and_routes() {
    const OWN: &str = "default-src 'self'; script-src 'self' 'unsafe-inline'";
    let config = ServerConfig::bare()
        .page("/", "text/html", "<script>1</script>")
        .route("/computed", |_| Response::text("computed"));
    let paths = ["/", "/computed"];
    let served = serve(config.clone());
    for path in paths {
        let [policy] = &fields(&served, path, "content-security-policy")[..] else { panic!() };
        assert!(policy.starts_with("default-src 'none'"), "{path}: {policy}");
    }
    let served = serve(config.with_content_security_policy(OWN));
    for path in paths {
        assert_eq!(fields(&served, path, "content-security-policy"), [OWN], "{path}");
        assert_eq!(fields(&served, path, "x-frame-options"), ["DENY"], "{path}");
    }
}

/// Accepts every client and does nothing.
struct Silent;

impl Session for Silent {
    fn message(&mut self, _: &Client, _: Incoming<'_>) {}
}

#[test]
fn the_token_is_checked_before_sessions_and_routes_except_on_open_paths() {
    let calls: Arc<AtomicUsize> = Arc::default();
    let session_calls = Arc::clone(&calls);
    let config = ServerConfig::bare()
        .with_access(Access::Token(Token::new(TOKEN).unwrap()))
        .sessions("/ws/*", move |_| {
            session_calls.fetch_add(1, Ordering::SeqCst);
            Ok(Silent)
        })
        .route("/api/*", counting(&calls))
        .with_open_path("/ws/open")
        .with_open_path("/api/open/*")
        .trust_proxy("127.0.0.1")
        .unwrap();
    let served = serve(config);
    let status = |target: &str, fields: &str| {
        let request = handshake_with(fields).replace("/ws/stats", target);
        let plain = request.replace("Upgrade: websocket\r\nConnection: Upgrade\r\n", "");
        let mut stream = dial(served.addr());
        let request = if target.starts_with("/ws") { request } else { plain };
        stream.write_all(request.as_bytes()).unwrap();
        let head = read_head(&mut stream);
        head.get(9..12).and_then(|status| status.parse::<u16>().ok()).unwrap()
    };
    // From another address: after some wrong tokens, an address has to wait.
    let wrong =
        "X-Forwarded-For: 10.0.0.7\r\nAuthorization: Bearer 6f1ed002ab5595859014ebf0951522d8";
    let protected = ["/ws/a", "/ws/openly", "/ws/open/a", "/api/a", "/api/open", "/api/openly/a"];
    for target in protected {
        assert_eq!((status(target, "A: b"), status(target, wrong)), (401, 401), "{target}");
    }
    assert_eq!(
        calls.load(Ordering::SeqCst),
        0,
        "no session and no route is called without the token"
    );
    let token = format!("Authorization: Bearer {TOKEN}");
    assert_eq!((status("/ws/a", &token), status("/api/a", &token)), (101, 200));
    assert_eq!((status("/ws/open", "A: b"), status("/api/open/a", "A: b")), (101, 200));
    assert_eq!(calls.load(Ordering::SeqCst), 4);
    // The origin is checked before them too.
    assert_eq!(status("/ws/open", "Origin: http://evil.example"), 403);
    assert_eq!(calls.load(Ordering::SeqCst), 4);
}

/// Paths that a default server serves and a bare one does not.
const BUILT_IN: [&str; 5] = ["/", "/ws/stats", "/api/v1/stats", "/api/v1/projects", "/metrics"];

#[test]
fn a_bare_server_serves_only_the_health_checks() {
    let served = serve(ServerConfig::bare());
    for path in BUILT_IN.into_iter().chain(["/app.js", "/login"]) {
        assert_eq!(served.get(path).status, 404, "{path}");
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(served.get(path).status, 200, "{path}");
    }
    let own = BUILT_IN
        .into_iter()
        .fold(ServerConfig::bare(), |config, path| config.route(path, |_| Response::text("mine")));
    let served = serve(own);
    for path in BUILT_IN {
        assert_eq!(served.get(path).body, "mine", "{path}");
    }
}

#[test]
fn a_page_or_route_at_the_root_replaces_the_dashboard() {
    let page = ServerConfig::default().page("/", "text/plain", "mine");
    let route = ServerConfig::default().route("/", |_| Response::text("mine"));
    for config in [page, route] {
        let served = serve(config);
        assert_eq!(served.get("/").body, "mine");
        assert_eq!(served.get("/app.js").status, 200);
        assert_eq!(served.client().subscribe("shop"), json!(["shop"]), "the rest is still served");
    }
}

/// Each adds one path to a configuration.
fn page(config: ServerConfig, path: &str) -> ServerConfig {
    config.page(path, "text/plain", "a page")
}

fn route(config: ServerConfig, path: &str) -> ServerConfig {
    config.route(path, |_| Response::text("computed"))
}

fn socket(config: ServerConfig, path: &str) -> ServerConfig {
    config.websocket(path, |_, _| {})
}

type AddPath = fn(ServerConfig, &str) -> ServerConfig;
const PATH_KINDS: [AddPath; 3] = [page, route, socket];

/// Asserts that a server rejects this configuration with an error that names the path.
#[track_caller]
fn assert_rejected(config: &ServerConfig, path: &str) {
    let hub = Hub::spawn(HubConfig::default()).unwrap();
    let result = Server::bind("127.0.0.1:0", hub.handle(), config.clone());
    let error = result.err().unwrap_or_else(|| panic!("{path:?} was accepted"));
    assert_eq!(error.kind(), ErrorKind::Invalid, "{path:?}: {error}");
    assert!(error.to_string().contains(path), "the error does not name {path:?}: {error}");
    let result = Server::without_listener(hub.handle(), config.clone());
    assert_eq!(result.err().map(|error| error.kind()), Some(ErrorKind::Invalid), "{path:?}");
}

#[test]
fn a_server_rejects_relative_paths() {
    for path in ["about", "ws/chat", "", "*", "rooms/*"] {
        for add in PATH_KINDS {
            assert_rejected(&add(ServerConfig::bare(), path), path);
        }
    }
}

#[test]
fn a_server_rejects_duplicate_paths() {
    for path in ["/mine", "/", "/rooms/*"] {
        for first in PATH_KINDS {
            for second in PATH_KINDS {
                assert_rejected(&second(first(ServerConfig::bare(), path), path), path);
            }
        }
    }
    let both = page(route(ServerConfig::bare(), "/rooms/*"), "/rooms/");
    let served = serve(socket(both, "/rooms/a"));
    assert_eq!(served.get("/rooms/b").body, "computed", "these are three different paths");
}

#[test]
fn a_server_rejects_other_paths_below_the_json_api() {
    for path in ["/api/v1/mine", "/api/v1/projects/shop/mine", "/api/v1/*"] {
        for add in PATH_KINDS {
            assert_rejected(&add(ServerConfig::default(), path), path);
        }
        serve(route(ServerConfig::bare(), path));
    }
}

#[test]
fn a_server_rejects_reserved_paths() {
    let reserved =
        ["/ws/stats", "/api/v1/stats", "/api/v1/projects", "/metrics", "/healthz", "/readyz"];
    for path in reserved {
        for add in PATH_KINDS {
            assert_rejected(&add(ServerConfig::default(), path), path);
        }
    }
    let token = Token::new(TOKEN).unwrap();
    let locked = ServerConfig::bare().with_access(Access::Token(token));
    for add in PATH_KINDS {
        assert_rejected(&add(locked.clone(), "/login"), "/login");
    }
    assert_eq!(serve(page(ServerConfig::bare(), "/login")).get("/login").body, "a page");
}

//! Access control: the token, the login, allowed hosts, allowed origins and trusted proxies.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;
use std::{env, fs, process};

use kentros::{Access, Hub, HubConfig, Server, ServerConfig, Token};
use rustix::process::Signal;
use serde_json::Value;

use crate::binary::{Running, kentros, run};
use crate::demo::DemoSource;
use crate::harness::devtools::Browser;
use crate::harness::raw::{Answer, ask, get, handshake_with, read_head};
use crate::harness::{Served, dial};

pub(crate) const TOKEN: &str = "6f1ed002ab5595859014ebf0951522d9";
/// `TOKEN` in base64url.
pub(crate) const ENCODED: &str = "NmYxZWQwMDJhYjU1OTU4NTkwMTRlYmYwOTUxNTIyZDk";

pub(crate) fn token_config() -> ServerConfig {
    let mut config = ServerConfig::default();
    config.access = Access::Token(Token::new(TOKEN).unwrap());
    config
}

/// A server with this configuration that samples the demo.
pub(crate) fn serve_demo(config: ServerConfig) -> Served {
    let served = Served::with(HubConfig::default(), config);
    let source = DemoSource::new(3);
    served.handle().start_stats_streamer(Duration::from_millis(50), source).unwrap();
    served
}

pub(crate) fn get_with_header(addr: SocketAddr, path: &str, field: &str) -> Answer {
    ask(addr, &format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\n{field}\r\n\r\n"))
}

/// Sends a WebSocket handshake with one more header, and returns the response head.
pub(crate) fn try_handshake(addr: SocketAddr, field: &str) -> String {
    let mut stream = dial(addr);
    stream.write_all(handshake_with(field).as_bytes()).unwrap();
    read_head(&mut stream)
}

pub(crate) fn log_in(addr: SocketAddr, body: &str, field: &str) -> Answer {
    let length = body.len();
    ask(
        addr,
        &format!(
            "POST /login HTTP/1.1\r\nHost: {addr}\r\nContent-Length: {length}\r\n{field}\r\n{body}"
        ),
    )
}

#[test]
fn without_the_token_only_health_checks_and_the_login_page_are_served() {
    let served = serve_demo(token_config().trust_proxy("127.0.0.1").unwrap());
    let addr = served.addr();
    for path in ["/healthz", "/readyz", "/login"] {
        assert_eq!(get(addr, path).status, 200, "{path}");
    }
    let paths =
        ["/", "/app.js", "/ws/stats", "/metrics", "/api/v1/stats", "/api/v1/projects", "/nothing"];
    for (n, path) in paths.into_iter().enumerate() {
        for query in ["", &format!("?token={TOKEN}"), &format!("?access_token={TOKEN}")] {
            let answer = get(addr, &format!("{path}{query}"));
            assert_eq!(answer.status, 401, "{path}{query}");
            assert!(answer.field("www-authenticate").starts_with("Bearer"), "{answer:?}");
        }
        // From another address each time: each may guess a few times.
        let wrong = format!(
            "X-Forwarded-For: 10.0.0.{n}\r\nAuthorization: Bearer 6f1ed002ab5595859014ebf0951522d8"
        );
        assert_eq!(get_with_header(addr, path, &wrong).status, 401, "{path}");
        let browser = get_with_header(addr, path, "Accept: text/html,application/xhtml+xml");
        assert_eq!(browser.status, 303, "{path}");
        assert!(browser.field("location").ends_with("login"), "{browser:?}");
    }
    let refused = try_handshake(addr, "Origin: http://localhost:9001");
    assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
    assert_eq!(served.handle().client_count(), 0);
    let twice = format!("Authorization: Bearer {TOKEN}\r\nAuthorization: Bearer {TOKEN}");
    assert_eq!(get_with_header(addr, "/metrics", &twice).status, 400);
}

#[test]
fn with_the_token_everything_is_served() {
    let served = serve_demo(token_config());
    let addr = served.addr();
    let bearer = format!("Authorization: Bearer {TOKEN}");
    for path in ["/", "/app.js", "/metrics", "/api/v1/stats", "/api/v1/projects"] {
        assert_eq!(get_with_header(addr, path, &bearer).status, 200, "{path}");
    }
    let head = try_handshake(addr, &bearer);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let head =
        try_handshake(addr, &format!("Sec-WebSocket-Protocol: kentros.bearer.{ENCODED}, kentros"));
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("\r\nSec-WebSocket-Protocol: kentros\r\n"), "{head}");
    let head = try_handshake(addr, &format!("Sec-WebSocket-Protocol: kentros.bearer.{ENCODED}"));
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(!head.contains(ENCODED), "the response must not contain the token: {head}");
    // A valid token does not lift the check of the origin.
    let head = try_handshake(addr, &format!("{bearer}\r\nOrigin: http://evil.example"));
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
}

#[test]
fn behind_a_trusted_proxy_the_cookie_is_secure_and_the_origin_is_accepted() {
    let served = serve_demo(
        token_config().trust_proxy("127.0.0.1").unwrap().allow_host("stats.example").unwrap(),
    );
    let addr = served.addr();
    let forwarded = "X-Forwarded-Host: stats.example\r\nX-Forwarded-Proto: https\r\n\
        Origin: https://stats.example\r\n";
    let answer = log_in(addr, &format!("token={TOKEN}"), forwarded);
    assert!(answer.field("set-cookie").ends_with("; SameSite=Strict; Secure"), "{answer:?}");
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n{}", forwarded.trim_end());
    assert!(try_handshake(addr, &bearer).starts_with("HTTP/1.1 101 "));
    let unknown = bearer.replace("stats.example", "evil.example");
    assert!(try_handshake(addr, &unknown).starts_with("HTTP/1.1 403 "));
    // A server without trusted proxies ignores these headers.
    let other = serve_demo(token_config());
    let answer = log_in(other.addr(), &format!("token={TOKEN}"), "X-Forwarded-Proto: https\r\n");
    assert!(!answer.field("set-cookie").contains("Secure"), "{answer:?}");
    assert!(try_handshake(other.addr(), &bearer).starts_with("HTTP/1.1 403 "));
}

#[test]
fn an_unknown_host_gets_403_and_a_hint_at_the_allowed_hosts() {
    let served = Served::with(
        HubConfig::default(),
        ServerConfig::default().allow_host("stats.example").unwrap(),
    );
    let at = |host: &str| ask(served.addr(), &format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    for host in ["localhost", "127.0.0.1:9001", "[::1]:9001", "a.localhost:1", "Stats.Example."] {
        assert_eq!(at(host).status, 200, "{host}");
    }
    for host in
        ["evil.example", "evil.example:9001", "localhost.evil.example", "stats.example.evil"]
    {
        let answer = at(host);
        assert_eq!(answer.status, 403, "{host}");
        assert!(answer.body.contains("allowed hosts"), "{answer:?}");
        assert!(
            !answer.body.contains("--"),
            "no command-line flags in a library response: {answer:?}"
        );
    }
    for path in ["/ws/stats", "/api/v1/stats", "/metrics", "/healthz"] {
        let answer =
            ask(served.addr(), &format!("GET {path} HTTP/1.1\r\nHost: evil.example\r\n\r\n"));
        assert_eq!(answer.status, 403, "{path}");
    }
    // DNS rebinding: the browser sees the page's host and ours as one origin.
    let rebound = handshake_with("Origin: http://evil.example:9001")
        .replace("Host: localhost:9001", "Host: evil.example:9001");
    assert_eq!(served.ask(&rebound).status, 403);
}

#[test]
fn pages_from_an_allowed_origin_can_connect() {
    let config = ServerConfig::default().allow_origin("https://portal.example").unwrap();
    let served = Served::with(HubConfig::default(), config);
    let origin = |origin: &str| try_handshake(served.addr(), &format!("Origin: {origin}"));
    for allowed in ["https://portal.example", "https://Portal.example:443", "http://localhost:9001"]
    {
        assert!(origin(allowed).starts_with("HTTP/1.1 101 "), "{allowed}");
    }
    for refused in [
        "http://portal.example",
        "https://portal.example:1",
        "https://portal.example.evil",
        "null",
        "",
    ] {
        assert!(origin(refused).starts_with("HTTP/1.1 403 "), "{refused}");
    }
    let two = "https://portal.example\r\nOrigin: http://evil.example";
    assert!(origin(two).starts_with("HTTP/1.1 400 "));
}

#[test]
fn a_public_address_requires_a_token_or_explicit_open_access() {
    let hub = Hub::spawn(HubConfig::default()).unwrap();
    let bind = |access: Access| {
        let mut config = ServerConfig::default();
        config.access = access;
        Server::bind("0.0.0.0:0", hub.handle(), config)
    };
    let error = bind(Access::Local).unwrap_err();
    assert!(error.is_invalid() && error.to_string().contains("0.0.0.0:0"), "{error}");
    assert!(!error.to_string().contains("--"), "no command-line flags in a library error: {error}");
    bind(Access::Open).unwrap().shutdown();
    bind(Access::Token(Token::new(TOKEN).unwrap())).unwrap().shutdown();

    let (status, _, err) = run(kentros(&["--demo", "1", "--addr", "0.0.0.0:0"]));
    assert_eq!(status, 2, "{err}");
    for part in ["0.0.0.0:0", "--token-file", "KENTROS_TOKEN_FILE", "--no-auth"] {
        assert!(err.contains(part), "{part}: {err}");
    }
    assert!(!err.contains("Access"), "no library types in the program's error: {err}");
    for (args, variable) in [(&["--no-auth"][..], None), (&[], Some(("KENTROS_TOKEN", TOKEN)))] {
        let mut command = kentros(&[&["--demo", "1", "--addr", "0.0.0.0:0"], args].concat());
        command.envs(variable);
        let addr = SocketAddr::from(([127, 0, 0, 1], Running::start(command).addr().port()));
        assert_ne!(addr.port(), 0);
    }
}

#[test]
fn an_empty_token_is_an_error() {
    let cases =
        [("KENTROS_TOKEN", "KENTROS_TOKEN: a token"), ("KENTROS_TOKEN_FILE", "_FILE \"\": ")];
    for (name, part) in cases {
        // If it counted as no token, this address would be rejected with another error.
        let mut command = kentros(&["--demo", "1", "--addr", "0.0.0.0:0"]);
        command.env(name, "");
        let (status, _, err) = run(command);
        assert_eq!(status, 2, "{err}");
        assert!(err.contains(part), "{err}");
    }
}

#[test]
fn the_token_is_never_logged_at_any_level() {
    let file = env::temp_dir().join(format!("kentros-token-{}", process::id()));
    fs::write(&file, format!("{TOKEN}\n")).unwrap();
    for (flags, variable, value) in [
        (&["--token", TOKEN][..], "KENTROS_DEMO", "3"),
        (&[], "KENTROS_TOKEN", TOKEN),
        (&[], "KENTROS_TOKEN_FILE", file.to_str().unwrap()),
    ] {
        let args = ["--demo", "3", "--addr", "127.0.0.1:0", "--log-level", "trace"];
        let mut command = kentros(&[&args[..], flags].concat());
        command.env(variable, value);
        let mut running = Running::start(command);
        let addr = running.addr();
        let bearer = format!("Authorization: Bearer {TOKEN}");
        assert_eq!(get_with_header(addr, "/api/v1/stats", &bearer).status, 200);
        // Requests that fail in every way that involves the token.
        let wrong = format!("{TOKEN}x");
        assert_eq!(
            get_with_header(addr, "/", &format!("Authorization: Bearer {wrong}")).status,
            401
        );
        assert_eq!(get_with_header(addr, &format!("/?token={TOKEN}"), "A: b").status, 401);
        assert_eq!(get_with_header(addr, &format!("/{TOKEN}"), &bearer).status, 404);
        assert_eq!(get_with_header(addr, "/", &format!("{bearer}\r\n{bearer}")).status, 400);
        assert_eq!(get_with_header(addr, "/", &format!("{bearer}\r\n{TOKEN} : x")).status, 400);
        assert_eq!(log_in(addr, &format!("token={wrong}"), "").status, 401);
        let answer = log_in(addr, &format!("token={TOKEN}"), "");
        let cookie = answer.field("set-cookie").split(['=', ';']).nth(1).unwrap().to_owned();
        let offer = format!("Sec-WebSocket-Protocol: kentros, kentros.bearer.{ENCODED}");
        assert!(try_handshake(addr, &offer).starts_with("HTTP/1.1 101 "));
        assert!(
            try_handshake(addr, &format!("{bearer}\r\nOrigin: null")).starts_with("HTTP/1.1 403 ")
        );
        running.signal(Signal::TERM);
        assert_eq!(running.ended().code(), Some(0));
        let lines: Vec<String> = running.lines.iter().collect();
        assert_eq!(lines.iter().filter(|line| line.contains("wrong token")).count(), 1);
        for line in lines {
            for secret in [TOKEN, ENCODED, &cookie] {
                assert!(!line.contains(secret), "{line}");
            }
        }
    }
    fs::remove_file(file).unwrap();
}

#[test]
fn kentros_stats_sends_the_token_of_its_environment() {
    let served = serve_demo(token_config());
    let url = format!("ws://{}/ws/stats", served.addr());
    let args = ["stats", "--once", "--json", "--url", &url];
    let mut command = kentros(&args);
    command.env("KENTROS_TOKEN", TOKEN);
    let (status, out, err) = run(command);
    assert_eq!(status, 0, "{err}");
    let rows: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(rows.as_object().unwrap().len(), 3);
    let (status, _, err) = run(kentros(&args));
    assert_eq!(status, 1);
    assert!(err.contains("requires a token") && err.contains("KENTROS_TOKEN"), "{err}");
    let mut command = kentros(&args);
    command.env("KENTROS_TOKEN", format!("{TOKEN}x"));
    let (status, _, err) = run(command);
    assert!(status == 1 && err.contains("rejected the token") && !err.contains(TOKEN), "{err}");
}

#[test]
fn a_page_can_send_the_token_as_a_subprotocol() {
    let Some(browser) = Browser::find("a_page_can_send_the_token_as_a_subprotocol") else { return };
    // A page of another server, whose origin is allowed.
    let portal = Served::with(
        HubConfig::default(),
        ServerConfig::default().page("/", "text/html", "<!doctype html><title>portal</title>"),
    );
    let origin = format!("http://{}", portal.addr());
    let served = serve_demo(token_config().allow_origin(&origin).unwrap());
    let mut page = browser.page();
    // Its own content security policy allows connections to its own server only.
    page.call("Page.setBypassCSP", serde_json::json!({"enabled": true}));
    page.goto(&origin);
    let connect = |protocols: &str| {
        format!(
            "new Promise((done) => {{
                const socket = new WebSocket('ws://{}/ws/stats', {protocols});
                socket.onmessage = () => {{ done(socket.protocol); socket.close(); }};
                socket.onerror = () => done('refused');
            }})",
            served.addr()
        )
    };
    let both = connect(&format!("['kentros', 'kentros.bearer.{ENCODED}']"));
    assert_eq!(page.eval(&both), "kentros");
    assert_eq!(page.eval(&connect("['kentros']")), "refused");
    // A browser needs one of its subprotocols in the response, and the server never returns the
    // token.
    let alone = connect(&format!("['kentros.bearer.{ENCODED}']"));
    assert_eq!(page.eval(&alone), "refused");
    let wrong = connect(&format!("['kentros', 'kentros.bearer.{ENCODED}x']"));
    assert_eq!(page.eval(&wrong), "refused");
}

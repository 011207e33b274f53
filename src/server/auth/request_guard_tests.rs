use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::*;

#[path = "guessing_tests.rs"]
mod guessing;

const TOKEN: &str = "6f1ed002ab5595859014ebf0951522d9";
/// The token in base64url, without and with padding.
const ENCODED: &str = "NmYxZWQwMDJhYjU1OTU4NTkwMTRlYmYwOTUxNTIyZDk";
const PADDED: &str = "NmYxZWQwMDJhYjU1OTU4NTkwMTRlYmYwOTUxNTIyZDk=";

fn open_paths() -> Vec<String> {
    vec!["/healthz".to_owned(), "/readyz".to_owned(), "/public/*".to_owned()]
}

fn guard(checks: RequestChecks, token: Option<&str>) -> RequestGuard {
    let token = token.map(|token| Token::new(token).unwrap());
    let counters = Arc::default();
    RequestGuard::new(checks, token.as_ref(), open_paths(), &BasePath::new("stats"), counters)
        .unwrap()
}

fn guard_with_token() -> RequestGuard {
    guard(RequestChecks::default(), Some(TOKEN))
}

/// An hour later each time, so that no wrong token causes a delay for the next one.
fn later() -> Instant {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    static HOURS: AtomicU32 = AtomicU32::new(0);
    *START + HOURS.fetch_add(1, Ordering::Relaxed) * Duration::from_secs(3600)
}

fn peer() -> SocketAddr {
    "127.0.0.1:5000".parse().unwrap()
}

fn head(request: &str, fields: &str) -> RequestHead {
    let fields = if fields.is_empty() { String::new() } else { format!("{fields}\r\n") };
    let text = format!("{request} HTTP/1.1\r\nHost: localhost:9001\r\n{fields}\r\n");
    RequestHead::parse(text.as_bytes()).unwrap().unwrap()
}

/// The decision in one word: `allow`, `foreign` or the status of the response.
fn outcome(guard: &mut RequestGuard, head: &RequestHead) -> String {
    outcome_at(guard, peer(), head, later())
}

fn outcome_at(
    guard: &mut RequestGuard,
    peer: SocketAddr,
    head: &RequestHead,
    now: Instant,
) -> String {
    match guard.check(peer, head, now).1 {
        Decision::Allow { origin_allowed: true, authorized: true } => "allow".into(),
        Decision::Allow { origin_allowed: true, authorized: false } => "open".into(),
        Decision::Allow { origin_allowed: false, .. } => "foreign".into(),
        Decision::Respond(response) => response.status().to_string(),
        Decision::ReadLoginForm(form) => format!("form of {}", form.length),
    }
}

fn get(guard: &mut RequestGuard, path: &str, fields: &str) -> String {
    outcome(guard, &head(&format!("GET {path}"), fields))
}

/// Logs in and returns the cookie.
fn cookie(guard: &mut RequestGuard) -> String {
    let body = format!("token={TOKEN}");
    let answer = guard.log_in(peer(), &LoginForm::default(), body.as_bytes(), later());
    let text = String::from_utf8(answer.bytes("", false)).unwrap();
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Set-Cookie: "));
    let line = lines.find(|line| line.starts_with("kentros_session=")).unwrap();
    assert!(line.ends_with("; Path=/stats/; HttpOnly; SameSite=Strict"), "{line}");
    line.split(';').next().unwrap().to_owned()
}

/// The host of an absolute target is checked like a `Host` header, which it replaces.
#[test]
fn an_absolute_target_must_have_an_allowed_host() {
    let mut guard = guard(RequestChecks::default(), None);
    for (target, expected) in [
        ("http://localhost:9001/", "allow"),
        ("http://127.0.0.1/healthz", "allow"),
        ("http://evil.example/healthz", "403"),
        ("https://evil.example", "403"),
        ("http://user@localhost/", "400"),
    ] {
        assert_eq!(get(&mut guard, target, ""), expected, "{target}");
    }
}

#[test]
fn only_an_open_path_needs_no_token() {
    let mut guard = guard_with_token();
    assert_eq!(get(&mut guard, "/public/page", ""), "open");
    let token = format!("Authorization: Bearer {TOKEN}");
    assert_eq!(get(&mut guard, "/public/page", &token), "allow", "with the token it is authorized");
    for path in ["/public", "/publicx", "/x/public/page", "/%70ublic/page"] {
        assert_eq!(get(&mut guard, path, ""), "401", "{path}");
    }
}

#[test]
fn without_a_token_only_health_and_login_paths_are_allowed() {
    let mut guard = guard_with_token();
    for path in ["/healthz", "/readyz", "/healthz?a=b", "http://localhost:9001/healthz"] {
        assert_eq!(get(&mut guard, path, ""), "open", "{path}");
    }
    assert_eq!(get(&mut guard, "/login", ""), "200");
    for path in [
        "/",
        "/app.js",
        "/style.css",
        "/ws/stats",
        "/api/v1/stats",
        "/api/v1/projects",
        "/metrics",
        "/nothing",
        "/healthz/",
        "/healthz/../api/v1/stats",
        "//healthz",
        "/HEALTHZ",
        "/%68ealthz",
        "/login/",
        "/login/../api/v1/stats",
        "/healthz;/api/v1/stats",
        "http://localhost:9001/api/v1/stats",
    ] {
        assert_eq!(get(&mut guard, path, ""), "401", "{path}");
        let query = format!("{path}?token={TOKEN}&access_token={TOKEN}");
        assert_eq!(get(&mut guard, &query, ""), "401", "{query}");
    }
    let mut open = self::guard(RequestChecks::default(), None);
    for path in ["/", "/login", "/metrics"] {
        assert_eq!(get(&mut open, path, ""), "allow", "{path}");
    }
}

#[test]
fn the_token_is_accepted_as_header_subprotocol_and_cookie() {
    let mut guard = guard_with_token();
    let cookie = cookie(&mut guard);
    assert!(!cookie.contains(TOKEN) && !cookie.contains(ENCODED), "{cookie}");
    for fields in [
        format!("Authorization: Bearer {TOKEN}"),
        format!("authorization: bEARER   {TOKEN}  "),
        format!("Sec-WebSocket-Protocol: kentros.bearer.{ENCODED}"),
        format!("Sec-WebSocket-Protocol: kentros.bearer.{PADDED}"),
        format!("Sec-WebSocket-Protocol: kentros,, a ,kentros.bearer.{ENCODED}"),
        format!(
            "Sec-WebSocket-Protocol: kentros\r\nSec-WebSocket-Protocol: kentros.bearer.{ENCODED}"
        ),
        format!("Cookie: {cookie}"),
        format!("Cookie: a=b; {cookie}; c=d"),
        format!("Cookie: kentros_session=of-another-server; {cookie}"),
        format!("Cookie: a=b\r\nCookie: {cookie}"),
        format!("Authorization: Basic dXNlcjpwYXNz\r\nCookie: {cookie}"),
    ] {
        assert_eq!(get(&mut guard, "/api/v1/stats", &fields), "allow", "{fields}");
    }
}

#[test]
fn anything_similar_to_the_token_is_rejected() {
    let mut guard = guard_with_token();
    let cookie = cookie(&mut guard);
    let value = cookie.split_once('=').unwrap().1;
    let mut others = guard_with_token();
    assert_ne!(cookie, self::cookie(&mut others), "each server has its own cookie");
    let mut shown = |fields: &str| get(&mut guard, "/api/v1/stats", fields);
    for fields in [
        format!("Authorization: Bearer {TOKEN}x"),
        format!("Authorization: Bearer {}", &TOKEN[1..]),
        "Authorization: Bearer ".to_owned() + &TOKEN.to_uppercase(),
        format!("Authorization: Bearer {TOKEN}, Bearer x"),
        format!("Authorization: Bearer {value}"),
        format!("Sec-WebSocket-Protocol: kentros.bearer.{TOKEN}"),
        "Sec-WebSocket-Protocol: kentros.bearer.".to_owned(),
        "Sec-WebSocket-Protocol: kentros.bearer.====".to_owned(),
    ] {
        assert_eq!(shown(&fields), "401", "{fields}");
    }
    for fields in [
        format!("Authorization: {TOKEN}"),
        "Authorization: Bearer".to_owned(),
        format!("Authorization: Basic {TOKEN}"),
        format!("X-Authorization: Bearer {TOKEN}"),
        format!("Sec-WebSocket-Protocol: {ENCODED}"),
        format!("Sec-WebSocket-Protocol: KENTROS.BEARER.{ENCODED}"),
        format!("Cookie: kentros_session={TOKEN}"),
        "Cookie: kentros_session=".to_owned(),
        "Cookie: kentros_session".to_owned(),
        format!("Cookie: Kentros_Session={value}"),
        format!("Cookie: xkentros_session={value}"),
        format!("Cookie: kentros_session=\"{value}\""),
        format!("Cookie: kentros_session={value}x"),
        format!("Cookie: a=kentros_session={value}"),
        format!("Cookie: kentros_session={}", "x".repeat(10_000)),
        format!("Cookie: {}", self::cookie(&mut others)),
    ] {
        assert_eq!(shown(&fields), "401", "{fields}");
    }
}

#[test]
fn a_browser_is_redirected_to_the_login_from_any_path() {
    let mut guard = guard_with_token();
    for (path, location) in
        [("/", "login"), ("/api/v1/stats", "../../login"), ("//evil.example/x", "../../login")]
    {
        let head = head(&format!("GET {path}"), "Accept: text/html,*/*;q=0.8");
        let Decision::Respond(response) = guard.check(peer(), &head, later()).1 else {
            panic!("no response to {path}");
        };
        let text = String::from_utf8(response.bytes("", false)).unwrap();
        assert!(text.starts_with("HTTP/1.1 303 "), "{text}");
        assert!(text.contains(&format!("\r\nLocation: {location}\r\n")), "{path}: {text}");
    }
    assert_eq!(outcome(&mut guard, &head("POST /", "Accept: text/html")), "401");
}

#[test]
fn the_redirect_to_the_login_is_bounded_and_names_no_host() {
    let mut guard = guard_with_token();
    let query = format!("?{}", "/".repeat(10_000));
    for target in ["/".repeat(34), "/".repeat(15_000), format!("/a{query}"), format!("//{query}")] {
        let head = head(&format!("GET {target}"), "Accept: text/html");
        let Decision::Respond(response) = guard.check(peer(), &head, later()).1 else {
            panic!("no response");
        };
        let text = String::from_utf8(response.bytes("", false)).unwrap();
        assert!(text.len() < 2_048, "{} bytes", text.len());
        assert!(!text.contains("Location: /"), "{text}");
    }
    let kept = "GET //a/b?sort=-cpu";
    let Decision::Respond(response) =
        guard.check(peer(), &head(kept, "Accept: text/html"), later()).1
    else {
        panic!("no response");
    };
    let text = String::from_utf8(response.bytes("", false)).unwrap();
    assert!(text.contains("\r\nLocation: ../../login?sort=-cpu\r\n"), "{text}");
}

#[test]
fn a_login_form_needs_a_length_and_an_allowed_origin() {
    let mut guard = guard_with_token();
    let mut post = |fields: &str| outcome(&mut guard, &head("POST /login", fields));
    assert_eq!(post("Content-Length: 38"), "form of 38");
    assert_eq!(post("Content-Length: 4096\r\nOrigin: http://localhost:9001"), "form of 4096");
    assert_eq!(post("Content-Length: 4097"), "413");
    assert_eq!(post("Content-Length: 99999999999999999999999"), "413");
    for fields in [
        "",
        "Content-Length: ",
        "Content-Length: -1",
        "Content-Length: +1",
        "Content-Length: 0x10",
        "Content-Length: 1, 1",
        "Transfer-Encoding: chunked",
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
    ] {
        let refused = post(fields);
        assert!(["411", "413"].contains(&refused.as_str()), "{fields}: {refused}");
    }
    for origin in ["null", "http://evil.example", "http://localhost:9002"] {
        let fields = format!("Content-Length: 4\r\nOrigin: {origin}");
        assert_eq!(post(&fields), "403", "{origin}");
    }
    assert_eq!(outcome(&mut guard, &head("PUT /login", "Content-Length: 4")), "405");
}

#[test]
fn only_the_right_token_logs_in_and_over_https_the_cookie_is_secure() {
    let mut guard = guard_with_token();
    let form = |https| LoginForm { https, query: "?sort=-cpu".to_owned(), ..LoginForm::default() };
    let mut log_in = |https: bool, body: &[u8]| {
        let response = guard.log_in(peer(), &form(https), body, later());
        String::from_utf8(response.bytes("", false)).unwrap()
    };
    for body in [
        "",
        "token=",
        "token",
        "token=wrong",
        "atoken=6f1ed002ab5595859014ebf0951522d9",
        "token=6f1ed002ab5595859014ebf0951522d9x",
        "token=%ff%fe",
        "token=wrong&token=6f1ed002ab5595859014ebf0951522d9",
    ] {
        let text = log_in(false, body.as_bytes());
        assert!(text.starts_with("HTTP/1.1 401 "), "{body}: {text}");
        assert!(text.contains("Wrong token."), "{text}");
        assert!(!text.contains("Set-Cookie"), "{text}");
    }
    assert!(log_in(false, &[0xff; 100]).starts_with("HTTP/1.1 401 "));
    for body in [format!("token={TOKEN}"), format!("a=b&token=%36{}+%0D%0A", &TOKEN[1..])] {
        let text = log_in(true, body.as_bytes());
        let kept = "; Path=/stats/; HttpOnly; SameSite=Strict; Secure\r\n";
        assert!(text.contains(kept), "{text}");
        assert!(text.contains("\r\nLocation: ./?sort=-cpu\r\n"), "{text}");
        assert!(!text.contains(TOKEN), "{text}");
    }
}

#[test]
fn a_logout_removes_the_cookies_and_needs_an_allowed_origin() {
    let mut guard = guard_with_token();
    let own = "Origin: http://localhost:9001";
    let Decision::Respond(response) = guard.check(peer(), &head("POST /logout", own), later()).1
    else {
        panic!("no response");
    };
    let text = String::from_utf8(response.bytes("", false)).unwrap();
    assert!(
        text.starts_with("HTTP/1.1 303 ") && text.contains("\r\nLocation: login\r\n"),
        "{text}"
    );
    for name in ["kentros_session", "kentros_login"] {
        let removed = format!("\r\nSet-Cookie: {name}=; Path=/stats/; Max-Age=0\r\n");
        assert!(text.contains(&removed), "{text}");
    }
    let foreign = head("POST /logout", "Origin: http://evil.example");
    assert_eq!(outcome(&mut guard, &foreign), "403");
    for method in ["GET", "HEAD"] {
        assert_eq!(outcome(&mut guard, &head(&format!("{method} /logout"), "")), "405");
    }
    let mut open = self::guard(RequestChecks::default(), None);
    assert_eq!(outcome(&mut open, &head("POST /logout", own)), "allow", "not reserved");
}

#[test]
fn behind_a_proxy_that_says_https_an_http_page_is_foreign() {
    let mut checks = RequestChecks::default();
    checks.hosts.allow("stats.example").unwrap();
    checks.proxies.trust("10.0.0.0/8").unwrap();
    let mut guard = guard(checks, Some(TOKEN));
    let mut post = |peer: &str, path: &str, proto: &str, origin: &str| {
        let text = format!(
            "POST {path} HTTP/1.1\r\nHost: stats.example\r\nContent-Length: 4\r\n\
             X-Forwarded-Proto: {proto}\r\nOrigin: {origin}://stats.example\r\n\r\n"
        );
        let head = RequestHead::parse(text.as_bytes()).unwrap().unwrap();
        outcome_at(&mut guard, peer.parse().unwrap(), &head, later())
    };
    for (path, done) in [("/login", "form of 4"), ("/logout", "303")] {
        for (proto, origin, expected) in [
            ("https", "https", done),
            ("https", "http", "403"),
            ("http", "http", done),
            ("http", "https", "403"),
            ("wss", "https", done),
            ("", "http", done),
            ("", "https", done),
        ] {
            assert_eq!(post("10.0.0.1:1", path, proto, origin), expected, "{proto} {origin}");
        }
        assert_eq!(post("192.168.1.7:1", path, "https", "http"), done, "not a trusted proxy");
    }
}

#[test]
fn the_host_is_checked_first_and_the_response_names_the_fix() {
    let mut checks = RequestChecks::default();
    checks.hosts.allow("stats.example").unwrap();
    checks.allow_origin("https://portal.example:8443").unwrap();
    checks.proxies.trust("10.0.0.0/8").unwrap();
    let mut guard = guard(checks, None);
    let mut at = |peer: &str, host: &str, fields: &str| {
        let text = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
        let head = RequestHead::parse(text.as_bytes()).unwrap().unwrap();
        match guard.check(peer.parse().unwrap(), &head, later()).1 {
            Decision::Allow { origin_allowed, .. } => format!("allow {origin_allowed}"),
            Decision::Respond(response) => response.summary(),
            Decision::ReadLoginForm(_) => panic!("no token is set"),
        }
    };
    let mut direct = |host: &str| at("127.0.0.1:1", host, "");
    for host in ["localhost", "STATS.example:9001", "portal.example", "192.168.1.7:9001"] {
        assert_eq!(direct(host), "allow true", "{host}");
    }
    let refused = direct("evil.example:9001");
    assert!(
        refused.starts_with("403 ")
            && refused.contains("add evil.example to the server's allowed hosts"),
        "{refused}"
    );
    assert!(direct("").starts_with("400 "));
    assert!(direct("a b").starts_with("400 "));
    assert!(direct("localhost:9001, evil.example").starts_with("400 "));

    let forwarded = "X-Forwarded-Host: stats.example\r\nOrigin: https://stats.example\r\n";
    assert_eq!(at("10.1.2.3:1", "kentros:9001", forwarded), "allow true");
    assert!(at("192.168.1.7:1", "kentros:9001", forwarded).starts_with("403 "));
    assert_eq!(at("192.168.1.7:1", "localhost:9001", forwarded), "allow false");
    let evil = "X-Forwarded-Host: evil.example\r\nOrigin: https://evil.example\r\n";
    assert!(at("10.1.2.3:1", "localhost:9001", evil).starts_with("403 "));
    let portal = "Origin: https://portal.example:8443\r\n";
    assert_eq!(at("127.0.0.1:1", "stats.example", portal), "allow true");
}

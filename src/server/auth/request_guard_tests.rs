use super::*;

const TOKEN: &str = "6f1ed002ab5595859014ebf0951522d9";
/// The token in base64url, without and with padding.
const ENCODED: &str = "NmYxZWQwMDJhYjU1OTU4NTkwMTRlYmYwOTUxNTIyZDk";
const PADDED: &str = "NmYxZWQwMDJhYjU1OTU4NTkwMTRlYmYwOTUxNTIyZDk=";

fn open_paths() -> Vec<String> {
    vec!["/healthz".to_owned(), "/readyz".to_owned(), "/public/*".to_owned()]
}

fn guard_with_token() -> RequestGuard {
    RequestGuard::new(RequestChecks::default(), Some(&Token::new(TOKEN).unwrap()), open_paths())
        .unwrap()
}

fn head(request: &str, fields: &str) -> RequestHead {
    let fields = if fields.is_empty() { String::new() } else { format!("{fields}\r\n") };
    let text = format!("{request} HTTP/1.1\r\nHost: localhost:9001\r\n{fields}\r\n");
    RequestHead::parse(text.as_bytes()).unwrap().unwrap()
}

/// The decision in one word: `allow`, `foreign` or the status of the response.
fn outcome(guard: &RequestGuard, head: &RequestHead) -> String {
    let word = |response: &Response| format!("{:?}", response.status());
    match guard.check("127.0.0.1:5000".parse().unwrap(), head).1 {
        Decision::Allow { origin_allowed: true } => "allow".into(),
        Decision::Allow { origin_allowed: false } => "foreign".into(),
        Decision::Respond(response) => word(&response),
        Decision::WrongToken(response) => format!("wrong: {}", word(&response)),
        Decision::ReadLoginForm(form) => format!("form of {}", form.length),
    }
}

fn get(guard: &RequestGuard, path: &str, fields: &str) -> String {
    outcome(guard, &head(&format!("GET {path}"), fields))
}

/// Logs in and returns the cookie.
fn cookie(guard: &RequestGuard) -> String {
    let body = format!("token={TOKEN}");
    let answer =
        guard.log_in(&LoginForm::default(), body.as_bytes(), &BasePath::default()).unwrap();
    let text = String::from_utf8(answer.bytes("", false)).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Set-Cookie: ")).unwrap();
    assert!(line.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{line}");
    line.split(';').next().unwrap().to_owned()
}

/// The host of an absolute target is checked like a `Host` header, which it replaces.
#[test]
fn an_absolute_target_must_have_an_allowed_host() {
    let guard = RequestGuard::new(RequestChecks::default(), None, Vec::new()).unwrap();
    for (target, expected) in [
        ("http://localhost:9001/", "allow"),
        ("http://127.0.0.1/healthz", "allow"),
        ("http://evil.example/healthz", "403"),
        ("https://evil.example", "403"),
        ("http://user@localhost/", "400"),
    ] {
        assert_eq!(get(&guard, target, ""), expected, "{target}");
    }
}

#[test]
fn only_an_open_path_needs_no_token() {
    let guard = guard_with_token();
    assert_eq!(get(&guard, "/public/page", ""), "allow");
    for path in ["/public", "/publicx", "/x/public/page", "/%70ublic/page"] {
        assert_eq!(get(&guard, path, ""), "401", "{path}");
    }
}

#[test]
fn without_a_token_only_health_and_login_paths_are_allowed() {
    let guard = guard_with_token();
    for path in ["/healthz", "/readyz", "/healthz?a=b", "http://localhost:9001/healthz"] {
        assert_eq!(get(&guard, path, ""), "allow", "{path}");
    }
    assert_eq!(get(&guard, "/login", ""), "200");
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
        assert_eq!(get(&guard, path, ""), "401", "{path}");
        let query = format!("{path}?token={TOKEN}&access_token={TOKEN}");
        assert_eq!(get(&guard, &query, ""), "401", "{query}");
    }
    let open = RequestGuard::new(RequestChecks::default(), None, open_paths()).unwrap();
    for path in ["/", "/login", "/metrics"] {
        assert_eq!(get(&open, path, ""), "allow", "{path}");
    }
}

#[test]
fn the_token_is_accepted_as_header_subprotocol_and_cookie() {
    let guard = guard_with_token();
    let cookie = cookie(&guard);
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
        assert_eq!(get(&guard, "/api/v1/stats", &fields), "allow", "{fields}");
    }
}

#[test]
fn anything_similar_to_the_token_is_rejected() {
    let guard = guard_with_token();
    let cookie = cookie(&guard);
    let value = cookie.split_once('=').unwrap().1;
    let others = guard_with_token();
    assert_ne!(cookie, self::cookie(&others), "each server has its own cookie");
    let shown = |fields: &str| get(&guard, "/api/v1/stats", fields);
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
        assert_eq!(shown(&fields), "wrong: 401", "{fields}");
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
        format!("Cookie: {}", self::cookie(&others)),
    ] {
        assert_eq!(shown(&fields), "401", "{fields}");
    }
}

#[test]
fn a_browser_is_redirected_to_the_login_from_any_path() {
    let guard = guard_with_token();
    for (path, location) in
        [("/", "login"), ("/api/v1/stats", "../../login"), ("//evil.example/x", "../../login")]
    {
        let head = head(&format!("GET {path}"), "Accept: text/html,*/*;q=0.8");
        let Decision::Respond(response) = guard.check("127.0.0.1:1".parse().unwrap(), &head).1
        else {
            panic!("{path} gets no response");
        };
        let text = String::from_utf8(response.bytes("", false)).unwrap();
        assert!(text.starts_with("HTTP/1.1 303 "), "{text}");
        assert!(text.contains(&format!("\r\nLocation: {location}\r\n")), "{path}: {text}");
    }
    assert_eq!(outcome(&guard, &head("POST /", "Accept: text/html")), "401");
}

#[test]
fn a_login_form_needs_a_length_and_an_allowed_origin() {
    let guard = guard_with_token();
    let post = |fields: &str| outcome(&guard, &head("POST /login", fields));
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
    assert_eq!(outcome(&guard, &head("PUT /login", "Content-Length: 4")), "405");
}

#[test]
fn only_the_right_token_logs_in_and_over_https_the_cookie_is_secure() {
    let guard = guard_with_token();
    let form = |https| LoginForm { https, query: "?sort=-cpu".to_owned(), ..LoginForm::default() };
    let base = BasePath::new("stats");
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
        let refusal = guard.log_in(&form(false), body.as_bytes(), &base).unwrap_err();
        let text = String::from_utf8(refusal.bytes("", false)).unwrap();
        assert!(text.starts_with("HTTP/1.1 401 "), "{body}: {text}");
        assert!(text.contains("Wrong token."), "{text}");
        assert!(!text.contains("Set-Cookie"), "{text}");
    }
    assert!(guard.log_in(&form(false), &[0xff; 100], &base).is_err());
    for body in [format!("token={TOKEN}"), format!("a=b&token=%36{}+%0D%0A", &TOKEN[1..])] {
        let answer = guard.log_in(&form(true), body.as_bytes(), &base).unwrap();
        let text = String::from_utf8(answer.bytes("", false)).unwrap();
        let kept = "; Path=/stats/; HttpOnly; SameSite=Strict; Secure\r\n";
        assert!(text.contains(kept), "{text}");
        assert!(text.contains("\r\nLocation: ./?sort=-cpu\r\n"), "{text}");
        assert!(!text.contains(TOKEN), "{text}");
    }
}

#[test]
fn the_host_is_checked_first_and_the_response_names_the_fix() {
    let mut checks = RequestChecks::default();
    checks.hosts.allow("stats.example").unwrap();
    checks.allow_origin("https://portal.example:8443").unwrap();
    checks.proxies.trust("10.0.0.0/8").unwrap();
    let guard = RequestGuard::new(checks, None, open_paths()).unwrap();
    let at = |peer: &str, host: &str, fields: &str| {
        let text = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
        let head = RequestHead::parse(text.as_bytes()).unwrap().unwrap();
        match guard.check(peer.parse().unwrap(), &head).1 {
            Decision::Allow { origin_allowed } => format!("allow {origin_allowed}"),
            Decision::Respond(response) => response.summary(),
            _ => panic!("no token is set"),
        }
    };
    let direct = |host: &str| at("127.0.0.1:1", host, "");
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

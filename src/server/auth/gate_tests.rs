use super::*;

const TOKEN: &str = "6f1ed002ab5595859014ebf0951522d9";
/// In base64url, with and without padding.
const ENCODED: &str = "NmYxZWQwMDJhYjU1OTU4NTkwMTRlYmYwOTUxNTIyZDk";
const PADDED: &str = "NmYxZWQwMDJhYjU1OTU4NTkwMTRlYmYwOTUxNTIyZDk=";

fn open() -> Vec<String> {
    vec!["/healthz".to_owned(), "/readyz".to_owned(), "/public/*".to_owned()]
}

fn locked() -> Gate {
    Gate::new(Checks::default(), Some(&Token::new(TOKEN).unwrap()), open()).unwrap()
}

fn head(request: &str, fields: &str) -> Head {
    let fields = if fields.is_empty() { String::new() } else { format!("{fields}\r\n") };
    let text = format!("{request} HTTP/1.1\r\nHost: localhost:9001\r\n{fields}\r\n");
    Head::parse(text.as_bytes()).unwrap().unwrap()
}

/// The word for what becomes of a request.
fn outcome(gate: &Gate, head: &Head) -> String {
    let word = |response: &Response| format!("{:?}", response.status());
    match gate.pass("127.0.0.1:5000".parse().unwrap(), head).1 {
        Pass::Through { own_page: true } => "through".into(),
        Pass::Through { own_page: false } => "foreign".into(),
        Pass::Answer(response) => word(&response),
        Pass::Wrong(response) => format!("wrong: {}", word(&response)),
        Pass::Form(form) => format!("form of {}", form.length),
    }
}

fn get(gate: &Gate, path: &str, fields: &str) -> String {
    outcome(gate, &head(&format!("GET {path}"), fields))
}

/// The cookie of a login.
fn cookie(gate: &Gate) -> String {
    let body = format!("token={TOKEN}");
    let answer = gate.login(&Form::default(), body.as_bytes(), &Base::default()).unwrap();
    let text = String::from_utf8(answer.bytes("", false)).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Set-Cookie: ")).unwrap();
    assert!(line.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{line}");
    line.split(';').next().unwrap().to_owned()
}

#[test]
fn an_open_path_needs_no_token_and_no_other_path_does_without() {
    let gate = locked();
    assert_eq!(get(&gate, "/public/page", ""), "through");
    for path in ["/public", "/publicx", "/x/public/page", "/%70ublic/page"] {
        assert_eq!(get(&gate, path, ""), "401", "{path}");
    }
}

#[test]
fn without_a_token_only_the_health_and_the_login_answer() {
    let gate = locked();
    for path in ["/healthz", "/readyz", "/healthz?a=b"] {
        assert_eq!(get(&gate, path, ""), "through", "{path}");
    }
    assert_eq!(get(&gate, "/login", ""), "200");
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
        "http://localhost:9001/healthz",
    ] {
        assert_eq!(get(&gate, path, ""), "401", "{path}");
        let query = format!("{path}?token={TOKEN}&access_token={TOKEN}");
        assert_eq!(get(&gate, &query, ""), "401", "{query}");
    }
    let open = Gate::new(Checks::default(), None, open()).unwrap();
    for path in ["/", "/login", "/metrics"] {
        assert_eq!(get(&open, path, ""), "through", "{path}");
    }
}

#[test]
fn the_token_opens_as_a_header_as_a_subprotocol_and_by_the_cookie() {
    let gate = locked();
    let cookie = cookie(&gate);
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
        assert_eq!(get(&gate, "/api/v1/stats", &fields), "through", "{fields}");
    }
}

#[test]
fn what_is_like_the_token_opens_nothing() {
    let gate = locked();
    let cookie = cookie(&gate);
    let value = cookie.split_once('=').unwrap().1;
    let others = locked();
    assert_ne!(cookie, self::cookie(&others), "the cookie is another one after each start");
    let shown = |fields: &str| get(&gate, "/api/v1/stats", fields);
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
fn a_browser_is_sent_to_the_login_from_wherever_it_came() {
    let gate = locked();
    for (path, location) in
        [("/", "login"), ("/api/v1/stats", "../../login"), ("//evil.example/x", "../../login")]
    {
        let head = head(&format!("GET {path}"), "Accept: text/html,*/*;q=0.8");
        let Pass::Answer(response) = gate.pass("127.0.0.1:1".parse().unwrap(), &head).1 else {
            panic!("{path} is answered");
        };
        let text = String::from_utf8(response.bytes("", false)).unwrap();
        assert!(text.starts_with("HTTP/1.1 303 "), "{text}");
        assert!(text.contains(&format!("\r\nLocation: {location}\r\n")), "{path}: {text}");
    }
    assert_eq!(outcome(&gate, &head("POST /", "Accept: text/html")), "401");
}

#[test]
fn a_login_is_a_form_of_known_length_from_our_own_page() {
    let gate = locked();
    let post = |fields: &str| outcome(&gate, &head("POST /login", fields));
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
    assert_eq!(outcome(&gate, &head("PUT /login", "Content-Length: 4")), "405");
}

#[test]
fn only_the_right_token_logs_in_and_over_tls_the_cookie_stays_there() {
    let gate = locked();
    let form = |secure| Form { secure, query: "?sort=-cpu".to_owned(), ..Form::default() };
    let base = Base::new("stats");
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
        let refusal = gate.login(&form(false), body.as_bytes(), &base).unwrap_err();
        let text = String::from_utf8(refusal.bytes("", false)).unwrap();
        assert!(text.starts_with("HTTP/1.1 401 "), "{body}: {text}");
        assert!(text.contains("That is not the token."), "{text}");
        assert!(!text.contains("Set-Cookie"), "{text}");
    }
    assert!(gate.login(&form(false), &[0xff; 100], &base).is_err());
    for body in [format!("token={TOKEN}"), format!("a=b&token=%36{}+%0D%0A", &TOKEN[1..])] {
        let answer = gate.login(&form(true), body.as_bytes(), &base).unwrap();
        let text = String::from_utf8(answer.bytes("", false)).unwrap();
        let kept = "; Path=/stats/; HttpOnly; SameSite=Strict; Secure\r\n";
        assert!(text.contains(kept), "{text}");
        assert!(text.contains("\r\nLocation: ./?sort=-cpu\r\n"), "{text}");
        assert!(!text.contains(TOKEN), "{text}");
    }
}

#[test]
fn names_are_checked_before_anything_else_and_the_answer_says_what_to_do() {
    let mut checks = Checks::default();
    checks.hosts.allow("stats.example").unwrap();
    checks.allow_origin("https://portal.example:8443").unwrap();
    checks.proxies.trust("10.0.0.0/8").unwrap();
    let gate = Gate::new(checks, None, open()).unwrap();
    let at = |peer: &str, host: &str, fields: &str| {
        let text = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
        let head = Head::parse(text.as_bytes()).unwrap().unwrap();
        match gate.pass(peer.parse().unwrap(), &head).1 {
            Pass::Through { own_page } => format!("through {own_page}"),
            Pass::Answer(response) => response.summary(),
            _ => panic!("no lock"),
        }
    };
    let direct = |host: &str| at("127.0.0.1:1", host, "");
    for host in ["localhost", "STATS.example:9001", "portal.example", "192.168.1.7:9001"] {
        assert_eq!(direct(host), "through true", "{host}");
    }
    let refused = direct("evil.example:9001");
    assert!(
        refused.starts_with("403 ") && refused.contains("add evil.example to its allowed hosts"),
        "{refused}"
    );
    assert!(direct("").starts_with("400 "));
    assert!(direct("a b").starts_with("400 "));
    assert!(direct("localhost:9001, evil.example").starts_with("400 "));

    let forwarded = "X-Forwarded-Host: stats.example\r\nOrigin: https://stats.example\r\n";
    assert_eq!(at("10.1.2.3:1", "kentros:9001", forwarded), "through true");
    assert!(at("192.168.1.7:1", "kentros:9001", forwarded).starts_with("403 "));
    assert_eq!(at("192.168.1.7:1", "localhost:9001", forwarded), "through false");
    let evil = "X-Forwarded-Host: evil.example\r\nOrigin: https://evil.example\r\n";
    assert!(at("10.1.2.3:1", "localhost:9001", evil).starts_with("403 "));
    let portal = "Origin: https://portal.example:8443\r\n";
    assert_eq!(at("127.0.0.1:1", "stats.example", portal), "through true");
}

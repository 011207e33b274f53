//! The login form, guesses of the token, and the logout.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;

use kentros::{Hub, HubConfig, Server, ServerConfig};

use crate::access::{
    ENCODED, TOKEN, get_with_header, log_in, serve_demo, token_config, try_handshake,
};
use crate::binary::{Running, kentros, run};
use crate::harness::dashboard;
use crate::harness::devtools::{Browser, Page};
use crate::harness::raw::{Answer, ask, get};
use crate::harness::{GUARD, dial, until};

#[test]
fn login_sets_a_cookie_that_grants_access_and_does_not_contain_the_token() {
    let served = serve_demo(token_config());
    let addr = served.addr();
    let wrong = log_in(addr, "token=6f1ed002ab5595859014ebf0951522d8", "");
    assert_eq!((wrong.status, wrong.field("set-cookie")), (401, ""));
    assert!(wrong.body.contains("Wrong token."), "{wrong:?}");
    let answer = log_in(addr, &format!("token={TOKEN}"), &format!("Origin: http://{addr}\r\n"));
    assert_eq!((answer.status, answer.field("location")), (303, "./"), "{answer:?}");
    let (cookie, attributes) = answer.field("set-cookie").split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Strict");
    assert!(!cookie.contains(TOKEN) && !cookie.contains(ENCODED), "{cookie}");
    let field = format!("Cookie: theme=dark; {cookie}");
    assert_eq!(get_with_header(addr, "/api/v1/stats", &field).status, 200);
    assert!(try_handshake(addr, &field).starts_with("HTTP/1.1 101 "));
    let other = serve_demo(token_config());
    assert_eq!(
        get_with_header(other.addr(), "/api/v1/stats", &field).status,
        401,
        "another server's cookie is not valid here"
    );

    let foreign = log_in(addr, &format!("token={TOKEN}"), "Origin: http://evil.example\r\n");
    assert_eq!((foreign.status, foreign.field("set-cookie")), (403, ""));
    // The form may arrive in parts, and bytes after it are ignored.
    let mut stream = dial(addr);
    let body = format!("token={TOKEN}");
    let form = format!(
        "POST /login HTTP/1.1\r\nHost: {addr}\r\nContent-Length: {}\r\n\r\n{body}GET / HTTP/1.1\r\n",
        body.len()
    );
    let (head, rest) = form.split_at(form.len() - 40);
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(rest.as_bytes()).unwrap();
    assert_eq!(Answer::read(stream).status, 303);
    assert_eq!(log_in(addr, &"x".repeat(4097), "").status, 413);
}

#[test]
fn a_login_body_that_never_arrives_gets_408() {
    let served = serve_demo(token_config());
    let mut stream = dial(served.addr());
    let head = "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 40\r\n\r\ntoken=";
    stream.write_all(head.as_bytes()).unwrap();
    assert_eq!(Answer::read(stream).status, 408);
}

/// Every way to send a token, with the status of the response.
fn guesses(addr: SocketAddr, from: &str) -> [(&'static str, u16); 3] {
    let from = format!("X-Forwarded-For: {from}");
    let bearer = format!("{from}\r\nAuthorization: Bearer wrong");
    let subprotocol = format!("{from}\r\nSec-WebSocket-Protocol: kentros.bearer.d3Jvbmc");
    let status = |head: &str| head[9..12].parse().unwrap();
    [
        ("login", log_in(addr, "token=wrong", &format!("{from}\r\n")).status),
        ("bearer", get_with_header(addr, "/api/v1/stats", &bearer).status),
        ("subprotocol", status(&try_handshake(addr, &subprotocol))),
    ]
}

/// The value of a series of `/metrics`.
fn metric(addr: SocketAddr, from: &str, series: &str) -> u64 {
    let fields = format!("X-Forwarded-For: {from}\r\nAuthorization: Bearer {TOKEN}");
    let text = get_with_header(addr, "/metrics", &fields).body;
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    line.unwrap_or_else(|| panic!("{series}: {text}")).trim().parse().unwrap()
}

#[test]
fn guesses_are_slowed_but_other_addresses_and_cookies_are_not() {
    let served = serve_demo(token_config().trust_proxy("127.0.0.1").unwrap());
    let addr = served.addr();
    let (attacker, user) = ("203.0.113.7", "203.0.113.8");
    let form = format!("token={TOKEN}");
    let answer = log_in(addr, &form, &format!("X-Forwarded-For: {attacker}\r\n"));
    let cookie = answer.field("set-cookie").split(';').next().unwrap().to_owned();
    // The delays are soon longer than the requests take, even on a busy machine.
    until("every guess to be refused", || {
        guesses(addr, attacker).iter().all(|(_, status)| *status == 429)
    });
    let refused = log_in(addr, "token=wrong", &format!("X-Forwarded-For: {attacker}\r\n"));
    if refused.status == 429 {
        assert!(refused.field("retry-after").parse::<u32>().unwrap() >= 1, "{refused:?}");
    }
    let with_cookie = format!("X-Forwarded-For: {attacker}\r\nCookie: {cookie}");
    assert_eq!(get_with_header(addr, "/api/v1/stats", &with_cookie).status, 200);
    let from_user = format!("X-Forwarded-For: {user}\r\n");
    assert_eq!(log_in(addr, &form, &from_user).status, 303);
    let bearer = format!("{from_user}Authorization: Bearer {TOKEN}");
    assert!(try_handshake(addr, &bearer).starts_with("HTTP/1.1 101 "));
    let failures = |reason: &str| {
        metric(addr, user, &format!("kentros_auth_failures_total{{reason=\"{reason}\"}}"))
    };
    assert!(failures("wrong_token") >= 6 && failures("too_many") >= 3);
}

#[test]
fn a_token_file_that_others_can_read_gets_a_warning_with_its_mode() {
    let file = std::env::temp_dir().join(format!("kentros-token-mode-{}", std::process::id()));
    fs::write(&file, TOKEN).unwrap();
    for (mode, warned) in [(0o600, false), (0o640, true), (0o644, true)] {
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        let args = ["--demo", "1", "--addr", "127.0.0.1:0", "--token-file"];
        let running = Running::start(kentros(&[&args[..], &[file.to_str().unwrap()]].concat()));
        let mut log = Vec::new();
        while !log.last().is_some_and(|line: &String| line.contains("listening on")) {
            log.push(running.lines.recv_timeout(GUARD).unwrap());
        }
        let warning =
            format!("has mode {mode:04o}: other users can read it. To fix this, run `chmod 600`");
        assert_eq!(log.iter().any(|line| line.contains(&warning)), warned, "{log:?}");
        assert_eq!(log.iter().any(|line| line.contains("mode")), warned, "{log:?}");
    }
    fs::remove_file(file).unwrap();
}

#[test]
fn a_token_of_one_repeated_character_is_refused() {
    let repeated = "0".repeat(32);
    let (status, _, err) = run(kentros(&["--demo", "1", "--token", &repeated]));
    assert_eq!(status, 2, "{err}");
    assert!(err.contains("one repeated character") && err.contains("openssl rand"), "{err}");
    assert!(!err.contains(&repeated), "{err}");
}

#[test]
fn a_logout_ends_the_access_of_the_browser() {
    let served = serve_demo(token_config());
    let addr = served.addr();
    let log_out = |method: &str, origin: &str| -> Answer {
        let head = format!("{method} /logout HTTP/1.1\r\nHost: {addr}\r\nOrigin: {origin}\r\n\r\n");
        ask(addr, &head)
    };
    let own = format!("http://{addr}");
    let answer = log_out("POST", &own);
    assert_eq!((answer.status, answer.field("location")), (303, "login"), "{answer:?}");
    assert_eq!(answer.field("set-cookie"), "kentros_session=; Path=/; Max-Age=0");
    let foreign = log_out("POST", "http://evil.example");
    assert_eq!((foreign.status, foreign.field("set-cookie")), (403, ""));
    assert_eq!(log_out("GET", &own).status, 405);
    let without_token = serve_demo(ServerConfig::default());
    assert_eq!(get(without_token.addr(), "/logout").status, 404);
}

#[test]
fn a_browser_logs_out_with_the_button_of_the_dashboard() {
    let Some(browser) = Browser::find("a_browser_logs_out_with_the_button_of_the_dashboard") else {
        return;
    };
    let hidden = "document.getElementById('logout').hidden";
    let open = dashboard::serve_demo(3);
    assert_eq!(dashboard::open(browser, &open).eval(hidden), true, "without a login");

    let served = serve_demo(token_config());
    let url = format!("http://{}/", served.addr());
    let mut page = browser.page();
    let at_login = "location.pathname === '/login' && document.readyState === 'complete'";
    page.goto(&url);
    page.eval(&format!("document.querySelector('#token').value = '{TOKEN}'; 0"));
    // The click leaves the page, so it must come after this call has returned.
    page.eval("setTimeout(() => document.querySelector('button').click()); 0");
    page.until_navigated("the button", &format!("{hidden} === false"));
    page.eval("setTimeout(() => document.getElementById('logout').click()); 0");
    page.until_navigated("the login page", at_login);
    assert_eq!(page.eval("document.cookie"), "");
    page.goto(&url);
    assert_eq!(page.eval(at_login), true, "the cookie is gone");
    assert_eq!(page.complaints(), Vec::<String>::new());
}

#[test]
fn a_browser_logs_in_and_must_log_in_again_after_a_restart() {
    let Some(browser) = Browser::find("a_browser_logs_in_and_must_log_in_again_after_a_restart")
    else {
        return;
    };
    let served = serve_demo(token_config());
    let addr = served.addr();
    let mut page = browser.page();
    page.goto(&format!("http://{addr}/?sort=-cpu"));
    assert_eq!(page.eval("location.pathname"), "/login");
    let styled = "getComputedStyle(document.querySelector('button')).fontWeight";
    assert_eq!(page.eval(styled), "600", "the policy allows the page's style by its hash");
    assert_eq!(page.complaints(), Vec::<String>::new());
    let submit = |page: &mut Page, token: &str| {
        page.eval(&format!("document.querySelector('#token').value = '{token}'; 0"));
        // The click leaves the page, so it must come after this call has returned.
        page.eval("setTimeout(() => document.querySelector('button').click()); 0");
    };
    submit(&mut page, "not-the-token-at-all");
    let wrong = "document.querySelector('.wrong')?.textContent === 'Wrong token.'";
    page.until_navigated("the error message", wrong);
    submit(&mut page, TOKEN);
    let live = "document.getElementById('link-text')?.textContent === 'Live'";
    page.until_navigated("the dashboard", live);
    assert_eq!(page.eval("location.pathname + location.search"), "/?sort=-cpu");
    assert_eq!(page.eval("document.cookie"), "kentros_login=1", "only the mark");
    // The cookie holds for the next load.
    page.goto(&format!("http://{addr}/"));
    page.until_navigated("the dashboard again", live);

    served.server.shutdown();
    served.hub.shutdown();
    let hub = Hub::spawn(HubConfig::default()).unwrap();
    let _again = Server::bind(addr, hub.handle(), token_config()).unwrap();
    page.until_navigated(
        "the login",
        "location.pathname === '/login' && document.readyState === 'complete'",
    );
    for url in page.requests() {
        assert!(!url.contains(TOKEN), "{url}");
    }
}

//! The dashboard when the server, the engine or the login is lost.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use kentros::{Hub, HubConfig, Server, ServerConfig};
use serde_json::{Value, json};

use crate::harness::dashboard::{
    DemoSource, NAMES, SECOND, assert_clean, cell, open, row, serve, serve_demo, shown,
};
use crate::harness::devtools::Browser;
use crate::harness::{dial, retry_interrupted};

#[test]
fn the_page_reconnects_after_a_server_restart() {
    let Some(browser) = Browser::find("the_page_reconnects_after_a_server_restart") else { return };
    let served = serve(SECOND / 10, DemoSource::new(20));
    let addr = served.addr();
    let mut page = open(browser, &served);
    page.until("a live page", &format!("{} === 'Live'", shown("link-text")));
    page.until("rows", "document.querySelectorAll('tr.container').length === 20");
    page.eval("document.querySelector('.container:not(.off)').click()");
    let color = "getComputedStyle(document.querySelector('figcaption .legend0')).color";
    let live = page.until(
        "a chart's figure",
        &format!("document.querySelector('figcaption .legend0') && {color}"),
    );
    assert_eq!(page.eval(&shown("detail-trouble")), "");
    assert_clean(&mut page, &served);

    served.server.shutdown();
    served.hub.shutdown();
    page.until(
        "the reconnect message",
        &format!("{}.startsWith('Reconnecting')", shown("link-text")),
    );
    page.until("stale figures", "document.body.classList.contains('stale')");
    assert_eq!(page.eval("document.querySelectorAll('tr.container').length"), 20);
    // The panel covers the header, so it shows the message too.
    let in_panel = shown("detail-trouble");
    page.until(
        "the reconnect message in the panel",
        &format!("{in_panel}.startsWith('Reconnecting')"),
    );
    page.until("the time of the last figures", &format!("{in_panel}.includes(', stale since ')"));
    assert_ne!(page.eval(color), live);
    page.press("Escape");

    let hub = Hub::spawn(HubConfig::default()).unwrap();
    hub.handle().start_stats_streamer(SECOND / 10, DemoSource::new(30)).unwrap();
    let _again = Server::bind(addr, hub.handle(), ServerConfig::default()).unwrap();
    page.until("a live page again", &format!("{} === 'Live'", shown("link-text")));
    page.until(
        "the new server's rows",
        "document.querySelectorAll('tr.container').length === 30
        && !document.body.classList.contains('stale')",
    );
    let sockets = page.requests().iter().filter(|url| url.starts_with("ws://")).count();
    assert!(sockets < 12, "{sockets} attempts without a pause");
}

#[test]
fn the_page_reports_an_unreachable_engine() {
    const WHY: &str = "nothing listens at /run/engine.sock";
    let Some(browser) = Browser::find("the_page_reports_an_unreachable_engine") else { return };
    let gone = Arc::new(AtomicBool::new(true));
    let is_gone = Arc::clone(&gone);
    let mut n = 0;
    let served = serve(SECOND / 10, move || {
        if is_gone.load(Ordering::Relaxed) {
            return Err(WHY);
        }
        n += 1;
        Ok::<Value, _>(json!({"c0ffee": {"name": "web", "project_id": "shop", "pids": n}}))
    });
    let mut page = open(browser, &served);
    page.until("the error before the first row", &format!("{}.includes('{WHY}')", shown("empty")));
    assert_eq!(page.eval(&shown("engine")), "Engine unreachable");

    gone.store(false, Ordering::Relaxed);
    page.until(
        "figures",
        &format!("{} && {} === 'Live'", cell("c0ffee", "pids"), shown("link-text")),
    );
    assert_eq!(page.eval(&shown("trouble")), "");
    assert_eq!(page.eval(&shown("engine")), "", "the source reports no engine");
    page.eval(&format!("{}.click()", row("c0ffee")));

    gone.store(true, Ordering::Relaxed);
    page.until("the error above the rows", &format!("{}.includes('{WHY}')", shown("trouble")));
    page.until(
        "the time of the last figures",
        &format!("{}.startsWith('Stale since')", shown("link-text")),
    );
    let in_panel = page.eval(&shown("detail-trouble"));
    let in_panel = in_panel.as_str().unwrap();
    assert!(in_panel.starts_with("Stale since") && in_panel.contains(WHY), "{in_panel}");
    assert_eq!(page.eval("document.body.classList.contains('stale')"), true);
    let last = page.eval(&cell("c0ffee", "pids"));

    gone.store(false, Ordering::Relaxed);
    page.until(
        "a live page",
        &format!("{} === 'Live' && {} !== {last}", shown("link-text"), cell("c0ffee", "pids")),
    );
    assert_eq!(page.eval("document.body.classList.contains('stale')"), false);
    assert_clean(&mut page, &served);
}

/// When a login has expired, the WebSocket is refused and the browser does not tell the page why.
#[test]
fn an_expired_login_leads_to_the_login_page() {
    let Some(browser) = Browser::find("an_expired_login_leads_to_the_login_page") else { return };
    let served = serve_demo(12);
    let addr = served.addr();
    let mut page = open(browser, &served);
    page.until("rows", &format!("{NAMES}.length === 12"));
    served.server.shutdown();
    served.hub.shutdown();

    let listener = TcpListener::bind(addr).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let is_done = Arc::clone(&done);
    let login_server = thread::spawn(move || {
        for stream in listener.incoming() {
            if is_done.load(Ordering::Relaxed) {
                return;
            }
            let mut stream = stream.unwrap();
            let mut head = [0; 4096];
            let n = retry_interrupted(|| stream.read(&mut head)).unwrap_or(0);
            let answer = if head[..n].starts_with(b"GET /login ") {
                "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nlog in ok"
            } else {
                "HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            };
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    page.until_navigated("the login page", "document.body?.textContent === 'log in ok'");
    done.store(true, Ordering::Relaxed);
    drop(dial(addr));
    login_server.join().unwrap();
}

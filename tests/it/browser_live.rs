//! What the dashboard shows of itself: the past at once, what stopped, that nobody looks.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use kentros::Message;
use serde_json::json;

use crate::browser::{assert_clean, cell, open, row};
use crate::browser_use::{GROUPS, NAMES, demo, steady};
use crate::devtools::{Browser, Page};
use crate::harness::{dial, uninterrupted, until};

#[test]
fn lines_are_there_at_once_from_the_history() {
    let Some(browser) = Browser::find("lines_are_there_at_once_from_the_history") else { return };
    let served = demo(12);
    let mut watcher = served.client();
    until("a past of some seconds", || {
        (0..10).for_each(|_| drop(watcher.find("container_stats")));
        watcher.send("history", json!({"seconds": 300}));
        watcher.find("history")["payload"]["t"].as_array().unwrap().len() >= 5
    });
    let mut page = open(browser, &served);
    // Live there is one point a second at most: more than that are of before.
    let points = |class: &str| {
        format!(
            "(document.querySelector('{class} .line')?.getAttribute('d')?.match(/[ML]/g)?.length ?? 0)"
        )
    };
    for class in ["cpu", "memory", "network"] {
        for of in [".container:not(.off) ", ".project ", "#summary "] {
            let points = points(&format!("{of}.{class}"));
            page.until(
                &format!("the line of {of}{class}"),
                &format!("{points} > performance.now() / 900 + 2"),
            );
        }
    }
    assert_clean(&mut page, &served);
}

#[test]
fn what_does_not_run_stands_apart_with_how_it_ended() {
    const TEST: &str = "what_does_not_run_stands_apart_with_how_it_ended";
    let Some(browser) = Browser::find(TEST) else { return };
    let served = steady();
    let container = |id: &str, name: &str, state: &str, status: &str| json!({"id": id, "name": name, "state": state, "status": status, "image": "busybox"});
    let project = json!([{"id": "one", "name": "one", "status": "partial", "containers": [
        container("a1", "alpha", "running", "Up 3 hours"),
        container("d4", "delta", "exited", "Exited (3) 2 hours ago"),
        container("e5", "epsilon", "exited", "Exited (0) 5 days ago"),
    ]}]);
    served.handle().broadcast(&Message::new("project_list", project).latest()).unwrap();
    let mut page = open(browser, &served);
    page.until("the group", &format!("{GROUPS}.at(-1) === 'Stopped'"));
    let apart = |id: &str| {
        format!("{}.closest('tbody') === document.querySelector('tbody:last-child')", row(id))
    };
    for (id, note, mood) in [("d4", "Exited (3) · one", "alarm"), ("e5", "Exited (0) · one", "off")]
    {
        page.until("it apart", &apart(id));
        assert_eq!(page.eval(&cell(id, "note")), note);
        assert_eq!(page.eval(&format!("{}.dataset.mood", row(id))), mood);
    }
    page.until("one that runs", &format!("{} && !({})", row("a1"), apart("a1")));

    let died = json!({"status": "die", "container": {"id": "a1", "name": "alpha", "state": "exited",
        "health": null, "exit_code": 137, "oom_killed": true}});
    let died = Message::new("project_status", died).project("one");
    served.handle().broadcast_to_subscribers("one", &died).unwrap();
    let note = "Exited (137), SIGKILL, out of memory";
    page.until("its end", &format!("{} === '{note}'", cell("a1", "note")));
    assert_eq!(page.eval(&apart("a1")), false, "a restart would move nothing");
    page.until("it apart too", &apart("a1"));
    assert_eq!(page.eval(&format!("{}.dataset.mood", row("a1"))), "alarm");
    assert_clean(&mut page, &served);
}

#[test]
fn nothing_is_painted_while_nobody_can_see_it() {
    let Some(browser) = Browser::find("nothing_is_painted_while_nobody_can_see_it") else { return };
    let served = demo(12);
    let mut page = open(browser, &served);
    page.until("rows", &format!("{NAMES}.length === 12"));
    hide(&mut page, true);
    page.eval("window.changes = 0;
        new MutationObserver((all) => { window.changes += all.length; })
            .observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true })");
    let before = page.received("container_stats");
    until("snapshots", || page.received("container_stats") > before + 5);
    assert_eq!(page.eval("window.changes"), 0);
    hide(&mut page, false);
    page.until("life", "window.changes > 0");
    assert_clean(&mut page, &served);
}

/// Lets the page believe that it is hidden; a headless window never is.
fn hide(page: &mut Page, hidden: bool) {
    page.eval(&format!(
        "Object.defineProperty(document, 'hidden', {{ configurable: true, get: () => {hidden} }});
        document.dispatchEvent(new Event('visibilitychange'))"
    ));
    // A frame that was asked for before has come by then.
    page.eval("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))");
}

/// Behind a login that has run out, the socket is refused, of which a browser does not tell why.
#[test]
fn a_page_that_lost_its_login_goes_there() {
    let Some(browser) = Browser::find("a_page_that_lost_its_login_goes_there") else { return };
    let served = demo(12);
    let addr = served.addr();
    let mut page = open(browser, &served);
    page.until("rows", &format!("{NAMES}.length === 12"));
    served.server.shutdown();
    served.hub.shutdown();

    let listener = TcpListener::bind(addr).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&over);
    let gate = thread::spawn(move || {
        for stream in listener.incoming() {
            if ended.load(Ordering::Relaxed) {
                return;
            }
            let mut stream = stream.unwrap();
            let mut head = [0; 4096];
            let n = uninterrupted(|| stream.read(&mut head)).unwrap_or(0);
            let answer = if head[..n].starts_with(b"GET /login ") {
                "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nwho there"
            } else {
                "HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            };
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    page.arrive("the login", "document.body?.textContent === 'who there'");
    over.store(true, Ordering::Relaxed);
    drop(dial(addr));
    gate.join().unwrap();
}

//! What the dashboard shows of containers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crossbeam_channel::bounded;
use kentros::{DockerSource, HubConfig, Message, ServerConfig};
use serde_json::{Value, json};

use crate::harness::dashboard::{
    DemoSource, GROUPS, MARKUP, SECOND, assert_clean, assert_no_markup, cell, constant, open, row,
    serve, shown,
};
use crate::harness::devtools::Browser;
use crate::harness::real_engine::{RealEngine, unique};
use crate::harness::{Served, pause, until};

#[test]
fn a_real_container_appears_and_updates() {
    const TEST: &str = "a_real_container_appears_and_updates";
    let Some(browser) = Browser::find(TEST) else { return };
    let Some(engine) = RealEngine::find(TEST) else { return };
    let project = unique("browser");
    let busy = engine.start(&project, "burner", &["/bin/sh", "-c", "while :; do :; done"]);
    let served = serve(SECOND, DockerSource::new(engine.host.clone()));
    let mut page = open(browser, &served);

    page.until("the row of the container", &row(&busy.id));
    assert_eq!(page.eval(&cell(&busy.id, "open")), busy.name);
    assert_eq!(page.eval(&cell(&busy.id, "service")), "burner");
    let heading =
        format!("{}.closest('tbody').querySelector('.heading').textContent", row(&busy.id));
    assert_eq!(page.eval(&heading), project);
    page.until("the state", &format!("{} === 'running'", cell(&busy.id, "state .word")));

    let cpu = cell(&busy.id, "cpu .left");
    let busy_now =
        format!("((text) => text?.endsWith('%') && parseFloat(text) > 5 && text)({cpu})");
    // The container uses a whole core, or less on a busy machine.
    let first = page.until("a CPU usage", &busy_now);
    let changed = format!("((text) => text?.endsWith('%') && text !== {first} && text)({cpu})");
    page.until("a new CPU usage", &changed);
    assert_clean(&mut page, &served);

    busy.act("kill");
    page.until(
        "the state after the kill",
        &format!("{} === 'exited'", cell(&busy.id, "state .word")),
    );
    // 137 is 128 + SIGKILL.
    page.until("the exit status", &format!("{}?.includes('(137)')", cell(&busy.id, "note")));
    assert_clean(&mut page, &served);
}

#[test]
fn stopped_containers_are_grouped_with_their_exit_status() {
    const TEST: &str = "stopped_containers_are_grouped_with_their_exit_status";
    let Some(browser) = Browser::find(TEST) else { return };
    let served = constant();
    let container = |id: &str, name: &str, state: &str, status: &str| json!({"id": id, "name": name, "state": state, "status": status, "image": "busybox"});
    let project = json!([{"id": "one", "name": "one", "status": "partial", "containers": [
        container("a1", "alpha", "running", "Up 3 hours"),
        container("d4", "delta", "exited", "Exited (3) 2 hours ago"),
        container("e5", "epsilon", "exited", "Exited (0) 5 days ago"),
    ]}]);
    served.handle().broadcast(&Message::new("project_list", project).latest()).unwrap();
    let mut page = open(browser, &served);
    page.until("the group of stopped containers", &format!("{GROUPS}.at(-1) === 'Stopped'"));
    let in_group = |id: &str| {
        format!("{}.closest('tbody') === document.querySelector('tbody:last-child')", row(id))
    };
    for (id, note, mood) in [("d4", "Exited (3) · one", "alarm"), ("e5", "Exited (0) · one", "off")]
    {
        page.until("the container in the group", &in_group(id));
        assert_eq!(page.eval(&cell(id, "note")), note);
        assert_eq!(page.eval(&format!("{}.dataset.mood", row(id))), mood);
    }
    page.until(
        "the running container in its project",
        &format!("{} && !({})", row("a1"), in_group("a1")),
    );

    let died = json!({"status": "die", "container": {"id": "a1", "name": "alpha", "state": "exited",
        "health": null, "exit_code": 137, "oom_killed": true}});
    let died = Message::new("project_status", died).project("one");
    served.handle().broadcast_to_subscribers("one", &died).unwrap();
    let note = "Exited (137), SIGKILL, out of memory";
    page.until("the exit status", &format!("{} === '{note}'", cell("a1", "note")));
    assert_eq!(
        page.eval(&in_group("a1")),
        false,
        "the row does not move at once, in case of a restart"
    );
    page.until("the container in the group", &in_group("a1"));
    assert_eq!(page.eval(&format!("{}.dataset.mood", row("a1"))), "alarm");
    assert_clean(&mut page, &served);
}

/// Fails if charts only grow with live snapshots: there are none once the page is open.
#[test]
fn charts_start_with_the_history() {
    let Some(browser) = Browser::find("charts_start_with_the_history") else { return };
    let served = Served::new();
    let (tick, ticks) = bounded(1);
    served.handle().start_stats_streamer(ticks, DemoSource::new(12)).unwrap();
    let mut watcher = served.client();
    let mut seconds = BTreeSet::new();
    // The history has one point per second.
    until("snapshots in six different seconds", || {
        pause(SECOND / 10);
        tick.send(Instant::now()).unwrap();
        let snapshot = watcher.find("container_stats");
        seconds.insert(snapshot["timestamp"].as_u64());
        seconds.len() == 6
    });
    let mut page = open(browser, &served);
    for class in ["cpu", "memory", "network"] {
        for of in [".container:not(.off) ", ".project ", "#summary "] {
            let path = format!("document.querySelector('{of}.{class} .line')?.getAttribute('d')");
            page.until(
                &format!("the line of {of}{class}"),
                &format!("{path}?.match(/[ML]/g)?.length >= 4"),
            );
        }
    }
    assert_clean(&mut page, &served);
}

#[test]
fn markup_in_labels_is_shown_as_text() {
    const TEST: &str = "markup_in_labels_is_shown_as_text";
    let Some(browser) = Browser::find(TEST) else { return };
    let Some(engine) = RealEngine::find(TEST) else { return };
    let project = unique(MARKUP);
    let container = engine.start(&project, MARKUP, &["/bin/sleep", "1000"]);
    let served = serve(SECOND, DockerSource::new(engine.host.clone()));
    let mut page = open(browser, &served);

    page.until("the row of the container", &row(&container.id));
    assert_eq!(page.eval(&cell(&container.id, "service")), MARKUP);
    let heading =
        format!("{}.closest('tbody').querySelector('.heading').textContent", row(&container.id));
    assert_eq!(page.eval(&heading), project);
    // The page has read the snapshot, whose key is the name of the project.
    page.until("its figures", &format!("parseInt({}) >= 1", cell(&container.id, "pids")));
    assert_no_markup(&mut page);
    assert_clean(&mut page, &served);
}

#[test]
fn markup_from_a_source_is_shown_as_text() {
    const TEST: &str = "markup_from_a_source_is_shown_as_text";
    let Some(browser) = Browser::find(TEST) else { return };
    let fails = Arc::new(AtomicBool::new(false));
    let failing = Arc::clone(&fails);
    let served = serve(SECOND / 10, move || {
        if failing.load(Ordering::Relaxed) {
            return Err(MARKUP);
        }
        Ok(
            json!({"<i>": {"name": MARKUP, "project_id": MARKUP, "cpu_percent": MARKUP, "pids": null,
            "unavailable": {"pids": MARKUP}}}),
        )
    });
    let container = json!({"id": "<u>", "name": MARKUP, "service_name": MARKUP, "image": MARKUP,
        "state": MARKUP, "status": MARKUP, "health": MARKUP, "ports": [MARKUP]});
    let project =
        json!([{"id": MARKUP, "name": MARKUP, "status": MARKUP, "containers": [container]}]);
    served.handle().broadcast(&Message::new("project_list", project).latest()).unwrap();
    let mut page = open(browser, &served);

    page.until("both rows", &format!("{} && {}", row("<i>"), row("<u>")));
    for id in ["<i>", "<u>"] {
        assert_eq!(page.eval(&cell(id, "open")), MARKUP);
    }
    assert_eq!(page.eval(&cell("<u>", "state .word")), MARKUP);
    fails.store(true, Ordering::Relaxed);
    page.until("the error as text", &format!("{}.includes({:?})", shown("trouble"), MARKUP));
    assert_no_markup(&mut page);
    assert_clean(&mut page, &served);
}

#[test]
fn markup_is_shown_as_text_in_the_panel() {
    let Some(browser) = Browser::find("markup_is_shown_as_text_in_the_panel") else { return };
    let served = serve(SECOND / 10, || {
        Ok::<Value, String>(json!({"x": {"name": MARKUP, "project_id": MARKUP, "pids": 1}}))
    });
    let container = json!({"id": "x", "name": MARKUP, "image": MARKUP, "state": "running", "health": MARKUP, "ports": [MARKUP]});
    let project = json!([{"id": MARKUP, "name": MARKUP, "containers": [container]}]);
    served.handle().broadcast(&Message::new("project_list", project).latest()).unwrap();
    let mut page = open(browser, &served);
    page.until("the row", &row("x"));
    page.eval(&format!("{}.click()", row("x")));
    page.until("the panel", "document.getElementById('detail').open");
    assert_eq!(page.eval(&shown("detail-name")), MARKUP);
    let facts = page.eval(&shown("facts"));
    assert!(facts.as_str().unwrap().matches(MARKUP).count() >= 3, "{facts}");
    assert_no_markup(&mut page);
    assert_clean(&mut page, &served);
}

/// Otherwise [`assert_clean`] would always pass.
#[test]
fn the_harness_sees_page_errors_and_foreign_requests() {
    let Some(browser) = Browser::find("the_harness_sees_page_errors_and_foreign_requests") else {
        return;
    };
    let html = "<!doctype html><title>bad</title><script>document.title = 'run'</script>
        <img src=http://other.test/x.png><script src=bad.js></script>";
    let script = "console.error('logged'); fetch('/missing'); throw new Error('thrown')";
    let config = ServerConfig::default().page("/bad", "text/html", html).page(
        "/bad.js",
        "text/javascript",
        script,
    );
    let served = Served::with(HubConfig::default(), config);
    let mut page = browser.page();
    page.goto(&format!("http://{}/bad", served.addr()));
    for expected in ["Content Security Policy", "other.test/x.png", "logged", "thrown", "/missing"]
    {
        until(expected, || page.complaints().iter().any(|error| error.contains(expected)));
    }
    assert_eq!(page.eval("document.title"), "bad");
    // The host does not resolve, but the request is recorded.
    page.call("Page.navigate", json!({"url": "http://another.test/"}));
    until("the request", || page.requests().iter().any(|url| url == "http://another.test/"));
}

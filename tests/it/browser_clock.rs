//! The times on the dashboard, with wrong clocks: of the browser, and of the engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Instant, SystemTime};

use crossbeam_channel::bounded;
use kentros::Message;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::harness::dashboard::{
    SECOND, assert_clean, cell, open, open_with_clock, row, serve, shown,
};
use crate::harness::devtools::{Browser, Page};
use crate::harness::{Served, pause, until};

/// The age of the container: far from any other text for half an hour.
const AGE: Duration = Duration::minutes(10 * 60 + 30);
const UP: &str = "up 10 h";

struct Shop {
    served: Served,
    /// Whether collecting fails.
    fails: Arc<AtomicBool>,
    /// When the container started by the server's clock, Unix ms.
    started: i128,
}

/// One container that is [`AGE`] old, on an engine whose clock is ahead by `skew`. Without a skew the
/// samples have no timestamps, as from a custom source.
fn serve_container(skew: Option<Duration>) -> Shop {
    let fails = Arc::new(AtomicBool::new(false));
    let failing = Arc::clone(&fails);
    let mut n = 0;
    let served = serve(SECOND / 4, move || {
        if failing.load(Ordering::Relaxed) {
            return Err("no engine");
        }
        n += 1;
        let mut row = json!({"name": "web", "project_id": "shop", "cpu_percent": 1.5, "pids": n});
        if let Some(skew) = skew {
            row["timestamp"] = json!(engine_time(skew));
            row["age_ms"] = json!(0);
        }
        Ok(json!({"c0ffee": row}))
    });
    let start = OffsetDateTime::from(SystemTime::now()) - AGE;
    let started = (start + skew.unwrap_or_default()).format(&Rfc3339).unwrap();
    let container = json!({"id": "c0ffee", "name": "web", "state": "running", "status": "Up 10 hours",
        "started_at": started, "created_at": started});
    let projects =
        json!([{"id": "shop", "name": "shop", "status": "running", "containers": [container]}]);
    served.handle().broadcast(&Message::new("project_list", projects).latest()).unwrap();
    Shop { served, fails, started: start.unix_timestamp_nanos() / 1_000_000 }
}

/// The current time plus `skew`, as the engine writes it.
fn engine_time(skew: Duration) -> String {
    (OffsetDateTime::from(SystemTime::now()) + skew).format(&Rfc3339).unwrap()
}

/// JavaScript: the uptime in the row.
fn uptime() -> String {
    cell("c0ffee", "state .low")
}

/// JavaScript: a fact in the panel.
fn fact(name: &str) -> String {
    format!(
        "[...document.querySelectorAll('#facts div')]
            .find((e) => e.querySelector('dt').textContent === '{name}')?.querySelector('dd').textContent"
    )
}

/// JavaScript: whether a text ends with the time of day that it was at `at`, in Unix milliseconds.
fn is_time(text: &str, at: &str) -> String {
    format!(
        "((text, at) => {{
            const [h, m, s] = text?.match(/(\\d+):(\\d+):(\\d+)$/)?.slice(1).map(Number) ?? [];
            const off = h * 3600 + m * 60 + s - at.getHours() * 3600 - at.getMinutes() * 60 - at.getSeconds();
            // Across midnight too.
            return [0, 86400].includes(Math.round(Math.abs(off / 3)) * 3);
        }})({text}, new Date({at}))"
    )
}

/// JavaScript: the time under the right end of the first chart.
const AXIS_END: &str = "document.querySelector('#charts .axis span:last-child')?.textContent";

/// Waits until all pages show the same text.
#[track_caller]
fn until_equal(what: &str, pages: &mut [Page], expression: &str) -> Value {
    let mut texts = Vec::new();
    until(what, || {
        texts = pages.iter_mut().map(|page| page.eval(expression)).collect();
        texts.iter().all(|text| text == &texts[0] && text.as_str().is_some_and(|t| !t.is_empty()))
    });
    texts.swap_remove(0)
}

#[test]
fn a_wrong_browser_clock_changes_no_time_on_the_page() {
    const TEST: &str = "a_wrong_browser_clock_changes_no_time_on_the_page";
    let Some(browser) = Browser::find(TEST) else { return };
    let Shop { served, fails, .. } = serve_container(Some(Duration::ZERO));
    // 27 hours are always another date too.
    let mut pages = [0, 3, -3, 27].map(|ahead| open_with_clock(browser, &served, ahead));
    for page in &mut pages {
        page.until("the uptime", &format!("{} === '{UP}'", uptime()));
        page.eval(&format!("{}.click()", row("c0ffee")));
        page.until("the end of the chart's axis", &is_time(AXIS_END, "realNow()"));
    }
    until_equal("the start of the container", &mut pages, &fact("Started"));

    let mut watcher = served.client();
    fails.store(true, Ordering::Relaxed);
    let (mut last, mut unreachable) = (Value::Null, Value::Null);
    while unreachable.is_null() {
        let message = watcher.next();
        match message["type"].as_str() {
            Some("container_stats") => last = message["timestamp"].clone(),
            Some("engine_status") if message["payload"]["state"] == "unreachable" => {
                unreachable = message["payload"]["since"].clone();
            }
            _ => {}
        }
    }
    for page in &mut pages {
        page.until("a stale page", &format!("{}.startsWith('Stale since ')", shown("link-text")));
    }
    let since = until_equal("since when it is unreachable", &mut pages, &shown("pace"));
    let stale = until_equal("since when it is stale", &mut pages, &shown("link-text"));
    for (text, at) in [(&since, unreachable), (&stale, last)] {
        let is_right = is_time(&text.to_string(), &format!("{at} * 1000"));
        assert_eq!(pages[0].eval(&is_right), true, "{text} is not {at}");
    }
    for page in &mut pages {
        assert_clean(page, &served);
    }

    served.server.shutdown();
    let late = "document.getElementById('late').textContent";
    let late = until_equal("since when the offline page is stale", &mut pages, late);
    assert_eq!(late, stale.as_str().unwrap().replace("Stale", "stale"));
}

#[test]
fn setting_the_browser_clock_changes_no_time_on_an_open_page() {
    const TEST: &str = "setting_the_browser_clock_changes_no_time_on_an_open_page";
    let Some(browser) = Browser::find(TEST) else { return };
    let Shop { served, .. } = serve_container(None);
    let mut page = open_with_clock(browser, &served, 0);
    page.until("the uptime", &format!("{} === '{UP}'", uptime()));
    // The number of points of the chart: one per second.
    let points =
        "document.querySelector('.container .cpu .line').getAttribute('d')?.match(/[ML]/g)?.length";
    record(&mut page, "link-text");
    for ahead in [3, -3] {
        page.eval(&format!("clockShift = {ahead} * 3600e3"));
        let before = page.eval(&format!("{points} ?? 0"));
        page.until("more points", &format!("{points} >= {before} + 3"));
        assert_eq!(page.eval(&uptime()), UP, "{ahead} hours ahead");
    }
    assert_eq!(page.eval("recorded"), json!([]), "the page was live all the time");
    assert_eq!(page.requests().iter().filter(|url| url.starts_with("ws://")).count(), 1);

    served.server.shutdown();
    page.until("the reconnect delay", &format!("/in \\d+ s/.test({})", shown("link-text")));
    page.eval("recorded = []; clockShift = -6 * 3600e3");
    page.until("more texts", "recorded.length >= 3");
    // 30 s at most.
    let long = page.eval("recorded.filter((text) => /\\d{3}|[3-9][1-9]/.test(text))");
    assert_eq!(long, json!([]));
}

/// Records each new text of the element with this id in `recorded`.
fn record(page: &mut Page, id: &str) {
    page.eval(&format!(
        "window.recorded = [];
        new MutationObserver(() => recorded.push(document.getElementById('{id}').textContent))
            .observe(document.getElementById('{id}'), {{ subtree: true, childList: true, characterData: true }})"
    ));
}

/// A start time is the engine's, and so is the timestamp of a sample.
#[test]
fn uptimes_follow_the_engines_clock() {
    let Some(browser) = Browser::find("uptimes_follow_the_engines_clock") else { return };
    let skews = [None, Some(Duration::ZERO), Some(Duration::hours(2)), Some(Duration::hours(-2))];
    for skew in skews {
        let Shop { served, started, .. } = serve_container(skew);
        let mut page = open_with_clock(browser, &served, 3);
        page.until(&format!("{skew:?}: the uptime"), &format!("{} === '{UP}'", uptime()));
        page.eval(&format!("{}.click()", row("c0ffee")));
        // The server's time, as all others on the page.
        page.until(
            &format!("{skew:?}: the start"),
            &is_time(&fact("Started"), &started.to_string()),
        );
        assert_clean(&mut page, &served);
    }
}

/// The engine's time between two samples that are a second apart, with 10,000 bytes received, and the
/// rate on the page.
const STEPS: [(i64, &str); 8] = [
    (1000, "10kB/s"),
    // Set back by 0.9 s, which would be 100 kB/s.
    (100, "--"),
    (1000, "10kB/s"),
    (500, "--"),
    (-2000, "--"),
    (1000, "10kB/s"),
    (3_601_000, "--"),
    (1000, "10kB/s"),
];

#[test]
fn setting_the_engines_clock_gives_no_false_rate() {
    let Some(browser) = Browser::find("setting_the_engines_clock_gives_no_false_rate") else {
        return;
    };
    let skew = Arc::new(AtomicI64::new(0));
    let engine_skew = Arc::clone(&skew);
    let begin = OffsetDateTime::from(SystemTime::now());
    let served = Served::new();
    let (tick, ticks) = bounded(1);
    let mut n = 0;
    let source = move || {
        n += 1;
        let at = begin + Duration::milliseconds(engine_skew.load(Ordering::Relaxed));
        Ok::<_, String>(json!({"c0ffee": {"name": "web", "project_id": "shop", "pids": n,
            "network_rx": n * 10_000, "network_tx": 0,
            "timestamp": at.format(&Rfc3339).unwrap(), "age_ms": 0}}))
    };
    served.handle().start_stats_streamer(ticks, source).unwrap();
    let mut page = open(browser, &served);
    page.until("a connection", &format!("{} === 'Live'", shown("link-text")));
    let sample = |page: &mut Page, n: usize| {
        tick.send(Instant::now()).unwrap();
        let shown =
            format!("{} === '{n}' && {}", cell("c0ffee", "pids"), cell("c0ffee", "network .left"));
        let rate = page.until(&format!("sample {n}"), &shown);
        // The time between two samples.
        pause(SECOND);
        rate
    };
    sample(&mut page, 1);
    for (i, (elapsed, rate)) in STEPS.into_iter().enumerate() {
        skew.fetch_add(elapsed, Ordering::Relaxed);
        assert_eq!(sample(&mut page, i + 2), rate, "step {i}: {elapsed} ms");
    }
    assert_clean(&mut page, &served);
}

/// Milliseconds since the page was opened, the timestamp of a message that arrives then, the server's
/// time that follows, and the number of points in the charts: one for each message, at least 0.9 s
/// apart.
const ARRIVALS: [(u32, u32, u32, usize); 9] = [
    (0, 1000, 1000, 1),
    (1000, 1001, 1001, 2),
    // Late by four seconds.
    (5000, 1001, 1005, 3),
    (6000, 1006, 1006, 4),
    // Retained for 15 minutes.
    (7000, 107, 1007, 5),
    // The server's clock is set an hour ahead.
    (8000, 4608, 4608, 6),
    // It is set back. This message may be late; those of the next minute are not.
    (9000, 1009, 4609, 7),
    (40_000, 1040, 4640, 8),
    (75_000, 1075, 1075, 1),
];

#[test]
fn the_page_follows_the_servers_clock() {
    let Some(browser) = Browser::find("the_page_follows_the_servers_clock") else { return };
    let served = Served::new();
    let mut page = open(browser, &served);
    // Before that, the page has received the server's time.
    page.until("the history", &format!("{} === 'Live'", shown("link-text")));
    until("the history", || page.received("history") == 1);
    for (i, (elapsed, timestamp, expected, points)) in ARRIVALS.into_iter().enumerate() {
        // Later than now, both times.
        let shown = page.eval(&format!(
            "Promise.all([import('./clock.js'), import('./tracks.js')]).then(([clock, tracks]) => {{
                performance.now = () => 1e7 + {elapsed};
                clock.synchronize({{ type: 'project_list', timestamp: 1e10 + {timestamp} }});
                tracks.addContainerPoints(new Set());
                return [clock.serverNow() / 1000 - 1e10, tracks.times.length];
            }})"
        ));
        assert_eq!(shown, json!([expected, points]), "message {i}");
    }
}

//! The dashboard in a browser: servers, pages and JavaScript expressions.

use std::time::Duration;

pub(crate) use crate::demo::DemoSource;
use kentros::StatsSource;
use serde_json::{Value, json};

use super::Served;
use super::devtools::{Browser, Page};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Markup that would run a script if a page used it as HTML.
pub(crate) const MARKUP: &str = r#"<img src=x onerror="document.title='run'"><b id=run>&amp;"#;

/// A server with the stats of this source.
pub(crate) fn serve(interval: Duration, source: impl StatsSource) -> Served {
    let served = Served::new();
    served.handle().start_stats_streamer(interval, source).unwrap();
    served
}

/// A server with this many demo containers.
pub(crate) fn serve_demo(n: usize) -> Served {
    serve(SECOND / 10, DemoSource::new(n))
}

/// Three containers in two projects, with constant figures.
pub(crate) fn constant() -> Served {
    serve(SECOND / 10, || {
        let row = |name: &str, project: &str, pids: u64| json!({"name": name, "project_id": project, "pids": pids, "memory_usage": 1 << 20});
        Ok::<Value, String>(
            json!({"a1": row("alpha", "one", 30), "b2": row("beta", "one", 200), "c3": row("gamma", "two", 4)}),
        )
    })
}

/// Opens the dashboard in a new window.
pub(crate) fn open(browser: &Browser, served: &Served) -> Page {
    let mut page = browser.page();
    page.goto(&format!("http://{}/", served.addr()));
    page
}

/// Opens the dashboard in a window whose clock is ahead by this many hours. `clockShift` in the page
/// sets it again, in milliseconds; `realNow()` is the real time.
pub(crate) fn open_with_clock(browser: &Browser, served: &Served, ahead: i32) -> Page {
    let mut page = browser.page();
    let shift = format!(
        "globalThis.clockShift = {ahead} * 3600e3;
        globalThis.realNow = Date.now;
        globalThis.Date = class extends Date {{
            constructor(...time) {{ super(...(time.length ? time : [realNow() + clockShift])); }}
            static now() {{ return realNow() + clockShift; }}
        }};"
    );
    page.call("Page.addScriptToEvaluateOnNewDocument", json!({"source": shift}));
    page.goto(&format!("http://{}/", served.addr()));
    page
}

/// Checks that there were no errors and no requests to other hosts.
#[track_caller]
pub(crate) fn assert_clean(page: &mut Page, served: &Served) {
    assert_eq!(page.complaints(), Vec::<String>::new());
    let (http, ws) = (format!("http://{}/", served.addr()), format!("ws://{}/", served.addr()));
    let requests = page.requests();
    assert!(requests.iter().any(|url| url.starts_with(&ws)), "no WebSocket in {requests:?}");
    for url in requests {
        let own = url.starts_with(&http) || url.starts_with(&ws) || url.starts_with("data:");
        assert!(own, "the page requested {url}");
    }
}

/// Checks that the page has no elements from markup, and that no script changed the title.
#[track_caller]
pub(crate) fn assert_no_markup(page: &mut Page) {
    let foreign =
        "[...document.querySelectorAll('img, b, body script, main i:not(.meter), u')].length";
    assert_eq!(page.eval(foreign), 0);
    assert_eq!(page.eval("document.title"), "kentros");
}

/// JavaScript: the row of the container with this id.
pub(crate) fn row(id: &str) -> String {
    format!(r#"document.querySelector('td.id[title="{id}"]')?.closest('tr')"#)
}

/// JavaScript: the text of a cell in the row of this container.
pub(crate) fn cell(id: &str, class: &str) -> String {
    format!("{}?.querySelector('.{class}')?.textContent", row(id))
}

/// JavaScript: the text of the element with this id; empty if it is hidden.
pub(crate) fn shown(id: &str) -> String {
    format!("((e) => e.checkVisibility() ? e.textContent : '')(document.getElementById('{id}'))")
}

/// JavaScript: the names of the containers from top to bottom.
pub(crate) const NAMES: &str =
    "[...document.querySelectorAll('tr.container .open')].map((e) => e.textContent)";

/// JavaScript: the names of the groups from top to bottom.
pub(crate) const GROUPS: &str =
    "[...document.querySelectorAll('.toggle')].map((e) => e.textContent)";

/// JavaScript: clicks a menu option.
pub(crate) fn click_option(name: &str, label: &str) -> String {
    format!(
        "[...document.querySelectorAll('.menu input[name={name}]')]
            .find((e) => e.parentElement.textContent === '{label}').click()"
    )
}

/// JavaScript: chooses a value of a select.
pub(crate) fn select(id: &str, value: &str) -> String {
    format!(
        "((e) => {{ e.value = '{value}'; e.dispatchEvent(new Event('change')); }})(document.getElementById('{id}'))"
    )
}

/// JavaScript: the names of the containers once they are the same for 20 frames. A new order is
/// rendered over several frames.
pub(crate) fn settled_names() -> String {
    format!(
        "new Promise((done) => {{
            let [last, same] = ['', 0];
            const frame = () => {{
                const names = {NAMES};
                same = names.join() === last ? same + 1 : 0;
                last = names.join();
                if (same < 20) requestAnimationFrame(frame);
                else done(names);
            }};
            frame();
        }})"
    )
}

//! The dashboard in a real browser.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kentros::{DockerSource, Hub, HubConfig, Message, Server, ServerConfig, StatsSource};
use serde_json::{Value, json};

use crate::demo::DemoSource;
use crate::devtools::{Browser, Page};
use crate::harness::{Served, until};
use crate::real_engine::{RealEngine, unique};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
/// Markup that would run, if it were markup.
pub(crate) const MARKUP: &str = r#"<img src=x onerror="document.title='run'"><b id=run>&amp;"#;

/// A hub and a server, whose stats come from this source.
pub(crate) fn serve(interval: Duration, source: impl StatsSource) -> Served {
    let served = Served::new();
    served.handle().start_stats_streamer(interval, source).unwrap();
    served
}

/// Opens the dashboard in a new window.
pub(crate) fn open(browser: &Browser, served: &Served) -> Page {
    let mut page = browser.page();
    page.goto(&format!("http://{}/", served.addr()));
    page
}

/// Nothing was wrong, and nobody else was asked for anything.
#[track_caller]
pub(crate) fn assert_clean(page: &mut Page, served: &Served) {
    assert_eq!(page.complaints(), Vec::<String>::new());
    let (http, ws) = (format!("http://{}/", served.addr()), format!("ws://{}/", served.addr()));
    let requests = page.requests();
    assert!(requests.iter().any(|url| url.starts_with(&ws)), "no socket in {requests:?}");
    for url in requests {
        let own = url.starts_with(&http) || url.starts_with(&ws) || url.starts_with("data:");
        assert!(own, "the page asked {url}");
    }
}

/// JavaScript: the row of this container, by its id.
pub(crate) fn row(id: &str) -> String {
    format!(r#"document.querySelector('td.id[title="{id}"]')?.closest('tr')"#)
}

/// JavaScript: the text of a cell of this container's row.
pub(crate) fn cell(id: &str, class: &str) -> String {
    format!("{}?.querySelector('.{class}')?.textContent", row(id))
}

/// JavaScript: the text of the element with this id, none where it is hidden.
pub(crate) fn shown(id: &str) -> String {
    format!("((e) => e.checkVisibility() ? e.textContent : '')(document.getElementById('{id}'))")
}

#[test]
fn a_real_container_shows_and_changes() {
    const TEST: &str = "a_real_container_shows_and_changes";
    let Some(browser) = Browser::find(TEST) else { return };
    let Some(engine) = RealEngine::find(TEST) else { return };
    let project = unique("browser");
    let busy = engine.start(&project, "burner", &["/bin/sh", "-c", "while :; do :; done"]);
    let served = serve(SECOND, DockerSource::new(engine.host.clone()));
    let mut page = open(browser, &served);

    page.until("the container's row", &row(&busy.id));
    assert_eq!(page.eval(&cell(&busy.id, "open")), busy.name);
    assert_eq!(page.eval(&cell(&busy.id, "service")), "burner");
    let heading =
        format!("{}.closest('tbody').querySelector('.heading').textContent", row(&busy.id));
    assert_eq!(page.eval(&heading), project);
    page.until("its state", &format!("{} === 'running'", cell(&busy.id, "state .word")));

    let cpu = cell(&busy.id, "cpu .left");
    let busy_now =
        format!("((text) => text?.endsWith('%') && parseFloat(text) > 5 && text)({cpu})");
    // One that sleeps has 0.00 %. This one has a core, where nothing else wants it.
    let first = page.until("a busy container's CPU", &busy_now);
    let changed = format!("((text) => text?.endsWith('%') && text !== {first} && text)({cpu})");
    page.until("another figure", &changed);
    assert_clean(&mut page, &served);

    busy.act("kill");
    page.until("the end", &format!("{} === 'exited'", cell(&busy.id, "state .word")));
    // 137 is 128 + SIGKILL.
    page.until("how it ended", &format!("{}?.includes('(137)')", cell(&busy.id, "note")));
    assert_clean(&mut page, &served);
}

#[test]
fn markup_in_labels_is_text() {
    const TEST: &str = "markup_in_labels_is_text";
    let Some(browser) = Browser::find(TEST) else { return };
    let Some(engine) = RealEngine::find(TEST) else { return };
    let project = unique(MARKUP);
    let container = engine.start(&project, MARKUP, &["/bin/sleep", "1000"]);
    let served = serve(SECOND, DockerSource::new(engine.host.clone()));
    let mut page = open(browser, &served);

    page.until("the container's row", &row(&container.id));
    assert_eq!(page.eval(&cell(&container.id, "service")), MARKUP);
    let heading =
        format!("{}.closest('tbody').querySelector('.heading').textContent", row(&container.id));
    assert_eq!(page.eval(&heading), project);
    // Its figures are there too: the snapshot, keyed by such a project, was read.
    page.until("its figures", &format!("parseInt({}) >= 1", cell(&container.id, "pids")));
    assert_no_markup(&mut page);
    assert_clean(&mut page, &served);
}

#[test]
fn markup_of_a_source_is_text() {
    const TEST: &str = "markup_of_a_source_is_text";
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

/// Nothing but the page's own kinds of element is in it, and nothing ran.
#[track_caller]
pub(crate) fn assert_no_markup(page: &mut Page) {
    let foreign =
        "[...document.querySelectorAll('img, b, body script, main i:not(.meter), u')].length";
    assert_eq!(page.eval(foreign), 0);
    assert_eq!(page.eval("document.title"), "kentros");
}

/// Seconds until something of the page was to be seen.
fn painted_after(page: &mut Page) -> f64 {
    let paint = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime";
    page.until("a paint", paint).as_f64().unwrap() / 1000.0
}

#[test]
fn the_first_paint_waits_for_the_style_alone_and_not_for_containers() {
    const TEST: &str = "the_first_paint_waits_for_the_style_alone_and_not_for_containers";
    let Some(browser) = Browser::find(TEST) else { return };
    let served = serve(SECOND, DemoSource::new(500));
    let mut page = browser.page();
    // What the browser itself takes, new and used.
    let mut bare = || {
        page.goto("data:text/html,<title>bare</title>bare");
        painted_after(&mut page)
    };
    let (bare_new, mut bares) = (bare(), [(); 5].map(|()| bare()));
    let mut page = browser.page();
    page.goto(&format!("http://{}/", served.addr()));
    let new = painted_after(&mut page);
    let mut used = [(); 5].map(|()| {
        page.until("500 rows", "document.querySelectorAll('tr.container').length === 500");
        page.reload();
        painted_after(&mut page)
    });
    for times in [&mut bares, &mut used] {
        times.sort_by(f64::total_cmp);
    }
    println!(
        "first paint after {new:.3} s in a new window, then {:.3} s; of a bare page {bare_new:.3} and {:.3} s",
        used[2], bares[2]
    );
    let blocking = "performance.getEntriesByType('resource')
        .filter((one) => one.renderBlockingStatus === 'blocking')
        .map((one) => one.name.split('/').at(-1)).sort()";
    assert_eq!(page.eval(blocking), json!(["style.css", "theme.js"]));
}

#[test]
fn five_hundred_containers() {
    let Some(browser) = Browser::find("five_hundred_containers") else { return };
    let served = serve(SECOND, DemoSource::new(500));
    let mut page = browser.page();
    // The page's own time, whatever else the machine does.
    page.call("Performance.enable", json!({"timeDomain": "threadTicks"}));
    page.goto(&format!("http://{}/", served.addr()));

    page.until("500 rows", "document.querySelectorAll('tr.container').length === 500");
    page.until(
        "a figure in each row that runs, in sight or not",
        "[...document.querySelectorAll('tr.container:not(.off)')]
            .every((row) => /^[\\d.]+%$/.test(row.querySelector('.cpu .left')?.textContent))",
    );
    let worked = page.metric("TaskDuration");
    println!("500 rows and their figures: {worked:.3} s of work");
    // Far more than an idle machine takes.
    assert!(worked < 10.0, "{worked} s of work");

    assert_eq!(page.eval("document.querySelectorAll('tr.project').length"), 26);
    page.until("totals that are the sum of their rows", "[...document.querySelectorAll('tbody')].slice(0, -1).every((group) => {
        const pids = (row) => Number(row.querySelector('.pids')?.textContent);
        const [head, ...rows] = group.rows;
        const running = rows.filter((row) => !row.classList.contains('off'));
        return pids(head) > 0 && pids(head) === running.map(pids).reduce((a, b) => a + b)
            && head.querySelector('.quiet').textContent.startsWith(`${running.length} of ${running.length} sampled`)
            && /^[\\d.]+%$/.test(head.querySelector('.cpu .left')?.textContent);
    })");
    let summary = page.eval("document.getElementById('summary').textContent");
    assert!(summary.as_str().unwrap().contains(" of 500"), "{summary}");
    stays_smooth(&mut page);

    assert_eq!(page.eval(&shown("demo")), "Demo");
    assert_eq!(page.eval("document.title"), "kentros (demo)");
    assert_clean(&mut page, &served);
}

/// While 500 containers are live, a snapshot costs the page little and frames go on.
fn stays_smooth(page: &mut Page) {
    page.eval("document.querySelector('th.cpu .sort').click()");
    page.until("the order", "document.querySelector('th.cpu').ariaSort === 'descending'");
    // What one frame writes comes as one batch. To lay out and paint a row costs far more.
    page.eval(
        "window.seen = { most: 0, moved: 0, orders: 0 };
        new MutationObserver((changes) => {
            const rows = new Set(changes.map(({ target }) => target.parentElement?.closest('tr')));
            const inSight = [...rows].filter((row) => {
                const { top, bottom } = row?.getBoundingClientRect() ?? {};
                return bottom > 0 && top < innerHeight;
            });
            seen.most = Math.max(seen.most, inSight.length);
            seen.moved += changes.filter(({ type }) => type === 'childList').length;
            seen.orders += changes.some(({ target }) => target.parentElement?.className === 'open');
        }).observe(document.getElementById('table'), { subtree: true, childList: true, characterData: true })",
    );
    let before = page.metric("TaskDuration");
    let frames = page.eval(
        "new Promise((done) => {
        const gaps = [];
        let last = performance.now();
        const frame = (now) => {
            gaps.push(now - last);
            last = now;
            if (gaps.length < 300) return requestAnimationFrame(frame);
            const seconds = gaps.reduce((a, b) => a + b) / 1000;
            const late = gaps.filter((gap) => gap > 25).length / gaps.length;
            done([seconds, gaps.sort((a, b) => a - b)[150] / 1000, late]);
        };
        requestAnimationFrame(frame);
    })",
    );
    let [seconds, median, late]: [f64; 3] = serde_json::from_value(frames).unwrap();
    let worked = (page.metric("TaskDuration") - before) / seconds;
    println!(
        "each second {worked:.3} s of work; half of the frames within {median:.4} s, {:.1} % late",
        late * 100.0
    );
    page.until("a new order", "seen.orders > 0");
    let most = page.eval("seen.most").as_u64().unwrap();
    assert!((1..=6).contains(&most), "{most} rows in sight were written in one frame");
    let moved = page.eval("seen.moved").as_u64().unwrap();
    assert!(moved < 100, "a new order moved rows: {moved} changes");
    // Far more than an idle machine takes: 60 frames a second, and a fifth of a core.
    assert!(median < 0.2, "half of the frames take more than {median} s");
    assert!(worked < 1.0, "{worked} s of work each second");
}

#[test]
fn light_dark_and_narrow() {
    let Some(browser) = Browser::find("light_dark_and_narrow") else { return };
    let served = serve(SECOND, DemoSource::new(40));
    let mut page = open(browser, &served);
    page.until("rows", "document.querySelectorAll('tr.container').length === 40");
    page.until(
        "figures",
        "/%$/.test(document.querySelector('.container .cpu .left')?.textContent)",
    );

    for width in [320, 360, 375, 600, 760, 768, 900, 940, 1024, 1090, 1091, 1280, 1920] {
        page.resize(width, 800, 1.0);
        let wide = page
            .eval("document.documentElement.scrollWidth - document.documentElement.clientWidth");
        assert_eq!(wide, 0, "a window of {width} px scrolls sideways");
        let outside = page.eval("[...document.querySelectorAll('header.bar *, #summary *, tr:nth-child(-n+5) > *')]
            .filter((e) => e.checkVisibility() && !e.closest('.unseen') && e.getBoundingClientRect().right > innerWidth + 0.5)
            .map((e) => e.outerHTML)");
        assert_eq!(outside, json!([]), "cut off in a window of {width} px");
        let inside = page.eval("[...document.querySelectorAll('td.figure')].slice(0, 60)
            .filter((e) => e.checkVisibility() && e.scrollWidth > e.clientWidth).map((e) => e.textContent)");
        assert_eq!(inside, json!([]), "cut off in its column in a window of {width} px");
        let names = page.eval("[...document.querySelectorAll('.toggle')].filter((e) => {
            // As long as it may be.
            e.closest('.title').querySelector('.quiet').firstChild.data = '2 of 2 sampled, 1 not running';
            return e.scrollWidth > e.clientWidth;
        }).map((e) => e.textContent)");
        assert_eq!(names, json!([]), "a project's name cut off in a window of {width} px");
        // Where a row fits, it is one: a phone has cards.
        let rows = page.eval(
            "[...document.querySelectorAll('.container')].slice(0, 9).map((e) => e.offsetHeight)",
        );
        let flat = rows.as_array().unwrap().iter().all(|height| height == 48);
        assert_eq!(flat, width >= 760, "{rows} px high in a window of {width} px");
        if width < 760 {
            // One beside the other, figures begin on one line.
            let tops = page.eval("['cpu memory', 'share network', 'pids block'].map((pair) => {
                const [a, b] = pair.split(' ').map((key) => document.querySelector(`.container:not(.off) .${key}`));
                return Math.abs(a.getBoundingClientRect().top - b.getBoundingClientRect().top);
            })");
            let aligned = width < 375 || tops == json!([0, 0, 0]);
            assert!(aligned, "{tops} px apart in a window of {width} px");
        }
    }

    let mut pictures = Vec::new();
    for (name, width, scheme) in
        [("light", 1280, "light"), ("dark", 1280, "dark"), ("phone", 375, "light")]
    {
        page.resize(width, 800, 1.0);
        page.prefer(scheme);
        let [ground, text, quiet, accent] = brightness(&mut page);
        assert_eq!(ground < 0.1, scheme == "dark", "the ground is {ground} in {scheme}");
        // WCAG 2.2, 1.4.3 and 1.4.11: 4.5 for text, 3 for signs.
        for (what, colour, least) in
            [("text", text, 4.5), ("quiet", quiet, 4.5), ("accent", accent, 3.0)]
        {
            let contrast = (colour.max(ground) + 0.05) / (colour.min(ground) + 0.05);
            assert!(contrast > least, "{what} has a contrast of {contrast} in {scheme}");
        }
        let picture = page.picture();
        // For a person to look at: target/tmp/dashboard-*.png.
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("dashboard-{name}.png"));
        fs::write(file, &picture).unwrap();
        assert_eq!(picture[16..20], width.to_be_bytes(), "a PNG's width");
        assert!(!pictures.contains(&picture), "{name} looks like another");
        pictures.push(picture);
    }
    page.eval("document.querySelector('.container:not(.off)').click()");
    page.until("charts", "document.querySelector('figure .line').getAttribute('d')");
    let wide = "((e) => e.scrollWidth - e.clientWidth)(document.getElementById('detail'))";
    assert_eq!(page.eval(wide), 0, "a close look scrolls sideways on a phone");
    assert_clean(&mut page, &served);
}

/// The relative luminance (WCAG 2.2) of the ground, the text, quiet text and the accent.
fn brightness(page: &mut Page) -> [f64; 4] {
    let luminances = page.eval("(() => {
        const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
        const luminance = (colour) => {
            canvas.fillStyle = colour;
            canvas.fillRect(0, 0, 1, 1);
            const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data]
                .map((x) => x / 255).map((x) => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const style = (selector) => getComputedStyle(document.querySelector(selector));
        return [style('body').backgroundColor, style('body').color, style('.quiet').color,
            style('h1 svg').stroke].map(luminance);
    })()");
    serde_json::from_value(luminances).unwrap()
}

#[test]
fn the_page_lives_again_after_a_restart() {
    let Some(browser) = Browser::find("the_page_lives_again_after_a_restart") else { return };
    let served = serve(SECOND / 10, DemoSource::new(20));
    let addr = served.addr();
    let mut page = open(browser, &served);
    page.until("a live page", &format!("{} === 'Live'", shown("link-text")));
    page.until("rows", "document.querySelectorAll('tr.container').length === 20");
    page.eval("document.querySelector('.container:not(.off)').click()");
    let colour = "getComputedStyle(document.querySelector('figcaption .legend0')).color";
    let live = page.until(
        "a chart's figure",
        &format!("document.querySelector('figcaption .legend0') && {colour}"),
    );
    assert_eq!(page.eval(&shown("detail-trouble")), "");
    assert_clean(&mut page, &served);

    served.server.shutdown();
    served.hub.shutdown();
    page.until("the loss", &format!("{}.startsWith('Reconnecting')", shown("link-text")));
    page.until("stale figures", "document.body.classList.contains('stale')");
    assert_eq!(page.eval("document.querySelectorAll('tr.container').length"), 20);
    // The panel covers the header: it says so itself.
    let in_panel = shown("detail-trouble");
    page.until("the loss, in the panel", &format!("{in_panel}.startsWith('Reconnecting')"));
    page.until("since when", &format!("{in_panel}.includes(', stale since ')"));
    assert_ne!(page.eval(colour), live);
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
    assert!(sockets < 12, "{sockets} attempts: the page does not wait between them");
}

#[test]
fn the_page_says_that_the_engine_is_gone() {
    const WHY: &str = "nothing listens at /run/engine.sock";
    let Some(browser) = Browser::find("the_page_says_that_the_engine_is_gone") else { return };
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
    page.until("the trouble, before any row", &format!("{}.includes('{WHY}')", shown("empty")));
    assert_eq!(page.eval(&shown("engine")), "Engine unreachable");

    gone.store(false, Ordering::Relaxed);
    page.until(
        "figures",
        &format!("{} && {} === 'Live'", cell("c0ffee", "pids"), shown("link-text")),
    );
    assert_eq!(page.eval(&shown("trouble")), "");
    assert_eq!(page.eval(&shown("engine")), "", "a source that names no engine");
    page.eval(&format!("{}.click()", row("c0ffee")));

    gone.store(true, Ordering::Relaxed);
    page.until("the trouble, above the rows", &format!("{}.includes('{WHY}')", shown("trouble")));
    page.until("since when", &format!("{}.startsWith('Stale since')", shown("link-text")));
    let in_panel = page.eval(&shown("detail-trouble"));
    let in_panel = in_panel.as_str().unwrap();
    assert!(in_panel.starts_with("Stale since") && in_panel.contains(WHY), "{in_panel}");
    assert_eq!(page.eval("document.body.classList.contains('stale')"), true);
    let last = page.eval(&cell("c0ffee", "pids"));

    gone.store(false, Ordering::Relaxed);
    page.until(
        "life",
        &format!("{} === 'Live' && {} !== {last}", shown("link-text"), cell("c0ffee", "pids")),
    );
    assert_eq!(page.eval("document.body.classList.contains('stale')"), false);
    assert_clean(&mut page, &served);
}

/// What [`assert_clean`] forbids, the driver sees.
#[test]
fn the_driver_sees_what_is_wrong() {
    let Some(browser) = Browser::find("the_driver_sees_what_is_wrong") else { return };
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
    for due in ["Content Security Policy", "other.test/x.png", "logged", "thrown", "/missing"] {
        until(due, || page.complaints().iter().any(|complaint| complaint.contains(due)));
    }
    assert_eq!(page.eval("document.title"), "bad");
    // No such host is found, but that it was asked for is seen.
    page.call("Page.navigate", json!({"url": "http://another.test/"}));
    until("the request", || page.requests().iter().any(|url| url == "http://another.test/"));
}

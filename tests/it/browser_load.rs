//! The work that the dashboard causes in the browser.

use serde_json::json;

use crate::harness::dashboard::{
    DemoSource, NAMES, SECOND, assert_clean, open, serve, serve_demo, shown,
};
use crate::harness::devtools::{Browser, Page};
use crate::harness::until;

#[test]
fn the_first_paint_waits_only_for_the_stylesheet_and_the_theme() {
    const TEST: &str = "the_first_paint_waits_only_for_the_stylesheet_and_the_theme";
    let Some(browser) = Browser::find(TEST) else { return };
    let served = serve(SECOND, DemoSource::new(500));
    let mut page = browser.page();
    // For comparison, the browser without the dashboard: a new window, then a used one.
    let mut bare = || {
        page.goto("data:text/html,<title>bare</title>bare");
        first_paint(&mut page)
    };
    let (bare_new, mut bares) = (bare(), [(); 5].map(|()| bare()));
    let mut page = browser.page();
    page.goto(&format!("http://{}/", served.addr()));
    let new = first_paint(&mut page);
    let mut used = [(); 5].map(|()| {
        page.until("500 rows", "document.querySelectorAll('tr.container').length === 500");
        page.reload();
        first_paint(&mut page)
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

/// The time of the first contentful paint in seconds.
fn first_paint(page: &mut Page) -> f64 {
    let paint = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime";
    page.until("a paint", paint).as_f64().unwrap() / 1000.0
}

#[test]
fn five_hundred_containers_are_rendered_with_few_writes() {
    let Some(browser) = Browser::find("five_hundred_containers_are_rendered_with_few_writes")
    else {
        return;
    };
    let served = serve(SECOND, DemoSource::new(500));
    let mut page = browser.page();
    // Measures CPU time of the page, which a busy machine does not change.
    page.call("Performance.enable", json!({"timeDomain": "threadTicks"}));
    page.goto(&format!("http://{}/", served.addr()));

    page.until("500 rows", "document.querySelectorAll('tr.container').length === 500");
    page.until(
        "a CPU usage in each running row, visible or not",
        "[...document.querySelectorAll('tr.container:not(.off)')]
            .every((row) => /^[\\d.]+%$/.test(row.querySelector('.cpu .left')?.textContent))",
    );
    let worked = page.metric("TaskDuration");
    println!("500 rows and their figures: {worked:.3} s of CPU time");
    // Many times the usual figure.
    assert!(worked < 10.0, "{worked} s of CPU time");

    assert_eq!(page.eval("document.querySelectorAll('tr.project').length"), 26);
    page.until("totals that equal the sum of their rows", "[...document.querySelectorAll('tbody')].slice(0, -1).every((group) => {
        const pids = (row) => Number(row.querySelector('.pids')?.textContent);
        const [head, ...rows] = group.rows;
        const running = rows.filter((row) => !row.classList.contains('off'));
        return pids(head) > 0 && pids(head) === running.map(pids).reduce((a, b) => a + b)
            && head.querySelector('.quiet').textContent.startsWith(`${running.length} of ${running.length} sampled`)
            && /^[\\d.]+%$/.test(head.querySelector('.cpu .left')?.textContent);
    })");
    let summary = page.eval("document.getElementById('summary').textContent");
    assert!(summary.as_str().unwrap().contains(" of 500"), "{summary}");
    assert_few_writes(&mut page);

    assert_eq!(page.eval(&shown("demo")), "Demo");
    assert_eq!(page.eval("document.title"), "kentros (demo)");
    assert_clean(&mut page, &served);
}

/// Checks that during 300 frames the page writes few rows per frame, and moves none to sort them.
fn assert_few_writes(page: &mut Page) {
    page.eval("document.querySelector('th.cpu .sort').click()");
    page.until("the sort order", "document.querySelector('th.cpu').ariaSort === 'descending'");
    // An observer gets all changes of a frame at once. Changes of hidden rows are cheap.
    page.eval(
        "window.seen = { most: 0, moved: 0, orders: 0 };
        new MutationObserver((changes) => {
            const rows = new Set(changes.map(({ target }) => target.parentElement?.closest('tr')));
            const visible = [...rows].filter((row) => {
                const { top, bottom } = row?.getBoundingClientRect() ?? {};
                return bottom > 0 && top < innerHeight;
            });
            seen.most = Math.max(seen.most, visible.length);
            seen.moved += changes.filter(({ type }) => type === 'childList').length;
            seen.orders += changes.some(({ target }) => target.parentElement?.className === 'open');
        }).observe(document.getElementById('table'), { subtree: true, childList: true, characterData: true })",
    );
    page.eval(
        "new Promise((done) => {
            let frames = 0;
            const frame = () => (++frames < 300 ? requestAnimationFrame(frame) : done(true));
            frame();
        })",
    );
    page.until("a new order", "seen.orders > 0");
    let most = page.eval("seen.most").as_u64().unwrap();
    assert!((1..=6).contains(&most), "{most} visible rows were written in one frame");
    let moved = page.eval("seen.moved").as_u64().unwrap();
    assert!(moved < 100, "sorting moved rows: {moved} changes");
}

#[test]
fn a_hidden_page_does_not_render() {
    let Some(browser) = Browser::find("a_hidden_page_does_not_render") else { return };
    let served = serve_demo(12);
    let mut page = open(browser, &served);
    page.until("rows", &format!("{NAMES}.length === 12"));
    set_hidden(&mut page, true);
    page.eval("window.changes = 0;
        new MutationObserver((all) => { window.changes += all.length; })
            .observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true })");
    let before = page.received("container_stats");
    until("snapshots", || page.received("container_stats") > before + 5);
    assert_eq!(page.eval("window.changes"), 0);
    set_hidden(&mut page, false);
    page.until("changes", "window.changes > 0");
    assert_clean(&mut page, &served);
}

/// Makes the page believe that it is hidden or visible. A headless window is never hidden.
fn set_hidden(page: &mut Page, hidden: bool) {
    page.eval(&format!(
        "Object.defineProperty(document, 'hidden', {{ configurable: true, get: () => {hidden} }});
        document.dispatchEvent(new Event('visibilitychange'))"
    ));
    // Waits for frames that were requested before.
    page.eval("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))");
}

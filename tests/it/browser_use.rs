//! What a visitor does with the dashboard: searches, orders, chooses, looks closer.

use kentros::Message;
use serde_json::{Value, json};

use crate::browser::{MARKUP, SECOND, assert_clean, assert_no_markup, open, row, serve, shown};
use crate::demo::DemoSource;
use crate::devtools::Browser;
use crate::harness::Served;

/// JavaScript: the names of the rows, from the top.
pub(crate) const NAMES: &str =
    "[...document.querySelectorAll('tr.container .open')].map((e) => e.textContent)";
/// JavaScript: the names of the groups, from the top.
pub(crate) const GROUPS: &str =
    "[...document.querySelectorAll('.toggle')].map((e) => e.textContent)";

/// JavaScript: the same, once they have stayed for some frames: a new order is written over several.
fn settled_names() -> String {
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

/// JavaScript: clicks a control of the menu.
fn tick(name: &str, label: &str) -> String {
    format!(
        "[...document.querySelectorAll('.menu input[name={name}]')]
            .find((e) => e.parentElement.textContent === '{label}').click()"
    )
}

/// JavaScript: chooses a value in a select.
fn select(id: &str, value: &str) -> String {
    format!(
        "((e) => {{ e.value = '{value}'; e.dispatchEvent(new Event('change')); }})(document.getElementById('{id}'))"
    )
}

pub(crate) fn demo(n: usize) -> Served {
    serve(SECOND / 10, DemoSource::new(n))
}

/// Three containers whose figures never change, in two projects.
pub(crate) fn steady() -> Served {
    serve(SECOND / 10, || {
        let row = |name: &str, project: &str, pids: u64| json!({"name": name, "project_id": project, "pids": pids, "memory_usage": 1 << 20});
        Ok::<Value, String>(
            json!({"a1": row("alpha", "one", 30), "b2": row("beta", "one", 200), "c3": row("gamma", "two", 4)}),
        )
    })
}

#[test]
fn search_filters_and_order_stand_in_the_url() {
    let Some(browser) = Browser::find("search_filters_and_order_stand_in_the_url") else { return };
    let served = demo(40);
    let mut page = open(browser, &served);
    page.until("rows", &format!("{NAMES}.length === 40"));

    // With a modifier it is the browser's.
    for modifier in ["ctrlKey", "altKey", "metaKey"] {
        page.eval(&format!(
            "document.body.dispatchEvent(new KeyboardEvent('keydown', {{ key: '/', {modifier}: true, bubbles: true }}))"
        ));
        assert_ne!(page.eval("document.activeElement.id"), "search", "{modifier}");
    }
    page.press("/");
    assert_eq!(page.eval("document.activeElement.id"), "search");
    page.enter("shop WEB");
    page.until("what is searched for", &format!("{NAMES}.join() === 'shop-web-1'"));
    assert_eq!(page.eval(&shown("count")), "1 of 40");
    page.enter("nothing has this");
    page.until("nothing", &format!("{}.includes('No matching containers')", shown("empty")));
    page.eval("document.getElementById('unfilter').click()");
    page.until("all again", &format!("{NAMES}.length === 40 && location.search === ''"));

    page.eval(&select("project", "blog"));
    page.until("one project", &format!("{GROUPS}.join() === 'blog'"));
    page.eval(&select("project", "shop"));
    page.eval(&select("state", "unhealthy"));
    page.until("who is unhealthy", &format!("{NAMES}.join() === 'shop-mailer-1'"));
    page.eval(&select("state", "running"));
    page.eval("document.querySelector('th.name .sort').click()");
    let order = "document.querySelector('th.name').ariaSort";
    page.until("the other order", &format!("{order} === 'descending'"));
    let names = page.eval(&settled_names());
    let sorted =
        format!("{NAMES}.length > 3 && {NAMES}.every((n, i, all) => i === 0 || all[i - 1] > n)");
    assert_eq!(page.eval(&sorted), true, "{names}");
    assert_eq!(page.eval("location.search"), "?project=shop&state=running&sort=-name");

    page.reload();
    page.until("the same rows", &format!("{NAMES}.join() === '{}'", join(&names)));
    assert_eq!(page.eval("document.getElementById('project').value"), "shop");
    assert_eq!(page.eval("document.getElementById('state').value"), "running");
    assert_eq!(page.eval(order), "descending");
    assert_clean(&mut page, &served);
}

fn join(names: &Value) -> String {
    let names = names.as_array().unwrap().iter().map(|name| name.as_str().unwrap());
    names.collect::<Vec<_>>().join(",")
}

#[test]
fn columns_theme_unit_and_groups_are_kept_in_the_browser() {
    const TEST: &str = "columns_theme_unit_and_groups_are_kept_in_the_browser";
    let Some(browser) = Browser::find(TEST) else { return };
    let served = demo(12);
    let mut page = open(browser, &served);
    page.until("rows", &format!("{NAMES}.length === 12"));
    let cpu = "document.querySelector('tr.container:not(.off) .cpu .left')?.textContent";
    page.until("its CPU", &format!("/%$/.test({cpu})"));

    let seen = "JSON.stringify([
        document.querySelector('td.pids').checkVisibility(),
        document.querySelector('td.service').checkVisibility(),
        getComputedStyle(document.documentElement).colorScheme,
        document.querySelector('th.cpu .sort').textContent,
        /^\\d+\\.\\d\\d$/.test(document.querySelector('tr.container:not(.off) .cpu .left')?.textContent),
        document.querySelector('.toggle').ariaExpanded,
    ])";
    assert_eq!(page.eval(seen), r#"[true,false,"light dark","CPU %",false,"true"]"#);
    page.eval(&tick("pids", "PIDs"));
    page.eval(&tick("service", "Service"));
    page.eval(&tick("theme", "dark"));
    page.eval(&tick("cpu", "cores"));
    page.eval("document.querySelector('.toggle').click()");
    let chosen = r#"[false,true,"dark","CPU CORES",true,"false"]"#;
    page.until("the choices", &format!("{seen} === '{chosen}'"));
    // The first group is closed: its rows are gone, its sums are not.
    assert_eq!(page.eval("document.querySelector('tbody').rows.length"), 1);
    let light = page.eval("getComputedStyle(document.body).backgroundColor");

    page.reload();
    page.until("the same", &format!("document.querySelector('.toggle') && {seen} === '{chosen}'"));
    assert_eq!(page.eval("getComputedStyle(document.body).backgroundColor"), light);
    page.eval(&tick("grouped", "by project"));
    page.until("no groups", &format!("{NAMES}.length === 12 && {GROUPS}.join() === 'Stopped'"));

    // Percent of the host's 8 cores, which is never more than 100, and as many cores.
    page.eval(&tick("cpu", "% of the host"));
    page.until("percent of the host", &format!("/^\\d\\d?\\.\\d\\d%$/.test({cpu})"));
    page.eval(&tick("cpu", "% of the limit"));
    page.until("the head", "document.querySelector('th.cpu .sort').textContent === 'CPU % LIMIT'");
    assert_clean(&mut page, &served);
}

#[test]
fn a_browser_that_keeps_nothing_still_shows_everything() {
    const TEST: &str = "a_browser_that_keeps_nothing_still_shows_everything";
    let Some(browser) = Browser::find(TEST) else { return };
    let served = demo(12);
    let mut page = browser.page();
    let none =
        "Object.defineProperty(window, 'localStorage', { get() { throw new Error('none'); } })";
    page.call("Page.addScriptToEvaluateOnNewDocument", json!({"source": none}));
    page.goto(&format!("http://{}/", served.addr()));
    page.until("rows", &format!("{NAMES}.length === 12"));
    page.eval(&tick("theme", "dark"));
    page.until("dark", "getComputedStyle(document.documentElement).colorScheme === 'dark'");
    assert_clean(&mut page, &served);
}

#[test]
fn a_press_on_a_head_orders_by_its_column() {
    let Some(browser) = Browser::find("a_press_on_a_head_orders_by_its_column") else { return };
    let served = steady();
    let mut page = open(browser, &served);
    page.until("by name", &format!("{NAMES}.join() === 'alpha,beta,gamma'"));
    page.eval("document.querySelector('th.pids .sort').click()");
    page.until("the greatest first", &format!("{NAMES}.join() === 'beta,alpha,gamma'"));
    assert_eq!(page.eval("document.querySelector('th.pids').ariaSort"), "descending");
    assert_eq!(page.eval("document.querySelector('th.name').ariaSort"), "none");
    page.eval("document.querySelector('th.pids .sort').click()");
    page.until("the least first", &format!("{NAMES}.join() === 'alpha,beta,gamma'"));
    page.eval(&tick("grouped", "by project"));
    page.until("across projects", &format!("{NAMES}.join() === 'gamma,alpha,beta'"));
    assert_clean(&mut page, &served);
}

#[test]
fn the_order_changes_at_most_every_five_seconds() {
    let Some(browser) = Browser::find("the_order_changes_at_most_every_five_seconds") else {
        return;
    };
    let served = demo(40);
    let mut page = browser.page();
    page.goto(&format!("http://{}/?sort=-cpu", served.addr()));
    page.until(
        "figures",
        "/%$/.test(document.querySelector('.container .cpu .left')?.textContent)",
    );
    let gaps = page.eval(&format!(
        "new Promise((done) => {{
            let [order, last] = [{NAMES}.join(), -Infinity];
            const changes = [];
            new MutationObserver(() => {{
                const now = {NAMES}.join();
                if (now === order) return;
                // The rows take some frames.
                const goesOn = performance.now() - last < 2500;
                [order, last] = [now, performance.now()];
                if (goesOn) return;
                changes.push(last);
                if (changes.length === 3) done([changes[1] - changes[0], changes[2] - changes[1]]);
            }}).observe(document.getElementById('table'), {{ childList: true, characterData: true, subtree: true }});
        }})"
    ));
    for gap in gaps.as_array().unwrap() {
        assert!(gap.as_f64().unwrap() > 4800.0, "{gaps}");
    }
}

#[test]
fn a_row_opens_by_keyboard_and_closes_by_escape() {
    let Some(browser) = Browser::find("a_row_opens_by_keyboard_and_closes_by_escape") else {
        return;
    };
    let served = demo(12);
    let mut page = open(browser, &served);
    page.until("rows", &format!("{NAMES}.length === 12"));
    page.until("a CPU", "/%$/.test(document.querySelector('.container .cpu .left')?.textContent)");
    // The table is one stop of the Tab key; arrows go on from there.
    assert_eq!(page.eval("document.querySelectorAll('tbody button[tabindex=\"0\"]').length"), 1);
    page.eval("document.querySelector('tbody button[tabindex=\"0\"]').focus()");
    page.press("ArrowDown");
    let name = page.eval(&format!("{NAMES}[0]"));
    assert_eq!(page.eval("document.activeElement.textContent"), name);

    page.press("Enter");
    page.until("the panel", "document.getElementById('detail').open");
    assert_eq!(page.eval(&shown("detail-name")), name);
    page.until(
        "four charts with lines",
        "document.querySelectorAll('figure').length === 4
            && [...document.querySelectorAll('figure')].every((e) => e.querySelector('.line').getAttribute('d')?.includes('L'))",
    );
    let said = page.eval("document.querySelector('figure svg').ariaLabel ?? document.querySelector('figure svg').getAttribute('aria-label')");
    let said = said.as_str().unwrap();
    assert!(said.starts_with("CPU, last five minutes: used ") && said.contains('%'), "{said}");

    page.press("Escape");
    page.until("no panel", "!document.getElementById('detail').open");
    assert_eq!(page.eval("document.activeElement.textContent"), name, "the focus is back");
    assert_clean(&mut page, &served);
}

#[test]
fn the_menu_lies_above_the_table() {
    let Some(browser) = Browser::find("the_menu_lies_above_the_table") else { return };
    let served = demo(40);
    let mut page = open(browser, &served);
    page.until("rows", &format!("{NAMES}.length === 40"));
    page.eval("document.querySelector('#view summary').click()");
    for width in [360, 1024, 1280] {
        page.resize(width, 800, 1.0);
        let covered = page.eval(
            "[...document.querySelectorAll('.menu input')].filter((input) => {
                input.scrollIntoView({ block: 'center' });
                const { left, top, width, height } = input.getBoundingClientRect();
                const hit = document.elementFromPoint(left + width / 2, top + height / 2);
                return !input.parentElement.contains(hit);
            }).map((input) => input.parentElement.textContent)",
        );
        assert_eq!(covered, json!([]), "out of reach in a window of {width} px");
    }
    assert_clean(&mut page, &served);
}

#[test]
fn a_figure_is_told_under_its_own_head() {
    const TEST: &str = "a_figure_is_told_under_its_own_head";
    let Some(browser) = Browser::find(TEST) else { return };
    let served = demo(12);
    let mut page = open(browser, &served);
    page.until("a row that stopped", "document.querySelector('tr.container.off')");
    page.until(
        "figures in each row that runs, in sight or not",
        "[...document.querySelectorAll('.container:not(.off)')].every((row) => row.querySelector('.cpu'))",
    );
    let heads = "[...document.querySelectorAll('thead th')].filter((e) => e.checkVisibility())";
    // A row's cells take up as many columns as there are heads.
    let wrong = format!(
        "[...document.querySelectorAll('tbody tr:not(.project.off)')].filter((row) => {{
            const cells = [...row.cells].filter((e) => e.checkVisibility());
            const columns = cells.map((e) => Number(e.getAttribute('aria-colspan') ?? 1));
            return columns.reduce((a, b) => a + b) !== {heads}.length;
        }}).map((row) => row.outerHTML)"
    );
    let mut due = 8;
    assert_eq!(page.eval(&format!("{heads}.length")), due);
    assert_eq!(page.eval(&wrong), json!([]));
    for (name, label, more) in
        [("service", "Service", 1), ("state", "State", -1), ("pids", "PIDs", -1)]
    {
        page.eval(&tick(name, label));
        due += more;
        page.until(label, &format!("{heads}.length === {due} && {wrong}.length === 0"));
    }
    page.resize(800, 800, 1.0);
    page.until("fewer columns", &format!("{heads}.length < {due} && {wrong}.length === 0"));
    // What is chosen is shown whole: the page scrolls.
    page.eval(&tick("block", "Disk"));
    page.until(
        "all that was chosen",
        "document.querySelector('td.block').checkVisibility()
            && document.documentElement.scrollWidth > innerWidth
            && [...document.querySelectorAll('tr')].every((e) => e.scrollWidth <= e.clientWidth)",
    );
    assert_clean(&mut page, &served);
}

#[test]
fn every_control_has_a_name() {
    let Some(browser) = Browser::find("every_control_has_a_name") else { return };
    let served = demo(12);
    let mut page = open(browser, &served);
    page.until("rows", &format!("{NAMES}.length === 12"));
    page.eval("document.getElementById('view').open = true");
    page.call("Accessibility.enable", json!({}));
    let tree = page.call("Accessibility.getFullAXTree", json!({}));
    let mut kinds = Vec::new();
    for node in tree["nodes"].as_array().unwrap() {
        let role = node["role"]["value"].as_str().unwrap_or_default();
        let named = [
            "button",
            "combobox",
            "searchbox",
            "checkbox",
            "radio",
            "table",
            "columnheader",
            "rowheader",
            "heading",
        ];
        if node["ignored"] == true || !named.contains(&role) {
            continue;
        }
        assert_ne!(node["name"]["value"].as_str().unwrap_or_default().trim(), "", "{node}");
        kinds.push(role);
    }
    let count = |role: &str| kinds.iter().filter(|kind| **kind == role).count();
    assert_eq!(count("searchbox"), 1);
    assert_eq!(count("table"), 1);
    assert!(count("radio") == 7 && count("checkbox") == 10, "{kinds:?}");
    assert!(count("columnheader") == 8 && count("rowheader") >= 12, "{kinds:?}");
    assert_clean(&mut page, &served);
}

#[test]
fn markup_is_text_in_the_panel_too() {
    let Some(browser) = Browser::find("markup_is_text_in_the_panel_too") else { return };
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

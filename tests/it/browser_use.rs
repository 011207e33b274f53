//! What a user does with the dashboard: search, filter, sort, choose columns, open a container.

use serde_json::{Value, json};

use crate::harness::dashboard::{
    GROUPS, NAMES, assert_clean, click_option, constant, open, select, serve_demo, settled_names,
    shown,
};
use crate::harness::devtools::Browser;

#[test]
fn search_filters_and_sort_order_are_kept_in_the_url() {
    let Some(browser) = Browser::find("search_filters_and_sort_order_are_kept_in_the_url") else {
        return;
    };
    let served = serve_demo(40);
    let mut page = open(browser, &served);
    page.until("rows", &format!("{NAMES}.length === 40"));

    // With a modifier the key is a shortcut of the browser.
    for modifier in ["ctrlKey", "altKey", "metaKey"] {
        page.eval(&format!(
            "document.body.dispatchEvent(new KeyboardEvent('keydown', {{ key: '/', {modifier}: true, bubbles: true }}))"
        ));
        assert_ne!(page.eval("document.activeElement.id"), "search", "{modifier}");
    }
    page.press("/");
    assert_eq!(page.eval("document.activeElement.id"), "search");
    page.enter("shop WEB");
    page.until("the row that matches", &format!("{NAMES}.join() === 'shop-web-1'"));
    assert_eq!(page.eval(&shown("count")), "1 of 40");
    page.enter("nothing has this");
    page.until("no rows", &format!("{}.includes('No matching containers')", shown("empty")));
    page.eval("document.getElementById('unfilter').click()");
    page.until("all rows", &format!("{NAMES}.length === 40 && location.search === ''"));

    page.eval(&select("project", "blog"));
    page.until("one project", &format!("{GROUPS}.join() === 'blog'"));
    page.eval(&select("project", "shop"));
    page.eval(&select("state", "unhealthy"));
    page.until("the unhealthy container", &format!("{NAMES}.join() === 'shop-mailer-1'"));
    page.eval(&select("state", "running"));
    page.eval("document.querySelector('th.name .sort').click()");
    let order = "document.querySelector('th.name').ariaSort";
    page.until("descending order", &format!("{order} === 'descending'"));
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
fn columns_theme_unit_and_groups_are_stored_in_the_browser() {
    const TEST: &str = "columns_theme_unit_and_groups_are_stored_in_the_browser";
    let Some(browser) = Browser::find(TEST) else { return };
    let served = serve_demo(12);
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
    page.eval(&click_option("pids", "PIDs"));
    page.eval(&click_option("service", "Service"));
    page.eval(&click_option("theme", "dark"));
    page.eval(&click_option("cpu", "cores"));
    page.eval("document.querySelector('.toggle').click()");
    let chosen = r#"[false,true,"dark","CPU CORES",true,"false"]"#;
    page.until("the choices", &format!("{seen} === '{chosen}'"));
    // The first group is collapsed to its row of sums.
    assert_eq!(page.eval("document.querySelector('tbody').rows.length"), 1);
    let light = page.eval("getComputedStyle(document.body).backgroundColor");

    page.reload();
    page.until(
        "the stored choices",
        &format!("document.querySelector('.toggle') && {seen} === '{chosen}'"),
    );
    assert_eq!(page.eval("getComputedStyle(document.body).backgroundColor"), light);
    page.eval(&click_option("grouped", "by project"));
    page.until("no groups", &format!("{NAMES}.length === 12 && {GROUPS}.join() === 'Stopped'"));

    // The demo host has 8 cores, so the CPU usage stays below 100 %.
    page.eval(&click_option("cpu", "% of the host"));
    page.until("percent of the host", &format!("/^\\d\\d?\\.\\d\\d%$/.test({cpu})"));
    page.eval(&click_option("cpu", "% of the limit"));
    page.until(
        "the column header",
        "document.querySelector('th.cpu .sort').textContent === 'CPU % LIMIT'",
    );
    assert_clean(&mut page, &served);
}

#[test]
fn the_page_works_without_local_storage() {
    const TEST: &str = "the_page_works_without_local_storage";
    let Some(browser) = Browser::find(TEST) else { return };
    let served = serve_demo(12);
    let mut page = browser.page();
    let none =
        "Object.defineProperty(window, 'localStorage', { get() { throw new Error('none'); } })";
    page.call("Page.addScriptToEvaluateOnNewDocument", json!({"source": none}));
    page.goto(&format!("http://{}/", served.addr()));
    page.until("rows", &format!("{NAMES}.length === 12"));
    page.eval(&click_option("theme", "dark"));
    page.until("dark", "getComputedStyle(document.documentElement).colorScheme === 'dark'");
    assert_clean(&mut page, &served);
}

#[test]
fn clicking_a_column_header_sorts() {
    let Some(browser) = Browser::find("clicking_a_column_header_sorts") else { return };
    let served = constant();
    let mut page = open(browser, &served);
    page.until("by name", &format!("{NAMES}.join() === 'alpha,beta,gamma'"));
    page.eval("document.querySelector('th.pids .sort').click()");
    page.until("descending order", &format!("{NAMES}.join() === 'beta,alpha,gamma'"));
    assert_eq!(page.eval("document.querySelector('th.pids').ariaSort"), "descending");
    assert_eq!(page.eval("document.querySelector('th.name').ariaSort"), "none");
    page.eval("document.querySelector('th.pids .sort').click()");
    page.until("ascending order", &format!("{NAMES}.join() === 'alpha,beta,gamma'"));
    page.eval(&click_option("grouped", "by project"));
    page.until("across projects", &format!("{NAMES}.join() === 'gamma,alpha,beta'"));
    assert_clean(&mut page, &served);
}

#[test]
fn rows_are_reordered_at_most_every_five_seconds() {
    let Some(browser) = Browser::find("rows_are_reordered_at_most_every_five_seconds") else {
        return;
    };
    let served = serve_demo(40);
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
                // A new order takes several frames.
                const continues = performance.now() - last < 2500;
                [order, last] = [now, performance.now()];
                if (continues) return;
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
fn a_row_opens_with_enter_and_closes_with_escape() {
    let Some(browser) = Browser::find("a_row_opens_with_enter_and_closes_with_escape") else {
        return;
    };
    let served = serve_demo(12);
    let mut page = open(browser, &served);
    page.until("rows", &format!("{NAMES}.length === 12"));
    page.until("a CPU", "/%$/.test(document.querySelector('.container .cpu .left')?.textContent)");
    // The Tab key stops once in the table. Arrow keys move on from there.
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
    let label = page.eval("document.querySelector('figure svg').ariaLabel ?? document.querySelector('figure svg').getAttribute('aria-label')");
    let label = label.as_str().unwrap();
    assert!(label.starts_with("CPU, last five minutes: used ") && label.contains('%'), "{label}");

    page.press("Escape");
    page.until("no panel", "!document.getElementById('detail').open");
    assert_eq!(page.eval("document.activeElement.textContent"), name, "the focus returns");
    assert_clean(&mut page, &served);
}

//! The dashboard's layout, colors and accessible names.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::harness::dashboard::{
    DemoSource, NAMES, SECOND, assert_clean, click_option, open, serve, serve_demo,
};
use crate::harness::devtools::{Browser, Page};

#[test]
fn the_layout_fits_every_width_and_both_color_schemes() {
    let Some(browser) = Browser::find("the_layout_fits_every_width_and_both_color_schemes") else {
        return;
    };
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
        assert_eq!(wide, 0, "the page scrolls sideways at {width} px");
        let outside = page.eval("[...document.querySelectorAll('header.bar *, #summary *, tr:nth-child(-n+5) > *')]
            .filter((e) => e.checkVisibility() && !e.closest('.unseen') && e.getBoundingClientRect().right > innerWidth + 0.5)
            .map((e) => e.outerHTML)");
        assert_eq!(outside, json!([]), "cut off at {width} px");
        let inside = page.eval("[...document.querySelectorAll('td.figure')].slice(0, 60)
            .filter((e) => e.checkVisibility() && e.scrollWidth > e.clientWidth).map((e) => e.textContent)");
        assert_eq!(inside, json!([]), "cut off in its column at {width} px");
        let names = page.eval("[...document.querySelectorAll('.toggle')].filter((e) => {
            // The longest possible text.
            e.closest('.title').querySelector('.quiet').firstChild.data = '2 of 2 sampled, 1 not running';
            return e.scrollWidth > e.clientWidth;
        }).map((e) => e.textContent)");
        assert_eq!(names, json!([]), "a project name is cut off at {width} px");
        // Containers are rows on wide screens and cards on narrow ones.
        let rows = page.eval(
            "[...document.querySelectorAll('.container')].slice(0, 9).map((e) => e.offsetHeight)",
        );
        let flat = rows.as_array().unwrap().iter().all(|height| height == 48);
        assert_eq!(flat, width >= 760, "heights of {rows} px at {width} px");
        if width < 760 {
            // Figures side by side are aligned.
            let tops = page.eval("['cpu memory', 'share network', 'pids block'].map((pair) => {
                const [a, b] = pair.split(' ').map((key) => document.querySelector(`.container:not(.off) .${key}`));
                return Math.abs(a.getBoundingClientRect().top - b.getBoundingClientRect().top);
            })");
            let aligned = width < 375 || tops == json!([0, 0, 0]);
            assert!(aligned, "{tops} px apart at {width} px");
        }
    }

    let mut pictures = Vec::new();
    for (name, width, scheme) in
        [("light", 1280, "light"), ("dark", 1280, "dark"), ("phone", 375, "light")]
    {
        page.resize(width, 800, 1.0);
        page.prefer(scheme);
        let [background, text, quiet, accent] = luminances(&mut page);
        assert_eq!(background < 0.1, scheme == "dark", "luminance {background} in {scheme}");
        // WCAG 2.2, 1.4.3 and 1.4.11: 4.5 for text, 3 for graphics.
        for (what, color, least) in
            [("text", text, 4.5), ("quiet", quiet, 4.5), ("accent", accent, 3.0)]
        {
            let contrast = (color.max(background) + 0.05) / (color.min(background) + 0.05);
            assert!(contrast > least, "{what} has a contrast of {contrast} in {scheme}");
        }
        let picture = page.picture();
        // Saved for manual inspection as target/tmp/dashboard-*.png.
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("dashboard-{name}.png"));
        fs::write(file, &picture).unwrap();
        assert_eq!(picture[16..20], width.to_be_bytes(), "a PNG's width");
        assert!(!pictures.contains(&picture), "{name} equals another picture");
        pictures.push(picture);
    }
    page.eval("document.querySelector('.container:not(.off)').click()");
    page.until("charts", "document.querySelector('figure .line').getAttribute('d')");
    let wide = "((e) => e.scrollWidth - e.clientWidth)(document.getElementById('detail'))";
    assert_eq!(page.eval(wide), 0, "the panel scrolls sideways on a phone");
    assert_clean(&mut page, &served);
}

/// The relative luminance (WCAG 2.2) of the background, the text, quiet text and the accent.
fn luminances(page: &mut Page) -> [f64; 4] {
    let luminances = page.eval("(() => {
        const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
        const luminance = (color) => {
            canvas.fillStyle = color;
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
fn the_menu_is_above_the_table() {
    let Some(browser) = Browser::find("the_menu_is_above_the_table") else { return };
    let served = serve_demo(40);
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
        assert_eq!(covered, json!([]), "covered at {width} px");
    }
    assert_clean(&mut page, &served);
}

#[test]
fn each_value_is_under_its_column_header() {
    const TEST: &str = "each_value_is_under_its_column_header";
    let Some(browser) = Browser::find(TEST) else { return };
    let served = serve_demo(12);
    let mut page = open(browser, &served);
    page.until("a stopped container", "document.querySelector('tr.container.off')");
    page.until(
        "figures in each running row, visible or not",
        "[...document.querySelectorAll('.container:not(.off)')].every((row) => row.querySelector('.cpu'))",
    );
    let headers = "[...document.querySelectorAll('thead th')].filter((e) => e.checkVisibility())";
    // The cells of each row must span all visible columns.
    let wrong = format!(
        "[...document.querySelectorAll('tbody tr:not(.project.off)')].filter((row) => {{
            const cells = [...row.cells].filter((e) => e.checkVisibility());
            const columns = cells.map((e) => Number(e.getAttribute('aria-colspan') ?? 1));
            return columns.reduce((a, b) => a + b) !== {headers}.length;
        }}).map((row) => row.outerHTML)"
    );
    let mut expected = 8;
    assert_eq!(page.eval(&format!("{headers}.length")), expected);
    assert_eq!(page.eval(&wrong), json!([]));
    for (name, label, more) in
        [("service", "Service", 1), ("state", "State", -1), ("pids", "PIDs", -1)]
    {
        page.eval(&click_option(name, label));
        expected += more;
        page.until(label, &format!("{headers}.length === {expected} && {wrong}.length === 0"));
    }
    page.resize(800, 800, 1.0);
    page.until("fewer columns", &format!("{headers}.length < {expected} && {wrong}.length === 0"));
    // A column that the user enables is not hidden. The page scrolls instead.
    page.eval(&click_option("block", "Disk"));
    page.until(
        "the enabled column",
        "document.querySelector('td.block').checkVisibility()
            && document.documentElement.scrollWidth > innerWidth
            && [...document.querySelectorAll('tr')].every((e) => e.scrollWidth <= e.clientWidth)",
    );
    assert_clean(&mut page, &served);
}

#[test]
fn every_control_has_an_accessible_name() {
    let Some(browser) = Browser::find("every_control_has_an_accessible_name") else { return };
    let served = serve_demo(12);
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

use std::collections::BTreeMap;
use std::time::Duration;

use kentros::{Container, ContainerStats, Project, Snapshot};

use crate::stats_feed::StatsUpdate;
use crate::terminal_text::width;

use super::keys::Key;
use super::render::{StyledLine, TextStyle, render, table_height};
use super::state::TopState;

const SECOND: Duration = Duration::from_secs(1);

/// A row sampled at second `n`, with CPU in percent, memory in MiB, and bytes received since the
/// start.
fn row(
    name: &str,
    project: &str,
    n: u64,
    (cpu, memory, rx): (f64, u64, u64),
) -> (String, ContainerStats) {
    let mut stats = ContainerStats::new(project, name);
    stats.cpu_percent = Some(cpu);
    stats.cpu_limit = Some(1.0);
    stats.memory_usage = Some(memory << 20);
    stats.memory_limit = Some(1 << 30);
    #[allow(clippy::cast_precision_loss)]
    let percent = memory as f64 / 10.24;
    stats.memory_percent = Some(percent);
    stats.network_rx = Some(rx);
    stats.pids = Some(3);
    stats.timestamp = Some(format!("2026-01-01T00:00:{n:02}Z"));
    stats.age_ms = Some(0);
    (format!("id-{name}"), stats)
}

/// An update as it arrives from an engine.
fn update(rows: Vec<(String, ContainerStats)>) -> StatsUpdate {
    let mut projects: BTreeMap<&str, Project> = BTreeMap::new();
    for (_, row) in &rows {
        let project = projects.entry(&row.project_id).or_default();
        project.id.clone_from(&row.project_id);
        let mut container = Container::default();
        container.state = "running".into();
        project.containers.push(container);
    }
    let projects: Vec<Project> = projects.into_values().collect();
    let snapshot = Snapshot::from_rows(rows, &projects, Duration::from_secs(5)).unwrap();
    serde_json::from_str(&snapshot.to_json()).unwrap()
}

/// Two projects and a standalone container, after two samples.
fn shop() -> TopState {
    let mut state = TopState::new("ws://hub".into(), None, SECOND);
    for n in [1, 2] {
        state.apply(update(vec![
            row("web", "shop", n, (10.0, 100, 1_000 * n)),
            row("db", "shop", n, (95.0, 900, 500 * n)),
            row("mail", "office", n, (20.0, 50, 0)),
            row("lone", "_standalone", n, (1.0, 1, 7_000 * n)),
        ]));
    }
    state
}

fn text(lines: &[StyledLine]) -> Vec<String> {
    let join = |line: &StyledLine| line.iter().map(|(_, part)| part.as_str()).collect::<String>();
    lines.iter().map(|line| join(line).trim_end().to_owned()).collect()
}

/// The first word of each table row.
fn names(state: &TopState) -> Vec<String> {
    let lines = text(&render(state, 80, 24));
    let table = lines[3..23].iter().filter(|line| !line.is_empty());
    table.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
}

fn press(state: &mut TopState, keys: &str) {
    for key in keys.chars() {
        assert!(state.handle_key(Key::Char(key), 20), "{key}");
    }
}

#[test]
fn eighty_columns_show_everything() {
    let lines = text(&render(&shop(), 80, 24));
    assert_eq!(
        lines[..9],
        [
            "kentros top  ws://hub",
            "4 containers in 3 projects   CPU 126.0%   MEM 1.026GiB",
            "NAME                CPU %↓      MEM  MEM %    RX/s    TX/s    RD/s    WR/s  PIDS",
            "shop 2/2             105.0  1000MiB     --   1.5kB      --      --      --     6",
            "  db                  95.0   900MiB   87.9    500B      --      --      --     3",
            "  web                 10.0   100MiB    9.8     1kB      --      --      --     3",
            "office 1/1            20.0    50MiB     --      0B      --      --      --     3",
            "  mail                20.0    50MiB    4.9      0B      --      --      --     3",
            "_standalone 1/1        1.0     1MiB     --     7kB      --      --      --     3",
        ]
    );
    assert_eq!(lines.len(), 24);
    assert!(lines[23].starts_with("q quit"), "{lines:#?}");
    assert_eq!(width(&lines[2]), 80);
    assert!(lines.iter().all(|line| width(line) <= 80), "{lines:#?}");
}

#[test]
fn a_column_key_sorts_and_pressed_again_reverses() {
    let mut state = shop();
    let all = ["shop", "db", "web", "office", "mail", "_standalone", "lone"];
    assert_eq!(names(&state), all, "highest CPU first");
    press(&mut state, "n");
    let named = ["office", "mail", "shop", "db", "web", "_standalone", "lone"];
    assert_eq!(names(&state), named);
    press(&mut state, "n");
    assert_eq!(names(&state), ["shop", "web", "db", "office", "mail", "_standalone", "lone"]);
    press(&mut state, "r");
    assert_eq!(names(&state), ["_standalone", "lone", "shop", "web", "db", "office", "mail"]);
    press(&mut state, "r");
    assert_eq!(names(&state), ["office", "mail", "shop", "db", "web", "_standalone", "lone"]);
    press(&mut state, "t");
    assert_eq!(names(&state)[0], "_standalone", "missing values are sorted by name");
    press(&mut state, "mg");
    assert_eq!(names(&state), ["db", "web", "mail", "lone"], "ungrouped");
}

#[test]
fn a_search_filters_rows_and_escape_clears_it() {
    let mut state = shop();
    press(&mut state, "/wEq");
    assert!(text(&render(&state, 80, 24))[23].starts_with("/wEq"));
    state.handle_key(Key::Backspace, 20);
    assert_eq!(names(&state), ["shop", "web"]);
    state.handle_key(Key::Enter, 20);
    assert!(text(&render(&state, 80, 24))[23].starts_with("/wE   Esc"));
    state.handle_key(Key::Escape, 20);
    assert_eq!(names(&state).len(), 7);
    assert!(!state.handle_key(Key::Char('q'), 20) && !state.handle_key(Key::Quit, 20));
    press(&mut state, "/");
    assert!(!state.handle_key(Key::Quit, 20), "Ctrl-C quits while typing");
}

#[test]
fn scrolling_stops_at_the_last_row() {
    let mut state = TopState::new("here".into(), None, SECOND);
    let rows = (0..50).map(|n| row(&format!("c{n:02}"), "p", 1, (1.0, 1, 0))).collect();
    state.apply(update(rows));
    press(&mut state, "n");
    let shown = |state: &TopState, height| text(&render(state, 80, height));
    assert!(shown(&state, 24)[3].starts_with("p 50/50"));
    assert_eq!(shown(&state, 24)[0], format!("kentros top  here{:>63}", "1-20/51"));
    assert!(shown(&state, 24)[23].ends_with(" pids"), "the long help fits");
    state.handle_key(Key::PageDown, 20);
    assert!(shown(&state, 24)[3].starts_with("  c19"));
    state.handle_key(Key::End, 20);
    state.handle_key(Key::Down, 20);
    assert!(shown(&state, 24)[22].starts_with("  c49"));
    assert!(shown(&state, 24)[0].ends_with(" 32-51/51"));
    state.handle_key(Key::Up, 20);
    assert!(shown(&state, 24)[22].starts_with("  c48"));
    // A larger terminal shows all rows, even after scrolling.
    assert!(shown(&state, 60)[3].starts_with("p 50/50"));
    state.handle_key(Key::Home, 20);
    press(&mut state, "jjk");
    assert!(shown(&state, 24)[3].starts_with("  c00"));
}

#[test]
fn lines_fit_terminals_of_any_size() {
    let mut state = shop();
    for columns in 1..130 {
        for height in 1..12 {
            let lines = render(&state, columns, height);
            assert_eq!(lines.len(), height);
            for line in text(&lines) {
                assert!(width(&line) <= columns, "{columns}x{height}: {line:?}");
            }
            state.handle_key(Key::PageDown, table_height(&state, columns, height));
        }
    }
    let named = |name: &str| {
        let mut state = TopState::new("here".into(), None, SECOND);
        state.apply(update(vec![row(name, "a-project-with-a-very-long-name", 1, (1.0, 1, 0))]));
        text(&render(&state, 80, 24))[3..5].to_vec()
    };
    let lines = named("a-container-with-a-long-name\x1b[2J");
    assert!(lines[0].starts_with("a-project-wit… 1/1 "), "{lines:#?}");
    assert!(lines[1].starts_with("  a-container-wit… "), "{lines:#?}");
    assert!(named("a\x1b[2J")[1].starts_with(r"  a\u001b[2J "));
}

#[test]
fn values_near_their_limit_are_highlighted_unless_stale() {
    let mut state = shop();
    let style = |state: &TopState, part: &str| {
        let parts = render(state, 80, 24).into_iter().flatten();
        parts.filter(|(_, text)| text.trim() == part).map(|(style, _)| style).next().unwrap()
    };
    assert_eq!(style(&state, "95.0"), TextStyle::Alert);
    assert_eq!(style(&state, "87.9"), TextStyle::Warning);
    assert_eq!(style(&state, "9.8"), TextStyle::Plain);
    state.set_feed_error("connection lost".into());
    assert_eq!(style(&state, "95.0"), TextStyle::Dim);
    assert_eq!(style(&state, "stats are stale: connection lost"), TextStyle::Alert);
    state.apply(update(vec![row("web", "shop", 3, (95.0, 1, 0))]));
    assert_eq!(style(&state, "95.0"), TextStyle::Alert);
    let gone = r#"{"engine_status":{"state":"unreachable","engine":"Docker Engine",
        "version":"29.0","api_version":null,"mode":null,"interval_ms":1000,
        "error":"it is down","since":0}}"#;
    state.apply(serde_json::from_str(gone).unwrap());
    assert_eq!(style(&state, "stats are stale: it is down"), TextStyle::Alert);
    assert_eq!(text(&render(&state, 80, 24))[0], "kentros top  ws://hub Docker Engine 29.0");
}

#[test]
fn stats_without_an_update_become_stale() {
    let mut state = shop();
    let second = |state: &mut TopState, n| {
        state.set_time(SECOND * n);
        text(&render(state, 80, 24)).swap_remove(1)
    };
    assert!(second(&mut state, 5).starts_with("4 containers"));
    assert_eq!(second(&mut state, 6), "stats are stale: no update for 6 s");
    state.apply(update(vec![row("web", "shop", 3, (95.0, 1, 0))]));
    assert!(second(&mut state, 11).starts_with("1 container"));
    assert_eq!(second(&mut state, 12), "stats are stale: no update for 6 s");
    let slow = r#"{"engine_status":{"state":"connected","engine":null,"version":null,
        "api_version":null,"mode":null,"interval_ms":60000,"error":null,"since":0}}"#;
    state.apply(serde_json::from_str(slow).unwrap());
    assert!(second(&mut state, 306).starts_with("1 container"), "five of the hub's intervals");
    assert_eq!(second(&mut state, 307), "stats are stale: no update for 301 s");
}

#[test]
fn wide_characters_keep_the_columns_aligned() {
    let mut state = TopState::new("日本".into(), None, SECOND);
    state.apply(update(vec![
        row("ウェブサーバー", "日本語プロジェクト", 1, (10.0, 100, 0)),
        row("a-container-with-a-long-name", "shop", 1, (5.0, 100, 0)),
    ]));
    for columns in [75, 80, 130] {
        let lines = text(&render(&state, columns, 24));
        assert!(lines[3..7].iter().all(|line| width(line) == width(&lines[2])), "{lines:#?}");
    }
    assert!(text(&render(&state, 80, 24))[3].starts_with("日本語プロジ… 1/1 "));
}

#[test]
fn a_narrow_terminal_shows_the_short_help() {
    assert!(text(&render(&shop(), 60, 15))[14].ends_with("sort: n c m r t d w p"));
}

#[test]
fn a_long_warning_is_wrapped() {
    let mut state = TopState::new("here".into(), None, SECOND);
    let rows = (0..50).map(|n| row(&format!("c{n:02}"), "p", 1, (1.0, 1, 0))).collect();
    state.apply(update(rows));
    state.set_feed_error(
        "no container engine at unix:///nope.sock: no such file. Start the engine, or set another \
         one with --docker-host"
            .into(),
    );
    let lines = text(&render(&state, 80, 24));
    assert_eq!(
        lines[1..4].iter().map(|line| line.split_whitespace().next().unwrap()).collect::<Vec<_>>(),
        ["stats", "the", "NAME"],
        "{lines:#?}"
    );
    assert_eq!(
        lines[1..3].join(" "),
        "stats are stale: no container engine at unix:///nope.sock: no such file. Start the engine, or \
         set another one with --docker-host"
    );
    state.handle_key(Key::End, table_height(&state, 80, 24));
    let lines = text(&render(&state, 80, 24));
    assert!(lines[22].starts_with("  c49") && lines[23].starts_with("q quit"), "{lines:#?}");
    state.set_feed_error("a very long message ".repeat(50));
    let lines = text(&render(&state, 80, 24));
    assert!(lines[5].ends_with('…') && lines[6].starts_with("NAME"), "{lines:#?}");
}

#[test]
fn an_empty_table_shows_the_reason() {
    let first = |state: &TopState| text(&render(state, 80, 24)).swap_remove(3);
    let mut state = TopState::new("here".into(), None, SECOND);
    assert_eq!(first(&state), "", "no update yet");
    state.apply(update(Vec::new()));
    assert_eq!(first(&state), "no containers");
    let mut state = shop();
    press(&mut state, "/nosuch");
    assert_eq!(first(&state), "no container matches \"nosuch\"");
    let mut state = TopState::new("here".into(), Some("nosuch".into()), SECOND);
    state.apply(update(Vec::new()));
    assert_eq!(first(&state), "no containers in project \"nosuch\"");
}

use std::collections::BTreeMap;
use std::time::Duration;

use kentros::{Container, ContainerStats, Project, Snapshot};

use crate::feed::News;
use crate::text::width;

use super::frame::{Line, Style, frame, page};
use super::keys::Key;
use super::state::State;

const SECOND: Duration = Duration::from_secs(1);

/// A row of this project at the n-th second: so much CPU, memory in MiB, and so many bytes
/// received since its start.
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

/// As it comes from a hub or an engine.
fn news(rows: Vec<(String, ContainerStats)>) -> News {
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

/// Two projects and a container of none, over two seconds.
fn shop() -> State {
    let mut state = State::new("ws://hub".into(), None, SECOND);
    for n in [1, 2] {
        state.learn(news(vec![
            row("web", "shop", n, (10.0, 100, 1_000 * n)),
            row("db", "shop", n, (95.0, 900, 500 * n)),
            row("mail", "office", n, (20.0, 50, 0)),
            row("lone", "_standalone", n, (1.0, 1, 7_000 * n)),
        ]));
    }
    state
}

fn text(lines: &[Line]) -> Vec<String> {
    let joined = |line: &Line| line.iter().map(|(_, part)| part.as_str()).collect::<String>();
    lines.iter().map(|line| joined(line).trim_end().to_owned()).collect()
}

/// The first words of the table's lines.
fn names(state: &State) -> Vec<String> {
    let lines = text(&frame(state, 80, 24));
    let table = lines[3..23].iter().filter(|line| !line.is_empty());
    table.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
}

fn press(state: &mut State, keys: &str) {
    for key in keys.chars() {
        assert!(state.press(Key::Char(key), 20), "{key}");
    }
}

#[test]
fn eighty_columns_show_it_all() {
    let lines = text(&frame(&shop(), 80, 24));
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
fn a_key_sorts_by_its_column_and_turns_it_round() {
    let mut state = shop();
    let all = ["shop", "db", "web", "office", "mail", "_standalone", "lone"];
    assert_eq!(names(&state), all, "the busiest first");
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
    assert_eq!(names(&state)[0], "_standalone", "what is missing is sorted by name");
    press(&mut state, "mg");
    assert_eq!(names(&state), ["db", "web", "mail", "lone"], "without the groups");
}

#[test]
fn a_search_leaves_what_has_it_and_escape_shows_all() {
    let mut state = shop();
    press(&mut state, "/wEq");
    assert!(text(&frame(&state, 80, 24))[23].starts_with("/wEq"));
    state.press(Key::Backspace, 20);
    assert_eq!(names(&state), ["shop", "web"]);
    state.press(Key::Enter, 20);
    assert!(text(&frame(&state, 80, 24))[23].starts_with("/wE   Esc"));
    state.press(Key::Escape, 20);
    assert_eq!(names(&state).len(), 7);
    assert!(!state.press(Key::Char('q'), 20) && !state.press(Key::Quit, 20));
    press(&mut state, "/");
    assert!(!state.press(Key::Quit, 20), "Ctrl-C ends it while typing, too");
}

#[test]
fn what_does_not_fit_is_scrolled_to_and_no_further() {
    let mut state = State::new("here".into(), None, SECOND);
    let rows = (0..50).map(|n| row(&format!("c{n:02}"), "p", 1, (1.0, 1, 0))).collect();
    state.learn(news(rows));
    press(&mut state, "n");
    let shown = |state: &State, height| text(&frame(state, 80, height));
    assert!(shown(&state, 24)[3].starts_with("p 50/50"));
    assert_eq!(shown(&state, 24)[0], format!("kentros top  here{:>63}", "1-20/51"));
    assert!(shown(&state, 24)[23].ends_with(" pids"), "all keys are there beside it");
    state.press(Key::PageDown, 20);
    assert!(shown(&state, 24)[3].starts_with("  c19"));
    state.press(Key::End, 20);
    state.press(Key::Down, 20);
    assert!(shown(&state, 24)[22].starts_with("  c49"));
    assert!(shown(&state, 24)[0].ends_with(" 32-51/51"));
    state.press(Key::Up, 20);
    assert!(shown(&state, 24)[22].starts_with("  c48"));
    // A larger terminal shows it all, wherever it was scrolled to.
    assert!(shown(&state, 60)[3].starts_with("p 50/50"));
    state.press(Key::Home, 20);
    press(&mut state, "jjk");
    assert!(shown(&state, 24)[3].starts_with("  c00"));
}

#[test]
fn no_size_of_the_terminal_is_too_small_or_overrun() {
    let mut state = shop();
    for columns in 1..130 {
        for height in 1..12 {
            let lines = frame(&state, columns, height);
            assert_eq!(lines.len(), height);
            for line in text(&lines) {
                assert!(width(&line) <= columns, "{columns}x{height}: {line:?}");
            }
            state.press(Key::PageDown, page(&state, columns, height));
        }
    }
    let named = |name: &str| {
        let mut state = State::new("here".into(), None, SECOND);
        state.learn(news(vec![row(name, "a-project-of-an-uncommonly-long-name", 1, (1.0, 1, 0))]));
        text(&frame(&state, 80, 24))[3..5].to_vec()
    };
    let lines = named("a-container-of-a-long-name\x1b[2J");
    assert!(lines[0].starts_with("a-project-of-… 1/1 "), "{lines:#?}");
    assert!(lines[1].starts_with("  a-container-of-… "), "{lines:#?}");
    assert!(named("a\x1b[2J")[1].starts_with("  a?[2J "));
}

#[test]
fn what_is_near_its_limit_stands_out_and_stale_figures_do_not() {
    let mut state = shop();
    let style = |state: &State, part: &str| {
        let parts = frame(state, 80, 24).into_iter().flatten();
        parts.filter(|(_, text)| text.trim() == part).map(|(style, _)| style).next().unwrap()
    };
    assert_eq!(style(&state, "95.0"), Style::Alarm);
    assert_eq!(style(&state, "87.9"), Style::High);
    assert_eq!(style(&state, "9.8"), Style::Plain);
    state.lose("the hub is gone".into());
    assert_eq!(style(&state, "95.0"), Style::Faint);
    assert_eq!(style(&state, "no fresh figures: the hub is gone"), Style::Alarm);
    state.learn(news(vec![row("web", "shop", 3, (95.0, 1, 0))]));
    assert_eq!(style(&state, "95.0"), Style::Alarm);
    let gone = r#"{"engine_status":{"state":"unreachable","engine":"Docker Engine",
        "version":"29.0","api_version":null,"mode":null,"interval_ms":1000,
        "error":"it is down","since":0}}"#;
    state.learn(serde_json::from_str(gone).unwrap());
    assert_eq!(style(&state, "no fresh figures: it is down"), Style::Alarm);
    assert_eq!(text(&frame(&state, 80, 24))[0], "kentros top  ws://hub Docker Engine 29.0");
}

#[test]
fn figures_that_no_others_follow_are_told_to_be_old() {
    let mut state = shop();
    let second = |state: &mut State, n| {
        state.tick(SECOND * n);
        text(&frame(state, 80, 24)).swap_remove(1)
    };
    assert!(second(&mut state, 5).starts_with("4 containers"));
    assert_eq!(second(&mut state, 6), "no fresh figures: none have come for 6 s");
    state.learn(news(vec![row("web", "shop", 3, (95.0, 1, 0))]));
    assert!(second(&mut state, 11).starts_with("1 container"));
    assert_eq!(second(&mut state, 12), "no fresh figures: none have come for 6 s");
    let slow = r#"{"engine_status":{"state":"connected","engine":null,"version":null,
        "api_version":null,"mode":null,"interval_ms":60000,"error":null,"since":0}}"#;
    state.learn(serde_json::from_str(slow).unwrap());
    assert!(second(&mut state, 306).starts_with("1 container"), "five of the hub's intervals");
    assert_eq!(second(&mut state, 307), "no fresh figures: none have come for 301 s");
}

#[test]
fn wide_letters_move_no_column() {
    let mut state = State::new("日本".into(), None, SECOND);
    state.learn(news(vec![
        row("ウェブサーバー", "日本語プロジェクト", 1, (10.0, 100, 0)),
        row("a-container-of-a-long-name", "shop", 1, (5.0, 100, 0)),
    ]));
    for columns in [75, 80, 130] {
        let lines = text(&frame(&state, columns, 24));
        assert!(lines[3..7].iter().all(|line| width(line) == width(&lines[2])), "{lines:#?}");
    }
    assert!(text(&frame(&state, 80, 24))[3].starts_with("日本語プロジ… 1/1 "));
}

#[test]
fn all_keys_are_told_on_a_narrow_terminal_too() {
    assert!(text(&frame(&shop(), 60, 15))[14].ends_with("sort: n c m r t d w p"));
}

#[test]
fn why_there_are_no_figures_is_told_to_its_end() {
    let mut state = State::new("here".into(), None, SECOND);
    let rows = (0..50).map(|n| row(&format!("c{n:02}"), "p", 1, (1.0, 1, 0))).collect();
    state.learn(news(rows));
    state.lose(
        "no container engine at unix:///nope.sock: there is no such socket; start the engine, or \
         name another one with --docker-host"
            .into(),
    );
    let lines = text(&frame(&state, 80, 24));
    assert_eq!(
        lines[1..4].iter().map(|line| line.split_whitespace().next().unwrap()).collect::<Vec<_>>(),
        ["no", "socket;", "NAME"],
        "{lines:#?}"
    );
    assert_eq!(
        lines[1..3].join(" "),
        "no fresh figures: no container engine at unix:///nope.sock: there is no such \
         socket; start the engine, or name another one with --docker-host"
    );
    state.press(Key::End, page(&state, 80, 24));
    let lines = text(&frame(&state, 80, 24));
    assert!(lines[22].starts_with("  c49") && lines[23].starts_with("q quit"), "{lines:#?}");
    state.lose("a very long story ".repeat(50));
    let lines = text(&frame(&state, 80, 24));
    assert!(lines[5].ends_with('…') && lines[6].starts_with("NAME"), "{lines:#?}");
}

#[test]
fn an_empty_table_says_why() {
    let first = |state: &State| text(&frame(state, 80, 24)).swap_remove(3);
    let mut state = State::new("here".into(), None, SECOND);
    assert_eq!(first(&state), "", "nothing has come");
    state.learn(news(Vec::new()));
    assert_eq!(first(&state), "no containers");
    let mut state = shop();
    press(&mut state, "/nosuch");
    assert_eq!(first(&state), "no container matches \"nosuch\"");
    let mut state = State::new("here".into(), Some("nosuch".into()), SECOND);
    state.learn(news(Vec::new()));
    assert_eq!(first(&state), "no containers of the project \"nosuch\"");
}

//! Which containers are inspected, and what that adds to the list.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::tests::{event, inspect, one, state};
use super::*;

const EXITED: &str = r#"{"State":{"Status":"exited","ExitCode":137,"OOMKilled":true,
    "StartedAt":"2026-11-29T13:32:29.3Z","FinishedAt":"2026-11-29T13:32:29.5Z"},
    "RestartCount":3,"HostConfig":{"Memory":8388608}}"#;

/// A stopped container that was created at this time.
fn stopped(id: &str, created: i64) -> ContainerSummary {
    ContainerSummary { created: Some(created), ..one(id, "exited") }
}

fn container(inventory: &Inventory) -> Container {
    inventory.projects()[0].containers[0].clone()
}

#[test]
fn a_stopped_container_has_the_facts_of_its_last_run() {
    let mut inventory = Inventory::default();
    inventory.apply_full_list(vec![one("a", "exited")]);
    assert_eq!(container(&inventory).oom_killed, None, "unknown until it is inspected");
    assert_eq!(inventory.uninspected(25), ["a"]);
    inspect(&mut inventory, "a", EXITED);
    let a = container(&inventory);
    assert_eq!((a.exit_code, a.oom_killed, a.restart_count), (Some(137), Some(true), Some(3)));
    assert_eq!(a.finished_at.as_deref(), Some("2026-11-29T13:32:29.5Z"));
    assert_eq!(a.memory_limit, Some(8 << 20));
    inventory.apply_full_list(vec![one("a", "exited")]);
    assert_eq!(container(&inventory), a, "a list keeps them");
    assert!(inventory.uninspected(25).is_empty(), "inspected once");
}

#[test]
fn a_running_container_has_no_exit_code() {
    let mut inventory = Inventory::default();
    inventory.apply_full_list(vec![one("a", "running")]);
    let running = r#"{"State":{"Status":"running","ExitCode":0,"OOMKilled":false,
        "StartedAt":"2026-11-29T13:32:29.3Z","FinishedAt":"0001-01-01T00:00:00Z"},
        "RestartCount":0,"HostConfig":{"Memory":0}}"#;
    inspect(&mut inventory, "a", running);
    let a = container(&inventory);
    assert_eq!((a.exit_code, a.finished_at.as_deref(), a.memory_limit), (None, None, None));
    assert_eq!((a.oom_killed, a.restart_count), (Some(false), Some(0)));
}

#[test]
fn events_update_the_facts_at_once() {
    let mut inventory = Inventory::default();
    inventory.apply_full_list(vec![one("a", "running")]);
    inventory.apply(&event("a", "oom", ""));
    inventory.apply(&event("a", "die", r#","exitCode":"137""#));
    let a = container(&inventory);
    assert_eq!((a.exit_code, a.oom_killed), (Some(137), Some(true)));
    assert_eq!(a.finished_at.as_deref(), Some("1970-01-01T00:00:00.000000001Z"));
    inventory.apply(&event("a", "start", ""));
    let a = container(&inventory);
    assert_eq!((a.exit_code, a.oom_killed), (None, Some(false)), "a start resets them");
}

#[test]
fn an_inspection_made_before_an_event_is_ignored() {
    let mut inventory = Inventory::default();
    inventory.apply_full_list(vec![one("a", "exited")]);
    inventory.begin_inspection("a");
    inventory.apply(&event("a", "start", ""));
    inventory.apply_inspection("a", Some(&serde_json::from_str(EXITED).unwrap()));
    assert_eq!(container(&inventory).exit_code, None);
    let changed = inventory.begin_list();
    inventory.apply_list(&changed, vec![one("a", "running")]);
    assert_eq!(inventory.uninspected(25), ["a"]);
    // The engine answers with an older state.
    inspect(&mut inventory, "a", EXITED);
    assert_eq!(container(&inventory).exit_code, None);
}

#[test]
fn the_newest_stopped_containers_are_inspected_and_those_that_change() {
    let mut inventory = Inventory::default();
    let many = 3 * INSPECTED_STOPPED;
    let mut list: Vec<_> =
        (0..many).zip(0..).map(|(n, created)| stopped(&format!("s{n:04}"), created)).collect();
    list.push(one("web", "running"));
    inventory.apply_full_list(list);
    let mut inspected = Vec::new();
    loop {
        let ids = inventory.uninspected(25);
        assert!(ids.len() <= 25);
        if ids.is_empty() {
            break;
        }
        for id in &ids {
            inspect(&mut inventory, id, "{}");
        }
        inspected.extend(ids);
    }
    let newest = (many - INSPECTED_STOPPED..many).rev().map(|n| format!("s{n:04}"));
    let expected: Vec<String> = std::iter::once("web".to_owned()).chain(newest).collect();
    assert_eq!(inspected, expected, "the running one first, then the newest");
    // An old one runs again, and exits.
    inventory.apply(&event("s0007", "start", ""));
    inventory.apply(&event("s0007", "die", r#","exitCode":"3""#));
    let changed = inventory.begin_list();
    inventory.apply_list(&changed, vec![stopped("s0007", 7)]);
    assert_eq!(inventory.uninspected(25), ["s0007"]);
    // Without events, the list shows the change.
    inspect(&mut inventory, "s0007", EXITED);
    inventory.apply_list(&["web".to_owned()], vec![one("web", "exited")]);
    assert_eq!(inventory.uninspected(25), ["web"]);
}

fn counts(inventory: &mut Inventory, minute: u64) -> [Option<u64>; 3] {
    inventory.update_incidents(minute);
    let a = container(inventory);
    [a.restarts_10m, a.restarts_1h, a.oom_kills_1h]
}

#[test]
fn restarts_are_counted_and_stay_while_the_container_is_up() {
    let mut inventory = Inventory { events: Some(true), ..Inventory::default() };
    inventory.apply(&event("a", "create", ""));
    inventory.apply(&event("a", "start", ""));
    assert_eq!(counts(&mut inventory, minute()), [Some(0); 3], "the first start is no restart");
    for restarts in 1..=4 {
        inventory.apply(&event("a", "oom", ""));
        inventory.apply(&event("a", "die", r#","exitCode":"137""#));
        let changed = inventory.begin_list();
        inventory.apply(&event("a", "start", ""));
        // The event is applied again after the list, but counts once.
        inventory.apply_list(&changed, vec![one("a", "restarting")]);
        assert_eq!(state(&inventory), "running");
        let (now, n) = (minute(), Some(restarts));
        assert_eq!(counts(&mut inventory, now), [n; 3]);
        assert_eq!(container(&inventory).restart_loop, Some(restarts >= 3), "while it is up");
    }
    let later = minute();
    assert_eq!(counts(&mut inventory, later + 20), [Some(0), Some(4), Some(4)]);
    assert_eq!(container(&inventory).restart_loop, Some(false));
    inventory.events = Some(false);
    assert_eq!(counts(&mut inventory, later), [None; 3], "no events");
    assert_eq!(container(&inventory).restart_loop, None);
}

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::*;
use std::collections::BTreeSet;

/// The source after one reading, which has no rates yet.
fn warm(n: usize) -> DemoSource {
    let mut source = DemoSource::new(n);
    source.rows(&Interest::all(), OffsetDateTime::now_utc());
    source
}

fn tick(source: &mut DemoSource) -> Vec<(String, ContainerStats)> {
    let now = OffsetDateTime::now_utc();
    source.advance(1.0, now);
    source.rows(&Interest::all(), now)
}

fn row<'a>(rows: &'a [(String, ContainerStats)], name: &str) -> &'a ContainerStats {
    &rows.iter().find(|(_, r)| r.name == name).expect(name).1
}

#[test]
fn as_many_as_asked_with_ids_and_names_of_their_own() {
    for n in [0, 1, 2, 9, 10, 50, 1_000] {
        let source = DemoSource::new(n);
        let all: Vec<&Container> = source.projects.iter().flat_map(|p| &p.containers).collect();
        assert_eq!(all.len(), n);
        assert_eq!(all.iter().map(|c| &c.id).collect::<BTreeSet<_>>().len(), n);
        assert_eq!(all.iter().map(|c| &c.name).collect::<BTreeSet<_>>().len(), n);
        assert!(all.iter().all(|c| c.id.len() == 64
            && c.id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))));
    }
}

#[test]
fn the_same_at_each_start() {
    let ids = |s: &DemoSource| {
        s.containers.iter().map(|c| (c.container.id.clone(), c.container.name.clone())).collect()
    };
    let (a, b): (Vec<_>, Vec<_>) = (ids(&DemoSource::new(40)), ids(&DemoSource::new(40)));
    assert_eq!(a, b);
}

#[test]
fn ten_show_every_role() {
    let mut source = warm(10);
    let by_id = |id: &str| source.projects.iter().find(|p| p.id == id).unwrap();
    let status = |project: &str, name: &str| {
        let found = by_id(project).containers.iter().find(|c| c.name == name).unwrap();
        (found.state.clone(), found.health.clone(), found.status.clone())
    };
    let (state, _, sentence) = status("shop", "shop-migrate-1");
    assert!(state == "exited" && sentence.starts_with("Exited (0) "), "{state}: {sentence}");
    let (state, health, sentence) = status("shop", "shop-mailer-1");
    assert_eq!((state.as_str(), health.as_deref()), ("running", Some("unhealthy")));
    assert!(sentence.starts_with("Up ") && sentence.ends_with(" (unhealthy)"), "{sentence}");
    assert_eq!(by_id("shop").status, "partial");
    assert_eq!(by_id("blog").status, "running");
    assert_eq!(by_id(STANDALONE).containers.len(), 2);

    let rows = tick(&mut source);
    assert_eq!(rows.len(), 9, "no row for the stopped one");
    let host = row(&rows, "node-exporter");
    assert_eq!((host.network_rx, host.network_tx), (None, None));
    assert_eq!(host.unavailable["network_rx"], Unavailable::HostNetwork);
    assert_eq!(host.unavailable["network_tx"], Unavailable::HostNetwork);
    assert_eq!((host.project_id.as_str(), host.service_name.as_deref()), (STANDALONE, None));
}

#[test]
fn a_missing_figure_always_has_its_reason_and_no_other_has_one() {
    let mut source = DemoSource::new(30);
    for reading in 0..100 {
        for (_, row) in tick(&mut source) {
            let json = serde_json::to_value(&row).unwrap();
            for (field, value) in json.as_object().unwrap() {
                let reason = row.unavailable.contains_key(field);
                assert_eq!(value.is_null() && field != "service_name", reason, "{field}");
            }
            assert!(reading > 0 || row.unavailable["cpu_percent"] == Unavailable::FirstSample);
        }
    }
}

#[test]
fn figures_move_within_their_limits_and_counters_only_grow() {
    let mut source = warm(60);
    let mut before: BTreeMap<String, ContainerStats> = tick(&mut source).into_iter().collect();
    let (mut moved, mut same) = (0, 0);
    for _ in 0..300 {
        for (id, now) in tick(&mut source) {
            let cpu = now.cpu_percent.unwrap_or(0.0);
            assert!((0.0..=now.cpu_limit.unwrap() * 100.0).contains(&cpu), "{cpu}");
            assert!(now.memory_usage < now.memory_limit && now.memory_usage > Some(1 << 20));
            assert!(now.memory_usage.unwrap() % 4_096 == 0 && now.pids >= Some(1));
            let Some(then) = before.insert(id, now.clone()) else { continue };
            if now.name == "blog-importer-1" {
                continue; // its counters go back when it starts again: the test below
            }
            assert!(now.network_rx >= then.network_rx && now.network_tx >= then.network_tx);
            assert!(now.block_read >= then.block_read && now.block_write >= then.block_write);
            if now.cpu_percent == then.cpu_percent { same += 1 } else { moved += 1 }
        }
    }
    assert!(moved > 20 * same, "{moved} moved, {same} did not");
}

#[test]
fn one_fails_and_starts_again_with_counters_at_nothing() {
    let mut source = warm(12);
    let now = OffsetDateTime::now_utc();
    let mut seen = Vec::new();
    for second in 0..100 {
        let up = row(&source.rows(&Interest::all(), now), "blog-web-1").clone();
        assert!(up.network_rx.is_some());
        for (project, event) in source.advance(1.0, now) {
            assert_eq!(
                (project.as_str(), event.container.name.as_str()),
                ("blog", "blog-importer-1")
            );
            let listed = source.projects.iter().find(|p| p.id == "blog").unwrap();
            let listed = listed.containers.iter().find(|c| c.id == event.container.id).unwrap();
            assert_eq!(listed.state, event.container.state, "the list follows");
            let rows = source.rows(&Interest::all(), now);
            let row = rows.iter().find(|(id, _)| *id == event.container.id);
            if event.status == "die" {
                assert!(row.is_none() && event.container.exit_code == Some(1));
            } else {
                let row = &row.unwrap().1;
                assert_eq!(row.unavailable["cpu_percent"], Unavailable::FirstSample);
                assert_eq!(row.network_rx, Some(0));
            }
            seen.push((second, event.status));
        }
    }
    let kinds: Vec<&str> = seen.iter().map(|(_, kind)| kind.as_str()).collect();
    assert_eq!(kinds, ["die", "start", "die", "start"], "{seen:?}");
}

#[test]
fn only_what_is_wanted_is_read() {
    let mut source = warm(40);
    let rows = source.rows(&Interest::only(["blog"]), OffsetDateTime::now_utc());
    assert!(!rows.is_empty() && rows.iter().all(|(_, r)| r.project_id == "blog"));
}

#[test]
fn it_says_that_it_is_a_demo() {
    assert_eq!(DemoSource::new(1).engine_info().mode, Some(Mode::Demo));
}

#[test]
fn a_stretch_of_time_reads_as_the_engine_writes_it() {
    let table = [
        (0, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (7_199, "About an hour"),
        (7_200, "2 hours"),
        (172_800, "2 days"),
    ];
    for (seconds, words) in table {
        assert_eq!(lasting(seconds), words);
    }
}

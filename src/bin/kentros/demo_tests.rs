use std::collections::{BTreeMap, BTreeSet};

use kentros::{Container, ContainerStats, Interest, Mode, STANDALONE, StatsSource, Unavailable};
use time::OffsetDateTime;

use crate::demo::DemoSource;
use crate::demo::container::human_duration;
use crate::demo::simulation::Simulation;

/// A simulation after its first sample, which has no rates.
fn warmed_up(n: usize) -> Simulation {
    let mut simulation = Simulation::new(n);
    simulation.rows(&Interest::all(), OffsetDateTime::now_utc());
    simulation
}

fn tick(simulation: &mut Simulation) -> Vec<(String, ContainerStats)> {
    let now = OffsetDateTime::now_utc();
    simulation.advance(1.0, now);
    simulation.rows(&Interest::all(), now)
}

fn row<'a>(rows: &'a [(String, ContainerStats)], name: &str) -> &'a ContainerStats {
    &rows.iter().find(|(_, r)| r.name == name).expect(name).1
}

#[test]
fn ids_and_names_are_unique() {
    for n in [0, 1, 2, 9, 10, 50, 1_000] {
        let simulation = Simulation::new(n);
        let all: Vec<&Container> = simulation.projects.iter().flat_map(|p| &p.containers).collect();
        assert_eq!(all.len(), n);
        assert_eq!(all.iter().map(|c| &c.id).collect::<BTreeSet<_>>().len(), n);
        assert_eq!(all.iter().map(|c| &c.name).collect::<BTreeSet<_>>().len(), n);
        assert!(all.iter().all(|c| c.id.len() == 64
            && c.id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))));
    }
}

#[test]
fn ids_and_names_are_the_same_on_every_start() {
    let ids = |s: &Simulation| {
        s.containers.iter().map(|c| (c.container.id.clone(), c.container.name.clone())).collect()
    };
    let (a, b): (Vec<_>, Vec<_>) = (ids(&Simulation::new(40)), ids(&Simulation::new(40)));
    assert_eq!(a, b);
}

#[test]
fn ten_containers_cover_every_scenario() {
    let mut simulation = warmed_up(10);
    let by_id = |id: &str| simulation.projects.iter().find(|p| p.id == id).unwrap();
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

    let rows = tick(&mut simulation);
    assert_eq!(rows.len(), 9, "no row for the stopped container");
    let host = row(&rows, "node-exporter");
    assert_eq!((host.network_rx, host.network_tx), (None, None));
    assert_eq!(host.unavailable["network_rx"], Unavailable::HostNetwork);
    assert_eq!(host.unavailable["network_tx"], Unavailable::HostNetwork);
    assert_eq!((host.project_id.as_str(), host.service_name.as_deref()), (STANDALONE, None));
}

#[test]
fn exactly_the_missing_values_have_a_reason() {
    let mut simulation = Simulation::new(30);
    for sample in 0..100 {
        for (_, row) in tick(&mut simulation) {
            let json = serde_json::to_value(&row).unwrap();
            for (field, value) in json.as_object().unwrap() {
                let reason = row.unavailable.contains_key(field);
                assert_eq!(value.is_null() && field != "service_name", reason, "{field}");
            }
            assert!(sample > 0 || row.unavailable["cpu_percent"] == Unavailable::FirstSample);
        }
    }
}

#[test]
fn values_stay_within_limits_and_counters_only_grow() {
    let mut simulation = warmed_up(60);
    let mut before: BTreeMap<String, ContainerStats> = tick(&mut simulation).into_iter().collect();
    let (mut moved, mut same) = (0, 0);
    for _ in 0..300 {
        for (id, now) in tick(&mut simulation) {
            let cpu = now.cpu_percent.unwrap_or(0.0);
            assert!((0.0..=now.cpu_limit.unwrap() * 100.0).contains(&cpu), "{cpu}");
            assert!(now.memory_usage < now.memory_limit && now.memory_usage > Some(1 << 20));
            assert!(now.memory_usage.unwrap() % 4_096 == 0 && now.pids >= Some(1));
            let Some(then) = before.insert(id, now.clone()) else { continue };
            if now.name == "blog-importer-1" {
                continue; // its counters reset on restart; see the next test
            }
            assert!(now.network_rx >= then.network_rx && now.network_tx >= then.network_tx);
            assert!(now.block_read >= then.block_read && now.block_write >= then.block_write);
            if now.cpu_percent == then.cpu_percent { same += 1 } else { moved += 1 }
        }
    }
    assert!(moved > 20 * same, "{moved} moved, {same} did not");
}

#[test]
fn one_container_restarts_with_its_counters_at_zero() {
    let mut simulation = warmed_up(12);
    let now = OffsetDateTime::now_utc();
    let mut seen = Vec::new();
    for second in 0..100 {
        let up = row(&simulation.rows(&Interest::all(), now), "blog-web-1").clone();
        assert!(up.network_rx.is_some());
        for (project, event) in simulation.advance(1.0, now) {
            assert_eq!(
                (project.as_str(), event.container.name.as_str()),
                ("blog", "blog-importer-1")
            );
            let listed = simulation.projects.iter().find(|p| p.id == "blog").unwrap();
            let listed = listed.containers.iter().find(|c| c.id == event.container.id).unwrap();
            assert_eq!(listed.state, event.container.state, "the list is updated");
            let rows = simulation.rows(&Interest::all(), now);
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
fn only_requested_projects_are_sampled() {
    let mut simulation = warmed_up(40);
    let rows = simulation.rows(&Interest::only(["blog"]), OffsetDateTime::now_utc());
    assert!(!rows.is_empty() && rows.iter().all(|(_, r)| r.project_id == "blog"));
}

#[test]
fn the_mode_is_demo() {
    assert_eq!(DemoSource::new(1).engine_info().mode, Some(Mode::Demo));
}

#[test]
fn durations_read_as_in_docker_ps() {
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
        assert_eq!(human_duration(seconds), words);
    }
}

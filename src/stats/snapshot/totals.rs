//! The totals of each project.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::stats::payload::{ContainerStats, Project, ProjectTotals};

/// Counts the containers of each project and how many of them are running.
pub(crate) fn count_containers(projects: &[Project]) -> BTreeMap<String, ProjectTotals> {
    let mut by_project: BTreeMap<String, ProjectTotals> = BTreeMap::new();
    for project in projects {
        let totals = by_project.entry(project.id.clone()).or_default();
        project.containers.iter().for_each(|container| count_container(totals, &container.state));
    }
    by_project
}

pub(crate) fn count_container(totals: &mut ProjectTotals, state: &str) {
    totals.containers += 1;
    totals.running += u32::from(is_running(state));
}

/// Adds the rows that are no older than `fresh` to `counts`.
///
/// A network shared by several containers (`network_mode: container:X`) is added once: each of
/// them reports the whole traffic.
pub(crate) fn sum(
    rows: &[(String, ContainerStats)],
    counts: BTreeMap<String, ProjectTotals>,
    fresh: Duration,
) -> BTreeMap<String, ProjectTotals> {
    let mut by_project = counts;
    let mut networks: BTreeSet<(&str, &str)> = BTreeSet::new();
    for (id, row) in rows {
        let totals = by_project.entry(row.project_id.clone()).or_default();
        let age = row.age_ms.map(Duration::from_millis);
        if row.timestamp.is_none() || age.is_none_or(|age| age > fresh) {
            continue;
        }
        totals.sampled += 1;
        add_rate(&mut totals.cpu_percent, row.cpu_percent);
        add(&mut totals.memory_usage, row.memory_usage);
        add(&mut totals.block_read, row.block_read);
        add(&mut totals.block_write, row.block_write);
        add(&mut totals.pids, row.pids);
        let network = row.network_of.as_deref().unwrap_or(id);
        if row.network_rx.is_some() && networks.insert((&row.project_id, network)) {
            add(&mut totals.network_rx, row.network_rx);
            add(&mut totals.network_tx, row.network_tx);
        }
    }
    by_project
}

/// A paused container keeps its memory and counters, so it counts as running.
pub(crate) fn is_running(state: &str) -> bool {
    matches!(state, "running" | "paused")
}

/// Unknown values are skipped; the sum is unknown if all values are.
fn add(sum: &mut Option<u64>, value: Option<u64>) {
    if let Some(value) = value {
        *sum = Some(sum.unwrap_or(0).saturating_add(value));
    }
}

fn add_rate(sum: &mut Option<f64>, value: Option<f64>) {
    if let Some(value) = value {
        *sum = Some(sum.unwrap_or(0.0) + value);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;
    use crate::stats::payload::Container;

    const FRESH: Duration = Duration::from_millis(1_500);

    fn row(project: &str, age_ms: u64) -> ContainerStats {
        ContainerStats {
            project_id: project.to_owned(),
            cpu_percent: Some(1.5),
            memory_usage: Some(10),
            network_rx: Some(100),
            network_tx: Some(200),
            block_read: Some(1),
            block_write: Some(2),
            pids: Some(3),
            timestamp: Some("2026-11-22T19:00:00Z".to_owned()),
            age_ms: Some(age_ms),
            ..ContainerStats::default()
        }
    }

    fn rows(rows: &[(&str, ContainerStats)]) -> Vec<(String, ContainerStats)> {
        rows.iter().map(|(id, row)| ((*id).to_owned(), row.clone())).collect()
    }

    #[test]
    fn each_project_has_its_own_totals() {
        let rows = rows(&[("a", row("shop", 0)), ("b", row("shop", 9)), ("c", row("blog", 0))]);
        let totals = sum(&rows, BTreeMap::new(), FRESH);
        assert_eq!(totals.len(), 2);
        let expected = ProjectTotals {
            cpu_percent: Some(3.0),
            memory_usage: Some(20),
            network_rx: Some(200),
            network_tx: Some(400),
            block_read: Some(2),
            block_write: Some(4),
            pids: Some(6),
            containers: 0,
            running: 0,
            sampled: 2,
        };
        assert_eq!(totals["shop"], expected);
        assert_eq!(totals["blog"].sampled, 1);
    }

    #[test]
    fn stale_and_unknown_values_are_not_added() {
        let unknown = ContainerStats { cpu_percent: None, network_rx: None, ..row("shop", 0) };
        let missing = ContainerStats { project_id: "shop".to_owned(), ..Default::default() };
        let rows = rows(&[("old", row("shop", 1_501)), ("b", unknown), ("c", missing)]);
        let totals = &sum(&rows, BTreeMap::new(), FRESH)["shop"];
        assert_eq!(totals.sampled, 1, "only one of three rows is fresh");
        assert_eq!(totals.cpu_percent, None, "unknown is not 0");
        assert_eq!((totals.network_rx, totals.network_tx), (None, None));
        assert_eq!(totals.memory_usage, Some(10));
    }

    #[test]
    fn a_shared_network_is_added_once_per_project() {
        let shares =
            |project| ContainerStats { network_of: Some("vpn".to_owned()), ..row(project, 0) };
        let rows = rows(&[
            ("app", shares("shop")),
            ("vpn", row("shop", 0)),
            ("job", shares("shop")),
            ("spy", shares("blog")),
            ("own", row("shop", 0)),
        ]);
        let totals = sum(&rows, BTreeMap::new(), FRESH);
        assert_eq!(totals["shop"].network_rx, Some(200), "vpn and own");
        assert_eq!(totals["shop"].memory_usage, Some(40), "memory is not shared");
        assert_eq!(totals["blog"].network_rx, Some(100));
    }

    #[test]
    fn stopped_containers_are_counted_too() {
        let container = |state: &str| Container { state: state.to_owned(), ..Default::default() };
        let containers = ["running", "paused", "exited", "created", "restarting"];
        let project = Project {
            id: "shop".to_owned(),
            containers: containers.iter().map(|state| container(state)).collect(),
            ..Project::default()
        };
        let totals =
            &sum(&rows(&[("a", row("shop", 0))]), count_containers(&[project]), FRESH)["shop"];
        assert_eq!((totals.containers, totals.running, totals.sampled), (5, 2, 1));
    }
}

//! The sums of a project: pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::stats::payload::{ContainerStats, Project, ProjectTotals};

/// How many containers each project has, and how many of them run: sums without any row.
pub(crate) fn counts(projects: &[Project]) -> BTreeMap<String, ProjectTotals> {
    let mut totals: BTreeMap<String, ProjectTotals> = BTreeMap::new();
    for project in projects {
        let sums = totals.entry(project.id.clone()).or_default();
        project.containers.iter().for_each(|container| count(sums, &container.state));
    }
    totals
}

/// Counts a container that is in this state.
pub(crate) fn count(sums: &mut ProjectTotals, state: &str) {
    sums.containers += 1;
    sums.running += u32::from(is_running(state));
}

/// The sums of each project in `counts` or with a row, over the rows no older than `fresh`.
///
/// A network that several containers share (`network_mode: container:X`) counts once: each of
/// them reports all of it.
pub(crate) fn of(
    rows: &[(String, ContainerStats)],
    counts: BTreeMap<String, ProjectTotals>,
    fresh: Duration,
) -> BTreeMap<String, ProjectTotals> {
    let mut totals = counts;
    let mut networks: BTreeSet<(&str, &str)> = BTreeSet::new();
    for (id, row) in rows {
        let sums = totals.entry(row.project_id.clone()).or_default();
        let age = row.age_ms.map(Duration::from_millis);
        if row.timestamp.is_none() || age.is_none_or(|age| age > fresh) {
            continue;
        }
        sums.sampled += 1;
        add_rate(&mut sums.cpu_percent, row.cpu_percent);
        add(&mut sums.memory_usage, row.memory_usage);
        add(&mut sums.block_read, row.block_read);
        add(&mut sums.block_write, row.block_write);
        add(&mut sums.pids, row.pids);
        let network = row.network_of.as_deref().unwrap_or(id);
        if row.network_rx.is_some() && networks.insert((&row.project_id, network)) {
            add(&mut sums.network_rx, row.network_rx);
            add(&mut sums.network_tx, row.network_tx);
        }
    }
    totals
}

/// A paused container still has its memory and its counters, so it counts as running.
pub(crate) fn is_running(state: &str) -> bool {
    matches!(state, "running" | "paused")
}

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
    fn each_project_has_its_own_sums() {
        let rows = rows(&[("a", row("shop", 0)), ("b", row("shop", 9)), ("c", row("blog", 0))]);
        let totals = of(&rows, BTreeMap::new(), FRESH);
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
    fn what_is_stale_or_unknown_is_not_summed() {
        let unknown = ContainerStats { cpu_percent: None, network_rx: None, ..row("shop", 0) };
        let missing = ContainerStats { project_id: "shop".to_owned(), ..Default::default() };
        let rows = rows(&[("old", row("shop", 1_501)), ("b", unknown), ("c", missing)]);
        let sums = &of(&rows, BTreeMap::new(), FRESH)["shop"];
        assert_eq!(sums.sampled, 1, "of three");
        assert_eq!(sums.cpu_percent, None, "unknown is not 0");
        assert_eq!((sums.network_rx, sums.network_tx), (None, None));
        assert_eq!(sums.memory_usage, Some(10));
    }

    #[test]
    fn a_shared_network_counts_once_in_each_project() {
        let shares =
            |project| ContainerStats { network_of: Some("vpn".to_owned()), ..row(project, 0) };
        let rows = rows(&[
            ("app", shares("shop")),
            ("vpn", row("shop", 0)),
            ("job", shares("shop")),
            ("spy", shares("blog")),
            ("own", row("shop", 0)),
        ]);
        let totals = of(&rows, BTreeMap::new(), FRESH);
        assert_eq!(totals["shop"].network_rx, Some(200), "vpn's and own's");
        assert_eq!(totals["shop"].memory_usage, Some(40), "memory is each one's own");
        assert_eq!(totals["blog"].network_rx, Some(100));
    }

    #[test]
    fn containers_are_counted_whether_they_run_or_not() {
        let container = |state: &str| Container { state: state.to_owned(), ..Default::default() };
        let containers = ["running", "paused", "exited", "created", "restarting"];
        let project = Project {
            id: "shop".to_owned(),
            containers: containers.iter().map(|state| container(state)).collect(),
            ..Project::default()
        };
        let sums = &of(&rows(&[("a", row("shop", 0))]), counts(&[project]), FRESH)["shop"];
        assert_eq!((sums.containers, sums.running, sums.sampled), (5, 2, 1));
    }
}

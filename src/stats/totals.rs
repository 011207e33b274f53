//! The sums of a project: pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::protocol::payload::{ContainerStats, Project, ProjectTotals};

/// The sums of each project in `projects` or with a row, over the rows no older than `fresh`.
///
/// A network that several containers share (`network_mode: container:X`) counts once: each of
/// them reports all of it.
pub(crate) fn of(
    rows: &[(String, ContainerStats)],
    projects: &[Project],
    fresh: Duration,
) -> BTreeMap<String, ProjectTotals> {
    let mut totals: BTreeMap<String, ProjectTotals> = BTreeMap::new();
    for project in projects {
        let sums = totals.entry(project.id.clone()).or_default();
        sums.containers = count(project.containers.len());
        sums.running = count(project.containers.iter().filter(|c| is_running(&c.state)).count());
    }
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

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
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

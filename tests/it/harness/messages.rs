//! Messages and snapshots.

use std::time::Duration;

use kentros::{ContainerStats, Message, Snapshot};
use serde_json::Value;

/// A message of type `n` with this number.
pub(crate) fn numbered(n: usize) -> Message {
    Message::new("n", n)
}

/// A container's row whose memory usage is `bytes`.
pub(crate) fn row(project: &str, name: &str, bytes: u64) -> (String, ContainerStats) {
    let mut stats = ContainerStats::new(project, name);
    stats.memory_usage = Some(bytes);
    stats.timestamp = Some("2026-01-01T00:00:00Z".to_owned());
    stats.age_ms = Some(0);
    (format!("{project}-{name}"), stats)
}

pub(crate) fn snapshot(rows: Vec<(String, ContainerStats)>) -> Snapshot {
    Snapshot::from_rows(rows, &[], Duration::MAX).unwrap()
}

/// A snapshot with one container in each project, whose memory usage is `bytes`.
pub(crate) fn one_each(projects: &[&str], bytes: u64) -> Snapshot {
    snapshot(projects.iter().map(|project| row(project, "web", bytes)).collect())
}

/// The keys of an object, in order.
#[track_caller]
pub(crate) fn keys(object: &Value) -> Vec<&str> {
    object.as_object().expect("an object").keys().map(String::as_str).collect()
}

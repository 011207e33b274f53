//! The stats of all containers at one moment, encoded once per project.

pub(crate) mod history;
pub(crate) mod totals;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::payload::{ContainerStats, Project, ProjectTotals, STANDALONE};
use crate::Error;

/// The stats of all containers at one moment.
///
/// Each project is encoded once, when the snapshot is created. The message for a client is put
/// together from the projects it is interested in.
///
/// ```
/// use kentros::Snapshot;
/// use std::collections::HashMap;
///
/// let rows = HashMap::from([("c0ffee", serde_json::json!({"project_id": "shop", "load": 3}))]);
/// let snapshot = Snapshot::from_payload(&rows)?;
/// assert!(snapshot.to_json().contains(r#""load":3"#));
///
/// // A snapshot of containers also has the totals of each project.
/// let rows = [("c0ffee".to_owned(), kentros::ContainerStats::new("shop", "web"))];
/// let snapshot = Snapshot::from_rows(rows, &[], std::time::Duration::from_secs(3))?;
/// assert_eq!(snapshot.containers().len(), 1);
/// # Ok::<(), kentros::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// By project: the members `"id":{...},"id":{...}` of the `container_stats` payload.
    pub(crate) rows: BTreeMap<String, String>,
    /// By project: the totals as JSON. `None` if the rows are not [`ContainerStats`].
    pub(crate) totals: Option<BTreeMap<String, String>>,
    containers: Vec<(String, ContainerStats)>,
    /// Containers that are not running, with the facts that only `/metrics` shows.
    pub(super) stopped: Vec<(String, ContainerStats)>,
    /// Whether there are running containers but no rows yet.
    pub(crate) awaits_samples: bool,
    /// When it was published, in seconds since the Unix epoch.
    pub(crate) published: u64,
}

impl Snapshot {
    /// Creates a snapshot of `rows`, each with its container's full id, and computes the totals.
    ///
    /// `projects` provides the number of containers in each project. Rows older than `fresh` are
    /// included in the snapshot but not in the totals.
    ///
    /// # Errors
    /// [`Encode`](crate::ErrorKind::Encode) if a row cannot be encoded as JSON.
    pub fn from_rows(
        rows: impl Into<Vec<(String, ContainerStats)>>,
        projects: &[Project],
        fresh: Duration,
    ) -> Result<Self, Error> {
        Self::with_counts(rows.into(), totals::count_containers(projects), fresh)
    }

    /// Like [`from_rows`](Self::from_rows), with totals that hold only the number of containers.
    pub(crate) fn with_counts(
        rows: Vec<(String, ContainerStats)>,
        counts: BTreeMap<String, ProjectTotals>,
        fresh: Duration,
    ) -> Result<Self, Error> {
        let mut snapshot = Self::default();
        for (id, row) in &rows {
            snapshot.push(id, &row.project_id, row)?;
        }
        // The snapshot is retained until the next one.
        snapshot.rows.values_mut().for_each(String::shrink_to_fit);
        snapshot.awaits_samples = rows.is_empty() && counts.values().any(|sums| sums.running > 0);
        let totals = totals::sum(&rows, counts, fresh);
        let encoded = totals
            .into_iter()
            .map(|(project, sums)| Ok((project, encode(&sums)?)))
            .collect::<Result<_, Error>>()?;
        snapshot.totals = Some(encoded);
        snapshot.containers = rows;
        Ok(snapshot)
    }

    /// Adds facts about containers that are not running.
    #[cfg(feature = "docker")]
    pub(crate) fn with_stopped(mut self, stopped: Vec<(String, ContainerStats)>) -> Self {
        self.stopped = stopped;
        self
    }

    /// Returns the rows, each with its container's full id. Empty for a snapshot created by
    /// [`from_payload`](Self::from_payload).
    pub fn containers(&self) -> &[(String, ContainerStats)] {
        &self.containers
    }

    /// Creates a snapshot of custom rows: an object keyed by id, whose values may name their
    /// project in `project_id`. It has no totals.
    ///
    /// # Errors
    /// [`Encode`](crate::ErrorKind::Encode) if `payload` cannot be encoded as a JSON object.
    pub fn from_payload(payload: impl Serialize) -> Result<Self, Error> {
        let Value::Object(members) = serde_json::to_value(payload).map_err(Error::encode)? else {
            return Err(Error::encode(
                "stats must be an object keyed by id; use HubHandle::publish_every for other JSON",
            ));
        };
        let mut snapshot = Self::default();
        for (id, row) in &members {
            let project = row.get("project_id").and_then(Value::as_str).unwrap_or(STANDALONE);
            snapshot.push(id, project, row)?;
        }
        Ok(snapshot)
    }

    /// Returns the snapshot as JSON: `{"container_stats": {...}, "project_stats": {...}}`, both
    /// with the payload of the message of that name.
    pub fn to_json(&self) -> String {
        let rows: Vec<&str> = self.rows.values().map(String::as_str).collect();
        let totals: Vec<String> = self
            .totals
            .iter()
            .flatten()
            .map(|(project, sums)| format!("{}:{sums}", Value::from(project.as_str())))
            .collect();
        format!(
            "{{\"container_stats\":{{{}}},\"project_stats\":{{{}}}}}",
            rows.join(","),
            totals.join(",")
        )
    }

    fn push(&mut self, id: &str, project: &str, row: &impl Serialize) -> Result<(), Error> {
        let members = self.rows.entry(project.to_owned()).or_default();
        let comma = if members.is_empty() { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(members, "{comma}{}:{}", encode(id)?, encode(row)?);
        Ok(())
    }
}

fn encode(value: &(impl Serialize + ?Sized)) -> Result<String, Error> {
    serde_json::to_string(value).map_err(Error::encode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn to_json_returns_one_document() {
        let row = |project: &str| ContainerStats {
            project_id: project.to_owned(),
            ..ContainerStats::default()
        };
        let rows = [
            ("a".to_owned(), row("shop")),
            ("b".to_owned(), row("shop")),
            ("c".to_owned(), row("\"odd\" name")),
        ];
        let snapshot = Snapshot::from_rows(rows, &[], Duration::from_secs(1)).unwrap();
        let json: Value = serde_json::from_str(&snapshot.to_json()).unwrap();
        assert_eq!(json["container_stats"]["b"]["project_id"], "shop");
        assert_eq!(json["container_stats"].as_object().unwrap().len(), 3);
        assert_eq!(json["project_stats"]["\"odd\" name"]["sampled"], 0);
        assert_eq!(Snapshot::default().to_json(), r#"{"container_stats":{},"project_stats":{}}"#);
    }
}

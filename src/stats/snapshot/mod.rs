//! One reading of every container, encoded once per project.

pub(crate) mod history;
pub(crate) mod totals;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::payload::{ContainerStats, Project, ProjectTotals, STANDALONE};
use crate::Error;

/// One reading: the figures of each container, by project.
///
/// Each project is encoded once, when the snapshot is made; a client's message is put together
/// from the projects it subscribed to.
///
/// ```
/// use kentros::Snapshot;
/// use std::collections::HashMap;
///
/// let rows = HashMap::from([("c0ffee", serde_json::json!({"project_id": "shop", "load": 3}))]);
/// let snapshot = Snapshot::from_payload(&rows)?;
/// assert!(snapshot.to_json().contains(r#""load":3"#));
///
/// // The same of containers has their sums too.
/// let rows = [("c0ffee".to_owned(), kentros::ContainerStats::new("shop", "web"))];
/// let snapshot = Snapshot::from_rows(rows, &[], std::time::Duration::from_secs(3))?;
/// assert_eq!(snapshot.containers().len(), 1);
/// # Ok::<(), kentros::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Per project, the members `"id":{...},"id":{...}` of the `container_stats` payload.
    pub(crate) rows: BTreeMap<String, String>,
    /// Per project, the sums as JSON. `None` for rows that are not [`ContainerStats`].
    pub(crate) totals: Option<BTreeMap<String, String>>,
    containers: Vec<(String, ContainerStats)>,
    /// Containers run, and none of them has a row yet.
    pub(crate) hollow: bool,
}

impl Snapshot {
    /// The snapshot of these rows, each with its container's full id, and the sums over them.
    ///
    /// `projects` tells the sums how many containers there are; rows older than `fresh` are shown
    /// but not summed.
    ///
    /// # Errors
    /// If a row cannot be written as JSON.
    pub fn from_rows(
        rows: impl Into<Vec<(String, ContainerStats)>>,
        projects: &[Project],
        fresh: Duration,
    ) -> Result<Self, Error> {
        Self::with_counts(rows.into(), totals::counts(projects), fresh)
    }

    /// The same, from sums that hold how many containers there are and nothing else.
    pub(crate) fn with_counts(
        rows: Vec<(String, ContainerStats)>,
        counts: BTreeMap<String, ProjectTotals>,
        fresh: Duration,
    ) -> Result<Self, Error> {
        let mut snapshot = Self::default();
        for (id, row) in &rows {
            snapshot.push(id, &row.project_id, row)?;
        }
        // It is kept until the next one comes.
        snapshot.rows.values_mut().for_each(String::shrink_to_fit);
        snapshot.hollow = rows.is_empty() && counts.values().any(|sums| sums.running > 0);
        let totals = totals::of(&rows, counts, fresh);
        let encoded = totals
            .into_iter()
            .map(|(project, sums)| Ok((project, encode(&sums)?)))
            .collect::<Result<_, Error>>()?;
        snapshot.totals = Some(encoded);
        snapshot.containers = rows;
        Ok(snapshot)
    }

    /// The rows it was made from, each with its container's full id; none where it was made from
    /// a payload.
    pub fn containers(&self) -> &[(String, ContainerStats)] {
        &self.containers
    }

    /// The snapshot of rows of your own: an object keyed by id, whose values may name their
    /// project in `project_id`. It has no sums.
    ///
    /// # Errors
    /// If `payload` cannot be written as JSON, or is no object.
    pub fn from_payload(payload: impl Serialize) -> Result<Self, Error> {
        let Value::Object(members) = serde_json::to_value(payload).map_err(Error::encode)? else {
            return Err(Error::encode(
                "stats must be an object keyed by id; HubHandle::publish_every publishes any JSON",
            ));
        };
        let mut snapshot = Self::default();
        for (id, row) in &members {
            let project = row.get("project_id").and_then(Value::as_str).unwrap_or(STANDALONE);
            snapshot.push(id, project, row)?;
        }
        Ok(snapshot)
    }

    /// All of it as one JSON document: `{"container_stats": {...}, "project_stats": {...}}`, both
    /// as in the messages of these names.
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
    fn the_whole_is_one_json_document() {
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

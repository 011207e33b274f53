//! One reading of every container, encoded once per project.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::history::{Point, UNKNOWN};
use super::totals;
use crate::Error;
use crate::protocol::STANDALONE;
use crate::protocol::payload::{ContainerStats, Project, ProjectTotals};

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
/// # Ok::<(), kentros::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Per project, the members `"id":{...},"id":{...}` of the `container_stats` payload.
    pub(crate) rows: BTreeMap<String, String>,
    /// Per project, the sums as JSON. `None` for rows that are not [`ContainerStats`].
    pub(crate) totals: Option<BTreeMap<String, String>>,
    /// Per container, what the history keeps.
    pub(crate) figures: Vec<Figures>,
}

/// One container's figures for the history.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) id: String,
    pub(crate) project: String,
    pub(crate) point: Point,
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
        rows: &[(String, ContainerStats)],
        projects: &[Project],
        fresh: Duration,
    ) -> Result<Self, Error> {
        let mut snapshot = Self::default();
        for (id, row) in rows {
            snapshot.push(id, &row.project_id, row)?;
            snapshot.figures.push(Figures::of(id, row));
        }
        let totals: BTreeMap<String, ProjectTotals> = totals::of(rows, projects, fresh);
        let encoded = totals
            .into_iter()
            .map(|(project, sums)| Ok((project, encode(&sums)?)))
            .collect::<Result<_, Error>>()?;
        snapshot.totals = Some(encoded);
        Ok(snapshot)
    }

    /// The snapshot of rows of your own: an object keyed by id, whose values may name their
    /// project in `project_id`. It has no sums.
    ///
    /// # Errors
    /// If `payload` cannot be written as JSON, or is no object.
    pub fn from_payload(payload: impl Serialize) -> Result<Self, Error> {
        let Value::Object(members) = serde_json::to_value(payload).map_err(Error::encode)? else {
            return Err(Error::encode("stats must be an object keyed by id"));
        };
        let mut snapshot = Self::default();
        for (id, row) in &members {
            let project = row.get("project_id").and_then(Value::as_str).unwrap_or(STANDALONE);
            snapshot.push(id, project, row)?;
        }
        Ok(snapshot)
    }

    fn push(&mut self, id: &str, project: &str, row: &impl Serialize) -> Result<(), Error> {
        let members = self.rows.entry(project.to_owned()).or_default();
        let comma = if members.is_empty() { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(members, "{comma}{}:{}", encode(id)?, encode(row)?);
        Ok(())
    }
}

impl Figures {
    fn of(id: &str, row: &ContainerStats) -> Self {
        let bytes =
            [row.memory_usage, row.network_rx, row.network_tx, row.block_read, row.block_write]
                .map(|value| value.unwrap_or(UNKNOWN));
        // Two decimals are shown.
        #[allow(clippy::cast_possible_truncation)]
        let cpu_percent = row.cpu_percent.map(|cpu| cpu as f32);
        let point = Point { cpu_percent, bytes };
        Self { id: id.to_owned(), project: row.project_id.clone(), point }
    }
}

fn encode(value: &(impl Serialize + ?Sized)) -> Result<String, Error> {
    serde_json::to_string(value).map_err(Error::encode)
}

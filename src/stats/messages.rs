//! The messages of a snapshot: for each interest, its rows and totals.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::{Interest, Message, Snapshot};

/// The kind of the message, and the key under which the latest snapshot is retained.
pub(super) const CONTAINER_STATS: &str = "container_stats";

impl Snapshot {
    /// The messages for a client with this interest.
    pub(super) fn messages(&self, interest: &Interest) -> Vec<Message> {
        let totals = self.project_stats(interest);
        std::iter::once(self.container_stats(interest)).chain(totals).collect()
    }

    pub(super) fn container_stats(&self, interest: &Interest) -> Message {
        let rows = self.rows.iter().filter(|(project, _)| interest.includes(project));
        let members = rows.map(|(_, members)| (None, members.as_str()));
        Message::from_json_payload(CONTAINER_STATS, object(members)).at(self.published)
    }

    /// The totals, if the source provides them.
    fn project_stats(&self, interest: &Interest) -> Option<Message> {
        let totals = self.totals.as_ref()?;
        let totals = totals.iter().filter(|(project, _)| interest.includes(project));
        let members = totals.map(|(project, json)| (Some(project.as_str()), json.as_str()));
        Some(Message::from_json_payload("project_stats", object(members)).at(self.published))
    }

    /// The projects of the snapshot, with or without rows.
    pub(super) fn projects(&self) -> BTreeSet<String> {
        let totals = self.totals.iter().flat_map(BTreeMap::keys);
        self.rows.keys().chain(totals).cloned().collect()
    }

    /// Whether the snapshot has this project, with or without rows.
    pub(super) fn has_project(&self, project: &str) -> bool {
        let totals = self.totals.as_ref();
        self.rows.contains_key(project) || totals.is_some_and(|t| t.contains_key(project))
    }
}

/// A JSON object made of encoded members. A member without a key is already `"key":value`.
fn object<'a>(members: impl Iterator<Item = (Option<&'a str>, &'a str)> + Clone) -> String {
    // One allocation of about the right size: it may be a megabyte.
    let length = members.clone().map(|(key, json)| key.map_or(0, str::len) + json.len() + 8);
    let mut json = String::with_capacity(16 + length.sum::<usize>());
    json.push('{');
    let mut separator = "";
    for (key, member) in members {
        json.push_str(separator);
        if let Some(key) = key {
            // Neither encoding a string nor writing to one can fail.
            let _ = write!(json, "{}:", serde_json::to_string(key).unwrap_or_default());
        }
        json.push_str(member);
        separator = ",";
    }
    json.push('}');
    json
}

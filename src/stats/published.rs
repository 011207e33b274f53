//! A snapshot on its way to the clients: for each interest its rows and sums.

use std::fmt::Write as _;

use crate::{Interest, Message, Snapshot};

/// Under which key the newest snapshot is retained.
pub(super) const CONTAINER_STATS: &str = "container_stats";

/// A snapshot that has been published.
#[derive(Debug)]
pub(crate) struct PublishedSnapshot {
    snapshot: Snapshot,
}

impl PublishedSnapshot {
    pub(super) fn new(snapshot: Snapshot) -> Self {
        Self { snapshot }
    }

    /// The messages for a receiver.
    pub(super) fn messages(&self, interest: &Interest) -> Vec<Message> {
        let totals = self.project_stats(interest);
        std::iter::once(self.container_stats(interest)).chain(totals).collect()
    }

    pub(super) fn container_stats(&self, interest: &Interest) -> Message {
        let rows = self.snapshot.rows.iter().filter(|(project, _)| interest.includes(project));
        let members = rows.map(|(_, members)| (None, members.as_str()));
        Message::from_json_payload(CONTAINER_STATS, object(members))
    }

    /// The sums, where the source has some.
    fn project_stats(&self, interest: &Interest) -> Option<Message> {
        let totals = self.snapshot.totals.as_ref()?;
        let sums = totals.iter().filter(|(project, _)| interest.includes(project));
        let members = sums.map(|(project, json)| (Some(project.as_str()), json.as_str()));
        Some(Message::from_json_payload("project_stats", object(members)))
    }

    /// Whether there is such a project, with a row or without.
    pub(super) fn knows(&self, project: &str) -> bool {
        let totals = self.snapshot.totals.as_ref();
        self.snapshot.rows.contains_key(project) || totals.is_some_and(|t| t.contains_key(project))
    }

    pub(super) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }
}

/// An object of members that are JSON already, with or without their key.
fn object<'a>(members: impl Iterator<Item = (Option<&'a str>, &'a str)> + Clone) -> String {
    // All of it at once, roughly: it may be a megabyte.
    let length = members.clone().map(|(key, json)| key.map_or(0, str::len) + json.len() + 8);
    let mut json = String::with_capacity(16 + length.sum::<usize>());
    json.push('{');
    let mut comma = "";
    for (key, member) in members {
        json.push_str(comma);
        if let Some(key) = key {
            // A string is always JSON; writing to a String cannot fail.
            let _ = write!(json, "{}:", serde_json::to_string(key).unwrap_or_default());
        }
        json.push_str(member);
        comma = ",";
    }
    json.push('}');
    json
}

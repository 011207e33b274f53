//! From a publish to the bytes for each client: what is put together once, and for whom.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use crate::client::Client;
use crate::frame::Frame;
use crate::outbox::Offered;
use crate::protocol::unix_seconds;
use crate::registry::{Projects, Shard, ViewId, receives};
use crate::snapshot::Snapshot;

/// Clients whose memory is fetched together, which takes about as long as for one.
const FETCHED: usize = 16;

/// One publish, encoded and framed.
#[derive(Clone, Debug)]
pub(super) enum Item {
    /// For every client.
    All(Frame),
    /// For those who receive this project.
    Project(String, Frame),
    /// For each client, the projects it receives.
    Snapshot(Arc<Shot>),
}

/// A snapshot and when it was published.
#[derive(Debug)]
pub(crate) struct Shot {
    snapshot: Snapshot,
    timestamp: u64,
    /// The frames for those who receive everything, who are most.
    whole: OnceLock<Vec<Frame>>,
}

impl Shot {
    pub(super) fn new(snapshot: Snapshot) -> Self {
        Self { snapshot, timestamp: unix_seconds(), whole: OnceLock::new() }
    }

    /// The `container_stats` message for a view.
    pub(crate) fn container_stats(&self, view: &Projects) -> String {
        let rows = self.snapshot.rows.iter().filter(|(project, _)| receives(view, project));
        self.document("container_stats", rows.map(|(_, members)| (None, members.as_str())))
    }

    /// The `project_stats` message for a view, where the source has sums.
    pub(super) fn project_stats(&self, view: &Projects) -> Option<String> {
        let totals = self.snapshot.totals.as_ref()?;
        let sums = totals.iter().filter(|(project, _)| receives(view, project));
        let members = sums.map(|(project, json)| (Some(project.as_str()), json.as_str()));
        Some(self.document("project_stats", members))
    }

    /// Whether there is such a project, with a row or without.
    pub(crate) fn knows(&self, project: &str) -> bool {
        let totals = self.snapshot.totals.as_ref();
        self.snapshot.rows.contains_key(project) || totals.is_some_and(|t| t.contains_key(project))
    }

    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// An envelope around members that are JSON already, with or without their key.
    fn document<'a>(
        &self,
        kind: &str,
        members: impl Iterator<Item = (Option<&'a str>, &'a str)> + Clone,
    ) -> String {
        // All of it at once, about: it may be a megabyte.
        let length = members.clone().map(|(key, json)| key.map_or(0, str::len) + json.len() + 8);
        let mut json = String::with_capacity(128 + length.sum::<usize>());
        // Writing to a String cannot fail.
        let _ = write!(json, "{{\"type\":\"{kind}\",\"payload\":{{");
        let mut comma = "";
        for (key, member) in members {
            json.push_str(comma);
            if let Some(key) = key {
                // A string is always JSON.
                json.push_str(&serde_json::to_string(key).unwrap_or_default());
                json.push(':');
            }
            json.push_str(member);
            comma = ",";
        }
        let _ = write!(json, "}},\"timestamp\":{}}}", self.timestamp);
        json
    }

    fn frames(&self, view: &Projects) -> Vec<Frame> {
        let stats = Frame::text(&self.container_stats(view)).latest("container_stats".into());
        let totals =
            self.project_stats(view).map(|json| Frame::text(&json).latest("project_stats".into()));
        std::iter::once(stats).chain(totals).collect()
    }
}

impl Item {
    /// Adds the frames that a client of `view` gets of this.
    pub(super) fn frames(&self, view: &Projects, out: &mut Vec<Frame>) {
        match self {
            Self::All(frame) => out.push(frame.clone()),
            Self::Project(project, frame) if receives(view, project) => out.push(frame.clone()),
            Self::Project(..) => {}
            Self::Snapshot(shot) if view.is_empty() => {
                out.extend_from_slice(shot.whole.get_or_init(|| shot.frames(view)));
            }
            Self::Snapshot(shot) => out.extend(shot.frames(view)),
        }
    }

    /// The bytes this adds to a turn, about: a bound, no account.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::All(frame) | Self::Project(_, frame) => frame.bytes().len(),
            Self::Snapshot(shot) => shot.snapshot.rows.values().map(String::len).sum(),
        }
    }
}

/// The frames for the clients of one view, and the same as one piece of bytes.
#[derive(Debug)]
pub(super) struct Parcel {
    frames: Vec<Frame>,
    /// Empty where there is one frame, whose bytes serve as they are.
    joined: Vec<u8>,
}

impl Parcel {
    /// `None` where the view gets nothing.
    pub(super) fn of<'a>(items: impl Iterator<Item = &'a Item>, view: &Projects) -> Option<Self> {
        let mut frames = Vec::new();
        for item in items {
            item.frames(view, &mut frames);
        }
        Self::from_frames(frames)
    }

    pub(super) fn from_frames(frames: Vec<Frame>) -> Option<Self> {
        let joined = match frames.as_slice() {
            [] => return None,
            [_] => Vec::new(),
            many => many.iter().map(Frame::bytes).collect::<Vec<_>>().concat(),
        };
        Some(Self { frames, joined })
    }

    fn bytes(&self) -> &[u8] {
        match self.frames.as_slice() {
            [one] => one.bytes(),
            _ => &self.joined,
        }
    }

    pub(super) fn offer(&self, client: &Client) -> Offered {
        client.offer(&self.frames, self.bytes())
    }

    pub(super) fn len(&self) -> u64 {
        self.frames.len() as u64
    }
}

/// What one turn brings to each view.
pub(super) type Parcels = HashMap<ViewId, Parcel>;

/// What became of a turn in one shard.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) delivered: u64,
    pub(super) conflated: u64,
    /// Clients too slow for their bounds.
    pub(super) full: Vec<u64>,
    /// Clients that are closing already.
    pub(super) gone: Vec<u64>,
}

/// Gives each client of the shard its parcel: one system call each, none that waits.
pub(super) fn deliver(shard: &Shard<Client>, parcels: &Parcels) -> Report {
    let mut report = Report::default();
    for (view, members) in shard.groups() {
        let Some(parcel) = parcels.get(&view) else { continue };
        for some in members.chunks(FETCHED) {
            for (_, client) in some {
                client.outbox().fetch();
            }
            for (id, client) in some {
                report.count(*id, parcel.offer(client), parcel.len());
            }
        }
    }
    report
}

impl Report {
    pub(super) fn count(&mut self, client: u64, offered: Offered, messages: u64) {
        match offered {
            Offered::Sent => self.delivered += messages,
            Offered::Waits { conflated, .. } => {
                self.delivered += messages;
                self.conflated += conflated;
            }
            Offered::Full => self.full.push(client),
            Offered::Gone => self.gone.push(client),
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.delivered += other.delivered;
        self.conflated += other.conflated;
        self.full.extend(other.full);
        self.gone.extend(other.gone);
    }
}

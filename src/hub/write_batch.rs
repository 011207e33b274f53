//! From publications to the bytes for each client: what is joined once, and for whom.

use std::collections::HashMap;

use super::publication::Keyed;
use super::registry::{Registry, Shard, ViewId};
use super::subscriber::Subscriber;
use crate::connection::frame::Frame;
use crate::connection::outbox::Offered;

/// Clients whose memory is fetched together, which takes about as long as for one.
const PREFETCHED: usize = 16;

/// The frames for the clients of one view, and the same as one piece of bytes.
#[derive(Debug)]
pub(super) struct WriteBatch {
    frames: Vec<Frame>,
    /// Empty where there is one frame, whose bytes serve as they are.
    joined: Vec<u8>,
    /// The frames, by number, that are not for these clients; for most turns there are none.
    exceptions: HashMap<u64, Vec<usize>>,
}

impl WriteBatch {
    /// `None` where there is nothing to send.
    pub(super) fn new(frames: Vec<Frame>) -> Option<Self> {
        let joined = match frames.as_slice() {
            [] => return None,
            [_] => Vec::new(),
            many => many.iter().map(Frame::bytes).collect::<Vec<_>>().concat(),
        };
        Some(Self { frames, joined, exceptions: HashMap::new() })
    }

    /// Offers the client its frames: one system call, or none.
    pub(super) fn offer(&self, client: u64, subscriber: &Subscriber, report: &mut Report) {
        if let Some(left_out) = self.exceptions.get(&client) {
            let frames = self.frames.iter().enumerate();
            let rest = frames.filter(|(n, _)| !left_out.contains(n)).map(|(_, f)| f.clone());
            if let Some(rest) = Self::new(rest.collect()) {
                rest.offer(client, subscriber, report);
            }
            return;
        }
        let bytes = match self.frames.as_slice() {
            [one] => one.bytes(),
            _ => &self.joined,
        };
        let offered = subscriber.offer(&self.frames, bytes);
        report.count(client, offered, self.frames.len() as u64);
    }
}

/// What one turn sends to each view.
pub(super) type Batches = HashMap<ViewId, WriteBatch>;

/// Joins, for each view, the frames it gets of these publications.
pub(super) fn batches(registry: &Registry<Subscriber>, publications: &[Keyed]) -> Batches {
    let mut frames: HashMap<ViewId, Vec<Frame>> = HashMap::new();
    let mut exceptions: HashMap<ViewId, HashMap<u64, Vec<usize>>> = HashMap::new();
    for (_, publication) in publications {
        for (view, interest) in registry.receivers(publication.project()) {
            let frames = frames.entry(view).or_default();
            if let Some(client) = publication.except() {
                let exceptions = exceptions.entry(view).or_default();
                exceptions.entry(client).or_default().push(frames.len());
            }
            publication.frames(interest, frames);
        }
    }
    frames
        .into_iter()
        .filter_map(|(view, frames)| {
            let mut batch = WriteBatch::new(frames)?;
            batch.exceptions = exceptions.remove(&view).unwrap_or_default();
            Some((view, batch))
        })
        .collect()
}

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

/// Gives each client of the shard its batch: one system call each, none that waits.
pub(super) fn deliver(shard: &Shard<Subscriber>, batches: &Batches) -> Report {
    let mut report = Report::default();
    for (&view, batch) in batches {
        for some in shard.members(view).chunks(PREFETCHED) {
            for (_, subscriber) in some {
                subscriber.prefetch();
            }
            for (id, subscriber) in some {
                batch.offer(*id, subscriber, &mut report);
            }
        }
    }
    report
}

impl Report {
    fn count(&mut self, client: u64, offered: Offered, messages: u64) {
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

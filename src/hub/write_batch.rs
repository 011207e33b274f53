//! The bytes that one turn sends to each group of clients.

use std::collections::HashMap;

use super::publication::KeyedPublication;
use super::registry::{Registry, Shard, ViewId};
use super::subscriber::Subscriber;
use crate::connection::frame::Frame;
use crate::connection::outbox::OfferResult;

/// The frames for the clients of one view, joined once so that each client costs one system call.
#[derive(Debug)]
pub(super) struct WriteBatch {
    frames: Vec<Frame>,
    /// All bytes. Empty if there is only one frame.
    joined: Vec<u8>,
    /// The indices of frames that a client does not receive, by client. Usually empty.
    exceptions: HashMap<u64, Vec<usize>>,
}

impl WriteBatch {
    /// `None` if there are no frames.
    pub(super) fn new(frames: Vec<Frame>) -> Option<Self> {
        let joined = match frames.as_slice() {
            [] => return None,
            [_] => Vec::new(),
            many => many.iter().map(Frame::bytes).collect::<Vec<_>>().concat(),
        };
        Some(Self { frames, joined, exceptions: HashMap::new() })
    }

    /// Sends the client its frames with at most one system call.
    pub(super) fn offer(&self, client: u64, subscriber: &Subscriber, report: &mut Report) {
        if let Some(excluded) = self.exceptions.get(&client) {
            let frames = self.frames.iter().enumerate();
            let rest = frames.filter(|(n, _)| !excluded.contains(n)).map(|(_, f)| f.clone());
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

/// The batch for each view.
pub(super) type Batches = HashMap<ViewId, WriteBatch>;

/// Joins the frames for each view.
pub(super) fn batches(
    registry: &Registry<Subscriber>,
    publications: &[KeyedPublication],
) -> Batches {
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

/// The result of sending to the clients of a shard.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) delivered: u64,
    pub(super) conflated: u64,
    /// Clients whose queue is full.
    pub(super) full: Vec<u64>,
    /// Clients whose connection is closing.
    pub(super) closing: Vec<u64>,
}

/// Sends each client of the shard its batch, without blocking.
pub(super) fn deliver(shard: &Shard<Subscriber>, batches: &Batches) -> Report {
    let mut report = Report::default();
    for (&view, batch) in batches {
        for (id, subscriber) in shard.members(view) {
            batch.offer(*id, subscriber, &mut report);
        }
    }
    report
}

impl Report {
    fn count(&mut self, client: u64, offered: OfferResult, messages: u64) {
        match offered {
            OfferResult::Sent => self.delivered += messages,
            OfferResult::Queued { conflated, .. } => {
                self.delivered += messages;
                self.conflated += conflated;
            }
            OfferResult::Full => self.full.push(client),
            OfferResult::Closing => self.closing.push(client),
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.delivered += other.delivered;
        self.conflated += other.conflated;
        self.full.extend(other.full);
        self.closing.extend(other.closing);
    }
}

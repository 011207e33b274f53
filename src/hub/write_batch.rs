//! The bytes that one turn sends to each group of clients.

use std::collections::{HashMap, hash_map};
use std::sync::Arc;

use super::publication::KeyedPublication;
use super::registry::{Registry, Shard, ViewId};
use super::subscriber::Subscriber;
use crate::Interest;
use crate::connection::frame::Frame;
use crate::connection::outbox::OfferResult;

/// Maximum size of the batches made at a time, in bytes. Larger turns are sent in several steps.
const MAX_JOINED: usize = 16 << 20;

/// The frames for the clients of a view, joined once so that each client costs one system call.
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

/// The batch for each view. Views with the same frames share one.
pub(super) type Batches = HashMap<ViewId, Arc<WriteBatch>>;

/// The publications of one turn, and who receives them.
#[derive(Debug)]
pub(super) struct Turn {
    groups: hash_map::IntoIter<Group, Vec<ViewId>>,
}

/// What determines the frames of a view.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
struct Group {
    /// The indices of its publications.
    publications: Vec<usize>,
    /// The audience of each of them that depends on the interest.
    audiences: Vec<Interest>,
}

impl Turn {
    pub(super) fn new(registry: &Registry<Subscriber>, publications: &[KeyedPublication]) -> Self {
        let mut views: HashMap<ViewId, Group> = HashMap::new();
        for (i, (_, publication)) in publications.iter().enumerate() {
            for (view, interest) in registry.receivers(publication.project()) {
                let group = views.entry(view).or_default();
                group.publications.push(i);
                group.audiences.extend(publication.audience(interest));
            }
        }
        let mut groups: HashMap<Group, Vec<ViewId>> = HashMap::new();
        for (view, group) in views {
            groups.entry(group).or_default().push(view);
        }
        Self { groups: groups.into_iter() }
    }

    /// Joins the frames for the next views, up to about [`MAX_JOINED`] bytes: thousands of views
    /// may have different frames of a megabyte. Returns `None` at the end.
    pub(super) fn next_batches(&mut self, publications: &[KeyedPublication]) -> Option<Batches> {
        let mut batches = Batches::new();
        let mut bytes = 0;
        while bytes < MAX_JOINED
            && let Some((group, views)) = self.groups.next()
        {
            if let Some(batch) = group.batch(publications) {
                bytes += batch.frames.iter().map(|frame| frame.bytes().len()).sum::<usize>();
                let batch = Arc::new(batch);
                batches.extend(views.into_iter().map(|view| (view, Arc::clone(&batch))));
            }
        }
        (!batches.is_empty()).then_some(batches)
    }
}

impl Group {
    fn batch(&self, publications: &[KeyedPublication]) -> Option<WriteBatch> {
        let (mut frames, mut exceptions) = (Vec::new(), HashMap::<u64, Vec<usize>>::new());
        let mut audiences = self.audiences.iter();
        for (_, publication) in self.publications.iter().filter_map(|&i| publications.get(i)) {
            if let Some(client) = publication.except() {
                exceptions.entry(client).or_default().push(frames.len());
            }
            let audience = if publication.is_by_interest() { audiences.next() } else { None };
            publication.frames_for(audience, &mut frames);
        }
        Some(WriteBatch { exceptions, ..WriteBatch::new(frames)? })
    }
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

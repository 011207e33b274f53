//! The hub's thread, the only one that changes the registered clients and retained messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, at, never, select_biased};

use super::fanout::Fanout;
use super::interest_channel::InterestSender;
use super::publication::{KeyedPublication, Publication};
use super::registry::Registry;
use super::retained::Retained;
use super::slowest::{ClientBacklog, MAX_QUEUED_BYTES, slowest};
use super::subscriber::Subscriber;
use super::write_batch::{Report, Turn, WriteBatch};
use super::{HubConfig, Query, Responder};
use crate::Interest;
use crate::connection::frame::Frame;
use crate::counters::{self, AtomicCounters};

/// Maximum number of messages, and of their bytes, that are sent in one turn.
const TURN_MESSAGES: usize = 256;
const TURN_BYTES: usize = 64 * 1024;
/// How long a query counts as a listener.
const QUERY_LINGER: Duration = Duration::from_secs(30);
/// The time limit of a query. HTTP has timed out by then.
const QUERY_WAIT: Duration = Duration::from_secs(5);

/// A command to the hub's thread.
pub(super) enum HubCommand {
    Register(Subscriber, Interest),
    Unregister(u64),
    /// The reply is false if the client has too many subscriptions.
    Subscribe {
        client: u64,
        project: String,
        reply: Sender<bool>,
    },
    Unsubscribe {
        client: u64,
        project: String,
    },
    /// `first` is sent before the retained messages.
    SetInterest {
        client: u64,
        interest: Interest,
        first: Option<Frame>,
    },
    /// Retained if it has a key.
    Publish {
        key: Option<Arc<str>>,
        publication: Publication,
    },
    SendTo(u64, Frame),
    ClearLatest(Vec<String>),
    /// Clears these keys and sets the error for queries.
    Invalidate(&'static [&'static str], String),
    AttachStreamer(InterestSender),
    Query(Query, Responder),
}

/// A query that waits for a message.
struct PendingQuery {
    key: &'static str,
    responder: Responder,
    until: Instant,
}

pub(super) struct HubLoop {
    id: u64,
    commands: Receiver<HubCommand>,
    stopped: Receiver<()>,
    stopping: Arc<AtomicBool>,
    registry: Registry<Subscriber>,
    max_subscriptions: usize,
    max_queued_bytes: usize,
    fanout: Fanout,
    counters: Arc<AtomicCounters>,
    retained: Retained,
    streamers: Vec<InterestSender>,
    /// The interest last sent to the streamers; `None` without listeners.
    interest: Option<Interest>,
    /// Until when a query counts as a listener.
    queried: Option<Instant>,
    pending: Vec<PendingQuery>,
}

impl HubLoop {
    pub(super) fn new(
        id: u64,
        config: &HubConfig,
        commands: Receiver<HubCommand>,
        stopped: Receiver<()>,
        stopping: Arc<AtomicBool>,
        counters: Arc<AtomicCounters>,
    ) -> Self {
        let shards = config.shards.get();
        Self {
            id,
            commands,
            stopped,
            stopping,
            registry: Registry::new(shards),
            max_subscriptions: config.max_subscriptions,
            max_queued_bytes: MAX_QUEUED_BYTES,
            fanout: Fanout::new(shards),
            counters,
            retained: Retained::default(),
            streamers: Vec::new(),
            interest: None,
            queried: None,
            pending: Vec::new(),
        }
    }

    pub(super) fn run(mut self) {
        loop {
            let timer = self.next_deadline().map_or_else(never, at);
            select_biased! {
                recv(self.stopped) -> _ => break,
                recv(self.commands) -> command => match command {
                    Ok(command) => self.execute(command),
                    Err(_) => break,
                },
                recv(timer) -> _ => self.expire(Instant::now()),
            }
        }
        self.close_clients();
    }

    fn execute(&mut self, command: HubCommand) {
        match command {
            HubCommand::Publish { key, publication } => self.turn((key, publication)),
            HubCommand::Register(subscriber, interest) => self.register(subscriber, interest),
            HubCommand::Unregister(client) => {
                self.registry.remove(client);
                self.interest_changed();
            }
            HubCommand::Subscribe { client, project, reply } => {
                let _ = reply.send(self.subscribe(client, project));
            }
            HubCommand::Unsubscribe { client, project } => {
                if let Some(interest) = self.registry.interest(client) {
                    let interest = interest.without(&project);
                    self.change_interest(client, interest);
                }
            }
            HubCommand::SetInterest { client, interest, first } => {
                self.set_interest(client, interest, first);
            }
            HubCommand::SendTo(client, frame) => self.send(client, vec![frame]),
            HubCommand::ClearLatest(keys) => self.retained.clear(&keys),
            HubCommand::Invalidate(keys, why) => {
                self.retained.invalidate(keys, why);
                self.answer_queries();
            }
            HubCommand::AttachStreamer(streamer) => {
                if streamer.set(self.interest.clone()) {
                    self.streamers.push(streamer);
                }
            }
            HubCommand::Query(Query::Alive, responder) => responder(Ok(None)),
            HubCommand::Query(Query::Latest(key), responder) => {
                let now = Instant::now();
                self.queried = Some(now + QUERY_LINGER);
                self.interest_changed();
                match self.retained.response(key) {
                    Some(response) => responder(response),
                    None => {
                        self.pending.push(PendingQuery { key, responder, until: now + QUERY_WAIT });
                    }
                }
            }
        }
    }

    /// Sends this publication together with those queued behind it. A single message is not delayed,
    /// and a burst costs one system call per client.
    fn turn(&mut self, first: KeyedPublication) {
        let mut bytes = first.1.weight();
        let mut publications = vec![first];
        let mut next = None;
        while publications.len() < TURN_MESSAGES && bytes < TURN_BYTES {
            match self.commands.try_recv() {
                Ok(HubCommand::Publish { key, publication }) => {
                    bytes += publication.weight();
                    publications.push((key, publication));
                }
                Ok(other) => {
                    next = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        counters::add(&self.counters.published, publications.len() as u64);
        let mut turn = Turn::new(&self.registry, &publications);
        while let Some(batches) = turn.next_batches(&publications) {
            let report = self.fanout.deliver(&mut self.registry, batches);
            self.apply_report(report);
        }
        for (key, publication) in publications {
            if let Some(key) = key {
                self.retained.set(key, publication);
            }
        }
        self.answer_queries();
        if let Some(command) = next {
            self.execute(command);
        }
    }

    /// Updates the counters, and removes clients that are too slow or closed.
    fn apply_report(&mut self, report: Report) {
        counters::add(&self.counters.delivered, report.delivered);
        counters::add(&self.counters.conflated, report.conflated);
        for client in report.full {
            if let Some(subscriber) = self.remove(client) {
                subscriber.evict();
            }
        }
        for client in report.closing {
            self.remove(client);
        }
        self.free_memory();
    }

    /// Evicts the slowest clients if the queues of all clients hold too much.
    fn free_memory(&mut self) {
        let queued = Arc::clone(&self.counters.queued_bytes);
        let bytes = queued.get();
        if bytes <= self.max_queued_bytes {
            return;
        }
        let backlogs = self.registry.iter().filter_map(|(id, subscriber)| {
            let Subscriber::Client(client) = subscriber else { return None };
            let (since, share) = client.outbox().backlog(&queued)?;
            Some(ClientBacklog { client: id, since, share })
        });
        // A quarter of the limit more than necessary, because each search visits all clients.
        let excess = bytes - self.max_queued_bytes / 4 * 3;
        for client in slowest(backlogs.collect(), excess) {
            if let Some(Subscriber::Client(client)) = self.remove(client) {
                client.evict_to_free_memory();
            }
        }
    }

    fn register(&mut self, subscriber: Subscriber, interest: Interest) {
        // It may have been unregistered since.
        if !subscriber.is_registered_with(self.id) {
            return;
        }
        let id = subscriber.id();
        if self.registry.interest(id).is_none() {
            self.registry.add(id, subscriber, Interest::none());
        }
        self.change_interest(id, interest);
    }

    /// Removes a client on the hub's own initiative.
    fn remove(&mut self, client: u64) -> Option<Subscriber> {
        let subscriber = self.registry.remove(client)?;
        if subscriber.remove_hub(self.id) {
            self.counters.clients.decrement();
        }
        self.interest_changed();
        Some(subscriber)
    }

    /// Adds a project. Returns false if that is one too many.
    fn subscribe(&mut self, client: u64, project: String) -> bool {
        let Some(old) = self.registry.interest(client) else { return true };
        let interest = old.with(project);
        let too_many = interest.projects().is_some_and(|p| p.len() > self.max_subscriptions);
        if !too_many {
            self.change_interest(client, interest);
        }
        !too_many
    }

    /// Changes a client's interest and sends the retained messages it does not have.
    fn change_interest(&mut self, client: u64, interest: Interest) {
        let Some(old) = self.registry.interest(client) else { return };
        let mut frames = Vec::new();
        for publication in self.retained.in_order() {
            publication.frames_since(old, &interest, &mut frames);
        }
        self.replace_interest(client, interest, frames);
    }

    /// Sets a client's interest and sends all retained messages of its projects.
    fn set_interest(&mut self, client: u64, interest: Interest, first: Option<Frame>) {
        let Some(old) = self.registry.interest(client) else { return };
        let mut frames: Vec<Frame> = first.into_iter().collect();
        for publication in self.retained.in_order() {
            // The client has those for everyone already.
            match publication {
                Publication::Everyone(_) => publication.frames_since(old, &interest, &mut frames),
                _ => publication.frames(&interest, &mut frames),
            }
        }
        self.replace_interest(client, interest, frames);
    }

    fn replace_interest(&mut self, client: u64, interest: Interest, frames: Vec<Frame>) {
        if self.registry.interest(client) != Some(&interest) {
            self.registry.set_interest(client, interest);
            self.interest_changed();
        }
        self.send(client, frames);
    }

    /// Sends frames to one client.
    fn send(&mut self, client: u64, frames: Vec<Frame>) {
        let Some(subscriber) = self.registry.get(client) else { return };
        let Some(batch) = WriteBatch::new(frames) else { return };
        let mut report = Report::default();
        batch.offer(client, subscriber, &mut report);
        self.apply_report(report);
    }

    /// Answers the pending queries that can be answered now.
    fn answer_queries(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        for query in std::mem::take(&mut self.pending) {
            match self.retained.response(query.key) {
                Some(response) => (query.responder)(response),
                None => self.pending.push(query),
            }
        }
    }

    fn interest_changed(&mut self) {
        let interest =
            if self.queried.is_some() { Some(Interest::all()) } else { self.registry.combined() };
        if interest != self.interest {
            self.streamers.retain(|streamer| streamer.set(interest.clone()));
            self.interest = interest;
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        // All have the same time limit, so the first one expires first.
        let pending = self.pending.first().map(|query| query.until);
        pending.into_iter().chain(self.queried).min()
    }

    fn expire(&mut self, now: Instant) {
        self.pending.retain(|query| query.until > now);
        if self.queried.is_some_and(|until| until <= now) {
            self.queried = None;
            self.interest_changed();
        }
    }

    /// Executes the queued commands, then closes all clients.
    fn close_clients(mut self) {
        // From now on `HubHandle::register_with` closes its client itself, and publishing fails.
        self.stopping.store(true, Ordering::SeqCst);
        for _ in 0..self.commands.len() {
            if let Ok(command) = self.commands.try_recv() {
                self.execute(command);
            }
        }
        for subscriber in self.registry.drain() {
            subscriber.close_at_shutdown();
            if subscriber.remove_hub(self.id) {
                self.counters.clients.decrement();
            }
        }
        // Drop commands sent meanwhile: a command may hold a handle, which keeps the channel alive.
        while self.commands.try_recv().is_ok() {}
    }
}

#[cfg(test)]
#[path = "hub_loop_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "rooms_tests.rs"]
mod rooms;

//! The hub's thread: the only code that changes who is registered and what is newest.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, at, never, select_biased};

use super::delivery::{Item, Parcel, Parcels, Report};
use super::fanout::Fanout;
use super::link::StreamerLink;
use super::newest::Newest;
use super::question::{Answer, Question, Reply};
use super::{HubConfig, SHUTTING_DOWN};
use crate::client::Client;
use crate::counters::{self, Tally};
use crate::frame::Frame;
use crate::notice::Notice;
use crate::protocol::request::Refusal;
use crate::registry::{Projects, Registry};
use crate::{Demand, Message};

/// The most messages, and bytes of them, that one turn sends together.
const TURN_MESSAGES: usize = 256;
const TURN_BYTES: usize = 64 * 1024;
/// How long somebody who asked over HTTP counts as a listener.
const LINGER: Duration = Duration::from_secs(30);
/// How long somebody may wait for an answer; who asked over HTTP has given up by then.
const ANSWER: Duration = Duration::from_secs(5);
/// How long a client has to close when the hub stops.
pub(super) const GOODBYE: Duration = Duration::from_secs(2);

/// What the hub is asked to do; in the order in which it is asked.
pub(crate) enum Command {
    Register(Client),
    Unregister(u64),
    Subscribe {
        client: u64,
        projects: Vec<String>,
        on: bool,
    },
    /// A `topic` has its newest item sent to those who come later.
    Publish {
        topic: Option<Arc<str>>,
        item: Item,
    },
    /// Answer a client, after what it asked for before.
    Say(u64, Frame),
    /// Forget the newest of these topics.
    Forget(Vec<String>),
    /// The same, of which for this reason nothing comes for now.
    Gone(&'static [&'static str], String),
    Streamer(StreamerLink),
    Ask(Question, Answer),
    /// Which projects this client receives.
    View(u64, Sender<Option<Projects>>),
}

/// Who asked for something that is not there yet.
struct Waiting {
    topic: &'static str,
    answer: Answer,
    until: Instant,
}

pub(super) struct Run {
    commands: Receiver<Command>,
    stopped: Receiver<()>,
    stopping: Arc<AtomicBool>,
    registry: Registry<Client>,
    fanout: Fanout,
    tally: Arc<Tally>,
    newest: Newest,
    streamers: Vec<StreamerLink>,
    /// What the streamers were told last; `None`: nobody listens.
    demand: Option<Demand>,
    /// Until when somebody who asked over HTTP counts as a listener.
    interest: Option<Instant>,
    waiting: Vec<Waiting>,
    too_many: Notice,
}

impl Run {
    pub(super) fn new(
        config: &HubConfig,
        commands: Receiver<Command>,
        stopped: Receiver<()>,
        stopping: Arc<AtomicBool>,
        tally: Arc<Tally>,
    ) -> Self {
        let shards = config.shards.get();
        Self {
            commands,
            stopped,
            stopping,
            registry: Registry::new(shards).allowing(config.max_subscriptions),
            fanout: Fanout::new(shards),
            tally,
            newest: Newest::default(),
            streamers: Vec::new(),
            demand: None,
            interest: None,
            waiting: Vec::new(),
            too_many: Notice::default(),
        }
    }

    pub(super) fn run(mut self) {
        loop {
            let timer = self.next_deadline().map_or_else(never, at);
            select_biased! {
                recv(self.stopped) -> _ => break,
                recv(self.commands) -> command => match command {
                    Ok(command) => self.take(command),
                    Err(_) => break,
                },
                recv(timer) -> _ => self.expire(Instant::now()),
            }
        }
        self.say_goodbye();
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Publish { topic, item } => self.turn(topic, item),
            Command::Register(client) => self.register(&client),
            Command::Unregister(client) => self.unregister(client),
            Command::Subscribe { client, projects, on } => self.subscribe(client, &projects, on),
            Command::Say(client, frame) => {
                if let Some(client) = self.registry.get(client).cloned() {
                    self.give(&client, vec![frame]);
                }
            }
            Command::Forget(topics) => self.newest.forget(&topics),
            Command::Gone(topics, why) => {
                self.newest.gone(topics, why);
                self.answer_waiting();
            }
            Command::Streamer(link) => {
                if link.set_demand(self.demand.clone()) {
                    self.streamers.push(link);
                }
            }
            Command::View(client, answer) => {
                let _ = answer.send(self.registry.projects(client).cloned());
            }
            Command::Ask(Question::Alive, answer) => answer(Ok(Reply::Yes)),
            Command::Ask(Question::Ready, answer) => self.check(answer),
            Command::Ask(Question::Latest(topic), answer) => {
                let now = Instant::now();
                self.interest = Some(now + LINGER);
                self.demand_changed();
                self.waiting.push(Waiting { topic, answer, until: now + ANSWER });
                self.answer_waiting();
            }
        }
    }

    /// Sends this publish and all that waits behind it together: at a slow pace nothing is
    /// delayed, and in a burst each client costs one system call.
    fn turn(&mut self, topic: Option<Arc<str>>, item: Item) {
        let mut bytes = item.weight();
        let mut items = vec![(topic, item)];
        let mut next = None;
        while items.len() < TURN_MESSAGES && bytes < TURN_BYTES {
            match self.commands.try_recv() {
                Ok(Command::Publish { topic, item }) => {
                    bytes += item.weight();
                    items.push((topic, item));
                }
                Ok(other) => {
                    next = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        self.deliver(&items);
        for (topic, item) in items {
            if let Some(topic) = topic {
                self.newest.set(topic, item);
            }
        }
        self.answer_waiting();
        if let Some(command) = next {
            self.take(command);
        }
    }

    fn deliver(&mut self, items: &[(Option<Arc<str>>, Item)]) {
        counters::add(&self.tally.published, items.len() as u64);
        let parcels: Parcels = self
            .registry
            .views()
            .filter_map(|(id, view)| Some((id, Parcel::of(items.iter().map(|(_, i)| i), view)?)))
            .collect();
        let report = self.fanout.deliver(&mut self.registry, parcels);
        self.account(report);
    }

    /// Counts what was delivered, and lets go of those who did not take it.
    fn account(&mut self, report: Report) {
        counters::add(&self.tally.delivered, report.delivered);
        counters::add(&self.tally.conflated, report.conflated);
        for client in report.full {
            self.evict(client);
        }
        for client in report.gone {
            self.unregister(client);
        }
    }

    fn register(&mut self, client: &Client) {
        if !self.registry.add(client.id(), client.clone()) {
            // It was in already, and counted twice for a moment.
            self.count_one_less();
            return;
        }
        self.demand_changed();
        let mut frames = Vec::new();
        for item in self.newest.in_order() {
            item.frames(&Projects::new(), &mut frames);
        }
        self.give(client, frames);
    }

    fn unregister(&mut self, client: u64) {
        if self.registry.remove(client).is_some() {
            self.count_one_less();
            self.demand_changed();
        }
    }

    fn count_one_less(&self) {
        // From the stop on there are none, whatever was counted: `HubHandle::register`.
        if !self.stopping.load(Ordering::SeqCst) {
            self.tally.clients.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn evict(&mut self, id: u64) {
        let Some(client) = self.registry.get(id).cloned() else { return };
        self.unregister(id);
        client.evict();
    }

    fn subscribe(&mut self, id: u64, projects: &[String], on: bool) {
        let Some(client) = self.registry.get(id).cloned() else { return };
        if on {
            if self.registry.subscribe(id, projects).is_err() {
                let most = self.registry.max_subscriptions();
                let peer = client.peer_addr();
                self.too_many.warn(|| {
                    format!("{peer} asks for more than {most} projects: it gets an error")
                });
                let refusal = Refusal::too_many_subscriptions(most);
                return self.give(&client, frame_of(&refusal.message()).into_iter().collect());
            }
        } else {
            self.registry.unsubscribe(id, projects);
        }
        self.demand_changed();
        let Some(view) = self.registry.projects(id) else { return };
        let kind = if on { "subscribed" } else { "unsubscribed" };
        let mut frames: Vec<Frame> = frame_of(&Message::new(kind, view)).into_iter().collect();
        // What is newest follows at once; what goes to everyone the client has already.
        for item in self.newest.in_order() {
            if !matches!(item, Item::All(_)) {
                item.frames(view, &mut frames);
            }
        }
        self.give(&client, frames);
    }

    /// Sends to one client.
    fn give(&mut self, client: &Client, frames: Vec<Frame>) {
        let Some(parcel) = Parcel::from_frames(frames) else { return };
        let mut report = Report::default();
        report.count(client.id(), parcel.offer(client), parcel.len());
        self.account(report);
    }

    /// Has the newest streamer say whether its source would answer; without any, all is well.
    fn check(&mut self, mut answer: Answer) {
        while let Some(link) = self.streamers.last() {
            match link.check(answer) {
                Ok(()) => return,
                Err(back) => answer = back,
            }
            self.streamers.pop();
        }
        answer(Ok(Reply::Yes));
    }

    /// Answers those whose question has an answer now.
    fn answer_waiting(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        for waiting in std::mem::take(&mut self.waiting) {
            match self.newest.reply(waiting.topic) {
                Some(reply) => (waiting.answer)(reply),
                None => self.waiting.push(waiting),
            }
        }
    }

    fn demand_changed(&mut self) {
        let demand =
            if self.interest.is_some() { Some(Demand::all()) } else { self.registry.demand() };
        if demand != self.demand {
            self.streamers.retain(|link| link.set_demand(demand.clone()));
            self.demand = demand;
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let waiting = self.waiting.iter().map(|waiting| waiting.until);
        waiting.chain(self.interest).min()
    }

    fn expire(&mut self, now: Instant) {
        self.waiting.retain(|waiting| waiting.until > now);
        if self.interest.is_some_and(|until| until <= now) {
            self.interest = None;
            self.demand_changed();
        }
    }

    /// What was published before the stop still goes out; then every client is told.
    fn say_goodbye(mut self) {
        // From here on `HubHandle::register` closes its client itself, and nothing is published.
        self.stopping.store(true, Ordering::SeqCst);
        for _ in 0..self.commands.len() {
            if let Ok(command) = self.commands.try_recv() {
                self.take(command);
            }
        }
        for client in self.registry.drain() {
            client.end(&Frame::close(1001, SHUTTING_DOWN), false, GOODBYE);
        }
        self.tally.clients.store(0, Ordering::SeqCst);
    }
}

/// The hub's own messages always encode.
fn frame_of(message: &Message) -> Option<Frame> {
    message.to_json().ok().map(|json| Frame::text(&json))
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;

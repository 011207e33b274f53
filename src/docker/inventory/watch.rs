//! Keeps the inventory true and tells the hub: two threads while somebody listens.
//!
//! `kentros-events` is blocked in the engine's event stream; it applies each event and tells the
//! project's subscribers at once. `kentros-list` waits for what the events touched; it lists,
//! inspects and publishes `project_list`, which takes its time. Neither reconnects: when the
//! stream ends, the inventory says so, and the next reading opens a new session.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, select};
use serde_json::value::to_raw_value;

use super::Inventory;
use crate::docker::engine::call::{EngineCall, EventFilter};
use crate::docker::engine::client::{CALL_LIMIT, EngineClient, LineStream, parse};
use crate::docker::engine::error::EngineError;
use crate::docker::engine::json::{ContainerInspect, ContainerSummary, EngineEvent};
use crate::message::unix_seconds;
use crate::{HubHandle, Message, threads};

/// The least time between two `project_list`.
const LIST_PAUSE: Duration = Duration::from_millis(500);
/// How often all containers are listed, whatever the events say.
const LIST_EVERY: Duration = Duration::from_secs(30);
/// The same where the engine, or a proxy before it, gives no events.
const LIST_EVERY_WITHOUT_EVENTS: Duration = Duration::from_secs(2);
/// The most the head of the event stream may take: Podman reads its journal before.
const EVENTS_LIMIT: Duration = Duration::from_secs(10);
/// The most a list may take: with tens of thousands of containers it takes seconds.
const LIST_LIMIT: Duration = Duration::from_secs(15);
/// More changed containers than this and all are listed: their ids go into the request's line.
const MAX_NAMED: usize = 50;
/// Inspections in one turn: each costs the engine a few milliseconds.
const INSPECT_AT_ONCE: usize = 25;
/// Events remembered to tell a repeated one: more than come in the second `since` goes back.
const REMEMBERED: usize = 1_024;
/// `project_status` messages a second at most: a flood of events is told by the list alone.
const MAX_TOLD: u32 = 100;

/// The inventory as both threads and the sampler share it. Nobody holds it across a call.
pub(crate) type SharedInventory = Arc<Mutex<Inventory>>;

/// The inventory, also after a panic elsewhere: each change of it is whole.
pub(crate) fn lock(inventory: &SharedInventory) -> MutexGuard<'_, Inventory> {
    inventory.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The two threads. They end, and are joined, when this is dropped.
#[derive(Debug)]
pub(crate) struct InventoryWatch {
    client: EngineClient,
    events: EngineClient,
    inventory: SharedInventory,
    news: Sender<()>,
    /// Dropped to end `kentros-list`.
    stop: Option<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl InventoryWatch {
    /// Watches from now on; `kind` is how to ask for events.
    pub(crate) fn start(
        client: &EngineClient,
        kind: EventFilter,
        inventory: &SharedInventory,
        hub: Option<&HubHandle>,
    ) -> io::Result<Self> {
        let (stop, stopped) = bounded(0);
        let (news, touched) = bounded(1);
        let mut watch = Self {
            client: client.clone(),
            events: client.with_own_connections(),
            inventory: Arc::clone(inventory),
            news: news.clone(),
            stop: Some(stop),
            threads: Vec::new(),
        };
        let teller = EventForwarder {
            client: watch.events.clone(),
            inventory: Arc::clone(inventory),
            hub: hub.cloned(),
            news,
            told: 0,
        };
        let lister = ContainerLister {
            client: client.clone(),
            inventory: Arc::clone(inventory),
            hub: hub.cloned(),
            inspects: true,
            published: None,
            hasher: RandomState::new(),
        };
        watch.threads.push(threads::spawn("kentros-events", move || teller.run(kind))?);
        watch.threads.push(threads::spawn("kentros-list", move || lister.run(&stopped, &touched))?);
        Ok(watch)
    }

    /// Publishes the list anew, though it is as it was: the hub has forgotten it.
    pub(crate) fn publish_anew(&self) {
        lock(&self.inventory).anew = true;
        wake(&self.news);
    }
}

/// Wakes `kentros-list`. A full channel says the same already.
fn wake(news: &Sender<()>) {
    match news.try_send(()) {
        Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
    }
}

impl Drop for InventoryWatch {
    fn drop(&mut self) {
        self.stop = None;
        self.client.shutdown();
        self.events.shutdown();
        for thread in self.threads.drain(..) {
            // A panic in it has been logged.
            let _ = thread.join();
        }
    }
}

/// `kentros-events`.
struct EventForwarder {
    client: EngineClient,
    inventory: SharedInventory,
    hub: Option<HubHandle>,
    news: Sender<()>,
    /// Messages sent in the present second.
    told: u32,
}

impl EventForwarder {
    fn run(mut self, kind: EventFilter) {
        let since = unix_seconds().saturating_sub(2);
        let opened = self.client.lines(EngineCall::Events { since, kind }, EVENTS_LIMIT);
        // Its head means subscribed: from here on nothing is missed, and a list comes after.
        lock(&self.inventory).events = Some(opened.is_ok());
        wake(&self.news);
        let why = match opened {
            Ok(lines) => self.tell(lines),
            Err(error @ (EngineError::Unreachable(..) | EngineError::ConnectionLost(_))) => {
                error.to_string()
            }
            Err(error) => {
                log::warn!("no events, so containers are listed every two seconds: {error}");
                return;
            }
        };
        lock(&self.inventory).lost = Some(why);
        wake(&self.news);
    }

    /// Tells events until there are no more, for the reason returned.
    fn tell(&mut self, mut lines: LineStream) -> String {
        let mut seen = RecentEvents::default();
        let mut second = Instant::now();
        loop {
            let event = match lines.next() {
                Ok(Some(line)) => parse::<EngineEvent>(line),
                Ok(None) => return "the engine ended its stream of events".to_owned(),
                Err(error) => return error.to_string(),
            };
            let event = match event {
                Ok(event) if seen.is_new(&event) => event,
                Ok(_) => continue,
                Err(error) => {
                    log::debug!("an event that cannot be read: {error}");
                    continue;
                }
            };
            if second.elapsed() >= Duration::from_secs(1) {
                (second, self.told) = (Instant::now(), 0);
            }
            self.take(&event);
        }
    }

    fn take(&mut self, event: &EngineEvent) {
        let told = lock(&self.inventory).apply(event);
        let Some((project, status)) = told else { return };
        wake(&self.news);
        let Some(hub) = &self.hub else { return };
        let message = Message::new("project_status", status);
        if self.told >= MAX_TOLD {
            hub.count_dropped();
        } else if let Err(error) = hub.broadcast_to_subscribers(&project, &message) {
            log::debug!("project_status: {error}");
            hub.count_dropped();
        } else {
            self.told += 1;
        }
    }
}

/// The events of late: `since` makes the engine repeat some.
#[derive(Debug, Default)]
struct RecentEvents(VecDeque<(i64, String, String)>);

impl RecentEvents {
    fn is_new(&mut self, event: &EngineEvent) -> bool {
        let key = (event.time_nano, event.actor.id.clone(), event.action.clone());
        if self.0.contains(&key) {
            return false;
        }
        if self.0.len() >= REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(key);
        true
    }
}

/// `kentros-list`.
struct ContainerLister {
    client: EngineClient,
    inventory: SharedInventory,
    hub: Option<HubHandle>,
    /// Whether inspections are allowed.
    inspects: bool,
    /// The hash of the list published last: a list takes a megabyte for a thousand containers.
    published: Option<u64>,
    hasher: RandomState,
}

impl ContainerLister {
    fn run(mut self, stopped: &Receiver<()>, touched: &Receiver<()>) {
        // The first list is to come after the events have begun, if they do so soon.
        select! {
            recv(stopped) -> _ => return,
            recv(touched) -> _ => {}
            recv(crossbeam_channel::after(LIST_PAUSE)) -> _ => {}
        }
        // When all were listed, and whether events came then.
        let mut listed: Option<(Instant, Option<bool>)> = None;
        loop {
            let turn = Instant::now();
            let events = lock(&self.inventory).events;
            let every = if events == Some(false) { LIST_EVERY_WITHOUT_EVENTS } else { LIST_EVERY };
            match listed {
                Some((at, then)) if turn < at + every && then == events => self.list_touched(),
                _ => {
                    self.list_all();
                    listed = Some((Instant::now(), events));
                }
            }
            let all_due = listed.map_or(turn, |(at, _)| at) + every;
            self.publish();
            let pause_ends = Instant::now() + LIST_PAUSE;
            let more = self.inspect();
            select! {
                recv(stopped) -> _ => return,
                recv(crossbeam_channel::at(pause_ends)) -> _ => {}
            }
            if more || lock(&self.inventory).is_touched() {
                continue;
            }
            select! {
                recv(stopped) -> _ => return,
                recv(touched) -> _ => {}
                recv(crossbeam_channel::at(all_due)) -> _ => {}
            }
        }
    }

    fn list_all(&self) {
        let asked = lock(&self.inventory).listing();
        match self.list(EngineCall::List { all: true }) {
            Ok(list) => lock(&self.inventory).listed(list),
            Err(error) => self.failed(asked, &error),
        }
    }

    fn list_touched(&self) {
        let asked = lock(&self.inventory).listing();
        if asked.is_empty() {
            lock(&self.inventory).not_listed(asked);
        } else if asked.len() > MAX_NAMED {
            // Still to be listed, should the list of all not come.
            lock(&self.inventory).not_listed(asked);
            self.list_all();
        } else {
            match self.list(EngineCall::Named(&asked)) {
                Ok(list) => lock(&self.inventory).listed_only(&asked, list),
                Err(error) => self.failed(asked, &error),
            }
        }
    }

    fn list(&self, call: EngineCall<'_>) -> Result<Vec<ContainerSummary>, EngineError> {
        self.client.get(call, Instant::now() + LIST_LIMIT)
    }

    fn failed(&self, asked: Vec<String>, error: &EngineError) {
        log::debug!("listing containers: {error}");
        let mut inventory = lock(&self.inventory);
        inventory.not_listed(asked);
        if !error.is_answer() && inventory.lost.is_none() {
            inventory.lost = Some(error.to_string());
        }
    }

    /// Asks for the limits of those not asked yet; whether that changed anything.
    fn inspect(&mut self) -> bool {
        if !self.inspects {
            return false;
        }
        let ids = lock(&self.inventory).to_inspect(INSPECT_AT_ONCE);
        for id in &ids {
            let answer: Result<ContainerInspect, _> =
                self.client.get(EngineCall::Inspect(id), Instant::now() + CALL_LIMIT);
            lock(&self.inventory).inspected(id, answer.as_ref().ok());
            match answer {
                Err(error) if error.is_denied() => {
                    log::info!("no start times and CPU limits: {error}");
                    self.inspects = false;
                    return false;
                }
                // Two seconds are gone: the others wait for the next turn.
                Err(error) if !error.is_answer() => return true,
                Ok(_) | Err(_) => {}
            }
        }
        !ids.is_empty()
    }

    fn publish(&mut self) {
        let Some(hub) = &self.hub else { return };
        let list = {
            let mut inventory = lock(&self.inventory);
            if std::mem::take(&mut inventory.anew) {
                self.published = None;
            }
            to_raw_value(&inventory.projects())
        };
        // A list is always JSON.
        let Ok(list) = list else { return };
        let hash = self.hasher.hash_one(list.get());
        if self.published == Some(hash) {
            return;
        }
        match hub.broadcast(&Message::new("project_list", list).latest()) {
            Ok(()) => self.published = Some(hash),
            Err(error) => log::debug!("project_list: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_event_is_told_once() {
        let mut seen = RecentEvents::default();
        let mut event =
            EngineEvent { action: "start".to_owned(), time_nano: 7, ..EngineEvent::default() };
        assert!(seen.is_new(&event));
        assert!(!seen.is_new(&event));
        event.time_nano = 8;
        assert!(seen.is_new(&event));
        for nano in (9..).take(REMEMBERED) {
            event.time_nano = nano;
            assert!(seen.is_new(&event));
        }
        assert!(seen.0.len() <= REMEMBERED);
    }
}

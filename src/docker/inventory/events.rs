//! The thread `kentros-events`, which applies the engine's events to the inventory.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::watch::{SharedInventory, lock, wake};
use crate::docker::engine::call::{EngineCall, EventFilter};
use crate::docker::engine::client::{EngineClient, parse};
use crate::docker::engine::error::EngineError;
use crate::docker::engine::json::EngineEvent;
use crate::docker::engine::lines::LineStream;
use crate::message::unix_seconds;
use crate::{HubHandle, Message};

/// The time limit for the head of the event stream: Podman reads its journal first.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// The number of events remembered to detect repeated ones: more than can happen in the two seconds
/// that `since` goes back.
const REMEMBERED: usize = 1_024;
/// The most `project_status` messages per second. In a flood of events clients rely on the list.
const MAX_PER_SECOND: u32 = 100;

/// Reads events, applies them, and publishes them as `project_status`.
pub(super) struct EventReader {
    client: EngineClient,
    inventory: SharedInventory,
    hub: Option<HubHandle>,
    wake_lister: Sender<()>,
    /// The number of messages sent in this second.
    sent: u32,
}

impl EventReader {
    pub(super) fn new(
        client: EngineClient,
        inventory: SharedInventory,
        hub: Option<HubHandle>,
        wake_lister: Sender<()>,
    ) -> Self {
        Self { client, inventory, hub, wake_lister, sent: 0 }
    }

    /// Runs until the event stream ends.
    pub(super) fn run(mut self, filter: EventFilter) {
        let since = unix_seconds().saturating_sub(2);
        let opened = self.client.lines(EngineCall::Events { since, filter }, HEAD_LIMIT);
        // The head means that events arrive from now on. The first list comes after it, so no
        // change is missed.
        lock(&self.inventory).events = Some(opened.is_ok());
        wake(&self.wake_lister);
        let why = match opened {
            Ok(lines) => self.read(lines),
            Err(error @ (EngineError::Unreachable(..) | EngineError::ConnectionLost(_))) => {
                error.to_string()
            }
            Err(error) => {
                log::warn!(
                    "cannot read events: {error}; listing containers every 2 seconds instead"
                );
                return;
            }
        };
        lock(&self.inventory).lost = Some(why);
        wake(&self.wake_lister);
    }

    /// Handles events until the stream ends. Returns why it ended.
    fn read(&mut self, mut lines: LineStream) -> String {
        let mut recent = RecentEvents::default();
        let mut second = Instant::now();
        loop {
            let event = match lines.next() {
                Ok(Some(line)) => parse::<EngineEvent>(line),
                Ok(None) => return "the engine closed the event stream".to_owned(),
                Err(error) => return error.to_string(),
            };
            let event = match event {
                Ok(event) if recent.insert(&event) => event,
                Ok(_) => continue,
                Err(error) => {
                    log::debug!("ignored an invalid event: {error}");
                    continue;
                }
            };
            if second.elapsed() >= Duration::from_secs(1) {
                (second, self.sent) = (Instant::now(), 0);
            }
            self.handle(&event);
        }
    }

    fn handle(&mut self, event: &EngineEvent) {
        let Some((project, status)) = lock(&self.inventory).apply(event) else { return };
        wake(&self.wake_lister);
        let Some(hub) = &self.hub else { return };
        if self.sent >= MAX_PER_SECOND {
            hub.count_dropped();
            return;
        }
        let message = Message::new("project_status", status);
        match hub.broadcast_to_subscribers(&project, &message) {
            Ok(()) => self.sent += 1,
            Err(error) => {
                log::debug!("cannot publish project_status: {error}");
                hub.count_dropped();
            }
        }
    }
}

/// The latest events. The engine repeats those since `since`.
#[derive(Debug, Default)]
struct RecentEvents(VecDeque<(i64, String, String)>);

impl RecentEvents {
    /// Adds an event. Returns whether it is new.
    fn insert(&mut self, event: &EngineEvent) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_event_is_detected() {
        let mut recent = RecentEvents::default();
        let mut event =
            EngineEvent { action: "start".to_owned(), time_nano: 7, ..EngineEvent::default() };
        assert!(recent.insert(&event));
        assert!(!recent.insert(&event));
        event.time_nano = 8;
        assert!(recent.insert(&event));
        for nano in (9..).take(REMEMBERED) {
            event.time_nano = nano;
            assert!(recent.insert(&event));
        }
        assert!(recent.0.len() <= REMEMBERED);
    }
}

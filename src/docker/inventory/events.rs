//! The thread `kentros-events`, which applies the engine's events to the inventory.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, after, select};

use super::event_history::SharedEventHistory;
use super::watch::{SharedInventory, wake};
use crate::docker::engine::backoff::Backoff;
use crate::docker::engine::call::{EngineCall, EventFilter};
use crate::docker::engine::client::{CALL_LIMIT, EngineClient, parse};
use crate::docker::engine::error::EngineError;
use crate::docker::engine::json::EngineEvent;
use crate::docker::engine::lines::LineStream;
use crate::docker::engine::negotiate::Pong;
use crate::lock::lock;
use crate::rate_limited::RateLimitedWarning;
use crate::{HubHandle, Message};

/// The time limit for the head of the event stream: Podman reads its journal first.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// The pause before the event stream is opened again. It doubles each time the stream ends early.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A stream that lasted this long did not end early.
const STEADY: Duration = Duration::from_secs(1);
/// The most `project_status` messages per second. In a flood of events clients rely on the list.
const MAX_PER_SECOND: u32 = 100;

/// Reads events, applies them, and publishes them as `project_status`.
///
/// Proxies end event streams that are idle, or every few minutes. The stream is then opened again,
/// from the last event on, and everything else goes on. Only an engine that does not answer a ping,
/// or is not the same, ends the session.
pub(super) struct EventReader {
    client: EngineClient,
    filter: EventFilter,
    inventory: SharedInventory,
    history: SharedEventHistory,
    hub: Option<HubHandle>,
    wake_lister: Sender<()>,
    /// The second in which the last message was sent, and the number of messages in it.
    sent: (Instant, u32),
}

impl EventReader {
    pub(super) fn new(
        client: EngineClient,
        filter: EventFilter,
        inventory: SharedInventory,
        history: SharedEventHistory,
        hub: Option<HubHandle>,
        wake_lister: Sender<()>,
    ) -> Self {
        let sent = (Instant::now(), 0);
        Self { client, filter, inventory, history, hub, wake_lister, sent }
    }

    /// Runs until the sender of `stopped` is dropped or the engine is lost.
    pub(super) fn run(mut self, stopped: &Receiver<()>) {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let unavailable = RateLimitedWarning::default();
        let mut first_pong: Option<Pong> = None;
        loop {
            let opened = Instant::now();
            let pong = match self.client.ping(opened + CALL_LIMIT) {
                Ok(headers) => Pong::new(&headers),
                Err(error) => return self.lose(error.to_string()),
            };
            if !pong.is_same_engine(first_pong.get_or_insert_with(|| pong.clone())) {
                return self.lose("the engine was replaced".to_owned());
            }
            let why = match self.open(&pong) {
                Ok(lines) => {
                    // The head means that events arrive from now on.
                    self.set_available(true);
                    self.read(lines)
                }
                Err(error) => {
                    self.set_available(false);
                    unavailable.warn(|| {
                        format!(
                            "cannot read events: {error}; listing containers every 2 seconds \
                             instead"
                        )
                    });
                    if error.is_denied() {
                        return;
                    }
                    error
                }
            };
            log::debug!("opening the event stream again: {why}");
            if opened.elapsed() >= STEADY {
                backoff.reset();
            }
            select! {
                recv(stopped) -> _ => return,
                recv(after(backoff.delay())) -> _ => backoff.increase(),
            }
        }
    }

    fn open(&self, pong: &Pong) -> Result<LineStream, EngineError> {
        let since = lock(&self.history).resume(pong.engine_time);
        self.client.lines(EngineCall::Events { since, filter: self.filter }, HEAD_LIMIT)
    }

    /// Ends the session.
    fn lose(&self, why: String) {
        lock(&self.inventory).lost.get_or_insert(why);
        wake(&self.wake_lister);
    }

    fn set_available(&self, available: bool) {
        lock(&self.inventory).events = Some(available);
        wake(&self.wake_lister);
    }

    /// Handles events until the stream ends. Returns why it ended.
    fn read(&mut self, mut lines: LineStream) -> EngineError {
        loop {
            match lines.next().map(|line| line.map(parse::<EngineEvent>)) {
                Ok(Some(Ok(event))) => {
                    if lock(&self.history).insert(&event) {
                        self.handle(&event);
                    }
                }
                Ok(Some(Err(error))) => log::debug!("ignored an invalid event: {error}"),
                Ok(None) => return self.client.error(std::io::ErrorKind::UnexpectedEof.into()),
                Err(error) => return error,
            }
        }
    }

    fn handle(&mut self, event: &EngineEvent) {
        let Some((project, status)) = lock(&self.inventory).apply(event) else { return };
        wake(&self.wake_lister);
        let Some(hub) = &self.hub else { return };
        if self.sent.0.elapsed() >= Duration::from_secs(1) {
            self.sent = (Instant::now(), 0);
        }
        if self.sent.1 >= MAX_PER_SECOND {
            hub.count_dropped();
            return;
        }
        let message = Message::new("project_status", status);
        match hub.broadcast_to_subscribers(&project, &message) {
            Ok(()) => self.sent.1 += 1,
            Err(error) => {
                log::debug!("cannot publish project_status: {error}");
                hub.count_dropped();
            }
        }
    }
}

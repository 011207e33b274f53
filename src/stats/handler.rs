//! The stats socket, `/ws/stats`: clients that listen, and may choose their projects.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::frame::Frame;
use crate::protocol::request::{self, Refusal, Request};
use crate::{Client, Handler, HubHandle, Incoming, Message};

/// Bytes of history on their way, to clients that may not read, before more is refused.
const MOST_SENDING: usize = 64 << 20;

/// Registers each client with the hub and answers its requests.
#[derive(Debug)]
pub(crate) struct StatsHandler {
    hub: HubHandle,
    /// Bytes of history on their way. Held while an answer is written: one at a time, for each
    /// takes megabytes.
    sending: Mutex<usize>,
}

impl StatsHandler {
    pub(crate) fn new(hub: HubHandle) -> Self {
        Self { hub, sending: Mutex::new(0) }
    }

    /// Answers on the client's own thread: five minutes of a thousand containers are megabytes,
    /// which the hub has no time to write.
    fn history(&self, client: &Client, seconds: u64) {
        let Some(view) = self.hub.view(client.id()) else { return };
        let mut sending = self.sending();
        if *sending > MOST_SENDING {
            drop(sending);
            return self.hub.say(client.id(), &Refusal::busy().message());
        }
        // A copy: the streamer, which adds to the history, must not wait for the writing.
        let history = self.hub.history().clone();
        let answer = serde_json::value::RawValue::from_string(history.payload(seconds, &view));
        debug_assert!(answer.is_ok(), "the history is JSON");
        drop(history);
        let Ok(Ok(answer)) = answer.map(|payload| Message::new("history", payload).to_json())
        else {
            return;
        };
        let frame = Frame::text(&answer);
        drop(answer);
        let bytes = frame.bytes().len();
        *sending += bytes;
        drop(sending);
        // A client that is gone needs no answer.
        let _ = client.send_frame(frame);
        *self.sending() -= bytes;
    }

    fn sending(&self) -> MutexGuard<'_, usize> {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handler for StatsHandler {
    fn open(&self, client: &Client) {
        if self.hub.register(client).is_err() {
            client.close(1001, crate::hub::SHUTTING_DOWN);
        }
    }

    fn message(&self, client: &Client, message: Incoming<'_>) {
        let Incoming::Text(text) = message else {
            return client.close(1003, "binary messages are not understood here");
        };
        match request::parse(text) {
            Ok(Request::Subscribe(projects)) => self.hub.subscribe(client.id(), projects, true),
            Ok(Request::Unsubscribe(projects)) => self.hub.subscribe(client.id(), projects, false),
            Ok(Request::History(seconds)) => self.history(client, seconds),
            Err(refusal) => self.hub.say(client.id(), &refusal.message()),
        }
    }
}

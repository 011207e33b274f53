//! The stats socket, `/ws/stats`: clients that listen, and may choose their projects.

use std::sync::{Mutex, PoisonError};

use crate::protocol::request::{self, Request};
use crate::{Client, Handler, HubHandle, Incoming, Message};

/// Registers each client with the hub and answers its requests.
#[derive(Debug)]
pub(crate) struct StatsHandler {
    hub: HubHandle,
    /// Held while an answer with history is written: one at a time, for each takes megabytes.
    writing: Mutex<()>,
}

impl StatsHandler {
    pub(crate) fn new(hub: HubHandle) -> Self {
        Self { hub, writing: Mutex::new(()) }
    }

    /// Answers on the client's own thread: five minutes of a thousand containers are megabytes,
    /// which the hub has no time to write.
    fn history(&self, client: &Client, seconds: u64) {
        let Some(view) = self.hub.view(client.id()) else { return };
        let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        // A copy: the streamer, which adds to the history, must not wait for the writing.
        let history = self.hub.history().clone();
        let answer = serde_json::value::RawValue::from_string(history.payload(seconds, &view));
        debug_assert!(answer.is_ok(), "the history is JSON");
        let answer = answer.map(|payload| Message::new("history", payload));
        drop((history, writing));
        if let Ok(answer) = answer {
            // A client that is gone needs no answer.
            let _ = client.send(&answer);
        }
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
            Err(refusal) => {
                // A client that is gone needs no answer.
                let _ = client.send(&refusal.message());
            }
        }
    }
}

//! The stats socket, `/ws/stats`: clients that listen, and may choose their projects.

use crate::protocol::request::{self, Request};
use crate::{Client, Handler, HubHandle, Incoming, Message};

/// Registers each client with the hub and answers its requests.
#[derive(Debug)]
pub(crate) struct StatsHandler {
    hub: HubHandle,
}

impl StatsHandler {
    pub(crate) fn new(hub: HubHandle) -> Self {
        Self { hub }
    }

    /// Answers on the client's own thread: five minutes of a thousand containers are megabytes,
    /// which the hub has no time to write.
    fn history(&self, client: &Client, seconds: u64) {
        let Some(view) = self.hub.view(client.id()) else { return };
        let payload = self.hub.history().payload(seconds, &view);
        let answer = serde_json::value::RawValue::from_string(payload);
        debug_assert!(answer.is_ok(), "the history is JSON");
        if let Ok(payload) = answer {
            // A client that is gone needs no answer.
            let _ = client.send(&Message::new("history", payload));
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

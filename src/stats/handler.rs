//! The stats socket, `/ws/stats`: clients that listen, and may choose their projects.

use crate::protocol::request::{self, Request};
use crate::{Client, Handler, HubHandle, Incoming};

/// Registers each client with the hub and answers its requests.
#[derive(Debug)]
pub(crate) struct StatsHandler {
    hub: HubHandle,
}

impl StatsHandler {
    pub(crate) fn new(hub: HubHandle) -> Self {
        Self { hub }
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
            Ok(Request::History(_)) => {}
            Err(refusal) => {
                // A client that is gone needs no answer.
                let _ = client.send(&refusal.message());
            }
        }
    }
}

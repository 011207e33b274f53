//! The stats socket, `/ws/stats`.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::protocol::{self, ClientCommand, CommandError};
use super::state::StatsState;
use crate::connection::frame::Frame;
use crate::hub::SHUTTING_DOWN;
use crate::lock::lock;
use crate::{Client, HubHandle, Incoming, Interest, Message, Session};

/// Bytes of `history` messages being sent above which further requests are rejected. Slow clients
/// may hold them for long.
const MAX_HISTORY_IN_FLIGHT: usize = 64 << 20;

/// The session of one client. Without a subscription the client receives every project.
pub(crate) struct StatsSession {
    hub: HubHandle,
    state: Arc<StatsState>,
    subscriptions: BTreeSet<String>,
}

impl StatsSession {
    pub(crate) fn new(hub: &HubHandle) -> Self {
        Self { hub: hub.clone(), state: hub.stats(), subscriptions: BTreeSet::new() }
    }

    fn interest(&self) -> Interest {
        if self.subscriptions.is_empty() {
            Interest::all()
        } else {
            Interest::only(&self.subscriptions)
        }
    }

    fn subscribe(&mut self, client: &Client, projects: Vec<String>) {
        let mut subscriptions = self.subscriptions.clone();
        subscriptions.extend(projects);
        let limit = self.hub.max_subscriptions();
        if subscriptions.len() > limit {
            let peer = client.peer_addr();
            self.state
                .too_many_subscriptions
                .warn(|| format!("rejected a subscription by {peer}: more than {limit} projects"));
            return self.reply(client, &CommandError::too_many_subscriptions(limit).message());
        }
        self.subscriptions = subscriptions;
        self.update_interest(client, "subscribed");
    }

    fn unsubscribe(&mut self, client: &Client, projects: &[String]) {
        for project in projects {
            self.subscriptions.remove(project);
        }
        self.update_interest(client, "unsubscribed");
    }

    fn update_interest(&self, client: &Client, reply_kind: &str) {
        let reply = Message::new(reply_kind, &self.subscriptions);
        // Fails only if the hub has stopped, which closes this client.
        let _ = self.hub.set_interest(client, self.interest(), Some(&reply));
    }

    /// Sends through the hub, so that replies keep the order of the commands.
    fn reply(&self, client: &Client, message: &Message) {
        // Fails only if the hub has stopped, which closes this client.
        let _ = self.hub.reply_to(client, message);
    }

    /// Encodes and sends the history on the client's thread, not the hub's: five minutes of a
    /// thousand containers are megabytes.
    fn send_history(&self, client: &Client, seconds: u64) {
        // Locked during encoding: only one message, of megabytes, is built at a time.
        let mut in_flight = lock(&self.state.history_in_flight);
        if *in_flight > MAX_HISTORY_IN_FLIGHT {
            drop(in_flight);
            return self.reply(client, &CommandError::busy().message());
        }
        // Cloned so that the streamer can add to the history during encoding.
        let history = self.state.history().clone();
        let payload = history.payload(seconds, &self.interest());
        drop(history);
        let message = Message::from_json_payload("history", payload);
        let Ok(frame) = Frame::message(&message) else { return };
        drop(message);
        let bytes = frame.bytes().len();
        *in_flight += bytes;
        drop(in_flight);
        // Fails only if the client has disconnected.
        let _ = client.send_frame(frame);
        *lock(&self.state.history_in_flight) -= bytes;
    }
}

impl Session for StatsSession {
    fn open(&mut self, client: &Client) {
        if self.hub.register(client).is_err() {
            client.close(1001, SHUTTING_DOWN);
        }
    }

    fn message(&mut self, client: &Client, message: Incoming<'_>) {
        let Incoming::Text(text) = message else {
            return client.close(1003, "binary messages are not supported");
        };
        match protocol::parse(text) {
            Ok(ClientCommand::Subscribe(projects)) => self.subscribe(client, projects),
            Ok(ClientCommand::Unsubscribe(projects)) => self.unsubscribe(client, &projects),
            Ok(ClientCommand::History(seconds)) => self.send_history(client, seconds),
            Err(error) => self.reply(client, &error.message()),
        }
    }
}

//! The stats socket, `/ws/stats`: clients that listen, and may choose their projects.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::command::{self, ClientCommand, Refusal};
use super::state::{StatsState, lock};
use crate::connection::frame::Frame;
use crate::hub::SHUTTING_DOWN;
use crate::{Client, HubHandle, Incoming, Interest, Message, Session};

/// Bytes of history on their way, to clients that may not read, before more is refused.
const MOST_SENDING: usize = 64 << 20;

/// One client of the stats socket. Without a subscription it receives every project.
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
        let most = self.hub.max_subscriptions();
        if subscriptions.len() > most {
            let peer = client.peer_addr();
            self.state.too_many_subscriptions.warn(|| {
                format!("{peer} subscribes to more than {most} projects: it gets an error")
            });
            return self.reply(client, &Refusal::too_many_subscriptions(most).message());
        }
        self.subscriptions = subscriptions;
        self.subscribed(client, "subscribed");
    }

    fn unsubscribe(&mut self, client: &Client, projects: &[String]) {
        for project in projects {
            self.subscriptions.remove(project);
        }
        self.subscribed(client, "unsubscribed");
    }

    fn subscribed(&self, client: &Client, kind: &str) {
        let answer = Message::new(kind, &self.subscriptions);
        // A stopped hub is closing this client already.
        let _ = self.hub.set_interest(client, self.interest(), Some(&answer));
    }

    /// Answers after the answers to all that was asked before.
    fn reply(&self, client: &Client, message: &Message) {
        // A stopped hub is closing this client already.
        let _ = self.hub.send_to(client, message);
    }

    /// Answers on the client's own thread: five minutes of a thousand containers are megabytes,
    /// which the hub has no time to write.
    fn history(&self, client: &Client, seconds: u64) {
        // Held while an answer is written: one at a time, for each takes megabytes.
        let mut sending = lock(&self.state.history_sending);
        if *sending > MOST_SENDING {
            drop(sending);
            return self.reply(client, &Refusal::busy().message());
        }
        // A copy: the streamer, which adds to the history, must not wait for the writing.
        let history = self.state.history().clone();
        let payload = history.payload(seconds, &self.interest());
        drop(history);
        let message = Message::from_json_payload("history", payload);
        let Ok(frame) = Frame::message(&message) else { return };
        drop(message);
        let bytes = frame.bytes().len();
        *sending += bytes;
        drop(sending);
        // A client that is gone needs no answer.
        let _ = client.send_frame(frame);
        *lock(&self.state.history_sending) -= bytes;
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
            return client.close(1003, "binary messages are not understood here");
        };
        match command::parse(text) {
            Ok(ClientCommand::Subscribe(projects)) => self.subscribe(client, projects),
            Ok(ClientCommand::Unsubscribe(projects)) => self.unsubscribe(client, &projects),
            Ok(ClientCommand::History(seconds)) => self.history(client, seconds),
            Err(refusal) => self.reply(client, &refusal.message()),
        }
    }
}

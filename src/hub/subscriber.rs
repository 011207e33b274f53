//! A registered recipient: a client with a socket, or an in-process listener.

use std::sync::Arc;
use std::time::Duration;

use super::SHUTTING_DOWN;
use super::listener::ListenerQueue;
use crate::Client;
use crate::connection::frame::Frame;
use crate::connection::outbox::OfferResult;

/// How long a client has to close when the hub stops.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Clone, Debug)]
pub(super) enum Subscriber {
    Client(Client),
    Listener(Arc<ListenerQueue>),
}

impl Subscriber {
    pub(super) fn id(&self) -> u64 {
        match self {
            Self::Client(client) => client.id(),
            Self::Listener(queue) => queue.id(),
        }
    }

    /// Sends frames without blocking. `joined` is all their bytes.
    pub(super) fn offer(&self, frames: &[Frame], joined: &[u8]) -> OfferResult {
        match self {
            Self::Client(client) => client.offer(frames, joined),
            Self::Listener(queue) => queue.offer(frames),
        }
    }

    pub(super) fn evict(&self) {
        match self {
            Self::Client(client) => client.evict(),
            Self::Listener(queue) => queue.evict(),
        }
    }

    /// Closes it because the hub stops. Queued messages are still delivered.
    pub(super) fn close_at_shutdown(&self) {
        match self {
            Self::Client(client) => {
                client.close_within(1001, SHUTTING_DOWN, false, CLOSE_TIMEOUT);
            }
            Self::Listener(queue) => queue.close(),
        }
    }

    /// Marks it as unregistered. Returns false if it was not registered.
    pub(super) fn remove_hub(&self, hub: u64) -> bool {
        match self {
            Self::Client(client) => client.remove_hub(hub),
            Self::Listener(queue) => queue.set_unregistered(),
        }
    }

    /// Whether it is registered.
    pub(super) fn is_registered_with(&self, hub: u64) -> bool {
        match self {
            Self::Client(client) => client.is_registered_with(hub).unwrap_or(false),
            Self::Listener(queue) => queue.is_open(),
        }
    }
}

//! A registered receiver: a client's socket, or a listener in this process.

use std::sync::Arc;
use std::time::Duration;

use super::SHUTTING_DOWN;
use super::listener::Mailbox;
use crate::Client;
use crate::connection::frame::Frame;
use crate::connection::outbox::Offered;

/// How long a client has to close when the hub stops.
pub(super) const GOODBYE: Duration = Duration::from_secs(2);

#[derive(Clone, Debug)]
pub(super) enum Subscriber {
    Client(Client),
    Listener(Arc<Mailbox>),
}

impl Subscriber {
    pub(super) fn id(&self) -> u64 {
        match self {
            Self::Client(client) => client.id(),
            Self::Listener(mailbox) => mailbox.id(),
        }
    }

    /// Sends `frames`, of which `joined` is the bytes, without waiting.
    pub(super) fn offer(&self, frames: &[Frame], joined: &[u8]) -> Offered {
        match self {
            Self::Client(client) => client.offer(frames, joined),
            Self::Listener(mailbox) => mailbox.offer(frames),
        }
    }

    /// Has the processor fetch the memory that [`offer`](Self::offer) touches.
    pub(super) fn prefetch(&self) {
        if let Self::Client(client) = self {
            client.outbox().prefetch();
        }
    }

    pub(super) fn evict(&self) {
        match self {
            Self::Client(client) => client.evict(),
            Self::Listener(mailbox) => mailbox.evict(),
        }
    }

    /// The hub stops: what is queued is still delivered.
    pub(super) fn say_goodbye(&self) {
        match self {
            Self::Client(client) => {
                client.end(1001, SHUTTING_DOWN, false, GOODBYE);
            }
            Self::Listener(mailbox) => mailbox.close(),
        }
    }

    /// Notes that it is no longer registered; `false` if it was not.
    pub(super) fn leave(&self, hub: u64) -> bool {
        match self {
            Self::Client(client) => client.leave(hub),
            Self::Listener(mailbox) => mailbox.leave(),
        }
    }

    /// Whether it is still registered.
    pub(super) fn is_in(&self, hub: u64) -> bool {
        match self {
            Self::Client(client) => client.is_in(hub).unwrap_or(false),
            Self::Listener(mailbox) => mailbox.is_open(),
        }
    }
}

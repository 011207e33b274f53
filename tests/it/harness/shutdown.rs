//! The ways to shut down a hub and a server.

use std::thread;

use crossbeam_channel::bounded;

use super::{GUARD, Served};

/// What is shut down first, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    HubFirst,
    ServerFirst,
    HubDropped,
    ServerDropped,
}

pub(crate) const WAYS: [Way; 4] =
    [Way::HubFirst, Way::ServerFirst, Way::HubDropped, Way::ServerDropped];

/// Shuts both down. Each must return within [`GUARD`].
#[track_caller]
pub(crate) fn end(way: Way, Served { server, hub }: Served) {
    match way {
        Way::HubFirst => {
            within_guard("Hub::shutdown", || hub.shutdown());
            within_guard("Server::shutdown", || server.shutdown());
        }
        Way::ServerFirst => {
            within_guard("Server::shutdown", || server.shutdown());
            within_guard("Hub::shutdown", || hub.shutdown());
        }
        Way::HubDropped => {
            within_guard("dropping the hub", || drop(hub));
            within_guard("dropping the server", || drop(server));
        }
        Way::ServerDropped => {
            within_guard("dropping the server", || drop(server));
            within_guard("dropping the hub", || drop(hub));
        }
    }
}

/// Runs `call` on a thread of its own and waits for it. Panics after [`GUARD`] instead of hanging.
#[track_caller]
pub(crate) fn within_guard<T: Send + 'static>(
    what: &str,
    call: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (done, result) = bounded(1);
    thread::spawn(move || done.send(call()));
    result.recv_timeout(GUARD).unwrap_or_else(|_| panic!("{what} did not return in {GUARD:?}"))
}

//! A hub behind a server on a free port.

use std::net::SocketAddr;
use std::sync::Once;

use kentros::{Hub, HubConfig, HubHandle, Server, ServerConfig};
use rustix::process::{Resource, getrlimit, setrlimit};

use super::{Ws, dial, dial_narrow, until};

/// A hub and a server in front of it. The server is dropped first.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) server: Server,
    pub(crate) hub: Hub,
}

impl Served {
    pub(crate) fn new() -> Self {
        Self::with(HubConfig::default(), ServerConfig::default())
    }

    pub(crate) fn with(hub: HubConfig, server: ServerConfig) -> Self {
        Self::with_handle(hub, |_| server)
    }

    /// A server whose configuration needs a handle of the hub.
    pub(crate) fn with_handle(
        hub: HubConfig,
        server: impl FnOnce(&HubHandle) -> ServerConfig,
    ) -> Self {
        raise_descriptor_limit();
        let hub = Hub::spawn(hub).unwrap();
        let config = server(&hub.handle());
        let server = Server::bind("127.0.0.1:0", hub.handle(), config).unwrap();
        Self { server, hub }
    }

    pub(crate) fn handle(&self) -> HubHandle {
        self.hub.handle()
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Connects a client to the stats socket.
    pub(crate) fn client(&self) -> Ws {
        self.client_at("/ws/stats")
    }

    pub(crate) fn client_at(&self, path: &str) -> Ws {
        Ws::over(dial(self.addr()), self.addr(), path)
    }

    /// Connects a client with a small receive buffer. It stalls soon after it stops reading.
    pub(crate) fn narrow_client(&self) -> Ws {
        Ws::over(dial_narrow(self.addr()), self.addr(), "/ws/stats")
    }

    /// Waits until the hub has exactly `n` clients.
    pub(crate) fn until_clients(&self, n: usize) {
        let handle = self.handle();
        until(&format!("{n} clients"), || handle.client_count() == n);
    }
}

/// Raises the soft limit of descriptors to the hard limit. Tests hold hundreds of connections, and
/// with the usual 1,024 descriptors a server accepts fewer clients.
pub(super) fn raise_descriptor_limit() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit).unwrap();
    });
}

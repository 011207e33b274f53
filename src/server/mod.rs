//! The server: one port for the page, the endpoints and the WebSockets.

mod accept;
mod config;
mod front;

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, bounded, unbounded};

use crate::http::route::STATS_SOCKET;
use crate::poller::{Poller, Waker};
use crate::stats::StatsHandler;
use crate::{Error, HubHandle, threads};

use accept::Accept;
use front::{Event, Front};

pub use config::ServerConfig;

/// Connections that may wait to be taken up; the kernel holds the rest.
const INBOX: usize = 256;

/// Connections the kernel holds, where it lets us. The 128 of the standard library are fewer than
/// reconnect at once after a restart, and each that is dropped tries again a second later.
const BACKLOG: i32 = 4096;

/// A server in front of a hub. It runs until [`shutdown`](Self::shutdown) or until it is dropped.
///
/// ```
/// use kentros::{Hub, HubConfig, Server, ServerConfig};
///
/// let hub = Hub::spawn(HubConfig::default())?;
/// let server = Server::bind("127.0.0.1:0", hub.handle(), ServerConfig::default())?;
/// println!("http://{}", server.local_addr());
/// server.shutdown();
/// # Ok::<(), kentros::Error>(())
/// ```
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    listener: Arc<TcpListener>,
    events: Sender<Event>,
    waker: Waker,
    /// Dropped to end the accept thread where it waits for descriptors.
    stop: Option<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Listens on `addr` and serves what `config` says, in front of `hub`.
    ///
    /// # Errors
    /// If the address cannot be had: it is taken, it is not this machine's, or it takes rights.
    /// The message names it.
    pub fn bind(
        addr: impl ToSocketAddrs,
        hub: HubHandle,
        mut config: ServerConfig,
    ) -> Result<Self, Error> {
        let (listener, addr) = listen(addr)?;
        config.routes.socket_if_free(STATS_SOCKET, || Arc::new(StatsHandler::new(hub.clone())));
        let failed = |error| Error::io("cannot start the server", error);
        let poller = Poller::new().map_err(failed)?;
        let waker = poller.waker();
        let (accepted, connections) = bounded(INBOX);
        let (events, inbox) = unbounded();
        let (stop, stopped) = bounded(0);
        let listener = Arc::new(listener);
        let accept = Accept::new(Arc::clone(&listener), accepted, waker.clone(), stopped);
        let front = Front::new(hub, config, poller, connections, (events.clone(), inbox));
        let front = threads::spawn("kentros-http", || front.run()).map_err(failed)?;
        let mut server =
            Self { addr, listener, events, waker, stop: Some(stop), threads: vec![front] };
        let accept = threads::spawn("kentros-accept", || accept.run()).map_err(failed)?;
        server.threads.push(accept);
        log::info!("listening on http://{addr}");
        Ok(server)
    }

    /// The address it listens on, with the real port where 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops listening, closes each WebSocket client with 1001, and returns once every thread has
    /// ended: within five seconds, whatever the clients do. Dropping the server does the same.
    pub fn shutdown(self) {
        drop(self);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop = None;
        // Wakes a blocked accept(2).
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        let _ = self.events.send(Event::Stop);
        self.waker.wake();
        for thread in self.threads.drain(..) {
            // A panic has been logged by the thread itself.
            let _ = thread.join();
        }
    }
}

fn listen(addr: impl ToSocketAddrs) -> Result<(TcpListener, SocketAddr), Error> {
    let addrs: Vec<SocketAddr> = addr
        .to_socket_addrs()
        .map_err(|error| Error::io("cannot find the address to listen on", error))?
        .collect();
    let names: Vec<String> = addrs.iter().map(ToString::to_string).collect();
    let failed = |error: io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => " (another program has this port: choose another one)",
            io::ErrorKind::AddrNotAvailable => " (no interface of this machine has this address)",
            io::ErrorKind::PermissionDenied => " (ports below 1024 take extra rights)",
            _ => "",
        };
        Error::io(format!("cannot listen on {}{hint}", names.join(", ")), error)
    };
    let listener = TcpListener::bind(addrs.as_slice()).map_err(failed)?;
    rustix::net::listen(&listener, BACKLOG).map_err(|error| failed(error.into()))?;
    let addr = listener.local_addr().map_err(failed)?;
    Ok((listener, addr))
}

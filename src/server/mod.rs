//! The server: one port for the page, the endpoints and the WebSockets.

mod accept;
mod access;
mod clients;
mod config;
mod event;
mod front;
mod pings;
mod request;

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded, unbounded};
use rustix::net::sockopt;

use crate::http::route::STATS_SOCKET;
use crate::poller::{Poller, Waker};
use crate::stats::StatsHandler;
use crate::{Error, HubHandle, limits, threads};

use accept::Accept;
use event::Event;
use front::Front;

pub use access::Access;
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
    /// The message names it. [`is_invalid`](Error::is_invalid) if other machines can reach it and
    /// [`config.access`](ServerConfig::access) is [`Access::Local`].
    pub fn bind(
        addr: impl ToSocketAddrs,
        hub: HubHandle,
        config: ServerConfig,
    ) -> Result<Self, Error> {
        Self::from_listener(listen(addr, &config.access)?, hub, config)
    }

    /// Serves on a listener that is there already: one with options of your own, or one that was
    /// handed down to this process.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    ///
    /// ```
    /// use std::net::TcpListener;
    /// use kentros::{Hub, HubConfig, Server, ServerConfig};
    ///
    /// let hub = Hub::spawn(HubConfig::default())?;
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let server = Server::from_listener(listener, hub.handle(), ServerConfig::default())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_listener(
        listener: TcpListener,
        hub: HubHandle,
        mut config: ServerConfig,
    ) -> Result<Self, Error> {
        let unfit = |error| Error::io("cannot serve on this listener", error);
        let addr = listener.local_addr().map_err(unfit)?;
        // The thread that accepts waits in it.
        listener.set_nonblocking(false).map_err(unfit)?;
        let base = config.base.as_str().to_owned();
        config.access.may_listen(&[addr])?;
        let possible = limits::clients();
        if config.max_clients > possible {
            log::warn!(
                "{} clients are more than this process can have: the limit is {possible}",
                config.max_clients
            );
            config.max_clients = possible;
        }
        keep_alive(&listener, limits::time(config.silence_limit))
            .map_err(|error| Error::io("cannot have dead connections found", error.into()))?;
        config.routes.socket_if_free(STATS_SOCKET, || Arc::new(StatsHandler::new(hub.clone())));
        let failed = |error| Error::io("cannot start the server", error);
        let poller = Poller::new().map_err(failed)?;
        let waker = poller.waker();
        let (accepted, connections) = bounded(INBOX);
        let (events, inbox) = unbounded();
        let (stop, stopped) = bounded(0);
        let listener = Arc::new(listener);
        let accept = Accept::new(Arc::clone(&listener), accepted, waker.clone(), stopped);
        let front = Front::new(hub, config, poller, connections, (events.clone(), inbox))
            .map_err(failed)?;
        let front = threads::spawn("kentros-http", || front.run()).map_err(failed)?;
        let mut server =
            Self { addr, listener, events, waker, stop: Some(stop), threads: vec![front] };
        let accept = threads::spawn("kentros-accept", || accept.run()).map_err(failed)?;
        server.threads.push(accept);
        log::info!("listening on http://{addr}{base}");
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
        Event::Stop.tell(&self.events, &self.waker);
        for thread in self.threads.drain(..) {
            // A panic has been logged by the thread itself.
            let _ = thread.join();
        }
    }
}

fn listen(addr: impl ToSocketAddrs, access: &Access) -> Result<TcpListener, Error> {
    let addrs: Vec<SocketAddr> = addr
        .to_socket_addrs()
        .map_err(|error| Error::io("cannot find the address to listen on", error))?
        .collect();
    access.may_listen(&addrs)?;
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
    Ok(listener)
}

/// Has the kernel end every connection of `listener` whose peer has acknowledged nothing for
/// `limit`: also one that we have closed, which nobody here watches any more. Linux hands a
/// listener's options on to what it accepts.
///
/// Pings keep a live connection from ever being idle for so long that the kernel probes it.
fn keep_alive(listener: &TcpListener, limit: Duration) -> rustix::io::Result<()> {
    // tcp(7): idle time and interval are whole seconds, 32,767 at most.
    let seconds = |n: u64| Duration::from_secs(n.clamp(1, 32_767));
    sockopt::set_tcp_keepidle(listener, seconds(limit.as_secs() / 2))?;
    sockopt::set_tcp_keepintvl(listener, seconds(limit.as_secs() / 6))?;
    sockopt::set_tcp_keepcnt(listener, 3)?;
    // The kernel reckons with it in signed milliseconds.
    let millis = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX).min(i32::MAX as u32);
    sockopt::set_tcp_user_timeout(listener, millis)?;
    sockopt::set_socket_keepalive(listener, true)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::os::fd::AsFd;

    use super::*;
    use crate::{Hub, HubConfig};

    /// Keep-alive, its idle time, its interval, its probes, and the user timeout.
    fn options(socket: impl AsFd) -> (bool, u64, u64, u32, u32) {
        (
            sockopt::socket_keepalive(&socket).unwrap(),
            sockopt::tcp_keepidle(&socket).unwrap().as_secs(),
            sockopt::tcp_keepintvl(&socket).unwrap().as_secs(),
            sockopt::tcp_keepcnt(&socket).unwrap(),
            sockopt::tcp_user_timeout(&socket).unwrap(),
        )
    }

    #[test]
    fn the_kernel_gives_a_connection_up_at_the_limit_of_silence() {
        let hub = Hub::spawn(HubConfig::default()).unwrap();
        let server = Server::bind("127.0.0.1:0", hub.handle(), ServerConfig::default()).unwrap();
        assert_eq!(options(&server.listener), (true, 30, 10, 3, 60_000));

        let listener = listen("127.0.0.1:0", &Access::Local).unwrap();
        let addr = listener.local_addr().unwrap();
        for (limit, kept) in [
            (Duration::from_millis(10), (true, 1, 1, 3, 10)),
            (limits::time(Duration::MAX), (true, 32_767, 32_767, 3, i32::MAX as u32)),
        ] {
            keep_alive(&listener, limit).unwrap();
            let _peer = TcpStream::connect(addr).unwrap();
            let (socket, _) = listener.accept().unwrap();
            assert_eq!(options(socket), kept, "what is accepted has what the listener has");
        }
    }
}

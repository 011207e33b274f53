//! The server: one port for the page, the endpoints and the WebSockets.

mod accept;
mod access;
pub(crate) mod auth;
mod clients;
mod config;
mod connector;
mod event;
mod health;
mod http_loop;
mod pending;
mod pings;
mod route_threads;
pub(crate) mod routes;

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded, unbounded};
use rustix::net::sockopt;

use crate::http::response::is_value;
use crate::poller::Poller;
use crate::{Error, HubHandle, limits, threads};

use accept::Accept;
use http_loop::HttpLoop;

pub use access::Access;
pub use config::ServerConfig;
pub use connector::Connector;

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
#[must_use = "a server stops when it is dropped"]
pub struct Server {
    addr: SocketAddr,
    /// None where connections are handed over.
    listener: Option<Arc<TcpListener>>,
    connector: Connector,
    /// Dropped to end the accept thread where it waits for descriptors.
    stop: Option<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Listens on `addr` and serves what `config` says, in front of `hub`.
    ///
    /// # Errors
    /// [`Io`](crate::ErrorKind::Io) if it cannot listen there: the address is in use, is not this
    /// machine's, or needs privileges. [`Invalid`](crate::ErrorKind::Invalid) if other machines can
    /// reach it and [`config.access`](ServerConfig::access) is [`Access::Local`], or if a route's
    /// path cannot be used. The message names the address or the path.
    pub fn bind(
        addr: impl ToSocketAddrs,
        hub: HubHandle,
        config: ServerConfig,
    ) -> Result<Self, Error> {
        Self::from_listener(listen(addr, &config.access)?, hub, config)
    }

    /// Serves on a listener that exists already: one with options of your own, or one that was
    /// handed down to this process.
    ///
    /// # Errors
    /// Like [`bind`](Self::bind).
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
        config: ServerConfig,
    ) -> Result<Self, Error> {
        let unfit = |error| Error::io("cannot serve on this listener", error);
        let addr = listener.local_addr().map_err(unfit)?;
        // The thread that accepts waits in it.
        listener.set_nonblocking(false).map_err(unfit)?;
        let base = config.base.as_str().to_owned();
        config.access.may_listen(&[addr])?;
        keep_alive(&listener, limits::time(config.silence_limit))
            .map_err(|error| Error::io("cannot set keep-alive", error.into()))?;
        let mut server = Self::without_listener(hub, config)?;
        let (stop, stopped) = bounded(0);
        let listener = Arc::new(listener);
        let accept = Accept::new(Arc::clone(&listener), server.connector.clone(), stopped);
        (server.addr, server.listener, server.stop) = (addr, Some(listener), Some(stop));
        let accept = threads::spawn("kentros-accept", || accept.run()).map_err(failed)?;
        server.threads.push(accept);
        log::info!("listening on http://{addr}{base}");
        Ok(server)
    }

    /// A server that is handed its connections by a program with a listener of its own; see
    /// [`connector`](Self::connector).
    ///
    /// ```
    /// use std::net::TcpListener;
    /// use kentros::{Hub, HubConfig, Server, ServerConfig};
    ///
    /// let hub = Hub::spawn(HubConfig::default())?;
    /// let server = Server::without_listener(hub.handle(), ServerConfig::default())?;
    /// let connector = server.connector();
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// std::thread::spawn(move || {
    ///     for socket in listener.incoming().flatten() {
    ///         // Nothing of it has been read yet.
    ///         if connector.serve(socket, Vec::new()).is_err_and(|error| error.is_stopped()) {
    ///             return;
    ///         }
    ///     }
    /// });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if a route's path cannot be used,
    /// [`Io`](crate::ErrorKind::Io) if the operating system has no thread or descriptor to give.
    pub fn without_listener(hub: HubHandle, mut config: ServerConfig) -> Result<Self, Error> {
        let possible = limits::clients();
        if config.max_clients > possible {
            log::warn!(
                "max_clients is {}, more than this process can have: the limit is {possible}",
                config.max_clients
            );
            config.max_clients = possible;
        }
        let routes = std::mem::take(&mut config.routes).table(config.access.token().is_some())?;
        config.open_paths.iter().try_for_each(|path| routes::check_path(path))?;
        if !is_value(&config.content_security_policy) {
            return Err(Error::invalid("the Content-Security-Policy has control characters"));
        }
        let local = config.access == Access::Local;
        let silence_limit = limits::time(config.silence_limit);
        let poller = Poller::new().map_err(failed)?;
        let waker = poller.waker();
        let (handed, connections) = bounded(INBOX);
        let (events, inbox) = unbounded();
        let connector = Connector::new(handed, events.clone(), waker, local, silence_limit);
        let http = HttpLoop::new(hub, config, routes, poller, connections, (events, inbox))
            .map_err(failed)?;
        let http = threads::spawn("kentros-http", || http.run()).map_err(failed)?;
        let addr = SocketAddr::from(([0, 0, 0, 0], 0));
        Ok(Self { addr, listener: None, connector, stop: None, threads: vec![http] })
    }

    /// Hands connections over to this server.
    pub fn connector(&self) -> Connector {
        self.connector.clone()
    }

    /// The address it listens on, with the real port if 0 was asked for; `0.0.0.0:0` for a server
    /// without a listener.
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
        if let Some(listener) = &self.listener {
            // Wakes a blocked accept(2).
            let _ = rustix::net::shutdown(listener, rustix::net::Shutdown::Both);
        }
        self.connector.stop();
        for thread in self.threads.drain(..) {
            // A panic has been logged by the thread itself.
            let _ = thread.join();
        }
    }
}

fn failed(error: io::Error) -> Error {
    Error::io("cannot start the server", error)
}

fn listen(addr: impl ToSocketAddrs, access: &Access) -> Result<TcpListener, Error> {
    let addrs: Vec<SocketAddr> = addr
        .to_socket_addrs()
        .map_err(|error| Error::io("cannot find the address to listen on", error))?
        .collect();
    access.may_listen(&addrs)?;
    let names: Vec<String> = addrs.iter().map(ToString::to_string).collect();
    let cannot = |error: io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => " (another program has this port: choose another one)",
            io::ErrorKind::AddrNotAvailable => " (no interface of this machine has this address)",
            io::ErrorKind::PermissionDenied => " (ports below 1024 take extra rights)",
            _ => "",
        };
        Error::io(format!("cannot listen on {}{hint}", names.join(", ")), error)
    };
    let listener = TcpListener::bind(addrs.as_slice()).map_err(cannot)?;
    rustix::net::listen(&listener, BACKLOG).map_err(|error| cannot(error.into()))?;
    Ok(listener)
}

/// Has the kernel end a connection, or every connection of a listener, whose peer has acknowledged nothing for
/// `limit`: also one that we have closed, which nobody here watches any more. Linux hands a
/// listener's options on to what it accepts.
///
/// Pings keep a live connection from ever being idle for so long that the kernel probes it.
fn keep_alive(listener: impl AsFd + Copy, limit: Duration) -> rustix::io::Result<()> {
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
        assert_eq!(options(server.listener.as_ref().unwrap()), (true, 30, 10, 3, 60_000));

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

//! The server: one port for pages, endpoints and WebSockets.

mod acceptor;
mod access;
pub(crate) mod auth;
mod client_thread;
mod clients;
mod config;
mod connector;
mod health;
mod http_event;
mod http_loop;
mod network;
mod outgoing;
mod pending;
mod pending_table;
mod pings;
pub(crate) mod rejections;
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

use crate::http::response::is_header_value;
use crate::poller::Poller;
use crate::{Error, HubHandle, limits, threads};

use acceptor::Acceptor;
use http_loop::HttpLoop;

pub use access::Access;
pub use config::ServerConfig;
pub use connector::Connector;

/// Maximum number of accepted connections that wait for the HTTP loop.
const INBOX: usize = 256;

/// The kernel's backlog, if it allows that many. With the standard library's 128, clients that all
/// reconnect after a restart overflow it, and each dropped connection is retried a second later.
const BACKLOG: i32 = 4096;

/// An HTTP and WebSocket server for a hub's clients.
///
/// The server runs until [`shutdown`](Self::shutdown) is called or until it is dropped.
///
/// # Examples
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
    /// `None` if connections are handed over.
    listener: Option<Arc<TcpListener>>,
    connector: Connector,
    /// Dropped to wake the accept thread while it waits to retry.
    stop: Option<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Starts a server that listens on `addr`.
    ///
    /// # Errors
    ///
    /// - [`Io`](crate::ErrorKind::Io) if it cannot listen on `addr`: the address is in use, does
    ///   not belong to this machine, or requires privileges.
    /// - [`Invalid`](crate::ErrorKind::Invalid) if other machines can reach `addr` and
    ///   [`config.access`](ServerConfig::access) is [`Access::Local`], or if the path of a route is
    ///   invalid, duplicate or reserved.
    pub fn bind(
        addr: impl ToSocketAddrs,
        hub: HubHandle,
        config: ServerConfig,
    ) -> Result<Self, Error> {
        Self::from_listener(listen(addr, &config.access)?, hub, config)
    }

    /// Starts a server on an existing listener, such as one with special options or one inherited
    /// from another process.
    ///
    /// # Errors
    ///
    /// As for [`bind`](Self::bind).
    ///
    /// # Examples
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
        let unusable = |error| Error::io("cannot use the listener", error);
        let addr = listener.local_addr().map_err(unusable)?;
        // The accept thread blocks in accept(2).
        listener.set_nonblocking(false).map_err(unusable)?;
        let base = config.base.as_str().to_owned();
        config.access.check_listen(&[addr])?;
        keep_alive(&listener, limits::time(config.silence_limit))
            .map_err(|error| Error::io("cannot set TCP keep-alive", error.into()))?;
        let mut server = Self::without_listener(hub, config)?;
        let (stop, stopped) = bounded(0);
        let listener = Arc::new(listener);
        let acceptor = Acceptor::new(Arc::clone(&listener), server.connector.clone(), stopped);
        (server.addr, server.listener, server.stop) = (addr, Some(listener), Some(stop));
        let thread = threads::spawn("kentros-accept", || acceptor.run()).map_err(start_failed)?;
        server.threads.push(thread);
        log::info!("listening on http://{addr}{base}");
        Ok(server)
    }

    /// Starts a server without a listener, for a program that accepts connections itself and hands
    /// them over; see [`connector`](Self::connector).
    ///
    /// # Errors
    ///
    /// - [`Invalid`](crate::ErrorKind::Invalid) if the path of a route is invalid, duplicate or
    ///   reserved.
    /// - [`Io`](crate::ErrorKind::Io) if the operating system has no thread or descriptor left.
    ///
    /// # Examples
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
    ///         // Nothing has been read from the socket yet.
    ///         if connector.serve(socket, Vec::new()).is_err_and(|error| error.is_stopped()) {
    ///             return;
    ///         }
    ///     }
    /// });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn without_listener(hub: HubHandle, mut config: ServerConfig) -> Result<Self, Error> {
        let possible = limits::clients();
        if config.max_clients > possible {
            log::warn!(
                "max_clients lowered from {} to {possible}, the number that this process can serve \
                 (see `ulimit -n`)",
                config.max_clients
            );
            config.max_clients = possible;
        }
        let routes = std::mem::take(&mut config.routes).table(config.access.token().is_some())?;
        config.open_paths.iter().try_for_each(|path| routes::check_path(path))?;
        if !is_header_value(&config.content_security_policy) {
            return Err(Error::invalid("the Content-Security-Policy has control characters"));
        }
        let local_only = config.access == Access::Local;
        let silence_limit = limits::time(config.silence_limit);
        let poller = Poller::new().map_err(start_failed)?;
        let waker = poller.waker();
        let (sender, connections) = bounded(INBOX);
        let (events, inbox) = unbounded();
        let connector = Connector::new(sender, events.clone(), waker, local_only, silence_limit);
        let http = HttpLoop::new(hub, config, routes, poller, connections, (events, inbox))
            .map_err(start_failed)?;
        let http = threads::spawn("kentros-http", || http.run()).map_err(start_failed)?;
        let addr = SocketAddr::from(([0, 0, 0, 0], 0));
        Ok(Self { addr, listener: None, connector, stop: None, threads: vec![http] })
    }

    /// Returns a [`Connector`], which hands connections over to this server.
    pub fn connector(&self) -> Connector {
        self.connector.clone()
    }

    /// Returns the address that the server listens on. If it was bound to port 0, the port is the
    /// assigned one. Without a listener, the address is `0.0.0.0:0`.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops listening, closes every WebSocket client with 1001, and waits until every thread has
    /// ended, at most five seconds. Dropping the server does the same.
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
            // The thread has already logged a panic.
            let _ = thread.join();
        }
    }
}

fn start_failed(error: io::Error) -> Error {
    Error::io("cannot start the server", error)
}

fn listen(addr: impl ToSocketAddrs, access: &Access) -> Result<TcpListener, Error> {
    let addrs: Vec<SocketAddr> = addr
        .to_socket_addrs()
        .map_err(|error| Error::io("cannot resolve the address to listen on", error))?
        .collect();
    access.check_listen(&addrs)?;
    let names: Vec<String> = addrs.iter().map(ToString::to_string).collect();
    let cannot = |error: io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => "choose another port",
            io::ErrorKind::AddrNotAvailable => "no interface of this machine has this address",
            io::ErrorKind::PermissionDenied => "ports below 1024 require privileges",
            _ => "",
        };
        Error::io_with_hint(format!("cannot listen on {}", names.join(", ")), error, hint)
    };
    let listener = TcpListener::bind(addrs.as_slice()).map_err(cannot)?;
    rustix::net::listen(&listener, BACKLOG).map_err(|error| cannot(error.into()))?;
    Ok(listener)
}

/// Makes the kernel end a connection whose peer has acknowledged nothing for `limit`, even after we
/// have closed it. On Linux, accepted connections inherit the options of their listener.
///
/// The kernel never probes a live connection: pings keep it from being idle that long.
fn keep_alive(socket: impl AsFd + Copy, limit: Duration) -> rustix::io::Result<()> {
    // tcp(7): idle time and interval are whole seconds, at most 32,767.
    let seconds = |n: u64| Duration::from_secs(n.clamp(1, 32_767));
    sockopt::set_tcp_keepidle(socket, seconds(limit.as_secs() / 2))?;
    sockopt::set_tcp_keepintvl(socket, seconds(limit.as_secs() / 6))?;
    sockopt::set_tcp_keepcnt(socket, 3)?;
    // The kernel stores it as signed milliseconds.
    let millis = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX).min(i32::MAX as u32);
    sockopt::set_tcp_user_timeout(socket, millis)?;
    sockopt::set_socket_keepalive(socket, true)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;
    use crate::{Hub, HubConfig};

    /// Keep-alive: enabled, idle time, interval, number of probes; and the user timeout.
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
    fn the_kernel_ends_a_connection_at_the_silence_limit() {
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
            assert_eq!(options(socket), kept, "accepted connections inherit the options");
        }
    }
}

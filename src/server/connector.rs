//! Handing connections over to a server.

use std::fmt;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};

use super::http_event::{AdoptedConnection, HttpEvent};
use super::http_loop::NewConnection;
use super::keep_alive;
use crate::poller::Waker;
use crate::{Client, Error, Session};

/// Hands connections over to a [`Server`](crate::Server), from any thread.
///
/// The server owns these connections: its limits apply to them, and its shutdown closes them.
/// Clones refer to the same server.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::TcpStream;
/// use kentros::{Client, Connector, Incoming, Session, accept_key};
///
/// struct Echo;
///
/// impl Session for Echo {
///     fn message(&mut self, client: &Client, message: Incoming<'_>) {
///         if let Incoming::Text(text) = message {
///             let _ = client.send_text(text);
///         }
///     }
/// }
///
/// /// For a program that has already parsed the request: answers the handshake itself.
/// fn upgrade(
///     connector: &Connector,
///     mut socket: TcpStream,
///     key: &str,
///     already_read: Vec<u8>,
/// ) -> Result<(), Box<dyn std::error::Error>> {
///     let accept = accept_key(key);
///     write!(
///         socket,
///         "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
///          Sec-WebSocket-Accept: {accept}\r\n\r\n"
///     )?;
///     let client = connector.adopt(socket, already_read, Echo)?;
///     println!("client {} is connected", client.id());
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct Connector {
    connections: Sender<NewConnection>,
    events: Sender<HttpEvent>,
    waker: Waker,
    /// Only loopback connections are allowed.
    local_only: bool,
    silence_limit: Duration,
}

impl Connector {
    pub(super) fn new(
        connections: Sender<NewConnection>,
        events: Sender<HttpEvent>,
        waker: Waker,
        local_only: bool,
        silence_limit: Duration,
    ) -> Self {
        Self { connections, events, waker, local_only, silence_limit }
    }

    /// Serves a connection as if the server had accepted it. `already_read` is the part of the
    /// request that has already been read.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn f(connector: &kentros::Connector, socket: std::net::TcpStream, head: Vec<u8>)
    /// # -> Result<(), kentros::Error> {
    /// connector.serve(socket, head)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Stopped`](crate::ErrorKind::Stopped) if the server has stopped.
    /// - [`Io`](crate::ErrorKind::Io) if the socket is not connected.
    /// - [`Invalid`](crate::ErrorKind::Invalid) if the connection comes from another machine and
    ///   the server's access is [`Access::Local`](crate::Access::Local).
    pub fn serve(&self, socket: TcpStream, already_read: Vec<u8>) -> Result<(), Error> {
        let (peer, local) = self.prepare(&socket)?;
        if self.local_only && !local.ip().to_canonical().is_loopback() {
            return Err(Error::invalid(format!(
                "cannot serve {peer} without a token: it connects from another machine. Set \
                 ServerConfig::access to Access::Token, or to Access::Open to allow everyone"
            )));
        }
        self.hand_over(NewConnection { socket, peer, already_read })
    }

    /// Serves a WebSocket whose handshake the caller has answered; see
    /// [`accept_key`](crate::accept_key). `already_read` is what has been read after the handshake.
    ///
    /// The server does not check token, host and origin of this connection: the caller must.
    ///
    /// # Errors
    ///
    /// - [`Stopped`](crate::ErrorKind::Stopped) if the server has stopped.
    /// - [`Busy`](crate::ErrorKind::Busy) if the client limit is reached. The client is closed with
    ///   1013.
    /// - [`Io`](crate::ErrorKind::Io) if the socket is not connected.
    pub fn adopt(
        &self,
        socket: TcpStream,
        already_read: Vec<u8>,
        session: impl Session,
    ) -> Result<Client, Error> {
        let (peer, _) = self.prepare(&socket)?;
        let failed = |error| Error::io("cannot serve this connection", error);
        socket.set_nonblocking(false).map_err(failed)?;
        socket.set_nodelay(true).map_err(failed)?;
        let (result, adopted) = bounded(1);
        let session = Box::new(session);
        let connection = AdoptedConnection { socket, peer, already_read, session, result };
        if !HttpEvent::Adopt(connection).send(&self.events, &self.waker) {
            return Err(Error::stopped());
        }
        // Disconnected if the server stops meanwhile.
        adopted.recv().unwrap_or_else(|_| Err(Error::stopped()))
    }

    /// Sets keep-alive. Returns the peer's address and the local one.
    fn prepare(&self, socket: &TcpStream) -> Result<(SocketAddr, SocketAddr), Error> {
        let failed = |error| Error::io("cannot serve this connection", error);
        let addrs = (socket.peer_addr().map_err(failed)?, socket.local_addr().map_err(failed)?);
        keep_alive(socket, self.silence_limit).map_err(|error| failed(error.into()))?;
        Ok(addrs)
    }

    pub(super) fn hand_over(&self, connection: NewConnection) -> Result<(), Error> {
        self.connections.send(connection).map_err(|_| Error::stopped())?;
        self.waker.wake();
        Ok(())
    }

    pub(super) fn stop(&self) {
        HttpEvent::Stop.send(&self.events, &self.waker);
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

//! Hands connections over to a server.

use std::fmt;
use std::net::TcpStream;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};

use super::event::{Adoption, Event};
use super::http_loop::Connection;
use super::keep_alive;
use crate::poller::Waker;
use crate::{Client, Error, Session};

/// Hands connections over to a [`Server`](crate::Server), from any thread; clones reach the same
/// server. The server owns them from then on: its limits and its shutdown apply.
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
/// /// A program that has parsed the request already answers the handshake itself.
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
    connections: Sender<Connection>,
    events: Sender<Event>,
    waker: Waker,
    /// Only connections over loopback may be served.
    local: bool,
    silence_limit: Duration,
}

impl Connector {
    pub(super) fn new(
        connections: Sender<Connection>,
        events: Sender<Event>,
        waker: Waker,
        local: bool,
        silence_limit: Duration,
    ) -> Self {
        Self { connections, events, waker, local, silence_limit }
    }

    /// Serves a connection whose request is still to be parsed: its routes, its WebSockets, its
    /// errors. `already_read` is what has been read of it.
    ///
    /// ```
    /// # fn f(connector: &kentros::Connector, socket: std::net::TcpStream, head: Vec<u8>)
    /// # -> Result<(), kentros::Error> {
    /// connector.serve(socket, head)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Stopped`](crate::ErrorKind::Stopped) once the server has stopped,
    /// [`Io`](crate::ErrorKind::Io) if the socket is not connected,
    /// [`Invalid`](crate::ErrorKind::Invalid) if it comes from another machine and the server's
    /// access is [`Access::Local`](crate::Access::Local).
    pub fn serve(&self, socket: TcpStream, already_read: Vec<u8>) -> Result<(), Error> {
        let (peer, local) = self.prepare(&socket)?;
        if self.local && !local.ip().to_canonical().is_loopback() {
            return Err(Error::invalid(format!(
                "{peer} comes from another machine, and no token is set: set \
                 ServerConfig::access to Access::Token or Access::Open"
            )));
        }
        self.hand_over(Connection { socket, peer, already_read })
    }

    /// Serves a connection whose WebSocket handshake has been answered already; see
    /// [`accept_key`](crate::accept_key). `already_read` is what has been read behind the
    /// handshake. Who may connect, and from which `Origin`, has been checked by the caller.
    ///
    /// # Errors
    /// [`Stopped`](crate::ErrorKind::Stopped) once the server has stopped,
    /// [`Busy`](crate::ErrorKind::Busy) if the client limit is reached (the client is closed with
    /// 1013), [`Io`](crate::ErrorKind::Io) if the socket is not connected.
    pub fn adopt(
        &self,
        socket: TcpStream,
        already_read: Vec<u8>,
        session: impl Session,
    ) -> Result<Client, Error> {
        let (peer, _) = self.prepare(&socket)?;
        let unfit = |error| Error::io("cannot serve this connection", error);
        socket.set_nonblocking(false).map_err(unfit)?;
        socket.set_nodelay(true).map_err(unfit)?;
        let (answer, answered) = bounded(1);
        let session = Box::new(session);
        let adoption = Adoption { socket, peer, already_read, session, answer };
        if !Event::Adopt(adoption).send(&self.events, &self.waker) {
            return Err(Error::stopped());
        }
        // It is dropped unanswered if the server stops meanwhile.
        answered.recv().unwrap_or_else(|_| Err(Error::stopped()))
    }

    fn prepare(
        &self,
        socket: &TcpStream,
    ) -> Result<(std::net::SocketAddr, std::net::SocketAddr), Error> {
        let unfit = |error| Error::io("cannot serve this connection", error);
        let addrs = (socket.peer_addr().map_err(unfit)?, socket.local_addr().map_err(unfit)?);
        keep_alive(socket, self.silence_limit).map_err(|error| unfit(error.into()))?;
        Ok(addrs)
    }

    pub(super) fn hand_over(&self, connection: Connection) -> Result<(), Error> {
        self.connections.send(connection).map_err(|_| Error::stopped())?;
        self.waker.wake();
        Ok(())
    }

    pub(super) fn stop(&self) {
        Event::Stop.send(&self.events, &self.waker);
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

//! Non-blocking connections to the engine, for one thread that reads many streams.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::sockopt::socket_error;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
    send, socket_with,
};

#[cfg(feature = "tls")]
use super::tls::{TlsConnection, TlsHandshake};
use crate::poller::Readiness;

/// A resolved address of an engine.
#[derive(Clone, Debug)]
pub(crate) enum EngineEndpoint {
    Unix(SocketAddrUnix),
    Tcp(SocketAddr),
}

/// Makes non-blocking connections to one engine.
#[derive(Debug)]
pub(crate) struct StreamConnector {
    endpoints: Vec<EngineEndpoint>,
    #[cfg(feature = "tls")]
    handshake: Option<TlsHandshake>,
}

impl StreamConnector {
    /// A connector for these endpoints.
    pub(crate) fn new(endpoints: Vec<EngineEndpoint>) -> Self {
        Self {
            endpoints,
            #[cfg(feature = "tls")]
            handshake: None,
        }
    }

    /// Adds TLS to each connection.
    #[cfg(feature = "tls")]
    pub(crate) fn with_tls(self, handshake: TlsHandshake) -> Self {
        Self { handshake: Some(handshake), ..self }
    }

    /// Starts to connect to endpoint number `n`; `None` if there are fewer. Once the connection is
    /// ready for writing, [`connected`](EngineConnection::connected) returns the result.
    pub(crate) fn start(&self, n: usize) -> Option<io::Result<EngineConnection>> {
        self.endpoints.get(n).map(|endpoint| {
            let socket = start_connect(endpoint)?;
            #[cfg(feature = "tls")]
            if let Some(handshake) = &self.handshake {
                return Ok(EngineConnection::Tls(Box::new(handshake.over(socket)?)));
            }
            Ok(EngineConnection::Plain(socket))
        })
    }
}

fn start_connect(endpoint: &EngineEndpoint) -> io::Result<OwnedFd> {
    let family = match endpoint {
        EngineEndpoint::Unix(_) => AddressFamily::UNIX,
        EngineEndpoint::Tcp(SocketAddr::V4(_)) => AddressFamily::INET,
        EngineEndpoint::Tcp(SocketAddr::V6(_)) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    let started = match endpoint {
        EngineEndpoint::Unix(address) => connect(&socket, address),
        EngineEndpoint::Tcp(address) => connect(&socket, address),
    };
    match started {
        // The kernel continues both.
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

/// A non-blocking connection, plain or with TLS.
#[derive(Debug)]
pub(crate) enum EngineConnection {
    Plain(OwnedFd),
    #[cfg(feature = "tls")]
    Tls(Box<TlsConnection>),
}

impl AsFd for EngineConnection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Plain(socket) => socket.as_fd(),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.as_fd(),
        }
    }
}

impl EngineConnection {
    /// The result of connecting, once the connection is ready.
    pub(crate) fn connected(&self) -> io::Result<()> {
        Ok(socket_error(self)??)
    }

    /// Sends as many of `bytes` as fit, or returns [`WouldBlock`](io::ErrorKind::WouldBlock).
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => Ok(send(socket, bytes, SendFlags::NOSIGNAL)?),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.send(bytes),
        }
    }

    /// Reads what has arrived: 0 at the end, or `WouldBlock`.
    pub(crate) fn recv(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => Ok(recv(socket, into, RecvFlags::empty())?.0),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.recv(into),
        }
    }

    /// Whether TLS holds bytes that the socket no longer has: read again.
    pub(crate) fn has_more(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.has_more(),
        }
    }

    /// What to wait for after `WouldBlock`. `sent`: the request was sent.
    pub(crate) fn interest(&self, sent: bool) -> Readiness {
        match self {
            Self::Plain(_) if sent => Readiness::Read,
            Self::Plain(_) => Readiness::Write,
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.interest(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rustix::net::{bind, listen, socket};

    #[test]
    fn a_full_listen_queue_does_not_block() {
        let path = std::env::temp_dir().join(format!("kentros-full-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let address = SocketAddrUnix::new(&path).unwrap();
        let listener = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        bind(&listener, &address).unwrap();
        listen(&listener, 0).unwrap();
        let connector = StreamConnector::new(vec![EngineEndpoint::Unix(address)]);
        assert!(connector.start(1).is_none(), "there is only one endpoint");
        // Linux queues one more than the backlog.
        let mut connections = Vec::new();
        let full = loop {
            match connector.start(0).unwrap() {
                Ok(connection) => connections.push(connection),
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        assert!(connections.first().unwrap().connected().is_ok());
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_closed_port_refuses_the_connection() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let connector = StreamConnector::new(vec![EngineEndpoint::Tcp(address)]);
        let refused = connector.start(0).unwrap().and_then(|connection| {
            let poller = crate::poller::Poller::new()?;
            poller.add(&connection, 1, Readiness::Write)?;
            assert_eq!(poller.wait(None), [1]);
            connection.connected()
        });
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}

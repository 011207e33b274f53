//! Connections to the engine that never block: for one thread with many of them.

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

/// Where an engine listens, names resolved.
#[derive(Clone, Debug)]
pub(crate) enum EngineEndpoint {
    Unix(SocketAddrUnix),
    Tcp(SocketAddr),
}

/// Makes connections to one engine.
#[derive(Debug)]
pub(crate) struct StreamConnector {
    places: Vec<EngineEndpoint>,
    #[cfg(feature = "tls")]
    handshake: Option<TlsHandshake>,
}

impl StreamConnector {
    /// One that tries these places, in this order.
    pub(crate) fn new(places: Vec<EngineEndpoint>) -> Self {
        Self {
            places,
            #[cfg(feature = "tls")]
            handshake: None,
        }
    }

    /// The same with TLS on each connection.
    #[cfg(feature = "tls")]
    pub(crate) fn with_tls(self, handshake: TlsHandshake) -> Self {
        Self { handshake: Some(handshake), ..self }
    }

    /// Begins a connection to place number `n`; `None` where there are fewer. It is made once the
    /// link is ready for writing and [`connected`](Link::connected) says so.
    pub(crate) fn dial(&self, n: usize) -> Option<io::Result<EngineConnection>> {
        self.places.get(n).map(|place| {
            let socket = begin(place)?;
            #[cfg(feature = "tls")]
            if let Some(handshake) = &self.handshake {
                return Ok(EngineConnection::Tls(Box::new(handshake.over(socket)?)));
            }
            Ok(EngineConnection::Plain(socket))
        })
    }
}

fn begin(place: &EngineEndpoint) -> io::Result<OwnedFd> {
    let family = match place {
        EngineEndpoint::Unix(_) => AddressFamily::UNIX,
        EngineEndpoint::Tcp(SocketAddr::V4(_)) => AddressFamily::INET,
        EngineEndpoint::Tcp(SocketAddr::V6(_)) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    let begun = match place {
        EngineEndpoint::Unix(address) => connect(&socket, address),
        EngineEndpoint::Tcp(address) => connect(&socket, address),
    };
    match begun {
        // Both go on in the kernel.
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

/// A connection.
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
            Self::Tls(link) => link.as_fd(),
        }
    }
}

impl EngineConnection {
    /// Whether it was made, once it is ready.
    pub(crate) fn connected(&self) -> io::Result<()> {
        Ok(socket_error(self)??)
    }

    /// Sends what of `bytes` it takes now; [`WouldBlock`](io::ErrorKind::WouldBlock) for nothing.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => Ok(send(socket, bytes, SendFlags::NOSIGNAL)?),
            #[cfg(feature = "tls")]
            Self::Tls(link) => link.send(bytes),
        }
    }

    /// Reads what has come; 0 for the end, `WouldBlock` for nothing.
    pub(crate) fn recv(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => Ok(recv(socket, into, RecvFlags::empty())?.0),
            #[cfg(feature = "tls")]
            Self::Tls(link) => link.recv(into),
        }
    }

    /// Whether it has bytes of which the socket knows nothing: read on.
    pub(crate) fn has_more(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            #[cfg(feature = "tls")]
            Self::Tls(link) => link.has_more(),
        }
    }

    /// What to wait for before what did not go on goes on.
    pub(crate) fn interest(&self, asked: bool) -> Readiness {
        match self {
            Self::Plain(_) if asked => Readiness::Read,
            Self::Plain(_) => Readiness::Write,
            #[cfg(feature = "tls")]
            Self::Tls(link) => link.interest(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rustix::net::{bind, listen, socket};

    #[test]
    fn a_full_queue_of_connections_holds_nobody_up() {
        let path = std::env::temp_dir().join(format!("kentros-full-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let address = SocketAddrUnix::new(&path).unwrap();
        let listener = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        bind(&listener, &address).unwrap();
        listen(&listener, 0).unwrap();
        let dialer = StreamConnector::new(vec![EngineEndpoint::Unix(address)]);
        assert!(dialer.dial(1).is_none(), "there is only one place");
        // Linux queues one more than it was told.
        let mut links = Vec::new();
        let full = loop {
            match dialer.dial(0).unwrap() {
                Ok(link) => links.push(link),
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        assert!(links.first().unwrap().connected().is_ok());
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_place_where_nobody_listens_is_refused() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let dialer = StreamConnector::new(vec![EngineEndpoint::Tcp(address)]);
        let refused = dialer.dial(0).unwrap().and_then(|link| {
            let poller = crate::poller::Poller::new()?;
            poller.add(&link, 1, Readiness::Write)?;
            assert_eq!(poller.wait(None), [1]);
            link.connected()
        });
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}

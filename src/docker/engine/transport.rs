//! The ureq connector: Unix sockets by our own transport, TCP by ureq's.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_setfd, retry_on_intr};
use rustix::net::sockopt::{Timeout as SocketTimeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SocketAddrUnix, SocketType, connect, recv, socket};
use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
#[cfg(feature = "tls")]
use ureq::unversioned::transport::RustlsConnector;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, ShutdownHandle, TcpConnector,
    Transport,
};

use super::connection::EngineEndpoint;
use super::host::{DockerHost, EngineAddress};
use crate::retry;

/// Connects to the engine and ignores the authority of the request's URL.
#[derive(Debug)]
pub(crate) struct EngineConnector {
    host: DockerHost,
    #[cfg(feature = "tls")]
    tls: RustlsConnector,
}

impl EngineConnector {
    pub(crate) fn new(host: DockerHost) -> Self {
        Self {
            host,
            #[cfg(feature = "tls")]
            tls: RustlsConnector::default(),
        }
    }
}

impl Connector for EngineConnector {
    type Out = Box<dyn Transport>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        _: Option<()>,
    ) -> Result<Option<Self::Out>, Error> {
        match &self.host.address {
            EngineAddress::Unix(path) => {
                let socket = UnixSocket::connect(path, details.timeout)?;
                let socket = Arc::new(socket);
                (details.register_shutdown)(Arc::downgrade(&socket) as Weak<dyn ShutdownHandle>)?;
                let config = details.config;
                let buffers =
                    LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
                Ok(Some(Box::new(UnixTransport { socket, buffers, read_limit: None })))
            }
            EngineAddress::Tcp(_) => {
                let (config, timeout) = (details.config, details.timeout);
                let resolved = ConnectionDetails {
                    addrs: DefaultResolver::default().resolve(details.uri, config, timeout)?,
                    uri: details.uri,
                    config,
                    request_level: details.request_level,
                    resolver: details.resolver,
                    now: details.now,
                    timeout,
                    current_time: Arc::clone(&details.current_time),
                    run_connector: Arc::clone(&details.run_connector),
                    register_shutdown: Arc::clone(&details.register_shutdown),
                };
                let transport =
                    Connector::<()>::connect(&TcpConnector::default(), &resolved, None)?;
                let transport =
                    transport.map(|transport| Box::new(transport) as Box<dyn Transport>);
                // Wraps the transport only if the URL's scheme is https.
                #[cfg(feature = "tls")]
                let transport = match transport {
                    Some(transport) => self
                        .tls
                        .connect(&resolved, Some(transport))?
                        .map(|transport| Box::new(transport) as Box<dyn Transport>),
                    None => None,
                };
                Ok(transport)
            }
        }
    }
}

/// The endpoints of an engine, for connections made without ureq. Resolving a host name takes at
/// most `within`.
pub(crate) fn endpoints(
    host: &DockerHost,
    config: &Config,
    within: Duration,
) -> Result<Vec<EngineEndpoint>, Error> {
    match &host.address {
        EngineAddress::Unix(path) => {
            let address = SocketAddrUnix::new(path).map_err(io::Error::from)?;
            Ok(vec![EngineEndpoint::Unix(address)])
        }
        EngineAddress::Tcp(_) => {
            let uri: Uri = host.base_url().parse().map_err(|_| Error::HostNotFound)?;
            let (after, reason) = (within.into(), ureq::Timeout::Resolve);
            let timeout = NextTimeout { after, reason, ..NextTimeout::default() };
            let addresses = DefaultResolver::default().resolve(&uri, config, timeout)?;
            Ok(addresses.iter().copied().map(EngineEndpoint::Tcp).collect())
        }
    }
}

/// Resolves nothing. ureq resolves at every call; our connector does so only to connect.
#[derive(Debug)]
pub(crate) struct NoResolver;

impl Resolver for NoResolver {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        Ok(self.empty())
    }
}

#[derive(Debug)]
struct UnixSocket(UnixStream);

impl UnixSocket {
    /// Connects within the time limit. `connect` of the standard library has none: it would block
    /// for ever if the engine hangs and its listen queue is full.
    fn connect(path: &Path, timeout: NextTimeout) -> Result<Self, Error> {
        let connected = (|| {
            let socket = socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
            fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
            set_socket_timeout(&socket, SocketTimeout::Send, limit(timeout))?;
            let address = SocketAddrUnix::new(path)?;
            retry_on_intr(|| connect(&socket, &address))?;
            Ok(UnixStream::from(socket))
        })();
        connected.map(Self).map_err(|error: io::Error| or_timeout(error, timeout))
    }
}

impl ShutdownHandle for UnixSocket {
    fn shutdown(&self) {
        // It fails only if the socket is already shut down.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

#[derive(Debug)]
struct UnixTransport {
    socket: Arc<UnixSocket>,
    buffers: LazyBuffers,
    /// The socket's current timeout, which saves a system call per read of a stream.
    read_limit: Option<Duration>,
}

impl Transport for UnixTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let timeout = timeout.for_write();
        let mut stream = &self.socket.0;
        stream.set_write_timeout(limit(timeout))?;
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        stream.write_all(output).map_err(|error| or_timeout(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let timeout = timeout.for_read();
        let stream = &self.socket.0;
        if self.read_limit != limit(timeout) {
            stream.set_read_timeout(limit(timeout))?;
            self.read_limit = limit(timeout);
        }
        let input = self.buffers.input_append_buf();
        let read = retry::read(stream, input);
        let amount = read.map_err(|error| or_timeout(error, timeout))?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    /// Open means that there is nothing to read. After an end of file or unexpected bytes the
    /// connection cannot be reused.
    fn is_open(&mut self) -> bool {
        let mut byte = [0];
        let peeked = recv(&self.socket.0, &mut byte[..], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        matches!(peeked, Err(error) if error == rustix::io::Errno::AGAIN)
    }
}

/// The time left as a socket timeout: `None` for no limit, never zero.
fn limit(timeout: NextTimeout) -> Option<Duration> {
    timeout.not_zero().map(|left| *left)
}

/// A socket timeout is reported as `WouldBlock`.
fn or_timeout(error: io::Error, timeout: NextTimeout) -> Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::Timeout(timeout.reason),
        _ => Error::Io(error),
    }
}

//! TCP connections with timeouts.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use super::GUARD;

/// Connects. Reads and writes time out after [`GUARD`].
pub(crate) fn dial(addr: SocketAddr) -> TcpStream {
    with_timeouts(TcpStream::connect(addr).unwrap())
}

/// Connects with the smallest receive buffer, which must be set before the connection is made.
pub(crate) fn dial_narrow(addr: SocketAddr) -> TcpStream {
    let socket = tcp_socket();
    sockopt::set_socket_recv_buffer_size(&socket, 2048).unwrap();
    rustix::net::connect(&socket, &addr).unwrap();
    with_timeouts(TcpStream::from(socket))
}

/// An address that refuses connections. The kernel assigns its port to no other socket while the
/// returned descriptor is open; a program that asks for this port can still listen on it.
///
/// Closing a listener to free its port is not enough: a child process that another test spawns at
/// that moment holds a copy of the listener until it calls `exec`, and connections are reset.
pub(crate) fn unused_addr() -> (OwnedFd, SocketAddr) {
    let socket = tcp_socket();
    sockopt::set_socket_reuseaddr(&socket, true).unwrap();
    rustix::net::bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let addr = rustix::net::getsockname(&socket).unwrap().try_into().unwrap();
    (socket, addr)
}

/// An unconnected socket.
pub(crate) fn tcp_socket() -> OwnedFd {
    // Child processes of other tests must not inherit it.
    let flags = SocketFlags::CLOEXEC;
    rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap()
}

fn with_timeouts(stream: TcpStream) -> TcpStream {
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(GUARD)).unwrap();
    stream.set_write_timeout(Some(GUARD)).unwrap();
    stream
}

/// A connection that retries calls interrupted by a signal. Tests that spawn processes cause
/// `SIGCHLD`.
#[derive(Debug)]
pub(crate) struct RetryInterrupted(pub(crate) TcpStream);

impl Read for RetryInterrupted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        retry_interrupted(|| self.0.read(buffer))
    }
}

impl Write for RetryInterrupted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        retry_interrupted(|| self.0.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

pub(crate) fn retry_interrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Whether a read or write timed out.
pub(crate) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

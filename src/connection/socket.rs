//! A client's socket, and the memory that the kernel holds for it.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use rustix::net::{SendFlags, sockopt};

/// The send buffer of a client, in bytes. The kernel doubles it for its own overhead and would
/// otherwise grow it to megabytes for each client that does not read. A connection with 50 ms of
/// latency carries 3.8 MB per second with it.
const SEND_BUFFER: usize = 128 * 1024;
/// The smallest receive buffer of a client, in bytes, which the kernel doubles too.
const MIN_RECEIVE_BUFFER: usize = 32 * 1024;

/// Limits the buffers of a client whose messages have up to `max_message` bytes.
pub(crate) fn limit_buffers(socket: &TcpStream, max_message: usize) {
    let receive = max_message.saturating_mul(2).max(MIN_RECEIVE_BUFFER);
    let limited = sockopt::set_socket_send_buffer_size(socket, SEND_BUFFER)
        .and_then(|()| sockopt::set_socket_recv_buffer_size(socket, receive));
    if let Err(error) = limited {
        log::debug!("cannot limit the kernel's buffers of a client: {error}");
    }
}

/// A non-blocking socket; in tests also a model of one.
pub(crate) trait Socket {
    /// Sends as many bytes as fit, without blocking and without `SIGPIPE`.
    fn send(&self, bytes: &[u8]) -> io::Result<usize>;
    /// Shuts down one or both directions.
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;
    /// Makes the kernel reset the connection and free its buffers when the socket is closed. By
    /// default the kernel keeps unread data for as long as the peer keeps the connection.
    fn reset_when_closed(&self);
}

impl Socket for TcpStream {
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match rustix::net::send(self, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Err(rustix::io::Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        TcpStream::shutdown(self, how)
    }

    fn reset_when_closed(&self) {
        let _ = sockopt::set_socket_linger(self, Some(Duration::ZERO));
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_receive_buffer_has_room_for_the_largest_message() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        for (max_message, receive) in [(4096, MIN_RECEIVE_BUFFER), (50_000, 100_000)] {
            limit_buffers(&socket, max_message);
            assert_eq!(sockopt::socket_send_buffer_size(&socket).unwrap(), 2 * SEND_BUFFER);
            assert_eq!(sockopt::socket_recv_buffer_size(&socket).unwrap(), 2 * receive);
        }
        // The kernel's own limit applies.
        limit_buffers(&socket, usize::MAX);
        assert_eq!(sockopt::socket_recv_buffer_size(&socket).unwrap(), 200_000);
    }
}

//! TCP connections with an absolute deadline.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// The limit for connecting and a handshake or response. The server's own deadlines are up to four
/// seconds.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);

/// A TCP stream whose calls have a timeout and a deadline. The deadline is for all of them
/// together: a peer that keeps sending, for example pings, does not extend it.
///
/// Calls interrupted by a signal are retried, for example by SIGWINCH when the terminal is resized.
/// `SA_RESTART` does not apply to sockets with a timeout: see signal(7).
#[derive(Debug)]
pub(crate) struct DeadlineStream {
    stream: TcpStream,
    timeout: Duration,
    deadline: Option<Instant>,
}

impl DeadlineStream {
    /// Sets the timeout of each call, and the time at which all calls end.
    pub(crate) fn set_limits(&mut self, timeout: Duration, deadline: Option<Instant>) {
        (self.timeout, self.deadline) = (timeout, deadline);
    }

    pub(crate) fn peer_addr(&self) -> Result<SocketAddr> {
        self.stream.peer_addr()
    }

    /// The time limit of a call that starts now.
    fn limit(&self) -> Result<Option<Duration>> {
        limit(self.timeout, self.deadline).map(Some)
    }
}

/// The timeout, or the time up to the deadline if that is less.
fn limit(timeout: Duration, deadline: Option<Instant>) -> Result<Duration> {
    let left = deadline.map_or(timeout, |at| at.saturating_duration_since(Instant::now()));
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left.min(timeout)) }
}

impl Read for DeadlineStream {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        retry_interrupted(|| {
            self.stream.set_read_timeout(self.limit()?)?;
            self.stream.read(buffer)
        })
    }
}

impl Write for DeadlineStream {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        retry_interrupted(|| {
            self.stream.set_write_timeout(self.limit()?)?;
            self.stream.write(bytes)
        })
    }

    fn flush(&mut self) -> Result<()> {
        self.stream.flush()
    }
}

fn retry_interrupted(mut call: impl FnMut() -> Result<usize>) -> Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Connects to the first of the addresses that accepts. All calls end after [`TIMEOUT`], until
/// [`DeadlineStream::set_limits`] sets other limits.
///
/// # Errors
/// The error of the last address.
pub(crate) fn connect(addrs: impl IntoIterator<Item = SocketAddr>) -> Result<DeadlineStream> {
    let deadline = Some(Instant::now() + TIMEOUT);
    let mut last_error = Error::other("the host name has no address");
    for addr in addrs {
        match TcpStream::connect_timeout(&addr, limit(TIMEOUT, deadline)?) {
            Ok(stream) => return Ok(DeadlineStream { stream, timeout: TIMEOUT, deadline }),
            Err(error) => last_error = error,
        }
    }
    Err(last_error)
}

pub(crate) fn is_timeout(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Describes an error. For a timeout the system's own text is misleading ("Resource temporarily
/// unavailable").
pub(crate) fn describe(error: &Error, timeout: Duration) -> String {
    if is_timeout(error) {
        format!("no response within {} s", timeout.as_secs())
    } else {
        error.to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn an_interrupted_read_is_retried() {
        let mut calls = [Err(ErrorKind::Interrupted.into()), Ok(3)].into_iter();
        assert_eq!(retry_interrupted(|| calls.next().expect("two calls")).unwrap(), 3);
    }

    #[test]
    fn a_timeout_is_described_with_its_length() {
        for kind in [ErrorKind::WouldBlock, ErrorKind::TimedOut] {
            assert_eq!(describe(&kind.into(), TIMEOUT), "no response within 5 s");
        }
        assert_eq!(describe(&Error::other("another one"), TIMEOUT), "another one");
    }

    #[test]
    fn a_peer_that_keeps_sending_does_not_extend_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = connect([listener.local_addr().unwrap()]).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        peer.write_all(b"x").unwrap();
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 1);
        peer.write_all(b"x").unwrap();
        stream.set_limits(TIMEOUT, Some(Instant::now()));
        assert!(is_timeout(&stream.read(&mut [0; 8]).unwrap_err()));
        assert!(is_timeout(&stream.write(b"x").unwrap_err()));
        stream.set_limits(TIMEOUT, None);
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 1);
        stream.set_limits(Duration::from_millis(1), None);
        assert!(is_timeout(&stream.read(&mut [0; 8]).unwrap_err()));
    }
}

//! TCP connections with a timeout on every step.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The limit for connecting, and for each read and write. The server's own deadlines are up to
/// four seconds.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);

/// A TCP stream that retries calls interrupted by a signal, for example SIGWINCH when the terminal
/// is resized. `SA_RESTART` does not apply to sockets with a timeout: see signal(7).
#[derive(Debug)]
pub(crate) struct UninterruptedStream(pub(crate) TcpStream);

impl Read for UninterruptedStream {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        retry_interrupted(|| self.0.read(buffer))
    }
}

impl Write for UninterruptedStream {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        retry_interrupted(|| self.0.write(bytes))
    }

    fn flush(&mut self) -> Result<()> {
        self.0.flush()
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

/// Connects to the first of the addresses that accepts.
///
/// # Errors
/// The error of the last address.
pub(crate) fn connect(addrs: impl IntoIterator<Item = SocketAddr>) -> Result<UninterruptedStream> {
    let mut last_error = Error::other("the host name has no address");
    for addr in addrs {
        match TcpStream::connect_timeout(&addr, TIMEOUT) {
            Ok(stream) => {
                stream.set_read_timeout(Some(TIMEOUT))?;
                stream.set_write_timeout(Some(TIMEOUT))?;
                return Ok(UninterruptedStream(stream));
            }
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
}

//! Connections of which no step takes for ever, and the words for one that would.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long each step may take: the server gives up its own waiting after four seconds.
pub(crate) const LIMIT: Duration = Duration::from_secs(5);

/// A connection that goes on where a signal interrupts it: a terminal sends one when it changes its
/// size, and no handler's `SA_RESTART` helps a socket with a timeout, signal(7).
#[derive(Debug)]
pub(crate) struct Line(pub(crate) TcpStream);

impl Read for Line {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        uninterrupted(|| self.0.read(buffer))
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        uninterrupted(|| self.0.write(bytes))
    }

    fn flush(&mut self) -> Result<()> {
        self.0.flush()
    }
}

fn uninterrupted(mut call: impl FnMut() -> Result<usize>) -> Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Connects to the first of these addresses that takes it.
///
/// # Errors
/// Why the last one does not.
pub(crate) fn dial(addrs: impl IntoIterator<Item = SocketAddr>) -> Result<Line> {
    let mut failed = Error::other("the address has no meaning");
    for addr in addrs {
        match TcpStream::connect_timeout(&addr, LIMIT) {
            Ok(stream) => {
                stream.set_read_timeout(Some(LIMIT))?;
                stream.set_write_timeout(Some(LIMIT))?;
                return Ok(Line(stream));
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// Whether that is the end of a wait.
pub(crate) fn is_late(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// The error in words; the system has none for a wait that took so long.
pub(crate) fn told(error: &Error, limit: Duration) -> String {
    if is_late(error) {
        format!("no answer within {} s", limit.as_secs())
    } else {
        error.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_ends_no_read() {
        let mut calls = [Err(ErrorKind::Interrupted.into()), Ok(3)].into_iter();
        assert_eq!(uninterrupted(|| calls.next().expect("two calls")).unwrap(), 3);
    }

    #[test]
    fn a_wait_without_an_answer_is_told_with_its_length() {
        for kind in [ErrorKind::WouldBlock, ErrorKind::TimedOut] {
            assert_eq!(told(&kind.into(), LIMIT), "no answer within 5 s");
        }
        assert_eq!(told(&Error::other("another one"), LIMIT), "another one");
    }
}

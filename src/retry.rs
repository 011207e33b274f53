//! System calls that are retried after a signal (EINTR).

use std::io::{self, ErrorKind, Read};

/// Reads once, and again as long as a signal interrupts the call.
pub(crate) fn read(mut source: impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match source.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Interrupted(bool);

    impl Read for Interrupted {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            if std::mem::replace(&mut self.0, true) {
                return Ok(3);
            }
            Err(ErrorKind::Interrupted.into())
        }
    }

    #[test]
    fn an_interrupted_read_is_retried() {
        assert_eq!(read(Interrupted(false), &mut [0; 8]).unwrap(), 3);
    }
}

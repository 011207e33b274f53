//! The parts of RFC 6455 that a load needs: reading unmasked frames and writing masked ones.

/// A frame from a server.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// RFC 6455, section 5.2: 1 is text, 2 binary, 8 close, 9 ping, 10 pong.
    pub opcode: u8,
    pub payload: &'a [u8],
    /// The length of the whole frame in bytes, with its header.
    pub length: usize,
}

/// The first frame in `bytes`; `None` if it is incomplete.
pub fn first(bytes: &[u8]) -> Option<Frame<'_>> {
    let (&[head, size], rest) = bytes.split_first_chunk()?;
    let (header, size) = match size & 0x7f {
        126 => (4, u64::from(u16::from_be_bytes(*rest.first_chunk()?))),
        127 => (10, u64::from_be_bytes(*rest.first_chunk()?)),
        short => (2, u64::from(short)),
    };
    let length = header + usize::try_from(size).ok()?;
    let payload = bytes.get(header..length)?;
    Some(Frame { opcode: head & 0x0f, payload, length })
}

/// An encoded frame of a client. The mask is zero: on one machine it protects nothing.
pub fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        n @ 0..126 => frame.push(0x80 | n as u8),
        n => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(n as u16).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// An encoded text frame of a server, for the bare loop.
pub fn text(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81];
    match payload.len() {
        n @ 0..126 => frame.push(n as u8),
        n @ 126..65_536 => {
            frame.push(126);
            frame.extend_from_slice(&(n as u16).to_be_bytes());
        }
        n => {
            frame.push(127);
            frame.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_framed_is_found_again_once_it_is_whole() {
        for size in [0, 125, 126, 65_535, 65_536] {
            let payload = vec![b'x'; size];
            let frame = text(&payload);
            let found = first(&frame).unwrap();
            assert_eq!((found.opcode, found.payload, found.length), (1, &payload[..], frame.len()));
            assert_eq!(first(&frame[..frame.len() - 1]), None);
        }
    }
}

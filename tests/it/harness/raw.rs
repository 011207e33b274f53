//! HTTP and WebSocket frames as bytes, without a library.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::{Served, dial, retry_interrupted};

/// An HTTP response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) fields: HashMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    /// Reads a response that the server ends by closing the stream, without a reset.
    #[track_caller]
    pub(crate) fn read(mut stream: impl Read) -> Self {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("a clean end of the stream");
        Self::parse(&String::from_utf8(bytes).unwrap())
    }

    #[track_caller]
    pub(crate) fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 "));
        let status = status.and_then(|s| s.get(..3)).and_then(|s| s.parse().ok());
        let fields = lines
            .map(|line| line.split_once(": ").unwrap_or_else(|| panic!("{line:?}")))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Self { status: status.unwrap_or_else(|| panic!("{head:?}")), fields, body: body.to_owned() }
    }

    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

impl Served {
    /// Sends these bytes on a new connection and reads the response.
    #[track_caller]
    pub(crate) fn ask(&self, request: &str) -> Answer {
        ask(self.addr(), request)
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Answer {
        get(self.addr(), path)
    }

    /// A connection to the stats socket after its handshake.
    #[track_caller]
    pub(crate) fn raw_client(&self) -> TcpStream {
        let mut stream = dial(self.addr());
        stream.write_all(handshake().as_bytes()).unwrap();
        let head = read_head(&mut stream);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        stream
    }
}

#[track_caller]
pub(crate) fn ask(addr: SocketAddr, request: &str) -> Answer {
    let mut stream = dial(addr);
    stream.write_all(request.as_bytes()).unwrap();
    Answer::read(stream)
}

#[track_caller]
pub(crate) fn get(addr: SocketAddr, path: &str) -> Answer {
    ask(addr, &format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\n\r\n"))
}

/// The handshake of a client that is not a browser.
pub(crate) fn handshake() -> String {
    "GET /ws/stats HTTP/1.1\r\n\
     Host: localhost:9001\r\n\
     Upgrade: websocket\r\n\
     Connection: Upgrade\r\n\
     Sec-WebSocket-Version: 13\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        .to_owned()
}

/// The handshake with one more header.
pub(crate) fn handshake_with(field: &str) -> String {
    handshake().replace("\r\n\r\n", &format!("\r\n{field}\r\n\r\n"))
}

/// Reads a head and nothing after it.
#[track_caller]
pub(crate) fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        assert_eq!(
            retry_interrupted(|| stream.read(&mut byte)).unwrap(),
            1,
            "the stream ended after {head:?}"
        );
        head.extend(byte);
    }
    String::from_utf8(head).unwrap()
}

/// A masked frame of a client. `first` is its first byte: FIN and opcode, such as `0x81`.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first];
    match payload.len() {
        n @ ..126 => frame.push(0x80 | u8::try_from(n).unwrap()),
        n @ ..65_536 => {
            frame.push(0xfe);
            frame.extend(u16::try_from(n).unwrap().to_be_bytes());
        }
        n => {
            frame.push(0xff);
            frame.extend(u64::try_from(n).unwrap().to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// Reads a frame of a server: its first byte and its payload; `None` at a clean end of the stream.
#[track_caller]
pub(crate) fn read_frame(stream: &mut impl Read) -> Option<(u8, Vec<u8>)> {
    let mut header = [0; 2];
    if retry_interrupted(|| stream.read(&mut header[..1])).expect("a frame or a clean end") == 0 {
        return None;
    }
    stream.read_exact(&mut header[1..]).unwrap();
    let length = match header[1] {
        126 => {
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            u64::from(u16::from_be_bytes(length))
        }
        127 => {
            let mut length = [0; 8];
            stream.read_exact(&mut length).unwrap();
            u64::from_be_bytes(length)
        }
        n => {
            assert!(n < 126, "a server must not mask");
            u64::from(n)
        }
    };
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut payload).unwrap();
    Some((header[0], payload))
}

/// Reads up to the Close, which must be followed by a clean end of the stream. Returns its code.
#[track_caller]
pub(crate) fn read_close(stream: &mut impl Read) -> u16 {
    loop {
        let (first, payload) = read_frame(stream).expect("a Close before the end");
        if first == 0x88 {
            assert_eq!(read_frame(stream), None, "nothing may follow a Close");
            return u16::from_be_bytes([payload[0], payload[1]]);
        }
    }
}

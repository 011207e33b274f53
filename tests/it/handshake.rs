//! The WebSocket handshake and the requests that it rejects.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crossbeam_channel::tick;
use kentros::{HubConfig, ServerConfig};
use tungstenite::Message as Frame;

use crate::harness::raw::{
    Answer, handshake, handshake_with, masked, read_close, read_frame, read_head,
};
use crate::harness::{GUARD, Served, dial, is_timeout, numbered};

#[test]
fn a_handshake_is_accepted_as_in_the_rfc() {
    let served = Served::new();
    let mut stream = dial(served.addr());
    stream.write_all(handshake().as_bytes()).unwrap();
    let head = read_head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    // The example of RFC 6455, section 1.3.
    assert!(head.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
    assert!(!head.contains("Sec-WebSocket-Extensions"), "{head}");
    assert!(!head.contains("Sec-WebSocket-Protocol"), "{head}");
}

#[test]
fn extensions_are_declined_and_the_first_subprotocol_is_accepted() {
    let served = Served::new();
    let fields = format!(
        "Origin: http://localhost:9001\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\
         Sec-WebSocket-Protocol: stats.v1, stats.v2\r\nUser-Agent: {}",
        "x".repeat(500)
    );
    let mut stream = dial(served.addr());
    stream.write_all(handshake_with(&fields).as_bytes()).unwrap();
    let head = read_head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("\r\nSec-WebSocket-Protocol: stats.v1\r\n"), "{head}");
    assert!(!head.contains("Sec-WebSocket-Extensions"), "{head}");
}

#[test]
fn other_origins_get_403() {
    let served = Served::new();
    let others = [
        "null",
        "http://evil.example",
        "http://localhost:9002",
        "http://localhost",
        "http://localhost:9001.evil.example",
        "file://",
    ];
    for origin in others {
        let answer = served.ask(&handshake_with(&format!("Origin: {origin}")));
        assert_eq!(answer.status, 403, "{origin}");
        assert!(answer.body.contains("allowed origins"), "{answer:?}");
        assert!(!answer.body.contains("--"), "the library must not name flags: {answer:?}");
    }
    assert_eq!(served.handle().client_count(), 0);
}

#[test]
fn an_invalid_handshake_gets_the_matching_status() {
    let served = Served::new();
    let good = handshake();
    let cases = [
        ("GET /ws/stats HTTP/1.1", "GET /ws/nothing HTTP/1.1", 404),
        ("GET /ws/stats HTTP/1.1", "POST /ws/stats HTTP/1.1", 405),
        ("GET /ws/stats HTTP/1.1", "GET /ws/stats HTTP/9.9", 400),
        ("GET /ws/stats HTTP/1.1", "\u{1}\u{2}\u{3}", 400),
        ("Host: localhost:9001\r\n", "", 400),
        ("Host: localhost:9001\r\n", "Host: a\r\nHost: b\r\n", 400),
        ("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ=", 400),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", 400),
        ("Upgrade: websocket", "Upgrade: h2c", 426),
        ("Connection: Upgrade\r\n", "", 426),
        ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8", 426),
    ];
    for (from, to, status) in cases {
        assert!(good.contains(from));
        let answer = served.ask(&good.replace(from, to));
        assert_eq!(answer.status, status, "{to:?}: {answer:?}");
        assert!(!answer.body.trim().is_empty(), "{to:?}");
    }
    let answer = served.ask(&good.replace("Version: 13", "Version: 8"));
    assert_eq!(answer.field("sec-websocket-version"), "13", "RFC 6455, section 4.4");
    let answer = served.ask(&good.replace("GET /ws", "PUT /ws"));
    assert_eq!(answer.field("allow"), "GET");
}

#[test]
fn a_head_over_16_kib_or_with_too_many_headers_gets_431() {
    let served = Served::new();
    let padding = |head: usize| "x".repeat(head - handshake_with("A: ").len());
    let fits = handshake_with(&format!("A: {}", padding(16 * 1024)));
    assert_eq!(fits.len(), 16 * 1024);
    let mut stream = dial(served.addr());
    stream.write_all(fits.as_bytes()).unwrap();
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 101 "));

    let large = handshake_with(&format!("A: {}", padding(16 * 1024 + 1)));
    assert_eq!(served.ask(&large).status, 431);
    // Far larger heads are rejected without reading them completely.
    assert_eq!(served.ask(&handshake_with(&format!("A: {}", padding(200_000)))).status, 431);
    assert_eq!(served.ask(&handshake_with(&vec!["A: b"; 65].join("\r\n"))).status, 431);
}

#[test]
fn a_head_may_arrive_in_single_bytes_with_the_first_frame_after_it() {
    let served = Served::new();
    let mut stream = dial(served.addr());
    let bytes = handshake().into_bytes();
    let (slowly, rest) = bytes.split_at(50);
    for byte in slowly {
        stream.write_all(&[*byte]).unwrap();
    }
    let request = masked(0x81, br#"{"type":"subscribe","payload":"shop"}"#);
    stream.write_all(&[rest, &request].concat()).unwrap();
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 101 "));
    let (first, payload) = read_frame(&mut stream).unwrap();
    assert_eq!(first, 0x81);
    assert!(String::from_utf8(payload).unwrap().contains(r#""subscribed""#));
}

#[test]
fn a_frame_may_be_split_between_the_handshake_and_later() {
    let served = Served::new();
    let mut stream = dial(served.addr());
    let request = masked(0x81, br#"{"type":"subscribe","payload":"shop"}"#);
    let (half, rest) = request.split_at(3);
    stream.write_all(&[handshake().as_bytes(), half].concat()).unwrap();
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 101 "));
    stream.write_all(rest).unwrap();
    let (_, payload) = read_frame(&mut stream).unwrap();
    assert!(String::from_utf8(payload).unwrap().contains(r#""subscribed""#));
}

/// Fails if slow heads block other clients, or if each byte extends their time: at a byte a second a
/// head takes longer than the guard.
#[test]
fn two_hundred_slow_heads_get_408_after_five_seconds_and_block_no_client() {
    const DRIPPERS: usize = 200;
    let served = Served::new();
    let start = Instant::now();
    let mut drippers: Vec<Dripper> = (0..DRIPPERS).map(|_| Dripper::new(&served)).collect();
    let mut answered = Vec::new();
    let mut good = None;
    // Reads ten times a second and sends a byte once a second.
    for (n, _) in tick(Duration::from_millis(100)).iter().enumerate() {
        drippers.retain_mut(|dripper| {
            let done = dripper.read();
            if done {
                answered.push((start.elapsed(), dripper.answer()));
            }
            !done
        });
        if n % 10 == 0 {
            drippers.iter_mut().for_each(Dripper::send_byte);
        }
        if n == 10 {
            let mut client = served.client();
            served.handle().broadcast(&numbered(1)).unwrap();
            client.expect("n");
            assert!(
                answered.is_empty(),
                "the good client is served while all others still send their heads"
            );
            good = Some(client);
        }
        if drippers.is_empty() {
            break;
        }
        assert!(start.elapsed() < GUARD, "{} heads without a response", drippers.len());
    }
    assert!(good.is_some());
    assert_eq!(answered.len(), DRIPPERS);
    for (after, answer) in answered {
        assert_eq!(answer.status, 408);
        assert!(after >= Duration::from_secs(5), "408 after only {after:?}");
    }
}

/// A client that sends its head in single bytes.
struct Dripper {
    stream: TcpStream,
    left: std::vec::IntoIter<u8>,
    got: Vec<u8>,
}

impl Dripper {
    fn new(served: &Served) -> Self {
        let stream = dial(served.addr());
        stream.set_nonblocking(true).unwrap();
        Self { stream, left: handshake().into_bytes().into_iter(), got: Vec::new() }
    }

    fn send_byte(&mut self) {
        let byte = self.left.next().expect("a head that takes longer than the guard");
        self.stream.write_all(&[byte]).unwrap();
    }

    /// Reads what has arrived. Returns whether the response is complete.
    fn read(&mut self) -> bool {
        match self.stream.read_to_end(&mut self.got) {
            Ok(_) => true,
            Err(error) if is_timeout(&error) => false,
            Err(error) => panic!("expected a response, got {error}"),
        }
    }

    fn answer(&self) -> Answer {
        Answer::parse(std::str::from_utf8(&self.got).unwrap())
    }
}

#[test]
fn silent_and_closed_connections_do_not_affect_other_clients() {
    let served = Served::new();
    let silent = dial(served.addr());
    drop(dial(served.addr()));
    let mut half = dial(served.addr());
    half.write_all(b"GET / HT").unwrap();
    half.shutdown(Shutdown::Write).unwrap();
    assert_eq!(half.read_to_end(&mut Vec::new()).unwrap(), 0, "half a head gets no response");
    served.client().subscribe("shop");
    drop(silent);
}

#[test]
fn clients_above_the_limit_are_closed_with_1013() {
    let mut config = ServerConfig::default();
    config.max_clients = 3;
    let served = Served::with(HubConfig::default(), config);
    let mut clients: Vec<_> = (0..3).map(|_| served.client()).collect();
    for _ in 0..5 {
        assert_eq!(served.client().closed().0, 1013);
    }
    let mut raw = served.raw_client();
    assert_eq!(read_close(&mut raw), 1013);
    assert_eq!(served.handle().client_count(), 3);
    clients.pop().unwrap().close();
    served.until_clients(2);
    // The server may learn that a client has left a moment after the hub.
    let mut late = loop {
        let mut client = served.client();
        client.send_frame(Frame::text(r#"{"type":"subscribe","payload":"shop"}"#));
        match client.frame() {
            Frame::Close(_) => {}
            _ => break client,
        }
    };
    served.handle().broadcast(&numbered(1)).unwrap();
    for client in clients.iter_mut().chain([&mut late]) {
        client.expect("n");
    }
}

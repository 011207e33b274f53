//! The server answers a protocol violation with its Close code and a clean end of the stream. The
//! Close must arrive even if the client has sent more.

use std::io::Write;
use std::net::{Shutdown, TcpStream};

use kentros::{HubConfig, ServerConfig};
use serde_json::json;
use tungstenite::Message as Frame;

use crate::harness::raw::{handshake, masked, read_close, read_frame, read_head};
use crate::harness::{Served, dial, numbered};

/// Repetitions of each violation: a Close that is lost to a reset is lost only now and then.
const TIMES: usize = 20;

/// Sends `bytes` on `TIMES` connections and checks the Close: together with the handshake, followed
/// by more messages, followed by the end of the stream, or alone.
#[track_caller]
fn violate(served: &Served, bytes: &[u8], code: u16) {
    let junk = masked(0x82, &[b'x'; 3000]).repeat(100);
    for n in 0..TIMES {
        let mut stream = match n % 4 {
            0 => {
                let mut stream = dial(served.addr());
                stream.write_all(&[handshake().as_bytes(), bytes].concat()).unwrap();
                assert!(read_head(&mut stream).starts_with("HTTP/1.1 101 "));
                stream
            }
            1 => send_raw(served, &[bytes, &junk].concat()),
            2 => {
                let stream = send_raw(served, bytes);
                stream.shutdown(Shutdown::Write).unwrap();
                stream
            }
            _ => send_raw(served, bytes),
        };
        assert_eq!(read_close(&mut stream), code, "repetition {n}");
    }
    served.until_clients(0);
}

/// Sends bytes on a connection of their own, after the handshake.
fn send_raw(served: &Served, bytes: &[u8]) -> TcpStream {
    let mut stream = served.raw_client();
    stream.write_all(bytes).unwrap();
    stream
}

#[test]
fn an_unmasked_frame_is_a_protocol_error() {
    violate(&Served::new(), &[0x81, 2, b'h', b'i'], 1002);
}

#[test]
fn a_reserved_bit_or_opcode_is_a_protocol_error() {
    let served = Served::new();
    violate(&served, &masked(0xc1, b"hi"), 1002);
    violate(&served, &masked(0x83, b"hi"), 1002);
    violate(&served, &masked(0x8f, b"hi"), 1002);
}

#[test]
fn a_fragmented_or_oversized_control_frame_is_a_protocol_error() {
    let served = Served::new();
    violate(&served, &masked(0x09, b"hi"), 1002);
    violate(&served, &masked(0x89, &[b'x'; 126]), 1002);
}

#[test]
fn a_stray_continuation_or_an_interleaved_message_is_a_protocol_error() {
    let served = Served::new();
    violate(&served, &masked(0x80, b"hi"), 1002);
    violate(&served, &[masked(0x01, b"h"), masked(0x81, b"i")].concat(), 1002);
}

#[test]
fn a_close_of_one_byte_or_with_a_reserved_code_is_a_protocol_error() {
    let served = Served::new();
    violate(&served, &masked(0x88, &[3]), 1002);
    violate(&served, &masked(0x88, &1005_u16.to_be_bytes()), 1002);
}

#[test]
fn bytes_that_are_not_a_frame_are_a_protocol_error() {
    violate(&Served::new(), b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 1002);
}

#[test]
fn a_binary_message_gets_1003() {
    violate(&Served::new(), &masked(0x82, br#"{"type":"subscribe","payload":"a"}"#), 1003);
}

#[test]
fn invalid_utf_8_gets_1007_also_in_fragments() {
    let served = Served::new();
    violate(&served, &masked(0x81, b"caf\xe9"), 1007);
    violate(&served, &masked(0x81, b"\xed\xa0\x80"), 1007);
    violate(&served, &[masked(0x01, b"\xc3"), masked(0x80, b"(")].concat(), 1007);
}

#[test]
fn a_message_of_4096_bytes_is_accepted_and_one_of_4097_gets_1009() {
    let served = Served::new();
    let message = |length: usize| {
        let mut text = r#"{"type":"subscribe","payload":"a"}"#.as_bytes().to_vec();
        text.resize(length, b' ');
        text
    };
    let mut stream = send_raw(&served, &masked(0x81, &message(4096)));
    let (_, answer) = read_frame(&mut stream).unwrap();
    assert!(String::from_utf8(answer).unwrap().contains(r#""subscribed""#));
    // The same in fragments.
    let whole = message(4096);
    let fragments = [masked(0x01, &whole[..4000]), masked(0x80, &whole[4000..])].concat();
    stream.write_all(&fragments).unwrap();
    assert_eq!(read_frame(&mut stream).unwrap().0, 0x81);
    drop(stream);
    served.until_clients(0);

    violate(&served, &masked(0x81, &message(4097)), 1009);
    violate(&served, &[masked(0x01, &whole[..4000]), masked(0x80, &[b'x'; 97])].concat(), 1009);
    violate(&served, &masked(0x81, &message(300_000)), 1009);
    // Only the header of an endless message.
    violate(
        &served,
        &[0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4],
        1009,
    );
}

#[test]
fn one_byte_fragments_are_accepted_and_endless_empty_ones_get_1009() {
    let served = Served::new();
    let mut text = r#"{"type":"subscribe","payload":"a"}"#.as_bytes().to_vec();
    text.resize(4096, b' ');
    let (last, most) = text.split_last().unwrap();
    let mut fragments = masked(0x01, b"");
    fragments.extend(most.iter().flat_map(|&byte| masked(0x00, &[byte])));
    fragments.extend(masked(0x80, &[*last]));
    let mut stream = send_raw(&served, &fragments);
    let (_, answer) = read_frame(&mut stream).unwrap();
    assert!(String::from_utf8(answer).unwrap().contains(r#""subscribed""#));
    drop(stream);
    served.until_clients(0);

    // Empty fragments never exceed the message size, so their number must be limited.
    let endless = [masked(0x01, b"{"), masked(0x00, b"").repeat(10_000)].concat();
    violate(&served, &endless, 1009);
}

#[test]
fn a_burst_of_forty_messages_is_answered_and_a_flood_gets_1008() {
    let served = Served::new();
    let request = masked(0x81, br#"{"type":"subscribe","payload":"a"}"#);
    let mut stream = send_raw(&served, &request.repeat(40));
    for _ in 0..40 {
        assert_eq!(read_frame(&mut stream).unwrap().0, 0x81);
    }
    drop(stream);
    // Far more than the twenty messages a second that are allowed meanwhile.
    violate(&served, &request.repeat(700), 1008);
}

#[test]
fn configured_message_limits_replace_the_defaults() {
    let mut config = ServerConfig::default();
    config.max_message = 100;
    config.max_rate = None;
    let served = Served::with(HubConfig::default(), config);
    let request = masked(0x81, br#"{"type":"subscribe","payload":"a"}"#);
    let mut stream = send_raw(&served, &request.repeat(500));
    for _ in 0..500 {
        assert_eq!(read_frame(&mut stream).unwrap().0, 0x81);
    }
    stream.write_all(&masked(0x81, &[b'x'; 101])).unwrap();
    assert_eq!(read_close(&mut stream), 1009);
}

#[test]
fn a_ping_is_answered_with_its_payload() {
    let served = Served::new();
    let mut stream = send_raw(&served, &masked(0x89, b"are you there"));
    assert_eq!(read_frame(&mut stream), Some((0x8a, b"are you there".to_vec())));
}

#[test]
fn a_close_is_echoed_with_its_code_and_ends_the_stream() {
    let served = Served::new();
    for n in 0..TIMES {
        let mut close = 4321_u16.to_be_bytes().to_vec();
        close.extend(b"enough");
        let mut stream = send_raw(&served, &masked(0x88, &close));
        if n % 2 == 0 {
            stream.shutdown(Shutdown::Write).unwrap();
        }
        assert_eq!(read_close(&mut stream), 4321);
    }
    let mut stream = send_raw(&served, &masked(0x88, b""));
    assert_eq!(read_frame(&mut stream), Some((0x88, Vec::new())));
    assert_eq!(read_frame(&mut stream), None);
    drop(stream);
    served.until_clients(0);
}

#[test]
fn a_violation_affects_only_its_own_client() {
    let served = Served::new();
    let mut good = served.client();
    let mut bad = send_raw(&served, &masked(0x83, b""));
    assert_eq!(read_close(&mut bad), 1002);
    good.send_frame(Frame::text(json!({"type": "subscribe", "payload": "a"}).to_string()));
    good.expect("subscribed");
    served.handle().broadcast(&numbered(1)).unwrap();
    good.expect("n");
}

//! What breaks the protocol gets its Close code, and then a clean end of the stream: the Close
//! must arrive whatever else the client has sent.

use std::io::Write;
use std::net::{Shutdown, TcpStream};

use kentros::{HubConfig, ServerConfig};
use serde_json::json;
use tungstenite::Message as Frame;

use crate::harness::{Served, dial, numbered};
use crate::raw::{handshake, masked, read_close, read_frame, read_head};

/// Each violation so often: a Close that a reset takes away is lost now and then only.
const TIMES: usize = 20;

/// Sends `bytes` after the handshake, `TIMES` times, in three ways, and reads the Close.
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
            1 => then(served, &[bytes, &junk].concat()),
            2 => {
                let stream = then(served, bytes);
                stream.shutdown(Shutdown::Write).unwrap();
                stream
            }
            _ => then(served, bytes),
        };
        assert_eq!(read_close(&mut stream), code, "time {n}");
    }
    served.until_clients(0);
}

fn then(served: &Served, bytes: &[u8]) -> TcpStream {
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
fn a_control_frame_in_parts_or_of_more_than_125_bytes_is_a_protocol_error() {
    let served = Served::new();
    violate(&served, &masked(0x09, b"hi"), 1002);
    violate(&served, &masked(0x89, &[b'x'; 126]), 1002);
}

#[test]
fn a_continuation_of_nothing_or_a_new_message_within_one_is_a_protocol_error() {
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
fn bytes_that_are_no_frames_are_a_protocol_error() {
    violate(&Served::new(), b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 1002);
}

#[test]
fn a_binary_message_is_not_understood() {
    violate(&Served::new(), &masked(0x82, br#"{"type":"subscribe","payload":"a"}"#), 1003);
}

#[test]
fn text_that_is_not_utf_8_is_refused_also_where_it_comes_in_parts() {
    let served = Served::new();
    violate(&served, &masked(0x81, b"caf\xe9"), 1007);
    violate(&served, &masked(0x81, b"\xed\xa0\x80"), 1007);
    violate(&served, &[masked(0x01, b"\xc3"), masked(0x80, b"(")].concat(), 1007);
}

#[test]
fn a_message_of_4096_bytes_is_read_and_one_of_4097_is_too_big() {
    let served = Served::new();
    let message = |length: usize| {
        let mut text = r#"{"type":"subscribe","payload":"a"}"#.as_bytes().to_vec();
        text.resize(length, b' ');
        text
    };
    let mut stream = then(&served, &masked(0x81, &message(4096)));
    let (_, answer) = read_frame(&mut stream).unwrap();
    assert!(String::from_utf8(answer).unwrap().contains(r#""subscribed""#));
    // In parts, too.
    let whole = message(4096);
    let parts = [masked(0x01, &whole[..4000]), masked(0x80, &whole[4000..])].concat();
    stream.write_all(&parts).unwrap();
    assert_eq!(read_frame(&mut stream).unwrap().0, 0x81);
    drop(stream);
    served.until_clients(0);

    violate(&served, &masked(0x81, &message(4097)), 1009);
    violate(&served, &[masked(0x01, &whole[..4000]), masked(0x80, &[b'x'; 97])].concat(), 1009);
    violate(&served, &masked(0x81, &message(300_000)), 1009);
    // Only the header of something without end.
    violate(
        &served,
        &[0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4],
        1009,
    );
}

#[test]
fn a_message_may_come_a_byte_at_a_time_but_not_in_fragments_without_end() {
    let served = Served::new();
    let mut text = r#"{"type":"subscribe","payload":"a"}"#.as_bytes().to_vec();
    text.resize(4096, b' ');
    let (last, most) = text.split_last().unwrap();
    let mut parts = masked(0x01, b"");
    parts.extend(most.iter().flat_map(|&byte| masked(0x00, &[byte])));
    parts.extend(masked(0x80, &[*last]));
    let mut stream = then(&served, &parts);
    let (_, answer) = read_frame(&mut stream).unwrap();
    assert!(String::from_utf8(answer).unwrap().contains(r#""subscribed""#));
    drop(stream);
    served.until_clients(0);

    // They hold nothing, so the message never becomes too big by itself.
    let endless = [masked(0x01, b"{"), masked(0x00, b"").repeat(10_000)].concat();
    violate(&served, &endless, 1009);
}

#[test]
fn forty_messages_at_once_are_answered_and_many_more_are_too_many() {
    let served = Served::new();
    let request = masked(0x81, br#"{"type":"subscribe","payload":"a"}"#);
    let mut stream = then(&served, &request.repeat(40));
    for _ in 0..40 {
        assert_eq!(read_frame(&mut stream).unwrap().0, 0x81);
    }
    drop(stream);
    // Twenty a second are earned meanwhile: so many would take the server half a minute.
    violate(&served, &request.repeat(700), 1008);
}

#[test]
fn a_server_that_sets_its_limits_otherwise_keeps_to_those() {
    let mut config = ServerConfig::default();
    config.max_message = 100;
    config.max_rate = None;
    let served = Served::with(HubConfig::default(), config);
    let request = masked(0x81, br#"{"type":"subscribe","payload":"a"}"#);
    let mut stream = then(&served, &request.repeat(500));
    for _ in 0..500 {
        assert_eq!(read_frame(&mut stream).unwrap().0, 0x81);
    }
    stream.write_all(&masked(0x81, &[b'x'; 101])).unwrap();
    assert_eq!(read_close(&mut stream), 1009);
}

#[test]
fn a_ping_is_answered_with_its_payload_between_two_frames() {
    let served = Served::new();
    let mut stream = then(&served, &masked(0x89, b"are you there"));
    assert_eq!(read_frame(&mut stream), Some((0x8a, b"are you there".to_vec())));
}

#[test]
fn a_close_is_echoed_with_its_code_and_ends_the_stream_whoever_is_first() {
    let served = Served::new();
    for n in 0..TIMES {
        let mut close = 4321_u16.to_be_bytes().to_vec();
        close.extend(b"enough");
        let mut stream = then(&served, &masked(0x88, &close));
        if n % 2 == 0 {
            stream.shutdown(Shutdown::Write).unwrap();
        }
        assert_eq!(read_close(&mut stream), 4321);
    }
    let mut stream = then(&served, &masked(0x88, b""));
    assert_eq!(read_frame(&mut stream), Some((0x88, Vec::new())));
    assert_eq!(read_frame(&mut stream), None);
    drop(stream);
    served.until_clients(0);
}

#[test]
fn one_clients_violation_is_its_own_affair() {
    let served = Served::new();
    let mut good = served.client();
    let mut bad = then(&served, &masked(0x83, b""));
    assert_eq!(read_close(&mut bad), 1002);
    good.send_frame(Frame::text(json!({"type": "subscribe", "payload": "a"}).to_string()));
    good.expect("subscribed");
    served.handle().broadcast(&numbered(1)).unwrap();
    good.expect("n");
}

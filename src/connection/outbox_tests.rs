//! Tests on sockets that preserve packet boundaries, so that `send` calls can be counted.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use std::io::Read;
use std::net::TcpListener;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair};

use super::*;

#[test]
fn an_outbox_is_one_cache_line() {
    assert_eq!((size_of::<Outbox>(), align_of::<Outbox>()), (64, 64));
}

#[test]
fn the_handshake_response_is_sent_before_everything_else() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (socket, _) = listener.accept().unwrap();
    let bounds = QueueBounds { messages: 2, bytes: 8 };
    let outbox = Outbox::new(socket, bounds, Duration::from_secs(10));
    outbox.await_handshake();
    let early = Frame::raw(b"early ");
    assert_eq!(offer(&outbox, &early), OfferResult::Closing, "nothing before the handshake");
    assert!(!outbox.close(&early, false, Duration::from_secs(10)));
    assert!(outbox.accept_handshake(&Frame::raw(b"101 ")));
    assert!(!outbox.reject_handshake(&Frame::raw(b"403 "), Duration::from_secs(10)));
    let frames = [Frame::raw(b"longer than the bound "), Frame::raw(b"b "), Frame::raw(b"c ")];
    let joined: Vec<u8> = frames.iter().flat_map(Frame::bytes).copied().collect();
    assert_eq!(outbox.offer(&frames, &joined), OfferResult::Sent);
    assert!(outbox.close(&Frame::raw(b"close"), true, Duration::from_secs(10)));
    let mut out = String::new();
    peer.read_to_string(&mut out).unwrap();
    assert_eq!(out, "101 longer than the bound b c close");
}

/// An outbox on a packet socket, and the peer.
fn packet_socket() -> (Outbox, OwnedFd) {
    let (socket, peer) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    let bounds = QueueBounds { messages: 1000, bytes: 1 << 20 };
    (Outbox::new(TcpStream::from(socket), bounds, Duration::from_secs(10)), peer)
}

fn offer(outbox: &Outbox, frame: &Frame) -> OfferResult {
    outbox.offer(std::slice::from_ref(frame), frame.bytes())
}

/// The number of packets received, which is the number of `send` calls.
fn packets(peer: &impl AsFd) -> usize {
    let mut buffer = [0; 4096];
    std::iter::from_fn(|| recv(peer, &mut buffer, RecvFlags::DONTWAIT).ok()).count()
}

#[test]
fn a_client_with_a_queue_costs_no_system_call_until_its_socket_is_ready() {
    let (outbox, peer) = packet_socket();
    let frame = Frame::raw(&[7; 4096]);
    let offer = || offer(&outbox, &frame);
    let mut sent = 0;
    let first = loop {
        match offer() {
            OfferResult::Sent => sent += 1,
            other => break other,
        }
    };
    assert_eq!(first, OfferResult::Queued { conflated: 0, watch: true });
    assert_eq!(packets(&peer), sent);
    for _ in 0..200 {
        assert_eq!(offer(), OfferResult::Queued { conflated: 0, watch: false });
    }
    assert_eq!(packets(&peer), 0, "only the flusher sends");
    let mut waited = 0;
    while outbox.flush() == FlushResult::Blocked {
        waited += packets(&peer);
    }
    assert_eq!(waited + packets(&peer), 201);
}

#[test]
fn the_flusher_is_notified_again_after_a_frame_was_withdrawn() {
    let (outbox, _peer) = packet_socket();
    let filler = Frame::raw(&[0; 4096]);
    while offer(&outbox, &filler) == OfferResult::Sent {}
    assert_eq!(outbox.flush(), FlushResult::Blocked, "the last filler");
    let first = outbox.lock().backlog().queue.position(&filler);
    assert_eq!(first, Some(FramePosition::Queued(0)));
    assert_eq!(outbox.wait_until_sent(&filler, Instant::now()), BlockingSendResult::Withdrawn);
    assert_eq!(outbox.deadline(), None, "nothing to wait for");
    assert_eq!(offer(&outbox, &filler), OfferResult::Queued { conflated: 0, watch: true });
}

#[test]
fn a_blocking_sender_learns_whether_its_frame_was_sent() {
    let (outbox, peer) = packet_socket();
    let filler = Frame::raw(&[0; 4096]);
    while offer(&outbox, &filler) == OfferResult::Sent {}
    let [first, second, third] = [1, 2, 3].map(|n| Frame::raw(&[n; 4096]));
    for frame in [&first, &second, &third] {
        assert!(matches!(offer(&outbox, frame), OfferResult::Queued { .. }));
    }
    let now = Instant::now();
    assert_eq!(outbox.wait_until_sent(&second, now), BlockingSendResult::Withdrawn);
    let mut buffer = [9; 4096];
    let mut got = Vec::new();
    let mut read = || recv(&peer, &mut buffer, RecvFlags::DONTWAIT).map(|_| buffer[0]);
    while outbox.lock().backlog().queue.position(&first).is_some() {
        got.push(read().unwrap());
        assert_eq!(outbox.flush(), FlushResult::Blocked, "the third is queued");
    }
    assert_eq!(
        outbox.wait_until_sent(&first, now),
        BlockingSendResult::Sent,
        "the third is queued behind it"
    );
    loop {
        outbox.flush();
        match read() {
            Ok(first) => got.push(first),
            Err(_) => break,
        }
    }
    assert_eq!(got.split_off(got.len() - 3), [0, 1, 3]);
    outbox.disconnect();
    assert_eq!(outbox.wait_until_sent(&third, now), BlockingSendResult::Closing);
}

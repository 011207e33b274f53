//! The sending side on sockets that keep the bounds of each `send`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use std::io::Read;
use std::net::TcpListener;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair};

use super::*;

#[test]
fn a_delivery_touches_one_line_of_the_cache() {
    assert_eq!((size_of::<Outbox>(), align_of::<Outbox>()), (64, 64));
}

#[test]
fn the_handshake_leaves_before_everything_even_before_the_close_of_a_client_evicted_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (socket, _) = listener.accept().unwrap();
    let bounds = Bounds { messages: 2, bytes: 8 };
    let outbox = Outbox::new(socket, bounds, Duration::from_secs(10));
    outbox.await_handshake();
    let early = Frame::raw(b"early ");
    assert_eq!(offer(&outbox, &early), Offered::Gone, "nothing comes before the handshake");
    assert!(!outbox.close(&early, false, Duration::from_secs(10)));
    assert!(outbox.accept_handshake(&Frame::raw(b"101 ")));
    assert!(!outbox.refuse_handshake(&Frame::raw(b"403 "), Duration::from_secs(10)));
    let frames = [Frame::raw(b"longer than the bound "), Frame::raw(b"b "), Frame::raw(b"c ")];
    let joined: Vec<u8> = frames.iter().flat_map(Frame::bytes).copied().collect();
    assert_eq!(outbox.offer(&frames, &joined), Offered::Sent);
    assert!(outbox.close(&Frame::raw(b"close"), true, Duration::from_secs(10)));
    let mut out = String::new();
    peer.read_to_string(&mut out).unwrap();
    assert_eq!(out, "101 longer than the bound b c close");
}

/// An outbox on a socket that keeps the bounds of each `send`, so that they can be counted, and the
/// socket's peer.
fn packeted() -> (Outbox, OwnedFd) {
    let (socket, peer) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    let bounds = Bounds { messages: 1000, bytes: 1 << 20 };
    (Outbox::new(TcpStream::from(socket), bounds, Duration::from_secs(10)), peer)
}

fn offer(outbox: &Outbox, frame: &Frame) -> Offered {
    outbox.offer(std::slice::from_ref(frame), frame.bytes())
}

/// What the peer has got, one entry for each `send`.
fn packets(peer: &impl AsFd) -> usize {
    let mut buffer = [0; 4096];
    std::iter::from_fn(|| recv(peer, &mut buffer, RecvFlags::DONTWAIT).ok()).count()
}

#[test]
fn a_client_with_a_backlog_costs_no_system_call_until_its_socket_is_ready() {
    let (outbox, peer) = packeted();
    let frame = Frame::raw(&[7; 4096]);
    let offer = || offer(&outbox, &frame);
    let mut sent = 0;
    let first = loop {
        match offer() {
            Offered::Sent => sent += 1,
            other => break other,
        }
    };
    assert_eq!(first, Offered::Waits { conflated: 0, watch: true });
    assert_eq!(packets(&peer), sent);
    for _ in 0..200 {
        assert_eq!(offer(), Offered::Waits { conflated: 0, watch: false });
    }
    assert_eq!(packets(&peer), 0, "the flusher has been told, nobody else tries");
    let mut waited = 0;
    while outbox.flush() == Flushed::Waits {
        waited += packets(&peer);
    }
    assert_eq!(waited + packets(&peer), 201);
}

#[test]
fn the_flusher_is_told_anew_of_what_waits_after_a_frame_was_taken_back() {
    let (outbox, _peer) = packeted();
    let filler = Frame::raw(&[0; 4096]);
    while offer(&outbox, &filler) == Offered::Sent {}
    assert_eq!(outbox.flush(), Flushed::Waits, "the last filler");
    let first = outbox.lock().backlog().queue.place(&filler);
    assert_eq!(first, Some(Place::Waits(0)));
    assert_eq!(outbox.await_sent(&filler, Instant::now()), Awaited::TakenBack);
    assert_eq!(outbox.deadline(), None, "the flusher has nothing to wait for");
    assert_eq!(offer(&outbox, &filler), Offered::Waits { conflated: 0, watch: true });
}

#[test]
fn whoever_awaits_a_frame_learns_that_it_is_out_or_that_it_never_will_be() {
    let (outbox, peer) = packeted();
    let filler = Frame::raw(&[0; 4096]);
    while offer(&outbox, &filler) == Offered::Sent {}
    let [first, second, third] = [1, 2, 3].map(|n| Frame::raw(&[n; 4096]));
    for frame in [&first, &second, &third] {
        assert!(matches!(offer(&outbox, frame), Offered::Waits { .. }));
    }
    let now = Instant::now();
    assert_eq!(outbox.await_sent(&second, now), Awaited::TakenBack);
    let mut buffer = [9; 4096];
    let mut got = Vec::new();
    let mut read = || recv(&peer, &mut buffer, RecvFlags::DONTWAIT).map(|_| buffer[0]);
    while outbox.lock().backlog().queue.place(&first).is_some() {
        got.push(read().unwrap());
        assert_eq!(outbox.flush(), Flushed::Waits, "the third waits");
    }
    assert_eq!(outbox.await_sent(&first, now), Awaited::Sent, "whatever waits behind it");
    loop {
        outbox.flush();
        match read() {
            Ok(first) => got.push(first),
            Err(_) => break,
        }
    }
    assert_eq!(got.split_off(got.len() - 3), [0, 1, 3]);
    outbox.shut();
    assert_eq!(outbox.await_sent(&third, now), Awaited::Gone);
}

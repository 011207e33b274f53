//! Clients that come and go by the ten thousand leave nothing behind.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt;

use crate::harness::{GUARD, Served, alone, belongings, memory, tcp_socket, uninterrupted, until};
use crate::raw::{handshake, masked, read_close, read_head};

/// As the promise has it.
const CLIENTS: usize = 50_000;
const COMERS: u8 = 4;
/// The ways to go.
const WAYS: usize = 5;

#[test]
#[ignore = "half a minute of both cores: .ci/run has it alone"]
fn two_rounds_of_fifty_thousand_clients_end_with_the_same_threads_descriptors_and_memory() {
    let name =
        "two_rounds_of_fifty_thousand_clients_end_with_the_same_threads_descriptors_and_memory";
    // With one heap for all threads, what the process has is what it holds.
    if !alone(&format!("churn::{name}"), &["env", "MALLOC_ARENA_MAX=1"]) {
        return;
    }
    let served = Served::new();
    let idle = belongings();
    let unburdened =
        || until("no thread and no descriptor is left of them", || belongings() == idle);
    // More at a time than a round has, each with every way to go: the C library keeps the stacks of
    // 40 MiB of threads that ended for the next ones, with all of them that was ever touched.
    for turn in 0..WAYS {
        let crowd: Vec<_> = (0..200).map(|_| come(Ipv4Addr::LOCALHOST, served.addr())).collect();
        crowd.into_iter().enumerate().for_each(|(n, stream)| go(stream, n + turn));
        unburdened();
    }
    let round = || {
        thread::scope(|scope| {
            for comer in 0..COMERS {
                let addr = served.addr();
                scope.spawn(move || come_and_go(addr, comer));
            }
        });
        unburdened();
        memory()
    };
    let (first, second) = (round(), round());
    println!("{first} bytes, then {second}");
    assert!(second <= first + first / 10, "{first} bytes, then {second}");
    assert_eq!(served.handle().client_count(), 0);
}

/// One client after the other, each with another way to go.
fn come_and_go(addr: SocketAddr, comer: u8) {
    for n in 0..CLIENTS / usize::from(COMERS) {
        go(come(Ipv4Addr::new(127, 0, 1, comer + 1), addr), n);
    }
}

/// Connects from this address: each has ports of its own, of which a closed connection keeps one
/// for a minute.
fn come(from: Ipv4Addr, addr: SocketAddr) -> TcpStream {
    let socket = tcp_socket();
    rustix::net::bind(&socket, &SocketAddr::from((from, 0))).unwrap();
    rustix::net::connect(&socket, &addr).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(GUARD)).unwrap();
    stream.write_all(handshake().as_bytes()).unwrap();
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 101 "));
    stream
}

/// Leaves, in the way of this number.
fn go(mut stream: TcpStream, n: usize) {
    match n % WAYS {
        // A Close, and to the end.
        0 | 1 => {
            stream.write_all(&masked(0x88, &1000_u16.to_be_bytes())).unwrap();
            assert_eq!(read_close(&mut stream), 1000);
        }
        // A violation.
        2 => {
            stream.write_all(&masked(0x83, b"")).unwrap();
            assert_eq!(read_close(&mut stream), 1002);
        }
        // A reset, with what it asked for unread.
        3 => {
            let request = br#"{"type":"subscribe","payload":["a","b"]}"#;
            stream.write_all(&masked(0x81, request)).unwrap();
            sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
        }
        // Half a frame, and the end.
        _ => {
            stream.write_all(&[0x81, 0xfe, 1]).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            match uninterrupted(|| stream.read(&mut [0])) {
                Ok(0) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
                other => panic!("an end was due, not {other:?}"),
            }
        }
    }
}

//! A hundred thousand clients connect and disconnect and leave nothing behind.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt;

use crate::harness::raw::{handshake, masked, read_close, read_head};
use crate::harness::{
    GUARD, Served, descriptors_and_threads, in_own_process, memory, retry_interrupted, tcp_socket,
    until,
};

/// Clients in each of the two rounds, as `tests/README.md` promises.
const CLIENTS: usize = 50_000;
/// Threads that connect clients.
const THREADS: u8 = 4;
/// The number of ways in which a client disconnects.
const WAYS: usize = 5;

#[test]
#[ignore = "uses both cores for half a minute: .ci/run runs it alone"]
fn fifty_thousand_clients_leak_no_threads_descriptors_or_memory() {
    let name = "fifty_thousand_clients_leak_no_threads_descriptors_or_memory";
    // With one heap for all threads, no freed memory stays in the heaps of ended threads.
    if !in_own_process(&format!("churn::{name}"), &["env", "MALLOC_ARENA_MAX=1"]) {
        return;
    }
    let served = Served::new();
    let idle = descriptors_and_threads();
    let wait_until_idle =
        || until("no descriptor and no thread is left", || descriptors_and_threads() == idle);
    // Warm up with more clients at a time than a round has, in every way of disconnecting: the C
    // library caches up to 40 MiB of stacks of ended threads, with every page that was touched.
    for turn in 0..WAYS {
        let clients: Vec<_> =
            (0..200).map(|_| connect(Ipv4Addr::LOCALHOST, served.addr())).collect();
        clients.into_iter().enumerate().for_each(|(n, stream)| disconnect(stream, n + turn));
        wait_until_idle();
    }
    let round = || {
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let addr = served.addr();
                scope.spawn(move || connect_and_disconnect(addr, thread));
            }
        });
        wait_until_idle();
        memory()
    };
    let (first, second) = (round(), round());
    println!("memory: {first} bytes after round 1, {second} after round 2");
    assert!(second <= first + first / 10, "{first} bytes, then {second}");
    assert_eq!(served.handle().client_count(), 0);
}

/// One thread's clients, one after the other, each with the next way of disconnecting.
fn connect_and_disconnect(addr: SocketAddr, thread: u8) {
    for n in 0..CLIENTS / usize::from(THREADS) {
        disconnect(connect(Ipv4Addr::new(127, 0, 1, thread + 1), addr), n);
    }
}

/// Connects from this address. A closed connection blocks its port for a minute, so each thread
/// uses an address, and with it ports, of its own.
fn connect(from: Ipv4Addr, addr: SocketAddr) -> TcpStream {
    let socket = tcp_socket();
    rustix::net::bind(&socket, &SocketAddr::from((from, 0))).unwrap();
    rustix::net::connect(&socket, &addr).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(GUARD)).unwrap();
    stream.write_all(handshake().as_bytes()).unwrap();
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 101 "));
    stream
}

/// Disconnects in the n-th way.
fn disconnect(mut stream: TcpStream, n: usize) {
    match n % WAYS {
        // A clean Close.
        0 | 1 => {
            stream.write_all(&masked(0x88, &1000_u16.to_be_bytes())).unwrap();
            assert_eq!(read_close(&mut stream), 1000);
        }
        // A protocol violation.
        2 => {
            stream.write_all(&masked(0x83, b"")).unwrap();
            assert_eq!(read_close(&mut stream), 1002);
        }
        // A reset, with a reply unread.
        3 => {
            let request = br#"{"type":"subscribe","payload":["a","b"]}"#;
            stream.write_all(&masked(0x81, request)).unwrap();
            sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
        }
        // The end of the stream in the middle of a frame.
        _ => {
            stream.write_all(&[0x81, 0xfe, 1]).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            match retry_interrupted(|| stream.read(&mut [0])) {
                Ok(0) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
                other => panic!("expected the end of the stream, not {other:?}"),
            }
        }
    }
}

//! Tests of the loop without its thread.

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use crossbeam_channel::{bounded, unbounded};

use super::*;
use crate::{Hub, HubConfig};

#[test]
fn a_peer_rejected_at_once_can_read_the_response() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    for _ in 0..20 {
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        peer.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let (socket, _) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        reject_at_once(&socket, &Response::line(status::UNAVAILABLE, "too many").bytes("", false));
        drop(socket);
        let mut answer = String::new();
        peer.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("too many\n"));
    }
}

#[test]
fn a_request_that_arrived_in_time_is_served_after_its_deadline() {
    let hub = Hub::spawn(HubConfig::default()).unwrap();
    let (connected, accepted) = bounded(1);
    let (poller, config) = (Poller::new().unwrap(), ServerConfig::default());
    let table = config.routes.clone().table(false).unwrap();
    let mut http =
        HttpLoop::new(hub.handle(), config, table, poller, accepted, unbounded()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    for (head, status) in
        [("GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n", 404), ("GET /", 408)]
    {
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, addr) = listener.accept().unwrap();
        http.add(NewConnection { socket, peer: addr, already_read: Vec::new() });
        peer.write_all(head.as_bytes()).unwrap();
        http.end_overdue(Instant::now() + READ_TIMEOUT);
        let mut answer = [0; 12];
        peer.read_exact(&mut answer).unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {status}"));
    }
    drop(connected);
}

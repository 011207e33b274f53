//! The lower bound: a loop of `write(2)` over the sockets. A server that sends to each client with a
//! system call cannot cost less.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use tungstenite::handshake::derive_accept_key;

use super::{BACKLOG, lines};
use crate::frames;

type Sockets = Arc<Mutex<Vec<TcpStream>>>;

pub fn run(port: u16, threads: usize) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    rustix::net::listen(&listener, BACKLOG)?;
    let parts: Vec<Sockets> = (0..threads).map(|_| Sockets::default()).collect();
    let mut workers: Vec<Sender<Arc<[u8]>>> = Vec::new();
    for part in parts.iter().skip(1).map(Arc::clone) {
        let (worker, frames) = channel::<Arc<[u8]>>();
        workers.push(worker);
        std::thread::spawn(move || frames.iter().for_each(|frame| write(&part, &frame)));
    }
    let own = Arc::clone(&parts[0]);
    std::thread::spawn(move || {
        for (number, socket) in listener.incoming().flatten().enumerate() {
            if let Ok(socket) = handshake(socket) {
                lock(&parts[number % threads]).push(socket);
            }
        }
    });
    lines(|line| {
        let frame: Arc<[u8]> = frames::text(line.as_bytes()).into();
        for worker in &workers {
            let _ = worker.send(Arc::clone(&frame));
        }
        write(&own, &frame);
    })
}

fn write(sockets: &Sockets, frame: &[u8]) {
    for mut socket in lock(sockets).iter() {
        let _ = socket.write_all(frame);
    }
}

fn lock(sockets: &Sockets) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
    sockets.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Good enough for the load generator, whose request arrives in one read.
fn handshake(mut socket: TcpStream) -> io::Result<TcpStream> {
    socket.set_nodelay(true)?;
    let mut head = [0; 2048];
    let n = socket.read(&mut head)?;
    let head = String::from_utf8_lossy(&head[..n]);
    let name = "sec-websocket-key:";
    let key = head.lines().find(|line| line.to_ascii_lowercase().starts_with(name));
    let key = key.ok_or(io::ErrorKind::InvalidData)?[name.len()..].trim();
    write!(
        socket,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key.as_bytes()),
    )?;
    Ok(socket)
}

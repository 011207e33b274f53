//! A listener with `SO_REUSEPORT`: a new version of the program can listen on the same port before
//! the old one exits, so that no connection is refused.
//!
//! ```text
//! cargo run --example reuse_port -- --addr 127.0.0.1:9004
//! ```

#![allow(clippy::print_stdout)] // An example prints its URL.

use std::error::Error;
use std::net::{SocketAddr, TcpListener};
use std::thread;

use kentros::{Hub, HubConfig, Message, Server, ServerConfig};
use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt};

/// The maximum number of connections waiting to be accepted.
const BACKLOG: i32 = 1024;

fn open(addr: SocketAddr) -> Result<TcpListener, Box<dyn Error>> {
    let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket(family, SocketType::STREAM, None)?;
    // Both processes must set this option and run as the same user.
    sockopt::set_socket_reuseport(&socket, true)?;
    bind(&socket, &addr)?;
    listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

fn main() -> Result<(), Box<dyn Error>> {
    let addr = std::env::args().skip(1).find(|arg| arg != "--addr");
    let listener = open(addr.as_deref().unwrap_or("127.0.0.1:9004").parse()?)?;
    let hub = Hub::spawn(HubConfig::default())?;
    let server = Server::from_listener(listener, hub.handle(), ServerConfig::default())?;
    println!("listening on http://{}", server.local_addr());
    hub.handle().broadcast(&Message::new("process", std::process::id()).latest())?;
    loop {
        thread::park();
    }
}

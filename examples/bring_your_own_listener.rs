//! A port opened by hand, which another process may have too: a new version takes over from the old
//! one without a moment in which nobody listens.
//!
//! ```text
//! cargo run --example bring_your_own_listener -- 9004
//! ```

#![allow(clippy::print_stdout)] // A program for people to try.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;

use kentros::{Hub, HubConfig, Message, Server, ServerConfig};
use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt};

/// Connections that the kernel holds until they are taken up.
const BACKLOG: i32 = 1024;

fn open(port: u16) -> Result<TcpListener, Box<dyn Error>> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    // Whoever else has the port must have said so too, and be of the same user.
    sockopt::set_socket_reuseport(&socket, true)?;
    bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::args().nth(1).map_or(Ok(9004), |port| port.parse())?;
    let hub = Hub::spawn(HubConfig::default())?;
    let server = Server::from_listener(open(port)?, hub.handle(), ServerConfig::default())?;
    println!("listening on http://{}", server.local_addr());
    hub.handle().broadcast(&Message::new("process", std::process::id()).latest())?;
    loop {
        thread::park();
    }
}

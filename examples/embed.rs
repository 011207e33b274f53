//! A hub embedded in a program: every client of `/ws/stats` receives the messages it publishes.
//!
//! ```text
//! cargo run --example embed -- --addr 127.0.0.1:9001
//! websocat ws://127.0.0.1:9001/ws/stats
//! ```

#![allow(clippy::print_stdout)] // An example prints its URL.

use std::thread;
use std::time::Duration;

use kentros::{Error, Hub, HubConfig, Message, Server, ServerConfig};

fn main() -> Result<(), Error> {
    let addr = std::env::args().skip(1).find(|arg| arg != "--addr");
    let addr = addr.as_deref().unwrap_or("127.0.0.1:9001");
    let hub = Hub::spawn(HubConfig::default())?;
    let server = Server::bind(addr, hub.handle(), ServerConfig::default())?;
    println!("listening on ws://{}/ws/stats", server.local_addr());

    // The hub calls this closure once a second while at least one client is connected.
    let handle = hub.handle();
    handle.publish_every(Duration::from_secs(1), "load", || {
        std::fs::read_to_string("/proc/loadavg").map(|load| load.trim().to_owned())
    })?;

    // Any thread can publish: here, an event of one project and a state of the whole program.
    for build in 1.. {
        handle.broadcast(&Message::new("build_started", build).project("shop"))?;
        handle.broadcast(&Message::new("clients", handle.client_count()).latest())?;
        thread::sleep(Duration::from_secs(5));
    }
    Ok(())
}

//! The hub in a plain program: it publishes what it likes, and whoever connects sees it.
//!
//! ```text
//! cargo run --example embed
//! websocat ws://127.0.0.1:9001/ws/stats
//! ```

#![allow(clippy::print_stdout)] // A program for people to try.

use std::collections::HashMap;
use std::thread;
use std::time::Duration;

use kentros::{Hub, HubConfig, Message, Server, ServerConfig};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hub = Hub::spawn(HubConfig::default())?;
    let server = Server::bind("127.0.0.1:9001", hub.handle(), ServerConfig::default())?;
    println!("ws://{}/ws/stats", server.local_addr());

    // Stats of our own, once a second while somebody listens: an object keyed by id.
    hub.handle().start_stats_streamer(Duration::from_secs(1), || {
        let load = std::fs::read_to_string("/proc/loadavg")?;
        Ok::<_, std::io::Error>(HashMap::from([("host", load.trim().to_owned())]))
    })?;

    // Messages of our own, from any thread, for everyone or for those who want one project.
    let handle = hub.handle();
    for build in 1.. {
        handle.broadcast_to_subscribers("shop", &Message::new("build_started", build))?;
        thread::sleep(Duration::from_secs(5));
        handle.broadcast(&Message::new("clients", handle.client_count()))?;
    }
    Ok(())
}

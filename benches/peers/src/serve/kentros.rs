//! kentros through its public API, with every default but the number of shards where one is given.

use std::error::Error;
use std::net::Ipv4Addr;
use std::num::NonZeroUsize;

use kentros::{Hub, HubConfig, Message, Server, ServerConfig};

use super::lines;

/// The bytes that the envelope adds to a message.
pub const ENVELOPE: usize = r#"{"type":"t","payload":"","timestamp":1700000000}"#.len();

/// A line `#project text` goes to the project's subscribers, any other to everyone.
pub fn run(port: u16, shards: Option<usize>) -> Result<(), Box<dyn Error>> {
    let mut config = HubConfig::default();
    if let Some(shards) = shards.and_then(NonZeroUsize::new) {
        config.shards = shards;
    }
    let hub = Hub::spawn(config)?;
    let server = Server::bind((Ipv4Addr::LOCALHOST, port), hub.handle(), ServerConfig::default())?;
    let handle = hub.handle();
    lines(|line| {
        let sent = match line.strip_prefix('#').and_then(|line| line.split_once(' ')) {
            Some((project, text)) => {
                handle.broadcast_to_subscribers(project, &Message::new("t", text))
            }
            None => handle.broadcast(&Message::new("t", line)),
        };
        if let Err(error) = sent {
            eprintln!("kentros: {error}");
        }
    })?;
    server.shutdown();
    hub.shutdown();
    Ok(())
}

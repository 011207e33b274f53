//! An echo server with a page that shows it at work: a WebSocket at `/ws/echo` sends each message
//! back unchanged, and the page at `/` shows who is connected and every message, live.
//!
//! ```text
//! cargo run --example echo_dashboard -- [--addr HOST:PORT] [--max-message BYTES]
//! ```

#![allow(clippy::print_stdout)] // A program for people to try.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Mutex, PoisonError};

use kentros::{
    Client, Handler, Hub, HubConfig, HubHandle, Incoming, Message, Server, ServerConfig,
};
use lexopt::{Arg, Parser, ValueExt};
use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Characters of a message that the page is shown.
const SHOWN: usize = 200;

/// Echoes, and tells the hub's clients, which are the open pages.
struct Echo {
    hub: HubHandle,
    /// Those who are connected, by their number.
    connected: Mutex<BTreeMap<u64, String>>,
}

#[derive(Serialize)]
struct Echoed {
    client: u64,
    kind: &'static str,
    bytes: usize,
    text: String,
}

impl Echo {
    fn change(&self, change: impl FnOnce(&mut BTreeMap<u64, String>)) {
        let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut connected);
        // Under the lock, so that the last list sent is the last one there was.
        let _ = self.hub.broadcast(&Message::new("clients", &*connected).latest());
    }
}

impl Handler for Echo {
    fn open(&self, client: &Client) {
        self.change(|connected| {
            connected.insert(client.id(), client.peer_addr().to_string());
        });
    }

    fn message(&self, client: &Client, message: Incoming<'_>) {
        let (kind, bytes, text, sent) = match message {
            Incoming::Text(text) => {
                let shown = text.chars().take(SHOWN).collect();
                ("text", text.len(), shown, client.send_text(text))
            }
            Incoming::Binary(bytes) => {
                ("binary", bytes.len(), String::new(), client.send_binary(bytes))
            }
        };
        if sent.is_ok() {
            let echoed = Echoed { client: client.id(), kind, bytes, text };
            let _ = self.hub.broadcast(&Message::new("echo", echoed));
        }
    }

    fn close(&self, client: &Client) {
        self.change(|connected| {
            connected.remove(&client.id());
        });
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut addr = "127.0.0.1:9001".to_owned();
    let mut config = ServerConfig::default();
    let mut args = Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("addr") => addr = args.value()?.string()?,
            Arg::Long("max-message") => config.max_message = args.value()?.parse()?,
            other => return Err(other.unexpected().into()),
        }
    }
    // An echo is for tests and measurements, which send as fast as they like.
    config.max_rate = None;

    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let hub = Hub::spawn(HubConfig::default())?;
    let echo = Echo { hub: hub.handle(), connected: Mutex::default() };
    let config = config
        .page("/", "text/html; charset=utf-8", include_str!("echo_dashboard/index.html"))
        .page("/echo.js", "text/javascript; charset=utf-8", include_str!("echo_dashboard/echo.js"))
        .page("/echo.css", "text/css; charset=utf-8", include_str!("echo_dashboard/echo.css"))
        .websocket("/ws/echo", echo);
    let server = Server::bind(addr.as_str(), hub.handle(), config)?;
    println!("listening on http://{}", server.local_addr());
    signals.forever().next();
    server.shutdown();
    hub.shutdown();
    Ok(())
}

//! An echo server with a live page. The WebSocket at `/ws/echo` sends each message back, and the page
//! at `/` shows the connected clients and their messages.
//!
//! ```text
//! cargo run --example echo_dashboard -- [--addr HOST:PORT] [--max-message BYTES]
//! ```

#![allow(clippy::print_stdout)] // An example prints its URL.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use kentros::{
    Client, CloseReason, Hub, HubConfig, HubHandle, Incoming, Message, Server, ServerConfig,
    Session,
};
use lexopt::{Arg, Parser, ValueExt};
use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// The number of characters of a message to show on the page.
const SHOWN: usize = 200;

/// The state of the page, shared by all sessions.
struct Page {
    hub: HubHandle,
    /// The address of each client, by client id.
    connected: Mutex<BTreeMap<u64, String>>,
}

impl Page {
    fn update_clients(&self, change: impl FnOnce(&mut BTreeMap<u64, String>)) {
        let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut connected);
        // Published while locked, so that lists are published in order.
        let _ = self.hub.broadcast(&Message::new("clients", &*connected).latest());
    }
}

/// The session of one client.
struct Echo(Arc<Page>);

#[derive(Serialize)]
struct Echoed {
    client: u64,
    kind: &'static str,
    bytes: usize,
    text: String,
}

impl Session for Echo {
    fn open(&mut self, client: &Client) {
        self.0.update_clients(|connected| {
            connected.insert(client.id(), client.peer_addr().to_string());
        });
    }

    fn message(&mut self, client: &Client, message: Incoming<'_>) {
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
            let _ = self.0.hub.broadcast(&Message::new("echo", echoed));
        }
    }

    fn close(&mut self, client: &Client, _: CloseReason) {
        self.0.update_clients(|connected| {
            connected.remove(&client.id());
        });
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut addr = "127.0.0.1:9001".to_owned();
    // No rate limit, because tests and benchmarks send as fast as they can.
    let mut config = ServerConfig::default().with_max_rate(None);
    let mut args = Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("addr") => addr = args.value()?.string()?,
            Arg::Long("max-message") => config = config.with_max_message(args.value()?.parse()?),
            other => return Err(other.unexpected().into()),
        }
    }

    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let hub = Hub::spawn(HubConfig::default())?;
    let page = Arc::new(Page { hub: hub.handle(), connected: Mutex::default() });
    let config = config
        .page("/", "text/html; charset=utf-8", include_str!("echo_dashboard/index.html"))
        .page("/echo.js", "text/javascript; charset=utf-8", include_str!("echo_dashboard/echo.js"))
        .page("/echo.css", "text/css; charset=utf-8", include_str!("echo_dashboard/echo.css"))
        .sessions("/ws/echo", move |_| Ok(Echo(Arc::clone(&page))));
    let server = Server::bind(addr.as_str(), hub.handle(), config)?;
    println!("listening on http://{}", server.local_addr());
    signals.forever().next();
    server.shutdown();
    hub.shutdown();
    Ok(())
}

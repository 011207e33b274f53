//! A chat: whoever connects to `/ws/chat/NAME` hears what others in this room say.
//!
//! ```text
//! cargo run --example chat
//! websocat ws://127.0.0.1:9002/ws/chat/kitchen
//! ```

#![allow(clippy::print_stdout)] // A program for people to try.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::thread;

use kentros::{Client, Handler, Hub, HubConfig, Incoming, Message, Server, ServerConfig};

const ROOMS: [&str; 2] = ["kitchen", "garden"];

/// One room. Its clients are here and not in the hub, which knows projects and no rooms.
struct Room {
    name: &'static str,
    clients: Mutex<BTreeMap<u64, Client>>,
}

impl Room {
    /// Tells everybody in the room. One who has stalled is waited for by nobody but the speaker.
    fn tell(&self, message: &Message) {
        let clients: Vec<Client> = self.lock().values().cloned().collect();
        for client in clients {
            // Who is gone will be taken out by `close`.
            let _ = client.send(message);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Client>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handler for Room {
    fn open(&self, client: &Client) {
        self.lock().insert(client.id(), client.clone());
        self.tell(&Message::new("comes", client.id()).project(self.name));
    }

    fn message(&self, client: &Client, message: Incoming<'_>) {
        match message {
            Incoming::Text(words) => {
                let said = serde_json::json!({"by": client.id(), "words": words});
                self.tell(&Message::new("says", said).project(self.name));
            }
            Incoming::Binary(_) => client.close(1003, "words only"),
        }
    }

    fn close(&self, client: &Client) {
        self.lock().remove(&client.id());
        self.tell(&Message::new("goes", client.id()).project(self.name));
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9002".to_owned());
    let hub = Hub::spawn(HubConfig::default())?;
    let mut config = ServerConfig::default();
    for name in ROOMS {
        let room = Room { name, clients: Mutex::default() };
        config = config.websocket(format!("/ws/chat/{name}"), room);
    }
    let server = Server::bind(addr.as_str(), hub.handle(), config)?;
    for name in ROOMS {
        println!("listening on ws://{}/ws/chat/{name}", server.local_addr());
    }
    loop {
        thread::park();
    }
}

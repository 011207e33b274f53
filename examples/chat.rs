//! A chat with rooms: a client that connects to `/ws/chat/ROOM` joins the room ROOM.
//!
//! ```text
//! cargo run --example chat -- --addr 127.0.0.1:9002
//! websocat 'ws://127.0.0.1:9002/ws/chat/kitchen?name=ann'
//! ```

#![allow(clippy::print_stdout)] // An example prints its URL.

use kentros::{
    Client, CloseReason, Error, Hub, HubConfig, HubHandle, Incoming, Interest, Message, Response,
    Server, ServerConfig, Session,
};

/// A client in a room.
struct Member {
    hub: HubHandle,
    room: String,
    name: String,
}

impl Session for Member {
    fn open(&mut self, client: &Client) {
        let Self { hub, room, name } = self;
        let joined = hub
            .register_with(client, Interest::none())
            .and_then(|()| hub.subscribe(client, room.as_str()))
            .and_then(|()| hub.broadcast_to_subscribers(room, &Message::new("joined", name)));
        if let Err(error) = joined {
            client.close(1011, &error.to_string());
        }
    }

    fn message(&mut self, client: &Client, message: Incoming<'_>) {
        let Incoming::Text(text) = message else { return client.close(1003, "text only") };
        let said = Message::new("said", serde_json::json!({"name": self.name, "text": text}));
        if let Err(error) = self.hub.broadcast_except(&self.room, client, &said) {
            client.close(1011, &error.to_string());
        }
    }

    fn close(&mut self, _: &Client, _: CloseReason) {
        let _ = self.hub.broadcast_to_subscribers(&self.room, &Message::new("left", &self.name));
    }
}

fn main() -> Result<(), Error> {
    let addr = std::env::args().skip(1).find(|arg| arg != "--addr");
    let hub = Hub::spawn(HubConfig::default())?;
    let handle = hub.handle();
    let config = ServerConfig::bare().sessions("/ws/chat/*", move |request| {
        let name = request.parameter("name").filter(|name| !name.is_empty());
        let name = name.ok_or(Response::text("choose a name: ?name=ann\n").with_status(400))?;
        Ok(Member { hub: handle.clone(), room: request.tail().into(), name: name.into() })
    });
    let server = Server::bind(addr.as_deref().unwrap_or("127.0.0.1:9002"), hub.handle(), config)?;
    println!("listening on ws://{}/ws/chat/ROOM?name=NAME", server.local_addr());
    loop {
        std::thread::park();
    }
}

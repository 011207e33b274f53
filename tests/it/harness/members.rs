//! Clients of which the test holds both ends: the socket and the server's `Client`.

use std::net::{SocketAddr, TcpStream};

use crossbeam_channel::{Receiver, Sender, unbounded};
use kentros::{Client, HubConfig, HubHandle, Incoming, Interest, Message, ServerConfig, Session};
use serde_json::Value;

use super::{GUARD, Served, Ws, dial, dial_narrow};

/// The path whose sessions hand their client to the test.
const PATH: &str = "/ws/member";

/// Sends its client to the test.
struct HandOver(Sender<Client>);

impl Session for HandOver {
    fn open(&mut self, client: &Client) {
        let _ = self.0.send(client.clone());
    }

    fn message(&mut self, _: &Client, _: Incoming<'_>) {}
}

/// The configuration of a server that hands its clients to the test, and the channel of the
/// clients.
pub(crate) fn lobby() -> (ServerConfig, Receiver<Client>) {
    let (hand, opened) = unbounded();
    let config = ServerConfig::bare().sessions(PATH, move |_| Ok(HandOver(hand.clone())));
    (config, opened)
}

/// A server and its hub. The test registers the clients itself.
#[derive(Debug)]
pub(crate) struct Members {
    pub(crate) served: Served,
    opened: Receiver<Client>,
}

/// One client: the peer's socket, and the client on the server side.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) ws: Ws,
    pub(crate) client: Client,
    hub: HubHandle,
}

impl Members {
    pub(crate) fn new() -> Self {
        Self::with(HubConfig::default())
    }

    pub(crate) fn with(hub: HubConfig) -> Self {
        let (config, opened) = lobby();
        Self { served: Served::with(hub, config), opened }
    }

    pub(crate) fn handle(&self) -> HubHandle {
        self.served.handle()
    }

    /// Connects a client that is not registered with the hub.
    #[track_caller]
    pub(crate) fn join(&self) -> Member {
        let addr = self.served.addr();
        Member::connect(dial(addr), addr, &self.opened, self.handle())
    }

    /// Connects a client with a small receive buffer. It stalls soon after it stops reading.
    #[track_caller]
    pub(crate) fn join_narrow(&self) -> Member {
        let addr = self.served.addr();
        Member::connect(dial_narrow(addr), addr, &self.opened, self.handle())
    }

    /// Connects a client, registers it and subscribes it to these rooms only.
    #[track_caller]
    pub(crate) fn enter<const N: usize>(&self, rooms: [&str; N]) -> Member {
        let member = self.join();
        self.handle().register_with(&member.client, Interest::none()).unwrap();
        for room in rooms {
            self.handle().subscribe(&member.client, room).unwrap();
        }
        member
    }

    /// Connects a client and registers it for everything.
    #[track_caller]
    pub(crate) fn enter_all(&self) -> Member {
        let member = self.join();
        self.handle().register(&member.client).unwrap();
        member
    }
}

impl Member {
    /// Connects to the server of a [`lobby`] at this address.
    #[track_caller]
    pub(crate) fn connect(
        stream: TcpStream,
        addr: SocketAddr,
        opened: &Receiver<Client>,
        hub: HubHandle,
    ) -> Self {
        let ws = Ws::over(stream, addr, PATH);
        let client = opened.recv_timeout(GUARD).expect("a session");
        assert_eq!(
            client.peer_addr(),
            ws.stream().local_addr().unwrap(),
            "the client of this connection"
        );
        Self { ws, client, hub }
    }

    /// The messages it has received of all that this thread has published so far, as [`summary`]
    /// writes them.
    #[track_caller]
    pub(crate) fn heard(&mut self) -> Vec<String> {
        self.hub.send_to(&self.client, &Message::new("end", ())).unwrap();
        self.ws.all_until("end").iter().map(summary).collect()
    }
}

/// A message as `kind project payload`, with `-` for no project.
#[track_caller]
pub(crate) fn summary(message: &Value) -> String {
    let kind = message["type"].as_str().expect("a message with a type");
    let project = message["project_id"].as_str().unwrap_or("-");
    format!("{kind} {project} {}", message["payload"])
}

/// The [`summary`] of a message that a listener received.
#[track_caller]
pub(crate) fn summary_of(message: &Message) -> String {
    summary(&serde_json::from_str(&message.to_json().unwrap()).unwrap())
}

/// A message of type `said` with this number.
pub(crate) fn said(n: u64) -> Message {
    Message::new("said", n)
}

/// No messages, for comparison.
pub(crate) const NOTHING: [&str; 0] = [];

//! Clients of which the test holds both ends.

use std::net::{SocketAddr, TcpStream};

use crossbeam_channel::{Receiver, Sender, unbounded};
use kentros::{Client, HubConfig, HubHandle, Incoming, Interest, Message, ServerConfig, Session};
use serde_json::Value;

use crate::harness::{GUARD, Served, Ws, dial, dial_narrow};

/// Where clients connect whose server side goes to the test.
const PATH: &str = "/ws/member";

/// Hands its client to the test, and does nothing else.
struct HandOver(Sender<Client>);

impl Session for HandOver {
    fn open(&mut self, client: &Client) {
        let _ = self.0.send(client.clone());
    }

    fn message(&mut self, _: &Client, _: Incoming<'_>) {}
}

/// A server that hands its clients to the test, and the clients.
pub(crate) fn lobby() -> (ServerConfig, Receiver<Client>) {
    let (hand, opened) = unbounded();
    let config = ServerConfig::bare().sessions(PATH, move |_| Ok(HandOver(hand.clone())));
    (config, opened)
}

/// A server and its hub, whose clients are registered by the test.
#[derive(Debug)]
pub(crate) struct Members {
    pub(crate) served: Served,
    opened: Receiver<Client>,
}

/// One client: the socket of the peer, and the client as the server has it.
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

    /// A client that is connected, and registered with no hub.
    #[track_caller]
    pub(crate) fn join(&self) -> Member {
        let addr = self.served.addr();
        Member::connect(dial(addr), addr, &self.opened, self.handle())
    }

    /// The same with the smallest receive buffer: it stalls soon once it stops reading.
    #[track_caller]
    pub(crate) fn join_narrow(&self) -> Member {
        let addr = self.served.addr();
        Member::connect(dial_narrow(addr), addr, &self.opened, self.handle())
    }

    /// A client that is registered, and subscribed to these rooms alone.
    #[track_caller]
    pub(crate) fn enter<const N: usize>(&self, rooms: [&str; N]) -> Member {
        let member = self.join();
        self.handle().register_with(&member.client, Interest::none()).unwrap();
        for room in rooms {
            self.handle().subscribe(&member.client, room).unwrap();
        }
        member
    }

    /// A client that is registered for everything.
    #[track_caller]
    pub(crate) fn enter_all(&self) -> Member {
        let member = self.join();
        self.handle().register(&member.client).unwrap();
        member
    }
}

impl Member {
    /// A client of a [`lobby`] at this address, which `hub` sends to.
    #[track_caller]
    pub(crate) fn connect(
        stream: TcpStream,
        addr: SocketAddr,
        opened: &Receiver<Client>,
        hub: HubHandle,
    ) -> Self {
        let ws = Ws::over(stream, addr, PATH);
        let client = opened.recv_timeout(GUARD).expect("the session is opened");
        assert_eq!(client.peer_addr(), ws.stream().local_addr().unwrap(), "its own client");
        Self { ws, client, hub }
    }

    /// What it has received of all that this thread has published so far: `kind project payload`
    /// of each message, with `-` for no project.
    #[track_caller]
    pub(crate) fn heard(&mut self) -> Vec<String> {
        self.hub.send_to(&self.client, &Message::new("end", ())).unwrap();
        self.ws.all_until("end").iter().map(summary).collect()
    }
}

/// A message as the tests compare it: `kind project payload`.
#[track_caller]
pub(crate) fn summary(message: &Value) -> String {
    let kind = message["type"].as_str().expect("a message has a type");
    let project = message["project_id"].as_str().unwrap_or("-");
    format!("{kind} {project} {}", message["payload"])
}

/// The same of a message that a listener received.
#[track_caller]
pub(crate) fn summary_of(message: &Message) -> String {
    summary(&serde_json::from_str(&message.to_json().unwrap()).unwrap())
}

/// A message that counts.
pub(crate) fn said(n: u64) -> Message {
    Message::new("said", n)
}

/// Nothing was received.
pub(crate) const NOTHING: [&str; 0] = [];

//! Calls that never wait: for a slow client, or for a hub that shuts down.

use std::net::{TcpListener, TcpStream};
use std::thread;

use kentros::{
    Client, Connector, ErrorKind, HubConfig, HubHandle, Incoming, Interest, Message, ServerConfig,
    Session,
};
use serde_json::json;
use tungstenite::Message as Frame;

use crate::harness::members::Members;
use crate::harness::{GUARD, Served, Ws, dial_narrow, until};

const KIB: usize = 1024;
/// More than the kernel buffers for a connection whose peer does not read.
const FLOOD: usize = 16 * KIB * KIB;

/// A numbered message of 64 KiB.
fn heavy(n: usize) -> Message {
    Message::new("heavy", json!({"n": n, "weight": "x".repeat(64 * KIB)}))
}

#[test]
fn try_send_never_waits_and_returns_busy_once_the_queue_is_full() {
    // A call that waits for the client would exceed the guard.
    let config = HubConfig::default()
        .with_queue_messages(10)
        .with_queue_bytes(usize::MAX)
        .with_write_deadline(4 * GUARD);
    let members = Members::with(config);
    let hub = members.handle();
    let mut narrow = members.join_narrow();
    hub.register_with(&narrow.client, Interest::only(["A"])).unwrap();
    let mut accepted = 0;
    let error = loop {
        match narrow.client.try_send(&heavy(accepted)) {
            Ok(()) => accepted += 1,
            Err(error) => break error,
        }
        assert!(accepted * 64 * KIB < FLOOD, "the queue must be bounded");
    };
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(accepted >= 10, "{accepted} were accepted");
    for n in 0..accepted {
        assert_eq!(
            narrow.ws.expect("heavy")["payload"]["n"],
            n,
            "accepted messages arrive in order"
        );
    }
    // The client was not evicted: its queue has room again, and it is still registered.
    until("the queue has room", || narrow.client.try_send(&Message::new("next", ())).is_ok());
    narrow.ws.expect("next");
    hub.broadcast_to_subscribers("A", &Message::new("news", ())).unwrap();
    narrow.ws.expect("news");
    let counters = hub.counters();
    assert_eq!((counters.evicted_slow, counters.evicted_deadline), (0, 0));
}

/// Publishes a numbered message to its room for each message of its client.
struct Speaker {
    hub: HubHandle,
    room: String,
    said: usize,
}

impl Session for Speaker {
    fn open(&mut self, client: &Client) {
        self.hub.register_with(client, Interest::none()).unwrap();
        self.hub.subscribe(client, self.room.as_str()).unwrap();
    }

    fn message(&mut self, client: &Client, _: Incoming<'_>) {
        self.hub.broadcast_except(&self.room, client, &heavy(self.said)).unwrap();
        self.hub.send_to(client, &Message::new("done", self.said)).unwrap();
        self.said += 1;
    }
}

#[test]
fn a_stalled_member_of_a_room_delays_neither_the_speaker_nor_the_others() {
    const MESSAGES: usize = FLOOD / (64 * KIB);
    let config = HubConfig::default()
        .with_queue_messages(1_000)
        .with_queue_bytes(usize::MAX)
        // A speaker that waits for the stalled member would exceed the guard.
        .with_write_deadline(4 * GUARD);
    let served = Served::with_handle(config, |hub| {
        let hub = hub.clone();
        ServerConfig::bare().with_max_rate(None).sessions("/ws/chat/*", move |request| {
            Ok(Speaker { hub: hub.clone(), room: request.tail().to_owned(), said: 0 })
        })
    });
    let hub = served.handle();
    let mut stalled = Ws::over(dial_narrow(served.addr()), served.addr(), "/ws/chat/kitchen");
    let mut speaker = served.client_at("/ws/chat/kitchen");
    let mut others: Vec<Ws> = (0..2).map(|_| served.client_at("/ws/chat/kitchen")).collect();
    served.until_clients(4);
    // In lockstep: all others receive each message before the next is sent.
    for n in 0..MESSAGES {
        speaker.send_frame(Frame::text("next"));
        assert_eq!(speaker.expect("done")["payload"], n);
        for other in &mut others {
            assert_eq!(other.expect("heavy")["payload"]["n"], n);
        }
    }
    assert_eq!(hub.client_count(), 4, "the stalled member is still registered");
    assert_eq!(hub.counters().evicted_slow, 0);
    // More than the stalled member's queue holds.
    for n in 0..1_000 {
        hub.broadcast_to_subscribers("kitchen", &Message::new("n", n)).unwrap();
    }
    until("the stalled member is evicted", || hub.counters().evicted_slow == 1);
    served.until_clients(3);
    for n in 0..1_000 {
        speaker.expect("n");
        for other in &mut others {
            assert_eq!(other.expect("n")["payload"], n);
        }
    }
    assert_eq!(stalled.closed().0, 1008);
}

/// A command that arrives as the hub stops is never executed: its caller must not wait for a reply.
#[test]
fn a_subscription_that_races_with_the_hubs_shutdown_returns() {
    // In parallel, because each round lasts as long as clients have to close.
    let rounds: Vec<_> = (0..8).map(|_| thread::spawn(shut_down_during_subscriptions)).collect();
    for round in rounds {
        round.join().unwrap();
    }
}

fn shut_down_during_subscriptions() {
    let Served { server, hub } = Members::new().served;
    let (handle, connector) = (hub.handle(), server.connector());
    let (clients, _peers): (Vec<_>, Vec<_>) = (0..20).map(|_| adopt_client(&connector)).unzip();
    let callers: Vec<_> = clients
        .into_iter()
        .map(|client| {
            let handle = handle.clone();
            thread::spawn(move || {
                handle.register(&client)?;
                (0..).try_for_each(|n| handle.subscribe(&client, format!("room {}", n % 9)))
            })
        })
        .collect();
    assert!(handle.wait_for_clients(20, GUARD));
    hub.shutdown();
    for caller in callers {
        until("the caller returns", || caller.is_finished());
        assert_eq!(caller.join().unwrap().unwrap_err().kind(), ErrorKind::Stopped);
    }
    assert_eq!(handle.client_count(), 0);
}

/// A client, and its peer, which never sends or reads.
fn adopt_client(connector: &Connector) -> (Client, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (socket, _) = listener.accept().unwrap();
    (connector.adopt(socket, Vec::new(), Silent).unwrap(), peer)
}

struct Silent;

impl Session for Silent {
    fn message(&mut self, _: &Client, _: Incoming<'_>) {}
}

//! Broadcasts, retained messages, counters, and sessions that register their clients.

use std::collections::HashMap;

use crossbeam_channel::{Receiver, Sender, unbounded};
use kentros::{
    Client, CloseReason, HubConfig, HubHandle, Incoming, Message, ServerConfig, Session,
};
use serde_json::{Value, json};
use tungstenite::Message as Frame;

use crate::harness::raw::read_frame;
use crate::harness::{
    GUARD, Served, Ws, descriptors_and_threads, in_own_process, numbered, one_each, until,
};

#[test]
fn a_broadcast_reaches_every_client_once() {
    let served = Served::new();
    let mut clients: Vec<Ws> = (0..100).map(|_| served.client()).collect();
    served.handle().broadcast(&Message::new("greeting", json!({"to": "all"}))).unwrap();
    served.handle().broadcast(&Message::new("end", ()).project("shop")).unwrap();
    for client in &mut clients {
        let greeting = client.expect("greeting");
        assert_eq!(greeting["payload"], json!({"to": "all"}));
        assert!(greeting["timestamp"].as_u64().unwrap() > 1_700_000_000);
        assert_eq!(greeting.get("project_id"), None, "absent, not null");
        assert_eq!(client.expect("end")["project_id"], "shop");
    }
}

#[test]
fn a_burst_of_200_messages_arrives_as_200_frames_in_order() {
    let served = Served::new();
    let mut stream = served.raw_client();
    for n in 0..200 {
        served.handle().broadcast(&numbered(n)).unwrap();
    }
    for n in 0..200 {
        let (first, payload) = read_frame(&mut stream).unwrap();
        assert_eq!(first, 0x81, "a text message in one frame");
        let document: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(document["payload"], n);
    }
}

#[test]
fn payloads_of_every_frame_length_arrive_whole() {
    let served = Served::new();
    let mut client = served.client();
    let lengths = [0, 1, 60, 61, 62, 63, 64, 65_400, 65_470, 65_535, 65_536, 3_000_000];
    for length in lengths {
        served.handle().broadcast(&Message::new("text", "x".repeat(length))).unwrap();
        assert_eq!(client.expect("text")["payload"].as_str().unwrap().len(), length);
    }
}

#[test]
fn retained_messages_reach_a_new_client_at_once_and_in_order() {
    let served = Served::new();
    let handle = served.handle();
    for n in 0..3 {
        handle.broadcast(&Message::new("weather", n).latest()).unwrap();
        handle.broadcast(&Message::new("event", n)).unwrap();
        handle.broadcast(&Message::new("state", n).project("shop").latest()).unwrap();
        let message = Message::new("state", n).latest();
        handle.broadcast_to_subscribers("blog", &message).unwrap();
    }
    let mut client = served.client();
    handle.broadcast(&Message::new("end", ())).unwrap();
    let got = client.all_until("end");
    let kinds: Vec<_> = got.iter().map(|m| (&m["type"], &m["project_id"], &m["payload"])).collect();
    let (none, two) = (Value::Null, json!(2));
    let wanted = [
        (&json!("weather"), &none, &two),
        (&json!("state"), &json!("shop"), &two),
        (&json!("state"), &json!("blog"), &two),
    ];
    assert_eq!(kinds, wanted, "other messages are not retained");
}

#[test]
fn clear_latest_removes_retained_messages_by_exact_key_only() {
    let served = Served::new();
    let handle = served.handle();
    handle.broadcast(&Message::new("state", 1).latest()).unwrap();
    handle.broadcast(&Message::new("state", 2).project("shop").latest()).unwrap();
    handle.broadcast(&Message::new("state shop", 3).latest()).unwrap();
    let message = Message::new("state", 4).latest();
    handle.broadcast_to_subscribers("blog", &message).unwrap();
    handle.broadcast(&Message::new("state", 5).project("shop").latest_of("own")).unwrap();
    handle.broadcast(&Message::new("state", 6).latest_of("another key")).unwrap();
    let numbers = || {
        let mut client = served.client();
        handle.broadcast(&Message::new("end", ())).unwrap();
        let got = client.all_until("end");
        got.iter().map(|m| m["payload"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(numbers(), [1, 2, 3, 4, 5, 6]);
    for other in ["shop", "blog", "shop state", "stat", ""] {
        handle.clear_latest(other).unwrap();
    }
    assert_eq!(numbers(), [1, 2, 3, 4, 5, 6]);
    handle.clear_latest("own").unwrap();
    assert_eq!(numbers(), [1, 2, 3, 4, 6]);
    handle.clear_latest("state").unwrap();
    assert_eq!(numbers(), [3, 6], "cleared for every project and for none");
    handle.clear_latest("state shop").unwrap();
    assert_eq!(numbers(), [6]);
}

#[test]
fn a_new_client_gets_all_retained_messages_even_beyond_its_queue_limit() {
    const TOPICS: usize = 300;
    let mut config = HubConfig::default();
    config.queue_messages = 4;
    config.queue_bytes = 1000;
    let served = Served::with(config, ServerConfig::default());
    let handle = served.handle();
    for n in 0..TOPICS {
        handle.broadcast(&Message::new(format!("topic {n}"), "x".repeat(100)).latest()).unwrap();
    }
    let mut client = served.client();
    for n in 0..TOPICS {
        client.expect(&format!("topic {n}"));
    }
    assert_eq!(handle.counters().evicted_slow, 0);
}

#[test]
fn client_count_is_exact() {
    let served = Served::new();
    let handle = served.handle();
    let mut clients = Vec::new();
    for n in 1..=20 {
        clients.push(served.client());
        assert_eq!(handle.client_count(), n, "a client is counted once it is connected");
    }
    for (n, client) in clients.drain(..10).enumerate() {
        if n % 2 == 0 {
            client.close();
        }
    }
    served.until_clients(10);
    drop(clients);
    served.until_clients(0);
    assert_eq!(handle.counters().clients, 0);
}

#[test]
fn delivered_counts_exactly_what_clients_receive() {
    let served = Served::new();
    let handle = served.handle();
    let mut clients: Vec<Ws> = (0..9).map(|_| served.client()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        if n % 3 > 0 {
            client.subscribe(["shop", "blog"][n % 3 - 1]);
        }
    }
    // After this response the hub has counted its replies to the subscriptions too.
    assert_eq!(served.get("/healthz").status, 200);
    let before = handle.counters();
    for n in 0..100 {
        handle.broadcast(&numbered(n)).unwrap();
        handle.broadcast_to_subscribers("shop", &numbered(n)).unwrap();
        handle.broadcast_to_subscribers("no subscribers", &numbered(n)).unwrap();
        // A snapshot is two messages for each client.
        handle.publish_snapshot(one_each(&["shop"], 1)).unwrap();
    }
    handle.broadcast(&Message::new("end", ())).unwrap();
    let received: Vec<usize> =
        clients.iter_mut().map(|client| client.all_until("end").len() + 1).collect();
    assert_eq!(received[..3], [501, 401, 301]);
    until("published", || handle.counters().published == 401);
    let counters = handle.counters();
    assert_eq!(counters.conflated, 0);
    let total: usize = received.iter().sum();
    until("delivered", || handle.counters().delivered - before.delivered == total as u64);
}

#[test]
fn a_payload_that_is_not_json_is_rejected_and_not_sent() {
    let served = Served::new();
    let handle = served.handle();
    let mut client = served.client();
    let bad = || Message::new("bad", HashMap::from([((1, 2), 3)]));
    for error in [
        handle.broadcast(&bad()).unwrap_err(),
        handle.broadcast(&bad().latest()).unwrap_err(),
        handle.broadcast_to_subscribers("shop", &bad()).unwrap_err(),
    ] {
        assert!(error.is_encode() && !error.is_stopped(), "{error}");
    }
    handle.broadcast(&numbered(1)).unwrap();
    client.expect("n");
    served.client().subscribe("shop");
}

/// A session that obeys its client's text messages: `enter` and `leave` register and unregister
/// the client with the hub.
#[derive(Clone)]
struct Visitor {
    hub: HubHandle,
    events: Sender<(&'static str, u64)>,
}

impl Visitor {
    /// A server with these sessions at `/room`, and the events of all of them.
    fn serve() -> (Served, Receiver<(&'static str, u64)>) {
        let (events, heard) = unbounded();
        let served = Served::with_handle(HubConfig::default(), |hub| {
            let visitor = Visitor { hub: hub.clone(), events };
            ServerConfig::default().sessions("/room", move |_| Ok(visitor.clone()))
        });
        (served, heard)
    }
}

impl Session for Visitor {
    fn open(&mut self, client: &Client) {
        self.events.send(("open", client.id())).unwrap();
    }

    fn message(&mut self, client: &Client, message: Incoming<'_>) {
        match message {
            Incoming::Text("enter") => self.hub.register(client).unwrap(),
            Incoming::Text("leave") => self.hub.unregister(client).unwrap(),
            Incoming::Text("close") => client.close(4000, &"as requested ".repeat(20)),
            Incoming::Text("panic") => panic!("test: the session panics"),
            Incoming::Text("send and close") => {
                client.send_text("goodbye").unwrap();
                client.close(1000, "");
                assert!(client.send_text("too late").unwrap_err().is_stopped());
            }
            Incoming::Text(text) => client.send_text(text).unwrap(),
            Incoming::Binary(bytes) => client.send_binary(bytes).unwrap(),
        }
    }

    fn close(&mut self, client: &Client, _: CloseReason) {
        self.events.send(("close", client.id())).unwrap();
    }
}

#[test]
fn a_session_registers_and_unregisters_its_client_with_the_hub() {
    let (served, _heard) = Visitor::serve();
    let handle = served.handle();
    let mut client = served.client_at("/room");
    let send_and_wait = |client: &mut Ws, word: &str| {
        client.send_frame(Frame::text(word));
        // Messages are handled in order: after the echo, `word` has taken effect.
        client.send_frame(Frame::text("{\"type\":\"echo\"}"));
        client.all_until("echo")
    };
    assert_eq!(handle.client_count(), 0);
    handle.broadcast(&numbered(1)).unwrap();
    assert!(send_and_wait(&mut client, "enter").is_empty(), "it was not registered");
    send_and_wait(&mut client, "enter");
    handle.broadcast(&numbered(2)).unwrap();
    assert_eq!(client.expect("n")["payload"], 2);
    served.until_clients(1);
    send_and_wait(&mut client, "leave");
    send_and_wait(&mut client, "leave");
    served.until_clients(0);
    handle.broadcast(&numbered(3)).unwrap();
    handle.broadcast(&numbered(4)).unwrap();
    assert!(send_and_wait(&mut client, "enter").is_empty(), "it was unregistered");
    served.until_clients(1);
    client.close();
    served.until_clients(0);
}

#[test]
fn echo_close_or_panic_in_a_session_affects_only_its_own_client() {
    let (served, heard) = Visitor::serve();
    let mut clients: Vec<Ws> = (0..4).map(|_| served.client_at("/room")).collect();
    let binary = Frame::binary(vec![0_u8, 159, 146, 150]);
    clients[0].send_frame(binary.clone());
    assert_eq!(clients[0].frame(), binary);
    clients[1].send_frame(Frame::text("panic"));
    assert_eq!(clients[1].closed().0, 1011);
    clients[2].send_frame(Frame::text("close"));
    let (code, reason) = clients[2].closed();
    assert_eq!(code, 4000);
    assert!(reason.starts_with("as requested ") && reason.len() == 123, "{reason:?}");
    clients[3].send_frame(Frame::text("send and close"));
    assert_eq!(clients[3].frame(), Frame::text("goodbye"));
    assert_eq!(clients[3].closed().0, 1000);
    clients[0].send_frame(Frame::text("still here"));
    assert_eq!(clients[0].frame(), Frame::text("still here"));
    drop(clients);
    let mut events: HashMap<u64, Vec<&str>> = HashMap::new();
    for _ in 0..8 {
        let (event, client) = heard.recv_timeout(GUARD).unwrap();
        events.entry(client).or_default().push(event);
    }
    assert_eq!(events.len(), 4, "every client has its own id");
    assert!(events.values().all(|events| events == &["open", "close"]), "{events:?}");
}

/// A session that registers its client and panics in this callback.
#[derive(Clone)]
struct Panics(&'static str, HubHandle);

impl Panics {
    fn panic_in(&self, event: &str) {
        assert!(self.0 != event, "test: the session panics in {event}()");
    }
}

impl Session for Panics {
    fn open(&mut self, client: &Client) {
        self.1.register(client).unwrap();
        self.panic_in("open");
    }

    fn message(&mut self, _: &Client, _: Incoming<'_>) {
        self.panic_in("message");
    }

    fn close(&mut self, _: &Client, _: CloseReason) {
        self.panic_in("close");
    }
}

#[test]
fn a_panic_in_a_session_ends_only_its_client_and_leaks_nothing() {
    if !in_own_process(
        "broadcast::a_panic_in_a_session_ends_only_its_client_and_leaks_nothing",
        &[],
    ) {
        return;
    }
    let events = ["open", "message", "close"];
    let served = Served::with_handle(HubConfig::default(), |hub| {
        events.into_iter().fold(ServerConfig::default(), |config, event| {
            let session = Panics(event, hub.clone());
            config.sessions(format!("/{event}"), move |_| Ok(session.clone()))
        })
    });
    let mut good = served.client();
    let before = descriptors_and_threads();
    for n in 0..50 {
        for event in events {
            let mut client = served.client_at(&format!("/{event}"));
            match event {
                "open" => assert_eq!(client.closed().0, 1011),
                "message" => {
                    client.send_frame(Frame::text("go"));
                    assert_eq!(client.closed().0, 1011);
                }
                _ => client.close(),
            }
        }
        served.handle().broadcast(&numbered(n)).unwrap();
        assert_eq!(good.expect("n")["payload"], n);
    }
    served.until_clients(1);
    until("no descriptor and no thread is left", || descriptors_and_threads() == before);
}

//! What the hub sends, to whom, and what it counts.

use std::collections::HashMap;

use crossbeam_channel::{Receiver, Sender, unbounded};
use kentros::{
    Client, CloseReason, HubConfig, HubHandle, Incoming, Message, ServerConfig, Session,
};
use serde_json::{Value, json};
use tungstenite::Message as Frame;

use crate::harness::{GUARD, Served, Ws, alone, belongings, numbered, one_each, until};
use crate::raw::read_frame;

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
fn a_burst_of_200_is_200_frames_of_one_document_each_in_order() {
    let served = Served::new();
    let mut stream = served.raw_client();
    for n in 0..200 {
        served.handle().broadcast(&numbered(n)).unwrap();
    }
    for n in 0..200 {
        let (first, payload) = read_frame(&mut stream).unwrap();
        assert_eq!(first, 0x81, "a whole text frame");
        let document: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(document["payload"], n);
    }
}

#[test]
fn frames_of_every_length_arrive_as_they_were_sent() {
    let served = Served::new();
    let mut client = served.client();
    let lengths = [0, 1, 60, 61, 62, 63, 64, 65_400, 65_470, 65_535, 65_536, 3_000_000];
    for length in lengths {
        served.handle().broadcast(&Message::new("text", "x".repeat(length))).unwrap();
        assert_eq!(client.expect("text")["payload"].as_str().unwrap().len(), length);
    }
}

#[test]
fn what_is_newest_reaches_a_later_client_at_once_and_in_order() {
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
    assert_eq!(kinds, wanted, "events of the past are past");
}

#[test]
fn what_is_cleared_reaches_no_later_client_and_no_key_is_taken_for_another() {
    let served = Served::new();
    let handle = served.handle();
    handle.broadcast(&Message::new("state", 1).latest()).unwrap();
    handle.broadcast(&Message::new("state", 2).project("shop").latest()).unwrap();
    handle.broadcast(&Message::new("state shop", 3).latest()).unwrap();
    let message = Message::new("state", 4).latest();
    handle.broadcast_to_subscribers("blog", &message).unwrap();
    handle.broadcast(&Message::new("state", 5).project("shop").latest_of("own")).unwrap();
    handle.broadcast(&Message::new("state", 6).latest_of("own too")).unwrap();
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
    assert_eq!(numbers(), [3, 6], "of every project and of none");
    handle.clear_latest("state shop").unwrap();
    assert_eq!(numbers(), [6]);
}

#[test]
fn however_much_is_newest_whoever_connects_gets_all_of_it() {
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
fn the_count_of_clients_is_exact() {
    let served = Served::new();
    let handle = served.handle();
    let mut clients = Vec::new();
    for n in 1..=20 {
        clients.push(served.client());
        assert_eq!(handle.client_count(), n, "whoever is connected is counted");
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
fn the_counters_are_what_the_receivers_count() {
    let served = Served::new();
    let handle = served.handle();
    let mut clients: Vec<Ws> = (0..9).map(|_| served.client()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        if n % 3 > 0 {
            client.subscribe(["shop", "blog"][n % 3 - 1]);
        }
    }
    // The hub has counted its answers too.
    assert_eq!(served.get("/healthz").status, 200);
    let before = handle.counters();
    for n in 0..100 {
        handle.broadcast(&numbered(n)).unwrap();
        handle.broadcast_to_subscribers("shop", &numbered(n)).unwrap();
        handle.broadcast_to_subscribers("nobody", &numbered(n)).unwrap();
        // Two messages for each client.
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
fn what_is_no_json_is_refused_and_goes_to_nobody() {
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

/// A client of a room that it enters and leaves by a word.
#[derive(Clone)]
struct Visitor {
    hub: HubHandle,
    events: Sender<(&'static str, u64)>,
}

impl Visitor {
    /// A server whose `/room` is the room, and the events of all its clients.
    fn serve() -> (Served, Receiver<(&'static str, u64)>) {
        let (events, heard) = unbounded();
        let served = Served::of_hub(HubConfig::default(), |hub| {
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
            Incoming::Text("close") => client.close(4000, &"as you wish ".repeat(20)),
            Incoming::Text("panic") => panic!("a session of the tests panics"),
            Incoming::Text("last words") => {
                client.send_text("so long").unwrap();
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
fn a_session_decides_whether_its_client_hears_the_hub() {
    let (served, _heard) = Visitor::serve();
    let handle = served.handle();
    let mut client = served.client_at("/room");
    let say = |client: &mut Ws, word: &str| {
        client.send_frame(Frame::text(word));
        // Done once the next is answered.
        client.send_frame(Frame::text("{\"type\":\"echo\"}"));
        client.all_until("echo")
    };
    assert_eq!(handle.client_count(), 0);
    handle.broadcast(&numbered(1)).unwrap();
    assert!(say(&mut client, "enter").is_empty(), "it was not in the room");
    say(&mut client, "enter");
    handle.broadcast(&numbered(2)).unwrap();
    assert_eq!(client.expect("n")["payload"], 2);
    served.until_clients(1);
    say(&mut client, "leave");
    say(&mut client, "leave");
    served.until_clients(0);
    handle.broadcast(&numbered(3)).unwrap();
    handle.broadcast(&numbered(4)).unwrap();
    assert!(say(&mut client, "enter").is_empty(), "it had left");
    served.until_clients(1);
    client.close();
    served.until_clients(0);
}

#[test]
fn a_session_may_echo_close_and_panic_and_only_that_client_notices() {
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
    assert!(reason.starts_with("as you wish ") && reason.len() == 123, "{reason:?}");
    clients[3].send_frame(Frame::text("last words"));
    assert_eq!(clients[3].frame(), Frame::text("so long"));
    assert_eq!(clients[3].closed().0, 1000);
    clients[0].send_frame(Frame::text("still here"));
    assert_eq!(clients[0].frame(), Frame::text("still here"));
    drop(clients);
    let mut events: HashMap<u64, Vec<&str>> = HashMap::new();
    for _ in 0..8 {
        let (event, client) = heard.recv_timeout(GUARD).unwrap();
        events.entry(client).or_default().push(event);
    }
    assert_eq!(events.len(), 4, "no two clients have one id");
    assert!(events.values().all(|events| events == &["open", "close"]), "{events:?}");
}

/// A session that panics at this event.
#[derive(Clone)]
struct Panics(&'static str, HubHandle);

impl Panics {
    fn at(&self, event: &str) {
        assert!(self.0 != event, "a session of the tests panics at its {event}");
    }
}

impl Session for Panics {
    fn open(&mut self, client: &Client) {
        self.1.register(client).unwrap();
        self.at("open");
    }

    fn message(&mut self, _: &Client, _: Incoming<'_>) {
        self.at("message");
    }

    fn close(&mut self, _: &Client, _: CloseReason) {
        self.at("close");
    }
}

#[test]
fn wherever_a_session_panics_its_client_alone_ends_and_nothing_is_left_of_it() {
    if !alone(
        "broadcast::wherever_a_session_panics_its_client_alone_ends_and_nothing_is_left_of_it",
        &[],
    ) {
        return;
    }
    let events = ["open", "message", "close"];
    let served = Served::of_hub(HubConfig::default(), |hub| {
        events.into_iter().fold(ServerConfig::default(), |config, event| {
            let session = Panics(event, hub.clone());
            config.sessions(format!("/{event}"), move |_| Ok(session.clone()))
        })
    });
    let mut good = served.client();
    let before = belongings();
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
    until("nothing is left", || belongings() == before);
}

#[test]
fn a_closure_is_a_socket_whose_clients_the_hub_does_not_know() {
    let config = ServerConfig::default().websocket("/ws/echo", |client, message| {
        if let Incoming::Text(text) = message {
            let _ = client.send_text(text);
        }
    });
    let served = Served::with(HubConfig::default(), config);
    let mut client = served.client_at("/ws/echo");
    client.send_frame(Frame::text("hello"));
    assert_eq!(client.frame(), Frame::text("hello"));
    assert_eq!(served.handle().client_count(), 0, "nobody registered it");
    served.client().subscribe("the stats socket is there all the same");
}

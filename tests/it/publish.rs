//! Publishing from a program: values at an interval, content by interest, messages to one client,
//! and several hubs.

use std::collections::HashSet;
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use kentros::{
    Client, ErrorKind, Hub, HubConfig, HubHandle, Interest, Listener, Message, Schedule, Server,
};
use serde_json::{Value, json};

use crate::harness::members::{Member, Members, NOTHING, lobby, said, summary, summary_of};
use crate::harness::{GUARD, Served, Warnings, dial, in_own_process, until};

/// A short interval: the tests wait for messages, not for time to pass.
const OFTEN: Duration = Duration::from_millis(1);

#[track_caller]
fn next(listener: &Listener) -> String {
    summary_of(&listener.next_timeout(GUARD).expect("a message within the guard"))
}

/// A publisher whose values and ticks come from the test.
struct Scripted {
    tick: Sender<Instant>,
    values: Sender<Result<Value, &'static str>>,
    /// Disconnects when the closure is dropped.
    dropped: Receiver<()>,
    streamer: kentros::Streamer,
}

impl Scripted {
    fn start(hub: &HubHandle, kind: &str) -> Self {
        let (tick, ticks) = unbounded();
        let (values, script) = unbounded::<Result<Value, &'static str>>();
        let (alive, dropped) = unbounded::<()>();
        let value = move || {
            let _ = &alive;
            script.recv().unwrap_or(Err("no more values")).map_err(io::Error::other)
        };
        let streamer = hub.publish_every(ticks, kind, value).unwrap();
        Self { tick, values, dropped, streamer }
    }

    fn publish(&self, value: Result<Value, &'static str>) {
        self.values.send(value).unwrap();
        self.tick.send(Instant::now()).unwrap();
    }
}

#[test]
fn any_json_value_is_published_under_its_kind_without_an_engine_status() {
    let served = Served::new();
    let hub = served.handle();
    let mut browser = served.client();
    let listener = hub.listen(Interest::all()).unwrap();
    let numbers = Scripted::start(&hub, "numbers");
    let values = [json!([1, 2, 3]), json!(7), json!(null), json!("text"), json!({"a": {"b": 1}})];
    for value in &values {
        numbers.publish(Ok(value.clone()));
        assert_eq!(next(&listener), format!("numbers - {value}"));
        assert_eq!(summary(&browser.next()), format!("numbers - {value}"));
    }
    assert_eq!(
        next(&hub.listen(Interest::all()).unwrap()),
        "numbers - {\"a\":{\"b\":1}}",
        "the last value is retained"
    );
    let mut late = served.client();
    assert_eq!(summary(&late.next()), "numbers - {\"a\":{\"b\":1}}", "only the last value");
    assert_eq!(served.get("/readyz").status, 200);
    numbers.streamer.stop();
    hub.broadcast(&Message::new("end", ())).unwrap();
    for client in [&mut browser, &mut late] {
        assert_eq!(summary(&client.next()), "end - null");
    }
}

#[test]
fn error_responses_without_an_engine_mention_no_engine_and_no_flag() {
    let served = Served::new();
    let foreign = served.ask("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    assert_eq!(foreign.status, 403);
    assert!(foreign.body.contains("evil.example"), "{foreign:?}");
    let stats = served.get("/api/v1/stats");
    assert_eq!(stats.status, 503);
    for answer in [foreign, stats] {
        let body = answer.body.to_lowercase();
        assert!(!["engine", "docker", "--"].iter().any(|word| body.contains(word)), "{body}");
    }
}

#[test]
fn an_error_of_the_closure_is_logged_and_later_values_are_published() {
    if !in_own_process(
        "publish::an_error_of_the_closure_is_logged_and_later_values_are_published",
        &[],
    ) {
        return;
    }
    let warnings = Warnings::of_this_process();
    let hub = Hub::spawn(HubConfig::default()).unwrap();
    let listener = hub.handle().listen(Interest::all()).unwrap();
    let sensor = Scripted::start(&hub.handle(), "sensor");
    for n in 0..3 {
        sensor.publish(Err("the sensor is unplugged"));
        sensor.publish(Ok(json!(n)));
        assert_eq!(next(&listener), format!("sensor - {n}"), "clients receive only values");
    }
    let lines = warnings.lines();
    assert!(lines.iter().any(|line| line.contains("the sensor is unplugged")), "{lines:#?}");
    let words = ["engine", "container", "--"];
    assert!(!lines.iter().any(|line| words.iter().any(|word| line.contains(word))), "{lines:#?}");
}

#[test]
fn stop_drops_the_closure_and_dropping_the_streamer_does_not() {
    let hub = Hub::spawn(HubConfig::default()).unwrap();
    let listener = hub.handle().listen(Interest::all()).unwrap();
    let Scripted { tick, values, streamer, .. } = Scripted::start(&hub.handle(), "dropped");
    drop(streamer);
    values.send(Ok(json!(1))).unwrap();
    tick.send(Instant::now()).unwrap();
    assert_eq!(next(&listener), "dropped - 1");
    let Scripted { streamer, dropped, .. } = Scripted::start(&hub.handle(), "stopped");
    streamer.stop();
    assert!(dropped.recv_timeout(GUARD).unwrap_err().is_disconnected());
}

#[test]
fn publish_every_accepts_an_interval() {
    let hub = Hub::spawn(HubConfig::default()).unwrap();
    let listener = hub.handle().listen(Interest::all()).unwrap();
    let mut n = 0;
    let count = move || {
        n += 1;
        Ok::<_, Infallible>(n)
    };
    hub.handle().publish_every(Schedule::Every(OFTEN), "count", count).unwrap();
    let mut last = 0;
    for _ in 0..10 {
        let message = listener.next_timeout(GUARD).unwrap();
        let n: u64 = message.payload().unwrap();
        assert!(n > last, "{n} after {last}");
        last = n;
    }
}

#[test]
fn a_closure_is_called_only_while_a_client_is_interested_in_something() {
    // The ticks of another hub, which has a listener, show that time for calls has passed.
    let clock = Hub::spawn(HubConfig::default()).unwrap();
    let ticks = clock.handle().listen(Interest::all()).unwrap();
    clock.handle().publish_every(OFTEN, "tick", || Ok::<_, Infallible>(())).unwrap();
    let fifty_ticks = || (0..50).for_each(|_| drop(next(&ticks)));

    let members = Members::new();
    let hub = members.handle();
    let (call, calls) = unbounded();
    let value = move || Ok::<_, Infallible>(call.send(()).is_ok());
    hub.publish_every(OFTEN, "value", value).unwrap();
    fifty_ticks();
    let mut client = members.enter([]);
    fifty_ticks();
    assert!(calls.is_empty(), "called with no client, or for a client without interest");
    hub.subscribe(&client.client, "A").unwrap();
    client.ws.expect("value");
    hub.unsubscribe(&client.client, "A").unwrap();
    until("the calls stop", || {
        calls.try_iter().for_each(drop);
        fifty_ticks();
        calls.is_empty()
    });
    hub.clear_latest("value").unwrap();
    client.heard();
    let _listener = hub.listen(Interest::only(["B"])).unwrap();
    calls.recv_timeout(GUARD).expect("a listener counts as a client");
    assert_eq!(client.heard(), NOTHING);
}

/// Publishes to each client the rooms of its interest, and the news of room A.
fn publish_menu(hub: &HubHandle, news: &'static str) {
    hub.publish_by_interest("menu", move |interest| {
        let rooms: Vec<&str> =
            ["A", "B", "C"].into_iter().filter(|room| interest.includes(room)).collect();
        let mut messages = vec![Message::new("menu", &rooms)];
        if interest.includes("A") {
            messages.push(Message::new("news", news).project("A"));
        }
        messages
    })
    .unwrap();
}

#[test]
fn content_by_interest_differs_for_each_client() {
    let members = Members::new();
    let hub = members.handle();
    let (mut a, mut b) = (members.enter(["A", "C"]), members.enter(["B"]));
    let (mut all, mut none) = (members.enter_all(), members.enter([]));
    let listener = hub.listen(Interest::only(["C"])).unwrap();
    publish_menu(&hub, "soup");
    assert_eq!(a.heard(), [r#"menu - ["A","C"]"#, r#"news A "soup""#]);
    assert_eq!(b.heard(), [r#"menu - ["B"]"#]);
    assert_eq!(all.heard(), [r#"menu - ["A","B","C"]"#, r#"news A "soup""#]);
    assert_eq!(none.heard(), NOTHING);
    assert_eq!(next(&listener), r#"menu - ["C"]"#);
}

#[test]
fn content_by_interest_is_retained_and_sent_again_when_the_interest_changes() {
    let members = Members::new();
    let hub = members.handle();
    publish_menu(&hub, "soup");
    publish_menu(&hub, "salad");
    let mut client = members.enter(["B"]);
    assert_eq!(client.heard(), [r#"menu - ["B"]"#], "a late joiner receives the newest");
    hub.subscribe(&client.client, "A").unwrap();
    assert_eq!(client.heard(), [r#"menu - ["A","B"]"#, r#"news A "salad""#]);
    hub.unsubscribe(&client.client, "A").unwrap();
    assert_eq!(client.heard(), [r#"menu - ["B"]"#]);
    hub.unsubscribe(&client.client, "B").unwrap();
    assert_eq!(client.heard(), NOTHING);
    assert_eq!(members.enter_all().heard(), [r#"menu - ["A","B","C"]"#, r#"news A "salad""#]);
    hub.clear_latest("menu").unwrap();
    assert_eq!(members.enter_all().heard(), NOTHING);
}

#[test]
fn send_to_reaches_one_client_only_and_retains_nothing() {
    let members = Members::new();
    let hub = members.handle();
    let (mut one, mut other) = (members.enter_all(), members.enter_all());
    hub.send_to(&one.client, &Message::new("state", 1).project("A").latest()).unwrap();
    assert_eq!(one.heard(), ["state A 1"]);
    assert_eq!(other.heard(), NOTHING);
    assert_eq!(members.enter(["A"]).heard(), NOTHING);
}

#[test]
fn a_client_of_one_server_can_be_registered_with_another_hub() {
    let (one, other) = (Members::new(), Members::new());
    let mut client = one.join();
    for hub in [one.handle(), other.handle()] {
        hub.register_with(&client.client, Interest::none()).unwrap();
        hub.subscribe(&client.client, "A").unwrap();
    }
    let mut local = other.enter(["A"]);
    one.handle().broadcast_to_subscribers("A", &said(1)).unwrap();
    other.handle().broadcast_to_subscribers("A", &said(2)).unwrap();
    let mut heard = [client.ws.next(), client.ws.next()].map(|message| summary(&message));
    heard.sort();
    assert_eq!(heard, ["said A 1", "said A 2"]);
    assert_eq!(local.heard(), ["said A 2"]);
    other.handle().send_to(&client.client, &said(3)).unwrap();
    assert_eq!(summary(&client.ws.next()), "said - 3");
    client.ws.close();
    assert!(one.handle().wait_for_clients(0, GUARD), "the hub of its own server unregisters it");
    assert!(other.handle().wait_for_clients(1, GUARD), "and so does the other hub");
    let error = other.handle().register(&client.client).unwrap_err();
    assert!(error.is_stopped(), "a closed client cannot be registered: {error}");
    other.handle().broadcast_to_subscribers("A", &said(4)).unwrap();
    assert_eq!(local.heard(), ["said A 4"]);
}

#[test]
// A client is hashed and compared by its id, which never changes.
#[allow(clippy::mutable_key_type)]
fn ids_are_unique_across_servers_and_hubs() {
    let first = Members::new();
    let hub = first.handle();
    let (config, opened) = lobby();
    let second = Server::bind("127.0.0.1:0", hub.clone(), config).unwrap();
    let foreign = Members::new();
    let addr = second.local_addr();
    let mut clients: Vec<Member> = (0..3)
        .flat_map(|_| {
            [first.join(), Member::connect(dial(addr), addr, &opened, hub.clone()), foreign.join()]
        })
        .collect();
    for member in &clients {
        hub.register(&member.client).unwrap();
    }
    assert_eq!(hub.client_count(), 9);
    hub.broadcast(&said(1)).unwrap();
    for member in &mut clients {
        assert_eq!(summary(&member.ws.next()), "said - 1", "every client receives it");
    }
    let ids: HashSet<u64> = clients.iter().map(|member| member.client.id()).collect();
    assert_eq!(ids.len(), 9, "{ids:?}");
    // Clones of a client are equal.
    let mut set: HashSet<Client> = clients.iter().map(|member| member.client.clone()).collect();
    assert!(!set.insert(clients[0].client.clone()));
    assert!(set.remove(&clients[1].client) && !set.contains(&clients[1].client));
    assert_eq!(clients[2].client, clients[2].client.clone());
    assert_ne!(clients[2].client, clients[3].client);
    second.shutdown();
    assert!(hub.wait_for_clients(6, GUARD), "the clients of the second server are unregistered");
}

#[test]
fn errors_are_matched_by_their_kind() {
    let hub = Hub::spawn(HubConfig::default()).unwrap();
    let handle = hub.handle();
    let name_of = |error: kentros::Error| match error.kind() {
        ErrorKind::Stopped => "stopped",
        ErrorKind::Busy => "busy",
        ErrorKind::Encode => "encode",
        ErrorKind::Invalid => "invalid",
        ErrorKind::Io => "io",
        _ => "unknown",
    };
    let not_json = Message::new("n", std::collections::HashMap::from([((1, 2), 3)]));
    assert_eq!(name_of(handle.broadcast(&not_json).unwrap_err()), "encode");
    let taken = Server::bind("127.0.0.1:0", handle.clone(), lobby().0).unwrap();
    let error = Server::bind(taken.local_addr(), handle.clone(), lobby().0).unwrap_err();
    assert!(error.io_error().is_some() && std::error::Error::source(&error).is_some());
    assert_eq!(name_of(error), "io");
    let error = Server::bind("127.0.0.1:0", handle.clone(), lobby().0.page("about", "", ""));
    assert_eq!(name_of(error.unwrap_err()), "invalid");
    hub.shutdown();
    assert_eq!(name_of(handle.broadcast(&said(1)).unwrap_err()), "stopped");
}

#[test]
fn each_hub_has_one_extension_of_each_type() {
    #[derive(Default)]
    struct Visits(Mutex<u64>);
    let (one, other) =
        (Hub::spawn(HubConfig::default()).unwrap(), Hub::spawn(HubConfig::default()).unwrap());
    *one.handle().extension::<Visits>().0.lock().unwrap() += 1;
    *one.handle().clone().extension::<Visits>().0.lock().unwrap() += 1;
    assert_eq!(*one.handle().extension::<Visits>().0.lock().unwrap(), 2);
    assert_eq!(*other.handle().extension::<Visits>().0.lock().unwrap(), 0);
    let number: Arc<Mutex<u64>> = one.handle().extension();
    assert_eq!(*number.lock().unwrap(), 0, "another type is another value");
}

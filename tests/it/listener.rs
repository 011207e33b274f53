//! Listeners: clients of the hub in the same process.

use std::thread;
use std::time::Duration;

use crossbeam_channel::bounded;
use kentros::{Hub, HubConfig, HubHandle, Interest, Listener, Message};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::harness::members::{Members, NOTHING, said, summary_of};
use crate::harness::{GUARD, until};

fn spawn(config: HubConfig) -> (Hub, HubHandle) {
    let hub = Hub::spawn(config).unwrap();
    let handle = hub.handle();
    (hub, handle)
}

#[track_caller]
fn next(listener: &Listener) -> Message {
    listener.next_timeout(GUARD).expect("a message within the guard")
}

/// Everything that an unfiltered listener received of the messages that this thread has published.
#[track_caller]
fn heard(hub: &HubHandle, listener: &Listener) -> Vec<String> {
    hub.broadcast(&Message::new("end", ())).unwrap();
    let mut heard = Vec::new();
    loop {
        let message = next(listener);
        if message.kind() == "end" {
            return heard;
        }
        heard.push(summary_of(&message));
    }
}

#[test]
fn a_listener_gets_the_retained_messages_first_and_then_live_ones_in_order() {
    let (_hub, hub) = spawn(HubConfig::default());
    hub.broadcast(&Message::new("state", 1).latest()).unwrap();
    hub.broadcast(&Message::new("job", 2).project("A").latest_of("lint")).unwrap();
    hub.broadcast(&said(3)).unwrap();
    let listener = hub.listen(Interest::all()).unwrap();
    for n in 0..100 {
        hub.broadcast(&said(n)).unwrap();
        // Each has its own conflation key, so none replaces another.
        let state = Message::new("state", n).latest_of(n.to_string());
        hub.broadcast_to_subscribers("B", &state).unwrap();
    }
    let live = (0..100).flat_map(|n| [format!("said - {n}"), format!("state B {n}")]);
    let expected: Vec<String> =
        ["state - 1", "job A 2"].map(str::to_owned).into_iter().chain(live).collect();
    assert_eq!(heard(&hub, &listener), expected);
}

#[test]
fn a_listener_gets_what_a_client_with_the_same_interest_gets() {
    let members = Members::new();
    let hub = members.handle();
    hub.broadcast(&said(1).project("A").latest()).unwrap();
    hub.broadcast(&said(2).project("B").latest()).unwrap();
    let mut client = members.enter(["A"]);
    let listener = hub.listen(Interest::only(["A"])).unwrap();
    let uninterested = hub.listen(Interest::none()).unwrap();
    assert_eq!(hub.client_count(), 3, "listeners count as clients");
    hub.broadcast(&said(3).project("A")).unwrap();
    hub.broadcast(&said(4).project("B")).unwrap();
    hub.broadcast_except("A", &client.client, &said(5)).unwrap();
    hub.broadcast(&said(6)).unwrap();
    assert_eq!(client.heard(), ["said A 1", "said A 3", "said - 6"]);
    assert_eq!(heard(&hub, &listener), ["said A 1", "said A 3", "said A 5", "said - 6"]);
    // Messages are delivered in order: after the end marker nothing is outstanding.
    assert_eq!(heard(&hub, &listener), NOTHING);
    assert!(uninterested.try_next().is_none());
}

#[test]
fn an_unread_listener_is_evicted_and_keeps_at_most_a_full_queue() {
    const BOUND: usize = 10;
    let in_messages = HubConfig::default().with_queue_messages(BOUND);
    let in_bytes = HubConfig::default().with_queue_bytes(BOUND * 1_000);
    for config in [in_messages, in_bytes] {
        let (_hub, hub) = spawn(config);
        let listener = hub.listen(Interest::all()).unwrap();
        let message = |n: usize| Message::new("n", json!({"n": n, "weight": "x".repeat(900)}));
        let mut published = 0;
        while hub.counters().evicted_slow == 0 {
            assert!(published < 10 * BOUND, "the queue must be bounded");
            hub.broadcast(&message(published)).unwrap();
            published += 1;
            until("delivered or evicted", || {
                let counters = hub.counters();
                counters.delivered + counters.evicted_slow >= published as u64
            });
        }
        assert_eq!(hub.client_count(), 0);
        // The queued messages can still be read, in order. Then the listener ends.
        let mut read = 0;
        while let Some(message) = listener.next() {
            assert_eq!(message.payload::<serde_json::Value>().unwrap()["n"], read);
            read += 1;
        }
        assert!(read <= BOUND, "{read} messages were kept, more than {BOUND}");
        hub.broadcast(&message(0)).unwrap();
        assert!(listener.next().is_none() && listener.try_next().is_none());
        assert!(listener.next_timeout(GUARD).is_none());
    }
}

#[test]
fn an_unread_listener_skips_to_the_newest_message_of_each_key() {
    let (_hub, hub) = spawn(HubConfig::default().with_queue_messages(10));
    let listener = hub.listen(Interest::all()).unwrap();
    for n in 0..1_000 {
        for project in ["A", "B"] {
            hub.broadcast(&Message::new("state", n).project(project).latest()).unwrap();
        }
    }
    hub.broadcast(&Message::new("done", ())).unwrap();
    until("all is delivered", || hub.counters().published == 2_001);
    let mut last = [None, None];
    loop {
        let message = next(&listener);
        if message.kind() == "done" {
            break;
        }
        let last = &mut last[usize::from(message.project_id() == Some("B"))];
        let n = message.payload::<u64>().unwrap();
        assert!(*last < Some(n), "{n} after {last:?}");
        *last = Some(n);
    }
    assert_eq!(last, [Some(999), Some(999)]);
    let counters = hub.counters();
    assert_eq!(counters.evicted_slow, 0, "messages that can be conflated never evict a client");
    assert!(counters.conflated > 0);
}

#[test]
fn a_listener_can_be_polled_waited_on_and_iterated() {
    let (hub, handle) = spawn(HubConfig::default());
    let listener = handle.listen(Interest::all()).unwrap();
    assert!(listener.try_next().is_none());
    assert!(listener.next_timeout(Duration::from_millis(1)).is_none());
    for n in 0..6 {
        handle.broadcast(&said(n)).unwrap();
    }
    let number = |message: Message| message.payload::<u64>().unwrap();
    assert_eq!(number(next(&listener)), 0);
    assert_eq!(listener.next().map(number), Some(1));
    let mut third = None;
    until("the third message", || {
        third = listener.try_next();
        third.is_some()
    });
    assert_eq!(third.map(number), Some(2));
    let mut by_reference = Vec::new();
    for message in &listener {
        by_reference.push(number(message));
        if by_reference.len() == 2 {
            break;
        }
    }
    assert_eq!(by_reference, [3, 4]);
    let last: Vec<u64> = listener.take(1).map(number).collect();
    assert_eq!(last, [5]);
    hub.shutdown();
}

#[test]
fn a_dropped_listener_is_unregistered() {
    let (_hub, hub) = spawn(HubConfig::default());
    let one = hub.listen(Interest::all()).unwrap();
    let other = hub.listen(Interest::none()).unwrap();
    assert_eq!(hub.client_count(), 2);
    drop(other);
    assert!(hub.wait_for_clients(1, GUARD));
    drop(one);
    assert!(hub.wait_for_clients(0, GUARD));
    assert_eq!(hub.counters().evicted_slow, 0);
}

#[test]
fn hub_shutdown_ends_a_waiting_listener() {
    let (hub, handle) = spawn(HubConfig::default());
    let listener = handle.listen(Interest::all()).unwrap();
    handle.broadcast(&said(1)).unwrap();
    let (first, received) = bounded(0);
    let waiting = thread::spawn(move || {
        first.send(listener.next().is_some()).unwrap();
        let ended = listener.next().is_none();
        ended && listener.next().is_none() && listener.next_timeout(GUARD).is_none()
    });
    assert!(received.recv_timeout(GUARD).unwrap());
    hub.shutdown();
    assert!(waiting.join().unwrap(), "the listener returns None at once from then on");
    assert!(handle.listen(Interest::all()).unwrap_err().is_stopped());
}

#[test]
fn wait_for_clients_waits_for_exactly_this_number() {
    let (_hub, hub) = spawn(HubConfig::default());
    assert!(hub.wait_for_clients(0, Duration::ZERO));
    assert!(!hub.wait_for_clients(1, Duration::from_millis(1)));
    let waiting = {
        let hub = hub.clone();
        thread::spawn(move || hub.wait_for_clients(2, GUARD))
    };
    let one = hub.listen(Interest::all()).unwrap();
    let _other = hub.listen(Interest::all()).unwrap();
    assert!(waiting.join().unwrap(), "both clients connected");
    assert!(!hub.wait_for_clients(1, Duration::from_millis(1)), "there are two clients");
    let waiting = {
        let hub = hub.clone();
        thread::spawn(move || hub.wait_for_clients(1, GUARD))
    };
    drop(one);
    assert!(waiting.join().unwrap(), "a disconnect is noticed too");
}

#[test]
fn a_received_message_is_the_published_one() {
    #[derive(Debug, Deserialize, PartialEq, Serialize)]
    struct Job {
        name: String,
        done: Option<f64>,
        steps: Vec<(u8, String)>,
    }
    let (_hub, hub) = spawn(HubConfig::default());
    let listener = hub.listen(Interest::all()).unwrap();
    let name = "</script>\"\\\u{0}\u{2028}é".to_owned();
    let job =
        Job { name, done: Some(0.25), steps: vec![(1, "lint".to_owned()), (2, String::new())] };
    let published = Message::new("job", &job).project("a \"project\"");
    hub.broadcast(&published).unwrap();
    hub.broadcast(&Message::new("nothing", ())).unwrap();
    let heard = next(&listener);
    assert_eq!(heard.kind(), "job");
    assert_eq!(heard.project_id(), Some("a \"project\""));
    assert_eq!(heard.timestamp(), published.timestamp());
    assert_eq!(heard.payload::<Job>().unwrap(), job);
    assert!(heard.payload::<u64>().is_err(), "the payload is not a number");
    assert_eq!(heard.to_json().unwrap(), published.to_json().unwrap());
    let nothing = next(&listener);
    assert_eq!((nothing.kind(), nothing.project_id()), ("nothing", None));
    nothing.payload::<()>().unwrap();
}

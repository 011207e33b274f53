//! The requests of `/ws/stats`, and what each client receives after them.

use std::collections::{BTreeSet, HashMap};
use std::io::Write;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use crossbeam_channel::bounded;
use kentros::{Interest, Message, STANDALONE};
use serde_json::{Value, json};
use tungstenite::Message as Frame;

use crate::harness::raw::{masked, read_frame};
use crate::harness::{Served, Ws, keys, one_each, row, snapshot, until};
use crate::source::{Call, Reading, Script};

#[test]
fn a_client_without_a_subscription_gets_every_project() {
    let served = Served::new();
    let mut client = served.client();
    served.handle().publish_snapshot(one_each(&["blog", "shop", STANDALONE], 1)).unwrap();
    let stats = client.expect("container_stats");
    assert_eq!(keys(&stats["payload"]), ["_standalone-web", "blog-web", "shop-web"]);
    let totals = client.expect("project_stats");
    assert_eq!(keys(&totals["payload"]), ["_standalone", "blog", "shop"]);
    assert!(stats["timestamp"].is_u64(), "{stats}");
    assert_eq!(
        stats["payload"]["blog-web"]["cpu_percent"],
        Value::Null,
        "an unknown value is null, not 0"
    );
}

#[test]
fn a_client_gets_the_rows_and_totals_of_its_projects_only() {
    let served = Served::new();
    let (mut shop, mut two, mut none) = (served.client(), served.client(), served.client());
    assert_eq!(shop.subscribe("shop"), json!(["shop"]));
    assert_eq!(two.subscribe(json!(["blog", STANDALONE])), json!([STANDALONE, "blog"]));
    assert_eq!(none.subscribe("there is no such project"), json!(["there is no such project"]));
    let rows = vec![
        row("blog", "a", 1),
        row("shop", "b", 2),
        row("shop", "c", 3),
        row(STANDALONE, "d", 4),
    ];
    served.handle().publish_snapshot(snapshot(rows)).unwrap();
    assert_eq!(keys(&shop.expect("container_stats")["payload"]), ["shop-b", "shop-c"]);
    let totals = shop.expect("project_stats");
    assert_eq!(keys(&totals["payload"]), ["shop"]);
    assert_eq!(totals["payload"]["shop"]["memory_usage"], 5);
    assert_eq!(keys(&two.expect("container_stats")["payload"]), ["_standalone-d", "blog-a"]);
    assert_eq!(keys(&two.expect("project_stats")["payload"]), ["_standalone", "blog"]);
    assert_eq!(none.expect("container_stats")["payload"], json!({}));
    assert_eq!(none.expect("project_stats")["payload"], json!({}));
}

#[test]
fn each_reply_lists_all_subscriptions_and_precedes_the_new_stats() {
    let served = Served::new();
    let mut client = served.client();
    served.handle().publish_snapshot(one_each(&["a", "b", "c"], 1)).unwrap();
    client.expect("container_stats");
    client.expect("project_stats");
    let steps = [
        ("subscribe", json!("b"), vec!["b"]),
        ("subscribe", json!(["a", "b"]), vec!["a", "b"]),
        ("unsubscribe", json!("b"), vec!["a"]),
        ("unsubscribe", json!(["nothing of the kind"]), vec!["a"]),
    ];
    for (kind, payload, subscribed) in steps {
        client.send(kind, payload);
        let answer = client.expect(&format!("{kind}d"));
        assert_eq!(answer["payload"], json!(subscribed));
        let stats = client.expect("container_stats");
        let wanted: Vec<String> = subscribed.iter().map(|p| format!("{p}-web")).collect();
        assert_eq!(keys(&stats["payload"]), wanted, "the latest stats follow at once");
        assert_eq!(keys(&client.expect("project_stats")["payload"]), subscribed);
    }
    client.send("unsubscribe", "a");
    assert_eq!(client.expect("unsubscribed")["payload"], json!([]));
    let stats = client.expect("container_stats");
    assert_eq!(
        keys(&stats["payload"]).len(),
        3,
        "without subscriptions the client receives everything again"
    );
}

#[test]
fn the_256th_subscription_is_accepted_and_the_257th_changes_nothing() {
    let served = Served::new();
    let mut client = served.client();
    let ids: Vec<String> = (0..256).map(|n| format!("p{n:03}")).collect();
    let (half, rest) = ids.split_at(128);
    client.subscribe(half.to_vec());
    assert_eq!(client.subscribe(rest.to_vec()), json!(ids));
    client.send("subscribe", json!(["one more", "and another"]));
    let error = client.expect("error");
    assert_eq!(error["payload"]["code"], "too_many_subscriptions");
    assert!(error["payload"]["message"].as_str().unwrap().contains("256"), "{error}");
    // A repeated subscription does not count again.
    assert_eq!(client.subscribe("p000"), json!(ids));
    client.send("unsubscribe", "p000");
    client.expect("unsubscribed");
    assert_eq!(client.subscribe("one more").as_array().unwrap().len(), 256);
}

#[test]
fn an_invalid_request_gets_an_error_and_the_connection_stays_open() {
    let served = Served::new();
    let mut client = served.client();
    let cases = [
        ("", "bad_json"),
        ("hello", "bad_json"),
        ("{\"type\":\"subscribe\"", "bad_json"),
        ("{\"type\":\"subscribe\",\"payload\":\"a\"} {}", "bad_json"),
        ("[1]", "bad_json"),
        ("{\"payload\":\"a\"}", "bad_json"),
        ("{\"type\":7}", "bad_json"),
        ("{\"type\":\"dance\"}", "unknown_type"),
        ("{\"type\":\"subscribe\"}", "bad_payload"),
        ("{\"type\":\"subscribe\",\"payload\":[\"a\",1]}", "bad_payload"),
        ("{\"type\":\"subscribe\",\"payload\":\"\"}", "bad_payload"),
        ("{\"type\":\"history\",\"payload\":{\"seconds\":301}}", "bad_payload"),
    ];
    for (text, code) in cases {
        client.send_frame(Frame::text(text));
        let error = client.expect("error");
        assert_eq!(error["payload"]["code"], code, "{text:?}");
        assert!(!error["payload"]["message"].as_str().unwrap().is_empty());
    }
    assert_eq!(
        client.subscribe("shop"),
        json!(["shop"]),
        "the invalid requests subscribed to nothing"
    );
}

#[test]
fn replies_arrive_in_the_order_of_the_requests() {
    let served = Served::new();
    for _ in 0..20 {
        let mut client = served.raw_client();
        let mut requests = Vec::new();
        for n in 0..20 {
            let subscribe = json!({"type": "subscribe", "payload": format!("p{n}")});
            requests.extend(masked(0x81, subscribe.to_string().as_bytes()));
            requests.extend(masked(0x81, b"{\"type\":\"dance\"}"));
        }
        client.write_all(&requests).unwrap();
        for n in 0..40 {
            let (_, answer) = read_frame(&mut client).unwrap();
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            assert_eq!(answer["type"], ["subscribed", "error"][n % 2], "reply {n}: {answer}");
        }
    }
}

#[test]
fn any_project_name_is_escaped_as_json() {
    let served = Served::new();
    let mut client = served.client();
    let name = "</script>\"\\\u{0}\u{2028}é";
    assert_eq!(client.subscribe(name), json!([name]));
    served.handle().publish_snapshot(one_each(&["shop", name], 1)).unwrap();
    let stats = client.expect("container_stats");
    assert_eq!(keys(&stats["payload"]), [format!("{name}-web")]);
    assert_eq!(keys(&client.expect("project_stats")["payload"]), [name]);
}

#[test]
fn messages_for_subscribers_reach_subscribers_and_unfiltered_clients() {
    let served = Served::new();
    let handle = served.handle();
    let (mut all, mut shop, mut blog) = (served.client(), served.client(), served.client());
    shop.subscribe("shop");
    blog.subscribe("blog");
    handle.broadcast_to_subscribers("shop", &Message::new("news", 1)).unwrap();
    handle.broadcast(&Message::new("news", 2).project("shop")).unwrap();
    handle.broadcast(&Message::new("end", ())).unwrap();
    for client in [&mut all, &mut shop] {
        for n in 1..=2 {
            let news = client.expect("news");
            assert_eq!((&news["project_id"], &news["payload"]), (&json!("shop"), &json!(n)));
        }
        client.expect("end");
    }
    blog.expect("end");
}

#[test]
fn the_source_gets_the_combined_interest_of_all_clients() {
    let served = Served::new();
    let script = Script::start(&served.handle());
    let (mut one, mut other) = (served.client(), served.client());
    assert_eq!(script.call(), Call::Start);
    let empty = || Reading::Rows(one_each(&[], 0));
    one.subscribe(json!(["a", "b"]));
    assert_eq!(
        script.read(empty()),
        kentros::Interest::all(),
        "the other client has no subscription"
    );
    other.subscribe(json!(["b", "c"]));
    assert_eq!(script.read(empty()), kentros::Interest::only(["a", "b", "c"]));
    one.close();
    served.until_clients(1);
    other.subscribe("b");
    assert_eq!(script.read(empty()), kentros::Interest::only(["b", "c"]));
}

/// The producers of the test below. Each publishes a retained message with numbers up to `LAST`.
const PRODUCERS: [&str; 3] = ["a", "b", "c"];
const LAST: u64 = 600;

/// Reads each producer's messages up to the last, and asserts that after the retained one none is
/// missing and none comes twice. Returns the sum of the numbers of the retained messages.
#[track_caller]
fn read_to_last(client: &mut Ws) -> u64 {
    let mut last_seen: HashMap<String, u64> = HashMap::new();
    let mut first_sum = 0;
    while last_seen.len() < PRODUCERS.len() || last_seen.values().any(|&n| n < LAST) {
        let message = client.next();
        let n = message["payload"].as_u64().unwrap_or_else(|| panic!("{message}"));
        match last_seen.insert(message["type"].to_string(), n) {
            Some(last) => assert_eq!(n, last + 1, "{message}"),
            None => first_sum += n,
        }
    }
    first_sum
}

#[test]
fn a_client_that_connects_during_publishing_gets_the_newest_and_then_no_gap() {
    let served = Served::new();
    let handle = served.handle();
    let publish = &|producer: &str, n: u64| {
        let message = Message::new(producer, n).latest();
        handle.broadcast_to_subscribers("shop", &message).unwrap();
    };
    for producer in PRODUCERS {
        publish(producer, 0);
    }
    // The producers pause now and then until another client connects. Otherwise all clients would
    // connect after the last message.
    let (go_on, paused) = bounded::<()>(0);
    let firsts: BTreeSet<u64> = thread::scope(|scope| {
        for producer in PRODUCERS {
            let paused = paused.clone();
            scope.spawn(move || {
                for n in 1..=LAST {
                    if n % 30 == 0 {
                        let _ = paused.recv();
                    }
                    publish(producer, n);
                }
            });
        }
        drop(paused);
        let clients: Vec<_> = (0..30)
            .map(|n| {
                let _ = go_on.send(());
                let mut client = served.client();
                scope.spawn(move || {
                    if n % 2 == 0 {
                        client.subscribe("shop");
                    }
                    read_to_last(&mut client)
                })
            })
            .collect();
        drop(go_on);
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    assert!(firsts.len() > 3, "clients must connect during publishing: {firsts:?}");
}

/// Fails if the time is that of the subscription: a page would take old stats for new ones.
#[test]
fn a_late_subscriber_gets_the_time_at_which_the_snapshot_was_published() {
    let served = Served::new();
    let seconds = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    served.handle().publish_snapshot(one_each(&["shop"], 1)).unwrap();
    let published = served.client().find("container_stats")["timestamp"].clone();
    until("the next second", || seconds() > published.as_u64().unwrap());
    let mut late = served.client();
    late.subscribe("shop");
    for kind in ["container_stats", "project_stats"] {
        assert_eq!(late.find(kind)["timestamp"], published, "{kind}");
    }
    let answer: Value = serde_json::from_str(&served.get("/api/v1/stats").body).unwrap();
    assert_eq!(answer["timestamp"], published);
}

/// Fails if a reply is dropped when the hub is busy for a second.
#[test]
fn an_error_reply_waits_for_a_busy_hub() {
    let served = Served::new();
    let handle = served.handle();
    let mut client = served.client();
    let (release, held) = bounded::<()>(0);
    let (started, busy) = bounded(1);
    let block = move |_: &Interest| {
        let _ = started.try_send(());
        let _ = held.recv();
        Vec::new()
    };
    handle.publish_by_interest("busy", block).unwrap();
    busy.recv().unwrap();
    let message = Message::new("n", ()).latest();
    while handle.broadcast(&message).is_ok() {}
    client.send("dance", Value::Null);
    // Each takes a second, so that the client's message is waiting.
    for _ in 0..3 {
        assert!(handle.broadcast(&message).unwrap_err().is_busy());
    }
    drop(release);
    client.send("subscribe", "shop");
    let before = client.all_until("subscribed");
    assert!(before.iter().any(|message| message["type"] == "error"), "{before:?}");
}

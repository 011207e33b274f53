//! Message order: every client receives the messages of a thread in the order of its calls.

use std::collections::HashMap;
use std::thread;

use crossbeam_channel::bounded;
use kentros::{HubConfig, Message, ServerConfig};
use serde_json::{Value, json};

use crate::harness::members::Members;
use crate::harness::{Served, Ws};

const PRODUCERS: usize = 4;
const EACH: u64 = 500;

/// The number of the last message that a client received from each producer.
#[derive(Default)]
struct LastSeen(HashMap<String, u64>);

impl LastSeen {
    /// Checks that a message is the next of its producer.
    #[track_caller]
    fn check(&mut self, message: &Value) {
        let producer = message["payload"]["producer"].as_str().unwrap().to_owned();
        let n = message["payload"]["n"].as_u64().unwrap();
        if let Some(last) = self.0.insert(producer, n) {
            assert_eq!(n, last + 1, "duplicate, gap or wrong order: {message}");
        }
    }
}

#[test]
fn each_producers_messages_arrive_in_order_while_clients_connect_and_leave() {
    let mut config = HubConfig::default();
    // No client may be evicted, even on a busy machine.
    config.queue_messages = 1_000_000;
    config.queue_bytes = 1 << 30;
    let served = Served::with(config, ServerConfig::default());
    let mut clients: Vec<Ws> = (0..70).map(|_| served.client()).collect();
    // Disconnected once the last message has been received.
    let (publishing, stopped) = bounded::<()>(0);
    thread::scope(|scope| {
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|producer| {
                let handle = served.handle();
                scope.spawn(move || {
                    for n in 0..EACH {
                        let payload = json!({"producer": producer.to_string(), "n": n});
                        let message = Message::new("n", payload);
                        // Both ways of publishing share one order.
                        if n % 2 == 0 {
                            handle.broadcast(&message).unwrap();
                        } else {
                            handle.broadcast_to_subscribers("shop", &message).unwrap();
                        }
                    }
                })
            })
            .collect();
        for _ in 0..3 {
            let (served, stopped) = (&served, stopped.clone());
            scope.spawn(move || {
                // At least ten clients, and until the last message has been received.
                for n in 0.. {
                    let mut client = served.client();
                    let mut seen = LastSeen::default();
                    client.subscribe("shop");
                    for _ in 0..20 {
                        if stopped.try_recv().is_err_and(|e| e.is_disconnected()) && n > 10 {
                            return;
                        }
                        client.send("subscribe", "blog");
                        for message in client.all_until("subscribed") {
                            seen.check(&message);
                        }
                        if n % 2 == 0 {
                            break;
                        }
                    }
                    if n % 3 == 0 {
                        client.close();
                    }
                }
            });
        }
        for client in &mut clients {
            let mut seen = LastSeen::default();
            for _ in 0..PRODUCERS as u64 * EACH {
                seen.check(&client.expect("n"));
            }
            assert!(seen.0.len() == PRODUCERS && seen.0.values().all(|&n| n == EACH - 1));
        }
        for producer in producers {
            producer.join().unwrap();
        }
        drop(publishing);
    });
    served.handle().broadcast(&Message::new("end", ())).unwrap();
    for client in &mut clients {
        client.expect("end");
    }
}

#[test]
fn retained_and_other_broadcasts_arrive_in_call_order() {
    let served = Served::new();
    let handle = served.handle();
    let mut client = served.client();
    for n in 0..50 {
        handle.broadcast(&Message::new("event", n)).unwrap();
        handle.broadcast(&Message::new("state", n).latest()).unwrap();
    }
    for n in 0..50 {
        assert_eq!(client.expect("event")["payload"], n);
        assert_eq!(client.expect("state")["payload"], n);
    }
}

#[test]
fn broadcasts_and_messages_to_one_client_arrive_in_call_order() {
    let members = Members::new();
    let hub = members.handle();
    let mut client = members.enter_all();
    for n in 0..200 {
        hub.broadcast(&Message::new("all", n)).unwrap();
        hub.send_to(&client.client, &Message::new("one", n)).unwrap();
        hub.broadcast_to_subscribers("A", &Message::new("room", n)).unwrap();
        hub.send_to(&client.client, &Message::new("state", n).latest()).unwrap();
    }
    let expected: Vec<String> = (0..200)
        .flat_map(|n| {
            [
                format!("all - {n}"),
                format!("one - {n}"),
                format!("room A {n}"),
                format!("state - {n}"),
            ]
        })
        .collect();
    assert_eq!(client.heard(), expected);
}

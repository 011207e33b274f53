//! Each producer's order is each client's order.

use std::collections::HashMap;
use std::thread;

use crossbeam_channel::bounded;
use kentros::{HubConfig, Message, ServerConfig};
use serde_json::{Value, json};

use crate::harness::{Served, Ws};

const PRODUCERS: usize = 4;
const EACH: u64 = 500;

/// What a client has seen of each producer: the number of its last message.
#[derive(Default)]
struct Seen(HashMap<String, u64>);

impl Seen {
    /// Whatever comes must be the producer's next.
    #[track_caller]
    fn note(&mut self, message: &Value) {
        let producer = message["payload"]["producer"].as_str().unwrap().to_owned();
        let n = message["payload"]["n"].as_u64().unwrap();
        if let Some(last) = self.0.insert(producer, n) {
            assert_eq!(n, last + 1, "neither twice nor a gap nor out of order: {message}");
        }
    }
}

#[test]
fn every_client_sees_each_producers_messages_in_order_while_others_come_and_go() {
    let mut config = HubConfig::default();
    // Nobody is slow on purpose here, but the machine may be busy.
    config.queue_messages = 1_000_000;
    config.queue_bytes = 1 << 30;
    let served = Served::with(config, ServerConfig::default());
    let mut stay: Vec<Ws> = (0..70).map(|_| served.client()).collect();
    let (going, gone) = bounded::<()>(0);
    thread::scope(|scope| {
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|producer| {
                let handle = served.handle();
                scope.spawn(move || {
                    for n in 0..EACH {
                        let payload = json!({"producer": producer.to_string(), "n": n});
                        let message = Message::new("n", payload);
                        // Both ways, and snapshots, are one order.
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
            let (served, gone) = (&served, gone.clone());
            scope.spawn(move || {
                // At least ten, and until the last message is out.
                for n in 0.. {
                    let mut client = served.client();
                    let mut seen = Seen::default();
                    client.subscribe("shop");
                    for _ in 0..20 {
                        if gone.try_recv().is_err_and(|e| e.is_disconnected()) && n > 10 {
                            return;
                        }
                        client.send("subscribe", "blog");
                        for message in client.all_until("subscribed") {
                            seen.note(&message);
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
        for client in &mut stay {
            let mut seen = Seen::default();
            for _ in 0..PRODUCERS as u64 * EACH {
                seen.note(&client.expect("n"));
            }
            assert!(seen.0.len() == PRODUCERS && seen.0.values().all(|&n| n == EACH - 1));
        }
        for producer in producers {
            producer.join().unwrap();
        }
        drop(going);
    });
    served.handle().broadcast(&Message::new("end", ())).unwrap();
    for client in &mut stay {
        client.expect("end");
    }
}

#[test]
fn what_one_thread_says_to_a_client_and_to_all_arrives_in_that_order() {
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

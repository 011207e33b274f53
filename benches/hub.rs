//! Micro-benchmarks of the hot paths: `cargo bench`. Includes private modules by path, so that
//! nothing has to be public for the benchmarks.

#![allow(clippy::unwrap_used, clippy::print_stdout)]
// The included modules contain items that only their tests and other modules use.
#![allow(dead_code, missing_docs, unreachable_pub, unused_imports)]

use std::collections::HashMap;
use std::hint::black_box;
use std::net::{TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use kentros::Snapshot;
use rustix::net::{SendFlags, send};

#[path = "../src/counters.rs"]
mod counters;
#[path = "../src/error.rs"]
mod error;
#[path = "../src/connection/frame.rs"]
mod frame;
#[path = "../src/interest.rs"]
mod interest;
#[path = "../src/lock.rs"]
mod lock;
#[path = "../src/message.rs"]
mod message;
#[path = "../src/connection/outbox.rs"]
mod outbox;
#[path = "../src/connection/queue.rs"]
mod queue;
#[path = "../src/connection/queued_frame.rs"]
mod queued_frame;
#[cfg(test)]
#[path = "../src/random.rs"]
mod random;
#[path = "../src/hub/registry.rs"]
mod registry;
#[path = "../src/connection/socket.rs"]
mod socket;

use error::Error;
use frame::Frame;
use interest::Interest;
use message::Message;
use outbox::{OfferResult, Outbox};
use queue::{Queue, QueueBounds};
use registry::Registry;

const BOUNDS: QueueBounds = QueueBounds { messages: 256, bytes: 1 << 20 };
/// The number of samples per benchmark. The median is printed.
const SAMPLES: usize = 15;
/// The approximate duration of one sample.
const SAMPLE: Duration = Duration::from_millis(20);

fn main() {
    let small = "x".repeat(150);
    let large = "x".repeat(4046);
    println!("{:<58} {:>10}", "", "ns each");

    time("encode a message of 200 B", 1, || Message::new("t", &small).to_json());
    time("encode a message of 4 KiB", 1, || Message::new("t", &large).to_json());
    let rows: HashMap<String, serde_json::Value> = (0..100)
        .map(|n| (format!("{n:064x}"), serde_json::json!({"project_id": format!("p{}", n % 10)})))
        .collect();
    time("encode a snapshot of 100 containers", 1, || Snapshot::from_payload(&rows));
    time("frame 200 B", 1, || Frame::text(&small));
    time("frame 4 KiB", 1, || Frame::text(&large));

    let frame = Frame::text(&small);
    time("queue a frame and take it out, one of 256", 256, || {
        let mut queue = Queue::default();
        for _ in 0..256 {
            queue.push(&frame, BOUNDS);
        }
        queue.drain(|bytes| Ok(bytes.len()))
    });

    fan_out(&frame);
    churn();
}

/// A delivery without the network: the sockets accept and discard everything. The difference to the
/// bare `send` is the cost of kentros.
fn fan_out(frame: &Frame) {
    // Datagrams to a socket that never reads are dropped without an error.
    let sink = UdpSocket::bind("127.0.0.1:0").unwrap();
    let null = || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(sink.local_addr().unwrap()).unwrap();
        TcpStream::from(OwnedFd::from(socket))
    };
    let sockets: Vec<TcpStream> = (0..500).map(|_| null()).collect();
    time("a bare send to a null socket, one of 500", 500, || {
        for socket in &sockets {
            let _ = send(socket, frame.bytes(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        }
    });
    let mut registry = Registry::new(1);
    for (id, socket) in sockets.into_iter().enumerate() {
        let outbox = Box::new(Outbox::new(socket, BOUNDS, Duration::from_secs(10)));
        registry.add(id as u64, outbox, Interest::all());
    }
    let views: Vec<_> = registry.receivers(None).map(|(view, _)| view).collect();
    let shards = registry.take_shards();
    time("a delivery into a null socket, one of 500", 500, || {
        for shard in &shards {
            for (_, outbox) in views.iter().flat_map(|&view| shard.members(view)) {
                let offered = outbox.offer(std::slice::from_ref(frame), frame.bytes());
                assert_eq!(offered, OfferResult::Sent);
            }
        }
    });
}

/// Subscriptions among 10,000 clients, in 50 projects and in 1,000 rooms.
fn churn() {
    for rooms in [50, 1_000] {
        let room = |n: u64| format!("r{}", n % rooms);
        let mut registry = Registry::new(2);
        for id in 0..10_000 {
            registry.add(id, (), Interest::only([room(id)]));
        }
        time(&format!("subscribe to one more of {rooms} and end it"), 1, || {
            registry.set_interest(77, Interest::only([room(77), room(78)]));
            registry.set_interest(77, Interest::only([room(77)]));
        });
        time(&format!("come, subscribe to one of {rooms} and go"), 1, || {
            registry.add(10_000, (), Interest::none());
            registry.set_interest(10_000, Interest::only([room(3)]));
            registry.remove(10_000)
        });
        let shards = registry.take_shards();
        time(&format!("find the members of one of {rooms}"), 1, || {
            let views = registry.receivers(Some("r7"));
            views
                .flat_map(|(view, _)| shards.iter().map(move |s| s.members(view).len()))
                .sum::<usize>()
        });
        registry.return_shards(shards);
    }
}

/// Times `work`, which does `each` operations per call, and prints the median per operation.
fn time<T>(what: &str, each: u32, mut work: impl FnMut() -> T) {
    let mut sample = |rounds: u32| {
        let start = Instant::now();
        for _ in 0..rounds {
            black_box(work());
        }
        start.elapsed()
    };
    let mut rounds = 1;
    while sample(rounds) < SAMPLE {
        rounds *= 2;
    }
    let mut samples: Vec<f64> = (0..SAMPLES)
        .map(|_| sample(rounds).as_secs_f64() * 1e9 / f64::from(rounds * each))
        .collect();
    samples.sort_unstable_by(f64::total_cmp);
    println!("{what:<58} {:>10.0}", samples.get(SAMPLES / 2).copied().unwrap_or_default());
}

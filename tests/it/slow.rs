//! Clients that do not read, or read slowly.

use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, bounded, tick};
use kentros::{HubConfig, Interest, Message, ServerConfig, Snapshot, SourceError, StatsSource};
use serde_json::{Value, json};

use crate::harness::{
    GUARD, Served, Ws, dial_narrow, in_own_process, is_timeout, memory, numbered,
    retry_interrupted, row, snapshot, until,
};

const KIB: usize = 1024;
/// More than the kernel buffers for a connection whose peer does not read.
const FLOOD: usize = 16 * KIB * KIB;

/// A message with a number and this many bytes.
fn heavy(n: usize, bytes: usize) -> Message {
    Message::new("heavy", json!({"n": n, "weight": "x".repeat(bytes)}))
}

fn number(message: &Value) -> usize {
    usize::try_from(message["payload"]["n"].as_u64().unwrap()).unwrap()
}

/// Fails if a publish waits for the client that does not read: its write deadline is longer than
/// the guard of the other clients.
#[test]
fn a_client_that_does_not_read_delays_no_other() {
    let mut config = HubConfig::default();
    config.write_deadline = 2 * GUARD;
    config.queue_messages = 1000;
    config.queue_bytes = usize::MAX;
    let served = Served::with(config, ServerConfig::default());
    let handle = served.handle();
    let mut stopped = served.narrow_client();
    stopped.subscribe("flood");
    let mut others: Vec<Ws> = (0..99).map(|_| served.client()).collect();
    for client in &mut others {
        client.subscribe("calm");
    }
    let mut rounds = |n: usize| {
        for n in 0..n {
            handle.broadcast(&numbered(n)).unwrap();
            for client in &mut others {
                assert_eq!(client.expect("n")["payload"], n);
            }
        }
    };
    rounds(1);
    for n in 0..FLOOD / (64 * KIB) {
        handle.broadcast_to_subscribers("flood", &heavy(n, 64 * KIB)).unwrap();
    }
    rounds(100);
    assert_eq!(handle.client_count(), 100, "the slow client is still connected");
    // It is evicted once its queue is full, so it was blocked during the rounds.
    for n in 0..1000 {
        handle.broadcast_to_subscribers("flood", &numbered(n)).unwrap();
    }
    until("an eviction", || handle.counters().evicted_slow == 1);
    assert_eq!(handle.client_count(), 99);
    rounds(1);
}

/// Publishes to a client that does not read until it is evicted, then reads. Returns how many
/// messages were published, and how many of them arrived before the Close.
fn evict(config: HubConfig, bytes: usize) -> (usize, usize) {
    let served = Served::with(config, ServerConfig::default());
    let handle = served.handle();
    let mut client = served.narrow_client();
    let mut published = 0;
    loop {
        handle.broadcast(&heavy(published, bytes)).unwrap();
        published += 1;
        until("delivered or evicted", || {
            let counters = handle.counters();
            counters.delivered + counters.evicted_slow == published as u64
        });
        if handle.counters().evicted_slow == 1 {
            break;
        }
        assert!(published * bytes < FLOOD, "the queue is not bounded");
    }
    assert_eq!(handle.client_count(), 0);
    let mut received = 0;
    loop {
        let frame = client.frame();
        match frame {
            tungstenite::Message::Text(text) => {
                let message: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(number(&message), received, "messages in order without a gap");
                received += 1;
            }
            tungstenite::Message::Close(close) => {
                let close = close.unwrap();
                assert_eq!(u16::from(close.code), 1008);
                assert!(close.reason.contains("slow"), "{close:?}");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(handle.counters().evicted_deadline, 0);
    (published, received)
}

#[test]
fn a_client_whose_queue_exceeds_the_message_limit_is_closed_with_1008() {
    let mut config = HubConfig::default();
    config.queue_messages = 10;
    config.queue_bytes = usize::MAX;
    let (published, received) = evict(config, 64 * KIB);
    // The first of the ten is completed if its transmission has started. The eleventh is lost too.
    let lost = published - received;
    assert!((10..=11).contains(&lost), "{lost} of {published} lost");
}

#[test]
fn a_client_whose_queue_exceeds_the_byte_limit_is_evicted() {
    let mut config = HubConfig::default();
    config.queue_messages = usize::MAX;
    config.queue_bytes = 500 * KIB;
    let (published, received) = evict(config, 64 * KIB);
    let lost = published - received;
    assert!((7..=8).contains(&lost), "{lost} of {published} lost");
}

#[test]
fn a_client_that_sends_requests_during_its_eviction_receives_the_close() {
    let served = Served::new();
    let handle = served.handle();
    let mut client = served.narrow_client();
    while handle.counters().evicted_slow == 0 {
        handle.broadcast(&heavy(0, 64 * KIB)).unwrap();
    }
    for _ in 0..5 {
        client.send("subscribe", "shop");
    }
    client.send("dance", ());
    assert_eq!(client.closed().0, 1008);
}

#[test]
fn a_client_that_reads_on_gets_the_newest_of_each_state() {
    const EACH: usize = 150;
    let mut config = HubConfig::default();
    config.write_deadline = 2 * GUARD;
    let served = Served::with(config, ServerConfig::default());
    let handle = served.handle();
    let mut client = served.narrow_client();
    let before = handle.counters();
    let mut received = 0;
    // It stalls for different numbers of messages.
    for stop in 0..4 {
        for n in 0..EACH / (stop + 1) {
            for topic in ["a", "b"] {
                let message = heavy(n + stop * EACH, 64 * KIB).project(topic).latest();
                handle.broadcast(&message).unwrap();
            }
        }
        handle.broadcast(&Message::new("end", ())).unwrap();
        let mut last = [None, None];
        for message in client.all_until("end") {
            received += 1;
            let slot = &mut last[usize::from(message["project_id"] == "b")];
            assert!(*slot < Some(number(&message)), "each message is newer than the last");
            *slot = Some(number(&message));
        }
        received += 1;
        let newest = Some(EACH / (stop + 1) - 1 + stop * EACH);
        assert_eq!(last, [newest, newest]);
    }
    let counters = handle.counters();
    assert_eq!((counters.evicted_slow, counters.evicted_deadline), (0, 0));
    assert!(counters.conflated > 0, "the client stalled");
    assert_eq!(counters.delivered - before.delivered - counters.conflated, received);
}

#[test]
fn a_snapshot_larger_than_the_queue_evicts_no_client() {
    let mut config = HubConfig::default();
    config.write_deadline = 2 * GUARD;
    config.queue_bytes = 100 * KIB;
    let served = Served::with(config, ServerConfig::default());
    let handle = served.handle();
    let name = "x".repeat(10 * KIB);
    // About 2 MB each, as with 5,000 containers.
    let publish = |n: u64| {
        let rows = (0..200).map(|id| row("shop", &format!("{name}{id}"), n)).collect();
        handle.publish_snapshot(snapshot(rows)).unwrap();
    };
    publish(0);
    let mut client = served.narrow_client();
    for n in 1..=10 {
        publish(n);
    }
    handle.broadcast(&Message::new("end", ())).unwrap();
    let stats = client.all_until("end");
    let newest = stats.iter().rfind(|m| m["type"] == "container_stats").unwrap();
    let row = newest["payload"].as_object().unwrap().values().next().unwrap();
    assert_eq!(row["memory_usage"], 10);
    assert_eq!(handle.counters().evicted_slow, 0);
}

/// A source of a thousand containers with long names.
struct LongNames;

impl StatsSource for LongNames {
    fn collect(&mut self, _: &Interest) -> Result<Snapshot, SourceError> {
        Ok(snapshot((0..1000).map(|n| row("shop", &format!("{n:010240}"), n)).collect()))
    }
}

/// Records one reading, so that each `history` reply has about 10 MB. The history is kept while the
/// returned client listens.
fn long_history(served: &Served) -> Ws {
    let (tick, ticks) = bounded(1);
    served.handle().start_stats_streamer(ticks, LongNames).unwrap();
    let mut first = served.client();
    tick.send(Instant::now()).unwrap();
    first.find("project_stats");
    first
}

/// Requests the history and waits for the start of the reply without reading it.
fn request_history_without_reading(client: &mut Ws) {
    client.find("project_stats");
    client.send("history", json!({"seconds": 300}));
    assert!(client.stream().peek(&mut [0]).unwrap() > 0);
}

#[test]
fn events_during_a_long_reply_evict_no_client() {
    let mut config = HubConfig::default();
    config.write_deadline = 2 * GUARD;
    config.queue_bytes = 100 * KIB;
    let served = Served::with(config, ServerConfig::default());
    let _listener = long_history(&served);
    let mut client = served.narrow_client();
    request_history_without_reading(&mut client);
    for n in 0..10 {
        served.handle().broadcast(&numbered(n)).unwrap();
    }
    served.handle().broadcast(&Message::new("end", ())).unwrap();
    let kinds: Vec<_> = client.all_until("end").iter().map(|m| m["type"].clone()).collect();
    assert_eq!(kinds.iter().filter(|kind| *kind == "history").count(), 1);
    assert_eq!(kinds.len(), 11, "{kinds:?}");
    assert_eq!(served.handle().counters().evicted_slow, 0);
}

#[test]
fn the_memory_for_unread_histories_is_bounded() {
    let mut config = HubConfig::default();
    config.write_deadline = 4 * GUARD;
    let served = Served::with(config, ServerConfig::default());
    let mut good = long_history(&served);
    let stopped: Vec<Ws> = (0..7)
        .map(|_| {
            let mut client = served.narrow_client();
            request_history_without_reading(&mut client);
            client
        })
        .collect();
    good.send("history", json!({"seconds": 300}));
    let refusal = good.find("error");
    assert_eq!(refusal["payload"]["code"], "busy", "{refusal}");
    drop(stopped);
    served.until_clients(1);
    good.send("history", json!({"seconds": 300}));
    good.find("history");
}

#[test]
fn a_client_that_reads_too_slowly_is_evicted_at_the_deadline() {
    const PACE: Duration = Duration::from_millis(10);
    let mut config = HubConfig::default();
    config.write_deadline = Duration::from_secs(1);
    let served = Served::with(config, ServerConfig::default());
    let handle = served.handle();
    let mut slow = served.client();
    let mut good = served.client();
    slow.subscribe("flood");
    good.subscribe("calm");
    // The client needs several seconds for this message and makes steady progress.
    let message = Message::new("large", "x".repeat(FLOOD));
    let start = Instant::now();
    handle.broadcast_to_subscribers("flood", &message).unwrap();
    let (stop, stopped) = bounded::<()>(0);
    let reader = thread::spawn(move || {
        slow.stream().set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let mut buffer = vec![0; 30 * KIB];
        let (mut reads, mut bytes) = (0, 0);
        while stopped.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
            match retry_interrupted(|| slow.stream().read(&mut buffer)) {
                Ok(0) => break,
                Ok(n) => (reads, bytes) = (reads + 1, bytes + n),
                Err(error) if is_timeout(&error) => {}
                Err(_) => break,
            }
        }
        (reads, bytes)
    });
    until("an eviction", || handle.counters().evicted_deadline == 1);
    let after = start.elapsed();
    assert!(after >= Duration::from_secs(1), "evicted after only {after:?}");
    served.until_clients(1);
    drop(stop);
    let (reads, bytes) = reader.join().unwrap();
    assert!(reads > 5 && bytes < FLOOD, "{reads} reads, {bytes} bytes");
    assert_eq!(handle.counters().evicted_slow, 0);
    handle.broadcast(&numbered(1)).unwrap();
    good.expect("n");
}

/// Fails if each byte that the client reads extends the deadline of ten seconds.
#[test]
fn a_client_that_reads_a_byte_a_second_is_evicted_after_ten_seconds() {
    let served = Served::new();
    let handle = served.handle();
    let slow = served.narrow_client();
    served.until_clients(1);
    let start = Instant::now();
    handle.broadcast(&Message::new("large", "x".repeat(FLOOD))).unwrap();
    let mut read = 0;
    for _ in tick(Duration::from_secs(1)) {
        let counters = handle.counters();
        if counters.clients == 0 {
            assert_eq!((counters.evicted_deadline, counters.evicted_slow), (1, 0));
            break;
        }
        read += retry_interrupted(|| slow.stream().read(&mut [0])).unwrap();
        assert!(start.elapsed() < GUARD, "each byte extends the deadline");
    }
    let after = start.elapsed();
    assert!(after >= Duration::from_secs(10), "evicted after only {after:?}");
    assert!(read >= 8, "it read {read} bytes, less than one a second");
}

#[test]
fn the_memory_for_clients_that_never_read_is_bounded() {
    if !in_own_process("slow::the_memory_for_clients_that_never_read_is_bounded", &[]) {
        return;
    }
    // Clients must not be evicted for their slowness or silence.
    let (mut hub, mut config) = (HubConfig::default(), ServerConfig::default());
    hub.write_deadline = 100 * GUARD;
    config.silence_limit = 100 * GUARD;
    let served = Served::with(hub, config);
    let handle = served.handle();
    let clients: Vec<Ws> = (0..20).map(|_| served.narrow_client()).collect();
    let mut published = 0;
    let mut publish = |rounds: usize, make: &dyn Fn(usize) -> Message| {
        for n in 0..rounds {
            handle.broadcast(&make(n)).unwrap();
            published += 1;
            // Keeps the queue of the hub short.
            until("published", || handle.counters().published == published);
        }
        memory()
    };
    // Latest-only messages never evict. For each client the newest of each project is queued.
    let state = |n: usize| heavy(n, 64 * KIB).project(["a", "b", "c", "d"][n % 4]).latest();
    let first = publish(200, &state);
    let second = publish(3_000, &state);
    assert!(second <= first + first / 10 + KIB * KIB, "states: {first} bytes, then {second}");
    assert_eq!(handle.client_count(), clients.len());
    // Events are queued up to the limit.
    let events = publish(300, &|n| heavy(n, 64 * KIB));
    until("the evictions", || handle.counters().evicted_slow == 20);
    let bound = 2 * KIB * KIB;
    assert!(events <= second + bound + second / 10, "events: {second} bytes, then {events}");
    drop(clients);
}

/// Fails if a send to a client that does not read blocks for longer than its write deadline.
#[test]
fn a_blocked_send_of_a_custom_socket_fails_at_the_deadline() {
    let (send, failed) = crossbeam_channel::unbounded();
    let mut config = HubConfig::default();
    config.write_deadline = Duration::from_millis(500);
    let flood = ServerConfig::default().websocket("/flood", move |client, _| {
        let text = "x".repeat(FLOOD);
        send.send(client.send_text(&text).is_err()).unwrap();
    });
    let served = Served::with(config, flood);
    let mut stopped = Ws::over(dial_narrow(served.addr()), served.addr(), "/flood");
    stopped.send("go", ());
    assert!(failed.recv_timeout(GUARD).unwrap(), "the send must fail");
}

//! Clients that do not read, or hardly: what they cost, and what becomes of them.

use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, bounded, tick};
use kentros::{HubConfig, Interest, Message, ServerConfig, Snapshot, SourceError, StatsSource};
use serde_json::{Value, json};

use crate::harness::{
    GUARD, Served, Ws, alone, dial_narrow, is_pause, memory, numbered, row, snapshot,
    uninterrupted, until,
};

const KIB: usize = 1024;
/// More than the kernel takes for a connection whose peer does not read.
const FLOOD: usize = 16 * KIB * KIB;

/// A message that has a number and a weight.
fn heavy(n: usize, bytes: usize) -> Message {
    Message::new("heavy", json!({"n": n, "weight": "x".repeat(bytes)}))
}

fn number(message: &Value) -> usize {
    usize::try_from(message["payload"]["n"].as_u64().unwrap()).unwrap()
}

#[test]
fn one_of_a_hundred_that_does_not_read_delays_none_of_the_others() {
    let mut config = HubConfig::default();
    // Whoever waited for it would wait for longer than the guard.
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
        let mut took: Vec<Duration> = (0..n)
            .map(|n| {
                let begun = Instant::now();
                handle.broadcast(&numbered(n)).unwrap();
                for client in &mut others {
                    assert_eq!(client.expect("n")["payload"], n);
                }
                begun.elapsed()
            })
            .collect();
        took.sort();
        (took[n / 2], took[n * 99 / 100])
    };
    let before = rounds(50);
    for n in 0..FLOOD / (64 * KIB) {
        handle.broadcast_to_subscribers("flood", &heavy(n, 64 * KIB)).unwrap();
    }
    let after = rounds(100);
    let told = format!("half and 99 of 100 within: {before:?} before, {after:?} after");
    assert!(after.0 < before.0 * 20 + Duration::from_millis(20), "{told}");
    // Other tests are busy meanwhile; but who waited for it would wait for its deadline.
    assert!(after.1 < before.1 * 20 + Duration::from_secs(1), "{told}");
    assert_eq!(handle.client_count(), 100, "it was there all the time");
    // And it was stopped: its bound is near.
    for n in 0..1000 {
        handle.broadcast_to_subscribers("flood", &numbered(n)).unwrap();
    }
    until("an eviction", || handle.counters().evicted_slow == 1);
    assert_eq!(handle.client_count(), 99);
    rounds(1);
}

/// Publishes to a client that does not read until it is evicted, then reads: how many messages
/// were published, and how many of them came before the Close.
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
        assert!(published * bytes < FLOOD, "there is a bound");
    }
    assert_eq!(handle.client_count(), 0);
    let mut received = 0;
    loop {
        let frame = client.frame();
        match frame {
            tungstenite::Message::Text(text) => {
                let message: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(number(&message), received, "whole, in order, without a gap");
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
fn no_more_messages_wait_for_a_client_than_the_bound_and_it_is_told_1008() {
    let mut config = HubConfig::default();
    config.queue_messages = 10;
    config.queue_bytes = usize::MAX;
    let (published, received) = evict(config, 64 * KIB);
    // The first of the ten is sent to its end where it was begun; the one too many is lost too.
    let lost = published - received;
    assert!((10..=11).contains(&lost), "{lost} of {published} lost");
}

#[test]
fn no_more_bytes_wait_for_a_client_than_the_bound() {
    let mut config = HubConfig::default();
    config.queue_messages = usize::MAX;
    config.queue_bytes = 500 * KIB;
    let (published, received) = evict(config, 64 * KIB);
    let lost = published - received;
    assert!((7..=8).contains(&lost), "{lost} of {published} lost");
}

#[test]
fn a_client_that_talks_while_it_is_evicted_gets_its_close_all_the_same() {
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
fn a_client_that_stopped_and_reads_on_has_the_newest_of_each_state_in_the_end() {
    const EACH: usize = 150;
    let mut config = HubConfig::default();
    config.write_deadline = 2 * GUARD;
    let served = Served::with(config, ServerConfig::default());
    let handle = served.handle();
    let mut client = served.narrow_client();
    let before = handle.counters();
    let mut received = 0;
    // Stops and reads on, again and again, longer and shorter.
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
            assert!(*slot < Some(number(&message)), "newer and newer");
            *slot = Some(number(&message));
        }
        received += 1;
        let newest = Some(EACH / (stop + 1) - 1 + stop * EACH);
        assert_eq!(last, [newest, newest]);
    }
    let counters = handle.counters();
    assert_eq!((counters.evicted_slow, counters.evicted_deadline), (0, 0));
    assert!(counters.conflated > 0, "it did stop");
    assert_eq!(counters.delivered - before.delivered - counters.conflated, received);
}

#[test]
fn a_snapshot_larger_than_the_bound_makes_no_client_slow() {
    let mut config = HubConfig::default();
    config.write_deadline = 2 * GUARD;
    config.queue_bytes = 100 * KIB;
    let served = Served::with(config, ServerConfig::default());
    let handle = served.handle();
    let name = "x".repeat(10 * KIB);
    // Some 2 MB each: 5,000 containers have as much.
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

/// A source of a thousand containers whose names are long.
struct Wordy;

impl StatsSource for Wordy {
    fn collect(&mut self, _: &Interest) -> Result<Snapshot, SourceError> {
        Ok(snapshot((0..1000).map(|n| row("shop", &format!("{n:010240}"), n)).collect()))
    }
}

/// Has a streamer take one reading, of which each answer with history is of some 10 MB. It stands as
/// long as somebody listens: the client that is returned.
fn long_history(served: &Served) -> Ws {
    let (tick, ticks) = bounded(1);
    served.handle().start_stats_streamer(ticks, Wordy).unwrap();
    let mut first = served.client();
    tick.send(Instant::now()).unwrap();
    first.find("project_stats");
    first
}

/// Asks for the history, and waits until the answer begins to come.
fn ask_and_read_no_more(client: &mut Ws) {
    client.find("project_stats");
    client.send("history", json!({"seconds": 300}));
    assert!(client.stream().peek(&mut [0]).unwrap() > 0);
}

#[test]
fn an_event_while_a_long_answer_is_on_its_way_makes_no_client_slow() {
    let mut config = HubConfig::default();
    config.write_deadline = 2 * GUARD;
    config.queue_bytes = 100 * KIB;
    let served = Served::with(config, ServerConfig::default());
    let _listener = long_history(&served);
    let mut client = served.narrow_client();
    ask_and_read_no_more(&mut client);
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
fn history_that_is_not_read_is_bounded_and_who_asks_for_more_is_told() {
    let mut config = HubConfig::default();
    config.write_deadline = 4 * GUARD;
    let served = Served::with(config, ServerConfig::default());
    let mut good = long_history(&served);
    let stopped: Vec<Ws> = (0..7)
        .map(|_| {
            let mut client = served.narrow_client();
            ask_and_read_no_more(&mut client);
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
fn a_client_that_reads_steadily_but_too_slowly_is_gone_at_the_deadline() {
    const PACE: Duration = Duration::from_millis(10);
    let mut config = HubConfig::default();
    config.write_deadline = Duration::from_secs(1);
    let served = Served::with(config, ServerConfig::default());
    let handle = served.handle();
    let mut slow = served.client();
    let mut good = served.client();
    slow.subscribe("flood");
    good.subscribe("calm");
    // Several seconds' worth for it, and it makes the kernel take more all the time.
    let message = Message::new("large", "x".repeat(FLOOD));
    let begun = Instant::now();
    handle.broadcast_to_subscribers("flood", &message).unwrap();
    let (enough, told) = bounded::<()>(0);
    let reader = thread::spawn(move || {
        slow.stream().set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let mut buffer = vec![0; 30 * KIB];
        let (mut reads, mut bytes) = (0, 0);
        while told.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
            match uninterrupted(|| slow.stream().read(&mut buffer)) {
                Ok(0) => break,
                Ok(n) => (reads, bytes) = (reads + 1, bytes + n),
                Err(error) if is_pause(&error) => {}
                Err(_) => break,
            }
        }
        (reads, bytes)
    });
    until("an eviction", || handle.counters().evicted_deadline == 1);
    let after = begun.elapsed();
    assert!(after >= Duration::from_secs(1), "after {after:?} already");
    served.until_clients(1);
    drop(enough);
    let (reads, bytes) = reader.join().unwrap();
    assert!(reads > 5 && bytes < FLOOD, "{reads} reads, {bytes} bytes");
    assert_eq!(handle.counters().evicted_slow, 0);
    handle.broadcast(&numbered(1)).unwrap();
    good.expect("n");
}

#[test]
fn a_client_that_reads_a_byte_a_second_is_gone_after_ten_seconds() {
    let served = Served::new();
    let handle = served.handle();
    let slow = served.narrow_client();
    served.until_clients(1);
    let begun = Instant::now();
    handle.broadcast(&Message::new("large", "x".repeat(FLOOD))).unwrap();
    // On a busy machine it takes seconds to encode so much.
    let encoded = Instant::now();
    let mut read = 0;
    for _ in tick(Duration::from_secs(1)) {
        let counters = handle.counters();
        if counters.clients == 0 {
            assert_eq!((counters.evicted_deadline, counters.evicted_slow), (1, 0));
            break;
        }
        read += uninterrupted(|| slow.stream().read(&mut [0])).unwrap();
        assert!(encoded.elapsed() < GUARD, "a byte in time does not put the deadline off");
    }
    let after = begun.elapsed();
    assert!(after >= Duration::from_secs(10), "after {after:?} already");
    assert!(read >= 8, "it read a byte a second to the end: {read}");
}

#[test]
fn the_memory_for_clients_that_never_read_reaches_a_plateau() {
    if !alone("slow::the_memory_for_clients_that_never_read_reaches_a_plateau", &[]) {
        return;
    }
    // Neither their slowness nor their silence ends them before the test does.
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
            // No more than this waits for the hub.
            until("published", || handle.counters().published == published);
        }
        memory()
    };
    // What is the newest of its topic never evicts; each client keeps the last of each.
    let state = |n: usize| heavy(n, 64 * KIB).project(["a", "b", "c", "d"][n % 4]).latest();
    let first = publish(200, &state);
    let second = publish(3_000, &state);
    assert!(second <= first + first / 10 + KIB * KIB, "states: {first} bytes, then {second}");
    assert_eq!(handle.client_count(), clients.len());
    // Events wait up to the bound, and no byte beyond.
    let events = publish(300, &|n| heavy(n, 64 * KIB));
    until("the evictions", || handle.counters().evicted_slow == 20);
    let bound = 2 * KIB * KIB;
    assert!(events <= second + bound + second / 10, "events: {second} bytes, then {events}");
    drop(clients);
}

#[test]
fn a_socket_that_sends_to_a_client_that_does_not_read_waits_for_the_deadline_at_most() {
    let (say, heard) = crossbeam_channel::unbounded();
    let mut config = HubConfig::default();
    config.write_deadline = Duration::from_millis(500);
    let flood = ServerConfig::default().websocket("/flood", move |client, _| {
        let text = "x".repeat(FLOOD);
        say.send(client.send_text(&text).is_err()).unwrap();
    });
    let served = Served::with(config, flood);
    let mut stopped = Ws::over(dial_narrow(served.addr()), served.addr(), "/flood");
    stopped.send("go", ());
    assert!(heard.recv_timeout(GUARD).unwrap(), "an error, and soon");
}

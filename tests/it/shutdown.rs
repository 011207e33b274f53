//! The end: within five seconds, whatever the clients do.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded, unbounded};
use kentros::{
    Client, Hub, HubConfig, HubHandle, Incoming, Interest, Message, Server, ServerConfig, Snapshot,
};
use serde_json::json;
use tungstenite::{Error as Fault, Message as Frame};

use crate::harness::{
    GUARD, SHUTDOWN, Served, Ws, alone, belongings, dial, dial_narrow, is_pause, numbered,
    one_each, thread_names, uninterrupted, until,
};
use crate::raw::{get, handshake, masked, read_close};

/// Which goes first, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    HubFirst,
    ServerFirst,
    HubDropped,
    ServerDropped,
}

pub(crate) const WAYS: [Way; 4] =
    [Way::HubFirst, Way::ServerFirst, Way::HubDropped, Way::ServerDropped];

/// Ends both, each within its limit.
#[track_caller]
pub(crate) fn end(way: Way, Served { server, hub }: Served) {
    let steps: [Box<dyn FnOnce()>; 2] = match way {
        Way::HubFirst => [Box::new(|| hub.shutdown()), Box::new(|| server.shutdown())],
        Way::ServerFirst => [Box::new(|| server.shutdown()), Box::new(|| hub.shutdown())],
        Way::HubDropped => [Box::new(|| drop(hub)), Box::new(|| drop(server))],
        Way::ServerDropped => [Box::new(|| drop(server)), Box::new(|| drop(hub))],
    };
    for step in steps {
        let begun = Instant::now();
        step();
        let took = begun.elapsed();
        assert!(took < SHUTDOWN, "{way:?}: a shutdown took {took:?}");
    }
}

/// A large message for those that do not read.
fn flood(handle: &HubHandle) {
    let text = "x".repeat(64 * 1024);
    for _ in 0..200 {
        handle.broadcast_to_subscribers("flood", &Message::new("flood", &text)).unwrap();
    }
}

fn a_thousand_clients(way: Way) {
    let mut config = HubConfig::default();
    config.queue_messages = 1000;
    config.queue_bytes = usize::MAX;
    let served = Served::with(config, ServerConfig::default());
    // Held to the end.
    let handle = served.handle();
    let mut reading: Vec<Ws> = (0..950).map(|_| served.client()).collect();
    for client in &mut reading {
        client.subscribe("calm");
    }
    // These never read, and much waits for them; those never close.
    let mut stopped: Vec<Ws> = (0..10).map(|_| served.narrow_client()).collect();
    for client in &mut stopped {
        client.subscribe("flood");
    }
    let mut silent: Vec<TcpStream> = (0..40).map(|_| served.raw_client()).collect();
    for stream in &mut silent {
        let request = br#"{"type":"subscribe","payload":"calm"}"#;
        stream.write_all(&masked(0x81, request)).unwrap();
    }
    flood(&handle);
    assert_eq!(handle.client_count(), 1000);
    let readers = thread::spawn(move || {
        for mut client in reading {
            assert_eq!(client.closed().0, 1001);
        }
    });
    end(way, served);
    readers.join().unwrap();
    for mut stream in silent {
        assert_eq!(read_close(&mut stream), 1001, "{way:?}");
    }
    assert_eq!(handle.client_count(), 0);
    drop(stopped);
}

#[test]
fn a_thousand_clients_are_told_1001_in_time_whatever_they_do_and_whoever_holds_a_handle() {
    for way in [Way::HubFirst, Way::ServerFirst] {
        a_thousand_clients(way);
    }
}

#[test]
fn dropping_is_shutting_down() {
    for way in WAYS {
        let served = Served::new();
        let clients: Vec<Ws> = (0..20).map(|_| served.client()).collect();
        let readers = thread::spawn(move || {
            for mut client in clients {
                assert_eq!(client.closed().0, 1001, "{way:?}");
            }
        });
        end(way, served);
        readers.join().unwrap();
    }
}

/// The same in both orders, at once: each mostly waits.
fn both_ways(test: impl Fn(Way) + Sync) {
    let test = &test;
    thread::scope(|scope| {
        for way in [Way::HubFirst, Way::ServerFirst] {
            scope.spawn(move || test(way));
        }
    });
}

#[test]
fn a_client_evicted_a_moment_before_does_not_hold_the_shutdown_up() {
    both_ways(|way| {
        let served = Served::new();
        let handle = served.handle();
        let mut client = served.narrow_client();
        client.subscribe("flood");
        flood(&handle);
        until("an eviction", || handle.counters().evicted_slow == 1);
        end(way, served);
    });
}

#[test]
fn a_client_of_a_socket_of_ones_own_that_does_not_read_does_not_hold_the_shutdown_up() {
    both_ways(|way| {
        let (say, said) = unbounded();
        let flood = move |client: &Client, _: Incoming<'_>| {
            say.send(()).unwrap();
            let _ = client.send_text(&"x".repeat(16 << 20));
        };
        let config = ServerConfig::default().websocket("/flood", flood);
        let served = Served::with(HubConfig::default(), config);
        let stream = dial_narrow(served.addr());
        let mut client = Ws::over(stream, served.addr(), "/flood");
        client.send("go", ());
        said.recv_timeout(GUARD).unwrap();
        // It has begun, and cannot end.
        client.stream().peek(&mut [0]).unwrap();
        end(way, served);
    });
}

#[test]
fn after_the_end_each_call_returns_at_once_that_it_has_stopped() {
    let (say, heard) = unbounded();
    let keep = move |client: &Client, _: Incoming<'_>| say.send(client.clone()).unwrap();
    let config = ServerConfig::default().websocket("/keep", keep);
    for way in WAYS {
        let served = Served::with(HubConfig::default(), config.clone());
        let handle = served.handle();
        let mut ws = served.client_at("/keep");
        ws.send("hello", ());
        let client: Client = heard.recv_timeout(GUARD).unwrap();
        let reader = thread::spawn(move || ws.closed());
        end(way, served);
        let begun = Instant::now();
        let source = || Ok::<_, std::io::Error>(json!({}));
        let outcomes = [
            handle.broadcast(&numbered(1)),
            handle.broadcast_to_subscribers("shop", &numbered(1)),
            handle.broadcast_except("shop", &client, &numbered(1)),
            handle.send_to(&client, &numbered(1)),
            handle.publish_snapshot(one_each(&["shop"], 1)),
            handle.publish_by_interest("rooms", |_| vec![numbered(1)]),
            handle.clear_latest("n"),
            handle.register(&client),
            handle.register_with(&client, Interest::none()),
            handle.subscribe(&client, "shop"),
            handle.unsubscribe(&client, "shop"),
            handle.set_interest(&client, Interest::all(), None),
            handle.unregister(&client),
            handle.listen(Interest::all()).map(drop),
            handle.start_stats_streamer(Duration::from_secs(1), source).map(drop),
            handle.publish_every(Duration::from_secs(1), "load", source).map(drop),
            client.send(&numbered(1)),
            client.try_send(&numbered(1)),
            client.send_text("hello"),
            client.send_binary(b"hello"),
        ];
        for (n, outcome) in outcomes.into_iter().enumerate() {
            let error = outcome.expect_err(&format!("{way:?}: call {n}"));
            assert!(error.is_stopped(), "{way:?}: call {n}: {error}");
        }
        client.close(1000, "");
        assert!(begun.elapsed() < Duration::from_secs(1));
        assert_eq!(handle.client_count(), 0);
        assert_eq!(reader.join().unwrap().0, 1001, "{way:?}");
    }
}

#[test]
fn what_was_published_before_the_end_arrives_before_the_close() {
    // Again and again: the hub must be caught with something left to do.
    for way in WAYS.repeat(10) {
        let served = Served::new();
        let mut clients: Vec<Ws> = (0..10).map(|_| served.client()).collect();
        for n in 0..200 {
            served.handle().broadcast(&numbered(n)).unwrap();
        }
        let readers = thread::spawn(move || {
            for client in &mut clients {
                for n in 0..200 {
                    assert_eq!(client.expect("n")["payload"], n);
                }
                assert_eq!(client.closed().0, 1001);
            }
        });
        end(way, served);
        readers.join().unwrap();
    }
}

#[test]
fn whoever_publishes_or_connects_meanwhile_is_told_and_never_hangs() {
    for way in WAYS {
        let served = Served::new();
        let addr = served.addr();
        let (warm, warmed) = bounded(0);
        let publishers: Vec<_> = (0..3)
            .map(|_| {
                let (handle, warm) = (served.handle(), warm.clone());
                thread::spawn(move || {
                    for n in 0.. {
                        if n == 100 {
                            let _ = warm.send(());
                        }
                        if let Err(error) = handle.broadcast(&numbered(n)) {
                            assert!(error.is_stopped(), "{error}");
                            return;
                        }
                    }
                })
            })
            .collect();
        let (done, ended) = bounded::<()>(0);
        let comers: Vec<_> = (0..3)
            .map(|_| {
                let ended = ended.clone();
                thread::spawn(move || {
                    while !ended.try_recv().is_err_and(|e| e.is_disconnected()) {
                        // Refused, reset, cut or told: everything but a hang.
                        let Ok(mut stream) = TcpStream::connect(addr) else { continue };
                        stream.set_read_timeout(Some(GUARD)).unwrap();
                        let _ = stream.write_all(handshake().as_bytes());
                        let mut bytes = [0; 512];
                        loop {
                            match uninterrupted(|| stream.read(&mut bytes)) {
                                Ok(0) => break,
                                Ok(_) => {}
                                Err(error) => {
                                    assert!(!crate::harness::is_pause(&error), "it hangs");
                                    break;
                                }
                            }
                            if ended.try_recv().is_err_and(|e| e.is_disconnected()) {
                                break;
                            }
                        }
                    }
                })
            })
            .collect();
        for _ in 0..3 {
            warmed.recv_timeout(GUARD).unwrap();
        }
        end(way, served);
        drop(done);
        for thread in publishers.into_iter().chain(comers) {
            thread.join().unwrap();
        }
    }
}

/// Connects, subscribes, and reads or does not, again and again, until nobody listens.
fn come_and_go(addr: SocketAddr, first: usize, begun: &Sender<()>) {
    for n in first.. {
        let Ok(stream) = TcpStream::connect(addr) else { return };
        stream.set_read_timeout(Some(GUARD)).unwrap();
        // Refused, reset, cut or told: everything but a hang.
        let Ok((mut client, _)) = tungstenite::client(format!("ws://{addr}/ws/stats"), stream)
        else {
            continue;
        };
        let _ = begun.try_send(());
        for m in n..n + 20 {
            let (kind, projects) = (["subscribe", "unsubscribe"][m % 2], ["a", "b", "c"]);
            let request = json!({"type": kind, "payload": projects[..m % 4]});
            if m % 5 == 0 && client.send(Frame::text(request.to_string())).is_err() {
                break;
            }
            match client.read() {
                Ok(Frame::Close(close)) => {
                    assert_eq!(u16::from(close.unwrap().code), 1001);
                    break;
                }
                Ok(_) => {}
                Err(Fault::Io(error)) if is_pause(&error) => panic!("it hangs"),
                Err(_) => break,
            }
        }
        if n % 3 == 0 {
            let _ = client.close(None);
        }
    }
}

#[test]
fn in_a_storm_of_connects_subscribes_and_publishes_each_shutdown_comes_to_its_end() {
    let name = "in_a_storm_of_connects_subscribes_and_publishes_each_shutdown_comes_to_its_end";
    if !alone(&format!("shutdown::{name}"), &[]) {
        return;
    }
    let before = belongings();
    for (n, way) in WAYS.into_iter().cycle().take(40).enumerate() {
        let served = Served::new();
        let addr = served.addr();
        let source = || Ok::<_, std::io::Error>(HashMap::from([("a", json!({"project_id": "a"}))]));
        served.handle().start_stats_streamer(Duration::from_millis(10), source).unwrap();
        let (begun, comes) = bounded(100);
        thread::scope(|scope| {
            for first in 0..4 {
                let begun = begun.clone();
                scope.spawn(move || come_and_go(addr, first, &begun));
            }
            for producer in ["a", "b"] {
                let handle = served.handle();
                scope.spawn(move || {
                    for n in 0.. {
                        let outcome = match n % 3 {
                            0 => handle.broadcast(&numbered(n)),
                            1 => handle.broadcast_to_subscribers(producer, &numbered(n).latest()),
                            _ => handle.publish_snapshot(one_each(&[producer], n as u64)),
                        };
                        if let Err(error) = outcome {
                            assert!(error.is_stopped(), "{error}");
                            return;
                        }
                    }
                });
            }
            // At another moment each time.
            for _ in 0..=n % 10 {
                comes.recv_timeout(GUARD).unwrap();
            }
            end(way, served);
        });
        until("nothing is left", || belongings() == before);
    }
}

#[test]
fn a_server_whose_hub_has_stopped_tells_whoever_comes_and_its_port_is_free_in_the_end() {
    let Served { server, hub } = Served::new();
    let addr = server.local_addr();
    hub.shutdown();
    assert_eq!(Ws::over(dial(addr), addr, "/ws/stats").closed().0, 1001);
    assert_eq!(get(addr, "/").status, 200);
    server.shutdown();
    assert!(TcpStream::connect(addr).is_err());
    let hub = Hub::spawn(HubConfig::default()).unwrap();
    let server = Server::bind(addr, hub.handle(), ServerConfig::default()).unwrap();
    assert_eq!(get(addr, "/healthz").status, 200);
    drop(server);
}

#[test]
fn no_thread_and_no_descriptor_is_left() {
    if !alone("shutdown::no_thread_and_no_descriptor_is_left", &[]) {
        return;
    }
    let before = belongings();
    for way in WAYS {
        let served = Served::new();
        let handle = served.handle();
        let interval = Duration::from_millis(20);
        let source = || Snapshot::from_payload(json!({"a": {}})).map(|_| HashMap::from([("a", 1)]));
        handle.start_stats_streamer(interval, source).unwrap();
        let mut clients: Vec<Ws> = (0..20).map(|_| served.client()).collect();
        clients[0].find("container_stats");
        let names = thread_names();
        let ours = ["kentros-hub", "kentros-flush", "kentros-accept", "kentros-http"];
        for name in ours.iter().chain(&["kentros-stats"]) {
            assert!(names.iter().any(|n| n == name), "{name} in {names:?}");
        }
        assert_eq!(names.iter().filter(|n| n.starts_with("client-")).count(), 20, "{names:?}");
        // A handle keeps what it takes to wake the hub.
        drop((clients, handle));
        end(way, served);
        // A joined thread may show for a moment more: the kernel tells of its end first.
        until("the end of each thread", || belongings() == before);
    }
}

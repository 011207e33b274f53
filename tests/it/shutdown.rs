//! Shutdown, whatever the clients, sources and publishers do at that time.
//!
//! A shutdown must not wait for a client. The limits of clients in these tests are longer than the
//! hang guard, so a shutdown that waits for one fails the test.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded, unbounded};
use kentros::{
    Client, Hub, HubConfig, HubHandle, Incoming, Interest, Message, Server, ServerConfig, Snapshot,
};
use serde_json::json;
use tungstenite::{Error as Fault, Message as Frame};

use crate::harness::raw::{get, handshake, masked, read_close, read_frame};
use crate::harness::shutdown::{WAYS, Way, end, within_guard};
use crate::harness::{
    GUARD, Served, Ws, descriptors_and_threads, dial, dial_narrow, in_own_process, is_timeout,
    numbered, one_each, retry_interrupted, thread_names, until,
};

/// The configuration of a hub whose clients may take longer than the guard to read a message.
fn patient_hub() -> HubConfig {
    let mut config = HubConfig::default();
    config.write_deadline = 4 * GUARD;
    config
}

/// The configuration of a server whose clients may be silent for longer than the guard.
fn patient_server() -> ServerConfig {
    let mut config = ServerConfig::default();
    config.silence_limit = 4 * GUARD;
    config
}

/// Publishes more than the kernel buffers for a client that does not read.
fn flood(handle: &HubHandle) {
    let text = "x".repeat(64 * 1024);
    for _ in 0..200 {
        handle.broadcast_to_subscribers("flood", &Message::new("flood", &text)).unwrap();
    }
}

fn a_thousand_clients(way: Way) {
    let mut config = patient_hub();
    config.queue_messages = 1000;
    config.queue_bytes = usize::MAX;
    let served = Served::with(config, patient_server());
    // This handle outlives the shutdown.
    let handle = served.handle();
    let mut reading: Vec<Ws> = (0..950).map(|_| served.client()).collect();
    for client in &mut reading {
        client.subscribe("calm");
    }
    // These clients never read and have full queues.
    let mut stopped: Vec<Ws> = (0..10).map(|_| served.narrow_client()).collect();
    for client in &mut stopped {
        client.subscribe("flood");
    }
    // These clients never close their side.
    let mut silent: Vec<TcpStream> = (0..40).map(|_| served.raw_client()).collect();
    for stream in &mut silent {
        let request = br#"{"type":"subscribe","payload":"calm"}"#;
        stream.write_all(&masked(0x81, request)).unwrap();
        // Before the reply, the client also receives the flood, which would fill its buffers.
        while !read_frame(stream).unwrap().1.starts_with(br#"{"type":"subscribed""#) {}
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

/// Fails if a shutdown waits for a client that does not read or close, or for a handle.
#[test]
fn a_thousand_clients_get_1001_at_shutdown() {
    for way in [Way::HubFirst, Way::ServerFirst] {
        a_thousand_clients(way);
    }
}

#[test]
fn dropping_the_hub_or_the_server_shuts_it_down() {
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

/// Runs a test with both orders of shutdown in parallel.
fn in_both_orders(test: impl Fn(Way) + Sync) {
    let test = &test;
    thread::scope(|scope| {
        for way in [Way::HubFirst, Way::ServerFirst] {
            scope.spawn(move || test(way));
        }
    });
}

/// Fails if a shutdown waits until an evicted client has read what was sent to it.
#[test]
fn an_evicted_client_does_not_delay_shutdown() {
    in_both_orders(|way| {
        let served = Served::with(patient_hub(), patient_server());
        let handle = served.handle();
        let mut client = served.narrow_client();
        client.subscribe("flood");
        flood(&handle);
        until("an eviction", || handle.counters().evicted_slow == 1);
        end(way, served);
    });
}

/// Fails if a shutdown waits for a `send_text` that a client blocks by not reading.
#[test]
fn a_blocked_send_of_a_custom_socket_does_not_delay_shutdown() {
    in_both_orders(|way| {
        let (started, sending) = unbounded();
        let flood = move |client: &Client, _: Incoming<'_>| {
            started.send(()).unwrap();
            let _ = client.send_text(&"x".repeat(16 << 20));
        };
        let config = patient_server().websocket("/flood", flood);
        let served = Served::with(patient_hub(), config);
        let stream = dial_narrow(served.addr());
        let mut client = Ws::over(stream, served.addr(), "/flood");
        client.send("go", ());
        sending.recv_timeout(GUARD).unwrap();
        // The send has started and cannot finish.
        client.stream().peek(&mut [0]).unwrap();
        end(way, served);
    });
}

/// Makes every fallible call of a hub and a client.
fn call_everything(handle: &HubHandle, client: &Client) -> Vec<Result<(), kentros::Error>> {
    let source = || Ok::<_, std::io::Error>(json!({}));
    vec![
        handle.broadcast(&numbered(1)),
        handle.broadcast_to_subscribers("shop", &numbered(1)),
        handle.broadcast_except("shop", client, &numbered(1)),
        handle.send_to(client, &numbered(1)),
        handle.publish_snapshot(one_each(&["shop"], 1)),
        handle.publish_by_interest("rooms", |_| vec![numbered(1)]),
        handle.clear_latest("n"),
        handle.register(client),
        handle.register_with(client, Interest::none()),
        handle.subscribe(client, "shop"),
        handle.unsubscribe(client, "shop"),
        handle.set_interest(client, Interest::all(), None),
        handle.unregister(client),
        handle.listen(Interest::all()).map(drop),
        handle.start_stats_streamer(Duration::from_secs(1), source).map(drop),
        handle.publish_every(Duration::from_secs(1), "load", source).map(drop),
        client.send(&numbered(1)),
        client.try_send(&numbered(1)),
        client.send_text("hello"),
        client.send_binary(b"hello"),
    ]
}

/// Fails if a call blocks after the shutdown, or does not report it.
#[test]
fn calls_after_the_shutdown_return_an_error() {
    let (send_client, clients) = unbounded();
    let keep = move |client: &Client, _: Incoming<'_>| send_client.send(client.clone()).unwrap();
    let config = patient_server().websocket("/keep", keep);
    for way in WAYS {
        let served = Served::with(patient_hub(), config.clone());
        let handle = served.handle();
        let mut ws = served.client_at("/keep");
        ws.send("hello", ());
        let client: Client = clients.recv_timeout(GUARD).unwrap();
        let reader = thread::spawn(move || ws.closed());
        end(way, served);
        let outcomes = within_guard("the calls", {
            let (handle, client) = (handle.clone(), client.clone());
            move || call_everything(&handle, &client)
        });
        for (n, outcome) in outcomes.into_iter().enumerate() {
            let error = outcome.expect_err(&format!("{way:?}: call {n}"));
            assert!(error.is_stopped(), "{way:?}: call {n}: {error}");
        }
        client.close(1000, "");
        assert_eq!(handle.client_count(), 0);
        assert_eq!(reader.join().unwrap().0, 1001, "{way:?}");
    }
}

#[test]
fn messages_published_before_the_shutdown_arrive_before_the_close() {
    // Repeated, so that the hub is likely to have work left at the shutdown.
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
fn publishing_and_connecting_during_the_shutdown_fail_without_hanging() {
    for way in WAYS {
        let served = Served::new();
        let addr = served.addr();
        let (started, publishing) = bounded(0);
        let publishers: Vec<_> = (0..3)
            .map(|_| {
                let (handle, started) = (served.handle(), started.clone());
                thread::spawn(move || {
                    for n in 0.. {
                        if n == 100 {
                            let _ = started.send(());
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
        let connecting: Vec<_> = (0..3)
            .map(|_| {
                let ended = ended.clone();
                thread::spawn(move || {
                    while !ended.try_recv().is_err_and(|e| e.is_disconnected()) {
                        // Any outcome but a hang is fine.
                        let Ok(mut stream) = TcpStream::connect(addr) else { continue };
                        stream.set_read_timeout(Some(GUARD)).unwrap();
                        let _ = stream.write_all(handshake().as_bytes());
                        let mut bytes = [0; 512];
                        loop {
                            match retry_interrupted(|| stream.read(&mut bytes)) {
                                Ok(0) => break,
                                Ok(_) => {}
                                Err(error) => {
                                    assert!(
                                        !crate::harness::is_timeout(&error),
                                        "the connection hangs"
                                    );
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
            publishing.recv_timeout(GUARD).unwrap();
        }
        end(way, served);
        drop(done);
        for thread in publishers.into_iter().chain(connecting) {
            thread.join().unwrap();
        }
    }
}

/// Connects, subscribes and reads in a loop until the server no longer listens.
fn connect_repeatedly(addr: SocketAddr, first: usize, connected: &Sender<()>) {
    for n in first.. {
        let Ok(stream) = TcpStream::connect(addr) else { return };
        stream.set_read_timeout(Some(GUARD)).unwrap();
        // Any outcome but a hang is fine.
        let Ok((mut client, _)) = tungstenite::client(format!("ws://{addr}/ws/stats"), stream)
        else {
            continue;
        };
        let _ = connected.try_send(());
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
                Err(Fault::Io(error)) if is_timeout(&error) => panic!("the connection hangs"),
                Err(_) => break,
            }
        }
        if n % 3 == 0 {
            let _ = client.close(None);
        }
    }
}

#[test]
fn shutdown_completes_during_connects_subscriptions_and_publishes() {
    let name = "shutdown_completes_during_connects_subscriptions_and_publishes";
    if !in_own_process(&format!("shutdown::{name}"), &[]) {
        return;
    }
    let before = descriptors_and_threads();
    for (n, way) in WAYS.into_iter().cycle().take(40).enumerate() {
        let served = Served::new();
        let addr = served.addr();
        let source = || Ok::<_, std::io::Error>(HashMap::from([("a", json!({"project_id": "a"}))]));
        served.handle().start_stats_streamer(Duration::from_millis(10), source).unwrap();
        let (connected, comes) = bounded(100);
        thread::scope(|scope| {
            for first in 0..4 {
                let connected = connected.clone();
                scope.spawn(move || connect_repeatedly(addr, first, &connected));
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
            // At a different moment each time.
            for _ in 0..=n % 10 {
                comes.recv_timeout(GUARD).unwrap();
            }
            end(way, served);
        });
        until("all threads and descriptors to be released", || descriptors_and_threads() == before);
    }
}

#[test]
fn a_server_whose_hub_has_stopped_closes_new_clients_and_releases_its_port() {
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
fn shutdown_releases_all_threads_and_descriptors() {
    if !in_own_process("shutdown::shutdown_releases_all_threads_and_descriptors", &[]) {
        return;
    }
    let before = descriptors_and_threads();
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
        // A handle keeps the descriptor that wakes the hub.
        drop((clients, handle));
        end(way, served);
        // A joined thread may stay in /proc for a moment.
        until("all threads and descriptors to be released", || descriptors_and_threads() == before);
    }
}

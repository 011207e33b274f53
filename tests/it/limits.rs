//! Limits: the last client or message allowed is accepted, the next is rejected with its code, and
//! each limit is logged once.

use std::io::Write as _;
use std::time::Duration;

use kentros::{Access, Client, HubConfig, Incoming, Message, ServerConfig, Token};
use rustix::process::Signal;
use serde_json::json;

use crate::access::TOKEN;
use crate::binary::{Running, demo_with_128_descriptors, kentros};
use crate::harness::raw::{Answer, ask, handshake_with, read_close, read_head};
use crate::harness::{Served, Warnings, Ws, dial, in_own_process, until};

/// A server that trusts the client addresses of a proxy on loopback.
fn trusting(max_per_address: usize) -> Served {
    let mut config = ServerConfig::default().trust_proxy("127.0.0.1").unwrap();
    config.max_clients_per_address = Some(max_per_address);
    Served::with(HubConfig::default(), config)
}

/// Connects with this forwarded address. Returns the connection, and the Close code if the client
/// is rejected.
fn connect_from(served: &Served, address: &str) -> (std::net::TcpStream, Option<u16>) {
    let mut stream = dial(served.addr());
    let fields = format!("X-Forwarded-For: {address}");
    stream.write_all(handshake_with(&fields).as_bytes()).unwrap();
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 101 "));
    let subscribe = crate::harness::raw::masked(0x81, br#"{"type":"subscribe","payload":"shop"}"#);
    stream.write_all(&subscribe).unwrap();
    let (first, payload) = crate::harness::raw::read_frame(&mut stream).unwrap();
    let code = (first == 0x88).then(|| u16::from_be_bytes([payload[0], payload[1]]));
    (stream, code)
}

#[test]
fn the_limit_per_address_counts_each_address_separately() {
    let served = trusting(2);
    let (first, rejected) = connect_from(&served, "203.0.113.7");
    assert_eq!(rejected, None);
    let (_second, rejected) = connect_from(&served, "203.0.113.7");
    assert_eq!(rejected, None);
    for _ in 0..3 {
        assert_eq!(connect_from(&served, "203.0.113.7").1, Some(1013));
    }
    // Only the last address comes from the trusted proxy.
    assert_eq!(connect_from(&served, "6.6.6.6, 203.0.113.7").1, Some(1013));
    let (_other, rejected) = connect_from(&served, "203.0.113.8");
    assert_eq!(rejected, None);
    // An IPv6 /64 network counts as one address.
    let _ipv6: Vec<_> = ["2001:db8::1", "2001:db8::2"].map(|a| connect_from(&served, a)).into();
    assert_eq!(connect_from(&served, "2001:db8::3:4:5:6").1, Some(1013));
    assert_eq!(connect_from(&served, "2001:db8:0:1::1").1, None);

    drop(first);
    // The server notices the disconnect a moment later.
    until("a free place", || connect_from(&served, "203.0.113.7").1.is_none());
}

#[test]
fn forwarded_addresses_of_an_untrusted_peer_are_ignored() {
    let mut config = ServerConfig::default();
    config.max_clients_per_address = Some(2);
    let served = Served::with(HubConfig::default(), config);
    let (_first, rejected) = connect_from(&served, "203.0.113.7");
    assert_eq!(rejected, None);
    let (_second, rejected) = connect_from(&served, "203.0.113.8");
    assert_eq!(rejected, None);
    assert_eq!(connect_from(&served, "203.0.113.9").1, Some(1013));
}

#[test]
fn a_subscription_beyond_the_limit_is_rejected() {
    let mut config = HubConfig::default();
    config.max_subscriptions = 3;
    let served = Served::with(config, ServerConfig::default());
    let mut client = served.client();
    assert_eq!(client.subscribe(json!(["a", "b", "c"])), json!(["a", "b", "c"]));
    client.send("subscribe", "d");
    assert_eq!(client.expect("error")["payload"]["code"], "too_many_subscriptions");
    assert_eq!(
        client.subscribe("a"),
        json!(["a", "b", "c"]),
        "the rejected request changed nothing"
    );
    client.send("unsubscribe", "a");
    assert_eq!(client.expect("unsubscribed")["payload"], json!(["b", "c"]));
    assert_eq!(client.subscribe("d"), json!(["b", "c", "d"]));
}

#[test]
fn a_request_head_may_have_at_most_64_fields() {
    let served = Served::new();
    // The handshake itself has five.
    let with_more = |n: usize| handshake_with(&vec!["A: b"; n].join("\r\n"));
    let mut stream = dial(served.addr());
    stream.write_all(with_more(59).as_bytes()).unwrap();
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 101 "));
    assert_eq!(served.ask(&with_more(60)).status, 431);
}

#[test]
fn a_burst_of_twice_the_rate_is_accepted_and_no_more() {
    let mut config = ServerConfig::default();
    // The next message would be allowed a second later.
    config.max_rate = Some(1);
    // The echo is queued by the client's own thread, so before the Close.
    let echo = |client: &Client, message: Incoming<'_>| {
        if let Incoming::Text(text) = message {
            let _ = client.send_text(text);
        }
    };
    let served = Served::with(HubConfig::default(), config.websocket("/ws/echo", echo));
    let mut client = served.client_at("/ws/echo");
    client.stream().write_all(&crate::harness::raw::masked(0x81, b"7").repeat(3)).unwrap();
    assert_eq!((client.next(), client.next()), (json!(7), json!(7)));
    assert_eq!(client.closed(), (1008, "too many messages".into()));
}

#[test]
fn each_limit_is_logged_once_however_often_it_is_hit() {
    const HITS: usize = 5;
    let args = ["--demo", "1", "--addr", "127.0.0.1:0", "--max-clients", "3"];
    let args = [&args[..], &["--max-clients-per-address", "2"]].concat();
    let mut command = kentros(&args);
    command.env("KENTROS_TRUST_PROXY", "127.0.0.1");
    let mut running = Running::start(command);
    let addr = running.addr();
    let connect = |address: &str| {
        let mut stream = dial(addr);
        let fields = format!("X-Forwarded-For: {address}");
        stream.write_all(handshake_with(&fields).as_bytes()).unwrap();
        assert!(read_head(&mut stream).starts_with("HTTP/1.1 101 "));
        stream
    };
    let mut clients: Vec<Ws> = (0..2).map(|_| Ws::over(dial(addr), addr, "/ws/stats")).collect();
    for _ in 0..HITS {
        let mut rejected = Ws::over(dial(addr), addr, "/ws/stats");
        assert_eq!(rejected.closed().0, 1013);
    }
    let _third = connect("203.0.113.7");
    for _ in 0..HITS {
        assert_eq!(read_close(&mut connect("203.0.113.8")), 1013);
        // A malformed request hits no limit.
        assert_eq!(ask(addr, "nonsense\r\n\r\n").status, 400);
        let large = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(20_000));
        assert_eq!(ask(addr, &large).status, 431);
        let ids: Vec<String> = (0..257).map(|n| n.to_string()).collect();
        clients[0].send("subscribe", ids);
        assert_eq!(clients[0].find("error")["payload"]["code"], "too_many_subscriptions");
    }
    let late = dial(addr);
    assert_eq!(Answer::read(late).status, 408);
    for mut client in clients {
        let message = crate::harness::raw::masked(0x81, br#"{"type":"unsubscribe","payload":"a"}"#);
        client.stream().write_all(&message.repeat(60)).unwrap();
        assert_eq!(client.closed().0, 1008);
    }
    running.signal(Signal::TERM);
    assert_eq!(running.ended().code(), Some(0));
    let lines: Vec<String> = running.lines.iter().filter(|line| line.contains("WARN")).collect();
    for part in [
        "with close code 1013: the limit of 2 clients per address is reached",
        "rejected 203.0.113.8:0 with close code 1013: the limit of 3 clients is reached",
        "with 431 Request Header Fields Too Large: ",
        ": more than 256 projects",
        "with 408: its request took more than 5 seconds to arrive",
        "more than 20 messages per second",
    ] {
        let found = lines.iter().filter(|line| line.contains(part)).count();
        assert_eq!(found, 1, "{part:?} in {lines:#?}");
    }
    assert_eq!(lines.len(), 6, "{lines:#?}");
}

#[test]
fn each_limit_of_a_single_client_is_logged_once() {
    const HITS: u64 = 3;
    if !in_own_process("limits::each_limit_of_a_single_client_is_logged_once", &[]) {
        return;
    }
    let warnings = Warnings::of_this_process();

    let served = Served::new();
    for _ in 0..HITS {
        let mut stream = served.raw_client();
        stream.write_all(&crate::harness::raw::masked(0x81, &[b' '; 4097])).unwrap();
        assert_eq!(read_close(&mut stream), 1009);
    }

    let mut config = ServerConfig::default();
    config.silence_limit = Duration::from_millis(300);
    let served = Served::with(HubConfig::default(), config);
    for _ in 0..HITS {
        assert_eq!(read_close(&mut served.raw_client()), 1008);
    }

    let mut config = ServerConfig::default();
    config.access = Access::Token(Token::new(TOKEN).unwrap());
    let served = Served::with(HubConfig::default(), config);
    for _ in 0..HITS {
        let form = "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4097\r\n\r\n";
        assert_eq!(served.ask(form).status, 413);
    }

    // More than the kernel buffers for a client that does not read.
    let flood = |served: &Served| {
        let _clients: Vec<Ws> = (0..HITS).map(|_| served.narrow_client()).collect();
        served.until_clients(3);
        let message = Message::new("heavy", "x".repeat(64 * 1024));
        for _ in 0..256 {
            served.handle().broadcast(&message).unwrap();
        }
        let evicted = || {
            let counters = served.handle().counters();
            counters.evicted_slow + counters.evicted_deadline
        };
        until("the evictions", || evicted() == HITS);
    };
    let mut config = HubConfig::default();
    config.queue_messages = 2;
    flood(&Served::with(config, ServerConfig::default()));
    let mut config = HubConfig::default();
    (config.queue_messages, config.queue_bytes) = (1000, usize::MAX);
    config.write_deadline = Duration::from_millis(300);
    flood(&Served::with(config, ServerConfig::default()));

    let lines = warnings.lines();
    for part in [
        "with close code 1009: it sent a message of more than 4096 bytes",
        "with close code 1008: no sign of life for 300ms",
        "with 413 Content Too Large: ",
        "with close code 1008: it reads too slowly, and its queue is full",
        "disconnected a client: it took more than 300ms to read one message",
    ] {
        assert_eq!(lines.iter().filter(|line| line.contains(part)).count(), 1, "{lines:#?}");
    }
    assert_eq!(lines.len(), 5, "{lines:#?}");
}

#[test]
fn the_client_limit_is_lowered_to_fit_the_descriptors() {
    let running = demo_with_128_descriptors("--max-clients 500");
    assert!(
        running.line("WARN").contains("lowered from 500 to 48"),
        "128 descriptors minus 64 reserved and 16 for requests"
    );
    let addr = running.addr();
    let _clients: Vec<Ws> = (0..48)
        .map(|_| {
            let mut client = Ws::over(dial(addr), addr, "/ws/stats");
            client.find("engine_status");
            client
        })
        .collect();
    assert_eq!(Ws::over(dial(addr), addr, "/ws/stats").closed().0, 1013);
}

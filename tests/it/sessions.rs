//! Sessions: the accept function, the state of each client, and how a connection ends.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use kentros::{Client, CloseReason, HubConfig, Incoming, Request, Response, ServerConfig, Session};
use serde_json::{Value, json};
use tungstenite::Message as Frame;

use crate::harness::raw::{
    Answer, handshake, handshake_with, masked, read_close, read_frame, read_head,
};
use crate::harness::shutdown::{Way, end};
use crate::harness::{GUARD, Served, Ws, dial, numbered, until};

/// A server with this configuration.
fn serve(config: ServerConfig) -> Served {
    Served::with(HubConfig::default(), config)
}

/// A plain GET request.
fn get_at(target: &str, fields: &str) -> String {
    let fields = [fields, "Host: localhost:9001"].join("\r\n");
    format!("GET {target} HTTP/1.1\r\n{}\r\n\r\n", fields.trim_start())
}

/// A WebSocket handshake for another target, with more headers.
fn handshake_at(target: &str, fields: &str) -> String {
    let handshake = if fields.is_empty() { handshake() } else { handshake_with(fields) };
    handshake.replace("/ws/stats", target)
}

/// Replies to each message with the number of messages so far.
#[derive(Default)]
struct Count(u64);

impl Session for Count {
    fn message(&mut self, client: &Client, _: Incoming<'_>) {
        self.0 += 1;
        client.send_text(&self.0.to_string()).unwrap();
    }
}

/// Sends a message to a [`Count`] session and returns the reply.
#[track_caller]
fn count(client: &mut Ws) -> Value {
    client.send_frame(Frame::text("count"));
    client.next()
}

#[test]
fn each_client_has_its_own_session_state() {
    let served = serve(ServerConfig::bare().sessions("/ws", |_| Ok(Count::default())));
    let (mut one, mut other) = (served.client_at("/ws"), served.client_at("/ws"));
    assert_eq!(
        [count(&mut one), count(&mut one), count(&mut other), count(&mut one)],
        [1, 2, 1, 3]
    );
}

/// Everything that an accept function or a route can read from its request.
fn describe(request: &Request) -> Value {
    json!({
        "path": request.path(),
        "tail": request.tail(),
        "query": request.query(),
        "token": request.parameter("token"),
        "name": request.parameter("name"),
        "empty": request.parameter("empty"),
        "no parameter": request.parameter("nam"),
        "header": request.header("x-cUSTOM"),
        "no header": request.header("X-Other"),
        "cookie": request.cookie("session"),
        "no cookie": request.cookie("sess"),
        "peer": request.peer_addr(),
    })
}

#[test]
fn a_session_and_a_route_see_the_whole_request() {
    let config = ServerConfig::bare()
        .base("/app")
        .sessions("/ws/rooms/*", |request| -> Result<Count, Response> {
            Err(Response::json(&describe(request)).unwrap().with_status(403))
        })
        .route("/api/*", |request| Response::json(&describe(request)).unwrap());
    let served = serve(config);
    let fields = "X-Custom: Some Value\r\nCookie: theme=dark; session=abc-123; other=x";
    let query = "token=x%26y%3D1&name=J%C3%BCrgen&empty=";
    let target = |path: &str| format!("/app{path}?{query}");
    let cases = [
        (handshake_at(&target("/ws/rooms/a%20b/c"), fields), "/ws/rooms/a%20b/c", "a b/c"),
        (get_at(&target("/api/a%2Fb"), fields), "/api/a%2Fb", "a/b"),
    ];
    for (request, path, tail) in cases {
        let mut stream = dial(served.addr());
        stream.write_all(request.as_bytes()).unwrap();
        let peer = stream.local_addr().unwrap();
        let seen: Value = serde_json::from_str(&Answer::read(stream).body).unwrap();
        let expected = json!({
            "path": path,
            "tail": tail,
            "query": query,
            "token": "x&y=1",
            "name": "Jürgen",
            "empty": "",
            "no parameter": null,
            "header": "Some Value",
            "no header": null,
            "cookie": "abc-123",
            "no cookie": null,
            "peer": peer,
        });
        assert_eq!(seen, expected);
    }
    let seen = served.get("/app/api/x").body;
    assert_eq!(serde_json::from_str::<Value>(&seen).unwrap()["query"], Value::Null);
}

/// Sends its client this greeting.
struct Greeter(String);

impl Session for Greeter {
    fn open(&mut self, client: &Client) {
        client.send_text(&json!(self.0).to_string()).unwrap();
    }

    fn message(&mut self, _: &Client, _: Incoming<'_>) {}
}

/// Accepts a client that has a `name` cookie.
fn by_cookie(request: &Request) -> Result<Greeter, Response> {
    let name = request.cookie("name").ok_or_else(|| {
        Response::new(402, "application/problem+json", r#"{"title":"pay first"}"#)
            .with_header("X-Reason", "unpaid")
            .with_header("Set-Cookie", "visited=1; Path=/")
    })?;
    Ok(Greeter(name.to_owned()))
}

#[test]
fn a_refused_upgrade_gets_the_response_of_the_accept_function() {
    let served = serve(ServerConfig::bare().sessions("/ws", by_cookie));
    let answer = served.ask(&handshake_at("/ws", ""));
    assert_eq!(answer.status, 402, "{answer:?}");
    assert_eq!(answer.field("content-type"), "application/problem+json");
    assert_eq!(answer.field("x-reason"), "unpaid");
    assert_eq!(answer.field("set-cookie"), "visited=1; Path=/");
    assert_eq!(answer.body, r#"{"title":"pay first"}"#);
}

#[test]
fn a_refused_upgrade_does_not_count_as_a_client() {
    let served = serve(ServerConfig::bare().with_max_clients(1).sessions("/ws", by_cookie));
    let head = |fields: &str| {
        let mut stream = dial(served.addr());
        stream.write_all(handshake_at("/ws", fields).as_bytes()).unwrap();
        let head = read_head(&mut stream);
        (stream, head)
    };
    // These clients have their response but keep their side open.
    let refused: Vec<_> = (0..10).map(|_| head("")).collect();
    for (_, head) in &refused {
        assert!(head.starts_with("HTTP/1.1 402 "), "{head}");
    }
    let (mut client, _) = head("Cookie: name=ann");
    assert_eq!(read_frame(&mut client), Some((0x81, br#""ann""#.to_vec())));
}

#[test]
fn a_blocked_accept_delays_no_other_connection_and_has_no_deadline() {
    let (arrived, arrivals) = unbounded();
    let (release, blocked) = bounded::<()>(0);
    let accept = move |request: &Request| {
        if request.parameter("wait").is_some() {
            arrived.send(()).unwrap();
            let _ = blocked.recv_timeout(2 * GUARD);
        }
        Ok(Count::default())
    };
    let config = ServerConfig::bare().page("/page", "text/plain", "a page").sessions("/ws", accept);
    let served = serve(config);
    let mut waiting: Vec<TcpStream> = (0..3)
        .map(|_| {
            let mut stream = dial(served.addr());
            stream.write_all(handshake_at("/ws?wait=1", "").as_bytes()).unwrap();
            arrivals.recv_timeout(GUARD).unwrap();
            stream
        })
        .collect();
    let mut clients: Vec<Ws> = (0..3).map(|_| served.client_at("/ws")).collect();
    for n in 1..=3 {
        for client in &mut clients {
            assert_eq!(count(client), n);
        }
        assert_eq!(served.get("/page").body, "a page");
    }
    // A later connection exceeds the five seconds for a request head, the waiting ones do not.
    assert_eq!(Answer::read(dial(served.addr())).status, 408);
    drop(release);
    for stream in &mut waiting {
        let head = read_head(stream);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        stream.write_all(&masked(0x81, b"count")).unwrap();
        assert_eq!(read_frame(stream), Some((0x81, b"1".to_vec())));
    }
    for client in &mut clients {
        assert_eq!(count(client), 4);
    }
}

#[test]
fn a_panic_in_accept_returns_500_and_the_server_keeps_running() {
    let served = serve(ServerConfig::bare().sessions("/ws", |request| {
        assert!(request.query().is_none(), "test: the accept function panics");
        Ok(Count::default())
    }));
    let mut client = served.client_at("/ws");
    for n in 1..=5 {
        let answer = served.ask(&handshake_at("/ws?panic", ""));
        assert_eq!(answer.status, 500, "{answer:?}");
        assert!(!answer.body.contains("test:"), "the panic message must not be sent: {answer:?}");
        assert_eq!(count(&mut client), n);
        assert_eq!(count(&mut served.client_at("/ws")), 1);
    }
}

/// Reports the close reason to the test, and closes the connection at any message.
struct ReportClose(Sender<CloseReason>);

impl Session for ReportClose {
    fn message(&mut self, client: &Client, _: Incoming<'_>) {
        client.close(4002, "enough");
    }

    fn close(&mut self, _: &Client, reason: CloseReason) {
        self.0.send(reason).unwrap();
    }
}

#[test]
fn close_is_called_once_with_the_reason() {
    let (reasons, reported): (_, Receiver<CloseReason>) = unbounded();
    let served = serve(
        ServerConfig::bare()
            .with_max_message(100)
            .sessions("/ws", move |_| Ok(ReportClose(reasons.clone()))),
    );
    let connect = || {
        let mut stream = dial(served.addr());
        stream.write_all(handshake_at("/ws", "").as_bytes()).unwrap();
        assert!(read_head(&mut stream).starts_with("HTTP/1.1 101 "));
        stream
    };
    let next = || reported.recv_timeout(GUARD).expect("close is called");
    let by_server = |reason: CloseReason| match reason {
        CloseReason::Server { code, reason } => (code, reason),
        other => panic!("expected a close by the server, not {other:?}"),
    };
    for (payload, expected) in [(&b"\x0f\xa1bye"[..], (Some(4001), "bye")), (b"", (None, ""))] {
        let mut stream = connect();
        stream.write_all(&masked(0x88, payload)).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        match next() {
            CloseReason::Client { code, reason } => assert_eq!((code, reason.as_str()), expected),
            other => panic!("expected a close by the client, not {other:?}"),
        }
    }
    let mut client = served.client_at("/ws");
    client.send_frame(Frame::text("close"));
    assert_eq!(client.closed(), (4002, "enough".to_owned()));
    drop(client);
    assert_eq!(by_server(next()), (4002, "enough".to_owned()));
    let mut too_long = connect();
    too_long.write_all(&masked(0x81, &[b'x'; 101])).unwrap();
    too_long.shutdown(Shutdown::Write).unwrap();
    assert_eq!(by_server(next()).0, 1009);
    drop(connect());
    assert!(matches!(next(), CloseReason::Lost));
    let mut last = connect();
    end(Way::ServerFirst, served);
    assert_eq!(by_server(next()).0, 1001);
    assert_eq!(read_close(&mut last), 1001);
    assert!(reported.recv().is_err(), "close must be called once for each connection");
}

#[test]
fn a_closure_needs_no_session_type_and_its_clients_are_not_registered() {
    let served = serve(ServerConfig::bare().websocket("/echo", |client, message| {
        let _ = match message {
            Incoming::Text(text) => client.send_text(text),
            Incoming::Binary(bytes) => client.send_binary(bytes),
        };
    }));
    let mut client = served.client_at("/echo");
    for n in 0..3 {
        client.send("echo", n);
        assert_eq!(client.expect("echo")["payload"], n);
        served.handle().broadcast(&numbered(n)).unwrap();
    }
    client.send_frame(Frame::binary(vec![1_u8, 2]));
    assert_eq!(client.frame(), Frame::binary(vec![1_u8, 2]));
    assert_eq!(served.handle().client_count(), 0);
}

/// Accepts with a greeting of this name and the part of the path that `*` matched.
fn greet_as(name: &'static str) -> impl Fn(&Request) -> Result<Greeter, Response> {
    move |request| Ok(Greeter(format!("{name} {}", request.tail())))
}

#[test]
fn the_exact_path_wins_then_the_longest_prefix() {
    let config = ServerConfig::bare()
        .sessions("/ws/*", greet_as("short"))
        .sessions("/ws/rooms/lobby", greet_as("exact"))
        .sessions("/ws/rooms/*", greet_as("long"))
        .route("/ws/rooms/old/*", |request| Response::text(request.tail()));
    let served = serve(config);
    for (path, greeting) in [
        ("/ws/x", "short x"),
        ("/ws/roomsy", "short roomsy"),
        ("/ws/rooms/lobby", "exact "),
        ("/ws/rooms/lobby/", "long lobby/"),
        ("/ws/rooms/a/b?query", "long a/b"),
    ] {
        assert_eq!(served.client_at(path).next(), greeting, "{path}");
    }
    assert_eq!(served.get("/ws/rooms/old/a").body, "a");
    for path in ["/ws", "/wsx", "/", "/rooms/lobby"] {
        assert_eq!(served.ask(&handshake_at(path, "")).status, 404, "{path}");
    }
}

#[test]
fn shutdown_returns_while_an_accept_is_blocked() {
    let (arrived, arrivals) = bounded(1);
    let (release, blocked) = bounded::<()>(0);
    let served = serve(ServerConfig::bare().sessions("/ws", move |_| {
        arrived.send(()).unwrap();
        let _ = blocked.recv_timeout(2 * GUARD);
        Ok(Count::default())
    }));
    let mut stream = dial(served.addr());
    stream.write_all(handshake_at("/ws", "").as_bytes()).unwrap();
    arrivals.recv_timeout(GUARD).unwrap();
    end(Way::ServerFirst, served);
    drop(release);
    let mut end_of_stream = || stream.read(&mut [0; 1024]).map_or(true, |n| n == 0);
    until("the connection ends", &mut end_of_stream);
}

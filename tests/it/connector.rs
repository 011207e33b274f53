//! A server without a listener: the program accepts connections and hands them over.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;

use kentros::{
    Access, Client, Connector, ErrorKind, Hub, HubConfig, Incoming, Server, ServerConfig, Session,
    Token, accept_key,
};
use serde_json::Value;
use tungstenite::Message as Frame;

use crate::access::TOKEN;
use crate::harness::raw::{Answer, handshake, masked, read_close, read_frame, read_head};
use crate::harness::{Ws, dial, numbered, report_skipped, until};

/// A program with its own listener.
struct Program {
    server: Server,
    hub: Hub,
    listener: TcpListener,
}

impl Program {
    fn new(config: ServerConfig) -> Self {
        Self::on(IpAddr::V4(Ipv4Addr::LOCALHOST), config)
    }

    fn on(ip: IpAddr, config: ServerConfig) -> Self {
        let hub = Hub::spawn(HubConfig::default()).unwrap();
        let server = Server::without_listener(hub.handle(), config).unwrap();
        let listener = TcpListener::bind((ip, 0)).unwrap();
        Self { server, hub, listener }
    }

    fn addr(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    fn connector(&self) -> Connector {
        self.server.connector()
    }

    /// Both ends of a connection that the program has accepted.
    fn pair(&self) -> (TcpStream, TcpStream) {
        let peer = dial(self.addr());
        let (accepted, from) = self.listener.accept().unwrap();
        assert_eq!(from, peer.local_addr().unwrap());
        (peer, accepted)
    }

    /// A client whose connection is handed over with nothing read from it.
    fn client(&self, path: &str) -> Ws {
        let (peer, accepted) = self.pair();
        self.connector().serve(accepted, Vec::new()).unwrap();
        Ws::over(peer, self.addr(), path)
    }

    /// A client whose handshake the program does before the server adopts it.
    fn adopted(&self, session: impl Session) -> (Ws, Result<Client, kentros::Error>) {
        let (peer, mut accepted) = self.pair();
        let addr = self.addr();
        // The client checks the response, including the accept key.
        let connecting = thread::spawn(move || Ws::over(peer, addr, "/own"));
        accept_upgrade(&mut accepted);
        let client = self.connector().adopt(accepted, Vec::new(), session);
        (connecting.join().unwrap(), client)
    }
}

/// Reads a handshake request, no byte more, and responds with 101.
fn accept_upgrade(stream: &mut TcpStream) {
    let head = read_head(stream);
    let key = head.split("\r\n").find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        accept_key(key)
    );
    stream.write_all(answer.as_bytes()).unwrap();
}

/// Greets its client and echoes each text.
struct Echo;

impl Session for Echo {
    fn open(&mut self, client: &Client) {
        client.send_text("0").unwrap();
    }

    fn message(&mut self, client: &Client, message: Incoming<'_>) {
        if let Incoming::Text(text) = message {
            client.send_text(text).unwrap();
        }
    }
}

#[test]
fn accept_key_matches_the_rfc_example() {
    // The example of RFC 6455, section 1.3.
    assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

#[test]
fn serve_accepts_any_part_of_the_connection_as_already_read() {
    let program = Program::new(ServerConfig::default());
    let frame = masked(0x81, br#"{"type":"subscribe","payload":"shop"}"#);
    let bytes = [handshake().as_bytes(), &frame].concat();
    let head = bytes.len() - frame.len();
    for read in [0, 1, 50, head - 1, head, head + 3, bytes.len()] {
        // The rest is sent before or after the connection is handed over.
        for rest_is_late in [false, true] {
            let (mut peer, mut accepted) = program.pair();
            let (first, rest) = bytes.split_at(if rest_is_late { read } else { bytes.len() });
            peer.write_all(first).unwrap();
            let mut already_read = vec![0; read];
            accepted.read_exact(&mut already_read).unwrap();
            program.connector().serve(accepted, already_read).unwrap();
            peer.write_all(rest).unwrap();
            let head = read_head(&mut peer);
            assert!(
                head.starts_with("HTTP/1.1 101 "),
                "{read} read, rest late: {rest_is_late}: {head}"
            );
            let (_, payload) = read_frame(&mut peer).unwrap();
            let message: Value = serde_json::from_slice(&payload).unwrap();
            assert_eq!(message["type"], "subscribed", "{read} read, rest late: {rest_is_late}");
        }
    }
}

#[test]
fn a_handed_over_connection_gets_pages_websockets_and_errors() {
    let config = ServerConfig::default().page("/page", "text/plain", "a page");
    let program = Program::new(config);
    for (path, status) in [("/page", 200), ("/healthz", 200), ("/nothing", 404)] {
        let (peer, accepted) = program.pair();
        let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", program.addr());
        program.connector().serve(accepted, head.into_bytes()).unwrap();
        assert_eq!(Answer::read(peer).status, status, "{path}");
    }
    let mut client = program.client("/ws/stats");
    client.subscribe("shop");
    assert_eq!(program.hub.handle().client_count(), 1);
    client.close();
    until("no client", || program.hub.handle().client_count() == 0);
}

#[test]
fn an_adopted_connection_is_a_client_like_any_other() {
    let program = Program::new(ServerConfig::bare());
    let hub = program.hub.handle();
    let (mut ws, client) = program.adopted(Echo);
    let client = client.unwrap();
    assert_eq!(client.peer_addr(), ws.stream().local_addr().unwrap());
    assert_eq!(ws.next(), 0, "open was called");
    ws.send_frame(Frame::text("1"));
    assert_eq!(ws.next(), 1);
    hub.register(&client).unwrap();
    hub.broadcast(&numbered(2)).unwrap();
    assert_eq!(ws.expect("n")["payload"], 2);
    ws.close();
    until("no client", || hub.client_count() == 0);
}

#[test]
fn adopt_keeps_frames_that_arrived_with_the_handshake() {
    let program = Program::new(ServerConfig::bare());
    let frames = [masked(0x81, b"1"), masked(0x81, b"2")].concat();
    for early in 0..=frames.len() {
        let (mut peer, mut accepted) = program.pair();
        peer.write_all(&[handshake().as_bytes(), &frames[..early]].concat()).unwrap();
        accept_upgrade(&mut accepted);
        let mut already_read = vec![0; early];
        accepted.read_exact(&mut already_read).unwrap();
        program.connector().adopt(accepted, already_read, Echo).unwrap();
        peer.write_all(&frames[early..]).unwrap();
        assert!(read_head(&mut peer).starts_with("HTTP/1.1 101 "));
        for expected in [b"0", b"1", b"2"] {
            assert_eq!(read_frame(&mut peer), Some((0x81, expected.to_vec())), "{early} early");
        }
    }
}

#[test]
fn shutdown_closes_served_and_adopted_clients_with_1001_and_refuses_new_connections() {
    let program = Program::new(ServerConfig::default());
    let mut served = program.client("/ws/stats");
    served.subscribe("shop");
    let (mut adopted, client) = program.adopted(Echo);
    client.unwrap();
    assert_eq!(adopted.next(), 0);
    let readers = thread::spawn(move || (served.closed().0, adopted.closed().0));
    let (connector, pairs) = (program.connector(), [program.pair(), program.pair()]);
    let Program { server, hub, .. } = program;
    server.shutdown();
    assert_eq!(readers.join().unwrap(), (1001, 1001));
    let [(mut first, one), (mut second, other)] = pairs;
    let head = handshake().into_bytes();
    assert_eq!(connector.serve(one, head).unwrap_err().kind(), ErrorKind::Stopped);
    let outcome = connector.adopt(other, Vec::new(), Echo);
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Stopped);
    for peer in [&mut first, &mut second] {
        let mut answer = Vec::new();
        let _ = peer.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP/1.1 101"), "the connection is closed");
    }
    hub.shutdown();
}

#[test]
fn the_client_limit_applies_to_adopted_connections() {
    let program = Program::new(ServerConfig::bare().with_max_clients(1));
    let (mut first, client) = program.adopted(Echo);
    client.unwrap();
    assert_eq!(first.next(), 0);
    // Either the call returns an error, or the client gets 1013.
    let is_served = || {
        let (mut peer, mut accepted) = program.pair();
        peer.write_all(handshake().as_bytes()).unwrap();
        accept_upgrade(&mut accepted);
        read_head(&mut peer);
        match program.connector().adopt(accepted, Vec::new(), Echo) {
            Ok(_) => match read_frame(&mut peer).unwrap() {
                (0x88, close) => {
                    assert_eq!(u16::from_be_bytes([close[0], close[1]]), 1013);
                    false
                }
                (_, greeting) => greeting == b"0",
            },
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
                assert_eq!(read_close(&mut peer), 1013);
                false
            }
        }
    };
    for _ in 0..5 {
        assert!(!is_served());
    }
    first.close();
    // The server notices the disconnect a moment later.
    until("a free place", is_served);
}

#[test]
fn a_connector_can_be_cloned_and_used_on_any_thread() {
    fn clone_sendable<T: Clone + Send + 'static>(value: &T) -> T {
        value.clone()
    }
    let program = Program::new(ServerConfig::bare().page("/", "text/plain", "mine"));
    let connector = clone_sendable(&program.connector());
    let pairs: Vec<_> = (0..10).map(|_| program.pair()).collect();
    let threads: Vec<_> = pairs
        .into_iter()
        .map(|(mut peer, accepted)| {
            let connector = connector.clone();
            thread::spawn(move || {
                connector.serve(accepted, Vec::new()).unwrap();
                peer.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
                Answer::read(peer).body
            })
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), "mine");
    }
}

/// An address of this machine other than loopback, if it has one.
fn outer_address() -> Option<IpAddr> {
    // Connecting a UDP socket sends nothing; the address is reserved for documentation.
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
}

#[test]
fn without_a_token_only_connections_over_loopback_are_served() {
    let Some(ip) = outer_address() else {
        return report_skipped(
            "without_a_token_only_connections_over_loopback_are_served",
            "this machine has only loopback addresses",
        );
    };
    let token = Access::Token(Token::new(TOKEN).unwrap());
    let page = ServerConfig::bare().page("/", "text/plain", "mine");
    for (config, served) in [(page.clone(), false), (page.with_access(token), true)] {
        let program = Program::on(ip, config);
        let (mut peer, accepted) = program.pair();
        let head = format!(
            "GET / HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n",
            program.addr()
        );
        peer.write_all(head.as_bytes()).unwrap();
        let outcome = program.connector().serve(accepted, Vec::new());
        let mut answer = String::new();
        let _ = peer.read_to_string(&mut answer);
        assert_eq!(answer.contains("mine"), served, "{outcome:?}: {answer}");
        assert!(served || outcome.is_err() || answer.starts_with("HTTP/1.1 403"), "{answer}");
    }
}

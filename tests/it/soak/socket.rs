//! WebSocket connections of the soak. They return errors instead of panicking.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType};
use serde_json::{Value, json};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error as Fault, Message, WebSocket};

use super::GUARD;

pub(super) type Ws = WebSocket<TcpStream>;

/// How long the server waits for a request head.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// The server's token, also in [`HEAD`].
pub(super) const TOKEN: &str = "the-token-of-the-soak";

/// The handshake of RFC 6455, section 1.3.
pub(super) const HEAD: &str = "GET /ws/stats HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
                    Authorization: Bearer the-token-of-the-soak\r\n\
                    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

pub(super) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

pub(super) fn dial(addr: SocketAddr) -> io::Result<TcpStream> {
    with_timeouts(TcpStream::connect(addr)?)
}

/// Connects with the smallest receive buffer.
pub(super) fn dial_narrow(addr: SocketAddr) -> io::Result<TcpStream> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 2048)?;
    rustix::net::connect(&socket, &addr)?;
    with_timeouts(TcpStream::from(socket))
}

pub(super) fn with_timeouts(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(GUARD))?;
    stream.set_write_timeout(Some(GUARD))?;
    Ok(stream)
}

/// Connects and upgrades. Retries if this client took longer to send its head than the server
/// waits.
pub(super) fn connect(
    addr: SocketAddr,
    dial: impl Fn(SocketAddr) -> io::Result<TcpStream>,
) -> Result<Ws, String> {
    let begun = Instant::now();
    loop {
        let asked = Instant::now();
        let stream = dial(addr).map_err(|error| format!("connecting: {error}"))?;
        let sent = (&stream).write_all(HEAD.as_bytes());
        let took = asked.elapsed();
        let result = sent.map_err(|error| format!("sending its head: {error}"));
        match result.and_then(|()| read_response(&stream, Vec::new())) {
            Ok(rest) => return Ok(websocket(stream, rest)),
            Err(_) if took >= HEAD_TIMEOUT && begun.elapsed() < GUARD => {}
            Err(why) => return Err(format!("after {took:.1?} for its head: {why}")),
        }
    }
}

/// Reads the response to a handshake, of which `read` was read before. Returns what follows it.
pub(super) fn read_response(mut stream: &TcpStream, mut read: Vec<u8>) -> Result<Vec<u8>, String> {
    loop {
        if let Some(at) = read.windows(4).position(|end| end == b"\r\n\r\n") {
            let rest = read.split_off(at + 4);
            let head = String::from_utf8_lossy(&read);
            if head.starts_with("HTTP/1.1 101 ") && head.contains(ACCEPT) {
                return Ok(rest);
            }
            return Err(format!("{head}{}", String::from_utf8_lossy(&rest)));
        }
        let mut buffer = [0; 1024];
        match stream.read(&mut buffer) {
            Ok(0) => {
                return Err(format!("the stream ended after {:?}", String::from_utf8_lossy(&read)));
            }
            Ok(n) => read.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(format!("no response: {error}")),
        }
    }
}

/// The WebSocket after the handshake. Reads time out after half a second.
pub(super) fn websocket(stream: TcpStream, rest: Vec<u8>) -> Ws {
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let config = WebSocketConfig::default().read_buffer_size(8 * 1024);
    let config = config.max_message_size(None).max_frame_size(None);
    WebSocket::from_partially_read(stream, rest, Role::Client, Some(config))
}

/// Sends a request.
pub(super) fn send(socket: &mut Ws, kind: &str, payload: impl Into<Value>) -> Result<(), String> {
    let text = json!({"type": kind, "payload": payload.into()}).to_string();
    socket.send(Message::text(text)).map_err(|error| format!("{kind}: {error}"))
}

/// The type of a message, which is its first member.
pub(super) fn kind(text: &str) -> Result<&str, String> {
    let kind = text.strip_prefix("{\"type\":\"").and_then(|rest| rest.split('"').next());
    kind.ok_or_else(|| format!("not a message: {text}"))
}

/// Reads up to a message of this type. Only rows of these projects may arrive, if there are any.
pub(super) fn find(
    socket: &mut Ws,
    kind: &str,
    projects: &BTreeSet<String>,
) -> Result<Value, String> {
    let begun = Instant::now();
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => {
                let message: Value =
                    serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
                if message["type"] == "container_stats" && !projects.is_empty() {
                    let rows = message["payload"].as_object().into_iter().flatten();
                    let mut of = rows.map(|(_, row)| row["project_id"].as_str());
                    if !of.all(|id| id.is_some_and(|id| projects.contains(id))) {
                        return Err(format!("subscribed to {projects:?}, got {text}"));
                    }
                }
                if message["type"] == kind {
                    return Ok(message);
                }
            }
            Ok(Message::Close(close)) => {
                return Err(format!("closed while waiting for {kind}: {close:?}"));
            }
            Ok(_) => {}
            Err(Fault::Io(error)) if is_timeout(&error) => {}
            Err(error) => return Err(format!("connection lost while waiting for {kind}: {error}")),
        }
        if begun.elapsed() > GUARD {
            return Err(format!("no {kind}"));
        }
    }
}

/// Reads on after a stall, then closes. Returns whether the server evicted the client.
pub(super) fn catches_up(socket: &mut Ws) -> Result<bool, String> {
    // After the reply nothing old is queued, and the connection cannot end by an eviction.
    if send(socket, "subscribe", "p0").is_err() {
        return Ok(true);
    }
    let (mut since, mut caught_up) = (Instant::now(), false);
    loop {
        match socket.read() {
            Ok(Message::Text(text)) if kind(&text)? == "subscribed" => {
                (since, caught_up) = (Instant::now(), true);
                if socket.close(None).is_err() {
                    return Ok(false);
                }
            }
            // The server writes the long replies of all clients one after the other.
            Ok(Message::Text(text)) if kind(&text)? == "history" => since = Instant::now(),
            Ok(Message::Close(Some(close))) if close.reason.starts_with("too slow") => {
                return Ok(true);
            }
            Ok(Message::Close(close)) if !caught_up => return Err(format!("closed: {close:?}")),
            Ok(_) => {}
            Err(Fault::Io(error)) if is_timeout(&error) => {}
            Err(_) => return Ok(!caught_up),
        }
        if since.elapsed() > GUARD {
            return Err(format!("neither served nor evicted; caught up: {caught_up}"));
        }
    }
}

pub(super) fn is_timeout(error: &io::Error) -> bool {
    use ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}

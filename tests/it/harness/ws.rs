//! A WebSocket client.

use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use serde_json::{Value, json};
use tungstenite::client::client_with_config;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error as Fault, Message as Frame, WebSocket};

use super::{GUARD, RetryInterrupted};

/// A tungstenite client that reads JSON messages.
#[derive(Debug)]
pub(crate) struct Ws(WebSocket<RetryInterrupted>);

impl Ws {
    pub(crate) fn over(stream: TcpStream, addr: SocketAddr, path: &str) -> Self {
        let config = WebSocketConfig::default().read_buffer_size(16 * 1024);
        let config = config.max_message_size(None).max_frame_size(None);
        let url = format!("ws://{addr}{path}");
        let (socket, _) = client_with_config(&url, RetryInterrupted(stream), Some(config)).unwrap();
        Self(socket)
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.0.get_ref().0
    }

    /// The next text, binary or Close message. tungstenite answers pings in between.
    #[track_caller]
    pub(crate) fn frame(&mut self) -> Frame {
        loop {
            match self.0.read().expect("a message within the guard") {
                Frame::Ping(_) | Frame::Pong(_) => {}
                frame => return frame,
            }
        }
    }

    /// The next message, which must be a JSON document in a text frame.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Value {
        match self.frame() {
            Frame::Text(text) => serde_json::from_str(&text).expect("one JSON document per frame"),
            other => panic!("expected a text message, got {other:?}"),
        }
    }

    /// The next message, which must be of this type.
    #[track_caller]
    pub(crate) fn expect(&mut self, kind: &str) -> Value {
        let message = self.next();
        assert_eq!(message["type"], kind, "{message}");
        message
    }

    /// The next message of this type. Skips all others.
    #[track_caller]
    pub(crate) fn find(&mut self, kind: &str) -> Value {
        self.find_where(kind, |_| true)
    }

    /// The next message of this type that satisfies `condition`. Skips all others.
    #[track_caller]
    pub(crate) fn find_where(&mut self, kind: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + GUARD;
        loop {
            let message = self.next();
            if message["type"] == kind && condition(&message) {
                return message;
            }
            assert!(Instant::now() < deadline, "no {kind} as expected within {GUARD:?}: {message}");
        }
    }

    /// Reads up to the next message of this type. Returns the messages before it.
    #[track_caller]
    pub(crate) fn all_until(&mut self, kind: &str) -> Vec<Value> {
        let deadline = Instant::now() + GUARD;
        let mut before = Vec::new();
        loop {
            let message = self.next();
            if message["type"] == kind {
                return before;
            }
            before.push(message);
            assert!(Instant::now() < deadline, "no {kind} within {GUARD:?}");
        }
    }

    #[track_caller]
    pub(crate) fn send_frame(&mut self, frame: Frame) {
        self.0.send(frame).unwrap();
    }

    #[track_caller]
    pub(crate) fn send(&mut self, kind: &str, payload: impl Into<Value>) {
        let message = json!({"type": kind, "payload": payload.into()});
        self.send_frame(Frame::text(message.to_string()));
    }

    /// Subscribes and waits for the reply. Returns the ids it is subscribed to. The hub has handled
    /// all earlier requests by then.
    #[track_caller]
    pub(crate) fn subscribe(&mut self, projects: impl Into<Value>) -> Value {
        self.send("subscribe", projects);
        self.find("subscribed")["payload"].clone()
    }

    /// Reads up to the Close, which must be followed by a clean end of the stream. Returns its code
    /// and reason.
    #[track_caller]
    pub(crate) fn closed(&mut self) -> (u16, String) {
        let close = loop {
            if let Frame::Close(close) = self.frame() {
                break close.expect("a Close with a code");
            }
        };
        match self.0.read() {
            Err(Fault::ConnectionClosed) => {}
            other => panic!("expected a clean end after the Close, got {other:?}"),
        }
        (close.code.into(), close.reason.to_string())
    }

    /// Sends a Close and reads to the end of the stream.
    #[track_caller]
    pub(crate) fn close(mut self) {
        self.0.close(None).unwrap();
        loop {
            match self.0.read() {
                Ok(_) => {}
                Err(Fault::ConnectionClosed) => return,
                Err(other) => panic!("expected a reply to the Close, got {other:?}"),
            }
        }
    }
}

//! One connection from its acceptance to the end of its answer, or to its WebSocket.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use super::auth::lock::Form;
use super::routes::DeferredRoute;
use crate::http::head::{Head, MAX_HEAD};
use crate::http::response::Response;

/// A connection that is no WebSocket client yet.
pub(super) struct PendingRequest {
    pub(super) socket: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) since: Instant,
    pub(super) deadline: Instant,
    pub(super) stage: Stage,
}

pub(super) enum Stage {
    /// What has come of the head; `unparsed` until all of that has been looked at.
    Head { bytes: Vec<u8>, unparsed: bool },
    /// What has come of a login form.
    Form { form: Form, bytes: Vec<u8> },
    /// Another thread has the response, sooner or later.
    Deferred { route: Arc<dyn DeferredRoute>, head_only: bool },
    /// A thread computes the response, or will.
    Computed { head_only: bool },
    /// What is left of the response.
    Write { bytes: Vec<u8>, sent: usize },
    /// The response is out and our half is shut: the peer must have time to read it.
    Drain,
}

/// What a step left.
pub(super) enum Step {
    /// Wait for readiness.
    Wait,
    /// The connection is over.
    Over,
    /// The head is whole.
    Whole(Head, Vec<u8>),
    /// The login form is whole.
    Login(Form, Vec<u8>),
    /// Give this response.
    Refuse(Response),
    /// The response is out.
    Sent,
}

impl PendingRequest {
    /// Does what the socket's readiness allows.
    pub(super) fn step(&mut self) -> Step {
        let mut buffer = [0; 2048];
        match &mut self.stage {
            Stage::Head { bytes, unparsed } => loop {
                if std::mem::take(unparsed) {
                    match Head::parse(bytes) {
                        Ok(None) => {}
                        Ok(Some(head)) => {
                            let rest = bytes.split_off(head.length.min(bytes.len()));
                            return Step::Whole(head, rest);
                        }
                        Err(response) => return Step::Refuse(response),
                    }
                }
                match self.socket.read(&mut buffer) {
                    Ok(0) => return Step::Over,
                    Ok(n) => bytes.extend_from_slice(buffer.get(..n).unwrap_or_default()),
                    Err(error) => return paused(&error),
                }
                *unparsed = true;
            },
            Stage::Form { form, bytes } => {
                while bytes.len() < form.length {
                    match self.socket.read(&mut buffer) {
                        Ok(0) => return Step::Over,
                        Ok(n) => bytes.extend_from_slice(buffer.get(..n).unwrap_or_default()),
                        Err(error) => return paused(&error),
                    }
                }
                bytes.truncate(form.length);
                Step::Login(std::mem::take(form), std::mem::take(bytes))
            }
            // Only the end of the connection is awaited.
            Stage::Deferred { .. } | Stage::Computed { .. } => Step::Over,
            Stage::Write { bytes, sent } => loop {
                let rest = bytes.get(*sent..).unwrap_or_default();
                if rest.is_empty() {
                    // Only our half: closing with unread input would take the answer with it.
                    let _ = self.socket.shutdown(Shutdown::Write);
                    return Step::Sent;
                }
                match self.socket.write(rest) {
                    Ok(n) => *sent += n,
                    Err(error) => return paused(&error),
                }
            },
            Stage::Drain => match self.socket.read(&mut buffer) {
                Ok(0) => Step::Over,
                Ok(_) => Step::Wait,
                Err(error) => paused(&error),
            },
        }
    }
}

fn paused(error: &io::Error) -> Step {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Step::Wait,
        _ => Step::Over,
    }
}

/// Answers a connection that nobody can wait for. It fits at once; but whoever closes a socket
/// whose input is unread resets the connection, and the answer is lost.
pub(super) fn turn_away(mut socket: &TcpStream, response: &[u8]) {
    let _ = socket.write(response);
    let _ = socket.shutdown(Shutdown::Write);
    let mut input = [0; 2048];
    for _ in 0..MAX_HEAD / input.len() {
        if !socket.read(&mut input).is_ok_and(|n| n > 0) {
            return;
        }
    }
}

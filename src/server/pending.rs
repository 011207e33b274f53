//! A connection from accept until its response is sent, or until it becomes a WebSocket.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use super::auth::login::LoginForm;
use super::outgoing::Outgoing;
use super::routes::DeferredRoute;
use crate::connection::socket::Socket as _;
use crate::http::head::{MAX_HEAD, RequestHead};
use crate::http::response::Response;

/// A connection that is not a WebSocket client yet.
pub(super) struct PendingRequest {
    pub(super) socket: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) accepted: Instant,
    pub(super) deadline: Instant,
    /// Accepted beyond the limit of requests, for a health check.
    pub(super) over_limit: bool,
    pub(super) stage: RequestStage,
}

pub(super) enum RequestStage {
    /// `unparsed` is true while some of `bytes` has not been parsed.
    ReadHead {
        bytes: Vec<u8>,
        unparsed: bool,
    },
    ReadLoginForm {
        form: LoginForm,
        bytes: Vec<u8>,
    },
    /// Waits for the response of a deferred route.
    AwaitDeferred {
        route: Arc<dyn DeferredRoute>,
        authorized: bool,
        head_only: bool,
    },
    /// Waits for a handler's thread.
    AwaitHandler {
        head_only: bool,
    },
    Write(Outgoing),
    /// The response is sent and our half is closed: waits until the peer has read it.
    Drain,
}

/// The result of [`PendingRequest::advance`].
pub(super) enum RequestProgress {
    /// Waits for readiness.
    Waiting,
    /// The connection has ended.
    Ended,
    /// The head is complete; the bytes are those after it.
    Head(RequestHead, Vec<u8>),
    /// The login form is complete.
    LoginForm(LoginForm, Vec<u8>),
    /// The request is invalid. This is its response.
    Invalid(Response),
    /// The response is sent.
    Sent,
}

impl PendingRequest {
    /// Reads or writes as much as the socket allows without blocking.
    pub(super) fn advance(&mut self) -> RequestProgress {
        let mut buffer = [0; 2048];
        match &mut self.stage {
            RequestStage::ReadHead { bytes, unparsed } => loop {
                if std::mem::take(unparsed) {
                    match RequestHead::parse(bytes) {
                        Ok(None) => {}
                        Ok(Some(head)) => {
                            let rest = bytes.split_off(head.length.min(bytes.len()));
                            return RequestProgress::Head(head, rest);
                        }
                        Err(response) => return RequestProgress::Invalid(response),
                    }
                }
                match self.socket.read(&mut buffer) {
                    Ok(0) => return RequestProgress::Ended,
                    Ok(n) => bytes.extend_from_slice(buffer.get(..n).unwrap_or_default()),
                    Err(error) => return waiting_or_ended(&error),
                }
                *unparsed = true;
            },
            RequestStage::ReadLoginForm { form, bytes } => {
                while bytes.len() < form.length {
                    match self.socket.read(&mut buffer) {
                        Ok(0) => return RequestProgress::Ended,
                        Ok(n) => bytes.extend_from_slice(buffer.get(..n).unwrap_or_default()),
                        Err(error) => return waiting_or_ended(&error),
                    }
                }
                bytes.truncate(form.length);
                RequestProgress::LoginForm(std::mem::take(form), std::mem::take(bytes))
            }
            // In these stages the poller reports only the end of the connection.
            RequestStage::AwaitDeferred { .. } | RequestStage::AwaitHandler { .. } => {
                RequestProgress::Ended
            }
            RequestStage::Write(response) => match response.write_to(&self.socket) {
                Ok(()) => {
                    // Only our half: closing a socket with unread input resets the connection, and
                    // the peer loses the response.
                    let _ = self.socket.shutdown(Shutdown::Write);
                    RequestProgress::Sent
                }
                Err(error) => waiting_or_ended(&error),
            },
            RequestStage::Drain => match self.socket.read(&mut buffer) {
                Ok(0) => RequestProgress::Ended,
                Ok(_) => RequestProgress::Waiting,
                Err(error) => waiting_or_ended(&error),
            },
        }
    }

    /// Makes the kernel discard the unread part of the response when the connection is closed,
    /// instead of keeping it for a minute.
    pub(super) fn discard_unread(&self) {
        if let RequestStage::Write(_) = self.stage {
            // If this fails, the memory is only freed later.
            self.socket.reset_when_closed();
        }
    }
}

/// After EINTR, too, the poller reports the socket again.
fn waiting_or_ended(error: &io::Error) -> RequestProgress {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => RequestProgress::Waiting,
        _ => RequestProgress::Ended,
    }
}

/// Sends a response to a connection that cannot be kept. The response fits the socket's buffer.
/// Reads the request: closing a socket with unread input resets the connection, and the peer loses
/// the response.
pub(super) fn reject_at_once(mut socket: &TcpStream, response: &[u8]) {
    let _ = socket.write(response);
    let _ = socket.shutdown(Shutdown::Write);
    let mut input = [0; 2048];
    for _ in 0..MAX_HEAD / input.len() {
        if !socket.read(&mut input).is_ok_and(|n| n > 0) {
            return;
        }
    }
}

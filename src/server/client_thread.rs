//! The thread of one WebSocket client: creates its session and serves it.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;

use super::http_event::HttpEvent;
use super::routes::TryCreateSession;
use crate::connection::frame::Frame;
use crate::connection::reader::{self, ConnectionLimits};
use crate::http::request::Request;
use crate::http::response::Response;
use crate::poller::Waker;
use crate::{Client, Session, threads};

/// Time that a rejected client has to read its Close frame or its response.
pub(super) const REJECTION_TIMEOUT: Duration = Duration::from_secs(1);

/// What a client's thread runs.
pub(super) struct ClientThread {
    pub(super) client: Client,
    /// Taken by [`run`](Self::run).
    pub(super) session: Option<SessionOrHandshake>,
    /// Received along with the handshake.
    pub(super) early: Vec<u8>,
    pub(super) limits: Arc<ConnectionLimits>,
    /// The last field, so that everything else is dropped before the thread counts as ended.
    pub(super) end: ThreadEnd,
}

pub(super) enum SessionOrHandshake {
    Session(Box<dyn Session>),
    Handshake(Box<PendingHandshake>),
}

/// A valid handshake that the embedder accepts or rejects.
pub(super) struct PendingHandshake {
    pub(super) create_session: TryCreateSession,
    pub(super) request: Request,
    /// The response that accepts it.
    pub(super) accept: Frame,
    pub(super) content_security_policy: Arc<str>,
}

/// Notifies the HTTP loop when it is dropped: at the end of the thread, or when it panics.
pub(super) struct ThreadEnd {
    pub(super) client: u64,
    pub(super) events: Sender<HttpEvent>,
    pub(super) waker: Waker,
}

impl Drop for ThreadEnd {
    fn drop(&mut self) {
        HttpEvent::ClientEnded(self.client).send(&self.events, &self.waker);
    }
}

impl ClientThread {
    /// Takes `self` by reference: a copy would stay on the stack for as long as the client is
    /// connected.
    pub(super) fn run(&mut self) {
        let session = match self.session.take() {
            Some(SessionOrHandshake::Session(session)) => Some(session),
            Some(SessionOrHandshake::Handshake(handshake)) => {
                handshake.decide(&self.client, &self.end)
            }
            None => None,
        };
        if let Some(mut session) = session {
            let early = std::mem::take(&mut self.early);
            reader::serve(&self.client, &mut *session, early, &self.limits);
        }
    }
}

impl PendingHandshake {
    /// Returns the session, or `None` if the client is rejected.
    ///
    /// Not inlined: its stack must be free again while the client is served, which takes hours.
    #[inline(never)]
    fn decide(&self, client: &Client, end: &ThreadEnd) -> Option<Box<dyn Session>> {
        let session = threads::guarded("a session", || (self.create_session)(&self.request))
            .unwrap_or_else(|| Err(Response::internal_error()));
        match session {
            // A shutdown may have rejected the client meanwhile.
            Ok(session) => client.outbox().accept_handshake(&self.accept).then_some(session),
            Err(response) => {
                // Free the client's place before it receives the response, so that it can try again
                // at once. The flusher waits for it to read the response.
                HttpEvent::ClientRejected(client.id()).send(&end.events, &end.waker);
                let response = response.bytes(&self.content_security_policy, false);
                client.reject_handshake(&response, REJECTION_TIMEOUT);
                None
            }
        }
    }
}

//! Events that other threads send to the thread `kentros-http`.

use std::net::{SocketAddr, TcpStream};

use crossbeam_channel::Sender;

use super::routes::MakeResponse;
use crate::http::response::Response;
use crate::poller::Waker;
use crate::{Client, Error, Session};

/// The channel is unbounded: the hub's thread also sends, and must not block.
pub(super) enum HttpEvent {
    /// A deferred route has the response to this request.
    DeferredReady(u64, MakeResponse),
    /// The handler of this request has returned, and its thread ends.
    HandlerDone(u64, Response),
    /// A client's handshake has been rejected. Its thread ends soon.
    ClientRejected(u64),
    /// A client's thread ends.
    ClientEnded(u64),
    /// A connection whose WebSocket handshake is done.
    Adopt(AdoptedConnection),
    Stop,
}

/// A connection whose WebSocket handshake the embedder has done.
pub(super) struct AdoptedConnection {
    pub(super) socket: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) already_read: Vec<u8>,
    pub(super) session: Box<dyn Session>,
    pub(super) result: Sender<Result<Client, Error>>,
}

impl HttpEvent {
    /// Sends the event and wakes the thread. Returns `false` if the thread has stopped.
    pub(super) fn send(self, inbox: &Sender<Self>, waker: &Waker) -> bool {
        let sent = inbox.send(self).is_ok();
        waker.wake();
        sent
    }
}

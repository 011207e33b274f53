//! What the other threads tell the thread `kentros-http`.

use std::net::{SocketAddr, TcpStream};

use crossbeam_channel::Sender;

use super::routes::MakeResponse;
use crate::http::response::Response;
use crate::poller::Waker;
use crate::{Client, Error, Session};

/// The channel is unbounded: the hub's thread sends too, and must not wait.
pub(super) enum Event {
    /// A deferred route has its response.
    Deferred(u64, MakeResponse),
    /// The thread of a computed route ends.
    Computed(u64, Response),
    /// A client's handshake is refused; its thread ends soon.
    Refused(u64),
    /// A client's thread ends.
    Ended(u64),
    /// A connection that is upgraded already.
    Adopt(Adoption),
    Stop,
}

/// A connection whose WebSocket handshake somebody else has done.
pub(super) struct Adoption {
    pub(super) socket: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) already_read: Vec<u8>,
    pub(super) session: Box<dyn Session>,
    pub(super) answer: Sender<Result<Client, Error>>,
}

impl Event {
    /// Puts it into the inbox and wakes the thread; `false` if that has stopped.
    pub(super) fn send(self, inbox: &Sender<Self>, waker: &Waker) -> bool {
        let sent = inbox.send(self).is_ok();
        waker.wake();
        sent
    }
}

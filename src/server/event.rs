//! What the thread `kentros-http` is told by the others.

use crossbeam_channel::Sender;

use crate::hub::Reply;
use crate::poller::Waker;

/// The hub's thread tells too, so nobody ever waits to tell it.
#[derive(Debug)]
pub(super) enum Event {
    /// The hub has answered this connection's question.
    Answered(u64, Result<Reply, String>),
    /// A client's thread is at its end.
    Ended(u64),
    Stop,
}

impl Event {
    /// Puts it into the front's inbox and wakes the front.
    pub(super) fn tell(self, inbox: &Sender<Self>, waker: &Waker) {
        // A front that has stopped needs to know no more.
        let _ = inbox.send(self);
        waker.wake();
    }
}

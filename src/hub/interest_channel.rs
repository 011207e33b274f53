//! Sends the combined interest of the hub's clients to a streamer.

use std::sync::{Arc, Mutex};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::Interest;
use crate::lock::lock;

/// The sender, owned by the hub's thread.
#[derive(Debug)]
pub(super) struct InterestSender {
    interest: Arc<Mutex<Option<Interest>>>,
    changed: Sender<()>,
}

/// The receiver, owned by the streamer.
#[derive(Debug)]
pub(super) struct InterestReceiver {
    interest: Arc<Mutex<Option<Interest>>>,
    /// Ready when the interest has changed; disconnected when the hub stops.
    pub(super) changed: Receiver<()>,
}

pub(super) fn channel() -> (InterestSender, InterestReceiver) {
    let interest = Arc::new(Mutex::new(None));
    // One slot is enough: it only signals that the interest has changed.
    let (notify, changed) = bounded(1);
    let sender = InterestSender { interest: Arc::clone(&interest), changed: notify };
    (sender, InterestReceiver { interest, changed })
}

impl InterestSender {
    /// Sets the interest; `None` without listeners. Returns whether the streamer still runs.
    pub(super) fn set(&self, interest: Option<Interest>) -> bool {
        *lock(&self.interest) = interest;
        // A full channel has the same meaning.
        !matches!(self.changed.try_send(()), Err(TrySendError::Disconnected(())))
    }
}

impl InterestReceiver {
    pub(super) fn get(&self) -> Option<Interest> {
        lock(&self.interest).clone()
    }
}

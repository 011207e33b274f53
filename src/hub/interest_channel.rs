//! Tells a streamer what the hub's clients are interested in.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::Interest;

/// The hub's end. Dropped when the hub stops.
#[derive(Debug)]
pub(super) struct InterestSender {
    interest: Arc<Mutex<Option<Interest>>>,
    changed: Sender<()>,
}

/// The streamer's end.
#[derive(Debug)]
pub(super) struct InterestReceiver {
    interest: Arc<Mutex<Option<Interest>>>,
    /// Ready when the interest has changed; disconnected when the hub stops.
    pub(super) changed: Receiver<()>,
}

pub(super) fn channel() -> (InterestSender, InterestReceiver) {
    let interest = Arc::new(Mutex::new(None));
    // One slot: a streamer that is busy needs to know only that something changed.
    let (notify, changed) = bounded(1);
    let sender = InterestSender { interest: Arc::clone(&interest), changed: notify };
    (sender, InterestReceiver { interest, changed })
}

impl InterestSender {
    /// Sets the interest; `None` while nobody listens. Returns whether the streamer still runs.
    pub(super) fn set(&self, interest: Option<Interest>) -> bool {
        *lock(&self.interest) = interest;
        // A full channel says the same already.
        !matches!(self.changed.try_send(()), Err(TrySendError::Disconnected(())))
    }
}

impl InterestReceiver {
    pub(super) fn get(&self) -> Option<Interest> {
        lock(&self.interest).clone()
    }
}

fn lock(interest: &Mutex<Option<Interest>>) -> MutexGuard<'_, Option<Interest>> {
    interest.lock().unwrap_or_else(PoisonError::into_inner)
}

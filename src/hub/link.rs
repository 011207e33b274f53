//! Between the hub, which knows who listens, and a streamer, which asks a source for them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::Answer;
use crate::Demand;

/// Readiness checks that may wait for one streamer.
const CHECKS: usize = 64;

/// The hub's end: tells what is wanted, passes on checks. Dropped when the hub stops.
#[derive(Debug)]
pub(crate) struct StreamerLink {
    demand: Arc<Mutex<Option<Demand>>>,
    changed: Sender<()>,
    checks: Sender<Answer>,
}

/// The streamer's end.
#[derive(Debug)]
pub(crate) struct HubLink {
    demand: Arc<Mutex<Option<Demand>>>,
    /// Ready when the demand changed; disconnected when the hub stops.
    pub(crate) changed: Receiver<()>,
    /// Somebody wants to know whether the source would answer.
    pub(crate) checks: Receiver<Answer>,
}

pub(crate) fn pair() -> (StreamerLink, HubLink) {
    let demand = Arc::new(Mutex::new(None));
    // One slot: a streamer that is busy needs to know only that something changed.
    let (notify, changed) = bounded(1);
    let (ask, checks) = bounded(CHECKS);
    let link = StreamerLink { demand: Arc::clone(&demand), changed: notify, checks: ask };
    (link, HubLink { demand, changed, checks })
}

impl StreamerLink {
    /// `None`: nobody listens. Tells whether the streamer is there still.
    pub(super) fn set_demand(&self, demand: Option<Demand>) -> bool {
        *lock(&self.demand) = demand;
        // Full is as good: the notice is there already.
        !matches!(self.changed.try_send(()), Err(TrySendError::Disconnected(())))
    }

    /// Has the streamer answer. One that is no longer there gives the answer back.
    pub(super) fn check(&self, answer: Answer) -> Result<(), Answer> {
        match self.checks.try_send(answer) {
            Ok(()) => {}
            Err(TrySendError::Full(answer)) => {
                answer(Err("too many checks wait for the engine already".into()));
            }
            Err(TrySendError::Disconnected(answer)) => return Err(answer),
        }
        Ok(())
    }
}

impl HubLink {
    pub(crate) fn demand(&self) -> Option<Demand> {
        lock(&self.demand).clone()
    }
}

fn lock(demand: &Mutex<Option<Demand>>) -> MutexGuard<'_, Option<Demand>> {
    demand.lock().unwrap_or_else(PoisonError::into_inner)
}

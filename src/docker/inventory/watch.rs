//! Keeps the inventory up to date with two threads while there are listeners.
//!
//! `kentros-events` blocks on the event stream, applies each event and publishes `project_status`
//! at once. `kentros-list` does what takes longer: it lists all containers, then those that events
//! have changed, inspects new ones and publishes `project_list`. When the engine is lost both
//! threads end, and the next reading opens a new session.

use std::io;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};

use super::Inventory;
use super::event_history::SharedEventHistory;
use super::events::EventReader;
use super::lister::Lister;
use crate::docker::engine::call::EventFilter;
use crate::docker::engine::client::EngineClient;
use crate::lock::lock;
use crate::{HubHandle, threads};

/// The inventory, shared by both threads and the sampler. No thread holds the lock during a call to
/// the engine.
pub(crate) type SharedInventory = Arc<Mutex<Inventory>>;

/// The two threads. Dropping this ends and joins them.
#[derive(Debug)]
pub(crate) struct InventoryWatch {
    client: EngineClient,
    event_client: EngineClient,
    inventory: SharedInventory,
    history: SharedEventHistory,
    wake_lister: Sender<()>,
    /// Disconnected once the running containers are listed, or the list has failed.
    first_list: Receiver<()>,
    /// Dropped to end both threads.
    stop: Option<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl InventoryWatch {
    /// Starts the threads.
    pub(crate) fn start(
        client: &EngineClient,
        filter: EventFilter,
        inventory: &SharedInventory,
        history: &SharedEventHistory,
        hub: Option<&HubHandle>,
    ) -> io::Result<Self> {
        let (stop, stopped) = bounded(0);
        let (list_pending, first_list) = bounded(0);
        let (wake_lister, changed) = bounded(1);
        let mut watch = Self {
            client: client.clone(),
            event_client: client.with_own_connections(),
            inventory: Arc::clone(inventory),
            history: Arc::clone(history),
            wake_lister: wake_lister.clone(),
            first_list,
            stop: Some(stop),
            threads: Vec::new(),
        };
        lock(inventory).incidents = std::mem::take(&mut lock(history).incidents);
        let (events, hub) = (watch.event_client.clone(), hub.cloned());
        let reader = EventReader::new(
            events,
            filter,
            Arc::clone(inventory),
            Arc::clone(history),
            hub.clone(),
            wake_lister,
        );
        let lister = Lister::new(client.clone(), Arc::clone(inventory), hub);
        let events_stopped = stopped.clone();
        let list = move || lister.run(list_pending, &stopped, &changed);
        watch.threads.push(threads::spawn("kentros-list", list)?);
        watch.threads.push(threads::spawn("kentros-events", move || reader.run(&events_stopped))?);
        Ok(watch)
    }

    /// Waits until the running containers are listed or the list has failed. Returns `false` at the
    /// deadline.
    pub(crate) fn wait_for_list(&self, deadline: Instant) -> bool {
        self.first_list.recv_deadline(deadline) != Err(RecvTimeoutError::Timeout)
    }

    /// Publishes the list even if it has not changed, because the hub no longer has it.
    pub(crate) fn republish(&self) {
        lock(&self.inventory).republish = true;
        wake(&self.wake_lister);
    }
}

/// Wakes `kentros-list`. A full channel means that it is about to wake up already.
pub(super) fn wake(lister: &Sender<()>) {
    match lister.try_send(()) {
        Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
    }
}

impl Drop for InventoryWatch {
    fn drop(&mut self) {
        self.stop = None;
        self.client.shutdown();
        self.event_client.shutdown();
        for thread in self.threads.drain(..) {
            // A panic is logged already.
            let _ = thread.join();
        }
        let incidents = std::mem::take(&mut lock(&self.inventory).incidents);
        lock(&self.history).incidents = incidents;
    }
}

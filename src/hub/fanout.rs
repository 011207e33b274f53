//! The fan-out over more than one thread: shards are lent to workers and come back.

use std::mem;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::delivery::{Parcels, Report, deliver};
use crate::client::Client;
use crate::registry::{Registry, Shard};
use crate::threads;

/// With fewer clients than this, waking a worker costs more than it saves.
const WORTH_A_WORKER: usize = 64;

/// One worker for each shard but the first, which the hub's own thread does.
#[derive(Debug)]
pub(super) struct Fanout {
    workers: Vec<Worker>,
}

/// A thread `kentros-fan-<n>`, joined when this is dropped.
#[derive(Debug)]
struct Worker {
    orders: Option<Sender<Order>>,
    done: Receiver<(Shard<Client>, Report)>,
    thread: Option<JoinHandle<()>>,
}

type Order = (Shard<Client>, Arc<Parcels>);

impl Fanout {
    /// Workers for `shards` shards. The hub does the shard of one that cannot be spawned.
    pub(super) fn new(shards: usize) -> Self {
        let spawn = |n| {
            Worker::spawn(n).map_err(|error| log::warn!("no thread for shard {n}: {error}")).ok()
        };
        Self { workers: (1..shards).map_while(spawn).collect() }
    }

    /// Delivers to every client; returns when the last one has been offered its parcel.
    pub(super) fn deliver(&self, registry: &mut Registry<Client>, parcels: Parcels) -> Report {
        let parcels = Arc::new(parcels);
        let workers = if registry.len() < WORTH_A_WORKER { &[] } else { self.workers.as_slice() };
        let mut shards = registry.take_shards();
        // The first is never lent: the hub's own thread would be idle meanwhile.
        let (own, rest) = shards.split_at_mut(1);
        let (lent, kept) = rest.split_at_mut(workers.len());
        for (worker, shard) in workers.iter().zip(lent.iter_mut()) {
            worker.lend(mem::take(shard), Arc::clone(&parcels));
        }
        let mut total = Report::default();
        for shard in own.iter().chain(kept.iter()) {
            total.add(deliver(shard, &parcels));
        }
        for (worker, shard) in workers.iter().zip(lent) {
            if let Ok((back, report)) = worker.done.recv() {
                *shard = back;
                total.add(report);
            }
        }
        registry.return_shards(shards);
        total
    }
}

impl Worker {
    fn spawn(n: usize) -> std::io::Result<Self> {
        let (orders, inbox) = bounded::<Order>(1);
        let (outbox, done) = bounded(1);
        let name = format!("kentros-fan-{n}");
        let thread = threads::spawn(name.clone(), move || {
            for (shard, parcels) in inbox {
                // The shard must come back whatever happens: its clients live in it.
                let report = threads::guarded(&name, || deliver(&shard, &parcels));
                if outbox.send((shard, report.unwrap_or_default())).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { orders: Some(orders), done, thread: Some(thread) })
    }

    fn lend(&self, shard: Shard<Client>, parcels: Arc<Parcels>) {
        if let Some(orders) = &self.orders {
            // It cannot be gone: its loop ends only when this sender is dropped.
            let _ = orders.send((shard, parcels));
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

//! Spreads the sending over threads: each worker borrows one shard of the clients.

use std::mem;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::registry::{Registry, Shard};
use super::subscriber::Subscriber;
use super::write_batch::{Batches, Report, deliver};
use crate::threads;

/// With fewer clients, waking a worker costs more than it saves.
const MIN_CLIENTS_FOR_WORKERS: usize = 64;

/// One worker for each shard except the first, which the hub's thread handles.
#[derive(Debug)]
pub(super) struct Fanout {
    workers: Vec<Worker>,
}

/// A thread `kentros-fan-<n>`, joined on drop.
#[derive(Debug)]
struct Worker {
    jobs: Option<Sender<FanoutJob>>,
    done: Receiver<(Shard<Subscriber>, Report)>,
    thread: Option<JoinHandle<()>>,
}

type FanoutJob = (Shard<Subscriber>, Arc<Batches>);

impl Fanout {
    /// Spawns the workers for `shards` shards. If one cannot be spawned, the hub's thread handles
    /// its shard.
    pub(super) fn new(shards: usize) -> Self {
        let spawn = |n| {
            Worker::spawn(n)
                .map_err(|error| log::warn!("cannot spawn a thread for shard {n}: {error}"))
                .ok()
        };
        Self { workers: (1..shards).map_while(spawn).collect() }
    }

    /// Sends the batches to all clients. Returns when each has been tried.
    pub(super) fn deliver(&self, registry: &mut Registry<Subscriber>, batches: Batches) -> Report {
        if batches.is_empty() {
            return Report::default();
        }
        let batches = Arc::new(batches);
        let workers =
            if registry.len() < MIN_CLIENTS_FOR_WORKERS { &[] } else { self.workers.as_slice() };
        let mut shards = registry.take_shards();
        // The hub's thread handles the first shard instead of only waiting.
        let (own, rest) = shards.split_at_mut(1);
        let (lent, kept) = rest.split_at_mut(workers.len());
        for (worker, shard) in workers.iter().zip(lent.iter_mut()) {
            worker.lend(mem::take(shard), Arc::clone(&batches));
        }
        let mut total = Report::default();
        for shard in own.iter().chain(kept.iter()) {
            total.add(deliver(shard, &batches));
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
        let (jobs, inbox) = bounded::<FanoutJob>(1);
        let (outbox, done) = bounded(1);
        let name = format!("kentros-fan-{n}");
        let thread = threads::spawn(name.clone(), move || {
            for (shard, batches) in inbox {
                // Return the shard even after a panic: it holds the clients.
                let report = threads::guarded(&name, || deliver(&shard, &batches));
                if outbox.send((shard, report.unwrap_or_default())).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { jobs: Some(jobs), done, thread: Some(thread) })
    }

    fn lend(&self, shard: Shard<Subscriber>, batches: Arc<Batches>) {
        if let Some(jobs) = &self.jobs {
            // Cannot fail: the worker ends only when this sender is dropped.
            let _ = jobs.send((shard, batches));
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

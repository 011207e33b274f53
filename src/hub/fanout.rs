//! The fan-out over more than one thread: shards are lent to workers and come back.

use std::mem;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::registry::{Registry, Shard};
use super::subscriber::Subscriber;
use super::write_batch::{Batches, Report, deliver};
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
    jobs: Option<Sender<FanoutJob>>,
    done: Receiver<(Shard<Subscriber>, Report)>,
    thread: Option<JoinHandle<()>>,
}

type FanoutJob = (Shard<Subscriber>, Arc<Batches>);

impl Fanout {
    /// Workers for `shards` shards. The hub does the shard of one that cannot be spawned.
    pub(super) fn new(shards: usize) -> Self {
        let spawn = |n| {
            Worker::spawn(n).map_err(|error| log::warn!("no thread for shard {n}: {error}")).ok()
        };
        Self { workers: (1..shards).map_while(spawn).collect() }
    }

    /// Delivers to every client; returns when the last one has been offered its batch.
    pub(super) fn deliver(&self, registry: &mut Registry<Subscriber>, batches: Batches) -> Report {
        if batches.is_empty() {
            return Report::default();
        }
        let batches = Arc::new(batches);
        let workers = if registry.len() < WORTH_A_WORKER { &[] } else { self.workers.as_slice() };
        let mut shards = registry.take_shards();
        // The first is never lent: the hub's own thread would be idle meanwhile.
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
                // The shard must come back whatever happens: its clients live in it.
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
            // It cannot be gone: its loop ends only when this sender is dropped.
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

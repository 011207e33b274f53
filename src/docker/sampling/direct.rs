//! *Direct* sampling: one call per container and tick, for engines that answer at once.

use std::collections::{HashMap, HashSet};
use std::io;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::interval::SweepInterval;
use super::readings::ContainerReadings;
use super::sample::{Sample, SampleDialect};
use crate::docker::engine::backoff::Backoff;
use crate::docker::engine::call::EngineCall;
use crate::docker::engine::client::{CALL_LIMIT, EngineClient};
use crate::docker::engine::error::EngineError;
use crate::docker::inventory::Target;
use crate::stats::reading::Reading;
use crate::threads;

/// The number of parallel calls. More only add latency, because the engine is the bottleneck.
const WORKERS: usize = 4;
/// If no response arrived for this long at the end of a sweep, the calls still pending hang.
/// Otherwise the engine is only slow.
const QUIET: Duration = Duration::from_millis(300);
/// The delay until a hung container is tried again, at first and at most.
const FIRST_DELAY: Duration = Duration::from_secs(5);
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// Four worker threads, each making one call at a time.
#[derive(Debug)]
pub(crate) struct DirectSampler {
    client: EngineClient,
    /// Dropped to end the workers.
    calls: Option<Sender<String>>,
    results: Receiver<SampleResult>,
    threads: Vec<JoinHandle<()>>,
    /// The containers with a pending call.
    pending: HashSet<String>,
    /// Those of the pending containers that this sweep waits for.
    awaited: HashSet<String>,
    /// The containers whose last call timed out. They are tried one at a time, and no sweep waits
    /// for them, so that hung containers block at most one worker.
    hung: HashMap<String, HungContainer>,
    sweep_started: Instant,
    last_response: Instant,
    interval: SweepInterval,
}

#[derive(Clone, Copy, Debug)]
struct HungContainer {
    retry_at: Instant,
    backoff: Backoff,
}

#[derive(Debug)]
struct SampleResult {
    id: String,
    at: Instant,
    sample: Result<Option<Reading>, EngineError>,
}

impl DirectSampler {
    /// Starts the workers.
    pub(crate) fn start(
        client: &EngineClient,
        dialect: SampleDialect,
        now: Instant,
    ) -> io::Result<Self> {
        let (calls, received_calls) = unbounded::<String>();
        let (results, received_results) = unbounded();
        let mut sampler = Self {
            client: client.clone(),
            calls: Some(calls),
            results: received_results,
            threads: Vec::with_capacity(WORKERS),
            pending: HashSet::new(),
            awaited: HashSet::new(),
            hung: HashMap::new(),
            sweep_started: now,
            last_response: now,
            interval: SweepInterval::default(),
        };
        for n in 1..=WORKERS {
            let (client, calls, results) =
                (client.clone(), received_calls.clone(), results.clone());
            let worker = move || make_calls(&client, dialect, &calls, &results);
            sampler.threads.push(threads::spawn(format!("kentros-call-{n}"), worker)?);
        }
        Ok(sampler)
    }

    /// The interval between two sweeps, if it is longer than normal.
    pub(crate) fn interval(&self) -> Option<Duration> {
        self.interval.lengthened()
    }

    /// Samples these containers and stores the samples in `readings`. Returns whether there were
    /// any.
    ///
    /// # Errors
    /// If no connection to the engine can be made.
    pub(crate) fn sweep(
        &mut self,
        targets: &[Target],
        readings: &mut ContainerReadings,
        now: Instant,
    ) -> Result<bool, EngineError> {
        let wanted: HashSet<&str> = targets.iter().map(|target| target.id.as_str()).collect();
        self.hung.retain(|id, _| wanted.contains(id.as_str()));
        self.awaited.retain(|id| wanted.contains(id.as_str()));
        let mut any = false;
        while let Ok(result) = self.results.try_recv() {
            any |= self.store(result, readings)?;
        }
        if self.awaited.is_empty() {
            if !self.interval.is_due(self.sweep_started, now) {
                return Ok(any);
            }
            self.sweep_started = now;
            self.queue_calls(targets, now);
        }
        let deadline = now + self.interval.max_wait();
        while !self.awaited.is_empty() {
            let Ok(result) = self.results.recv_deadline(deadline) else { break };
            any |= self.store(result, readings)?;
        }
        self.finish_sweep();
        Ok(any)
    }

    fn queue_calls(&mut self, targets: &[Target], now: Instant) {
        let Some(calls) = &self.calls else { return };
        let mut is_retrying = self.hung.keys().any(|id| self.pending.contains(id));
        for target in targets {
            if self.pending.contains(&target.id) {
                continue;
            }
            match self.hung.get(&target.id) {
                None => {
                    self.awaited.insert(target.id.clone());
                }
                Some(hung) if !is_retrying && hung.retry_at <= now => is_retrying = true,
                Some(_) => continue,
            }
            self.pending.insert(target.id.clone());
            // Cannot fail: the workers live as long as `calls`.
            let _ = calls.send(target.id.clone());
        }
    }

    fn store(
        &mut self,
        result: SampleResult,
        readings: &mut ContainerReadings,
    ) -> Result<bool, EngineError> {
        let SampleResult { id, at, sample } = result;
        self.last_response = self.last_response.max(at);
        self.pending.remove(&id);
        self.awaited.remove(&id);
        match sample {
            Ok(reading) => {
                self.hung.remove(&id);
                Ok(readings.update(&id, reading, at))
            }
            Err(error @ EngineError::Unreachable(..)) => Err(error),
            Err(error) => {
                if matches!(error, EngineError::TimedOut(_)) {
                    let backoff = match self.hung.get(&id) {
                        Some(hung) => {
                            let mut backoff = hung.backoff;
                            backoff.increase();
                            backoff
                        }
                        None => Backoff::new(FIRST_DELAY, LONGEST_DELAY),
                    };
                    let retry_at = at + backoff.delay();
                    self.hung.insert(id, HungContainer { retry_at, backoff });
                } else if !error.is_gone() {
                    log::debug!("no sample of {id}: {error}");
                }
                Ok(false)
            }
        }
    }

    /// Ends a sweep: the containers still awaited hang, unless calls are still queued or responses
    /// arrived until now. Then the next reading waits for the rest.
    fn finish_sweep(&mut self) {
        let all_started = self.calls.as_ref().is_none_or(Sender::is_empty);
        if self.awaited.is_empty() {
            self.interval.record(self.sweep_started.elapsed());
        } else if all_started && self.last_response.elapsed() >= QUIET {
            let retry_at = Instant::now();
            // Their calls are still pending. When one times out, this doubles to `FIRST_DELAY`.
            let backoff = Backoff::new(FIRST_DELAY / 2, LONGEST_DELAY);
            for id in self.awaited.drain() {
                self.hung.insert(id, HungContainer { retry_at, backoff });
            }
        }
    }
}

impl Drop for DirectSampler {
    fn drop(&mut self) {
        self.calls = None;
        self.client.shutdown();
        for thread in self.threads.drain(..) {
            // A panic is logged already.
            let _ = thread.join();
        }
    }
}

/// Makes calls until the sender of `calls` is dropped.
fn make_calls(
    client: &EngineClient,
    dialect: SampleDialect,
    calls: &Receiver<String>,
    results: &Sender<SampleResult>,
) {
    for id in calls {
        let sample: Result<Sample, _> =
            client.get(EngineCall::OneShot(&id), Instant::now() + CALL_LIMIT);
        let sample = sample.map(|sample| sample.reading_in(dialect));
        if results.send(SampleResult { id, at: Instant::now(), sample }).is_err() {
            return;
        }
    }
}

//! *Direct* sampling: one call a container and tick, for engines that answer at once.

use std::collections::{HashMap, HashSet};
use std::io;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::interval::SweepInterval;
use super::readings::ContainerReadings;
use super::sample::Sample;
use crate::docker::engine::call::EngineCall;
use crate::docker::engine::client::{CALL_LIMIT, EngineClient};
use crate::docker::engine::error::EngineError;
use crate::docker::inventory::Target;
use crate::stats::usage::Reading;
use crate::threads;

/// Calls at a time. More than four only add latency: the engine's work is what takes the time.
const WORKERS: usize = 4;
/// Without an answer for this long, what is still awaited at the end of a sweep hangs. While answers
/// come the engine is only slow.
const QUIET: Duration = Duration::from_millis(300);
/// How long a container that did not answer is left alone, at first and at most.
const FIRST_REST: Duration = Duration::from_secs(5);
const LONGEST_REST: Duration = Duration::from_secs(60);

/// Four workers, each with one call under way.
#[derive(Debug)]
pub(crate) struct DirectSampler {
    client: EngineClient,
    /// Dropped to end the workers.
    calls: Option<Sender<String>>,
    answers: Receiver<Answer>,
    threads: Vec<JoinHandle<()>>,
    /// Asked and not answered yet.
    asked: HashSet<String>,
    /// Those of the asked that this sweep waits for.
    awaited: HashSet<String>,
    /// Containers whose last call hung. They are asked one at a time, rarely, and never waited
    /// for: a hung container holds one worker, and nobody else.
    hung: HashMap<String, HungBackoff>,
    sweep: Instant,
    /// When the last answer came.
    answered: Instant,
    pace: SweepInterval,
}

/// How long a hung container is left alone.
#[derive(Clone, Copy, Debug)]
struct HungBackoff {
    until: Instant,
    length: Duration,
}

#[derive(Debug)]
struct Answer {
    id: String,
    at: Instant,
    sample: Result<Option<Reading>, EngineError>,
}

impl DirectSampler {
    /// Starts the workers.
    pub(crate) fn start(client: &EngineClient, now: Instant) -> io::Result<Self> {
        let (calls, jobs) = unbounded::<String>();
        let (answered, answers) = unbounded();
        let mut direct = Self {
            client: client.clone(),
            calls: Some(calls),
            answers,
            threads: Vec::with_capacity(WORKERS),
            asked: HashSet::new(),
            awaited: HashSet::new(),
            hung: HashMap::new(),
            sweep: now,
            answered: now,
            pace: SweepInterval::default(),
        };
        for n in 1..=WORKERS {
            let (client, jobs, answered) = (client.clone(), jobs.clone(), answered.clone());
            let work = move || work(&client, &jobs, &answered);
            direct.threads.push(threads::spawn(format!("kentros-call-{n}"), work)?);
        }
        Ok(direct)
    }

    /// The time between two sweeps where that has been stretched.
    pub(crate) fn pace(&self) -> Option<Duration> {
        self.pace.stretched()
    }

    /// Samples these containers, from `now` until all have answered or the time is up. Whether
    /// any did; an error when no connection can be made.
    pub(crate) fn sweep(
        &mut self,
        targets: &[Target],
        rows: &mut ContainerReadings,
        now: Instant,
    ) -> Result<bool, EngineError> {
        let wanted: HashSet<&str> = targets.iter().map(|target| target.id.as_str()).collect();
        self.hung.retain(|id, _| wanted.contains(id.as_str()));
        self.awaited.retain(|id| wanted.contains(id.as_str()));
        let mut any = false;
        while let Ok(answer) = self.answers.try_recv() {
            any |= self.take(answer, rows)?;
        }
        if self.awaited.is_empty() {
            if !self.pace.is_due(self.sweep, now) {
                return Ok(any);
            }
            self.sweep = now;
            self.ask(targets, now);
        }
        let deadline = now + self.pace.patience();
        while !self.awaited.is_empty() {
            let Ok(answer) = self.answers.recv_deadline(deadline) else { break };
            any |= self.take(answer, rows)?;
        }
        self.finish();
        Ok(any)
    }

    fn ask(&mut self, targets: &[Target], now: Instant) {
        let Some(calls) = &self.calls else { return };
        let mut trying = self.hung.keys().any(|id| self.asked.contains(id));
        for target in targets {
            if self.asked.contains(&target.id) {
                continue;
            }
            match self.hung.get(&target.id) {
                None => {
                    self.awaited.insert(target.id.clone());
                }
                Some(rest) if !trying && rest.until <= now => trying = true,
                Some(_) => continue,
            }
            self.asked.insert(target.id.clone());
            // The workers live as long as `calls`.
            let _ = calls.send(target.id.clone());
        }
    }

    fn take(&mut self, answer: Answer, rows: &mut ContainerReadings) -> Result<bool, EngineError> {
        self.answered = self.answered.max(answer.at);
        self.asked.remove(&answer.id);
        self.awaited.remove(&answer.id);
        match answer.sample {
            Ok(reading) => {
                self.hung.remove(&answer.id);
                Ok(rows.take(&answer.id, reading, answer.at))
            }
            Err(error @ EngineError::Unreachable(..)) => Err(error),
            Err(error) => {
                if matches!(error, EngineError::TimedOut(_)) {
                    let length = self.hung.get(&answer.id).map_or(FIRST_REST, |r| r.length * 2);
                    let length = length.min(LONGEST_REST);
                    self.hung.insert(answer.id, HungBackoff { until: answer.at + length, length });
                } else if !error.is_gone() {
                    log::debug!("no sample of {}: {error}", answer.id);
                }
                Ok(false)
            }
        }
    }

    /// After a sweep: what is still awaited hangs, unless there are calls no worker has begun, or
    /// answers came until now. Then the next reading waits for the rest.
    fn finish(&mut self) {
        let begun = self.calls.as_ref().is_none_or(Sender::is_empty);
        if self.awaited.is_empty() {
            self.pace.swept(self.sweep.elapsed());
        } else if begun && self.answered.elapsed() >= QUIET {
            let now = Instant::now();
            for id in self.awaited.drain() {
                self.hung.insert(id, HungBackoff { until: now, length: FIRST_REST / 2 });
            }
        }
    }
}

impl Drop for DirectSampler {
    fn drop(&mut self) {
        self.calls = None;
        self.client.shutdown();
        for thread in self.threads.drain(..) {
            // A panic in it has been logged.
            let _ = thread.join();
        }
    }
}

/// A worker: calls until the sender of calls is gone.
fn work(client: &EngineClient, calls: &Receiver<String>, answers: &Sender<Answer>) {
    for id in calls {
        let sample: Result<Sample, _> =
            client.get(EngineCall::OneShot(&id), Instant::now() + CALL_LIMIT);
        let sample = sample.map(|sample| sample.reading());
        if answers.send(Answer { id, at: Instant::now(), sample }).is_err() {
            return;
        }
    }
}

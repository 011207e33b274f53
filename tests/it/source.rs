//! A source of stats that does what the test says, when the test says so.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, unbounded};
use kentros::{Demand, EngineInfo, HubHandle, Snapshot, SourceError, StatsSource, StatsStreamer};

use crate::harness::GUARD;

/// What the streamer did with the source.
#[derive(Debug, PartialEq)]
pub(crate) enum Call {
    Begin,
    Collect(Demand),
    Rest,
    Check,
    Dropped,
}

/// What a reading comes to.
pub(crate) enum Reading {
    Rows(Snapshot),
    Fails(&'static str),
    Panics(&'static str),
}

/// The test's side.
pub(crate) struct Script {
    pub(crate) streamer: StatsStreamer,
    pub(crate) calls: Receiver<Call>,
    readings: Sender<Reading>,
    tick: Sender<Instant>,
    health: Arc<Mutex<Result<(), String>>>,
}

struct Scripted {
    calls: Sender<Call>,
    /// Whether there was a reading: before, it names no engine.
    asked: bool,
    readings: Receiver<Reading>,
    health: Arc<Mutex<Result<(), String>>>,
}

impl Script {
    /// Starts a streamer that reads at the test's ticks and waits for the test's readings.
    pub(crate) fn start(hub: &HubHandle) -> Self {
        let (say, calls) = unbounded();
        let (readings, scripted) = unbounded();
        let (tick, ticks) = unbounded();
        let health = Arc::new(Mutex::new(Ok(())));
        let health_too = Arc::clone(&health);
        let source = Scripted { calls: say, asked: false, readings: scripted, health: health_too };
        let streamer = hub.start_stats_streamer(ticks, source).unwrap();
        Self { streamer, calls, readings, tick, health }
    }

    /// The next call of the source.
    #[track_caller]
    pub(crate) fn call(&self) -> Call {
        self.calls.recv_timeout(GUARD).expect("the source is called")
    }

    pub(crate) fn tick(&self) {
        self.tick.send(Instant::now()).unwrap();
    }

    /// The outcome of a reading that is under way, or of the next.
    pub(crate) fn answer(&self, reading: Reading) {
        self.readings.send(reading).unwrap();
    }

    /// One tick, and what the source says to it: the demand it was asked for.
    #[track_caller]
    pub(crate) fn read(&self, reading: Reading) -> Demand {
        self.tick();
        self.answer(reading);
        match self.call() {
            Call::Collect(demand) => demand,
            other => panic!("a reading was due, not {other:?}"),
        }
    }

    pub(crate) fn health(&self, health: Result<(), String>) {
        *self.health.lock().unwrap() = health;
    }
}

impl StatsSource for Scripted {
    fn collect(&mut self, demand: &Demand) -> Result<Snapshot, SourceError> {
        self.asked = true;
        self.calls.send(Call::Collect(demand.clone())).ok();
        match self.readings.recv()? {
            Reading::Rows(snapshot) => Ok(snapshot),
            Reading::Fails(why) => Err(why.into()),
            Reading::Panics(why) => panic!("{why}"),
        }
    }

    fn begin(&mut self, _: &HubHandle) -> Result<(), SourceError> {
        self.calls.send(Call::Begin).ok();
        Ok(())
    }

    fn rest(&mut self) {
        self.calls.send(Call::Rest).ok();
    }

    fn check(&mut self) -> Result<(), SourceError> {
        self.calls.send(Call::Check).ok();
        self.health.lock().unwrap().clone().map_err(Into::into)
    }

    fn engine(&self) -> EngineInfo {
        EngineInfo {
            engine: self.asked.then(|| "Script".to_owned()),
            version: Some("1.0".to_owned()),
            ..EngineInfo::default()
        }
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.calls.send(Call::Dropped).ok();
    }
}

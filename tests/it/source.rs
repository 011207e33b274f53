//! A source of stats that does what the test says, when the test says so.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, unbounded};
use kentros::{EngineInfo, HubHandle, Interest, Snapshot, SourceError, StatsSource, Streamer};

use crate::harness::GUARD;

/// What the streamer did with the source.
#[derive(Debug, PartialEq)]
pub(crate) enum Call {
    Start,
    Collect(Interest),
    Pause,
    HealthCheck,
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
    pub(crate) streamer: Streamer,
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

    /// One tick and its reading. Returns the interest that the source was given.
    #[track_caller]
    pub(crate) fn read(&self, reading: Reading) -> Interest {
        self.tick();
        self.answer(reading);
        match self.call() {
            Call::Collect(interest) => interest,
            other => panic!("a reading was due, not {other:?}"),
        }
    }

    pub(crate) fn health(&self, health: Result<(), String>) {
        *self.health.lock().unwrap() = health;
    }
}

impl StatsSource for Scripted {
    fn collect(&mut self, interest: &Interest) -> Result<Snapshot, SourceError> {
        self.asked = true;
        self.calls.send(Call::Collect(interest.clone())).ok();
        match self.readings.recv()? {
            Reading::Rows(snapshot) => Ok(snapshot),
            Reading::Fails(why) => Err(why.into()),
            Reading::Panics(why) => panic!("{why}"),
        }
    }

    fn start(&mut self, _: &HubHandle) -> Result<(), SourceError> {
        self.calls.send(Call::Start).ok();
        Ok(())
    }

    fn pause(&mut self) {
        self.calls.send(Call::Pause).ok();
    }

    fn health_check(&mut self) -> Result<(), SourceError> {
        self.calls.send(Call::HealthCheck).ok();
        self.health.lock().unwrap().clone().map_err(Into::into)
    }

    fn engine_info(&self) -> EngineInfo {
        let mut info = if self.asked { EngineInfo::new("Script") } else { EngineInfo::default() };
        info.version = Some("1.0".to_owned());
        info
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.calls.send(Call::Dropped).ok();
    }
}

//! A stats source that the test controls.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, unbounded};
use kentros::{EngineInfo, HubHandle, Interest, Snapshot, SourceError, StatsSource, Streamer};

use crate::harness::{GUARD, Served, Ws};

/// A call of the streamer to the source.
#[derive(Debug, PartialEq)]
pub(crate) enum Call {
    Start,
    Collect(Interest),
    Pause,
    HealthCheck,
    Dropped,
}

/// The outcome of a reading.
pub(crate) enum Reading {
    Rows(Snapshot),
    Fails(&'static str),
    Panics(&'static str),
}

/// The test's side of the source.
pub(crate) struct Script {
    pub(crate) streamer: Streamer,
    pub(crate) calls: Receiver<Call>,
    readings: Sender<Reading>,
    tick: Sender<Instant>,
    health: Arc<Mutex<Result<(), String>>>,
}

/// The source itself.
struct ScriptedSource {
    calls: Sender<Call>,
    /// Whether there was a reading. Before the first, the source names no engine.
    was_read: bool,
    readings: Receiver<Reading>,
    health: Arc<Mutex<Result<(), String>>>,
}

impl Script {
    /// Starts a streamer whose ticks and readings come from the test.
    pub(crate) fn start(hub: &HubHandle) -> Self {
        let (report, calls) = unbounded();
        let (readings, scripted) = unbounded();
        let (tick, ticks) = unbounded();
        let health = Arc::new(Mutex::new(Ok(())));
        let source_health = Arc::clone(&health);
        let source = ScriptedSource {
            calls: report,
            was_read: false,
            readings: scripted,
            health: source_health,
        };
        let streamer = hub.start_stats_streamer(ticks, source).unwrap();
        Self { streamer, calls, readings, tick, health }
    }

    /// A server with such a source, which is started, and one client.
    #[track_caller]
    pub(crate) fn with_client() -> (Served, Self, Ws) {
        let served = Served::new();
        let script = Self::start(&served.handle());
        let client = served.client();
        assert_eq!(script.call(), Call::Start);
        (served, script, client)
    }

    /// Waits for the next call to the source.
    #[track_caller]
    pub(crate) fn call(&self) -> Call {
        self.calls.recv_timeout(GUARD).expect("the source is called")
    }

    pub(crate) fn tick(&self) {
        self.tick.send(Instant::now()).unwrap();
    }

    /// Sets the outcome of the current reading, or of the next one.
    pub(crate) fn answer(&self, reading: Reading) {
        self.readings.send(reading).unwrap();
    }

    /// One tick and its reading. Returns the interest that was passed to the source.
    #[track_caller]
    pub(crate) fn read(&self, reading: Reading) -> Interest {
        self.tick();
        self.answer(reading);
        match self.call() {
            Call::Collect(interest) => interest,
            other => panic!("expected a reading, not {other:?}"),
        }
    }

    /// Sets the outcome of health checks.
    pub(crate) fn health(&self, health: Result<(), String>) {
        *self.health.lock().unwrap() = health;
    }
}

impl StatsSource for ScriptedSource {
    fn collect(&mut self, interest: &Interest) -> Result<Snapshot, SourceError> {
        self.was_read = true;
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
        let mut info =
            if self.was_read { EngineInfo::new("Script") } else { EngineInfo::default() };
        info.version = Some("1.0".to_owned());
        info
    }
}

impl Drop for ScriptedSource {
    fn drop(&mut self) {
        self.calls.send(Call::Dropped).ok();
    }
}

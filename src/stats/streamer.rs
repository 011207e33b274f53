//! The thread `kentros-stats`: asks a source at each tick while somebody listens.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::payload::{EngineState, EngineStatus};
use super::published::CONTAINER_STATS;
use super::state::{CheckResponder, StatsState};
use super::{EngineInfo, StatsSource};
use crate::hub::periodic::{self, Call, PeriodicTask, Streamer};
use crate::message::unix_seconds;
use crate::{Error, HubHandle, Interest, Message, Schedule, Snapshot, SourceError, threads};

/// What is of the past once nobody listens: a client that comes an hour later must not see it.
const OF_THE_MOMENT: &[&str] = &[CONTAINER_STATS, "project_list"];
/// What is of the past once the engine is gone: figures, which would stand for the present.
const OF_THE_ENGINE: &[&str] = &[CONTAINER_STATS];
/// How long an engine may take for its first samples, before which there is nothing to show.
const FIRST_FIGURES: Duration = Duration::from_secs(5);

pub(super) fn start(
    hub: &HubHandle,
    schedule: Schedule,
    source: impl StatsSource,
) -> Result<Streamer, Error> {
    let state = hub.stats();
    let task = StatsTask {
        hub: hub.clone(),
        state: Arc::clone(&state),
        interval: schedule.interval().unwrap_or_default(),
        source,
        listening: false,
        started: false,
        held: None,
        status: None,
        reported: false,
    };
    let (streamer, calls) = periodic::spawn(hub, "kentros-stats", schedule, task)?;
    let check = move |responder: CheckResponder| {
        let call: Call<StatsTask<_>> = Box::new(move |task| task.health_check(responder));
        // A full channel drops it, and the probe times out: the source hangs.
        let _ = calls.try_send(call);
    };
    state.add_streamer(check, streamer.ended().clone());
    Ok(streamer)
}

struct StatsTask<S> {
    hub: HubHandle,
    state: Arc<StatsState>,
    /// The time between two ticks, zero where it is not known.
    interval: Duration,
    source: S,
    listening: bool,
    /// Whether the source holds something to be given back.
    started: bool,
    /// Until when a snapshot without figures is held back, from the first one on since the first
    /// listener came or the engine came back.
    held: Option<Instant>,
    /// The last status of the engine.
    status: Option<EngineStatus>,
    /// Whether the hub had room for it.
    reported: bool,
}

impl<S: StatsSource> PeriodicTask for StatsTask<S> {
    /// Starts the source, and tells the clients at once what that says of its engine.
    fn start(&mut self) {
        (self.listening, self.started) = (true, true);
        let started = threads::guarded("the source of stats", || self.source.start(&self.hub));
        match started {
            Some(Err(error)) => self.report(EngineState::Unreachable, Some(error.to_string())),
            // One that names no engine is known by its first reading alone.
            Some(Ok(())) if self.engine_info().engine.is_some() => {
                self.report(EngineState::Connected, None);
            }
            Some(Ok(())) | None => {}
        }
    }

    fn tick(&mut self, interest: &Interest) {
        match self.collect(interest) {
            Err(error) => {
                self.hub.invalidate(OF_THE_ENGINE, error.to_string());
                self.held = None;
                self.report(EngineState::Unreachable, Some(error.to_string()));
            }
            Ok(snapshot) => {
                self.report(EngineState::Connected, None);
                self.publish(snapshot);
            }
        }
    }

    fn idle(&mut self) {
        self.listening = false;
        self.clear_retained();
        self.held = None;
    }

    fn pause(&mut self) {
        self.state.history().clear();
        if std::mem::take(&mut self.started) {
            threads::guarded("the source of stats", || self.source.pause());
            // Again: the source may have published until now.
            self.clear_retained();
        }
    }
}

impl<S: StatsSource> StatsTask<S> {
    fn clear_retained(&self) {
        self.hub.clear_all(OF_THE_MOMENT);
        self.state.set_latest(None);
    }

    fn engine_info(&self) -> EngineInfo {
        threads::guarded("the source of stats", || self.source.engine_info()).unwrap_or_default()
    }

    fn publish(&mut self, snapshot: Snapshot) {
        let now = Instant::now();
        let held = self.held.get_or_insert(now + FIRST_FIGURES);
        if snapshot.hollow && now < *held {
            return;
        }
        *held = now;
        self.state.history().record(seconds_now(), snapshot.containers());
        if let Err(error) = self.hub.publish_snapshot(snapshot) {
            log::debug!("a snapshot was not published: {error}");
        }
    }

    fn collect(&mut self, interest: &Interest) -> Result<Snapshot, SourceError> {
        threads::guarded("the source of stats", || self.source.collect(interest))
            .unwrap_or_else(|| Err("the source of stats panicked; the log has the message".into()))
    }

    fn health_check(&mut self, responder: CheckResponder) {
        // While somebody listens the last reading tells, and costs the engine nothing.
        let outcome = match &self.status {
            Some(status) if self.listening => match &status.error {
                None => Ok(()),
                Some(error) => Err(error.clone()),
            },
            _ => threads::guarded("the source of stats", || self.source.health_check())
                .unwrap_or_else(|| Err("the source of stats panicked".into()))
                .map_err(|error| error.to_string()),
        };
        responder(outcome);
    }

    /// Tells the clients how the engine is, and the log, where that has changed.
    fn report(&mut self, state: EngineState, error: Option<String>) {
        let info = self.engine_info();
        self.state.set_engine(state == EngineState::Connected, info.calls, info.errors);
        let interval = info.interval.unwrap_or(self.interval);
        let last = self.status.as_ref();
        let mut status = EngineStatus {
            state,
            engine: info.engine,
            version: info.version,
            api_version: info.api_version,
            mode: info.mode,
            interval_ms: u64::try_from(interval.as_millis()).unwrap_or(u64::MAX),
            error,
            since: last.map_or(0, |last| last.since),
        };
        if last == Some(&status) {
            if !self.reported {
                self.broadcast(&status);
            }
            return;
        }
        let changed = last.is_none_or(|last| last.state != state);
        if changed {
            status.since = unix_seconds();
        }
        match &status.error {
            Some(error) => log::warn!("no stats: {error}"),
            None if changed => log::info!(
                "stats flow from {} {}",
                status.engine.as_deref().unwrap_or("the source"),
                status.version.as_deref().unwrap_or_default()
            ),
            None => {}
        }
        self.broadcast(&status);
        self.status = Some(status);
    }

    /// Where the hub has no room for it, the next reading sends it again.
    fn broadcast(&mut self, status: &EngineStatus) {
        let sent = self.hub.broadcast(&Message::new("engine_status", status).latest());
        self.reported = sent.is_ok();
    }
}

/// Unix seconds, with their fraction.
fn seconds_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

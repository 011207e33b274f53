//! The thread `kentros-stats`, which collects from a source at each tick while there is a listener.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::messages::CONTAINER_STATS;
use super::payload::{EngineState, EngineStatus};
use super::readiness::HealthResponder;
use super::state::StatsState;
use super::{EngineInfo, StatsSource};
use crate::hub::periodic::{self, PeriodicTask, Streamer, TaskCall};
use crate::message::unix_seconds;
use crate::{
    Error, HubHandle, Interest, Message, Schedule, Snapshot, SourceError, printable, threads,
};

/// Retained keys cleared when the last listener leaves: they would be outdated for the next one.
const CLEARED_WHEN_IDLE: &[&str] = &[CONTAINER_STATS, "project_list"];
/// Retained keys invalidated when collecting fails.
const INVALIDATED_ON_ERROR: &[&str] = &[CONTAINER_STATS];
/// How long snapshots without any sample are held back while the engine takes its first ones.
const FIRST_SAMPLES_TIMEOUT: Duration = Duration::from_secs(5);

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
        hold_until: None,
        status: None,
        reported: false,
    };
    let (streamer, calls) = periodic::spawn(hub, "kentros-stats", schedule, task)?;
    let check = move |responder: HealthResponder| {
        let call: TaskCall<StatsTask<_>> = Box::new(move |task| task.health_check(responder));
        // If the channel is full, the source hangs: the responder is dropped and /readyz times out.
        let _ = calls.try_send(call);
    };
    state.add_streamer(check, streamer.ended().clone());
    Ok(streamer)
}

struct StatsTask<S> {
    hub: HubHandle,
    state: Arc<StatsState>,
    /// The time between two ticks; zero if unknown.
    interval: Duration,
    source: S,
    listening: bool,
    /// Whether the source was started and not yet paused.
    started: bool,
    /// When to stop holding back empty snapshots. Set by the first snapshot after a start or an
    /// error.
    hold_until: Option<Instant>,
    /// The last engine status.
    status: Option<EngineStatus>,
    /// Whether the hub accepted that status.
    reported: bool,
}

impl<S: StatsSource> PeriodicTask for StatsTask<S> {
    /// Starts the source and reports the engine's state if that is known.
    fn start(&mut self) {
        (self.listening, self.started) = (true, true);
        let started = threads::guarded("the stats source", || self.source.start(&self.hub));
        match started {
            Some(Err(error)) => self.report(Some(text(&error))),
            // Without an engine name, the state is known only after the first snapshot.
            Some(Ok(())) if self.engine_info().engine.is_some() => self.report(None),
            Some(Ok(())) | None => {}
        }
    }

    fn tick(&mut self, interest: &Interest) {
        match self.collect(interest) {
            Err(error) => {
                let error = text(&error);
                self.hub.invalidate(INVALIDATED_ON_ERROR, error.clone());
                self.hold_until = None;
                self.report(Some(error));
            }
            Ok(snapshot) => {
                self.report(None);
                self.publish(snapshot);
            }
        }
    }

    fn idle(&mut self) {
        self.listening = false;
        self.clear_retained();
        self.hold_until = None;
    }

    fn pause(&mut self) {
        self.state.history().clear();
        if std::mem::take(&mut self.started) {
            threads::guarded("the stats source", || self.source.pause());
            // Cleared again: the source may have published since `idle`.
            self.clear_retained();
        }
    }
}

impl<S: StatsSource> StatsTask<S> {
    fn clear_retained(&self) {
        self.hub.clear_all(CLEARED_WHEN_IDLE);
        self.state.set_latest(None);
    }

    /// What the source knows about its engine, safe to log.
    fn engine_info(&self) -> EngineInfo {
        let info = threads::guarded("the stats source", || self.source.engine_info());
        let mut info = info.unwrap_or_default();
        for text in [&mut info.engine, &mut info.version, &mut info.api_version] {
            *text = text.take().map(|text| printable(&text).into_owned());
        }
        info
    }

    fn publish(&mut self, snapshot: Snapshot) {
        let now = Instant::now();
        let hold_until = self.hold_until.get_or_insert(now + FIRST_SAMPLES_TIMEOUT);
        if snapshot.awaits_samples && now < *hold_until {
            return;
        }
        *hold_until = now;
        self.state.history().record(unix_now(), snapshot.containers());
        if let Err(error) = self.hub.publish_snapshot(snapshot) {
            log::debug!("cannot publish a snapshot: {error}");
        }
    }

    fn collect(&mut self, interest: &Interest) -> Result<Snapshot, SourceError> {
        threads::guarded("the stats source", || self.source.collect(interest))
            .unwrap_or_else(|| Err("the stats source panicked; see the log".into()))
    }

    fn health_check(&mut self, responder: HealthResponder) {
        // With listeners, the last collection answers without a call to the engine.
        let result = match &self.status {
            Some(status) if self.listening => match &status.error {
                None => Ok(()),
                Some(error) => Err(error.clone()),
            },
            _ => threads::guarded("the stats source", || self.source.health_check())
                .unwrap_or_else(|| Err("the stats source panicked; see the log".into()))
                .map_err(|error| text(&error)),
        };
        responder(result);
    }

    /// Logs and broadcasts the engine's status if it has changed. `error` is that of the last call.
    fn report(&mut self, error: Option<String>) {
        let info = self.engine_info();
        let state = match &error {
            None => EngineState::Connected,
            Some(_) if info.connecting => EngineState::Connecting,
            Some(_) => EngineState::Unreachable,
        };
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
            Some(error) if info.connecting => log::info!("connecting: {error}"),
            Some(error) => log::warn!("cannot collect stats: {error}"),
            None if changed => log::info!(
                "collecting stats from {} {}",
                status.engine.as_deref().unwrap_or("the source"),
                status.version.as_deref().unwrap_or_default()
            ),
            None => {}
        }
        self.broadcast(&status);
        self.status = Some(status);
        self.state.readiness.invalidate();
    }

    /// If the hub is full, the next report sends the status again.
    fn broadcast(&mut self, status: &EngineStatus) {
        let sent = self.hub.broadcast(&Message::new("engine_status", status).latest());
        self.reported = sent.is_ok();
    }
}

/// The text of an error, which may quote the engine, safe to log and to print.
fn text(error: &SourceError) -> String {
    printable(&error.to_string()).into_owned()
}

/// The current time, Unix seconds with fraction.
fn unix_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

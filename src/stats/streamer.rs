//! The thread `kentros-stats`: asks a source at each tick while somebody listens.

use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Sender, at, bounded, never, select};

use super::{Pace, SourceError, StatsSource};
use crate::hub::link::{self, HubLink, StreamerLink};
use crate::hub::{Answer, Reply};
use crate::protocol::payload::{EngineState, EngineStatus};
use crate::protocol::unix_seconds;
use crate::{Demand, EngineInfo, Error, HubHandle, Message, Snapshot, threads};

/// How long after the last listener has left the source may keep what it holds: a page that is
/// loaded anew finds it warm.
const LINGER: Duration = Duration::from_secs(30);
/// What is of the past once nobody listens: somebody who comes an hour later must not see it.
const OF_THE_MOMENT: &[&str] = &["container_stats", "project_list"];
/// How long an engine may take for its first samples, before which there is nothing to show.
const FIRST_FIGURES: Duration = Duration::from_secs(5);
/// What is of the past once the engine is gone: figures, which would stand for the present.
const OF_THE_ENGINE: &[&str] = &["container_stats"];

/// A running streamer; see [`start_stats_streamer`](HubHandle::start_stats_streamer).
///
/// Dropping it leaves the streamer running until the hub stops.
///
/// ```
/// use std::{collections::HashMap, io, time::Duration};
/// use kentros::{Hub, HubConfig};
///
/// let hub = Hub::spawn(HubConfig::default())?;
/// let source = || Ok::<_, io::Error>(HashMap::from([("host", 1)]));
/// let streamer = hub.handle().start_stats_streamer(Duration::from_secs(1), source)?;
/// streamer.stop();
/// # Ok::<(), kentros::Error>(())
/// ```
#[derive(Debug)]
pub struct StatsStreamer {
    stop: Sender<()>,
    ended: Receiver<()>,
}

impl StatsStreamer {
    /// Stops the streamer; returns once its source has been dropped, which waits for a reading
    /// under way.
    pub fn stop(self) {
        let _ = self.stop.send(());
        // Nothing is ever sent: it disconnects at the end.
        let _ = self.ended.recv();
    }
}

impl HubHandle {
    /// Asks `source` for stats at each tick while somebody listens, and publishes them: a
    /// snapshot as `container_stats` with its sums, a failure as `engine_status` and a line in
    /// the log. A source that takes longer than the interval skips ticks.
    ///
    /// `pace` is a `Duration`, or a channel of ticks of your own. The streamer runs until the hub
    /// stops; the handle it returns can stop it before and may be dropped.
    ///
    /// ```
    /// use std::{collections::HashMap, time::Duration};
    /// use kentros::{Hub, HubConfig};
    ///
    /// let hub = Hub::spawn(HubConfig::default())?;
    /// hub.handle().start_stats_streamer(Duration::from_secs(1), || {
    ///     let load = std::fs::read_to_string("/proc/loadavg")?;
    ///     Ok::<_, std::io::Error>(HashMap::from([("host", load)]))
    /// })?;
    /// # Ok::<(), kentros::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`is_stopped`](Error::is_stopped) once the hub has stopped; or the operating system has no
    /// thread to give.
    pub fn start_stats_streamer(
        &self,
        pace: impl Into<Pace>,
        source: impl StatsSource,
    ) -> Result<StatsStreamer, Error> {
        let (streamer, link, thread, ended) = start(self, pace.into(), source)?;
        self.adopt(link, thread, ended)?;
        Ok(streamer)
    }
}

type Started = (StatsStreamer, StreamerLink, JoinHandle<()>, Receiver<()>);

fn start(hub: &HubHandle, pace: Pace, source: impl StatsSource) -> Result<Started, Error> {
    let (stop, stopped) = bounded(1);
    let (ending, ended) = bounded::<()>(0);
    let (to_streamer, link) = link::pair();
    let run = Run {
        hub: hub.clone(),
        link,
        stopped,
        pace: pace.sane(),
        source,
        next: None,
        begun: false,
        rest_at: None,
        held: None,
        status: None,
        told: false,
    };
    let thread = threads::spawn("kentros-stats", move || {
        run.run();
        drop(ending);
    })
    .map_err(|error| Error::io("cannot start the stats streamer", error))?;
    Ok((StatsStreamer { stop, ended: ended.clone() }, to_streamer, thread, ended))
}

struct Run<S> {
    hub: HubHandle,
    link: HubLink,
    stopped: Receiver<()>,
    pace: Pace,
    source: S,
    /// When the next reading is due; `None` while nobody listens.
    next: Option<Instant>,
    /// Whether the source holds something to be given back.
    begun: bool,
    rest_at: Option<Instant>,
    /// Until when a snapshot without figures is held back, from the first one on since the first
    /// listener came or the engine came back.
    held: Option<Instant>,
    /// How the engine was last.
    status: Option<EngineStatus>,
    /// Whether the hub had room to tell that.
    told: bool,
}

impl<S: StatsSource> Run<S> {
    fn run(mut self) {
        loop {
            let tick = match (&self.pace, self.next) {
                (_, None) => never(),
                (Pace::Every(_), Some(next)) => at(next),
                (Pace::Ticks(ticks), Some(_)) => ticks.clone(),
            };
            let rest = self.rest_at.map_or_else(never, at);
            select! {
                // A dropped handle does not stop the streamer.
                recv(self.stopped) -> stop => match stop {
                    Ok(()) => break,
                    Err(_) => self.stopped = never(),
                },
                recv(self.link.changed) -> hub => match hub {
                    Ok(()) => self.demand_changed(),
                    Err(_) => break,
                },
                recv(self.link.checks) -> check => if let Ok(answer) = check { self.check(answer) },
                recv(tick) -> tick => match tick {
                    Ok(_) => self.read(),
                    // A channel of ticks that has ended: no reading any more.
                    Err(_) => self.pace = Pace::Ticks(never()),
                },
                recv(rest) -> _ => self.rest(),
            }
        }
        self.rest();
    }

    fn demand_changed(&mut self) {
        match (self.link.demand(), self.next) {
            (Some(_), None) => {
                self.rest_at = None;
                self.begun = true;
                self.next = Some(Instant::now());
                self.begin();
            }
            (None, Some(_)) => {
                self.next = None;
                self.rest_at = Some(Instant::now() + LINGER);
                self.hub.forget_all(OF_THE_MOMENT);
                self.held = None;
            }
            _ => {}
        }
    }

    /// Begins the source, and tells the clients at once what that says of its engine.
    fn begin(&mut self) {
        let begun = threads::guarded("the source of stats", || self.source.begin(&self.hub));
        match begun {
            Some(Err(error)) => self.report(EngineState::Unreachable, Some(error.to_string())),
            // One that names no engine is known by its first reading alone.
            Some(Ok(())) if self.engine().engine.is_some() => {
                self.report(EngineState::Connected, None);
            }
            Some(Ok(())) | None => {}
        }
    }

    fn engine(&mut self) -> EngineInfo {
        threads::guarded("the source of stats", || self.source.engine()).unwrap_or_default()
    }

    fn rest(&mut self) {
        self.rest_at = None;
        self.hub.history().clear();
        if std::mem::take(&mut self.begun) {
            threads::guarded("the source of stats", || self.source.rest());
            // Again: the source may have published until now.
            self.hub.forget_all(OF_THE_MOMENT);
        }
    }

    fn read(&mut self) {
        let Some(demand) = self.link.demand() else { return };
        let outcome = self.collect(&demand);
        match outcome {
            Err(error) => {
                self.hub.gone(OF_THE_ENGINE, error.to_string());
                self.held = None;
                self.report(EngineState::Unreachable, Some(error.to_string()));
            }
            Ok(snapshot) => {
                self.report(EngineState::Connected, None);
                self.publish(snapshot);
            }
        }
        if let (Pace::Every(interval), Some(due)) = (&self.pace, self.next) {
            self.next = Some(next_tick(due, *interval, Instant::now()));
        }
    }

    fn publish(&mut self, snapshot: Snapshot) {
        let now = Instant::now();
        let held = self.held.get_or_insert(now + FIRST_FIGURES);
        if snapshot.hollow && now < *held {
            return;
        }
        *held = now;
        self.hub.history().record(seconds_now(), snapshot.containers());
        if let Err(error) = self.hub.publish_snapshot(snapshot) {
            log::debug!("a snapshot went to nobody: {error}");
        }
    }

    fn collect(&mut self, demand: &Demand) -> Result<Snapshot, SourceError> {
        threads::guarded("the source of stats", || self.source.collect(demand))
            .unwrap_or_else(|| Err("the source of stats panicked; the log has the message".into()))
    }

    fn check(&mut self, answer: Answer) {
        // While somebody listens the last reading tells, and costs the engine nothing.
        let outcome = match &self.status {
            Some(status) if self.next.is_some() => match &status.error {
                None => Ok(()),
                Some(error) => Err(error.clone()),
            },
            _ => threads::guarded("the source of stats", || self.source.check())
                .unwrap_or_else(|| Err("the source of stats panicked".into()))
                .map_err(|error| error.to_string()),
        };
        answer(outcome.map(|()| Reply::Yes));
    }

    /// Tells the clients how the engine is, and the log, where that has changed.
    fn report(&mut self, state: EngineState, error: Option<String>) {
        let info = self.engine();
        self.hub.engine_counted(state == EngineState::Connected, info.calls, info.errors);
        let pace = info.interval.unwrap_or(match self.pace {
            Pace::Every(interval) => interval,
            Pace::Ticks(_) => Duration::ZERO,
        });
        let last = self.status.as_ref();
        let mut status = EngineStatus {
            state,
            engine: info.engine,
            version: info.version,
            api_version: info.api_version,
            mode: info.mode,
            interval_ms: u64::try_from(pace.as_millis()).unwrap_or(u64::MAX),
            error,
            since: last.map_or(0, |last| last.since),
        };
        if last == Some(&status) {
            if !self.told {
                self.tell(&status);
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
        self.tell(&status);
        self.status = Some(status);
    }

    /// Tells the clients; where the hub has no room for it, the next reading does.
    fn tell(&mut self, status: &EngineStatus) {
        let told = self.hub.broadcast(&Message::new("engine_status", status).latest());
        self.told = told.is_ok();
    }
}

/// Unix seconds, with their fraction.
fn seconds_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

/// The first tick after `now` in the rhythm of `due`: late readings skip ticks and never pile up.
fn next_tick(due: Instant, interval: Duration, now: Instant) -> Instant {
    let next = due + interval;
    if next > now || interval.is_zero() {
        return next.max(now);
    }
    let behind = now.saturating_duration_since(next);
    let missed = behind.as_nanos() / interval.as_nanos() + 1;
    next + interval * u32::try_from(missed).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_reading_skips_the_ticks_it_missed() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let after = |millis| start + Duration::from_millis(millis);
        assert_eq!(next_tick(start, second, after(10)), after(1000));
        assert_eq!(next_tick(start, second, after(999)), after(1000));
        assert_eq!(next_tick(start, second, after(1000)), after(2000));
        assert_eq!(next_tick(start, second, after(3500)), after(4000));
    }
}

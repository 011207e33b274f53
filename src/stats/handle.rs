//! The methods of [`HubHandle`] for stats.

use std::sync::Arc;

use super::messages::CONTAINER_STATS;
use super::state::{EngineCounters, StatsState};
use super::streamer;
use crate::hub::periodic::Streamer;
use crate::message::unix_seconds;
use crate::{Error, HubHandle, Schedule, Snapshot, StatsSource};

impl HubHandle {
    /// Starts a thread that collects stats from `source` at each tick while there is a listener.
    /// It publishes each snapshot as `container_stats` and `project_stats`; a failure is logged
    /// and published as `engine_status`. A source that takes longer than the interval skips ticks.
    ///
    /// `schedule` is a `Duration`, or a channel that delivers ticks. The streamer runs until the
    /// hub stops; use the returned value to stop it earlier, or drop it. For data that is not
    /// about containers, use [`publish_every`](Self::publish_every).
    ///
    /// ```
    /// use std::{collections::HashMap, time::Duration};
    /// use kentros::{Hub, HubConfig, SourceError};
    ///
    /// let hub = Hub::spawn(HubConfig::default())?;
    /// hub.handle().start_stats_streamer(Duration::from_secs(1), || -> Result<_, SourceError> {
    ///     let load = std::fs::read_to_string("/proc/loadavg")?;
    ///     Ok(HashMap::from([("host", load)]))
    /// })?;
    /// # Ok::<(), kentros::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Stopped`](crate::ErrorKind::Stopped) once the hub has stopped,
    /// [`Io`](crate::ErrorKind::Io) if the thread cannot be created.
    pub fn start_stats_streamer(
        &self,
        schedule: impl Into<Schedule>,
        source: impl StatsSource,
    ) -> Result<Streamer, Error> {
        streamer::start(self, schedule.into(), source)
    }

    /// Publishes a snapshot. Each client receives the rows and totals of the projects it is
    /// interested in; a client that connects later receives them at once.
    ///
    /// # Errors
    /// Like [`publish_by_interest`](Self::publish_by_interest).
    pub fn publish_snapshot(&self, mut snapshot: Snapshot) -> Result<(), Error> {
        // A client that connects later must not take an old snapshot for a new one.
        snapshot.published = unix_seconds();
        let snapshot = Arc::new(snapshot);
        self.stats().set_latest(Some(Arc::clone(&snapshot)));
        let projects = snapshot.projects();
        self.publish_content(CONTAINER_STATS.to_owned(), Some(projects), move |interest| {
            snapshot.messages(interest)
        })
    }

    /// Returns whether the engine is up, and how often it was called.
    pub fn engine_counters(&self) -> EngineCounters {
        self.stats().counters()
    }

    /// Counts a `project_status` message that was not published.
    #[cfg(feature = "docker")]
    pub(crate) fn count_dropped(&self) {
        self.stats().count_dropped();
    }

    pub(super) fn stats(&self) -> Arc<StatsState> {
        self.extension()
    }
}

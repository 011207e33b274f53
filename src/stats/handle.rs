//! What the stats add to a hub's handle.

use std::sync::Arc;

use super::published::{CONTAINER_STATS, PublishedSnapshot};
use super::state::{EngineCounters, StatsState};
use super::streamer;
use crate::hub::periodic::Streamer;
use crate::{Error, HubHandle, Schedule, Snapshot, StatsSource};

impl HubHandle {
    /// Asks `source` for stats at each tick while somebody listens, and publishes them: a
    /// snapshot as `container_stats` with its sums, a failure as `engine_status` and a line in
    /// the log. A source that takes longer than the interval skips ticks.
    ///
    /// `schedule` is a `Duration`, or a channel of ticks of your own. The streamer runs until the
    /// hub stops; the value returned can stop it before and may be dropped. For data of your own
    /// that is about no container, use [`publish_every`](Self::publish_every).
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
    /// [`Io`](crate::ErrorKind::Io) if the operating system has no thread to give.
    pub fn start_stats_streamer(
        &self,
        schedule: impl Into<Schedule>,
        source: impl StatsSource,
    ) -> Result<Streamer, Error> {
        streamer::start(self, schedule.into(), source)
    }

    /// Publishes a reading: to each client the rows and sums of the projects it is interested in,
    /// and to clients that connect later, at once.
    ///
    /// # Errors
    /// Like [`publish_by_interest`](Self::publish_by_interest).
    pub fn publish_snapshot(&self, snapshot: Snapshot) -> Result<(), Error> {
        let published = Arc::new(PublishedSnapshot::new(snapshot));
        self.stats().set_latest(Some(Arc::clone(&published)));
        self.publish_by_interest(CONTAINER_STATS, move |interest| published.messages(interest))
    }

    /// Whether the engine of the stats answers, and how often it was called.
    pub fn engine_counters(&self) -> EngineCounters {
        self.stats().counters()
    }

    /// Counts a `project_status` message that is not published.
    #[cfg(feature = "docker")]
    pub(crate) fn count_dropped(&self) {
        self.stats().count_dropped();
    }

    pub(super) fn stats(&self) -> Arc<StatsState> {
        self.extension()
    }
}

//! Publishes what a closure returns, at each tick.

use serde::Serialize;

use super::Schedule;
use super::periodic::{self, PeriodicTask, Streamer};
use crate::{Error, HubHandle, Interest, Message, printable, threads};

/// The error of a source. `?` converts any error, and `.into()` a string.
///
/// ```
/// use kentros::SourceError;
///
/// fn load() -> Result<f64, SourceError> {
///     let text = std::fs::read_to_string("/proc/loadavg")?;
///     Ok(text.split(' ').next().ok_or("/proc/loadavg is empty")?.parse()?)
/// }
/// assert!(load()? >= 0.0);
/// # Ok::<(), SourceError>(())
/// ```
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

impl HubHandle {
    /// Calls `source` at each tick and publishes its value as a message of this kind. There are no
    /// ticks while there are no listeners. The latest message is retained for clients that connect
    /// later.
    ///
    /// `schedule` is a `Duration` or a channel of your own ticks. `source` runs on the streamer's
    /// thread and may block; missed ticks of an interval are skipped. Errors are logged, the first
    /// of a series as a warning. The streamer runs until the hub stops or
    /// [`Streamer::stop`] is called. Dropping the `Streamer` does not stop it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kentros::{Hub, HubConfig, SourceError};
    ///
    /// let hub = Hub::spawn(HubConfig::default())?;
    /// hub.handle().publish_every(Duration::from_secs(1), "load", || -> Result<_, SourceError> {
    ///     let text = std::fs::read_to_string("/proc/loadavg")?;
    ///     let load: Vec<f64> = text.split(' ').take(3).map(str::parse).collect::<Result<_, _>>()?;
    ///     Ok(load)
    /// })?;
    /// # Ok::<(), kentros::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Stopped`](crate::ErrorKind::Stopped) once the hub has stopped,
    /// [`Io`](crate::ErrorKind::Io) if the thread cannot be created.
    pub fn publish_every<F, T, E>(
        &self,
        schedule: impl Into<Schedule>,
        kind: impl Into<String>,
        source: F,
    ) -> Result<Streamer, Error>
    where
        F: FnMut() -> Result<T, E> + Send + 'static,
        T: Serialize,
        E: Into<SourceError>,
    {
        let publisher = Publisher { hub: self.clone(), kind: kind.into(), source, failing: false };
        let (streamer, _) = periodic::spawn(self, "kentros-every", schedule.into(), publisher)?;
        Ok(streamer)
    }
}

struct Publisher<F> {
    hub: HubHandle,
    kind: String,
    source: F,
    /// Whether the last call failed, which is logged.
    failing: bool,
}

impl<F, T, E> Publisher<F>
where
    F: FnMut() -> Result<T, E> + Send + 'static,
    T: Serialize,
    E: Into<SourceError>,
{
    fn publish(&mut self) -> Result<(), SourceError> {
        let (source, kind) = (&mut self.source, self.kind.as_str());
        // Encoding runs user code too.
        let message = threads::guarded("a source", || source().map(|v| Message::new(kind, v)));
        let message = message.ok_or("the source panicked; see the log")?;
        Ok(self.hub.broadcast(&message.map_err(Into::into)?.latest())?)
    }
}

impl<F, T, E> PeriodicTask for Publisher<F>
where
    F: FnMut() -> Result<T, E> + Send + 'static,
    T: Serialize,
    E: Into<SourceError>,
{
    fn start(&mut self) {}

    fn tick(&mut self, _: &Interest) {
        match self.publish() {
            Ok(()) => self.failing = false,
            Err(error) if self.failing => {
                log::debug!("cannot publish {:?}: {}", self.kind, printable(&error.to_string()));
            }
            Err(error) => {
                self.failing = true;
                log::warn!("cannot publish {:?}: {}", self.kind, printable(&error.to_string()));
            }
        }
    }

    fn idle(&mut self) {
        // The message would be outdated when the next client connects.
        let _ = self.hub.clear_latest(&self.kind);
    }

    fn pause(&mut self) {
        self.idle();
    }
}

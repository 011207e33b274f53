//! When a streamer reads.

use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use crate::limits;

/// When a streamer asks its source: at an interval, or at ticks of your own.
///
/// ```
/// use std::time::Duration;
/// use kentros::Pace;
/// let every_second: Pace = Duration::from_secs(1).into();
/// let (tick, ticks) = crossbeam_channel::unbounded();
/// let when_told: Pace = ticks.into();
/// # let _ = (every_second, when_told, tick);
/// # let _: crossbeam_channel::Sender<std::time::Instant> = tick;
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Pace {
    /// At each multiple of the interval since the first listener came, and at once then.
    Every(Duration),
    /// Whenever this channel has a tick.
    Ticks(Receiver<Instant>),
}

impl From<Duration> for Pace {
    fn from(interval: Duration) -> Self {
        Self::Every(limits::time(interval))
    }
}

impl From<Receiver<Instant>> for Pace {
    fn from(ticks: Receiver<Instant>) -> Self {
        Self::Ticks(ticks)
    }
}

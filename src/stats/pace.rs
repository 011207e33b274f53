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

impl Pace {
    /// The same, with an interval that can be reckoned with.
    pub(super) fn sane(self) -> Self {
        match self {
            Self::Every(interval) => Self::Every(limits::time(interval)),
            Self::Ticks(ticks) => Self::Ticks(ticks),
        }
    }
}

impl From<Duration> for Pace {
    fn from(interval: Duration) -> Self {
        Self::Every(interval)
    }
}

impl From<Receiver<Instant>> for Pace {
    fn from(ticks: Receiver<Instant>) -> Self {
        Self::Ticks(ticks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_interval_is_nothing_or_beyond_the_clock() {
        for wild in [Duration::ZERO, Duration::MAX] {
            let Pace::Every(interval) = Pace::Every(wild).sane() else { panic!("other ticks") };
            assert!(!interval.is_zero());
            assert!(Instant::now().checked_add(2 * interval).is_some(), "{interval:?}");
        }
    }
}

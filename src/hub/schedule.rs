//! When a streamer runs.

use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use crate::limits;

/// When a streamer calls its source: at an interval, or at your own ticks.
///
/// ```
/// use std::time::Duration;
/// use kentros::Schedule;
/// let every_second: Schedule = Duration::from_secs(1).into();
/// let (tick, ticks) = crossbeam_channel::unbounded();
/// let on_demand: Schedule = ticks.into();
/// # let _ = (every_second, on_demand, tick);
/// # let _: crossbeam_channel::Sender<std::time::Instant> = tick;
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Schedule {
    /// When the first listener connects, and then at each multiple of the interval.
    Every(Duration),
    /// Whenever a tick arrives on this channel.
    Ticks(Receiver<Instant>),
}

impl Schedule {
    /// Clamps the interval to a range that cannot overflow an `Instant`.
    pub(super) fn clamped(self) -> Self {
        match self {
            Self::Every(interval) => Self::Every(limits::time(interval)),
            Self::Ticks(ticks) => Self::Ticks(ticks),
        }
    }

    /// The time between two ticks, if it is fixed.
    pub(crate) fn interval(&self) -> Option<Duration> {
        match self {
            Self::Every(interval) => Some(limits::time(*interval)),
            Self::Ticks(_) => None,
        }
    }
}

impl From<Duration> for Schedule {
    fn from(interval: Duration) -> Self {
        Self::Every(interval)
    }
}

impl From<Receiver<Instant>> for Schedule {
    fn from(ticks: Receiver<Instant>) -> Self {
        Self::Ticks(ticks)
    }
}

/// The first tick after `now`. Missed ticks are skipped.
pub(super) fn next_tick(due: Instant, interval: Duration, now: Instant) -> Instant {
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
    fn intervals_are_not_zero_and_do_not_overflow_an_instant() {
        for extreme in [Duration::ZERO, Duration::MAX] {
            let interval = Schedule::Every(extreme).clamped().interval().unwrap();
            assert!(!interval.is_zero());
            assert!(Instant::now().checked_add(2 * interval).is_some(), "{interval:?}");
        }
    }

    #[test]
    fn missed_ticks_are_skipped() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let after = |millis| start + Duration::from_millis(millis);
        assert_eq!(next_tick(start, second, after(10)), after(1000));
        assert_eq!(next_tick(start, second, after(999)), after(1000));
        assert_eq!(next_tick(start, second, after(1000)), after(2000));
        assert_eq!(next_tick(start, second, after(3500)), after(4000));
    }
}

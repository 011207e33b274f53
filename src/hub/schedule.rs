//! When a streamer runs.

use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use crate::limits;

/// When a streamer asks its source: at an interval, or at ticks of your own.
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
    /// When the first listener comes, and at each multiple of the interval from then on.
    Every(Duration),
    /// Whenever this channel has a tick.
    Ticks(Receiver<Instant>),
}

impl Schedule {
    /// The same, with an interval that does not overflow the clock.
    pub(super) fn clamped(self) -> Self {
        match self {
            Self::Every(interval) => Self::Every(limits::time(interval)),
            Self::Ticks(ticks) => Self::Ticks(ticks),
        }
    }

    /// The time between two ticks, where it is known.
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

/// The first tick after `now` in the rhythm of `due`: late ticks are skipped and never pile up.
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
    fn no_interval_is_zero_or_overflows_the_clock() {
        for extreme in [Duration::ZERO, Duration::MAX] {
            let interval = Schedule::Every(extreme).clamped().interval().unwrap();
            assert!(!interval.is_zero());
            assert!(Instant::now().checked_add(2 * interval).is_some(), "{interval:?}");
        }
    }

    #[test]
    fn a_late_tick_skips_those_that_were_missed() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let after = |millis| start + Duration::from_millis(millis);
        assert_eq!(next_tick(start, second, after(10)), after(1000));
        assert_eq!(next_tick(start, second, after(999)), after(1000));
        assert_eq!(next_tick(start, second, after(1000)), after(2000));
        assert_eq!(next_tick(start, second, after(3500)), after(4000));
    }
}

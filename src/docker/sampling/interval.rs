//! The interval between sweeps, adapted to how long a sweep takes.

use std::time::{Duration, Instant};

/// The normal interval, and the longer ones for an overloaded engine.
const STEPS: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(5)];
/// The number of slow sweeps in a row that lengthen the interval.
const SLOW_SWEEPS: u32 = 3;
/// The number of quick sweeps in a row that shorten it again.
const QUICK_SWEEPS: u32 = 10;
/// The longest wait for a sweep, because a shutdown waits for it too.
const MAX_WAIT: Duration = Duration::from_millis(1_800);

/// The time from the start of a sweep to the start of the next.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SweepInterval {
    step: usize,
    slow: u32,
    quick: u32,
}

impl SweepInterval {
    fn interval(self) -> Duration {
        STEPS.get(self.step).copied().unwrap_or(Duration::from_secs(5))
    }

    /// The interval, if it is longer than normal.
    pub(crate) fn lengthened(self) -> Option<Duration> {
        (self.step > 0).then(|| self.interval())
    }

    /// Whether a sweep is due at `now`. The normal interval is that of the ticks, so each tick is
    /// due. For longer ones a tick may come a tenth of a second early.
    pub(crate) fn is_due(self, last: Instant, now: Instant) -> bool {
        self.step == 0 || now + STEPS[0] / 10 >= last + self.interval()
    }

    /// How long to wait for a sweep to end: 900 ms for an interval of one second.
    pub(crate) fn max_wait(self) -> Duration {
        (self.interval() * 9 / 10).min(MAX_WAIT)
    }

    /// Records the duration of a sweep. Over 80 % of the interval is slow; under 60 % of the next
    /// shorter interval is quick.
    pub(crate) fn record(&mut self, took: Duration) {
        let below = self.step.checked_sub(1).and_then(|step| STEPS.get(step));
        self.slow = if took > self.interval() * 4 / 5 { self.slow + 1 } else { 0 };
        self.quick = if below.is_some_and(|b| took < *b * 3 / 5) { self.quick + 1 } else { 0 };
        if self.slow >= SLOW_SWEEPS && self.step + 1 < STEPS.len() {
            *self = Self { step: self.step + 1, ..Self::default() };
        } else if self.quick >= QUICK_SWEEPS {
            *self = Self { step: self.step - 1, ..Self::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(sweeps: &[u64]) -> Option<u64> {
        let mut interval = SweepInterval::default();
        for ms in sweeps {
            interval.record(Duration::from_millis(*ms));
        }
        interval.lengthened().map(|interval| interval.as_secs())
    }

    #[test]
    fn three_slow_sweeps_in_a_row_lengthen_it() {
        assert_eq!(after(&[900, 900]), None);
        assert_eq!(after(&[900, 900, 700, 900, 900]), None);
        assert_eq!(after(&[900, 900, 900]), Some(2));
        assert_eq!(after(&[900, 900, 900, 1_500, 1_500, 1_500]), Some(2));
        assert_eq!(after(&[900, 900, 900, 1_700, 1_700, 1_700]), Some(5));
        assert_eq!(after(&[9_000; 20]), Some(5));
    }

    #[test]
    fn ten_quick_sweeps_shorten_it() {
        let mut sweeps = vec![900, 900, 900];
        sweeps.extend([500; 9]);
        assert_eq!(after(&sweeps), Some(2));
        sweeps.push(500);
        assert_eq!(after(&sweeps), None);
    }

    #[test]
    fn a_longer_interval_skips_ticks() {
        let mut interval = SweepInterval::default();
        let start = Instant::now();
        assert!(interval.is_due(start, start));
        for _ in 0..3 {
            interval.record(Duration::from_secs(1));
        }
        assert!(!interval.is_due(start, start + Duration::from_secs(1)));
        assert!(interval.is_due(start, start + Duration::from_millis(1_990)));
    }

    #[test]
    fn the_wait_is_always_under_two_seconds() {
        let mut interval = SweepInterval::default();
        assert_eq!(interval.max_wait(), Duration::from_millis(900));
        for _ in 0..9 {
            interval.record(Duration::from_secs(9));
            assert!(interval.max_wait() < Duration::from_secs(2));
        }
    }
}

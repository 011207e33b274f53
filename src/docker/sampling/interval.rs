//! How often to sweep, given how long a sweep takes: pure.

use std::time::{Duration, Instant};

/// The pace of an engine that keeps up, and what overload stretches it to.
const STEPS: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(5)];
/// Slow sweeps in a row that stretch the pace.
const SLOW: u32 = 3;
/// Quick ones in a row that tighten it again.
const QUICK: u32 = 10;
/// The longest a reading may wait for a sweep: a shutdown waits for the reading.
const PATIENCE: Duration = Duration::from_millis(1_800);

/// The time from the start of a sweep to the start of the next.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SweepInterval {
    step: usize,
    slow: u32,
    quick: u32,
}

impl SweepInterval {
    fn every(self) -> Duration {
        STEPS.get(self.step).copied().unwrap_or(Duration::from_secs(5))
    }

    /// The pace, where it is stretched.
    pub(crate) fn stretched(self) -> Option<Duration> {
        (self.step > 0).then(|| self.every())
    }

    /// Whether a sweep is due. The first step has no wait of its own: the ticks set the pace. A
    /// tick may come a little early.
    pub(crate) fn is_due(self, last: Instant, now: Instant) -> bool {
        self.step == 0 || now + STEPS[0] / 10 >= last + self.every()
    }

    /// How long to wait for a sweep to end: 900 ms at a pace of a second.
    pub(crate) fn patience(self) -> Duration {
        (self.every() * 9 / 10).min(PATIENCE)
    }

    /// A sweep took this long: over 80 % of the pace is slow, under 60 % of the step before quick.
    pub(crate) fn swept(&mut self, took: Duration) {
        let below = self.step.checked_sub(1).and_then(|step| STEPS.get(step));
        self.slow = if took > self.every() * 4 / 5 { self.slow + 1 } else { 0 };
        self.quick = if below.is_some_and(|b| took < *b * 3 / 5) { self.quick + 1 } else { 0 };
        if self.slow >= SLOW && self.step + 1 < STEPS.len() {
            *self = Self { step: self.step + 1, ..Self::default() };
        } else if self.quick >= QUICK {
            *self = Self { step: self.step - 1, ..Self::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(sweeps: &[u64]) -> Option<u64> {
        let mut pace = SweepInterval::default();
        for ms in sweeps {
            pace.swept(Duration::from_millis(*ms));
        }
        pace.stretched().map(|every| every.as_secs())
    }

    #[test]
    fn three_slow_sweeps_in_a_row_stretch_it() {
        assert_eq!(after(&[900, 900]), None);
        assert_eq!(after(&[900, 900, 700, 900, 900]), None);
        assert_eq!(after(&[900, 900, 900]), Some(2));
        assert_eq!(after(&[900, 900, 900, 1_500, 1_500, 1_500]), Some(2));
        assert_eq!(after(&[900, 900, 900, 1_700, 1_700, 1_700]), Some(5));
        assert_eq!(after(&[9_000; 20]), Some(5));
    }

    #[test]
    fn ten_quick_ones_tighten_it() {
        let mut sweeps = vec![900, 900, 900];
        sweeps.extend([500; 9]);
        assert_eq!(after(&sweeps), Some(2));
        sweeps.push(500);
        assert_eq!(after(&sweeps), None);
    }

    #[test]
    fn a_stretched_pace_skips_ticks() {
        let mut pace = SweepInterval::default();
        let start = Instant::now();
        assert!(pace.is_due(start, start));
        for _ in 0..3 {
            pace.swept(Duration::from_secs(1));
        }
        assert!(!pace.is_due(start, start + Duration::from_secs(1)));
        assert!(pace.is_due(start, start + Duration::from_millis(1_990)));
    }

    #[test]
    fn a_reading_never_waits_two_seconds() {
        let mut pace = SweepInterval::default();
        assert_eq!(pace.patience(), Duration::from_millis(900));
        for _ in 0..9 {
            pace.swept(Duration::from_secs(9));
            assert!(pace.patience() < Duration::from_secs(2));
        }
    }
}

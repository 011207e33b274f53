//! Where readers of streams leave the newest sample of each container.
//!
//! A reader writes and reads on: it never waits for who takes the samples, since an engine makes
//! all its streams wait for the slowest reader.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::stats::usage::Reading;

/// An engine's pass over its containers is over when no sample came for this long: some thirty
/// times what it takes for one.
const QUIET: Duration = Duration::from_millis(100);

/// One slot a container, and a bell.
#[derive(Debug, Default)]
pub(crate) struct LatestSamples {
    slots: Mutex<SampleSlots>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct SampleSlots {
    by_id: HashMap<String, SampleSlot>,
    /// Slots with a sample nobody has taken.
    fresh: usize,
    /// When the last sample came.
    last: Option<Instant>,
    /// Nobody writes any more: no use in waiting.
    closed: bool,
}

#[derive(Debug, Default)]
struct SampleSlot {
    /// The sample and when it came. Boxed: it is taken soon, and the slot stays.
    sample: Option<Box<(Option<Reading>, Instant)>>,
    /// When the one before came, and the time between the two.
    before: Option<Instant>,
    period: Option<Duration>,
}

/// A sample from the board: the container's id, the reading, when it came.
pub(crate) type Posted = (String, Option<Reading>, Instant);

impl LatestSamples {
    fn slots(&self) -> MutexGuard<'_, SampleSlots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for a container.
    pub(crate) fn add(&self, id: &str) {
        self.slots().by_id.entry(id.to_owned()).or_default();
    }

    /// Takes a container off; nobody waits for it any longer.
    pub(crate) fn remove(&self, id: &str) {
        let mut slots = self.slots();
        if slots.by_id.remove(id).is_some_and(|slot| slot.sample.is_some()) {
            slots.fresh -= 1;
        }
        drop(slots);
        self.changed.notify_all();
    }

    /// No sample will come any more.
    pub(crate) fn close(&self) {
        self.slots().closed = true;
        self.changed.notify_all();
    }

    /// Leaves a sample, for a container that has a slot.
    pub(crate) fn post(&self, id: &str, reading: Option<Reading>, at: Instant) {
        let mut slots = self.slots();
        let Some(slot) = slots.by_id.get_mut(id) else { return };
        slot.period = slot.before.map(|before| at.saturating_duration_since(before));
        slot.before = Some(at);
        let replaced = slot.sample.replace(Box::new((reading, at))).is_some();
        slots.last = Some(at);
        if !replaced {
            slots.fresh += 1;
        }
        // In between, who waits looks by itself, by the clock: two wake-ups a pass, not a hundred.
        let wakes = slots.fresh == 1 || slots.fresh == slots.by_id.len();
        drop(slots);
        if wakes {
            self.changed.notify_all();
        }
    }

    /// Takes what was left since the last time, once the engine's pass is over: every slot is
    /// fresh, or it has been quiet for a while after at least one; at `deadline` in any case.
    pub(crate) fn take(&self, deadline: Instant) -> Vec<Posted> {
        let mut slots = self.slots();
        loop {
            let now = Instant::now();
            let all = slots.fresh == slots.by_id.len();
            let until = match slots.last {
                Some(last) if slots.fresh > 0 => deadline.min(last + QUIET),
                _ => deadline,
            };
            if all || slots.closed || now >= until {
                break;
            }
            let waited = self.changed.wait_timeout(slots, until - now);
            slots = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let mut taken = Vec::with_capacity(slots.fresh);
        slots.fresh = 0;
        taken.extend(slots.by_id.iter_mut().filter_map(|(id, slot)| {
            let (reading, at) = *slot.sample.take()?;
            Some((id.clone(), reading, at))
        }));
        taken
    }

    /// The time between two samples of a container, on average.
    pub(crate) fn period(&self) -> Option<Duration> {
        let slots = self.slots();
        let periods: Vec<Duration> = slots.by_id.values().filter_map(|slot| slot.period).collect();
        let count = u32::try_from(periods.len()).ok().filter(|n| *n > 0)?;
        Some(periods.iter().sum::<Duration>() / count)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Far beyond any test.
    const GUARD: Duration = Duration::from_secs(30);

    fn board(ids: &[&str]) -> LatestSamples {
        let board = LatestSamples::default();
        for id in ids {
            board.add(id);
        }
        board
    }

    fn ids(taken: &[Posted]) -> Vec<&str> {
        let mut ids: Vec<&str> = taken.iter().map(|(id, ..)| id.as_str()).collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn a_full_board_is_taken_at_once() {
        let board = board(&["a", "b"]);
        let start = Instant::now();
        board.post("a", None, start);
        board.post("b", None, start);
        board.post("stranger", None, start);
        assert_eq!(ids(&board.take(start + GUARD)), ["a", "b"]);
        assert!(start.elapsed() < GUARD);
        assert!(board.take(start).is_empty(), "each sample is taken once");
    }

    #[test]
    fn quiet_ends_a_pass_that_leaves_some_out() {
        let board = board(&["a", "b", "hung"]);
        let start = Instant::now();
        board.post("a", None, start);
        board.post("b", None, start);
        assert_eq!(ids(&board.take(start + GUARD)), ["a", "b"]);
        assert!(start.elapsed() >= QUIET);
        assert!(start.elapsed() < GUARD);
    }

    #[test]
    fn the_last_sample_ends_the_wait() {
        let board = board(&["a", "b"]);
        let start = Instant::now();
        std::thread::scope(|scope| {
            let other = scope.spawn(|| board.take(start + 2 * GUARD));
            // Of so late a moment that the quiet after it does not end the wait.
            board.post("a", None, start + GUARD);
            board.post("b", None, start + GUARD);
            assert_eq!(ids(&other.join().unwrap()), ["a", "b"]);
        });
        assert!(start.elapsed() < GUARD);
    }

    #[test]
    fn nothing_is_waited_for_in_vain() {
        let start = Instant::now();
        assert!(board(&[]).take(start + GUARD).is_empty(), "no containers");
        let one = board(&["a"]);
        one.close();
        assert!(one.take(start + GUARD).is_empty(), "closed");
        let gone = board(&["a", "b"]);
        gone.post("a", None, start);
        gone.remove("b");
        assert_eq!(ids(&gone.take(start + GUARD)), ["a"]);
        assert!(start.elapsed() < GUARD);
        let silent = board(&["a"]);
        let deadline = Instant::now() + Duration::from_millis(20);
        assert!(silent.take(deadline).is_empty());
        assert!(Instant::now() >= deadline);
    }

    #[test]
    fn the_period_is_measured() {
        let board = board(&["a", "b"]);
        let start = Instant::now();
        assert_eq!(board.period(), None);
        board.post("a", None, start);
        board.post("b", None, start);
        assert_eq!(board.period(), None);
        board.post("a", None, start + Duration::from_millis(1_500));
        board.post("b", None, start + Duration::from_millis(1_700));
        assert_eq!(board.period(), Some(Duration::from_millis(1_600)));
    }
}

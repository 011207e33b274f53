//! The latest sample of each container, handed from a reading thread to the streamer.
//!
//! The reading thread never waits: an engine holds up all of its streams for the slowest reader.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::lock::lock;
use crate::stats::reading::Reading;

/// The engine has finished a pass over its containers when no sample arrived for this long, which
/// is about thirty times what it takes for one sample.
const QUIET: Duration = Duration::from_millis(100);

/// One slot per container.
#[derive(Debug, Default)]
pub(crate) struct LatestSamples {
    slots: Mutex<SampleSlots>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct SampleSlots {
    by_id: HashMap<String, SampleSlot>,
    /// The number of slots with a new sample.
    fresh: usize,
    /// When the last sample arrived.
    last: Option<Instant>,
    /// The reading thread has ended.
    closed: bool,
}

#[derive(Debug, Default)]
struct SampleSlot {
    /// The new sample and when it arrived. Boxed to keep the slot small: the sample is soon taken.
    sample: Option<Box<(Option<Reading>, Instant)>>,
    /// When the previous sample arrived, and the time between the last two.
    previous: Option<Instant>,
    period: Option<Duration>,
}

impl LatestSamples {
    fn slots(&self) -> MutexGuard<'_, SampleSlots> {
        lock(&self.slots)
    }

    /// Adds a slot for a container, if it has none.
    pub(crate) fn add(&self, id: &str) {
        self.slots().by_id.entry(id.to_owned()).or_default();
    }

    /// Removes the slot of a container.
    pub(crate) fn remove(&self, id: &str) {
        let mut slots = self.slots();
        if slots.by_id.remove(id).is_some_and(|slot| slot.sample.is_some()) {
            slots.fresh -= 1;
        }
        drop(slots);
        self.changed.notify_all();
    }

    /// Ends all waiting: no more samples will arrive.
    pub(crate) fn close(&self) {
        self.slots().closed = true;
        self.changed.notify_all();
    }

    /// Stores a sample, if the container has a slot. `None` means that it does not run.
    pub(crate) fn store(&self, id: &str, reading: Option<Reading>, at: Instant) {
        let mut slots = self.slots();
        let Some(slot) = slots.by_id.get_mut(id) else { return };
        slot.period = slot.previous.map(|previous| at.saturating_duration_since(previous));
        slot.previous = Some(at);
        let replaced = slot.sample.replace(Box::new((reading, at))).is_some();
        slots.last = Some(at);
        if !replaced {
            slots.fresh += 1;
        }
        // Two wake-ups per pass instead of one per sample: in between, the waiting thread only has
        // to notice that no more samples arrive, which it does by the clock.
        let wakes = slots.fresh == 1 || slots.fresh == slots.by_id.len();
        drop(slots);
        if wakes {
            self.changed.notify_all();
        }
    }

    /// Waits for the end of the engine's pass and passes the new samples to `each`. The pass is over
    /// when every slot has a new sample, or when some have and then none arrived for [`QUIET`].
    /// Waits until `deadline` at the latest.
    pub(crate) fn drain(
        &self,
        deadline: Instant,
        mut each: impl FnMut(&str, Option<Reading>, Instant),
    ) {
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
        slots.fresh = 0;
        for (id, slot) in &mut slots.by_id {
            if let Some(sample) = slot.sample.take() {
                let (reading, at) = *sample;
                each(id, reading, at);
            }
        }
    }

    /// The average time between two samples of a container.
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

    /// A hang guard.
    const GUARD: Duration = Duration::from_secs(30);

    fn samples(ids: &[&str]) -> LatestSamples {
        let samples = LatestSamples::default();
        for id in ids {
            samples.add(id);
        }
        samples
    }

    fn drained(samples: &LatestSamples, deadline: Instant) -> Vec<String> {
        let mut ids = Vec::new();
        samples.drain(deadline, |id, _, _| ids.push(id.to_owned()));
        ids.sort_unstable();
        ids
    }

    #[test]
    fn samples_of_all_containers_end_the_wait() {
        let samples = samples(&["a", "b"]);
        let start = Instant::now();
        samples.store("a", None, start);
        samples.store("b", None, start);
        samples.store("unknown", None, start);
        assert_eq!(drained(&samples, start + GUARD), ["a", "b"]);
        assert!(start.elapsed() < GUARD);
        assert!(drained(&samples, start).is_empty(), "each sample is taken once");
    }

    #[test]
    fn a_quiet_time_ends_the_wait_for_missing_samples() {
        let samples = samples(&["a", "b", "hung"]);
        let start = Instant::now();
        samples.store("a", None, start);
        samples.store("b", None, start);
        assert_eq!(drained(&samples, start + GUARD), ["a", "b"]);
        assert!(start.elapsed() >= QUIET);
        assert!(start.elapsed() < GUARD);
    }

    #[test]
    fn the_last_sample_ends_the_wait() {
        let samples = samples(&["a", "b"]);
        let start = Instant::now();
        std::thread::scope(|scope| {
            let other = scope.spawn(|| drained(&samples, start + 2 * GUARD));
            // So late that the quiet time after it does not end the wait.
            samples.store("a", None, start + GUARD);
            samples.store("b", None, start + GUARD);
            assert_eq!(other.join().unwrap(), ["a", "b"]);
        });
        assert!(start.elapsed() < GUARD);
    }

    #[test]
    fn the_wait_ends_when_no_sample_can_arrive() {
        let start = Instant::now();
        assert!(drained(&samples(&[]), start + GUARD).is_empty(), "no containers");
        let one = samples(&["a"]);
        one.close();
        assert!(drained(&one, start + GUARD).is_empty(), "closed");
        let gone = samples(&["a", "b"]);
        gone.store("a", None, start);
        gone.remove("b");
        assert_eq!(drained(&gone, start + GUARD), ["a"]);
        assert!(start.elapsed() < GUARD);
        let silent = samples(&["a"]);
        let deadline = Instant::now() + Duration::from_millis(20);
        assert!(drained(&silent, deadline).is_empty());
        assert!(Instant::now() >= deadline);
    }

    #[test]
    fn the_period_is_measured() {
        let samples = samples(&["a", "b"]);
        let start = Instant::now();
        assert_eq!(samples.period(), None);
        samples.store("a", None, start);
        samples.store("b", None, start);
        assert_eq!(samples.period(), None);
        samples.store("a", None, start + Duration::from_millis(1_500));
        samples.store("b", None, start + Duration::from_millis(1_700));
        assert_eq!(samples.period(), Some(Duration::from_millis(1_600)));
    }
}

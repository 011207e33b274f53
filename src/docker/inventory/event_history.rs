//! The events that were seen, kept across event streams and sessions.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex};

use super::incidents::Incidents;
use crate::docker::engine::json::EngineEvent;

/// The number of events remembered to detect repeated ones. Docker repeats at most 256.
const REMEMBERED: usize = 1_024;
/// How far back an event stream starts after a gap, in seconds.
const LONGEST_GAP: u64 = 60;

/// The history, shared by the sessions of one source. One event reader at a time uses it.
pub(crate) type SharedEventHistory = Arc<Mutex<EventHistory>>;

/// The hashes of the latest events, and where the next event stream starts.
#[derive(Debug, Default)]
pub(crate) struct EventHistory {
    recent: VecDeque<u64>,
    hasher: RandomState,
    /// No event before this time was missed. In seconds of the engine's clock.
    complete_until: Option<u64>,
    /// What the events of earlier sessions have reported.
    pub(super) incidents: Incidents,
}

impl EventHistory {
    /// Returns the time from which to request events. `now` is the time of the engine.
    pub(super) fn resume(&mut self, now: u64) -> u64 {
        let oldest = now.saturating_sub(LONGEST_GAP);
        let since = self.complete_until.unwrap_or(now).clamp(oldest, now);
        self.complete_until = Some(since);
        since
    }

    /// Adds an event. Returns whether it is new.
    pub(super) fn insert(&mut self, event: &EngineEvent) -> bool {
        // Without a time, an event cannot be told from a later one of the same kind.
        let Ok(nanos @ 1..) = u64::try_from(event.time_nano) else { return true };
        let hash = self.hasher.hash_one((nanos, &event.actor.id, &event.action));
        if self.recent.contains(&hash) {
            return false;
        }
        if self.recent.len() >= REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(hash);
        self.complete_until = self.complete_until.max(Some(nanos / 1_000_000_000));
        true
    }

    /// Skips the events until the next [`resume`](Self::resume), when nobody listens.
    pub(crate) fn pause(&mut self) {
        self.complete_until = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str, action: &str, time_nano: i64) -> EngineEvent {
        let mut event =
            EngineEvent { action: action.to_owned(), time_nano, ..EngineEvent::default() };
        id.clone_into(&mut event.actor.id);
        event
    }

    #[test]
    fn repeated_events_are_detected() {
        let mut history = EventHistory::default();
        let first = event("c0ffee", "start", 7);
        assert!(history.insert(&first));
        assert!(!history.insert(&first));
        for other in [event("c0ffee", "die", 7), event("beef", "start", 7)] {
            assert!(history.insert(&other), "{other:?}");
        }
        for nano in (8..).take(REMEMBERED) {
            assert!(history.insert(&event("c0ffee", "start", nano)));
        }
        assert!(history.recent.len() <= REMEMBERED);
        for nano in [0, -1] {
            let undated = event("c0ffee", "start", nano);
            assert!(history.insert(&undated) && history.insert(&undated));
        }
    }

    #[test]
    fn a_stream_starts_at_the_last_event_of_the_one_before() {
        let mut history = EventHistory::default();
        assert_eq!(history.resume(1_000), 1_000, "nothing happened before the first stream");
        assert_eq!(history.resume(1_010), 1_000, "no event was seen since");
        history.insert(&event("c0ffee", "start", 1_005_900_000_000));
        assert_eq!(history.resume(1_010), 1_005);
        assert_eq!(history.resume(2_000), 2_000 - LONGEST_GAP);
        history.insert(&event("c0ffee", "die", 5_000_000_000_000));
        assert_eq!(history.resume(2_000), 2_000, "the engine's clock was set back");
        history.pause();
        assert_eq!(history.resume(2_100), 2_100, "nobody listened");
    }
}

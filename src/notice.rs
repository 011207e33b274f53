//! What is to be said in the log, but not as often as it happens.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time between two lines about the same.
const AGAIN: Duration = Duration::from_secs(60 * 60);

/// One line of the log about something that peers may cause thousands of times a second: said
/// the first time, and again after an hour.
#[derive(Debug, Default)]
pub(crate) struct Notice(Mutex<Option<Instant>>);

impl Notice {
    /// Warns, if it is time to.
    pub(crate) fn warn(&self, line: impl FnOnce() -> String) {
        if self.is_due(Instant::now()) {
            log::warn!("{} (said at most once an hour)", line());
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| now.saturating_duration_since(last) < AGAIN) {
            return false;
        }
        *last = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_at_once_and_again_after_an_hour() {
        let start = Instant::now();
        let at = |minutes: u64| start + Duration::from_secs(60 * minutes);
        let notice = Notice::default();
        let due = [0, 0, 1, 59, 60, 61, 119, 120].map(|minutes| notice.is_due(at(minutes)));
        assert_eq!(due, [true, false, false, false, true, false, false, true]);
    }
}

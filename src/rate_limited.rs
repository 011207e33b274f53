//! Rate-limited warnings.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time between two warnings of one kind.
const AGAIN: Duration = Duration::from_secs(60 * 60);

/// A warning about something that peers may cause thousands of times a second: logged the first
/// time, then at most once an hour.
#[derive(Debug, Default)]
pub(crate) struct RateLimitedWarning(Mutex<Option<Instant>>);

impl RateLimitedWarning {
    /// Logs the warning if it is due.
    pub(crate) fn warn(&self, line: impl FnOnce() -> String) {
        if self.is_due(Instant::now()) {
            log::warn!("{} (logged at most once an hour)", line());
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
    fn it_is_logged_at_once_and_again_after_an_hour() {
        let start = Instant::now();
        let at = |minutes: u64| start + Duration::from_secs(60 * minutes);
        let notice = RateLimitedWarning::default();
        let due = [0, 0, 1, 59, 60, 61, 119, 120].map(|minutes| notice.is_due(at(minutes)));
        assert_eq!(due, [true, false, false, false, true, false, false, true]);
    }
}

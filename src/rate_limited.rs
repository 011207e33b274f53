//! Rate-limited warnings.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::lock::lock;

/// Minimum time between two warnings.
const INTERVAL: Duration = Duration::from_secs(60 * 60);

/// A warning that peers can trigger thousands of times per second. It is logged the first time,
/// then at most once per hour.
#[derive(Debug, Default)]
pub(crate) struct RateLimitedWarning(Mutex<Option<Instant>>);

impl RateLimitedWarning {
    /// Logs the warning unless it was logged within the last hour.
    pub(crate) fn warn(&self, message: impl FnOnce() -> String) {
        if self.is_due(Instant::now()) {
            log::warn!("{} (logged at most once per hour)", message());
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        let mut last = lock(&self.0);
        if last.is_some_and(|last| now.saturating_duration_since(last) < INTERVAL) {
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
    fn a_warning_is_logged_at_once_and_again_after_an_hour() {
        let start = Instant::now();
        let at = |minutes: u64| start + Duration::from_secs(60 * minutes);
        let warning = RateLimitedWarning::default();
        let due = [0, 0, 1, 59, 60, 61, 119, 120].map(|minutes| warning.is_due(at(minutes)));
        assert_eq!(due, [true, false, false, false, true, false, false, true]);
    }
}

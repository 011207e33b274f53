//! Exponential back-off.

use std::time::Duration;

/// A delay that doubles at each failure, up to a limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    delay: Duration,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, delay: first }
    }

    /// The current delay.
    pub(crate) fn delay(&self) -> Duration {
        self.delay
    }

    /// The current delay as a multiple of the first one.
    pub(crate) fn factor(&self) -> f64 {
        self.delay.div_duration_f64(self.first)
    }

    /// Doubles the delay.
    pub(crate) fn increase(&mut self) {
        self.delay = (self.delay * 2).min(self.longest);
    }

    /// Goes back to the first delay.
    pub(crate) fn reset(&mut self) {
        self.delay = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_the_limit() {
        let seconds = Duration::from_secs;
        let mut backoff = Backoff::new(seconds(1), seconds(5));
        for expected in [1, 2, 4, 5, 5] {
            assert_eq!(backoff.delay(), seconds(expected));
            backoff.increase();
        }
        backoff.reset();
        assert_eq!((backoff.delay(), backoff.factor()), (seconds(1), 1.0));
    }
}

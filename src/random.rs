//! Seeded random numbers for tests.

use std::thread::panicking;

use fastrand::Rng;

/// A random number generator that prints its seed when a test fails, so that the failure can be
/// reproduced.
#[derive(Debug)]
pub(crate) struct Random {
    seed: u64,
    rng: Rng,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, rng: Rng::with_seed(seed) }
    }

    /// A number below `n`, or 0 if `n` is 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.rng.usize(..n.max(1))
    }
}

impl Drop for Random {
    fn drop(&mut self) {
        if panicking() {
            #[allow(clippy::print_stderr)]
            {
                eprintln!("random seed: {}", self.seed);
            }
        }
    }
}

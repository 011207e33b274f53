//! Random numbers for tests: from a seed, so that a failure can be had again.

use std::thread::panicking;

/// A sequence of numbers; its seed is printed where a test fails.
#[derive(Debug)]
pub(crate) struct Random {
    seed: u64,
    state: u64,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, state: seed }
    }

    /// A number below `n`, or 0 where there is none.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        // splitmix64: seeds that differ by one give sequences that have nothing in common.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % (n.max(1) as u64)).unwrap_or_default()
    }
}

impl Drop for Random {
    fn drop(&mut self) {
        if panicking() {
            #[allow(clippy::print_stderr)]
            {
                eprintln!("random numbers from seed {}", self.seed);
            }
        }
    }
}

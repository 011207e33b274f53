//! Limits that the operating system sets for one process.

use std::time::Duration;

use rustix::process::{Resource, getrlimit};

/// Maximum number of clients, however many descriptors there are. A Rust thread uses four memory
/// maps, and Linux allows 65,530 (`vm.max_map_count`); std aborts the process when they run out.
const MAX_CLIENTS: u64 = 12_000;
/// Descriptors reserved for everything except clients and requests: listeners, the engine, logs.
const RESERVED_DESCRIPTORS: u64 = 64;

/// Longest duration that is used. A `Duration::MAX` that means "never" must not overflow when it is
/// added to the clock.
const MAX_DURATION: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
/// Shortest duration that is used: zero would keep a thread busy.
const MIN_DURATION: Duration = Duration::from_millis(10);

/// Clamps a configured duration to a usable one.
pub(crate) fn time(duration: Duration) -> Duration {
    duration.clamp(MIN_DURATION, MAX_DURATION)
}

/// Maximum number of concurrent HTTP requests.
pub(crate) fn requests() -> usize {
    usize::try_from((descriptors() / 8).clamp(16, 4096)).unwrap_or(16)
}

/// Maximum number of WebSocket clients.
pub(crate) fn clients() -> usize {
    let left = descriptors().saturating_sub(RESERVED_DESCRIPTORS + requests() as u64);
    usize::try_from(left.clamp(1, MAX_CLIENTS)).unwrap_or(1)
}

fn descriptors() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

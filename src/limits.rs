//! What the operating system lets one process have.

use std::time::Duration;

use rustix::process::{Resource, getrlimit};

/// The most clients, whatever the descriptors: a Rust thread takes four memory maps, and Linux
/// allows 65,530 (`vm.max_map_count`); near that std aborts the process.
const MOST_CLIENTS: u64 = 12_000;
/// Descriptors kept for everything that is no client and no request: listeners, the engine, logs.
const RESERVED: u64 = 64;

/// The longest time anything here takes into account: a `Duration::MAX` that means "never" must
/// not overflow the clock.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
/// The shortest: zero would keep a thread busy for nothing.
const SHORTEST: Duration = Duration::from_millis(10);

/// A time that can be reckoned with.
pub(crate) fn time(wanted: Duration) -> Duration {
    wanted.clamp(SHORTEST, LONGEST)
}

/// How many connections may be at their request's head, or at its answer.
pub(crate) fn requests() -> usize {
    usize::try_from((descriptors() / 8).clamp(16, 4096)).unwrap_or(16)
}

/// How many WebSocket clients there may be.
pub(crate) fn clients() -> usize {
    let left = descriptors().saturating_sub(RESERVED + requests() as u64);
    usize::try_from(left.clamp(1, MOST_CLIENTS)).unwrap_or(1)
}

fn descriptors() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

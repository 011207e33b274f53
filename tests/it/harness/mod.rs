//! What the tests share: servers, clients, engines, a browser. It contains no tests.

use std::time::{Duration, Instant};

use crossbeam_channel::never;

pub(crate) mod breaking_proxy;
pub(crate) mod dashboard;
pub(crate) mod devtools;
pub(crate) mod docker;
pub(crate) mod fake_engine;
pub(crate) mod fake_server;
pub(crate) mod members;
mod messages;
mod net;
pub(crate) mod parity;
pub(crate) mod podman;
mod process;
pub(crate) mod raw;
pub(crate) mod real_engine;
mod served;
pub(crate) mod shutdown;
pub(crate) mod strict_proxy;
mod ws;

pub(crate) use messages::{keys, numbered, one_each, row, snapshot};
pub(crate) use net::{
    RetryInterrupted, dial, dial_narrow, is_timeout, retry_interrupted, tcp_socket, unused_addr,
};
pub(crate) use process::{
    Warnings, descriptors_and_threads, in_own_process, memory, peak_memory, report_skipped,
    reset_peak_memory, thread_names,
};
pub(crate) use served::Served;
pub(crate) use ws::Ws;

/// The hang guard: the longest that a test waits for anything. Only a broken program reaches it,
/// however busy the machine is.
pub(crate) const GUARD: Duration = Duration::from_secs(60);

/// Polls `condition` until it holds. For conditions that nothing but a counter shows.
#[track_caller]
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + GUARD;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within {GUARD:?}");
        pause(Duration::from_millis(1));
    }
}

/// Yields the CPU for this time.
pub(crate) fn pause(time: Duration) {
    let _ = never::<()>().recv_timeout(time);
}

//! How an engine answers a call for one sample: at once, or at its collector's next pass.

use std::time::{Duration, Instant};

use super::call::Call;
use super::client::Client;
use super::error::EngineError;
use super::sample::Sample;

/// The first call may be slow for other reasons; a collector's pass comes within a second.
const FIRST_LIMIT: Duration = Duration::from_millis(1_200);
/// An engine that reads directly takes some 3 ms; one that waits for its next pass, a second.
const DIRECT_WITHIN: Duration = Duration::from_millis(200);

/// What a call for one sample does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behaviour {
    /// It reads the counters: Docker 23.0.8, 24.0.7, 25 and newer.
    Direct,
    /// It waits for the collector: older ones.
    Stream,
}

/// What a probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Behaves(Behaviour),
    /// This container hangs.
    Hung,
    /// This container has no sample, for a reason of its own.
    Nothing,
}

/// Asks for two samples of a running container, one after the other. The first may have waited
/// or not; the second, right after it, waits for a whole pass unless the engine reads directly.
pub(super) fn ask(client: &Client, id: &str) -> Result<Found, EngineError> {
    let call = |limit| client.get::<Sample>(Call::OneShot(id), Instant::now() + limit);
    match call(FIRST_LIMIT) {
        Err(EngineError::Silent(_)) => return Ok(Found::Hung),
        Err(error) if error.is_answer() => return Ok(Found::Nothing),
        Err(error) => return Err(error),
        Ok(_) => {}
    }
    let start = Instant::now();
    match call(DIRECT_WITHIN) {
        Ok(_) if start.elapsed() < DIRECT_WITHIN => Ok(Found::Behaves(Behaviour::Direct)),
        Ok(_) | Err(EngineError::Silent(_)) => Ok(Found::Behaves(Behaviour::Stream)),
        Err(error) if error.is_answer() => Ok(Found::Nothing),
        Err(error) => Err(error),
    }
}

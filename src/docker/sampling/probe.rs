//! How an engine answers a call for one sample: at once, or at its collector's next pass.

use std::time::{Duration, Instant};

use super::sample::Sample;
use crate::docker::engine::call::EngineCall;
use crate::docker::engine::client::EngineClient;
use crate::docker::engine::error::EngineError;

/// The first call may be slow for other reasons; a collector's pass comes within a second.
const FIRST_LIMIT: Duration = Duration::from_millis(1_200);
/// An engine that reads directly takes some 3 ms; one that waits for its next pass, a second.
const DIRECT_WITHIN: Duration = Duration::from_millis(200);

/// What a call for one sample does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadMode {
    /// It reads the counters: Docker 23.0.8, 24.0.7, 25 and newer.
    Direct,
    /// It waits for the collector: older ones.
    Stream,
}

/// What a probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProbeOutcome {
    Behaves(ReadMode),
    /// This container hangs.
    Hung,
    /// This container has no sample, for a reason of its own.
    Nothing,
}

/// Asks for two samples of a running container, one after the other. The first may have waited
/// or not; the second, right after it, waits for a whole pass unless the engine reads directly.
pub(crate) fn ask(client: &EngineClient, id: &str) -> Result<ProbeOutcome, EngineError> {
    let call = |limit| client.get::<Sample>(EngineCall::OneShot(id), Instant::now() + limit);
    match call(FIRST_LIMIT) {
        Err(EngineError::TimedOut(_)) => return Ok(ProbeOutcome::Hung),
        Err(error) if error.is_answer() => return Ok(ProbeOutcome::Nothing),
        Err(error) => return Err(error),
        Ok(_) => {}
    }
    let start = Instant::now();
    match call(DIRECT_WITHIN) {
        Ok(_) if start.elapsed() < DIRECT_WITHIN => Ok(ProbeOutcome::Behaves(ReadMode::Direct)),
        Ok(_) | Err(EngineError::TimedOut(_)) => Ok(ProbeOutcome::Behaves(ReadMode::Stream)),
        Err(error) if error.is_answer() => Ok(ProbeOutcome::Nothing),
        Err(error) => Err(error),
    }
}

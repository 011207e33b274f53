//! Whether an engine answers a call for one sample at once, or at its collector's next pass.

use std::time::{Duration, Instant};

use super::sample::Sample;
use crate::docker::engine::call::EngineCall;
use crate::docker::engine::client::EngineClient;
use crate::docker::engine::error::EngineError;

/// The time limit of the first call. A collector's pass comes within a second.
const FIRST_LIMIT: Duration = Duration::from_millis(1_200);
/// An engine that reads directly takes about 3 ms, one that waits for its next pass a second.
const DIRECT_WITHIN: Duration = Duration::from_millis(200);

/// How the engine answers a call for one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadMode {
    /// Reads the counters at once: Docker 23.0.8, 24.0.7, 25 and newer.
    Direct,
    /// Waits for the collector: older versions.
    Stream,
}

/// The result of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProbeOutcome {
    Mode(ReadMode),
    /// The call for this container timed out.
    Hung,
    /// This container has no sample, or the response was cut off. Try another.
    NoSample,
}

/// Asks twice in a row for a sample of a running container. Right after the first sample, the second
/// takes a whole pass unless the engine reads directly.
pub(crate) fn probe(client: &EngineClient, id: &str) -> Result<ProbeOutcome, EngineError> {
    let call = |limit| client.get::<Sample>(EngineCall::OneShot(id), Instant::now() + limit);
    match call(FIRST_LIMIT) {
        Err(EngineError::TimedOut(_)) => return Ok(ProbeOutcome::Hung),
        Err(error) => return no_sample(error),
        Ok(_) => {}
    }
    let start = Instant::now();
    match call(DIRECT_WITHIN) {
        Ok(_) if start.elapsed() < DIRECT_WITHIN => Ok(ProbeOutcome::Mode(ReadMode::Direct)),
        Ok(_) | Err(EngineError::TimedOut(_)) => Ok(ProbeOutcome::Mode(ReadMode::Stream)),
        Err(error) => no_sample(error),
    }
}

fn no_sample(error: EngineError) -> Result<ProbeOutcome, EngineError> {
    match error {
        EngineError::ConnectionLost(_) => Ok(ProbeOutcome::NoSample),
        error if error.is_response() => Ok(ProbeOutcome::NoSample),
        error => Err(error),
    }
}

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

/// Asks for two samples of a running container, one after the other. The first may have waited
/// or not; the second, right after it, waits for a whole pass unless the engine reads directly.
/// `None` where this container cannot tell.
pub(super) fn ask(client: &Client, id: &str) -> Result<Option<Behaviour>, EngineError> {
    let call = |limit| client.get::<Sample>(Call::OneShot(id), Instant::now() + limit);
    match call(FIRST_LIMIT) {
        // A stream tells no less of a container that hangs, and works with every engine.
        Err(EngineError::Silent(_)) => return Ok(Some(Behaviour::Stream)),
        Err(error) if error.is_answer() => return Ok(None),
        Err(error) => return Err(error),
        Ok(_) => {}
    }
    let start = Instant::now();
    match call(DIRECT_WITHIN) {
        Ok(_) if start.elapsed() < DIRECT_WITHIN => Ok(Some(Behaviour::Direct)),
        Ok(_) | Err(EngineError::Silent(_)) => Ok(Some(Behaviour::Stream)),
        Err(error) if error.is_answer() => Ok(None),
        Err(error) => Err(error),
    }
}

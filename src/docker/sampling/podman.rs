//! *Podman* sampling: one stream with a frame of all containers per second.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use super::latest_samples::LatestSamples;
use super::podman_sample::PodmanFrame;
use super::readings::ContainerReadings;
use crate::docker::engine::call::EngineCall;
use crate::docker::engine::client::{CALL_LIMIT, EngineClient, parse};
use crate::docker::engine::error::EngineError;
use crate::docker::inventory::Target;
use crate::{printable, threads};

/// A thread that reads Podman's stream.
#[derive(Debug)]
pub(crate) struct PodmanSampler {
    client: EngineClient,
    thread: Option<JoinHandle<()>>,
    samples: Arc<LatestSamples>,
    is_refused: Arc<AtomicBool>,
    /// The ids of the containers with a slot in `samples`.
    containers: HashSet<String>,
}

impl PodmanSampler {
    /// Starts the thread. `swapped`: this version of Podman swaps bytes received and sent.
    pub(crate) fn start(client: &EngineClient, swapped: bool) -> io::Result<Self> {
        let client = client.with_own_connections();
        let samples = Arc::new(LatestSamples::default());
        let is_refused = Arc::new(AtomicBool::new(false));
        let (stream_client, shared) = (client.clone(), Arc::clone(&samples));
        let refused = Arc::clone(&is_refused);
        let thread = threads::spawn("kentros-podman", move || {
            match read(&stream_client, &shared, swapped) {
                Err(error) if error.is_unsupported() => {
                    warn_refused(&error);
                    refused.store(true, Ordering::Release);
                }
                Err(error) => log::debug!("Podman's stats stream: {error}"),
                Ok(()) => {}
            }
            shared.close();
        })?;
        let containers = HashSet::new();
        Ok(Self { client, thread: Some(thread), samples, is_refused, containers })
    }

    /// Whether the call was rejected, so that another sampler must be used.
    pub(crate) fn is_refused(&self) -> bool {
        self.is_refused.load(Ordering::Acquire)
    }

    /// Whether the stream has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for the next frame, until `deadline` at the latest, and stores the samples of these
    /// containers in `readings`. Returns whether there were any.
    pub(crate) fn next_frame(
        &mut self,
        targets: &[Target],
        readings: &mut ContainerReadings,
        deadline: Instant,
    ) -> bool {
        let wanted: HashSet<&str> = targets.iter().map(|target| target.id.as_str()).collect();
        self.containers.retain(|id| {
            let keep = wanted.contains(id.as_str());
            if !keep {
                self.samples.remove(id);
            }
            keep
        });
        for id in wanted {
            if !self.containers.contains(id) {
                self.samples.add(id);
                self.containers.insert(id.to_owned());
            }
        }
        let mut any = false;
        self.samples.drain(deadline, |id, reading, at| any |= readings.update(id, reading, at));
        any
    }
}

impl Drop for PodmanSampler {
    fn drop(&mut self) {
        self.client.shutdown();
        if let Some(thread) = self.thread.take() {
            // A panic is logged already.
            let _ = thread.join();
        }
    }
}

fn warn_refused(error: &EngineError) {
    let path = EngineCall::PodmanStats.path("");
    let path = path.split('?').next().unwrap_or_default();
    let status = match error {
        EngineError::Status(status, message) => format!("status {status}: {message}"),
        error => error.to_string(),
    };
    log::warn!(
        "GET {path} was rejected ({status}). Calling Podman once for each container instead, which \
         takes more CPU. Allow this path in the socket proxy"
    );
}

fn read(client: &EngineClient, samples: &LatestSamples, swapped: bool) -> Result<(), EngineError> {
    let mut lines = client.lines(EngineCall::PodmanStats, CALL_LIMIT)?;
    while let Some(line) = lines.next()? {
        let frame: PodmanFrame = parse(line)?;
        if let Some(error) = frame.error {
            let error = printable(error.get());
            log::debug!("Podman reports an error instead of samples: {error}");
        }
        let now = Instant::now();
        for sample in frame.stats {
            samples.store(&sample.container_id, sample.reading(swapped), now);
        }
    }
    Ok(())
}

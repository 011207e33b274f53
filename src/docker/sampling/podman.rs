//! Podman's sampling: one stream with all containers in each frame, once a second.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use super::latest_samples::LatestSamples;
use super::readings::ContainerReadings;
use super::sample::PodmanFrame;
use crate::docker::engine::call::EngineCall;
use crate::docker::engine::client::{CALL_LIMIT, EngineClient, parse};
use crate::docker::engine::error::EngineError;
use crate::docker::inventory::Target;
use crate::threads;

/// The one reader.
#[derive(Debug)]
pub(crate) struct PodmanSampler {
    client: EngineClient,
    thread: Option<JoinHandle<()>>,
    board: Arc<LatestSamples>,
    targets: Vec<String>,
}

impl PodmanSampler {
    /// Starts the reader. `swapped`: this Podman confuses what is received and sent.
    pub(crate) fn start(client: &EngineClient, swapped: bool) -> io::Result<Self> {
        let client = client.with_own_connections();
        let board = Arc::new(LatestSamples::default());
        let (mine, shared) = (client.clone(), Arc::clone(&board));
        let thread = threads::spawn("kentros-podman", move || {
            if let Err(error) = read(&mine, &shared, swapped) {
                log::debug!("Podman's stream of samples: {error}");
            }
            shared.close();
        })?;
        Ok(Self { client, thread: Some(thread), board, targets: Vec::new() })
    }

    /// Whether the stream has ended: this reader gives no more samples.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Takes the samples of these containers from the next frame, at `deadline` at the latest.
    /// Whether there were any.
    pub(crate) fn frame(
        &mut self,
        targets: &[Target],
        rows: &mut ContainerReadings,
        deadline: Instant,
    ) -> bool {
        let wanted: Vec<String> = targets.iter().map(|target| target.id.clone()).collect();
        for id in self.targets.iter().filter(|id| !wanted.contains(id)) {
            self.board.remove(id);
        }
        for id in &wanted {
            self.board.add(id);
        }
        self.targets = wanted;
        let posted = self.board.take(deadline);
        posted.into_iter().fold(false, |any, (id, reading, at)| rows.take(&id, reading, at) | any)
    }
}

impl Drop for PodmanSampler {
    fn drop(&mut self) {
        self.client.shutdown();
        if let Some(thread) = self.thread.take() {
            // A panic in it has been logged.
            let _ = thread.join();
        }
    }
}

fn read(client: &EngineClient, board: &LatestSamples, swapped: bool) -> Result<(), EngineError> {
    let mut lines = client.lines(EngineCall::PodmanStats, CALL_LIMIT)?;
    while let Some(line) = lines.next()? {
        let frame: PodmanFrame = parse(line)?;
        if let Some(error) = frame.error.filter(|error| !error.is_null()) {
            log::debug!("Podman has no samples: {error}");
        }
        let now = Instant::now();
        for sample in frame.stats.unwrap_or_default() {
            board.post(&sample.container_id, sample.reading(swapped), now);
        }
    }
    Ok(())
}

//! *Stream* sampling: one stats stream per container, all read by one thread.
//!
//! Older engines answer a single call only at their collector's next pass. A stream delivers a
//! sample of every pass.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, unbounded};

use super::latest_samples::LatestSamples;
use super::readings::ContainerReadings;
use super::stream_reader::{StreamCommand, StreamReader};
use crate::docker::engine::client::EngineClient;
use crate::docker::inventory::Target;
use crate::poller::{Poller, Waker};
use crate::threads;

/// A sampling interval from this length on is reported: the engine is slower than one second.
const SLOW: Duration = Duration::from_millis(1_500);

/// The reading thread and the streams it has open.
#[derive(Debug)]
pub(crate) struct StreamSampler {
    /// Dropped to end the thread.
    commands: Option<Sender<StreamCommand>>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
    samples: Arc<LatestSamples>,
    /// The token of each container's stream.
    tokens: HashMap<String, u64>,
    next_token: u64,
    /// The sampling interval reported last.
    interval: Option<Duration>,
}

impl StreamSampler {
    /// Starts the thread.
    pub(crate) fn start(client: &EngineClient) -> io::Result<Self> {
        let (commands, received) = unbounded();
        let poller = Poller::new()?;
        let (waker, samples) = (poller.waker(), Arc::new(LatestSamples::default()));
        let (client, shared) = (client.clone(), Arc::clone(&samples));
        let thread = threads::spawn("kentros-streams", move || {
            match StreamReader::new(client, poller, received, Arc::clone(&shared)) {
                Ok(reader) => reader.run(),
                Err(error) => log::debug!("cannot read stats streams: {error}"),
            }
            shared.close();
        })?;
        Ok(Self {
            commands: Some(commands),
            waker,
            thread: Some(thread),
            samples,
            tokens: HashMap::new(),
            next_token: 0,
            interval: None,
        })
    }

    /// Whether the thread has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Opens and closes streams so that there is one for each of these containers. Then waits for
    /// the end of the engine's pass, until `deadline` at the latest, and stores the samples in
    /// `readings`. Returns whether there were any.
    pub(crate) fn next_pass(
        &mut self,
        targets: &[Target],
        readings: &mut ContainerReadings,
        deadline: Instant,
    ) -> bool {
        self.set_targets(targets);
        let mut any = false;
        self.samples.drain(deadline, |id, reading, at| any |= readings.update(id, reading, at));
        any
    }

    /// The engine's sampling interval, if it is slow. Changes under a quarter are ignored.
    pub(crate) fn interval(&mut self) -> Option<Duration> {
        self.interval = reported_interval(self.interval, self.samples.period());
        self.interval
    }

    fn set_targets(&mut self, targets: &[Target]) {
        let Some(commands) = &self.commands else { return };
        let wanted: HashSet<&str> = targets.iter().map(|target| target.id.as_str()).collect();
        let removed = self.tokens.extract_if(|id, _| !wanted.contains(id.as_str()));
        let mut changes: Vec<StreamCommand> =
            removed.map(|(_, token)| StreamCommand::Close(token)).collect();
        for Target { id, .. } in targets {
            if !self.tokens.contains_key(id) {
                // From now on this pass waits for its sample.
                self.samples.add(id);
                self.tokens.insert(id.clone(), self.next_token);
                changes.push(StreamCommand::Open(self.next_token, id.clone()));
                self.next_token += 1;
            }
        }
        if !changes.is_empty() {
            for command in changes {
                // Fails if the thread has ended. Then the session starts another sampler.
                let _ = commands.send(command);
            }
            self.waker.wake();
        }
    }
}

impl Drop for StreamSampler {
    fn drop(&mut self) {
        self.commands = None;
        self.waker.wake();
        if let Some(thread) = self.thread.take() {
            // A panic is logged already.
            let _ = thread.join();
        }
    }
}

/// The interval to report, given the one reported last: clients need not see every small change.
fn reported_interval(last: Option<Duration>, measured: Option<Duration>) -> Option<Duration> {
    match (last, measured) {
        (Some(last), Some(measured)) if measured.abs_diff(last) <= last / 4 => Some(last),
        _ => measured.filter(|interval| *interval > SLOW),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_intervals_are_reported_when_they_change_by_a_quarter() {
        let ms = |ms| Some(Duration::from_millis(ms));
        for (last, measured, reported) in [
            (None, None, None),
            (None, ms(1_100), None),
            (None, ms(1_600), ms(1_600)),
            (ms(1_600), ms(1_300), ms(1_600)),
            (ms(1_600), ms(1_100), None),
            (ms(7_000), ms(8_500), ms(7_000)),
            (ms(7_000), ms(9_000), ms(9_000)),
            (ms(7_000), None, None),
        ] {
            assert_eq!(reported_interval(last, measured), reported, "{last:?}, {measured:?}");
        }
    }
}

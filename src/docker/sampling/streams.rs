//! *Stream* sampling: one stream a container, at the engine's own pace, all read by one thread.
//! Older engines answer a single call only at their collector's next pass; a stream has a sample
//! of every pass.

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

/// A period this long is told: the engine does not keep the pace of a second.
const SLOW: Duration = Duration::from_millis(1_500);

/// The reader, and what it was told to read.
#[derive(Debug)]
pub(crate) struct StreamSampler {
    /// Dropped to end the reader.
    orders: Option<Sender<StreamCommand>>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
    board: Arc<LatestSamples>,
    /// The token of each container's stream.
    tokens: HashMap<String, u64>,
    next: u64,
    /// What was last told of the engine's period.
    pace: Option<Duration>,
}

impl StreamSampler {
    /// Starts the reader.
    pub(crate) fn start(client: &EngineClient) -> io::Result<Self> {
        let (orders, received) = unbounded();
        let poller = Poller::new()?;
        let (waker, board) = (poller.waker(), Arc::new(LatestSamples::default()));
        let (client, shared) = (client.clone(), Arc::clone(&board));
        let thread = threads::spawn("kentros-streams", move || {
            match StreamReader::new(client, poller, received, Arc::clone(&shared)) {
                Ok(reader) => reader.run(),
                Err(error) => log::debug!("no streams: {error}"),
            }
            shared.close();
        })?;
        let (orders, thread) = (Some(orders), Some(thread));
        Ok(Self { orders, waker, thread, board, tokens: HashMap::new(), next: 0, pace: None })
    }

    /// Whether the reader has ended, and gives no more samples.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Keeps a stream for each of these containers, and takes the samples of the pass that ends
    /// next, at `deadline` at the latest. Whether there were any.
    pub(crate) fn pass(
        &mut self,
        targets: &[Target],
        rows: &mut ContainerReadings,
        deadline: Instant,
    ) -> bool {
        self.keep(targets);
        let posted = self.board.take(deadline);
        posted.into_iter().fold(false, |any, (id, reading, at)| rows.take(&id, reading, at) | any)
    }

    /// The engine's period, where it is slow; the same until it is another by a quarter.
    pub(crate) fn pace(&mut self) -> Option<Duration> {
        self.pace = settled(self.pace, self.board.period());
        self.pace
    }

    fn keep(&mut self, targets: &[Target]) {
        let Some(orders) = &self.orders else { return };
        let wanted: HashSet<&str> = targets.iter().map(|target| target.id.as_str()).collect();
        let gone = self.tokens.extract_if(|id, _| !wanted.contains(id.as_str()));
        let mut news: Vec<StreamCommand> =
            gone.map(|(_, token)| StreamCommand::Close(token)).collect();
        for Target { id, .. } in targets {
            if !self.tokens.contains_key(id) {
                // From now on its sample is waited for.
                self.board.add(id);
                self.tokens.insert(id.clone(), self.next);
                news.push(StreamCommand::Open(self.next, id.clone()));
                self.next += 1;
            }
        }
        if !news.is_empty() {
            for order in news {
                // A reader that has ended is replaced.
                let _ = orders.send(order);
            }
            self.waker.wake();
        }
    }
}

impl Drop for StreamSampler {
    fn drop(&mut self) {
        self.orders = None;
        self.waker.wake();
        if let Some(thread) = self.thread.take() {
            // A panic in it has been logged.
            let _ = thread.join();
        }
    }
}

/// What is told of a pace that is measured anew each time: clients need not hear of each change.
fn settled(told: Option<Duration>, measured: Option<Duration>) -> Option<Duration> {
    match (told, measured) {
        (Some(told), Some(measured)) if measured.abs_diff(told) <= told / 4 => Some(told),
        _ => measured.filter(|period| *period > SLOW),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_told_where_it_is_slow_and_again_where_it_is_another() {
        let ms = |ms| Some(Duration::from_millis(ms));
        for (told, measured, then) in [
            (None, None, None),
            (None, ms(1_100), None),
            (None, ms(1_600), ms(1_600)),
            (ms(1_600), ms(1_300), ms(1_600)),
            (ms(1_600), ms(1_100), None),
            (ms(7_000), ms(8_500), ms(7_000)),
            (ms(7_000), ms(9_000), ms(9_000)),
            (ms(7_000), None, None),
        ] {
            assert_eq!(settled(told, measured), then, "{told:?}, {measured:?}");
        }
    }
}

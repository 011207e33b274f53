//! *Stream* sampling: one stream a container, at the engine's own pace, each read by a thread of
//! its own. Older engines answer a single call only at their collector's next pass; a stream has
//! a sample of every pass.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::board::Board;
use super::call::Call;
use super::client::{CALL_LIMIT, Client, parse};
use super::error::EngineError;
use super::inventory::Target;
use super::rows::Rows;
use super::sample::Sample;
use crate::threads;

/// A reader's stack: it parses one small document at a time.
const STACK: usize = 128 << 10;
/// How long a stream that ended is left alone, at first and at most.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(30);
/// A stream that is silent for this long is opened anew: an engine sends something each second,
/// also of a paused container.
const SILENT: Duration = Duration::from_secs(10);
/// A period this long is told: the engine does not keep the pace of a second.
const SLOW: Duration = Duration::from_millis(1_500);

/// One reader a container.
#[derive(Debug, Default)]
pub(super) struct Streams {
    readers: HashMap<String, Reader>,
    board: Arc<Board>,
}

#[derive(Debug)]
struct Reader {
    client: Client,
    /// `None` where the thread could not be spawned.
    thread: Option<JoinHandle<()>>,
    started: Instant,
    /// How long to wait before it is started anew, once it has ended.
    rest: Duration,
}

impl Streams {
    /// Keeps a reader for each of these containers, and takes the samples of the pass that ends
    /// next, at `deadline` at the latest. Whether there were any.
    pub(super) fn pass(
        &mut self,
        client: &Client,
        targets: &[Target],
        rows: &mut Rows,
        deadline: Instant,
    ) -> bool {
        self.keep(client, targets);
        let posted = self.board.take(deadline);
        posted.into_iter().fold(false, |any, (id, reading, at)| rows.take(&id, reading, at) | any)
    }

    /// The engine's period, where it is slow.
    pub(super) fn pace(&self) -> Option<Duration> {
        self.board.period().filter(|period| *period > SLOW)
    }

    fn keep(&mut self, client: &Client, targets: &[Target]) {
        let wanted: HashMap<&str, &Target> = targets.iter().map(|t| (t.id.as_str(), t)).collect();
        let gone = self.readers.extract_if(|id, _| !wanted.contains_key(id.as_str()));
        end(gone.map(|(id, reader)| {
            self.board.remove(&id);
            reader
        }));
        for target in targets {
            let rest = match self.readers.get(&target.id) {
                None => FIRST_REST,
                Some(reader) if reader.is_due(self.board.heard(&target.id)) => reader.next_rest(),
                Some(_) => continue,
            };
            end(self.readers.remove(&target.id).into_iter());
            let reader = Reader::start(client, &target.id, &self.board, rest);
            self.readers.insert(target.id.clone(), reader);
        }
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        end(self.readers.drain().map(|(_, reader)| reader));
    }
}

/// Ends readers: all are told before the first is waited for.
fn end(readers: impl Iterator<Item = Reader>) {
    let readers: Vec<Reader> = readers.inspect(|reader| reader.client.shutdown()).collect();
    for thread in readers.into_iter().filter_map(|reader| reader.thread) {
        // A panic in it has been logged.
        let _ = thread.join();
    }
}

impl Reader {
    fn start(client: &Client, id: &str, board: &Arc<Board>, rest: Duration) -> Self {
        board.add(id);
        let client = client.apart();
        let (mine, board, container) = (client.clone(), Arc::clone(board), id.to_owned());
        let read = move || {
            if let Err(error) = read(&mine, &container, &board) {
                log::debug!("no stream of {container}: {error}");
            }
            board.remove(&container);
        };
        let name: String = format!("stats-{id}").chars().take(15).collect();
        let thread = threads::spawn_with_stack(name, Some(STACK), read)
            .inspect_err(|error| log::warn!("no thread for the stream of {id}: {error}"))
            .ok();
        Self { client, thread, started: Instant::now(), rest }
    }

    /// Whether it is time to try again: it has ended, or nothing came for long.
    fn is_due(&self, heard: Option<Instant>) -> bool {
        let ended = self.thread.as_ref().is_none_or(JoinHandle::is_finished);
        let silent = heard.unwrap_or(self.started).elapsed() >= SILENT;
        (ended || silent) && self.started.elapsed() >= self.rest
    }

    /// The rest after this one: longer, unless the stream went well for some time.
    fn next_rest(&self) -> Duration {
        if self.started.elapsed() > self.rest + LONGEST_REST {
            FIRST_REST
        } else {
            (self.rest * 2).min(LONGEST_REST)
        }
    }
}

/// A reader: posts each sample until the stream ends.
fn read(client: &Client, id: &str, board: &Board) -> Result<(), EngineError> {
    let mut lines = client.lines(Call::Stream(id), CALL_LIMIT)?;
    while let Some(line) = lines.next()? {
        let sample: Sample = parse(line)?;
        board.post(id, sample.reading(), Instant::now());
    }
    Ok(())
}

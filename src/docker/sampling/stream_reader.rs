//! The thread `kentros-streams`, which reads the stats streams of all containers.
//!
//! A stream is one connection with one response without an end. It opens when its container
//! is added. When it ends, fails or goes silent, it opens again after a back-off.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError};

use super::latest_samples::LatestSamples;
use super::sample::Sample;
use crate::docker::engine::backoff::Backoff;
use crate::docker::engine::call::EngineCall;
use crate::docker::engine::client::{CALL_LIMIT, EngineClient, parse};
use crate::docker::engine::connection::{EngineConnection, StreamConnector};
use crate::docker::engine::error::EngineError;
use crate::docker::engine::stream_response::StreamResponse;
use crate::poller::{Poller, Readiness};
use crate::stats::reading::Reading;

/// The time from one opening of a stream to the next, at first and at most.
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// A stream without a sample for this long is reopened. An engine sends one per second, for paused
/// containers too; with a thousand containers it sends one every four to six seconds.
const SILENCE: Duration = Duration::from_secs(10);
/// Each time a stream is reopened its time limits double, up to this one. Otherwise a slow engine
/// would be kept busy with streams that are closed just before their first sample.
const LONGEST_LIMIT: Duration = Duration::from_secs(60);
/// How often time limits and delays are checked.
const TICK: Duration = Duration::from_millis(500);
/// The size of the read buffer, in bytes: a few samples.
const BUFFER: usize = 16 << 10;

/// A command to the reading thread.
#[derive(Debug)]
pub(super) enum StreamCommand {
    /// Open the stream of the container with this id, under this token.
    Open(u64, String),
    /// Close the stream with this token.
    Close(u64),
}

/// The reading thread. It ends when the sender of its commands is dropped.
#[derive(Debug)]
pub(super) struct StreamReader {
    client: EngineClient,
    connector: StreamConnector,
    poller: Poller,
    commands: Receiver<StreamCommand>,
    samples: Arc<LatestSamples>,
    streams: HashMap<u64, ContainerStream>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct ContainerStream {
    /// The container's id.
    id: String,
    opened: Instant,
    backoff: Backoff,
    state: StreamState,
}

#[derive(Debug)]
enum StreamState {
    /// Closed until then.
    Waiting(Instant),
    Open(OpenStream),
}

#[derive(Debug)]
struct OpenStream {
    connection: EngineConnection,
    interest: Readiness,
    stage: StreamStage,
    /// When the last sample or the head arrived, or when the stream was opened.
    last_progress: Instant,
}

#[derive(Debug)]
enum StreamStage {
    /// Connecting to the endpoint of this number.
    Connecting(usize),
    /// Sending the rest of the request.
    Sending(Vec<u8>),
    Receiving(StreamResponse),
}

impl StreamReader {
    pub(super) fn new(
        client: EngineClient,
        poller: Poller,
        commands: Receiver<StreamCommand>,
        samples: Arc<LatestSamples>,
    ) -> Result<Self, EngineError> {
        let connector = client.stream_connector()?;
        let (streams, buffer) = (HashMap::new(), vec![0; BUFFER]);
        Ok(Self { client, connector, poller, commands, samples, streams, buffer })
    }

    pub(super) fn run(mut self) {
        let mut tick = Instant::now();
        loop {
            let ready = self.poller.wait((!self.streams.is_empty()).then_some(tick));
            loop {
                match self.commands.try_recv() {
                    Ok(StreamCommand::Open(token, id)) => self.add(token, id),
                    Ok(StreamCommand::Close(token)) => self.remove(token),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            for token in ready {
                self.advance(token);
            }
            let now = Instant::now();
            if now >= tick {
                self.check_times(now);
                tick = now + TICK;
            }
        }
    }

    fn add(&mut self, token: u64, id: String) {
        let now = Instant::now();
        let backoff = Backoff::new(FIRST_DELAY, LONGEST_DELAY);
        let state = StreamState::Waiting(now);
        self.streams.insert(token, ContainerStream { id, opened: now, backoff, state });
        self.open(token, now);
    }

    fn remove(&mut self, token: u64) {
        if let Some(stream) = self.streams.remove(&token) {
            self.samples.remove(&stream.id);
        }
    }

    /// Opens the streams whose delay is over, and closes those that exceed their time limit.
    fn check_times(&mut self, now: Instant) {
        let is_due = |stream: &ContainerStream| match &stream.state {
            StreamState::Waiting(until) => now >= *until,
            StreamState::Open(open) => now >= open.last_progress + open.limit(&stream.backoff),
        };
        let due: Vec<u64> =
            self.streams.iter().filter(|(_, s)| is_due(s)).map(|(token, _)| *token).collect();
        for token in due {
            let Some(stream) = self.streams.get_mut(&token) else { continue };
            match stream.state {
                StreamState::Waiting(_) => self.open(token, now),
                StreamState::Open(_) => {
                    self.close(token, &self.client.error(io::ErrorKind::TimedOut.into()));
                }
            }
        }
    }

    fn open(&mut self, token: u64, now: Instant) {
        if let Some(stream) = self.streams.get_mut(&token) {
            stream.opened = now;
            self.client.count_call();
            self.samples.add(&stream.id);
            self.connect(token, 0, io::ErrorKind::NotFound.into());
        }
    }

    /// Starts to connect to endpoint number `endpoint` or a later one. `error` is that of the
    /// endpoint before.
    fn connect(&mut self, token: u64, mut endpoint: usize, mut error: io::Error) {
        while let Some(started) = self.connector.start(endpoint) {
            let added = started.and_then(|connection| {
                self.poller.add(&connection, token, Readiness::Write)?;
                Ok(connection)
            });
            match (added, self.streams.get_mut(&token)) {
                (Ok(connection), Some(stream)) => {
                    stream.state = StreamState::Open(OpenStream {
                        connection,
                        interest: Readiness::Write,
                        stage: StreamStage::Connecting(endpoint),
                        last_progress: stream.opened,
                    });
                    return;
                }
                (Err(failed), _) => error = failed,
                (Ok(_), None) => return,
            }
            endpoint += 1;
        }
        // A Unix socket whose listen queue is full.
        let is_full = error.kind() == io::ErrorKind::WouldBlock;
        self.close(token, &self.client.error(error));
        if let Some(stream) = self.streams.get_mut(&token).filter(|_| is_full) {
            stream.backoff.reset();
            stream.state = StreamState::Waiting(stream.opened);
        }
    }

    /// Continues a stream whose connection is ready.
    fn advance(&mut self, token: u64) {
        let Some(ContainerStream { id, state: StreamState::Open(open), .. }) =
            self.streams.get_mut(&token)
        else {
            return;
        };
        if let StreamStage::Connecting(endpoint) = open.stage {
            if let Err(error) = open.connection.connected() {
                return self.connect(token, endpoint + 1, error);
            }
            match self.client.request(EngineCall::Stream(id)) {
                Ok(request) => open.stage = StreamStage::Sending(request),
                Err(error) => return self.close(token, &error),
            }
        }
        let samples = &self.samples;
        let outcome = open.transfer(&self.client, &mut self.buffer, |reading| {
            samples.store(id, reading, Instant::now());
        });
        let outcome = outcome.and_then(|()| {
            let sent = matches!(open.stage, StreamStage::Receiving(_));
            let interest = open.connection.interest(sent);
            if interest != open.interest {
                open.interest = interest;
                let changed = self.poller.change(&open.connection, token, interest);
                changed.map_err(|error| self.client.error(error))?;
            }
            Ok(())
        });
        if let Err(error) = outcome {
            self.close(token, &error);
        }
    }

    /// Closes a stream until its back-off is over.
    fn close(&mut self, token: u64, why: &EngineError) {
        let Some(stream) = self.streams.get_mut(&token) else { return };
        log::debug!("stats stream of {}: {why}", stream.id);
        self.samples.remove(&stream.id);
        if !matches!(&stream.state, StreamState::Open(open) if open.has_head()) {
            self.client.count_error();
        }
        // Up to the last sample: a stream without samples must not get a shorter limit.
        let lifetime = match &stream.state {
            StreamState::Open(open) => open.last_progress.saturating_duration_since(stream.opened),
            StreamState::Waiting(_) => Duration::ZERO,
        };
        let delay = stream.backoff.delay();
        stream.state = StreamState::Waiting(stream.opened + delay);
        if lifetime > delay + LONGEST_DELAY {
            stream.backoff.reset();
        } else {
            stream.backoff.increase();
        }
    }
}

impl OpenStream {
    fn has_head(&self) -> bool {
        matches!(&self.stage, StreamStage::Receiving(response) if response.has_head())
    }

    /// The time limit for the head or the next sample.
    fn limit(&self, backoff: &Backoff) -> Duration {
        let limit = if self.has_head() { SILENCE } else { CALL_LIMIT };
        limit.mul_f64(backoff.factor()).min(LONGEST_LIMIT)
    }

    /// Sends and receives without blocking, and passes each reading to `store`.
    fn transfer(
        &mut self,
        client: &EngineClient,
        buffer: &mut [u8],
        mut store: impl FnMut(Option<Reading>),
    ) -> Result<(), EngineError> {
        if let StreamStage::Sending(request) = &mut self.stage {
            match self.connection.send(request) {
                Ok(sent) => drop(request.drain(..sent)),
                Err(error) if is_transient(&error) => return Ok(()),
                Err(error) => return Err(client.error(error)),
            }
            if request.is_empty() {
                self.stage = StreamStage::Receiving(StreamResponse::default());
            }
            return Ok(());
        }
        let StreamStage::Receiving(response) = &mut self.stage else { return Ok(()) };
        loop {
            let received = match self.connection.recv(buffer) {
                Ok(0) => return Err(client.error(io::ErrorKind::UnexpectedEof.into())),
                Ok(received) => received,
                Err(error) if is_transient(&error) => return Ok(()),
                Err(error) => return Err(client.error(error)),
            };
            let had_head = response.has_head();
            let mut stored = false;
            response.feed(buffer.get(..received).unwrap_or_default(), &mut |line| {
                let sample: Sample = parse(line)?;
                store(sample.reading());
                stored = true;
                Ok(())
            })?;
            if stored || !had_head && response.has_head() {
                self.last_progress = Instant::now();
            }
            if response.has_ended() {
                return Err(client.error(io::ErrorKind::UnexpectedEof.into()));
            }
            // One read per turn: if the socket has more, the poller reports it again.
            if !self.connection.has_more() {
                return Ok(());
            }
        }
    }
}

/// Whether to try again once the poller reports the connection as ready.
fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

//! The thread `kentros-streams`: reads every container's stream, none of them behind another.
//!
//! A stream is a connection with one answer that has no end. It is begun when its container is
//! wanted, and begun anew, after a rest, when it ends, fails or falls silent.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError};

use super::latest_samples::LatestSamples;
use super::sample::Sample;
use crate::docker::engine::call::EngineCall;
use crate::docker::engine::client::{CALL_LIMIT, EngineClient, parse};
use crate::docker::engine::connection::{EngineConnection, StreamConnector};
use crate::docker::engine::error::EngineError;
use crate::docker::engine::stream_response::StreamResponse;
use crate::poller::{Poller, Readiness};

/// How long a stream that ended is left alone, counted from its beginning, at first and at most.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(30);
/// A stream without a sample for this long is begun anew: an engine sends one each second, also
/// of a paused container, and with a thousand of them one in four to six.
const SILENT: Duration = Duration::from_secs(10);
/// Whoever is begun anew is given twice as long as before, at most this: an engine that is slow must
/// not be kept busy with streams that are given up just before they give anything.
const LONGEST_LIMIT: Duration = Duration::from_secs(60);
/// How often limits and rests are looked at.
const TICK: Duration = Duration::from_millis(500);
/// What is read at once: some samples.
const BUFFER: usize = 16 << 10;

/// What the reader is told.
#[derive(Debug)]
pub(crate) enum StreamCommand {
    /// Read the stream of the container with this id, under this token.
    Open(u64, String),
    /// Read it no more.
    Close(u64),
}

/// All streams. It ends when the sender of its orders is gone.
#[derive(Debug)]
pub(crate) struct StreamReader {
    client: EngineClient,
    connector: StreamConnector,
    poller: Poller,
    orders: Receiver<StreamCommand>,
    board: Arc<LatestSamples>,
    streams: HashMap<u64, ContainerStream>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct ContainerStream {
    id: String,
    begun: Instant,
    /// How long after its beginning it may begin anew, should it end.
    rest: Duration,
    state: StreamState,
}

#[derive(Debug)]
enum StreamState {
    /// Not connected until then.
    Resting(Instant),
    Open(OpenStream),
}

#[derive(Debug)]
struct OpenStream {
    link: EngineConnection,
    interest: Readiness,
    stage: StreamStage,
    /// When the last sample came, or the head, or when it was begun.
    heard: Instant,
}

#[derive(Debug)]
enum StreamStage {
    /// To the engine's place of this number.
    Connecting(usize),
    /// This is still to be sent.
    Asking(Vec<u8>),
    Reading(StreamResponse),
}

impl StreamReader {
    pub(crate) fn new(
        client: EngineClient,
        poller: Poller,
        orders: Receiver<StreamCommand>,
        board: Arc<LatestSamples>,
    ) -> Result<Self, EngineError> {
        let connector = client.stream_connector()?;
        let streams = HashMap::new();
        Ok(Self { client, connector, poller, orders, board, streams, buffer: vec![0; BUFFER] })
    }

    /// Reads until it is told to end.
    pub(crate) fn run(mut self) {
        let mut tick = Instant::now();
        loop {
            let ready = self.poller.wait((!self.streams.is_empty()).then_some(tick));
            loop {
                match self.orders.try_recv() {
                    Ok(StreamCommand::Open(token, id)) => self.open(token, id),
                    Ok(StreamCommand::Close(token)) => self.close(token),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            for token in ready {
                self.go_on(token);
            }
            let now = Instant::now();
            if now >= tick {
                self.tick(now);
                tick = now + TICK;
            }
        }
    }

    fn open(&mut self, token: u64, id: String) {
        let now = Instant::now();
        let stream =
            ContainerStream { id, begun: now, rest: FIRST_REST, state: StreamState::Resting(now) };
        self.streams.insert(token, stream);
        self.begin(token, now);
    }

    fn close(&mut self, token: u64) {
        if let Some(stream) = self.streams.remove(&token) {
            self.board.remove(&stream.id);
        }
    }

    /// Begins streams whose rest is over, and ends those whose time is up.
    fn tick(&mut self, now: Instant) {
        let due = |stream: &ContainerStream| match &stream.state {
            StreamState::Resting(until) => now >= *until,
            StreamState::Open(open) => now >= open.heard + open.limit(stream.rest),
        };
        let due: Vec<u64> =
            self.streams.iter().filter(|(_, s)| due(s)).map(|(token, _)| *token).collect();
        for token in due {
            let Some(stream) = self.streams.get_mut(&token) else { continue };
            match stream.state {
                StreamState::Resting(_) => self.begin(token, now),
                StreamState::Open(_) => {
                    self.end(token, &self.client.failed(io::ErrorKind::TimedOut.into()));
                }
            }
        }
    }

    fn begin(&mut self, token: u64, now: Instant) {
        if let Some(stream) = self.streams.get_mut(&token) {
            stream.begun = now;
            self.client.count_call();
            self.board.add(&stream.id);
            self.connect(token, 0, io::ErrorKind::NotFound.into());
        }
    }

    /// Begins a connection to the engine's place number `place` or a later one; `failed` is why
    /// the one before would not do.
    fn connect(&mut self, token: u64, mut place: usize, mut failed: io::Error) {
        while let Some(dialed) = self.connector.dial(place) {
            let added = dialed.and_then(|link| {
                self.poller.add(&link, token, Readiness::Write)?;
                Ok(link)
            });
            match (added, self.streams.get_mut(&token)) {
                (Ok(link), Some(stream)) => {
                    let (interest, stage) = (Readiness::Write, StreamStage::Connecting(place));
                    let heard = stream.begun;
                    stream.state = StreamState::Open(OpenStream { link, interest, stage, heard });
                    return;
                }
                (Err(error), _) => failed = error,
                (Ok(_), None) => return,
            }
            place += 1;
        }
        // The engine's queue of connections is full for now.
        let full = failed.kind() == io::ErrorKind::WouldBlock;
        self.end(token, &self.client.failed(failed));
        if let Some(stream) = self.streams.get_mut(&token).filter(|_| full) {
            (stream.rest, stream.state) = (FIRST_REST, StreamState::Resting(stream.begun));
        }
    }

    /// Does what can be done of a stream that is ready.
    fn go_on(&mut self, token: u64) {
        let Some(ContainerStream { id, state: StreamState::Open(open), .. }) =
            self.streams.get_mut(&token)
        else {
            return;
        };
        if let StreamStage::Connecting(place) = open.stage {
            if let Err(error) = open.link.connected() {
                return self.connect(token, place + 1, error);
            }
            match self.client.request(EngineCall::Stream(id)) {
                Ok(request) => open.stage = StreamStage::Asking(request),
                Err(error) => return self.end(token, &error),
            }
        }
        let board = &self.board;
        let outcome = open.go_on(&self.client, &mut self.buffer, |reading| {
            board.post(id, reading, Instant::now());
        });
        let outcome = outcome.and_then(|()| {
            let interest = open.link.interest(matches!(open.stage, StreamStage::Reading(_)));
            if interest != open.interest {
                open.interest = interest;
                let changed = self.poller.change(&open.link, token, interest);
                changed.map_err(|error| self.client.failed(error))?;
            }
            Ok(())
        });
        if let Err(error) = outcome {
            self.end(token, &error);
        }
    }

    /// Lets a stream rest that ended for this reason.
    fn end(&mut self, token: u64, why: &EngineError) {
        let Some(stream) = self.streams.get_mut(&token) else { return };
        log::debug!("the stream of {}: {why}", stream.id);
        self.board.remove(&stream.id);
        if !matches!(&stream.state, StreamState::Open(open) if open.is_answered()) {
            self.client.count_error();
        }
        // As long as it gave samples: whoever never did must not be given less again.
        let lived = match &stream.state {
            StreamState::Open(open) => open.heard.saturating_duration_since(stream.begun),
            StreamState::Resting(_) => Duration::ZERO,
        };
        stream.state = StreamState::Resting(stream.begun + stream.rest);
        stream.rest = if lived > stream.rest + LONGEST_REST {
            FIRST_REST
        } else {
            (stream.rest * 2).min(LONGEST_REST)
        };
    }
}

impl OpenStream {
    fn is_answered(&self) -> bool {
        matches!(&self.stage, StreamStage::Reading(response) if response.is_answered())
    }

    /// How long what comes next may take, for a stream that rests so long.
    fn limit(&self, rest: Duration) -> Duration {
        let first = if self.is_answered() { SILENT } else { CALL_LIMIT };
        first.mul_f64(rest.div_duration_f64(FIRST_REST)).min(LONGEST_LIMIT)
    }

    /// Sends and reads what can be, and gives each reading to `post`.
    fn go_on(
        &mut self,
        client: &EngineClient,
        buffer: &mut [u8],
        mut post: impl FnMut(Option<crate::stats::usage::Reading>),
    ) -> Result<(), EngineError> {
        if let StreamStage::Asking(request) = &mut self.stage {
            match self.link.send(request) {
                Ok(sent) => drop(request.drain(..sent)),
                Err(error) if is_not_yet(&error) => return Ok(()),
                Err(error) => return Err(client.failed(error)),
            }
            if request.is_empty() {
                self.stage = StreamStage::Reading(StreamResponse::default());
            }
            return Ok(());
        }
        let StreamStage::Reading(response) = &mut self.stage else { return Ok(()) };
        loop {
            let read = match self.link.recv(buffer) {
                Ok(0) => return Err(client.failed(io::ErrorKind::UnexpectedEof.into())),
                Ok(read) => read,
                Err(error) if is_not_yet(&error) => return Ok(()),
                Err(error) => return Err(client.failed(error)),
            };
            let (answered, mut posted) = (response.is_answered(), false);
            response.feed(buffer.get(..read).unwrap_or_default(), &mut |line| {
                let sample: Sample = parse(line)?;
                post(sample.reading());
                posted = true;
                Ok(())
            })?;
            if posted || !answered && response.is_answered() {
                self.heard = Instant::now();
            }
            if response.has_ended() {
                return Err(client.failed(io::ErrorKind::UnexpectedEof.into()));
            }
            // Once is enough: what is left makes it ready again, after the others.
            if !self.link.has_more() {
                return Ok(());
            }
        }
    }
}

fn is_not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

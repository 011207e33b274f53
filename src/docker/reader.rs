//! The thread `kentros-streams`: reads every container's stream, none of them behind another.
//!
//! A stream is a connection with one answer that has no end. It is begun when its container is
//! wanted, and begun anew, after a rest, when it ends, fails or falls silent.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError};

use super::board::Board;
use super::call::Call;
use super::client::{CALL_LIMIT, Client, parse};
use super::error::EngineError;
use super::link::{Dialer, Link};
use super::response::Response;
use super::sample::Sample;
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
pub(super) enum Order {
    /// Read the stream of the container with this id, under this token.
    Open(u64, String),
    /// Read it no more.
    Close(u64),
}

/// All streams. It ends when the sender of its orders is gone.
#[derive(Debug)]
pub(super) struct Reader {
    client: Client,
    dialer: Dialer,
    poller: Poller,
    orders: Receiver<Order>,
    board: Arc<Board>,
    streams: HashMap<u64, Stream>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Stream {
    id: String,
    begun: Instant,
    /// How long after its beginning it may begin anew, should it end.
    rest: Duration,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Not connected until then.
    Resting(Instant),
    Open(Open),
}

#[derive(Debug)]
struct Open {
    link: Link,
    interest: Readiness,
    stage: Stage,
    /// When the last sample came, or the head, or when it was begun.
    heard: Instant,
}

#[derive(Debug)]
enum Stage {
    /// To the engine's place of this number.
    Connecting(usize),
    /// This is still to be sent.
    Asking(Vec<u8>),
    Reading(Response),
}

impl Reader {
    pub(super) fn new(
        client: Client,
        poller: Poller,
        orders: Receiver<Order>,
        board: Arc<Board>,
    ) -> Result<Self, EngineError> {
        let dialer = client.dialer()?;
        let streams = HashMap::new();
        Ok(Self { client, dialer, poller, orders, board, streams, buffer: vec![0; BUFFER] })
    }

    /// Reads until it is told to end.
    pub(super) fn run(mut self) {
        let mut tick = Instant::now();
        loop {
            let ready = self.poller.wait((!self.streams.is_empty()).then_some(tick));
            loop {
                match self.orders.try_recv() {
                    Ok(Order::Open(token, id)) => self.open(token, id),
                    Ok(Order::Close(token)) => self.close(token),
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
        let stream = Stream { id, begun: now, rest: FIRST_REST, state: State::Resting(now) };
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
        let due = |stream: &Stream| match &stream.state {
            State::Resting(until) => now >= *until,
            State::Open(open) => now >= open.heard + open.limit(stream.rest),
        };
        let due: Vec<u64> =
            self.streams.iter().filter(|(_, s)| due(s)).map(|(token, _)| *token).collect();
        for token in due {
            let Some(stream) = self.streams.get_mut(&token) else { continue };
            match stream.state {
                State::Resting(_) => self.begin(token, now),
                State::Open(_) => {
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
        while let Some(dialed) = self.dialer.dial(place) {
            let added = dialed.and_then(|link| {
                self.poller.add(&link, token, Readiness::Write)?;
                Ok(link)
            });
            match (added, self.streams.get_mut(&token)) {
                (Ok(link), Some(stream)) => {
                    let (interest, stage) = (Readiness::Write, Stage::Connecting(place));
                    let heard = stream.begun;
                    stream.state = State::Open(Open { link, interest, stage, heard });
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
            (stream.rest, stream.state) = (FIRST_REST, State::Resting(stream.begun));
        }
    }

    /// Does what can be done of a stream that is ready.
    fn go_on(&mut self, token: u64) {
        let Some(Stream { id, state: State::Open(open), .. }) = self.streams.get_mut(&token) else {
            return;
        };
        if let Stage::Connecting(place) = open.stage {
            if let Err(error) = open.link.connected() {
                return self.connect(token, place + 1, error);
            }
            match self.client.request(Call::Stream(id)) {
                Ok(request) => open.stage = Stage::Asking(request),
                Err(error) => return self.end(token, &error),
            }
        }
        let board = &self.board;
        let outcome = open.go_on(&self.client, &mut self.buffer, |reading| {
            board.post(id, reading, Instant::now());
        });
        let outcome = outcome.and_then(|()| {
            let interest = open.link.interest(matches!(open.stage, Stage::Reading(_)));
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
        if !matches!(&stream.state, State::Open(open) if open.is_answered()) {
            self.client.count_error();
        }
        // As long as it gave samples: whoever never did must not be given less again.
        let lived = match &stream.state {
            State::Open(open) => open.heard.saturating_duration_since(stream.begun),
            State::Resting(_) => Duration::ZERO,
        };
        stream.state = State::Resting(stream.begun + stream.rest);
        stream.rest = if lived > stream.rest + LONGEST_REST {
            FIRST_REST
        } else {
            (stream.rest * 2).min(LONGEST_REST)
        };
    }
}

impl Open {
    fn is_answered(&self) -> bool {
        matches!(&self.stage, Stage::Reading(response) if response.is_answered())
    }

    /// How long what comes next may take, for a stream that rests so long.
    fn limit(&self, rest: Duration) -> Duration {
        let first = if self.is_answered() { SILENT } else { CALL_LIMIT };
        first.mul_f64(rest.div_duration_f64(FIRST_REST)).min(LONGEST_LIMIT)
    }

    /// Sends and reads what can be, and gives each reading to `post`.
    fn go_on(
        &mut self,
        client: &Client,
        buffer: &mut [u8],
        mut post: impl FnMut(Option<crate::stats::usage::Reading>),
    ) -> Result<(), EngineError> {
        if let Stage::Asking(request) = &mut self.stage {
            match self.link.send(request) {
                Ok(sent) => drop(request.drain(..sent)),
                Err(error) if is_not_yet(&error) => return Ok(()),
                Err(error) => return Err(client.failed(error)),
            }
            if request.is_empty() {
                self.stage = Stage::Reading(Response::default());
            }
            return Ok(());
        }
        let Stage::Reading(response) = &mut self.stage else { return Ok(()) };
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

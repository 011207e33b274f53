//! The outbox on a model of a socket that accepts a random number of bytes, compared with a plain
//! list that receives the same calls.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::*;
use crate::random::Random;

const BOUNDS: QueueBounds = QueueBounds { messages: 4, bytes: 300 };
/// Never reached.
const LIMIT: Duration = Duration::from_secs(1000);

/// The output of the modelled socket, and its behaviour.
struct Pipe {
    random: Random,
    out: Vec<u8>,
    /// The calls of `shutdown`.
    ends: Vec<Shutdown>,
    /// Accepts everything.
    wide: bool,
    broken: bool,
    /// Whether closing it resets the connection.
    reset: bool,
}

struct Trickle(Rc<RefCell<Pipe>>);

impl Socket for Trickle {
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let pipe = &mut *self.0.borrow_mut();
        assert!(pipe.ends.is_empty(), "nothing is sent after a shutdown");
        assert!(!bytes.is_empty());
        if pipe.broken {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let taken = if pipe.wide { bytes.len() } else { pipe.random.below(bytes.len() + 1) };
        if taken == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        pipe.out.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.0.borrow_mut().ends.push(how);
        Ok(())
    }

    fn reset_when_closed(&self) {
        self.0.borrow_mut().reset = true;
    }
}

/// The expected queue.
#[derive(Default)]
struct Model {
    queued: Vec<Frame>,
    /// The bytes of the first frame that are sent.
    sent: usize,
    /// The output bytes compared so far.
    seen: usize,
    watched: bool,
    closing: bool,
    over: bool,
}

impl Model {
    /// Checks that the output continues with the queued bytes.
    fn check_output(&mut self, out: &[u8]) {
        while self.seen < out.len() {
            assert!(!self.queued.is_empty(), "bytes that were not offered, or were withdrawn");
            let rest = &self.queued[0].bytes()[self.sent..];
            let n = rest.len().min(out.len() - self.seen);
            assert_eq!(out[self.seen..self.seen + n], rest[..n]);
            self.seen += n;
            self.sent += n;
            if n == rest.len() {
                self.queued.remove(0);
                self.sent = 0;
            }
        }
    }

    /// Offers frames, of which some may be sent already. Returns how many older ones were replaced, or
    /// `None` if one does not fit.
    fn offer(&mut self, frames: &[Frame], out: &[u8]) -> Option<u64> {
        let before = self.queued.len();
        self.queued.extend_from_slice(frames);
        let all = self.queued.len();
        self.check_output(out);
        let gone = all - self.queued.len();
        let mut late: Vec<Frame> = self.queued.split_off(before.saturating_sub(gone));
        if self.sent > 0 && self.queued.is_empty() {
            self.queued.push(late.remove(0));
        }
        let mut conflated = 0;
        for frame in late {
            if frame.conflation_key().is_none() {
                let (messages, bytes) = self.counted();
                let fits =
                    messages < BOUNDS.messages && bytes + frame.bytes().len() <= BOUNDS.bytes;
                if messages > 0 && !fits {
                    return None;
                }
            } else {
                let first_unsent = usize::from(self.sent > 0);
                let older = self.queued[first_unsent..]
                    .iter()
                    .position(|f| f.conflation_key() == frame.conflation_key());
                if let Some(older) = older {
                    self.queued.remove(first_unsent + older);
                    conflated += 1;
                }
            }
            self.queued.push(frame);
        }
        Some(conflated)
    }

    /// The number of frames that count against the bounds, and their bytes.
    fn counted(&self) -> (usize, usize) {
        let counted = self.queued.iter().filter(|frame| frame.conflation_key().is_none());
        counted.fold((0, 0), |(n, bytes), frame| (n + 1, bytes + frame.bytes().len()))
    }

    fn flushed(&self) -> FlushResult {
        match (self.over, self.queued.is_empty(), self.closing) {
            (true, _, _) => FlushResult::Shut,
            (_, false, _) => FlushResult::Blocked,
            (_, true, true) => FlushResult::HalfClosed,
            (_, true, false) => FlushResult::Empty,
        }
    }
}

/// Numbered frames: with one of three conflation keys, without one, or control frames.
#[derive(Default)]
struct FrameSource {
    made: usize,
    keys: HashMap<usize, Arc<str>>,
    queued_bytes: Arc<QueuedBytes>,
}

impl FrameSource {
    fn frame(&mut self, random: &mut Random) -> Frame {
        self.made += 1;
        let key = random.below(6);
        let weight = [0, 20, 90, 250][random.below(4)];
        let text = format!("{key} {} {}", self.made, "x".repeat(weight));
        match key {
            0..3 => {
                let name = self.keys.entry(key).or_insert_with(|| key.to_string().into());
                Frame::text(&text).latest(Arc::clone(name)).counted(&self.queued_bytes)
            }
            // A pong: one byte of a header, the length, the payload.
            3 => {
                let text = &text[..text.len().min(100)];
                Frame::raw(&[&[0x8a, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat())
            }
            _ => Frame::text(&text).counted(&self.queued_bytes),
        }
    }
}

/// The key and number of each whole frame in the output, the Close code, and the bytes left.
fn parse(mut out: &[u8]) -> (Vec<(usize, usize)>, Option<u16>, usize) {
    let (mut frames, mut close) = (Vec::new(), None);
    while out.len() >= 2 {
        let (header, length) = match out[1] {
            126 if out.len() < 4 => break,
            126 => (4, usize::from(u16::from_be_bytes([out[2], out[3]]))),
            n => (2, usize::from(n)),
        };
        if out.len() < header + length {
            break;
        }
        let payload = &out[header..header + length];
        match out[0] {
            0x81 | 0x8a => {
                assert_eq!(close, None, "a Close is the last frame");
                let text = std::str::from_utf8(payload).unwrap();
                let mut words = text.split(' ').map(str::parse);
                frames.push((words.next().unwrap().unwrap(), words.next().unwrap().unwrap()));
            }
            0x88 => close = Some(u16::from_be_bytes([payload[0], payload[1]])),
            other => panic!("no frame begins with {other:#x}"),
        }
        out = &out[header + length..];
    }
    (frames, close, out.len())
}

/// How often the random calls reached the interesting cases.
#[derive(Debug, Default)]
struct Coverage {
    conflated: u64,
    full: u64,
    closed: u64,
}

#[test]
fn random_calls_send_whole_frames_in_order_within_the_bounds() {
    let mut coverage = Coverage::default();
    for seed in 1..=3_000 {
        let mut test = ModelTest::new(Random::new(seed), &mut coverage);
        for _ in 0..60 {
            test.step();
            if test.model.over {
                break;
            }
            test.check();
        }
        test.finish();
    }
    let Coverage { conflated, full, closed } = coverage;
    assert!(conflated > 1_000 && full > 300 && closed > 300, "{coverage:?}");
}

/// An outbox and its model, which get the same calls.
struct ModelTest<'a> {
    random: Random,
    pipe: Rc<RefCell<Pipe>>,
    outbox: Outbox<Trickle>,
    model: Model,
    source: FrameSource,
    /// Of the accepted frames: the newest of each key, and all without a key.
    newest: HashMap<usize, usize>,
    plain: Vec<usize>,
    /// Whether a close has dropped some of them.
    discarded: bool,
    coverage: &'a mut Coverage,
}

impl<'a> ModelTest<'a> {
    fn new(mut random: Random, coverage: &'a mut Coverage) -> Self {
        let pipe = Rc::new(RefCell::new(Pipe {
            random: Random::new(random.below(usize::MAX) as u64),
            out: Vec::new(),
            ends: Vec::new(),
            wide: false,
            broken: false,
            reset: false,
        }));
        let outbox = Outbox::new(Trickle(Rc::clone(&pipe)), BOUNDS, LIMIT);
        let (model, source) = (Model::default(), FrameSource::default());
        let (newest, plain) = (HashMap::new(), Vec::new());
        let mut test =
            Self { random, pipe, outbox, model, source, newest, plain, discarded: false, coverage };
        if test.random.below(2) == 0 {
            let frame = test.source.frame(&mut test.random);
            test.outbox.await_handshake();
            assert!(test.outbox.accept_handshake(&frame));
            test.note(&frame, 1);
            test.model.queued.push(frame);
        }
        test
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..55 => self.offer(),
            55..96 => self.flush(),
            96 => self.close_and_free(),
            97 => {
                let discard_queued = self.random.below(2) == 0;
                self.close(1001, discard_queued);
            }
            98 if self.random.below(4) == 0 => {
                self.outbox.disconnect();
                self.model.over = true;
            }
            99 if self.random.below(4) == 0 => self.pipe.borrow_mut().broken = true,
            _ => {}
        }
    }

    fn offer(&mut self) {
        let first = self.source.made + 1;
        let frames: Vec<Frame> =
            (0..=self.random.below(3)).map(|_| self.source.frame(&mut self.random)).collect();
        let joined: Vec<u8> = frames.iter().flat_map(Frame::bytes).copied().collect();
        let offered = self.outbox.offer(&frames, &joined);
        if self.model.closing {
            return assert_eq!(offered, OfferResult::Closing);
        }
        if offered == OfferResult::Closing {
            assert!(self.pipe.borrow().broken);
            self.model.over = true;
            return;
        }
        let fitted = self.model.offer(&frames, &self.pipe.borrow().out);
        let Some(conflated) = fitted else {
            assert_eq!(offered, OfferResult::Full);
            self.coverage.full += 1;
            // As the hub does.
            return self.close(1008, true);
        };
        if self.model.queued.is_empty() {
            assert_eq!(offered, OfferResult::Sent);
        } else {
            let watch = !std::mem::replace(&mut self.model.watched, true);
            assert_eq!(offered, OfferResult::Queued { conflated, watch });
        }
        self.coverage.conflated += conflated;
        for (n, frame) in frames.iter().enumerate() {
            self.note(frame, first + n);
        }
    }

    fn note(&mut self, frame: &Frame, n: usize) {
        match frame.conflation_key() {
            Some(key) => {
                self.newest.insert(key.parse().unwrap(), n);
            }
            None => self.plain.push(n),
        }
    }

    fn flush(&mut self) {
        let flushed = self.outbox.flush();
        if flushed == FlushResult::Shut {
            assert!(self.pipe.borrow().broken);
            self.model.over = true;
            return;
        }
        self.model.check_output(&self.pipe.borrow().out);
        assert_eq!(flushed, self.model.flushed());
        self.model.watched &= flushed != FlushResult::Empty;
    }

    fn close(&mut self, code: u16, discard_queued: bool) {
        let close = Frame::close(code, "");
        let is_first = self.outbox.close(&close, discard_queued, LIMIT);
        assert_eq!(is_first, !self.model.closing);
        if !is_first {
            return;
        }
        self.coverage.closed += 1;
        self.discarded = discard_queued;
        let model = &mut self.model;
        if discard_queued {
            model.queued.truncate(usize::from(model.sent > 0));
        }
        model.queued.push(close);
        model.closing = true;
        // A Close is offered to the socket at once.
        model.over = self.pipe.borrow().broken;
        model.check_output(&self.pipe.borrow().out);
    }

    /// Closes the outbox as the hub does when all queues together are full.
    fn close_and_free(&mut self) {
        let close = Frame::close(1008, "");
        let is_first = self.outbox.close_and_free(&close, LIMIT, || {});
        assert_eq!(is_first, !self.model.closing);
        if !is_first {
            return;
        }
        self.discarded = true;
        let partly_sent = self.model.sent > 0;
        assert_eq!(self.pipe.borrow().reset, partly_sent, "in the middle of a frame it is reset");
        self.model.queued.clear();
        self.model.over = partly_sent || self.pipe.borrow().broken;
        self.model.closing = true;
        if !self.model.over {
            self.coverage.closed += 1;
            self.model.queued.push(close);
            self.model.check_output(&self.pipe.borrow().out);
        }
    }

    /// Checks the invariants.
    fn check(&self) {
        let (messages, bytes) = self.model.counted();
        // A Close is queued without checking the bounds.
        let (more, longer) = if self.model.closing { (1, 4) } else { (0, 0) };
        assert!(messages <= BOUNDS.messages + more, "{messages} messages queued");
        assert!(messages <= 1 + more || bytes <= BOUNDS.bytes + longer, "{bytes} bytes queued");
        let counted = self.model.queued.iter().filter(|frame| frame.counter.is_some());
        let bytes = counted.map(|frame| frame.bytes().len()).sum::<usize>();
        let queued = &self.source.queued_bytes;
        let share = self.outbox.backlog(queued).map_or(0, |(_, share)| share);
        assert_eq!((queued.get(), share), (bytes, bytes));
        let has_deadline = self.model.closing || !self.model.queued.is_empty();
        assert_eq!(self.outbox.deadline().is_some(), has_deadline);
        assert_eq!(self.outbox.is_open(), !self.model.closing);
    }

    /// Sends the rest and checks all output.
    fn finish(mut self) {
        self.pipe.borrow_mut().wide = true;
        let flushed = self.outbox.flush();
        let pipe = self.pipe.borrow();
        let (frames, code, rest) = parse(&pipe.out);
        assert!(frames.is_sorted_by(|a, b| a.1 < b.1), "in order, nothing twice: {frames:?}");
        if self.model.over || pipe.broken {
            assert_eq!(self.source.queued_bytes.get(), 0);
            return;
        }
        self.model.check_output(&pipe.out);
        assert!(self.model.queued.is_empty());
        assert_eq!(flushed, self.model.flushed());
        assert_eq!(rest, 0, "whole frames");
        assert_eq!(code.is_some(), self.model.closing);
        let ends: &[Shutdown] = if self.model.closing { &[Shutdown::Write] } else { &[] };
        assert_eq!(pipe.ends, ends, "shut down once, after a Close");
        if !self.discarded {
            let (states, plain): (Vec<_>, Vec<_>) =
                frames.into_iter().partition(|(key, _)| *key < 3);
            let last: HashMap<usize, usize> = states.into_iter().collect();
            assert_eq!(last, self.newest, "the last frame of a key is the newest");
            assert_eq!(plain.into_iter().map(|(_, n)| n).collect::<Vec<_>>(), self.plain);
        }
    }
}

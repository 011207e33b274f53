//! The outbox on a model of a socket, which takes 0 to n bytes at a time, beside a model of what
//! waits: a plain list that is told the same.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::*;
use crate::random::Random;

const BOUNDS: Bounds = Bounds { messages: 4, bytes: 300 };
/// Far away: nothing here takes any time.
const LIMIT: Duration = Duration::from_secs(1000);

/// What has come out of a socket, and what it does next.
struct Pipe {
    random: Random,
    out: Vec<u8>,
    /// The ends it was told of.
    ends: Vec<Shutdown>,
    /// It takes all that comes.
    wide: bool,
    broken: bool,
}

struct Trickle(Rc<RefCell<Pipe>>);

impl Socket for Trickle {
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let pipe = &mut *self.0.borrow_mut();
        assert!(pipe.ends.is_empty(), "nothing is sent on a half that is shut");
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
}

/// What should wait, and what becomes of it.
#[derive(Default)]
struct Model {
    waits: Vec<Frame>,
    /// Bytes of the first that are out.
    begun: usize,
    /// Bytes that are out and compared.
    seen: usize,
    watched: bool,
    closing: bool,
    over: bool,
}

impl Model {
    /// What came out must be the next of what waits, byte for byte.
    fn see(&mut self, out: &[u8]) {
        while self.seen < out.len() {
            assert!(!self.waits.is_empty(), "bytes that nobody offered, or that were taken back");
            let rest = &self.waits[0].bytes()[self.begun..];
            let n = rest.len().min(out.len() - self.seen);
            assert_eq!(out[self.seen..self.seen + n], rest[..n]);
            self.seen += n;
            self.begun += n;
            if n == rest.len() {
                self.waits.remove(0);
                self.begun = 0;
            }
        }
    }

    /// The frames of an offer, of which some may be out already: `None` where one does not fit,
    /// else how many older ones left.
    fn offer(&mut self, frames: &[Frame], out: &[u8]) -> Option<u64> {
        let before = self.waits.len();
        self.waits.extend_from_slice(frames);
        let all = self.waits.len();
        self.see(out);
        let gone = all - self.waits.len();
        let mut late: Vec<Frame> = self.waits.split_off(before.saturating_sub(gone));
        if self.begun > 0 && self.waits.is_empty() {
            self.waits.push(late.remove(0));
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
                let begun = usize::from(self.begun > 0);
                let older = self.waits[begun..]
                    .iter()
                    .position(|f| f.conflation_key() == frame.conflation_key());
                if let Some(older) = older {
                    self.waits.remove(begun + older);
                    conflated += 1;
                }
            }
            self.waits.push(frame);
        }
        Some(conflated)
    }

    /// The messages that count against the bounds, and their bytes.
    fn counted(&self) -> (usize, usize) {
        let counted = self.waits.iter().filter(|frame| frame.conflation_key().is_none());
        counted.fold((0, 0), |(n, bytes), frame| (n + 1, bytes + frame.bytes().len()))
    }

    fn flushed(&self) -> Flushed {
        match (self.over, self.waits.is_empty(), self.closing) {
            (true, _, _) => Flushed::Shut,
            (_, false, _) => Flushed::Waits,
            (_, true, true) => Flushed::HalfClosed,
            (_, true, false) => Flushed::Empty,
        }
    }
}

/// Frames with a number each: of one of three topics, plain, or control frames.
#[derive(Default)]
struct Maker {
    made: usize,
    topics: HashMap<usize, Arc<str>>,
}

impl Maker {
    fn frame(&mut self, random: &mut Random) -> Frame {
        self.made += 1;
        let topic = random.below(6);
        let weight = [0, 20, 90, 250][random.below(4)];
        let text = format!("{topic} {} {}", self.made, "x".repeat(weight));
        match topic {
            0..3 => {
                let name = self.topics.entry(topic).or_insert_with(|| topic.to_string().into());
                Frame::text(&text).latest(Arc::clone(name))
            }
            // A pong: one byte of a header, the length, the payload.
            3 => {
                let text = &text[..text.len().min(100)];
                Frame::raw(&[&[0x8a, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat())
            }
            _ => Frame::text(&text),
        }
    }
}

/// The topic and the number of each whole frame on the wire, and how many bytes are left.
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

/// How often the schedules reached what they are for.
#[derive(Debug, Default)]
struct Reached {
    conflated: u64,
    full: u64,
    closed: u64,
}

#[test]
fn whatever_the_socket_takes_the_peer_sees_whole_frames_in_order_within_the_bounds() {
    let mut reached = Reached::default();
    for seed in 1..=3_000 {
        let mut bench = Bench::new(Random::new(seed), &mut reached);
        for _ in 0..60 {
            bench.step();
            if bench.model.over {
                break;
            }
            bench.check();
        }
        bench.finish();
    }
    let Reached { conflated, full, closed } = reached;
    assert!(conflated > 1_000 && full > 300 && closed > 300, "{reached:?}");
}

/// An outbox, its model, and what both were told.
struct Bench<'a> {
    random: Random,
    pipe: Rc<RefCell<Pipe>>,
    outbox: Outbox<Trickle>,
    model: Model,
    maker: Maker,
    /// Of all that was taken on: the newest of each topic, and each of those without one.
    newest: HashMap<usize, usize>,
    plain: Vec<usize>,
    /// A close has dropped some of it.
    forgotten: bool,
    reached: &'a mut Reached,
}

impl<'a> Bench<'a> {
    fn new(mut random: Random, reached: &'a mut Reached) -> Self {
        let pipe = Rc::new(RefCell::new(Pipe {
            random: Random::new(random.below(usize::MAX) as u64),
            out: Vec::new(),
            ends: Vec::new(),
            wide: false,
            broken: false,
        }));
        let outbox = Outbox::new(Trickle(Rc::clone(&pipe)), BOUNDS, LIMIT);
        let (model, maker) = (Model::default(), Maker::default());
        let (newest, plain) = (HashMap::new(), Vec::new());
        let mut bench =
            Self { random, pipe, outbox, model, maker, newest, plain, forgotten: false, reached };
        if bench.random.below(2) == 0 {
            let frame = bench.maker.frame(&mut bench.random);
            bench.outbox.await_handshake();
            assert!(bench.outbox.accept_handshake(&frame));
            bench.note(&frame, 1);
            bench.model.waits.push(frame);
        }
        bench
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..55 => self.offer(),
            55..97 => self.flush(),
            97 => {
                let forget = self.random.below(2) == 0;
                self.close(1001, forget);
            }
            98 if self.random.below(4) == 0 => {
                self.outbox.shut();
                self.model.over = true;
            }
            99 if self.random.below(4) == 0 => self.pipe.borrow_mut().broken = true,
            _ => {}
        }
    }

    fn offer(&mut self) {
        let first = self.maker.made + 1;
        let count = 1 + self.random.below(3);
        let frames: Vec<Frame> = (0..count).map(|_| self.maker.frame(&mut self.random)).collect();
        let joined: Vec<u8> = frames.iter().flat_map(Frame::bytes).copied().collect();
        let offered = self.outbox.offer(&frames, &joined);
        if self.model.closing {
            return assert_eq!(offered, Offered::Gone);
        }
        if offered == Offered::Gone {
            assert!(self.pipe.borrow().broken);
            self.model.over = true;
            return;
        }
        let fitted = self.model.offer(&frames, &self.pipe.borrow().out);
        let Some(conflated) = fitted else {
            assert_eq!(offered, Offered::Full);
            self.reached.full += 1;
            // As the hub does with a client that is too slow.
            return self.close(1008, true);
        };
        if self.model.waits.is_empty() {
            assert_eq!(offered, Offered::Sent);
        } else {
            let watch = !std::mem::replace(&mut self.model.watched, true);
            assert_eq!(offered, Offered::Waits { conflated, watch });
        }
        self.reached.conflated += conflated;
        for (n, frame) in frames.iter().enumerate() {
            self.note(frame, first + n);
        }
    }

    fn note(&mut self, frame: &Frame, n: usize) {
        match frame.conflation_key() {
            Some(topic) => {
                self.newest.insert(topic.parse().unwrap(), n);
            }
            None => self.plain.push(n),
        }
    }

    fn flush(&mut self) {
        let flushed = self.outbox.flush();
        if flushed == Flushed::Shut {
            assert!(self.pipe.borrow().broken);
            self.model.over = true;
            return;
        }
        self.model.see(&self.pipe.borrow().out);
        assert_eq!(flushed, self.model.flushed());
        self.model.watched &= flushed != Flushed::Empty;
    }

    fn close(&mut self, code: u16, forget: bool) {
        let close = Frame::close(code, "");
        let began = self.outbox.close(&close, forget, LIMIT);
        assert_eq!(began, !self.model.closing);
        if !began {
            return;
        }
        self.reached.closed += 1;
        self.forgotten = forget;
        let model = &mut self.model;
        if forget {
            model.waits.truncate(usize::from(model.begun > 0));
        }
        model.waits.push(close);
        model.closing = true;
        // A Close is offered to the socket at once.
        model.over = self.pipe.borrow().broken;
        model.see(&self.pipe.borrow().out);
    }

    /// What must hold whatever was done.
    fn check(&self) {
        let (messages, bytes) = self.model.counted();
        // A Close goes last whatever waits.
        let (more, longer) = if self.model.closing { (1, 4) } else { (0, 0) };
        assert!(messages <= BOUNDS.messages + more, "{messages} messages wait");
        assert!(messages <= 1 + more || bytes <= BOUNDS.bytes + longer, "{bytes} bytes wait");
        let waits = self.model.closing || !self.model.waits.is_empty();
        assert_eq!(self.outbox.deadline().is_some(), waits);
        assert_eq!(self.outbox.is_open(), !self.model.closing);
    }

    /// The peer reads on: what has it seen in the end?
    fn finish(mut self) {
        self.pipe.borrow_mut().wide = true;
        let flushed = self.outbox.flush();
        let pipe = self.pipe.borrow();
        let (frames, code, rest) = parse(&pipe.out);
        assert!(frames.is_sorted_by(|a, b| a.1 < b.1), "as published, nothing twice: {frames:?}");
        if self.model.over || pipe.broken {
            return;
        }
        self.model.see(&pipe.out);
        assert!(self.model.waits.is_empty());
        assert_eq!(flushed, self.model.flushed());
        assert_eq!(rest, 0, "whole frames");
        assert_eq!(code.is_some(), self.model.closing);
        let ends: &[Shutdown] = if self.model.closing { &[Shutdown::Write] } else { &[] };
        assert_eq!(pipe.ends, ends, "our half is shut once, after a Close");
        if !self.forgotten {
            let (states, plain): (Vec<_>, Vec<_>) =
                frames.into_iter().partition(|(topic, _)| *topic < 3);
            let last: HashMap<usize, usize> = states.into_iter().collect();
            assert_eq!(last, self.newest, "the last of a topic is the newest of it");
            assert_eq!(plain.into_iter().map(|(_, n)| n).collect::<Vec<_>>(), self.plain);
        }
    }
}

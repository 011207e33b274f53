//! The frames queued for one client: pure, no socket and no clock.

use std::collections::VecDeque;
use std::io;

use super::frame::Frame;

/// The most events that may wait. What is the newest of a topic does not count: of each topic one
/// waits at most, beside one that is partly sent. Nor does what its sender waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

/// The most states, of different keys, that may wait. More than a page shows; each one more is
/// searched whenever a newer one comes.
const STATES: usize = 1024;

/// Frames in order, of which the first may be partly sent.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Allocates nothing until the first frame waits, which for most clients is never.
    frames: VecDeque<Frame>,
    /// Bytes of the first frame that the socket has taken.
    sent: usize,
    /// How many events wait, and their bytes, the sent ones included.
    counted: usize,
    bytes: usize,
}

/// What became of a frame offered to the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It waits.
    Queued,
    /// It waits, and an older one of its topic does not any more.
    Conflated,
    /// It does not fit; the queue is as before.
    Full,
}

/// How far a frame has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Part of it is out: it must end, or what follows it is no frame.
    Begun,
    /// Behind so many others.
    Waits(usize),
}

impl Queue {
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Puts `frame` last, where it fits. One frame alone always fits, however large: else a
    /// message over the bound could reach nobody.
    ///
    /// An unsent frame of the same topic leaves; the new one still goes last, so that no client
    /// sees messages in another order than they were published in.
    pub(crate) fn push(&mut self, frame: &Frame, bounds: Bounds) -> Pushed {
        let bytes = self.bytes + frame.bytes().len();
        if frame.is_event()
            && self.counted > 0
            && (self.counted >= bounds.messages || bytes > bounds.bytes)
        {
            return Pushed::Full;
        }
        let older = self.older(frame);
        if let Some(i) = older {
            self.take_back(i);
        } else if frame.conflation_key().is_some() && self.frames.len() - self.counted >= STATES {
            return Pushed::Full;
        }
        self.push_rest(frame, 0);
        if older.is_some() { Pushed::Conflated } else { Pushed::Queued }
    }

    /// Where a frame waits that `frame` makes obsolete. One that is partly sent must be ended.
    fn older(&self, frame: &Frame) -> Option<usize> {
        let key = frame.conflation_key()?;
        let begun = usize::from(self.sent > 0);
        let found = self.frames.iter().skip(begun).position(|f| f.conflation_key() == Some(key))?;
        Some(found + begun)
    }

    /// Puts `frame` last whatever waits, as partly sent where nothing waits before it.
    pub(crate) fn push_rest(&mut self, frame: &Frame, sent: usize) {
        debug_assert!(sent == 0 || self.frames.is_empty());
        self.sent += sent;
        if frame.is_event() {
            self.counted += 1;
            self.bytes += frame.bytes().len();
        }
        self.frames.push_back(frame.clone());
    }

    /// Takes the first frame out whole.
    pub(crate) fn pop(&mut self) -> Option<Frame> {
        let frame = self.frames.pop_front()?;
        self.sent = 0;
        if frame.is_event() {
            self.counted -= 1;
            self.bytes -= frame.bytes().len();
        }
        Some(frame)
    }

    /// Forgets what waits, except the first frame where it is partly sent: a frame once begun
    /// must end, or what follows it is no frame.
    pub(crate) fn clear_unsent(&mut self) {
        let begun = if self.sent > 0 { self.frames.pop_front() } else { None };
        let sent = self.sent;
        *self = Self::default();
        if let Some(frame) = begun {
            self.push_rest(&frame, sent);
        }
    }

    /// Where this very frame waits.
    pub(crate) fn place(&self, frame: &Frame) -> Option<Place> {
        let i = self.frames.iter().position(|waits| waits.is(frame))?;
        Some(if i == 0 && self.sent > 0 { Place::Begun } else { Place::Waits(i) })
    }

    /// Has the frame at this place not leave at all.
    pub(crate) fn take_back(&mut self, i: usize) {
        if let Some(frame) = self.frames.remove(i)
            && frame.is_event()
        {
            self.counted -= 1;
            self.bytes -= frame.bytes().len();
        }
    }

    /// Hands bytes to `send`, which says how many it took, until all are gone or it takes no
    /// more. Tells how many frames went out whole.
    ///
    /// # Errors
    /// Those of `send`, except `WouldBlock`, which ends the draining.
    pub(crate) fn drain(
        &mut self,
        mut send: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut whole = 0;
        while let Some(first) = self.frames.front() {
            let length = first.bytes().len();
            let rest = first.bytes().get(self.sent..).unwrap_or_default();
            match send(rest) {
                Ok(taken) => self.sent += taken,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
            if self.sent < length {
                break;
            }
            if let Some(frame) = self.frames.pop_front()
                && frame.is_event()
            {
                self.counted -= 1;
                self.bytes -= length;
            }
            self.sent = 0;
            whole += 1;
        }
        if self.frames.is_empty() {
            // A backlog is rare: give its memory back.
            self.frames = VecDeque::new();
        }
        Ok(whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { messages: 3, bytes: 100 };

    fn text(n: usize) -> Frame {
        Frame::raw(&[b'0' + u8::try_from(n).unwrap(); 4])
    }

    fn drained(queue: &mut Queue) -> Vec<u8> {
        let mut out = Vec::new();
        queue
            .drain(|bytes| {
                out.extend_from_slice(bytes);
                Ok(bytes.len())
            })
            .unwrap();
        out
    }

    #[test]
    fn frames_leave_in_order_whatever_the_socket_takes_at_a_time() {
        for step in 1..=9 {
            let mut queue = Queue::default();
            for n in 0..3 {
                assert_eq!(queue.push(&text(n), BOUNDS), Pushed::Queued);
            }
            let mut out = Vec::new();
            while !queue.is_empty() {
                let mut room = step;
                queue
                    .drain(|bytes| {
                        if room == 0 {
                            return Err(io::ErrorKind::WouldBlock.into());
                        }
                        let take = bytes.len().min(room);
                        room -= take;
                        out.extend_from_slice(bytes.get(..take).unwrap());
                        Ok(take)
                    })
                    .unwrap();
            }
            assert_eq!(out, b"000011112222", "{step} bytes at a time");
        }
    }

    #[test]
    fn the_fourth_message_does_not_fit_in_three() {
        let mut queue = Queue::default();
        for n in 0..3 {
            assert_eq!(queue.push(&text(n), BOUNDS), Pushed::Queued);
        }
        assert_eq!(queue.push(&text(3), BOUNDS), Pushed::Full);
        assert_eq!(drained(&mut queue), b"000011112222");
    }

    #[test]
    fn a_message_over_the_bound_in_bytes_fits_alone_only() {
        let large = Frame::raw(&[7; 200]);
        let mut queue = Queue::default();
        assert_eq!(queue.push(&large, BOUNDS), Pushed::Queued);
        assert_eq!(queue.push(&text(0), BOUNDS), Pushed::Full);
    }

    #[test]
    fn states_always_fit_for_only_the_newest_of_each_waits() {
        let mut queue = Queue::default();
        for n in 0..8_u8 {
            let topic: std::sync::Arc<str> = (n % 4).to_string().into();
            let pushed = queue.push(&Frame::raw(&[n; 200]).latest(topic), BOUNDS);
            assert_eq!(pushed, if n < 4 { Pushed::Queued } else { Pushed::Conflated });
        }
        for n in 0..3 {
            assert_eq!(queue.push(&text(n), BOUNDS), Pushed::Queued);
        }
        assert_eq!(queue.push(&text(3), BOUNDS), Pushed::Full);
        assert_eq!(drained(&mut queue).len(), 4 * 200 + 3 * 4);
        assert_eq!((queue.counted, queue.bytes), (0, 0));
    }

    #[test]
    fn states_of_ever_new_keys_do_not_wait_without_end() {
        let mut queue = Queue::default();
        let state = |n: usize| text(1).latest(n.to_string().into());
        for n in 0..STATES {
            assert_eq!(queue.push(&state(n), BOUNDS), Pushed::Queued);
        }
        assert_eq!(queue.push(&state(STATES), BOUNDS), Pushed::Full);
        assert_eq!(queue.push(&state(7), BOUNDS), Pushed::Conflated, "a newer one still fits");
        assert_eq!(queue.push(&text(2), BOUNDS), Pushed::Queued, "and an event");
    }

    #[test]
    fn what_its_sender_waits_for_takes_no_room_of_the_events() {
        let mut queue = Queue::default();
        queue.push_rest(&Frame::raw(&[7; 200]).awaited(), 50);
        for n in 0..3 {
            assert_eq!(queue.push(&text(n), BOUNDS), Pushed::Queued);
        }
        assert_eq!(queue.push(&Frame::raw(&[8; 200]).awaited(), BOUNDS), Pushed::Queued);
        assert_eq!(queue.push(&text(3), BOUNDS), Pushed::Full);
        assert_eq!(drained(&mut queue).len(), 150 + 3 * 4 + 200);
        assert_eq!((queue.counted, queue.bytes), (0, 0));
    }

    #[test]
    fn the_newest_of_a_topic_takes_the_last_place_and_the_older_one_leaves() {
        let mut queue = Queue::default();
        let topic: std::sync::Arc<str> = "state".into();
        queue.push(&text(1).latest(topic.clone()), BOUNDS);
        queue.push(&text(2), BOUNDS);
        assert_eq!(queue.push(&text(3).latest(topic), BOUNDS), Pushed::Conflated);
        assert_eq!(drained(&mut queue), b"22223333");
    }

    #[test]
    fn a_frame_partly_sent_is_never_replaced_nor_cleared() {
        let mut queue = Queue::default();
        let topic: std::sync::Arc<str> = "state".into();
        queue.push_rest(&text(1).latest(topic.clone()), 2);
        assert_eq!(queue.push(&text(2).latest(topic), BOUNDS), Pushed::Queued);
        queue.clear_unsent();
        assert_eq!(drained(&mut queue), b"11");
        assert_eq!(queue.bytes, 0);
    }
}

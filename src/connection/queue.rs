//! The bounded queue of one client's frames. No socket or clock.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::frame::Frame;
use super::queued_frame::QueuedFrame;
use crate::counters::QueuedBytes;

/// Maximum number of events in a queue, and of their bytes. Frames with a conflation key do not
/// count, because there is at most one per key, apart from one that is partly sent. Nor do frames
/// that their sender waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueBounds {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

/// Maximum number of frames with a conflation key. The queue is searched linearly for the key of a
/// new frame.
const MAX_STATES: usize = 1024;

/// Frames in order. The first may be partly sent.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Allocates only once a frame is queued, which for most clients is never.
    frames: VecDeque<QueuedFrame>,
    /// The bytes of the first frame that are sent.
    sent: usize,
    /// The number of events, and their bytes including sent ones.
    counted: usize,
    bytes: usize,
}

/// The result of pushing a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PushResult {
    /// The frame is queued.
    Queued,
    /// The frame is queued and replaced an older one with the same conflation key.
    Conflated,
    /// The frame does not fit. The queue has not changed.
    Full,
}

/// The position of a frame in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FramePosition {
    /// First and partly sent, so the rest must be sent too.
    PartlySent,
    /// At this index, unsent.
    Queued(usize),
}

impl Queue {
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Appends `frame` if it fits. Into an empty queue any frame fits, otherwise a message larger than
    /// the bound could never be sent.
    ///
    /// Removes an unsent frame with the same conflation key. The new one is still appended at the
    /// end, so that messages stay in order.
    pub(crate) fn push(&mut self, frame: &Frame, bounds: QueueBounds) -> PushResult {
        let bytes = self.bytes + frame.bytes().len();
        if frame.is_event()
            && self.counted > 0
            && (self.counted >= bounds.messages || bytes > bounds.bytes)
        {
            return PushResult::Full;
        }
        let older = self.older(frame);
        if let Some(i) = older {
            self.withdraw(i);
        } else if frame.conflation_key().is_some() && self.frames.len() - self.counted >= MAX_STATES
        {
            return PushResult::Full;
        }
        self.push_unbounded(frame, 0);
        if older.is_some() { PushResult::Conflated } else { PushResult::Queued }
    }

    /// The index of an unsent frame with the same conflation key.
    fn older(&self, frame: &Frame) -> Option<usize> {
        let key = frame.conflation_key()?;
        let partly_sent = usize::from(self.sent > 0);
        let found =
            self.frames.iter().skip(partly_sent).position(|f| f.conflation_key() == Some(key))?;
        Some(found + partly_sent)
    }

    /// Appends `frame` without checking the bounds. `sent` bytes are sent, if the queue is empty.
    pub(crate) fn push_unbounded(&mut self, frame: &Frame, sent: usize) {
        debug_assert!(sent == 0 || self.frames.is_empty());
        self.sent += sent;
        if frame.is_event() {
            self.counted += 1;
            self.bytes += frame.bytes().len();
        }
        self.frames.push_back(QueuedFrame::new(frame));
    }

    /// Removes the first frame.
    pub(crate) fn pop(&mut self) -> Option<Frame> {
        let frame = self.frames.pop_front()?;
        self.sent = 0;
        if frame.is_event() {
            self.counted -= 1;
            self.bytes -= frame.bytes().len();
        }
        Some(frame.clone())
    }

    /// Removes all frames except one that is partly sent, whose rest must follow.
    pub(crate) fn clear_unsent(&mut self) {
        let partly_sent = if self.sent > 0 { self.frames.pop_front() } else { None };
        let sent = self.sent;
        *self = Self::default();
        if let Some(frame) = partly_sent {
            self.push_unbounded(&frame, sent);
        }
    }

    /// The share of the bytes in `counter`. A frame in several queues is divided among them.
    pub(crate) fn share_of(&self, counter: &Arc<QueuedBytes>) -> usize {
        self.frames.iter().map(|frame| frame.share_of(counter)).sum()
    }

    /// The position of this frame.
    pub(crate) fn position(&self, frame: &Frame) -> Option<FramePosition> {
        let i = self.frames.iter().position(|queued| queued.is_same(frame))?;
        Some(if i == 0 && self.sent > 0 {
            FramePosition::PartlySent
        } else {
            FramePosition::Queued(i)
        })
    }

    /// Removes the frame at this index.
    pub(crate) fn withdraw(&mut self, i: usize) {
        if let Some(frame) = self.frames.remove(i)
            && frame.is_event()
        {
            self.counted -= 1;
            self.bytes -= frame.bytes().len();
        }
    }

    /// Passes bytes to `send`, which returns how many it accepted, until all are sent or it accepts
    /// no more. Returns the number of frames completed.
    ///
    /// # Errors
    /// The error of `send`, except for `WouldBlock`.
    pub(crate) fn drain(
        &mut self,
        mut send: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut completed = 0;
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
            completed += 1;
        }
        if self.frames.is_empty() {
            // Queues are rarely used: release the memory.
            self.frames = VecDeque::new();
        }
        Ok(completed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: QueueBounds = QueueBounds { messages: 3, bytes: 100 };

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
    fn frames_are_sent_in_order_however_many_bytes_fit() {
        for step in 1..=9 {
            let mut queue = Queue::default();
            for n in 0..3 {
                assert_eq!(queue.push(&text(n), BOUNDS), PushResult::Queued);
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
    fn the_number_of_events_is_bounded() {
        let mut queue = Queue::default();
        for n in 0..3 {
            assert_eq!(queue.push(&text(n), BOUNDS), PushResult::Queued);
        }
        assert_eq!(queue.push(&text(3), BOUNDS), PushResult::Full);
        assert_eq!(drained(&mut queue), b"000011112222");
    }

    #[test]
    fn a_frame_larger_than_the_bound_fits_only_into_an_empty_queue() {
        let large = Frame::raw(&[7; 200]);
        let mut queue = Queue::default();
        assert_eq!(queue.push(&large, BOUNDS), PushResult::Queued);
        assert_eq!(queue.push(&text(0), BOUNDS), PushResult::Full);
    }

    #[test]
    fn only_the_newest_frame_of_a_conflation_key_is_queued() {
        let mut queue = Queue::default();
        for n in 0..8_u8 {
            let key: std::sync::Arc<str> = (n % 4).to_string().into();
            let pushed = queue.push(&Frame::raw(&[n; 200]).latest(key), BOUNDS);
            assert_eq!(pushed, if n < 4 { PushResult::Queued } else { PushResult::Conflated });
        }
        for n in 0..3 {
            assert_eq!(queue.push(&text(n), BOUNDS), PushResult::Queued);
        }
        assert_eq!(queue.push(&text(3), BOUNDS), PushResult::Full);
        assert_eq!(drained(&mut queue).len(), 4 * 200 + 3 * 4);
        assert_eq!((queue.counted, queue.bytes), (0, 0));
    }

    #[test]
    fn the_number_of_conflation_keys_is_bounded() {
        let mut queue = Queue::default();
        let state = |n: usize| text(1).latest(n.to_string().into());
        for n in 0..MAX_STATES {
            assert_eq!(queue.push(&state(n), BOUNDS), PushResult::Queued);
        }
        assert_eq!(queue.push(&state(MAX_STATES), BOUNDS), PushResult::Full);
        assert_eq!(
            queue.push(&state(7), BOUNDS),
            PushResult::Conflated,
            "a newer one of a key fits"
        );
        assert_eq!(queue.push(&text(2), BOUNDS), PushResult::Queued, "and so does an event");
    }

    #[test]
    fn blocking_frames_do_not_count_against_the_bounds() {
        let mut queue = Queue::default();
        queue.push_unbounded(&Frame::raw(&[7; 200]).blocking(), 50);
        for n in 0..3 {
            assert_eq!(queue.push(&text(n), BOUNDS), PushResult::Queued);
        }
        assert_eq!(queue.push(&Frame::raw(&[8; 200]).blocking(), BOUNDS), PushResult::Queued);
        assert_eq!(queue.push(&text(3), BOUNDS), PushResult::Full);
        assert_eq!(drained(&mut queue).len(), 150 + 3 * 4 + 200);
        assert_eq!((queue.counted, queue.bytes), (0, 0));
    }

    #[test]
    fn a_newer_frame_is_appended_and_the_older_one_removed() {
        let mut queue = Queue::default();
        let key: std::sync::Arc<str> = "state".into();
        queue.push(&text(1).latest(key.clone()), BOUNDS);
        queue.push(&text(2), BOUNDS);
        assert_eq!(queue.push(&text(3).latest(key), BOUNDS), PushResult::Conflated);
        assert_eq!(drained(&mut queue), b"22223333");
    }

    #[test]
    fn a_partly_sent_frame_is_neither_replaced_nor_cleared() {
        let mut queue = Queue::default();
        let key: std::sync::Arc<str> = "state".into();
        queue.push_unbounded(&text(1).latest(key.clone()), 2);
        assert_eq!(queue.push(&text(2).latest(key), BOUNDS), PushResult::Queued);
        queue.clear_unsent();
        assert_eq!(drained(&mut queue), b"11");
        assert_eq!(queue.bytes, 0);
    }
}

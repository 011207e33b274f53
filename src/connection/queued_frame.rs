//! A frame in a queue, counted in the queued bytes of its hub.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::frame::Frame;
use crate::counters::QueuedBytes;

/// A frame in a queue.
#[derive(Debug)]
pub(super) struct QueuedFrame(Frame);

impl QueuedFrame {
    pub(super) fn new(frame: &Frame) -> Self {
        if let Some(counter) = &frame.counter
            && frame.encoded.queues.fetch_add(1, Ordering::AcqRel) == 0
        {
            counter.add(frame.bytes().len());
        }
        Self(frame.clone())
    }

    /// The share of the bytes in `counter`: the frame's bytes divided by the number of its queues.
    pub(super) fn share_of(&self, counter: &Arc<QueuedBytes>) -> usize {
        match &self.counter {
            Some(own) if Arc::ptr_eq(own, counter) => {
                self.bytes().len() / self.encoded.queues.load(Ordering::Relaxed).max(1)
            }
            _ => 0,
        }
    }
}

impl Drop for QueuedFrame {
    fn drop(&mut self) {
        // Ordered after the increments of the other queues, so that the sum is never negative.
        if let Some(counter) = &self.counter
            && self.encoded.queues.fetch_sub(1, Ordering::AcqRel) == 1
        {
            counter.subtract(self.bytes().len());
        }
    }
}

impl Deref for QueuedFrame {
    type Target = Frame;

    fn deref(&self) -> &Frame {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]

    use super::super::queue::{Queue, QueueBounds};
    use super::*;
    use crate::random::Random;

    const BOUNDS: QueueBounds = QueueBounds { messages: 5, bytes: 1000 };

    /// Random calls of several queues with frames of two hubs, and frames that do not count.
    #[test]
    fn a_frame_counts_once_while_a_queue_holds_it() {
        let hubs: [Arc<QueuedBytes>; 2] = Default::default();
        let mut random = Random::new(7);
        let mut frames: Vec<Frame> = Vec::new();
        let mut queues: Vec<Queue> = Vec::new();
        queues.resize_with(6, Queue::default);
        let mut most = 0;
        for _ in 0..2_000 {
            if frames.is_empty() || random.below(12) == 0 {
                let mut frame = Frame::raw(&vec![7; 1 + random.below(300)]);
                if random.below(2) == 0 {
                    frame = frame.latest(random.below(4).to_string().into());
                }
                frames.push(match hubs.get(random.below(3)) {
                    Some(hub) => frame.counted(hub),
                    None => frame,
                });
            }
            let queue = random.below(queues.len());
            let queue = &mut queues[queue];
            match random.below(16) {
                0..11 => {
                    let newest = frames.len() - 1;
                    queue.push(&frames[newest - random.below(4).min(newest)], BOUNDS);
                }
                11 => drop(queue.pop()),
                12 => drain(queue, random.below(600)),
                13 => queue.clear_unsent(),
                14 => queue.withdraw(random.below(4)),
                _ => *queue = Queue::default(),
            }
            for hub in &hubs {
                let own =
                    |frame: &&Frame| frame.counter.as_ref().is_some_and(|h| Arc::ptr_eq(h, hub));
                let is_queued = |frame: &&Frame| queues.iter().any(|q| q.position(frame).is_some());
                let held: Vec<&Frame> = frames.iter().filter(own).filter(is_queued).collect();
                let bytes: usize = held.iter().map(|frame| frame.bytes().len()).sum();
                assert_eq!(hub.get(), bytes);
                let shares: usize = queues.iter().map(|queue| queue.share_of(hub)).sum();
                // Each share is rounded down.
                assert!(
                    (bytes.saturating_sub(100)..=bytes).contains(&shares),
                    "{shares} of {bytes}"
                );
                most = most.max(held.len());
            }
        }
        assert!(most > 5, "{most} frames");
        drop(queues);
        assert_eq!(hubs.map(|hub| hub.get()), [0, 0]);
    }

    /// Sends up to this many bytes.
    fn drain(queue: &mut Queue, mut room: usize) {
        let sent = queue.drain(|bytes| match bytes.len().min(room) {
            0 => Err(std::io::ErrorKind::WouldBlock.into()),
            taken => {
                room -= taken;
                Ok(taken)
            }
        });
        assert!(sent.is_ok());
    }
}

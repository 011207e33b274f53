//! The sending side of a connection: a non-blocking socket and its queue.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

use super::frame::Frame;
use super::queue::{FramePosition, PushResult, Queue, QueueBounds};
use super::socket::Socket;
use crate::counters::QueuedBytes;
use crate::lock::lock;

/// A connection's socket and the frames it has not accepted yet.
///
/// Any thread may offer frames. They are sent whole and in the order offered.
///
/// Everything that sending touches is in one cache line. With thousands of clients each further line
/// would be a cache miss.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Outbox<S = TcpStream> {
    state: Mutex<OutboxState>,
    socket: S,
    bounds: QueueBounds,
    /// How long one frame may take from its first byte to its last.
    write_deadline: Duration,
}

#[derive(Debug)]
struct OutboxState {
    /// The queue, or the state of a closing connection. Most have neither.
    backlog: Option<Box<Backlog>>,
    phase: ConnectionPhase,
    /// Whether the flusher watches this outbox.
    watched: bool,
}

#[derive(Debug)]
struct Backlog {
    queue: Queue,
    /// When the first frame of the queue became the first.
    head_since: Instant,
    /// When the peer must have closed its side.
    close_deadline: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ConnectionPhase {
    /// The handshake has no response yet. Nothing else may be sent.
    Handshake,
    Open,
    /// The last queued frame is a Close.
    Closing,
    /// The Close is sent and our side shut down. The peer has to close its side.
    HalfClosed,
    /// Both sides are shut down.
    Shut,
}

impl OutboxState {
    /// The backlog, created if there is none.
    fn backlog(&mut self) -> &mut Backlog {
        self.backlog.get_or_insert_with(|| {
            Box::new(Backlog {
                queue: Queue::default(),
                head_since: Instant::now(),
                close_deadline: None,
            })
        })
    }
}

/// The result of offering frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OfferResult {
    /// The socket has accepted all.
    Sent,
    /// Some are queued, and replaced `conflated` older ones. `watch`: the flusher must be notified.
    Queued { conflated: u64, watch: bool },
    /// They do not fit into the queue: the client is too slow.
    Full,
    /// The connection is closing.
    Closing,
}

/// The result of a blocking send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockingSendResult {
    /// The socket has accepted the frame.
    Sent,
    /// Timed out: the frame was removed from the queue.
    Withdrawn,
    /// The connection is closing.
    Closing,
}

/// The state after a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlushResult {
    /// The queue is empty.
    Empty,
    /// The socket accepts no more for now.
    Blocked,
    /// Our side is shut down. The peer has to close its side.
    HalfClosed,
    /// The connection has ended.
    Shut,
}

impl<S: Socket> Outbox<S> {
    pub(crate) fn new(socket: S, bounds: QueueBounds, write_deadline: Duration) -> Self {
        let state = OutboxState { backlog: None, phase: ConnectionPhase::Open, watched: false };
        Self { state: Mutex::new(state), socket, bounds, write_deadline }
    }

    pub(crate) fn write_deadline(&self) -> Duration {
        self.write_deadline
    }

    /// Sends nothing until the handshake is [accepted](Self::accept_handshake) or
    /// [rejected](Self::reject_handshake).
    pub(crate) fn await_handshake(&self) {
        self.lock().phase = ConnectionPhase::Handshake;
    }

    /// Opens the connection with this response, which is sent with the first frame or
    /// [`flush`](Self::flush). Returns false if the handshake was rejected meanwhile.
    pub(crate) fn accept_handshake(&self, response: &Frame) -> bool {
        let mut state = self.lock();
        if state.phase != ConnectionPhase::Handshake {
            return false;
        }
        state.phase = ConnectionPhase::Open;
        if !response.bytes().is_empty() {
            state.backlog().queue.push_unbounded(response, 0);
        }
        true
    }

    /// Ends the connection with this response. Returns false if the handshake was accepted or
    /// rejected already.
    pub(crate) fn reject_handshake(&self, response: &Frame, within: Duration) -> bool {
        let mut state = self.lock();
        let rejected = state.phase == ConnectionPhase::Handshake;
        if rejected {
            self.close_locked(&mut state, response, within);
        }
        rejected
    }

    /// Sends `frames` without blocking; `joined` is all their bytes. Costs one system call if the
    /// queue is empty. What the socket does not accept is queued.
    pub(crate) fn offer(&self, frames: &[Frame], joined: &[u8]) -> OfferResult {
        let mut state = self.lock();
        if state.phase != ConnectionPhase::Open {
            return OfferResult::Closing;
        }
        // A handshake response has not been tried yet, so send it without waiting for readiness.
        if state.backlog.is_some()
            && !state.watched
            && self.flush_locked(&mut state) == FlushResult::Shut
        {
            return OfferResult::Closing;
        }
        let mut taken = 0;
        if state.backlog.is_none() {
            match self.socket.send(joined) {
                Ok(all) if all == joined.len() => return OfferResult::Sent,
                Ok(some) => taken = some,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return self.shut_locked(&mut state),
            }
        }
        let queue = &mut state.backlog().queue;
        let mut conflated = 0;
        for frame in frames {
            let out = taken.min(frame.bytes().len());
            taken -= out;
            if out == frame.bytes().len() {
                continue;
            }
            if out > 0 {
                queue.push_unbounded(frame, out);
                continue;
            }
            match queue.push(frame, self.bounds) {
                PushResult::Queued => {}
                PushResult::Conflated => conflated += 1,
                PushResult::Full => return OfferResult::Full,
            }
        }
        let watch = !std::mem::replace(&mut state.watched, true);
        OfferResult::Queued { conflated, watch }
    }

    /// Sends as much of the queue as the socket accepts.
    pub(crate) fn flush(&self) -> FlushResult {
        let mut state = self.lock();
        let flushed = self.flush_locked(&mut state);
        if flushed == FlushResult::Empty {
            state.watched = false;
        }
        flushed
    }

    fn flush_locked(&self, state: &mut OutboxState) -> FlushResult {
        match state.phase {
            ConnectionPhase::Handshake => return FlushResult::Empty,
            ConnectionPhase::HalfClosed => return FlushResult::HalfClosed,
            ConnectionPhase::Shut => return FlushResult::Shut,
            ConnectionPhase::Open | ConnectionPhase::Closing => {}
        }
        let Some(backlog) = &mut state.backlog else { return FlushResult::Empty };
        match backlog.queue.drain(|bytes| self.socket.send(bytes)) {
            Ok(0) => {}
            Ok(_) => backlog.head_since = Instant::now(),
            Err(_) => {
                self.shut_locked(state);
                return FlushResult::Shut;
            }
        }
        if !backlog.queue.is_empty() {
            return FlushResult::Blocked;
        }
        if state.phase == ConnectionPhase::Closing {
            // Only our side: closing with unread input would reset the connection, and the peer
            // could lose the Close frame (RFC 1122, 4.2.2.13).
            let _ = self.socket.shutdown(Shutdown::Write);
            state.phase = ConnectionPhase::HalfClosed;
            return FlushResult::HalfClosed;
        }
        state.backlog = None;
        FlushResult::Empty
    }

    /// Queues a Close as the last frame. The peer has `within` to read it and close its side.
    /// `discard_queued` drops unsent frames. Returns false if the connection was closing already.
    pub(crate) fn close(&self, close: &Frame, discard_queued: bool, within: Duration) -> bool {
        self.close_with_hook(close, discard_queued, within, || {})
    }

    /// The same, but calls `before_close` before it queues the Close.
    pub(crate) fn close_with_hook(
        &self,
        close: &Frame,
        discard_queued: bool,
        within: Duration,
        before_close: impl FnOnce(),
    ) -> bool {
        let Some(mut state) = self.lock_open() else { return false };
        before_close();
        if discard_queued {
            state.backlog().queue.clear_unsent();
        }
        self.close_locked(&mut state, close, within);
        true
    }

    fn close_locked(&self, state: &mut OutboxState, last: &Frame, within: Duration) {
        state.phase = ConnectionPhase::Closing;
        let backlog = state.backlog();
        backlog.queue.push_unbounded(last, 0);
        backlog.close_deadline = Some(Instant::now() + within);
        self.flush_locked(state);
    }

    /// Shuts down the socket, which also wakes the reader.
    pub(crate) fn disconnect(&self) {
        self.shut_locked(&mut self.lock());
    }

    /// Disconnects a peer that reads too slowly, and makes the kernel free its buffers, unless only
    /// the peer's answer to a Close is missing: the Close could still be in the buffers.
    pub(crate) fn abort(&self) {
        let mut state = self.lock();
        if matches!(state.phase, ConnectionPhase::Open | ConnectionPhase::Closing) {
            self.socket.reset_when_closed();
        }
        self.shut_locked(&mut state);
    }

    /// Like [`close_with_hook`](Self::close_with_hook), but frees the whole queue at once. In the
    /// middle of a frame it disconnects the peer, because a Close can only follow the whole frame.
    pub(crate) fn close_and_free(
        &self,
        close: &Frame,
        within: Duration,
        before_close: impl FnOnce(),
    ) -> bool {
        let Some(mut state) = self.lock_open() else { return false };
        before_close();
        let queue = &mut state.backlog().queue;
        queue.clear_unsent();
        if queue.is_empty() {
            self.close_locked(&mut state, close, within);
        } else {
            self.socket.reset_when_closed();
            self.shut_locked(&mut state);
        }
        true
    }

    fn shut_locked(&self, state: &mut OutboxState) -> OfferResult {
        state.phase = ConnectionPhase::Shut;
        state.backlog = None;
        let _ = self.socket.shutdown(Shutdown::Both);
        OfferResult::Closing
    }

    /// The deadline of the first queued frame, or of closing.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let state = self.lock();
        let backlog = state.backlog.as_ref()?;
        Some(backlog.close_deadline.unwrap_or(backlog.head_since + self.write_deadline))
    }

    /// Since when the first queued frame is the first, and the share of the bytes in `counter`.
    pub(crate) fn backlog(&self, counter: &Arc<QueuedBytes>) -> Option<(Instant, usize)> {
        let state = self.lock();
        let backlog = state.backlog.as_ref()?;
        Some((backlog.head_since, backlog.queue.share_of(counter)))
    }

    pub(crate) fn is_open(&self) -> bool {
        self.lock().phase == ConnectionPhase::Open
    }

    /// `None` if the connection is closing or closed.
    fn lock_open(&self) -> Option<MutexGuard<'_, OutboxState>> {
        Some(self.lock()).filter(|state| state.phase == ConnectionPhase::Open)
    }

    fn lock(&self) -> MutexGuard<'_, OutboxState> {
        // Queue operations do not panic, so the state is consistent.
        lock(&self.state)
    }
}

impl Outbox {
    /// The socket, for reading.
    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Blocks until the queue is empty, at most for `limit`.
    pub(crate) fn flush_blocking(&self, limit: Duration) -> FlushResult {
        let deadline = Instant::now() + limit;
        loop {
            let flushed = self.flush();
            let left = deadline.saturating_duration_since(Instant::now());
            if flushed != FlushResult::Blocked || left.is_zero() {
                return flushed;
            }
            self.wait_for_room(left);
        }
    }

    /// Blocks until `frame`, which is queued and watched by the flusher, is sent. If none of it is
    /// sent by `until`, removes it from the queue; once partly sent it has the write deadline.
    pub(crate) fn wait_until_sent(&self, frame: &Frame, until: Instant) -> BlockingSendResult {
        loop {
            self.flush();
            let left = until.saturating_duration_since(Instant::now());
            let mut state = self.lock();
            if state.phase != ConnectionPhase::Open {
                return BlockingSendResult::Closing;
            }
            let Some(backlog) = &mut state.backlog else { return BlockingSendResult::Sent };
            let wait = match backlog.queue.position(frame) {
                None => return BlockingSendResult::Sent,
                Some(FramePosition::PartlySent) => self.write_deadline,
                Some(FramePosition::Queued(i)) if left.is_zero() => {
                    backlog.queue.withdraw(i);
                    if backlog.queue.is_empty() {
                        state.backlog = None;
                        // The flusher forgets an outbox without a deadline.
                        state.watched = false;
                    } else if i == 0 {
                        backlog.head_since = Instant::now();
                    }
                    return BlockingSendResult::Withdrawn;
                }
                Some(FramePosition::Queued(_)) => left,
            };
            drop(state);
            self.wait_for_room(wait);
        }
    }

    /// Blocks until the socket is writable or shut down.
    fn wait_for_room(&self, limit: Duration) {
        let mut fds = [PollFd::new(&self.socket, PollFlags::OUT)];
        let timeout = limit.try_into().ok();
        let _ = poll(&mut fds, timeout.as_ref());
    }
}

impl AsFd for Outbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "outbox_model.rs"]
mod model;

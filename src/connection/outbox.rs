//! The sending side of one connection: a socket that never blocks and what waits for it.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::SendFlags;

use super::frame::Frame;
use super::queue::{Bounds, Place, Pushed, Queue};

/// A connection's socket and the frames that it has not taken yet.
///
/// Whoever has something for the client offers it here, from any thread; frames go out whole and
/// in the order in which they were offered.
///
/// All that a delivery touches is in one line of the processor's cache: where thousands of clients
/// are sent to in turn, each line more is a wait for the memory.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Outbox<S = TcpStream> {
    state: Mutex<State>,
    socket: S,
    bounds: Bounds,
    /// How long one frame may take from its first byte to its last.
    write_deadline: Duration,
}

/// What an outbox sends on; in tests also a model of a socket.
pub(crate) trait Socket {
    /// Sends what it takes without blocking, and without a signal where the peer is gone.
    fn send(&self, bytes: &[u8]) -> io::Result<usize>;
    /// Ends one half of the connection, or both.
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;
}

#[derive(Debug)]
struct State {
    /// What waits, or what is known of a connection that is closing; most have neither.
    backlog: Option<Box<Backlog>>,
    phase: Phase,
    /// The flusher knows of this backlog.
    watched: bool,
}

#[derive(Debug)]
struct Backlog {
    queue: Queue,
    /// When the first frame of the queue came to be first.
    begun: Instant,
    /// How long the peer has, from the Close on.
    until: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The handshake is not answered yet: nothing else may be sent.
    Handshake,
    Open,
    /// A Close is the last frame that waits.
    Closing,
    /// The Close is out and our half shut; the peer has to shut its own.
    HalfClosed,
    /// Both halves are shut.
    Shut,
}

impl State {
    /// The backlog, which begins now where there is none.
    fn backlog(&mut self) -> &mut Backlog {
        self.backlog.get_or_insert_with(|| {
            Box::new(Backlog { queue: Queue::default(), begun: Instant::now(), until: None })
        })
    }
}

/// What became of the frames offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// The socket has them.
    Sent,
    /// Some wait; `conflated` older ones went. `watch` where the flusher must be told.
    Waits { conflated: u64, watch: bool },
    /// They do not fit: this client is too slow.
    Full,
    /// The connection is closing.
    Gone,
}

/// What became of a frame that somebody waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// The socket has it.
    Sent,
    /// It has not begun to leave, and never will.
    TakenBack,
    /// The connection is closing.
    Gone,
}

/// What a flush left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// Nothing waits.
    Empty,
    /// The socket takes no more for now.
    Waits,
    /// Our half is shut; only the peer's end is awaited.
    HalfClosed,
    /// The connection is over.
    Shut,
}

impl<S: Socket> Outbox<S> {
    pub(crate) fn new(socket: S, bounds: Bounds, write_deadline: Duration) -> Self {
        let state = State { backlog: None, phase: Phase::Open, watched: false };
        Self { state: Mutex::new(state), socket, bounds, write_deadline }
    }

    pub(crate) fn write_deadline(&self) -> Duration {
        self.write_deadline
    }

    /// Sends nothing until the handshake is [accepted](Self::accept_handshake) or
    /// [refused](Self::refuse_handshake).
    pub(crate) fn await_handshake(&self) {
        self.lock().phase = Phase::Handshake;
    }

    /// Opens the connection with this answer, without sending it: it leaves just before the first
    /// frame that follows, or with [`flush`](Self::flush). `false` if the handshake was refused
    /// meanwhile.
    pub(crate) fn accept_handshake(&self, answer: &Frame) -> bool {
        let mut state = self.lock();
        if state.phase != Phase::Handshake {
            return false;
        }
        state.phase = Phase::Open;
        if !answer.bytes().is_empty() {
            state.backlog().queue.push_rest(answer, 0);
        }
        true
    }

    /// Ends the connection with this answer. `false` if the handshake was accepted or refused
    /// already.
    pub(crate) fn refuse_handshake(&self, answer: &Frame, within: Duration) -> bool {
        let mut state = self.lock();
        let refused = state.phase == Phase::Handshake;
        if refused {
            self.close_locked(&mut state, answer, within);
        }
        refused
    }

    /// Has the processor fetch the line that [`offer`](Self::offer) touches, ahead of it: between
    /// two turns the kernel's own work has driven it out of the cache.
    pub(crate) fn prefetch(&self) {
        std::hint::black_box(self.state.is_poisoned());
    }

    /// Sends `frames`, of which `joined` is the bytes, without blocking: one system call where
    /// nothing waits. What the socket does not take waits in the queue.
    pub(crate) fn offer(&self, frames: &[Frame], joined: &[u8]) -> Offered {
        let mut state = self.lock();
        if state.phase != Phase::Open {
            return Offered::Gone;
        }
        // A preface waits for no readiness: nobody has tried to send it yet.
        if state.backlog.is_some()
            && !state.watched
            && self.flush_locked(&mut state) == Flushed::Shut
        {
            return Offered::Gone;
        }
        let mut taken = 0;
        if state.backlog.is_none() {
            match self.socket.send(joined) {
                Ok(all) if all == joined.len() => return Offered::Sent,
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
                queue.push_rest(frame, out);
                continue;
            }
            match queue.push(frame, self.bounds) {
                Pushed::Queued => {}
                Pushed::Conflated => conflated += 1,
                Pushed::Full => return Offered::Full,
            }
        }
        let watch = !std::mem::replace(&mut state.watched, true);
        Offered::Waits { conflated, watch }
    }

    /// Sends what waits, as far as the socket takes it.
    pub(crate) fn flush(&self) -> Flushed {
        let mut state = self.lock();
        let flushed = self.flush_locked(&mut state);
        if flushed == Flushed::Empty {
            state.watched = false;
        }
        flushed
    }

    fn flush_locked(&self, state: &mut State) -> Flushed {
        match state.phase {
            Phase::Handshake => return Flushed::Empty,
            Phase::HalfClosed => return Flushed::HalfClosed,
            Phase::Shut => return Flushed::Shut,
            Phase::Open | Phase::Closing => {}
        }
        let Some(backlog) = &mut state.backlog else { return Flushed::Empty };
        match backlog.queue.drain(|bytes| self.socket.send(bytes)) {
            Ok(0) => {}
            Ok(_) => backlog.begun = Instant::now(),
            Err(_) => {
                self.shut_locked(state);
                return Flushed::Shut;
            }
        }
        if !backlog.queue.is_empty() {
            return Flushed::Waits;
        }
        if state.phase == Phase::Closing {
            // Only our half: an immediate close with unread input would reset the connection
            // and take the Close frame with it (RFC 1122, 4.2.2.13).
            let _ = self.socket.shutdown(Shutdown::Write);
            state.phase = Phase::HalfClosed;
            return Flushed::HalfClosed;
        }
        state.backlog = None;
        Flushed::Empty
    }

    /// Queues a Close as the last frame; `forget` drops what has not begun to leave. The peer has
    /// `within` to take it and to shut its half.
    ///
    /// Tells whether this call began the closing.
    pub(crate) fn close(&self, close: &Frame, forget: bool, within: Duration) -> bool {
        self.close_noting(close, forget, within, || {})
    }

    /// The same; where this call begins the closing, `note` is called before the Close is sent.
    pub(crate) fn close_noting(
        &self,
        close: &Frame,
        forget: bool,
        within: Duration,
        note: impl FnOnce(),
    ) -> bool {
        let mut state = self.lock();
        if state.phase != Phase::Open {
            return false;
        }
        note();
        if forget {
            state.backlog().queue.clear_unsent();
        }
        self.close_locked(&mut state, close, within);
        true
    }

    fn close_locked(&self, state: &mut State, last: &Frame, within: Duration) {
        state.phase = Phase::Closing;
        let backlog = state.backlog();
        backlog.queue.push_rest(last, 0);
        backlog.until = Some(Instant::now() + within);
        self.flush_locked(state);
    }

    /// Shuts both halves: a reader wakes, and nothing is sent any more.
    pub(crate) fn shut(&self) {
        self.shut_locked(&mut self.lock());
    }

    fn shut_locked(&self, state: &mut State) -> Offered {
        state.phase = Phase::Shut;
        state.backlog = None;
        let _ = self.socket.shutdown(Shutdown::Both);
        Offered::Gone
    }

    /// Until when the peer may keep us waiting: a backlog or a closing has a deadline.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let state = self.lock();
        let backlog = state.backlog.as_ref()?;
        Some(backlog.until.unwrap_or(backlog.begun + self.write_deadline))
    }

    pub(crate) fn is_open(&self) -> bool {
        self.lock().phase == Phase::Open
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under this lock would have to come from a queue operation; the queue stays
        // whole in any case.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outbox {
    /// The socket, for its reader.
    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Waits until nothing waits, at most `limit`, by the socket's readiness. For the
    /// connection's own thread, which may block: nobody else waits for it.
    pub(crate) fn flush_within(&self, limit: Duration) -> Flushed {
        let deadline = Instant::now() + limit;
        loop {
            let flushed = self.flush();
            let left = deadline.saturating_duration_since(Instant::now());
            if flushed != Flushed::Waits || left.is_zero() {
                return flushed;
            }
            self.await_room(left);
        }
    }

    /// Waits until `frame`, which waits here and the flusher knows of, is out. Where it has not
    /// begun to leave by `until` it is taken back; once begun it has its write deadline.
    pub(crate) fn await_sent(&self, frame: &Frame, until: Instant) -> Awaited {
        loop {
            self.flush();
            let left = until.saturating_duration_since(Instant::now());
            let mut state = self.lock();
            if state.phase != Phase::Open {
                return Awaited::Gone;
            }
            let Some(backlog) = &mut state.backlog else { return Awaited::Sent };
            let wait = match backlog.queue.place(frame) {
                None => return Awaited::Sent,
                Some(Place::Begun) => self.write_deadline,
                Some(Place::Waits(i)) if left.is_zero() => {
                    backlog.queue.take_back(i);
                    if backlog.queue.is_empty() {
                        state.backlog = None;
                        // What the flusher knows of has no deadline any more.
                        state.watched = false;
                    } else if i == 0 {
                        backlog.begun = Instant::now();
                    }
                    return Awaited::TakenBack;
                }
                Some(Place::Waits(_)) => left,
            };
            drop(state);
            self.await_room(wait);
        }
    }

    /// Waits until the socket takes something or is shut.
    fn await_room(&self, limit: Duration) {
        let mut fds = [PollFd::new(&self.socket, PollFlags::OUT)];
        let timeout = limit.try_into().ok();
        let _ = poll(&mut fds, timeout.as_ref());
    }
}

impl Socket for TcpStream {
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match rustix::net::send(self, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Err(rustix::io::Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        TcpStream::shutdown(self, how)
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

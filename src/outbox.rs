//! The sending side of one connection: a socket that never blocks and what waits for it.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::SendFlags;

use crate::frame::Frame;
use crate::queue::{Bounds, Pushed, Queue};

/// A connection's socket and the frames that it has not taken yet.
///
/// Whoever has something for the client offers it here, from any thread; frames go out whole and
/// in the order in which they were offered.
#[derive(Debug)]
pub(crate) struct Outbox {
    socket: TcpStream,
    bounds: Bounds,
    /// How long one frame may take from its first byte to its last.
    write_deadline: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    queue: Queue,
    /// When the first frame of the queue came to be first.
    begun: Option<Instant>,
    phase: Phase,
    /// The flusher knows of this backlog.
    watched: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// A Close is the last frame that waits; the peer has until then.
    Closing(Instant),
    /// The Close is out and our half shut; the peer has until then to shut its own.
    HalfClosed(Instant),
    /// Both halves are shut.
    Shut,
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

impl Outbox {
    pub(crate) fn new(socket: TcpStream, bounds: Bounds, write_deadline: Duration) -> Self {
        let state =
            State { queue: Queue::default(), begun: None, phase: Phase::Open, watched: false };
        Self { socket, bounds, write_deadline, state: Mutex::new(state) }
    }

    /// The socket, for its reader.
    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    pub(crate) fn write_deadline(&self) -> Duration {
        self.write_deadline
    }

    /// Puts `frame` before everything else without sending it: it leaves just before the first
    /// frame that follows, or with [`flush`](Self::flush).
    pub(crate) fn preface(&self, frame: &Frame) {
        let mut state = self.lock();
        state.queue.push_rest(frame, 0);
        state.begun = Some(Instant::now());
    }

    /// Sends `frames`, of which `joined` is the bytes, without blocking: one system call where
    /// nothing waits. What the socket does not take waits in the queue.
    pub(crate) fn offer(&self, frames: &[Frame], joined: &[u8]) -> Offered {
        let mut state = self.lock();
        if state.phase != Phase::Open {
            return Offered::Gone;
        }
        // A preface waits for no readiness: nobody has tried to send it yet.
        if !state.watched && self.flush_locked(&mut state) == Flushed::Shut {
            return Offered::Gone;
        }
        let mut taken = 0;
        if state.queue.is_empty() {
            match self.send(joined) {
                Ok(all) if all == joined.len() => return Offered::Sent,
                Ok(some) => taken = some,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return self.shut_locked(&mut state),
            }
            state.begun = Some(Instant::now());
        }
        let mut conflated = 0;
        for frame in frames {
            let out = taken.min(frame.bytes().len());
            taken -= out;
            if out == frame.bytes().len() {
                continue;
            }
            if out > 0 {
                state.queue.push_rest(frame, out);
                continue;
            }
            match state.queue.push(frame, self.bounds) {
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
            Phase::HalfClosed(_) => return Flushed::HalfClosed,
            Phase::Shut => return Flushed::Shut,
            Phase::Open | Phase::Closing(_) => {}
        }
        match state.queue.drain(|bytes| self.send(bytes)) {
            Ok(0) => {}
            Ok(_) => state.begun = Some(Instant::now()),
            Err(_) => {
                self.shut_locked(state);
                return Flushed::Shut;
            }
        }
        if !state.queue.is_empty() {
            return Flushed::Waits;
        }
        state.begun = None;
        if let Phase::Closing(until) = state.phase {
            // Only our half: an immediate close with unread input would reset the connection
            // and take the Close frame with it (RFC 1122, 4.2.2.13).
            let _ = self.socket.shutdown(Shutdown::Write);
            state.phase = Phase::HalfClosed(until);
            return Flushed::HalfClosed;
        }
        Flushed::Empty
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
            let mut fds = [PollFd::new(&self.socket, PollFlags::OUT)];
            let timeout = left.try_into().ok();
            let _ = poll(&mut fds, timeout.as_ref());
        }
    }

    /// Queues a Close as the last frame; `forget` drops what has not begun to leave. The peer has
    /// `within` to take it and to shut its half.
    ///
    /// Tells whether this call began the closing.
    pub(crate) fn close(&self, close: &Frame, forget: bool, within: Duration) -> bool {
        let mut state = self.lock();
        if state.phase != Phase::Open {
            return false;
        }
        if forget {
            state.queue.clear_unsent();
        }
        state.queue.push_rest(close, 0);
        state.begun = state.begun.or_else(|| Some(Instant::now()));
        state.phase = Phase::Closing(Instant::now() + within);
        self.flush_locked(&mut state);
        true
    }

    /// Shuts both halves: a reader wakes, and nothing is sent any more.
    pub(crate) fn shut(&self) {
        self.shut_locked(&mut self.lock());
    }

    fn shut_locked(&self, state: &mut State) -> Offered {
        state.phase = Phase::Shut;
        state.queue = Queue::default();
        let _ = self.socket.shutdown(Shutdown::Both);
        Offered::Gone
    }

    /// Until when the peer may keep us waiting: a backlog or a closing has a deadline.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let state = self.lock();
        match state.phase {
            Phase::Open => state.begun.map(|begun| begun + self.write_deadline),
            Phase::Closing(until) | Phase::HalfClosed(until) => Some(until),
            Phase::Shut => None,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.lock().phase == Phase::Open
    }

    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match rustix::net::send(&self.socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
            {
                Err(rustix::io::Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under this lock would have to come from a queue operation; the queue stays
        // whole in any case.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for Outbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Read;
    use std::net::TcpListener;

    use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair};

    use super::*;

    #[test]
    fn a_preface_leaves_before_everything_even_before_the_close_of_a_client_evicted_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        let bounds = Bounds { messages: 2, bytes: 8 };
        let outbox = Outbox::new(socket, bounds, Duration::from_secs(10));
        outbox.preface(&Frame::raw(b"101 "));
        let frames = [Frame::raw(b"longer than the bound "), Frame::raw(b"b "), Frame::raw(b"c ")];
        let joined: Vec<u8> = frames.iter().flat_map(Frame::bytes).copied().collect();
        assert_eq!(outbox.offer(&frames, &joined), Offered::Sent);
        assert!(outbox.close(&Frame::raw(b"close"), true, Duration::from_secs(10)));
        let mut out = String::new();
        peer.read_to_string(&mut out).unwrap();
        assert_eq!(out, "101 longer than the bound b c close");
    }

    /// What the peer has got, one entry for each `send`.
    fn packets(peer: &impl AsFd) -> usize {
        let mut buffer = [0; 4096];
        std::iter::from_fn(|| recv(peer, &mut buffer, RecvFlags::DONTWAIT).ok()).count()
    }

    #[test]
    fn a_client_with_a_backlog_costs_no_system_call_until_its_socket_is_ready() {
        // A socket that keeps the bounds of each `send`: they can be counted.
        let (socket, peer) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .unwrap();
        let bounds = Bounds { messages: 1000, bytes: 1 << 20 };
        let outbox = Outbox::new(socket.into(), bounds, Duration::from_secs(10));
        let frame = Frame::raw(&[7; 4096]);
        let offer = || outbox.offer(std::slice::from_ref(&frame), frame.bytes());
        let mut sent = 0;
        let first = loop {
            match offer() {
                Offered::Sent => sent += 1,
                other => break other,
            }
        };
        assert_eq!(first, Offered::Waits { conflated: 0, watch: true });
        assert_eq!(packets(&peer), sent);
        for _ in 0..200 {
            assert_eq!(offer(), Offered::Waits { conflated: 0, watch: false });
        }
        assert_eq!(packets(&peer), 0, "the flusher has been told, nobody else tries");
        let mut waited = 0;
        while outbox.flush() == Flushed::Waits {
            waited += packets(&peer);
        }
        assert_eq!(waited + packets(&peer), 201);
    }
}
